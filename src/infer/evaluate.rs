//! How good a model is.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, softmax};
use serde::Serialize;

use super::metrics::{MultiLabelMetrics, RegressionMetrics};
use crate::data::{Loader, Targets, Task};
use crate::error::{Error, Result};
use crate::model::{Classifier, Outputs, host_vec};
use crate::nn::{Precision, binary_cross_entropy, cross_entropy, fused};

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images that were looked at.
    pub images: usize,
    /// Mean cross-entropy, whatever the recipe's loss is; of several labels the binary one, the mean over images and classes; of numbers
    /// the mean squared distance, in standard deviations of the training targets.
    pub loss: f64,
    /// Share of images whose best class is the right one, in 0..1. Where an image has not one class,
    /// NaN, and left out of JSON, as the next one.
    #[serde(skip_serializing_if = "is_nan")]
    pub accuracy: f64,
    /// Share of images whose right class is among the best five, in 0..1.
    #[serde(skip_serializing_if = "is_nan")]
    pub top5_accuracy: f64,
    /// Each class by itself.
    pub per_class: Vec<ClassScore>,
    /// How often an image of class *row* was taken for class *column*. Empty for more than 2000
    /// classes, which nobody could look at.
    pub confusion: Vec<Vec<usize>>,
    /// Of several labels for each image, by the model's [thresholds](crate::Outputs).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_label: Option<MultiLabelMetrics>,
    /// Of numbers, in their own units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regression: Option<RegressionMetrics>,
    /// Of several labels or numbers: what the model says of each image, and what is so.
    #[serde(skip)]
    pub(crate) answers: Answers,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks
pub(crate) fn is_nan(value: &f64) -> bool {
    value.is_nan()
}

/// What a model says of images with several labels or with numbers: a row for each image.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Answers {
    /// Probabilities, or numbers in their own units.
    pub scores: Vec<f32>,
    /// 1 for each class that the image has, or numbers.
    pub targets: Vec<f32>,
}

impl Answers {
    /// Which classes each image has.
    pub fn present(&self) -> Vec<bool> {
        self.targets.iter().map(|target| *target > 0.5).collect()
    }
}

impl Evaluation {
    /// The figures of several labels (`map`, `micro_f1`, `macro_f1`) or of numbers (`mae`, `rmse`, `r2`);
    /// none where an image has one class.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let of_labels = self.multi_label.iter().flat_map(|own| {
            [
                ("map", own.mean_average_precision),
                ("micro_f1", own.micro_f1),
                ("macro_f1", own.macro_f1),
            ]
        });
        let of_numbers = self.regression.iter();
        let of_numbers =
            of_numbers.flat_map(|own| [("mae", own.mae), ("rmse", own.rmse), ("r2", own.r2)]);
        let metrics = of_labels.chain(of_numbers);
        metrics
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Mean over the classes of the share that was recognised (scikit-learn's balanced accuracy);
    /// classes without images do not count. NaN where an image has not one class.
    pub fn balanced_accuracy(&self) -> f64 {
        if self.accuracy.is_nan() {
            return f64::NAN;
        }
        let scores = self.per_class.iter().filter(|class| class.images > 0);
        let (sum, count) = scores.fold((0.0, 0), |(sum, n), c| (sum + c.accuracy, n + 1));
        sum / f64::from(count.max(1))
    }
}

/// Classes of the largest confusion matrix.
pub(crate) const LARGEST_CONFUSION: usize = 2000;

/// How well one class is recognised.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    /// Its name.
    pub name: String,
    /// Images of it.
    pub images: usize,
    /// Share of them that were recognised, in 0..1; 0 if there are none, which says nothing about
    /// the class: see [`images`](Self::images).
    pub accuracy: f64,
}

/// What was counted over some images; the counts of parts of a set add up to those of the whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub images: usize,
    /// The sum over the images.
    pub loss: f64,
    pub top5: usize,
    /// How often an image of the first class was taken for the second.
    pub taken_for: BTreeMap<(usize, usize), usize>,
    pub answers: Answers,
}

impl Counts {
    /// Adds those of other images.
    pub fn add(&mut self, other: &Self) {
        self.images += other.images;
        self.loss += other.loss;
        self.top5 += other.top5;
        for (pair, count) in &other.taken_for {
            *self.taken_for.entry(*pair).or_default() += count;
        }
        self.answers.scores.extend(&other.answers.scores);
        self.answers.targets.extend(&other.answers.targets);
    }
}

/// A batch that was looked at.
#[cfg_attr(not(feature = "plots"), allow(dead_code))] // the report looks at single images
pub(crate) struct BatchScores<'a> {
    /// Counted from 1.
    pub batch: usize,
    /// Place of its first image in the set.
    pub first: usize,
    /// A row for each image: logits, or where there are several views logarithms of probabilities; of
    /// several labels probabilities, and of numbers these.
    pub scores: &'a [f32],
    /// What is so.
    pub targets: &'a Targets,
}

/// The scores of a batch.
pub(crate) struct BatchLogits {
    pub logits: Tensor<2>,
    pub targets: Targets,
}

