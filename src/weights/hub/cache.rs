//! The folders and files of the cache, which are those of Python's `huggingface_hub`:
//!
//! ```text
//! models--owner--name/
//!     blobs/<etag>                        the bytes, under what the hub calls them
//!     snapshots/<commit>/<file>           a relative symbolic link to the blob
//!     refs/<branch or tag>                the commit it meant when it was last asked for
//!     .no_exist/<commit>/<file>           an empty file: the hub has no such file
//!     .burn-zoo/                          ours alone; Python looks at none of it
//!         partial/<etag>                  what has been received of a file
//!         verified/<path of a file>.json  what the file was when it was last read
//!         altered/<name>                  files that were replaced
//! .locks/models--owner--name/<etag>.lock  held while a file is fetched
//! ```

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::cache_error::CacheError;
use super::checksum::{Checksum, is_commit};
use super::request::check_repository;
use crate::files::{TEMPORARY, rename_into, temporary_in};

/// A cache folder.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    pub root: PathBuf,
    /// Whether snapshots are links rather than copies.
    pub symlinks: bool,
}

/// The part of a cache that belongs to one repository.
#[derive(Clone, Debug)]
pub(super) struct Repo {
    pub folder: PathBuf,
    pub locks: PathBuf,
    symlinks: bool,
}

/// A file of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its path in the snapshot.
    pub snapshot: PathBuf,
    /// Where its bytes are: the blob, or the snapshot itself where that is no link.
    pub file: PathBuf,
    /// What is remembered of it.
    pub record: PathBuf,
    /// What the name of the blob says about the bytes.
    pub name: Option<Checksum>,
}

impl Cache {
    /// The part of a repository, `owner/name`, whose name has been checked.
    pub fn repo(&self, repository: &str) -> Repo {
        let name = format!("models--{}", repository.replace('/', "--"));
        Repo {
            folder: self.root.join(&name),
            locks: self.root.join(".locks").join(name),
            symlinks: self.symlinks,
        }
    }

    /// The repositories that the cache has a folder of, in the order of their names.
    pub fn repositories(&self) -> Result<Vec<String>, CacheError> {
        let mut repositories: Vec<String> = names_in(&self.root)?
            .iter()
            .filter_map(|name| Some(name.strip_prefix("models--")?.replacen("--", "/", 1)))
            // What cannot be asked for cannot be answered for either.
            .filter(|repository| check_repository(repository, 1).is_ok())
            .filter(|repository| self.repo(repository).folder.is_dir())
            .collect();
        repositories.sort();
        Ok(repositories)
    }

    /// Makes the folders that fetching a file of `repo` needs.
    pub fn prepare(&self, repo: &Repo) -> Result<(), CacheError> {
        for folder in ["blobs", "snapshots", ".burn-zoo/partial"] {
            create_folder(&join(&repo.folder, folder))?;
        }
        create_folder(&repo.locks)?;
        // Marks the cache as one, for programs that make backups.
        let tag = self.root.join("CACHEDIR.TAG");
        if let Ok(mut file) = OpenOptions::new().write(true).create_new(true).open(tag) {
            let _ = file.write_all(b"Signature: 8a477f597d28d172789f06886806bc55\n");
        }
        Ok(())
    }
}

impl Repo {
    fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    pub fn snapshot(&self, commit: &str, file: &str) -> PathBuf {
        join(&self.folder.join("snapshots").join(commit), file)
    }

    fn reference(&self, revision: &str) -> PathBuf {
        join(&self.folder.join("refs"), revision)
    }

    fn absence(&self, commit: &str, file: &str) -> PathBuf {
        join(&self.folder.join(".no_exist").join(commit), file)
    }

