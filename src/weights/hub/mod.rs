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
mod verify;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use reqwest::Url;

use crate::error::Result;
use cache::{Cache, Entry, Repo};
pub use error::{At, Authority, HubError};
use fetch::{Announced, Remote, without_secrets};
use verify::{Checksum, Depth, Health, is_hex};

/// The hub's own address.
const ENDPOINT: &str = "https://huggingface.co";

/// What is known of a file for sure, from a source other than the hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pin<'a> {
    /// The SHA-256 in lower-case hexadecimal digits.
    pub sha256: Option<&'a str>,
    /// The size in bytes.
    pub bytes: Option<u64>,
}

/// A file of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The repository, `owner/name`.
    pub repository: &'a str,
    /// A branch, a tag or a commit of 40 hexadecimal digits; `main` if it is `None`.
    pub revision: Option<&'a str>,
    /// The path in the repository, with `/` between its parts.
    pub file: &'a str,
    /// What the file must be.
    pub pin: Pin<'a>,
}

/// A file that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// The commit it belongs to.
    pub commit: String,
    /// Its SHA-256 in lower-case hexadecimal digits.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Whether its bytes were in the cache already.
    pub from_cache: bool,
    /// The altered file that it takes the place of.
    pub replaced: Option<Replaced>,
}

/// A cached file that was not what it should be, and was fetched anew.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replaced {
    /// Where the altered file is now.
    pub path: PathBuf,
    /// The checksum it should have had, with its kind.
    pub expected: String,
    /// The checksum it had.
    pub found: String,
}

/// What happens while a file is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Bytes arrived.
    Received {
        /// The bytes received so far, those of earlier attempts among them.
        received: u64,
        /// The size of the file, if it is known.
        total: Option<u64>,
    },
    /// Another process fetches the same file; this one waits for it.
    Locked,
    /// An attempt failed; the next one follows after a time.
    Retrying {
        /// The time until then.
        wait: Duration,
        /// What went wrong.
        reason: String,
    },
}

/// A file in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedFile {
    /// The repository.
    pub repository: String,
    /// The commit that the file belongs to.
    pub commit: String,
    /// The branches and tags that mean this commit.
    pub revisions: Vec<String>,
    /// The path in the repository.
    pub file: String,
    /// Where it is cached.
    pub path: PathBuf,
    /// Its size. Files that several commits have in common are counted with each.
    pub bytes: u64,
    /// Whether it has been checked and did not change since.
    pub verified: bool,
}

/// What checking a cached file found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// The repository.
    pub repository: String,
    /// A commit that has the file.
    pub commit: String,
    /// The path in the repository.
    pub file: String,
    /// Where it is cached.
    pub path: PathBuf,
    /// What was found.
    pub outcome: Outcome,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The file is what it should be.
    Sound {
        /// Its SHA-256.
        sha256: String,
    },
    /// The file is not what it was.
    Altered {
        /// The checksum it should have, with its kind.
        expected: String,
        /// The checksum it has.
        found: String,
    },
    /// Nothing tells what the file should be. It was put there by another program, on a file
    /// system without symbolic links.
    Unknown,
    /// A link leads to no file.
    Missing,
    /// The file cannot be read.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// What [`Hub::remove`] deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// The number of files, without links.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
}

