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

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{At, HubError};
use super::verify::{Checksum, is_hex};

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
    root: PathBuf,
    folder: PathBuf,
    name: String,
    symlinks: bool,
}

/// A file of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its path in the snapshot.
    pub snapshot: PathBuf,
    /// Where its bytes are: the blob, or the snapshot itself where that is no link.
    pub file: PathBuf,
    /// `file` from the repository's folder on.
    pub key: PathBuf,
    /// What the name of the blob says about the bytes.
    pub name: Option<Checksum>,
}

/// What is cached of a repository: commit, path in the repository, entry.
pub(super) type Listing = Vec<(String, String, Entry)>;

/// A lock that ends with the value; `None` inside where the file system has no locks.
#[derive(Debug)]
pub(super) struct Lock {
    held: Option<File>,
}

impl Lock {
    /// Whether no other process can be at the same file.
    pub fn is_exclusive(&self) -> bool {
        self.held.is_some()
    }
}

impl Cache {
    /// The part of a repository, `owner/name`, whose name has been checked.
    pub fn repo(&self, repository: &str) -> Repo {
        let name = format!("models--{}", repository.replace('/', "--"));
        Repo {
            folder: self.root.join(&name),
            root: self.root.clone(),
            name,
            symlinks: self.symlinks,
        }
    }

