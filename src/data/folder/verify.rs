//! Looking at images before they are trained on.

use std::fs::File;
use std::io::{BufReader, Cursor, Read as _, Seek as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use image::{ImageError, ImageReader};

use super::{Check, Sample};
use crate::error::{Error, Result};
use crate::preprocess::{DecodeOptions, Image};

/// How far the check of a data set has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckProgress {
    /// Images that were looked at.
    pub checked: usize,
    /// All images.
    pub total: usize,
}

/// The images that cannot be read, by their index, in order. With `first_only` the work ends at the
/// first one.
pub(super) fn broken(
    samples: &[(&Path, &Sample)],
    source: &Path,
    check: Check,
    decode: &DecodeOptions,
    first_only: bool,
    progress: &mut dyn FnMut(CheckProgress),
) -> Vec<(usize, Error)> {
    if check == Check::No {
        return Vec::new();
    }
    let total = samples.len();
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    // Indices are handed out in order and an index once taken is looked at, so that the first
    // broken image is found however many threads there are.
    let work = |results: mpsc::Sender<(usize, Result<()>)>| {
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((base, sample)) = samples.get(index) else {
                return;
            };
            let result = look_at(base, sample, source, check, decode);
            if result.is_err() && first_only {
                stop.store(true, Ordering::Relaxed);
            }
            if results.send((index, result)).is_err() {
                return;
            }
        }
    };
    let mut broken = thread::scope(|scope| {
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
        let mut broken = Vec::new();
        for (checked, (index, result)) in results.into_iter().enumerate() {
            broken.extend(result.err().map(|error| (index, error)));
            let checked = checked + 1;
            progress(CheckProgress { checked, total });
        }
        broken
    });
    broken.sort_by_key(|(index, _)| *index);
    broken
}

fn look_at(
    base: &Path,
    sample: &Sample,
    source: &Path,
    check: Check,
    decode: &DecodeOptions,
) -> Result<()> {
    let path = base.join(&sample.path);
    exists(&path).map_err(|error| at_line(error, sample.line, source))?;
    // A decoder's panic is a fault of its own, and the image at hand is what brings it about.
    let looked = catch_unwind(AssertUnwindSafe(|| match check {
        Check::Full => Image::open_with(&path, decode).map(drop),
        Check::Header | Check::No => header(&path),
    }));
    looked.unwrap_or_else(|_| {
        Err(Error::Image {
            path,
            reason: "the decoder failed".to_owned(),
        })
    })
}

/// Opening anything but a file may wait for ever.
fn exists(path: &Path) -> Result<()> {
    let wrong = |found: String| {
        Err(Error::Data {
            path: path.to_path_buf(),
            expected: "an image".to_owned(),
            found,
        })
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
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

/// The bytes that the header of almost every image fits into, metadata included. Some decoders read
/// a whole file to tell its size.
const HEAD: u64 = 128 * 1024;

/// Whether a file is an image by its beginning.
fn header(path: &Path) -> Result<()> {
    let read = || Error::io("read", path);
    let mut file = File::open(path).map_err(read())?;
    let mut head = Vec::new();
    file.by_ref()
        .take(HEAD)
        .read_to_end(&mut head)
        .map_err(read())?;
    let whole = (head.len() as u64) < HEAD;
    let error = match ImageReader::new(Cursor::new(head)).with_guessed_format() {
        Ok(reader) => match reader.into_dimensions() {
            Ok(_) => return Ok(()),
            Err(error) => error,
        },
        Err(error) => ImageError::IoError(error),
    };
    let bad = |error: ImageError| Error::Image {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    if whole {
        return Err(bad(error));
    }
    // TIFF may keep its header at the end, and metadata may be large.
    file.rewind().map_err(read())?;
    let reader = ImageReader::new(BufReader::new(file));
    let reader = reader.with_guessed_format().map_err(read())?;
    reader.into_dimensions().map(drop).map_err(bad)
}
