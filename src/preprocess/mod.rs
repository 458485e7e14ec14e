//! From an image file to the tensor that a model was trained on.
//!
//! [`Image::open`] decodes a file, and [`Preprocess`] makes of it what timm's evaluation
//! transforms make with Pillow, byte for byte up to the decoded pixels: resize, cut, scale,
//! normalise.

pub mod augment;
mod decode;
#[cfg(feature = "image")]
mod format;
mod image;
#[cfg(feature = "image")]
mod look;
#[cfg(feature = "image")]
mod mend;
mod normalize;
#[cfg(feature = "image")]
mod png;
pub(crate) mod resample;
#[cfg(feature = "image")]
mod tiff;
mod transform;

pub use decode::{DecodeLimits, DecodeOptions};
pub use image::Image;
#[cfg(feature = "image")]
pub(crate) use look::looks_sound;
pub use normalize::Normalization;
pub use resample::Interpolation;
pub(crate) use transform::check_size;
pub use transform::{CropMode, Preprocess, Resizing};
