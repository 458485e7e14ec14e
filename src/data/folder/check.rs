//! The check of images before they are used.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::check_cache::{CheckCache, Key, Look};
use super::options::{Broken, Check, FolderOptions};
use super::sample::Sample;
use crate::error::{Error, Result};
use crate::panics;
use crate::preprocess::{self, DecodeOptions, Image};

/// How far the check of a data set has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckProgress {
    /// Images that were looked at.
    pub checked: usize,
    /// All images.
    pub total: usize,
    /// Images among those looked at that had been found sound before and have not changed since,
    /// so that their files were not opened.
    pub remembered: usize,
}

/// What came of an image that is sound.
struct Sound {
    /// What is to be remembered of it.
    key: Option<Key>,
    /// Whether it was known before.
    remembered: bool,
    /// Whether its file has other images behind it, which are not taken.
    several: bool,
}

/// What was found, by the indices of the images, in order.
#[derive(Default)]
pub(super) struct Checked {
    /// Those that cannot be read.
    pub broken: Vec<(usize, Error)>,
    /// Those whose files have others behind them.
    pub several: Vec<usize>,
}

/// Looks at all images. If those that cannot be read are errors, the work ends at the first one.
pub(super) fn check_all(
    samples: &[(&Path, &Sample)],
    source: &Path,
    options: &FolderOptions,
    progress: &mut dyn FnMut(CheckProgress),
) -> Checked {
    let check = options.check.unwrap_or(Check::Quick);
    if check == Check::No {
        return Checked::default();
    }
    let total = samples.len();
    let first_only = options.broken == Broken::Fail;
    let folder = options.remember_in.as_deref();
    let cache = CheckCache::load(folder, source, &options.decode);
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    // Indices are handed out in order and an index once taken is looked at, so that the first
    // broken image is found however many threads there are.
    let work = |results: mpsc::Sender<(usize, Result<Sound>)>| {
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((base, sample)) = samples.get(index) else {
                return;
            };
            let path = base.join(&sample.path);
            let result = check_image(&path, check, &cache, &options.decode)
                .map_err(|error| at_line(error, sample.line, source));
            if result.is_err() && first_only {
                stop.store(true, Ordering::Relaxed);
            }
            if results.send((index, result)).is_err() {
                return;
            }
        }
    };
    let (mut checked, keys) = thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let work = &work;
        let started = (0..threads.min(total)).filter(|_| {
            let sender = sender.clone();
            let thread = thread::Builder::new().name("image-check".to_owned());
            thread.spawn_scoped(scope, move || work(sender)).is_ok()
        });
        match started.count() {
            // Where no thread can be had, this one does it.
            0 => work(sender),
            _ => drop(sender),
        }
        let (mut checked, mut keys) = (Checked::default(), Vec::new());
        let mut so_far = CheckProgress {
            checked: 0,
            total,
            remembered: 0,
        };
        for (index, result) in results {
            match result {
                Ok(sound) => {
                    so_far.remembered += usize::from(sound.remembered);
                    keys.extend(sound.key);
                    checked.several.extend(sound.several.then_some(index));
                }
                Err(error) => checked.broken.push((index, error)),
            }
            so_far.checked += 1;
            progress(so_far);
        }
        (checked, keys)
    });
    // Where the work ended early, the others are what they were.
    cache.save(keys, first_only && !checked.broken.is_empty());
    checked.broken.sort_by_key(|(index, _)| *index);
    checked.several.sort_unstable();
    checked
}

fn check_image(
    path: &Path,
    check: Check,
    cache: &CheckCache,
    decode: &DecodeOptions,
) -> Result<Sound> {
    let found = metadata_of_file(path)?;
    let key = |look| cache.key(path, &found, look);
    // Decoding is the stricter check.
    let [decoded, decoded_first] = [Look::Decoded, Look::Several].map(key);
    for (key, several) in [(decoded, false), (decoded_first, true)] {
        if cache.contains(key) {
            return Ok(Sound {
                key,
                remembered: true,
                several,
            });
        }
    }
    let quick = key(Look::Quick);
    if check == Check::Quick {
        let remembered = cache.contains(quick);
        if remembered || passes_quick_check(path, decode) {
            return Ok(Sound {
                key: quick,
                remembered,
                several: false,
            });
        }
    }
    panics::of_decoder(path, || Image::open_with(path, decode))?;
    let several = Image::has_more_frames(path);
    Ok(Sound {
        key: if several { decoded_first } else { decoded },
        remembered: false,
        several,
    })
}

/// Whether an image can do without being decoded.
fn passes_quick_check(path: &Path, limits: &DecodeOptions) -> bool {
    let look = || {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        Some(preprocess::looks_sound(file, length, limits))
    };
    let sound = panics::quietly(|_| true, look);
    sound.ok().flatten().unwrap_or(false)
}

/// What the system says of a file. Opening anything but a file may wait for ever.
fn metadata_of_file(path: &Path) -> Result<Metadata> {
    let found = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => return Ok(metadata),
        Ok(metadata) if metadata.is_dir() => "a folder".to_owned(),
        Ok(_) => "no regular file".to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => match std::fs::read_link(path) {
            Ok(target) => format!("a link to {}, which is not there", target.display()),
            Err(_) => "no such file".to_owned(),
        },
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    Err(Error::data(path, "an image", found))
}

/// Where an image that is not there comes from.
fn at_line(mut error: Error, line: u32, source: &Path) -> Error {
    if line > 0
        && let Error::Data { expected, .. } = &mut error
    {
        *expected += &format!(", as line {line} of {} says", source.display());
    }
    error
}
