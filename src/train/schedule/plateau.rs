//! The schedule that looks at results.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// When a plateau is reached, and what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plateau {
    /// The rate is multiplied by this; above 0 and below 1.
    pub factor: f64,
    /// Epochs in a row without an improvement that are put up with.
    pub patience: usize,
    /// The smallest improvement that counts.
    pub threshold: f64,
    /// What the threshold is a part of.
    pub threshold_mode: Threshold,
    /// Epochs after a reduction in which nothing is held against a result.
    pub cooldown: usize,
    /// The factor of the full rate below which nothing is lowered, 0 to 1.
    pub min_factor: f64,
}

/// How the threshold of an improvement is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// As a part of the best result so far. Meant for results above 0.
    #[default]
    Rel,
    /// In the unit of the result.
    Abs,
}

impl Default for Plateau {
    /// PyTorch's numbers: a tenth after ten epochs without an improvement by one in ten thousand.
    fn default() -> Self {
        Self {
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: Threshold::Rel,
            cooldown: 0,
            min_factor: 0.0,
        }
    }
}

impl Plateau {
    pub(super) fn validate(&self) -> Result<()> {
        let check = |good: bool, name: &str, expected: &str, found: f64| {
            if good {
                Ok(())
            } else {
                Err(Error::argument(format!("schedule {name}"), expected, found))
            }
        };
        let factor = self.factor;
        check(
            factor > 0.0 && factor < 1.0,
            "factor",
            "above 0 and below 1",
            factor,
        )?;
        let threshold = self.threshold;
        check(
            threshold >= 0.0 && threshold.is_finite(),
            "threshold",
            "a number of at least 0",
            threshold,
        )?;
        let least = self.min_factor;
        check((0.0..=1.0).contains(&least), "min_factor", "0 to 1", least)
    }

    fn improves(&self, value: f64, best: Option<f64>, better_is_larger: bool) -> bool {
        let threshold = self.threshold;
        match (best, better_is_larger, self.threshold_mode) {
            // Not for a NaN.
            (None, false, _) => value < f64::INFINITY,
            (None, true, _) => value > f64::NEG_INFINITY,
            (Some(best), false, Threshold::Rel) => value < best * (1.0 - threshold),
            (Some(best), false, Threshold::Abs) => value < best - threshold,
            (Some(best), true, Threshold::Rel) => value > best * (1.0 + threshold),
            (Some(best), true, Threshold::Abs) => value > best + threshold,
        }
    }
}

/// What a [`Plateau`] has seen so far; belongs in checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlateauState {
    /// The best result so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<f64>,
    /// Epochs in a row without an improvement.
    pub bad_epochs: usize,
    /// Epochs of the cooldown that are left.
    pub cooldown_left: usize,
    /// The factor of the learning rate.
    pub factor: f64,
}

impl Default for PlateauState {
    /// Nothing seen, the full rate.
    fn default() -> Self {
        Self {
            best: None,
            bad_epochs: 0,
            cooldown_left: 0,
            factor: 1.0,
        }
    }
}

impl PlateauState {
    /// Takes note of an epoch's result and returns the factor of the learning rate from then on.
    /// The epochs of a warm-up are best left out.
    ///
    /// The rules are those of PyTorch's `ReduceLROnPlateau`, but for its `eps`: there, a rate is
    /// not lowered by less than 1e-8.
    pub fn update(&mut self, plateau: &Plateau, value: f64, better_is_larger: bool) -> f64 {
        if plateau.improves(value, self.best, better_is_larger) {
            self.best = Some(value);
            self.bad_epochs = 0;
        } else {
            self.bad_epochs += 1;
        }
        if self.cooldown_left > 0 {
            self.cooldown_left -= 1;
            self.bad_epochs = 0;
        }
        if self.bad_epochs > plateau.patience {
            let lower = (self.factor * plateau.factor).max(plateau.min_factor);
            self.factor = lower.min(self.factor);
            self.cooldown_left = plateau.cooldown;
            self.bad_epochs = 0;
        }
        self.factor
    }
}
