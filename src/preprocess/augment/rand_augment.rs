//! Operations drawn from a set that suits most images.

use serde::{Deserialize, Serialize};

use super::checks::{check_bins, check_in, check_interpolation};
use super::op::Op;
use super::random::{happens, index};
use crate::error::Result;
use crate::init::Rng;
use crate::preprocess::resample::Interpolation;

/// Several operations of one strength, one after the other: torchvision's `RandAugment` (Cubuk et
/// al., 2020, *RandAugment: practical automated data augmentation with a reduced search space*,
/// <https://arxiv.org/abs/1909.13719>).
///
/// The operations are those of [`TrivialAugmentWide`], and milder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RandAugment {
    /// How many operations, at most 100; default 2.
    pub num_ops: usize,
    /// How strong they are, below `num_magnitude_bins`; default 9. 0 changes nothing or little.
    pub magnitude: usize,
    /// In how many steps the strength goes from nothing to its most, 2 to 1000; default 31.
    pub num_magnitude_bins: usize,
    /// [`Interpolation::Nearest`], which is the default, [`Bilinear`](Interpolation::Bilinear) or
    /// [`Bicubic`](Interpolation::Bicubic).
    pub interpolation: Interpolation,
    /// The value of all channels where there is nothing to show; default 0, which is black.
    pub fill: u8,
}

/// One operation of random strength: torchvision's `TrivialAugmentWide` (Müller and Hutter, 2021,
/// *TrivialAugment: tuning-free yet state-of-the-art data augmentation*,
/// <https://arxiv.org/abs/2103.10158>).
///
/// Each is as likely: none at all, shear and shift in both directions, rotation, brightness,
/// saturation, contrast, sharpness, posterise, solarise, autocontrast and equalise. The shift goes
/// up to 32 pixels, whatever the size of the image: at 28 pixels it can leave nothing of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TrivialAugmentWide {
    /// In how many steps the strength goes from nothing to its most, 2 to 1000; default 31.
    pub num_magnitude_bins: usize,
    /// [`Interpolation::Nearest`], which is the default, [`Bilinear`](Interpolation::Bilinear) or
    /// [`Bicubic`](Interpolation::Bicubic).
    pub interpolation: Interpolation,
    /// The value of all channels where there is nothing to show; default 0, which is black.
    pub fill: u8,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self {
            num_ops: 2,
            magnitude: 9,
            num_magnitude_bins: 31,
            interpolation: Interpolation::Nearest,
            fill: 0,
        }
    }
}

impl Default for TrivialAugmentWide {
    fn default() -> Self {
        Self {
            num_magnitude_bins: 31,
            interpolation: Interpolation::Nearest,
            fill: 0,
        }
    }
}

impl RandAugment {
    /// Draws the operations for an image of this `[height, width]`.
    pub fn draw(&self, [height, width]: [usize; 2], rng: &mut Rng) -> Vec<Op> {
        let most = Most {
            shear: 0.3,
            shift: [width, height].map(|side| 150.0 / 331.0 * side as f64),
            degrees: 30.0,
            factor: 0.9,
            bits: 4.0,
        };
        let draw = |_| {
            let operation = index(rng, OPERATIONS);
            let negative = happens(rng, 0.5);
            let level = Level::new(self.magnitude, self.num_magnitude_bins, negative);
            most.op(operation, &level, self.interpolation, self.fill)
        };
        (0..self.num_ops).filter_map(draw).collect()
    }

    pub(super) fn check(&self) -> Result<()> {
        check_in("rand-augment num_ops", self.num_ops, ..=100, "at most 100")?;
        let bins = self.num_magnitude_bins;
        check_bins("rand-augment num_magnitude_bins", bins)?;
        let expected = format!("below num_magnitude_bins, {bins}");
        check_in("rand-augment magnitude", self.magnitude, ..bins, expected)?;
        check_interpolation("rand-augment interpolation", self.interpolation)
    }
}

