//! The lock that is held while a file is fetched: the one that Python takes.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::cache_error::CacheError;
use super::fetch_error::FetchError;

/// Waits for `limit` at most until no other process holds the lock file `path`, and takes it; it
/// ends with the value. `waiting` is called once if there is one. `None` if the file system has no
/// locks.
pub(super) fn lock(
    path: &Path,
    limit: Duration,
    waiting: impl FnOnce(),
) -> Result<Option<File>, FetchError> {
    let start = Instant::now();
    let mut waiting = Some(waiting);
    let mut pause = Duration::from_millis(10);
    loop {
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(CacheError::of("create", path))?;
        match lock.try_lock() {
            // Whoever deletes lock files leaves us with one that nobody else will find.
            Ok(()) if !is_still(&lock, path) => continue,
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => {}
            // Without locks two processes may fetch the same file; each writes its own copy and
            // renames it, so that this is a waste and nothing worse.
            Err(TryLockError::Error(_)) => return Ok(None),
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        if start.elapsed() >= limit {
            return Err(FetchError::Locked {
                lock: path.to_path_buf(),
                waited: limit,
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// Whether `path` still names the open `file`.
#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Whether `path` still names the open `file`: an open file cannot be deleted on Windows.
#[cfg(not(unix))]
fn is_still(_: &File, _: &Path) -> bool {
    true
}
