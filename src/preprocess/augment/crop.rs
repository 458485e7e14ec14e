//! Crops and flips.

use serde::{Deserialize, Serialize};

use super::{Op, check_probability, check_range, happens, index};
use crate::error::{Error, Result};
use crate::init::Rng;
use crate::preprocess::Interpolation;

/// A part of random area, proportions and place, brought to the size of the input: torchvision's
/// `RandomResizedCrop`, the crop of the Inception networks (Szegedy et al., 2015, *Going deeper
/// with convolutions*).
///
/// Area and proportions are drawn up to ten times, until the part fits into the image. If none
/// does, it is the largest one around the middle whose proportions are in range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomResizedCrop {
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
            let (height, width) = rectangle(tall * wide, self.scale, self.ratio, rng);
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

/// Height and width of a rectangle of random area, a part of `area`, and random width in heights.
pub(super) fn rectangle(
    area: f64,
    scale: [f64; 2],
    ratio: [f64; 2],
    rng: &mut Rng,
) -> (usize, usize) {
    let area = area * rng.uniform(scale[0], scale[1]);
    let ratio = rng.uniform(ratio[0].ln(), ratio[1].ln()).exp();
    let round = |square: f64| square.sqrt().round_ties_even() as usize;
    (round(area / ratio), round(area * ratio))
}

pub(super) fn check_area(name: &str, scale: [f64; 2]) -> Result<()> {
    let expected = "above 0 and up to 1, the lower one first";
    check_range(name, scale, f64::MIN_POSITIVE..=1.0, expected)
}

pub(super) fn check_ratio(name: &str, ratio: [f64; 2]) -> Result<()> {
    check_range(
        name,
        ratio,
        1e-3..=1e3,
        "0.001 to 1000, the lower one first",
    )
}

/// Padding on all sides, and a part of the image's own size at a random place: torchvision's
/// `RandomCrop` with the image's size.
///
/// It is for small images, which it moves by up to `padding` pixels (He et al., 2016, *Deep
/// residual learning for image recognition*, for CIFAR-10); in front of a resizing, these are
/// pixels of the image as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomCrop {
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
        match self.padding {
            0..=MOST_PADDING => Ok(()),
            more => Err(Error::argument(
                "random-crop padding",
                format!("at most {MOST_PADDING} pixels"),
                more,
            )),
        }
    }
}

const MOST_PADDING: usize = 16_384;

/// What lies beyond the edges of an image, by torchvision's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingMode {
    /// One value for all pixels.
    #[default]
    Constant,
    /// The pixel at the edge.
    Edge,
    /// The image mirrored about the pixel at the edge, which is not repeated.
    Reflect,
    /// The image mirrored about its edge, so that the pixel there is repeated.
    Symmetric,
}

impl PaddingMode {
    /// Which of `length` pixels is seen at a position that may be beyond them; `None` if none is.
    pub(super) fn position(self, at: i64, length: usize) -> Option<usize> {
        let length = length as i64;
        if (0..length).contains(&at) {
            return Some(at as usize);
        }
        let inside = match self {
            PaddingMode::Constant => return None,
            PaddingMode::Edge => at.clamp(0, length - 1),
            PaddingMode::Reflect if length == 1 => 0,
            PaddingMode::Reflect => {
                let period = 2 * (length - 1);
                let at = at.rem_euclid(period);
                at.min(period - at)
            }
            PaddingMode::Symmetric => {
                let period = 2 * length;
                let at = at.rem_euclid(period);
                at.min(period - 1 - at)
            }
        };
        Some(inside as usize)
    }
}

/// Left and right exchanged: torchvision's `RandomHorizontalFlip`. Not for images whose sides mean
/// something, such as digits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HorizontalFlip {
    /// How likely it is, 0 to 1; default 0.5.
    pub p: f64,
}

/// Top and bottom exchanged: torchvision's `RandomVerticalFlip`. For images without an up and a
/// down, such as those from above or through a microscope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerticalFlip {
    /// How likely it is, 0 to 1; default 0.5.
    pub p: f64,
}

impl Default for HorizontalFlip {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Default for VerticalFlip {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl HorizontalFlip {
    /// Draws whether the image is flipped.
    pub fn draw(&self, rng: &mut Rng) -> Option<Op> {
        happens(rng, self.p).then_some(Op::HorizontalFlip)
    }

    pub(super) fn check(&self) -> Result<()> {
        check_probability("horizontal-flip p", self.p)
    }
}

impl VerticalFlip {
    /// Draws whether the image is flipped.
    pub fn draw(&self, rng: &mut Rng) -> Option<Op> {
        happens(rng, self.p).then_some(Op::VerticalFlip)
    }

    pub(super) fn check(&self) -> Result<()> {
        check_probability("vertical-flip p", self.p)
    }
}
