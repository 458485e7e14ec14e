//! Random changes of training images, mixing of batches, and several views of an image to predict
//! from.
//!
//! [`Augment`] is a list of [`Transform`]s, written in a recipe, a TOML file or on a command line.
//! For each image every transform draws one or more [`Op`]s, changes with all their numbers given,
//! which have the bytes of torchvision's on Pillow images. [`Mixing`] is Mixup and CutMix over a
//! batch, and [`Views`] what a prediction can be averaged over.
//!
//! ```
//! use burn_zoo::init::Rng;
//! use burn_zoo::preprocess::augment::{Augment, RandomErasing, image_rng};
//! use burn_zoo::preprocess::{Image, Normalization, Preprocess};
//!
//! # fn main() -> burn_zoo::error::Result<()> {
//! let augment = Augment::imagenet().then(RandomErasing { p: 0.25, ..Default::default() });
//! assert_eq!(augment, "imagenet,random-erasing:p=0.25".parse()?);
//!
//! let image = Image::new(60, 80, 3, vec![128; 60 * 80 * 3])?;
//! let preprocess = Preprocess::new(Some(32), Normalization::imagenet());
//! let (seed, epoch, index) = (42, 0, 17);
//! let values = augment.apply(&image, &preprocess, &mut image_rng(seed, epoch, index));
//! assert_eq!(values.len(), 3 * 32 * 32);
//! # Ok(())
//! # }
//! ```
//!
//! # Where the random numbers come from
//!
//! Everything random is drawn from a [`Rng`] that the caller hands in. Make a fresh one for each
//! image by [`image_rng`], from the seed of the run, the epoch and the image's index *in the data
//! set*, and one for each batch by [`batch_rng`]. What becomes of an image then depends on these
//! three alone: not on the number of workers, on which of them is faster, on the order in which
//! images are drawn or on the batch size. The epoch is part of it, so that an image looks different
//! each time.
//!
//! # Channels
//!
//! Images are grey or RGB, as torchvision's of the modes `L` and `RGB`: what concerns colour leaves
//! a grey image alone. Images with another number of channels are taken as that many grey ones,
//! but for the contrast, whose mean is over all of them.

mod affine;
mod color;
mod crop;
mod erasing;
mod geometry;
mod mixing;
mod op;
mod policy;
mod text;
mod tone;
mod transform;
mod views;
mod warp;

use std::borrow::Cow;

use serde::Serialize;

use super::{Image, Preprocess};
use crate::error::{Error, Result};
use crate::init::Rng;

pub use affine::Affine;
pub use color::ColorJitter;
pub use crop::{HorizontalFlip, PaddingMode, RandomCrop, RandomResizedCrop, VerticalFlip};
pub use erasing::{ErasingMode, RandomErasing, Rectangle};
pub use mixing::{Mix, Mixing, soft_targets};
pub use op::Op;
pub use policy::{RandAugment, TrivialAugmentWide};
pub use transform::{Spread, Transform};
pub use views::Views;

/// What happens to a training image at random, in this order.
///
/// As text, the transforms are separated by commas; each is its name, followed by the settings that
/// differ from the defaults:
///
/// ```text
/// random-resized-crop:scale=0.35..1,horizontal-flip,trivial-augment-wide,random-erasing:p=0.25
/// ```
///
/// These names stand for several, and may be items of a list too:
///
/// | name | transforms | used for |
/// |---|---|---|
/// | `none` | | |
/// | `flip-crop` | `random-crop,horizontal-flip` | small images: CIFAR, FashionMNIST |
/// | `imagenet` | `random-resized-crop,horizontal-flip` | photographs |
/// | `trivial` | `imagenet,trivial-augment-wide` | the same, for longer runs |
/// | `rand` | `imagenet,rand-augment` | the same |
///
/// In a configuration file, it is such a text, or a list of tables such as
/// `[{ kind = "random_crop", padding = 2 }, { kind = "horizontal_flip" }]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Augment(pub Vec<Transform>);

impl Augment {
    /// Images stay as they are.
    pub fn none() -> Self {
        Self::default()
    }

    /// [`RandomCrop`] after padding by 4, and [`HorizontalFlip`]: what small images of 28 or 32
    /// pixels are usually trained with.
    pub fn flip_crop() -> Self {
        Self::none()
            .then(RandomCrop::default())
            .then(HorizontalFlip::default())
    }

    /// [`RandomResizedCrop`] and [`HorizontalFlip`]: what photographs are usually trained with.
    pub fn imagenet() -> Self {
        Self::none()
            .then(RandomResizedCrop::default())
            .then(HorizontalFlip::default())
    }

    /// [`Augment::imagenet`] and [`TrivialAugmentWide`].
    pub fn trivial() -> Self {
        Self::imagenet().then(TrivialAugmentWide::default())
    }

    /// [`Augment::imagenet`] and [`RandAugment`].
    pub fn rand() -> Self {
        Self::imagenet().then(RandAugment::default())
    }

    /// The same, followed by one more.
    pub fn then(mut self, transform: impl Into<Transform>) -> Self {
        self.0.push(transform.into());
        self
    }

    /// Whether nothing happens.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether [`apply_pixels`](Self::apply_pixels) already brings images to the size that it is
    /// given, so that nothing is left to resize or to cut off.
    pub fn resizes(&self) -> bool {
        let resizes = |t: &Transform| matches!(t, Transform::RandomResizedCrop(_));
        self.0.iter().any(resizes)
    }

