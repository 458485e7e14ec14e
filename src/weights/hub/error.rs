//! What can go wrong between a name of the hub and a verified file, one variant for each cause,
//! with what was expected, what was found and what can be done about it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;

/// A file of the hub, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
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

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` of {} at `{}`",
            self.file, self.repository, self.revision
        )
    }
}

/// Who says what a file must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authority {
    /// The pin of the request, which comes from the manifest.
    Manifest,
    /// The hub, in the headers of its answer.
    Hub,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Authority::Manifest => "the manifest",
            Authority::Hub => "the hub",
        })
    }
}

/// A file of the Hugging Face hub, or the cache of such files, cannot be used.
///
/// No message holds an access token, nor the query of an address, which may be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A request names something that cannot be on the hub, or that would leave the cache folder.
    #[error("hub request: {argument} {found:?} is not usable; expected {expected}")]
    Request {
        /// The field of the request.
        argument: &'static str,
        /// Its value.
        found: String,
        /// What would have been accepted.
        expected: &'static str,
    },

    /// A setting or an environment variable has a value that cannot be used.
    #[error("{name}: expected {expected}, found {found}")]
    Setting {
        /// The environment variable that stands for the setting.
        name: &'static str,
        /// What would have been accepted.
        expected: &'static str,
        /// What was found; of an access token only a description.
        found: String,
    },

    /// No connection could be made.
    #[error(
        "cannot fetch {at}: no connection to {host}: {reason}; check the network, the proxy \
         settings (HTTPS_PROXY) and HF_ENDPOINT ({})", .at.address
    )]
    Unreachable {
        /// The file.
        at: At,
        /// The host and port.
        host: String,
        /// Why.
        reason: String,
    },

    /// The server fell silent.
    #[error(
        "cannot fetch {at}: the server sent nothing for {} {}({})", seconds(.after),
        match .received {
            None => "in answer to the request; try again later ".to_owned(),
            Some(received) => format!(
                "after {}; the part received is kept, so that the next attempt continues there ",
                amount(*received, *.total)
            ),
        },
        .at.address
    )]
    TimedOut {
        /// The file.
        at: At,
        /// How long was waited.
        after: Duration,
        /// The bytes that are kept, if the body had begun.
        received: Option<u64>,
        /// The size of the file, if it is known.
        total: Option<u64>,
    },

    /// The server sends the client somewhere it does not go.
    #[error(
        "cannot fetch {at}: {reason}; expected at most 10 redirects, to http or https addresses \
         and never from https to http; check HF_ENDPOINT and the proxy settings ({})", .at.address
    )]
    Redirect {
        /// The file.
        at: At,
        /// What was found.
        reason: String,
    },

    /// The server wants an access token, or another one.
    #[error(
        "cannot fetch {at}: {} ({})",
        if *.token {
            "the hub does not accept the access token (401); it may be expired or mistyped: make a \
             new one in the settings of your account and set HF_TOKEN, or unset it"
        } else {
            "the hub wants an access token (401) and none is set; check the name of the \
             repository, and if it is private, set HF_TOKEN or run `hf auth login`"
        },
        .at.address
    )]
    Unauthorized {
        /// The file.
        at: At,
        /// Whether a token was sent.
        token: bool,
    },

    /// The terms of a gated repository have not been accepted.
    #[error(
        "cannot fetch {at}: the repository is gated: expected an account that has accepted its \
         terms, found {}; accept them at {} and set HF_TOKEN to a token of that account ({})",
        if *.token { "a token of one that has not" } else { "no access token" },
        .at.page, .at.address
    )]
    Gated {
        /// The file.
        at: At,
        /// Whether a token was sent.
        token: bool,
    },

    /// The server refuses the file for a reason of its own.
    #[error(
        "cannot fetch {at}: the hub refuses access (403){}; check the rights of the access token \
         in HF_TOKEN ({})", quoted(.said), .at.address
    )]
    Forbidden {
        /// The file.
        at: At,
        /// The server's own words, if it gave any.
        said: Option<String>,
    },

    /// There is no such repository, or it is not shown to this user.
    #[error(
        "cannot fetch {at}: the hub has no repository {}, or it is private; check the spelling, \
         and if it is private, {} ({})", .at.repository,
        if *.token { "the rights of the access token in HF_TOKEN" } else { "set HF_TOKEN" },
        .at.address
    )]
    RepositoryNotFound {
        /// The file.
        at: At,
        /// Whether a token was sent.
        token: bool,
    },

    /// The repository has no such branch, tag or commit.
    #[error(
        "cannot fetch {at}: the repository has no branch, tag or commit `{}`; {}/commits/main \
         lists its commits ({})", .at.revision, .at.page, .at.address
    )]
    RevisionNotFound {
        /// The file.
        at: At,
    },

    /// The repository has no such file.
    #[error(
        "cannot fetch {at}: the repository has no file `{}` at this revision; {}/tree/{} lists \
         its files ({})", .at.file, .at.page, .at.revision, .at.address
    )]
    FileNotFound {
        /// The file.
        at: At,
    },

    /// The server has nothing at the address and does not say why.
    #[error(
        "cannot fetch {at}: the server has nothing at this address (404); check the repository, \
         the revision, the file and HF_ENDPOINT ({})", .at.address
    )]
    NotFound {
        /// The file.
        at: At,
    },

    /// The hub limits the number of requests.
    #[error(
        "cannot fetch {at}: the hub limits the number of requests (429) and {}; expected to wait \
         {} at most; try again later, or set HF_TOKEN, which raises the limit ({})",
        match .asked {
            Some(asked) => format!("asks to wait {}", seconds(asked)),
            None => "still did so after all waiting".to_owned(),
        },
        seconds(.limit), .at.address
    )]
    RateLimited {
        /// The file.
        at: At,
        /// How long the hub asked to wait, the last time.
        asked: Option<Duration>,
        /// How long this program waits in all.
        limit: Duration,
    },

    /// The server answered with a status that is no success.
    #[error(
        "cannot fetch {at}: the server answered {status}{}{}; expected the file; {} ({})",
        quoted(.said),
        if *.attempts == 1 { String::new() } else { format!(" {attempts} times") },
        if *.status >= 500 { "try again later" } else { "try again, and check HF_ENDPOINT and the proxy settings if it comes back" },
        .at.address
    )]
    Status {
        /// The file.
        at: At,
        /// The status of the last answer.
        status: u16,
        /// The server's own words, if it gave any.
        said: Option<String>,
        /// How often it was asked.
        attempts: u32,
    },

    /// An answer is not what a hub would send.
    #[error(
        "cannot fetch {at}: this is not the answer of a hub: expected {expected}, found {found}; \
         check HF_ENDPOINT, and whether a proxy or a sign-in page stands between ({})", .at.address
    )]
    Answer {
        /// The file.
        at: At,
        /// What a hub sends.
        expected: String,
        /// What was sent.
        found: String,
    },

    /// The connection broke while the file was being sent.
    #[error(
        "cannot fetch {at}: the transfer broke off {}, {attempts} times: {reason}; {} ({})",
        match .received {
            0 => "before the first byte".to_owned(),
            received => format!("after {}", amount(*received, *.total)),
        },
        match .received {
            0 => "try again later, and check the proxy settings if it comes back",
            _ => "the part received is kept, so that the next attempt continues there",
        },
        .at.address
    )]
    Interrupted {
        /// The file.
        at: At,
        /// The bytes that are kept.
        received: u64,
        /// The size of the file, if it is known.
        total: Option<u64>,
        /// How often it was tried.
        attempts: u32,
        /// What the connection reported the last time.
        reason: String,
    },

    /// A file does not have the size it must have.
    #[error(
        "{at} has another size than {authority} says: expected {expected} bytes, found {}{found}{}; \
         nothing was kept; {} ({})",
        if *.more { "more than " } else { "" },
        if *.html { ", an HTML page" } else { "" },
        advice(*.authority, *.html), .at.address
    )]
    Size {
        /// The file.
        at: At,
        /// Who says so.
        authority: Authority,
        /// The size it must have.
        expected: u64,
        /// The size it has, or that it has exceeded.
        found: u64,
        /// Whether the transfer was stopped once it exceeded the size.
        more: bool,
        /// Whether the content begins like an HTML page.
        html: bool,
    },

    /// A file does not have the checksum it must have.
    #[error(
        "{at} has another checksum than {authority} says: expected {expected}, found {found}{}; \
         nothing was kept; {} ({})",
        if *.html { ", an HTML page" } else { "" },
        advice(*.authority, *.html), .at.address
    )]
    Checksum {
        /// The file.
        at: At,
        /// Who says so.
        authority: Authority,
        /// The checksum it must have, with its kind.
        expected: String,
        /// The checksum it has, with its kind.
        found: String,
        /// Whether the content begins like an HTML page.
        html: bool,
    },

    /// Neither the manifest nor the hub tells a checksum.
    #[error(
        "cannot fetch {at}: there is nothing to check it against: expected a checksum from the \
         manifest or the hub, found the ETag `{etag}`; add the file's SHA-256 to the manifest, or \
         check HF_ENDPOINT ({})", .at.address
    )]
    NoChecksum {
        /// The file.
        at: At,
        /// What the hub sent instead.
        etag: String,
    },

    /// A cached file is not what it was when it was fetched.
    #[error(
        "{}, the cached {at}, was altered: expected {expected}, found {found}; it is not used; {}",
        .path.display(),
        match .again {
            None => format!(
                "go online to have it replaced, or delete it with `burn-zoo cache rm {}`",
                .at.repository
            ),
            Some(error) => format!("fetching it again failed too: {error}"),
        }
    )]
    Altered {
        /// The file.
        at: At,
        /// Where it is cached.
        path: PathBuf,
        /// The checksum it had, with its kind.
        expected: String,
        /// The checksum it has.
        found: String,
        /// Why it could not be replaced, if that was tried.
        again: Option<Box<HubError>>,
    },

    /// A cached file is as the hub announced it, but not what the manifest expects.
    #[error(
        "{}, the cached {at}, is sound but not the one the manifest means: expected {expected}, \
         found {found}; it is not used; correct the manifest's checksum or revision",
        .path.display()
    )]
    OtherThanPinned {
        /// The file.
        at: At,
        /// Where it is cached.
        path: PathBuf,
        /// What the manifest expects.
        expected: String,
        /// What the cache holds.
        found: String,
    },

    /// A file is cached, and nothing tells what it should be.
    #[error(
        "{}, the cached {at}, cannot be checked: expected a checksum from the manifest, the name \
         of its blob or an earlier check, found none; go online once, or add its SHA-256 to the \
         manifest", .path.display()
    )]
    Unchecked {
        /// The file.
        at: At,
        /// Where it is cached.
        path: PathBuf,
    },

    /// The network may not be used and the file is not cached.
    #[error(
        "cannot fetch {at}: it is not in the cache {} and HF_HUB_OFFLINE forbids to use the \
         network; unset HF_HUB_OFFLINE, or copy the repository's folder into the cache ({})",
        .cache.display(), .at.address
    )]
    Offline {
        /// The file.
        at: At,
        /// The cache folder.
        cache: PathBuf,
    },

    /// The operating system refused a file operation in the cache.
    #[error(
        "{}cannot {action} {}: {source}; {advice}{}",
        match .at {
            Some(at) => format!("cannot fetch {at}: "),
            None => String::new(),
        },
        .path.display(),
        match .at {
            Some(at) => format!(" ({})", at.address),
            None => String::new(),
        }
    )]
    Io {
        /// The file that was asked for, if one was.
        at: Option<At>,
        /// What was attempted, as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's own error. The message has it already, so it is no cause of its own.
        r#source: std::io::Error,
        /// What can be done.
        advice: &'static str,
    },

    /// The disk has no room for the file.
    #[error(
        "cannot fetch {at}: the disk of {} is full: {}; nothing was kept; free some space, or set \
         HF_HUB_CACHE to a folder on another disk ({})", .path.display(),
        match .needed {
            Some(needed) => format!("expected room for {needed} bytes, found it for {written}"),
            None => format!("there was room for {written} bytes"),
        },
        .at.address
    )]
    DiskFull {
        /// The file.
        at: At,
        /// The cache folder.
        path: PathBuf,
        /// The size of the file, if it is known.
        needed: Option<u64>,
        /// How much could be written.
        written: u64,
    },

    /// Another process holds the lock of the file and does not come to an end.
    #[error(
        "cannot fetch {at}: another process has been fetching it for {}; expected it to be done \
         by now; end that process, or try again later (lock file {})",
        seconds(.waited), .lock.display()
    )]
    Locked {
        /// The file.
        at: At,
        /// The lock file.
        lock: PathBuf,
        /// How long was waited.
        waited: Duration,
    },

    /// The cache has nothing of a repository.
    #[error(
        "{repository} is not in the cache {}; {}", .cache.display(),
        if .known.is_empty() {
            "the cache is empty".to_owned()
        } else {
            format!("expected one of {}", .known.join(", "))
        }
    )]
    NotCached {
        /// The repository that was asked for.
        repository: String,
        /// The cache folder.
        cache: PathBuf,
        /// The repositories that are there.
        known: Vec<String>,
    },

    /// The transfer failed in a way that has no name here.
    #[error("cannot fetch {at}: {reason}; try again later ({})", .at.address)]
    Transfer {
        /// The file.
        at: At,
        /// What was reported.
        reason: String,
    },
}

impl From<Box<HubError>> for Error {
    fn from(error: Box<HubError>) -> Self {
        Error::Hub(error)
    }
}

impl HubError {
    /// The cause of an [`Error::Hub`]; `None` of any other error.
    pub fn of(error: &Error) -> Option<&HubError> {
        match error {
            Error::Hub(cause) => cause.downcast_ref(),
            _ => None,
        }
    }

    /// An operation in the cache that failed, for use in `map_err`.
    pub(super) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> Box<HubError> {
        let path = path.as_ref().to_path_buf();
        move |source| {
            let advice = match source.kind() {
                std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
                    "a file is where a folder of the cache should be; set HF_HUB_CACHE to another \
                     folder"
                }
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    "free some space, or set HF_HUB_CACHE to a folder on another disk"
                }
                _ if action == "read" => "check the rights of the cache folder",
                _ => "set HF_HUB_CACHE to a folder that you may write to",
            };
            Box::new(HubError::Io {
                at: None,
                action,
                path,
                source,
                advice,
            })
        }
    }
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn amount(received: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{received} of {total} bytes"),
        None => format!("{received} bytes"),
    }
}

fn quoted(said: &Option<String>) -> String {
    match said {
        Some(said) => format!(" (\"{said}\")"),
        None => String::new(),
    }
}

fn advice(authority: Authority, html: bool) -> &'static str {
    match (html, authority) {
        (true, _) => "check HF_ENDPOINT, and whether a proxy or a sign-in page stands between",
        (false, Authority::Hub) => "try again, and check the proxy settings if it comes back",
        (false, Authority::Manifest) => {
            "do not use the file: it was replaced, or the manifest is wrong"
        }
    }
}
