//! A CSV file of paths and labels.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};

use super::Sample;
use super::found::{Beside, Candidates, Found, LeftOut};
use super::report::{Division, Part, first_few, shortened};
use super::whole::{Given, Listed};
use crate::error::{Error, Result};

/// The classes and images that a file names.
pub(super) fn find(file: &Path) -> Result<Found> {
    let content = read(file)?;
    let table = Table::new(file, &content)?;
    let has_split = table.split.is_some();
    let rows = table.rows()?;

    let mut classes: Vec<String> = rows
        .iter()
        .filter(|row| row.part == Part::Train)
        .map(|row| row.label.clone())
        .collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.is_empty() {
        let found = match rows.len() {
            0 => "a header alone".to_owned(),
            rows => format!("none in {rows} lines"),
        };
        return Err(data(file, "training images", found));
    }

    let mut parts = [Part::Train, Part::Valid, Part::Test].map(|_| Candidates {
        // Paths start from the folder of the file.
        base: file.parent().unwrap_or(Path::new("")).to_path_buf(),
        place: file.to_path_buf(),
        samples: Vec::new(),
    });
    for row in rows {
        let label = classes.binary_search(&row.label);
        let label = label.ok().and_then(|label| u32::try_from(label).ok());
        let label = label.ok_or_else(|| {
            let expected = format!("a class that has training images in line {}", row.line);
            data(file, expected, shortened(&row.label))
        })?;
        parts[row.part as usize].samples.push(Sample {
            path: row.path.into_boxed_path(),
            label,
            line: row.line,
        });
    }
    let [train, valid, test] = parts;
    let some = |part: Candidates| (!part.samples.is_empty()).then_some(part);
    let (valid, test) = (some(valid), some(test));
    Ok(Found {
        place: file.to_path_buf(),
        wanted: "images".to_owned(),
        beside: vec![Beside::default(); classes.len()],
        classes,
        train,
        valid,
        test,
        division: match has_split {
            true => Division::Column,
            false => Division::Folders,
        },
        left_out: LeftOut::default(),
    })
}

/// The images to evaluate on, in their parts if a column says some.
pub(super) fn given(file: &Path) -> Result<Given> {
    let content = read(file)?;
    let table = Table::new(file, &content)?;
    let division = match table.split {
        Some(_) => Division::Column,
        None => Division::Whole,
    };
    let mut rows: BTreeMap<Part, Vec<Row>> = BTreeMap::new();
    for row in table.rows()? {
        rows.entry(row.part).or_default().push(row);
    }
    let named = division == Division::Column;
    let parts = rows.into_iter().map(|(part, rows)| {
        let mut names: Vec<String> = rows.iter().map(|row| row.label.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let samples = rows.into_iter().map(|row| {
            let label = names.binary_search(&row.label).unwrap_or_default();
            let label = u32::try_from(label).map_err(|_| {
                let expected = "as many classes as can be counted with 32 bits";
                Error::argument("classes", expected, label)
            })?;
            Ok(Sample {
                path: row.path.into_boxed_path(),
                label,
                line: row.line,
            })
        });
        let images = Candidates {
            base: file.parent().unwrap_or(Path::new("")).to_path_buf(),
            place: file.to_path_buf(),
            samples: samples.collect::<Result<_>>()?,
        };
        Ok(Listed {
            part: named.then_some(part),
            names,
            images,
        })
    });
    Ok(Given {
        place: file.to_path_buf(),
        wanted: "images".to_owned(),
        parts: parts.collect::<Result<_>>()?,
        division,
        left_out: LeftOut::default(),
    })
}

fn data(file: &Path, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Data {
        path: file.to_path_buf(),
        expected: expected.into(),
        found: found.into(),
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let wrong = |found: &str| Err(data(file, "a CSV file", found));
    match fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => fs::read(file).map_err(Error::io("read", file)),
        Ok(metadata) if metadata.is_dir() => wrong("a folder"),
        // Opening anything but a file may wait for ever.
        Ok(_) => wrong("no regular file"),
        Err(error) if error.kind() == ErrorKind::NotFound => wrong("no such file"),
        Err(error) => Err(Error::io("read", file)(error)),
    }
}

/// A file of which the header was read.
struct Table<'a> {
    file: &'a Path,
    content: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    path: usize,
    label: usize,
    split: Option<usize>,
}

