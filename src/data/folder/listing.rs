//! The classes and images that a folder or a CSV file names, in their parts.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{CheckProgress, Checked, check_all};
use super::class_folders::Beside;
use super::image_folder::ImageFolder;
use super::options::FolderOptions;
use super::part::Part;
use super::report::{ClassCount, FolderReport};
use super::sample::Sample;
use super::target_report::{NumberRange, TargetReport};
use super::target_table::TargetTable;
use super::warning::FolderWarning;
use crate::data::class_match::labels_by_name;
use crate::data::target::Task;
use crate::error::{Error, Result};
use crate::preprocess::DecodeOptions;

/// What images are listed for.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// The first part is the training part, whose classes hold for all.
    Training,
    /// A model's classes hold, of which some may have no images.
    Evaluation { classes: &'a [String] },
}

/// What a folder or a CSV file holds.
pub(super) struct Listing {
    /// What a message about all of it names.
    pub(super) source: PathBuf,
    /// What a message expects, such as `images (.jpg, .png)`.
    pub(super) expected: String,
    /// The parts, or one without a name.
    pub(super) parts: Vec<ListedPart>,
    /// What is known so far; the classes are not yet counted.
    pub(super) report: FolderReport,
}

/// The images of one part.
pub(super) struct ListedPart {
    pub(super) part: Option<Part>,
    /// What a message about this part names.
    pub(super) place: PathBuf,
    /// What relative paths start from.
    pub(super) base: PathBuf,
    /// The names of the classes or of the numbers.
    pub(super) classes: Vec<String>,
    /// What the samples' labels stand for: these classes, or numbers.
    pub(super) targets: TargetTable,
    /// What else the classes' folders have.
    pub(super) beside: Vec<Beside>,
    pub(super) samples: Vec<Sample>,
}

/// A class of a part that is not among those that hold.
pub(super) struct UnknownClass {
    pub(super) name: String,
    /// How many images the part has of it.
    pub(super) images: usize,
    /// The first line of a CSV file that names it; 0 if none does.
    pub(super) line: u32,
}

impl Listing {
    /// Takes away the images that were left out before, and those that cannot be read, if they are
    /// no errors.
    pub(super) fn check_images(
        &mut self,
        options: &FolderOptions,
        progress: &mut dyn FnMut(CheckProgress),
    ) -> Result<()> {
        self.leave_out(&options.left_out);
        let all = self.parts.iter().flat_map(|part| {
            let samples = part.samples.iter();
            samples.map(|sample| (part.base.as_path(), sample))
        });
        let all: Vec<(&Path, &Sample)> = all.collect();
        let Checked { broken, several } = check_all(&all, &self.source, options, progress);
        if let Some(first) = several.first() {
            let (base, sample) = all[*first];
            self.report.warnings.push(FolderWarning::SeveralFrames {
                path: base.join(&sample.path),
                count: several.len(),
            });
        }
        let indices: BTreeSet<usize> = broken.iter().map(|(index, _)| *index).collect();
        for (index, error) in broken {
            let (base, sample) = all[index];
            let path = base.join(&sample.path);
            self.report.broken(&path, error, options.broken)?;
        }
        let mut index = 0;
        for part in &mut self.parts {
            let (beside, targets) = (&mut part.beside, &part.targets);
            part.samples.retain(|sample| {
                index += 1;
                let is_broken = indices.contains(&(index - 1));
                let classes = targets.classes_of(sample).iter().filter(|_| is_broken);
                for class in classes {
                    if let Some(beside) = beside.get_mut(*class as usize) {
                        beside.broken += 1;
                    }
                }
                !is_broken
            });
        }
        Ok(())
    }

    /// Takes away the images that are left out unseen.
    fn leave_out(&mut self, paths: &[PathBuf]) {
        if paths.is_empty() {
            return;
        }
        let paths: HashSet<&Path> = paths.iter().map(PathBuf::as_path).collect();
        for part in &mut self.parts {
            let before = part.samples.len();
            let base = &part.base;
            part.samples
                .retain(|sample| !paths.contains(base.join(&sample.path).as_path()));
            self.report.left_out_before += before - part.samples.len();
        }
    }

