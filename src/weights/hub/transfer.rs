//! A transfer in progress: how far it is, and what becomes of an attempt that failed.

use std::error::Error as _;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::Duration;

use hf_hub::HFError;
use reqwest::Url;

use super::cache_error::CacheError;
use super::fetch_error::{FetchError, Received};
use super::repetition::{Failure, Repetitions};
use super::request::CheckedRequest;
use super::results::Progress;
use super::settings::Hub;
use crate::http::{cause, connection_failure, without_secrets};

/// The redirects that are followed, as many as browsers and hf-hub do.
const REDIRECTS: usize = 10;

/// Why an attempt failed.
pub(super) enum AttemptError {
    /// For good.
    Final(FetchError),
    /// The hub wants to be left alone for a time.
    RateLimited { asked: Option<Duration> },
    /// The server failed.
    Server { status: u16, said: Option<String> },
    /// The connection broke in the body.
    Interrupted { reason: String },
    /// A part was asked for that the server does not have.
    Range,
}

impl<E: Into<FetchError>> From<E> for AttemptError {
    fn from(error: E) -> Self {
        AttemptError::Final(error.into())
    }
}

/// A file on its way from the hub.
pub(super) struct Transfer<'a> {
    pub hub: &'a Hub,
    pub request: &'a CheckedRequest,
    pub events: Sender<Progress>,
    pub received: Received,
    repetitions: Repetitions,
}

impl<'a> Transfer<'a> {
    pub fn new(hub: &'a Hub, request: &'a CheckedRequest, events: Sender<Progress>) -> Self {
        Transfer {
            hub,
            request,
            events,
            received: Received::default(),
            repetitions: Repetitions::default(),
        }
    }

    /// An event for a caller, who may be gone.
    pub fn tell(&self, event: Progress) {
        let _ = self.events.send(event);
    }