/// Scores of each image: with several views of it, what has their mean probability, or their mean.
///
/// # Shapes
/// - scores: `[images * views, classes]`, the views of an image one after the other
/// - output: `[images, classes]`
pub(super) fn over_views(scores: Tensor<2>, views: usize, task: Task) -> Tensor<2> {
    if views == 1 {
        return scores;
    }
    let [rows, classes] = scores.dims();
    let mean = |values: Tensor<2>| {
        let values = values.reshape([rows / views, views, classes]);
        values.mean_dim(1).squeeze_dim::<2>(1)
    };
    match task {
        // A probability that is too small for a number counts as the smallest one.
        Task::SingleLabel => mean(softmax(scores, 1)).clamp_min(f32::MIN_POSITIVE).log(),
        Task::MultiLabel => {
            let there = mean(sigmoid(scores.clone())).clamp_min(f32::MIN_POSITIVE);
            let absent = mean(sigmoid(scores.neg())).clamp_min(f32::MIN_POSITIVE);
            there.log() - absent.log()
        }
        Task::Regression => mean(scores),
    }
}

impl Classifier {
    /// Looks at every image of a loader and compares. It never runs in training mode, whatever the
    /// device, and changes nothing. With
    /// [`LoaderConfig::skip_broken`](crate::data::LoaderConfig::skip_broken) images that cannot be
    /// read are left out: [`Evaluation::images`] is how many were judged, and [`Loader::broken`]
    /// names the others.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are labels the model has no class for, if the loader
    /// leaves images out ([`LoaderConfig::drop_last`](crate::data::LoaderConfig::drop_last)), if
    /// no image is left, and if the model's scores are not numbers; and whatever reading images meets.
    pub fn evaluate(&self, loader: &Loader) -> Result<Evaluation> {
        let (own, given) = (self.info.outputs.task, loader.data().task());
        if own != given {
            return Err(Error::argument(
                "data",
                format!("{own} data, as the model's"),
                given,
            ));
        }
        let evaluation = self
            .evaluate_while(loader, Precision::F32, |_| true)?
            .ok_or_else(|| Error::argument("data", "at least one image", "none"))?;
        let given = loader.num_images();
        let config = loader.config();
        // Images that cannot be read are left out where that was asked for.
        let may_miss = config.skip_broken && !config.drop_last && !config.drop_single;
        if evaluation.images != given && !may_miss {
            return Err(Error::argument(
                "drop_last",
                format!("a loader of all {given} images, without `drop_last`"),
                format!("{} images", evaluation.images),
            ));
        }
        if !evaluation.loss.is_finite() {
            return Err(super::no_numbers("scores"));
        }
        Ok(evaluation)
    }