    /// The commit that a revision means, or meant when it was last asked for.
    pub fn commit(&self, revision: &str) -> Result<Option<String>, CacheError> {
        if is_commit(revision) {
            return Ok(Some(revision.to_owned()));
        }
        let path = self.reference(revision);
        match std::fs::read(&path) {
            // Anything but a commit would lead out of the snapshots, or nowhere.
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).trim().to_owned())
                .filter(|commit| is_commit(commit))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(CacheError::of("read", path)(error)),
        }
    }

    /// Remembers the commit that a branch or tag means.
    pub fn set_commit(&self, revision: &str, commit: &str) -> Result<(), CacheError> {
        if revision == commit {
            return Ok(());
        }
        let path = self.reference(revision);
        let folder = path.parent().unwrap_or(&self.folder);
        create_folder(folder)?;
        write_atomically(folder, &path, commit.as_bytes()).map_err(CacheError::of("write", &path))
    }

    /// Whether the hub said that `file` does not exist at `commit`.
    pub fn is_absent(&self, commit: &str, file: &str) -> bool {
        self.absence(commit, file).is_file()
    }

    /// Remembers that the hub has no `file` at `commit`. Nothing depends on it, so that failing is
    /// no error.
    pub fn set_absent(&self, revision: &str, commit: &str, file: &str) {
        let path = self.absence(commit, file);
        if let Some(folder) = path.parent()
            && std::fs::create_dir_all(folder).is_ok()
        {
            let _ = OpenOptions::new().write(true).create_new(true).open(path);
            // What a branch means does not change for the files that are cached.
            if let Ok(None) = self.commit(revision) {
                let _ = self.set_commit(revision, commit);
            }
        }
    }

    /// The cached file of a snapshot, or `None` if there is none. That it is there says nothing
    /// about what it holds.
    pub fn entry(&self, commit: &str, file: &str) -> Result<Option<Entry>, CacheError> {
        let snapshot = self.snapshot(commit, file);
        match std::fs::metadata(&snapshot) {
            Ok(_) => Ok(Some(self.entry_at(snapshot))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(CacheError::of("read", snapshot)(error)),
        }
    }

    /// The entry of a blob that no snapshot may point to yet.
    pub fn entry_of_blob(&self, etag: &str, snapshot: PathBuf) -> Entry {
        Entry {
            snapshot,
            file: self.blob(etag),
            record: self.record(&Path::new("blobs").join(etag)),
            name: Checksum::from_etag(etag),
        }
    }

    /// Finds the bytes of `snapshot`. A link is followed one step, to the blob of this repository
    /// that it names: the blob may itself be a link into a store that repositories share.
    fn entry_at(&self, snapshot: PathBuf) -> Entry {
        let etag = std::fs::read_link(&snapshot).ok().and_then(|target| {
            let folder = snapshot.parent()?.join(target.parent()?).canonicalize();
            let blobs = self.folder.join("blobs").canonicalize();
            let etag = target.file_name()?.to_str()?.to_owned();
            (folder.ok()? == blobs.ok()?).then_some(etag)
        });
        match etag {
            Some(etag) => self.entry_of_blob(&etag, snapshot),
            None => Entry {
                record: self.record(snapshot.strip_prefix(&self.folder).unwrap_or(&snapshot)),
                file: snapshot.clone(),
                snapshot,
                name: None,
            },
        }
    }

    /// Where what is known of a file is remembered; `file` is its path in the repository's folder.
    fn record(&self, file: &Path) -> PathBuf {
        let verified = self.folder.join(".burn-zoo").join("verified");
        let mut path = verified.join(file).into_os_string();
        path.push(".json");
        path.into()
    }

    /// Where a file is received. Always the same place if a lock keeps others out, so that a later
    /// attempt continues there.
    pub fn partial(&self, etag: &str, locked: bool) -> Result<PathBuf, CacheError> {
        let folder = join(&self.folder, ".burn-zoo/partial");
        if locked {
            return Ok(folder.join(etag));
        }
        let file = temporary_in(&folder).map_err(CacheError::of("create", &folder))?;
        file.into_temp_path()
            .keep()
            .map_err(|error| CacheError::of("create", folder)(error.error))
    }

    /// Makes a blob of a file that has been checked.
    pub fn publish(&self, partial: &Path, etag: &str) -> Result<(), CacheError> {
        let blob = self.blob(etag);
        std::fs::rename(partial, &blob).map_err(CacheError::of("write", &blob))
    }

    /// Lets `file` of the snapshot `commit` be the blob `etag`, and returns its entry.
    pub fn link(&self, commit: &str, file: &str, etag: &str) -> Result<Entry, CacheError> {
        let snapshot = self.snapshot(commit, file);
        let folder = snapshot.parent().unwrap_or(&self.folder);
        create_folder(folder)?;
        let up = file.split('/').count() + 1;
        let blobs = std::iter::repeat_n("..", up).chain(["blobs"]);
        let target = blobs.collect::<PathBuf>().join(etag);
        // Made under another name and renamed, so that there is no moment without a file.
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY);
        let linked = if self.symlinks {
            builder.make_in(folder, |path| symlink(&target, path))
        } else {
            Err(ErrorKind::Unsupported.into())
        };
        linked
            .or_else(|_| {
                builder.make_in(folder, |path| {
                    std::fs::copy(self.blob(etag), path).map(|_| ())
                })
            })
            .and_then(|file| file.persist(&snapshot).map_err(|error| error.error))
            .map_err(CacheError::of("create", &snapshot))?;
        Ok(self.entry_at(snapshot))
    }

    /// Puts a file where nothing reads it, and returns that place.
    pub fn set_aside(&self, path: &Path) -> Result<PathBuf, CacheError> {
        let folder = join(&self.folder, ".burn-zoo/altered");
        create_folder(&folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut places = (0..).map(|number: u64| folder.join(format!("{name}.{number}")));
        let free = places.find(|place| place.symlink_metadata().is_err());
        let place = free.unwrap_or(folder);
        std::fs::rename(path, &place).map_err(CacheError::of("write", &place))?;
        Ok(place)
    }

    /// Every file of every snapshot, broken links among them: commit, path in the repository,
    /// entry.
    pub fn list(&self) -> Result<Vec<(String, String, Entry)>, CacheError> {
        let snapshots = self.folder.join("snapshots");
        let mut entries = Vec::new();
        for commit in names_in(&snapshots)?.into_iter().filter(|c| is_commit(c)) {
            for (file, path) in files_below(&snapshots.join(&commit))? {
                entries.push((commit.clone(), file, self.entry_at(path)));
            }
        }
        entries.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        Ok(entries)
    }
}

