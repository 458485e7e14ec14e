//! Reads weights files: safetensors, and the files `torch.save` writes (`.pth`, `.pt`, `.bin`).
//!
//! The format is told by a file's content; its extension is not looked at. Opening a file reads
//! its table of contents only, values are read tensor by tensor when they are asked for, and files
//! are never mapped into memory, since a file that shrinks under a map kills the process.
//!
//! What a file says about itself is not believed. These are errors, and never a panic, a hang or
//! an unbounded allocation:
//!
//! - safetensors: a header longer than the file or than the format allows, no or ambiguous JSON,
//!   shapes whose size overflows or contradicts their offsets, and data that overlap, leave holes,
//!   or do not end where the file does;
//! - PyTorch: a pickle that refers to anything but tensors and plain values among the weights (no
//!   code of a file is ever run), compressed archives, pickles that unfold into far more than they
//!   hold, and tensors larger than the file, which are one element expanded;
//! - both: NaN and infinities, when the values are read;
//! - everything else, with a word on what it seems to be.
//!
//! PyTorch files are read by the crate `pytorch-reader`, which runs no code either. It does not
//! bound what a pickle unfolds into, though: a few hundred bytes can make it take gigabytes, or
//! nest deeply enough to overflow the stack. So a pickle's instructions are followed and counted
//! here before it gets to see them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pytorch_reader::{PickleError, PickleValue, PytorchError, PytorchReader};
use safetensors::Dtype;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use zip::{CompressionMethod, ZipArchive};

use crate::error::{Error, Result};

/// Element type of a tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DType {
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single-precision number.
    BF16,
    /// IEEE 754 single precision.
    F32,
    /// Any other type, which no weights are read from: `f64`, `i64`, `u8`, `bool` and so on.
    Other(String),
}

impl DType {
    /// Whether [`WeightsFile::read_f32`] reads this type. All of its values are then exact as
    /// `f32`.
    pub fn is_loadable(&self) -> bool {
        !matches!(self, DType::Other(_))
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::Other(name) => name,
        })
    }
}

fn safetensors_dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        other => DType::Other(other.to_string().to_lowercase()),
    }
}

fn pytorch_dtype(dtype: pytorch_reader::DType) -> DType {
    match dtype {
        pytorch_reader::DType::F16 => DType::F16,
        pytorch_reader::DType::BF16 => DType::BF16,
        pytorch_reader::DType::F32 => DType::F32,
        other => DType::Other(format!("{other:?}").to_lowercase()),
    }
}

/// What a file says of one of its tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Length of each dimension, outermost first; empty for a single number.
    pub shape: Vec<usize>,
    /// Type of the elements.
    pub dtype: DType,
}

/// An open weights file: its table of contents, and the means to read its values.
///
/// Names are those of the model's state dict. A PyTorch checkpoint that keeps its weights under
/// `state_dict`, `model` or `model_state_dict` (the first of these that holds tensors) counts with
/// what lies there and nothing else; averaged copies such as `state_dict_ema` are never taken in
/// its place. The prefixes `module.` and `_orig_mod.`, which PyTorch's parallel and compiled
/// wrappers add, are taken off when all names carry them.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    tensors: BTreeMap<String, TensorInfo>,
    metadata: BTreeMap<String, String>,
    source: Source,
}

/// Where the values of an open file come from; the keys are those of `WeightsFile::tensors`.
#[derive(Debug)]
enum Source {
    Safetensors {
        file: Mutex<File>,
        /// Where each tensor begins, counted from the start of the file.
        begins: BTreeMap<String, u64>,
    },
    PyTorch(BTreeMap<String, pytorch_reader::Tensor>),
}

