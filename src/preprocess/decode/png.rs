//! PNG files: whether they are complete, and without what Pillow does not look at.

use std::io::{self, ErrorKind, Read, Seek};

use flate2::read::ZlibDecoder;

use super::fault::CUT;
use super::file_window::{FileWindow, MAX_PARTS};

/// A sound header, and parts that lead to the end part.
pub(super) fn looks_sound<R: Read + Seek>(file: &mut FileWindow<R>) -> io::Result<bool> {
    let header: [u8; 13] = file.get(16)?;
    let [sizes @ .., depth, color, compression, filter, interlace] = header;
    let [width, height] = width_and_height(sizes);
    let (depths, channels): (&[u8], u64) = match color {
        0 => (&[1, 2, 4, 8, 16], 1),
        2 => (&[8, 16], 3),
        // A palette is decoded to its colours.
        3 => (&[1, 2, 4, 8], 4),
        4 => (&[8, 16], 2),
        6 => (&[8, 16], 4),
        _ => return Ok(false),
    };
    let sound = depths.contains(&depth)
        && (compression, filter) == (0, 0)
        && interlace < 2
        && file.get(8)? == *b"\0\0\0\x0dIHDR"
        && u32::from_be_bytes(file.get(29)?) == checksum(b"IHDR", &header)
        && file.fits(width, height, channels * u64::from(depth.div_ceil(8)));
    if !sound {
        return Ok(false);
    }
    let (mut palette, mut data) = (false, false);
    let mut at = 33;
    for _ in 0..MAX_PARTS {
        let length = u32::from_be_bytes(file.get(at)?);
        match &file.get::<4>(at + 4)? {
            b"IEND" => return Ok(length == 0 && data && at + 12 <= file.length),
            // An animation.
            b"acTL" => return Ok(false),
            b"PLTE" if !data => palette = is_palette(file, at, length)?,
            b"IDAT" => data = palette || color != 3,
            _ => {}
        }
        at += 12 + u64::from(length);
    }
    Ok(false)
}

/// Whether a part of a PNG is a palette with the right checksum.
fn is_palette<R: Read + Seek>(file: &mut FileWindow<R>, at: u64, length: u32) -> io::Result<bool> {
    if length == 0 || length > 3 * 256 || !length.is_multiple_of(3) {
        return Ok(false);
    }
    let length = u64::from(length);
    let colors: io::Result<Vec<[u8; 3]>> = (0..length)
        .step_by(3)
        .map(|color| file.get(at + 8 + color))
        .collect();
    let sum = u32::from_be_bytes(file.get(at + 8 + length)?);
    Ok(sum == checksum(b"PLTE", colors?.as_flattened()))
}

/// Width and height, as a PNG's header has them.
pub(super) fn width_and_height([a, b, c, d, e, f, g, h]: [u8; 8]) -> [u32; 2] {
    [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes)
}

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A piece of a PNG file.
struct Chunk<'a> {
    kind: [u8; 4],
    /// As far as it is there.
    data: &'a [u8],
    /// Whether all of it is there, with the right checksum.
    sound: bool,
    rest: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (length, bytes) = bytes.split_first_chunk()?;
        let (kind, bytes) = bytes.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (data, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        let sum = rest.first_chunk().map(|sum| u32::from_be_bytes(*sum));
        Some(Self {
            kind: *kind,
            data,
            sound: sum == Some(checksum(kind, data)),
            rest: rest.get(4..).unwrap_or_default(),
        })
    }
}

/// The checksum of a chunk.
fn checksum(kind: &[u8; 4], data: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(kind);
    sum.update(data);
    sum.sum()
}

fn append(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    file.extend(kind);
    file.extend(data);
    file.extend(checksum(kind, data).to_be_bytes());
}

/// A PNG without what Pillow does not look at: the checksums of the parts that the image data are
/// in, and whatever is broken behind them. An error says what else is broken, where Pillow refuses
/// it, too. At most `longest` unpacked bytes are looked at.
pub(super) fn repaired(bytes: &[u8], longest: u64) -> Result<Vec<u8>, String> {
    let mut repaired = SIGNATURE.to_vec();
    let mut rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    let mut begun = false;
    let mut packed = Vec::new();
    while let Some(chunk) = Chunk::first(rest) {
        match &chunk.kind {
            b"IEND" => break,
            b"IDAT" => {
                begun = true;
                packed.extend_from_slice(chunk.data);
            }
            _ if chunk.sound => {}
            _ if begun => break,
            _ if chunk.rest.is_empty() => return Err(CUT.to_owned()),
            kind => {
                return Err(format!(
                    "the checksum of the part `{}` is wrong: the PNG data are damaged",
                    kind.escape_ascii()
                ));
            }
        }
        append(&mut repaired, &chunk.kind, chunk.data);
        rest = chunk.rest;
    }
    append(&mut repaired, b"IEND", b"");
    // The packed data have a checksum of their own at their end. Without those of the parts it is
    // the only one, and the decoder leaves it out.
    let mut unpacked = ZlibDecoder::new(packed.as_slice()).take(longest);
    match io::copy(&mut unpacked, &mut io::sink()) {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
            Err("the PNG data are damaged".to_owned())
        }
        _ => Ok(repaired),
    }
}
