//! A list of random changes.

use std::borrow::Cow;

use serde::Serialize;

use super::checks::check_length;
use super::crop::{RandomCrop, RandomResizedCrop};
use super::flip::HorizontalFlip;
use super::rand_augment::{RandAugment, TrivialAugmentWide};
use super::transform::Transform;
use crate::error::{Error, Result};
use crate::init::Rng;
use crate::preprocess::ImageSize;
use crate::preprocess::image::Image;
use crate::preprocess::transform::Preprocess;

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
pub struct Augment(pub(super) Vec<Transform>);

impl Augment {
    /// Images stay as they are.
    pub fn none() -> Self {
        Self::default()
    }

    /// `random-crop` after padding by 4, and `horizontal-flip`: what small images of 28 or 32
    /// pixels are usually trained with.
    pub fn flip_crop() -> Self {
        Self::none()
            .with(RandomCrop::default())
            .with(HorizontalFlip::default())
    }

    /// `random-resized-crop` and `horizontal-flip`: what photographs are usually trained with.
    pub fn imagenet() -> Self {
        Self::none()
            .with(RandomResizedCrop::default())
            .with(HorizontalFlip::default())
    }

    /// [`Augment::imagenet`] and `trivial-augment-wide`.
    pub fn trivial() -> Self {
        Self::imagenet().with(TrivialAugmentWide::default())
    }

    /// [`Augment::imagenet`] and `rand-augment`.
    pub fn rand() -> Self {
        Self::imagenet().with(RandAugment::default())
    }

    /// The same, followed by others, such as `"random-erasing:p=0.25".parse()?`.
    pub fn then(mut self, next: Augment) -> Self {
        self.0.extend(next.0);
        self
    }

    pub(super) fn with(mut self, transform: impl Into<Transform>) -> Self {
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
    /// [`Error::InvalidArgument`] for a setting out of range, and for `random-erasing` before a transform
    /// of pixels: it acts on the values that the pixels become.
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
    /// `size` is what `random-resized-crop` makes; without one it keeps
    /// the image's own height and width. All other transforms keep the size that they find, and
    /// bringing the image to a size is left to the caller.
    pub fn apply_pixels<'a>(
        &self,
        image: &'a Image,
        size: Option<ImageSize>,
        rng: &mut Rng,
    ) -> Cow<'a, Image> {
        let mut image = Cow::Borrowed(image);
        for transform in &self.0 {
            for op in transform.draw([image.height(), image.width()], size, rng) {
                image = Cow::Owned(op.apply(&image));
            }
        }
        image
    }

    /// The transforms of normalised values, which are `random-erasing` alone.
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

impl From<Vec<Transform>> for Augment {
    fn from(transforms: Vec<Transform>) -> Self {
        Self(transforms)
    }
}
