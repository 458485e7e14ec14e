//! What a person is told about images: what has no effect, what was left out, what helps.

use anyhow::{Result, anyhow, bail};
use burn_zoo::Error;
use burn_zoo::data::{FolderReport, Task};

use super::args::{DataArgs, SPLIT_SEED, VALID_SHARE};
use super::kind::{DataKind, is_csv};
use crate::notice;

impl DataArgs {
    /// Refuses flags of CSV files where there is none: only they have columns.
    pub(super) fn check_csv_flags(&self) -> Result<()> {
        let given = [
            ("--csv-path-column", self.csv_path_column.is_some()),
            ("--csv-label-column", self.csv_label_column.is_some()),
            ("--csv-label-columns", !self.csv_label_columns.is_empty()),
            ("--csv-label-separator", self.csv_label_separator.is_some()),
            ("--csv-split-column", self.csv_split_column.is_some()),
            ("--csv-delimiter", self.csv_delimiter.is_some()),
        ];
        let first = given.iter().find(|(_, given)| *given);
        match (first, self.kind()) {
            (None, _) | (_, Some(DataKind::Csv(_))) => Ok(()),
            (Some((flag, _)), _) => bail!(
                "{flag}: expected --data to be a .csv or .tsv file, found `{}`",
                self.name()
            ),
        }
    }

    /// Refuses several labels and numbers of images that have one class each.
    pub(super) fn check_task(&self) -> Result<()> {
        let task = self.task();
        if task != Task::SingleLabel && self.folder().is_none() {
            bail!(
                "--task {task}: expected --data to be a folder of images or a .csv or .tsv file, found \
                 `{}`, whose images have one class each",
                self.name()
            );
        }
        Ok(())
    }

    /// Says so where files were to be checked, and there are none.
    pub(super) fn tell_of_no_files(&self) {
        let flags = [
            ("--skip-broken", self.skip_broken),
            ("--verify", self.verify),
            ("--max-pixels", self.max_pixels.is_some()),
        ];
        for (flag, _) in flags.iter().filter(|(_, given)| *given) {
            let name = self.name();
            notice::tell(format!("{flag} has no effect: {name} has no image files"));
        }
    }

    /// Says so where a division was asked for, and the images have one of their own.
    pub(super) fn tell_of_own_division(&self) {
        let name = self.name();
        if self.valid_share.is_some_and(|share| share != VALID_SHARE) {
            notice::tell(format!(
                "--valid-share has no effect: {name} has validation images of its own"
            ));
        }
        if self.split_seed.is_some_and(|seed| seed != SPLIT_SEED) {
            notice::tell(format!(
                "--split-seed divides nothing: {name} has validation images of its own; of a \
                 folder it chooses the images that --limit-train and --limit-test leave"
            ));
        }
    }

    /// What helps where one image is to blame.
    pub(super) fn with_advice(&self, error: Error) -> anyhow::Error {
        let of_image = match &error {
            Error::Image { .. } => true,
            // A link to nothing, or what a CSV file names and is not there.
            Error::Data { path, .. } => !path.is_dir() && !is_csv(path),
            _ => false,
        };
        if of_image {
            self.with_skip_broken(error)
        } else {
            error.into()
        }
    }

    /// The error of an image that cannot be read, with what helps.
    pub fn with_skip_broken(&self, error: Error) -> anyhow::Error {
        if self.skip_broken {
            return error.into();
        }
        anyhow!("{error}; --skip-broken leaves out what cannot be read")
    }
}

/// Says what a person should know about a folder or a CSV file.
pub(super) fn tell_of_report(report: &FolderReport) {
    for line in report.notices() {
        notice::tell(line);
    }
}
