//! How a CSV file was read.

use std::fmt;
use std::path::PathBuf;

use crate::data::message::first_names;
use crate::data::target::Task;

/// How a CSV file was read.
///
/// Displayed, it is one line; [`notices`](Self::notices) has what a person should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CsvReport {
    /// The file.
    pub file: PathBuf,
    /// What is between the fields.
    pub delimiter: char,
    /// Whether the first line has the titles of the columns.
    pub header: bool,
    /// The column of the paths: its title, or its number from 0 where there is no header.
    pub path_column: String,
    /// The column of the labels, or those of several labels or numbers.
    pub label_columns: Vec<String>,
    /// What they have.
    pub task: Task,
    /// The column that says which part an image belongs to.
    pub split_column: Option<String>,
    /// How many rows name an image that a row before names for the same part. Each counts.
    pub repeated: usize,
    /// How many rows give more labels to an image that a row before names for the same part.
    pub joined: usize,
    /// How many paths are without extension, and stand for the one image that is called so.
    pub completed: usize,
    /// How many paths have backslashes for slashes.
    pub turned: usize,
}

impl CsvReport {
    /// What a person should be told: what was detected, unless it is what everybody expects of a
    /// CSV file, and what is not as it stands in the file.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        if !self.is_plain() {
            notices.push(self.to_string());
        }
        let counts = [
            (self.turned, "backslashes in paths, taken as slashes"),
            (
                self.completed,
                "names without extension, each taken as the one image that is called so",
            ),
            (
                self.repeated,
                "rows that name an image once more, each of which counts",
            ),
            (
                self.joined,
                "rows that name an image once more, whose labels are joined to those before",
            ),
        ];
        let file = self.file.display();
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        notices.extend(counts.map(|(count, what)| format!("{file}: {what}: {count}")));
        notices
    }

    fn is_plain(&self) -> bool {
        let split = self.split_column.as_deref().unwrap_or("split");
        self.header
            && self.delimiter == ','
            && self.path_column.eq_ignore_ascii_case("path")
            && matches!(self.label_columns.as_slice(), [label] if label.eq_ignore_ascii_case("label"))
            && split.eq_ignore_ascii_case("split")
    }
}

impl fmt::Display for CsvReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delimiter = match self.delimiter {
            ',' => "commas".to_owned(),
            ';' => "semicolons".to_owned(),
            '\t' => "tabs".to_owned(),
            '|' => "bars".to_owned(),
            other => format!("`{other}`"),
        };
        write!(
            f,
            "{}: {delimiter} between the fields, {}paths in column `{}`, {} in {}, ",
            self.file.display(),
            if self.header { "" } else { "no header, " },
            self.path_column,
            match self.task {
                Task::SingleLabel | Task::MultiLabel => "labels",
                Task::Regression => "numbers",
            },
            match self.label_columns.as_slice() {
                [column] => format!("column `{column}`"),
                columns => format!("columns {}", first_names(columns)),
            }
        )?;
        match &self.split_column {
            Some(column) => write!(f, "the split in column `{column}`"),
            None => f.write_str("no column for the split"),
        }
    }
}