impl WeightsFile {
    /// Opens a file and reads its table of contents, but no values.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be read, [`Error::WeightsFormat`] if it is something else
    /// than a weights file, or a damaged or hostile one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::open_inner(path).map_err(|failure| failure.at(path))
    }

    fn open_inner(path: &Path) -> Result<Self, Failure> {
        // Looked at before opening, which waits for a writer if the file is a named pipe.
        let found = std::fs::metadata(path)?;
        if found.is_dir() {
            return Err(Failure::format("it is a directory, not a file"));
        }
        if !found.is_file() {
            return Err(Failure::format("it is not a regular file"));
        }
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        if length == 0 {
            return Err(Failure::format("it is empty"));
        }
        let mut head = Vec::new();
        (&mut file).take(HEAD).read_to_end(&mut head)?;

        let (tensors, metadata, source) = match Format::of(&head).map_err(Failure::Format)? {
            Format::Safetensors { header } => {
                let header = SafetensorsHeader::read(&mut file, header, length)?;
                let located = strip_wrappers(header.locate(length)?);
                let begins = located.iter().map(|(n, (_, b))| (n.clone(), *b)).collect();
                let tensors = located.into_iter().map(|(n, (t, _))| (n, t)).collect();
                let file = Mutex::new(file);
                let source = Source::Safetensors { file, begins };
                (tensors, header.metadata, source)
            }
            Format::Zip => {
                check_archive(file)?;
                open_pytorch(path, length)?
            }
            Format::Pickle { count } => {
                file.seek(SeekFrom::Start(0))?;
                check_pickles(&mut BufReader::new(file), count)?;
                open_pytorch(path, length)?
            }
        };
        if tensors.is_empty() {
            return Err(Failure::format("it holds no tensors"));
        }
        Ok(Self {
            path: path.to_path_buf(),
            tensors,
            metadata,
            source,
        })
    }

    /// The path the file was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file holds, by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// The `__metadata__` of a safetensors file; empty for the other formats.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Reads the values of one tensor in row-major order. `f16` and `bf16` are widened, which
    /// changes no value.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsFormat`] if there is no such tensor, its type is not
    /// [loadable](DType::is_loadable), or its data are damaged; [`Error::NonFinite`] if a value is
    /// NaN or infinite; [`Error::Io`] if the file cannot be read.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        match self.read_into(name, &mut values) {
            Ok(()) => Ok(values),
            Err(ReadFailure::File(failure)) => Err(failure.at(&self.path)),
            Err(ReadFailure::NonFinite { index, value }) => Err(Error::NonFinite {
                path: self.path.clone(),
                tensor: name.to_owned(),
                index,
                value,
            }),
        }
    }

    fn read_into(&self, name: &str, values: &mut Vec<f32>) -> Result<(), ReadFailure> {
        let Some(info) = self.tensors.get(name) else {
            return Err(Failure::Format(format!("it holds no tensor `{}`", shown(name))).into());
        };
        let size = match info.dtype {
            DType::F16 | DType::BF16 => 2,
            DType::F32 => 4,
            DType::Other(_) => {
                return Err(Failure::Format(format!(
                    "tensor `{}` is {}; expected f32, f16 or bf16",
                    shown(name),
                    info.dtype
                ))
                .into());
            }
        };
        // `open` has checked that neither this nor the length in bytes overflows.
        let count = info.shape.iter().product::<usize>();
        // Opening has checked that the file is long enough for all of them, but a sparse file can
        // be longer than the memory.
        values
            .try_reserve_exact(count)
            .map_err(|_| Failure::Io(io::ErrorKind::OutOfMemory.into()))?;

        match &self.source {
            Source::Safetensors { file, begins } => {
                let begin = begins.get(name).copied().unwrap_or_default();
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(begin)).map_err(Failure::from)?;
                let mut left = count * size;
                let mut block = vec![0; left.min(BLOCK)];
                while left > 0 {
                    let block = &mut block[..left.min(BLOCK)];
                    file.read_exact(block).map_err(|error| match error.kind() {
                        io::ErrorKind::UnexpectedEof => {
                            Failure::format("it has become shorter since it was opened")
                        }
                        _ => Failure::Io(error),
                    })?;
                    left -= block.len();
                    if cfg!(target_endian = "big") {
                        block.chunks_exact_mut(size).for_each(<[u8]>::reverse);
                    }
                    widen(&info.dtype, block, values)?;
                }
            }
            Source::PyTorch(tensors) => {
                if let Some(tensor) = tensors.get(name) {
                    let bytes = tensor.read().map_err(Failure::from)?;
                    widen(&info.dtype, &bytes, values)?;
                }
            }
        }
        if values.len() == count {
            Ok(())
        } else {
            Err(Failure::Format(format!(
                "tensor `{}` has {} values, but its shape says {count}",
                shown(name),
                values.len()
            ))
            .into())
        }
    }
}

/// How many bytes of a safetensors file are read at once; a multiple of every element's size.
const BLOCK: usize = 1 << 18;

/// Appends elements in this machine's byte order.
fn widen(dtype: &DType, bytes: &[u8], values: &mut Vec<f32>) -> Result<(), ReadFailure> {
    let begin = values.len();
    match dtype {
        DType::F16 => values
            .extend((bytes.as_chunks().0.iter()).map(|b| half::f16::from_ne_bytes(*b).to_f32())),
        DType::BF16 => values
            .extend((bytes.as_chunks().0.iter()).map(|b| half::bf16::from_ne_bytes(*b).to_f32())),
        DType::F32 => {
            values.extend((bytes.as_chunks().0.iter()).map(|b| f32::from_ne_bytes(*b)));
        }
        DType::Other(_) => {}
    }
    let mut new = values.iter().enumerate().skip(begin);
    match new.find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((index, &value)) => Err(ReadFailure::NonFinite { index, value }),
    }
}

// ---- Errors -------------------------------------------------------------------------------------

/// An error before it is told which file it is about.
#[derive(Debug)]
enum Failure {
    Io(io::Error),
    Format(String),
}

#[derive(Debug)]
enum ReadFailure {
    File(Failure),
    NonFinite { index: usize, value: f32 },
}

impl From<Failure> for ReadFailure {
    fn from(failure: Failure) -> Self {
        ReadFailure::File(failure)
    }
}

impl Failure {
    fn format(reason: &str) -> Self {
        Failure::Format(reason.to_owned())
    }

    fn at(self, path: &Path) -> Error {
        match self {
            Failure::Io(source) => Error::io("read", path)(source),
            Failure::Format(reason) => Error::WeightsFormat {
                path: path.to_path_buf(),
                reason,
            },
        }
    }
}

