//! Which column holds what.

use std::path::Path;

use super::data;
use super::options::{CsvOptions, CsvSplit};
use super::paths::Paths;
use super::report::CsvWarning;
use super::table::Table;
use super::titles::{self, Meaning, Role};
use crate::data::folder::report::{Part, first_few, shortened};
use crate::error::{Error, Result};

/// The columns that are used, by their index.
pub(super) struct Columns {
    pub(super) path: usize,
    pub(super) label: usize,
    pub(super) split: Option<(usize, Meaning)>,
}

/// Finds the columns.
pub(super) struct Finder<'a> {
    pub(super) file: &'a Path,
    pub(super) table: &'a Table,
    pub(super) options: &'a CsvOptions,
    pub(super) warnings: Vec<CsvWarning>,
}

impl Finder<'_> {
    pub(super) fn columns(&mut self, paths: &mut Paths) -> Result<Columns> {
        let options = self.options;
        let path = self.given(Role::Path, options.path_column.as_deref())?;
        let label = self.given(Role::Label, options.label_column.as_deref())?;
        let given_split = self.given(Role::Split, options.split_column())?;
        self.apart([
            (Role::Path, path),
            (Role::Label, label),
            (Role::Split, given_split),
        ])?;
        let mut taken: Vec<usize> = [path, label, given_split].into_iter().flatten().collect();

        let split = self.split(given_split, &taken)?;
        // A column that is left aside holds no labels either.
        let splits = (0..self.table.width).filter(|column| self.is_split(*column));
        taken.extend(splits.filter(|column| ![path, label].contains(&Some(*column))));
        let path = match path {
            Some(path) => Some(path),
            None => self.titled(Role::Path, &taken)?,
        };
        taken.extend(path);
        let label = match label {
            Some(label) => Some(label),
            None => self.titled(Role::Label, &taken)?,
        };
        taken.extend(label);
        let path = match path {
            Some(path) => path,
            None => self.guessed_path(&taken, paths)?,
        };
        taken.push(path);
        let label = match label {
            Some(label) => label,
            None => self.guessed_label(&taken)?,
        };
        self.no_splits([path, label]);
        Ok(Columns { path, label, split })
    }

    /// Says which columns are called as a split may be, but are none.
    fn no_splits(&mut self, used: [usize; 2]) {
        if self.options.split != CsvSplit::Detect {
            return;
        }
        for column in (0..self.table.width).filter(|column| !used.contains(column)) {
            if self.title_of_split(column).is_some() && !self.is_split(column) {
                let column = self.table.name(column);
                self.warnings.push(CsvWarning::NoSplit { column });
            }
        }
    }

    /// The column that the caller names, by its title or its number.
    fn given(&self, role: Role, name: Option<&str>) -> Result<Option<usize>> {
        let Some(name) = name else {
            return Ok(None);
        };
        let titles = self.table.titles.as_deref().unwrap_or_default();
        let number = name.parse::<usize>().ok();
        let number = number.filter(|number| *number < self.table.width);
        let exact = all(titles, |title| title == name);
        let alike = all(titles, |title| title.eq_ignore_ascii_case(name));
        match (exact.as_slice(), alike.as_slice(), number) {
            ([column], _, _) | ([], [column], _) => Ok(Some(*column)),
            ([], [], Some(number)) => Ok(Some(number)),
            ([], [], None) => {
                let expected = format!(
                    "a column of {}, or its number from 0 to {}",
                    self.file.display(),
                    self.table.width.saturating_sub(1)
                );
                let found = format!("{}; there are {}", shortened(name), self.table.columns());
                Err(Error::argument(role.flag(), expected, found))
            }
            _ => {
                let expected = format!("one column of {}", self.file.display());
                let found = format!("several called {}; give its number", shortened(name));
                Err(Error::argument(role.flag(), expected, found))
            }
        }
    }

    /// A column holds one thing.
    fn apart(&self, given: [(Role, Option<usize>); 3]) -> Result<()> {
        for (index, (role, column)) in given.iter().enumerate() {
            let before = given.iter().take(index);
            let mut same = before.filter(|(_, other)| column.is_some() && other == column);
            if let (Some((other, _)), Some(column)) = (same.next(), column) {
                let expected = format!("another column than that of {}", other.flag());
                let found = shortened(&self.table.name(*column));
                return Err(Error::argument(role.flag(), expected, found));
            }
        }
        Ok(())
    }

    /// The column whose title says that it has paths or labels.
    fn titled(&self, role: Role, taken: &[usize]) -> Result<Option<usize>> {
        let titles = self.table.titles.as_deref().unwrap_or_default();
        for group in titles::groups(role) {
            let mut found = all(titles, |title| {
                group.contains(&titles::plain(title).as_str())
            });
            found.retain(|column| !taken.contains(column));
            match found.as_slice() {
                [] => {}
                [column] => return Ok(Some(*column)),
                _ => return Err(self.several(role, &found)),
            }
        }
        Ok(None)
    }

    fn several(&self, role: Role, columns: &[usize]) -> Error {
        let named = |column: &usize| shortened(&self.table.name(*column));
        let names: Vec<String> = columns.iter().map(named).collect();
        let expected = format!("one column of {}", role.fields());
        let found = format!("{}; {} names it", first_few(&names), role.flag());
        data(self.file, expected, found)
    }

    fn missing(&self, role: Role) -> Error {
        let title = match role {
            Role::Path => "path",
            Role::Label => "label",
            Role::Split => "split",
        };
        let expected = format!("a column of {}, such as `{title}`", role.fields());
        let mut found = format!("{}; {} names it", self.table.columns(), role.flag());
        if self.table.width == 1 {
            found.push_str(", and --csv-delimiter says what is between columns");
        }
        data(self.file, expected, found)
    }

    /// Columns of which nothing is known.
    fn others(&self, taken: &[usize]) -> Vec<usize> {
        let is_index = |column: usize| {
            let mut titles = self.table.titles.iter();
            titles.any(|titles| titles.get(column).is_some_and(|t| titles::is_index(t)))
        };
        let other = |column: &usize| !taken.contains(column) && !is_index(*column);
        (0..self.table.width).filter(other).collect()
    }

    /// The only column whose first field is an image that is there, or looks like one.
    fn guessed_path(&mut self, taken: &[usize], paths: &mut Paths) -> Result<usize> {
        let first = self.table.records.first();
        let mut others = self.others(taken);
        others.retain(|column| {
            let field = first.map_or("", |record| record.field(*column));
            paths.looks_like_image(field) || paths.is_there(field)
        });
        match others.as_slice() {
            [column] => Ok(self.guess(Role::Path, *column)),
            [] => Err(self.missing(Role::Path)),
            _ => Err(self.several(Role::Path, &others)),
        }
    }

    /// The only column that is left.
    fn guessed_label(&mut self, taken: &[usize]) -> Result<usize> {
        match self.others(taken).as_slice() {
            [column] => Ok(self.guess(Role::Label, *column)),
            _ => Err(self.missing(Role::Label)),
        }
    }

    fn guess(&mut self, role: Role, column: usize) -> usize {
        // Without titles, the columns are told in any case.
        if self.table.titles.is_some() {
            self.warnings.push(CsvWarning::GuessedColumn {
                column: self.table.name(column),
                holds: role.fields(),
                flag: role.flag(),
            });
        }
        column
    }

    fn split(&mut self, given: Option<usize>, taken: &[usize]) -> Result<Option<(usize, Meaning)>> {
        if let Some(column) = given {
            return Ok(Some((column, self.meaning(column))));
        }
        let mut found = Vec::new();
        for column in (0..self.table.width).filter(|column| !taken.contains(column)) {
            let Some((meaning, sure)) = self.title_of_split(column) else {
                continue;
            };
            if sure || self.is_split(column) {
                found.push((column, meaning));
            }
        }
        if self.options.split == CsvSplit::Ignore {
            let ignored = |(column, _): &(usize, Meaning)| CsvWarning::IgnoredSplit {
                column: self.table.name(*column),
            };
            let ignored: Vec<CsvWarning> = found.iter().map(ignored).collect();
            self.warnings.extend(ignored);
            return Ok(None);
        }
        match found.as_slice() {
            [] => Ok(None),
            [split] => Ok(Some(*split)),
            _ => {
                let columns: Vec<usize> = found.iter().map(|(column, _)| *column).collect();
                Err(self.several(Role::Split, &columns))
            }
        }
    }

    fn title_of_split(&self, column: usize) -> Option<(Meaning, bool)> {
        let titles = self.table.titles.as_ref()?;
        titles::split(titles.get(column)?)
    }

    /// Whether a column is called as a split may be, and is one.
    fn is_split(&self, column: usize) -> bool {
        let Some((meaning, sure)) = self.title_of_split(column) else {
            return false;
        };
        let mut records = self.table.records.iter();
        sure || records.any(|record| meaning.part(record.field(column)).is_some())
    }

    /// What the fields of a column say that the caller calls a split.
    fn meaning(&self, column: usize) -> Meaning {
        if let Some((meaning, _)) = self.title_of_split(column) {
            return meaning;
        }
        let mut records = self.table.records.iter();
        if records.any(|record| Meaning::Names.part(record.field(column)).is_some()) {
            return Meaning::Names;
        }
        Meaning::Valid
    }
}

fn all(titles: &[String], fits: impl Fn(&str) -> bool) -> Vec<usize> {
    let titles = titles.iter().enumerate();
    let fitting = titles.filter(|(_, title)| fits(title));
    fitting.map(|(column, _)| column).collect()
}

impl Meaning {
    /// The part that a field says.
    pub(super) fn part(self, field: &str) -> Option<Part> {
        let [yes, no] = match self {
            Meaning::Names => return Part::named(field),
            Meaning::Valid => [Part::Valid, Part::Train],
            Meaning::Test => [Part::Test, Part::Train],
            Meaning::Train => [Part::Train, Part::Valid],
        };
        match field.to_ascii_lowercase().as_str() {
            "true" | "yes" | "t" | "y" | "1" | "1.0" => Some(yes),
            "false" | "no" | "f" | "n" | "0" | "0.0" => Some(no),
            _ => Part::named(field),
        }
    }

    /// What messages expect.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Meaning::Names => "`train`, `val` or `test`",
            Meaning::Valid | Meaning::Test | Meaning::Train => "`True` or `False`",
        }
    }
}
