//! A file of checksummed records, which is what TensorFlow calls a TFRecord file.

use std::fs::{DirEntry, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};

/// Records wait in memory until there are this many bytes of them,
const FLUSH_BYTES: usize = 1 << 16;
/// or until this long has passed since the last time: TensorBoard looks every few seconds.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// TensorBoard takes a file for an event file by this part of its name.
const PREFIX: &str = "events.out.tfevents.";
/// The largest number of ten digits; names are sorted as text.
const MAX_SECONDS: u64 = 9_999_999_999;

/// Writes records to a new file. Only whole records are handed to the system, and what is left is
/// written when the writer is dropped.
#[derive(Debug)]
pub struct RecordWriter {
    path: PathBuf,
    file: File,
    /// Bytes of whole records in the file.
    length: u64,
    pending: Vec<u8>,
    flushed: Instant,
}

impl RecordWriter {
    /// A new event file in a folder, which is made if need be.
    pub fn create(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let entries = dir.read_dir().map_err(Error::io("read", dir))?;
        // TensorBoard reads the files of a folder in the order of their names. A later writer
        // must come later, even in the same second or after the clock was set back.
        let newest = entries.flatten().filter_map(|entry| seconds(&entry)).max();
        let seconds = unix_time().max(0.0) as u64;
        let seconds = newest.map_or(seconds, |newest| seconds.max(newest + 1));
        let host = host_name();
        let process = std::process::id();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("{PREFIX}{seconds:010}.{host}.{process}.{count}"));
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(Self {
                        path,
                        file,
                        length: 0,
                        pending: Vec::new(),
                        flushed: Instant::now(),
                    });
                }
                // Two machines of one name can share a folder.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", &path)(error)),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a record: the length, its checksum, the data, their checksum, all little-endian.
    pub fn push(&mut self, data: &[u8]) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        self.pending.extend(length);
        self.pending.extend(masked_crc(&length).to_le_bytes());
        self.pending.extend(data);
        self.pending.extend(masked_crc(data).to_le_bytes());
        if self.pending.len() >= FLUSH_BYTES || self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands all records to the system.
    pub fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        if let Err(error) = self.file.write_all(&self.pending) {
            // A reader would stop at half a record and miss all that come after it. What is
            // pending stays, for another try.
            let _ = self.file.set_len(self.length);
            return Err(Error::io("write", &self.path)(error));
        }
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = self.flush();
    }
}

/// Seconds since 1970 on this machine's clock.
pub fn unix_time() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

/// CRC-32C, turned and shifted, because sums of data that hold sums themselves are weak.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xA282_EAD8)
}

/// The time in the name of an event file.
fn seconds(entry: &DirEntry) -> Option<u64> {
    let name = entry.file_name();
    let (seconds, _) = name.to_str()?.strip_prefix(PREFIX)?.split_once('.')?;
    let seconds = seconds.parse().ok()?;
    (seconds < MAX_SECONDS).then_some(seconds)
}

/// This machine's name, as far as a file name can hold it.
fn host_name() -> String {
    let name = gethostname::gethostname();
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name: String = name
        .to_string_lossy()
        .chars()
        .take(64)
        .map(|c| if allowed(c) { c } else { '_' })
        .collect();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}
