//! How good a model is, and what it says about an image.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use serde::Serialize;

use crate::data::Loader;
use crate::error::{Error, Result};
use crate::features::host_vec;
use crate::model::Classifier;
use crate::preprocess::Image;

/// Mean cross-entropy of class scores.
///
/// # Shapes
/// - logits: `[batch, classes]`, before softmax
/// - labels: `[batch]`, indices of classes
/// - output: `[1]`
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let batch = logits.dims()[0];
    let chosen = log_softmax(logits, 1).gather(1, labels.reshape([batch, 1]));
    chosen.mean().neg()
}

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
    /// classes, of which nobody could look at it.
    pub confusion: Vec<Vec<usize>>,
}

/// Classes of the largest confusion matrix.
const LARGEST_CONFUSION: usize = 2000;

/// How well one class is recognised.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    /// Its name.
    pub name: String,
    /// Images of it.
    pub images: usize,
    /// Share of them that were recognised, in 0..1; 0 if there are none.
    pub accuracy: f64,
}

/// A class that an image may show.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// Index of the class.
    pub class: usize,
    /// Its name; the index, if the model does not name its classes.
    pub name: String,
    /// How probable, in 0..1.
    pub probability: f64,
}

impl Classifier {
    /// Looks at every image of a loader and compares. It never runs in training mode, whatever the
    /// device, and changes nothing.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are labels the model has no class for, and whatever
    /// reading images meets.
    pub fn evaluate(&self, loader: &Loader) -> Result<Evaluation> {
        self.evaluate_while(loader, |_| true)?
            .ok_or_else(|| Error::argument("data", "at least one image", "none"))
    }

    /// [`evaluate`](Self::evaluate) that tells `go_on` how many batches are done, and ends with
    /// `None` when that says no.
    pub(crate) fn evaluate_while(
        &self,
        loader: &Loader,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<Option<Evaluation>> {
        let model = self.valid();
        let device = model.device();
        let classes = self.num_classes();
        let mut loss = 0.0;
        let (mut images, mut top5) = (0, 0);
        let mut taken_for: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (index, batch) in loader.epoch(0).enumerate() {
            let batch = batch?;
            check_labels(&batch.targets, classes)?;
            let logits = model.forward(batch.images.without_autodiff().to_device(&device))?;
            let labels = batch.labels.to_device(&device);
            let count = batch.targets.len();
            loss += scalar(cross_entropy(logits.clone(), labels))? * count as f64;
            let scores = host_vec(logits.into_data())?;
            for (row, &label) in scores.chunks_exact(classes).zip(&batch.targets) {
                let better = rank(row, label);
                top5 += usize::from(better < 5);
                *taken_for.entry((label, best(row))).or_default() += 1;
            }
            images += count;
            if !go_on(index + 1) {
                return Ok(None);
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
        Ok(Some(Evaluation {
            images,
            loss: loss / images.max(1) as f64,
            accuracy: share(right, images),
            top5_accuracy: share(top5, images),
            per_class,
            confusion,
        }))
    }

    /// The `top_k` most probable classes of an image, the best first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a model without classes, [`Error::InputShape`] if the image,
    /// brought to `image_size`, does not fit the model.
    pub fn predict(
        &self,
        image: &Image,
        image_size: Option<usize>,
        top_k: usize,
    ) -> Result<Vec<Prediction>> {
        if self.num_classes() == 0 {
            return Err(Error::argument(
                "model",
                "one with classes",
                "one without a head",
            ));
        }
        let preprocess = self.preprocess(image_size);
        preprocess.check()?;
        let (height, width) = preprocess.output_size(image.height(), image.width());
        let model = self.valid();
        let shape = [1, self.in_channels(), height, width];
        let values = TensorData::new(preprocess.apply(image), shape);
        let logits = model.forward(Tensor::from_data(values, &model.device()))?;
        let scores = host_vec(log_softmax(logits, 1).into_data())?;
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        Ok(order
            .into_iter()
            .take(top_k)
            .map(|class| Prediction {
                class,
                name: self.class_name(class),
                probability: f64::from(scores[class]).exp(),
            })
            .collect())
    }

    fn class_name(&self, class: usize) -> String {
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
    match scores[label].is_nan() {
        true => scores.len(),
        false => scores
            .iter()
            .filter(|score| **score > scores[label])
            .count(),
    }
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
