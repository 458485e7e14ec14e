//! Images that have any number of classes: one yes or no for each.

use serde::{Deserialize, Serialize};

use super::{finite, rows};
use crate::error::{Error, Result};

/// The threshold of a class that nothing is known of.
const DEFAULT_THRESHOLD: f32 = 0.5;

/// Precision and recall of a class at each threshold on its scores.
#[derive(Debug, Clone, PartialEq)]
pub struct PrecisionRecall {
    /// Of the images whose score is at least the threshold, the share that has the class. One
    /// longer than [`thresholds`](Self::thresholds): the last is 1, for no image at all.
    pub precision: Vec<f64>,
    /// Of the images that have the class, the share whose score is at least the threshold; 1
    /// throughout if no image has it. As long as the precisions: the last is 0.
    pub recall: Vec<f64>,
    /// Every score that occurs, in ascending order.
    pub thresholds: Vec<f32>,
}

/// What a threshold separates.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// The lowest score above it.
    score: f32,
    /// Images above it.
    predicted: usize,
    /// Those of them that have the class.
    right: usize,
}

/// A cut below each score that occurs, in descending order of scores. The last one has all images
/// above it.
fn cuts(mut images: Vec<(f32, bool)>) -> Vec<Cut> {
    images.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut predicted, mut right) = (0, 0);
    // Images of the same score are on the same side of any threshold.
    let ties = images.chunk_by(|a, b| a.0 == b.0);
    let cuts = ties.map(|tie| {
        predicted += tie.len();
        right += tie.iter().filter(|(_, positive)| *positive).count();
        Cut {
            score: tie[0].0,
            predicted,
            right,
        }
    });
    cuts.collect()
}

/// The cuts of one class; never empty.
fn cuts_of(scores: &[f32], positive: &[bool]) -> Result<Vec<Cut>> {
    rows("scores", scores.len(), positive.len(), ("classes", 1))?;
    finite("scores", scores)?;
    let images = scores.iter().copied().zip(positive.iter().copied());
    Ok(cuts(images.collect()))
}

/// The curve of precision over recall of one class, as scikit-learn's `precision_recall_curve`
/// gives it. `scores` has one number for each image, `positive` whether the image has the class.
///
/// # Errors
/// [`Error::InvalidArgument`] for no images, lengths that differ, and scores that are not finite.
///
/// ```
/// # fn main() -> burn_zoo::Result<()> {
/// let scores = [0.1, 0.4, 0.35, 0.8];
/// let curve = burn_zoo::metrics::precision_recall(&scores, &[false, false, true, true])?;
/// assert_eq!(curve.precision, [0.5, 2.0 / 3.0, 0.5, 1.0, 1.0]);
/// assert_eq!(curve.recall, [1.0, 1.0, 0.5, 0.5, 0.0]);
/// assert_eq!(curve.thresholds, [0.1, 0.35, 0.4, 0.8]);
/// # Ok(())
/// # }
/// ```
pub fn precision_recall(scores: &[f32], positive: &[bool]) -> Result<PrecisionRecall> {
    let cuts = cuts_of(scores, positive)?;
    let positives = cuts.last().map_or(0, |all| all.right);
    let recall = |cut: &Cut| match positives {
        0 => 1.0,
        _ => share(cut.right, positives),
    };
    let ascending = cuts.iter().rev();
    let precisions = ascending.clone().map(|cut| share(cut.right, cut.predicted));
    let recalls = ascending.clone().map(recall);
    Ok(PrecisionRecall {
        precision: precisions.chain([1.0]).collect(),
        recall: recalls.chain([0.0]).collect(),
        thresholds: ascending.map(|cut| cut.score).collect(),
    })
}

/// The area below the steps of [`precision_recall`], in 0..1, as scikit-learn's
/// `average_precision_score`: the mean of the precisions at which the images of the class are
/// found. `None` if no image has the class, where scikit-learn says 0.
///
/// # Errors
/// As [`precision_recall`].
pub fn average_precision(scores: &[f32], positive: &[bool]) -> Result<Option<f64>> {
    Ok(area(&cuts_of(scores, positive)?))
}

fn area(cuts: &[Cut]) -> Option<f64> {
    let positives = cuts.last().map_or(0, |all| all.right);
    let mut before = 0;
    let steps = cuts.iter().map(|cut| {
        let found = cut.right - before;
        before = cut.right;
        found as f64 * share(cut.right, cut.predicted)
    });
    let sum: f64 = steps.sum();
    (positives > 0).then(|| sum / positives as f64)
}

/// The threshold of the largest F1 on these probabilities; an image has the class if its
/// probability is at least the threshold. It lies halfway between two probabilities that occur,
/// below the lowest one halfway to 0. Of thresholds with the same F1 it is the highest, which
/// gives the class to the fewest images; 0.5 if no image has the class.
///
/// Choose it on other images than those it is judged by: on its own it looks better than it is.
///
/// # Errors
/// As [`precision_recall`].
pub fn best_threshold(scores: &[f32], positive: &[bool]) -> Result<f32> {
    Ok(threshold(&cuts_of(scores, positive)?))
}

/// [`best_threshold`] of each class.
///
/// # Shapes
/// - scores, targets: `[images, classes]`, row-major
///
/// # Errors
/// [`Error::InvalidArgument`] for no images or classes, lengths that do not fit, and scores that
/// are not finite.
pub fn best_thresholds(scores: &[f32], targets: &[bool], classes: usize) -> Result<Vec<f32>> {
    rows("scores", scores.len(), targets.len(), ("classes", classes))?;
    finite("scores", scores)?;
    let thresholds = (0..classes).map(|class| {
        let cuts = cuts(column(scores, targets, classes, class).collect());
        threshold(&cuts)
    });
    Ok(thresholds.collect())
}

