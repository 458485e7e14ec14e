//! The images and labels that a CSV file names.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::columns::{ColumnFinder, Columns};
use super::decode_text;
use super::image_paths::ImagePaths;
use super::table::{Record, Table};
use crate::data::folder::class_folders::Beside;
use crate::data::folder::class_names::label_lists;
use crate::data::folder::csv_report::CsvReport;
use crate::data::folder::extensions::Extensions;
use crate::data::folder::listing::{ListedPart, Listing, Purpose};
use crate::data::folder::options::FolderOptions;
use crate::data::folder::part::Part;
use crate::data::folder::report::{Division, FolderReport};
use crate::data::folder::sample::Sample;
use crate::data::folder::warning::FolderWarning;
use crate::data::message::{first_few, quoted};
use crate::error::{Error, Result};

/// The classes and images that a file names, in their parts if a column says some.
pub(in crate::data::folder) fn list(
    file: &Path,
    options: &FolderOptions,
    purpose: Purpose,
) -> Result<Listing> {
    let delimiter = options.csv.delimiter()?;
    let extensions = Extensions::new(&options.extensions)?;
    // Paths start from the folder of the file.
    let base = file.parent().unwrap_or(Path::new(""));
    let mut paths = ImagePaths::new(base, &extensions);
    let text = decode_text::read(file)?;
    let named: Vec<&str> = options.csv.named_columns().collect();
    let table = Table::new(file, &text, delimiter, &named, &mut paths)?;
    drop(text);
    let mut finder = ColumnFinder {
        file,
        table: &table,
        options: &options.csv,
        warnings: Vec::new(),
    };
    let columns = finder.find(&mut paths)?;
    let mut warnings = finder.warnings;
    let mut rows = Rows::default();
    for record in &table.records {
        rows.add(file, row(file, &columns, record, &mut paths)?, &paths)?;
    }
    warnings.extend(rows.shared_images());
    let labels = labels(&rows.rows);
    let lists = label_lists(&labels);
    if let Some(label) = lists.first() {
        let warning = FolderWarning::LabelLists(lists.len(), (*label).to_owned());
        warnings.push(warning);
    }
    let csv = CsvReport {
        file: file.to_path_buf(),
        delimiter: char::from(table.delimiter),
        header: table.titles.is_some(),
        path_column: table.name(columns.path),
        label_column: table.name(columns.label),
        split_column: columns.split.map(|(column, _)| table.name(column)),
        repeated: rows.repeated,
        completed: paths.completed,
        turned: paths.turned,
    };
    let division = if columns.split.is_some() {
        Division::Column
    } else {
        Division::Undivided
    };
    let count = rows.rows.len();
    let mut by_part: BTreeMap<Part, Vec<Row>> = BTreeMap::new();
    for row in rows.rows {
        by_part.entry(row.part).or_default().push(row);
    }
    if matches!(purpose, Purpose::Training) && !by_part.contains_key(&Part::Train) {
        let found = match count {
            0 => "a header alone".to_owned(),
            rows => format!("none in {rows} lines"),
        };
        return Err(Error::data(file, "training images", found));
    }
    let parts = by_part.into_iter().map(|(part, rows)| {
        let part = columns.split.map(|_| part);
        listed_part(file, base, part, rows)
    });
    Ok(Listing {
        source: file.to_path_buf(),
        expected: "images".to_owned(),
        parts: parts.collect(),
        report: FolderReport {
            warnings,
            csv: Some(csv),
            ..FolderReport::new(division)
        },
    })
}

/// A line of the file.
struct Row {
    path: PathBuf,
    label: String,
    part: Part,
    line: u32,
}

fn row(file: &Path, columns: &Columns, record: &Record, paths: &mut ImagePaths) -> Result<Row> {
    let line = record.line;
    let wrong = |expected: &str, found: String| {
        Err(Error::data(
            file,
            format!("{expected} in line {line}"),
            found,
        ))
    };
    let empty = || "an empty field".to_owned();
    let (path, label) = (record.field(columns.path), record.field(columns.label));
    for (field, what) in [(path, "path"), (label, "label")] {
        if field.is_empty() {
            return wrong(&format!("a {what}"), empty());
        }
        // The usual reason is a quote that is not closed.
        if field.contains(['\n', '\r']) || (what == "path" && field.contains('\0')) {
            return wrong(&format!("a {what} on one line"), quoted(field));
        }
    }
    let mut part = Part::Train;
    if let Some((column, meaning)) = columns.split {
        let field = record.field(column);
        part = match meaning.part(field) {
            Some(part) => part,
            None if field.is_empty() => return wrong(meaning.expected(), empty()),
            None => return wrong(meaning.expected(), quoted(field)),
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
            let found = format!("{}, which may be {}", quoted(path), first_few(&several));
            wrong("the name of one image", found)
        }
    }
}

/// All rows, and what was seen of each image.
#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    /// For each image, the first row in each part that names it.
    seen: HashMap<PathBuf, [Option<usize>; 3]>,
    repeated: usize,
}

impl Rows {
    fn add(&mut self, file: &Path, mut row: Row, paths: &ImagePaths) -> Result<()> {
        let key = paths.key(&row.path).to_path_buf();
        let seen = self.seen.entry(key).or_default();
        let first = seen.iter().flatten().min();
        if let Some(first) = first.and_then(|first| self.rows.get(*first)) {
            if first.label != row.label {
                let expected = format!(
                    "the label {} for {} in line {}, as in line {}",
                    quoted(&first.label),
                    quoted(&row.path.to_string_lossy()),
                    row.line,
                    first.line
                );
                return Err(Error::data(file, expected, quoted(&row.label)));
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
    fn shared_images(&self) -> Vec<FolderWarning> {
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
            Some(FolderWarning::SharedImages {
                parts,
                count: shared.len(),
                path: one.path.clone(),
                lines: [one.line, other.line],
            })
        };
        pairs.into_iter().filter_map(warning).collect()
    }
}

/// The labels of some rows, each once, in the order of their bytes.
fn labels(rows: &[Row]) -> Vec<String> {
    let mut labels: Vec<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    labels.into_iter().map(str::to_owned).collect()
}

fn listed_part(file: &Path, base: &Path, part: Option<Part>, rows: Vec<Row>) -> ListedPart {
    let classes = labels(&rows);
    let samples = rows.into_iter().filter_map(|row| {
        let label = classes.binary_search(&row.label).ok()?;
        Some(Sample {
            path: row.path.into_boxed_path(),
            label: label as u32,
            line: row.line,
        })
    });
    ListedPart {
        part,
        place: file.to_path_buf(),
        base: base.to_path_buf(),
        samples: samples.collect(),
        beside: vec![Beside::default(); classes.len()],
        classes,
    }
}
