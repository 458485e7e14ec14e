//! The curves of a run while it goes on.

use std::path::PathBuf;

use super::contents::{EpochLine, Report};
use super::epoch_charts;
use crate::error::Result;
use crate::train::{Control, EpochEnd, EpochRecord, EpochStart, Monitor, RunFiles, RunStart};
use crate::write_file;

/// Draws losses and accuracies into `curves.svg` in the run folder after each epoch.
#[derive(Debug, Default)]
pub struct CurvesMonitor {
    path: PathBuf,
    epochs: Vec<EpochRecord>,
}

impl CurvesMonitor {
    fn draw(&self) -> Result<()> {
        let report = Report {
            epochs: self.epochs.iter().map(EpochLine::from).collect(),
            ..Report::default()
        };
        match epoch_charts::both(&report)? {
            Some(picture) => write_file(&self.path, picture.file()?.as_bytes()),
            None => Ok(()),
        }
    }
}

impl Monitor for CurvesMonitor {
    fn run_started(&mut self, run: &RunStart<'_>) -> Result<()> {
        self.path = run.dir.join("curves.svg");
        self.epochs.clear();
        if run.epochs_done > 0 {
            self.epochs = RunFiles::open(run.dir)?.epochs;
        }
        Ok(())
    }

    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, _control: &mut Control) -> Result<()> {
        self.epochs.push(epoch.record.clone());
        Ok(())
    }

    // Epochs are drawn once they are in a checkpoint, so that a full disk takes none of them.

    fn epoch_started(&mut self, _epoch: &EpochStart<'_>, _control: &mut Control) -> Result<()> {
        self.draw()
    }

    fn run_finished(&mut self, _best: &EpochRecord) -> Result<()> {
        self.draw()
    }
}
