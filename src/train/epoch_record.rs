//! What a run records of each epoch, and of images that it left out.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::data::BrokenImage;
use crate::infer::is_nan;
use crate::memory::Memory;
use crate::train::parallel::AllReduceTime;

/// One line of `log.jsonl` and of `log.csv`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean loss over the training images, as they were seen.
    pub train_loss: f64,
    /// Share of training images that were recognised as they were seen, in 0..1. Where an image has not
    /// one class, NaN and not in the log, as the other accuracies.
    #[serde(default = "nan", skip_serializing_if = "is_nan")]
    pub train_accuracy: f64,
    /// Mean cross-entropy over the validation images, of the averaged weights if there are; of several
    /// labels the binary one, of numbers the mean squared distance of scaled ones, whatever the recipe's
    /// loss is.
    pub valid_loss: f64,
    /// Share of validation images that were recognised, in 0..1, by the averaged weights if there
    /// are.
    #[serde(default = "nan", skip_serializing_if = "is_nan")]
    pub valid_accuracy: f64,
    /// Share of validation images whose class was among the best five, in 0..1.
    #[serde(default = "nan", skip_serializing_if = "is_nan")]
    pub valid_top5_accuracy: f64,
    /// Mean over the classes of the share that was recognised, in 0..1.
    #[serde(default = "nan", skip_serializing_if = "is_nan")]
    pub valid_balanced_accuracy: f64,
    /// The figures of a task other than one label: `valid_map`, `valid_micro_f1`, `valid_macro_f1`, or
    /// `valid_mae`, `valid_rmse`, `valid_r2`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
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
    /// On several ranks: what summing the gradients of a step took on the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_reduce: Option<AllReduceTime>,
}

/// The figures of tasks other than one label, as logs and as people call them, the usual one of a task first.
const METRICS: [(&str, &str); 6] = [
    ("map", "mAP"),
    ("micro_f1", "micro F1"),
    ("macro_f1", "macro F1"),
    ("rmse", "RMSE"),
    ("mae", "MAE"),
    ("r2", "R²"),
];

/// Figures such as `valid_micro_f1` or `micro_f1` by the names that people have for them, `micro F1`, the usual one of their
/// task first.
pub fn metrics_in_words(
    metrics: &BTreeMap<String, f64>,
) -> impl Iterator<Item = (&'static str, f64)> {
    METRICS.into_iter().filter_map(|(key, name)| {
        let mut figures = metrics.iter();
        let is_own =
            |own: &str| own == key || own.split_once('_').is_some_and(|(_, own)| own == key);
        let own = figures.find(|(own, _)| is_own(own));
        own.map(|(_, value)| (name, *value))
    })
}

/// Figures by names that say of which images.
pub(super) fn named(metrics: BTreeMap<String, f64>, of: &str) -> BTreeMap<String, f64> {
    let metrics = metrics.into_iter();
    metrics
        .map(|(name, value)| (format!("{of}_{name}"), value))
        .collect()
}

pub(super) fn nan() -> f64 {
    f64::NAN
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
        let figures = figures.map(|(name, value)| (name.to_owned(), value));
        let figures = figures.into_iter().chain(self.metrics.clone());
        figures.filter(|(_, value)| value.is_finite()).collect()
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
        write!(f, "epoch {}: validation ", self.epoch)?;
        if !self.valid_accuracy.is_nan() {
            write!(f, "accuracy {:.1} %, ", 100.0 * self.valid_accuracy)?;
        }
        for (name, value) in metrics_in_words(&self.metrics) {
            write!(f, "{name} {value:.3}, ")?;
        }
        write!(f, "loss {:.3}", self.valid_loss)
    }
}