    /// Refuses a part without images.
    pub(super) fn no_empty_part(&self) -> Result<()> {
        let Some(empty) = self.parts.iter().find(|part| part.samples.is_empty()) else {
            return Ok(());
        };
        let expected = match empty.part {
            Some(part) => format!("{part} {}", self.expected),
            None => self.expected.clone(),
        };
        Err(Error::data(&empty.place, expected, "none"))
    }
}

impl ListedPart {
    /// What its images are labelled with.
    pub(super) fn target_report(&self) -> Option<TargetReport> {
        let (samples, targets) = (&self.samples, &self.targets);
        let (part, images) = (self.part, samples.len());
        match targets {
            TargetTable::Classes => None,
            TargetTable::Sets(_) => {
                let without = samples.iter();
                let without = without.filter(|sample| targets.classes_of(sample).is_empty());
                let counts = self.count_by_class().into_iter();
                Some(TargetReport::Labels {
                    part,
                    images,
                    without: without.count(),
                    counts: self.classes.iter().cloned().zip(counts).collect(),
                })
            }
            TargetTable::Rows { .. } => {
                let range = |(index, name): (usize, &String)| {
                    let values = samples.iter();
                    let values = values.map(|sample| targets.values_of(sample)[index]);
                    let sum: f64 = values.clone().map(f64::from).sum();
                    NumberRange {
                        name: name.clone(),
                        min: values.clone().fold(f32::INFINITY, f32::min),
                        max: values.fold(f32::NEG_INFINITY, f32::max),
                        mean: sum / images.max(1) as f64,
                    }
                };
                Some(TargetReport::Numbers {
                    part,
                    images,
                    ranges: self.classes.iter().enumerate().map(range).collect(),
                })
            }
        }
    }

    /// Makes the labels count `classes`, by name. Other classes are taken away, and the images that
    /// have one alone.
    pub(super) fn match_classes(&mut self, classes: &[String]) -> Vec<UnknownClass> {
        let labels = labels_by_name(&self.classes, classes);
        let counts = match self.targets.task() {
            // Every image has every number.
            Task::Regression => vec![self.samples.len(); self.classes.len()],
            _ => self.count_by_class(),
        };
        let mut unknown = Vec::new();
        for (own, _) in labels
            .iter()
            .enumerate()
            .filter(|(_, label)| label.is_none())
        {
            let mut samples = self.samples.iter();
            let first = samples.find(|sample| {
                let classes = self.targets.classes_of(sample);
                classes.iter().any(|class| *class as usize == own)
            });
            unknown.push(UnknownClass {
                name: self.classes[own].clone(),
                images: counts[own],
                line: first.map_or(0, |sample| sample.line),
            });
        }
        if let TargetTable::Classes = self.targets {
            self.samples.retain_mut(|sample| {
                let label = labels[sample.label as usize];
                sample.label = label.unwrap_or_default() as u32;
                label.is_some()
            });
        }
        self.targets.follow(&labels, classes.len());
        self.classes = classes.to_vec();
        self.beside.clear();
        unknown
    }

    /// How many images there are of each class.
    pub(super) fn count_by_class(&self) -> Vec<usize> {
        let (samples, classes) = (&self.samples, self.classes.len());
        self.targets.count_by_class(samples, classes)
    }

    /// Counts the images in the rows of their classes.
    pub(super) fn count_into(&self, rows: &mut [ClassCount]) {
        for (row, count) in rows.iter_mut().zip(self.count_by_class()) {
            *row.images.of(self.part) += count;
        }
    }

    pub(super) fn into_images(self, classes: &Arc<[String]>, decode: DecodeOptions) -> ImageFolder {
        let targets = Arc::new(self.targets);
        ImageFolder::new(self.base, self.samples, targets, classes.clone(), decode)
    }
}
