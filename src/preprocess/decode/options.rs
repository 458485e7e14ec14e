//! How images are decoded, and how large they may be.

/// How an image is decoded, and how large it may be before it is refused; both limits are checked
/// before its pixels are allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeOptions {
    /// Width times height. 178,956,970 by default: where Pillow raises `DecompressionBombError`.
    pub max_pixels: u64,
    /// Bytes of the file, and bytes of the decoded image in the file's own channels and depth;
    /// neither may be more. 1 GiB by default.
    pub max_bytes: u64,
    /// Turn and mirror the image as its EXIF (or TIFF) orientation asks, like Pillow's
    /// `ImageOps.exif_transpose`. On by default. timm's own loader ignores the orientation of
    /// everything but TIFF; off, no file is turned.
    pub orient: bool,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            max_pixels: 2 * 89_478_485,
            max_bytes: 1 << 30,
            orient: true,
        }
    }
}
