//! The files of FashionMNIST.

use std::path::{Path, PathBuf};

use super::idx;
use super::image_set::ImageSet;
use crate::error::{Error, Result};

/// The names of the files without `.gz`, in the order of [`Mirror::files`](super::mirror::Mirror::files).
pub(super) const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

const SIDE: usize = 28;

/// The names of the classes in the order of the labels.
pub(super) const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// The first labels of the training images.
const FIRST_LABELS: [u8; 32] = [
    9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9, 1, 0, 6, 4, 3, 1, 4, 8, 4, 3, 0, 2, 4, 4, 5, 3,
];

/// The names of the classes for these training labels: FashionMNIST's, or numbers where the files are those of
/// another data set, such as MNIST, whose files have the same names.
pub(super) fn class_names(labels: &[u8]) -> Vec<String> {
    let count = labels.len().min(FIRST_LABELS.len());
    if labels[..count] == FIRST_LABELS[..count] {
        return CLASSES.map(str::to_owned).to_vec();
    }
    (0..CLASSES.len()).map(|class| class.to_string()).collect()
}

/// The images of one split with their labels, after the checks that need both.
pub(super) fn image_set(
    images: idx::Images,
    labels: Vec<u8>,
    classes: &[String],
    images_path: &Path,
    labels_path: &Path,
) -> Result<ImageSet> {
    if (images.height, images.width) != (SIDE, SIDE) {
        let expected = format!("images of {SIDE} × {SIDE} pixels");
        let found = format!("{} × {}", images.height, images.width);
        return Err(Error::data(images_path, expected, found));
    }
    if labels.len() != images.count {
        let expected = format!(
            "{} labels, one for each image of {}",
            images.count,
            images_path.display()
        );
        let found = format!("{} labels", labels.len());
        return Err(Error::data(labels_path, expected, found));
    }
    ImageSet::new(
        images.pixels,
        labels.into_iter().map(usize::from).collect(),
        (SIDE, SIDE),
        1,
        classes.to_vec(),
    )
}

/// The path of a file in `dir`, as gzip or plain, or `None` if it is there as neither.
pub(super) fn locate(dir: &Path, name: &str) -> Result<Option<PathBuf>> {
    for path in [dir.join(format!("{name}.gz")), dir.join(name)] {
        if path.try_exists().map_err(Error::io("read", &path))? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

pub(super) fn locate_all(dir: &Path) -> Result<[PathBuf; 4]> {
    let mut paths = Vec::new();
    let mut missing = Vec::new();
    for name in FILES {
        match locate(dir, name)? {
            Some(path) => paths.push(path),
            None => missing.push(format!("no {name}")),
        }
    }
    paths.try_into().map_err(|_| {
        let expected = "the four files of FashionMNIST, each as it is or with .gz after its name";
        let found = if dir.is_dir() {
            missing.join(", ")
        } else {
            "no such folder".to_owned()
        };
        Error::data(dir, expected, found)
    })
}
