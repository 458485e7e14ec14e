//! Why files cannot be pushed: what was expected, what was found, and what can be done about it.

use std::time::Duration;

use super::fetch_error::quoted;
use crate::error::HubErrorKind;

/// Why files cannot be pushed. No message holds an access token or the query of an address, which may
/// be signed. `step` is what was under way, as in `committing`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    /// The network may not be used.
    #[error("HF_HUB_OFFLINE forbids to use the network; unset it")]
    Offline,
    /// Nobody can write without an access token.
    #[error(
        "expected an access token with the right to write, found none; make one at {page} and set \
         HF_TOKEN, or run `hf auth login`; HF_HUB_DISABLE_IMPLICIT_TOKEN=1 leaves out both"
    )]
    NoToken { page: String },
    /// The server wants another access token.
    #[error(
        "the hub does not accept the access token (401){}; it may be expired or mistyped: make a \
         new one with the right to write at {page} and set HF_TOKEN", quoted(.said)
    )]
    BadToken { page: String, said: Option<String> },
    /// The access token may not do this.
    #[error(
        "{step}: the hub refuses it (403){}; expected an access token with the right to write to \
         the repositories of {owner}; make one at {page} and set HF_TOKEN", quoted(.said)
    )]
    Forbidden {
        step: String,
        owner: String,
        page: String,
        said: Option<String>,
    },
    /// The server does not know what a hub knows.
    #[error("{step}: the server has nothing at this address (404){}; check HF_ENDPOINT", quoted(.said))]
    NotFound { step: String, said: Option<String> },
    /// The branch has moved since it was looked at.
    #[error(
        "{step}: the hub answered {status}{}: another commit came in between, or the name is in use; \
         look at the repository, and run it again", quoted(.said)
    )]
    Conflict {
        step: String,
        status: u16,
        said: Option<String>,
    },
    /// A file or a commit is larger than the hub allows.
    #[error("{step}: it is larger than the hub takes (413){}", quoted(.said))]
    TooLarge { step: String, said: Option<String> },
    /// The hub limits the number of requests.
    #[error(
        "{step}: the hub limits the number of requests (429) and {}; expected to wait {} s at \
         most; try again later",
        match .asked {
            Some(asked) => format!("asks to wait {} s", asked.as_secs_f64()),
            None => "still did so after all waiting".to_owned(),
        },
        .limit.as_secs_f64()
    )]
    RateLimited {
        step: String,
        asked: Option<Duration>,
        limit: Duration,
    },
    /// The server answered with a status that is no success.
    #[error(
        "{step}: the server answered {status}{}{}; {}", quoted(.said),
        if *.attempts == 1 { String::new() } else { format!(" {attempts} times") },
        if *.status >= 500 {
            "try again later"
        } else {
            "try again, and check HF_ENDPOINT and the proxy settings if it comes back"
        }
    )]
    Status {
        step: String,
        status: u16,
        said: Option<String>,
        attempts: u32,
    },
    /// No connection could be made.
    #[error(
        "{step}: no connection to {server}: {reason}; check the network, the proxy settings \
         (HTTPS_PROXY) and HF_ENDPOINT"
    )]
    Unreachable {
        step: String,
        server: String,
        reason: String,
    },
    /// The server fell silent.
    #[error("{step}: nothing moved for {} s; try again later", .silence.as_secs_f64())]
    TimedOut { step: String, silence: Duration },
    /// The connection broke again and again.
    #[error("{step}: the connection broke {attempts} times ({reason}); try again later")]
    Interrupted {
        step: String,
        attempts: u32,
        reason: String,
    },
    /// The server sends the client somewhere it does not go.
    #[error(
        "{step}: {reason}; a push follows no redirect: if the repository has another name now, use \
         that, and check HF_ENDPOINT"
    )]
    Redirect { step: String, reason: String },
    /// An answer is not what a hub would send.
    #[error(
        "{step}: this is not the answer of a hub: expected {expected}, found {found}; check \
         HF_ENDPOINT, and whether a proxy or a sign-in page stands between"
    )]
    Answer {
        step: String,
        expected: &'static str,
        found: String,
    },
    /// Everybody would see what shall be private.
    #[error(
        "`private`: expected a private repository, found a public one; its settings on the hub \
         change that"
    )]
    Public,
    /// The hub would leave a file out.
    #[error("the .gitignore of the repository leaves out `{file}`; change it there")]
    Ignored { file: String },
    /// The hub does not take a large file.
    #[error("the hub does not take `{file}` ({code}: \"{said}\")")]
    Object {
        file: String,
        code: u64,
        said: String,
    },
    /// A file cannot be read, or is another than when its checksum was made.
    #[error("cannot read {file}: {reason}")]
    File { file: String, reason: String },
    /// Something that has no name here.
    #[error("{0}; try again later")]
    Other(String),
}

impl PushError {
    pub fn kind(&self) -> HubErrorKind {
        match self {
            Self::Offline => HubErrorKind::NotCached,
            Self::NoToken { .. } | Self::BadToken { .. } | Self::Forbidden { .. } => {
                HubErrorKind::Access
            }
            Self::NotFound { .. } => HubErrorKind::NotFound,
            Self::Conflict { .. }
            | Self::TooLarge { .. }
            | Self::Public
            | Self::Ignored { .. }
            | Self::Object { .. } => HubErrorKind::Refused,
            Self::File { .. } => HubErrorKind::Request,
            Self::RateLimited { .. }
            | Self::Status { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. }
            | Self::Redirect { .. }
            | Self::Answer { .. }
            | Self::Other(_) => HubErrorKind::Network,
        }
    }
}

/// What a push that failed has left on the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// No file has left this machine.
    Nothing,
    /// The repository was made by this push and has no files of it.
    Empty,
    /// The repository was there, and its files are as they were.
    Unchanged,
    /// The commit was sent, and no answer says what became of it.
    Unknown,
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "no file was sent",
            Self::Empty => "the repository was created and is empty; a repetition goes on from here",
            Self::Unchanged => "the files of the repository are as they were",
            Self::Unknown => {
                "whether the commit was made is not known; a repetition sends only what is not there"
            }
        })
    }
}
