//! From a text to its records: what is between the fields, and whether there is a header.

use std::io::{Chain, Read as _};
use std::path::Path;

use csv::{ReaderBuilder, StringRecord};

use super::column_names;
use super::image_paths::ImagePaths;
use crate::data::message::{first_few, quoted};
use crate::error::{Error, Result};

/// So many lines show what is between the fields.
const SAMPLE_LINES: usize = 100;

/// The records of a file.
pub(super) struct Table {
    pub(super) delimiter: u8,
    /// The titles of the columns, unless the file has none.
    pub(super) titles: Option<Vec<String>>,
    /// All others.
    pub(super) records: Vec<Record>,
    /// How many columns there are.
    pub(super) width: usize,
}

/// A record, and the line that it begins in.
pub(super) struct Record {
    pub(super) fields: StringRecord,
    pub(super) line: u32,
}

impl Record {
    /// A field without the white space and the quotes around it, or nothing.
    pub(super) fn field(&self, column: usize) -> &str {
        self.fields.get(column).unwrap_or_default()
    }
}

impl Table {
    /// Reads all records. A column that is `named` is known by its title.
    pub(super) fn new(
        file: &Path,
        text: &str,
        delimiter: Option<u8>,
        named: &[&str],
        paths: &mut ImagePaths,
    ) -> Result<Self> {
        let is_title = |field: &str| {
            let same = |name: &&str| name.eq_ignore_ascii_case(field);
            column_names::is_usual(field) || named.iter().any(same)
        };
        let delimiter = delimiter.unwrap_or_else(|| detect(file, text, is_title, paths));
        let mut records = Vec::new();
        for record in Records::new(text, delimiter) {
            records.push(record.map_err(|reason| Error::data(file, "a CSV file", reason))?);
        }
        let Some(first) = records.first() else {
            let expected = "a header such as `path,label`, and lines of images";
            return Err(Error::data(file, expected, "nothing"));
        };
        let width = first.fields.len();
        let with_header = has_header(&first.fields, is_title, paths);
        let like = if with_header {
            "the header"
        } else {
            "the first line"
        };
        if let Some(odd) = records.iter().find(|record| record.fields.len() != width) {
            let expected = format!("{width} fields in line {}, as in {like}", odd.line);
            return Err(Error::data(file, expected, odd.fields.len().to_string()));
        }
        let titles = with_header.then(|| records.remove(0));
        let titles = titles.map(|record| record.fields.iter().map(title).collect());
        Ok(Self {
            delimiter,
            titles,
            records,
            width,
        })
    }

    pub(super) fn title(&self, column: usize) -> Option<&str> {
        let title = self.titles.as_ref()?.get(column)?;
        Some(title)
    }

    /// What messages call a column: its title, or its number.
    pub(super) fn name(&self, column: usize) -> String {
        let title = self.title(column).map(str::to_owned);
        title.unwrap_or_else(|| column.to_string())
    }

    /// All columns, for a message.
    pub(super) fn columns(&self) -> String {
        match &self.titles {
            Some(titles) => {
                let titles: Vec<String> = titles.iter().map(|title| quoted(title)).collect();
                first_few(&titles)
            }
            None => format!("{} columns without a header", self.width),
        }
    }
}

/// The delimiter by which the first line makes the most sense, and the others are like it.
fn detect(file: &Path, text: &str, is_title: impl Fn(&str) -> bool, paths: &ImagePaths) -> u8 {
    let extension = file.extension();
    let has_tabs = extension.is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
    // What is tried, the most usual first.
    let usual = if has_tabs { b"\t,;|" } else { b",;\t|" };
    let sense = |delimiter: u8| {
        let records: Vec<_> = Records::new(text, delimiter)
            .flatten()
            .take(SAMPLE_LINES)
            .collect();
        let width = records.first().map_or(0, |first| first.fields.len());
        if width < 2 {
            return (0, 0);
        }
        let fields = records.first().into_iter().flat_map(|first| &first.fields);
        let told = fields.filter(|field| is_title(field) || paths.looks_like_image(field));
        let alike = records.iter().filter(|record| record.fields.len() == width);
        (told.count(), alike.count())
    };
    // The first of those that are equal.
    let best = usual.iter().rev().max_by_key(|d| sense(**d));
    best.copied().unwrap_or(b',')
}

/// A first line that names an image is none, whatever else is in it.
fn has_header(
    first: &StringRecord,
    is_title: impl Fn(&str) -> bool,
    paths: &mut ImagePaths,
) -> bool {
    if first.iter().any(|field| paths.looks_like_image(field)) {
        return false;
    }
    first.iter().any(is_title) || !first.iter().any(|field| paths.is_there(field))
}

/// The records of a text, without those that are empty.
struct Records<'t> {
    text: &'t str,
    reader: csv::Reader<Chain<&'t [u8], &'static [u8]>>,
    /// The line that the record before begins in; none at the end.
    line: Option<u32>,
}

/// A last line of our own: without a record of it, a quote of the text is still open.
const END: &[u8] = b"\nend";

impl<'t> Records<'t> {
    fn new(text: &'t str, delimiter: u8) -> Self {
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes().chain(END));
        Self {
            text,
            reader,
            line: Some(1),
        }
    }

    /// The byte and the line that a record begins at. The reader counts the empty lines before it to the
    /// record.
    fn start(&self, position: Option<&csv::Position>) -> (usize, u32) {
        let Some(position) = position else {
            return (0, 1);
        };
        let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let is_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let empty = rest.iter().take_while(is_end).count();
        let lines = rest[..empty].iter().filter(|byte| **byte == b'\n').count();
        // It is only for messages.
        let line = u32::try_from(position.line() + lines as u64).unwrap_or(u32::MAX);
        (start.saturating_add(empty), line)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let before = self.line.take()?;
            let mut fields = StringRecord::new();
            match self.reader.read_record(&mut fields) {
                Ok(true) => {}
                Ok(false) => {
                    return Some(Err(format!(
                        "a quote in line {before} that is never closed"
                    )));
                }
                Err(error) => return Some(Err(error.to_string())),
            }
            let (start, line) = self.start(fields.position());
            if start >= self.text.len() {
                return None;
            }
            self.line = Some(line);
            let fields: StringRecord = fields.iter().map(bare).collect();
            // A line of white space is as good as an empty one.
            if fields.len() > 1 || !fields.as_slice().is_empty() {
                return Some(Ok(Record { fields, line }));
            }
        }
    }
}

/// A title on one line, as messages show it.
fn title(field: &str) -> String {
    field.replace(char::is_control, " ")
}

/// A field without white space around it, and without quotes: the reader leaves them where white space is
/// before them.
fn bare(field: &str) -> &str {
    let trimmed = field.trim();
    let inner = trimmed.strip_prefix('"').and_then(|f| f.strip_suffix('"'));
    match inner {
        Some(inner) if field.starts_with(char::is_whitespace) => inner.trim(),
        _ => trimmed,
    }
}
