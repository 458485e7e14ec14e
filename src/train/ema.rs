//! An exponential moving average of the weights (Polyak & Juditsky, 1992): timm's `ModelEmaV3`.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::ranges::below_one;
use super::rates::ema_decay;
use crate::error::Result;
use crate::model::Classifier;

/// How the average is kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { decay = 0.999 }")]
pub struct EmaConfig {
    /// How much of the average stays at each step: 0.9998 for long runs, 0.99 to 0.999 for short
    /// ones.
    pub decay: f64,
    /// Starts with a small decay that grows towards `decay` (timm's `use_warmup`), so that the
    /// starting weights are soon forgotten.
    #[serde(default = "yes")]
    pub warmup: bool,
}

fn yes() -> bool {
    true
}

impl EmaConfig {
    /// An average with this decay and a warm-up.
    pub fn new(decay: f64) -> Self {
        Self {
            decay,
            warmup: true,
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        below_one("ema decay", self.decay)
    }
}

/// The average itself: a model of its own, without the means to train.
///
/// Running statistics of normalisations are averaged like weights, as timm does; they are averages
/// already, and stay those of the averaged network closely enough.
#[derive(Debug, Clone)]
pub struct Ema {
    config: EmaConfig,
    model: Classifier,
}

impl Ema {
    /// An average that starts from the model's present values.
    pub fn new(config: EmaConfig, model: &Classifier) -> Self {
        Self {
            config,
            model: model.valid(),
        }
    }

    /// The averaged model.
    pub fn model(&self) -> &Classifier {
        &self.model
    }

    /// Puts another average in its place.
    pub(super) fn replace(&mut self, model: Classifier) {
        self.model = model;
    }

    /// Moves the average towards the model's values. `step` counts optimiser steps from 1.
    pub fn update(&mut self, model: &Classifier, step: usize) {
        let decay = ema_decay(self.config.decay, self.config.warmup, step);

        // The two walks meet by the parameters' ids, in a container for tensors of any rank.
        struct Collect(GradientsParams);
        impl ModuleVisitor for Collect {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.register(param.id, param.val().without_autodiff());
            }
        }
        struct Blend {
            values: GradientsParams,
            decay: f64,
        }
        impl ModuleMapper for Blend {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let Some(value) = self.values.remove::<D>(param.id) else {
                    return param;
                };
                // What is frozen stays what it is to the last bit: a + (b - a) w with a = b.
                let weight = 1.0 - self.decay;
                param.map(|average| {
                    burn_zoo_cpu::lerp(&average, &value, weight)
                        .unwrap_or_else(|| average.clone() + (value - average).mul_scalar(weight))
                })
            }
        }
        let mut values = Collect(GradientsParams::new());
        model.visit(&mut values);
        let average = self.model.clone();
        self.model = average.map(&mut Blend {
            values: values.0,
            decay,
        });
    }
}
