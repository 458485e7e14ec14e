//! BMP files: whether they are complete, and the padding that some lack.

use std::io::{self, Read, Seek};

use super::file_window::FileWindow;

/// What a BMP's header says.
struct Header {
    width: u32,
    height: u32,
    /// Where the file ends.
    end: u64,
    /// The bytes at the end of a row that no pixel is in.
    padding: u64,
}

/// Bytes of the part of a BMP's header that all newer ones have.
const HEADER_BYTES: usize = 54;

/// The header of a BMP whose rows are not compressed.
fn header_of(header: &[u8; HEADER_BYTES]) -> Option<Header> {
    let u16 = |at: usize| Some(u16::from_le_bytes(*header.get(at..)?.first_chunk()?));
    let u32 = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk()?));
    let (pixels, size, bits, compression) = (u32(10)?, u32(14)?, u16(28)?, u32(30)?);
    let plain = header.starts_with(b"BM")
        && (40..=124).contains(&size)
        && u16(26)? == 1
        && matches!(bits, 1 | 4 | 8 | 16 | 24 | 32)
        // Bare rows, or rows with masks for the channels.
        && (compression == 0 || (compression == 3 && matches!(bits, 16 | 32)))
        && u64::from(pixels) >= 14 + u64::from(size);
    let (width, height) = (u32(18)? as i32, u32(22)? as i32);
    if !plain || width <= 0 || height == 0 || height == i32::MIN {
        return None;
    }
    let (width, height) = (width.unsigned_abs(), height.unsigned_abs());
    let row = (u64::from(width) * u64::from(bits)).div_ceil(8);
    let padded = row.next_multiple_of(4);
    Some(Header {
        width,
        height,
        end: u64::from(pixels) + padded * u64::from(height),
        padding: padded - row,
    })
}

/// A file as long as its rows are.
pub(super) fn looks_sound<R: Read + Seek>(file: &mut FileWindow<R>) -> io::Result<bool> {
    let header = header_of(&file.get(0)?);
    Ok(header.is_some_and(|h| h.end <= file.length && file.fits(h.width, h.height, 4)))
}

/// A BMP with the padding of its last row, if it lacks no more than that.
pub(super) fn with_padding(bytes: &[u8]) -> Option<Vec<u8>> {
    let header = header_of(bytes.first_chunk()?)?;
    let missing = header.end.checked_sub(bytes.len() as u64)?;
    if missing == 0 || missing > header.padding {
        return None;
    }
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len() + missing as usize, 0);
    Some(padded)
}
