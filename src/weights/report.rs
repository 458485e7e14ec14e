//! What a weights file has and lacks, compared with a model.

use std::fmt;
use std::path::PathBuf;

/// A tensor whose shape or type in the file is not the model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The tensor's name in the file.
    pub name: String,
    /// What the model needs.
    pub expected: String,
    /// What the file has.
    pub found: String,
}

/// Every difference between a weights file and a model, by upstream's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// The file.
    pub path: PathBuf,
    /// The model.
    pub model: String,
    /// Tensors that agree.
    pub matched: usize,
    /// Tensors that the model needs and the file lacks.
    pub missing: Vec<String>,
    /// Tensors that the file has and the model does not know.
    pub unused: Vec<String>,
    /// Tensors of another shape.
    pub shapes: Vec<Mismatch>,
    /// Tensors of a type that is not f32, f16 or bf16.
    pub types: Vec<Mismatch>,
}

impl LoadReport {
    /// Whether nothing differs.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty()
            && self.unused.is_empty()
            && self.shapes.is_empty()
            && self.types.is_empty()
    }
}

/// A name as it may be shown: a file can call its tensors anything.
fn printable(name: &str) -> String {
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
        list(f, "missing", &self.missing)?;
        list(f, "not in the model", &self.unused)?;
        list(f, "wrong shape", &pairs(&self.shapes))?;
        list(f, "wrong type", &pairs(&self.types))
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
