//! A run folder is written by one process at a time.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{Error, Result};

/// A run folder that no other process writes into, for as long as the value lives.
///
/// The folder itself is locked, so that nothing is left of the lock however a process ends. Where
/// folders cannot be locked (on Windows, in some network file systems) it keeps nobody out.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _folder: Option<File>,
}

impl FolderLock {
    /// Whether a folder can be locked, and nobody has it.
    pub fn is_free(dir: &Path) -> bool {
        File::open(dir).is_ok_and(|folder| folder.try_lock().is_ok())
    }

    /// Locks a folder; one that is not there is nobody's.
    pub fn take(dir: &Path) -> Result<Self> {
        let Ok(folder) = File::open(dir) else {
            return Ok(Self { _folder: None });
        };
        match folder.try_lock() {
            Ok(()) => Ok(Self {
                _folder: Some(folder),
            }),
            Err(TryLockError::WouldBlock) => Err(Error::Folder {
                path: dir.to_path_buf(),
                reason: "another process is writing a run into this folder; wait until it has \
                         ended, or choose another folder"
                    .to_owned(),
            }),
            Err(TryLockError::Error(_)) => Ok(Self { _folder: None }),
        }
    }
}