impl From<io::Error> for Failure {
    /// Readers report damage as an I/O error of one of these two kinds; any other is the operating
    /// system's.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Failure::Format(format!("it is damaged: {}", shown(&error.to_string())))
            }
            _ => Failure::Io(error),
        }
    }
}

/// Text from a file as it may stand in a message: on one line, without control characters, and
/// short.
fn shown(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

// ---- Telling formats apart ----------------------------------------------------------------------

/// How many bytes of a file tell its format.
const HEAD: u64 = 512;

/// The longest header of a safetensors file, by the format's definition.
const LONGEST_HEADER: u64 = 100_000_000;

const EXPECTED: &str = "expected a safetensors or PyTorch file";

/// The number that begins a PyTorch file of before 1.6, in the binary and in the text encoding.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const LEGACY_MAGIC_TEXT: &[u8] = b"119547037146038801333356";

#[derive(Debug, PartialEq)]
enum Format {
    Safetensors {
        header: u64,
    },
    Zip,
    /// `count` pickles in a row, at the start of the file.
    Pickle {
        count: usize,
    },
}

impl Format {
    /// The format by the first bytes of a file, or what the file is instead.
    fn of(head: &[u8]) -> Result<Format, String> {
        let header = head.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let brace = head.get(8) == Some(&b'{');
        // First, because the header's length can begin with the same bytes as another format; none
        // of them has the four zeros that follow here.
        if let (Some(header @ ..=LONGEST_HEADER), true) = (header, brace) {
            return Ok(Format::Safetensors { header });
        }
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            return Ok(Format::Zip);
        }
        if head.get(257..262) == Some(b"ustar") {
            return Err(format!(
                "{EXPECTED}, found a TAR archive, as PyTorch before 0.1.10 wrote them; load it \
                 with PyTorch and save it again"
            ));
        }
        let opening = &head[..head.len().min(64)];
        let contains = |magic: &[u8]| opening.windows(magic.len()).any(|bytes| bytes == magic);
        if contains(&LEGACY_MAGIC) || contains(LEGACY_MAGIC_TEXT) {
            // The magic number, the format's version, the machine, the object and the list of
            // storages, each by itself.
            return Ok(Format::Pickle { count: 5 });
        }
        if let Some(kind) = known_binary(head) {
            return Err(format!("{EXPECTED}, found {kind}"));
        }
        // A pickle may consist of printable characters only, so it comes before texts.
        if matches!(head, [0x80, 0..=5, ..] | [b'(' | b'c' | b'}' | b']', ..]) {
            return Ok(Format::Pickle { count: 1 });
        }
        if let Some(kind) = known_text(head) {
            return Err(format!("{EXPECTED}, found {kind}"));
        }
        if let (Some(header), true) = (header, brace) {
            return Err(format!(
                "its safetensors header is said to be {header} bytes long; the format allows \
                 {LONGEST_HEADER}"
            ));
        }
        Err(format!(
            "{EXPECTED}, but its first bytes are those of neither"
        ))
    }
}

/// What a file that holds no weights, or none in a format that is read here, seems to be.
fn known_binary(head: &[u8]) -> Option<&'static str> {
    const MAGICS: [(&[u8], &str); 13] = [
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"GIF8", "a GIF image"),
        (b"RIFF", "a RIFF file, such as a WebP image"),
        (b"%PDF", "a PDF document"),
        (b"\x1f\x8b", "a gzip file; unpack it first"),
        (b"BZh", "a bzip2 file; unpack it first"),
        (b"\xfd7zXZ\0", "an xz file; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard file; unpack it first"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras weights"),
        (b"GGUF", "a GGUF file"),
        (b"\x93NUMPY", "a NumPy array"),
    ];
    if let Some((_, kind)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(kind);
    }
    if head.get(4..8) == Some(b"TFL3") {
        return Some("a TensorFlow Lite model");
    }
    // Protocol buffers have no magic number; an ONNX model begins with its format's version, then
    // the name of the program that wrote it or the graph.
    if matches!(head, [0x08, 1..=32, 0x12 | 0x1a | 0x22 | 0x3a, ..]) {
        return Some("a protocol buffer, such as an ONNX model");
    }
    None
}

