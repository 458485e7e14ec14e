//! Whether an image file looks sound: from its header, the lengths that it declares and its end,
//! without decoding it. Only the beginning, the end and what lies where the file says are read.

use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};

use ::tiff::decoder::Decoder;
use ::tiff::tags::{CompressionMethod, SampleFormat, Tag};
use ::tiff::{ColorType, TiffError};
use image::ImageFormat;

use super::{DecodeLimits, format, mend, tiff};

/// Whether nothing about a file of `length` bytes speaks against its being a whole image of at
/// most the allowed size. A file that does not look sound may be one all the same: decoding it
/// tells.
pub(crate) fn looks_sound(file: impl Read + Seek, length: u64, limits: &DecodeLimits) -> bool {
    if length > limits.max_bytes {
        return false;
    }
    // Whatever cannot be read, the decoder meets again and has words for.
    Look::new(file, length, limits).whole().unwrap_or(false)
}

/// Whether a JPEG is coded in a way that its decoder does not know.
pub(super) fn uncommon_jpeg(bytes: &[u8]) -> bool {
    let frame = frame_of(bytes);
    frame.is_some_and(|frame| !matches!(frame.kind, 0xC0..=0xC2) || frame.precision != 8)
}

/// Whether each scan of a JPEG has pixels of its own, and there is one for all.
pub(super) fn is_sequential_jpeg(bytes: &[u8]) -> bool {
    frame_of(bytes).is_some_and(|frame| matches!(frame.kind, 0xC0 | 0xC1))
}

fn frame_of(bytes: &[u8]) -> Option<Frame> {
    let limits = DecodeLimits::default();
    let mut look = Look::new(io::Cursor::new(bytes), bytes.len() as u64, &limits);
    look.jpeg_frame().ok().flatten()
}

/// What a JPEG's header says.
struct Frame {
    kind: u8,
    precision: u8,
    height: u32,
    width: u32,
    components: u8,
}

/// What a BMP's header says.
pub(super) struct BmpHeader {
    width: u32,
    height: u32,
    /// Where the file ends.
    pub(super) end: u64,
    /// The bytes at the end of a row that no pixel is in.
    pub(super) padding: u64,
}

/// Bytes of the part of a BMP's header that all newer ones have.
const BMP_HEADER: usize = 54;

/// The header of a BMP whose rows are not compressed.
pub(super) fn bmp_header(header: &[u8; BMP_HEADER]) -> Option<BmpHeader> {
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
    Some(BmpHeader {
        width,
        height,
        end: u64::from(pixels) + padded * u64::from(height),
        padding: padded - row,
    })
}

/// Bytes that are read at once.
const WINDOW: usize = 4096;

/// More parts than any sound file has that is worth the walk.
const PARTS: usize = 100_000;

struct Look<'a, R> {
    file: R,
    length: u64,
    limits: &'a DecodeLimits,
    /// Where the bytes at hand begin.
    start: u64,
    held: Vec<u8>,
}

impl<'a, R: Read + Seek> Look<'a, R> {
    fn new(file: R, length: u64, limits: &'a DecodeLimits) -> Self {
        Self {
            file,
            length,
            limits,
            start: 0,
            held: Vec::new(),
        }
    }

    /// The bytes from `at` on; an error behind the end.
    fn get<const N: usize>(&mut self, at: u64) -> io::Result<[u8; N]> {
        if let Some(bytes) = self.held(at) {
            return Ok(bytes);
        }
        self.file.seek(SeekFrom::Start(at))?;
        self.start = at;
        self.held.clear();
        let window = WINDOW.max(N) as u64;
        (&mut self.file).take(window).read_to_end(&mut self.held)?;
        self.held(at).ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    fn held<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let at = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.held.get(at..)?.first_chunk().copied()
    }

