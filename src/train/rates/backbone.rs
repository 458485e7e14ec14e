//! A backbone that joins its head later.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::train::ranges::positive;

/// The learning rate of a backbone that joins a head which has been training alone: Lightning's
/// `BackboneFinetuning`. It begins with a part of the head's rate, grows from epoch to epoch, and
/// from the moment it meets the head's rate stays at or below it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackboneRate {
    /// The first epoch, counted from 0, in which the backbone trains.
    pub joins_at: usize,
    /// The part of the head's rate that it begins with.
    pub ratio: f64,
    /// The factor of its rate from each epoch to the next.
    pub growth: f64,
    /// Whether the head's rate is a ceiling after the first epoch.
    pub align: bool,
}

impl Default for BackboneRate {
    /// Lightning's numbers: from the eleventh epoch, a tenth, twice as much each epoch.
    fn default() -> Self {
        Self {
            joins_at: 10,
            ratio: 0.1,
            growth: 2.0,
            align: true,
        }
    }
}

impl BackboneRate {
    /// The rate in an epoch, counted from 0; `None` while the backbone is frozen. `head` says the
    /// head's rate at the beginning of an epoch.
    pub fn at(&self, epoch: usize, head: impl Fn(usize) -> f64) -> Option<f64> {
        if epoch < self.joins_at {
            return None;
        }
        let first = self.ratio * head(self.joins_at);
        let rate = (self.joins_at + 1..=epoch).fold(first, |rate, epoch| {
            let next = self.growth * rate;
            if self.align {
                next.min(head(epoch))
            } else {
                next
            }
        });
        Some(rate)
    }

    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) that names the first that is not.
    pub fn validate(&self) -> Result<()> {
        positive("backbone rate ratio", self.ratio)?;
        positive("backbone rate growth", self.growth)
    }
}
