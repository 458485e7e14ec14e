//! Which column holds what.

use std::path::Path;

use super::column_names::{
    LABEL, LABELS, NUMBER, PATH, Role, SPLIT, SplitMeaning, is_index, normalised, split_meaning,
};
use super::image_paths::ImagePaths;
use super::table::Table;
use crate::data::folder::options::{CsvOptions, CsvSplit};
use crate::data::folder::warning::FolderWarning;
use crate::data::message::{first_few, quoted};
use crate::data::target::Task;
use crate::error::{Error, Result};

/// The columns that are used, by their index.
pub(super) struct Columns {
    pub(super) path: usize,
    /// One, or those of several labels or numbers.
    pub(super) labels: Vec<usize>,
    /// Whether each of them is a label and says whether an image has it.
    pub(super) one_hot: bool,
    pub(super) split: Option<(usize, SplitMeaning)>,
}

/// Finds the columns.
pub(super) struct ColumnFinder<'a> {
    pub(super) file: &'a Path,
    pub(super) table: &'a Table,
    pub(super) options: &'a CsvOptions,
    pub(super) task: Task,
    /// The names of a model's classes or numbers, if it is one's.
    pub(super) known: &'a [String],
    pub(super) warnings: Vec<FolderWarning>,
}

impl ColumnFinder<'_> {
    pub(super) fn find(&mut self, paths: &mut ImagePaths) -> Result<Columns> {
        let options = self.options;
        let label_role = match self.task {
            Task::Regression => &NUMBER,
            Task::SingleLabel | Task::MultiLabel => &LABEL,
        };
        let mut path = self.given(&PATH, options.path_column.as_deref())?;
        let mut label = self.given(&LABEL, options.label_column.as_deref())?;
        let labels = self.label_columns()?;
        let split = self.given(&SPLIT, options.split_column())?;
        let all = labels.iter().map(|column| (&LABELS, Some(*column)));
        let all = [(&PATH, path), (&LABEL, label), (&SPLIT, split)]
            .into_iter()
            .chain(all);
        self.check_distinct(&Vec::from_iter(all))?;
        let given = [path, label].into_iter().flatten();
        let given: Vec<usize> = given.chain(labels.iter().copied()).collect();
        let mut taken = given.clone();
        taken.extend(split);

        let split = self.split(split, &taken)?;
        // A column that is left aside holds no labels either.
        let splits = (0..self.table.width).filter(|column| self.is_split(*column));
        taken.extend(splits.filter(|column| !given.contains(column)));
        let has_labels = label.is_some() || !labels.is_empty();
        for (role, column, is_known) in [
            (&PATH, &mut path, false),
            (label_role, &mut label, has_labels),
        ] {
            if column.is_none() && !is_known {
                *column = self.titled(role, &taken)?;
                taken.extend(*column);
            }
        }
        let path = match path {
            Some(path) => path,
            None => self.guess_path(&taken, paths)?,
        };
        taken.push(path);
        let one_hot = self.task == Task::MultiLabel && !labels.is_empty();
        let labels = match label {
            _ if !labels.is_empty() => labels,
            Some(label) => vec![label],
            None => vec![self.guess_label(label_role, &taken)?],
        };
        let mut used = labels.clone();
        used.push(path);
        self.warn_of_no_splits(&used);
        Ok(Columns {
            path,
            labels,
            one_hot,
            split,
        })
    }

    /// The columns of several labels or numbers that the caller names, or the model.
    fn label_columns(&self) -> Result<Vec<usize>> {
        let is_free = self.task != Task::SingleLabel && self.options.label_column.is_none();
        let is_title = |name: &String| !self.titles_that(|title| title == name).is_empty();
        // Where nothing is said, the columns that are called as what the model tells.
        let of_model = is_free && !self.known.is_empty() && self.known.iter().all(is_title);
        let names = match self.options.label_columns.as_slice() {
            [] if of_model => self.known,
            names => names,
        };
        let columns = names.iter().map(|name| self.given(&LABELS, Some(name)));
        let columns: Vec<usize> = columns
            .filter_map(Result::transpose)
            .collect::<Result<_>>()?;
        for (index, column) in columns.iter().enumerate() {
            let name = self.table.name(*column);
            let is_same = |other: &usize| other != column && self.table.name(*other) == name;
            if columns[..index].iter().any(is_same) {
                let expected = "columns with titles of their own";
                let found = format!("several called {}", quoted(&name));
                return Err(Error::argument(LABELS.flag, expected, found));
            }
        }
        Ok(columns)
    }

    /// Says which columns are called as a split may be, but are none.
    fn warn_of_no_splits(&mut self, used: &[usize]) {
        if self.options.split != CsvSplit::Detect {
            return;
        }
        for column in (0..self.table.width).filter(|column| !used.contains(column)) {
            if self.titled_split(column).is_some() && !self.is_split(column) {
                let name = self.table.name(column);
                self.warnings.push(FolderWarning::NoSplit(name));
            }
        }
    }

    /// The column that the caller names, by its title or its number.
    fn given(&self, role: &Role, name: Option<&str>) -> Result<Option<usize>> {
        let Some(name) = name else {
            return Ok(None);
        };
        let number = name.parse::<usize>().ok();
        let number = number.filter(|number| *number < self.table.width);
        let exact = self.titles_that(|title| title == name);
        let alike = self.titles_that(|title| title.eq_ignore_ascii_case(name));
        let file = self.file.display();
        let (expected, found) = match (exact.as_slice(), alike.as_slice(), number) {
            ([column], _, _) | ([], [column], _) => return Ok(Some(*column)),
            ([], [], Some(number)) => return Ok(Some(number)),
            ([], [], None) => (
                format!(
                    "a column of {file}, or its number from 0 to {}",
                    self.table.width.saturating_sub(1)
                ),
                format!("{}; there are {}", quoted(name), self.table.columns()),
            ),
            _ => (
                format!("one column of {file}"),
                format!("several called {}; give its number", quoted(name)),
            ),
        };
        Err(Error::argument(role.flag, expected, found))
    }

    /// A column holds one thing.
    fn check_distinct(&self, given: &[(&Role, Option<usize>)]) -> Result<()> {
        for (index, (role, column)) in given.iter().enumerate() {
            let mut before = given.iter().take(index);
            let same = before.find(|(_, other)| column.is_some() && other == column);
            if let (Some((other, _)), Some(column)) = (same, column) {
                let expected = if other.flag == role.flag {
                    "each column once".to_owned()
                } else {
                    format!("another column than that of {}", other.flag)
                };
                let found = quoted(&self.table.name(*column));
                return Err(Error::argument(role.flag, expected, found));
            }
        }
        Ok(())
    }

    /// The column whose title says that it has paths or labels.
    fn titled(&self, role: &Role, taken: &[usize]) -> Result<Option<usize>> {
        for group in role.titles {
            let mut found = self.titles_that(|title| group.contains(&normalised(title).as_str()));
            found.retain(|column| !taken.contains(column));
            match found.as_slice() {
                [] => {}
                [column] => return Ok(Some(*column)),
                _ => return Err(self.several(role, &found)),
            }
        }
        Ok(None)
    }

    fn several(&self, role: &Role, columns: &[usize]) -> Error {
        let named = |column: &usize| quoted(&self.table.name(*column));
        let names: Vec<String> = columns.iter().map(named).collect();
        let expected = format!("one column of {}", role.holds);
        let found = format!("{}; {} names it", first_few(&names), role.flag);
        Error::data(self.file, expected, found)
    }

    fn missing(&self, role: &Role) -> Error {
        let expected = format!("a column of {}, such as `{}`", role.holds, role.example);
        let mut found = format!("{}; {} names it", self.table.columns(), role.flag);
        if self.task != Task::SingleLabel && role.flag == LABEL.flag {
            found.push_str(&format!(", {} several", LABELS.flag));
        }
        if self.table.width == 1 {
            found.push_str(", and --csv-delimiter says what is between columns");
        }
        Error::data(self.file, expected, found)
    }

    /// Columns of which nothing is known.
    fn others(&self, taken: &[usize]) -> Vec<usize> {
        let is_index = |column: usize| self.table.title(column).is_some_and(is_index);
        let other = |column: &usize| !taken.contains(column) && !is_index(*column);
        (0..self.table.width).filter(other).collect()
    }

    /// The only column whose first field is an image that is there, or looks like one.
    fn guess_path(&mut self, taken: &[usize], paths: &mut ImagePaths) -> Result<usize> {
        let first = self.table.records.first();
        let mut others = self.others(taken);
        others.retain(|column| {
            let field = first.map_or("", |record| record.field(*column));
            paths.looks_like_image(field) || paths.is_there(field)
        });
        match others.as_slice() {
            [column] => Ok(self.guess(&PATH, *column)),
            [] => Err(self.missing(&PATH)),
            _ => Err(self.several(&PATH, &others)),
        }
    }

    /// The only column that is left.
    fn guess_label(&mut self, role: &Role, taken: &[usize]) -> Result<usize> {
        match self.others(taken).as_slice() {
            [column] => Ok(self.guess(role, *column)),
            _ => Err(self.missing(role)),
        }
    }

    fn guess(&mut self, role: &Role, column: usize) -> usize {
        // Without titles, the columns are told in any case.
        if self.table.titles.is_some() {
            self.warnings.push(FolderWarning::GuessedColumn {
                column: self.table.name(column),
                holds: role.holds,
                flag: role.flag,
            });
        }
        column
    }

    fn split(
        &mut self,
        given: Option<usize>,
        taken: &[usize],
    ) -> Result<Option<(usize, SplitMeaning)>> {
        if let Some(column) = given {
            return Ok(Some((column, self.meaning(column))));
        }
        let columns = (0..self.table.width).filter(|column| !taken.contains(column));
        let splits: Vec<usize> = columns.filter(|column| self.is_split(*column)).collect();
        if self.options.split == CsvSplit::Ignore {
            let names = splits.iter().map(|column| self.table.name(*column));
            let ignored = names.map(FolderWarning::IgnoredSplit);
            self.warnings.extend(ignored);
            return Ok(None);
        }
        match splits.as_slice() {
            [] => Ok(None),
            [column] => Ok(Some((*column, self.meaning(*column)))),
            _ => Err(self.several(&SPLIT, &splits)),
        }
    }

    fn titled_split(&self, column: usize) -> Option<(SplitMeaning, bool)> {
        split_meaning(self.table.title(column)?)
    }

    /// Whether a column is called as a split may be, and is one.
    fn is_split(&self, column: usize) -> bool {
        let split = self.titled_split(column);
        split.is_some_and(|(meaning, is_sure)| is_sure || self.says_parts(column, meaning))
    }

    fn says_parts(&self, column: usize, meaning: SplitMeaning) -> bool {
        let mut records = self.table.records.iter();
        records.any(|record| meaning.part(record.field(column)).is_some())
    }

    /// What the fields of a split say.
    fn meaning(&self, column: usize) -> SplitMeaning {
        if let Some((meaning, _)) = self.titled_split(column) {
            return meaning;
        }
        if self.says_parts(column, SplitMeaning::Names) {
            return SplitMeaning::Names;
        }
        SplitMeaning::Valid
    }

    /// The columns with these titles.
    fn titles_that(&self, fit: impl Fn(&str) -> bool) -> Vec<usize> {
        let columns = 0..self.table.width;
        let fits = |column: &usize| self.table.title(*column).is_some_and(&fit);
        columns.filter(fits).collect()
    }
}
