//! The images and labels that a CSV file names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::column_names::truth;
use super::columns::{ColumnFinder, Columns};
use super::decode_text;
use super::image_paths::ImagePaths;
use super::table::{Record, Table};
use crate::data::folder::class_folders::Beside;
use crate::data::folder::class_names::label_lists;
use crate::data::folder::csv_report::CsvReport;
use crate::data::folder::extensions::Extensions;
use crate::data::folder::file_id::FileId;
use crate::data::folder::listing::{ListedPart, Listing, Purpose};
use crate::data::folder::options::FolderOptions;
use crate::data::folder::part::Part;
use crate::data::folder::report::{Division, FolderReport};
use crate::data::folder::sample::Sample;
use crate::data::folder::target_table::{SetsOfClasses, TargetTable};
use crate::data::folder::warning::FolderWarning;
use crate::data::message::{first_few, quoted};
use crate::data::target::Task;
use crate::error::{Error, Result};

/// The classes and images that a file names, in their parts if a column says some.
pub(in crate::data::folder) fn list(
    file: &Path,
    options: &FolderOptions,
    purpose: Purpose,
) -> Result<Listing> {
    options.check_label_columns()?;
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
        task: options.task,
        known: match purpose {
            Purpose::Training => &[],
            Purpose::Evaluation { classes } => classes,
        },
        warnings: Vec::new(),
    };
    let columns = finder.find(&mut paths)?;
    let mut warnings = finder.warnings;
    let reader = RowReader {
        file,
        table: &table,
        columns: &columns,
        options,
    };
    let mut rows = Rows::default();
    for record in &table.records {
        rows.add(file, reader.row(record, &mut paths)?, &paths)?;
    }
    warnings.extend(rows.shared_images());
    warnings.extend(long_fields(&table));
    if options.task == Task::Regression {
        check_precision(file, &reader.column_names(), &rows.rows)?;
    }
    let names = match options.task {
        // The columns give names and order.
        Task::Regression => Some(reader.column_names()),
        Task::MultiLabel if columns.one_hot => Some(reader.column_names()),
        Task::MultiLabel | Task::SingleLabel => None,
    };
    if names.is_none() {
        let labels = labels(&rows.rows);
        let lists = label_lists(&labels);
        if let Some(label) = lists.first() {
            let warning = match options.task {
                Task::MultiLabel => FolderWarning::UndividedLabels,
                _ => FolderWarning::LabelLists,
            };
            warnings.push(warning(lists.len(), (*label).to_owned()));
        }
    }
    let csv = CsvReport {
        file: file.to_path_buf(),
        delimiter: char::from(table.delimiter),
        header: table.titles.is_some(),
        path_column: table.name(columns.path),
        label_columns: reader.column_names(),
        task: options.task,
        split_column: columns.split.map(|(column, _)| table.name(column)),
        repeated: rows.repeated,
        joined: rows.joined,
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
        listed_part(file, base, part, rows, names.clone())
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
    target: RowTarget,
    part: Part,
    line: u32,
}

/// What a line says of its image.
#[derive(Clone, PartialEq)]
enum RowTarget {
    Class(String),
    Labels(BTreeSet<String>),
    Values(Vec<f64>),
}

impl RowTarget {
    /// What messages call it.
    fn in_words(&self) -> String {
        match self {
            RowTarget::Class(label) => format!("the label {}", quoted(label)),
            RowTarget::Labels(labels) => {
                let labels: Vec<String> = labels.iter().map(|label| quoted(label)).collect();
                format!("the labels {}", first_few(&labels))
            }
            RowTarget::Values(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                format!("the number {}", first_few(&values))
            }
        }
    }

    /// What a message says that was found.
    fn found(&self) -> String {
        match self {
            RowTarget::Class(label) => quoted(label),
            other => other.in_words(),
        }
    }

    fn labels(&self) -> impl Iterator<Item = &str> {
        let (class, labels) = match self {
            RowTarget::Class(class) => (Some(class), None),
            RowTarget::Labels(labels) => (None, Some(labels)),
            RowTarget::Values(_) => (None, None),
        };
        let labels = labels.into_iter().flatten();
        class.into_iter().chain(labels).map(String::as_str)
    }
}

/// Reads lines.
struct RowReader<'a> {
    file: &'a Path,
    table: &'a Table,
    columns: &'a Columns,
    options: &'a FolderOptions,
}

