//! A CSV file of paths and labels.

mod columns;
mod options;
mod paths;
mod report;
mod table;
mod text;
mod titles;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::found::{Beside, Candidates, Found, LeftOut};
use super::report::{Division, FolderWarning, Part, first_few, shortened};
use super::whole::{Given, Listed};
use super::{FolderOptions, Sample, labels};
use crate::error::{Error, Result};
use columns::{Columns, Finder};
use paths::Paths;
use table::{Record, Table};

pub use options::{CsvOptions, CsvSplit};
pub use report::{CsvReport, CsvWarning};

/// The classes and images that a file names.
pub(super) fn find(file: &Path, options: &FolderOptions) -> Result<Found> {
    let Sheet {
        rows,
        report,
        mut warnings,
    } = Sheet::read(file, options)?;
    let classes = classes(file, &rows)?;
    let [train, valid, test] = parts(file, rows, &classes)?;
    let some = |part: Candidates| (!part.samples.is_empty()).then_some(part);
    let (valid, test) = (some(valid), some(test));
    if let (Some(column), None, None) = (&report.split_column, &valid, &test) {
        let column = column.clone();
        warnings.push(CsvWarning::AllTraining { column });
    }
    Ok(Found {
        place: file.to_path_buf(),
        wanted: "images".to_owned(),
        beside: vec![Beside::default(); classes.len()],
        classes,
        train,
        valid,
        test,
        division: Division::Column,
        left_out: left_out(report, warnings),
    })
}

/// The images to evaluate on, in their parts if a column says some.
pub(super) fn given(file: &Path, options: &FolderOptions) -> Result<Given> {
    let Sheet {
        rows,
        report,
        warnings,
    } = Sheet::read(file, options)?;
    let named = report.split_column.is_some();
    let mut by_part: BTreeMap<Part, Vec<Row>> = BTreeMap::new();
    for row in rows {
        by_part.entry(row.part).or_default().push(row);
    }
    let mut listed = Vec::new();
    for (part, rows) in by_part {
        let names = sorted(&rows, |_| true);
        let [train, valid, test] = parts(file, rows, &names)?;
        listed.push(Listed {
            part: named.then_some(part),
            names,
            images: match part {
                Part::Train => train,
                Part::Valid => valid,
                Part::Test => test,
            },
        });
    }
    Ok(Given {
        place: file.to_path_buf(),
        wanted: "images".to_owned(),
        parts: listed,
        division: if named {
            Division::Column
        } else {
            Division::Whole
        },
        left_out: left_out(report, warnings),
    })
}

fn left_out(report: CsvReport, warnings: Vec<CsvWarning>) -> LeftOut {
    LeftOut {
        warnings: warnings.into_iter().map(FolderWarning::Csv).collect(),
        csv: Some(report),
        ..LeftOut::default()
    }
}

/// What a file says.
struct Sheet {
    rows: Vec<Row>,
    report: CsvReport,
    warnings: Vec<CsvWarning>,
}

impl Sheet {
    fn read(file: &Path, options: &FolderOptions) -> Result<Self> {
        let delimiter = options.csv.delimiter()?;
        let extensions = options.checked_extensions()?;
        // Paths start from the folder of the file.
        let base = file.parent().unwrap_or(Path::new(""));
        let mut paths = Paths::new(base, &extensions);
        let text = text::read(file)?;
        let table = Table::new(file, &text, delimiter, &options.csv.named(), &mut paths)?;
        drop(text);
        let mut finder = Finder {
            file,
            table: &table,
            options: &options.csv,
            warnings: Vec::new(),
        };
        let columns = finder.columns(&mut paths)?;
        let mut warnings = finder.warnings;
        let mut images = Images::default();
        for record in &table.records {
            let row = row(file, &columns, record, &mut paths)?;
            images.add(file, row, &paths)?;
        }
        warnings.extend(images.shared());
        let labels = sorted(&images.rows, |_| true);
        let lists = labels::lists(&labels);
        if let Some(label) = lists.first() {
            warnings.push(CsvWarning::Lists {
                count: lists.len(),
                label: (*label).to_owned(),
            });
        }
        let report = CsvReport {
            file: file.to_path_buf(),
            delimiter: char::from(table.delimiter),
            header: table.titles.is_some(),
            path_column: table.name(columns.path),
            label_column: table.name(columns.label),
            split_column: columns.split.map(|(column, _)| table.name(column)),
            repeated: images.repeated,
            completed: paths.completed,
            turned: paths.turned,
        };
        Ok(Self {
            rows: images.rows,
            report,
            warnings,
        })
    }
}

fn data(file: &Path, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Data {
        path: file.to_path_buf(),
        expected: expected.into(),
        found: found.into(),
    }
}

