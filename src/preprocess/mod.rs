//! From an image file to the tensor that a model was trained on.
//!
//! [`Image::open`] decodes a file, and [`Preprocess`] makes of it what timm's evaluation
//! transforms make with Pillow, byte for byte up to the decoded pixels: resize, cut, scale,
//! normalise.

pub mod augment;
mod decode;
mod image;
mod image_size;
mod normalize;
#[cfg(feature = "image")]
mod png;
pub(crate) mod resample;
mod transform;

pub use decode::DecodeOptions;
#[cfg(feature = "image")]
pub(crate) use decode::looks_sound;
pub use image::Image;
pub use image_size::ImageSize;
pub use normalize::Normalization;
pub use resample::Interpolation;
pub(crate) use transform::{CROP_PCT, check_crop_pct};
pub use transform::{CropMode, Preprocess, Resizing};