/// Writes a file of `folder` that is seen either whole or not at all.
pub(super) fn write_atomically(folder: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = temporary_in(folder)?;
    file.write_all(content)?;
    rename_into(file, path)
}

fn create_folder(path: &Path) -> Result<(), CacheError> {
    std::fs::create_dir_all(path).map_err(CacheError::of("create", path))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

/// Whether an error says that there is no such file, be it that a part of its path is a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// `folder` and the components of `path`, which has `/` between them and has been checked.
fn join(folder: &Path, path: &str) -> PathBuf {
    folder.join(path.split('/').collect::<PathBuf>())
}

/// The names in `folder` that are Unicode, in order; none if there is no such folder.
fn names_in(folder: &Path) -> Result<Vec<String>, CacheError> {
    let read = || {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    };
    match read() {
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        names => names.map_err(CacheError::of("read", folder)),
    }
}

/// Everything below `folder` that is no folder, with its path from there on. Links to folders are
/// not entered.
pub(super) fn files_below(folder: &Path) -> Result<Vec<(String, PathBuf)>, CacheError> {
    let mut files = Vec::new();
    for name in names_in(folder)? {
        let path = folder.join(&name);
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => files.extend(
                files_below(&path)?
                    .into_iter()
                    .map(|(below, path)| (format!("{name}/{below}"), path)),
            ),
            Ok(_) => files.push((name, path)),
            // Deleted in the meantime.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(CacheError::of("read", path)(error)),
        }
    }
    Ok(files)
}
