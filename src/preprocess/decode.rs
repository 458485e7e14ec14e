//! From the bytes of a file to pixels.

use std::path::Path;

use super::Image;
use crate::error::{Error, Result};

/// How large an image may be before it is refused; both limits are checked before its pixels are
/// allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeLimits {
    /// Width times height. 178,956,970 by default: where Pillow raises `DecompressionBombError`.
    pub max_pixels: u64,
    /// Bytes of the file, and bytes of the decoded image in the file's own channels and depth;
    /// neither may be more. 1 GiB by default.
    pub max_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_pixels: 2 * 89_478_485,
            max_bytes: 1 << 30,
        }
    }
}

/// How an image is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeOptions {
    /// The largest image that is accepted.
    pub limits: DecodeLimits,
    /// Turn and mirror the image as its EXIF (or TIFF) orientation asks, like Pillow's
    /// `ImageOps.exif_transpose`. On by default. timm's own loader ignores the orientation of
    /// everything but TIFF; off, no file is turned.
    pub orient: bool,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            limits: DecodeLimits::default(),
            orient: true,
        }
    }
}

/// # Decoding
///
/// PNG, JPEG, WebP, GIF, BMP and TIFF (not all of its variants), told apart by content; the name of
/// a file does not matter. Of an animation the first frame is taken. A file that ends early is an
/// error; other damage is one where the format can tell.
///
/// The pixels are Pillow's, byte for byte, unless the table says otherwise and except in JPEG
/// files. There nearly all are within 1 where colour is as fine as brightness, and within 2 where
/// it is coarser and has to be enlarged; single ones differ by more, and so do images of at most 4
/// pixels across, whose colour libjpeg enlarges in another way.
///
/// | in the file | becomes |
/// |---|---|
/// | grey | one channel |
/// | RGB, palette | RGB |
/// | alpha, or a transparent colour of a palette | dropped, the colour beneath stays, as in Pillow's `convert("RGB")` |
/// | 16 bits a channel | divided by 257 and rounded (Pillow clips 16-bit grey at 255 or keeps the upper byte, depending on the file) |
/// | a GIF frame smaller than its canvas | black around it (Pillow takes a colour of the palette) |
/// | floating point | 0..1 becomes 0..255 |
/// | CMYK and YCCK JPEG | RGB, inks inverted as Adobe writes them, as in Pillow |
/// | ICC profiles, gamma | ignored, as in Pillow |
impl Image {
    /// Reads an image file with the default [`DecodeOptions`].
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Image`] if it is no image of these
    /// kinds, is damaged or ends early, or is larger than [`DecodeLimits`] allow.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &DecodeOptions::default())
    }

    /// Decodes the bytes of an image file with the default [`DecodeOptions`]. Errors call it
    /// `name`.
    ///
    /// # Errors
    /// [`Error::Image`] as for [`open`](Self::open).
    pub fn decode(bytes: &[u8], name: impl AsRef<Path>) -> Result<Self> {
        Self::decode_with(bytes, name, &DecodeOptions::default())
    }
}

fn bad(path: &Path, reason: impl Into<String>) -> Error {
    Error::Image {
        path: path.to_path_buf(),
        reason: reason.into(),
    }
}

#[cfg(feature = "image")]
mod reading {
    use std::fs::File;
    use std::io::{Cursor, Read};
    use std::path::Path;

    use image::metadata::Orientation;
    use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

    use super::{DecodeLimits, DecodeOptions, Image, bad};
    use crate::error::{Error, Result};

    /// Enough of a file to know its format.
    const MAGIC: u64 = 64;

    impl Image {
        /// Reads an image file.
        ///
        /// # Errors
        /// As for [`open`](Self::open).
        pub fn open_with(path: impl AsRef<Path>, options: &DecodeOptions) -> Result<Self> {
            let path = path.as_ref();
            let bytes = read(path, &options.limits)?;
            Self::decode_with(&bytes, path, options)
        }

        /// Decodes the bytes of an image file. Errors call it `name`.
        ///
        /// # Errors
        /// As for [`decode`](Self::decode).
        pub fn decode_with(
            bytes: &[u8],
            name: impl AsRef<Path>,
            options: &DecodeOptions,
        ) -> Result<Self> {
            decode(bytes, options).map_err(|reason| bad(name.as_ref(), reason))
        }
    }

    /// The whole file. The format is looked at and the length checked first, so that a huge file
    /// that is no image is not read.
    fn read(path: &Path, limits: &DecodeLimits) -> Result<Vec<u8>> {
        let failed = |error| Error::io("read", path)(error);
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut bytes = Vec::new();
        (&mut file)
            .take(MAGIC)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let checked = format_of(&bytes).and_then(|_| check_length(length, limits));
        checked.map_err(|reason| bad(path, reason))?;
        // A pipe or a device announces no length, and a file may grow.
        let left = limits
            .max_bytes
            .saturating_add(1)
            .saturating_sub(bytes.len() as u64);
        bytes.reserve_exact(length.saturating_sub(bytes.len() as u64) as usize);
        file.take(left).read_to_end(&mut bytes).map_err(failed)?;
        check_length(bytes.len() as u64, limits).map_err(|reason| bad(path, reason))?;
        Ok(bytes)
    }

    fn check_length(length: u64, limits: &DecodeLimits) -> Result<(), String> {
        if length > limits.max_bytes {
            return Err(format!(
                "the file has {length} bytes or more, the limit (max_bytes) is {}",
                limits.max_bytes
            ));
        }
        Ok(())
    }

    fn format_of(bytes: &[u8]) -> Result<ImageFormat, String> {
        use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
        if bytes.is_empty() {
            return Err("the file is empty".to_owned());
        }
        match image::guess_format(bytes) {
            Ok(format @ (Png | Jpeg | WebP | Gif | Bmp | Tiff)) => Ok(format),
            _ => Err("its content is neither PNG, JPEG, WebP, GIF, BMP nor TIFF".to_owned()),
        }
    }

    fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Image, String> {
        let DecodeLimits {
            max_pixels,
            max_bytes,
        } = options.limits;
        check_length(bytes.len() as u64, &options.limits)?;
        let format = format_of(bytes)?;
        if is_cut(bytes, format) {
            return Err("the data ends before the image does".to_owned());
        }
        let check_pixels = |width: u32, height: u32| {
            let pixels = u64::from(width) * u64::from(height);
            match pixels > max_pixels {
                false => Ok(pixels),
                true => Err(format!(
                    "{width} x {height} are {pixels} pixels, the limit (max_pixels) is \
                     {max_pixels}"
                )),
            }
        };
        // The PNG decoder would refuse a very long row before it tells the size.
        if let (ImageFormat::Png, Some((sizes, _))) = (format, bytes.split_at_checked(24)) {
            let side = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| sizes[at + i]));
            check_pixels(side(16), side(20))?;
        }

        let words = |error: ImageError| match error {
            ImageError::Limits(_) => {
                format!("decoding takes more memory than the limit (max_bytes), {max_bytes} bytes")
            }
            other => other.to_string(),
        };
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(max_bytes);
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder().map_err(words)?;
        let (width, height) = decoder.dimensions();
        let pixels = check_pixels(width, height)?;
        let decoded_bytes = decoder.total_bytes();
        if decoded_bytes > max_bytes {
            return Err(format!(
                "{width} x {height} pixels take {decoded_bytes} bytes, the limit (max_bytes) is \
                 {max_bytes}"
            ));
        }
        if pixels == 0 {
            return Err(format!("{width} x {height} pixels are no image"));
        }
        let orientation = match options.orient {
            // Metadata that cannot be read turn nothing.
            true => decoder.orientation().unwrap_or(Orientation::NoTransforms),
            false => Orientation::NoTransforms,
        };
        decoder.set_limits(limits).map_err(words)?;
        let mut decoded = DynamicImage::from_decoder(decoder).map_err(words)?;
        decoded.apply_orientation(orientation);
        Ok(eight_bits(decoded))
    }

    fn eight_bits(decoded: DynamicImage) -> Image {
        let (height, width) = (decoded.height() as usize, decoded.width() as usize);
        if decoded.color().has_color() {
            Image::from_parts(height, width, 3, decoded.into_rgb8().into_raw())
        } else {
            Image::from_parts(height, width, 1, decoded.into_luma8().into_raw())
        }
    }

    /// Whether the file is shorter than it was, as far as its decoder would not tell: what a cut
    /// JPEG lacks would be filled up with grey, and the end of WebP data with zeros.
    fn is_cut(bytes: &[u8], format: ImageFormat) -> bool {
        match format {
            ImageFormat::Jpeg => !jpeg_ends(bytes),
            ImageFormat::WebP => match bytes.get(4..8) {
                Some(&[a, b, c, d]) => {
                    (bytes.len() as u64) < 8 + u64::from(u32::from_le_bytes([a, b, c, d]))
                }
                _ => true,
            },
            _ => false,
        }
    }

    /// Whether the end marker follows the first scan.
    fn jpeg_ends(bytes: &[u8]) -> bool {
        // Segments before the scan are jumped over: a thumbnail in one has an end of its own.
        let mut rest = &bytes[2..];
        while let [0xFF, marker, high, low, ..] = *rest {
            if marker == 0xFF {
                rest = &rest[1..];
                continue;
            }
            let length = 2 + usize::from(u16::from_be_bytes([high, low]));
            rest = rest.get(length..).unwrap_or_default();
            if marker == 0xDA {
                break;
            }
        }
        rest.windows(2).rev().any(|pair| pair == [0xFF, 0xD9])
    }
}

#[cfg(not(feature = "image"))]
impl Image {
    /// Without the `image` feature nothing can be decoded.
    ///
    /// # Errors
    /// Always [`Error::Image`].
    pub fn open_with(path: impl AsRef<Path>, _options: &DecodeOptions) -> Result<Self> {
        let reason = "this build has no decoders; enable the feature `image`";
        Err(bad(path.as_ref(), reason))
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
