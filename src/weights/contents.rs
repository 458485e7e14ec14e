//! What a weights file holds, in whatever format.

use std::collections::BTreeMap;
use std::fmt;

use super::quote::shown;
use super::read_error::ReadError;

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
    /// IEEE 754 double precision.
    F64,
    /// Any other type, which no weights are read from: `i64`, `u8`, `bool` and so on.
    Other(String),
}

impl DType {
    /// Whether [`WeightsFile::read_f32`](super::WeightsFile::read_f32) reads this type. But for those of [`DType::F64`], which
    /// are rounded, all of its values are then exact as `f32`.
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
            DType::F64 => "f64",
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

/// Reads the values of the tensors of a section.
pub(super) trait Values: fmt::Debug + Send + Sync {
    /// Hands the `count` elements of `size` bytes of a tensor to `block`, in this machine's byte
    /// order, one part after the other.
    fn read(
        &self,
        name: &str,
        count: usize,
        size: usize,
        block: &mut dyn FnMut(&[u8]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError>;
}

/// The tensors under one key of a file, or those of a file without keys.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) key: Option<String>,
    pub(super) tensors: BTreeMap<String, TensorInfo>,
    pub(super) values: Box<dyn Values>,
}

/// What there is to know of a file, in either format.
#[derive(Debug)]
pub(super) struct Contents {
    /// Where the weights may be, best first; never empty.
    pub(super) sections: Vec<Section>,
    /// The keys at the top of the file that hold tensors.
    pub(super) keys: Vec<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// The most dimensions a tensor may have, as in PyTorch. Rearranging a view's elements takes time
/// in proportion to it.
const MOST_DIMENSIONS: usize = 64;

pub(super) fn check_rank(name: &str, rank: usize) -> Result<(), ReadError> {
    if rank <= MOST_DIMENSIONS {
        return Ok(());
    }
    Err(ReadError::Format(format!(
        "tensor `{}` has {rank} dimensions; at most {MOST_DIMENSIONS} are supported",
        shown(name)
    )))
}
