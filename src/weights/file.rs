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
//! - both: NaN and infinities, and `f64` beyond the range of `f32`, when the values are read;
//! - everything else, with a word on what it seems to be.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::contents::{Contents, DType, Section, TensorInfo};
use super::format::{Format, HEAD};
use super::layout::{self, Layout};
use super::quote::{quoted, shown};
use super::read_error::ReadError;
use super::{pytorch, safetensors};
use crate::error::{Error, Result};
use crate::model::OtherNames;

/// An open weights file: its table of contents, and the means to read its values.
///
/// A checkpoint of PyTorch may keep its weights under a key. Those are found by themselves:
/// `state_dict`, `model`, `model_state_dict`, `model_state`, `net` or `weights` (the first of these
/// that holds tensors), in each other too, such as `model.state_dict`; without any of them an
/// average: `state_dict_ema`, `model_ema` or `ema`. [`key`](Self::key) says which was taken,
/// [`other_keys`](Self::other_keys) what else there is, and [`open_at`](Self::open_at) takes
/// another. A model that is built from the file takes the one of the plain keys that fits it.
///
/// Names are those of the model's state dict: of the prefixes `module.`, `_orig_mod.`, `model.`,
/// `backbone.` and `encoder_q.`, in any order and number, those are taken off that all names have
/// (but for `n_averaged`, the counter of averaged models, which is then no tensor of the file).
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    contents: Contents,
    /// The prefix that was asked for, or nothing.
    base: String,
    /// What is taken off the names.
    prefix: String,
    /// The tensors of the first section without that prefix, if there is one.
    stripped: Option<BTreeMap<String, TensorInfo>>,
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
        Self::open_at(path, None, None)
    }

    /// Opens a file of which the tensors under a key count (`state_dict_ema`, or `model.ema` for
    /// one inside of another), or those whose names begin with a prefix (`student.`, or `student`),
    /// or both. What is left out of it is found by itself, as in [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and [`Error::InvalidArgument`] for a key or a prefix that the
    /// file does not have, with those it has.
    ///
    /// [`Error::InvalidArgument`]: crate::Error::InvalidArgument
    pub fn open_at(
        path: impl AsRef<Path>,
        key: Option<&str>,
        prefix: Option<&str>,
    ) -> Result<Self> {
        let path = path.as_ref();
        Self::open_inner(path, key, prefix).map_err(|failure| failure.at(path))
    }

    fn open_inner(path: &Path, key: Option<&str>, prefix: Option<&str>) -> Result<Self, ReadError> {
        // Looked at before opening, which waits for a writer if the file is a named pipe.
        let found = std::fs::metadata(path)?;
        if found.is_dir() {
            return Err(ReadError::format("it is a directory, not a file"));
        }
        if !found.is_file() {
            return Err(ReadError::format("it is not a regular file"));
        }
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        if length == 0 {
            return Err(ReadError::format("it is empty"));
        }
        let mut head = Vec::new();
        (&mut file).take(HEAD).read_to_end(&mut head)?;

        let contents = match Format::of(&head).map_err(ReadError::Format)? {
            Format::Safetensors { header } => {
                if let Some(key) = key {
                    return Err(ReadError::unknown_key(key, &[]));
                }
                safetensors::open(file, header, length)?
            }
            Format::Zip => pytorch::open_archive(file, path, length, key)?,
            Format::Pickle { count } => pytorch::open_pickles(file, count, path, length, key)?,
        };
        Self::of(path.to_path_buf(), contents, prefix)
    }

    /// A file that lies in memory, in safetensors' format. Errors name it by `path`.
    pub(crate) fn in_memory(path: PathBuf, bytes: &'static [u8]) -> Result<Self> {
        let open = || match Format::of(&bytes[..bytes.len().min(HEAD as usize)]) {
            Ok(Format::Safetensors { header }) => {
                safetensors::open(io::Cursor::new(bytes), header, bytes.len() as u64)
            }
            _ => Err(ReadError::format("it is no safetensors file")),
        };
        open()
            .and_then(|contents| Self::of(path.clone(), contents, None))
            .map_err(|failure| failure.at(&path))
    }

    fn of(path: PathBuf, contents: Contents, prefix: Option<&str>) -> Result<Self, ReadError> {
        let Some(section) = contents.sections.first().filter(|s| !s.tensors.is_empty()) else {
            return Err(ReadError::format("it holds no tensors"));
        };
        let base = match prefix {
            None => String::new(),
            Some(prefix) => {
                let dot = if prefix.ends_with('.') { "" } else { "." };
                let base = format!("{prefix}{dot}");
                let has = |section: &Section| {
                    let mut names = section.tensors.keys();
                    names.any(|name| name.len() > base.len() && name.starts_with(&base))
                };
                if prefix.is_empty() || !contents.sections.iter().any(has) {
                    return Err(ReadError::unknown_prefix(
                        prefix,
                        &layout::first_segments(section),
                    ));
                }
                base
            }
        };
        let prefix = layout::common_prefix(&section.tensors, &base);
        let stripped = (!prefix.is_empty()).then(|| {
            let rest = |(name, info): (&String, &TensorInfo)| {
                let rest = name.strip_prefix(&prefix)?;
                Some((rest.to_owned(), info.clone()))
            };
            section.tensors.iter().filter_map(rest).collect()
        });
        Ok(Self {
            path,
            contents,
            base,
            prefix,
            stripped,
        })
    }

    /// The path the file was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key under which the tensors are, if the file has keys.
    pub fn key(&self) -> Option<&str> {
        self.section(0).and_then(|section| section.key.as_deref())
    }

    /// The other keys that hold tensors, but for those of a training's state.
    pub fn other_keys(&self) -> Vec<&str> {
        self.keys_but(self.key())
    }

    /// What was taken off the names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What the file holds, by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        static NOTHING: BTreeMap<String, TensorInfo> = BTreeMap::new();
        let all = self.section(0).map(|section| &section.tensors);
        self.stripped.as_ref().or(all).unwrap_or(&NOTHING)
    }

    /// The `__metadata__` of a safetensors file; empty for the other formats.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.contents.metadata
    }

    /// Reads the values of one tensor in row-major order. `f16` and `bf16` are widened, which
    /// changes no value; `f64` is rounded.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsFormat`] if there is no such tensor, its type is not
    /// [loadable](DType::is_loadable), its data are damaged, or a value is beyond the range of
    /// `f32`; [`Error::NonFinite`] if a value is NaN or infinite; [`Error::Io`] if the file cannot
    /// be read.
    ///
    /// [`Error::WeightsFormat`]: crate::Error::WeightsFormat
    /// [`Error::NonFinite`]: crate::Error::NonFinite
    /// [`Error::Io`]: crate::Error::Io
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        let full = if self.tensors().contains_key(name) {
            format!("{}{name}", self.prefix)
        } else {
            name.to_owned()
        };
        let section = self.section(0);
        let read = section.ok_or_else(|| absent(name));
        read.and_then(|section| section.read(&full, name))
            .map_err(|failure| failure.at(&self.path))
    }

    /// Reads a tensor by the name that it has in the file, under the key of a section.
    pub(crate) fn read_in(&self, section: usize, name: &str) -> Result<Vec<f32>> {
        let read = self.section(section).ok_or_else(|| absent(name));
        read.and_then(|section| section.read(name, name))
            .map_err(|failure| failure.at(&self.path))
    }

    fn section(&self, index: usize) -> Option<&Section> {
        self.contents.sections.get(index)
    }

    /// The tensors under the key of a section, by the names that they have in the file.
    pub(crate) fn tensors_in(&self, section: usize) -> &BTreeMap<String, TensorInfo> {
        let found = self.section(section).map(|section| &section.tensors);
        found.unwrap_or_else(|| self.tensors())
    }

    /// Numbers in all tensors of the file.
    pub(crate) fn num_elements(&self) -> usize {
        let sections = self.contents.sections.iter();
        sections
            .flat_map(|section| section.tensors.values())
            .map(|info| info.shape.iter().copied().fold(1, usize::saturating_mul))
            .fold(0, usize::saturating_add)
    }

    pub(crate) fn key_of(&self, section: usize) -> Option<&str> {
        self.section(section)?.key.as_deref()
    }

    /// The keys of the file that hold tensors, without this one (or the one it is in) and without
    /// those of a training's state.
    pub(crate) fn keys_but(&self, key: Option<&str>) -> Vec<&str> {
        let Some(key) = key else { return Vec::new() };
        let within = |top: &str| {
            let rest = key.strip_prefix(top);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let keys = self.contents.keys.iter().map(String::as_str);
        keys.filter(|top| !within(top) && !layout::is_training_state(top))
            .collect()
    }

    /// Where the tensors of a model may be, by the names of its backbone: upstream's, and others that
    /// files may have. If there are several, each has all of these names, and is under another key.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if all of the names are there twice, behind two prefixes.
    ///
    /// [`Error::InvalidArgument`]: crate::Error::InvalidArgument
    pub(crate) fn layouts(
        &self,
        backbone: &[String],
        other_names: &[OtherNames],
    ) -> Result<Vec<Layout>> {
        let mut whole = Vec::new();
        let mut best: Option<(usize, Layout)> = None;
        for (index, section) in self.contents.sections.iter().enumerate() {
            let found = layout::layouts(index, section, &self.base, backbone, other_names);
            let complete: Vec<&Layout> = found
                .iter()
                .filter(|(count, layout)| *count >= layout.num_names)
                .map(|(_, layout)| layout)
                .collect();
            match complete[..] {
                [] => {}
                [one] => whole.push(one.clone()),
                [..] => {
                    let prefixes: Vec<&str> = complete.iter().map(|l| l.prefix.as_str()).collect();
                    return Err(ReadError::ambiguous_prefix(&prefixes).at(&self.path));
                }
            }
            if let Some(first) = found.into_iter().next()
                && best.as_ref().is_none_or(|(count, _)| first.0 > *count)
            {
                best = Some(first);
            }
        }
        if !whole.is_empty() {
            return Ok(whole);
        }
        let default = Layout {
            section: 0,
            prefix: self.prefix.clone(),
            num_names: backbone.len(),
            naming: None,
        };
        Ok(vec![best.map_or(default, |(_, layout)| layout)])
    }

    /// The error of a file of which several keys fit.
    pub(crate) fn ambiguous_key(&self, layouts: &[&Layout]) -> Error {
        let keys: Vec<&str> = layouts
            .iter()
            .filter_map(|layout| self.key_of(layout.section))
            .collect();
        ReadError::ambiguous_key(&keys).at(&self.path)
    }

    /// What the file looks like, and what may help, for one that does not fit.
    pub(crate) fn hints(&self, layout: &Layout, backbone: &[String]) -> Vec<String> {
        let Some(section) = self.section(layout.section) else {
            return Vec::new();
        };
        let mut hints: Vec<String> = layout::looks_like(section)
            .map(|words| format!("the file has {words}"))
            .into_iter()
            .collect();
        hints.extend(layout::prefix_hint(section, &layout.prefix, backbone));
        let mut others = self.keys_but(section.key.as_deref());
        if section.key.is_none() {
            others = self.contents.keys.iter().map(String::as_str).collect();
        }
        if !others.is_empty() {
            hints.push(format!(
                "keys that hold tensors, too: {}; weights_key (--weights-key KEY) takes one",
                quoted(&others)
            ));
        }
        hints
    }
}

