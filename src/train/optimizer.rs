//! Optimisers, with PyTorch's arithmetic and defaults.

use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, SgdConfig};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::Classifier;
use crate::params;

/// Which optimiser, with what it alone needs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
#[non_exhaustive]
pub enum Optimizer {
    /// `torch.optim.SGD`.
    Sgd {
        /// Momentum; 0 for none.
        momentum: f64,
        /// Nesterov's form of it.
        nesterov: bool,
    },
    /// `torch.optim.Adam`; weight decay is added to the gradient.
    Adam,
    /// `torch.optim.AdamW`; weight decay acts on the weights.
    AdamW,
}

/// PyTorch's and timm's epsilon for Adam; burn's default is 1e-5.
const EPSILON: f32 = 1e-8;

impl Optimizer {
    /// SGD with a momentum of 0.9.
    pub fn sgd() -> Self {
        Optimizer::Sgd {
            momentum: 0.9,
            nesterov: false,
        }
    }

    /// The optimiser for a model: weights decay; biases, the scales and shifts of normalisations
    /// (everything of rank one) and what the family exempts do not, as in timm.
    pub(crate) fn init(&self, model: &Classifier, weight_decay: f64) -> ModuleOptimizer {
        let exempt = model.backbone.no_weight_decay();
        let plain = params::list(model)
            .into_iter()
            .filter(|p| p.shape.len() <= 1 || exempt.contains(&p.path.as_str()))
            .map(|p| p.id)
            .collect();
        let plain = ParamGroup::from_ids(plain);
        let decay = WeightDecayConfig::new(weight_decay as f32);
        let decay = (weight_decay > 0.0).then_some(decay);
        match *self {
            Optimizer::Sgd { momentum, nesterov } => {
                // burn's own default dampens, PyTorch's does not.
                let momentum = MomentumConfig::new()
                    .with_momentum(momentum)
                    .with_dampening(0.0)
                    .with_nesterov(nesterov);
                let momentum = (momentum.momentum > 0.0).then_some(momentum);
                let sgd = SgdConfig::new().with_momentum(momentum);
                ModuleOptimizer::from(sgd.clone().with_weight_decay(decay).build()).with_group(
                    plain,
                    sgd.build(),
                    None,
                )
            }
            Optimizer::Adam => {
                let adam = AdamConfig::new().with_epsilon(EPSILON);
                ModuleOptimizer::from(adam.clone().with_weight_decay(decay).build()).with_group(
                    plain,
                    adam.build(),
                    None,
                )
            }
            Optimizer::AdamW => {
                let adam = AdamWConfig::new().with_epsilon(EPSILON);
                let with = |decay: f64| adam.clone().with_weight_decay(decay as f32).build();
                ModuleOptimizer::from(with(weight_decay)).with_group(plain, with(0.0), None)
            }
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match *self {
            Optimizer::Sgd { momentum, nesterov } => {
                if !(0.0..1.0).contains(&momentum) {
                    return Err(Error::argument(
                        "momentum",
                        "at least 0 and below 1",
                        momentum,
                    ));
                }
                if nesterov && momentum == 0.0 {
                    return Err(Error::argument("nesterov", "a momentum above 0", momentum));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// `sgd`, `nesterov`, `adam` or `adamw`.
impl std::str::FromStr for Optimizer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "sgd" => Ok(Optimizer::sgd()),
            "nesterov" => Ok(Optimizer::Sgd {
                momentum: 0.9,
                nesterov: true,
            }),
            "adam" => Ok(Optimizer::Adam),
            "adamw" => Ok(Optimizer::AdamW),
            _ => Err(Error::argument(
                "optimizer",
                "sgd, nesterov, adam or adamw",
                format!("`{text}`"),
            )),
        }
    }
}
