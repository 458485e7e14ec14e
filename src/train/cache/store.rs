//! Rows of numbers of one length, in memory or in a file.

use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use half::f16;

use crate::error::{Error, Result};
use crate::files::{rename_into, temporary_in};

/// Rows that are written one after the other and then read in any order.
///
/// A file is read at positions rather than mapped into memory: both go through the system's page
/// cache, and a file that somebody cuts short is then an error and not the end of the process.
pub(super) struct Store {
    row: Row,
    bytes: Stored,
}

enum Stored {
    Memory(Vec<u8>),
    File { file: Mutex<File>, path: PathBuf },
}

/// A store that is being written.
pub(super) struct Writer {
    row: Row,
    rows: usize,
    bytes: Written,
}

enum Written {
    Memory(Vec<u8>),
    File {
        file: BufWriter<tempfile::NamedTempFile>,
        path: PathBuf,
    },
}

/// The form of a row: numbers of 32 bits, or of 16.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub length: usize,
    pub half: bool,
}

impl Row {
    /// Bytes of a row.
    pub fn size(self) -> usize {
        self.length * if self.half { 2 } else { 4 }
    }

    fn encode(self, values: &[f32], out: &mut Vec<u8>) {
        if self.half {
            let halves = values.iter().map(|value| f16::from_f32(*value));
            out.extend(halves.flat_map(f16::to_le_bytes));
        } else {
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }

    fn decode(self, bytes: &[u8], out: &mut [f32]) {
        if self.half {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *out = f16::from_le_bytes(*bytes).to_f32();
            }
        } else {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *out = f32::from_le_bytes(*bytes);
            }
        }
    }
}

impl Writer {
    /// Into memory.
    pub fn memory(rows: usize, row: Row) -> Self {
        let bytes = Written::Memory(Vec::with_capacity(rows * row.size()));
        Self { row, rows, bytes }
    }

    /// Into a file that has its name once it is complete.
    pub fn file(path: PathBuf, rows: usize, row: Row) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let file = temporary_in(folder).map_err(Error::io("write into", folder))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let bytes = Written::File { file, path };
        Ok(Self { row, rows, bytes })
    }

    /// Appends rows that will not be read.
    pub fn push_empty(&mut self, rows: usize) -> Result<()> {
        let empty = vec![0.0; self.row.length];
        (0..rows).try_for_each(|_| self.push(&empty))
    }

    /// Not all rows mean something: a file gets a name by which it is not found again.
    pub fn mark_incomplete(&mut self) {
        if let Written::File { path, .. } = &mut self.bytes {
            path.set_extension("incomplete");
        }
    }

    /// Appends whole rows.
    pub fn push(&mut self, values: &[f32]) -> Result<()> {
        match &mut self.bytes {
            Written::Memory(all) => {
                self.row.encode(values, all);
                Ok(())
            }
            Written::File { file, path } => {
                let mut bytes = Vec::new();
                self.row.encode(values, &mut bytes);
                file.write_all(&bytes).map_err(Error::io("write", &*path))
            }
        }
    }

    /// All rows are there.
    pub fn finish(self) -> Result<Store> {
        let (file, path) = match self.bytes {
            Written::Memory(bytes) => {
                let bytes = Stored::Memory(bytes);
                return Ok(Store {
                    row: self.row,
                    bytes,
                });
            }
            Written::File { file, path } => (file, path),
        };
        let file = file
            .into_inner()
            .map_err(|error| Error::io("write", &path)(error.into_error()))?;
        rename_into(file, &path).map_err(Error::io("write", &path))?;
        Store::open(path, self.rows, self.row)?.ok_or_else(|| {
            Error::argument("feature_cache", "the file that was written", "another one")
        })
    }
}

impl Store {
    /// A file of so many rows, if it is there and complete.
    pub fn open(path: PathBuf, rows: usize, row: Row) -> Result<Option<Self>> {
        let Ok(file) = File::open(&path) else {
            return Ok(None);
        };
        let found = file.metadata().map_err(Error::io("read", &path))?;
        if found.len() != (rows * row.size()) as u64 {
            return Ok(None);
        }
        let file = Mutex::new(file);
        let bytes = Stored::File { file, path };
        Ok(Some(Self { row, bytes }))
    }

    /// These rows, one after the other.
    pub fn rows(&self, indices: impl ExactSizeIterator<Item = usize>) -> Result<Vec<f32>> {
        let (row, size) = (self.row, self.row.size());
        let mut out = vec![0.0f32; indices.len() * row.length];
        let places = out.chunks_exact_mut(row.length.max(1)).zip(indices);
        match &self.bytes {
            Stored::Memory(bytes) => {
                places.for_each(|(out, i)| row.decode(&bytes[i * size..(i + 1) * size], out));
            }
            Stored::File { file, path } => {
                let mut bytes = vec![0u8; size];
                // A thread that died while it read leaves nothing behind but a position.
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                for (out, index) in places {
                    let place = SeekFrom::Start((index * size) as u64);
                    file.seek(place)
                        .and_then(|_| file.read_exact(&mut bytes))
                        .map_err(Error::io("read", path))?;
                    row.decode(&bytes, out);
                }
            }
        }
        Ok(out)
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.bytes {
            Stored::File { path, .. } => Some(path),
            Stored::Memory(_) => None,
        }
    }

    /// Bytes that it takes.
    pub fn size(&self) -> u64 {
        match &self.bytes {
            Stored::Memory(bytes) => bytes.len() as u64,
            Stored::File { file, .. } => {
                let file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.metadata().map_or(0, |m| m.len())
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
            let row = Row { length: 2, half };
            let mut memory = Writer::memory(3, row);
            let mut file = Writer::file(path.clone(), 3, row).unwrap();
            for values in values.chunks(2) {
                memory.push(values).unwrap();
                file.push(values).unwrap();
                assert!(!path.exists());
            }
            let expected: Vec<f32> = [3.0, 0.1, 0.5, -1.0, 3.0, 0.1]
                .into_iter()
                .map(|v| if half { f16::from_f32(v).to_f32() } else { v })
                .collect();
            assert_eq!(rows(&memory.finish().unwrap()), expected);
            assert_eq!(rows(&file.finish().unwrap()), expected);
            assert!(Store::open(path.clone(), 4, row).unwrap().is_none());
            assert!(Store::open(path, 3, row).unwrap().is_some());
        }
    }

    #[test]
    fn a_file_that_was_cut_short_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let row = Row {
            length: 2,
            half: false,
        };
        let mut file = Writer::file(path.clone(), 3, row).unwrap();
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