impl RowReader<'_> {
    /// The titles of the columns of labels or numbers.
    fn column_names(&self) -> Vec<String> {
        let columns = self.columns.labels.iter();
        columns.map(|column| self.table.name(*column)).collect()
    }

    fn row(&self, record: &Record, paths: &mut ImagePaths) -> Result<Row> {
        let path = self.text(record, self.columns.path, "path")?;
        if path.contains('\0') {
            return Err(self.wrong(record, "a path on one line", quoted(path)));
        }
        let target = self.target(record)?;
        let mut part = Part::Train;
        if let Some((column, meaning)) = self.columns.split {
            let field = record.field(column);
            part = meaning.part(field).ok_or_else(|| {
                let expected = meaning.expected();
                self.wrong(record, expected, found(field))
            })?;
        }
        match paths.find(path) {
            Ok(path) => Ok(Row {
                path,
                target,
                part,
                line: record.line,
            }),
            Err(several) => {
                let found = format!("{}, which may be {}", quoted(path), first_few(&several));
                Err(self.wrong(record, "the name of one image", found))
            }
        }
    }

    fn wrong(&self, record: &Record, expected: &str, found: String) -> Error {
        let expected = format!("{expected} in line {}", record.line);
        Error::data(self.file, expected, found)
    }

    /// A field that may not be empty.
    fn text<'r>(&self, record: &'r Record, column: usize, what: &str) -> Result<&'r str> {
        let field = record.field(column);
        if field.is_empty() {
            return Err(self.wrong(record, &format!("a {what}"), found(field)));
        }
        self.one_line(record, field, what)?;
        Ok(field)
    }

    /// The usual reason for a line end is a quote that is not closed.
    fn one_line(&self, record: &Record, field: &str, what: &str) -> Result<()> {
        if field.contains(['\n', '\r']) {
            let expected = format!("a {what} on one line");
            return Err(self.wrong(record, &expected, quoted(field)));
        }
        Ok(())
    }

    fn target(&self, record: &Record) -> Result<RowTarget> {
        let columns = &self.columns.labels;
        Ok(match (self.options.task, columns.as_slice()) {
            (Task::Regression, columns) => {
                let values = columns.iter().map(|column| self.number(record, *column));
                RowTarget::Values(values.collect::<Result<_>>()?)
            }
            (Task::MultiLabel, columns) if self.columns.one_hot => {
                let mut labels = BTreeSet::new();
                for column in columns {
                    if self.is_true(record, *column)? {
                        labels.insert(self.table.name(*column));
                    }
                }
                RowTarget::Labels(labels)
            }
            (Task::MultiLabel, columns) => {
                let fields = columns.iter().map(|column| record.field(*column));
                let mut labels = BTreeSet::new();
                for field in fields {
                    self.one_line(record, field, "list of labels")?;
                    let parts = field.split(self.options.csv.label_separator);
                    let parts = parts.map(str::trim).filter(|label| !label.is_empty());
                    labels.extend(parts.map(str::to_owned));
                }
                RowTarget::Labels(labels)
            }
            (Task::SingleLabel, columns) => {
                let mut label = "";
                for column in columns {
                    label = self.text(record, *column, "label")?;
                }
                RowTarget::Class(label.to_owned())
            }
        })
    }

    fn is_true(&self, record: &Record, column: usize) -> Result<bool> {
        let field = record.field(column);
        if field.is_empty() {
            return Ok(false);
        }
        truth(field).ok_or_else(|| {
            let name = self.table.name(column);
            let expected = format!("1 or 0 in the column `{name}`");
            self.wrong(record, &expected, quoted(field))
        })
    }

    fn number(&self, record: &Record, column: usize) -> Result<f64> {
        let field = record.field(column);
        let number = field.parse().ok();
        let number = number.filter(|number: &f64| (*number as f32).is_finite());
        number.ok_or_else(|| {
            let name = self.table.name(column);
            let expected = format!("a number in the column `{name}`");
            let with_point = field.replacen(',', ".", 1);
            let found = match with_point.parse::<f64>() {
                Ok(number) if field.contains(',') && number.is_finite() => {
                    format!("{}, a decimal comma; write {with_point}", quoted(field))
                }
                _ => found(field),
            };
            self.wrong(record, &expected, found)
        })
    }
}

/// What a message says of a field.
fn found(field: &str) -> String {
    if field.is_empty() {
        return "an empty field".to_owned();
    }
    quoted(field)
}

/// What is the same for all paths to an image.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    File(FileId),
    /// Of an image that is not there.
    Path(PathBuf),
}

/// All rows, and what was seen of each image.
#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    /// For each image, the first row in each part that names it.
    seen: HashMap<Key, [Option<usize>; 3]>,
    repeated: usize,
    /// How many rows give an image of a row before more labels.
    joined: usize,
}

