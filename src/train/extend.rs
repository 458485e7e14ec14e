//! Epochs that are added to a finished run.

use serde::{Deserialize, Serialize};

use super::schedule::Schedule;

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
pub struct AddedEpochs {
    /// Epochs that were done before.
    pub from_epoch: usize,
    /// The step of the plan that the run had come to: the steps of the optimiser that were done,
    /// with those that were skipped for want of images that can be read.
    pub from_step: usize,
    /// Ranks that trained together until then, whose steps these are.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub ranks: usize,
    /// Epochs that were added.
    pub epochs: usize,
    /// The learning rate of the head before the schedule.
    pub learning_rate: f64,
    /// The schedule over these epochs.
    pub schedule: Schedule,
}

fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks
fn is_one(ranks: &usize) -> bool {
    *ranks == 1
}

impl std::fmt::Display for AddedEpochs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, epochs) = (self.from_epoch, self.epochs);
        write!(
            f,
            "epochs: {from} done, {epochs} added, {} in all; schedule {} from a rate of {:e} over \
             those {epochs} alone, without warm-up, from the last weights and the \
             last state of the optimiser",
            from + epochs,
            self.schedule,
            self.learning_rate
        )
    }
}
