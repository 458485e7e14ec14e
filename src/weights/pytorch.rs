//! The files that `torch.save` writes: pickles, by themselves or in an uncompressed ZIP archive.
//!
//! The crate `pytorch-reader` reads them, once [`check_pickles`] has followed their instructions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;

use pytorch_reader::{PickleError, PickleValue, PytorchError, PytorchReader, Tensor};
use zip::{CompressionMethod, ZipArchive};

use super::contents::{Contents, DType, Section, TensorInfo, Values, check_rank};
use super::layout::{AVERAGES, PLAIN};
use super::pickle::check_pickles;
use super::quote::shown;
use super::read_error::ReadError;

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

/// How deep keys are looked for in each other: `checkpoint.model.state_dict`.
const DEEPEST_KEY: usize = 3;

/// Opens a ZIP archive; `path` is that of `file`, and `key` what was asked for.
pub(super) fn open_archive(
    file: File,
    path: &Path,
    file_length: u64,
    key: Option<&str>,
) -> Result<Contents, ReadError> {
    check_archive(file)?;
    open(path, file_length, key)
}

/// Opens a file that begins with so many pickles; `path` is that of `file`.
pub(super) fn open_pickles(
    mut file: File,
    pickles: usize,
    path: &Path,
    file_length: u64,
    key: Option<&str>,
) -> Result<Contents, ReadError> {
    file.seek(SeekFrom::Start(0))?;
    check_pickles(BufReader::new(file), pickles)?;
    open(path, file_length, key)
}