    /// Whether all settings are in range. Without this check nothing goes wrong but the result,
    /// which is then not described.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a setting out of range, and for a [`RandomErasing`] before a
    /// transform of pixels: it acts on the values that the pixels become.
    pub fn check(&self) -> Result<()> {
        self.0.iter().try_for_each(Transform::check)?;
        let mut rest = self.0.iter().skip_while(|t| !t.acts_on_values());
        match rest.find(|t| !t.acts_on_values()) {
            None => Ok(()),
            Some(late) => Err(Error::argument(
                "augment",
                "random-erasing after all transforms of pixels",
                format!("{} after it", late.name()),
            )),
        }
    }

    /// From an image to a model's input: [`apply_pixels`](Self::apply_pixels), `preprocess` and
    /// [`apply_values`](Self::apply_values). Where the transforms have brought the image to its
    /// size, `preprocess` normalises it only, whatever its `crop_pct`; as in torchvision and timm,
    /// that is for evaluation.
    ///
    /// # Shapes
    /// - output: `[channels, height, width]`, row-major; height and width are
    ///   [`Preprocess::output_size`] of the image's
    pub fn apply(&self, image: &Image, preprocess: &Preprocess, rng: &mut Rng) -> Vec<f32> {
        let image = self.apply_pixels(image, preprocess.image_size, rng);
        let (mut height, mut width) = (image.height(), image.width());
        let mut values = if self.resizes() {
            preprocess.apply_plan(&image, [height, width], None)
        } else {
            (height, width) = preprocess.output_size(height, width);
            preprocess.apply(&image)
        };
        self.erase(&mut values, [preprocess.channels(), height, width], rng);
        values
    }

    /// The transforms of pixels, one after the other.
    ///
    /// `size` is the side of the square that a [`RandomResizedCrop`] makes; without one it keeps
    /// the image's own height and width. All other transforms keep the size that they find, and
    /// bringing the image to a size is left to the caller.
    pub fn apply_pixels<'a>(
        &self,
        image: &'a Image,
        size: Option<usize>,
        rng: &mut Rng,
    ) -> Cow<'a, Image> {
        let mut image = Cow::Borrowed(image);
        for transform in &self.0 {
            for op in transform.draw([image.height(), image.width()], size, rng) {
                image = Cow::Owned(op.apply_unchecked(&image));
            }
        }
        image
    }

    /// The transforms of normalised values, which are [`RandomErasing`] alone.
    ///
    /// # Shapes
    /// - `values`: `shape`, which is `[channels, height, width]`, row-major
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for as many values as the shape does not say.
    pub fn apply_values(&self, values: &mut [f32], shape: [usize; 3], rng: &mut Rng) -> Result<()> {
        check_length("values", values.len(), &shape)?;
        self.erase(values, shape, rng);
        Ok(())
    }

    fn erase(&self, values: &mut [f32], shape: [usize; 3], rng: &mut Rng) {
        for transform in &self.0 {
            if let Transform::RandomErasing(erasing) = transform {
                erasing.apply(values, shape, rng);
            }
        }
    }
}

impl FromIterator<Transform> for Augment {
    fn from_iter<I: IntoIterator<Item = Transform>>(transforms: I) -> Self {
        Self(transforms.into_iter().collect())
    }
}

/// The random numbers of one image in one epoch: the stream of `seed` that is called
/// `augment EPOCH INDEX`. `index` is the image's position in the data set, not in the order of the
/// epoch.
pub fn image_rng(seed: u64, epoch: u64, index: usize) -> Rng {
    Rng::new(seed, &format!("augment {epoch} {index}"))
}

/// The random numbers of one batch in one epoch, for [`Mixing`]: the stream of `seed` that is
/// called `mixing EPOCH BATCH`.
pub fn batch_rng(seed: u64, epoch: u64, batch: usize) -> Rng {
    Rng::new(seed, &format!("mixing {epoch} {batch}"))
}

/// An index below `n`, each as likely; 0 if `n` is.
fn index(rng: &mut Rng, n: usize) -> usize {
    let index = rng.uniform(0.0, n as f64) as usize;
    index.min(n.saturating_sub(1))
}

/// True with probability `p`.
fn happens(rng: &mut Rng, p: f64) -> bool {
    rng.uniform(0.0, 1.0) < p
}

fn check_length(name: &str, length: usize, shape: &[usize]) -> Result<()> {
    let expected = shape.iter().try_fold(1_usize, |n, s| n.checked_mul(*s));
    match expected == Some(length) {
        true => Ok(()),
        false => Err(Error::argument(
            name,
            format!("as many as {shape:?} has"),
            length,
        )),
    }
}

fn check_probability(name: &str, p: f64) -> Result<()> {
    match (0.0..=1.0).contains(&p) {
        true => Ok(()),
        false => Err(Error::argument(name, "0 to 1", p)),
    }
}

/// Two numbers in `bounds`, the first no more than the second.
fn check_range(
    name: &str,
    [low, high]: [f64; 2],
    bounds: impl std::ops::RangeBounds<f64>,
    expected: &str,
) -> Result<()> {
    match bounds.contains(&low) && bounds.contains(&high) && low <= high {
        true => Ok(()),
        false => Err(Error::argument(name, expected, format!("{low}..{high}"))),
    }
}
