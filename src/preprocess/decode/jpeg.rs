//! JPEG files: whether they are complete, and what stands for an end marker that is missing.

use std::io::{self, Cursor, Read, Seek};

use super::file_window::{FileWindow, MAX_PARTS};
use super::options::DecodeOptions;

/// What a JPEG's header says.
struct Frame {
    kind: u8,
    precision: u8,
    height: u32,
    width: u32,
    components: u8,
}

/// Whether a JPEG is coded in a way that its decoder does not know.
pub(super) fn is_uncommon(bytes: &[u8]) -> bool {
    let frame = frame_of(bytes);
    frame.is_some_and(|frame| !matches!(frame.kind, 0xC0..=0xC2) || frame.precision != 8)
}

/// Whether each scan of a JPEG has pixels of its own, and there is one for all.
fn is_sequential(bytes: &[u8]) -> bool {
    frame_of(bytes).is_some_and(|frame| matches!(frame.kind, 0xC0 | 0xC1))
}

fn frame_of(bytes: &[u8]) -> Option<Frame> {
    let limits = DecodeOptions::default();
    let file = &mut FileWindow::new(Cursor::new(bytes), bytes.len() as u64, &limits);
    frame(file).ok().flatten()
}

/// A header that leads to a scan, and the end marker at the very end.
pub(super) fn looks_sound<R: Read + Seek>(file: &mut FileWindow<R>) -> io::Result<bool> {
    let Some(frame) = frame(file)? else {
        return Ok(false);
    };
    Ok(matches!(frame.kind, 0xC0..=0xC2)
        && frame.precision == 8
        && matches!(frame.components, 1 | 3 | 4)
        && file.fits(frame.width, frame.height, frame.components.into())
        && file.last()? == [0xFF, 0xD9])
}

/// The frame of a JPEG whose segments lead to a scan.
fn frame<R: Read + Seek>(file: &mut FileWindow<R>) -> io::Result<Option<Frame>> {
    let mut found = None;
    let mut at = 2;
    for _ in 0..MAX_PARTS {
        let [mark, kind] = file.get(at)?;
        match (mark, kind) {
            (0xFF, 0xFF) => {
                at += 1;
                continue;
            }
            (0xFF, 0xDA) => return Ok(found),
            // DHT, JPG and DAC lie among the frames' markers.
            (0xFF, 0xC4 | 0xC8 | 0xCC) => {}
            (0xFF, 0xC0..=0xCF) => {
                let [precision, a, b, c, d, components] = file.get(at + 4)?;
                let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
                found = Some(Frame {
                    kind,
                    precision,
                    height: side(a, b),
                    width: side(c, d),
                    components,
                });
            }
            // Markers without a length have no place here.
            (0xFF, 0x02..=0xCF | 0xDB..=0xFE) => {}
            _ => return Ok(None),
        }
        let length = u16::from_be_bytes(file.get(at + 2)?);
        if length < 2 {
            return Ok(None);
        }
        at += 2 + u64::from(length);
    }
    Ok(None)
}

/// Whether a JPEG's end marker follows the first scan.
pub(super) fn ends(bytes: &[u8]) -> bool {
    // Segments before the scan are jumped over: a thumbnail in one has an end of its own.
    let mut rest = bytes.get(2..).unwrap_or_default();
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

/// A JPEG without an end marker with one, behind bytes of one kind and of another. `None`
/// if its scans refine each other, so that one that is missing is not missed.
pub(super) fn with_end_markers(bytes: &[u8]) -> Option<[Vec<u8>; 2]> {
    if !is_sequential(bytes) {
        return None;
    }
    Some([0x00, 0xAA].map(|filler| {
        let mut ended = bytes.to_vec();
        ended.extend([filler; 64]);
        ended.extend([0xFF, 0xD9]);
        ended
    }))
}
