//! Which optimiser: [`Optimizer`], with PyTorch's defaults.

use serde::{Deserialize, Serialize};

use super::ranges::{below_one, positive};
use crate::error::{Error, Result};
use crate::text::{self, Form, Style, no_fields};

/// Which optimiser, with what it alone needs. In a recipe's file a value that is left out is the
/// default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Optimizer {
    /// `torch.optim.SGD`; weight decay is added to the gradient.
    Sgd {
        /// Momentum; 0 for none.
        #[serde(default = "numbers::momentum")]
        momentum: f64,
        /// Nesterov's form of it.
        #[serde(default)]
        nesterov: bool,
    },
    /// `torch.optim.Adam` (Kingma & Ba, 2015, <https://arxiv.org/abs/1412.6980>); weight decay is
    /// added to the gradient.
    Adam {
        /// Decay of the gradients' average and of their squares'.
        #[serde(default = "numbers::adam")]
        betas: [f64; 2],
        /// Added to the denominator.
        #[serde(default = "numbers::epsilon")]
        epsilon: f64,
    },
    /// `torch.optim.AdamW` (Loshchilov & Hutter, 2019, <https://arxiv.org/abs/1711.05101>); weight
    /// decay acts on the weights.
    AdamW {
        /// Decay of the gradients' average and of their squares'.
        #[serde(default = "numbers::adam")]
        betas: [f64; 2],
        /// Added to the denominator.
        #[serde(default = "numbers::epsilon")]
        epsilon: f64,
    },
    /// `torch.optim.RMSprop`; weight decay is added to the gradient.
    RmsProp {
        /// Decay of the squared gradients' average.
        #[serde(default = "numbers::alpha")]
        alpha: f64,
        /// Momentum; 0 for none.
        #[serde(default)]
        momentum: f64,
        /// Divides by the variance in place of the mean square.
        #[serde(default)]
        centered: bool,
        /// Added to the denominator.
        #[serde(default = "numbers::epsilon")]
        epsilon: f64,
    },
    /// LAMB (You et al., 2020, <https://arxiv.org/abs/1904.00962>).
    Lamb {
        /// Decay of the gradients' average and of their squares'.
        #[serde(default = "numbers::adam")]
        betas: [f64; 2],
    },
    /// Lion (Chen et al., 2023, <https://arxiv.org/abs/2302.06675>). It wants a rate of a third to
    /// a tenth of AdamW's.
    Lion {
        /// Weights of the update and of the momentum.
        #[serde(default = "numbers::lion")]
        betas: [f64; 2],
    },
    /// Muon (Jordan et al., 2024, <https://kellerjordan.github.io/posts/muon/>) for everything of
    /// rank two and more, convolutions as matrices `[out, in * height * width]`, with the update
    /// scaled to the size of AdamW's (Liu et al., 2025, <https://arxiv.org/abs/2502.16982>); AdamW
    /// for the rest.
    Muon {
        /// Momentum, in Nesterov's form.
        #[serde(default = "numbers::muon")]
        momentum: f64,
    },
    /// `torch.optim.Adagrad`.
    #[serde(deserialize_with = "no_fields")]
    AdaGrad,
    /// Adan (Xie et al., 2024, <https://arxiv.org/abs/2208.06677>).
    #[serde(deserialize_with = "no_fields")]
    Adan,
    /// Adafactor (Shazeer & Stern, 2018, <https://arxiv.org/abs/1804.04235>), with the recipe's
    /// learning rate in place of a relative step.
    #[serde(deserialize_with = "no_fields")]
    Adafactor,
}

/// PyTorch's defaults; burn's epsilon is 1e-5.
pub(super) mod numbers {
    pub fn momentum() -> f64 {
        0.9
    }
    pub fn adam() -> [f64; 2] {
        [0.9, 0.999]
    }
    pub fn epsilon() -> f64 {
        1e-8
    }
    pub fn alpha() -> f64 {
        0.99
    }
    pub fn lion() -> [f64; 2] {
        [0.9, 0.99]
    }
    pub fn muon() -> f64 {
        0.95
    }
}

impl Optimizer {
    /// SGD with a momentum of 0.9.
    pub fn sgd() -> Self {
        Optimizer::Sgd {
            momentum: numbers::momentum(),
            nesterov: false,
        }
    }

    /// Adam with PyTorch's defaults.
    pub fn adam() -> Self {
        Optimizer::Adam {
            betas: numbers::adam(),
            epsilon: numbers::epsilon(),
        }
    }

    /// AdamW with PyTorch's defaults.
    pub fn adamw() -> Self {
        Optimizer::AdamW {
            betas: numbers::adam(),
            epsilon: numbers::epsilon(),
        }
    }

    /// The names that a command line takes: the kinds, and `nesterov`.
    pub fn names() -> Vec<&'static str> {
        let mut names = text::kinds::<Self>().to_vec();
        names.insert(1, "nesterov");
        names
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let betas_below_one =
            |betas: [f64; 2]| betas.iter().try_for_each(|beta| below_one("betas", *beta));
        match *self {
            Optimizer::Sgd { momentum, nesterov } => {
                below_one("momentum", momentum)?;
                if nesterov && momentum == 0.0 {
                    return Err(Error::argument("nesterov", "a momentum above 0", momentum));
                }
                Ok(())
            }
            Optimizer::Adam { betas, epsilon } | Optimizer::AdamW { betas, epsilon } => {
                betas_below_one(betas)?;
                positive("epsilon", epsilon)
            }
            Optimizer::RmsProp {
                alpha,
                momentum,
                epsilon,
                ..
            } => {
                below_one("alpha", alpha)?;
                below_one("momentum", momentum)?;
                positive("epsilon", epsilon)
            }
            Optimizer::Lamb { betas } | Optimizer::Lion { betas } => betas_below_one(betas),
            Optimizer::Muon { momentum } => below_one("momentum", momentum),
            Optimizer::AdaGrad | Optimizer::Adan | Optimizer::Adafactor => Ok(()),
        }
    }
}

const FORM: Form = Form::new("optimizer", Style::Colons, &[]).or(&["nesterov"]);

/// A kind and the values that are not its defaults: `adamw`, `sgd:momentum=0.8`; `nesterov` stands
/// for `sgd:nesterov`, also before values: `nesterov:momentum=0.8`.
impl std::str::FromStr for Optimizer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let sgd = match text.strip_prefix("nesterov") {
            Some("" | "()") => "sgd:nesterov".to_owned(),
            Some(values) if values.starts_with(':') => format!("sgd:nesterov{values}"),
            Some(values) if values.starts_with('(') => format!("sgd(nesterov,{}", &values[1..]),
            _ => text.to_owned(),
        };
        let optimizer: Self = text::parse(&FORM, &sgd)?;
        optimizer.validate()?;
        Ok(optimizer)
    }
}

impl std::fmt::Display for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&text::write(&FORM, self))
    }
}
