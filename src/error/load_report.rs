//! What a weights file has and lacks, compared with a model, and what was taken from it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A tensor whose shape or type in the file is not the model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The tensor's name in the file, without the prefix.
    pub name: String,
    /// What the model needs.
    pub expected: String,
    /// What the file has.
    pub found: String,
}

/// What was taken from a weights file and what was left out, and every difference between the file
/// and a model, by upstream's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// The file.
    pub path: PathBuf,
    /// The model.
    pub model: String,
    /// The key under which the tensors are, if the file has keys.
    pub key: Option<String>,
    /// The other keys that hold tensors, such as `state_dict_ema`, but for a training's state.
    pub other_keys: Vec<String>,
    /// What was taken off the names.
    pub prefix: String,
    /// Whose names they are, if not upstream's.
    pub naming: Option<&'static str>,
    /// Tensors that agree.
    pub matched: usize,
    /// Tensors, by their names in the file, that were left out: those of a head that is made afresh
    /// or dropped, those without the prefix, and the counter of averages.
    pub left_out: Vec<String>,
    /// Types other than f32 that were converted, and how many tensors of each.
    pub converted: BTreeMap<String, usize>,
    /// Tensors for images of another size that were resampled for the model's.
    pub resampled: Vec<String>,
    /// Tensors that the model needs and the file lacks.
    pub missing: Vec<String>,
    /// Tensors that the file has and the model does not know.
    pub unused: Vec<String>,
    /// Tensors of another shape.
    pub shapes: Vec<Mismatch>,
    /// Tensors of a type that is not f32, f16, bf16 or f64.
    pub types: Vec<Mismatch>,
    /// Architectures that have the same tensors and compute otherwise, if nothing says whose weights
    /// these are.
    pub twins: Vec<&'static str>,
    /// For a file that does not fit: what it looks like, and what may help.
    pub hints: Vec<String>,
}

impl LoadReport {
    /// Whether nothing differs.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty()
            && self.unused.is_empty()
            && self.shapes.is_empty()
            && self.types.is_empty()
    }

    /// Where in the file the tensors were looked for, unless it is the whole.
    fn place(&self) -> Vec<String> {
        let key = self.key.iter();
        let mut place: Vec<String> = key.map(|key| format!("key `{}`", printable(key))).collect();
        if !self.prefix.is_empty() {
            place.push(format!("prefix `{}`", printable(&self.prefix)));
        }
        place.extend(self.naming.map(str::to_owned));
        place
    }
}

/// A name as it may be shown: a file can call its tensors anything.
pub(crate) fn printable(name: &str) -> String {
    let mut text: String = name
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push_str("..");
    }
    text
}

/// Characters of a name that are shown.
const LONGEST: usize = 120;
/// How many names of a kind are printed before the rest is counted.
const SHOWN: usize = 8;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: the weights are not those of {} ({} tensors agree)",
            self.path.display(),
            self.model,
            self.matched
        )?;
        let pairs = |list: &[Mismatch]| -> Vec<String> {
            list.iter()
                .map(|m| format!("{} (expected {}, found {})", m.name, m.expected, m.found))
                .collect()
        };
        let place = self.place();
        if !place.is_empty() {
            write!(f, "\n  looked at: {}", place.join("; "))?;
        }
        list(f, "missing", &self.missing)?;
        list(f, "not in the model", &self.unused)?;
        list(f, "wrong shape", &pairs(&self.shapes))?;
        list(f, "wrong type", &pairs(&self.types))?;
        for hint in &self.hints {
            write!(f, "\n  {hint}")?;
        }
        Ok(())
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, names: &[String]) -> fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    write!(f, "\n  {title} ({}): ", names.len())?;
    let shown = &names[..names.len().min(SHOWN)];
    let shown: Vec<String> = shown.iter().map(|name| printable(name)).collect();
    f.write_str(&shown.join(", "))?;
    match names.len() - shown.len() {
        0 => Ok(()),
        rest => write!(f, " and {rest} more"),
    }
}
