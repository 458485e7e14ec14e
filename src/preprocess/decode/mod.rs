//! From image files to images.

#[cfg(feature = "image")]
mod bmp;
#[cfg(feature = "image")]
mod fault;
#[cfg(feature = "image")]
mod file_window;
#[cfg(feature = "image")]
mod format;
#[cfg(feature = "image")]
mod frames;
#[cfg(feature = "image")]
mod image_file;
#[cfg(feature = "image")]
mod jpeg;
mod options;
#[cfg(feature = "image")]
mod png;
#[cfg(feature = "image")]
mod quick_check;
#[cfg(feature = "image")]
mod tiff;
#[cfg(feature = "image")]
mod webp;
mod with_defaults;
#[cfg(not(feature = "image"))]
mod without_decoders;

pub use options::DecodeOptions;
#[cfg(feature = "image")]
pub(crate) use quick_check::looks_sound;
