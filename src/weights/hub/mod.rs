//! Files of the Hugging Face hub, checked before anything uses them.
//!
//! [`Hub::fetch`] returns the path of a file that has the SHA-256 the manifest says, or else the
//! checksum the hub announces; in the latter case one is demanded, too. The cache is the one of
//! Python's `huggingface_hub`, so that each finds what the other fetched.
//!
//! # When the network is used
//!
//! * A cached and verified file needs none: no request is made, whatever `HF_HUB_OFFLINE` says.
//! * A branch or tag that is cached means the commit that it meant when it was fetched; it is asked
//!   for again only if that commit's file is not cached. [`Hub::remove`] the repository to follow
//!   a branch that moved.
//! * `HF_HUB_OFFLINE=1`, or [`Hub::with_offline`], forbids all use of the network.
//!
//! # What is believed
//!
//! Bytes are received into a place of their own in the cache, and become part of it (by a rename)
//! only once their size and checksum are right. In the manifest is a SHA-256; the hub announces
//! that of a file in LFS or Xet, and of a small file in Git the SHA-1 of the Git blob. A file with
//! neither is refused. What became of a check is remembered with the file's size, times and inode;
//! as long as these stay, the next load costs one `stat`, and when they change the file is read
//! again. One that is not what it was is never used: with a network it is set aside and fetched
//! anew ([`Fetched::replaced`]), without it is an error.
//!
//! What other programs put into the cache is checked when it is first used, against the names of
//! the blobs, which are their checksums. Whoever may write to the cache may also write what is
//! remembered there: this finds damage and mistakes, and against an attacker with the user's own
//! rights only the SHA-256 of the manifest helps, with [`Hub::verify`].

mod cache;
mod error;
mod fetch;
mod settings;
#[cfg(test)]
mod tests;
mod types;
mod verify;
mod wanted;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::mpsc::{Sender, channel};

use reqwest::Url;

use crate::error::Result;
use cache::{Cache, Repo};
pub use error::{At, Authority, HubError};
use fetch::{Remote, without_secrets};
pub use types::{
    CachedFile, Fetched, Limits, Outcome, Pin, Progress, Removed, Replaced, Request, Verification,
};
use verify::{Depth, Health};
use wanted::{Cached, Checked, Wanted, check, check_repository, look_up};

