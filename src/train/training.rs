//! A run under way: what trains, its folder, and who watches.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

use super::cache::inputs::Inputs;
use super::cache::prefix::FrozenPrefix;
use super::checkpoint;
use super::growth::Growth;
use super::monitor::{Control, Monitor};
use super::plan::StepRates;
use super::progress::Progress;
use super::run::folder::RunFolder;
use super::setup::Setup;
use super::unreadable::{ReportedImages, is_unreadable_image};
use crate::error::{Error, Result};
use crate::model::{Freeze, params};

/// A run under way.
pub(super) struct Training<'a> {
    pub setup: &'a Setup,
    pub progress: Progress,
    pub folder: RunFolder,
    pub monitor: &'a mut dyn Monitor,
    /// What the monitor asked for in this epoch.
    pub control: Control,
    pub clock: EpochClock,
    /// What is frozen; `None` before the first step of this process.
    pub frozen: Option<Freeze>,
    /// Whether what is frozen has changed since the last step.
    pub freeze_changed: bool,
    /// The groups at the input that do not train.
    pub prefix: FrozenPrefix,
    pub reported: ReportedImages,
    /// Sizes at which one image alone is a batch that all that trains now can learn from.
    pub single_image_sizes: HashSet<[usize; 2]>,
    /// Whether the monitor was told of a batch of one image that was left out.
    pub reported_single_image: bool,
    /// Memory that is held from step to step.
    pub growth: Growth,
    /// Whether this rank's monitor asked to stop, and the others do not know yet.
    pub asked_to_stop: bool,
}

/// Seconds of an epoch, those before an interruption among them.
pub(super) struct EpochClock {
    start: Instant,
    before: f64,
}

impl EpochClock {
    pub fn start(before: f64) -> Self {
        let start = Instant::now();
        Self { start, before }
    }

    pub fn seconds(&self) -> f64 {
        self.before + self.start.elapsed().as_secs_f64()
    }
}

impl<'a> Training<'a> {
    pub fn new(
        setup: &'a Setup,
        progress: Progress,
        folder: RunFolder,
        monitor: &'a mut dyn Monitor,
    ) -> Self {
        Self {
            reported: ReportedImages::of(&progress.state),
            setup,
            progress,
            folder,
            monitor,
            control: Control::default(),
            clock: EpochClock::start(0.0),
            frozen: None,
            freeze_changed: false,
            prefix: FrozenPrefix::default(),
            single_image_sizes: HashSet::new(),
            reported_single_image: false,
            growth: Growth::default(),
            asked_to_stop: false,
        }
    }

    /// The epoch under way, counted from 1.
    pub fn epoch_number(&self) -> usize {
        self.progress.state.epoch + 1
    }

