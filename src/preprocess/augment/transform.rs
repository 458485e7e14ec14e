//! What can be in a list of random changes.

use serde::{Deserialize, Serialize};

use super::affine::Affine;
use super::color_jitter::ColorJitter;
use super::crop::{RandomCrop, RandomResizedCrop};
use super::erasing::RandomErasing;
use super::flip::{HorizontalFlip, VerticalFlip};
use super::op::Op;
use super::rand_augment::{RandAugment, TrivialAugmentWide};
use crate::error::Result;
use crate::init::Rng;
use crate::preprocess::ImageSize;

/// What is the same for all kinds.
macro_rules! transforms {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// A random change of an image.
        ///
        /// In a configuration file: a table with `kind`, the name in snake case, and the settings
        /// that differ from the defaults. As text: the name in kebab case and the settings, such as
        /// `color-jitter:brightness=0.4:hue=-0.1..0.1`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
                pub(crate) enum Transform {
            $($(#[$doc])* $kind($kind),)*
        }

        impl Transform {
            /// Whether all settings are in range.
            ///
            /// # Errors
            /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) that names the setting.
            pub fn check(&self) -> Result<()> {
                match self {
                    $(Transform::$kind(transform) => transform.check(),)*
                }
            }
        }

        $(impl From<$kind> for Transform {
            fn from(transform: $kind) -> Self {
                Transform::$kind(transform)
            }
        })*
    };
}

transforms! {
    /// A part of random size, proportions and place, brought to the size of the input.
    RandomResizedCrop,
    /// Padding on all sides, and a part of the old size at a random place.
    RandomCrop,
    /// Left and right exchanged.
    HorizontalFlip,
    /// Top and bottom exchanged.
    VerticalFlip,
    /// Rotation, shift, scale and shear about the middle.
    Affine,
    /// Brightness, contrast, saturation and hue.
    ColorJitter,
    /// Several operations of one strength.
    RandAugment,
    /// One operation of random strength.
    TrivialAugmentWide,
    /// A rectangle of the normalised values overwritten. Comes after all that change pixels.
    RandomErasing,
}

impl Transform {
    /// Whether it acts on the normalised values and not on the pixels.
    pub fn acts_on_values(&self) -> bool {
        matches!(self, Transform::RandomErasing(_))
    }

    /// Draws what is done to the pixels of an image of this `[height, width]`: none, one or more
    /// operations, to be applied in this order. `size` is that of
    /// [`Augment::apply_pixels`](super::Augment::apply_pixels).
    pub fn draw(&self, image: [usize; 2], size: Option<ImageSize>, rng: &mut Rng) -> Vec<Op> {
        match self {
            Transform::RandomResizedCrop(t) => {
                let to = size.map_or(image, ImageSize::sides);
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
