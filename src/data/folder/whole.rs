//! Images to evaluate on: all that was given.

use std::collections::HashMap;
use std::path::PathBuf;

use super::found::{Beside, Candidates, Found, LeftOut};
use super::report::{ClassCount, Division, FolderReport, Part, first_few};
use super::verify::CheckProgress;
use super::{FolderOptions, ImageFolder, split};
use crate::error::{Error, Result};

/// Images to evaluate on, as [`ImageFolder::open_part`] found them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Whole {
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

/// What a folder or a CSV file holds, before any image is looked at.
pub(super) struct Given {
    /// What a message about all of it names.
    pub(super) place: PathBuf,
    /// What a message expects, such as `images (.jpg, .png)`.
    pub(super) wanted: String,
    /// The parts, or one without a name.
    pub(super) parts: Vec<Listed>,
    pub(super) division: Division,
    pub(super) left_out: LeftOut,
}

/// The images of a part.
pub(super) struct Listed {
    pub(super) part: Option<Part>,
    /// The names of the classes, which the labels of the images count.
    pub(super) names: Vec<String>,
    pub(super) images: Candidates,
}

impl Given {
    pub(super) fn into_whole(
        mut self,
        options: &FolderOptions,
        classes: &[String],
        part: Option<Part>,
        progress: &mut dyn FnMut(CheckProgress),
    ) -> Result<Whole> {
        let index = self.choose(part)?;
        let chosen = self.parts.remove(index);
        let classes = if classes.is_empty() {
            chosen.names.clone()
        } else {
            classes.to_vec()
        };
        let part = chosen.part;
        let images = chosen.by_name(&classes)?;
        let mut rows = rows(&classes);
        let mut others = Vec::new();
        for other in self.parts {
            // There is a name for each, since only parts have others beside them.
            if let Some(part) = other.part {
                others.push((part, other.images.samples.len()));
                other.count(&mut rows, &classes);
            }
        }
        let mut found = Found {
            place: self.place,
            wanted: self.wanted,
            beside: vec![Beside::default(); classes.len()],
            classes,
            train: images,
            valid: None,
            test: None,
            division: self.division,
            left_out: self.left_out,
        };
        found.verify(options, progress)?;
        if found.train.samples.is_empty() {
            let expected = match part {
                Some(part) => format!("{part} {}", found.wanted),
                None => found.wanted,
            };
            return Err(Error::Data {
                path: found.train.place,
                expected,
                found: "none".to_owned(),
            });
        }
        let counts = split::counts(&found.train.samples, found.classes.len());
        for (row, count) in rows.iter_mut().zip(counts) {
            *row.of(part) = count;
        }
        let missing = rows.iter_mut().filter_map(|row| {
            let none = *row.of(part) == 0;
            none.then(|| row.name.clone())
        });
        Ok(Whole {
            missing: missing.collect(),
            images: ImageFolder::new(
                found.train.base,
                found.train.samples,
                found.classes.into(),
                options.decode,
            ),
            part,
            others,
            report: FolderReport {
                classes: rows,
                division: found.division,
                skipped: found.left_out.skipped,
                left_out_before: found.left_out.before,
                hidden: found.left_out.hidden,
                junk: found.left_out.junk,
                others: found.left_out.others,
                warnings: found.left_out.warnings,
                csv: found.left_out.csv,
            },
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
            let names: Vec<String> = self
                .parts
                .iter()
                .filter_map(|listed| listed.part)
                .map(|part| format!("`{}`", part.name()))
                .collect();
            Error::Data {
                path: self.place.clone(),
                expected: match part {
                    Some(part) => format!("labelled images of the part `{}`", part.name()),
                    None => "labelled images".to_owned(),
                },
                found: match (names.as_slice(), self.parts.is_empty()) {
                    (_, true) => "none".to_owned(),
                    ([], false) => "no parts; without one all images are taken".to_owned(),
                    (names, false) => format!("{} alone", names.join(", ")),
                },
            }
        })
    }
}

impl Listed {
    /// The images with labels that count `classes`.
    fn by_name(self, classes: &[String]) -> Result<Candidates> {
        let labels = labels(classes);
        let counts = split::counts(&self.images.samples, self.names.len());
        let unknown: Vec<String> = self
            .names
            .iter()
            .zip(counts)
            .filter(|(name, count)| *count > 0 && !labels.contains_key(name.as_str()))
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let mut images = self.images;
        let wrong = || {
            let known: Vec<String> = classes.iter().map(|name| format!("`{name}`")).collect();
            Error::Data {
                path: images.place.clone(),
                expected: format!("the model's classes alone ({})", first_few(&known)),
                found: format!(
                    "{}; name the folders or labels as the model names its classes, or take them \
                     away",
                    first_few(&unknown)
                ),
            }
        };
        if !unknown.is_empty() {
            return Err(wrong());
        }
        for sample in &mut images.samples {
            let name = self.names.get(sample.label as usize);
            if let Some(label) = name.and_then(|name| labels.get(name.as_str())) {
                sample.label = *label;
            }
        }
        Ok(images)
    }

    /// Counts the images in the rows of their classes.
    fn count(&self, rows: &mut [ClassCount], classes: &[String]) {
        let labels = labels(classes);
        let counts = split::counts(&self.images.samples, self.names.len());
        for (name, count) in self.names.iter().zip(counts) {
            let label = labels.get(name.as_str()).map(|label| *label as usize);
            if let Some(row) = label.and_then(|label| rows.get_mut(label)) {
                *row.of(self.part) += count;
            }
        }
    }
}

/// The label of each class; of two with the same name, the first.
fn labels(classes: &[String]) -> HashMap<&str, u32> {
    let mut labels = HashMap::new();
    for (label, name) in (0..).zip(classes) {
        labels.entry(name.as_str()).or_insert(label);
    }
    labels
}

fn rows(classes: &[String]) -> Vec<ClassCount> {
    let row = |name: &String| ClassCount {
        name: name.clone(),
        train: 0,
        valid: 0,
        test: 0,
    };
    classes.iter().map(row).collect()
}

impl ClassCount {
    /// The count of a part; where there are none, that of all images.
    fn of(&mut self, part: Option<Part>) -> &mut usize {
        match part {
            Some(Part::Train) => &mut self.train,
            Some(Part::Valid) => &mut self.valid,
            Some(Part::Test) | None => &mut self.test,
        }
    }
}