/// The same for a file that is a text.
fn known_text(head: &[u8]) -> Option<String> {
    // The head may end in the middle of a character.
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if text.contains(|c: char| c.is_control() && !c.is_ascii_whitespace()) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim();
    let begins = |prefix: &str| {
        (text.get(..prefix.len())).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let kind = if begins("version https://git-lfs") {
        "a Git LFS pointer; fetch the real file with `git lfs pull`"
    } else if begins("<!doctype html") || begins("<html") {
        "an HTML page, perhaps the error page of a failed download"
    } else if begins("<") {
        "an XML document, perhaps the error page of a failed download"
    } else if begins("{") || begins("[") {
        "a JSON text; a checkpoint in several parts is not supported"
    } else {
        let line: String = (text.lines().next().unwrap_or_default().chars())
            .take(60)
            .collect();
        return Some(format!("a text that begins with \"{}\"", shown(&line)));
    };
    Some(kind.to_owned())
}

// ---- Names and sizes, in either format ----------------------------------------------------------

/// The most dimensions a tensor may have, as in PyTorch. Rearranging a view's elements takes time
/// in proportion to it.
const MOST_DIMENSIONS: usize = 64;

/// Prefixes by wrappers of PyTorch: data-parallel training and compilation.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Takes off wrappers' prefixes as long as all names carry one.
fn strip_wrappers<T>(mut entries: BTreeMap<String, T>) -> BTreeMap<String, T> {
    // As often as wrappers are nested in earnest. Names made of nothing but prefixes would
    // otherwise take time in proportion to the square of their length.
    for _ in 0..4 {
        let shared = WRAPPERS.iter().find(|prefix| {
            (entries.keys()).all(|name| name.len() > prefix.len() && name.starts_with(**prefix))
        });
        let Some(prefix) = shared else { break };
        entries = (entries.into_iter())
            .map(|(name, value)| (name.split_at(prefix.len()).1.to_owned(), value))
            .collect();
    }
    entries
}

fn check_rank(name: &str, rank: usize) -> Result<(), Failure> {
    if rank <= MOST_DIMENSIONS {
        return Ok(());
    }
    Err(Failure::Format(format!(
        "tensor `{}` has {rank} dimensions; at most {MOST_DIMENSIONS} are supported",
        shown(name)
    )))
}

// ---- safetensors --------------------------------------------------------------------------------

/// The header of a safetensors file.
#[derive(Debug)]
struct SafetensorsHeader {
    /// Its own length, without the eight bytes that state it.
    length: u64,
    tensors: BTreeMap<String, SafetensorsEntry>,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with `dtype`, `shape` and `data_offsets`")]
struct SafetensorsEntry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Where the data begin and end, counted from the end of the header.
    data_offsets: [u64; 2],
}

impl SafetensorsHeader {
    fn read(file: &mut File, length: u64, file_length: u64) -> Result<Self, Failure> {
        let rest = file_length.saturating_sub(8);
        if length > rest {
            return Err(Failure::Format(format!(
                "its safetensors header is said to be {length} bytes long, but the file ends \
                 after {rest}; perhaps the download is incomplete"
            )));
        }
        file.seek(SeekFrom::Start(8))?;
        let mut text = Vec::new();
        file.take(length).read_to_end(&mut text)?;
        let Entries { tensors, metadata } = serde_json::from_slice(&text).map_err(|error| {
            Failure::Format(format!(
                "its safetensors header is not valid: {}",
                shown(&error.to_string())
            ))
        })?;
        Ok(Self {
            length,
            tensors,
            metadata,
        })
    }

    /// The tensors and where each begins in the file, after checking that the data fit the shapes
    /// and fill the file without overlaps and gaps.
    ///
    /// The safetensors crate checks the same, but says neither which tensor is wrong nor how, and
    /// lets a name stand twice.
    fn locate(&self, file_length: u64) -> Result<BTreeMap<String, (TensorInfo, u64)>, Failure> {
        let mut in_order: Vec<_> = self.tensors.iter().collect();
        in_order.sort_by_key(|(_, entry)| entry.data_offsets);

        let start = self.length + 8;
        let mut located = BTreeMap::new();
        let mut position = 0;
        for (name, entry) in in_order {
            let [begin, end] = entry.data_offsets;
            let dtype = safetensors_dtype(entry.dtype);
            check_rank(name, entry.shape.len())?;
            let wrong = |what: String| Failure::Format(format!("tensor `{}` {what}", shown(name)));
            let bytes = byte_length(&entry.shape, entry.dtype).ok_or_else(|| {
                wrong(format!(
                    "is said to be {dtype} of shape {:?}, which is no possible size",
                    entry.shape
                ))
            })?;
            if end.checked_sub(begin) != Some(bytes) {
                return Err(wrong(format!(
                    "is {dtype} of shape {:?}, which takes {bytes} bytes, but its data are said \
                     to span {begin}..{end}",
                    entry.shape
                )));
            }
            if begin < position {
                return Err(wrong(format!(
                    "begins at byte {begin} of the data, inside the tensor that ends at {position}"
                )));
            }
            if begin > position {
                return Err(wrong(format!(
                    "begins at byte {begin} of the data, but the one before it ends at {position}"
                )));
            }
            position = end;
            let shape = entry.shape.clone();
            let info = TensorInfo { shape, dtype };
            located.insert(name.clone(), (info, start.saturating_add(begin)));
        }

        let present = file_length.saturating_sub(start);
        if position > present {
            return Err(Failure::Format(format!(
                "its tensors take {position} bytes, but the file holds only {present} after the \
                 header; perhaps the download is incomplete"
            )));
        }
        if position < present {
            return Err(Failure::Format(format!(
                "its tensors take {position} bytes, but the file holds {present} after the header"
            )));
        }
        Ok(located)
    }
}

/// `None` if the size overflows or is no whole number of bytes.
fn byte_length(shape: &[usize], dtype: Dtype) -> Option<u64> {
    let count = (shape.iter()).try_fold(1_usize, |count, &size| count.checked_mul(size))?;
    let bits = count.checked_mul(dtype.bitsize())?;
    if bits.is_multiple_of(8) {
        u64::try_from(bits / 8).ok()
    } else {
        None
    }
}

/// The JSON object that is the header. A name that stands twice is an error: readers differ in
/// which of the two they take.
struct Entries {
    tensors: BTreeMap<String, SafetensorsEntry>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut tensors = BTreeMap::new();
                let mut metadata = None;
                while let Some(name) = map.next_key::<String>()? {
                    let seen = if name == "__metadata__" {
                        let value = map.next_value::<Option<Strings>>()?;
                        let value = value.map(|strings| strings.0).unwrap_or_default();
                        metadata.replace(value).is_some()
                    } else {
                        let entry = map.next_value().map_err(|error| {
                            A::Error::custom(format!("tensor `{}`: {error}", shown(&name)))
                        })?;
                        tensors.insert(name.clone(), entry).is_some()
                    };
                    if seen {
                        return Err(A::Error::custom(format!("`{}` stands twice", shown(&name))));
                    }
                }
                Ok(Entries {
                    tensors,
                    metadata: metadata.unwrap_or_default(),
                })
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// An object of strings, in which no name may stand twice either.
struct Strings(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringsVisitor;

        impl<'de> Visitor<'de> for StringsVisitor {
            type Value = Strings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strings, A::Error> {
                let mut strings = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if strings.contains_key(&name) {
                        return Err(A::Error::custom(format!(
                            "`{}` stands twice in `__metadata__`",
                            shown(&name)
                        )));
                    }
                    strings.insert(name, value);
                }
                Ok(Strings(strings))
            }
        }

        deserializer.deserialize_map(StringsVisitor)
    }
}

