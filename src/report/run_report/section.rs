//! A section of the page: words, a picture and a table.

use minijinja::context;
use minijinja::value::Value;

use super::format;
use super::picture::Picture;
use super::templates::render;
use crate::error::Result;

/// Longer tables are folded.
const MAX_ROWS: usize = 40;
/// Stands for a share of nothing.
pub(super) const NOTHING: &str = "\u{2013}";

/// A section of the page.
#[derive(Debug)]
pub(super) struct Section {
    /// Its anchor.
    pub id: &'static str,
    pub heading: &'static str,
    /// Markup below the heading.
    pub body: String,
    /// The picture in it, and its name as a file.
    pub picture: Option<(&'static str, Picture)>,
}

/// Figures, a row for each thing that has a name.
pub(super) struct Table {
    /// What the things are, such as `classes`; also the class of its style.
    pub of: &'static str,
    pub columns: &'static [&'static str],
    pub rows: Vec<Row>,
    /// The weakest of the rows, the weakest first.
    pub weakest: Vec<usize>,
    /// The means of all, if there are any.
    pub means: Vec<String>,
    /// What the columns are.
    pub note: &'static str,
}

pub(super) struct Row {
    pub name: String,
    pub cells: Vec<String>,
    /// The length of a bar behind the last figure, in 0..1.
    pub bar: Option<f64>,
}

impl Section {
    /// Fills it. Without a picture and a table `lead` says why.
    pub fn new(
        id: &'static str,
        heading: &'static str,
        lead: &str,
        picture: Option<(&'static str, Picture)>,
        table: Option<&Table>,
    ) -> Result<Self> {
        let values = context! {
            lead,
            picture => picture.as_ref().map(|(_, picture)| picture.value()),
            table => table.map(Table::value),
        };
        Ok(Self {
            id,
            heading,
            body: render("section.html", values)?,
            picture,
        })
    }
}

impl Table {
    fn value(&self) -> Value {
        let row = |(index, row): (usize, &Row)| {
            context! {
                name => &row.name,
                cells => &row.cells,
                bar => row.bar.map(|share| format!("{share:.3}")),
                weak => self.weakest.contains(&index),
            }
        };
        let weakest = self.weakest.iter();
        let weakest = weakest.filter_map(|index| Some((*index, self.rows.get(*index)?)));
        context! {
            of => self.of,
            columns => self.columns.to_vec(),
            rows => self.rows.iter().enumerate().map(row).collect::<Vec<_>>(),
            number => format::count(self.rows.len()),
            weakest => weakest.map(row).collect::<Vec<_>>(),
            folded => self.rows.len() > MAX_ROWS,
            means => &self.means,
            note => self.note,
        }
    }
}

/// The name of a class or an output, or its number if it has none.
pub(super) fn name(names: &[String], kind: &str, index: usize) -> String {
    match names.get(index) {
        Some(name) if !name.trim().is_empty() => name.clone(),
        _ => format!("{kind} {index}"),
    }
}
