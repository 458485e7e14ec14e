//! Which files are images by their names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use crate::error::{Error, Result};

/// The extensions of the formats that can be decoded.
pub(super) const DECODED: [&str; 10] = [
    "bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp",
];

/// The extensions of images in lower case, without dots.
pub(super) struct Extensions(BTreeSet<String>);

impl Extensions {
    pub(super) fn new(extensions: &[String]) -> Result<Self> {
        let plain = |text: &String| text.trim_start_matches('.').to_ascii_lowercase();
        let set: BTreeSet<String> = extensions.iter().map(plain).collect();
        if set.is_empty() {
            return Err(Error::argument("extensions", "at least one", "none"));
        }
        if let Some(bad) = set.iter().find(|e| e.is_empty() || e.contains('.')) {
            let expected = "extensions such as `png`";
            return Err(Error::argument("extensions", expected, format!("`{bad}`")));
        }
        Ok(Self(set))
    }

    pub(super) fn is_image(&self, path: impl AsRef<Path>) -> bool {
        let extension = path.as_ref().extension().and_then(OsStr::to_str);
        extension.is_some_and(|e| self.0.contains(&e.to_ascii_lowercase()))
    }
}

/// `images (.jpg, .png)`
impl fmt::Display for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dotted: Vec<String> = self.0.iter().map(|e| format!(".{e}")).collect();
        write!(f, "images ({})", dotted.join(", "))
    }
}
