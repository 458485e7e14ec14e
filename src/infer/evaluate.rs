//! How good a model is.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor};
use serde::Serialize;

use crate::data::Loader;
use crate::error::{Error, Result};
use crate::model::{Classifier, host_vec};
use crate::nn::{Precision, cross_entropy, fused};

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images that were looked at.
    pub images: usize,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share of images whose best class is the right one, in 0..1.
    pub accuracy: f64,
    /// Share of images whose right class is among the best five, in 0..1.
    pub top5_accuracy: f64,
    /// Each class by itself.
    pub per_class: Vec<ClassScore>,
    /// How often an image of class *row* was taken for class *column*. Empty for more than 2000
    /// classes, which nobody could look at.
    pub confusion: Vec<Vec<usize>>,
}

impl Evaluation {
    /// Mean over the classes of the share that was recognised (scikit-learn's balanced accuracy);
    /// classes without images do not count.
    pub fn balanced_accuracy(&self) -> f64 {
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
    }
}

/// A batch that was looked at.
#[cfg_attr(not(feature = "plots"), allow(dead_code))] // the report looks at single images
pub(crate) struct BatchScores<'a> {
    /// Counted from 1.
    pub batch: usize,
    /// Place of its first image in the set.
    pub first: usize,
    /// A row for each image: logits, or where there are several views logarithms of probabilities.
    pub scores: &'a [f32],
    /// The labels.
    pub targets: &'a [usize],
}

/// The scores of a batch.
pub(crate) struct BatchLogits {
    pub logits: Tensor<2>,
    pub labels: Tensor<1, Int>,
    pub targets: Vec<usize>,
}

/// Logits of each image: with several views of it, the logarithm of their mean probability.
///
/// # Shapes
/// - logits: `[images * views, classes]`, the views of an image one after the other
/// - output: `[images, classes]`
pub(super) fn over_views(logits: Tensor<2>, views: usize) -> Tensor<2> {
    if views == 1 {
        return logits;
    }
    let [rows, classes] = logits.dims();
    softmax(logits, 1)
        .reshape([rows / views, views, classes])
        .mean_dim(1)
        .squeeze_dim::<2>(1)
        // A probability that is too small for a number counts as the smallest one.
        .clamp_min(f32::MIN_POSITIVE)
        .log()
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
        if evaluation.loss.is_nan() {
            let expected =
                "finite scores; weights of a run that diverged, or damaged ones, give none";
            return Err(Error::argument(
                "model",
                expected,
                "scores that are not numbers",
            ));
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
        counts.map(|counts| self.evaluation(&counts)).transpose()
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
                logits: over_views(logits.cast(Precision::F32.dtype()), batch.views),
                labels: batch.labels.to_device(&device),
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
            let BatchLogits {
                logits,
                labels,
                targets,
            } = batch?;
            check_labels(&targets, classes)?;
            let count = targets.len();
            counts.loss += scalar(cross_entropy(logits.clone(), labels))? * count as f64;
            let scores = host_vec(logits.into_data())?;
            for (row, &label) in scores.chunks_exact(classes).zip(&targets) {
                let better = rank(row, label);
                counts.top5 += usize::from(better < 5);
                *counts.taken_for.entry((label, best(row))).or_default() += 1;
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

    /// What was counted, in shares.
    pub(crate) fn evaluation(&self, counts: &Counts) -> Result<Evaluation> {
        let classes = self.num_classes();
        let Counts {
            images,
            loss,
            top5,
            taken_for,
        } = counts;
        if *images == 0 {
            let expected = "at least one image that can be read";
            return Err(Error::argument("data", expected, "none"));
        }
        let mut of_class = vec![[0; 2]; classes];
        for ((label, class), count) in taken_for {
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
                confusion[*label][*class] = *count;
            }
        }
        Ok(Evaluation {
            images: *images,
            loss: loss / *images as f64,
            accuracy: share(right, *images),
            top5_accuracy: share(*top5, *images),
            per_class,
            confusion,
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

/// Every label must be one of the model's classes.
pub(crate) fn check_labels(labels: &[usize], classes: usize) -> Result<()> {
    match labels.iter().find(|label| **label >= classes) {
        None => Ok(()),
        Some(label) => Err(Error::argument(
            "num_classes",
            format!("more than {label}, a label in the data"),
            classes,
        )),
    }
}
