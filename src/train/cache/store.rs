//! Rows of numbers of one length, in memory or in a file.

use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use half::f16;
use half::slice::HalfFloatSliceExt as _;

use crate::error::{Error, Result};
use crate::files::{rename_into, temporary_in};

/// Rows that are written one after the other and then read in any order.
///
/// A file is read at positions rather than mapped into memory: both go through the system's page
/// cache, and a file that somebody cuts short is then an error and not the end of the process.
pub(super) struct Store {
    row: usize,
    values: Values,
}

enum Values {
    Single(Vec<f32>),
    Half(Vec<f16>),
    File {
        file: Mutex<File>,
        path: PathBuf,
        half: bool,
    },
}

/// A store that is being written.
pub(super) struct Writer {
    row: usize,
    rows: usize,
    to: To,
}

enum To {
    Single(Vec<f32>),
    Half(Vec<f16>),
    File {
        file: BufWriter<tempfile::NamedTempFile>,
        path: PathBuf,
        half: bool,
    },
}

/// Bytes of a number.
pub(super) fn width(half: bool) -> u64 {
    if half { 2 } else { 4 }
}

impl Writer {
    /// Into memory.
    pub fn memory(rows: usize, row: usize, half: bool) -> Self {
        let to = match half {
            false => To::Single(Vec::with_capacity(rows * row)),
            true => To::Half(Vec::with_capacity(rows * row)),
        };
        Self { row, rows, to }
    }

    /// Into a file that has its name once it is whole.
    pub fn file(path: PathBuf, rows: usize, row: usize, half: bool) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let file = temporary_in(folder).map_err(Error::io("write into", folder))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let to = To::File { file, path, half };
        Ok(Self { row, rows, to })
    }

    /// The length of a row.
    pub fn row(&self) -> usize {
        self.row
    }

    /// Appends rows that will not be read.
    pub fn push_empty(&mut self, rows: usize) -> Result<()> {
        let empty = vec![0.0; self.row];
        (0..rows).try_for_each(|_| self.push(&empty))
    }

    /// Not all rows mean something: a file gets a name by which it is not found again.
    pub fn incomplete(&mut self) {
        if let To::File { path, .. } = &mut self.to {
            path.set_extension("incomplete");
        }
    }

    /// Appends whole rows.
    pub fn push(&mut self, values: &[f32]) -> Result<()> {
        match &mut self.to {
            To::Single(all) => all.extend_from_slice(values),
            To::Half(all) => all.extend(values.iter().map(|v| f16::from_f32(*v))),
            To::File { file, path, half } => {
                let bytes: Vec<u8> = match half {
                    false => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                    true => {
                        let halves = values.iter().map(|v| f16::from_f32(*v));
                        halves.flat_map(f16::to_le_bytes).collect()
                    }
                };
                file.write_all(&bytes).map_err(Error::io("write", &*path))?;
            }
        }
        Ok(())
    }

    /// All rows are there.
    pub fn finish(self) -> Result<Store> {
        let values = match self.to {
            To::Single(values) => Values::Single(values),
            To::Half(values) => Values::Half(values),
            To::File { file, path, half } => {
                let file = file
                    .into_inner()
                    .map_err(|error| Error::io("write", &path)(error.into_error()))?;
                rename_into(file, &path).map_err(Error::io("write", &path))?;
                return Store::open(path, self.rows, self.row, half)?.ok_or_else(|| {
                    Error::argument("feature_cache", "the file that was written", "another one")
                });
            }
        };
        Ok(Store {
            row: self.row,
            values,
        })
    }
}

impl Store {
    /// A file of so many rows, if it is there and whole.
    pub fn open(path: PathBuf, rows: usize, row: usize, half: bool) -> Result<Option<Self>> {
        let Ok(file) = File::open(&path) else {
            return Ok(None);
        };
        let found = file.metadata().map_err(Error::io("read", &path))?;
        if found.len() != (rows * row) as u64 * width(half) {
            return Ok(None);
        }
        Ok(Some(Self {
            row,
            values: Values::File {
                file: Mutex::new(file),
                path,
                half,
            },
        }))
    }

    /// These rows, one after the other.
    pub fn rows(&self, indices: impl ExactSizeIterator<Item = usize>) -> Result<Vec<f32>> {
        let row = self.row;
        let mut out = vec![0.0f32; indices.len() * row];
        let places = out.chunks_exact_mut(row.max(1)).zip(indices);
        match &self.values {
            Values::Single(values) => {
                places.for_each(|(out, i)| out.copy_from_slice(&values[i * row..(i + 1) * row]));
            }
            Values::Half(values) => {
                places.for_each(|(out, i)| {
                    values[i * row..(i + 1) * row].convert_to_f32_slice(out);
                });
            }
            Values::File { file, path, half } => {
                let size = row * width(*half) as usize;
                let mut bytes = vec![0u8; size];
                // A thread that died while it read leaves nothing behind but a position.
                let mut file = file.lock().unwrap_or_else(|held| held.into_inner());
                for (out, index) in places {
                    let place = SeekFrom::Start((index * size) as u64);
                    file.seek(place)
                        .and_then(|_| file.read_exact(&mut bytes))
                        .map_err(Error::io("read", path))?;
                    match half {
                        false => {
                            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                                *out = f32::from_le_bytes(*bytes);
                            }
                        }
                        true => {
                            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                                *out = f16::from_le_bytes(*bytes).to_f32();
                            }
                        }
                    }
                }
            }
        }
        Ok(out)
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.values {
            Values::File { path, .. } => Some(path),
            Values::Single(_) | Values::Half(_) => None,
        }
    }

    /// Bytes that it takes, and whether they lie in memory.
    pub fn size(&self) -> (u64, bool) {
        match &self.values {
            Values::Single(values) => (values.len() as u64 * 4, true),
            Values::Half(values) => (values.len() as u64 * 2, true),
            Values::File { file, .. } => {
                let file = file.lock().unwrap_or_else(|held| held.into_inner());
                (file.metadata().map_or(0, |m| m.len()), false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(store: &Store) -> Vec<f32> {
        store.rows([2, 0, 2].into_iter()).unwrap()
    }

    #[test]
    fn rows_come_back_from_memory_and_from_a_file() {
        let values = [0.5, -1.0, 65504.0, 1e-3, 3.0, 0.1];
        let folder = tempfile::tempdir().unwrap();
        for half in [false, true] {
            let path = folder.path().join(format!("rows-{half}"));
            let mut memory = Writer::memory(3, 2, half);
            let mut file = Writer::file(path.clone(), 3, 2, half).unwrap();
            for row in values.chunks(2) {
                memory.push(row).unwrap();
                file.push(row).unwrap();
                assert!(!path.exists());
            }
            let expected: Vec<f32> = [3.0, 0.1, 0.5, -1.0, 3.0, 0.1]
                .into_iter()
                .map(|v| if half { f16::from_f32(v).to_f32() } else { v })
                .collect();
            assert_eq!(rows(&memory.finish().unwrap()), expected);
            assert_eq!(rows(&file.finish().unwrap()), expected);
            assert!(Store::open(path.clone(), 4, 2, half).unwrap().is_none());
            assert!(Store::open(path, 3, 2, half).unwrap().is_some());
        }
    }

    #[test]
    fn a_file_that_was_cut_short_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let mut file = Writer::file(path.clone(), 3, 2, false).unwrap();
        file.push(&[1.0; 6]).unwrap();
        let store = file.finish().unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(20)
            .unwrap();
        let error = store.rows([2].into_iter()).unwrap_err().to_string();
        assert!(error.contains("rows"), "{error}");
    }
}
