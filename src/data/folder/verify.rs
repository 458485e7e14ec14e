//! Looking at images before they are trained on.

use std::fs::{File, Metadata};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::known::{Key, Known};
use super::{Broken, Check, FolderOptions, Sample};
use crate::error::{Error, Result};
use crate::panics;
use crate::preprocess::{self, DecodeLimits, DecodeOptions, Image};

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
}

/// The images that cannot be read, by their index, in order. If they are errors, the work ends at
/// the first one.
pub(super) fn broken(
    samples: &[(&Path, &Sample)],
    source: &Path,
    options: &FolderOptions,
    progress: &mut dyn FnMut(CheckProgress),
) -> Vec<(usize, Error)> {
    let check = options.resolved_check();
    if check == Check::No {
        return Vec::new();
    }
    let total = samples.len();
    let first_only = options.broken == Broken::Fail;
    let known = Known::load(
        options.remember_in.as_deref(),
        source,
        &options.decode.limits,
    );
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
            let result = look_at(&path, check, &known, &options.decode)
                .map_err(|error| at_line(error, sample.line, source));
            if result.is_err() && first_only {
                stop.store(true, Ordering::Relaxed);
            }
            if results.send((index, result)).is_err() {
                return;
            }
        }
    };
    let (mut broken, keys) = thread::scope(|scope| {
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
        let (mut broken, mut keys) = (Vec::new(), Vec::new());
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
                }
                Err(error) => broken.push((index, error)),
            }
            so_far.checked += 1;
            progress(so_far);
        }
        (broken, keys)
    });
    // Where the work ended early, the others are what they were.
    known.save(keys, first_only && !broken.is_empty());
    broken.sort_by_key(|(index, _)| *index);
    broken
}

fn look_at(path: &Path, check: Check, known: &Known, decode: &DecodeOptions) -> Result<Sound> {
    let found = exists(path)?;
    let key = |check| known.key(path, &found, check);
    // Who has decoded an image has looked at it, too.
    let decoded = key(Check::Full);
    if known.has(decoded) {
        return Ok(Sound {
            key: decoded,
            remembered: true,
        });
    }
    let looked = key(Check::Look);
    if check == Check::Look {
        let remembered = known.has(looked);
        if remembered || looks_sound(path, &decode.limits) {
            return Ok(Sound {
                key: looked,
                remembered,
            });
        }
    }
    panics::of_decoder(path, || Image::open_with(path, decode))?;
    Ok(Sound {
        key: decoded,
        remembered: false,
    })
}

/// Whether an image can do without being decoded.
fn looks_sound(path: &Path, limits: &DecodeLimits) -> bool {
    let look = || {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        Some(preprocess::looks_sound(file, length, limits))
    };
    let looked = panics::quietly(|_| true, look);
    looked.ok().flatten().unwrap_or(false)
}

/// What the system says of a file. Opening anything but a file may wait for ever.
fn exists(path: &Path) -> Result<Metadata> {
    let wrong = |found: String| {
        Err(Error::Data {
            path: path.to_path_buf(),
            expected: "an image".to_owned(),
            found,
        })
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(metadata),
        Ok(metadata) if metadata.is_dir() => wrong("a folder".to_owned()),
        Ok(_) => wrong("no regular file".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            wrong(match std::fs::read_link(path) {
                Ok(target) => format!("a link to {}, which is not there", target.display()),
                Err(_) => "no such file".to_owned(),
            })
        }
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Where an image that is not there comes from.
fn at_line(error: Error, line: u32, source: &Path) -> Error {
    match error {
        Error::Data {
            path,
            expected,
            found,
        } if line > 0 => Error::Data {
            path,
            expected: format!("{expected}, as line {line} of {} says", source.display()),
            found,
        },
        other => other,
    }
}
