//! TIFF files: whether they are complete, and grey ones of more than 16 bits or with signs, which
//! the general decoder does not read.

use std::io::{Cursor, ErrorKind, Read, Seek};

use ::tiff::decoder::{Decoder, DecodingResult, Limits};
use ::tiff::tags::{CompressionMethod, PhotometricInterpretation, SampleFormat, Tag};
use ::tiff::{ColorType, TiffError};
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage};

use super::fault::{CUT, Fault, check_bytes, check_pixels};
use super::file_window::FileWindow;
use super::options::DecodeOptions;

const UNCOMMON: &str = "a TIFF file of an uncommon kind, which is not read; save the image as PNG";

/// Whether samples are cut off at 0 and 255 instead of being scaled.
fn is_deep(color: ColorType, format: SampleFormat) -> bool {
    match color {
        ColorType::Gray(8 | 16) => format == SampleFormat::Int,
        ColorType::Gray(32) => true,
        _ => false,
    }
}

/// One page of a kind that is read, and strips or tiles that lie in the file.
pub(super) fn looks_sound<R: Read + Seek>(file: &mut FileWindow<R>) -> Result<bool, TiffError> {
    let length = file.length;
    let mut decoder = Decoder::new(file.reader()?)?;
    if decoder.more_images() {
        return Ok(false);
    }
    let (width, height) = decoder.dimensions()?;
    let color = decoder.colortype()?;
    let format = sample_format(&mut decoder)?;
    let channels = match color {
        _ if is_deep(color, format) => 1,
        _ if format != SampleFormat::Uint => 0,
        ColorType::Gray(1 | 8 | 16) => 1,
        ColorType::RGB(8 | 16) => 3,
        ColorType::RGBA(8 | 16) | ColorType::CMYK(8 | 16) => 4,
        _ => 0,
    };
    let mut tag = |tag| decoder.find_tag_unsigned::<u16>(tag);
    let compression = tag(Tag::Compression)?.unwrap_or(1);
    let together = tag(Tag::PlanarConfiguration)?.unwrap_or(1) == 1;
    let [none, lzw] = [CompressionMethod::None, CompressionMethod::LZW].map(|c| c.to_u16());
    let packed = [
        lzw,
        CompressionMethod::Deflate.to_u16(),
        CompressionMethod::OldDeflate.to_u16(),
        CompressionMethod::PackBits.to_u16(),
    ];
    if channels == 0 || !together || (compression != none && !packed.contains(&compression)) {
        return Ok(false);
    }
    let bits = u64::from(color.bit_depth()) * channels;
    let mut places = |a, b| -> Result<Option<[Vec<u64>; 2]>, TiffError> {
        let offsets = decoder.find_tag_unsigned_vec(a)?;
        let lengths = decoder.find_tag_unsigned_vec(b)?;
        Ok(offsets.zip(lengths).map(|(a, b)| [a, b]))
    };
    let strips = places(Tag::StripOffsets, Tag::StripByteCounts)?;
    let [offsets, lengths] = match strips {
        Some(strips) => strips,
        None => match places(Tag::TileOffsets, Tag::TileByteCounts)? {
            Some(tiles) => tiles,
            None => return Ok(false),
        },
    };
    let inside = offsets.len() == lengths.len()
        && offsets.iter().zip(&lengths).all(|(offset, bytes)| {
            *bytes > 0 && offset.checked_add(*bytes).is_some_and(|end| end <= length)
        });
    let row = (u64::from(width) * bits).div_ceil(8);
    let all: u64 = lengths.iter().fold(0, |all, n| all.saturating_add(*n));
    let enough = compression != none || all >= row.saturating_mul(height.into());
    Ok(inside && enough && file.fits(width, height, bits.div_ceil(8)))
}

/// The image as Pillow converts it to 8 bits, and how it is to be turned; `None` for all other
/// files, and for those that cannot be read at all.
pub(super) fn deep_grey(
    bytes: &[u8],
    limits: &DecodeOptions,
) -> Result<Option<(DynamicImage, Orientation)>, Fault> {
    let Ok(decoder) = Decoder::new(Cursor::new(bytes)) else {
        return Ok(None);
    };
    let size = usize::try_from(limits.max_bytes).unwrap_or(usize::MAX);
    let mut allowed = Limits::default();
    allowed.decoding_buffer_size = size;
    allowed.intermediate_buffer_size = size;
    let mut decoder = decoder.with_limits(allowed);
    let (Ok(color), Ok((width, height)), Ok(format)) = (
        decoder.colortype(),
        decoder.dimensions(),
        sample_format(&mut decoder),
    ) else {
        return Ok(None);
    };
    if !is_deep(color, format) {
        return Ok(None);
    }
    check_pixels(width, height, limits)?;
    let sample = u64::from(color.bit_depth()) / 8;
    let all = u64::from(width) * u64::from(height) * sample;
    check_bytes(width, height, all, limits)?;
    let turn = decoder.find_tag_unsigned(Tag::Orientation).ok().flatten();
    let turn = turn.and_then(Orientation::from_exif);
    let photometric = decoder.find_tag_unsigned(Tag::PhotometricInterpretation);
    let inverted =
        photometric.ok().flatten() == Some(PhotometricInterpretation::WhiteIsZero.to_u16());
    let samples = decoder.read_image().map_err(fault)?;
    let pixels = eight_bits(samples, inverted).and_then(|p| GrayImage::from_raw(width, height, p));
    let Some(image) = pixels else {
        return Err(Fault::Refused(UNCOMMON.to_owned()));
    };
    Ok(Some((
        DynamicImage::ImageLuma8(image),
        turn.unwrap_or(Orientation::NoTransforms),
    )))
}

/// How the samples are written.
fn sample_format<R: Read + Seek>(decoder: &mut Decoder<R>) -> Result<SampleFormat, TiffError> {
    let formats: Option<Vec<u16>> = decoder.find_tag_unsigned_vec(Tag::SampleFormat)?;
    let first = formats.and_then(|formats| formats.first().copied());
    Ok(match first {
        Some(format) => SampleFormat::from_u16_exhaustive(format),
        None => SampleFormat::Uint,
    })
}

/// Cut off at 0 and 255 as Pillow does it. `inverted` samples have been turned round by the
/// decoder.
fn eight_bits(samples: DecodingResult, inverted: bool) -> Option<Vec<u8>> {
    let cut = |value: i32| value.clamp(0, 255) as u8;
    Some(match samples {
        // Pillow leaves floats as they are, whatever is white.
        DecodingResult::F32(v) if inverted => v.into_iter().map(|v| (1.0 - v) as u8).collect(),
        DecodingResult::F32(v) => v.into_iter().map(|v| v as u8).collect(),
        _ if inverted => return None,
        DecodingResult::I32(v) => v.into_iter().map(cut).collect(),
        // Pillow reads them as signed ones.
        DecodingResult::U32(v) => v.into_iter().map(|v| cut(v as i32)).collect(),
        DecodingResult::I16(v) => v.into_iter().map(|v| cut(v.into())).collect(),
        // .. and these as unsigned ones.
        DecodingResult::I8(v) => v.into_iter().map(|v| v as u8).collect(),
        _ => return None,
    })
}

fn fault(error: TiffError) -> Fault {
    match error {
        TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Fault::Damaged(CUT.to_owned())
        }
        TiffError::UnsupportedError(_) => Fault::Refused(UNCOMMON.to_owned()),
        TiffError::LimitsExceeded => {
            Fault::Refused("decoding takes more memory than the limit (max_bytes)".to_owned())
        }
        _ => Fault::Damaged("the TIFF data are damaged".to_owned()),
    }
}
