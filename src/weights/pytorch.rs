//! The files that `torch.save` writes: pickles, by themselves or in an uncompressed ZIP archive.
//!
//! The crate `pytorch-reader` reads them, once [`check_pickles`] has followed their instructions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;

use pytorch_reader::{PickleError, PickleValue, PytorchError, PytorchReader};
use zip::{CompressionMethod, ZipArchive};

use super::failure::{Failure, shown};
use super::file::{Contents, DType, Source, TensorInfo, check_rank, strip_wrappers};
use super::pickle::check_pickles;

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

/// Opens a ZIP archive; `path` is that of `file`.
pub(super) fn open_archive(file: File, path: &Path, file_length: u64) -> Result<Contents, Failure> {
    check_archive(file)?;
    open(path, file_length)
}

/// Opens a file that begins with so many pickles; `path` is that of `file`.
pub(super) fn open_pickles(
    mut file: File,
    pickles: usize,
    path: &Path,
    file_length: u64,
) -> Result<Contents, Failure> {
    file.seek(SeekFrom::Start(0))?;
    check_pickles(BufReader::new(file), pickles)?;
    open(path, file_length)
}

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
        check_pickles(BufReader::new(entry), 1)?;
    }
    Ok(())
}

/// Opens a file that has passed [`check_archive`] or [`check_pickles`].
fn open(path: &Path, file_length: u64) -> Result<Contents, Failure> {
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
    let values = strip_wrappers(found);
    let tensors = (values.iter())
        .map(|(name, tensor)| {
            let shape = tensor.shape().to_vec();
            let dtype = loaded_type(tensor.dtype());
            (name.clone(), TensorInfo { shape, dtype })
        })
        .collect();
    Ok(Contents {
        tensors,
        metadata: BTreeMap::new(),
        source: Source::PyTorch(values),
    })
}
fn loaded_type(dtype: pytorch_reader::DType) -> DType {
    match dtype {
        pytorch_reader::DType::F16 => DType::F16,
        pytorch_reader::DType::BF16 => DType::BF16,
        pytorch_reader::DType::F32 => DType::F32,
        other => DType::Other(format!("{other:?}").to_lowercase()),
    }
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
