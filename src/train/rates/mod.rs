//! Learning rates that differ: from group to group, from batch size to batch size, between a
//! backbone and its head; and how fast an average of the weights forgets.

mod backbone;
mod layers;
mod scaling;

use serde::{Deserialize, Serialize};

pub use backbone::BackboneRate;
pub(super) use layers::group_of;
pub(super) use layers::layer_ids;
pub use scaling::RateScaling;

use super::ranges::{positive_share, share};
use crate::error::{Error, Result};
use crate::text::{Form, Style, no_fields, text_form};

/// How the learning rates of a model's parts relate to the recipe's, which is the head's.
///
/// As text: `same`, `geometric:0.01`, `factor:2.6`, `slice` or `layer_decay:0.75`, the last with
/// `:min_scale=0.01` if there is to be a floor.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Rates {
    /// All parts learn at the same rate.
    #[default]
    #[serde(deserialize_with = "no_fields")]
    Same,
    /// From group to group the same factor, from `lowest` at the input to 1 at the head: fastai's
    /// `slice(lowest * lr, lr)`.
    Geometric {
        /// The part of the rate that the first group has, above 0 and up to 1. fastai's `fine_tune`
        /// takes a hundredth.
        #[serde(default = "default::lowest")]
        lowest: f64,
    },
    /// The rate of each group is that of the group after it divided by a number (Howard & Ruder,
    /// ULMFiT, 2018, <https://arxiv.org/abs/1801.06146>).
    Factor {
        /// The number, 1 or above.
        #[serde(default = "default::divide")]
        divide: f64,
    },
    /// The head at the full rate, everything else at a tenth of it: fastai's `slice(lr)`.
    #[serde(deserialize_with = "no_fields")]
    Slice,
    /// From layer to layer the same factor, layers counted as timm's `param_groups_layer_decay`
    /// counts them.
    LayerDecay {
        /// The factor from a layer to the one before it, above 0 and up to 1. 0.65 to 0.75 is
        /// common for transformers.
        #[serde(default = "default::decay")]
        decay: f64,
        /// No layer's part of the rate is lower than this, 0 to 1.
        #[serde(default)]
        min_scale: f64,
    },
}

mod default {
    pub fn lowest() -> f64 {
        0.01
    }

    pub fn divide() -> f64 {
        2.6
    }

    pub fn decay() -> f64 {
        0.75
    }
}

impl Rates {
    /// The part of the rate that each of so many parts has, from the input to the head. Parts are
    /// layers for [`Rates::LayerDecay`] and groups for all others.
    pub fn scales(&self, parts: usize) -> Vec<f64> {
        // Parts from here to the head.
        let distances = (0..parts).rev().map(|distance| distance as f64);
        match *self {
            Rates::Same => vec![1.0; parts],
            Rates::Geometric { lowest } => {
                let steps = parts.saturating_sub(1).max(1) as f64;
                distances.map(|d| lowest.powf(d / steps)).collect()
            }
            Rates::Factor { divide } => distances.map(|d| divide.powf(-d)).collect(),
            Rates::Slice => distances
                .map(|d| if d == 0.0 { 1.0 } else { 0.1 })
                .collect(),
            Rates::LayerDecay { decay, min_scale } => {
                distances.map(|d| decay.powf(d).max(min_scale)).collect()
            }
        }
    }

    /// The part of the rate that each parameter has.
    ///
    /// `paths` are those of all parameters, frozen ones included: what is frozen must not change
    /// the rates of the rest. `prefixes` are those of the groups, from the input to the head.
    pub fn parameter_scales(
        &self,
        paths: &[impl AsRef<str>],
        prefixes: &[impl AsRef<str>],
    ) -> Vec<f64> {
        let (ids, parts) = match self {
            Rates::LayerDecay { .. } => {
                let ids = layer_ids(paths, prefixes);
                let layers = ids.iter().max().map_or(0, |last| last + 1);
                (ids, layers)
            }
            _ => {
                let group = |path: &_| group_of(AsRef::as_ref(path), prefixes);
                (paths.iter().map(group).collect(), prefixes.len().max(1))
            }
        };
        let scales = self.scales(parts);
        ids.into_iter().map(|id| scales[id]).collect()
    }

    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that names the first that is not.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Rates::Same | Rates::Slice => Ok(()),
            Rates::Geometric { lowest } => positive_share("rates lowest", lowest),
            Rates::Factor { divide } if divide >= 1.0 && divide.is_finite() => Ok(()),
            Rates::Factor { divide } => Err(Error::argument(
                "rates divide",
                "a number of at least 1",
                divide,
            )),
            Rates::LayerDecay { decay, min_scale } => {
                positive_share("rates decay", decay)?;
                share("rates min_scale", min_scale)
            }
        }
    }
}

text_form!(
    /// `same`, `geometric:LOWEST`, `factor:DIVIDE`, `slice` or `layer_decay:DECAY`.
    Rates,
    Form::new("rates", Style::Colons, &[("geometric", 1), ("factor", 1), ("layer_decay", 1)]),
    Rates::validate
);

/// How much of an average of the weights stays at a step of the optimiser, counted from 1: timm's
/// `ModelEmaV3`. The rest comes from the weights after that step.
///
/// The first step takes the weights as they are. With a warm-up the average then begins short and
/// grows longer, `1 - step^(-2/3)`, until `decay` is reached.
pub(crate) fn ema_decay(decay: f64, warmup: bool, step: usize) -> f64 {
    match step {
        0 | 1 => 0.0,
        // timm: gamma 1, power 2/3, of the steps before this one.
        _ if warmup => (1.0 - (step as f64).powf(-2.0 / 3.0)).min(decay),
        _ => decay,
    }
}
