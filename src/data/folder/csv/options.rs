//! What a caller says about a CSV file.

use crate::error::{Error, Result};

/// How a CSV file is read. What is not given is detected, and [`CsvReport`](super::CsvReport) says
/// what was.
///
/// A column is named by its title, in any case, or by its number, counted from 0. The command has a
/// flag for each: `--csv-delimiter`, `--csv-path-column`, `--csv-label-column` and
/// `--csv-split-column`.
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CsvOptions {
    /// What is between the fields: any character of ASCII but letters, digits, quotes and line
    /// ends.
    pub delimiter: Option<char>,
    /// The column of the paths.
    pub path_column: Option<String>,
    /// The column of the labels.
    pub label_column: Option<String>,
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
    pub(super) fn named(&self) -> Vec<&str> {
        let names = [
            self.path_column.as_deref(),
            self.label_column.as_deref(),
            self.split_column(),
        ];
        names.into_iter().flatten().collect()
    }

    /// The column of the split, if one was named.
    pub(super) fn split_column(&self) -> Option<&str> {
        match &self.split {
            CsvSplit::Column(column) => Some(column),
            CsvSplit::Detect | CsvSplit::Ignore => None,
        }
    }
}
