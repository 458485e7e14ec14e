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

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::failure::{Failure, shown};
use super::format::{Format, HEAD};
use super::{pytorch, safetensors};
use crate::error::Result;

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
    contents: Contents,
}

/// Where the values of an open file come from; the names are those of `Contents::tensors`.
#[derive(Debug)]
pub(super) enum Source {
    Safetensors(safetensors::Values),
    PyTorch(BTreeMap<String, pytorch_reader::Tensor>),
}

/// What there is to know of a file, in either format.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) tensors: BTreeMap<String, TensorInfo>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) source: Source,
}

impl WeightsFile {
    /// Opens a file and reads its table of contents, but no values.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be read, [`Error::WeightsFormat`] if it is something else
    /// than a weights file, or a damaged or hostile one.
    ///
    /// [`Error::Io`]: crate::Error::Io
    /// [`Error::WeightsFormat`]: crate::Error::WeightsFormat
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

        let contents = match Format::of(&head).map_err(Failure::Format)? {
            Format::Safetensors { header } => safetensors::open(file, header, length)?,
            Format::Zip => pytorch::open_archive(file, path, length)?,
            Format::Pickle { count } => pytorch::open_pickles(file, count, path, length)?,
        };
        if contents.tensors.is_empty() {
            return Err(Failure::format("it holds no tensors"));
        }
        Ok(Self {
            path: path.to_path_buf(),
            contents,
        })
    }

    /// A file that lies in memory, in safetensors' format. Errors name it by `path`.
    pub(super) fn in_memory(path: PathBuf, bytes: &'static [u8]) -> Result<Self> {
        let open = || match Format::of(&bytes[..bytes.len().min(HEAD as usize)]) {
            Ok(Format::Safetensors { header }) => {
                safetensors::open(io::Cursor::new(bytes), header, bytes.len() as u64)
            }
            _ => Err(Failure::format("it is no safetensors file")),
        };
        match open() {
            Ok(contents) => Ok(Self { path, contents }),
            Err(failure) => Err(failure.at(&path)),
        }
    }

    /// The path the file was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file holds, by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.contents.tensors
    }

    /// The `__metadata__` of a safetensors file; empty for the other formats.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.contents.metadata
    }

    /// Reads the values of one tensor in row-major order. `f16` and `bf16` are widened, which
    /// changes no value.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsFormat`] if there is no such tensor, its type is not
    /// [loadable](DType::is_loadable), or its data are damaged; [`Error::NonFinite`] if a value is
    /// NaN or infinite; [`Error::Io`] if the file cannot be read.
    ///
    /// [`Error::WeightsFormat`]: crate::Error::WeightsFormat
    /// [`Error::NonFinite`]: crate::Error::NonFinite
    /// [`Error::Io`]: crate::Error::Io
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        self.read(name).map_err(|failure| failure.at(&self.path))
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Failure> {
        let Some(info) = self.contents.tensors.get(name) else {
            return Err(Failure::Format(format!(
                "it holds no tensor `{}`",
                shown(name)
            )));
        };
        let size = match info.dtype {
            DType::F16 | DType::BF16 => 2,
            DType::F32 => 4,
            DType::Other(_) => {
                return Err(Failure::Format(format!(
                    "tensor `{}` is {}; expected f32, f16 or bf16",
                    shown(name),
                    info.dtype
                )));
            }
        };
        // `open` has checked that neither this nor the length in bytes overflows.
        let count = info.shape.iter().product::<usize>();
        // Opening has checked that the file is long enough for all of them, but a sparse file can
        // be longer than the memory.
        let mut values = Vec::new();
        values
            .try_reserve_exact(count)
            .map_err(|_| Failure::Io(io::ErrorKind::OutOfMemory.into()))?;

        match &self.contents.source {
            Source::Safetensors(file) => file.read(name, count, size, |block| {
                widen(name, &info.dtype, block, &mut values)
            })?,
            Source::PyTorch(tensors) => {
                if let Some(tensor) = tensors.get(name) {
                    widen(name, &info.dtype, &tensor.read()?, &mut values)?;
                }
            }
        }
        if values.len() != count {
            return Err(Failure::Format(format!(
                "tensor `{}` has {} values, but its shape says {count}",
                shown(name),
                values.len()
            )));
        }
        Ok(values)
    }
}

/// Appends elements in this machine's byte order.
fn widen(name: &str, dtype: &DType, bytes: &[u8], values: &mut Vec<f32>) -> Result<(), Failure> {
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
        Some((index, &value)) => Err(Failure::NonFinite {
            tensor: name.to_owned(),
            index,
            value,
        }),
    }
}

/// The most dimensions a tensor may have, as in PyTorch. Rearranging a view's elements takes time
/// in proportion to it.
const MOST_DIMENSIONS: usize = 64;

/// Prefixes by wrappers of PyTorch: data-parallel training and compilation.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Takes off wrappers' prefixes as long as all names carry one.
pub(super) fn strip_wrappers<T>(mut entries: BTreeMap<String, T>) -> BTreeMap<String, T> {
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

pub(super) fn check_rank(name: &str, rank: usize) -> Result<(), Failure> {
    if rank <= MOST_DIMENSIONS {
        return Ok(());
    }
    Err(Failure::Format(format!(
        "tensor `{}` has {rank} dimensions; at most {MOST_DIMENSIONS} are supported",
        shown(name)
    )))
}
