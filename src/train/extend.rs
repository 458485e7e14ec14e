//! Epochs that are added to a finished run.

use serde::{Deserialize, Serialize};

use super::run::RunConfig;
use super::{Recipe, Schedule, Unfreeze};
use crate::error::{Error, Result};

/// How a finished run trains on, for [`FitOptions::extend`](super::FitOptions).
///
/// The epochs that are added follow a schedule over them alone, without a warm-up, from the last
/// weights, the optimiser's last state and the last average. What is frozen stays frozen; early
/// stopping waits anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Extension {
    /// Epochs of the run in all, those that are done among them.
    pub epochs: usize,
    /// Their schedule; by default one like that of the run's last epochs.
    pub schedule: Option<Schedule>,
    /// Their learning rate before the schedule; by default that of the run's last epochs.
    pub learning_rate: Option<f64>,
}

/// Epochs that were added to a finished run: what `config.toml` says in `[[extended]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extended {
    /// Epochs that were done before.
    pub from_epoch: usize,
    /// Where in the plan the run was before: the steps of the optimiser that were done, with those
    /// that were left out for want of images that can be read.
    pub from_step: usize,
    /// Epochs that were added.
    pub epochs: usize,
    /// The learning rate of the head before the schedule.
    pub learning_rate: f64,
    /// The schedule over these epochs.
    pub schedule: Schedule,
}

impl RunConfig {
    /// Epochs of the run, with those that were added.
    pub fn epochs(&self) -> usize {
        let last = self.extended.last();
        last.map_or(self.recipe.epochs, |last| last.from_epoch + last.epochs)
    }

    /// The schedule and the rate of the run's last epochs.
    fn last_stretch(&self) -> (Schedule, f64) {
        if let Some(last) = self.extended.last() {
            return (last.schedule.clone(), last.learning_rate);
        }
        let Recipe {
            schedule,
            learning_rate,
            unfreeze,
            ..
        } = &self.recipe;
        match unfreeze {
            Unfreeze::FineTune { pct_start, div, .. } => (
                Schedule::of_fine_tune(*pct_start, *div),
                learning_rate / 2.0,
            ),
            _ => (schedule.clone(), *learning_rate),
        }
    }

    /// Whether what is asked for is what this run is doing anyway.
    pub(super) fn goes_with(&self, asked: &Extension) -> bool {
        let (schedule, rate) = self.last_stretch();
        asked.epochs == self.epochs()
            && asked.schedule.as_ref().is_none_or(|own| *own == schedule)
            && asked.learning_rate.is_none_or(|own| own == rate)
    }

    /// The epochs that are added to a run which has done so many epochs and steps of the plan.
    pub(super) fn extended_by(
        &self,
        asked: &Extension,
        [epochs, steps]: [usize; 2],
    ) -> Result<Extended> {
        let Some(added) = asked.epochs.checked_sub(epochs).filter(|added| *added > 0) else {
            let expected =
                format!("more than the {epochs} that are done: the epochs of the run in all");
            return Err(Error::argument("epochs", expected, asked.epochs));
        };
        let (schedule, rate) = self.last_stretch();
        let schedule = asked.schedule.clone().unwrap_or(schedule);
        schedule.validate()?;
        let learning_rate = asked.learning_rate.unwrap_or(rate);
        if !(learning_rate >= 0.0 && learning_rate.is_finite()) {
            let expected = "a number of at least 0";
            return Err(Error::argument("learning_rate", expected, learning_rate));
        }
        Ok(Extended {
            from_epoch: epochs,
            from_step: steps,
            epochs: added,
            learning_rate,
            schedule,
        })
    }
}

impl std::fmt::Display for Extended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            from_epoch, epochs, ..
        } = self;
        write!(
            f,
            "epochs: {from_epoch} done, {epochs} added, {} in all; schedule {} from a rate of {:e} over \
             those {epochs} alone, without warm-up, from the last weights and the \
             last state of the optimiser",
            from_epoch + epochs,
            self.schedule,
            self.learning_rate
        )
    }
}
