//! What stands for decoding in a build without decoders.

use std::path::Path;

use super::options::DecodeOptions;
use crate::error::{Error, Result};
use crate::preprocess::image::Image;

impl Image {
    /// Without the `image` feature nothing can be decoded.
    ///
    /// # Errors
    /// Always [`Error::Image`].
    pub fn open_with(path: impl AsRef<Path>, _options: &DecodeOptions) -> Result<Self> {
        Err(Error::Image {
            path: path.as_ref().to_path_buf(),
            reason: "this build has no decoders; enable the feature `image`".to_owned(),
        })
    }

    /// Without the `image` feature nothing can be decoded.
    ///
    /// # Errors
    /// Always [`Error::Image`].
    pub fn decode_with(
        _bytes: &[u8],
        name: impl AsRef<Path>,
        options: &DecodeOptions,
    ) -> Result<Self> {
        Self::open_with(name, options)
    }
}