    /// The last bytes.
    fn last<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let at = self.length.checked_sub(N as u64);
        self.get(at.ok_or(ErrorKind::UnexpectedEof)?)
    }

    /// Whether an image of this size may be decoded, at so many bytes a pixel.
    fn fits(&self, width: u32, height: u32, bytes: u64) -> bool {
        let pixels = u64::from(width) * u64::from(height);
        let all = pixels.saturating_mul(bytes);
        pixels > 0 && pixels <= self.limits.max_pixels && all <= self.limits.max_bytes
    }

    fn whole(&mut self) -> io::Result<bool> {
        // 16 bytes tell; none of the formats fits into fewer.
        let head = self.get::<16>(0)?;
        match format::known(&head) {
            Some(ImageFormat::Jpeg) => self.jpeg(),
            Some(ImageFormat::Png) => self.png(),
            Some(ImageFormat::Gif) => self.gif(),
            Some(ImageFormat::WebP) => self.webp(),
            Some(ImageFormat::Bmp) => self.bmp(),
            Some(ImageFormat::Tiff) => Ok(self.tiff().unwrap_or(false)),
            _ => Ok(false),
        }
    }

    /// A header that leads to a scan, and the end marker at the very end.
    fn jpeg(&mut self) -> io::Result<bool> {
        let Some(frame) = self.jpeg_frame()? else {
            return Ok(false);
        };
        Ok(matches!(frame.kind, 0xC0..=0xC2)
            && frame.precision == 8
            && matches!(frame.components, 1 | 3 | 4)
            && self.fits(frame.width, frame.height, frame.components.into())
            && self.last()? == [0xFF, 0xD9])
    }

    /// The frame of a JPEG whose segments lead to a scan.
    fn jpeg_frame(&mut self) -> io::Result<Option<Frame>> {
        let mut frame = None;
        let mut at = 2;
        for _ in 0..PARTS {
            let [mark, kind] = self.get(at)?;
            match (mark, kind) {
                (0xFF, 0xFF) => {
                    at += 1;
                    continue;
                }
                (0xFF, 0xDA) => return Ok(frame),
                // DHT, JPG and DAC lie among the frames' markers.
                (0xFF, 0xC4 | 0xC8 | 0xCC) => {}
                (0xFF, 0xC0..=0xCF) => {
                    let [precision, a, b, c, d, components] = self.get(at + 4)?;
                    let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
                    frame = Some(Frame {
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
            let length = u16::from_be_bytes(self.get(at + 2)?);
            if length < 2 {
                return Ok(None);
            }
            at += 2 + u64::from(length);
        }
        Ok(None)
    }

    /// A sound header, and parts that lead to the end part.
    fn png(&mut self) -> io::Result<bool> {
        let header: [u8; 13] = self.get(16)?;
        let [
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            depth,
            color,
            compression,
            filter,
            interlace,
        ] = header;
        let [width, height] = [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes);
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
            && self.get(8)? == *b"\0\0\0\x0dIHDR"
            && u32::from_be_bytes(self.get(29)?) == mend::checksum(b"IHDR", &header)
            && self.fits(width, height, channels * u64::from(depth.div_ceil(8)));
        if !sound {
            return Ok(false);
        }
        let (mut palette, mut data) = (false, false);
        let mut at = 33;
        for _ in 0..PARTS {
            let length = u32::from_be_bytes(self.get(at)?);
            match &self.get::<4>(at + 4)? {
                b"IEND" => return Ok(length == 0 && data && at + 12 <= self.length),
                b"PLTE" if !data => palette = self.is_palette(at, length)?,
                b"IDAT" => data = palette || color != 3,
                _ => {}
            }
            at += 12 + u64::from(length);
        }
        Ok(false)
    }

    /// Whether a part of a PNG is a palette with the right checksum.
    fn is_palette(&mut self, at: u64, length: u32) -> io::Result<bool> {
        if length == 0 || length > 3 * 256 || !length.is_multiple_of(3) {
            return Ok(false);
        }
        let length = u64::from(length);
        let colors: io::Result<Vec<[u8; 3]>> = (0..length)
            .step_by(3)
            .map(|color| self.get(at + 8 + color))
            .collect();
        let sum = u32::from_be_bytes(self.get(at + 8 + length)?);
        Ok(sum == mend::checksum(b"PLTE", colors?.as_flattened()))
    }

    /// A size, and the trailer at the end.
    fn gif(&mut self) -> io::Result<bool> {
        let [a, b, c, d] = self.get(6)?;
        let [width, height] = [[a, b], [c, d]].map(u16::from_le_bytes);
        Ok(self.fits(width.into(), height.into(), 4) && self.last()? == *b";")
    }

    /// Parts that fill the declared length, with an image among them.
    fn webp(&mut self) -> io::Result<bool> {
        let end = 8 + u64::from(u32::from_le_bytes(self.get(4)?));
        if end != self.length {
            return Ok(false);
        }
        let mut size: Option<[u32; 2]> = None;
        let mut image = false;
        let mut at = 12;
        for _ in 0..PARTS {
            if at >= end {
                let fits = size.is_some_and(|[w, h]| self.fits(w, h, 4));
                return Ok(at == end && image && fits);
            }
            let length = u64::from(u32::from_le_bytes(self.get(at + 4)?));
            let kind: [u8; 4] = self.get(at)?;
            let at_data = at + 8;
            let found = match &kind {
                b"VP8X" => {
                    let [a, b, c, d, e, f] = self.get(at_data + 4)?;
                    let side = |a, b, c| 1 + u32::from_le_bytes([a, b, c, 0]);
                    Some([side(a, b, c), side(d, e, f)])
                }
                b"VP8 " => {
                    let [start @ .., a, b, c, d]: [u8; 7] = self.get(at_data + 3)?;
                    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
                    let sound = start == [0x9D, 0x01, 0x2A];
                    Some([side(a, b), side(c, d)]).filter(|_| sound)
                }
                b"VP8L" => {
                    let [mark, a, b, c, d] = self.get(at_data)?;
                    let bits = u32::from_le_bytes([a, b, c, d]);
                    let side = |bits: u32| 1 + (bits & 0x3FFF);
                    Some([side(bits), side(bits >> 14)]).filter(|_| mark == 0x2F)
                }
                _ => None,
            };
            image |= match &kind {
                b"VP8 " | b"VP8L" => found.is_some(),
                b"ANMF" => true,
                _ => false,
            };
            size = size.or(found);
            at = at_data + length.next_multiple_of(2);
        }
        Ok(false)
    }

    /// A file as long as its rows are.
    fn bmp(&mut self) -> io::Result<bool> {
        let header = bmp_header(&self.get(0)?);
        Ok(header.is_some_and(|h| h.end <= self.length && self.fits(h.width, h.height, 4)))
    }

    /// A kind that is read, and strips or tiles that lie in the file.
    fn tiff(&mut self) -> Result<bool, TiffError> {
        self.file.rewind()?;
        self.held.clear();
        let mut decoder = Decoder::new(BufReader::new(&mut self.file))?;
        let (width, height) = decoder.dimensions()?;
        let color = decoder.colortype()?;
        let format = tiff::sample_format(&mut decoder)?;
        let channels = match color {
            _ if tiff::is_deep(color, format) => 1,
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
        let length = self.length;
        let inside = offsets.len() == lengths.len()
            && offsets.iter().zip(&lengths).all(|(offset, bytes)| {
                *bytes > 0 && offset.checked_add(*bytes).is_some_and(|end| end <= length)
            });
        let row = (u64::from(width) * bits).div_ceil(8);
        let all: u64 = lengths.iter().fold(0, |all, n| all.saturating_add(*n));
        let enough = compression != none || all >= row.saturating_mul(height.into());
        Ok(inside && enough && self.fits(width, height, bits.div_ceil(8)))
    }
}
