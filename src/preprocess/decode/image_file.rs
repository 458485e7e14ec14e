//! From the bytes of a file to pixels.

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read, Seek as _, SeekFrom};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::fault::{CUT, Fault, check_bytes, check_length, check_pixels};
use super::options::DecodeOptions;
use super::{bmp, format, jpeg, png, tiff, webp};
use crate::error::{Error, Result};
use crate::preprocess::image::Image;

/// Enough of a file to know its format.
const MAGIC: u64 = 512;

fn bad(path: &Path, reason: impl Into<String>) -> Error {
    Error::Image {
        path: path.to_path_buf(),
        reason: reason.into(),
    }
}

impl Image {
    /// Reads an image file.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, options: &DecodeOptions) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read(path, options)?;
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
fn read(path: &Path, limits: &DecodeOptions) -> Result<Vec<u8>> {
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

fn decode(bytes: &[u8], name: &Path, options: &DecodeOptions) -> Result<Image, String> {
    check_length(bytes.len() as u64, options)?;
    let Some(format) = format::known(bytes) else {
        return Err(format::unread(bytes, bytes, name));
    };
    let image = match format {
        ImageFormat::Jpeg => decode_jpeg(bytes, options),
        ImageFormat::WebP if webp::is_cut(bytes) => Err(Fault::Damaged(CUT.to_owned())),
        ImageFormat::Png => match pixels(bytes, format, options) {
            Err(Fault::Damaged(reason)) => decode_repaired_png(bytes, reason, options),
            done => done,
        },
        ImageFormat::Bmp => match pixels(bytes, format, options) {
            Err(Fault::Damaged(reason)) => match bmp::with_padding(bytes) {
                Some(repaired) => pixels(&repaired, format, options),
                None => Err(Fault::Damaged(reason)),
            },
            done => done,
        },
        _ => pixels(bytes, format, options),
    };
    image.map_err(Fault::reason)
}

/// A JPEG. The decoder would fill up with grey what a cut one lacks.
fn decode_jpeg(bytes: &[u8], options: &DecodeOptions) -> Result<Image, Fault> {
    if jpeg::ends(bytes) {
        return pixels(bytes, ImageFormat::Jpeg, options);
    }
    // Without an end marker the image may be whole nevertheless: if its pixels are the same
    // whatever follows, they depend on nothing that is missing.
    let mut images = Vec::new();
    for repaired in jpeg::with_end_markers(bytes).ok_or_else(|| Fault::Damaged(CUT.to_owned()))? {
        images.push(pixels(&repaired, ImageFormat::Jpeg, options)?);
    }
    match images.pop() {
        Some(image) if images.iter().all(|other| *other == image) => Ok(image),
        _ => Err(Fault::Damaged(CUT.to_owned())),
    }
}

/// A PNG that could not be decoded for `reason`, with what Pillow overlooks put right.
fn decode_repaired_png(
    bytes: &[u8],
    reason: String,
    options: &DecodeOptions,
) -> Result<Image, Fault> {
    // A row has a byte more than its pixels.
    let longest = options.max_bytes.saturating_mul(2);
    let repaired = png::repaired(bytes, longest).map_err(Fault::Damaged)?;
    pixels(&repaired, ImageFormat::Png, options).map_err(|fault| match fault {
        Fault::Damaged(_) => Fault::Damaged(reason),
        refused => refused,
    })
}

fn pixels(bytes: &[u8], format: ImageFormat, options: &DecodeOptions) -> Result<Image, Fault> {
    // The PNG decoder would refuse a very long row before it tells the size.
    if let (ImageFormat::Png, Some(sizes)) = (format, bytes.get(16..).and_then(<[u8]>::first_chunk))
    {
        let [width, height] = png::width_and_height(*sizes);
        check_pixels(width, height, options)?;
    }
    let (mut decoded, orientation) = match format {
        ImageFormat::Tiff => match tiff::deep_grey(bytes, options)? {
            Some(decoded) => decoded,
            None => by_decoder(bytes, format, options)?,
        },
        _ => by_decoder(bytes, format, options)?,
    };
    if options.orient {
        decoded.apply_orientation(orientation);
    }
    Ok(eight_bits(decoded))
}

fn by_decoder(
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeOptions,
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
fn fault(error: ImageError, bytes: &[u8], format: ImageFormat, limits: &DecodeOptions) -> Fault {
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
        _ if format == ImageFormat::Jpeg && jpeg::is_uncommon(bytes) => {
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
