//! Rectangles that are overwritten.

use std::f32::consts::TAU;

use serde::{Deserialize, Serialize};

use super::checks::{check_area, check_probability, check_ratio};
use super::random::{happens, index};
use super::rectangle::{Rectangle, random_sides};
use crate::error::Result;
use crate::init::Rng;

/// A random rectangle of the normalised values is overwritten: torchvision's and timm's
/// `RandomErasing` (Zhong et al., 2020, *Random erasing data augmentation*,
/// <https://arxiv.org/abs/1708.04896>).
///
/// Area and proportions are drawn up to ten times, until the rectangle is smaller than the image in
/// both directions. If it never is, nothing is erased.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RandomErasing {
    /// How likely it is, 0 to 1; default 0.5. Next to other transforms 0.1 and 0.25 are common.
    pub p: f64,
    /// The least and the largest part of the area, above 0 and up to 1; default `[0.02, 0.33]`.
    pub scale: [f64; 2],
    /// The least and the largest height of the rectangle in widths; drawn evenly in its logarithm;
    /// default `[0.3, 3.3]`.
    pub ratio: [f64; 2],
    /// What it is overwritten with; default [`ErasingMode::Const`].
    pub mode: ErasingMode,
}

/// What a rectangle is overwritten with, by timm's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ErasingMode {
    /// Zero, which after normalisation is the mean colour; torchvision's value 0.
    #[default]
    Const,
    /// One colour, each channel a number of N(0, 1).
    Rand,
    /// Noise, each value a number of N(0, 1); torchvision's value `random`, and what timm's
    /// training script takes.
    Pixel,
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self {
            p: 0.5,
            scale: [0.02, 0.33],
            ratio: [0.3, 3.3],
            mode: ErasingMode::default(),
        }
    }
}

impl RandomErasing {
    /// Draws the rectangle in an image of this `[height, width]`; `None` if nothing is erased.
    pub fn draw(&self, [rows, columns]: [usize; 2], rng: &mut Rng) -> Option<Rectangle> {
        if !happens(rng, self.p) {
            return None;
        }
        let area = rows as f64 * columns as f64;
        for _ in 0..10 {
            let (width, height) = random_sides(area, self.scale, self.ratio, rng);
            if height < rows && width < columns {
                return Some(Rectangle {
                    top: index(rng, rows - height + 1),
                    left: index(rng, columns - width + 1),
                    height,
                    width,
                });
            }
        }
        None
    }

    /// Draws a rectangle and overwrites it. There must be as many values as the shape says,
    /// `[channels, height, width]`.
    pub(super) fn apply(
        &self,
        values: &mut [f32],
        [channels, height, width]: [usize; 3],
        rng: &mut Rng,
    ) {
        let Some(part) = self.draw([height, width], rng) else {
            return;
        };
        // A rectangle is there only in an image that is not empty.
        for plane in values.chunks_exact_mut(height * width).take(channels) {
            let colour = match self.mode {
                ErasingMode::Rand => rng.normal() as f32,
                ErasingMode::Const | ErasingMode::Pixel => 0.0,
            };
            let rows = plane.chunks_exact_mut(width).skip(part.top);
            for row in rows.take(part.height) {
                let row = &mut row[part.left..][..part.width];
                match self.mode {
                    ErasingMode::Pixel => noise(row, rng),
                    ErasingMode::Const | ErasingMode::Rand => row.fill(colour),
                }
            }
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        check_probability("random-erasing p", self.p)?;
        check_area("random-erasing scale", self.scale)?;
        check_ratio("random-erasing ratio", self.ratio)
    }
}

/// Numbers of N(0, 1), two from each word of the stream (Box and Muller, 1958): its upper 26 bits
/// are for the radius, which so is at most 6, and the next 27 for the angle.
fn noise(values: &mut [f32], rng: &mut Rng) {
    const TURN: u32 = 27;
    let unit = |bits: u64, of: u32| bits as f32 / (1_u64 << of) as f32;
    for pair in values.chunks_mut(2) {
        let word = rng.uniform(0.0, (1_u64 << 53) as f64) as u64;
        let radius = (-2.0 * unit((word >> TURN) + 1, 26).ln()).sqrt();
        let angle = unit(word & ((1 << TURN) - 1), TURN) * TAU;
        let (sine, cosine) = angle.sin_cos();
        for (value, part) in pair.iter_mut().zip([cosine, sine]) {
            *value = radius * part;
        }
    }
}
