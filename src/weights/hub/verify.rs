//! Checks of cached files, and the memory of them.
//!
//! A file is read once; what it was then (size, times, inode, SHA-256) is written beside it, and as
//! long as the file system reports the same, the next check costs one `stat`.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::cache::{Entry, write_atomically};
use super::cache_error::CacheError;
use super::checksum::{Checksum, is_hex};
use super::results::Outcome;
use crate::files::sha256_of;

/// Time stamps of files come from a clock that ticks every 1 to 10 ms: a change within the tick of
/// the recorded one would go unnoticed, so nothing younger than this is recorded.
const TICK: Duration = Duration::from_millis(20);

/// What the file system says about a file, as far as it changes when the content does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stat {
    bytes: u64,
    /// Nanoseconds since 1970.
    modified: i64,
    /// On Unix the time of the last change to the inode, in nanoseconds since 1970, which no
    /// program can set.
    changed: Option<i64>,
    inode: Option<u64>,
}

impl Stat {
    fn of(metadata: &Metadata) -> Stat {
        #[cfg(unix)]
        let (changed, inode) = {
            use std::os::unix::fs::MetadataExt;
            let seconds = metadata.ctime().saturating_mul(1_000_000_000);
            let changed = seconds.saturating_add(metadata.ctime_nsec());
            (Some(changed), Some(metadata.ino()))
        };
        #[cfg(not(unix))]
        let (changed, inode) = (None, None);
        Stat {
            bytes: metadata.len(),
            modified: metadata.modified().map_or(0, nanoseconds),
            changed,
            inode,
        }
    }

    /// The state of `path` once its last change lies far enough back to be told from a later one.
    fn after_tick(path: &Path) -> std::io::Result<Stat> {
        let stat = Stat::of(&std::fs::metadata(path)?);
        let last = stat.modified.max(stat.changed.unwrap_or(i64::MIN));
        let age = nanoseconds(SystemTime::now()).saturating_sub(last);
        // A time stamp of the future is another clock's; waiting for it would help nobody.
        if (0..TICK.as_nanos() as i64).contains(&age) {
            std::thread::sleep(TICK);
            return Ok(Stat::of(&std::fs::metadata(path)?));
        }
        Ok(stat)
    }
}

/// Since 1970, for as long as that fits, which is until 2262.
fn nanoseconds(time: SystemTime) -> i64 {
    let count = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => count(after),
        Err(before) => -count(before.duration()),
    }
}

/// What is remembered of a file that was checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    sha256: String,
    stat: Stat,
}

impl Record {
    /// The record of an entry. One that cannot be read is none: the file is then read again.
    fn read(entry: &Entry) -> Option<Record> {
        let text = std::fs::read(&entry.record).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        is_hex(&record.sha256, 64).then_some(record)
    }

    /// Remembers an entry. A cache that may only be read is as good as another, so that failing is
    /// no error: the file is then read at each load.
    fn write(&self, entry: &Entry) {
        if let Ok(text) = serde_json::to_vec(self)
            && let Some(folder) = entry.record.parent()
            && std::fs::create_dir_all(folder).is_ok()
        {
            let _ = write_atomically(folder, &entry.record, &text);
        }
    }
}

/// How thorough a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// A file that did not change since it was read is not read again.
    Remembered,
    /// The file is read.
    Read,
}

/// Checks a cached file against the name of its blob, what was remembered of it and what the hub
/// `announced`, or if there is none of these, against the SHA-256 that is `pinned`.
pub(super) fn examine(
    entry: &Entry,
    announced: Option<&Checksum>,
    pinned: Option<&Checksum>,
    depth: Depth,
) -> Result<Outcome, CacheError> {
    match std::fs::metadata(&entry.file) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(Outcome::Missing),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Outcome::Missing),
        Err(error) => return Err(CacheError::of("read", &entry.file)(error)),
    }
    read_and_compare(entry, announced, pinned, depth).map_err(CacheError::of("read", &entry.file))
}

