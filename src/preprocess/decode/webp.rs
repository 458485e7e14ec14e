//! WebP files: whether they are complete.

use std::io::{self, Read, Seek};

use super::file_window::{FileWindow, MAX_PARTS};

/// Whether WebP data are shorter than they were: the decoder would fill them up with zeros.
pub(super) fn is_cut(bytes: &[u8]) -> bool {
    match bytes.get(4..8) {
        Some(&[a, b, c, d]) => {
            (bytes.len() as u64) < 8 + u64::from(u32::from_le_bytes([a, b, c, d]))
        }
        _ => true,
    }
}

/// Parts that fill the declared length, with an image among them.
pub(super) fn looks_sound<R: Read + Seek>(file: &mut FileWindow<R>) -> io::Result<bool> {
    let end = 8 + u64::from(u32::from_le_bytes(file.get(4)?));
    if end != file.length {
        return Ok(false);
    }
    let mut size: Option<[u32; 2]> = None;
    let mut image = false;
    let mut at = 12;
    for _ in 0..MAX_PARTS {
        if at >= end {
            let fits = size.is_some_and(|[w, h]| file.fits(w, h, 4));
            return Ok(at == end && image && fits);
        }
        let length = u64::from(u32::from_le_bytes(file.get(at + 4)?));
        let kind: [u8; 4] = file.get(at)?;
        let at_data = at + 8;
        let found = match &kind {
            b"VP8X" => {
                let [a, b, c, d, e, f] = file.get(at_data + 4)?;
                let side = |a, b, c| 1 + u32::from_le_bytes([a, b, c, 0]);
                Some([side(a, b, c), side(d, e, f)])
            }
            b"VP8 " => {
                let [start @ .., a, b, c, d]: [u8; 7] = file.get(at_data + 3)?;
                let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
                let sound = start == [0x9D, 0x01, 0x2A];
                Some([side(a, b), side(c, d)]).filter(|_| sound)
            }
            b"VP8L" => {
                let [mark, a, b, c, d] = file.get(at_data)?;
                let bits = u32::from_le_bytes([a, b, c, d]);
                let side = |bits: u32| 1 + (bits & 0x3FFF);
                Some([side(bits), side(bits >> 14)]).filter(|_| mark == 0x2F)
            }
            _ => None,
        };
        // A frame of an animation.
        if kind == *b"ANMF" {
            return Ok(false);
        }
        image |= found.is_some() && kind != *b"VP8X";
        size = size.or(found);
        at = at_data + length.next_multiple_of(2);
    }
    Ok(false)
}
