//! Random brightness, contrast, saturation and hue.

use serde::{Deserialize, Serialize};

use super::op::Op;
use super::random::index;
use super::spread::Spread;
use crate::error::Result;
use crate::init::Rng;

/// Brightness, contrast, saturation and hue, changed in random order: torchvision's `ColorJitter`.
/// With the defaults, nothing changes. Grey images have neither saturation nor hue.
///
/// In the first three, `0.4` stands for a factor between 0.6 and 1.4, and more than 1 for one
/// between 0 and that much above 1.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ColorJitter {
    /// The factor of the brightness: 0 is black. At most 100.
    pub brightness: Spread,
    /// The factor of the contrast: 0 is grey throughout. At most 100.
    pub contrast: Spread,
    /// The factor of the saturation: 0 is a grey image. At most 100.
    pub saturation: Spread,
    /// How far the hue is turned, in turns: 0.5 to either side is the opposite colour. Within ±0.5.
    pub hue: Spread,
}

impl ColorJitter {
    /// Draws the changes and their order. What can change nothing is left out.
    pub fn draw(&self, rng: &mut Rng) -> Vec<Op> {
        let mut order = [0, 1, 2, 3];
        for last in (1..order.len()).rev() {
            order.swap(last, index(rng, last + 1));
        }
        let mut factor = |spread: Spread, op: fn(f64) -> Op| match spread.bounds(1.0) {
            [1.0, 1.0] => None,
            [low, high] => Some(op(rng.uniform(low.max(0.0), high))),
        };
        let mut ops = [
            factor(self.brightness, Op::Brightness),
            factor(self.contrast, Op::Contrast),
            factor(self.saturation, Op::Saturation),
            match self.hue.bounds(0.0) {
                [0.0, 0.0] => None,
                _ => Some(Op::Hue(self.hue.draw(0.0, rng))),
            },
        ];
        order
            .iter()
            .filter_map(|which| ops[*which].take())
            .collect()
    }

    pub(super) fn check(&self) -> Result<()> {
        for (name, spread) in [
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
        ] {
            // What a single number has below 0 is cut off.
            let least = match spread {
                Spread::Around(_) => -98.0,
                Spread::Between(_) => 0.0,
            };
            spread.check(&format!("color-jitter {name}"), 1.0, [least, 100.0])?;
        }
        self.hue.check("color-jitter hue", 0.0, [-0.5, 0.5])
    }
}
