//! What a run records of each epoch, and of images that it left out.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::data::BrokenImage;
use crate::memory::Memory;

/// One line of `log.jsonl` and of `log.csv`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean loss over the training images, as they were seen.
    pub train_loss: f64,
    /// Share of training images that were recognised as they were seen, in 0..1.
    pub train_accuracy: f64,
    /// Mean cross-entropy over the validation images, of the averaged weights if there are.
    pub valid_loss: f64,
    /// Share of validation images that were recognised, in 0..1, by the averaged weights if there
    /// are.
    pub valid_accuracy: f64,
    /// Share of validation images whose class was among the best five, in 0..1.
    pub valid_top5_accuracy: f64,
    /// Mean over the classes of the share that was recognised, in 0..1.
    pub valid_balanced_accuracy: f64,
    /// With averaged weights: the accuracy of those that were not averaged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub raw_valid_accuracy: Option<f64>,
    /// The learning rate of the head at the last step.
    pub learning_rate: f64,
    /// The learning rate of each group at the last step, 0 where it is frozen.
    pub rates: BTreeMap<String, f64>,
    /// What is frozen.
    pub frozen: String,
    /// Training images a second.
    pub images_per_second: f64,
    /// Memory at the end of the epoch.
    pub memory: Memory,
    /// Seconds for training and validation.
    pub seconds: f64,
    /// Images that were trained on; 0 in logs from before this was noted, as the next two.
    #[serde(default)]
    pub train_images: usize,
    /// Images that were validated on.
    #[serde(default)]
    pub valid_images: usize,
    /// Images for training and validation that were left out because they could not be read.
    #[serde(default)]
    pub skipped_images: usize,
}

impl EpochRecord {
    /// The figures by which runs are compared, those that are finite.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let figures = [
            ("train_loss", self.train_loss),
            ("train_accuracy", self.train_accuracy),
            ("valid_loss", self.valid_loss),
            ("valid_accuracy", self.valid_accuracy),
            ("valid_top5_accuracy", self.valid_top5_accuracy),
            ("valid_balanced_accuracy", self.valid_balanced_accuracy),
            ("learning_rate", self.learning_rate),
            ("seconds", self.seconds),
        ];
        let finite = figures.into_iter().filter(|(_, value)| value.is_finite());
        finite
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// An image that was left out of a run because it could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedImage {
    /// `train` or `valid`.
    pub part: String,
    /// Which, and why.
    #[serde(flatten)]
    pub image: BrokenImage,
}

impl fmt::Display for EpochRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "epoch {}: validation accuracy {:.1} %, loss {:.3}",
            self.epoch,
            100.0 * self.valid_accuracy,
            self.valid_loss
        )
    }
}
