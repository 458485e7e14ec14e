//! Images to evaluate on: all that was given.

use super::check::CheckProgress;
use super::image_folder::ImageFolder;
use super::listing::Listing;
use super::options::FolderOptions;
use super::part::Part;
use super::report::{ClassCount, FolderReport};
use crate::data::message::{first_few, first_names};
use crate::data::target::Task;
use crate::error::{Error, Result};

/// Images to evaluate on, as [`ImageFolder::open_part`] found them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EvaluationSet {
    /// The images.
    pub images: ImageFolder,
    /// Which part they are; `None` if there are no parts.
    pub part: Option<Part>,
    /// The other parts, and how many images they have.
    pub others: Vec<(Part, usize)>,
    /// The classes without images.
    pub missing: Vec<String>,
    /// What was found, and what was left out.
    pub report: FolderReport,
}

impl Listing {
    pub(super) fn into_evaluation(
        mut self,
        options: &FolderOptions,
        classes: &[String],
        part: Option<Part>,
        progress: &mut dyn FnMut(CheckProgress),
    ) -> Result<EvaluationSet> {
        let index = self.choose(part)?;
        let mut chosen = self.parts.remove(index);
        let part = chosen.part;
        let classes = if classes.is_empty() {
            chosen.classes.clone()
        } else {
            classes.to_vec()
        };
        let is_numbers = chosen.targets.task() == Task::Regression;
        // A number that the images do not have cannot be told of them.
        if is_numbers && classes.iter().any(|name| !chosen.classes.contains(name)) {
            let expected = format!("the model's numbers ({})", first_names(&classes));
            let found = format!(
                "{}; name the columns as the model names its numbers",
                first_names(&chosen.classes)
            );
            return Err(Error::data(chosen.place, expected, found));
        }
        let mut unknown = chosen.match_classes(&classes);
        unknown.retain(|class| class.images > 0);
        if !unknown.is_empty() {
            let unknown: Vec<String> = unknown.into_iter().map(|class| class.name).collect();
            let what = if is_numbers { "numbers" } else { "classes" };
            let expected = format!("the model's {what} alone ({})", first_names(&classes));
            let found = format!(
                "{}; name the folders or labels as the model names its {what}, or take them away",
                first_names(&unknown)
            );
            return Err(Error::data(chosen.place, expected, found));
        }
        let mut rows: Vec<ClassCount> = classes.iter().map(|c| ClassCount::new(c)).collect();
        let mut others = Vec::new();
        for mut other in std::mem::replace(&mut self.parts, vec![chosen]) {
            // There is a name for each, since only parts have others beside them.
            if let Some(part) = other.part {
                others.push((part, other.samples.len()));
                other.match_classes(&classes);
                other.count_into(&mut rows);
                *self.report.images.of(other.part) += other.samples.len();
            }
        }
        self.check_images(options, progress)?;
        self.no_empty_part()?;
        let Some(chosen) = self.parts.pop() else {
            return Err(Error::data(self.source, self.expected, "none"));
        };
        chosen.count_into(&mut rows);
        *self.report.images.of(part) += chosen.samples.len();
        self.report.targets = chosen.target_report();
        if is_numbers {
            rows.clear();
        }
        let missing = rows.iter_mut().filter_map(|row| {
            let none = *row.images.of(part) == 0;
            none.then(|| row.name.clone())
        });
        let missing = missing.collect();
        self.report.classes = rows;
        Ok(EvaluationSet {
            images: chosen.into_images(&classes.into(), options.decode),
            part,
            others,
            missing,
            report: self.report,
        })
    }

    /// The index of the part that was asked for, or of the one that is meant for an evaluation.
    fn choose(&self, part: Option<Part>) -> Result<usize> {
        let find = |part: Option<Part>| self.parts.iter().position(|listed| listed.part == part);
        let unasked = [None, Some(Part::Test), Some(Part::Valid), Some(Part::Train)];
        let index = match part {
            Some(_) => find(part),
            None => unasked.into_iter().find_map(find),
        };
        index.ok_or_else(|| {
            let names = self.parts.iter().filter_map(|listed| listed.part);
            let names: Vec<String> = names.map(|part| format!("`{}`", part.name())).collect();
            let expected = match part {
                Some(part) => format!("labelled images of the part `{}`", part.name()),
                None => "labelled images".to_owned(),
            };
            let found = if self.parts.is_empty() {
                "none".to_owned()
            } else if names.is_empty() {
                "no parts; without one all images are taken".to_owned()
            } else {
                format!("{} alone", first_few(&names))
            };
            Error::data(&self.source, expected, found)
        })
    }
}