// ---- PyTorch ------------------------------------------------------------------------------------

/// Where a checkpoint may keep its weights, best first.
const NEST_KEYS: [&str; 3] = ["state_dict", "model", "model_state_dict"];

/// What the reader calls a tensor in a tree of plain values.
const TENSOR: &str = "torch.Tensor";

/// Objects beside the tensors of a state dict that hold no code: whole numbers of more than 64
/// bits, shapes, devices, and raw storages.
const HARMLESS: [&str; 5] = [
    "int",
    "torch.Size",
    "torch.device",
    "torch.TypedStorage",
    "torch.UntypedStorage",
];

/// The most bytes that the names of all tensors may take. A name is the path of a tensor through
/// nested dictionaries, so that one long key can become part of every name.
const MOST_NAME_BYTES: usize = 16 << 20;

type Contents = (
    BTreeMap<String, TensorInfo>,
    BTreeMap<String, String>,
    Source,
);

/// Opens a PyTorch file that has passed [`check_archive`] or [`check_pickles`].
fn open_pytorch(path: &Path, file_length: u64) -> Result<Contents, Failure> {
    // The tree of values tells the keys at the top level apart from those further down, which the
    // flat list of tensors does not: a state dict may have names that begin with `model.`.
    let root = PytorchReader::read_pickle_data(path, None).map_err(pytorch_failure)?;
    let (key, chosen) = choose_weights(&root)?;
    let mut names = Names::default();
    names.collect(chosen, 0)?;
    drop(root);

    let reader = match key {
        Some(key) => PytorchReader::with_top_level_key(path, key),
        None => PytorchReader::new(path),
    };
    let found: BTreeMap<_, _> = reader
        .map_err(pytorch_failure)?
        .into_tensors()
        .into_iter()
        .collect();
    for (name, tensor) in &found {
        check_rank(name, tensor.shape().len())?;
        let bytes = tensor.byte_len() as u64;
        if bytes > file_length {
            return Err(Failure::Format(format!(
                "tensor `{}` of shape {:?} takes {bytes} bytes, but the whole file has \
                 {file_length}; save a contiguous copy of it",
                shown(name),
                tensor.shape()
            )));
        }
    }
    let tensors = strip_wrappers(found);
    let infos = (tensors.iter())
        .map(|(name, tensor)| {
            let shape = tensor.shape().to_vec();
            let dtype = pytorch_dtype(tensor.dtype());
            (name.clone(), TensorInfo { shape, dtype })
        })
        .collect();
    Ok((infos, BTreeMap::new(), Source::PyTorch(tensors)))
}

/// The part of a checkpoint that holds the weights, and its key unless it is the whole.
fn choose_weights(root: &PickleValue) -> Result<(Option<&'static str>, &PickleValue), Failure> {
    let entries = match root {
        PickleValue::Dict(entries) => entries,
        PickleValue::Unsupported(name) if name != TENSOR && !HARMLESS.contains(&name.as_str()) => {
            return Err(refused("it", name));
        }
        other => {
            return Err(Failure::Format(format!(
                "it holds {}; expected a state dict, which is a dictionary of tensors",
                match other {
                    PickleValue::None => "None",
                    PickleValue::Bool(_) => "a bool",
                    PickleValue::Int(_) => "an int",
                    PickleValue::Float(_) => "a float",
                    PickleValue::String(_) => "a string",
                    PickleValue::Bytes(_) => "bytes",
                    PickleValue::List(_) => "a list or tuple",
                    PickleValue::Dict(_) => "a dictionary",
                    PickleValue::Unsupported(name) if name == TENSOR => "a single tensor",
                    PickleValue::Unsupported(_) => "a single object",
                }
            )));
        }
    };
    for key in NEST_KEYS {
        if let Some(nested @ PickleValue::Dict(_)) = entries.get(key)
            && holds_tensors(nested)
        {
            return Ok((Some(key), nested));
        }
    }
    Ok((None, root))
}

