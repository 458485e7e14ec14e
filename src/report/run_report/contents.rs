//! Everything a report shows, as plain data.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::infer::{Answers, MultiLabelMetrics, RegressionMetrics};
use crate::preprocess::Image;

/// Everything a report shows. What is empty is left out, and the page says so.
///
/// Positions within a run are epochs that have passed: 0 is its beginning, 1 the end of the first
/// epoch, and 1.5 the middle of the second. Losses that are no finite numbers leave a gap in the
/// curves.
///
/// ```no_run
/// # use std::sync::Arc;
/// use burn_zoo::data::ImageData;
/// use burn_zoo::prelude::*;
/// use burn_zoo::report::Report;
///
/// # fn report(valid: Arc<dyn ImageData>) -> burn_zoo::Result<()> {
/// let model = Classifier::open("runs/fashion/best", &Device::default())?;
/// let page = Report::of_run("runs/fashion", &model, valid)?.write("runs/fashion".as_ref())?;
/// assert!(page.ends_with("report.html"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// What was done, in a few words: the heading.
    pub(crate) title: String,
    /// One line below it.
    pub(crate) subtitle: String,
    /// The epochs, in ascending order.
    pub(crate) epochs: Vec<EpochLine>,
    /// The learning rates, a line for each group, from the input to the output.
    pub(crate) rates: Vec<RateLine>,
    /// Moments at which groups begin to train.
    pub(crate) freezes: Vec<FreezeMark>,
    /// The loss of single steps, in ascending order. Thousands are thinned to what a screen shows.
    pub(crate) steps: Vec<StepLine>,
    /// The names of the classes.
    pub(crate) classes: Vec<String>,
    /// How often an image of class *row* was taken for class *column*. Empty, or with a row and a
    /// column for each class.
    pub(crate) confusion: Vec<Vec<usize>>,
    /// Images that were not recognised. The [`Report::MOST_MISTAKES`] of the highest probability
    /// are shown.
    pub(crate) mistakes: Vec<Mistake>,
    /// The configuration of the run, in TOML.
    pub(crate) configuration: String,
    /// Where it ran, as names and values: versions, device, threads.
    pub(crate) environment: Vec<(String, String)>,
    /// Key figures for the top of the page, as names and values.
    pub(crate) summary: Vec<(String, String)>,
    /// Of images that have not one class: what the model says of them. It stands in place of
    /// confusion and mistakes.
    pub(crate) judged: Option<Judged>,
}

/// What a model says of the validation images: a row for each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub figures: Figures,
    pub answers: Answers,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Figures {
    /// Several labels for each image.
    Labels(MultiLabelMetrics),
    /// Numbers.
    Numbers(RegressionMetrics),
}

/// What an epoch ended with.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct EpochLine {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean loss over the training images, as they were seen.
    pub train_loss: f64,
    /// Share of training images that were recognised as they were seen, in 0..1.
    pub train_accuracy: f64,
    /// Mean loss over the validation images.
    pub valid_loss: f64,
    /// Share of validation images that were recognised, in 0..1.
    pub valid_accuracy: f64,
    /// The same with the moving average of the weights, if the run keeps one.
    pub ema_accuracy: Option<f64>,
    /// Seconds for training and validation.
    pub seconds: f64,
    /// Training images per second.
    pub images_per_second: f64,
    /// Of images that have not one class, the figures of validation, in place of accuracies.
    pub figures: Vec<(&'static str, f64)>,
    /// What happened in it.
    pub note: Option<String>,
}

/// The learning rate of a group of parameters over a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RateLine {
    /// The name of the group.
    pub group: String,
    /// Epochs that have passed, and the rate from there on: 0 while the group is frozen. In
    /// ascending order; two points at one position are a sudden change.
    pub points: Vec<(f64, f64)>,
}

/// A moment at which something begins to train.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct FreezeMark {
    /// Epochs that have passed.
    pub epoch: f64,
    /// What happens, such as `stage4 joins`.
    pub text: String,
}

/// The loss of one step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct StepLine {
    /// Epochs that have passed.
    pub epoch: f64,
    /// Mean loss of the batch.
    pub loss: f64,
}

/// An image that was taken for something else.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mistake {
    /// The image, as it was before normalisation.
    pub image: Image,
    /// The class it belongs to.
    pub truth: String,
    /// The class it was taken for.
    pub predicted: String,
    /// How sure the model was, in 0..1.
    pub probability: f64,
}

impl Report {
    /// As many mistakes are shown at most.
    pub(crate) const MOST_MISTAKES: usize = 48;

    /// The name of a class, or its number if it has none.
    pub(super) fn class(&self, index: usize) -> Cow<'_, str> {
        match self.classes.get(index) {
            Some(name) if !name.trim().is_empty() => Cow::Borrowed(name),
            _ => Cow::Owned(format!("class {index}")),
        }
    }

    /// Whether this can be shown.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a confusion matrix that does not fit the classes, epochs
    /// counted from 0, and positions that are not finite or not in ascending order.
    pub(crate) fn check(&self) -> Result<()> {
        let classes = self.classes.len();
        if !self.confusion.is_empty() {
            let rows = self.confusion.iter().map(Vec::len);
            let odd = std::iter::once(self.confusion.len())
                .chain(rows)
                .find(|length| *length != classes);
            if let Some(length) = odd {
                return Err(Error::argument(
                    "confusion",
                    format!("{classes} rows of {classes} counts, as there are classes"),
                    format!("{length} in a row or column"),
                ));
            }
        }
        if self.epochs.first().is_some_and(|first| first.epoch == 0) {
            return Err(Error::argument("epochs", "a count from 1", 0));
        }
        let mut pairs = self.epochs.windows(2);
        if let Some([a, b]) = pairs
            .find(|pair| pair[0].epoch >= pair[1].epoch)
            .and_then(|pair| pair.first_chunk())
        {
            return Err(Error::argument(
                "epochs",
                "ascending order",
                format!("{} before {}", a.epoch, b.epoch),
            ));
        }
        ascending("steps", self.steps.iter().map(|step| step.epoch))?;
        for line in &self.rates {
            let name = format!("rates of {}", line.group);
            ascending(&name, line.points.iter().map(|point| point.0))?;
        }
        // The order of marks does not matter.
        for mark in &self.freezes {
            ascending("freezes", std::iter::once(mark.epoch))?;
        }
        Ok(())
    }
}

/// Positions within a run, none before the one in front of it.
fn ascending(argument: &str, positions: impl Iterator<Item = f64>) -> Result<()> {
    let mut last = 0.0;
    for position in positions {
        if !position.is_finite() || position < last {
            return Err(Error::argument(
                argument,
                "positions in epochs, from 0 in ascending order",
                format!("{position} after {last}"),
            ));
        }
        last = position;
    }
    Ok(())
}
