//! Random changes of training images, mixing of batches, and several views of an image to predict
//! from.
//!
//! [`Augment`] is a list of transforms, written in a recipe, a TOML file or on a command line. For
//! each image every transform draws one or more changes with all their numbers given, which have
//! the bytes of torchvision's on Pillow images. [`Mixing`] is Mixup and CutMix over a
//! batch, and [`Views`] what a prediction can be averaged over.
//!
//! ```
//! use burn_zoo::init::Rng;
//! use burn_zoo::preprocess::augment::{Augment, image_rng};
//! use burn_zoo::preprocess::{Image, Normalization, Preprocess};
//!
//! # fn main() -> burn_zoo::error::Result<()> {
//! let augment = Augment::imagenet().then("random-erasing:p=0.25".parse()?);
//! assert_eq!(augment, "imagenet,random-erasing:p=0.25".parse()?);
//!
//! let image = Image::new(60, 80, 3, vec![128; 60 * 80 * 3])?;
//! let preprocess = Preprocess::new(Some(32.into()), Normalization::imagenet());
//! let (seed, epoch, index) = (42, 0, 17);
//! let values = augment.apply(&image, &preprocess, &mut image_rng(seed, epoch, index));
//! assert_eq!(values.len(), 3 * 32 * 32);
//! # Ok(())
//! # }
//! ```
//!
//! # Where the random numbers come from
//!
//! Everything random is drawn from a [`Rng`](crate::init::Rng) that the caller hands in. Make a fresh one for each
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
mod augmentation;
mod checks;
mod color_jitter;
mod crop;
mod erasing;
mod flip;
mod geometry;
mod list;
mod mixing;
mod op;
mod padding;
mod rand_augment;
mod random;
mod rectangle;
mod spread;
#[cfg(test)]
mod tests;
mod tone;
mod transform;
mod views;
mod warp;

pub use augmentation::Augment;
pub use mixing::{Mixing, soft_targets};
pub use random::{batch_rng, image_rng};
pub use views::Views;

#[cfg(test)]
pub(crate) use self::{
    affine::Affine,
    color_jitter::ColorJitter,
    crop::{RandomCrop, RandomResizedCrop},
    erasing::RandomErasing,
    flip::{HorizontalFlip, VerticalFlip},
    rand_augment::{RandAugment, TrivialAugmentWide},
    spread::Spread,
    transform::Transform,
};
