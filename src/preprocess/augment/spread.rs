//! From where a number is drawn.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::init::Rng;

/// From where a number is drawn, each as likely. In a configuration file, one number or a list of
/// two; as text, `0.4` or `0.6..1.4`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number or two")]
pub(crate) enum Spread {
    /// Up to this much to either side of the value that changes nothing; 0 or more.
    Around(f64),
    /// Between the first and the second.
    Between([f64; 2]),
}

impl Default for Spread {
    /// Always the value that changes nothing.
    fn default() -> Self {
        Spread::Around(0.0)
    }
}

impl From<f64> for Spread {
    fn from(around: f64) -> Self {
        Spread::Around(around)
    }
}

impl From<[f64; 2]> for Spread {
    fn from(between: [f64; 2]) -> Self {
        Spread::Between(between)
    }
}

impl Spread {
    /// The bounds, where `neutral` is what changes nothing.
    pub(super) fn bounds(self, neutral: f64) -> [f64; 2] {
        match self {
            Spread::Around(distance) => [neutral - distance, neutral + distance],
            Spread::Between(bounds) => bounds,
        }
    }

    pub(super) fn draw(self, neutral: f64, rng: &mut Rng) -> f64 {
        let [low, high] = self.bounds(neutral);
        rng.uniform(low, high)
    }

    /// Whether the bounds are in order and within `limits`.
    pub(super) fn check(self, name: &str, neutral: f64, limits: [f64; 2]) -> Result<()> {
        let [low, high] = self.bounds(neutral);
        if limits[0] <= low && low <= high && high <= limits[1] {
            return Ok(());
        }
        match self {
            Spread::Around(distance) => {
                let most = (neutral - limits[0]).min(limits[1] - neutral);
                Err(Error::argument(name, format!("0 to {most}"), distance))
            }
            Spread::Between(_) => Err(Error::argument(
                name,
                format!("{} to {}, the lower one first", limits[0], limits[1]),
                format!("{low}..{high}"),
            )),
        }
    }
}
