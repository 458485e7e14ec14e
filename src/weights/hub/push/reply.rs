//! The answer to a request of a push, or why there is none.

use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;

use crate::weights::hub::push_error::PushError;
use crate::weights::hub::repetition::Failure;

/// An answer.
pub(super) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why there is no answer that can be used.
pub(super) enum Attempt {
    /// For good.
    Final(PushError),
    /// The next attempt may bring one.
    Again(Failure),
}

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Hub,
    /// Its storage, whose refusals no token would change.
    Storage,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The server's own words.
    pub fn said(&self) -> Option<String> {
        let of_body = || {
            let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
            let text = body.get("error").or_else(|| body.get("message"))?;
            Some(text.as_str()?.to_owned())
        };
        self.header("x-error-message").or_else(of_body)
    }
}

impl Attempt {
    /// Whether the server may have done what it was asked for, though it did not say so.
    pub fn may_have_been_heard(&self) -> bool {
        match self {
            Attempt::Again(failure) => !matches!(failure, Failure::RateLimited { .. }),
            Attempt::Final(error) => {
                matches!(error, PushError::TimedOut { .. } | PushError::Answer { .. })
            }
        }
    }
}

impl From<PushError> for Attempt {
    fn from(error: PushError) -> Self {
        Attempt::Final(error)
    }
}

/// The error of an answer that is not a hub's.
pub(super) fn answer(step: &str, expected: &'static str, found: String) -> PushError {
    PushError::Answer {
        step: step.to_owned(),
        expected,
        found,
    }
}

/// What an answer says.
pub(super) fn read<T: DeserializeOwned>(
    step: &str,
    expected: &'static str,
    reply: &Reply,
) -> Result<T, PushError> {
    serde_json::from_slice(&reply.body).map_err(|error| {
        let start = String::from_utf8_lossy(&reply.body);
        let start = start.trim_start().to_lowercase();
        let is_html = start.starts_with("<!doctype html") || start.starts_with("<html");
        // What it holds may be signed addresses; where it breaks off tells enough.
        let found = match error.classify() {
            _ if is_html => "an HTML page".to_owned(),
            serde_json::error::Category::Data => {
                format!(
                    "other fields, at line {} column {}",
                    error.line(),
                    error.column()
                )
            }
            _ => "no JSON".to_owned(),
        };
        answer(step, expected, found)
    })
}