/// A line of the file.
struct Row {
    path: PathBuf,
    label: String,
    part: Part,
    line: u32,
}

impl<'a> Table<'a> {
    fn new(file: &'a Path, content: &'a [u8]) -> Result<Self> {
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(content);
        let header = reader.headers().map_err(|e| bad(file, content, e))?;
        let column = |name: &str| {
            let mut named = header
                .iter()
                .enumerate()
                .filter(|(_, title)| title.eq_ignore_ascii_case(name));
            let found = named.next().map(|(index, _)| index);
            match named.next() {
                Some(_) => Err(data(file, format!("one column `{name}`"), "two")),
                None => Ok(found),
            }
        };
        let (path, label, split) = (column("path")?, column("label")?, column("split")?);
        let (Some(path), Some(label)) = (path, label) else {
            let titles: Vec<String> = header.iter().map(shortened).collect();
            let expected = "a header with the columns `path` and `label`";
            let found = match titles.is_empty() {
                true => "nothing".to_owned(),
                false => first_few(&titles),
            };
            return Err(data(file, expected, found));
        };
        Ok(Self {
            file,
            content,
            path,
            label,
            split,
            reader,
        })
    }

    fn rows(mut self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        // The line that a file was first named in.
        let mut lines: HashMap<PathBuf, u32> = HashMap::new();
        let mut record = StringRecord::new();
        let (file, content) = (self.file, self.content);
        while self
            .reader
            .read_record(&mut record)
            .map_err(|error| bad(file, content, error))?
        {
            let row = self.row(&record)?;
            if let Some(first) = lines.insert(row.path.clone(), row.line) {
                let path = shortened(&row.path.to_string_lossy());
                let expected = format!("another image in line {}", row.line);
                return Err(data(file, expected, format!("{path}, as in line {first}")));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn row(&self, record: &StringRecord) -> Result<Row> {
        let line = line_of(self.content, record.position());
        let wrong = |expected: &str, found: &str| {
            let expected = format!("{expected} in line {line}");
            Err(data(self.file, expected, found))
        };
        // The reader saw to it that there are as many fields as in the header.
        let field = |column: usize| record.get(column).unwrap_or_default();
        let (path, label) = (field(self.path), field(self.label));
        if path.is_empty() {
            return wrong("a path", "an empty field");
        }
        if path.contains(['\n', '\r', '\0']) {
            // The usual reason is a quote that is not closed.
            return wrong("a path on one line", &shortened(path));
        }
        if label.is_empty() {
            return wrong("a label", "an empty field");
        }
        if label.contains(['\n', '\r']) {
            return wrong("a label on one line", &shortened(label));
        }
        let part = match self.split {
            None => Part::Train,
            Some(split) => match Part::named(field(split)) {
                Some(part) => part,
                None => return wrong("`train`, `val` or `test`", &shortened(field(split))),
            },
        };
        Ok(Row {
            // `./a.png` and `a.png` are the same file.
            path: Path::new(path)
                .components()
                .filter(|part| *part != Component::CurDir)
                .collect(),
            label: label.to_owned(),
            part,
            line,
        })
    }
}

/// The line that a record begins in. The reader counts the empty lines before it to the record.
fn line_of(content: &[u8], position: Option<&csv::Position>) -> u32 {
    let Some(position) = position else {
        return 1;
    };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = content.get(start..).unwrap_or_default();
    let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    let line = position.line() + empty.filter(|byte| **byte == b'\n').count() as u64;
    // It is only for messages.
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// The reader's error with the line.
fn bad(file: &Path, content: &[u8], error: csv::Error) -> Error {
    let reason = error.to_string();
    let line = line_of(content, error.position());
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::io("read", file)(source),
        csv::ErrorKind::Utf8 { .. } => {
            data(file, format!("text in UTF-8 in line {line}"), "other bytes")
        }
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            let expected = format!("{expected_len} fields in line {line}, as in the header");
            data(file, expected, len.to_string())
        }
        _ => data(file, "a CSV file", reason),
    }
}