fn read_and_compare(
    entry: &Entry,
    announced: Option<&Checksum>,
    pinned: Option<&Checksum>,
    depth: Depth,
) -> std::io::Result<Outcome> {
    let stat = Stat::after_tick(&entry.file)?;
    let record = Record::read(entry);
    let named = [entry.name.as_ref(), announced].into_iter().flatten();
    if depth == Depth::Remembered
        && let Some(record) = record.as_ref().filter(|record| record.stat == stat)
        && named.clone().all(|checksum| match checksum {
            Checksum::Sha256(sum) => *sum == record.sha256,
            // Only a file whose blob name was right gets a record.
            Checksum::Git(_) => entry.name.as_ref() == Some(checksum),
        })
    {
        let sha256 = record.sha256.clone();
        return Ok(Outcome::Sound { sha256 });
    }

    let sha256 = sha256_of(&entry.file)?;
    let remembered = record.map(|record| Checksum::Sha256(record.sha256));
    let mut checksums: Vec<&Checksum> = named.chain(&remembered).collect();
    if checksums.is_empty() {
        checksums.extend(pinned);
    }
    if checksums.is_empty() {
        return Ok(Outcome::Unknown);
    }
    for expected in checksums {
        let found = expected.same_kind_of(&entry.file, &sha256)?;
        if found != *expected {
            return Ok(Outcome::Altered {
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
    }
    let record = Record { sha256, stat };
    record.write(entry);
    let sha256 = record.sha256;
    Ok(Outcome::Sound { sha256 })
}

/// Remembers that `entry`, as it is now, has been checked and has this SHA-256.
pub(super) fn remember(entry: &Entry, sha256: &str) {
    if let Ok(stat) = Stat::after_tick(&entry.file) {
        let sha256 = sha256.to_owned();
        Record { sha256, stat }.write(entry);
    }
}

/// Forgets what was remembered of `entry`.
pub(super) fn forget(entry: &Entry) {
    let _ = std::fs::remove_file(&entry.record);
}

/// Whether `entry` has been checked and did not change since.
pub(super) fn is_remembered(entry: &Entry) -> bool {
    let Ok(metadata) = std::fs::metadata(&entry.file) else {
        return false;
    };
    Record::read(entry).is_some_and(|record| record.stat == Stat::of(&metadata))
}

#[cfg(test)]
mod tests {
    use super::super::cache::Cache;
    use super::*;

    #[test]
    fn a_remembered_file_is_not_read_again_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache {
            root: folder.path().to_path_buf(),
            symlinks: true,
        };
        let repo = cache.repo("owner/name");
        let snapshot = repo.snapshot(&"0".repeat(40), "file");
        std::fs::create_dir_all(snapshot.parent().unwrap()).unwrap();
        std::fs::write(&snapshot, "content").unwrap();
        let entry = repo.entry(&"0".repeat(40), "file").unwrap().unwrap();
        let outcome = |depth| examine(&entry, None, None, depth).unwrap();
        assert_eq!(outcome(Depth::Remembered), Outcome::Unknown);
        assert!(!is_remembered(&entry));

        // A checksum that is not the content's: only a check that reads the content finds out.
        let other = "0".repeat(64);
        remember(&entry, &other);
        assert!(is_remembered(&entry));
        let sound = Outcome::Sound { sha256: other };
        assert_eq!(outcome(Depth::Remembered), sound);
        assert!(matches!(outcome(Depth::Read), Outcome::Altered { .. }));
        // So does one after a change, be it only of the times.
        std::fs::write(&snapshot, "content").unwrap();
        assert!(!is_remembered(&entry));
        let altered = outcome(Depth::Remembered);
        assert!(matches!(altered, Outcome::Altered { .. }));

        remember(&entry, &sha256_of(&snapshot).unwrap());
        let sound = outcome(Depth::Remembered);
        assert!(matches!(sound, Outcome::Sound { .. }));
        // A record that cannot be read is none.
        std::fs::write(&entry.record, "{").unwrap();
        assert_eq!(outcome(Depth::Remembered), Outcome::Unknown);
        forget(&entry);
        assert!(!is_remembered(&entry));
    }
}
