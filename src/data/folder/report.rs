//! What a folder or a CSV file holds, and what was left out of it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::csv_report::CsvReport;
use super::left_out::{LeftOut, by_extension};
use super::options::Broken;
use super::part::Part;
use super::target_report::TargetReport;
use super::warning::FolderWarning;
use crate::data::message::first_few;
use crate::error::{Error, Result};

/// What a data set holds, and what was left out of it.
///
/// Displayed, it is one line for a log; [`notices`](Self::notices) has a line for each thing that a
/// person should look at.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FolderReport {
    /// The classes in the order of the labels, with the number of their images; none where images have
    /// numbers.
    pub(crate) classes: Vec<ClassCount>,
    /// How many images there are.
    pub(crate) images: PartCounts,
    /// What they are labelled with, where that is not one class each.
    pub(crate) targets: Option<TargetReport>,
    /// What says which part an image belongs to.
    pub division: Division,
    /// The images that cannot be read, with [`Broken::Skip`].
    pub skipped: Vec<Skipped>,
    /// How many images of [`FolderOptions::left_out`](super::FolderOptions::left_out) were there.
    pub left_out_before: usize,
    /// What was left out because of its name.
    pub(crate) left_out: LeftOut,
    /// What is perhaps a mistake.
    pub(crate) warnings: Vec<FolderWarning>,
    /// How the CSV file was read, if it is one.
    pub(crate) csv: Option<CsvReport>,
}

/// The number of images of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClassCount {
    /// The class.
    pub name: String,
    /// Its images.
    pub images: PartCounts,
}

/// The number of images of each part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PartCounts {
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
    /// A column of a CSV file.
    Column,
    /// Nothing: all images belong together.
    Undivided,
    /// The seeded, stratified split.
    Seeded {
        /// The share of each class that is for validation.
        share: f64,
        /// The seed.
        seed: u64,
    },
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

impl Skipped {
    pub(super) fn new(path: &Path, error: &Error) -> Self {
        Self {
            path: path.to_path_buf(),
            reason: error.without_path(),
        }
    }
}

impl ClassCount {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            images: PartCounts::default(),
        }
    }
}

impl PartCounts {
    /// The count of a part; where there are none, that of all images.
    pub(super) fn of(&mut self, part: Option<Part>) -> &mut usize {
        match part {
            Some(Part::Train) => &mut self.train,
            Some(Part::Valid) => &mut self.valid,
            Some(Part::Test) | None => &mut self.test,
        }
    }
}

impl FolderReport {
    pub(super) fn new(division: Division) -> Self {
        Self {
            classes: Vec::new(),
            images: PartCounts::default(),
            targets: None,
            division,
            skipped: Vec::new(),
            left_out_before: 0,
            left_out: LeftOut::default(),
            warnings: Vec::new(),
            csv: None,
        }
    }

    /// What a person should be told, in lines: how a CSV file was read, how many images have each of
    /// several labels and which values numbers have, what is perhaps a mistake, and what was left out.
    pub fn notices(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.left_out_before > 0 {
            lines.push(format!(
                "images left out as when the run began: {}",
                self.left_out_before
            ));
        }
        lines.extend(self.csv.iter().flat_map(CsvReport::notices));
        lines.extend(self.targets.iter().map(TargetReport::notice));
        let warnings = self.warnings.iter();
        lines.extend(warnings.map(|warning| format!("warning: {warning}")));
        lines.extend(self.skipped.iter().map(|image| format!("skipped: {image}")));
        lines.extend(self.left_out.lines());
        lines
    }

    /// Whether the test images stand for validation images.
    pub fn test_is_valid(&self) -> bool {
        let is = |warning: &FolderWarning| matches!(warning, FolderWarning::TestIsValid(_));
        self.warnings.iter().any(is)
    }

    /// An image that cannot be read: an error, or a line of the report.
    pub(super) fn broken(&mut self, path: &Path, error: Error, broken: Broken) -> Result<()> {
        if broken == Broken::Fail {
            return Err(error);
        }
        self.skipped.push(Skipped::new(path, &error));
        Ok(())
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Division::Folders => f.write_str("in folders of their own"),
            Division::Column => f.write_str("as a column of the CSV file says"),
            Division::Undivided => f.write_str("undivided"),
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
        let PartCounts { train, valid, test } = self.images;
        match &self.targets {
            None => write!(f, "{} classes, ", self.classes.len())?,
            Some(TargetReport::Labels { counts, .. }) => write!(f, "{} labels, ", counts.len())?,
            Some(TargetReport::Numbers { ranges, .. }) if ranges.len() == 1 => {
                write!(f, "a number for each image, ")?;
            }
            Some(TargetReport::Numbers { ranges, .. }) => {
                write!(f, "{} numbers for each image, ", ranges.len())?;
            }
        }
        if self.division == Division::Undivided {
            write!(f, "{test} images")?;
        } else if test == 0 {
            write!(f, "{train} training and {valid} validation images")?;
        } else {
            write!(
                f,
                "{train} training, {valid} validation and {test} test images"
            )?;
        }
        let column = self.csv.as_ref().and_then(|csv| csv.split_column.as_ref());
        match column.filter(|_| self.division == Division::Column) {
            Some(column) => write!(f, ", as the column `{column}` says")?,
            None => write!(f, ", {}", self.division)?,
        }
        if !self.skipped.is_empty() {
            write!(f, "; broken and skipped: {}", self.skipped.len())?;
        }
        let LeftOut {
            hidden,
            junk,
            others,
        } = &self.left_out;
        if !others.is_empty() {
            write!(f, "; other files: {}", first_few(&by_extension(others)))?;
        }
        if !junk.is_empty() {
            write!(
                f,
                "; of systems and tools: {}",
                junk.values().sum::<usize>()
            )?;
        }
        if *hidden > 0 {
            write!(f, "; hidden: {hidden}")?;
        }
        Ok(())
    }
}
