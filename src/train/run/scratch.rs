//! What a rank has in place of a run folder.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::lock::FolderLock;
use crate::error::{Error, Result};

/// A folder among the system's temporary files, which goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    _lock: FolderLock,
}

const PREFIX: &str = "burn-zoo-rank-";
/// Whoever makes a folder has locked it by then.
const UNLOCKED: Duration = Duration::from_secs(60);

impl Scratch {
    /// Makes one, and removes those of ranks that were killed.
    pub fn new() -> Result<Self> {
        let place = std::env::temp_dir();
        remove_left(&place);
        let folder = TempDir::with_prefix(PREFIX);
        let folder = folder.map_err(Error::io("create a folder in", &place))?;
        Ok(Self {
            _lock: FolderLock::take(folder.path())?,
            folder,
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// What stays costs room and nothing else: a folder of somebody else may not be removed.
fn remove_left(place: &Path) {
    let entries = place.read_dir().into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let made = entry.metadata().and_then(|data| data.modified());
        let is_old = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > UNLOCKED));
        if is_old && FolderLock::is_free(&entry.path()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn folders_of_killed_ranks_are_removed_and_those_of_others_are_not() {
        let place = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let path = place.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("features"), "some").unwrap();
            path
        };
        let [left, held, other] = ["burn-zoo-rank-a", "burn-zoo-rank-b", "run"].map(made);
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        for path in [&left, &held, &other] {
            let folder = std::fs::File::open(path).unwrap();
            folder.set_modified(hour_ago).unwrap();
        }
        let new = made("burn-zoo-rank-c");
        let _lock = FolderLock::take(&held).unwrap();
        remove_left(place.path());
        assert!(!left.exists());
        assert!(held.exists() && other.exists() && new.exists());
    }
}
