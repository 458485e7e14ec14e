//! The bytes of a file, wherever they are asked for.

use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};

use super::options::DecodeOptions;

/// Bytes that are read at once.
const WINDOW: usize = 4096;

/// More parts than any sound file has that is worth the walk.
pub(super) const MAX_PARTS: usize = 100_000;

/// A file of which a window is held in memory.
pub(super) struct FileWindow<'a, R> {
    file: R,
    pub(super) length: u64,
    limits: &'a DecodeOptions,
    /// Where the bytes at hand begin.
    start: u64,
    held: Vec<u8>,
}

impl<'a, R: Read + Seek> FileWindow<'a, R> {
    pub(super) fn new(file: R, length: u64, limits: &'a DecodeOptions) -> Self {
        Self {
            file,
            length,
            limits,
            start: 0,
            held: Vec::new(),
        }
    }

    /// The bytes from `at` on; an error behind the end.
    pub(super) fn get<const N: usize>(&mut self, at: u64) -> io::Result<[u8; N]> {
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
    pub(super) fn last<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let at = self.length.checked_sub(N as u64);
        self.get(at.ok_or(ErrorKind::UnexpectedEof)?)
    }

    /// Whether an image of this size may be decoded, at so many bytes a pixel.
    pub(super) fn fits(&self, width: u32, height: u32, bytes: u64) -> bool {
        let pixels = u64::from(width) * u64::from(height);
        let all = pixels.saturating_mul(bytes);
        pixels > 0 && pixels <= self.limits.max_pixels && all <= self.limits.max_bytes
    }

    /// The whole file from its beginning.
    pub(super) fn reader(&mut self) -> io::Result<BufReader<&mut R>> {
        self.file.rewind()?;
        self.held.clear();
        Ok(BufReader::new(&mut self.file))
    }
}
