//! Files that hold tensors, and what is said of them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::files::Unnamed;

/// Values that are turned into bytes at a time.
const BLOCK: usize = 1 << 18;

/// Writes a file of tensors, with what is said of them, one tensor after the other: a model is not in memory
/// once more, as bytes.
pub(super) fn write(
    path: &Path,
    tensors: Vec<(String, StoredTensor<'_>)>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    unnamed(path, tensors, metadata)?.name()
}

/// The same without its name, for a file that gets it together with others.
pub(super) fn unnamed(
    path: &Path,
    mut tensors: Vec<(String, StoredTensor<'_>)>,
    mut metadata: HashMap<String, String>,
) -> Result<Unnamed> {
    // Python's readers refuse a file that does not say it is PyTorch's.
    metadata.insert("format".to_owned(), "pt".to_owned());
    // The order of the safetensors crate, in which every tensor is aligned.
    tensors.sort_by(|(a, left), (b, right)| right.dtype.cmp(&left.dtype).then(a.cmp(b)));
    let mut end = 0;
    let infos = (tensors.iter()).map(|(name, tensor)| {
        let begin = end;
        end += tensor.values.num_bytes();
        let info = TensorInfo {
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            data_offsets: (begin, end),
        };
        (name.clone(), info)
    });
    let metadata = Metadata::new(Some(metadata), infos.collect());
    let header = metadata.and_then(|metadata| Ok(serde_json::to_vec(&metadata)?));
    let mut header = header.map_err(|error| Error::WeightsFormat {
        path: path.to_path_buf(),
        reason: format!("cannot be written: {error}"),
    })?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Unnamed::write(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        (tensors.iter()).try_for_each(|(_, tensor)| tensor.values.write(file))
    })
}

pub(super) fn pretty(value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::argument("config", "values that JSON can hold", error))?;
    text.push('\n');
    Ok(text)
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

/// A tensor as a file has it.
pub(super) struct StoredTensor<'a> {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub values: Values<'a>,
}

pub(super) enum Values<'a> {
    F32(&'a [f32]),
    Bytes(Vec<u8>),
}

impl Values<'_> {
    fn num_bytes(&self) -> usize {
        match self {
            Self::F32(values) => 4 * values.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    fn write(&self, file: &mut File) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => file.write_all(bytes),
            Self::F32(values) => {
                let mut bytes = vec![0; 4 * values.len().min(BLOCK)];
                values.chunks(BLOCK).try_for_each(|block| {
                    let bytes = &mut bytes[..4 * block.len()];
                    for (bytes, value) in bytes.chunks_exact_mut(4).zip(block) {
                        bytes.copy_from_slice(&value.to_le_bytes());
                    }
                    file.write_all(bytes)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn files_are_those_of_the_safetensors_crate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        // More than a block, and no whole number of them.
        let long: Vec<f32> = (0..2 * BLOCK + 3).map(|i| (i as f32).sqrt()).collect();
        let short = [1.5, f32::MIN_POSITIVE, -0.0];
        let halves = halves("half", &short).unwrap();
        let bytes_of = |values: &[f32]| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
        let tensors = [
            (
                "half",
                Dtype::F16,
                vec![3],
                Values::Bytes(halves.clone()),
                halves,
            ),
            (
                "z",
                Dtype::F32,
                vec![1, 3],
                Values::F32(&short),
                bytes_of(&short),
            ),
            (
                "long",
                Dtype::F32,
                vec![long.len()],
                Values::F32(&long),
                bytes_of(&long),
            ),
            (
                "count",
                Dtype::I64,
                vec![],
                Values::Bytes(vec![0; 8]),
                vec![0; 8],
            ),
            ("none", Dtype::F32, vec![0, 4], Values::F32(&[]), vec![]),
        ];
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let views = tensors.iter().map(|(name, dtype, shape, _, bytes)| {
            (
                *name,
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        });
        let expected = safetensors::serialize(views, Some(metadata)).unwrap();
        let stored = tensors.map(|(name, dtype, shape, values, _)| {
            let tensor = StoredTensor {
                dtype,
                shape,
                values,
            };
            (name.to_owned(), tensor)
        });
        write(&path, stored.into(), HashMap::new()).unwrap();
        assert!(std::fs::read(&path).unwrap() == expected);
    }
}