    /// [`evaluate`](Self::evaluate) that shows `visit` each batch, and ends with `None` when that
    /// says no.
    pub(crate) fn evaluate_while(
        &self,
        loader: &Loader,
        precision: Precision,
        visit: impl FnMut(&BatchScores<'_>) -> bool,
    ) -> Result<Option<Evaluation>> {
        let counts = self.count_while(loader, precision, visit)?;
        let thresholds = &self.info.outputs.thresholds;
        let evaluation = counts.map(|counts| self.evaluation(counts, thresholds));
        evaluation.transpose()
    }

    /// [`evaluate_while`](Self::evaluate_while), as counts that can be added to others.
    pub(crate) fn count_while(
        &self,
        loader: &Loader,
        precision: Precision,
        visit: impl FnMut(&BatchScores<'_>) -> bool,
    ) -> Result<Option<Counts>> {
        let model = self.valid();
        let device = model.device();
        let prepared = fused::current().unwrap_or_default();
        let batches = loader.epoch(0).map(|batch| {
            let batch = batch?;
            let pixels = batch.images.without_autodiff().to_device(&device);
            let pixels = pixels.cast(precision.dtype());
            let logits = fused::with(&prepared, || model.forward(pixels))?;
            Ok(BatchLogits {
                logits: over_views(
                    logits.cast(Precision::F32.dtype()),
                    batch.views,
                    model.info.outputs.task,
                ),
                targets: batch.targets,
            })
        });
        self.compare_with_labels(batches, visit)
    }

    /// Compares the scores of all batches with the labels.
    pub(crate) fn compare_with_labels(
        &self,
        batches: impl Iterator<Item = Result<BatchLogits>>,
        mut visit: impl FnMut(&BatchScores<'_>) -> bool,
    ) -> Result<Option<Counts>> {
        let classes = self.num_classes();
        let mut counts = Counts::default();
        for (index, batch) in batches.enumerate() {
            let BatchLogits { logits, targets } = batch?;
            targets.check(classes)?;
            let count = targets.len();
            let (loss, scores) = self.loss_and_scores(logits, &targets)?;
            counts.loss += loss * count as f64;
            match &targets {
                Targets::Classes(labels) => {
                    for (row, &label) in scores.chunks_exact(classes).zip(labels) {
                        let better = rank(row, label);
                        counts.top5 += usize::from(better < 5);
                        *counts.taken_for.entry((label, best(row))).or_default() += 1;
                    }
                }
                Targets::Rows { values, .. } => {
                    counts.answers.scores.extend(&scores);
                    counts.answers.targets.extend(values);
                }
            }
            let batch_scores = BatchScores {
                batch: index + 1,
                first: counts.images,
                scores: &scores,
                targets: &targets,
            };
            if !visit(&batch_scores) {
                return Ok(None);
            }
            counts.images += count;
        }
        Ok(Some(counts))
    }

    /// The plain loss of a batch, and scores, probabilities or numbers, by the task.
    fn loss_and_scores(&self, logits: Tensor<2>, targets: &Targets) -> Result<(f64, Vec<f32>)> {
        let device = logits.device();
        let Outputs { task, scaling, .. } = &self.info.outputs;
        match task {
            Task::SingleLabel => {
                let loss = cross_entropy(logits.clone(), targets.labels(&device)?);
                Ok((scalar(loss)?, host_vec(logits.into_data())?))
            }
            Task::MultiLabel => {
                let loss = binary_cross_entropy(logits.clone(), targets.rows(&device)?, None);
                Ok((scalar(loss)?, host_vec(sigmoid(logits).into_data())?))
            }
            Task::Regression => {
                let rows = targets.rows(&device)?;
                let rows = match scaling {
                    Some(scaling) => scaling.normalized(rows),
                    None => rows,
                };
                let distance = logits.clone() - rows;
                let loss = scalar((distance.clone() * distance).mean())?;
                let mut scores = host_vec(logits.into_data())?;
                if let Some(scaling) = scaling {
                    scaling.restore(&mut scores);
                }
                Ok((loss, scores))
            }
        }
    }

    /// What was counted, in shares; of several labels by these thresholds, 0.5 if there are none.
    pub(crate) fn evaluation(&self, counts: Counts, thresholds: &[f32]) -> Result<Evaluation> {
        let classes = self.num_classes();
        let Counts {
            images,
            loss,
            top5,
            taken_for,
            answers,
        } = counts;
        if images == 0 {
            let expected = "at least one image that can be read";
            return Err(Error::argument("data", expected, "none"));
        }
        let whole = Evaluation {
            images,
            loss: loss / images as f64,
            accuracy: f64::NAN,
            top5_accuracy: f64::NAN,
            per_class: Vec::new(),
            confusion: Vec::new(),
            multi_label: None,
            regression: None,
            answers,
        };
        // Scores that are not numbers are the business of whoever looks at the loss.
        match self.info.outputs.task {
            Task::SingleLabel => {}
            _ if !whole.loss.is_finite() => return Ok(whole),
            Task::MultiLabel => {
                let plain = vec![0.5; classes];
                let thresholds = if thresholds.is_empty() {
                    &plain
                } else {
                    thresholds
                };
                let (scores, present) = (&whole.answers.scores, whole.answers.present());
                let found = MultiLabelMetrics::of(scores, &present, classes, thresholds)?;
                return Ok(Evaluation {
                    multi_label: Some(found),
                    ..whole
                });
            }
            Task::Regression => {
                let Answers { scores, targets } = &whole.answers;
                let found = RegressionMetrics::of(scores, targets, classes)?;
                return Ok(Evaluation {
                    regression: Some(found),
                    ..whole
                });
            }
        }
        let mut of_class = vec![[0; 2]; classes];
        for ((label, class), count) in &taken_for {
            of_class[*label][0] += count;
            of_class[*label][1] += if label == class { *count } else { 0 };
        }
        let right: usize = of_class.iter().map(|[_, right]| right).sum();
        let share = |part: usize, all: usize| part as f64 / all.max(1) as f64;
        let per_class = of_class
            .into_iter()
            .enumerate()
            .map(|(class, [images, right])| ClassScore {
                name: self.class_name(class),
                images,
                accuracy: share(right, images),
            })
            .collect();
        let mut confusion = Vec::new();
        if classes <= LARGEST_CONFUSION {
            confusion = vec![vec![0; classes]; classes];
            for ((label, class), count) in taken_for {
                confusion[label][class] = count;
            }
        }
        Ok(Evaluation {
            accuracy: share(right, images),
            top5_accuracy: share(top5, images),
            per_class,
            confusion,
            ..whole
        })
    }

    pub(crate) fn class_name(&self, class: usize) -> String {
        let name = self.info.classes.get(class);
        name.cloned().unwrap_or_else(|| class.to_string())
    }
}

/// The value of a tensor with one element.
pub(crate) fn scalar(tensor: Tensor<1>) -> Result<f64> {
    let values = host_vec(tensor.into_data())?;
    Ok(values.first().map_or(f64::NAN, |v| f64::from(*v)))
}

/// Index of the largest score, the first of equals; a score that is not a number never wins.
pub(crate) fn best(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] || scores[best].is_nan() {
            best = index;
        }
    }
    best
}

/// How many classes score better than this one. A score that is not a number never wins.
fn rank(scores: &[f32], label: usize) -> usize {
    if scores[label].is_nan() {
        return scores.len();
    }
    let better = scores.iter().filter(|score| **score > scores[label]);
    better.count()
}
