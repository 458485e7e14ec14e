//! What the hub's client tells: of a file, of its way here, and of the cache.

use std::path::PathBuf;
use std::time::Duration;

/// A file that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// The commit it belongs to.
    pub commit: String,
    /// Its SHA-256 in lower-case hexadecimal digits.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Whether its bytes were in the cache already.
    pub from_cache: bool,
    /// Where the altered file is now that it takes the place of.
    pub replaced: Option<PathBuf>,
}

/// What happens while a file is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Bytes arrived.
    Received {
        /// The bytes received so far, those of earlier attempts among them.
        received: u64,
        /// The size of the file, if it is known.
        total: Option<u64>,
    },
    /// Another process fetches the same file; this one waits for it.
    Locked,
    /// An attempt failed; the next one follows after a time.
    Retrying {
        /// The time until then.
        wait: Duration,
        /// What went wrong.
        reason: String,
    },
    /// A cached file was not what it has to be; it was set aside, and is fetched anew.
    Replaced {
        /// Where the altered file is now.
        path: PathBuf,
        /// The checksum it should have had, with its kind.
        expected: String,
        /// The checksum it had.
        found: String,
    },
}

/// A file in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedFile {
    /// The repository.
    pub repository: String,
    /// The commit that the file belongs to.
    pub commit: String,
    /// The branches and tags that mean this commit.
    pub revisions: Vec<String>,
    /// The path in the repository.
    pub file: String,
    /// Where it is cached.
    pub path: PathBuf,
    /// Its size. Files that several commits have in common are counted with each.
    pub bytes: u64,
    /// Whether it has been checked and did not change since.
    pub verified: bool,
}

/// What checking a cached file found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// The repository.
    pub repository: String,
    /// A commit that has the file.
    pub commit: String,
    /// The path in the repository.
    pub file: String,
    /// Where it is cached.
    pub path: PathBuf,
    /// What was found.
    pub outcome: Outcome,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The file is what it should be.
    Sound {
        /// Its SHA-256.
        sha256: String,
    },
    /// The file is not what it was.
    Altered {
        /// The checksum it should have, with its kind.
        expected: String,
        /// The checksum it has.
        found: String,
    },
    /// Nothing tells what the file should be. It was put there by another program, on a file
    /// system without symbolic links.
    Unknown,
    /// A link leads to no file.
    Missing,
    /// The file cannot be read.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// What [`Hub::remove`](super::Hub::remove) deleted, or [`Hub::beside`](super::Hub::beside) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// The number of files, without links.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
}
