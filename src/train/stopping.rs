//! What makes an epoch the best, and when a run ends before its time.

use serde::{Deserialize, Serialize};

use super::epoch_record::EpochRecord;
use super::ranges::{at_least_one, not_negative};
use crate::data::Task;
use crate::error::Result;
use crate::text::text_choice;

/// A figure of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Share of validation images that were recognised; of the averaged weights, if there are.
    #[default]
    ValidAccuracy,
    /// Mean cross-entropy over the validation images; of the averaged weights, if there are.
    ValidLoss,
    /// Share of validation images whose class was among the best five.
    ValidTop5Accuracy,
    /// Mean recall over the classes, for unbalanced data.
    ValidBalancedAccuracy,
    /// Mean loss over the training images.
    TrainLoss,
    /// Of several labels: the mean of the classes' average precisions.
    ValidMap,
    /// Of several labels: F1 over all images and classes, by a threshold of 0.5.
    ValidMicroF1,
    /// Of several labels: the mean of the classes' F1, by a threshold of 0.5.
    ValidMacroF1,
    /// Of numbers: the mean absolute error.
    ValidMae,
    /// Of numbers: the root of the mean squared error.
    ValidRmse,
    /// Of numbers: the share of the variance that is explained.
    ValidR2,
}

impl Metric {
    /// Its value in an epoch.
    pub fn of(self, epoch: &EpochRecord) -> f64 {
        match self {
            Metric::ValidAccuracy => epoch.valid_accuracy,
            Metric::ValidLoss => epoch.valid_loss,
            Metric::ValidTop5Accuracy => epoch.valid_top5_accuracy,
            Metric::ValidBalancedAccuracy => epoch.valid_balanced_accuracy,
            Metric::TrainLoss => epoch.train_loss,
            other => epoch
                .metrics
                .get(&other.to_string())
                .copied()
                .unwrap_or(f64::NAN),
        }
    }

    /// Whether more is better.
    pub fn larger_is_better(self) -> bool {
        !matches!(
            self,
            Metric::ValidLoss | Metric::TrainLoss | Metric::ValidMae | Metric::ValidRmse
        )
    }

    /// The usual one of a task.
    pub fn of_task(task: Task) -> Self {
        match task {
            Task::SingleLabel => Metric::ValidAccuracy,
            Task::MultiLabel => Metric::ValidMap,
            Task::Regression => Metric::ValidRmse,
        }
    }

    /// The task that has it; `None` for one that all have.
    pub fn task(self) -> Option<Task> {
        match self {
            Metric::ValidAccuracy | Metric::ValidTop5Accuracy | Metric::ValidBalancedAccuracy => {
                Some(Task::SingleLabel)
            }
            Metric::ValidLoss | Metric::TrainLoss => None,
            Metric::ValidMap | Metric::ValidMicroF1 | Metric::ValidMacroF1 => {
                Some(Task::MultiLabel)
            }
            Metric::ValidMae | Metric::ValidRmse | Metric::ValidR2 => Some(Task::Regression),
        }
    }

    /// The index of the best epoch, the earlier of equals.
    pub fn best(self, epochs: &[EpochRecord]) -> Option<usize> {
        let mut best: Option<usize> = None;
        for (index, epoch) in epochs.iter().enumerate() {
            if best.is_none_or(|best| self.better(self.of(epoch), self.of(&epochs[best]), 0.0)) {
                best = Some(index);
            }
        }
        best
    }

    /// Whether `new` is better than `old` by more than `min_delta`.
    pub fn better(self, new: f64, old: f64, min_delta: f64) -> bool {
        if self.larger_is_better() {
            new > old + min_delta
        } else {
            new < old - min_delta
        }
    }
}

text_choice!(Metric, "metric");

/// Ends a run that no longer gets better, as Lightning's `EarlyStopping` does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { patience = 3 }")]
pub struct EarlyStopping {
    /// Epochs without improvement that are waited for.
    pub patience: usize,
    /// What does not count as an improvement: accuracies are in 0..1.
    #[serde(default)]
    pub min_delta: f64,
    /// The figure that is watched; the recipe's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
}

impl EarlyStopping {
    /// Waits for so many epochs without improvement.
    pub fn new(patience: usize) -> Self {
        Self {
            patience,
            min_delta: 0.0,
            metric: None,
        }
    }

    /// Why it ends a run, in words. `metric` is the recipe's.
    pub(crate) fn in_words(&self, metric: Metric) -> String {
        let by = match self.min_delta {
            0.0 => String::new(),
            delta => format!(" by more than {delta}"),
        };
        let metric = self.metric.unwrap_or(metric);
        let epochs = match self.patience {
            1 => "1 epoch".to_owned(),
            epochs => format!("{epochs} epochs"),
        };
        format!("{metric} has not improved{by} for {epochs}")
    }

    pub(crate) fn validate(&self) -> Result<()> {
        at_least_one("early_stopping.patience", self.patience)?;
        not_negative("early_stopping.min_delta", self.min_delta)
    }
}

/// How long a run has been waiting for an improvement; part of every checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Patience {
    best: Option<f64>,
    waited: usize,
}

impl Patience {
    /// Looks at an epoch; whether the run shall end.
    pub fn exhausted(&mut self, rule: &EarlyStopping, metric: Metric, epoch: &EpochRecord) -> bool {
        let metric = rule.metric.unwrap_or(metric);
        let value = metric.of(epoch);
        let improved = self
            .best
            .is_none_or(|best| metric.better(value, best, rule.min_delta));
        if improved {
            self.best = Some(value);
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        self.waited >= rule.patience
    }
}