impl TrivialAugmentWide {
    /// Draws the operation for an image of any size.
    pub fn draw(&self, rng: &mut Rng) -> Option<Op> {
        let most = Most {
            shear: 0.99,
            shift: [32.0; 2],
            degrees: 135.0,
            factor: 0.99,
            bits: 6.0,
        };
        let operation = index(rng, OPERATIONS);
        let step = index(rng, self.num_magnitude_bins);
        let level = Level::new(step, self.num_magnitude_bins, happens(rng, 0.5));
        most.op(operation, &level, self.interpolation, self.fill)
    }

    pub(super) fn check(&self) -> Result<()> {
        let name = "trivial-augment-wide num_magnitude_bins";
        check_bins(name, self.num_magnitude_bins)?;
        check_interpolation("trivial-augment-wide interpolation", self.interpolation)
    }
}

/// How many operations there are.
const OPERATIONS: usize = 14;

/// How far each operation goes.
struct Most {
    /// The slope of a shear.
    shear: f64,
    /// Pixels to the side, and up or down.
    shift: [f64; 2],
    degrees: f64,
    /// How far factors are from 1.
    factor: f64,
    /// Bits that are taken away.
    bits: f64,
}

/// How far along its way an operation is, in single precision as torchvision's tables.
struct Level {
    step: usize,
    bins: usize,
    negative: bool,
}

impl Level {
    fn new(step: usize, bins: usize, negative: bool) -> Self {
        let bins = bins.max(2);
        Self {
            step: step.min(bins - 1),
            bins,
            negative,
        }
    }

    /// Element `step` of `torch.linspace(start, end, bins)`, which counts from the nearer end.
    fn between(&self, start: f64, end: f64) -> f64 {
        let (start, end) = (start as f32, end as f32);
        let width = (end - start) / (self.bins - 1) as f32;
        f64::from(if self.step < self.bins / 2 {
            width.mul_add(self.step as f32, start)
        } else {
            (-width).mul_add((self.bins - 1 - self.step) as f32, end)
        })
    }

    /// Up to this much, in either direction.
    fn signed(&self, most: f64) -> f64 {
        let level = self.between(0.0, most);
        if self.negative { -level } else { level }
    }

    /// How many bits are left when up to `most` are taken away.
    fn bits(&self, most: f64) -> u32 {
        let steps_per_bit = ((self.bins - 1) as f64 / most) as f32;
        (8.0 - self.step as f32 / steps_per_bit).round_ties_even() as u32
    }
}

impl Most {
    /// One of the operations, counted in torchvision's order; the first changes nothing.
    fn op(
        &self,
        operation: usize,
        level: &Level,
        interpolation: Interpolation,
        fill: u8,
    ) -> Option<Op> {
        let affine = |translate, shear, center| Op::Affine {
            angle: 0.0,
            translate,
            scale: 1.0,
            shear,
            center,
            interpolation,
            fill,
        };
        // A shear keeps the upper left corner in its place.
        let shear = |angles| affine([0.0; 2], angles, Some([0.0; 2]));
        let shift = |pixels| affine(pixels, [0.0; 2], None);
        let angle = || level.signed(self.shear).atan().to_degrees();
        let factor = || 1.0 + level.signed(self.factor);
        Some(match operation {
            0 => return None,
            1 => shear([angle(), 0.0]),
            2 => shear([0.0, angle()]),
            3 => shift([level.signed(self.shift[0]).trunc(), 0.0]),
            4 => shift([0.0, level.signed(self.shift[1]).trunc()]),
            5 => Op::Rotate {
                angle: level.signed(self.degrees),
                interpolation,
                fill,
            },
            6 => Op::Brightness(factor()),
            7 => Op::Saturation(factor()),
            8 => Op::Contrast(factor()),
            9 => Op::Sharpness(factor()),
            10 => Op::Posterize(level.bits(self.bits)),
            11 => Op::Solarize(255.0 * level.between(1.0, 0.0)),
            12 => Op::AutoContrast,
            _ => Op::Equalize,
        })
    }
}
