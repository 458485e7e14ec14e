//! What can go wrong between a name of the hub and a verified file.

use std::fmt;
use std::path::PathBuf;

use super::cache_error::CacheError;
use super::fetch_error::FetchError;
use super::push_error::{Left, PushError};
use crate::error::{Error, HubErrorKind};

/// A file of the Hugging Face hub, or the cache of such files, cannot be used.
///
/// No message holds an access token, nor the query of an address, which may be signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    /// A field of a request names something that cannot be on the hub, or that would leave the
    /// cache folder.
    #[error("hub request: {argument} {found:?} is not usable; expected {expected}")]
    Request {
        argument: &'static str,
        found: String,
        expected: &'static str,
    },
    /// A setting, or the environment variable that stands for it, has a value that cannot be used.
    #[error("{name}: expected {expected}, found {found}")]
    Setting {
        name: &'static str,
        expected: &'static str,
        found: String,
    },
    /// A file cannot be had.
    #[error("cannot fetch {file}: {error} ({})", .file.address)]
    Fetch {
        file: Box<HubFile>,
        error: Box<FetchError>,
    },
    /// Files cannot be pushed.
    #[error("cannot push to {repository}: {error}; {left}")]
    Push {
        repository: String,
        left: Left,
        error: Box<PushError>,
    },
    /// The operating system refused a file operation in the cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The cache has nothing of a repository.
    #[error(
        "{repository} is not in the cache {}; {}", .cache.display(),
        if .cached.is_empty() {
            "the cache is empty".to_owned()
        } else {
            format!("expected one of {}", .cached.join(", "))
        }
    )]
    NotCached {
        repository: String,
        cache: PathBuf,
        cached: Vec<String>,
    },
}

/// A file of the hub, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HubFile {
    /// The repository, `owner/name`.
    pub repository: String,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// The path of the file in the repository.
    pub file: String,
    /// The address of the file, without a user name or password.
    pub address: String,
    /// The address of the repository's page, likewise.
    pub page: String,
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HubFile {
            repository,
            revision,
            file,
            ..
        } = self;
        write!(f, "`{file}` of {repository} at `{revision}`")
    }
}

impl HubError {
    /// The cause of an [`Error::Hub`]; `None` of any other error.
    pub(crate) fn of(error: &Error) -> Option<&HubError> {
        match error {
            Error::Hub { error, .. } => error.downcast_ref(),
            _ => None,
        }
    }
}

impl FetchError {
    fn kind(&self) -> HubErrorKind {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. }
            | Self::RateLimited { .. }
            | Self::Status { .. }
            | Self::Redirect(_)
            | Self::Answer { .. }
            | Self::Other(_) => HubErrorKind::Network,
            Self::NoToken | Self::BadToken | Self::Gated { .. } | Self::Forbidden { .. } => {
                HubErrorKind::Access
            }
            Self::RepositoryNotFound { .. }
            | Self::RevisionNotFound { .. }
            | Self::FileNotFound { .. }
            | Self::NotFound => HubErrorKind::NotFound,
            Self::Mismatch { .. }
            | Self::NoChecksum { .. }
            | Self::Altered { .. }
            | Self::NotPinned { .. }
            | Self::Unchecked { .. } => HubErrorKind::Checksum,
            Self::Offline { .. } => HubErrorKind::NotCached,
            Self::DiskFull { .. } | Self::Cache(_) | Self::Locked { .. } => HubErrorKind::Cache,
        }
    }

    /// Why a file could not be had, if that is what the error says.
    pub(crate) fn of(error: &Error) -> Option<&FetchError> {
        match HubError::of(error)? {
            HubError::Fetch { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<HubError> for Error {
    fn from(error: HubError) -> Error {
        let kind = match &error {
            HubError::Request { .. } | HubError::Setting { .. } => HubErrorKind::Request,
            HubError::Cache(_) => HubErrorKind::Cache,
            HubError::NotCached { .. } => HubErrorKind::NotCached,
            HubError::Fetch { error, .. } => error.kind(),
            HubError::Push { error, .. } => error.kind(),
        };
        Error::Hub {
            kind,
            error: Box::new(error),
        }
    }
}

impl From<CacheError> for Error {
    fn from(error: CacheError) -> Error {
        HubError::from(error).into()
    }
}
