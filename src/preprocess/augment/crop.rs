//! Random crops.

use serde::{Deserialize, Serialize};

use super::checks::{check_area, check_in, check_ratio};
use super::op::Op;
use super::padding::PaddingMode;
use super::random::index;
use super::rectangle::random_sides;
use crate::error::Result;
use crate::init::Rng;
use crate::preprocess::resample::Interpolation;

/// A part of random area, proportions and place, brought to the size of the input: torchvision's
/// `RandomResizedCrop`, the crop of the Inception networks (Szegedy et al., 2015, *Going deeper
/// with convolutions*).
///
/// Area and proportions are drawn up to ten times, until the part fits into the image. If none
/// does, it is the largest one around the middle whose proportions are in range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RandomResizedCrop {
    /// The least and the largest part of the image's area, above 0 and up to 1; default
    /// `[0.08, 1]`. Small images and fine-tuning fare better with less: 0.35 or more.
    pub scale: [f64; 2],
    /// The least and the largest width of the part in heights; drawn evenly in its logarithm;
    /// default `[3/4, 4/3]`.
    pub ratio: [f64; 2],
    /// The filter of the resizing; default [`Interpolation::Bilinear`].
    pub interpolation: Interpolation,
}

impl Default for RandomResizedCrop {
    fn default() -> Self {
        Self {
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
            interpolation: Interpolation::Bilinear,
        }
    }
}

impl RandomResizedCrop {
    /// Draws the part of an image of this `[height, width]`; it becomes `to`, `[height, width]`.
    pub fn draw(&self, [rows, columns]: [usize; 2], to: [usize; 2], rng: &mut Rng) -> Op {
        let (tall, wide) = (rows as f64, columns as f64);
        let crop = |top, left, height, width| Op::ResizedCrop {
            top,
            left,
            height,
            width,
            to,
            interpolation: self.interpolation,
        };
        for _ in 0..10 {
            let (height, width) = random_sides(tall * wide, self.scale, self.ratio, rng);
            if (1..=rows).contains(&height) && (1..=columns).contains(&width) {
                let top = index(rng, rows - height + 1);
                let left = index(rng, columns - width + 1);
                return crop(top, left, height, width);
            }
        }
        let [least, most] = self.ratio;
        let round = |side: f64| (side.round_ties_even() as usize).max(1);
        let (height, width) = match wide / tall {
            ratio if ratio < least => (round(wide / least).min(rows), columns),
            ratio if ratio > most => (rows, round(tall * most).min(columns)),
            _ => (rows, columns),
        };
        crop((rows - height) / 2, (columns - width) / 2, height, width)
    }

    pub(super) fn check(&self) -> Result<()> {
        let name = |field| format!("random-resized-crop {field}");
        check_area(&name("scale"), self.scale)?;
        check_ratio(&name("ratio"), self.ratio)
    }
}

/// Padding on all sides, and a part of the image's own size at a random place: torchvision's
/// `RandomCrop` with the image's size.
///
/// It is for small images, which it moves by up to `padding` pixels (He et al., 2016, *Deep
/// residual learning for image recognition*, for CIFAR-10); in front of a resizing, these are
/// pixels of the image as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RandomCrop {
    /// Pixels on each side, at most 16384; default 4.
    pub padding: usize,
    /// What they are; default [`PaddingMode::Constant`].
    pub padding_mode: PaddingMode,
    /// The value of all channels where the padding is constant; default 0, which is black.
    pub fill: u8,
}

impl Default for RandomCrop {
    fn default() -> Self {
        Self {
            padding: 4,
            padding_mode: PaddingMode::default(),
            fill: 0,
        }
    }
}

impl RandomCrop {
    /// Draws the part of an image of this `[height, width]`.
    pub fn draw(&self, [height, width]: [usize; 2], rng: &mut Rng) -> Op {
        let padding = self.padding.min(MOST_PADDING);
        let mut shift = || index(rng, 2 * padding + 1) as i64 - padding as i64;
        Op::Crop {
            top: shift(),
            left: shift(),
            height,
            width,
            padding_mode: self.padding_mode,
            fill: self.fill,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let expected = format!("at most {MOST_PADDING} pixels");
        check_in(
            "random-crop padding",
            self.padding,
            ..=MOST_PADDING,
            expected,
        )
    }
}

const MOST_PADDING: usize = 16_384;
