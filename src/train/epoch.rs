//! The loop: epochs of steps, and after each epoch a validation and a checkpoint.

use burn::module::Module as _;

use super::cache::prefix;
use super::monitor::{Control, EpochStart, Monitor, RunStart};
use super::parallel::Relay;
use super::progress::Progress;
use super::run::finished::Run;
use super::run::folder::RunFolder;
use super::setup::Setup;
use super::training::{EpochClock, Training};
use crate::data::Batch;
use crate::error::Result;

/// Trains to the last epoch, or until early stopping or the monitor ends the run. The rank that writes
/// has the finished run, the others nothing.
pub(super) fn run_epochs(
    setup: &Setup,
    progress: Progress,
    folder: RunFolder,
    monitor: &mut dyn Monitor,
) -> Result<Option<Run>> {
    let group = &setup.group;
    let mut relay = Relay { monitor, group };
    let mut training = Training::new(setup, progress, folder, &mut relay);
    training.start_run()?;
    while !training.is_finished() {
        training = training.epoch()?;
    }
    training.finish_run()
}

impl Training<'_> {
    fn epoch(mut self) -> Result<Self> {
        self.start_epoch()?;
        self.decide_together()?;
        let mut inputs = self.inputs();
        while !inputs.is_empty() {
            self.apply_control()?;
            if let Some(freeze) = self.next_freeze()? {
                drop(inputs);
                self.freeze(freeze)?;
                inputs = self.inputs();
            }
            let Some(step) = self.accumulate_gradients(&mut inputs)? else {
                continue;
            };
            if self.skip_overflow(&step)? {
                continue;
            }
            self = self.optimizer_step(step, inputs.is_empty())?;
            self.decide_together()?;
            if self.control.stop {
                break;
            }
            self.checkpoint_within_epoch(inputs.is_empty())?;
        }
        let complete = inputs.is_empty();
        drop(inputs);
        self.check_trained()?;
        self.take_statistics()?;
        let validation = self.validate()?;
        self.finish_epoch(validation, complete)?;
        Ok(self)
    }

    pub fn is_finished(&self) -> bool {
        let state = &self.progress.state;
        state.epoch >= self.setup.recipe.epochs || state.stopped
    }

    fn start_run(&mut self) -> Result<()> {
        let Setup { recipe, plan, .. } = self.setup;
        let previews = self.previews();
        let [train, valid] = previews.map_err(|error| self.checkpoint_if_unreadable(error))?;
        self.monitor.run_started(&RunStart {
            dir: self.folder.path(),
            recipe,
            plan,
            model: &self.progress.model,
            images: &train.images,
            valid_images: &valid.images,
            valid_targets: &valid.targets,
            num_images: self.setup.num_images,
            steps: self.setup.steps_per_epoch,
            epochs_done: self.progress.state.epoch,
            steps_done: self.progress.state.steps,
        })?;
        for notice in self.setup.notices() {
            self.monitor.notice(&notice);
        }
        Ok(())
    }

    /// The first images of training and validation.
    fn previews(&self) -> Result<[Batch; 2]> {
        Ok([
            self.setup
                .train
                .preview(self.epoch_number() as u64, PREVIEW)?,
            self.setup.valid.preview(0, PREVIEW)?,
        ])
    }

    fn start_epoch(&mut self) -> Result<()> {
        let state = &mut self.progress.state;
        self.control = Control::default();
        self.monitor.epoch_started(
            &EpochStart {
                epoch: state.epoch + 1,
                epochs: self.setup.recipe.epochs,
                steps: self.setup.steps_per_epoch,
                steps_done: state.batches.div_ceil(self.setup.recipe.accumulate),
                model: &self.progress.model,
            },
            &mut self.control,
        )?;
        self.clock = EpochClock::start(state.totals.seconds);
        if state.batches == 0 {
            state.steps_at_epoch_start = Some(state.steps);
        }
        Ok(())
    }

    fn checkpoint_within_epoch(&mut self, is_last_step: bool) -> Result<()> {
        let every = self.setup.recipe.checkpoints.every_steps;
        let is_due = every.is_some_and(|every| self.progress.state.steps.is_multiple_of(every));
        if is_due && !is_last_step {
            self.exchange_unreadable()?;
            self.checkpoint()?;
        }
        Ok(())
    }

    fn finish_run(self) -> Result<Option<Run>> {
        // Whoever ends now must not be missed by another.
        self.setup.group.end()?;
        if !self.folder.is_written() {
            return Ok(None);
        }
        prefix::remove(self.folder.path());
        let model = self.progress.model.valid();
        let state = self.progress.state;
        let run = self.folder.finish(state, &self.setup.device, &model)?;
        self.monitor.run_finished(run.best())?;
        Ok(Some(run))
    }
}

/// Images that a monitor is shown.
const PREVIEW: usize = 24;