/// How long is waited for what.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// For a connection: 10 s.
    pub connect: Duration,
    /// For the next piece of an answer: 30 s. A transfer may last as long as it moves.
    pub silence: Duration,
    /// In all, when the hub limits the number of requests: 60 s.
    pub rate_limit: Duration,
    /// Before the first repetition of a failed request, twice as long before the next and so on:
    /// 1 s. There are three.
    pub backoff: Duration,
    /// For another process that fetches the same file: 1 hour.
    pub lock: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            rate_limit: Duration::from_secs(60),
            backoff: Duration::from_secs(1),
            lock: Duration::from_secs(60 * 60),
        }
    }
}

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
    /// The hub with its files in the folder `cache`, without an access token, whatever the
    /// environment says.
    pub fn new(cache: impl Into<PathBuf>) -> Hub {
        Hub {
            endpoint: default_endpoint(),
            cache: Cache {
                root: cache.into(),
                symlinks: true,
            },
            token: None,
            offline: false,
            limits: Limits::default(),
        }
    }

    /// The hub as the environment describes it, with the variables of Python's `huggingface_hub`:
    ///
    /// | variable | meaning | if it is not set |
    /// |---|---|---|
    /// | `HF_ENDPOINT` | the hub's address | `https://huggingface.co` |
    /// | `HF_HOME` | the folder of all that belongs to the hub | `$XDG_CACHE_HOME/huggingface`, or `~/.cache/huggingface` |
    /// | `HF_HUB_CACHE` | the cache | `$HF_HOME/hub` |
    /// | `HF_HUB_OFFLINE` | `1`, `true`, `yes` or `on`: never use the network | use it |
    /// | `HF_TOKEN` | the access token | the file that `HF_TOKEN_PATH` names, or `$HF_HOME/token`, where `hf auth login` puts it |
    /// | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | `1`: do not read a token from the environment or a file | read it |
    /// | `HF_HUB_DISABLE_SYMLINKS` | `1`: copy files into snapshots | link them |
    ///
    /// A variable without a value counts as not set. `~` at the start of a folder is the home
    /// folder.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if a variable has a value that cannot be used.
    pub fn from_env() -> Result<Hub> {
        Ok(Self::from_variables(
            |name| std::env::var_os(name),
            std::env::home_dir(),
        )?)
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> Result<Hub, Box<HubError>> {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let folder = |name: &'static str| match value(name) {
            None => Ok(None),
            Some(value) => {
                let path = PathBuf::from(value);
                match (path.strip_prefix("~"), &home) {
                    (Err(_), _) => Ok(Some(path)),
                    (Ok(rest), Some(home)) => Ok(Some(home.join(rest))),
                    (Ok(_), None) => Err(setting(
                        name,
                        "a folder",
                        format!("{path:?}, and no home folder is known"),
                    )),
                }
            }
        };
        let flag = |name: &'static str| match value(name) {
            None => Ok(false),
            Some(value) => match value.to_string_lossy().to_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => Ok(true),
                "0" | "false" | "no" | "off" => Ok(false),
                other => Err(setting(
                    name,
                    "1, true, yes or on, or 0, false, no or off",
                    format!("{other:?}"),
                )),
            },
        };

        let hf_home = match folder("HF_HOME")? {
            Some(folder) => Some(folder),
            None => folder("XDG_CACHE_HOME")?
                .or(home.as_ref().map(|home| home.join(".cache")))
                .map(|folder| folder.join("huggingface")),
        };
        let cache = match folder("HF_HUB_CACHE")? {
            Some(folder) => Some(folder),
            None => hf_home.as_ref().map(|folder| folder.join("hub")),
        };
        let cache = cache.ok_or_else(|| {
            setting(
                "HF_HUB_CACHE",
                "a folder, as no home folder is known",
                "none".to_owned(),
            )
        })?;
        let mut hub = Hub::new(cache);
        if let Some(endpoint) = value("HF_ENDPOINT") {
            hub.endpoint = check_endpoint(&endpoint.to_string_lossy())?;
        }
        hub.offline = flag("HF_HUB_OFFLINE")?;
        hub.cache.symlinks = !flag("HF_HUB_DISABLE_SYMLINKS")?;
        if !flag("HF_HUB_DISABLE_IMPLICIT_TOKEN")? {
            let token = value("HF_TOKEN").map(|token| token.to_string_lossy().trim().to_owned());
            let token = match token.filter(|token| !token.is_empty()) {
                Some(token) => Some(token),
                None => folder("HF_TOKEN_PATH")?
                    .or(hf_home.map(|folder| folder.join("token")))
                    // Not being signed in is the usual case, and a file that cannot be read is
                    // found out by the hub's answer.
                    .and_then(|path| std::fs::read_to_string(path).ok()),
            };
            hub.token = match token.as_deref().map(str::trim) {
                None | Some("") => None,
                Some(token) => Some(check_token(token)?),
            };
        }
        Ok(hub)
    }

    /// Another address for the hub: a mirror, or a server for tests.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if it is no http or https address.
    pub fn with_endpoint(mut self, endpoint: &str) -> Result<Hub> {
        self.endpoint = check_endpoint(endpoint)?;
        Ok(self)
    }

    /// Another cache folder.
    pub fn with_cache(mut self, cache: impl Into<PathBuf>) -> Hub {
        self.cache.root = cache.into();
        self
    }

    /// Another access token, or none.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if it has characters that no token has.
    pub fn with_token(mut self, token: Option<&str>) -> Result<Hub> {
        self.token = token.map(check_token).transpose()?;
        Ok(self)
    }

    /// Whether all use of the network is forbidden.
    pub fn with_offline(mut self, offline: bool) -> Hub {
        self.offline = offline;
        self
    }

    /// Whether snapshots link to blobs, as they do wherever the file system can, or are copies.
    pub fn with_symlinks(mut self, symlinks: bool) -> Hub {
        self.cache.symlinks = symlinks;
        self
    }

    /// Other limits for waiting.
    pub fn with_limits(mut self, limits: Limits) -> Hub {
        self.limits = limits;
        self
    }

    /// The cache folder.
    pub fn cache(&self) -> &Path {
        &self.cache.root
    }

    /// Whether all use of the network is forbidden.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// The waiting limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

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
                    replaced = Some(Replaced {
                        path,
                        expected,
                        found,
                    });
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

