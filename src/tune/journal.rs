//! The folder of a search: `search.toml`, what is searched and how, and `tune.jsonl`, what happened, a
//! line for each event.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::study::{Event, Settings, Study};
use crate::error::{Error, Result};
use crate::files::write_file;
use crate::train::{FolderLock, Recipe};

pub(super) const SETTINGS: &str = "search.toml";
pub(super) const EVENTS: &str = "tune.jsonl";

/// `search.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub burn_zoo: String,
    /// What a program keeps for itself, to go on with the search.
    #[serde(default)]
    pub arguments: toml::Table,
    /// What trials change fields of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
    #[serde(flatten)]
    pub settings: Settings,
}

impl Kept {
    fn write(&self, dir: &Path) -> Result<()> {
        let text = toml::to_string(self)
            .map_err(|error| Error::argument("search", "values that TOML can hold", error))?;
        write_file(&dir.join(SETTINGS), text.as_bytes())
    }
}

/// The folder of a search that is under way.
#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    events: File,
    _lock: FolderLock,
}

/// Whether a folder is a search's.
pub(super) fn is_search(dir: &Path) -> bool {
    dir.join(SETTINGS).exists()
}

/// Reads `search.toml`.
pub(super) fn read_settings(dir: &Path) -> Result<Kept> {
    let path = dir.join(SETTINGS);
    if !path.exists() {
        return Err(Error::Folder {
            path: dir.to_path_buf(),
            reason: format!("expected the folder of a search, found no {SETTINGS} in it"),
        });
    }
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let bad = |reason: String| Error::Folder {
        path: path.clone(),
        reason,
    };
    let kept: Kept = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
    kept.settings.validate()?;
    Ok(kept)
}

/// What happened, as far as it is recorded whole, and how many bytes that is.
fn read_events(dir: &Path, study: &mut Study) -> Result<u64> {
    let path = dir.join(EVENTS);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    // A line without its end was being written when a process was killed: its event did not happen.
    let whole = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    for (index, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let bad = |reason: String| Error::Folder {
            path: path.clone(),
            reason: format!("line {}: {reason}", index + 1),
        };
        let event: Event = serde_json::from_slice(line).map_err(|error| bad(error.to_string()))?;
        study
            .replay(event)
            .map_err(|error| bad(error.to_string()))?;
    }
    study.reopen();
    Ok(whole as u64)
}

/// What was recorded of a search, to look at.
pub(super) fn read(dir: &Path) -> Result<Study> {
    let mut study = Study::new(read_settings(dir)?.settings);
    read_events(dir, &mut study)?;
    Ok(study)
}

impl Journal {
    /// The folder of a new search.
    pub fn create(dir: &Path, kept: &Kept) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let lock = FolderLock::take(dir)?;
        let mut entries = dir.read_dir().map_err(Error::io("read", dir))?;
        if entries.next().is_some() {
            let hint = match is_search(dir) {
                true => "it has a search already: resume that one, or choose another folder",
                false => "choose another folder",
            };
            return Err(Error::Exists {
                path: dir.to_path_buf(),
                hint: hint.to_owned(),
            });
        }
        kept.write(dir)?;
        Self::open_events(dir, lock, 0)
    }

    /// The folder of a search that goes on.
    pub fn resume(dir: &Path) -> Result<(Self, Kept, Study)> {
        let kept = read_settings(dir)?;
        let mut study = Study::new(kept.settings.clone());
        let lock = FolderLock::take(dir)?;
        let whole = read_events(dir, &mut study)?;
        Ok((Self::open_events(dir, lock, whole)?, kept, study))
    }

    /// Keeps this from now on.
    pub fn keep(&self, kept: &Kept) -> Result<()> {
        kept.write(&self.dir)
    }

    fn open_events(dir: &Path, lock: FolderLock, whole: u64) -> Result<Self> {
        let path = dir.join(EVENTS);
        let open = || -> std::io::Result<File> {
            let events = File::options().create(true).append(true).open(&path)?;
            events.set_len(whole)?;
            Ok(events)
        };
        Ok(Self {
            dir: dir.to_path_buf(),
            events: open().map_err(Error::io("write", &path))?,
            _lock: lock,
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Records an event: with one call, so that its line is whole or has no end.
    pub fn record(&mut self, event: &Event) -> Result<()> {
        let path = self.dir.join(EVENTS);
        let mut line = serde_json::to_string(event)
            .map_err(|error| Error::argument(EVENTS, "values that JSON can hold", error))?;
        line.push('\n');
        let written = self.events.write_all(line.as_bytes());
        // Events are rare, and what is recorded survives a power cut.
        let written = written.and_then(|()| self.events.sync_data());
        written.map_err(Error::io("write", &path))
    }
}