fn absent(name: &str) -> ReadError {
    ReadError::Format(format!("it holds no tensor `{}`", shown(name)))
}

impl Section {
    /// Reads the values of the tensor that the file calls `name`; errors call it `called`.
    fn read(&self, name: &str, called: &str) -> Result<Vec<f32>, ReadError> {
        let Some(info) = self.tensors.get(name) else {
            return Err(absent(called));
        };
        let size = match info.dtype {
            DType::F16 | DType::BF16 => 2,
            DType::F32 => 4,
            DType::F64 => 8,
            DType::Other(_) => {
                return Err(ReadError::Format(format!(
                    "tensor `{}` is {}; expected f32, f16, bf16 or f64",
                    shown(called),
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
            .map_err(|_| ReadError::Io(io::ErrorKind::OutOfMemory.into()))?;

        self.values.read(name, count, size, &mut |block| {
            convert(called, &info.dtype, block, &mut values)
        })?;
        if values.len() != count {
            return Err(ReadError::Format(format!(
                "tensor `{}` has {} values, but its shape says {count}",
                shown(called),
                values.len()
            )));
        }
        Ok(values)
    }
}

/// Appends elements in this machine's byte order.
fn convert(
    name: &str,
    dtype: &DType,
    bytes: &[u8],
    values: &mut Vec<f32>,
) -> Result<(), ReadError> {
    let begin = values.len();
    match dtype {
        DType::F16 => values
            .extend((bytes.as_chunks().0.iter()).map(|b| half::f16::from_ne_bytes(*b).to_f32())),
        DType::BF16 => values
            .extend((bytes.as_chunks().0.iter()).map(|b| half::bf16::from_ne_bytes(*b).to_f32())),
        DType::F32 => {
            values.extend((bytes.as_chunks().0.iter()).map(|b| f32::from_ne_bytes(*b)));
        }
        DType::F64 => {
            for bytes in bytes.as_chunks().0 {
                let wide = f64::from_ne_bytes(*bytes);
                let value = wide as f32;
                if wide.is_finite() && !value.is_finite() {
                    return Err(ReadError::Format(format!(
                        "tensor `{}` holds {wide:e} at element {}, which is beyond the range of f32",
                        shown(name),
                        values.len()
                    )));
                }
                values.push(value);
            }
        }
        DType::Other(_) => {}
    }
    let mut new = values.iter().enumerate().skip(begin);
    match new.find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((index, &value)) => Err(ReadError::NonFinite {
            tensor: name.to_owned(),
            index,
            value,
        }),
    }
}
