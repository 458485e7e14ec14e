//! How a CSV file was read, and what is perhaps a mistake in it.

use std::fmt;
use std::path::PathBuf;

use crate::data::folder::report::Part;

/// How a CSV file was read.
///
/// Displayed, it is one line; [`notices`](Self::notices) has what a person should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CsvReport {
    /// The file.
    pub file: PathBuf,
    /// What is between the fields.
    pub delimiter: char,
    /// Whether the first line has the titles of the columns.
    pub header: bool,
    /// The column of the paths: its title, or its number from 0 where there is no header.
    pub path_column: String,
    /// The column of the labels.
    pub label_column: String,
    /// The column that says which part an image belongs to.
    pub split_column: Option<String>,
    /// How many rows name an image that a row before names for the same part. Each counts.
    pub repeated: usize,
    /// How many paths are without extension, and stand for the one image that is called so.
    pub completed: usize,
    /// How many paths have backslashes for slashes.
    pub turned: usize,
}

/// What is perhaps a mistake in a CSV file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CsvWarning {
    /// A column was taken because nothing else can be meant, not for its title.
    GuessedColumn {
        /// The column.
        column: String,
        /// What it is taken to hold.
        holds: &'static str,
        /// The flag that names another.
        flag: &'static str,
    },
    /// A column is called as a split may be, but says nothing of the kind.
    NoSplit {
        /// The column.
        column: String,
    },
    /// A split that is left aside because the caller asks for it.
    IgnoredSplit {
        /// The column.
        column: String,
    },
    /// The split has training images only, so that the seed decides.
    AllTraining {
        /// The column.
        column: String,
    },
    /// The same images are in two parts, so that the second says too much good of a model.
    Shared {
        /// The parts.
        parts: [Part; 2],
        /// How many images.
        count: usize,
        /// The first of them.
        path: PathBuf,
        /// The lines that name it.
        lines: [u32; 2],
    },
    /// Names of classes look like lists of classes.
    Lists {
        /// How many.
        count: usize,
        /// The first of them.
        label: String,
    },
}

impl CsvReport {
    /// What a person should be told: what was detected, unless it is what everybody expects of a
    /// CSV file, and what is not as it stands in the file.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        if !self.is_plain() {
            notices.push(self.to_string());
        }
        let file = self.file.display();
        if self.turned > 0 {
            let count = self.turned;
            notices.push(format!(
                "{file}: backslashes in paths, taken as slashes: {count}"
            ));
        }
        if self.completed > 0 {
            notices.push(format!(
                "{file}: names without extension, each taken as the one image that is called so: {}",
                self.completed
            ));
        }
        if self.repeated > 0 {
            notices.push(format!(
                "{file}: rows that name an image once more, each of which counts: {}",
                self.repeated
            ));
        }
        notices
    }

    fn is_plain(&self) -> bool {
        let plain = |column: &str, title| column.eq_ignore_ascii_case(title);
        self.header
            && self.delimiter == ','
            && plain(&self.path_column, "path")
            && plain(&self.label_column, "label")
            && self
                .split_column
                .as_deref()
                .is_none_or(|c| plain(c, "split"))
    }
}

impl fmt::Display for CsvReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        f.write_str(match self.delimiter {
            ',' => "commas",
            ';' => "semicolons",
            '\t' => "tabs",
            '|' => "bars",
            _ => "",
        })?;
        if !matches!(self.delimiter, ',' | ';' | '\t' | '|') {
            write!(f, "`{}`", self.delimiter)?;
        }
        f.write_str(" between the fields, ")?;
        if !self.header {
            f.write_str("no header, ")?;
        }
        write!(f, "paths in column `{}`, ", self.path_column)?;
        write!(f, "labels in column `{}`", self.label_column)?;
        match &self.split_column {
            Some(column) => write!(f, ", the split in column `{column}`"),
            None => f.write_str(", no column for the split"),
        }
    }
}

impl fmt::Display for CsvWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CsvWarning::GuessedColumn {
                column,
                holds,
                flag,
            } => {
                write!(f, "the column `{column}` is taken for {holds}, ")?;
                write!(f, "as no other can be meant; {flag} names another")
            }
            CsvWarning::NoSplit { column } => {
                write!(f, "the column `{column}` does not say `train` or `val`, ")?;
                f.write_str("so it is left aside")
            }
            CsvWarning::IgnoredSplit { column } => {
                write!(f, "the column `{column}` is left aside, as asked")
            }
            CsvWarning::AllTraining { column } => {
                write!(f, "the column `{column}` has training images only, ")?;
                f.write_str("so the validation images are chosen by seed")
            }
            CsvWarning::Shared {
                parts: [one, other],
                count,
                path,
                lines: [first, second],
            } => {
                write!(
                    f,
                    "images in both the {one} and the {other} part: {count}, "
                )?;
                write!(
                    f,
                    "so the {other} figures are too good (the first: {}, ",
                    path.display()
                )?;
                write!(f, "lines {first} and {second})")
            }
            CsvWarning::Lists { count, label } => {
                write!(
                    f,
                    "names of classes that look like several labels: {count} "
                )?;
                write!(f, "(the first: `{label}`); each is one class, ")?;
                f.write_str("as several labels of an image are not supported")
            }
        }
    }
}
