//! From what was found to the parts of a data set.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::csv::CsvReport;
use super::report::{self, ClassCount, Division, FolderReport, FolderWarning, Part, Skipped};
use super::verify::{self, CheckProgress};
use super::{Broken, FolderOptions, ImageFolder, Sample, Splits, labels, split};
use crate::error::{Error, Result};

/// What a folder or a CSV file holds, before any image is looked at.
pub(super) struct Found {
    /// What a message about the classes names.
    pub(super) place: PathBuf,
    /// What a message expects of every class, such as `images (.jpg, .png)`.
    pub(super) wanted: String,
    pub(super) classes: Vec<String>,
    /// What else the training folder of each class has.
    pub(super) beside: Vec<Beside>,
    pub(super) train: Candidates,
    pub(super) valid: Option<Candidates>,
    pub(super) test: Option<Candidates>,
    pub(super) division: Division,
    pub(super) left_out: LeftOut,
}

/// The images of one part.
pub(super) struct Candidates {
    /// What relative paths start from.
    pub(super) base: PathBuf,
    /// What a message about this part names.
    pub(super) place: PathBuf,
    pub(super) samples: Vec<Sample>,
}

/// What a class's folder has instead of images.
#[derive(Clone, Default)]
pub(super) struct Beside {
    /// Files with other extensions.
    pub(super) others: BTreeMap<String, usize>,
    /// Images that were skipped.
    pub(super) broken: usize,
}

/// What does not become part of the data set.
#[derive(Default)]
pub(super) struct LeftOut {
    pub(super) skipped: Vec<Skipped>,
    /// Images that were to be left out unseen.
    pub(super) before: usize,
    pub(super) hidden: usize,
    pub(super) junk: BTreeMap<String, usize>,
    pub(super) others: BTreeMap<String, usize>,
    pub(super) warnings: Vec<FolderWarning>,
    /// How the CSV file was read, if it is one.
    pub(super) csv: Option<CsvReport>,
}

impl LeftOut {
    /// An image that cannot be read: an error, or a line of the report.
    pub(super) fn broken(&mut self, path: &Path, error: Error, broken: Broken) -> Result<()> {
        match broken {
            Broken::Fail => Err(error),
            Broken::Skip => {
                self.skipped.push(Skipped::new(path, &error));
                Ok(())
            }
        }
    }
}

impl Found {
    pub(super) fn into_splits(
        mut self,
        options: &FolderOptions,
        progress: &mut dyn FnMut(CheckProgress),
    ) -> Result<Splits> {
        if self.classes.len() < 2 {
            return Err(self.too_few_classes());
        }
        self.verify(options, progress)?;
        if !options.allow_empty {
            self.no_empty_class()?;
        }
        let parts = [
            (Part::Train, Some(&self.train)),
            (Part::Valid, self.valid.as_ref()),
            (Part::Test, self.test.as_ref()),
        ];
        for (part, images) in parts {
            if let Some(images) = images.filter(|images| images.samples.is_empty()) {
                return Err(Error::Data {
                    path: images.place.clone(),
                    expected: format!("{part} {}", self.wanted),
                    found: "none".to_owned(),
                });
            }
        }
        let valid = match (self.valid.take(), self.test.take()) {
            (Some(valid), test) => {
                self.test = test;
                valid
            }
            (None, Some(test)) => {
                let path = test.place.clone();
                let warning = FolderWarning::TestIsValid { path };
                self.left_out.warnings.push(warning);
                test
            }
            (None, None) => self.split(options)?,
        };
        let report = self.report(&valid);
        let classes: Arc<[String]> = self.classes.into();
        let part = |part: Candidates| {
            ImageFolder::new(part.base, part.samples, classes.clone(), options.decode)
        };
        Ok(Splits {
            train: part(self.train),
            valid: part(valid),
            test: self.test.map(part),
            report,
        })
    }

    fn too_few_classes(&self) -> Error {
        Error::Data {
            path: self.place.clone(),
            expected: "at least two classes".to_owned(),
            found: match self.classes.first() {
                Some(class) => format!("one, `{class}`{}", self.empty_classes()),
                None => format!("none{}", self.empty_classes()),
            },
        }
    }

