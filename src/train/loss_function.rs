//! What training makes smaller, by the task.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::loss::{ClassWeights, Loss};
use super::ranges::{below_one, not_negative, positive};
use crate::data::{Targets, Task};
use crate::error::{Error, Result};
use crate::model::TargetScaling;
use crate::nn::binary_cross_entropy;
use crate::text::{Form, Style, no_fields, text_form};

/// What training makes smaller.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum LossFunction {
    /// Of one class for each image: [`Loss`].
    #[default]
    #[serde(deserialize_with = "no_fields")]
    CrossEntropy,
    /// Of several labels: each class by itself, `torch.nn.BCEWithLogitsLoss(pos_weight)`, the mean over
    /// images and classes.
    #[serde(deserialize_with = "no_fields")]
    Bce,
    /// Of several labels, few of which each image has: what is easily told from a class counts little
    /// (Ridnik et al., ICCV 2021, <https://arxiv.org/abs/2009.14119>). The sum over the classes, the mean
    /// over the images.
    Asymmetric {
        /// How little absent classes count that are told easily.
        #[serde(default = "gamma_negative")]
        gamma_neg: f64,
        /// The same of classes that are there.
        #[serde(default = "gamma_positive")]
        gamma_pos: f64,
        /// Absent classes of a probability below this count nothing.
        #[serde(default = "asymmetric_clip")]
        clip: f64,
    },
    /// Of numbers: the mean of the squared distances.
    #[serde(deserialize_with = "no_fields")]
    Mse,
    /// Of numbers: the mean of the distances.
    #[serde(deserialize_with = "no_fields")]
    L1,
    /// Of numbers: squares near the target and distances beyond, `torch.nn.HuberLoss(delta)`.
    Huber {
        /// Where the squares end, in standard deviations of the training targets.
        #[serde(default = "huber_delta")]
        delta: f64,
    },
}

fn gamma_negative() -> f64 {
    4.0
}

fn gamma_positive() -> f64 {
    1.0
}

fn asymmetric_clip() -> f64 {
    0.05
}

fn huber_delta() -> f64 {
    1.0
}

text_form!(
    /// `cross_entropy`, `bce`, `asymmetric[:gamma_neg=4:gamma_pos=1:clip=0.05]`, `mse`, `l1` or
    /// `huber[:delta=1]`.
    LossFunction,
    Form::new("loss", Style::Colons, &[]),
    LossFunction::validate
);

impl LossFunction {
    /// The usual one of a task.
    pub fn of(task: Task) -> Self {
        match task {
            Task::SingleLabel => LossFunction::CrossEntropy,
            Task::MultiLabel => LossFunction::Bce,
            Task::Regression => LossFunction::Mse,
        }
    }

    /// The task that it is for.
    pub fn task(&self) -> Task {
        match self {
            LossFunction::CrossEntropy => Task::SingleLabel,
            LossFunction::Bce | LossFunction::Asymmetric { .. } => Task::MultiLabel,
            LossFunction::Mse | LossFunction::L1 | LossFunction::Huber { .. } => Task::Regression,
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match *self {
            LossFunction::Asymmetric {
                gamma_neg,
                gamma_pos,
                clip,
            } => {
                not_negative("loss.gamma_neg", gamma_neg)?;
                not_negative("loss.gamma_pos", gamma_pos)?;
                below_one("loss.clip", clip)
            }
            LossFunction::Huber { delta } => positive("loss.delta", delta),
            _ => Ok(()),
        }
    }
}

/// The loss of a run, with all that it needs.
pub(super) enum TaskLoss {
    Classes(Loss),
    Labels {
        function: LossFunction,
        smoothing: f64,
        /// `[1, classes]`
        positive: Option<Tensor<2>>,
    },
    Values {
        function: LossFunction,
        scaling: TargetScaling,
    },
}

impl TaskLoss {
    pub fn labels(
        function: LossFunction,
        smoothing: f64,
        positive: Option<Vec<f32>>,
        device: &Device,
    ) -> Self {
        let positive = positive.map(|weights| {
            let shape = [1, weights.len()];
            Tensor::from_data(TensorData::new(weights, shape), device)
        });
        TaskLoss::Labels {
            function,
            smoothing,
            positive,
        }
    }

