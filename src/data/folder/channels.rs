//! Telling grey images from coloured ones.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use image::{ColorType, ImageDecoder as _, ImageReader};

use super::sample::Sample;
use crate::panics;
use crate::preprocess::{DecodeOptions, Image};

/// 1 if every image is grey, else 3.
pub(super) fn channels_of_all(base: &Path, samples: &[Sample], decode: &DecodeOptions) -> usize {
    let next = AtomicUsize::new(0);
    let colour = AtomicBool::new(samples.is_empty());
    let work = || {
        while !colour.load(Ordering::Relaxed) {
            let Some(sample) = samples.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            if !is_grey(&base.join(&sample.path), decode) {
                colour.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        for _ in 1..threads.min(samples.len()) {
            let thread = thread::Builder::new().name("image-channels".to_owned());
            // Where no thread can be had, this one does it.
            drop(thread.spawn_scoped(scope, work));
        }
        work();
    });
    if colour.into_inner() { 3 } else { 1 }
}

/// Whether an image becomes one channel when it is decoded.
fn is_grey(path: &Path, decode: &DecodeOptions) -> bool {
    // Opening anything but a file may wait for ever.
    if !path.is_file() {
        return false;
    }
    // A decoder may have faults of its own, and the image is read again when it is used.
    let look = || match header(path) {
        Some(colour) => matches!(
            colour,
            ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16
        ),
        // Some files are decoded whose header alone is not understood.
        None => Image::open_with(path, decode).is_ok_and(|image| image.channels() == 1),
    };
    panics::quietly(|_| true, look).unwrap_or(false)
}

fn header(path: &Path) -> Option<ColorType> {
    let file = File::open(path).ok()?;
    let reader = ImageReader::new(BufReader::new(file));
    let decoder = reader.with_guessed_format().ok()?.into_decoder().ok()?;
    Some(decoder.color_type())
}
