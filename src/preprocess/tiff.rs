//! Grey TIFF files of more than 16 bits or with signs, which the general decoder does not read.

use std::io::{Cursor, ErrorKind};

use ::tiff::decoder::{Decoder, DecodingResult, Limits};
use ::tiff::tags::{PhotometricInterpretation, SampleFormat, Tag};
use ::tiff::{ColorType, TiffError};
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage};

use super::decode::{CUT, DecodeLimits, Fault, check_bytes, check_pixels};

/// Whether samples are cut off at 0 and 255 instead of being scaled.
pub(super) fn is_deep(color: ColorType, format: SampleFormat) -> bool {
    match color {
        ColorType::Gray(8 | 16) => format == SampleFormat::Int,
        ColorType::Gray(32) => true,
        _ => false,
    }
}

/// The image as Pillow converts it to 8 bits, and how it is to be turned; `None` for all other
/// files, and for those that cannot be read at all.
pub(super) fn deep_grey(
    bytes: &[u8],
    limits: &DecodeLimits,
) -> Result<Option<(DynamicImage, Orientation)>, Fault> {
    let Ok(decoder) = Decoder::new(Cursor::new(bytes)) else {
        return Ok(None);
    };
    let size = usize::try_from(limits.max_bytes).unwrap_or(usize::MAX);
    let mut allowed = Limits::default();
    (
        allowed.decoding_buffer_size,
        allowed.intermediate_buffer_size,
    ) = (size, size);
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
        return Err(Fault::Refused(
            "a TIFF file of an uncommon kind, which is not read; save the image as PNG".to_owned(),
        ));
    };
    Ok(Some((
        DynamicImage::ImageLuma8(image),
        turn.unwrap_or(Orientation::NoTransforms),
    )))
}

/// How the samples are written.
pub(super) fn sample_format<R: std::io::Read + std::io::Seek>(
    decoder: &mut Decoder<R>,
) -> Result<SampleFormat, TiffError> {
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
        TiffError::UnsupportedError(_) => Fault::Refused(
            "a TIFF file of an uncommon kind, which is not read; save the image as PNG".to_owned(),
        ),
        TiffError::LimitsExceeded => {
            Fault::Refused("decoding takes more memory than the limit (max_bytes)".to_owned())
        }
        _ => Fault::Damaged("the TIFF data are damaged".to_owned()),
    }
}
