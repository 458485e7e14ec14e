//! Where a run stands: what `state.json` of a checkpoint holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::epoch_record::{EpochRecord, SkippedImage};
use super::loss_scale::LossScale;
use super::schedule::PlateauState;
use super::stopping::Patience;

/// Where a run stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct RunState {
    /// The form of `state.json`.
    pub version: u32,
    /// Epochs that are complete.
    pub epoch: usize,
    /// Batches of the next epoch that are done, on each rank.
    pub batches: usize,
    /// Ranks that train together; older checkpoints are of one.
    #[serde(default)]
    pub ranks: usize,
    /// Steps of the optimiser that are done.
    pub steps: usize,
    /// `steps` at the start of the next epoch; `None` between epochs, and in older checkpoints.
    #[serde(rename = "began", default)]
    pub steps_at_epoch_start: Option<usize>,
    /// The step of the plan at which the last complete epoch ended. It is above `steps` where steps
    /// were skipped for want of images that can be read. Older checkpoints have none.
    #[serde(rename = "ended", default)]
    pub plan_end: Option<usize>,
    /// What the batches of the next epoch gave so far.
    #[serde(rename = "seen")]
    pub totals: TrainTotals,
    /// What a monitor asked to be frozen, in place of what the plan says.
    pub freeze: Option<String>,
    /// Since when the groups at the input have been frozen; older checkpoints do not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<PrefixState>,
    pub plateau: PlateauState,
    pub patience: Patience,
    #[serde(rename = "scale")]
    pub loss_scale: LossScale,
    pub epochs: Vec<EpochRecord>,
    /// Index of the best of them.
    pub best: Option<usize>,
    /// Whether the run ended before its last epoch.
    pub stopped: bool,
    /// Steps that were skipped because their gradients overflowed.
    #[serde(default)]
    pub overflowed: usize,
    /// How often the run was extended up to here.
    #[serde(default)]
    pub extended: usize,
    /// Training images of the next epoch that could not be read.
    #[serde(
        rename = "left_out",
        default,
        skip_serializing_if = "BTreeSet::is_empty"
    )]
    pub unreadable_in_epoch: BTreeSet<usize>,
    /// Images that were left out of the run because they could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedImage>,
    /// Where the weights came from, in words.
    pub origin: String,
    /// The id of each parameter, by which the optimiser knows it.
    pub ids: BTreeMap<String, u64>,
    /// The SHA-256 of the optimiser's state; burn ignores what it cannot make sense of, and a run
    /// would not go on as before. Older checkpoints have none.
    #[serde(default)]
    pub optimizer_sha256: Option<String>,
}

/// The groups at the input that do not train.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct PrefixState {
    /// How many.
    pub groups: usize,
    /// The step of the plan from which on.
    pub began: usize,
}

impl RunState {
    /// Begins with epochs that were added: early stopping and the plateau start anew.
    pub fn extend(&mut self, times: usize) {
        self.extended = times;
        self.stopped = false;
        self.patience = Patience::default();
        self.plateau = PlateauState::default();
    }

    /// Begins to wait for improvements as if there had been none.
    pub fn wait_anew(&mut self) {
        self.patience = Patience::default();
        self.plateau = PlateauState {
            factor: self.plateau.factor,
            ..PlateauState::default()
        };
    }

    /// Goes on with so many ranks. In the middle of an epoch as many of its images are done, up to a
    /// batch, though not the same ones.
    pub fn continue_with(&mut self, ranks: usize, batches_per_epoch: usize) {
        let before = self.ranks.max(1);
        if ranks != before {
            self.batches = (self.batches * before / ranks).min(batches_per_epoch);
            self.plan_end = self.plan_end.map(|end| end * before / ranks);
        }
        self.ranks = ranks;
    }

    /// The best epoch so far.
    pub fn best_epoch(&self) -> Option<&EpochRecord> {
        self.best.and_then(|best| self.epochs.get(best))
    }

    /// The best model is written after its checkpoint. Whether a process that ended at this
    /// checkpoint may not have written it.
    pub fn may_lack_best(&self) -> bool {
        self.batches == 0 && self.best.is_some_and(|best| best + 1 == self.epoch)
    }
}

/// Sums over an epoch's training images.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct TrainTotals {
    pub images: usize,
    #[serde(rename = "right")]
    pub correct: usize,
    pub loss: f64,
    pub seconds: f64,
}

impl TrainTotals {
    /// NaN as long as there was no image.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images as f64
    }

    /// NaN as long as there was no image.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images as f64
    }

    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds.max(1e-9)
    }
}
