//! Reader of IDX files, the format of the MNIST family of data sets: a big-endian header with a
//! magic number and the extent of each dimension, then the bytes in row-major order. A file may
//! be plain or compressed with gzip; which of the two is told by its first bytes, not its name.
//!
//! A damaged file is an error that names what was expected and what was found. No more is read
//! or decompressed than the header announces and one byte, and memory grows with the bytes that
//! really arrive, so that a header cannot ask for more than the file delivers.
//!
//! Source of the format: "The IDX file format", <http://yann.lecun.com/exdb/mnist/>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::files::hex;

const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The most bytes that a file may announce, 1 GiB. The largest data set of the family, EMNIST, has
/// 0.6 GB; gzip turns a small file of zeros into a thousand times its size.
const MAX_BYTES: u64 = 1 << 30;

/// The images of an IDX file.
#[derive(Debug)]
pub(crate) struct Images {
    /// The number of images, at least 1.
    pub(crate) count: usize,
    /// The height of each image in pixels, at least 1.
    pub(crate) height: usize,
    /// The width of each image in pixels, at least 1.
    pub(crate) width: usize,
    /// `count * height * width` grey values, row by row.
    pub(crate) pixels: Vec<u8>,
}

/// Reads a file of images (`idx3-ubyte`). With `content_sha256`, the lower-case SHA-256 of the
/// decompressed content, another content is an error too.
pub(crate) fn read_images(path: &Path, content_sha256: Option<&str>) -> Result<Images> {
    let mut reader = Reader::open(path)?.hashing(content_sha256.is_some());
    let images = reader.images()?;
    reader.finish(content_sha256)?;
    Ok(images)
}

/// Reads a file of labels (`idx1-ubyte`), each below `num_classes`. With `content_sha256`, the
/// lower-case SHA-256 of the decompressed content, another content is an error too.
pub(crate) fn read_labels(
    path: &Path,
    num_classes: usize,
    content_sha256: Option<&str>,
) -> Result<Vec<u8>> {
    let mut reader = Reader::open(path)?.hashing(content_sha256.is_some());
    let labels = reader.labels(num_classes)?;
    reader.finish(content_sha256)?;
    Ok(labels)
}

/// The lower-case SHA-256 of the decompressed content of a file, whatever it holds.
#[cfg(feature = "download")]
pub(crate) fn content_sha256(path: &Path) -> Result<String> {
    let mut reader = Reader::open(path)?.hashing(true);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.inner.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => reader.passed(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(reader.failed(error, MAX_BYTES)),
        }
        if reader.position > MAX_BYTES {
            return Err(reader.data(at_most(), format!("{} bytes or more", reader.position)));
        }
    }
    Ok(hex(&reader.hasher.unwrap_or_default().finalize()))
}

/// Reads IDX files one after the other from one stream.
pub(crate) struct Reader<'a> {
    path: PathBuf,
    inner: Box<dyn Read + 'a>,
    /// The decompressed bytes read so far.
    position: u64,
    /// The decompressed bytes read before the current IDX file.
    start: u64,
    hasher: Option<Sha256>,
}

