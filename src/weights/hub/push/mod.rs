//! Files into a repository of the hub, all by one commit.
//!
//! A large file is sent to the hub's storage first, where nobody sees it; the commit that names it, and
//! holds the small ones, is the last request. So a push that breaks off leaves the files of the
//! repository as they were, and one that is repeated sends only what is not there.
//!
//! The requests are ours and not hf-hub's, whose 1.0 sends large files by Xet alone: where a server
//! offers LFS, it puts them into the commit as text; and its commit is repeated after a lost answer
//! without a look at what became of the first.

mod exchange;
mod files;
mod large;
mod reply;
mod session;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::checksum::is_commit;
use super::error::HubError;
use super::push_error::{Left, PushError};
use super::request::{check_file, check_repository, check_revision};
use super::settings::Hub;
use crate::error::{Error, Result};
use crate::http::without_secrets;
use files::Prepared;
use session::Session;

/// Endings of the files that a repository's first `.gitattributes` puts into LFS, whatever their size.
const IN_LFS: [&str; 31] = [
    "7z",
    "arrow",
    "bin",
    "bz2",
    "ckpt",
    "ftz",
    "gz",
    "h5",
    "joblib",
    "mlmodel",
    "model",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "ot",
    "parquet",
    "pb",
    "pickle",
    "pkl",
    "pt",
    "pth",
    "rar",
    "safetensors",
    "tar",
    "tflite",
    "tgz",
    "wasm",
    "xz",
    "zip",
    "zst",
];

/// Files for a repository of the hub.
#[derive(Clone, Debug, Default)]
pub struct Push {
    /// The repository, `owner/name`. One that does not exist is created.
    pub repository: String,
    /// What it shall hold; what it has of these paths is replaced. Files that it has besides are left alone.
    pub files: Vec<PushFile>,
    /// Whether the repository is private: one that is created is made so, and into one that exists and
    /// is public nothing is sent. If not, one that is created gets the owner's default, which is public
    /// unless an organisation says otherwise, and one that exists stays what it is.
    pub private: bool,
    /// The branch, `main` if it is `None`. One that does not exist begins as a copy of `main`.
    pub revision: Option<String>,
    /// The message of the commit.
    pub message: Option<String>,
}

/// A file for a repository.
#[derive(Clone, Debug)]
pub struct PushFile {
    /// Its path in the repository, with `/` between its parts.
    pub path: String,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl PushFile {
    /// A file on the disk.
    pub fn open(path: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        PushFile {
            path: path.into(),
            content: Content::File(file.into()),
        }
    }

    /// A file of these bytes.
    pub fn of_bytes(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        PushFile {
            path: path.into(),
            content: Content::Bytes(bytes.into()),
        }
    }

    /// Its size.
    ///
    /// # Errors
    /// [`Error::Io`] if the file is not there.
    pub fn bytes(&self) -> Result<u64> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.len() as u64),
            Content::File(path) => {
                let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
                Ok(metadata.len())
            }
        }
    }

    /// Whether a repository with the hub's first `.gitattributes` keeps the file in LFS. The hub itself
    /// says so when the file is pushed.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn is_large(&self) -> Result<bool> {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        Ok(ending.is_some_and(|ending| IN_LFS.contains(&ending))
            || [".tar.", ".lfs.", "tfevents"]
                .iter()
                .any(|part| name.contains(part))
            || folder.split('/').next() == Some("saved_model")
            || self.bytes()? > 10_000_000)
    }
}

/// What happens while files are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushProgress {
    /// What is under way now, such as `committing`.
    Step(String),
    /// Bytes of large files were sent.
    Sent {
        /// Those sent so far. Less than before after an attempt that failed.
        sent: u64,
        /// All that must be sent.
        total: u64,
    },
    /// An attempt failed; the next one follows after a time.
    Retrying {
        /// The time until then.
        wait: Duration,
        /// What went wrong.
        reason: String,
    },
}