/// Checks the directory of a ZIP archive and the pickles in it.
///
/// It is read by the same crate as in `pytorch-reader`, so that both see the same archive.
fn check_archive(file: File) -> Result<(), ReadError> {
    let damaged = |error: zip::result::ZipError| match error {
        zip::result::ZipError::Io(error) => error.into(),
        other => ReadError::Format(format!(
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
            return Err(ReadError::Format(format!(
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
        return Err(ReadError::format(
            "it is a ZIP archive without `data.pkl`, so not one that torch.save wrote",
        ));
    }
    if program {
        return Err(torch_script());
    }
    // Stored entries cannot be larger than the file.
    if let Some(name) = compressed {
        return Err(ReadError::Format(format!(
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
fn open(path: &Path, file_length: u64, key: Option<&str>) -> Result<Contents, ReadError> {
    // The tree of values tells the keys at the top level apart from those further down, which the
    // flat list of tensors does not: a state dict may have names that begin with `model.`.
    let root = PytorchReader::read_pickle_data(path, None).map_err(pytorch_failure)?;
    let entries = dictionary(&root)?;
    let keys = all_keys(entries);
    let found = match key {
        None => find_sections(&root, entries),
        Some(key) => vec![asked_for(entries, key, &keys)?],
    };
    let mut wanted = Vec::new();
    for (key, value) in found {
        let mut names = Names::default();
        match value {
            // A checkpoint whose keys are not known: what lies beside them is no part of them.
            PickleValue::Dict(entries) if key.is_empty() && !keys.is_empty() && !flat(entries) => {
                for key in &keys {
                    if let Some(value) = nested(entries, key) {
                        names.enter(key, value, 0)?;
                    }
                }
            }
            _ => names.collect(value, 0)?,
        }
        wanted.push((key, names.tensors));
    }
    if wanted.iter().any(|(key, _)| !key.is_empty()) {
        // The reader's names begin at the root, where two paths can give the same one, too.
        let mut all = Names {
            lenient: true,
            ..Names::default()
        };
        all.collect(&root, 0)?;
    }
    drop(root);

    let reader = PytorchReader::new(path).map_err(pytorch_failure)?;
    let mut tensors = reader.into_tensors();
    let sections = (wanted.into_iter())
        .map(|(key, names)| {
            let key = (!key.is_empty()).then_some(key);
            take_section(&mut tensors, key, names, file_length)
        })
        .collect::<Result<_, _>>()?;
    Ok(Contents {
        sections,
        keys,
        metadata: BTreeMap::new(),
    })
}

/// Takes the tensors of a section out of those of the whole file.
fn take_section(
    tensors: &mut HashMap<String, Tensor>,
    key: Option<String>,
    names: BTreeSet<String>,
    file_length: u64,
) -> Result<Section, ReadError> {
    let mut values = BTreeMap::new();
    let mut infos = BTreeMap::new();
    for name in names {
        let found = match &key {
            Some(key) => tensors.remove(&format!("{key}.{name}")),
            None => tensors.remove(&name),
        };
        let Some(mut tensor) = found else { continue };
        check_rank(&name, tensor.shape().len())?;
        let bytes = tensor.byte_len() as u64;
        if bytes > file_length {
            return Err(ReadError::Format(format!(
                "tensor `{}` of shape {:?} takes {bytes} bytes, but the whole file has \
                 {file_length}; save a contiguous copy of it",
                shown(&name),
                tensor.shape()
            )));
        }
        let shape = tensor.shape().to_vec();
        let dtype = loaded_type(tensor.dtype());
        // Only the reader's errors look at it.
        tensor.name.clone_from(&name);
        infos.insert(name.clone(), TensorInfo { shape, dtype });
        values.insert(name, tensor);
    }
    Ok(Section {
        key,
        tensors: infos,
        values: Box::new(values),
    })
}

fn loaded_type(dtype: pytorch_reader::DType) -> DType {
    match dtype {
        pytorch_reader::DType::F16 => DType::F16,
        pytorch_reader::DType::BF16 => DType::BF16,
        pytorch_reader::DType::F32 => DType::F32,
        pytorch_reader::DType::F64 => DType::F64,
        other => DType::Other(format!("{other:?}").to_lowercase()),
    }
}

type Entries = HashMap<String, PickleValue>;

/// The entries of a file's root.
fn dictionary(root: &PickleValue) -> Result<&Entries, ReadError> {
    match root {
        PickleValue::Dict(entries) => Ok(entries),
        PickleValue::Unsupported(name) if name != TENSOR && !HARMLESS.contains(&name.as_str()) => {
            Err(refused("it", name))
        }
        other => Err(ReadError::Format(format!(
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
        ))),
    }
}

/// Whether tensors are among the entries themselves, as in a state dict.
fn flat(entries: &Entries) -> bool {
    let is_tensor = |value: &PickleValue| match value {
        PickleValue::Unsupported(name) => name == TENSOR,
        PickleValue::List(items) => items.iter().any(holds_tensors),
        _ => false,
    };
    entries.values().any(is_tensor)
}

/// The value under a key, if it is a dictionary with tensors in it.
fn nested<'a>(entries: &'a Entries, key: &str) -> Option<&'a PickleValue> {
    let value = entries.get(key)?;
    (matches!(value, PickleValue::Dict(_)) && holds_tensors(value)).then_some(value)
}

/// The keys whose values are dictionaries with tensors in them.
fn keys_with_tensors(entries: &Entries) -> Vec<String> {
    let mut keys: Vec<String> = (entries.keys())
        .filter(|key| nested(entries, key).is_some())
        .cloned()
        .collect();
    keys.sort();
    keys
}

/// The keys with tensors in them, followed as [`descend`] does, averages included.
fn all_keys(root: &Entries) -> Vec<String> {
    let mut all = Vec::new();
    for key in keys_with_tensors(root) {
        if let Some(value) = nested(root, &key) {
            follow(key, value, 1, &mut all);
        }
    }
    all
}

fn follow(path: String, value: &PickleValue, depth: usize, all: &mut Vec<String>) {
    match known_within(value, depth) {
        Some(inner) => {
            for (key, value) in inner {
                follow(format!("{path}.{key}"), value, depth + 1, all);
            }
        }
        None => all.push(path),
    }
}

/// The known keys in a value that holds tensors under nothing else.
fn known_within(value: &PickleValue, depth: usize) -> Option<Vec<(&'static str, &PickleValue)>> {
    let PickleValue::Dict(entries) = value else {
        return None;
    };
    if depth >= DEEPEST_KEY {
        return None;
    }
    let inner: Vec<_> = known(entries, &PLAIN)
        .chain(known(entries, &AVERAGES))
        .collect();
    let holding = entries.values().filter(|value| holds_tensors(value));
    (!inner.is_empty() && inner.len() == holding.count()).then_some(inner)
}

/// Where the weights may be, best first, by their keys; the key is empty for the whole file.
fn find_sections<'a>(whole: &'a PickleValue, root: &'a Entries) -> Vec<(String, &'a PickleValue)> {
    let mut found = Vec::new();
    for keys in [&PLAIN[..], &AVERAGES[..]] {
        for (key, value) in known(root, keys) {
            descend(key.to_owned(), value, 1, &mut found);
        }
        if !found.is_empty() {
            return found;
        }
    }
    // A single key with another name, such as `checkpoint`, may hold one that is known.
    let keys = keys_with_tensors(root);
    if let [key] = &keys[..]
        && let Some(value) = nested(root, key)
    {
        descend(key.clone(), value, 1, &mut found);
        // If none is there, the key is part of the names.
        if found.iter().any(|(path, _)| path != key) {
            return found;
        }
    }
    vec![(String::new(), whole)]
}

/// The keys of this list that hold tensors.
fn known<'a>(
    entries: &'a Entries,
    keys: &'static [&'static str],
) -> impl Iterator<Item = (&'static str, &'a PickleValue)> {
    (keys.iter()).filter_map(|key| Some((*key, nested(entries, key)?)))
}

/// Follows keys that are in each other, as long as nothing beside them holds tensors.
fn descend<'a>(
    path: String,
    value: &'a PickleValue,
    depth: usize,
    found: &mut Vec<(String, &'a PickleValue)>,
) {
    if let Some(inner) = known_within(value, depth) {
        let plain = inner.iter().filter(|(key, _)| PLAIN.contains(key)).count();
        let chosen = if plain > 0 { plain } else { inner.len() };
        for (key, value) in inner.into_iter().take(chosen) {
            descend(format!("{path}.{key}"), value, depth + 1, found);
        }
        return;
    }
    found.push((path, value));
}

/// The part of a file under a key that a user asked for, or under one inside of another.
fn asked_for<'a>(
    root: &'a Entries,
    key: &str,
    keys: &[String],
) -> Result<(String, &'a PickleValue), ReadError> {
    let unknown = || ReadError::unknown_key(key, keys);
    let mut value = match nested(root, key) {
        Some(value) => value,
        None => {
            let mut parts = key.split('.');
            let first = parts.next().and_then(|part| nested(root, part));
            parts.try_fold(first.ok_or_else(unknown)?, |value, part| match value {
                PickleValue::Dict(entries) => nested(entries, part).ok_or_else(unknown),
                _ => Err(unknown()),
            })?
        }
    };
    let mut path = key.to_owned();
    let mut inner = Vec::new();
    descend(path.clone(), value, 1, &mut inner);
    if let Some((first, inner)) = inner.into_iter().next() {
        (path, value) = (first, inner);
    }
    Ok((path, value))
}

fn holds_tensors(value: &PickleValue) -> bool {
    match value {
        PickleValue::Dict(entries) => entries.values().any(holds_tensors),
        PickleValue::List(items) => items.iter().any(holds_tensors),
        PickleValue::Unsupported(name) => name == TENSOR,
        _ => false,
    }
}

fn refused(what: &str, name: &str) -> ReadError {
    ReadError::Format(format!(
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
    /// Whether Python objects are passed over, as outside of the weights.
    lenient: bool,
}

impl Names {
    fn collect(&mut self, value: &PickleValue, depth: usize) -> Result<(), ReadError> {
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
                    return Err(ReadError::Format(format!(
                        "the names of its tensors take more than {MOST_NAME_BYTES} bytes"
                    )));
                }
                // The reader would keep one of the two, and not always the same.
                if !self.tensors.insert(self.path.clone()) {
                    return Err(ReadError::Format(format!(
                        "two of its tensors are named `{}`",
                        shown(&self.path)
                    )));
                }
                Ok(())
            }
            PickleValue::Unsupported(name)
                if !self.lenient && !HARMLESS.contains(&name.as_str()) =>
            {
                Err(refused(&format!("its entry `{}`", shown(&self.path)), name))
            }
            _ => Ok(()),
        }
    }

    fn enter(&mut self, key: &str, value: &PickleValue, depth: usize) -> Result<(), ReadError> {
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

/// What the names of PyTorch's objects for other tensors have in them.
const KINDS: [&str; 5] = ["float8", "sparse", "qtensor", "complex", "Complex"];

fn pytorch_failure(error: PytorchError) -> ReadError {
    match error {
        PytorchError::Io(error) | PytorchError::Pickle(PickleError::Io(error)) => error.into(),
        PytorchError::Pickle(PickleError::UnsupportedType(name)) if name.contains("__torch__") => {
            torch_script()
        }
        PytorchError::Pickle(PickleError::UnsupportedType(name))
            if KINDS.iter().any(|kind| name.contains(kind)) =>
        {
            ReadError::Format(format!(
                "it holds a tensor of a kind that is not read, `{}`; save it as a dense one of f32, as by \
                 tensor.to_dense(), .dequantize() or .float()",
                shown(&name)
            ))
        }
        PytorchError::Pickle(PickleError::UnsupportedType(name)) => ReadError::Format(format!(
            "it holds a tensor inside of the Python object `{}`, which is not supported; save the \
             model's state_dict() instead",
            shown(&name)
        )),
        other => ReadError::Format(format!(
            "it cannot be read as a PyTorch file: {}",
            shown(&other.to_string())
        )),
    }
}

fn torch_script() -> ReadError {
    ReadError::format(
        "it is a TorchScript archive, which holds a program; save the model's state_dict() instead",
    )
}

impl Values for BTreeMap<String, pytorch_reader::Tensor> {
    fn read(
        &self,
        name: &str,
        _count: usize,
        _size: usize,
        block: &mut dyn FnMut(&[u8]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        match self.get(name) {
            Some(tensor) => block(&tensor.read()?),
            None => Ok(()),
        }
    }
}
