//! How folders of images and CSV files are read.

use std::path::PathBuf;

use super::extensions::DECODED;
use crate::cache_folder::cache_folder;
use crate::data::message::quoted;
use crate::data::target::Task;
use crate::data::valid_share;
use crate::error::{Error, Result};
use crate::preprocess::DecodeOptions;

/// How a folder or a CSV file is read.
///
/// ```
/// use burn_zoo::data::{Broken, FolderOptions};
///
/// let options = FolderOptions {
///     valid_share: 0.1,
///     broken: Broken::Skip,
///     ..FolderOptions::default()
/// };
/// assert_eq!(options.seed, 42);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FolderOptions {
    /// What is to be told of images. With [`Task::MultiLabel`] an image of a folder has the classes of
    /// all folders that it is linked into, by symbolic or hard links (on Windows symbolic ones);
    /// [`Task::Regression`] takes CSV files only.
    pub task: Task,
    /// The share of each class that becomes validation images where the data set has none of its
    /// own, above 0 and below 1. It is rounded; a class of two images or more has at least one in
    /// either part, and a single image is for training. Of several labels each is divided like this
    /// as far as those that come together allow it, by iterative stratification (Sechidis et al.,
    /// ECML PKDD 2011); images with numbers are divided as if they were of one class.
    pub valid_share: f64,
    /// Seed of that split. An image's place depends on the seed, its path below the folder and its
    /// rank among its class, so that the same seed gives the same split on every machine, and a
    /// new image moves at most one other. Of images with several labels it may move more.
    pub seed: u64,
    /// What becomes of images that cannot be read.
    pub broken: Broken,
    /// How carefully images are looked at before anything else happens. `None` is
    /// [`Check::Quick`].
    pub check: Option<Check>,
    /// The folder that keeps which images were found sound, by path, size and time of change, so
    /// that they are not looked at again; `None` keeps nothing. By default the folder `looks` in
    /// `$BURN_ZOO_CACHE`, or in the cache folder of the user. Where nothing can be read or written,
    /// that costs time only.
    pub remember_in: Option<PathBuf>,
    /// Images that are left out unseen, by the paths that
    /// [`ImageFolder::path`](super::ImageFolder::path) gives: those that a run which goes on left
    /// out when it began. Their number is told in
    /// [`FolderReport::left_out_before`](super::FolderReport::left_out_before); what is not there
    /// is not missed.
    pub left_out: Vec<PathBuf>,
    /// The extensions of images, in any case, with or without a dot; other files are left out and
    /// counted. A CSV file may name images with any extension.
    pub extensions: Vec<String>,
    /// Accepts classes without a single image, which keep their place among the labels. Otherwise
    /// an empty folder is no class, and one whose images cannot be read is an error.
    pub allow_empty: bool,
    /// The largest image that is accepted, and whether it is turned as its EXIF data say.
    pub decode: DecodeOptions,
    /// How a CSV file is read. With a folder, anything but the default is an error.
    pub csv: CsvOptions,
}

/// What becomes of an image that cannot be read, and of a link to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Broken {
    /// The first one, in the order of the data set, is an error that names it.
    #[default]
    Fail,
    /// It is left out, and [`FolderReport::skipped`](super::FolderReport::skipped) says so. Only
    /// what the [`Check`] finds is left out here. An image that turns out to be broken when it is
    /// read, as one may that only looked sound, is an error there, which whoever reads it has to
    /// deal with.
    Skip,
}

/// How carefully images are looked at when a data set is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Not at all.
    No,
    /// The header of each file, the lengths that it declares, and its end, so that one that was cut
    /// off is found. A file that does not look sound is decoded, and only that decides; so is a GIF, and what
    /// has several frames or pages. Damage in the middle is not seen.
    Quick,
    /// Each image is decoded once.
    Full,
}

