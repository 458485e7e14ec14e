//! From a request to a verified file: out of the cache, or from the hub into it.

use std::sync::mpsc::Sender;

use super::cache::{Entry, Repo};
use super::cache_error::CacheError;
use super::checksum::{Checksum, is_commit};
use super::error::HubError;
use super::fetch_error::FetchError;
use super::lock::lock;
use super::request::{CheckedRequest, Request};
use super::results::{Fetched, Outcome, Progress};
use super::settings::Hub;
use super::transfer::Transfer;
use super::verify::{Depth, examine, forget, remember};

/// What the cache has of a file.
enum Cached {
    /// All that is needed.
    Usable(Fetched),
    /// Nothing that may be used. Without the network, that is this error.
    Refused(FetchError),
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
    /// [`HubError::Request`] if the request names what cannot be on the hub, [`HubError::Fetch`] if
    /// the file cannot be had.
    pub(crate) fn fetch(
        &self,
        request: &Request<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> crate::error::Result<Fetched> {
        let request = CheckedRequest::new(request, &self.endpoint)?;
        let fetched = self.fetch_checked(&request, progress);
        Ok(fetched.map_err(|error| HubError::Fetch {
            file: Box::new(request.file),
            error: Box::new(error),
        })?)
    }

    /// The file if it is cached and checked. Makes no request.
    ///
    /// # Errors
    ///
    /// [`Error::Hub`](crate::Error::Hub) if the request is no sound one.
    pub(crate) fn find(&self, request: &Request<'_>) -> crate::error::Result<Option<Fetched>> {
        let request = CheckedRequest::new(request, &self.endpoint)?;
        let repo = self.cache.repo(&request.file.repository);
        Ok(match self.look_up(&request, &repo) {
            Ok(Cached::Usable(fetched)) => Some(fetched),
            // Whoever fetches it is told why.
            Ok(Cached::Refused(_)) | Err(_) => None,
        })
    }

    fn fetch_checked(
        &self,
        request: &CheckedRequest,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched, FetchError> {
        let repo = self.cache.repo(&request.file.repository);
        let mut refused = match self.look_up(request, &repo)? {
            Cached::Usable(fetched) => return Ok(fetched),
            Cached::Refused(error) if self.offline => return Err(error),
            Cached::Refused(error) => error,
        };
        let transfer = async |events| self.transfer(request, &repo, events).await;
        let fetched = crate::http::run(progress, transfer)
            .unwrap_or_else(|error| Err(FetchError::Other(error.to_string())));
        fetched.map_err(|error| {
            if let FetchError::Altered { again, .. } = &mut refused {
                *again = Some(Box::new(error));
                return refused;
            }
            error
        })
    }

    /// Looks for a file in the cache. Makes no request.
    fn look_up(&self, request: &CheckedRequest, repo: &Repo) -> Result<Cached, FetchError> {
        let file = &request.file;
        let cache = self.cache.root.clone();
        let missing = Cached::Refused(FetchError::Offline { cache });
        let Some(commit) = repo.commit(&file.revision)? else {
            return Ok(missing);
        };
        let Some(entry) = repo.entry(&commit, &file.file)? else {
            return Ok(if repo.is_absent(&commit, &file.file) {
                Cached::Refused(request.file_not_found())
            } else {
                missing
            });
        };
        let pin = request.sha256.as_ref();
        Ok(match examine(&entry, None, pin, Depth::Remembered)? {
            Outcome::Sound { sha256 } => match check_pin(request, &entry, &sha256) {
                Ok(()) => Cached::Usable(found(&commit, entry, sha256)?),
                // A commit never changes: the hub has nothing else to offer. A branch does.
                Err(error) if is_commit(&file.revision) && entry.name.is_some() => {
                    return Err(error);
                }
                Err(error) => Cached::Refused(error),
            },
            Outcome::Altered { expected, found } => Cached::Refused(FetchError::Altered {
                repository: file.repository.clone(),
                path: entry.snapshot,
                expected,
                found,
                again: None,
            }),
            Outcome::Missing => missing,
            _ => Cached::Refused(FetchError::Unchecked {
                path: entry.snapshot,
            }),
        })
    }

    async fn transfer(
        &self,
        request: &CheckedRequest,
        repo: &Repo,
        events: Sender<Progress>,
    ) -> Result<Fetched, FetchError> {
        let file = &request.file;
        let mut transfer = Transfer::new(self, request, events);
        let announced = transfer
            .announce(|commit| repo.set_absent(&file.revision, commit, &file.file))
            .await?;
        announced.check(request)?;
        self.cache.prepare(repo)?;
        let lock_file = repo.locks.join(format!("{}.lock", announced.etag));
        let waiting = || transfer.tell(Progress::Locked);
        let lock = lock(&lock_file, self.limits.lock, waiting)?;

        let publish = |entry: Option<Entry>, sha256: String| -> Result<Fetched, CacheError> {
            let entry = match entry {
                Some(entry) => entry,
                None => repo.link(&announced.commit, &file.file, &announced.etag)?,
            };
            repo.set_commit(&file.revision, &announced.commit)?;
            remember(&entry, &sha256);
            found(&announced.commit, entry, sha256)
        };
        // Another process may have been faster, and a commit that was not cached may have a blob
        // that is. A file of the snapshot may also be no link, or lead to a blob of another name.
        let snapshot = repo.snapshot(&announced.commit, &file.file);
        let blob = repo.entry_of_blob(&announced.etag, snapshot);
        let other = repo.entry(&announced.commit, &file.file)?;
        let other = other.filter(|entry| entry.name.is_none() && entry.file != blob.file);
        let blob_file = blob.file.clone();
        let (checksum, pin) = (announced.checksum.as_ref(), request.sha256.as_ref());
        let mut replaced = None;
        for entry in other.into_iter().chain([blob]) {
            match examine(&entry, checksum, pin, Depth::Remembered)? {
                Outcome::Sound { sha256 } => {
                    check_pin(request, &entry, &sha256)?;
                    let entry = Some(entry).filter(|entry| entry.file != blob_file);
                    let fetched = publish(entry, sha256)?;
                    return Ok(Fetched {
                        replaced,
                        ..fetched
                    });
                }
                Outcome::Altered { expected, found } => {
                    let path = repo.set_aside(&entry.file)?;
                    forget(&entry);
                    transfer.tell(Progress::Replaced {
                        path: path.clone(),
                        expected,
                        found,
                    });
                    replaced = Some(path);
                }
                // With an announcement or a pin, and one of them there is, it is known.
                _ => {}
            }
        }

        let partial = repo.partial(&announced.etag, lock.is_some())?;
        let sha256 = transfer.receive(&announced, &partial).await?;
        repo.publish(&partial, &announced.etag)?;
        let fetched = publish(None, sha256)?;
        Ok(Fetched {
            from_cache: false,
            replaced,
            ..fetched
        })
    }
}

/// A sound file of the cache.
fn found(commit: &str, entry: Entry, sha256: String) -> Result<Fetched, CacheError> {
    let bytes = size(&entry)?;
    Ok(Fetched {
        path: entry.snapshot,
        commit: commit.to_owned(),
        sha256,
        bytes,
        from_cache: true,
        replaced: None,
    })
}

fn size(entry: &Entry) -> Result<u64, CacheError> {
    let metadata = std::fs::metadata(&entry.file).map_err(CacheError::of("read", &entry.file))?;
    Ok(metadata.len())
}

/// Whether a sound file of the cache is the one that the manifest means.
fn check_pin(request: &CheckedRequest, entry: &Entry, sha256: &str) -> Result<(), FetchError> {
    let sha256 = Checksum::Sha256(sha256.to_owned());
    let bytes = size(entry)?;
    let (expected, found) = match (&request.sha256, request.bytes) {
        (Some(expected), _) if *expected != sha256 => (expected.to_string(), sha256.to_string()),
        (_, Some(expected)) if expected != bytes => {
            (format!("{expected} bytes"), format!("{bytes} bytes"))
        }
        _ => return Ok(()),
    };
    Err(FetchError::NotPinned {
        path: entry.snapshot.clone(),
        expected,
        found,
    })
}
