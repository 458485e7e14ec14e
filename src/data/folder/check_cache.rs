//! Which images were found sound before, so that they need not be looked at again.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::files::{hex, rename_into, temporary_in};
use crate::preprocess::DecodeOptions;

/// A file at a time: its path, size and times, and how it was looked at.
pub(super) type Key = u128;

/// What is remembered of an image that is sound.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    /// It was looked at without being decoded, and is alone in its file.
    Quick,
    /// It was decoded, and is alone in its file.
    Decoded,
    /// It was decoded, and others follow in its file.
    Several,
}

/// Another one makes nothing of what is kept.
const HEADER: &[u8] = concat!("burn-zoo looks 2, ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

const EXTENSION: &str = "looks";

/// Images of a data set that are remembered: 64 MiB.
const KEYS: usize = 1 << 22;

/// Data sets that are remembered, and the bytes of all together.
const FILES: usize = 64;
const BYTES: u64 = 256 << 20;

/// File systems tell times apart that lie so far from each other. A file younger than this may
/// change once more without showing it.
const GRAIN: Duration = Duration::from_secs(2);

/// The images of a data set that were found sound.
pub(super) struct CheckCache {
    /// Where it is kept; nothing is where there is no such place.
    file: Option<PathBuf>,
    /// What relative paths start from.
    current: PathBuf,
    keys: HashSet<Key>,
}

impl CheckCache {
    /// What is kept in `folder` of the data set at `source`. Nothing is an error here: what cannot
    /// be read, or is damaged, is not known.
    pub(super) fn load(folder: Option<&Path>, source: &Path, limits: &DecodeOptions) -> Self {
        let current = std::env::current_dir().unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(current.join(source).as_os_str().as_encoded_bytes());
        // Another limit accepts other images.
        hash.update(limits.max_pixels.to_le_bytes());
        hash.update(limits.max_bytes.to_le_bytes());
        let name = hex(&hash.finalize()[..16]);
        let file = folder.map(|folder| folder.join(name).with_extension(EXTENSION));
        let keys = file.as_deref().and_then(read).unwrap_or_default();
        Self {
            file,
            current,
            keys,
        }
    }

    /// What is remembered of an image that is sound; nothing if it is too young to be trusted.
    pub(super) fn key(&self, path: &Path, found: &Metadata, look: Look) -> Option<Key> {
        self.file.as_ref()?;
        let modified = found.modified().ok()?;
        let mut hash = Sha256::new();
        hash.update(self.current.join(path).as_os_str().as_encoded_bytes());
        hash.update([0, look as u8]);
        hash.update(found.len().to_le_bytes());
        let mut newest = modified;
        let mut time = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            hash.update(since.as_nanos().to_le_bytes());
            newest = newest.max(time);
            Some(())
        };
        time(modified)?;
        // The time of any change, which copying and unpacking cannot set back.
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let seconds = Duration::from_secs(found.ctime().try_into().ok()?);
            let changed = seconds + Duration::from_nanos(found.ctime_nsec().try_into().ok()?);
            time(SystemTime::UNIX_EPOCH.checked_add(changed)?)?;
        }
        // Also of no time to come.
        let age = SystemTime::now().duration_since(newest).ok()?;
        let first = *hash.finalize().first_chunk()?;
        (age > GRAIN).then_some(Key::from_le_bytes(first))
    }

    /// Whether an image was found sound before.
    pub(super) fn contains(&self, key: Option<Key>) -> bool {
        key.is_some_and(|key| self.keys.contains(&key))
    }

    /// Keeps these images, and with `add` those that were known before. Of several processes the
    /// last one is right.
    pub(super) fn save(&self, keys: Vec<Key>, add: bool) {
        let Some(file) = &self.file else {
            return;
        };
        let mut keys: HashSet<Key> = keys.into_iter().collect();
        if add {
            keys.extend(&self.keys);
        }
        if keys.is_empty() || keys == self.keys {
            return;
        }
        // What cannot be kept is looked at again, which costs time only.
        if write(file, keys).is_ok()
            && let Some(folder) = file.parent()
        {
            tidy(folder);
        }
    }
}

/// The keys in a file, if it is whole.
fn read(file: &Path) -> Option<HashSet<Key>> {
    let longest = HEADER.len() + 32 + KEYS * size_of::<Key>();
    if fs::metadata(file).ok()?.len() > longest as u64 {
        return None;
    }
    let bytes = fs::read(file).ok()?;
    let (sum, body) = bytes.strip_prefix(HEADER)?.split_first_chunk::<32>()?;
    let (keys, rest) = body.as_chunks();
    if !rest.is_empty() || Sha256::digest(body).as_slice() != sum {
        return None;
    }
    Some(keys.iter().map(|key| Key::from_le_bytes(*key)).collect())
}