fn holds_tensors(value: &PickleValue) -> bool {
    match value {
        PickleValue::Dict(entries) => entries.values().any(holds_tensors),
        PickleValue::List(items) => items.iter().any(holds_tensors),
        PickleValue::Unsupported(name) => name == TENSOR,
        _ => false,
    }
}

fn refused(what: &str, name: &str) -> Failure {
    Failure::Format(format!(
        "{what} refers to the Python object `{}`; only tensors and plain values are accepted, and \
         no code of a file is run",
        shown(name)
    ))
}

/// Goes through the weights as the reader will, before it does.
#[derive(Debug, Default)]
struct Names {
    path: String,
    tensors: BTreeSet<String>,
    bytes: usize,
}

impl Names {
    fn collect(&mut self, value: &PickleValue, depth: usize) -> Result<(), Failure> {
        match value {
            PickleValue::Dict(entries) => {
                // In order, so that of two errors it is always the same that is reported.
                let entries: BTreeMap<_, _> = entries.iter().collect();
                for (key, value) in entries {
                    self.enter(key, value, depth)?;
                }
                Ok(())
            }
            PickleValue::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.enter(&index.to_string(), item, depth)?;
                }
                Ok(())
            }
            PickleValue::Unsupported(name) if name == TENSOR => {
                self.bytes = self.bytes.saturating_add(self.path.len());
                if self.bytes > MOST_NAME_BYTES {
                    return Err(Failure::Format(format!(
                        "the names of its tensors take more than {MOST_NAME_BYTES} bytes"
                    )));
                }
                // The reader would keep one of the two, and not always the same.
                if !self.tensors.insert(self.path.clone()) {
                    return Err(Failure::Format(format!(
                        "two of its tensors are named `{}`",
                        shown(&self.path)
                    )));
                }
                Ok(())
            }
            PickleValue::Unsupported(name) if !HARMLESS.contains(&name.as_str()) => {
                Err(refused(&format!("its entry `{}`", shown(&self.path)), name))
            }
            _ => Ok(()),
        }
    }

    fn enter(&mut self, key: &str, value: &PickleValue, depth: usize) -> Result<(), Failure> {
        let length = self.path.len();
        if depth > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        self.collect(value, depth + 1)?;
        self.path.truncate(length);
        Ok(())
    }
}

fn pytorch_failure(error: PytorchError) -> Failure {
    match error {
        PytorchError::Io(error) | PytorchError::Pickle(PickleError::Io(error)) => error.into(),
        PytorchError::Pickle(PickleError::UnsupportedType(name)) if name.contains("__torch__") => {
            torch_script()
        }
        PytorchError::Pickle(PickleError::UnsupportedType(name)) => Failure::Format(format!(
            "it holds a tensor inside of the Python object `{}`, which is not supported",
            shown(&name)
        )),
        other => Failure::Format(format!(
            "it cannot be read as a PyTorch file: {}",
            shown(&other.to_string())
        )),
    }
}

fn torch_script() -> Failure {
    Failure::format(
        "it is a TorchScript archive, which holds a program; save the model's state_dict() instead",
    )
}

// ---- Pickles, before they are read --------------------------------------------------------------

/// Checks the directory of a ZIP archive and the pickles in it.
///
/// It is read by the same crate as in `pytorch-reader`, so that both see the same archive.
fn check_archive(file: File) -> Result<(), Failure> {
    let damaged = |error: zip::result::ZipError| match error {
        zip::result::ZipError::Io(error) => error.into(),
        other => Failure::Format(format!(
            "it is a ZIP archive that cannot be read ({}); perhaps the download is incomplete",
            shown(&other.to_string())
        )),
    };
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    let mut pickles = Vec::new();
    let mut program = false;
    let mut compressed = None;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?;
        // Looking up a name that is not stored as it is read takes time in proportion to the
        // number of entries, which the reader does once for each.
        if name.as_bytes() != entry.name_raw() {
            return Err(Failure::Format(format!(
                "it is a ZIP archive whose entry `{}` is not named in UTF-8",
                shown(&name)
            )));
        }
        if entry.compression() != CompressionMethod::Stored
            || entry.size() != entry.compressed_size()
        {
            compressed.get_or_insert_with(|| shown(&name));
        }
        program |= name.ends_with("/constants.pkl");
        if name.ends_with("data.pkl") {
            pickles.push(index);
        }
    }
    if pickles.is_empty() {
        return Err(Failure::format(
            "it is a ZIP archive without `data.pkl`, so not one that torch.save wrote",
        ));
    }
    if program {
        return Err(torch_script());
    }
    // Stored entries cannot be larger than the file.
    if let Some(name) = compressed {
        return Err(Failure::Format(format!(
            "its entry `{name}` is compressed, which torch.save never does; load it with PyTorch \
             and save it again"
        )));
    }
    for index in pickles {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        check_pickles(&mut BufReader::new(entry), 1)?;
    }
    Ok(())
}

