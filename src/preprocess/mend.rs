//! Files that lack or spoil what no pixel depends on, put right for decoders that insist on it.

use flate2::{Decompress, FlushDecompress, Status};

use super::look;

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
pub(super) fn checksum(kind: &[u8; 4], data: &[u8]) -> u32 {
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

/// The packed image data, which have a checksum of their own at their end. Without those of the
/// parts it is the only one, and the decoder leaves it out.
struct Data {
    unpack: Decompress,
    done: bool,
    longest: u64,
}

impl Data {
    fn new(longest: u64) -> Self {
        Self {
            unpack: Decompress::new(true),
            done: false,
            longest,
        }
    }

    fn check(&mut self, mut packed: &[u8]) -> Result<(), String> {
        let mut unpacked = [0; 16 * 1024];
        while !self.done && self.unpack.total_out() <= self.longest {
            let before = (self.unpack.total_in(), self.unpack.total_out());
            let status = self
                .unpack
                .decompress(packed, &mut unpacked, FlushDecompress::None)
                .map_err(|_| "the PNG data are damaged".to_owned())?;
            let read = self.unpack.total_in() - before.0;
            packed = packed.get(read as usize..).unwrap_or_default();
            self.done = status == Status::StreamEnd;
            if before == (self.unpack.total_in(), self.unpack.total_out()) {
                break;
            }
        }
        Ok(())
    }
}

/// A PNG without what Pillow does not look at: the checksums of the parts that the image data are
/// in, and whatever is broken behind them. An error says what else is broken, where Pillow refuses
/// it, too. At most `longest` unpacked bytes are looked at.
pub(super) fn png(bytes: &[u8], longest: u64) -> Result<Vec<u8>, String> {
    let mut mended = SIGNATURE.to_vec();
    let mut rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    let mut begun = false;
    let mut data = Data::new(longest);
    while let Some(chunk) = Chunk::first(rest) {
        match &chunk.kind {
            b"IEND" => break,
            b"IDAT" => {
                begun = true;
                data.check(chunk.data)?;
            }
            _ if chunk.sound => {}
            _ if begun => break,
            _ if chunk.rest.is_empty() => return Err(super::decode::CUT.to_owned()),
            kind => {
                return Err(format!(
                    "the checksum of the part `{}` is wrong: the PNG data are damaged",
                    kind.escape_ascii()
                ));
            }
        }
        append(&mut mended, &chunk.kind, chunk.data);
        rest = chunk.rest;
    }
    append(&mut mended, b"IEND", b"");
    Ok(mended)
}

/// A BMP with the padding of its last row, if it lacks no more than that.
pub(super) fn bmp(bytes: &[u8]) -> Option<Vec<u8>> {
    let header = look::bmp_header(bytes.first_chunk()?)?;
    let missing = header.end.checked_sub(bytes.len() as u64)?;
    if missing == 0 || missing > header.padding {
        return None;
    }
    let mut mended = bytes.to_vec();
    mended.resize(bytes.len() + missing as usize, 0);
    Some(mended)
}

/// Whether a JPEG's end marker follows the first scan.
pub(super) fn jpeg_ends(bytes: &[u8]) -> bool {
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

/// A JPEG without an end marker with several ones: behind bytes of one kind and of another. `None`
/// if its scans refine each other, so that one that is missing is not missed.
pub(super) fn jpeg(bytes: &[u8]) -> Option<[Vec<u8>; 2]> {
    if !look::is_sequential_jpeg(bytes) {
        return None;
    }
    Some([0x00, 0xAA].map(|filler| {
        let mut mended = bytes.to_vec();
        mended.extend([filler; 64]);
        mended.extend([0xFF, 0xD9]);
        mended
    }))
}