impl Rows {
    fn add(&mut self, file: &Path, mut row: Row, paths: &ImagePaths) -> Result<()> {
        let key = match FileId::of(&paths.full(&row.path)) {
            Some(file) => Key::File(file),
            None => Key::Path(paths.key(&row.path).to_path_buf()),
        };
        let seen = self.seen.entry(key).or_default();
        let first = seen.iter().flatten().min();
        if let Some(first) = first.and_then(|first| self.rows.get(*first)) {
            let is_list = matches!(row.target, RowTarget::Labels(_));
            if !is_list && first.target != row.target {
                let expected = format!(
                    "{} for {} in line {}, as in line {}",
                    first.target.in_words(),
                    quoted(&row.path.to_string_lossy()),
                    row.line,
                    first.line
                );
                return Err(Error::data(file, expected, row.target.found()));
            }
            // However it is written, the seed puts it into one part.
            row.path.clone_from(&first.path);
        }
        let seen = &mut seen[row.part as usize];
        let before = seen.and_then(|before| self.rows.get_mut(before));
        if let (Some(before), RowTarget::Labels(labels)) = (before, &mut row.target)
            && let RowTarget::Labels(all) = &mut before.target
        {
            // Many lists have a row for each label of an image.
            all.append(labels);
            self.joined += 1;
            return Ok(());
        }
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

/// The columns with fields over several lines.
fn long_fields(table: &Table) -> Vec<FolderWarning> {
    let in_column = |column: usize| {
        let fields = table.records.iter().map(|r| (r.line, r.field(column)));
        let mut long = fields.filter(|(_, field)| field.contains('\n'));
        let (line, field) = long.next()?;
        let more = field.matches('\n').count();
        Some(FolderWarning::LongFields {
            column: table.name(column),
            count: 1 + long.count(),
            lines: [line, line.saturating_add(more as u32)],
        })
    };
    (0..table.width).filter_map(in_column).collect()
}

/// The part of a column's range by which a number may change when 32 bits hold it.
const MOST_ROUNDING: f64 = 1e-3;

/// Refuses numbers that 32 bits can hardly tell apart, such as times in seconds.
fn check_precision(file: &Path, columns: &[String], rows: &[Row]) -> Result<()> {
    for (index, column) in columns.iter().enumerate() {
        let values = rows.iter().filter_map(|row| match &row.target {
            RowTarget::Values(values) => Some((row.line, *values.get(index)?)),
            _ => None,
        });
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut worst = (0.0, 0, 0.0);
        for (line, value) in values {
            (least, most) = (least.min(value), most.max(value));
            let rounding = (value - f64::from(value as f32)).abs();
            if rounding > worst.0 {
                worst = (rounding, line, value);
            }
        }
        let (rounding, line, value) = worst;
        if rounding > MOST_ROUNDING * (most - least) && most > least {
            let expected = format!(
                "numbers in the column `{column}` that 32 bits tell apart, such as the difference to {least}, \
                 in line {line}"
            );
            let found = format!("{value}, which becomes {}", value as f32);
            return Err(Error::data(file, expected, found));
        }
    }
    Ok(())
}

/// The labels of some rows, each once, in the order of their bytes.
fn labels(rows: &[Row]) -> Vec<String> {
    let labels = rows.iter().flat_map(|row| row.target.labels());
    let labels: BTreeSet<&str> = labels.collect();
    labels.into_iter().map(str::to_owned).collect()
}

/// The images of a part. Without `names` its labels are its classes.
fn listed_part(
    file: &Path,
    base: &Path,
    part: Option<Part>,
    rows: Vec<Row>,
    names: Option<Vec<String>>,
) -> ListedPart {
    let classes = names.unwrap_or_else(|| labels(&rows));
    let places = classes.iter().map(String::as_str).zip(0_u32..);
    let places: HashMap<&str, u32> = places.collect();
    let mut sets = SetsOfClasses::default();
    let mut values = Vec::new();
    let mut samples = Vec::with_capacity(rows.len());
    let mut task = Task::default();
    for row in rows {
        let of_row = row.target.labels();
        let mut labels: Vec<u32> = of_row.filter_map(|l| places.get(l).copied()).collect();
        labels.sort_unstable();
        let label = match row.target {
            RowTarget::Class(_) => labels.first().copied().unwrap_or_default(),
            RowTarget::Labels(_) => {
                task = Task::MultiLabel;
                sets.label(&labels)
            }
            RowTarget::Values(own) => {
                task = Task::Regression;
                values.extend(own.into_iter().map(|value| value as f32));
                samples.len() as u32
            }
        };
        samples.push(Sample {
            path: row.path.into_boxed_path(),
            label,
            line: row.line,
        });
    }
    let targets = match task {
        Task::SingleLabel => TargetTable::Classes,
        Task::MultiLabel => sets.into_table(),
        Task::Regression => TargetTable::Rows {
            values,
            width: classes.len(),
        },
    };
    ListedPart {
        part,
        place: file.to_path_buf(),
        base: base.to_path_buf(),
        samples,
        targets,
        beside: vec![Beside::default(); classes.len()],
        classes,
    }
}