/// Checks the first `count` pickles of a stream.
fn check_pickles(stream: &mut impl BufRead, count: usize) -> Result<(), Failure> {
    let mut check = PickleCheck {
        stream,
        left: MOST_OBJECTS,
    };
    (0..count).try_for_each(|_| check.run())
}

/// The most objects that a pickle may make the reader create. A tensor of a state dict takes about
/// 70 and one of a saved module about 600, while the largest image classifiers have 2000. It keeps
/// the reader's memory to some hundred megabytes at worst.
const MOST_OBJECTS: u64 = 1 << 21;

/// How deep containers may be nested. The reader goes down recursively.
const DEEPEST: u32 = 128;

/// Follows the instructions of a pickle without creating any of its objects, and counts how many
/// the reader would create. Whatever it cannot follow is an error.
struct PickleCheck<'a, R> {
    stream: &'a mut R,
    left: u64,
}

/// What stands for an object on the stack of the unpickler.
#[derive(Debug, Clone, Copy, Default)]
struct Weighed {
    /// How many objects it consists of; a string counts as one for each so many bytes.
    objects: u64,
    depth: u32,
    /// The number under which the unpickler remembers it.
    memo: Option<u32>,
}

#[derive(Debug, Default)]
struct Stack {
    values: Vec<Weighed>,
    marks: Vec<usize>,
}

impl Stack {
    fn top(&mut self) -> Result<&mut Weighed, Failure> {
        if self.marks.last() == Some(&self.values.len()) {
            return Err(damaged_pickle("it takes a value where there is none"));
        }
        (self.values.last_mut())
            .ok_or_else(|| damaged_pickle("it takes a value where there is none"))
    }

    fn pop(&mut self) -> Result<Weighed, Failure> {
        let top = *self.top()?;
        self.values.pop();
        Ok(top)
    }

    /// All values above the last mark as one.
    fn pop_to_mark(&mut self) -> Result<Weighed, Failure> {
        let mark = (self.marks.pop())
            .ok_or_else(|| damaged_pickle("it takes a mark where there is none"))?;
        let above = self.values.drain(mark.min(self.values.len())..);
        Ok(above.fold(Weighed::default(), Weighed::with))
    }

    fn pop_together(&mut self, count: usize) -> Result<Weighed, Failure> {
        (0..count).try_fold(Weighed::default(), |sum, _| Ok(sum.with(self.pop()?)))
    }
}

impl Weighed {
    fn with(self, other: Weighed) -> Weighed {
        Weighed {
            objects: self.objects.saturating_add(other.objects),
            depth: self.depth.max(other.depth),
            memo: None,
        }
    }

    fn contained(self) -> Weighed {
        Weighed {
            objects: self.objects.saturating_add(1),
            depth: self.depth.saturating_add(1),
            memo: None,
        }
    }
}

fn damaged_pickle(how: &str) -> Failure {
    Failure::Format(format!("its pickle is damaged: {how}"))
}

