//! Files that hold tensors, and what is said of them.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, View};
use serde::Serialize;

use crate::error::{Error, Result};

/// A file of tensors, with what is said of them.
pub(super) fn serialize(
    path: &Path,
    tensors: Vec<(String, Bytes)>,
    mut metadata: HashMap<String, String>,
) -> Result<Vec<u8>> {
    // Python's readers refuse a file that does not say it is PyTorch's.
    metadata.insert("format".to_owned(), "pt".to_owned());
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| Error::WeightsFormat {
        path: path.to_path_buf(),
        reason: format!("cannot be written: {error}"),
    })
}

pub(super) fn pretty(value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::argument("config", "values that JSON can hold", error))?;
    text.push('\n');
    Ok(text)
}

/// The bytes of 32-bit numbers, as fast as a copy.
pub(super) fn little_endian(values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; 4 * values.len()];
    for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// The 16-bit numbers next to these.
pub(super) fn halves(name: &str, values: &[f32]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2 * values.len());
    for value in values {
        let half = half::f16::from_f32(*value);
        if value.is_finite() && !half.is_finite() {
            let expected = format!("at most {}, the largest 16-bit number", half::f16::MAX);
            return Err(Error::argument(name, expected, value));
        }
        bytes.extend_from_slice(&half.to_le_bytes());
    }
    Ok(bytes)
}

/// A tensor's bytes, as the safetensors crate wants them.
pub(super) struct Bytes {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl View for Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
