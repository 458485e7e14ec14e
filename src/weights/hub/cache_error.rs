//! What the operating system refuses in the cache.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// An operation in the cache that the operating system refused. The message holds the system's own
/// error, so that it is no cause of its own.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {error}; {}", .path.display(), advice(action, error))]
pub(crate) struct CacheError {
    /// What was attempted, as a verb: `read`, `write`, `create`.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's own error.
    pub error: std::io::Error,
}

impl CacheError {
    /// For use in `map_err`.
    pub(super) fn of(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> CacheError {
        let path = path.as_ref().to_path_buf();
        move |error| CacheError {
            action,
            path,
            error,
        }
    }
}

fn advice(action: &str, error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a file is where a folder of the cache should be; set HF_HUB_CACHE to another folder"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space, or set HF_HUB_CACHE to a folder on another disk"
        }
        _ if action == "read" => "check the rights of the cache folder",
        _ => "set HF_HUB_CACHE to a folder that you may write to",
    }
}
