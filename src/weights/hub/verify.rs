//! Checksums, and the memory of files that have been checked.
//!
//! A file is read once; what it was then (size, times, inode, SHA-256) is written beside it, and as
//! long as the file system reports the same, the next check costs one `stat`.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::cache::{Entry, Repo};
use super::error::HubError;
use crate::files::hex;

/// Time stamps of files come from a clock that ticks every 1 to 10 ms: a change within the tick of
/// the recorded one would go unnoticed, so nothing younger than this is recorded.
const TICK: Duration = Duration::from_millis(20);

/// A checksum that the hub announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    /// Of a file in Git LFS or Xet: the SHA-256 of its bytes.
    Sha256(String),
    /// Of a file in Git itself: the name of its blob, which is a SHA-1 over its size and bytes.
    Git(String),
}

impl Checksum {
    /// What an ETag of the hub, or the name of a blob in the cache, says about the content.
    pub fn from_etag(etag: &str) -> Option<Checksum> {
        if is_hex(etag, 64) {
            Some(Checksum::Sha256(etag.to_owned()))
        } else if is_hex(etag, 40) {
            Some(Checksum::Git(etag.to_owned()))
        } else {
            None
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checksum::Sha256(sum) => write!(f, "SHA-256 {sum}"),
            Checksum::Git(sum) => write!(f, "git blob SHA-1 {sum}"),
        }
    }
}

/// Whether `text` is `digits` lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

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
            let changed = metadata
                .ctime()
                .saturating_mul(1_000_000_000)
                .saturating_add(metadata.ctime_nsec());
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
    fn settled(path: &Path) -> std::io::Result<Stat> {
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
    let whole = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => whole(after),
        Err(before) => -whole(before.duration()),
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
    fn read(repo: &Repo, entry: &Entry) -> Option<Record> {
        let text = std::fs::read(repo.record(&entry.key)).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        is_hex(&record.sha256, 64).then_some(record)
    }

    /// Remembers an entry. A cache that may only be read is as good as another, so that failing is
    /// no error: the file is then read at each load.
    fn write(&self, repo: &Repo, entry: &Entry) {
        let Ok(text) = serde_json::to_vec(self) else {
            return;
        };
        let path = repo.record(&entry.key);
        if let Some(folder) = path.parent()
            && std::fs::create_dir_all(folder).is_ok()
        {
            let _ = super::cache::write_atomically(&path, &text);
        }
    }
}

/// What a check of a cached file found.
#[derive(Clone, Debug)]
pub(super) enum Health {
    /// It is what it should be.
    Sound { sha256: String, bytes: u64 },
    /// It is not.
    Altered { expected: Checksum, found: Checksum },
    /// Nothing tells what it should be.
    Unknown { sha256: String, bytes: u64 },
    /// There is no such file, or a link that leads nowhere.
    Gone,
}

/// How thorough a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// A file that did not change since it was read is not read again.
    Remembered,
    /// The file is read.
    Read,
}

/// Checks a cached file against the name of its blob, what was remembered of it and `announced`.
pub(super) fn examine(
    repo: &Repo,
    entry: &Entry,
    announced: Option<&Checksum>,
    depth: Depth,
) -> Result<Health, Box<HubError>> {
    match std::fs::metadata(&entry.file) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(Health::Gone),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Health::Gone),
        Err(error) => return Err(HubError::io("read", &entry.file)(error)),
    }
    let read = HubError::io("read", &entry.file);
    let stat = match Stat::settled(&entry.file) {
        Ok(stat) => stat,
        Err(error) => return Err(read(error)),
    };
    let record = Record::read(repo, entry);
    let named = [entry.name.as_ref(), announced];
    if depth == Depth::Remembered
        && let Some(record) = record.as_ref().filter(|record| record.stat == stat)
        && named.iter().flatten().all(|checksum| match checksum {
            Checksum::Sha256(sum) => *sum == record.sha256,
            // Only a file whose blob name was right gets a record.
            Checksum::Git(_) => entry.name.as_ref() == Some(*checksum),
        })
    {
        return Ok(Health::Sound {
            sha256: record.sha256.clone(),
            bytes: stat.bytes,
        });
    }

    let sha256 = match sha256_of(&entry.file) {
        Ok(sha256) => sha256,
        Err(error) => return Err(read(error)),
    };
    let remembered = record.map(|record| Checksum::Sha256(record.sha256));
    let mut known = false;
    for checksum in named.into_iter().flatten().chain(remembered.as_ref()) {
        known = true;
        let found = match checksum {
            Checksum::Sha256(_) => Checksum::Sha256(sha256.clone()),
            Checksum::Git(_) => match git_sha1_of(&entry.file) {
                Ok(sum) => Checksum::Git(sum),
                Err(error) => return Err(read(error)),
            },
        };
        if found != *checksum {
            return Ok(Health::Altered {
                expected: checksum.clone(),
                found,
            });
        }
    }
    let bytes = stat.bytes;
    if !known {
        return Ok(Health::Unknown { sha256, bytes });
    }
    Record {
        sha256: sha256.clone(),
        stat,
    }
    .write(repo, entry);
    Ok(Health::Sound { sha256, bytes })
}

