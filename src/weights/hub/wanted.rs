//! Requests that are safe to make, and what the cache has for them.

use reqwest::Url;

use super::cache::{Entry, Repo};
use super::fetch::{Announced, without_secrets};
use super::verify::{self, Checksum, Depth, Health, is_hex};
use super::{At, Authority, Fetched, HubError, Request};

/// A request whose parts can be parts of an address and of a path.
pub(super) struct Wanted {
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) revision: String,
    pub(super) file: String,
    pub(super) sha256: Option<String>,
    pub(super) bytes: Option<u64>,
    pub(super) url: Url,
    pub(super) at: At,
}

impl Wanted {
    pub(super) fn new(request: &Request<'_>, endpoint: &Url) -> Result<Wanted, Box<HubError>> {
        check_repository(request.repository, 2)?;
        let (owner, name) = request.repository.split_once('/').unwrap_or_default();
        let revision = request.revision.unwrap_or("main");
        check_revision(revision)?;
        check_file(request.file)?;
        if let Some(sha256) = request.pin.sha256
            && !is_hex(sha256, 64)
        {
            return Err(refuse(
                "SHA-256",
                sha256,
                "64 lower-case hexadecimal digits",
            ));
        }
        let mut url = endpoint.clone();
        // Every http and https address has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend([owner, name, "resolve", revision])
                .extend(request.file.split('/'));
        }
        let page = without_secrets(endpoint);
        Ok(Wanted {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision: revision.to_owned(),
            file: request.file.to_owned(),
            sha256: request.pin.sha256.map(str::to_owned),
            bytes: request.pin.bytes,
            at: At {
                repository: request.repository.to_owned(),
                revision: revision.to_owned(),
                file: request.file.to_owned(),
                address: without_secrets(&url),
                page: format!("{}/{}", page.trim_end_matches('/'), request.repository),
            },
            url,
        })
    }

    /// Whether an announcement is of the file that the manifest means, before a byte of it is
    /// received.
    pub(super) fn compare(&self, announced: &Announced) -> Result<(), Box<HubError>> {
        if let (Some(expected), Some(found)) = (self.bytes, announced.bytes)
            && expected != found
        {
            return Err(Box::new(HubError::Size {
                at: self.at.clone(),
                authority: Authority::Manifest,
                expected,
                found,
                more: false,
                html: false,
            }));
        }
        match (&self.sha256, &announced.checksum) {
            (Some(expected), Some(Checksum::Sha256(found))) if expected != found => {
                Err(Box::new(HubError::Checksum {
                    at: self.at.clone(),
                    authority: Authority::Manifest,
                    expected: format!("SHA-256 {expected}"),
                    found: format!("SHA-256 {found}"),
                    html: false,
                }))
            }
            (None, None) => Err(Box::new(HubError::NoChecksum {
                at: self.at.clone(),
                etag: announced.etag.clone(),
            })),
            _ => Ok(()),
        }
    }

    /// Whether a sound file of the cache is the one that the manifest means.
    pub(super) fn compare_cached(
        &self,
        entry: &Entry,
        sha256: &str,
        bytes: u64,
    ) -> Result<(), Box<HubError>> {
        let (expected, found) = match (&self.sha256, self.bytes) {
            (Some(expected), _) if expected != sha256 => {
                (format!("SHA-256 {expected}"), format!("SHA-256 {sha256}"))
            }
            (_, Some(expected)) if expected != bytes => {
                (format!("{expected} bytes"), format!("{bytes} bytes"))
            }
            _ => return Ok(()),
        };
        Err(Box::new(HubError::OtherThanPinned {
            at: self.at.clone(),
            path: entry.snapshot.clone(),
            expected,
            found,
        }))
    }
}

/// What the cache has of a file.
pub(super) enum Cached {
    /// All that is needed.
    Usable(Fetched),
    /// Something that may not be used, and only the network can help.
    Refused(Box<HubError>),
    /// The knowledge that the hub does not have it.
    Absent,
    /// Nothing.
    Missing,
}

