//! Why a file cannot be had: what was expected, what was found, and what can be done about it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::cache_error::CacheError;

/// How much of a file is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// The bytes on the disk.
    pub bytes: u64,
    /// The size of the file, if it is known.
    pub total: Option<u64>,
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            Some(total) => write!(f, "{} of {total} bytes", self.bytes),
            None => write!(f, "{} bytes", self.bytes),
        }
    }
}

impl Received {
    fn or(self, nothing: &str) -> String {
        match self.bytes {
            0 => nothing.to_owned(),
            _ => format!(
                "after {self}; the part received is kept, so that the next attempt continues there"
            ),
        }
    }
}

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// No connection could be made.
    #[error(
        "no connection to {server}: {reason}; check the network, the proxy settings (HTTPS_PROXY) \
         and HF_ENDPOINT"
    )]
    Unreachable { server: String, reason: String },
    /// The server fell silent.
    #[error(
        "the server sent nothing for {} s {}", .silence.as_secs_f64(),
        .received.or("in answer to the request; try again later")
    )]
    TimedOut {
        silence: Duration,
        received: Received,
    },
    /// The connection broke while the file was being sent.
    #[error(
        "the transfer broke off {attempts} times ({reason}) {}",
        .received.or("before the first byte; try again later, and check the proxy settings if it \
                      comes back")
    )]
    Interrupted {
        attempts: u32,
        reason: String,
        received: Received,
    },
    /// The hub limits the number of requests.
    #[error(
        "the hub limits the number of requests (429) and {}; expected to wait {} s at most; try \
         again later, or set HF_TOKEN, which raises the limit",
        match .asked {
            Some(asked) => format!("asks to wait {} s", asked.as_secs_f64()),
            None => "still did so after all waiting".to_owned(),
        },
        .limit.as_secs_f64()
    )]
    RateLimited {
        asked: Option<Duration>,
        limit: Duration,
    },
    /// The server answered with a status that is no success.
    #[error(
        "the server answered {status}{}{}; expected the file; {}", quoted(.said),
        if *.attempts == 1 { String::new() } else { format!(" {attempts} times") },
        if *.status >= 500 {
            "try again later"
        } else {
            "try again, and check HF_ENDPOINT and the proxy settings if it comes back"
        }
    )]
    Status {
        status: u16,
        said: Option<String>,
        attempts: u32,
    },
    /// The server sends the client somewhere it does not go.
    #[error(
        "{0}; expected at most 10 redirects, to http or https addresses and never from https to \
         http; check HF_ENDPOINT and the proxy settings"
    )]
    Redirect(String),
    /// An answer is not what a hub would send.
    #[error(
        "this is not the answer of a hub: expected {expected}, found {found}; check HF_ENDPOINT, \
         and whether a proxy or a sign-in page stands between"
    )]
    Answer { expected: String, found: String },
    /// The server wants an access token.
    #[error(
        "the hub wants an access token (401) and none is set; check the name of the repository, \
         and if it is private, set HF_TOKEN or run `hf auth login`"
    )]
    NoToken,
    /// The server wants another access token.
    #[error(
        "the hub does not accept the access token (401); it may be expired or mistyped: make a new \
         one in the settings of your account and set HF_TOKEN, or unset it"
    )]
    BadToken,
    /// The terms of a gated repository have not been accepted.
    #[error(
        "the repository is gated: expected an account that has accepted its terms, found {}; \
         accept them at {page} and set HF_TOKEN to a token of that account",
        if *.token { "a token of one that has not" } else { "no access token" }
    )]
    Gated { token: bool, page: String },
    /// The server refuses the file for a reason of its own.
    #[error(
        "the hub refuses access (403){}; check the rights of the access token in HF_TOKEN",
        quoted(.said)
    )]
    Forbidden { said: Option<String> },
    /// There is no such repository, or it is not shown to this user.
    #[error(
        "the hub has no repository {repository}, or it is private; check the spelling, and if it \
         is private, set HF_TOKEN to a token that may read it"
    )]
    RepositoryNotFound { repository: String },
    /// The repository has no such branch, tag or commit.
    #[error(
        "the repository has no branch, tag or commit `{revision}`; {page}/commits/main lists its \
         commits"
    )]
    RevisionNotFound { revision: String, page: String },
    /// The repository has no such file.
    #[error(
        "the repository has no file `{file}` at this revision; {page}/tree/{revision} lists its \
         files"
    )]
    FileNotFound {
        file: String,
        revision: String,
        page: String,
    },
    /// The server has nothing at the address and does not say why.
    #[error(
        "the server has nothing at this address (404); check the repository, the revision, the \
         file and HF_ENDPOINT"
    )]
    NotFound,
    /// What was received, or announced, is not what it must be: `property` is its size or its
    /// checksum.
    #[error(
        "its {property} is another than {} says: expected {expected}, found {found}{}; nothing was \
         kept; {}",
        if *.pinned { "the manifest" } else { "the hub" },
        if *.html { ", an HTML page" } else { "" },
        if *.html {
            "check HF_ENDPOINT, and whether a proxy or a sign-in page stands between"
        } else if *.pinned {
            "do not use the file: it was replaced, or the manifest is wrong"
        } else {
            "try again, and check the proxy settings if it comes back"
        }
    )]
    Mismatch {
        property: &'static str,
        pinned: bool,
        expected: String,
        found: String,
        html: bool,
    },
    /// Neither the manifest nor the hub tells a checksum.
    #[error(
        "there is nothing to check it against: expected a checksum from the manifest or the hub, \
         found the ETag `{etag}`; add the file's SHA-256 to the manifest, or check HF_ENDPOINT"
    )]
    NoChecksum { etag: String },
    /// A cached file is not what it was when it was fetched.
    #[error(
        "the cached {} was altered: expected {expected}, found {found}; it is not used; {}",
        .path.display(),
        match .again {
            None => format!(
                "go online to have it replaced, or delete it with `burn-zoo cache rm {repository}`"
            ),
            Some(error) => format!("fetching it again failed too: {error}"),
        }
    )]
    Altered {
        repository: String,
        path: PathBuf,
        expected: String,
        found: String,
        again: Option<Box<FetchError>>,
    },
    /// A cached file is as the hub announced it, but not what the manifest expects.
    #[error(
        "the cached {} is sound but not the one the manifest means: expected {expected}, found \
         {found}; it is not used; correct the manifest's checksum or revision", .path.display()
    )]
    NotPinned {
        path: PathBuf,
        expected: String,
        found: String,
    },
    /// A file is cached, and nothing tells what it should be.
    #[error(
        "the cached {} cannot be checked: expected a checksum from the manifest, the name of its \
         blob or an earlier check, found none; go online once, or add its SHA-256 to the manifest",
        .path.display()
    )]
    Unchecked { path: PathBuf },
    /// The network may not be used and the file is not cached.
    #[error(
        "it is not in the cache {} and HF_HUB_OFFLINE forbids to use the network; unset \
         HF_HUB_OFFLINE, or copy the repository's folder into the cache", .cache.display()
    )]
    Offline { cache: PathBuf },
    /// The disk has no room for the file.
    #[error(
        "the disk of {} is full: found room for {received}; nothing was kept; free some space, or \
         set HF_HUB_CACHE to a folder on another disk", .cache.display()
    )]
    DiskFull { cache: PathBuf, received: Received },
    /// The operating system refused a file operation in the cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Another process holds the lock of the file and does not come to an end.
    #[error(
        "another process has been fetching it for {} s; expected it to be done by now; end that \
         process, or try again later (lock file {})", .waited.as_secs_f64(), .lock.display()
    )]
    Locked { lock: PathBuf, waited: Duration },
    /// Something that has no name here.
    #[error("{0}; try again later")]
    Other(String),
}

/// The server's own words in brackets, if it gave any.
pub(super) fn quoted(said: &Option<String>) -> String {
    said.as_ref()
        .map_or(String::new(), |said| format!(" (\"{said}\")"))
}
