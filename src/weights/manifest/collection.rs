//! The entries that there are: the crate's own, and the user's.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::entry::{Entry, Place};
use super::parse;
use super::wildcard::wildcard;
use crate::error::{Error, Result};
use crate::zoo;

/// The environment variable that names a user's manifest: a file, or a folder of `.toml` files.
pub const USER_VARIABLE: &str = "BURN_ZOO_MANIFEST";

/// The user's manifest in the current folder, read if [`USER_VARIABLE`] is not set.
pub const USER_FILE: &str = "weights-manifest.toml";

/// Larger manifest files are surely something else.
const MAX_BYTES: u64 = 1 << 20;

/// Entries, looked up by name.
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    entries: Vec<Entry>,
}

impl Manifest {
    /// The entries that come with the crate.
    ///
    /// # Errors
    /// None, unless the crate was built with a malformed manifest; see [`add_str`](Self::add_str).
    pub fn bundled() -> Result<Self> {
        let mut manifest = Self::default();
        for (path, text) in zoo::manifests() {
            manifest.add_str(text, path)?;
        }
        Ok(manifest)
    }

    /// The entries that come with the crate, and the user's: from the file or the folder that
    /// [`USER_VARIABLE`] names, else from [`USER_FILE`] in the current folder, if it exists.
    ///
    /// # Errors
    /// What [`add_file`](Self::add_file) finds in the user's files. A variable that names nothing,
    /// or a folder without `.toml` files, is an error too.
    pub fn with_user_files() -> Result<Self> {
        let mut manifest = Self::bundled()?;
        for path in user_files(std::env::var_os(USER_VARIABLE))? {
            manifest.add_file(path)?;
        }
        Ok(manifest)
    }

    /// Adds the entries of a TOML file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, and whatever [`add_str`](Self::add_str) finds.
    pub fn add_file(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bad = |expected: &str, found: &str| Error::Data {
            path: path.to_path_buf(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        };
        // Asked before it is opened: a pipe would wait for ever.
        if !path.metadata().map_err(Error::io("read", path))?.is_file() {
            return Err(bad("a manifest file", "something else than a file"));
        }
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", path))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(bad("a manifest file of at most 1 MiB", "a larger file"));
        }
        let text = String::from_utf8(bytes).map_err(|_| bad("text in UTF-8", "other bytes"))?;
        self.add_str(&text, path)
    }

    /// Adds the entries of a TOML text. Errors name it by `path`, and local files are relative to
    /// the folder of `path`. After an error no entry has been added.
    ///
    /// # Errors
    /// [`Error::Folder`] with the line, the column and the key, for what is no TOML, unknown and
    /// missing keys, malformed values, an unknown architecture, a name that exists already, and a
    /// second default of an architecture.
    pub fn add_str(&mut self, text: &str, path: impl AsRef<Path>) -> Result<()> {
        let before = self.entries.len();
        for entry in parse::entries(text, path.as_ref())? {
            if let Err(error) = self.check_new(&entry) {
                self.entries.truncate(before);
                return Err(error);
            }
            self.entries.push(entry);
        }
        Ok(())
    }

    fn check_new(&self, new: &Entry) -> Result<()> {
        let clash = |expected: &str, other: &Entry| {
            let Place { path, line } = new.place.clone();
            let (name, old) = (&new.name, &other.name);
            let found = format!("{old} in {}", other.place);
            let reason = format!("line {line}: {name}: expected {expected}, found {found}");
            Err(Error::Folder { path, reason })
        };
        for old in &self.entries {
            if old.name == new.name {
                return clash("a name of its own", old);
            }
            if old.default && new.default && old.architecture() == new.architecture() {
                return clash("to be the only default", old);
            }
        }
        Ok(())
    }

    /// All entries, in the order in which they were added.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The entries of an architecture.
    pub fn tags(&self, architecture: &str) -> impl Iterator<Item = &Entry> {
        self.entries()
            .filter(move |entry| entry.architecture() == architecture)
    }

    /// The entry `architecture.tag`, or the default one of an architecture.
    ///
    /// # Errors
    /// What the zoo says of an architecture that it does not have; [`Error::InvalidArgument`] with
    /// the architecture's tags for an unknown tag, or if there is no default.
    pub fn get(&self, name: &str) -> Result<&Entry> {
        let (architecture, tag) = match name.split_once('.') {
            Some((architecture, tag)) => (architecture, Some(tag)),
            None => (name, None),
        };
        zoo::find(architecture)?;
        let is_named = |entry: &&Entry| tag.map_or(entry.default, |tag| entry.tag() == tag);
        self.tags(architecture).find(is_named).ok_or_else(|| {
            let tags: Vec<String> = self.tags(architecture).map(label).collect();
            let (expected, found) = match (tags.is_empty(), tag) {
                (true, _) => ("an entry in a manifest".to_owned(), "none".to_owned()),
                (_, Some(tag)) => (one_of(&tags), format!("`{tag}`")),
                (_, None) => (one_of(&tags), "no tag, and no default".to_owned()),
            };
            Error::argument(format!("weights of {architecture}"), expected, found)
        })
    }

    /// The entries whose name, or whose architecture, matches a pattern in which `*` stands for
    /// anything and `?` for one character.
    pub fn find(&self, pattern: &str) -> Vec<&Entry> {
        self.entries()
            .filter(|e| wildcard(pattern, &e.name) || wildcard(pattern, e.architecture()))
            .collect()
    }
}

/// A tag, marked if it is the default.
fn label(entry: &Entry) -> String {
    if entry.default {
        format!("{} (default)", entry.tag())
    } else {
        entry.tag().to_owned()
    }
}

fn one_of(tags: &[String]) -> String {
    format!("one of the tags {}", tags.join(", "))
}

/// The manifest files that the user has.
fn user_files(variable: Option<OsString>) -> Result<Vec<PathBuf>> {
    let Some(path) = variable.filter(|v| !v.is_empty()).map(PathBuf::from) else {
        let path = PathBuf::from(USER_FILE);
        let exists = path.try_exists().map_err(Error::io("read", &path))?;
        return Ok(Vec::from_iter(exists.then_some(path)));
    };
    if !path.is_dir() {
        return Ok(vec![path]);
    }
    let mut files = Vec::new();
    for item in path.read_dir().map_err(Error::io("read", &path))? {
        let file = item.map_err(Error::io("read", &path))?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::Folder {
            path,
            reason: format!("{USER_VARIABLE} names this folder, but it has no .toml file"),
        });
    }
    files.sort();
    Ok(files)
}