    /// What this epoch has still to train on.
    pub fn inputs(&self) -> Inputs<'a> {
        let (epoch, batches) = (self.epoch_number(), self.progress.state.batches);
        self.prefix.epoch(self.setup, epoch as u64, batches)
    }

    /// The rates of those groups of which something trains, 0 for the others.
    pub fn active_rates(&self, rates: &StepRates) -> Vec<f64> {
        let trainable = params::trainable_ids(&self.progress.model);
        let groups = self.setup.plan.rate_groups().iter().zip(&rates.rates);
        groups
            .map(|(group, rate)| {
                let trains = group.ids.iter().any(|id| trainable.contains(id));
                if trains { *rate } else { 0.0 }
            })
            .collect()
    }

    /// What rank 0's monitor asked for is what all do; any rank may ask to stop.
    pub fn decide_together(&mut self) -> Result<()> {
        let group = &self.setup.group;
        if group.is_alone() {
            return Ok(());
        }
        self.asked_to_stop |= self.monitor.should_stop();
        let freeze = self.control.freeze.take();
        let own = (
            self.control.stop,
            freeze.map(|freeze| freeze.to_string()),
            self.asked_to_stop,
            group.take_untold(),
        );
        let mut all = group.exchange("decision", own)?;
        for (rank, (.., untold)) in all.iter_mut().enumerate() {
            group.tell_of(rank, std::mem::take(untold), self.monitor);
        }
        if all.iter().any(|(_, _, interrupted, _)| *interrupted) {
            // The checkpoint has what any rank could not read.
            self.exchange_unreadable()?;
            return Err(self.interrupted());
        }
        let (stop, freeze, ..) = all.into_iter().next().unwrap_or_default();
        self.control.stop = stop;
        self.control.freeze = freeze.map(|freeze| freeze.parse()).transpose()?;
        Ok(())
    }

    /// Whether the monitor asks for a stop now. Of several ranks, all have to hear of it first.
    pub fn should_stop(&mut self) -> bool {
        if !self.monitor.should_stop() {
            return false;
        }
        self.asked_to_stop = true;
        self.setup.group.is_alone()
    }

    /// Rank 0's running statistics of batch normalisations are those of the model.
    pub fn take_statistics(&mut self) -> Result<()> {
        let group = &self.setup.group;
        if group.is_alone() {
            return Ok(());
        }
        let model = self.progress.model.clone();
        self.progress.model = group.broadcast_statistics(model)?;
        if let Some(average) = &mut self.progress.ema {
            average.replace(group.broadcast_statistics(average.model().clone())?);
        }
        Ok(())
    }

    /// Does what the monitor asked for.
    pub fn apply_control(&mut self) -> Result<()> {
        if let Some(freeze) = self.control.freeze.take() {
            // A wrong name is an error now, and not at the next step.
            self.progress.model.clone().freeze(&freeze)?;
            self.progress.state.freeze = Some(freeze.to_string());
        }
        Ok(())
    }

    /// Writes a checkpoint, if this rank is the one that writes: where it is.
    pub fn checkpoint(&self) -> Result<PathBuf> {
        if !self.folder.is_written() {
            return Ok(self.folder.path().to_path_buf());
        }
        // First, so that a checkpoint never knows of more steps than the log.
        self.folder.write_steps()?;
        self.folder.write_skipped(&self.progress.state.skipped)?;
        checkpoint::write(self.folder.path(), &self.progress, &self.setup.recipe)
    }

    /// Writes a checkpoint and says where.
    pub fn interrupted(&self) -> Error {
        match self.checkpoint() {
            Ok(path) => Error::Interrupted {
                checkpoint: self.folder.is_written().then_some(path),
                run: self.folder.path().to_path_buf(),
            },
            Err(error) => error,
        }
    }

    /// An image that cannot be read ends the run with a checkpoint at the last whole step; any other
    /// error is left as it is.
    pub fn checkpoint_if_unreadable(&self, error: Error) -> Error {
        let Setup { train, valid, .. } = self.setup;
        let own = self.setup.own_train.iter();
        let mut loaders = own.chain([train, valid]);
        let met_one = loaders.any(|loader| !loader.broken().is_empty());
        let is_other = !is_unreadable_image(&error) || !met_one;
        if is_other || train.config().skip_broken || !self.folder.is_written() {
            return error;
        }
        match self.checkpoint() {
            Ok(checkpoint) => Error::BrokenImage {
                image: Box::new(error),
                checkpoint,
                run: self.folder.path().to_path_buf(),
            },
            Err(error) => error,
        }
    }

    /// The error of a loss that is no longer a number, of a batch of the epoch or after the last step.
    pub fn diverged(&self, loss: f64, batch: Option<usize>, rates: &StepRates) -> Error {
        let steps = self.progress.state.steps;
        Error::Diverged {
            loss,
            epoch: self.epoch_number(),
            step: if batch.is_some() { steps + 1 } else { steps },
            batch,
            learning_rate: rates.head(),
            checkpoint: checkpoint::newest(self.folder.path()).ok().flatten(),
        }
    }
}