/// Looks for a file in the cache. Makes no request.
pub(super) fn look_up(wanted: &Wanted, repo: &Repo) -> Result<Cached, Box<HubError>> {
    let commit = if is_hex(&wanted.revision, 40) {
        Some(wanted.revision.clone())
    } else {
        repo.commit(&wanted.revision)?
    };
    let Some(commit) = commit else {
        return Ok(Cached::Missing);
    };
    let Some(entry) = repo.entry(&commit, &wanted.file)? else {
        return Ok(if repo.is_absent(&commit, &wanted.file) {
            Cached::Absent
        } else {
            Cached::Missing
        });
    };
    match check(wanted, repo, &entry, None)? {
        Checked::Sound { sha256, bytes } => match wanted.compare_cached(&entry, &sha256, bytes) {
            Ok(()) => Ok(Cached::Usable(Fetched {
                path: entry.snapshot,
                commit,
                sha256,
                bytes,
                from_cache: true,
                replaced: None,
            })),
            // A commit never changes: the hub has nothing else to offer. A branch does.
            Err(error) if commit == wanted.revision && entry.name.is_some() => Err(error),
            Err(error) => Ok(Cached::Refused(error)),
        },
        Checked::Altered { expected, found } => Ok(Cached::Refused(Box::new(HubError::Altered {
            at: wanted.at.clone(),
            path: entry.snapshot,
            expected,
            found,
            again: None,
        }))),
        Checked::Unknown => Ok(Cached::Refused(Box::new(HubError::Unchecked {
            at: wanted.at.clone(),
            path: entry.snapshot,
        }))),
        Checked::Gone => Ok(Cached::Missing),
    }
}

/// [`Health`], with the pin as one more thing that a file can be checked against.
pub(super) enum Checked {
    Sound { sha256: String, bytes: u64 },
    Altered { expected: String, found: String },
    Unknown,
    Gone,
}

pub(super) fn check(
    wanted: &Wanted,
    repo: &Repo,
    entry: &Entry,
    announced: Option<&Checksum>,
) -> Result<Checked, Box<HubError>> {
    Ok(
        match verify::examine(repo, entry, announced, Depth::Remembered)? {
            Health::Sound { sha256, bytes } => Checked::Sound { sha256, bytes },
            Health::Altered { expected, found } => Checked::Altered {
                expected: expected.to_string(),
                found: found.to_string(),
            },
            Health::Unknown { sha256, bytes } => match &wanted.sha256 {
                Some(expected) if *expected == sha256 => {
                    verify::remember(repo, entry, &sha256);
                    Checked::Sound { sha256, bytes }
                }
                Some(expected) => Checked::Altered {
                    expected: format!("SHA-256 {expected}"),
                    found: format!("SHA-256 {sha256}"),
                },
                None => Checked::Unknown,
            },
            Health::Gone => Checked::Gone,
        },
    )
}

pub(super) fn refuse(argument: &'static str, found: &str, expected: &'static str) -> Box<HubError> {
    Box::new(HubError::Request {
        argument,
        found: found.to_owned(),
        expected,
    })
}

/// Whether a text is the name of a repository, of `least` to two parts.
pub(super) fn check_repository(repository: &str, least: usize) -> Result<(), Box<HubError>> {
    let parts: Vec<&str> = repository.split('/').collect();
    let sound = |part: &&str| {
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
    if (least..=2).contains(&parts.len()) && parts.iter().all(sound) {
        return Ok(());
    }
    Err(refuse(
        "repository",
        repository,
        "owner/name, of letters, digits, `-`, `_` and `.`",
    ))
}

/// Whether a text is a path that stays below the folder it is appended to.
pub(super) fn check_file(file: &str) -> Result<(), Box<HubError>> {
    let sound = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.len() <= 255
            && !part
                .chars()
                .any(|c| c.is_control() || matches!(c, '\\' | ':'))
    };
    if file.len() <= 1024 && file.split('/').all(sound) {
        return Ok(());
    }
    Err(refuse(
        "file",
        file,
        "a path below the repository, without `..`, `\\` and `:`",
    ))
}

/// Whether a text can be a branch, a tag or a commit: the rules of `git check-ref-format`.
pub(super) fn check_revision(revision: &str) -> Result<(), Box<HubError>> {
    let sound = |part: &str| {
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
    if revision.len() <= 1024 && revision.split('/').all(sound) {
        return Ok(());
    }
    Err(refuse(
        "revision",
        revision,
        "a branch, a tag or a commit of 40 hexadecimal digits",
    ))
}