/// How a CSV file is read. What is not given is detected, and
/// [`FolderReport::notices`](super::FolderReport::notices) says what was.
///
/// A column is named by its title, in any case, or by its number, counted from 0. The command has a
/// flag for each: `--csv-delimiter`, `--csv-path-column`, `--csv-label-column`,
/// `--csv-label-columns`, `--csv-label-separator` and `--csv-split-column`.
///
/// ```
/// use burn_zoo::data::{CsvOptions, CsvSplit, FolderOptions};
///
/// let options = FolderOptions {
///     csv: CsvOptions {
///         label_column: Some("breed".to_owned()),
///         split: CsvSplit::Column("is_valid".to_owned()),
///         ..CsvOptions::default()
///     },
///     ..FolderOptions::default()
/// };
/// assert_eq!(options.csv.delimiter, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// What is between the fields: any character of ASCII but letters, digits, quotes and line
    /// ends.
    pub delimiter: Option<char>,
    /// The column of the paths.
    pub path_column: Option<String>,
    /// The column of the labels: one class, several labels with
    /// [`label_separator`](Self::label_separator) between them, or a number, by
    /// [`FolderOptions::task`].
    pub label_column: Option<String>,
    /// In place of it several columns: of several labels one each, which says 1 or 0 (true or false,
    /// yes or no, nothing for 0), or of numbers one each. Labels and numbers come in this order.
    pub label_columns: Vec<String>,
    /// What is between several labels in a column: any character but letters, digits, quotes and line
    /// ends. By default `|`.
    pub label_separator: char,
    /// The column that says which part an image belongs to.
    pub split: CsvSplit,
}

/// The column of a CSV file that says which part an image belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CsvSplit {
    /// The one that has a usual title, if there is one.
    #[default]
    Detect,
    /// None: the images are split by seed, whatever the columns say.
    Ignore,
    /// This one.
    Column(String),
}

impl Default for CsvOptions {
    /// Everything is detected, and `|` is between several labels.
    fn default() -> Self {
        Self {
            delimiter: None,
            path_column: None,
            label_column: None,
            label_columns: Vec::new(),
            label_separator: '|',
            split: CsvSplit::default(),
        }
    }
}

impl Default for FolderOptions {
    /// One class for each image; a fifth of each class for validation by seed 42; broken images are errors; BMP, GIF, JPEG,
    /// PNG, TIFF and WebP files; no class may be empty.
    fn default() -> Self {
        Self {
            task: Task::default(),
            valid_share: 0.2,
            seed: 42,
            broken: Broken::Fail,
            check: None,
            remember_in: cache_folder().map(|root| root.join("looks")),
            extensions: DECODED.map(str::to_owned).to_vec(),
            allow_empty: false,
            decode: DecodeOptions::default(),
            csv: CsvOptions::default(),
            left_out: Vec::new(),
        }
    }
}

impl FolderOptions {
    pub(super) fn validate(&self) -> Result<()> {
        valid_share::check(self.valid_share)
    }

    /// Refuses columns that do not go with the task.
    pub(super) fn check_label_columns(&self) -> Result<()> {
        let csv = &self.csv;
        if !csv.label_columns.is_empty() {
            if self.task == Task::SingleLabel {
                let expected = "--task multi-label or --task regression beside it";
                return Err(Error::argument("--csv-label-columns", expected, self.task));
            }
            if let Some(column) = &csv.label_column {
                let expected = "it or --csv-label-column";
                let found = format!("both, the latter with {}", quoted(column));
                return Err(Error::argument("--csv-label-columns", expected, found));
            }
        }
        let separator = csv.label_separator;
        if separator.is_alphanumeric() || "\"\r\n\0".contains(separator) {
            let expected = "a character such as `|`, `;` or a space";
            let found = format!("{separator:?}");
            return Err(Error::argument("--csv-label-separator", expected, found));
        }
        let is_used = self.task == Task::MultiLabel && csv.label_columns.is_empty();
        if separator != Self::default().csv.label_separator && !is_used {
            let expected = "a column of several labels, with --task multi-label";
            let found = format!("{separator:?} without it");
            return Err(Error::argument("--csv-label-separator", expected, found));
        }
        Ok(())
    }
}

impl CsvOptions {
    pub(super) fn delimiter(&self) -> Result<Option<u8>> {
        let Some(delimiter) = self.delimiter else {
            return Ok(None);
        };
        let fits = |byte: &u8| {
            byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n\0".contains(byte)
        };
        let byte = u8::try_from(delimiter).ok().filter(fits);
        byte.map(Some).ok_or_else(|| {
            let expected = "a character such as `,`, `;`, `|` or a tab";
            Error::argument("--csv-delimiter", expected, format!("{delimiter:?}"))
        })
    }

    /// The columns that the caller names.
    pub(super) fn named_columns(&self) -> impl Iterator<Item = &str> {
        let [path, label] = [&self.path_column, &self.label_column].map(Option::as_deref);
        let named = [path, label, self.split_column()].into_iter().flatten();
        named.chain(self.label_columns.iter().map(String::as_str))
    }

    /// The column of the split, if one was named.
    pub(super) fn split_column(&self) -> Option<&str> {
        match &self.split {
            CsvSplit::Column(column) => Some(column),
            CsvSplit::Detect | CsvSplit::Ignore => None,
        }
    }
}
