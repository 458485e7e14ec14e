//! How the learning rate changes over a run.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A schedule of the learning rate, as a factor of the recipe's.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
#[non_exhaustive]
pub enum Schedule {
    /// Always the same.
    #[default]
    Constant,
    /// Multiplied by `gamma` after each `epochs` epochs; `torch.optim.lr_scheduler.StepLR`.
    Step {
        /// Epochs between two drops.
        epochs: usize,
        /// The factor of one drop.
        gamma: f64,
    },
    /// Half a cosine from the full rate to nothing over the whole run, step by step (Loshchilov &
    /// Hutter, 2017, <https://arxiv.org/abs/1608.03983>, without restarts).
    Cosine,
}

impl Schedule {
    /// The factor at a point of a run, after a linear warm-up of `warmup` epochs from zero.
    ///
    /// `epoch` counts epochs from 0, with a fraction for the steps within; `epochs` is the length
    /// of the run. The warm-up is part of it: the cosine spans what is left.
    pub fn factor(&self, epoch: f64, epochs: f64, warmup: f64) -> f64 {
        if epoch < warmup {
            return epoch / warmup;
        }
        match *self {
            Schedule::Constant => 1.0,
            Schedule::Step { epochs, gamma } => {
                // A sum of fractions can fall just short of a whole epoch.
                let drops = ((epoch + 1e-9) / epochs as f64).floor();
                gamma.powf(drops)
            }
            Schedule::Cosine => {
                let progress = (epoch - warmup) / (epochs - warmup).max(f64::MIN_POSITIVE);
                0.5 * (1.0 + (std::f64::consts::PI * progress.clamp(0.0, 1.0)).cos())
            }
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match *self {
            Schedule::Step { epochs: 0, .. } => {
                Err(Error::argument("schedule step", "at least one epoch", 0))
            }
            Schedule::Step { gamma, .. } if !(gamma > 0.0 && gamma.is_finite()) => Err(
                Error::argument("schedule gamma", "a positive number", gamma),
            ),
            _ => Ok(()),
        }
    }
}

/// `constant`, `cosine`, or `step:EPOCHS:GAMMA`.
impl std::str::FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            Error::argument(
                "schedule",
                "constant, cosine or step:EPOCHS:GAMMA",
                format!("`{text}`"),
            )
        };
        let parts: Vec<&str> = text.split(':').collect();
        let schedule = match parts.as_slice() {
            ["constant"] => Schedule::Constant,
            ["cosine"] => Schedule::Cosine,
            ["step", epochs, gamma] => Schedule::Step {
                epochs: epochs.parse().map_err(|_| unknown())?,
                gamma: gamma.parse().map_err(|_| unknown())?,
            },
            _ => return Err(unknown()),
        };
        schedule.validate()?;
        Ok(schedule)
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Schedule::Constant => f.write_str("constant"),
            Schedule::Cosine => f.write_str("cosine"),
            Schedule::Step { epochs, gamma } => write!(f, "step:{epochs}:{gamma}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_follow_their_formulas() {
        let cosine = |epoch| Schedule::Cosine.factor(epoch, 10.0, 0.0);
        assert_eq!(cosine(0.0), 1.0);
        assert!((cosine(5.0) - 0.5).abs() < 1e-12);
        assert!(cosine(10.0).abs() < 1e-12);

        let step = Schedule::Step {
            epochs: 2,
            gamma: 0.1,
        };
        assert_eq!(step.factor(1.99, 10.0, 0.0), 1.0);
        assert!((step.factor(2.0, 10.0, 0.0) - 0.1).abs() < 1e-15);
        assert!((step.factor(4.5, 10.0, 0.0) - 0.01).abs() < 1e-15);

        assert_eq!(Schedule::Constant.factor(0.5, 10.0, 2.0), 0.25);
        assert_eq!(Schedule::Cosine.factor(2.0, 10.0, 2.0), 1.0);
        assert!((Schedule::Cosine.factor(6.0, 10.0, 2.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn text_round_trips_and_nonsense_is_refused() {
        for text in ["constant", "cosine", "step:3:0.5"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        assert_eq!(
            "linear".parse::<Schedule>().unwrap_err().to_string(),
            "schedule: expected constant, cosine or step:EPOCHS:GAMMA, found `linear`"
        );
        assert_eq!(
            "step:0:0.5".parse::<Schedule>().unwrap_err().to_string(),
            "schedule step: expected at least one epoch, found 0"
        );
    }
}