/// What a push did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// The repository's page.
    pub url: String,
    /// The branch.
    pub revision: String,
    /// Whether the repository was created.
    pub created: bool,
    /// Whether the branch was created.
    pub created_branch: bool,
    /// Whether the repository is private, if the hub says so.
    pub private: Option<bool>,
    /// The commit; `None` if the repository had all files as they are.
    pub commit: Option<String>,
    /// The files, in the order that they were given.
    pub files: Vec<PushedFile>,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushedFile {
    /// Its path in the repository.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it is in LFS.
    pub large: bool,
    /// Whether the branch did not have it, or had another one of its name.
    pub changed: bool,
    /// Whether its bytes were sent: the storage may have those of a large file already.
    pub sent: bool,
}

impl Hub {
    /// Puts files into a repository, by one commit that holds all that are new or changed. Nothing is
    /// deleted. The repository and the branch are created if they do not exist.
    ///
    /// A request is repeated three times if the connection breaks or the server fails (500, 502, 503,
    /// 504), and as long as 60 s in all if it limits requests (429). Before a commit is repeated, the
    /// hub is asked whether it has it. `progress` is called on this thread. May also be called
    /// inside an asynchronous runtime, where it blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Hub`] if a name cannot be used, if there is no access token or one without the right to
    /// write, if the repository is public though a private one is wanted, and if the hub cannot be
    /// reached or refuses something; the message says what is left there. [`Error::Io`] if a file cannot be read, [`Error::InvalidArgument`] if there is none.
    pub fn push(&self, push: &Push, progress: &mut dyn FnMut(PushProgress)) -> Result<Pushed> {
        self.check_push(push)?;
        if push.files.is_empty() {
            return Err(Error::argument("files", "at least one", "none"));
        }
        let failed = |error: PushError, left: Left| {
            Error::from(HubError::Push {
                repository: push.repository.clone(),
                left,
                error: Box::new(error),
            })
        };
        if self.offline {
            return Err(failed(PushError::Offline, Left::Nothing));
        }
        let Some(token) = &self.token else {
            let page = self.tokens_page();
            return Err(failed(PushError::NoToken { page }, Left::Nothing));
        };
        progress(PushProgress::Step("computing checksums".to_owned()));
        let files = push.files.iter().map(Prepared::new);
        let files = files.collect::<Result<Vec<_>>>()?;
        let work = async |events| {
            let mut session = match Session::new(self, token, push, &files, events) {
                Ok(session) => session,
                Err(error) => return Err((error, Left::Nothing)),
            };
            let pushed = session.push().await;
            pushed.map_err(|error| (error, session.left))
        };
        crate::http::run(progress, work)
            .unwrap_or_else(|error| Err((PushError::Other(error.to_string()), Left::Unknown)))
            .map_err(|(error, left)| failed(error, left))
    }

    /// Whether the names of a push can be used, for those who want to know before they make its files.
    ///
    /// # Errors
    ///
    /// [`Error::Hub`] if one cannot; [`Error::InvalidArgument`] for a revision that is no branch, and for
    /// two files of one path.
    pub fn check_push(&self, push: &Push) -> Result<()> {
        check_repository(&push.repository, 2)?;
        if let Some(revision) = &push.revision {
            check_revision(revision)?;
            if is_commit(revision) {
                let found = format!("the commit {revision}");
                return Err(Error::argument("revision", "a branch", found));
            }
        }
        let mut paths = BTreeSet::new();
        for file in &push.files {
            check_file(&file.path)?;
            if !paths.insert(&file.path) {
                return Err(Error::argument("files", "each path once", &file.path));
            }
        }
        Ok(())
    }

    /// The page of a repository, without a user name or password.
    pub fn page(&self, repository: &str) -> String {
        format!(
            "{}/{repository}",
            without_secrets(&self.endpoint).trim_end_matches('/')
        )
    }

    /// Where access tokens are made.
    pub(super) fn tokens_page(&self) -> String {
        self.page("settings/tokens")
    }
}
