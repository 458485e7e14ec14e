//! Cross-entropy, with all that fine-tuning asks of it.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::ranges::below_one;
use crate::error::{Error, Result};
use crate::nn::cross_entropy;

/// How classes weigh in the loss.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClassWeights {
    /// All the same.
    #[default]
    Equal,
    /// `images / (classes * images of the class)`: what scikit-learn calls "balanced". A class
    /// without images weighs nothing.
    Balanced,
    /// One number for each class.
    Given(Vec<f64>),
}

impl ClassWeights {
    /// The weights for these labels, each below `classes`; `None` if all are the same.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is not a number for each class.
    pub fn of(&self, labels: &[usize], classes: usize) -> Result<Option<Vec<f32>>> {
        match self {
            ClassWeights::Equal => Ok(None),
            ClassWeights::Balanced => {
                let weigh = |count: usize| match count {
                    0 => 0.0,
                    _ => labels.len() as f64 / (classes * count) as f64,
                };
                let counts = count(labels, classes);
                Ok(Some(counts.into_iter().map(|c| weigh(c) as f32).collect()))
            }
            ClassWeights::Given(weights) if weights.len() == classes => {
                Ok(Some(weights.iter().map(|w| *w as f32).collect()))
            }
            ClassWeights::Given(weights) => Err(Error::argument(
                "class_weights",
                format!("a number for each of the {classes} classes"),
                format!("{} numbers", weights.len()),
            )),
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let ClassWeights::Given(weights) = self else {
            return Ok(());
        };
        // As they are computed with.
        let mut numbers = weights.iter().map(|w| *w as f32);
        let sound = numbers.clone().all(|w| w.is_finite() && w >= 0.0);
        if sound && numbers.any(|w| w > 0.0) {
            return Ok(());
        }
        Err(Error::argument(
            "class_weights",
            "numbers of at least 0, rounded to 32 bits, not all of them 0",
            format!("{weights:?}"),
        ))
    }
}

/// `equal`, `balanced`, or one number for each class: `1,1,2.5`.
impl std::str::FromStr for ClassWeights {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let weights = match text {
            "equal" => ClassWeights::Equal,
            "balanced" => ClassWeights::Balanced,
            _ => {
                let numbers: Result<Vec<f64>, _> = text.split(',').map(str::parse).collect();
                ClassWeights::Given(numbers.map_err(|_| {
                    Error::argument(
                        "class_weights",
                        "equal, balanced or a number for each class",
                        format!("`{text}`"),
                    )
                })?)
            }
        };
        weights.validate()?;
        Ok(weights)
    }
}

/// Images of each class.
pub(crate) fn count(labels: &[usize], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for label in labels {
        if let Some(count) = counts.get_mut(*label) {
            *count += 1;
        }
    }
    counts
}

/// Cross-entropy with label smoothing (Szegedy et al., 2016, <https://arxiv.org/abs/1512.00567>),
/// soft targets and class weights: `torch.nn.CrossEntropyLoss(weight, label_smoothing)`.
#[derive(Debug, Clone)]
pub struct Loss {
    smoothing: f64,
    weights: Option<Tensor<2>>,
}

impl Loss {
    /// A loss on `device`. `weights` has a number for each class.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a smoothing outside 0..1.
    pub fn new(smoothing: f64, weights: Option<&[f32]>, device: &Device) -> Result<Self> {
        below_one("label_smoothing", smoothing)?;
        let weights = weights.map(|weights| {
            let data = TensorData::new(weights.to_vec(), [1, weights.len()]);
            Tensor::from_data(data, device)
        });
        Ok(Self { smoothing, weights })
    }

    /// The mean over a batch; with class weights the weighted mean, as in PyTorch.
    ///
    /// # Shapes
    /// - logits: `[batch, classes]`, before softmax
    /// - labels: `[batch]`
    /// - output: `[1]`
    pub fn forward(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        if self.weights.is_none() && self.smoothing == 0.0 {
            return cross_entropy(logits, labels);
        }
        // PyTorch divides by the weights of the labels if there are labels, else by the batch.
        let hard = labels.one_hot::<2>(logits.dims()[1]).float();
        // PyTorch divides by 0 where all labels of a batch weigh nothing; here there is nothing to learn.
        let weigh = |w: Tensor<2>| {
            let sum = (hard.clone() * w).sum();
            let is_none = sum.clone().lower_equal_elem(0.0);
            sum.mask_fill(is_none, f32::INFINITY)
        };
        let divisor = self.weights.clone().map(weigh);
        self.of_shares(logits, hard, divisor)
    }

    /// The mean over a batch, each image of which has a share of every class, as mixup and CutMix
    /// make them.
    ///
    /// # Shapes
    /// - logits: `[batch, classes]`, before softmax
    /// - soft: `[batch, classes]`, or fewer columns where no image has a share of the last classes; each row of
    ///   sum 1
    /// - output: `[1]`
    pub fn forward_soft(&self, logits: Tensor<2>, soft: Tensor<2>) -> Tensor<1> {
        let ([batch, classes], [_, given]) = (logits.dims(), soft.dims());
        let soft = match classes.saturating_sub(given) {
            0 => soft,
            more => {
                let rest = Tensor::zeros([batch, more], &soft.device());
                Tensor::cat(vec![soft, rest], 1)
            }
        };
        self.of_shares(logits, soft, None)
    }

    /// The sum over a batch, by the divisor or else by the number of images.
    fn of_shares(
        &self,
        logits: Tensor<2>,
        target: Tensor<2>,
        divisor: Option<Tensor<1>>,
    ) -> Tensor<1> {
        let [batch, classes] = logits.dims();
        // On the inner device a target has no part in the graph.
        let target = match self.smoothing {
            0.0 => target,
            s => target
                .mul_scalar(1.0 - s)
                .add_scalar(s / classes.max(1) as f64),
        };
        let target = match &self.weights {
            Some(weights) => target * weights.clone(),
            None => target,
        };
        let sum = (log_softmax(logits, 1) * target).sum().neg();
        match divisor {
            Some(divisor) => sum / divisor,
            None => sum.div_scalar(batch.max(1) as f64),
        }
    }
}