/// The hub, and the cache of its files.
#[derive(Clone)]
pub struct Hub {
    endpoint: Url,
    cache: Cache,
    token: Option<String>,
    offline: bool,
    limits: Limits,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &without_secrets(&self.endpoint))
            .field("cache", &self.cache.root)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Finds a file in the cache or fetches it, and returns it once it is checked.
    ///
    /// May be called from several threads and processes at once: one of them fetches the file, the
    /// others wait for it. May also be called inside an asynchronous runtime, where it blocks.
    /// What was received before a failure is kept where that helps the next attempt. `progress` is
    /// called on this thread.
    ///
    /// # Errors
    ///
    /// Every variant of [`HubError`] but [`HubError::NotCached`].
    pub fn fetch(
        &self,
        request: &Request<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched> {
        let wanted = Wanted::new(request, &self.endpoint)?;
        Ok(self.fetch_checked(&wanted, progress).map_err(|mut error| {
            if let HubError::Io { at, .. } = &mut *error {
                *at = Some(wanted.at.clone());
            }
            error
        })?)
    }

    fn fetch_checked(
        &self,
        wanted: &Wanted,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched, Box<HubError>> {
        let repo = self.cache.repo(&wanted.at.repository);
        let refused = match look_up(wanted, &repo)? {
            Cached::Usable(fetched) => return Ok(fetched),
            Cached::Refused(error) => Some(error),
            Cached::Absent if self.offline => {
                return Err(Box::new(HubError::FileNotFound {
                    at: wanted.at.clone(),
                }));
            }
            Cached::Absent | Cached::Missing => None,
        };
        if self.offline {
            return Err(refused.unwrap_or_else(|| {
                Box::new(HubError::Offline {
                    at: wanted.at.clone(),
                    cache: self.cache.root.clone(),
                })
            }));
        }
        self.download(wanted, &repo, progress)
            .map_err(|error| match refused {
                Some(mut refused) => match &mut *refused {
                    HubError::Altered { again, .. } => {
                        *again = Some(error);
                        refused
                    }
                    _ => error,
                },
                None => error,
            })
    }

    /// Runs [`Hub::transfer`] on a thread of its own: its runtime must not meet one that the caller
    /// may be in, and `progress` cannot leave the caller's thread.
    fn download(
        &self,
        wanted: &Wanted,
        repo: &Repo,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched, Box<HubError>> {
        let failed = |reason: String| {
            Box::new(HubError::Transfer {
                at: wanted.at.clone(),
                reason,
            })
        };
        let (events, received) = channel();
        std::thread::scope(|scope| {
            let worker = std::thread::Builder::new()
                .name("burn-zoo-hub".to_owned())
                .spawn_scoped(scope, move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .map_err(|error| {
                            Box::new(HubError::Transfer {
                                at: wanted.at.clone(),
                                reason: format!("no runtime can be made: {error}"),
                            })
                        })?;
                    runtime.block_on(self.transfer(wanted, repo, &events))
                })
                .map_err(|error| failed(format!("no thread can be made: {error}")))?;
            for event in received {
                progress(event);
            }
            worker
                .join()
                .unwrap_or_else(|_| Err(failed("the transfer ended unexpectedly".to_owned())))
        })
    }

    async fn transfer(
        &self,
        wanted: &Wanted,
        repo: &Repo,
        events: &Sender<Progress>,
    ) -> Result<Fetched, Box<HubError>> {
        let mut remote = Remote::new(self, wanted, events)?;
        let announced = remote
            .announce(|commit| repo.mark_absent(&wanted.revision, commit, &wanted.file))
            .await?;
        wanted.compare(&announced)?;
        self.cache.prepare(repo)?;
        let lock = repo.lock(&announced.etag, &wanted.at, self.limits.lock, || {
            let _ = events.send(Progress::Locked);
        })?;

        // Another process may have been faster, and a commit that was not cached may have a blob
        // that is.
        let mut replaced = None;
        let snapshot = repo.snapshot(&announced.commit, &wanted.file);
        let blob = repo.blob_entry(&announced.etag, snapshot);
        let linked = repo
            .entry(&announced.commit, &wanted.file)?
            .filter(|entry| entry.name.is_none() && entry.file != blob.file);
        for entry in linked.into_iter().chain([blob]) {
            match check(wanted, repo, &entry, announced.checksum.as_ref())? {
                Checked::Gone => {}
                Checked::Sound { sha256, bytes } => {
                    wanted.compare_cached(&entry, &sha256, bytes)?;
                    let entry = if entry.name.is_some() || entry.file != entry.snapshot {
                        repo.point(&announced.commit, &wanted.file, &announced.etag)?
                    } else {
                        entry
                    };
                    repo.refer(&wanted.revision, &announced.commit)?;
                    verify::remember(repo, &entry, &sha256);
                    return Ok(Fetched {
                        path: entry.snapshot,
                        commit: announced.commit,
                        sha256,
                        bytes,
                        from_cache: true,
                        replaced,
                    });
                }
                Checked::Altered { expected, found } => {
                    let path = repo.set_aside(&entry.file)?;
                    verify::forget(repo, &entry);
                    let aside = Replaced {
                        path,
                        expected,
                        found,
                    };
                    let _ = events.send(Progress::Replaced(aside.clone()));
                    replaced = Some(aside);
                }
                // With an announcement or a pin, and one of them there is, this cannot be.
                Checked::Unknown => {}
            }
        }

        let partial = repo.partial(&announced.etag, &lock);
        let (sha256, bytes) = remote.receive(&announced, &partial).await?;
        repo.publish(&partial, &announced.etag)?;
        let entry = repo.point(&announced.commit, &wanted.file, &announced.etag)?;
        repo.refer(&wanted.revision, &announced.commit)?;
        verify::remember(repo, &entry, &sha256);
        Ok(Fetched {
            path: entry.snapshot,
            commit: announced.commit,
            sha256,
            bytes,
            from_cache: false,
            replaced,
        })
    }

    /// The files of the cache, in the order of repository, commit and path. Makes no request and
    /// reads no file.
    ///
    /// # Errors
    ///
    /// [`HubError::Io`] if a folder cannot be read. A cache that does not exist is empty.
    pub fn cached(&self) -> Result<Vec<CachedFile>> {
        let mut found = Vec::new();
        for repository in self.cache.repositories()? {
            let repo = self.cache.repo(&repository);
            let references = repo.references()?;
            for (commit, file, entry) in repo.list()? {
                // A link that leads nowhere is no file.
                let Ok(metadata) = std::fs::metadata(&entry.file) else {
                    continue;
                };
                found.push(CachedFile {
                    repository: repository.clone(),
                    revisions: references.get(&commit).cloned().unwrap_or_default(),
                    commit,
                    file,
                    verified: verify::is_remembered(&repo, &entry),
                    bytes: metadata.len(),
                    path: entry.snapshot,
                });
            }
        }
        Ok(found)
    }

    /// Reads every file of the cache, whatever is remembered of it, and compares it with the name
    /// of its blob and with its last check. A file that several commits have in common is read
    /// once. Makes no request, and changes nothing but what is remembered.
    ///
    /// # Errors
    ///
    /// [`HubError::Io`] if a folder cannot be read. What is wrong with a file is in its
    /// [`Verification::outcome`].
    pub fn verify(&self) -> Result<Vec<Verification>> {
        let mut found = Vec::new();
        for repository in self.cache.repositories()? {
            let repo = self.cache.repo(&repository);
            let mut seen = BTreeSet::new();
            for (commit, file, entry) in repo.list()? {
                if !seen.insert(entry.file.clone()) {
                    continue;
                }
                let outcome = match verify::examine(&repo, &entry, None, Depth::Read) {
                    Ok(Health::Sound { sha256, .. }) => Outcome::Sound { sha256 },
                    Ok(Health::Altered { expected, found }) => Outcome::Altered {
                        expected: expected.to_string(),
                        found: found.to_string(),
                    },
                    Ok(Health::Unknown { .. }) => Outcome::Unknown,
                    Ok(Health::Gone) => Outcome::Missing,
                    Err(error) => Outcome::Unreadable {
                        reason: error.to_string(),
                    },
                };
                found.push(Verification {
                    repository: repository.clone(),
                    commit,
                    file,
                    path: entry.snapshot,
                    outcome,
                });
            }
        }
        Ok(found)
    }

    /// Deletes all that is cached of a repository.
    ///
    /// # Errors
    ///
    /// [`HubError::NotCached`] if the cache has nothing of it, [`HubError::Request`] if it is no
    /// name of a repository and [`HubError::Io`] if a file cannot be deleted.
    pub fn remove(&self, repository: &str) -> Result<Removed> {
        check_repository(repository, 1)?;
        let repo = self.cache.repo(repository);
        if !repo.folder().is_dir() {
            return Err(Box::new(HubError::NotCached {
                repository: repository.to_owned(),
                cache: self.cache.root.clone(),
                known: self.cache.repositories()?,
            })
            .into());
        }
        let (files, bytes) = repo.remove()?;
        Ok(Removed { files, bytes })
    }
}