/// A request whose parts can be parts of an address and of a path.
struct Wanted {
    owner: String,
    name: String,
    revision: String,
    file: String,
    sha256: Option<String>,
    bytes: Option<u64>,
    url: Url,
    at: At,
}

impl Wanted {
    fn new(request: &Request<'_>, endpoint: &Url) -> Result<Wanted, Box<HubError>> {
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
    fn compare(&self, announced: &Announced) -> Result<(), Box<HubError>> {
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
    fn compare_cached(&self, entry: &Entry, sha256: &str, bytes: u64) -> Result<(), Box<HubError>> {
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
enum Cached {
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
fn look_up(wanted: &Wanted, repo: &Repo) -> Result<Cached, Box<HubError>> {
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
enum Checked {
    Sound { sha256: String, bytes: u64 },
    Altered { expected: String, found: String },
    Unknown,
    Gone,
}

fn check(
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

fn setting(name: &'static str, expected: &'static str, found: String) -> Box<HubError> {
    Box::new(HubError::Setting {
        name,
        expected,
        found,
    })
}

fn refuse(argument: &'static str, found: &str, expected: &'static str) -> Box<HubError> {
    Box::new(HubError::Request {
        argument,
        found: found.to_owned(),
        expected,
    })
}

fn default_endpoint() -> Url {
    match Url::parse(ENDPOINT) {
        Ok(url) => url,
        Err(_) => unreachable!("the constant is an address"),
    }
}

fn check_endpoint(endpoint: &str) -> Result<Url, Box<HubError>> {
    let expected = "an address like https://huggingface.co, without a query";
    // A value that is no address is not repeated: it may be a password that slipped in here.
    let url = Url::parse(endpoint)
        .map_err(|error| setting("HF_ENDPOINT", expected, format!("no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https")
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(setting(
            "HF_ENDPOINT",
            expected,
            format!("`{}`", without_secrets(&url)),
        ));
    }
    Ok(url)
}

fn check_token(token: &str) -> Result<String, Box<HubError>> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(setting(
            "HF_TOKEN",
            "an access token, of visible ASCII characters without spaces",
            "others".to_owned(),
        ));
    }
    Ok(token.to_owned())
}

/// Whether a text is the name of a repository, of `least` to two parts.
fn check_repository(repository: &str, least: usize) -> Result<(), Box<HubError>> {
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
fn check_file(file: &str) -> Result<(), Box<HubError>> {
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
fn check_revision(revision: &str) -> Result<(), Box<HubError>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)], home: Option<&str>) -> Result<Hub, String> {
        let variables: std::collections::BTreeMap<String, OsString> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect();
        Hub::from_variables(|name| variables.get(name).cloned(), home.map(PathBuf::from))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_cache_is_found_as_in_python() {
        let cache =
            |variables: &[(&str, &str)]| from(variables, Some("/home/me")).unwrap().cache.root;
        let all = [
            ("HF_HUB_CACHE", "/cache"),
            ("HF_HOME", "~/hf"),
            ("XDG_CACHE_HOME", "/xdg"),
        ];
        assert_eq!(cache(&all), Path::new("/cache"));
        assert_eq!(cache(&all[1..]), Path::new("/home/me/hf/hub"));
        assert_eq!(cache(&all[2..]), Path::new("/xdg/huggingface/hub"));
        let default = Path::new("/home/me/.cache/huggingface/hub");
        assert_eq!(cache(&[]), default);
        assert_eq!(cache(&[("HF_HOME", ""), ("HF_HUB_CACHE", "")]), default);
        assert_eq!(
            from(&[], None).unwrap_err(),
            "HF_HUB_CACHE: expected a folder, as no home folder is known, found none"
        );
        assert_eq!(
            from(&[("HF_HOME", "~/hf")], None).unwrap_err(),
            "HF_HOME: expected a folder, found \"~/hf\", and no home folder is known"
        );
        assert_eq!(
            from(&[("HF_HUB_CACHE", "/cache")], None).unwrap().cache(),
            Path::new("/cache")
        );
    }

    #[test]
    fn settings_are_checked() {
        let message = |name, value| from(&[(name, value)], Some("/home/me")).unwrap_err();
        assert_eq!(
            message("HF_HUB_OFFLINE", "2"),
            "HF_HUB_OFFLINE: expected 1, true, yes or on, or 0, false, no or off, found \"2\""
        );
        assert_eq!(
            message("HF_ENDPOINT", "ftp://me:secret@hub/?token=secret"),
            "HF_ENDPOINT: expected an address like https://huggingface.co, without a query, found \
             `ftp://hub/`"
        );
        assert_eq!(
            message("HF_ENDPOINT", "hub"),
            "HF_ENDPOINT: expected an address like https://huggingface.co, without a query, found \
             no address: relative URL without a base"
        );
        assert_eq!(
            message("HF_TOKEN", "hf secret"),
            "HF_TOKEN: expected an access token, of visible ASCII characters without spaces, found \
             others"
        );
        for (value, offline) in [("1", true), ("TRUE", true), ("Yes", true), ("on", true)]
            .into_iter()
            .chain([("0", false), ("off", false), ("", false)])
        {
            let hub = from(&[("HF_HUB_OFFLINE", value)], Some("/home/me")).unwrap();
            assert_eq!(hub.is_offline(), offline, "{value}");
        }
        let hub = from(&[("HF_TOKEN", " hf_secret\n")], Some("/home/me")).unwrap();
        assert_eq!(hub.token.as_deref(), Some("hf_secret"));
        assert_eq!(hub.endpoint.as_str(), "https://huggingface.co/");
    }

    #[test]
    fn an_address_keeps_no_secret_and_no_special_character() {
        let endpoint = check_endpoint("http://me:secret@127.0.0.1:8080/mirror/").unwrap();
        let request = Request {
            repository: "owner/name",
            revision: Some("refs/pr/1"),
            file: "a b/100%?#.bin",
            pin: Pin::default(),
        };
        let at = Wanted::new(&request, &endpoint).unwrap().at;
        assert_eq!(
            at.address,
            "http://127.0.0.1:8080/mirror/owner/name/resolve/refs%2Fpr%2F1/a%20b/100%25%3F%23.bin"
        );
        assert_eq!(at.page, "http://127.0.0.1:8080/mirror/owner/name");
    }

    #[test]
    fn names_stay_within_the_cache() {
        for sound in ["timm/resnet18.a1_in1k", "a/b", "Owner-1/name_2.x"] {
            assert!(check_repository(sound, 2).is_ok(), "{sound}");
        }
        for bad in [
            "", "a", "a/", "/a", "a/b/c", "../a", "a/..", "a/.", "a--b/c", "a/b--c", "a b/c",
            "a/b\0", "-a/b", "a/b-", "ä/b", "a\\b/c",
        ] {
            assert!(check_repository(bad, 2).is_err(), "{bad}");
        }
        for sound in ["model.safetensors", "a/b c/ü.bin", ".gitattributes", "a..b"] {
            assert!(check_file(sound).is_ok(), "{sound}");
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/..", "a\\b", "C:a", "a\nb",
        ] {
            assert!(check_file(bad).is_err(), "{bad}");
        }
        assert!(check_file(&"a".repeat(256)).is_err());
        for sound in ["main", "v1.0", "refs/pr/1", "feature/x#1", "0123abc"] {
            assert!(check_revision(sound).is_ok(), "{sound}");
        }
        for bad in [
            "", "..", "a..b", "a/../b", ".a", "a/.b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[",
            "a\\b", "a.lock", "a@{1}", "a/", "/a", "a\tb", "a.",
        ] {
            assert!(check_revision(bad).is_err(), "{bad}");
        }
    }
}
