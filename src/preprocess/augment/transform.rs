//! What can be in a list of random changes.

use serde::{Deserialize, Serialize};

use super::{
    Affine, ColorJitter, HorizontalFlip, Op, RandAugment, RandomCrop, RandomErasing,
    RandomResizedCrop, TrivialAugmentWide, VerticalFlip,
};
use crate::error::{Error, Result};
use crate::init::Rng;

/// A random change of an image.
///
/// In a configuration file: a table with `kind`, the name in snake case, and the settings that
/// differ from the defaults. As text: the name in kebab case and the settings, such as
/// `color-jitter:brightness=0.4:hue=-0.1..0.1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transform {
    /// A part of random size, proportions and place, brought to the size of the input.
    RandomResizedCrop(RandomResizedCrop),
    /// Padding on all sides, and a part of the old size at a random place.
    RandomCrop(RandomCrop),
    /// Left and right exchanged.
    HorizontalFlip(HorizontalFlip),
    /// Top and bottom exchanged.
    VerticalFlip(VerticalFlip),
    /// Rotation, shift, scale and shear about the middle.
    Affine(Affine),
    /// Brightness, contrast, saturation and hue.
    ColorJitter(ColorJitter),
    /// Several operations of one strength.
    RandAugment(RandAugment),
    /// One operation of random strength.
    TrivialAugmentWide(TrivialAugmentWide),
    /// A rectangle of the normalised values overwritten. Comes after all that change pixels.
    RandomErasing(RandomErasing),
}

macro_rules! from {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Transform {
            fn from(transform: $kind) -> Self {
                Transform::$kind(transform)
            }
        }
    )*};
}

from!(
    RandomResizedCrop,
    RandomCrop,
    HorizontalFlip,
    VerticalFlip,
    Affine,
    ColorJitter,
    RandAugment,
    TrivialAugmentWide,
    RandomErasing
);

impl Transform {
    /// One of each kind, with its defaults.
    pub(super) fn all() -> [Transform; 9] {
        [
            RandomResizedCrop::default().into(),
            RandomCrop::default().into(),
            HorizontalFlip::default().into(),
            VerticalFlip::default().into(),
            Affine::default().into(),
            ColorJitter::default().into(),
            RandAugment::default().into(),
            TrivialAugmentWide::default().into(),
            RandomErasing::default().into(),
        ]
    }

    /// The name, as it is written in text.
    pub fn name(&self) -> &'static str {
        match self {
            Transform::RandomResizedCrop(_) => "random-resized-crop",
            Transform::RandomCrop(_) => "random-crop",
            Transform::HorizontalFlip(_) => "horizontal-flip",
            Transform::VerticalFlip(_) => "vertical-flip",
            Transform::Affine(_) => "affine",
            Transform::ColorJitter(_) => "color-jitter",
            Transform::RandAugment(_) => "rand-augment",
            Transform::TrivialAugmentWide(_) => "trivial-augment-wide",
            Transform::RandomErasing(_) => "random-erasing",
        }
    }

    /// Whether it acts on the normalised values and not on the pixels.
    pub fn acts_on_values(&self) -> bool {
        matches!(self, Transform::RandomErasing(_))
    }

    /// Whether all settings are in range.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that names the setting.
    pub fn check(&self) -> Result<()> {
        match self {
            Transform::RandomResizedCrop(t) => t.check(),
            Transform::RandomCrop(t) => t.check(),
            Transform::HorizontalFlip(t) => t.check(),
            Transform::VerticalFlip(t) => t.check(),
            Transform::Affine(t) => t.check(),
            Transform::ColorJitter(t) => t.check(),
            Transform::RandAugment(t) => t.check(),
            Transform::TrivialAugmentWide(t) => t.check(),
            Transform::RandomErasing(t) => t.check(),
        }
    }

    /// Draws what is done to the pixels of an image of this `[height, width]`: none, one or more
    /// operations, to be applied in this order. `size` is that of
    /// [`Augment::apply_pixels`](super::Augment::apply_pixels).
    pub fn draw(&self, image: [usize; 2], size: Option<usize>, rng: &mut Rng) -> Vec<Op> {
        match self {
            Transform::RandomResizedCrop(t) => {
                let to = size.map_or(image, |size| [size, size]);
                vec![t.draw(image, to, rng)]
            }
            Transform::RandomCrop(t) => vec![t.draw(image, rng)],
            Transform::HorizontalFlip(t) => t.draw(rng).into_iter().collect(),
            Transform::VerticalFlip(t) => t.draw(rng).into_iter().collect(),
            Transform::Affine(t) => vec![t.draw(image, rng)],
            Transform::ColorJitter(t) => t.draw(rng),
            Transform::RandAugment(t) => t.draw(image, rng),
            Transform::TrivialAugmentWide(t) => t.draw(rng).into_iter().collect(),
            Transform::RandomErasing(_) => Vec::new(),
        }
    }
}

/// From where a number is drawn, each as likely. In a configuration file, one number or a list of
/// two; as text, `0.4` or `0.6..1.4`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number or two")]
pub enum Spread {
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
