//! Rotation, shift, scale and shear.

use serde::{Deserialize, Serialize};

use super::checks::{check_in, check_interpolation, check_range};
use super::op::Op;
use super::spread::Spread;
use crate::error::Result;
use crate::init::Rng;
use crate::preprocess::resample::Interpolation;

/// Rotation, shift, scale and shear about the middle of the image, which keeps its size:
/// torchvision's `RandomAffine`. With the defaults, nothing changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Affine {
    /// The angle of the rotation in degrees, clockwise; default 0. Within ±360.
    pub degrees: Spread,
    /// The largest shift to the side and up or down, as parts of the width and the height, 0 to 1;
    /// default none. The shift is rounded to whole pixels.
    pub translate: [f64; 2],
    /// The least and the largest factor of the size, 0.01 to 100; default `[1, 1]`.
    pub scale: [f64; 2],
    /// The angle in degrees of the shear along the rows; default 0. Within ±89.
    pub shear_x: Spread,
    /// The angle in degrees of the shear along the columns; default 0. Within ±89.
    pub shear_y: Spread,
    /// [`Interpolation::Nearest`], which is the default, [`Bilinear`](Interpolation::Bilinear) or
    /// [`Bicubic`](Interpolation::Bicubic).
    pub interpolation: Interpolation,
    /// The value of all channels where there is nothing to show; default 0, which is black.
    pub fill: u8,
}

impl Default for Affine {
    fn default() -> Self {
        Self {
            degrees: Spread::default(),
            translate: [0.0; 2],
            scale: [1.0; 2],
            shear_x: Spread::default(),
            shear_y: Spread::default(),
            interpolation: Interpolation::Nearest,
            fill: 0,
        }
    }
}

impl Affine {
    /// Draws the change of an image of this `[height, width]`.
    pub fn draw(&self, [height, width]: [usize; 2], rng: &mut Rng) -> Op {
        let angle = self.degrees.draw(0.0, rng);
        let mut shift = |part: f64, side: usize| {
            let most = part * side as f64;
            rng.uniform(-most, most).round_ties_even()
        };
        Op::Affine {
            angle,
            translate: [
                shift(self.translate[0], width),
                shift(self.translate[1], height),
            ],
            scale: rng.uniform(self.scale[0], self.scale[1]),
            shear: [self.shear_x.draw(0.0, rng), self.shear_y.draw(0.0, rng)],
            center: None,
            interpolation: self.interpolation,
            fill: self.fill,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        self.degrees.check("affine degrees", 0.0, [-360.0, 360.0])?;
        self.shear_x.check("affine shear_x", 0.0, [-89.0, 89.0])?;
        self.shear_y.check("affine shear_y", 0.0, [-89.0, 89.0])?;
        for part in self.translate {
            check_in("affine translate", part, 0.0..=1.0, "0 to 1")?;
        }
        check_range("affine scale", self.scale, 0.01..=100.0, "0.01 to 100")?;
        check_interpolation("affine interpolation", self.interpolation)
    }
}