impl<'a> Reader<'a> {
    /// A reader of a file, plain or compressed with gzip.
    pub(crate) fn open(path: &Path) -> Result<Reader<'static>> {
        let mut file = BufReader::new(File::open(path).map_err(Error::io("read", path))?);
        let mut head = Vec::new();
        Read::take(&mut file, GZIP_MAGIC.len() as u64)
            .read_to_end(&mut head)
            .map_err(Error::io("read", path))?;
        let compressed = head == GZIP_MAGIC;
        let whole = io::Cursor::new(head).chain(file);
        let inner: Box<dyn Read> = if compressed {
            // `MultiGzDecoder` and not `GzDecoder`, which would overlook what follows the first
            // member.
            Box::new(MultiGzDecoder::new(whole))
        } else {
            Box::new(whole)
        };
        Ok(Reader::new(path, inner))
    }

    /// A reader of gzip data in memory; `path` is what errors call them.
    #[cfg(feature = "fashion-mnist-mini")]
    pub(crate) fn from_gzip(path: &Path, bytes: &'a [u8]) -> Self {
        Reader::new(path, Box::new(MultiGzDecoder::new(bytes)))
    }

    fn new(path: &Path, inner: Box<dyn Read + 'a>) -> Self {
        Reader {
            path: path.to_path_buf(),
            inner,
            position: 0,
            start: 0,
            hasher: None,
        }
    }

    fn hashing(mut self, hashing: bool) -> Self {
        self.hasher = hashing.then(Sha256::new);
        self
    }

    /// Reads an IDX file of images.
    pub(crate) fn images(&mut self) -> Result<Images> {
        self.start = self.position;
        let [count, height, width] = self.header(IMAGES_MAGIC)?;
        if count == 0 {
            return Err(self.data("at least one image", "0 images"));
        }
        if height == 0 || width == 0 {
            let found = format!("{height} × {width}");
            return Err(self.data("images of at least 1 × 1 pixels", found));
        }
        let what = format!("{count} images of {height} × {width} pixels");
        let sides = [count, height, width];
        let bytes = sides
            .iter()
            .try_fold(1_u64, |n, side| n.checked_mul((*side).into()));
        let Some(bytes) = bytes else {
            return Err(self.data(at_most(), format!("a header that announces {what}")));
        };
        let pixels = self.body(bytes, &what)?;
        Ok(Images {
            count: count as usize,
            height: height as usize,
            width: width as usize,
            pixels,
        })
    }

    /// Reads an IDX file of labels below `num_classes`.
    pub(crate) fn labels(&mut self, num_classes: usize) -> Result<Vec<u8>> {
        self.start = self.position;
        let [count] = self.header(LABELS_MAGIC)?;
        if count == 0 {
            return Err(self.data("at least one label", "0 labels"));
        }
        let labels = self.body(u64::from(count), &format!("{count} labels"))?;
        let wrong = labels.iter().position(|l| usize::from(*l) >= num_classes);
        if let Some(index) = wrong {
            let found = format!("label {} at index {index}", labels[index]);
            return Err(self.data(format!("labels below {num_classes}"), found));
        }
        Ok(labels)
    }

    /// Makes sure that nothing follows, which for gzip also checks its length and checksum, and
    /// that the content has the SHA-256 given.
    pub(crate) fn finish(mut self, content_sha256: Option<&str>) -> Result<()> {
        let end = self.position;
        if !self.read_up_to(1, end)?.is_empty() {
            return Err(self.data(format!("{end} bytes, as the header announces"), "more"));
        }
        if let (Some(expected), Some(hasher)) = (content_sha256, self.hasher.take()) {
            let found = hex(&hasher.finalize());
            if found != expected {
                let expected = format!("content with SHA-256 {expected}");
                return Err(self.data(expected, format!("SHA-256 {found}")));
            }
        }
        Ok(())
    }

    fn header<const DIMENSIONS: usize>(&mut self, magic: u32) -> Result<[u32; DIMENSIONS]> {
        let length = 4 * (1 + DIMENSIONS as u64);
        // The magic number on its own first: in a file of another kind that happens to be short,
        // it is the more telling error.
        let [found] = self.words::<1>(length)?;
        if found != magic {
            let expected = format!("the IDX magic number 0x{magic:08x}");
            return Err(self.data(expected, format!("0x{found:08x}")));
        }
        self.words(length)
    }

    fn words<const COUNT: usize>(&mut self, header: u64) -> Result<[u32; COUNT]> {
        let end = self.start + header;
        let bytes = self.read_up_to(4 * COUNT as u64, end)?;
        let (words, _) = bytes.as_chunks::<4>();
        let words: Vec<u32> = words.iter().map(|&word| u32::from_be_bytes(word)).collect();
        words.try_into().map_err(|_| {
            let found = format!("{} bytes", self.position - self.start);
            self.data(format!("an IDX header of {header} bytes"), found)
        })
    }

    fn body(&mut self, bytes: u64, what: &str) -> Result<Vec<u8>> {
        if bytes > MAX_BYTES {
            return Err(self.data(at_most(), format!("a header that announces {what}")));
        }
        let end = self.position + bytes;
        let content = self.read_up_to(bytes, end)?;
        if self.position < end {
            let expected = format!("{} bytes ({what} and the header)", end - self.start);
            let found = format!("{} bytes", self.position - self.start);
            return Err(self.data(expected, found));
        }
        Ok(content)
    }

    /// Reads `bytes` bytes, or all there are if there are fewer. `end` is how many bytes the whole
    /// content should have, for the error.
    fn read_up_to(&mut self, bytes: u64, end: u64) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let outcome = Read::take(&mut self.inner, bytes).read_to_end(&mut content);
        self.passed(&content);
        match outcome {
            Ok(_) => {
                content.shrink_to_fit();
                Ok(content)
            }
            Err(error) => Err(self.failed(error, end)),
        }
    }

    fn passed(&mut self, bytes: &[u8]) {
        self.position += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }

    /// The error for a failed read: these three kinds are how the decoder reports damaged data,
    /// every other one comes from the file system.
    fn failed(&self, error: io::Error, end: u64) -> Error {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        let position = self.position;
        match error.kind() {
            UnexpectedEof => self.data(
                format!("complete gzip data of at least {end} bytes, decompressed"),
                format!("gzip data cut off after {position} bytes"),
            ),
            InvalidInput | InvalidData => self.data(
                "sound gzip data",
                format!("damage after {position} decompressed bytes: {error}"),
            ),
            _ => Error::io("read", &self.path)(error),
        }
    }

    fn data(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        Error::data(&self.path, expected, found)
    }
}

fn at_most() -> String {
    format!("at most {MAX_BYTES} bytes")
}
