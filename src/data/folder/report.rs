//! What was found in a folder or a CSV file, and what was left out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::csv::{CsvReport, CsvWarning};
use crate::error::{Error, Result};

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
    /// How many images of [`FolderOptions::left_out`](super::FolderOptions::left_out) were there.
    pub left_out_before: usize,
    /// How many files and folders have names that begin with a dot, those in
    /// [`junk`](Self::junk) aside.
    pub hidden: usize,
    /// How many files and folders are what systems and tools leave behind, such as `.DS_Store`,
    /// `__MACOSX`, `Thumbs.db` or `__pycache__`, by their names.
    pub junk: BTreeMap<String, usize>,
    /// How many files are left out because of their extension, by it, in lower case without the
    /// dot. Images of formats that are not read, such as HEIC, are among them.
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
    /// Test images, if there is such a part; all images, where nothing is divided.
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
    /// Nothing: all images belong together, and [`ClassCount::test`] counts them.
    Whole,
    /// The seeded, stratified split.
    Seeded {
        /// The share of each class that is for validation.
        share: f64,
        /// The seed.
        seed: u64,
    },
}

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// A folder among those of the classes that has no images, so that it is no class.
    EmptyClass {
        /// The folder.
        path: PathBuf,
        /// What it has instead, such as ` (2 .txt)`, or nothing.
        beside: String,
    },
    /// The test images stand for validation images, of which there are none: the best epoch is
    /// chosen by them.
    TestIsValid {
        /// What holds them.
        path: PathBuf,
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
    /// The same folders are in two parts, by links, so that the second says too much good of a
    /// model.
    SharedFolders {
        /// The first of them.
        path: PathBuf,
        /// The same folder in an earlier part.
        other: PathBuf,
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
    pub(super) const ALL: [Self; 3] = [Part::Train, Part::Valid, Part::Test];

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

impl Part {
    /// The part that a folder's name says: `train`, and what people call it besides, such as
    /// `train_images` or `training-set`.
    pub(super) fn of_folder(name: &str) -> Option<Self> {
        const ENDINGS: [&str; 7] = ["images", "image", "imgs", "img", "data", "set", "split"];
        let name = name.to_ascii_lowercase();
        let start = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
        let start = start.unwrap_or(&name).trim_end_matches(['_', '-', ' ']);
        Self::named(start)
    }

    /// `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Valid => "val",
            Part::Test => "test",
        }
    }
}

/// `train`, `val` or `test`, and what else folders are called: `training`, `valid`, `validation`,
/// `testing`.
impl std::str::FromStr for Part {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::named(text)
            .ok_or_else(|| Error::argument("part", "`train`, `val` or `test`", shortened(text)))
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
            reason: error.without_path(),
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
            FolderWarning::EmptyClass { path, beside } => {
                write!(f, "{}: no images in it{beside}", path.display())?;
                f.write_str(", so it is no class and left out")
            }
            FolderWarning::TestIsValid { path } => {
                write!(f, "{}: there are no validation images", path.display())?;
                f.write_str(", so the best epoch is chosen by these test images")
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
            FolderWarning::SharedFolders { path, other, count } => {
                write!(
                    f,
                    "{}: the same images as in {}",
                    path.display(),
                    other.display()
                )?;
                write!(
                    f,
                    ", in another part; folders that are in two parts: {count}"
                )
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
            Division::Whole => f.write_str("undivided"),
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
        write!(f, "{} classes, ", self.classes.len())?;
        match (self.division, test) {
            (Division::Whole, _) => write!(f, "{test} images")?,
            (_, 0) => write!(f, "{train} training and {valid} validation images")?,
            _ => {
                write!(
                    f,
                    "{train} training, {valid} validation and {test} test images"
                )?;
            }
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
            write!(f, "; other files: {}", first_few(&others))?;
        }
        if !self.junk.is_empty() {
            let junk = self.junk.values().sum::<usize>();
            write!(f, "; of systems and tools: {junk}")?;
        }
        if self.hidden > 0 {
            write!(f, "; hidden: {}", self.hidden)?;
        }
        Ok(())
    }
}

impl FolderReport {
    /// Whether the test images stand for validation images.
    pub fn test_is_valid(&self) -> bool {
        let is = |warning: &FolderWarning| matches!(warning, FolderWarning::TestIsValid { .. });
        self.warnings.iter().any(is)
    }

    /// What was left out because of its name, in lines for a person: images of formats that are not
    /// read, other files, hidden ones, and what systems and tools leave behind.
    pub fn left_out(&self) -> Vec<String> {
        left_out(&self.others, self.hidden, &self.junk)
    }
}

/// What was left out because of its name, in lines for a person.
pub(super) fn left_out(
    others: &BTreeMap<String, usize>,
    hidden: usize,
    junk: &BTreeMap<String, usize>,
) -> Vec<String> {
    let (images, files): (BTreeMap<_, _>, BTreeMap<_, _>) = others
        .iter()
        .map(|(extension, count)| (extension.clone(), *count))
        .partition(|(extension, _)| unread_format(extension).is_some());
    let mut lines = Vec::new();
    if !images.is_empty() {
        let images = by_extension(&images).join(", ");
        let advice = "convert them to JPEG or PNG";
        lines.push(format!("warning: images left out: {images}; {advice}"));
    }
    if !files.is_empty() {
        let files = by_extension(&files);
        lines.push(format!("other files left out: {}", first_few(&files)));
    }
    if hidden > 0 {
        lines.push(format!("hidden files and folders left out: {hidden}"));
    }
    if !junk.is_empty() {
        let count = |(name, count): (&String, &usize)| format!("{count} {name}");
        let junk: Vec<String> = junk.iter().map(count).collect();
        let junk = first_few(&junk);
        lines.push(format!("left out, of the system or of tools: {junk}"));
    }
    lines
}

/// The name of an image format that is not read, by the extension of its files.
pub(super) fn unread_format(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "heic" | "heif" | "hif" => "HEIC",
        "avif" | "avifs" => "AVIF",
        "jxl" => "JPEG XL",
        "jp2" | "j2k" | "jpf" | "jpx" | "jpc" => "JPEG 2000",
        "ppm" | "pgm" | "pbm" | "pnm" | "pam" => "PNM",
        "tga" => "TGA",
        "ico" => "ICO",
        "svg" | "svgz" => "SVG",
        "psd" => "Photoshop",
        "exr" => "OpenEXR",
        "dds" => "DDS",
        "dcm" => "DICOM",
        "arw" | "cr2" | "cr3" | "dng" | "nef" | "orf" | "raf" | "rw2" => "camera raw",
        _ => return None,
    })
}

/// `2 .txt`, for each extension, the most frequent first; `1 .heic (HEIC is not read)`.
pub(super) fn by_extension(counts: &BTreeMap<String, usize>) -> Vec<String> {
    let mut counts: Vec<(&String, &usize)> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let line = |(extension, count): (&String, &usize)| match (
        extension.as_str(),
        unread_format(extension),
    ) {
        ("", _) => format!("{count} without extension"),
        (extension, Some(format)) => format!("{count} .{extension} ({format} is not read)"),
        (extension, None) => format!("{count} .{extension}"),
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
