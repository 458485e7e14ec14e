//! What is in the cache, without a request.

use std::collections::BTreeSet;
use std::path::Path;

use super::cache::{Repo, files_below};
use super::cache_error::CacheError;
use super::error::HubError;
use super::request::check_repository;
use super::results::{CachedFile, Outcome, Removed, Verification};
use super::settings::Hub;
use super::verify::{Depth, examine, is_remembered};
use crate::error::Result;

impl Hub {
    /// The files of the cache, in the order of repository, commit and path. Makes no request and
    /// reads no file.
    ///
    /// # Errors
    ///
    /// [`Error::Hub`](crate::Error::Hub) if a folder cannot be read. A cache that does not exist is empty.
    pub fn cached(&self) -> Result<Vec<CachedFile>> {
        let mut files = Vec::new();
        for repository in self.cache.repositories()? {
            let repo = self.cache.repo(&repository);
            let references = references(&repo)?;
            for (commit, file, entry) in repo.list()? {
                // A link that leads nowhere is no file.
                let Ok(metadata) = std::fs::metadata(&entry.file) else {
                    continue;
                };
                let revisions = references.iter().filter(|(_, meant)| *meant == commit);
                files.push(CachedFile {
                    repository: repository.clone(),
                    revisions: revisions.map(|(name, _)| name.clone()).collect(),
                    commit,
                    file,
                    verified: is_remembered(&entry),
                    bytes: metadata.len(),
                    path: entry.snapshot,
                });
            }
        }
        Ok(files)
    }

    /// What takes room beside [`cached`](Self::cached) files, of each repository that has some: parts of
    /// downloads that broke off, and altered files that were set aside. Makes no request.
    ///
    /// # Errors
    ///
    /// [`Error::Hub`](crate::Error::Hub) if a folder cannot be read.
    pub fn beside(&self) -> Result<Vec<(String, Removed)>> {
        let mut found = Vec::new();
        for repository in self.cache.repositories()? {
            let own = self.cache.repo(&repository).folder.join(".burn-zoo");
            let [parts, altered] = ["partial", "altered"].map(|name| count_below(&own.join(name)));
            let (parts, altered) = (parts?, altered?);
            let sum = Removed {
                files: parts.files + altered.files,
                bytes: parts.bytes + altered.bytes,
            };
            if sum.files > 0 {
                found.push((repository, sum));
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
    /// [`Error::Hub`](crate::Error::Hub) if a folder cannot be read. What is wrong with a file is in its
    /// [`Verification::outcome`].
    pub fn verify(&self) -> Result<Vec<Verification>> {
        let mut results = Vec::new();
        for repository in self.cache.repositories()? {
            let mut seen = BTreeSet::new();
            for (commit, file, entry) in self.cache.repo(&repository).list()? {
                if !seen.insert(entry.file.clone()) {
                    continue;
                }
                let outcome = examine(&entry, None, None, Depth::Read);
                results.push(Verification {
                    repository: repository.clone(),
                    commit,
                    file,
                    path: entry.snapshot,
                    outcome: outcome.unwrap_or_else(|error| Outcome::Unreadable {
                        reason: error.to_string(),
                    }),
                });
            }
        }
        Ok(results)
    }

    /// Deletes all that is cached of a repository.
    ///
    /// # Errors
    ///
    /// [`Error::Hub`](crate::Error::Hub) if the cache has nothing of it, if it is no name of a
    /// repository, and if a file cannot be deleted.
    pub fn remove(&self, repository: &str) -> Result<Removed> {
        check_repository(repository, 1)?;
        let repo = self.cache.repo(repository);
        if !repo.folder.is_dir() {
            let error = HubError::NotCached {
                repository: repository.to_owned(),
                cache: self.cache.root.clone(),
                cached: self.cache.repositories()?,
            };
            return Err(error.into());
        }
        let removed = count_below(&repo.folder)?;
        std::fs::remove_dir_all(&repo.folder).map_err(CacheError::of("delete", &repo.folder))?;
        Ok(removed)
    }
}

/// The files below a folder. Links are none.
fn count_below(folder: &Path) -> Result<Removed> {
    let mut count = Removed { files: 0, bytes: 0 };
    for (_, path) in files_below(folder)? {
        let metadata = path.symlink_metadata();
        let metadata = metadata.map_err(CacheError::of("read", &path))?;
        if metadata.is_file() {
            count.files += 1;
            count.bytes += metadata.len();
        }
    }
    Ok(count)
}

/// Branches and tags, each with the commit that it means.
fn references(repo: &Repo) -> Result<Vec<(String, String)>> {
    let files = files_below(&repo.folder.join("refs"))?.into_iter();
    Ok(files
        .filter_map(|(revision, path)| {
            let commit = std::fs::read_to_string(path).ok()?;
            Some((revision, commit.trim().to_owned()))
        })
        .collect())
}