    /// The repositories that the cache has a folder of, in the order of their names.
    pub fn repositories(&self) -> Result<Vec<String>, Box<HubError>> {
        let mut found = Vec::new();
        for name in names(&self.root)? {
            if let Some(rest) = name.strip_prefix("models--") {
                let repository = rest.replacen("--", "/", 1);
                // What cannot be asked for cannot be answered for either.
                if super::check_repository(&repository, 1).is_ok()
                    && self.repo(&repository).folder.is_dir()
                {
                    found.push(repository);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Marks the cache as one, for programs that make backups.
    fn tag(&self) {
        let path = self.root.join("CACHEDIR.TAG");
        if let Ok(mut file) = OpenOptions::new().write(true).create_new(true).open(path) {
            let _ = file.write_all(b"Signature: 8a477f597d28d172789f06886806bc55\n");
        }
    }

    /// Makes the folders that fetching a file of `repo` needs.
    pub fn prepare(&self, repo: &Repo) -> Result<(), Box<HubError>> {
        for folder in [
            repo.folder.join("blobs"),
            repo.folder.join("snapshots"),
            repo.folder.join(".burn-zoo").join("partial"),
            repo.locks(),
        ] {
            create_folder(&folder)?;
        }
        self.tag();
        Ok(())
    }
}

impl Repo {
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    pub fn snapshot(&self, commit: &str, file: &str) -> PathBuf {
        join(self.folder.join("snapshots").join(commit), file)
    }

    pub fn record(&self, key: &Path) -> PathBuf {
        let mut path = self
            .folder
            .join(".burn-zoo")
            .join("verified")
            .join(key)
            .into_os_string();
        path.push(".json");
        path.into()
    }

    fn locks(&self) -> PathBuf {
        self.root.join(".locks").join(&self.name)
    }

    fn reference(&self, revision: &str) -> PathBuf {
        join(self.folder.join("refs"), revision)
    }

    fn absence(&self, commit: &str, file: &str) -> PathBuf {
        join(self.folder.join(".no_exist").join(commit), file)
    }

    /// The commit that a branch or tag meant when it was last asked for.
    pub fn commit(&self, revision: &str) -> Result<Option<String>, Box<HubError>> {
        let path = self.reference(revision);
        match std::fs::read(&path) {
            // Anything but a commit would lead out of the snapshots, or nowhere.
            Ok(text) => Ok(String::from_utf8(text)
                .ok()
                .map(|text| text.trim().to_owned())
                .filter(|commit| is_hex(commit, 40))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(HubError::io("read", path)(error)),
        }
    }

    /// Whether the hub said that `file` does not exist at `commit`.
    pub fn is_absent(&self, commit: &str, file: &str) -> bool {
        self.absence(commit, file).is_file()
    }

    /// Remembers that the hub has no `file` at `commit`. Nothing depends on it, so that failing is
    /// no error.
    pub fn mark_absent(&self, revision: &str, commit: &str, file: &str) {
        let path = self.absence(commit, file);
        if let Some(folder) = path.parent()
            && std::fs::create_dir_all(folder).is_ok()
        {
            let _ = OpenOptions::new().write(true).create_new(true).open(path);
            let _ = self.refer(revision, commit);
        }
    }

    /// The cached file of a snapshot, or `None` if there is none. That it is there says nothing
    /// about what it holds.
    pub fn entry(&self, commit: &str, file: &str) -> Result<Option<Entry>, Box<HubError>> {
        let snapshot = self.snapshot(commit, file);
        match std::fs::metadata(&snapshot) {
            Ok(_) => Ok(Some(self.resolve(snapshot))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(HubError::io("read", snapshot)(error)),
        }
    }

    /// The entry of a blob that no snapshot may point to yet.
    pub fn blob_entry(&self, etag: &str, snapshot: PathBuf) -> Entry {
        Entry {
            snapshot,
            file: self.blob(etag),
            key: Path::new("blobs").join(etag),
            name: Checksum::from_etag(etag),
        }
    }

    /// Finds the bytes of `snapshot`. A link is followed one step, to the blob of this repository
    /// that it names: the blob may itself be a link into a store that repositories share.
    fn resolve(&self, snapshot: PathBuf) -> Entry {
        let blob = std::fs::read_link(&snapshot).ok().and_then(|target| {
            let folder = snapshot.parent()?;
            let path = without_dots(&folder.join(target));
            let etag = path.file_name()?.to_str()?.to_owned();
            (path.parent()? == without_dots(&self.folder.join("blobs"))).then_some(etag)
        });
        match blob {
            Some(etag) => self.blob_entry(&etag, snapshot),
            None => Entry {
                key: snapshot
                    .strip_prefix(&self.folder)
                    .unwrap_or(&snapshot)
                    .to_path_buf(),
                file: snapshot.clone(),
                snapshot,
                name: None,
            },
        }
    }

    /// Waits until no other process fetches the blob `etag`. `waiting` is called once if there is
    /// one. The lock is the one that Python takes.
    pub fn lock(
        &self,
        etag: &str,
        at: &At,
        limit: Duration,
        waiting: impl FnOnce(),
    ) -> Result<Lock, Box<HubError>> {
        let path = self.locks().join(format!("{etag}.lock"));
        let start = Instant::now();
        let mut waiting = Some(waiting);
        let mut pause = Duration::from_millis(10);
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(HubError::io("create", &path))?;
            match file.try_lock() {
                // Whoever deletes lock files leaves us with one that nobody else will find.
                Ok(()) if is_still(&file, &path) => return Ok(Lock { held: Some(file) }),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                // Without locks two processes may fetch the same file; each writes its own copy
                // and renames it, so that this is a waste and nothing worse.
                Err(TryLockError::Error(_)) => return Ok(Lock { held: None }),
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            if start.elapsed() >= limit {
                return Err(Box::new(HubError::Locked {
                    at: at.clone(),
                    lock: path,
                    waited: limit,
                }));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Where a file is received: always the same place if `lock` keeps others out, so that a later
    /// attempt continues there.
    pub fn partial(&self, etag: &str, lock: &Lock) -> PathBuf {
        let folder = self.folder.join(".burn-zoo").join("partial");
        if lock.is_exclusive() {
            folder.join(etag)
        } else {
            folder.join(format!("{etag}.{}", unique()))
        }
    }

    /// Makes a blob of a file that has been checked.
    pub fn publish(&self, partial: &Path, etag: &str) -> Result<(), Box<HubError>> {
        let blob = self.blob(etag);
        std::fs::rename(partial, &blob).map_err(HubError::io("write", &blob))
    }

    /// Lets `file` of the snapshot `commit` be the blob `etag`, and returns its entry.
    pub fn point(&self, commit: &str, file: &str, etag: &str) -> Result<Entry, Box<HubError>> {
        let snapshot = self.snapshot(commit, file);
        let folder = snapshot.parent().unwrap_or(&self.folder);
        create_folder(folder)?;
        let up = file.split('/').count() + 1;
        let target: PathBuf = std::iter::repeat_n("..", up)
            .chain(["blobs", etag])
            .collect();
        // Made under another name and renamed, so that there is no moment without a file.
        let temporary = folder.join(format!(".{}", unique()));
        let made = if self.symlinks {
            symlink(&target, &temporary)
        } else {
            Err(ErrorKind::Unsupported.into())
        };
        let made = made.or_else(|_| {
            let _ = std::fs::remove_file(&temporary);
            std::fs::copy(self.blob(etag), &temporary).map(|_| ())
        });
        made.and_then(|()| std::fs::rename(&temporary, &snapshot))
            .map_err(|error| {
                let _ = std::fs::remove_file(&temporary);
                HubError::io("create", &snapshot)(error)
            })?;
        Ok(self.resolve(snapshot))
    }

    /// Remembers the commit that a branch or tag means.
    pub fn refer(&self, revision: &str, commit: &str) -> Result<(), Box<HubError>> {
        if revision == commit {
            return Ok(());
        }
        let path = self.reference(revision);
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        write_atomically(&path, commit.as_bytes()).map_err(HubError::io("write", &path))
    }

    /// Puts a file where nothing reads it, and returns that place.
    pub fn set_aside(&self, path: &Path) -> Result<PathBuf, Box<HubError>> {
        let folder = self.folder.join(".burn-zoo").join("altered");
        create_folder(&folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut number = 0_u32;
        loop {
            let place = folder.join(format!("{name}.{number}"));
            if place.symlink_metadata().is_err() || number == u32::MAX {
                std::fs::rename(path, &place).map_err(HubError::io("write", &place))?;
                return Ok(place);
            }
            number += 1;
        }
    }

    /// The branches and tags of each commit.
    pub fn references(&self) -> Result<BTreeMap<String, Vec<String>>, Box<HubError>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (revision, path) in files(&self.folder.join("refs"))? {
            if let Ok(text) = std::fs::read_to_string(path) {
                found
                    .entry(text.trim().to_owned())
                    .or_default()
                    .push(revision);
            }
        }
        Ok(found)
    }

    /// Every file of every snapshot, broken links among them.
    pub fn list(&self) -> Result<Listing, Box<HubError>> {
        let snapshots = self.folder.join("snapshots");
        let mut found = Vec::new();
        for commit in names(&snapshots)? {
            if is_hex(&commit, 40) {
                for (file, path) in files(&snapshots.join(&commit))? {
                    found.push((commit.clone(), file, self.resolve(path)));
                }
            }
        }
        found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        Ok(found)
    }

    /// Deletes all of the repository and returns the number of files and bytes. Links are removed
    /// and not followed.
    pub fn remove(&self) -> Result<(usize, u64), Box<HubError>> {
        let mut count = 0;
        let mut bytes = 0;
        for (_, path) in files(&self.folder)? {
            let metadata = path
                .symlink_metadata()
                .map_err(HubError::io("read", &path))?;
            if metadata.is_file() {
                count += 1;
                bytes += metadata.len();
            }
        }
        std::fs::remove_dir_all(&self.folder).map_err(HubError::io("delete", &self.folder))?;
        Ok((count, bytes))
    }
}

/// Writes a file that is seen either whole or not at all.
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = folder.join(format!(".{}", unique()));
    std::fs::write(&temporary, content)
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })
}

/// A name that no other process, thread or call has.
fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let time = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos());
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    format!("{}-{call}-{time}.tmp", std::process::id())
}

fn create_folder(path: &Path) -> Result<(), Box<HubError>> {
    std::fs::create_dir_all(path).map_err(HubError::io("create", path))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Whether `path` still names the open `file`.
#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Whether `path` still names the open `file`: an open file cannot be deleted on Windows.
#[cfg(not(unix))]
fn is_still(_: &File, _: &Path) -> bool {
    true
}

/// Whether an error says that there is no such file, be it that a part of its path is a file.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// `folder` and the components of `path`, which has `/` between them and has been checked.
fn join(folder: PathBuf, path: &str) -> PathBuf {
    path.split('/')
        .fold(folder, |folder, component| folder.join(component))
}

/// `path` without `.` and `..`, as it is written: no link is followed.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    clean.push("..");
                }
            }
            other => clean.push(other),
        }
    }
    clean
}

/// The names in `folder` that are Unicode; none if there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, Box<HubError>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(HubError::io("read", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(HubError::io("read", folder))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Everything below `folder` that is no folder, with its path from there on. Links to folders are
/// not entered.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, Box<HubError>> {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), folder.to_path_buf())];
    while let Some((prefix, folder)) = folders.pop() {
        for name in names(&folder)? {
            let path = folder.join(&name);
            let below = format!("{prefix}{name}");
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push((format!("{below}/"), path)),
                Ok(_) => found.push((below, path)),
                // Deleted in the meantime.
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(HubError::io("read", path)(error)),
            }
        }
    }
    Ok(found)
}