fn threshold(cuts: &[Cut]) -> f32 {
    let positives = cuts.last().map_or(0, |all| all.right);
    if positives == 0 {
        return DEFAULT_THRESHOLD;
    }
    // F1 = 2 right / (predicted + positives), compared in whole numbers: ties are exact.
    let is_better = |cut: &Cut, best: &Cut| {
        let part = |a: &Cut, b: &Cut| a.right as u128 * (b.predicted + positives) as u128;
        part(cut, best) > part(best, cut)
    };
    let mut best = 0;
    for (index, cut) in cuts.iter().enumerate() {
        if is_better(cut, &cuts[best]) {
            best = index;
        }
    }
    let above = cuts[best].score;
    let below = match cuts.get(best + 1) {
        Some(below) => below.score,
        None => above.min(0.0),
    };
    let middle = f64::midpoint(f64::from(below), f64::from(above)) as f32;
    // Nothing lies between neighbours.
    if middle > below { middle } else { above }
}

/// How well images with any number of classes are recognised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultiLabelMetrics {
    /// Images that were looked at.
    pub images: usize,
    /// Mean of the average precisions of the classes that have images, in 0..1; 0 if none has.
    pub mean_average_precision: f64,
    /// Classes without images, which the mean leaves out.
    pub classes_without_images: usize,
    /// F1 over all decisions, in 0..1: scikit-learn's `f1_score(average="micro")`.
    pub micro_f1: f64,
    /// Mean F1 over all classes, in 0..1: scikit-learn's `f1_score(average="macro",
    /// zero_division=0)`. A class without images counts with 0.
    pub macro_f1: f64,
    /// Share of images of which every class was decided rightly, in 0..1.
    pub subset_accuracy: f64,
    /// Each class by itself.
    pub per_class: Vec<ClassMetrics>,
}

/// How well one class among others is recognised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Images that have the class.
    pub positives: usize,
    /// Images whose score is at least the threshold.
    pub predicted: usize,
    /// See [`average_precision`]; `None` without images.
    pub average_precision: Option<f64>,
    /// Scores from here on count as yes.
    pub threshold: f32,
    /// Share of the predicted images that have the class, in 0..1; 0 if none is predicted.
    pub precision: f64,
    /// Share of the images of the class that were predicted, in 0..1; 0 if there are none.
    pub recall: f64,
    /// The harmonic mean of both, in 0..1; 0 if there are neither images nor predictions.
    pub f1: f64,
}

impl MultiLabelMetrics {
    /// Compares scores with what the images have, at a threshold for each class.
    ///
    /// # Shapes
    /// - scores, targets: `[images, classes]`, row-major
    /// - thresholds: `[classes]`
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for no images or classes, lengths that do not fit, scores that are
    /// not finite, and thresholds that are not numbers.
    pub fn of(
        scores: &[f32],
        targets: &[bool],
        classes: usize,
        thresholds: &[f32],
    ) -> Result<Self> {
        let images = rows("scores", scores.len(), targets.len(), ("classes", classes))?;
        finite("scores", scores)?;
        if thresholds.len() != classes {
            let expected = format!("{classes}, one for each class");
            return Err(Error::argument("thresholds", expected, thresholds.len()));
        }
        if let Some(class) = thresholds.iter().position(|value| value.is_nan()) {
            let found = format!("NaN for class {class}");
            return Err(Error::argument("thresholds", "numbers", found));
        }
        // Of all classes: images, predictions, and those that are right.
        let mut sums = [0; 3];
        let per_class = thresholds.iter().enumerate().map(|(class, threshold)| {
            let column = || column(scores, targets, classes, class);
            let above = column().filter(|(score, _)| score >= threshold);
            let predicted = above.clone().count();
            let right = above.filter(|(_, positive)| *positive).count();
            let cuts = cuts(column().collect());
            let positives = cuts.last().map_or(0, |all| all.right);
            for (sum, count) in sums.iter_mut().zip([positives, predicted, right]) {
                *sum += count;
            }
            ClassMetrics {
                positives,
                predicted,
                average_precision: area(&cuts),
                threshold: *threshold,
                precision: share(right, predicted),
                recall: share(right, positives),
                f1: share(2 * right, positives + predicted),
            }
        });
        let per_class: Vec<ClassMetrics> = per_class.collect();
        let table = scores
            .chunks_exact(classes)
            .zip(targets.chunks_exact(classes));
        let all_right = table.filter(|(scores, targets)| {
            let mut decisions = scores.iter().zip(thresholds).zip(*targets);
            decisions.all(|((score, threshold), target)| (score >= threshold) == *target)
        });
        let areas = per_class.iter().filter_map(|class| class.average_precision);
        let with_images = areas.clone().count();
        let [positives, predicted, right] = sums;
        Ok(Self {
            images,
            // The sum of nothing is -0.
            mean_average_precision: (0.0 + areas.sum::<f64>()) / with_images.max(1) as f64,
            classes_without_images: classes - with_images,
            micro_f1: share(2 * right, positives + predicted),
            macro_f1: per_class.iter().map(|class| class.f1).sum::<f64>() / classes as f64,
            subset_accuracy: share(all_right.count(), images),
            per_class,
        })
    }
}

/// Score and target of one class for each image; `classes` is not 0.
fn column<'a>(
    scores: &'a [f32],
    targets: &'a [bool],
    classes: usize,
    class: usize,
) -> impl Iterator<Item = (f32, bool)> + Clone + 'a {
    // Each is strided by itself: a pair of slices has no step of its own.
    let scores = scores.iter().skip(class).step_by(classes).copied();
    scores.zip(targets.iter().skip(class).step_by(classes).copied())
}

/// A part of a whole; 0 of nothing.
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}
