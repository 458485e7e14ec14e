//! The monitor of one of several ranks.

use super::group::Group;
use crate::error::Result;
use crate::train::epoch_record::EpochRecord;
use crate::train::monitor::{
    Backward, Control, EpochEnd, EpochStart, Monitor, RunStart, StepRecord,
};

/// Hands everything on, but for notices: those of all ranks reach rank 0's monitor, each once.
pub(in crate::train) struct Relay<'a> {
    pub monitor: &'a mut dyn Monitor,
    pub group: &'a Group,
}

impl Monitor for Relay<'_> {
    fn run_started(&mut self, run: &RunStart<'_>) -> Result<()> {
        self.monitor.run_started(run)
    }

    fn epoch_started(&mut self, epoch: &EpochStart<'_>, control: &mut Control) -> Result<()> {
        self.monitor.epoch_started(epoch, control)
    }

    fn backward(&mut self, step: &Backward<'_>) -> Result<()> {
        self.monitor.backward(step)
    }

    fn step(&mut self, step: &StepRecord, control: &mut Control) -> Result<()> {
        self.monitor.step(step, control)
    }

    fn validated(&mut self, batch: usize, batches: usize) {
        self.monitor.validated(batch, batches);
    }

    fn features(&mut self, batch: usize, batches: usize) {
        self.monitor.features(batch, batches);
    }

    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<()> {
        self.monitor.epoch_finished(epoch, control)
    }

    fn run_finished(&mut self, best: &EpochRecord) -> Result<()> {
        self.monitor.run_finished(best)
    }

    fn notice(&mut self, text: &str) {
        self.group.tell(text, self.monitor);
    }

    fn should_stop(&mut self) -> bool {
        self.monitor.should_stop()
    }
}