impl<R: BufRead> PickleCheck<'_, R> {
    fn run(&mut self) -> Result<(), Failure> {
        let mut stack = Stack::default();
        let mut memo: HashMap<u32, Weighed> = HashMap::new();
        loop {
            let instruction = self.bytes::<1>()?[0];
            match instruction {
                // The protocol and the frame say nothing about the objects.
                0x80 => {
                    self.bytes::<1>()?;
                }
                0x95 => {
                    self.bytes::<8>()?;
                }
                b'.' => return Ok(()),

                // Values, of a fixed length, up to the end of the line, or of a stated length.
                b'N' | 0x88 | 0x89 | b')' | b']' | b'}' | 0x8f => self.push(&mut stack, 0)?,
                b'K' => self.push_bytes(&mut stack, 1)?,
                b'M' => self.push_bytes(&mut stack, 2)?,
                b'J' => self.push_bytes(&mut stack, 4)?,
                b'G' => self.push_bytes(&mut stack, 8)?,
                b'I' | b'L' | b'F' | b'V' | b'P' => {
                    let length = self.line()?.len() as u64;
                    self.push(&mut stack, length)?;
                }
                b'c' => {
                    let length = self.line()?.len() + self.line()?.len();
                    // Two texts.
                    self.take(1)?;
                    self.push(&mut stack, length as u64)?;
                }
                0x8a | b'U' | b'C' | 0x8c => {
                    let length = u64::from(self.bytes::<1>()?[0]);
                    self.push_bytes(&mut stack, length)?;
                }
                0x8b | b'T' | b'X' | b'B' => {
                    let length = u64::from(u32::from_le_bytes(self.bytes()?));
                    self.push_bytes(&mut stack, length)?;
                }
                0x8d | 0x8e | 0x96 => {
                    let length = u64::from_le_bytes(self.bytes()?);
                    self.push_bytes(&mut stack, length)?;
                }

                // Containers.
                b'(' => {
                    self.take(1)?;
                    stack.marks.push(stack.values.len());
                }
                b't' | b'l' | b'd' | 0x91 => {
                    let items = stack.pop_to_mark()?;
                    self.push_container(&mut stack, items)?;
                }
                0x85..=0x87 => {
                    let items = stack.pop_together(usize::from(instruction - 0x84))?;
                    self.push_container(&mut stack, items)?;
                }
                b'a' | b's' => {
                    let items = stack.pop_together(if instruction == b'a' { 1 } else { 2 })?;
                    self.add_items(&mut stack, items)?;
                }
                b'e' | b'u' | 0x90 => {
                    let items = stack.pop_to_mark()?;
                    self.add_items(&mut stack, items)?;
                }

                // The stack itself.
                b'0' => {
                    if stack.marks.last() == Some(&stack.values.len()) {
                        stack.marks.pop();
                    } else {
                        stack.pop()?;
                    }
                }
                b'1' => {
                    stack.pop_to_mark()?;
                }
                b'2' => {
                    let top = *stack.top()?;
                    self.take(top.objects)?;
                    stack.values.push(top);
                }

                // The memo, of which every use is a copy.
                b'p' | b'q' | b'r' | 0x94 => {
                    let index = match instruction {
                        b'p' => self.index_line()?,
                        b'q' => u32::from(self.bytes::<1>()?[0]),
                        b'r' => u32::from_le_bytes(self.bytes()?),
                        _ => memo.len() as u32,
                    };
                    let top = stack.top()?;
                    top.memo = Some(index);
                    self.take(top.objects)?;
                    memo.insert(index, *top);
                }
                b'g' | b'h' | b'j' => {
                    let index = match instruction {
                        b'g' => self.index_line()?,
                        b'h' => u32::from(self.bytes::<1>()?[0]),
                        _ => u32::from_le_bytes(self.bytes()?),
                    };
                    let value = *(memo.get(&index))
                        .ok_or_else(|| damaged_pickle("it recalls a value it has not stored"))?;
                    self.take(value.objects)?;
                    stack.values.push(value);
                }

                // Calls and storages, whose result is no larger than what they are made of.
                b'Q' => {
                    let value = stack.pop_together(1)?;
                    stack.values.push(value);
                }
                0x93 | b'R' | 0x81 => {
                    let value = stack.pop_together(2)?;
                    stack.values.push(value);
                }
                0x92 => {
                    let value = stack.pop_together(3)?;
                    stack.values.push(value);
                }
                b'b' => {
                    let state = stack.pop()?;
                    let object = stack.pop()?;
                    let mut built = object.with(state);
                    if let Some(index) = object.memo {
                        built.memo = Some(index);
                        self.take(built.objects)?;
                        memo.insert(index, built);
                        // The unpickler forgets which value on the stack is the stored one.
                        built.memo = None;
                    }
                    stack.values.push(built);
                }
                other => {
                    return Err(damaged_pickle(&format!(
                        "it has the instruction 0x{other:02x}"
                    )));
                }
            }
        }
    }

    /// Takes objects off what is still allowed.
    fn take(&mut self, objects: u64) -> Result<(), Failure> {
        match self.left.checked_sub(objects) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Failure::Format(format!(
                "its pickle unfolds into more than {MOST_OBJECTS} objects"
            ))),
        }
    }

    /// Pushes a value without parts that holds `length` bytes of text or data.
    fn push(&mut self, stack: &mut Stack, length: u64) -> Result<(), Failure> {
        let objects = 1 + length / 64;
        self.take(objects)?;
        stack.values.push(Weighed {
            objects,
            depth: 0,
            memo: None,
        });
        Ok(())
    }

    /// The same for a value whose bytes come next in the stream.
    fn push_bytes(&mut self, stack: &mut Stack, length: u64) -> Result<(), Failure> {
        let skipped = io::copy(&mut (&mut *self.stream).take(length), &mut io::sink())?;
        if skipped < length {
            return Err(damaged_pickle("it ends too early"));
        }
        self.push(stack, length)
    }

    fn push_container(&mut self, stack: &mut Stack, items: Weighed) -> Result<(), Failure> {
        self.take(1)?;
        stack.values.push(check_depth(items.contained())?);
        Ok(())
    }

    /// Puts items into the container on top of the stack.
    fn add_items(&mut self, stack: &mut Stack, items: Weighed) -> Result<(), Failure> {
        let items = check_depth(items.contained())?;
        let top = stack.top()?;
        // Lists and dictionaries begin with room for four.
        let room = if top.objects == 1 { 4 } else { 0 };
        top.objects = top.objects.saturating_add(items.objects);
        top.depth = top.depth.max(items.depth);
        self.take(room)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(damaged_pickle("it ends too early"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The rest of a line, as the unpickler reads it.
    fn line(&mut self) -> Result<Vec<u8>, Failure> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(damaged_pickle("it ends too early"));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    fn index_line(&mut self) -> Result<u32, Failure> {
        let line = self.line()?;
        (std::str::from_utf8(&line).ok())
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| damaged_pickle("it stores or recalls a value by no number"))
    }
}

fn check_depth(value: Weighed) -> Result<Weighed, Failure> {
    if value.depth <= DEEPEST {
        return Ok(value);
    }
    Err(Failure::Format(format!(
        "its pickle nests more than {DEEPEST} containers in each other"
    )))
}
