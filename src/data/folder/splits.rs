//! Images to train on and to validate on.

use std::sync::Arc;

use super::check::CheckProgress;
use super::class_names::alike;
use super::image_folder::ImageFolder;
use super::listing::{ListedPart, Listing, UnknownClass};
use super::options::FolderOptions;
use super::part::Part;
use super::report::{ClassCount, Division, FolderReport};
use super::seeded_split::divide;
use super::target_report::TargetReport;
use super::warning::FolderWarning;
use crate::data::message::{first_few, quoted};
use crate::data::target::Task;
use crate::error::{Error, Result};

/// A data set in its parts, which have the same classes.
#[derive(Debug, Clone)]
pub struct Splits {
    /// The images to train on.
    pub train: ImageFolder,
    /// The images to choose the best epoch by.
    pub valid: ImageFolder,
    /// The images of a third part, where the data set has one: a folder `test` beside `val`.
    pub test: Option<ImageFolder>,
    /// What was found, and what was left out.
    pub report: FolderReport,
}

impl Splits {
    /// The images of a part. Where the test images stand for validation images, they are both.
    pub fn part(&self, part: Part) -> Option<&ImageFolder> {
        match part {
            Part::Train => Some(&self.train),
            Part::Valid => Some(&self.valid),
            Part::Test if self.report.test_is_valid() => Some(&self.valid),
            Part::Test => self.test.as_ref(),
        }
    }
}

impl Listing {
    pub(super) fn into_splits(
        mut self,
        options: &FolderOptions,
        progress: &mut dyn FnMut(CheckProgress),
    ) -> Result<Splits> {
        let Some(train) = self.parts.first_mut() else {
            return Err(Error::data(&self.source, "training images", "none"));
        };
        train.part = Some(Part::Train);
        let classes = train.classes.clone();
        let mut unknown = Vec::new();
        for (index, part) in self.parts.iter_mut().enumerate().skip(1) {
            unknown.push((index, part.match_classes(&classes)));
        }
        unknown.retain(|(_, classes)| !classes.is_empty());
        // Of a CSV file the first line is told, whichever part it belongs to.
        let first = unknown
            .iter()
            .min_by_key(|(_, classes)| classes.iter().map(|class| class.line).min());
        if let Some((index, classes)) = first {
            return Err(self.unknown_classes(&self.parts[*index], classes));
        }
        let task = self.task();
        if task == Task::SingleLabel && classes.len() < 2 {
            return Err(self.too_few_classes(&classes));
        }
        self.check_images(options, progress)?;
        if task == Task::MultiLabel {
            self.labels_differ(&classes)?;
        }
        if task != Task::Regression && !options.allow_empty {
            self.no_empty_class()?;
        }
        self.no_empty_part()?;
        match self.parts.as_mut_slice() {
            [_] => self.split_off_valid(options)?,
            [_, only] if only.part == Some(Part::Test) => {
                only.part = Some(Part::Valid);
                let warning = FolderWarning::TestIsValid(only.place.clone());
                self.report.warnings.push(warning);
            }
            _ => {}
        }
        self.count_classes(&classes);
        let classes: Arc<[String]> = classes.into();
        let mut images = self.parts.into_iter();
        let mut next = || Some(images.next()?.into_images(&classes, options.decode));
        let (Some(train), Some(valid), test) = (next(), next(), next()) else {
            return Err(Error::data(self.source, "validation images", "none"));
        };
        Ok(Splits {
            train,
            valid,
            test,
            report: self.report,
        })
    }

    /// The error for images of classes that the training part does not have.
    fn unknown_classes(&self, part: &ListedPart, unknown: &[UnknownClass]) -> Error {
        let by_line = unknown.iter().filter(|class| class.line > 0);
        if let Some(UnknownClass { name, line, .. }) = by_line.min_by_key(|class| class.line) {
            let expected = format!("a class that has training images in line {line}");
            return Error::data(&part.place, expected, quoted(name));
        }
        let train = &self.source;
        let describe = |UnknownClass { name, .. }: &UnknownClass| {
            let folder = train.join(name);
            let is_empty = |warning: &FolderWarning| matches!(warning, FolderWarning::EmptyClass { path, .. } if *path == folder);
            if self.report.warnings.iter().any(is_empty) {
                format!("`{name}`, which has no training images")
            } else {
                format!("`{name}`")
            }
        };
        let unknown: Vec<String> = unknown.iter().map(describe).collect();
        let found = format!(
            "{}; add training images of them, or take these folders away",
            first_few(&unknown)
        );
        let expected = format!("the classes of {} alone", train.display());
        Error::data(&part.place, expected, found)
    }

