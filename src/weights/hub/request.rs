//! Requests, and which of them are safe to make.

use reqwest::Url;

use super::checksum::{Checksum, is_hex};
use super::error::{HubError, HubFile};
use super::fetch_error::FetchError;
use crate::http::without_secrets;

/// What is known of a file for sure, from a source other than the hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pin<'a> {
    /// The SHA-256 in lower-case hexadecimal digits.
    pub sha256: Option<&'a str>,
    /// The size in bytes.
    pub bytes: Option<u64>,
}

/// A file of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// The repository, `owner/name`.
    pub repository: &'a str,
    /// A branch, a tag or a commit of 40 hexadecimal digits; `main` if it is `None`.
    pub revision: Option<&'a str>,
    /// The path in the repository, with `/` between its parts.
    pub file: &'a str,
    /// What the file must be.
    pub pin: Pin<'a>,
}

/// A request whose parts can be parts of an address and of a path.
pub(super) struct CheckedRequest {
    pub file: HubFile,
    pub url: Url,
    pub sha256: Option<Checksum>,
    pub bytes: Option<u64>,
}

impl CheckedRequest {
    pub fn new(request: &Request<'_>, endpoint: &Url) -> Result<CheckedRequest, HubError> {
        let Request {
            repository, file, ..
        } = *request;
        let revision = request.revision.unwrap_or("main");
        check_repository(repository, 2)?;
        check_revision(revision)?;
        check_file(file)?;
        let pinned = request.pin.sha256;
        if let Some(sha256) = pinned.filter(|sha256| !is_hex(sha256, 64)) {
            let expected = "64 lower-case hexadecimal digits";
            return Err(refusal("SHA-256", sha256, expected));
        }
        let mut url = endpoint.clone();
        // Every http and https address has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(repository.split('/'))
                .extend(["resolve", revision])
                .extend(file.split('/'));
        }
        let hub = without_secrets(endpoint);
        Ok(CheckedRequest {
            file: HubFile {
                repository: repository.to_owned(),
                revision: revision.to_owned(),
                file: file.to_owned(),
                address: without_secrets(&url),
                page: format!("{}/{repository}", hub.trim_end_matches('/')),
            },
            url,
            sha256: pinned.map(|sha256| Checksum::Sha256(sha256.to_owned())),
            bytes: request.pin.bytes,
        })
    }

    /// The repository has no such file.
    pub fn file_not_found(&self) -> FetchError {
        FetchError::FileNotFound {
            file: self.file.file.clone(),
            revision: self.file.revision.clone(),
            page: self.file.page.clone(),
        }
    }
}

fn refusal(argument: &'static str, found: &str, expected: &'static str) -> HubError {
    HubError::Request {
        argument,
        found: found.to_owned(),
        expected,
    }
}

/// Whether a text is the name of a repository, of `least` to two parts.
pub(super) fn check_repository(repository: &str, least: usize) -> Result<(), HubError> {
    let usable = |part: &str| {
        (1..=96).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
            // In the cache two hyphens stand for the slash.
            && !part.contains("--")
            && !part.contains("..")
    };
    let parts = repository.split('/').count();
    if (least..=2).contains(&parts) && repository.split('/').all(usable) {
        return Ok(());
    }
    let expected = "owner/name, of letters, digits, `-`, `_` and `.`";
    Err(refusal("repository", repository, expected))
}

/// Whether a text is a path that stays below the folder it is appended to.
pub(super) fn check_file(file: &str) -> Result<(), HubError> {
    let usable = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.len() <= 255
            && !part
                .chars()
                .any(|c| c.is_control() || matches!(c, '\\' | ':'))
    };
    if file.len() <= 1024 && file.split('/').all(usable) {
        return Ok(());
    }
    let expected = "a path below the repository, without `..`, `\\` and `:`";
    Err(refusal("file", file, expected))
}

/// Whether a text can be a branch, a tag or a commit: the rules of `git check-ref-format`.
pub(super) fn check_revision(revision: &str) -> Result<(), HubError> {
    let usable = |part: &str| {
        !part.is_empty()
            && part.len() <= 255
            && !part.starts_with('.')
            && !part.ends_with(['.', ' '])
            && !part.ends_with(".lock")
            && !part.contains("..")
            && !part.contains("@{")
            && !part
                .chars()
                .any(|c| c.is_control() || " ~^:?*[\\".contains(c))
    };
    if revision.len() <= 1024 && revision.split('/').all(usable) {
        return Ok(());
    }
    let expected = "a branch, a tag or a commit of 40 hexadecimal digits";
    Err(refusal("revision", revision, expected))
}