/// Remembers that `entry`, as it is now, has been checked and has this SHA-256.
pub(super) fn remember(repo: &Repo, entry: &Entry, sha256: &str) {
    if let Ok(stat) = Stat::settled(&entry.file) {
        Record {
            sha256: sha256.to_owned(),
            stat,
        }
        .write(repo, entry);
    }
}

/// Forgets what was remembered of `entry`.
pub(super) fn forget(repo: &Repo, entry: &Entry) {
    let _ = std::fs::remove_file(repo.record(&entry.key));
}

/// Whether `entry` has been checked and did not change since.
pub(super) fn is_remembered(repo: &Repo, entry: &Entry) -> bool {
    let Ok(metadata) = std::fs::metadata(&entry.file) else {
        return false;
    };
    Record::read(repo, entry).is_some_and(|record| record.stat == Stat::of(&metadata))
}

/// The checksum of `path` of the same kind as `like`.
pub(super) fn checksum_like(like: &Checksum, path: &Path) -> std::io::Result<Checksum> {
    Ok(match like {
        Checksum::Sha256(_) => Checksum::Sha256(sha256_of(path)?),
        Checksum::Git(_) => Checksum::Git(git_sha1_of(path)?),
    })
}

fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut state = Sha256::new();
    read_through(path, |piece| state.update(piece))?;
    Ok(hex(&state.finalize()))
}

fn git_sha1_of(path: &Path) -> std::io::Result<String> {
    let mut state = Sha1::new();
    let bytes = std::fs::metadata(path)?.len();
    state.update(format!("blob {bytes}\0"));
    read_through(path, |piece| state.update(piece))?;
    Ok(hex(&state.finalize()))
}

/// Hands the content of `path` to `each`, piece by piece.
pub(super) fn read_through(path: &Path, mut each: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => each(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_sha256sum_and_git() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "hello\n").unwrap();
        assert_eq!(
            sha256_of(&path).unwrap(),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
        // `echo hello | git hash-object --stdin`
        assert_eq!(
            git_sha1_of(&path).unwrap(),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
    }

    #[test]
    fn etags_are_checksums_by_their_length() {
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!(
            Checksum::from_etag(sha256),
            Some(Checksum::Sha256(sha256.to_owned()))
        );
        assert_eq!(
            Checksum::from_etag(git),
            Some(Checksum::Git(git.to_owned()))
        );
        assert_eq!(Checksum::from_etag(&git.to_uppercase()), None);
        assert_eq!(Checksum::from_etag(&git[1..]), None);
        assert_eq!(Checksum::from_etag(""), None);
    }

    #[test]
    fn a_remembered_file_is_not_read_again_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = super::super::cache::Cache {
            root: folder.path().to_path_buf(),
            symlinks: true,
        };
        let repo = cache.repo("owner/name");
        let snapshot = repo.snapshot(&"0".repeat(40), "file");
        std::fs::create_dir_all(snapshot.parent().unwrap()).unwrap();
        std::fs::write(&snapshot, "content").unwrap();
        let entry = repo.entry(&"0".repeat(40), "file").unwrap().unwrap();
        let health = |depth| examine(&repo, &entry, None, depth).unwrap();
        assert!(matches!(health(Depth::Remembered), Health::Unknown { .. }));
        assert!(!is_remembered(&repo, &entry));

        // A checksum that is not the content's: only a check that reads the content finds out.
        let other = "0".repeat(64);
        remember(&repo, &entry, &other);
        assert!(is_remembered(&repo, &entry));
        assert!(matches!(
            health(Depth::Remembered),
            Health::Sound { sha256, bytes: 7 } if sha256 == other
        ));
        assert!(matches!(health(Depth::Read), Health::Altered { .. }));
        // So does one after a change, be it only of the times.
        std::fs::write(&snapshot, "content").unwrap();
        assert!(!is_remembered(&repo, &entry));
        assert!(matches!(health(Depth::Remembered), Health::Altered { .. }));

        remember(&repo, &entry, &sha256_of(&snapshot).unwrap());
        assert!(matches!(health(Depth::Remembered), Health::Sound { .. }));
        // A record that cannot be read is none.
        std::fs::write(repo.record(&entry.key), "{").unwrap();
        assert!(matches!(health(Depth::Remembered), Health::Unknown { .. }));
        forget(&repo, &entry);
        assert!(!is_remembered(&repo, &entry));
    }
}
