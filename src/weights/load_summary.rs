//! A load report in one line.

use super::layout::is_average;
use super::quote::quoted;
use crate::error::{LoadReport, printable};

impl LoadReport {
    /// In one line, what a user should know of a file that was loaded: the key, if there was a
    /// choice, the prefix, whose names, what was left out, resampled and rounded, which architecture it may be of just as well. `None` if there is
    /// nothing of the kind.
    pub fn summary(&self) -> Option<String> {
        let mut parts = Vec::new();
        if let Some(key) = &self.key {
            let key_shown = printable(key);
            if is_average(key) {
                parts.push(format!("taken from `{key_shown}`, an average"));
            } else if !self.other_keys.is_empty() {
                parts.push(format!("taken from `{key_shown}`"));
            }
            if !self.other_keys.is_empty() {
                parts.push(format!(
                    "not from {} (weights_key or --weights-key chooses)",
                    quoted(&self.other_keys)
                ));
            }
        }
        if let Some(naming) = self.naming {
            parts.push(format!("read as {naming}"));
        }
        if !self.prefix.is_empty() {
            parts.push(format!("prefix `{}` taken off", printable(&self.prefix)));
        }
        if !self.left_out.is_empty() {
            let count = self.left_out.len();
            let plural = if count == 1 { "" } else { "s" };
            parts.push(format!(
                "{count} tensor{plural} left out: {}",
                quoted(&self.left_out)
            ));
        }
        if !self.resampled.is_empty() {
            parts.push(format!(
                "resampled for images or patches of another size: {}",
                quoted(&self.resampled)
            ));
        }
        if let Some(count) = self.converted.get("f64") {
            parts.push(format!("{count} tensors rounded from f64 to f32"));
        }
        if !self.twins.is_empty() {
            parts.push(format!(
                "warning: it fits {} just as well, which computes otherwise, and nothing says whose weights these are",
                self.twins.join(", ")
            ));
        }
        (!parts.is_empty()).then(|| format!("{}: {}", self.path.display(), parts.join("; ")))
    }
}