fn write(file: &Path, keys: HashSet<Key>) -> Result<(), std::io::Error> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let keys = keys.into_iter().take(KEYS);
    let body: Vec<u8> = keys.flat_map(Key::to_le_bytes).collect();
    let mut temporary = temporary_in(folder)?;
    temporary.write_all(HEADER)?;
    temporary.write_all(&Sha256::digest(&body))?;
    temporary.write_all(&body)?;
    rename_into(temporary, file)
}

/// Takes away what was used least lately of too much.
fn tidy(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .filter(|entry| Path::new(&entry.file_name()).extension() == Some(EXTENSION.as_ref()))
        .filter_map(|entry| {
            let found = entry.metadata().ok()?;
            Some((found.modified().ok()?, found.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut bytes = 0;
    for (rank, (_, length, path)) in files.into_iter().rev().enumerate() {
        bytes += length;
        if rank >= FILES || bytes > BYTES {
            // Another process may have done it already.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const LIMITS: DecodeOptions = DecodeOptions {
        max_pixels: 100,
        max_bytes: 1000,
        orient: true,
    };

    fn cache(folder: &Path) -> CheckCache {
        CheckCache::load(Some(folder), Path::new("set"), &LIMITS)
    }

    fn only_file(folder: &Path) -> PathBuf {
        let mut files = fs::read_dir(folder).unwrap();
        let file = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none());
        file
    }

    #[test]
    fn what_is_kept_is_read_again_unless_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("not/there/yet");
        cache(&folder).save(vec![], false);
        assert!(!folder.exists(), "nothing to keep");
        cache(&folder).save(vec![1, 2], false);
        let again = cache(&folder);
        assert!(again.contains(Some(1)) && again.contains(Some(2)));
        assert!(!again.contains(Some(3)) && !again.contains(None));
        again.save(vec![3], true);
        assert_eq!(cache(&folder).keys, HashSet::from([1, 2, 3]));
        cache(&folder).save(vec![2], false);
        assert_eq!(cache(&folder).keys, HashSet::from([2]));
        // Another data set and other limits have files of their own.
        let other = CheckCache::load(Some(&folder), Path::new("other"), &LIMITS);
        assert!(other.keys.is_empty());
        let larger = DecodeOptions {
            max_pixels: 101,
            ..LIMITS
        };
        let other = CheckCache::load(Some(&folder), Path::new("set"), &larger);
        assert!(other.keys.is_empty());

        let file = only_file(&folder);
        let sound = fs::read(&file).unwrap();
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            fs::write(&file, &damaged).unwrap();
            assert!(cache(&folder).keys.is_empty(), "byte {at}");
            fs::write(&file, &sound[..at]).unwrap();
            assert!(cache(&folder).keys.is_empty(), "{at} bytes");
        }
        fs::write(&file, &sound).unwrap();
        assert!(cache(&folder).contains(Some(2)));
        // A file stands where the folder should: nothing is kept, and nothing fails.
        let lost = CheckCache::load(Some(&file), Path::new("set"), &LIMITS);
        lost.save(vec![1], false);
        assert!(
            CheckCache::load(None, Path::new("set"), &LIMITS)
                .file
                .is_none()
        );
    }

    #[test]
    fn the_oldest_of_too_many_go() {
        let dir = tempfile::tempdir().unwrap();
        for set in 0..FILES + 3 {
            let name = format!("{set}.{EXTENSION}");
            let file = File::create(dir.path().join(name)).unwrap();
            let age = Duration::from_secs(1000 - set as u64);
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        fs::write(dir.path().join("other"), "").unwrap();
        tidy(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), FILES + 1);
        assert!(!dir.path().join("2.looks").exists() && dir.path().join("3.looks").exists());
    }

    #[test]
    fn any_change_gives_another_key_and_a_young_file_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let path = dir.path().join("a.png");
        fs::write(&path, b"1").unwrap();
        let key = |look| cache.key(&path, &fs::metadata(&path).unwrap(), look);
        assert_eq!(key(Look::Quick), None);
        std::thread::sleep(GRAIN + Duration::from_millis(100));
        let [quick, full] = [Look::Quick, Look::Decoded].map(key);
        assert!(quick.is_some() && full.is_some() && quick != full);
        assert_eq!(key(Look::Quick), quick);
        let other = cache.key(
            Path::new("a.png"),
            &fs::metadata(&path).unwrap(),
            Look::Quick,
        );
        assert!(other.is_some() && other != quick);
        // Younger than it was, however old it says it is.
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(100))
            .unwrap();
        if cfg!(unix) {
            assert_eq!(key(Look::Quick), None);
        }
        file.set_modified(SystemTime::now() + Duration::from_secs(100))
            .unwrap();
        assert_eq!(key(Look::Quick), None);
    }
}
