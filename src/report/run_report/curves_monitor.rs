//! The curves of a run while it goes on.

use std::path::{Path, PathBuf};

use super::contents::{EpochLine, Report};
use super::epoch_charts;
use crate::error::Result;
use crate::train::{Control, EpochEnd, EpochRecord, EpochStart, Monitor, Run, RunFiles, RunStart};
use crate::write_file;

/// Draws losses and accuracies into `curves.svg` in the run folder after each epoch.
#[derive(Debug, Default)]
pub struct CurvesMonitor {
    dir: PathBuf,
    epochs: Vec<EpochRecord>,
}

impl Run {
    /// Draws losses and accuracies into `curves.svg` in the run folder, as [`CurvesMonitor`] does
    /// while the run goes on.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the file cannot be written.
    pub fn write_curves(&self) -> Result<()> {
        draw(self.dir(), self.epochs())
    }
}

fn draw(dir: &Path, epochs: &[EpochRecord]) -> Result<()> {
    let report = Report {
        epochs: epochs.iter().map(EpochLine::from).collect(),
        ..Report::default()
    };
    match epoch_charts::both(&report)? {
        Some(picture) => write_file(&dir.join("curves.svg"), picture.file()?.as_bytes()),
        None => Ok(()),
    }
}

impl Monitor for CurvesMonitor {
    fn run_started(&mut self, run: &RunStart<'_>) -> Result<()> {
        self.dir = run.dir.to_path_buf();
        self.epochs.clear();
        if run.epochs_done > 0 {
            self.epochs = RunFiles::read_epochs(run.dir)?;
        }
        Ok(())
    }

    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, _control: &mut Control) -> Result<()> {
        self.epochs.push(epoch.record.clone());
        Ok(())
    }

    // `epoch_finished` comes before the checkpoint. Epochs are drawn once they are in it, so that a
    // full disk takes none of them.

    fn epoch_started(&mut self, _epoch: &EpochStart<'_>, _control: &mut Control) -> Result<()> {
        draw(&self.dir, &self.epochs)
    }

    fn run_finished(&mut self, _best: &EpochRecord) -> Result<()> {
        draw(&self.dir, &self.epochs)
    }
}
