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
/// What Pillow reads is read: bytes behind the image; a PNG whose image data have a wrong checksum,
/// or that lacks what follows them; a JPEG without its end marker, as long as no pixel depends on
/// what is missing; a GIF without its trailer.
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
/// | grey TIFF of floats, of 32-bit or of signed integers | cut off at 0 and 255, fractions dropped, as in Pillow's `convert("RGB")`: values in another range must be scaled beforehand |
/// | colour TIFF of floats | 0..1 becomes 0..255 (Pillow does not read them) |
/// | a GIF frame smaller than its canvas | black around it (Pillow takes a colour of the palette) |
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
    use std::io::{Cursor, ErrorKind, Read, Seek as _, SeekFrom};
    use std::path::Path;

    use image::metadata::Orientation;
    use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

    use super::super::{format, look, mend, tiff};
    use super::{DecodeLimits, DecodeOptions, Image, bad};
    use crate::error::{Error, Result};

    /// Enough of a file to know its format.
    const MAGIC: u64 = 512;

    /// Why there are no pixels.
    pub(in super::super) enum Fault {
        /// A limit, or a kind that is not read: nothing in the file can be put right.
        Refused(String),
        /// The decoder says that the data are not what they should be.
        Damaged(String),
    }

    impl Fault {
        fn reason(self) -> String {
            match self {
                Fault::Refused(reason) | Fault::Damaged(reason) => reason,
            }
        }
    }

    /// What is said of a file that ends early.
    pub(in super::super) const CUT: &str = "the data ends before the image does";

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
            let name = name.as_ref();
            decode(bytes, name, options).map_err(|reason| bad(name, reason))
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
        if format::known(&bytes).is_none() {
            // The name of some formats stands at the end.
            let behind = length.saturating_sub(MAGIC).min(MAGIC);
            let mut tail = Vec::new();
            if behind > 0 && file.seek(SeekFrom::End(-(behind as i64))).is_ok() {
                file.take(behind).read_to_end(&mut tail).map_err(failed)?;
            }
            return Err(bad(path, format::unread(&bytes, &tail, path)));
        }
        check_length(length, limits).map_err(|reason| bad(path, reason))?;
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

    /// How many pixels there are, unless there are none or too many.
    pub(in super::super) fn check_pixels(
        width: u32,
        height: u32,
        limits: &DecodeLimits,
    ) -> Result<u64, Fault> {
        let pixels = u64::from(width) * u64::from(height);
        let max_pixels = limits.max_pixels;
        if pixels > max_pixels {
            return Err(Fault::Refused(format!(
                "{width} x {height} are {pixels} pixels, the limit (max_pixels) is {max_pixels}"
            )));
        }
        if pixels == 0 {
            return Err(Fault::Refused(format!(
                "{width} x {height} pixels are no image"
            )));
        }
        Ok(pixels)
    }

    /// Refuses an image that takes more memory than is allowed.
    pub(in super::super) fn check_bytes(
        width: u32,
        height: u32,
        bytes: u64,
        limits: &DecodeLimits,
    ) -> Result<(), Fault> {
        let max_bytes = limits.max_bytes;
        if bytes > max_bytes {
            return Err(Fault::Refused(format!(
                "{width} x {height} pixels take {bytes} bytes, the limit (max_bytes) is \
                 {max_bytes}"
            )));
        }
        Ok(())
    }

    fn decode(bytes: &[u8], name: &Path, options: &DecodeOptions) -> Result<Image, String> {
        check_length(bytes.len() as u64, &options.limits)?;
        let Some(format) = format::known(bytes) else {
            return Err(format::unread(bytes, bytes, name));
        };
        let image = match format {
            ImageFormat::Jpeg => jpeg(bytes, options),
            ImageFormat::WebP if webp_is_cut(bytes) => Err(Fault::Damaged(CUT.to_owned())),
            ImageFormat::Png => match pixels(bytes, format, options) {
                Err(Fault::Damaged(reason)) => png(bytes, reason, options),
                done => done,
            },
            ImageFormat::Bmp => match pixels(bytes, format, options) {
                Err(Fault::Damaged(reason)) => match mend::bmp(bytes) {
                    Some(mended) => pixels(&mended, format, options),
                    None => Err(Fault::Damaged(reason)),
                },
                done => done,
            },
            _ => pixels(bytes, format, options),
        };
        image.map_err(Fault::reason)
    }

    /// A JPEG. The decoder would fill up with grey what a cut one lacks.
    fn jpeg(bytes: &[u8], options: &DecodeOptions) -> Result<Image, Fault> {
        if mend::jpeg_ends(bytes) {
            return pixels(bytes, ImageFormat::Jpeg, options);
        }
        // Without an end marker the image may be whole nevertheless: if its pixels are the same
        // whatever follows, they depend on nothing that is missing.
        let mut images = Vec::new();
        for mended in mend::jpeg(bytes).ok_or_else(|| Fault::Damaged(CUT.to_owned()))? {
            images.push(pixels(&mended, ImageFormat::Jpeg, options)?);
        }
        match images.pop() {
            Some(image) if images.iter().all(|other| *other == image) => Ok(image),
            _ => Err(Fault::Damaged(CUT.to_owned())),
        }
    }

    /// A PNG that could not be decoded for `reason`, with what Pillow overlooks put right.
    fn png(bytes: &[u8], reason: String, options: &DecodeOptions) -> Result<Image, Fault> {
        // A row has a byte more than its pixels.
        let longest = options.limits.max_bytes.saturating_mul(2);
        let mended = mend::png(bytes, longest).map_err(Fault::Damaged)?;
        pixels(&mended, ImageFormat::Png, options).map_err(|fault| match fault {
            Fault::Damaged(_) => Fault::Damaged(reason),
            refused => refused,
        })
    }

    fn pixels(bytes: &[u8], format: ImageFormat, options: &DecodeOptions) -> Result<Image, Fault> {
        let limits = &options.limits;
        // The PNG decoder would refuse a very long row before it tells the size.
        if let (ImageFormat::Png, Some((sizes, _))) = (format, bytes.split_first_chunk::<24>()) {
            let [.., a, b, c, d, e, f, g, h] = *sizes;
            let [width, height] = [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes);
            check_pixels(width, height, limits)?;
        }
        let (mut decoded, orientation) = match format {
            ImageFormat::Tiff => match tiff::deep_grey(bytes, limits)? {
                Some(decoded) => decoded,
                None => by_decoder(bytes, format, limits)?,
            },
            _ => by_decoder(bytes, format, limits)?,
        };
        if options.orient {
            decoded.apply_orientation(orientation);
        }
        Ok(eight_bits(decoded))
    }

    fn by_decoder(
        bytes: &[u8],
        format: ImageFormat,
        limits: &DecodeLimits,
    ) -> Result<(DynamicImage, Orientation), Fault> {
        let words = |error| fault(error, bytes, format, limits);
        let mut allowed = Limits::no_limits();
        allowed.max_alloc = Some(limits.max_bytes);
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(allowed.clone());
        let mut decoder = reader.into_decoder().map_err(words)?;
        let (width, height) = decoder.dimensions();
        check_pixels(width, height, limits)?;
        check_bytes(width, height, decoder.total_bytes(), limits)?;
        // Metadata that cannot be read turn nothing.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        decoder.set_limits(allowed).map_err(words)?;
        let decoded = DynamicImage::from_decoder(decoder).map_err(words)?;
        Ok((decoded, orientation))
    }

    /// A decoder's error in plain words. What the decoders say themselves is meant for those who
    /// write decoders.
    fn fault(error: ImageError, bytes: &[u8], format: ImageFormat, limits: &DecodeLimits) -> Fault {
        let name = format::name(format);
        let unread = |kind: &str| {
            Fault::Refused(format!(
                "{kind}, which is not read; save the image as a plain {name} or as PNG"
            ))
        };
        match error {
            ImageError::Limits(_) => Fault::Refused(format!(
                "decoding takes more memory than the limit (max_bytes), {} bytes",
                limits.max_bytes
            )),
            ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Fault::Damaged(CUT.to_owned())
            }
            _ if format == ImageFormat::Jpeg && look::uncommon_jpeg(bytes) => {
                unread("a JPEG file of an uncommon kind (lossless, arithmetic or 12 bits)")
            }
            ImageError::Unsupported(_) => unread(&format!("a {name} file of an uncommon kind")),
            error => {
                let text = error.to_string().to_lowercase();
                if text.contains("end of") || text.contains("exhausted data") {
                    return Fault::Damaged(CUT.to_owned());
                }
                Fault::Damaged(format!("the {name} data are damaged"))
            }
        }
    }

    fn eight_bits(decoded: DynamicImage) -> Image {
        let (height, width) = (decoded.height() as usize, decoded.width() as usize);
        if decoded.color().has_color() {
            Image::from_parts(height, width, 3, decoded.into_rgb8().into_raw())
        } else {
            Image::from_parts(height, width, 1, decoded.into_luma8().into_raw())
        }
    }

    /// Whether WebP data are shorter than they were: the decoder would fill them up with zeros.
    fn webp_is_cut(bytes: &[u8]) -> bool {
        match bytes.get(4..8) {
            Some(&[a, b, c, d]) => {
                (bytes.len() as u64) < 8 + u64::from(u32::from_le_bytes([a, b, c, d]))
            }
            _ => true,
        }
    }
}

#[cfg(feature = "image")]
pub(super) use reading::{CUT, Fault, check_bytes, check_pixels};

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