    /// The loss of a batch. `soft` are the targets of images that were mixed.
    pub fn forward(
        &self,
        logits: Tensor<2>,
        targets: &Targets,
        soft: Option<Tensor<2>>,
    ) -> Result<Tensor<1>> {
        let device = logits.device().without_autodiff();
        match self {
            TaskLoss::Classes(loss) => Ok(match soft {
                Some(soft) => loss.forward_soft(logits, soft),
                None => loss.forward(logits, targets.labels(&device)?),
            }),
            TaskLoss::Labels {
                function,
                smoothing,
                positive,
            } => {
                let targets = soft.map_or_else(|| targets.rows(&device), Ok)?;
                let targets = match *smoothing {
                    0.0 => targets,
                    s => targets.mul_scalar(1.0 - s).add_scalar(0.5 * s),
                };
                Ok(match function {
                    LossFunction::Asymmetric {
                        gamma_neg,
                        gamma_pos,
                        clip,
                    } => asymmetric(logits, targets, [*gamma_neg, *gamma_pos], *clip),
                    _ => binary_cross_entropy(logits, targets, positive.as_ref()),
                })
            }
            TaskLoss::Values { function, scaling } => {
                let targets = soft.map_or_else(|| targets.rows(&device), Ok)?;
                let targets = scaling.normalized(targets);
                let distance = logits - targets;
                Ok(match *function {
                    LossFunction::L1 => distance.abs().mean(),
                    LossFunction::Huber { delta } => {
                        let distance = distance.abs();
                        // The square up to delta, and from there on a line.
                        let near = distance.clone().clamp_max(delta);
                        let far = distance - near.clone();
                        (near.clone() * near)
                            .mul_scalar(0.5)
                            .add(far.mul_scalar(delta))
                            .mean()
                    }
                    _ => (distance.clone() * distance).mean(),
                })
            }
        }
    }
}

/// The asymmetric loss.
fn asymmetric(
    logits: Tensor<2>,
    targets: Tensor<2>,
    [gamma_neg, gamma_pos]: [f64; 2],
    clip: f64,
) -> Tensor<1> {
    let [batch, _] = logits.dims();
    let there = sigmoid(logits);
    let absent = there.clone().neg().add_scalar(1.0 + clip).clamp_max(1.0);
    let is_absent = targets.clone().neg().add_scalar(1.0);
    let log = |p: Tensor<2>| p.clamp_min(1e-8).log();
    let losses = log(there.clone()) * targets.clone() + log(absent.clone()) * is_absent.clone();
    let right = there * targets.clone() + absent * is_absent.clone();
    let gamma = targets.mul_scalar(gamma_pos) + is_absent.mul_scalar(gamma_neg);
    // As a power of a tensor, whose own gradient by the exponent of 0 is no number.
    let focus = (log(right.neg().add_scalar(1.0)) * gamma).exp();
    (losses * focus).sum().neg().div_scalar(batch.max(1) as f64)
}

/// How often a class that is there counts beside one that is not: for balanced classes, absent by
/// present images.
pub(super) fn positive_weights(
    weights: &ClassWeights,
    targets: &Targets,
    classes: usize,
) -> Result<Option<Vec<f32>>> {
    let ClassWeights::Balanced = weights else {
        return weights.of(&[], classes);
    };
    let Targets::Rows { values, width } = targets else {
        return Err(Error::argument(
            "class_weights",
            "several labels for each image",
            "one",
        ));
    };
    let mut present = vec![0.0; *width];
    for row in values.chunks_exact((*width).max(1)) {
        row.iter()
            .zip(&mut present)
            .for_each(|(value, sum)| *sum += value);
    }
    let images = targets.len() as f32;
    // A class that no image has, or that all have, is told by no weight.
    let weight = |present: f32| match present {
        p if p > 0.0 && p < images => (images - p) / p,
        _ => 1.0,
    };
    Ok(Some(present.into_iter().map(weight).collect()))
}
