//! What the fuzz targets share: a bound on memory, a folder for files, and what is asked of errors.

mod memory;
mod torch;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use burn_zoo::prelude::*;
use burn_zoo::train::FitOptions;

pub use memory::{LIMIT, Limited};
pub use torch::{legacy_checkpoint, zip_of};

/// A folder of this process's own, below `TMPDIR`; a memory file system keeps the targets fast.
pub fn scratch() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let name = format!("burn-zoo-fuzz-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        folder
    })
}

/// Writes a file into the [`scratch`] folder.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = scratch().join(name);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).expect("a folder for temporary files");
    }
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

/// What every error has to be: a message that can be written, and says something.
pub fn refused(error: &burn_zoo::Error) {
    let text = error.to_string();
    assert!(!text.trim().is_empty(), "an error without a message");
}

/// The value, or `None` once the error has been looked at.
pub fn accepted<T>(result: burn_zoo::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            refused(&error);
            None
        }
    }
}

/// Takes bytes off the front of an input; what is not there is zero.
pub fn take<const N: usize>(data: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    let count = data.len().min(N);
    let (head, rest) = data.split_at(count);
    taken[..count].copy_from_slice(head);
    *data = rest;
    taken
}

/// A small model of the zoo with random weights, for ten classes of grey images.
pub fn model() -> Classifier {
    let spec = Zoo::test_resnet().weights(Weights::Random(7)).adapt(1, 10);
    spec.build(&Device::default().autodiff()).expect("a model")
}

/// Twelve grey images of 8 x 8 pixels, of ten classes.
pub fn images() -> burn_zoo::data::ImageSet {
    let pixels = (0..12 * 64).map(|i| (i * 7 % 251) as u8).collect();
    let labels = (0..12).map(|i| i % 10).collect();
    let classes = (0..10).map(|i| format!("class {i}")).collect();
    burn_zoo::data::ImageSet::new(pixels, labels, (8, 8), 1, classes).expect("images")
}

/// A finished run of two epochs with averaged weights and a checkpoint.
pub fn run(dir: &Path) {
    let mut recipe = Recipe::gradual().epochs(2).batch_size(4);
    recipe.ema = Some(burn_zoo::train::EmaConfig::new(0.9));
    let options = FitOptions {
        overwrite: true,
        ..FitOptions::default()
    };
    let images = std::sync::Arc::new(images());
    recipe
        .fit_with(model(), images.clone(), images, dir, options, &mut ())
        .expect("a run");
}