    fn too_few_classes(&self, classes: &[String]) -> Error {
        // The folders that might have been classes.
        let empty = |warning: &FolderWarning| match warning {
            FolderWarning::EmptyClass { path, beside } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                Some(format!("`{name}`{beside}"))
            }
            _ => None,
        };
        let empty: Vec<String> = self.report.warnings.iter().filter_map(empty).collect();
        let mut found = match classes.first() {
            Some(class) => format!("one, `{class}`"),
            None => "none".to_owned(),
        };
        if !empty.is_empty() {
            found += &format!("; without images: {}", first_few(&empty));
        }
        Error::data(&self.source, "at least two classes", found)
    }

    fn task(&self) -> Task {
        let first = self.parts.first();
        first.map_or_else(Task::default, |part| part.targets.task())
    }

    /// Refuses training images of which nothing can be told apart: none has a label, or all have the
    /// only one.
    fn labels_differ(&self, classes: &[String]) -> Result<()> {
        let Some(train) = self.parts.first() else {
            return Ok(());
        };
        let found = match classes {
            [] => "none".to_owned(),
            [only] if train.count_by_class() == [train.samples.len()] => {
                format!("one, `{only}`, which every image has")
            }
            _ => return Ok(()),
        };
        let expected = "two labels or more, or images without the label";
        Err(Error::data(&self.source, expected, found))
    }

    /// Refuses a class without training images.
    fn no_empty_class(&self) -> Result<()> {
        let Some(train) = self.parts.first() else {
            return Ok(());
        };
        let counts = train.count_by_class();
        let empty = counts.iter().zip(0..).filter(|(count, _)| **count == 0);
        let empty: Vec<String> = empty
            .map(|(_, class)| {
                let beside = train.beside.get(class).map(ToString::to_string);
                format!("`{}`{}", train.classes[class], beside.unwrap_or_default())
            })
            .collect();
        if empty.is_empty() {
            return Ok(());
        }
        let expected = format!("{} of every class", self.expected);
        let csv = self.report.csv.as_ref();
        let advice = if csv.is_some_and(|csv| csv.label_columns.len() > 1) {
            "add images, or leave their columns away"
        } else {
            "add or convert images, or remove the folders"
        };
        let found = format!("none of {}; {advice}", first_few(&empty));
        Err(Error::data(&self.source, expected, found))
    }

    /// Takes the validation images out of the training images.
    fn split_off_valid(&mut self, options: &FolderOptions) -> Result<()> {
        let column = self
            .report
            .csv
            .as_ref()
            .and_then(|csv| csv.split_column.clone());
        if let Some(column) = column {
            let warning = FolderWarning::AllTraining(column);
            self.report.warnings.push(warning);
        }
        let (share, seed) = (options.valid_share, options.seed);
        let Some(train) = self.parts.first_mut() else {
            return Ok(());
        };
        let samples = std::mem::take(&mut train.samples);
        let (samples, valid) = divide(samples, &train.targets, train.classes.len(), share, seed);
        if valid.is_empty() {
            let (expected, found) = match train.targets.task() {
                Task::Regression => ("two images or more, to have some for validation", "one"),
                _ => (
                    "a class of two images or more, to have some for validation",
                    "one of each",
                ),
            };
            let advice = "add images, or put validation images into a part of their own";
            let found = format!("{found}; {advice}");
            return Err(Error::data(&self.source, expected, found));
        }
        train.samples = samples;
        let valid = ListedPart {
            part: Some(Part::Valid),
            place: train.place.clone(),
            base: train.base.clone(),
            classes: train.classes.clone(),
            targets: train.targets.clone(),
            beside: Vec::new(),
            samples: valid,
        };
        self.parts.push(valid);
        self.report.division = Division::Seeded { share, seed };
        Ok(())
    }

    fn count_classes(&mut self, classes: &[String]) {
        for part in &self.parts {
            *self.report.images.of(part.part) += part.samples.len();
        }
        self.report.targets = self.parts.first().and_then(ListedPart::target_report);
        if self.task() == Task::Regression {
            let targets = self.report.targets.iter();
            let constant = targets.flat_map(TargetReport::constant_numbers);
            let constant = constant.map(|name| FolderWarning::ConstantNumber(name.to_owned()));
            self.report.warnings.extend(constant);
            return;
        }
        let mut rows: Vec<ClassCount> = classes.iter().map(|c| ClassCount::new(c)).collect();
        for part in &self.parts {
            part.count_into(&mut rows);
        }
        let groups = alike(classes);
        if !groups.is_empty() {
            let warning = FolderWarning::AlikeClasses(groups);
            self.report.warnings.push(warning);
        }
        for row in &mut rows {
            for part in self.parts.iter().filter_map(|part| part.part) {
                if *row.images.of(Some(part)) == 0 {
                    let warning = FolderWarning::MissingClass(part, row.name.clone());
                    self.report.warnings.push(warning);
                }
            }
        }
        self.report.classes = rows;
    }
}