/// A line of the file.
struct Row {
    path: PathBuf,
    label: String,
    part: Part,
    line: u32,
}

fn row(file: &Path, columns: &Columns, record: &Record, paths: &mut Paths) -> Result<Row> {
    let line = record.line;
    let wrong = |expected: &str, found: String| {
        let expected = format!("{expected} in line {line}");
        Err(data(file, expected, found))
    };
    let empty = || "an empty field".to_owned();
    let (path, label) = (record.field(columns.path), record.field(columns.label));
    if path.is_empty() {
        return wrong("a path", empty());
    }
    if path.contains(['\n', '\r', '\0']) {
        // The usual reason is a quote that is not closed.
        return wrong("a path on one line", shortened(path));
    }
    if label.is_empty() {
        return wrong("a label", empty());
    }
    if label.contains(['\n', '\r']) {
        return wrong("a label on one line", shortened(label));
    }
    let mut part = Part::Train;
    if let Some((column, meaning)) = columns.split {
        let field = record.field(column);
        part = match meaning.part(field) {
            Some(part) => part,
            None if field.is_empty() => return wrong(meaning.expected(), empty()),
            None => return wrong(meaning.expected(), shortened(field)),
        };
    }
    match paths.find(path) {
        Ok(path) => Ok(Row {
            path,
            label: label.to_owned(),
            part,
            line,
        }),
        Err(several) => {
            let found = format!("{}, which may be {}", shortened(path), first_few(&several));
            wrong("the name of one image", found)
        }
    }
}

/// All rows, and what was seen of each image.
#[derive(Default)]
struct Images {
    rows: Vec<Row>,
    /// For each image, the first row in each part that names it.
    seen: HashMap<PathBuf, [Option<usize>; 3]>,
    repeated: usize,
}

impl Images {
    fn add(&mut self, file: &Path, mut row: Row, paths: &Paths) -> Result<()> {
        let key = paths.key(&row.path).to_path_buf();
        let seen = self.seen.entry(key).or_default();
        let first = seen.iter().flatten().min();
        if let Some(first) = first.and_then(|first| self.rows.get(*first)) {
            if first.label != row.label {
                let path = shortened(&row.path.to_string_lossy());
                let line = row.line;
                let expected = format!(
                    "the label {} for {path} in line {line}, as in line {}",
                    shortened(&first.label),
                    first.line
                );
                return Err(data(file, expected, shortened(&row.label)));
            }
            // However it is written, the seed puts it into one part.
            row.path.clone_from(&first.path);
        }
        let seen = &mut seen[row.part as usize];
        if seen.is_some() {
            self.repeated += 1;
        }
        seen.get_or_insert(self.rows.len());
        self.rows.push(row);
        Ok(())
    }

    /// The parts that have the same images.
    fn shared(&self) -> Vec<CsvWarning> {
        let pairs = [
            [Part::Train, Part::Valid],
            [Part::Train, Part::Test],
            [Part::Valid, Part::Test],
        ];
        let warning = |parts: [Part; 2]| {
            let rows = |seen: &[Option<usize>; 3]| {
                let [one, other] = parts.map(|part| seen[part as usize]);
                Some([self.rows.get(one?)?, self.rows.get(other?)?])
            };
            let shared: Vec<[&Row; 2]> = self.seen.values().filter_map(rows).collect();
            let [one, other] = shared.iter().min_by_key(|rows| rows.map(|row| row.line))?;
            Some(CsvWarning::Shared {
                parts,
                count: shared.len(),
                path: one.path.clone(),
                lines: [one.line, other.line],
            })
        };
        pairs.into_iter().filter_map(warning).collect()
    }
}

/// The classes of the training images, in the order of their bytes.
fn classes(file: &Path, rows: &[Row]) -> Result<Vec<String>> {
    let classes = sorted(rows, |row| row.part == Part::Train);
    if !classes.is_empty() {
        return Ok(classes);
    }
    let found = match rows.len() {
        0 => "a header alone".to_owned(),
        rows => format!("none in {rows} lines"),
    };
    Err(data(file, "training images", found))
}

/// The labels of some rows, each once, in the order of their bytes.
fn sorted(rows: &[Row], of: impl Fn(&Row) -> bool) -> Vec<String> {
    let rows = rows.iter().filter(|row| of(row));
    let mut labels: Vec<&str> = rows.map(|row| row.label.as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    labels.into_iter().map(str::to_owned).collect()
}

/// The images of each part.
fn parts(file: &Path, rows: Vec<Row>, classes: &[String]) -> Result<[Candidates; 3]> {
    let mut parts = [Part::Train, Part::Valid, Part::Test].map(|_| Candidates {
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
    Ok(parts)
}
