//! What was found in a folder or a CSV file, and what was left out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::csv::{CsvReport, CsvWarning};
use crate::error::Error;

/// What a data set holds, and what was left out of it.
///
/// Displayed, it is one line for a log; [`skipped`](Self::skipped) and
/// [`warnings`](Self::warnings) have a line for each thing that a person should look at.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FolderReport {
    /// The classes in the order of the labels, with the number of their images.
    pub classes: Vec<ClassCount>,
    /// What says which part an image belongs to.
    pub division: Division,
    /// The images that cannot be read, with [`Broken::Skip`](super::Broken::Skip).
    pub skipped: Vec<Skipped>,
    /// How many files and folders have names that begin with a dot.
    pub hidden: usize,
    /// How many files are no images, by their extension in lower case without the dot.
    pub others: BTreeMap<String, usize>,
    /// What is perhaps a mistake.
    pub warnings: Vec<FolderWarning>,
    /// How the CSV file was read, if it is one.
    pub csv: Option<CsvReport>,
}

/// The number of images of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassCount {
    /// The class.
    pub name: String,
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub valid: usize,
    /// Test images, if there is such a part.
    pub test: usize,
}

/// What says which part an image belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Division {
    /// Folders such as `train` and `val`.
    Folders,
    /// A column of a CSV file: [`CsvReport::split_column`].
    Column,
    /// The seeded, stratified split.
    Seeded {
        /// The share of each class that is for validation.
        share: f64,
        /// The seed.
        seed: u64,
    },
}

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The images to train on.
    Train,
    /// The images to choose the best epoch by.
    Valid,
    /// The images of a third part.
    Test,
}

/// An image that was left out because it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What is perhaps a mistake in how a folder is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FolderWarning {
    /// A part has no image of a class, so that nothing can be said about the class.
    MissingClass {
        /// The part.
        part: Part,
        /// The class.
        class: String,
    },
    /// A folder beside `train` that is no part of the data set.
    IgnoredFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A folder `test` whose images are not in folders of classes, so that they have no labels.
    NoLabels {
        /// The folder.
        path: PathBuf,
    },
    /// Images beside the folders of the classes, which have no labels.
    StrayImages {
        /// The folder that holds them.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// Links lead to a folder twice; its images are taken once.
    SameFolder {
        /// The folder as it was come across again.
        path: PathBuf,
    },
    /// Names of classes that differ only in upper and lower case.
    AlikeClasses {
        /// The names that are alike.
        groups: Vec<Vec<String>>,
    },
    /// Something in a CSV file.
    Csv(CsvWarning),
}

impl Part {
    /// The part that goes by this name, as that of a folder or in a CSV file.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Part::Train),
            "val" | "valid" | "validation" => Some(Part::Valid),
            "test" | "testing" => Some(Part::Test),
            _ => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Train => "training",
            Part::Valid => "validation",
            Part::Test => "test",
        })
    }
}

impl Skipped {
    pub(super) fn new(path: &Path, error: &Error) -> Self {
        Self {
            path: path.to_path_buf(),
            // The path is there already.
            reason: match error {
                Error::Image { reason, .. } => reason.clone(),
                Error::Io { source, .. } => source.to_string(),
                Error::Data {
                    expected, found, ..
                } => format!("expected {expected}, found {found}"),
                other => other.to_string(),
            },
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl fmt::Display for FolderWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderWarning::MissingClass { part, class } => {
                write!(f, "there are no {part} images of class `{class}`")
            }
            FolderWarning::IgnoredFolder { path } => {
                write!(f, "{}: not `train`, `val` or `test`", path.display())?;
                f.write_str(", so it is left out")
            }
            FolderWarning::NoLabels { path } => {
                write!(f, "{}: no folders of classes", path.display())?;
                f.write_str(", so it is left out")
            }
            FolderWarning::StrayImages { path, count } => {
                write!(f, "{}: images in no class's folder, ", path.display())?;
                write!(f, "which are left out: {count}")
            }
            FolderWarning::SameFolder { path } => {
                write!(f, "{}: links lead here twice", path.display())?;
                f.write_str("; the images are taken once")
            }
            FolderWarning::AlikeClasses { groups } => {
                let quoted = |group: &Vec<String>| format!("`{}`", group.join("` and `"));
                let groups: Vec<String> = groups.iter().map(quoted).collect();
                f.write_str("classes that differ only in upper and lower case: ")?;
                f.write_str(&first_few(&groups))
            }
            FolderWarning::Csv(warning) => warning.fmt(f),
        }
    }
}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Division::Folders => f.write_str("in folders of their own"),
            Division::Column => f.write_str("as a column of the CSV file says"),
            Division::Seeded { share, seed } => {
                // As many digits as the share has: 12.5, not 12.500000000000002.
                let percent = (share * 1e8).round() / 1e6;
                write!(f, "{percent} % for validation by seed {seed}")
            }
        }
    }
}

impl fmt::Display for FolderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&ClassCount) -> usize| self.classes.iter().map(of).sum::<usize>();
        let (train, valid, test) = (sum(|c| c.train), sum(|c| c.valid), sum(|c| c.test));
        write!(f, "{} classes, {train} training", self.classes.len())?;
        match test {
            0 => write!(f, " and {valid} validation images")?,
            _ => write!(f, ", {valid} validation and {test} test images")?,
        }
        let column = self.csv.as_ref().and_then(|csv| csv.split_column.as_ref());
        match column.filter(|_| self.division == Division::Column) {
            Some(column) => write!(f, ", as the column `{column}` says")?,
            None => write!(f, ", {}", self.division)?,
        }
        if !self.skipped.is_empty() {
            write!(f, "; broken and skipped: {}", self.skipped.len())?;
        }
        if !self.others.is_empty() {
            let others = by_extension(&self.others);
            write!(f, "; no images: {}", first_few(&others))?;
        }
        if self.hidden > 0 {
            write!(f, "; hidden: {}", self.hidden)?;
        }
        Ok(())
    }
}

/// `2 .txt`, for each extension, the most frequent first.
pub(super) fn by_extension(counts: &BTreeMap<String, usize>) -> Vec<String> {
    let mut counts: Vec<(&String, &usize)> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let line = |(extension, count): (&String, &usize)| match extension.as_str() {
        "" => format!("{count} without extension"),
        extension => format!("{count} .{extension}"),
    };
    counts.into_iter().map(line).collect()
}

/// The first eight, and how many more there are.
pub(super) fn first_few(items: &[String]) -> String {
    const SHOWN: usize = 8;
    let text = items[..items.len().min(SHOWN)].join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// A text from a file as part of a message: in quotes, on one line, and not too long.
pub(super) fn shortened(text: &str) -> String {
    const LENGTH: usize = 80;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{:?}..", &text[..end]),
        None => format!("{text:?}"),
    }
}