    /// The folders that might have been classes.
    fn empty_classes(&self) -> String {
        let empty = |warning: &FolderWarning| match warning {
            FolderWarning::EmptyClass { path, beside } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                Some(format!("`{name}`{beside}"))
            }
            _ => None,
        };
        let empty: Vec<String> = self.left_out.warnings.iter().filter_map(empty).collect();
        if empty.is_empty() {
            return String::new();
        }
        format!("; without images: {}", report::first_few(&empty))
    }

    /// Takes away the images that are left out unseen.
    fn leave_out(&mut self, paths: &[PathBuf]) {
        let paths: HashSet<&Path> = paths.iter().map(PathBuf::as_path).collect();
        if paths.is_empty() {
            return;
        }
        let parts = [
            Some(&mut self.train),
            self.valid.as_mut(),
            self.test.as_mut(),
        ];
        for part in parts.into_iter().flatten() {
            let before = part.samples.len();
            let base = &part.base;
            part.samples
                .retain(|sample| !paths.contains(base.join(&sample.path).as_path()));
            self.left_out.before += before - part.samples.len();
        }
    }

    /// Takes away the images that cannot be read, if that is wanted.
    pub(super) fn verify(
        &mut self,
        options: &FolderOptions,
        progress: &mut dyn FnMut(CheckProgress),
    ) -> Result<()> {
        self.leave_out(&options.left_out);
        let parts = [Some(&self.train), self.valid.as_ref(), self.test.as_ref()];
        let all: Vec<(&Path, &Sample)> = parts
            .into_iter()
            .flatten()
            .flat_map(|part| part.samples.iter().map(|s| (part.base.as_path(), s)))
            .collect();
        let broken = verify::broken(&all, &self.place, options, progress);
        let indices: BTreeSet<usize> = broken.iter().map(|(index, _)| *index).collect();
        for (index, error) in broken {
            let (base, sample) = all[index];
            self.left_out
                .broken(&base.join(&sample.path), error, options.broken)?;
            if index < self.train.samples.len() {
                self.beside[sample.label as usize].broken += 1;
            }
        }
        let mut index = 0;
        let parts = [
            Some(&mut self.train),
            self.valid.as_mut(),
            self.test.as_mut(),
        ];
        for part in parts.into_iter().flatten() {
            part.samples.retain(|_| {
                index += 1;
                !indices.contains(&(index - 1))
            });
        }
        Ok(())
    }

    fn no_empty_class(&self) -> Result<()> {
        let counts = split::counts(&self.train.samples, self.classes.len());
        let named = self.classes.iter().zip(&self.beside).zip(counts);
        let empty: Vec<String> = named
            .filter(|(_, count)| *count == 0)
            .map(|((class, beside), _)| format!("`{class}`{beside}"))
            .collect();
        if empty.is_empty() {
            return Ok(());
        }
        Err(Error::Data {
            path: self.place.clone(),
            expected: format!("{} of every class", self.wanted),
            found: format!(
                "none of {}; add or convert images, or remove the folders",
                report::first_few(&empty)
            ),
        })
    }

    /// Takes the validation images out of the training images.
    fn split(&mut self, options: &FolderOptions) -> Result<Candidates> {
        let (share, seed) = (options.valid_share, options.seed);
        let classes = self.classes.len();
        let samples = std::mem::take(&mut self.train.samples);
        let (train, valid) = split::divide(samples, classes, share, seed);
        if valid.is_empty() {
            return Err(Error::Data {
                path: self.place.clone(),
                expected: "a class of two images or more, to have some for validation".to_owned(),
                found: "one of each; add images, or put validation images into a part of their own"
                    .to_owned(),
            });
        }
        self.train.samples = train;
        self.division = Division::Seeded { share, seed };
        Ok(Candidates {
            base: self.train.base.clone(),
            place: self.train.place.clone(),
            samples: valid,
        })
    }

    fn report(&mut self, valid: &Candidates) -> FolderReport {
        let classes = self.classes.len();
        let counts = |part: &Candidates| split::counts(&part.samples, classes);
        let [train, valid] = [&self.train, valid].map(counts);
        let test = self.test.as_ref().map(counts);
        let mut left_out = std::mem::take(&mut self.left_out);
        let groups = labels::alike(&self.classes);
        if !groups.is_empty() {
            left_out
                .warnings
                .push(FolderWarning::AlikeClasses { groups });
        }
        let mut rows = Vec::with_capacity(classes);
        for (index, name) in self.classes.iter().enumerate() {
            let test = test.as_ref().map(|counts| counts[index]);
            let count = |part, count| (count == 0).then_some((part, name.clone()));
            let missing = [
                count(Part::Train, train[index]),
                count(Part::Valid, valid[index]),
                test.and_then(|test| count(Part::Test, test)),
            ];
            let missing = missing.into_iter().flatten();
            let warning = |(part, class)| FolderWarning::MissingClass { part, class };
            left_out.warnings.extend(missing.map(warning));
            rows.push(ClassCount {
                name: name.clone(),
                train: train[index],
                valid: valid[index],
                test: test.unwrap_or(0),
            });
        }
        FolderReport {
            classes: rows,
            division: self.division,
            skipped: left_out.skipped,
            left_out_before: left_out.before,
            hidden: left_out.hidden,
            junk: left_out.junk,
            others: left_out.others,
            warnings: left_out.warnings,
            csv: left_out.csv,
        }
    }
}

impl Beside {
    /// Whether there are images that cannot be read.
    pub(super) fn has_images(&self) -> bool {
        let unread = |extension: &String| report::unread_format(extension).is_some();
        self.broken > 0 || self.others.keys().any(unread)
    }
}

impl fmt::Display for Beside {
    /// ` (2 .txt, 1 broken)`, or nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = report::by_extension(&self.others);
        if self.broken > 0 {
            parts.push(format!("{} broken", self.broken));
        }
        match parts.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", parts.join(", ")),
        }
    }
}