    /// Waits until the next attempt, or says why there is none.
    pub async fn wait_for_next(&mut self, failure: AttemptError) -> Result<(), FetchError> {
        let limits = &self.hub.limits;
        let failure = match failure {
            AttemptError::Final(error) => return Err(error),
            AttemptError::Range => return Err(status_error(416, None, 1)),
            AttemptError::RateLimited { asked } => Failure::RateLimited { asked },
            AttemptError::Server { status, said } => Failure::Server { status, said },
            AttemptError::Interrupted { reason } => Failure::Interrupted { reason },
        };
        let wait = self.repetitions.next(limits, &failure);
        let attempts = self.repetitions.attempts();
        let (wait, reason) = wait.ok_or_else(|| match failure {
            Failure::RateLimited { asked } => FetchError::RateLimited {
                asked,
                limit: limits.rate_limit,
            },
            Failure::Server { status, said } => status_error(status, said, attempts),
            Failure::Interrupted { reason } => FetchError::Interrupted {
                attempts,
                reason,
                received: self.received,
            },
        })?;
        self.tell(Progress::Retrying { wait, reason });
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// The server fell silent.
    pub fn silence_error(&self) -> FetchError {
        FetchError::TimedOut {
            silence: self.hub.limits.silence,
            received: self.received,
        }
    }

    /// What a status that is no success means, with `X-Error-Code` and `X-Error-Message`.
    pub fn refusal(&self, status: u16, code: Option<&str>, said: Option<&str>) -> AttemptError {
        let file = &self.request.file;
        let token = self.hub.token.is_some();
        let page = file.page.clone();
        let said = said.map(|said| self.presentable(said));
        let error = match (code, status) {
            (Some("GatedRepo"), _) => FetchError::Gated { token, page },
            (Some("RepoNotFound"), _) => FetchError::RepositoryNotFound {
                repository: file.repository.clone(),
            },
            (Some("RevisionNotFound"), _) => FetchError::RevisionNotFound {
                revision: file.revision.clone(),
                page,
            },
            (Some("EntryNotFound"), _) => self.request.file_not_found(),
            (_, 401) if token => FetchError::BadToken,
            (_, 401) => FetchError::NoToken,
            (_, 403) => FetchError::Forbidden { said },
            (_, 404) => FetchError::NotFound,
            (_, 300..=399) => {
                FetchError::Redirect(format!("a redirect ({status}) that cannot be followed"))
            }
            (_, 416) => return AttemptError::Range,
            (_, 500 | 502 | 503 | 504) => return AttemptError::Server { status, said },
            _ => status_error(status, said, 1),
        };
        error.into()
    }

    /// What an error of the HTTP client means.
    pub fn client_error(&self, error: &reqwest::Error) -> AttemptError {
        let reason = self.presentable(&cause(error));
        if error.is_redirect() {
            FetchError::Redirect(reason).into()
        } else if error.is_connect() {
            let (server, reason) = self.hub.no_connection(error, &self.request.url);
            FetchError::Unreachable { server, reason }.into()
        } else if error.is_timeout() {
            self.silence_error().into()
        } else if error
            .source()
            .is_some_and(|source| source.is::<serde_json::Error>())
        {
            // An answer to hf-hub itself, on its way to the bytes.
            let reason = format!("an answer of the hub cannot be understood: {reason}");
            FetchError::Other(reason).into()
        } else {
            AttemptError::Interrupted { reason }
        }
    }

    /// What an error of hf-hub means.
    pub fn library_error(&self, error: HFError) -> AttemptError {
        let context = match error {
            HFError::RateLimited { retry_after, .. } => {
                return AttemptError::RateLimited { asked: retry_after };
            }
            HFError::Request { source, .. } => return self.client_error(&source),
            HFError::Http { context }
            | HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::EntryNotFound {
                context: Some(context),
                ..
            }
            | HFError::RepoNotFound {
                context: Some(context),
                ..
            } => context,
            other => return FetchError::Other(self.presentable(&other.to_string())).into(),
        };
        let said = context.server_message.as_deref();
        match (context.error_code.as_deref(), context.status.as_u16()) {
            // The hub has announced the file to us: it is the storage that has none, or none for
            // us, and no token would change that.
            (None, status @ (401 | 403 | 404)) => {
                status_error(status, said.map(|said| self.presentable(said)), 1).into()
            }
            (code, status) => self.refusal(status, code, said),
        }
    }

    /// What a failure to write the file that is being received means.
    pub fn write_error(&self, error: std::io::Error, path: &Path) -> FetchError {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                FetchError::DiskFull {
                    cache: self.hub.cache.root.clone(),
                    received: self.received,
                }
            }
            _ => CacheError::of("write", path)(error).into(),
        }
    }

    /// See [`Hub::presentable`].
    pub fn presentable(&self, said: &str) -> String {
        self.hub.presentable(said)
    }
}

impl Hub {
    /// The server's words, short, on one line and without the token, should it send that back.
    pub(super) fn presentable(&self, said: &str) -> String {
        let said = match &self.token {
            Some(token) => said.replace(token, "…"),
            None => said.to_owned(),
        };
        let blank = |c: char| if c.is_control() { ' ' } else { c };
        said.chars().map(blank).take(200).collect()
    }

    /// The server to which there is no connection, and why: `asked`, if the error names no other.
    pub(super) fn no_connection(&self, error: &reqwest::Error, asked: &Url) -> (String, String) {
        let reason = if error.is_timeout() {
            let limit = self.limits.connect.as_secs_f64();
            format!("no answer within {limit} s")
        } else {
            self.presentable(&connection_failure(error))
        };
        let url = error.url().unwrap_or(asked);
        let host = url.host_str().unwrap_or("the server");
        let port = url.port_or_known_default();
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        (format!("{host}{port}"), reason)
    }
}

fn status_error(status: u16, said: Option<String>, attempts: u32) -> FetchError {
    FetchError::Status {
        status,
        said,
        attempts,
    }
}

/// Why a redirect, the `number`th of a request, is not followed.
pub(super) fn refuse_redirect(number: usize, from: Option<&Url>, to: &Url) -> Option<String> {
    if number > REDIRECTS {
        Some(format!("more than {REDIRECTS} redirects"))
    } else if !matches!(to.scheme(), "http" | "https") {
        Some(format!("a redirect to a `{}:` address", to.scheme()))
    } else if to.scheme() == "http" && from.is_some_and(|from| from.scheme() == "https") {
        Some(format!("a redirect from https to {}", without_secrets(to)))
    } else {
        None
    }
}
