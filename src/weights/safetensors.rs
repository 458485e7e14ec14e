//! The safetensors format: a length, a JSON object of so many bytes that says what there is, and
//! the values of all tensors without gaps.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use ::safetensors::Dtype;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::contents::{Contents, DType, Section, TensorInfo, Values, check_rank};
use super::quote::shown;
use super::read_error::ReadError;

/// How many bytes are read at once; a multiple of every element's size.
const BLOCK: usize = 1 << 18;

/// Opens a file whose header is said to be `header` bytes long.
pub(super) fn open(
    file: impl Bytes + 'static,
    header: u64,
    file_length: u64,
) -> Result<Contents, ReadError> {
    let mut file: Box<dyn Bytes> = Box::new(file);
    let Header { tensors, metadata } = Header::read(&mut *file, header, file_length)?;
    let located = locate(tensors, header + 8, file_length)?;
    let (tensors, begins) = (located.into_iter())
        .map(|(name, (info, begin))| ((name.clone(), info), (name, begin)))
        .unzip();
    let file = Mutex::new(file);
    let section = Section {
        key: None,
        tensors,
        values: Box::new(FileValues { file, begins }),
    };
    Ok(Contents {
        sections: vec![section],
        keys: Vec::new(),
        metadata,
    })
}

/// Where the bytes of a file are: on a disk, or in memory.
pub(super) trait Bytes: Read + Seek + Send + fmt::Debug {}

impl Bytes for File {}

impl Bytes for io::Cursor<&'static [u8]> {}

/// The values in an open file.
#[derive(Debug)]
struct FileValues {
    file: Mutex<Box<dyn Bytes>>,
    /// Where each tensor begins, counted from the start of the file.
    begins: BTreeMap<String, u64>,
}

impl Values for FileValues {
    fn read(
        &self,
        name: &str,
        count: usize,
        size: usize,
        each: &mut dyn FnMut(&[u8]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let begin = self.begins.get(name).copied().unwrap_or_default();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(begin))?;
        let mut left = count * size;
        let mut block = vec![0; left.min(BLOCK)];
        while left > 0 {
            let block = &mut block[..left.min(BLOCK)];
            file.read_exact(block).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    ReadError::format("it has become shorter since it was opened")
                }
                _ => ReadError::Io(error),
            })?;
            left -= block.len();
            if cfg!(target_endian = "big") {
                block.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            }
            each(block)?;
        }
        Ok(())
    }
}

/// The header of a safetensors file.
///
/// A name that stands twice is an error: readers differ in which of the two they take.
#[derive(Debug)]
struct Header {
    tensors: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with `dtype`, `shape` and `data_offsets`")]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Where the data begin and end, counted from the end of the header.
    data_offsets: [u64; 2],
}

impl Header {
    fn read(file: &mut dyn Bytes, length: u64, file_length: u64) -> Result<Self, ReadError> {
        let rest = file_length.saturating_sub(8);
        if length > rest {
            return Err(ReadError::Format(format!(
                "its safetensors header is said to be {length} bytes long, but the file ends \
                 after {rest}; perhaps the download is incomplete"
            )));
        }
        file.seek(SeekFrom::Start(8))?;
        let mut text = Vec::new();
        file.take(length).read_to_end(&mut text)?;
        serde_json::from_slice(&text).map_err(|error| {
            ReadError::Format(format!(
                "its safetensors header is not valid: {}",
                shown(&error.to_string())
            ))
        })
    }
}

/// The tensors and where each begins in the file, after checking that the data fit the shapes and
/// fill the file from `start` on without overlaps and gaps.
///
/// The safetensors crate checks the same, but says neither which tensor is wrong nor how, and lets
/// a name stand twice.
fn locate(
    tensors: BTreeMap<String, Entry>,
    start: u64,
    file_length: u64,
) -> Result<BTreeMap<String, (TensorInfo, u64)>, ReadError> {
    let mut in_order: Vec<_> = tensors.into_iter().collect();
    in_order.sort_by_key(|(_, entry)| entry.data_offsets);

    let mut located = BTreeMap::new();
    let mut position = 0;
    for (name, entry) in in_order {
        let [begin, end] = entry.data_offsets;
        let dtype = loaded_type(entry.dtype);
        check_rank(&name, entry.shape.len())?;
        let wrong = |what: String| ReadError::Format(format!("tensor `{}` {what}", shown(&name)));
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
        let shape = entry.shape;
        let info = TensorInfo { shape, dtype };
        located.insert(name, (info, start.saturating_add(begin)));
    }

    let present = file_length.saturating_sub(start);
    if position > present {
        return Err(ReadError::Format(format!(
            "its tensors take {position} bytes, but the file holds only {present} after the \
             header; perhaps the download is incomplete"
        )));
    }
    if position < present {
        return Err(ReadError::Format(format!(
            "its tensors take {position} bytes, but the file holds {present} after the header"
        )));
    }
    Ok(located)
}

fn loaded_type(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        other => DType::Other(other.to_string().to_lowercase()),
    }
}

/// `None` if the size overflows or is no whole number of bytes.
fn byte_length(shape: &[usize], dtype: Dtype) -> Option<u64> {
    let count = (shape.iter()).try_fold(1_usize, |count, &size| count.checked_mul(size))?;
    let bits = count.checked_mul(dtype.bitsize())?;
    if !bits.is_multiple_of(8) {
        return None;
    }
    u64::try_from(bits / 8).ok()
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
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
                Ok(Header {
                    tensors,
                    metadata: metadata.unwrap_or_default(),
                })
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
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
