//! What the hub says about a file, before its bytes are received.
//!
//! This is asked for here, because hf-hub's own request for it follows the redirect to the storage
//! server and so loses the headers of the hub.

use std::time::Duration;

use reqwest::header::HeaderMap;

use super::checksum::{Checksum, is_commit};
use super::fetch_error::FetchError;
use super::request::CheckedRequest;
use super::transfer::{AttemptError, Transfer, refuse_redirect};
use crate::http::{cause, client, without_secrets};

/// What the hub says about a file.
#[derive(Clone, Debug)]
pub(super) struct Announcement {
    pub commit: String,
    pub etag: String,
    pub checksum: Option<Checksum>,
    pub bytes: Option<u64>,
}

impl Announcement {
    /// Whether this is the file that the manifest means, and can be checked.
    pub fn check(&self, request: &CheckedRequest) -> Result<(), FetchError> {
        let mismatch = |property, expected, found| FetchError::Mismatch {
            property,
            pinned: true,
            expected,
            found,
            html: false,
        };
        match (request.bytes, self.bytes) {
            (Some(expected), Some(found)) if expected != found => {
                let expected = format!("{expected} bytes");
                return Err(mismatch("size", expected, found.to_string()));
            }
            _ => {}
        }
        match (&request.sha256, &self.checksum) {
            (Some(expected), Some(found @ Checksum::Sha256(_))) if expected != found => Err(
                mismatch("checksum", expected.to_string(), found.to_string()),
            ),
            (None, None) => {
                let etag = self.etag.clone();
                Err(FetchError::NoChecksum { etag })
            }
            _ => Ok(()),
        }
    }
}

impl Transfer<'_> {
    /// Asks the hub what the file is. `absent` is called with a commit that does not have it.
    pub async fn announce(&mut self, absent: impl Fn(&str)) -> Result<Announcement, FetchError> {
        let limits = &self.hub.limits;
        let client = client(&self.hub.endpoint, limits.connect, limits.silence)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| FetchError::Other(cause(&error)))?;
        loop {
            match self.ask(&client, &absent).await {
                Ok(announcement) => return Ok(announcement),
                Err(failure) => self.wait_for_next(failure).await?,
            }
        }
    }

    async fn ask(
        &self,
        client: &reqwest::Client,
        absent: &impl Fn(&str),
    ) -> Result<Announcement, AttemptError> {
        let mut url = self.request.url.clone();
        let mut redirects = 0;
        loop {
            // A compressed answer would have another size.
            let mut request = client
                .head(url.clone())
                .header("accept-encoding", "identity");
            if let Some(token) = &self.hub.token {
                request = request.bearer_auth(token);
            }
            let response = request.send().await;
            let response = response.map_err(|error| self.client_error(&error))?;
            let (status, headers) = (response.status(), response.headers());
            // With this header a redirect leads to the bytes; without, to the repository's new
            // name, whose answer is the one that counts.
            if status.is_redirection() && !headers.contains_key("x-linked-etag") {
                let expected = "the headers of the file";
                let location = text(headers, "location");
                let Some(next) = location.and_then(|location| url.join(&location).ok()) else {
                    let found = format!("status {} without them", status.as_u16());
                    return Err(answer_error(expected, &found).into());
                };
                redirects += 1;
                if let Some(reason) = refuse_redirect(redirects, Some(&url), &next) {
                    return Err(FetchError::Redirect(reason).into());
                }
                // The access token is for this host only, and so is the trust in what it says.
                if next.origin() != url.origin() {
                    let found = format!("a redirect to {}", without_secrets(&next));
                    return Err(answer_error(expected, &self.presentable(&found)).into());
                }
                url = next;
                continue;
            }
            if status.is_success() || status.is_redirection() {
                return Ok(self.read_announcement(headers)?);
            }
            let code = text(headers, "x-error-code");
            let commit = text(headers, "x-repo-commit").filter(|commit| is_commit(commit));
            if let (Some("EntryNotFound"), Some(commit)) = (code.as_deref(), commit) {
                absent(&commit);
            }
            if status.as_u16() == 429 {
                let asked = text(headers, "retry-after");
                let asked = asked.and_then(|seconds| seconds.trim().parse().ok());
                let asked = asked.map(Duration::from_secs);
                return Err(AttemptError::RateLimited { asked });
            }
            let said = text(headers, "x-error-message");
            return Err(self.refusal(status.as_u16(), code.as_deref(), said.as_deref()));
        }
    }

    /// Takes from the headers what becomes part of a path only if it cannot lead anywhere else.
    fn read_announcement(&self, headers: &HeaderMap) -> Result<Announcement, FetchError> {
        let kind = text(headers, "content-type").unwrap_or_default();
        let found = |value: Option<String>| match value {
            Some(value) => format!("{:?}", self.presentable(&value)),
            None if kind.contains("text/html") => "none, and an HTML page".to_owned(),
            None => "none".to_owned(),
        };

        let commit = match text(headers, "x-repo-commit") {
            Some(commit) if is_commit(&commit) => commit,
            other => {
                let expected = "a commit of 40 hexadecimal digits in X-Repo-Commit";
                return Err(answer_error(expected, &found(other)));
            }
        };
        let revision = &self.request.file.revision;
        if is_commit(revision) && commit != *revision {
            let expected = format!("commit {revision} in X-Repo-Commit");
            return Err(answer_error(&expected, &commit));
        }
        let raw = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"));
        let etag = raw.as_deref().unwrap_or_default();
        let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
        let is_usable = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
        if !(1..=128).contains(&etag.len()) || !etag.bytes().all(is_usable) {
            let expected = "hexadecimal digits in X-Linked-Etag or ETag";
            return Err(answer_error(expected, &found(raw)));
        }
        let mut size = text(headers, "x-linked-size");
        // Of a redirect it is the size of the redirect.
        if size.is_none() && !headers.contains_key("location") {
            size = text(headers, "content-length");
        }
        let bytes = size.as_deref().map(str::parse::<u64>).transpose();
        let bytes = bytes.map_err(|_| {
            let expected = "a number of bytes in X-Linked-Size";
            answer_error(expected, &found(size.clone()))
        })?;
        Ok(Announcement {
            commit,
            checksum: Checksum::from_etag(etag),
            etag: etag.to_owned(),
            bytes,
        })
    }
}

fn answer_error(expected: &str, found: &str) -> FetchError {
    FetchError::Answer {
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

/// A header as text, if it is there.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}
