//! FashionMNIST: 70,000 grey images of 28 × 28 pixels of articles of clothing in 10 classes,
//! 60,000 to train on and 10,000 to test with.
//!
//! Source: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for
//! Benchmarking Machine Learning Algorithms", arXiv:1708.07747, 2017,
//! <https://github.com/zalandoresearch/fashion-mnist>; MIT licence, Copyright (c) 2017 Zalando SE.

use std::fmt;
use std::path::{Path, PathBuf};

use super::idx;
use super::image_set::ImageSet;
#[cfg(feature = "fashion-mnist-mini")]
use super::mini;
use super::mirror::{Progress, RemoteFile};
use super::places::{self, Places};
use crate::error::{Error, Result};

/// The names of the files without `.gz`, in the order of [`Mirror::files`](super::Mirror::files).
pub(super) const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

const SIDE: usize = 28;

/// FashionMNIST, or a part of it, held in memory.
///
/// Each image is 28 × 28 pixels with one channel, 0 for the background and 255 for the darkest
/// ink.
#[derive(Clone, Debug)]
pub struct FashionMnist {
    train: ImageSet,
    test: ImageSet,
    source: Source,
}

/// Where images came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Files in this folder.
    Folder(PathBuf),
    /// The sample that is part of this crate: 600 training and 100 test images of each class.
    Bundled,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Folder(path) => write!(f, "{}", path.display()),
            Source::Bundled => f.write_str("the bundled sample"),
        }
    }
}

impl FashionMnist {
    /// The names of the classes in the order of the labels, as the authors write them.
    pub const CLASSES: [&'static str; 10] = [
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

    /// Reads the four IDX files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
    /// `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte` in `dir`, each plain or as gzip with
    /// `.gz` after its name; with both there, the latter is read. There may be any number of
    /// images in them.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] if a file is missing or damaged, if a label is not below 10, if there is
    /// not one label for each image or if the images do not have 28 × 28 pixels; [`Error::Io`] if
    /// a file cannot be read.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_checked(dir.as_ref(), None)
    }

    /// Reads the data set from the first of these places that has it:
    ///
    /// 1. the folder that the environment variable `FASHION_MNIST_DIR` names, and no other place
    ///    if it is set;
    /// 2. `/usr/share/datasets/fashion-mnist`, where Debian's package `dataset-fashion-mnist` puts
    ///    it;
    /// 3. [`FashionMnist::cache_dir`], where each file must have the official content;
    /// 4. with the feature `download`, the authors' server ([`Mirror::OFFICIAL`], 30.9 MB), into
    ///    the cache, where files without the official content are replaced.
    ///
    /// # Errors
    ///
    /// As [`FashionMnist::open`]; [`Error::Download`] if no place has the files and they cannot be
    /// fetched; [`Error::Data`] if no place has them and this build lacks the feature `download`.
    ///
    /// [`Mirror::OFFICIAL`]: super::Mirror::OFFICIAL
    pub fn open_default() -> Result<Self> {
        Self::open_default_with(&mut |_| {})
    }

    /// [`FashionMnist::open_default`], with a callback for the progress of a download.
    ///
    /// # Errors
    ///
    /// As [`FashionMnist::open_default`].
    pub fn open_default_with(progress: &mut dyn FnMut(Progress)) -> Result<Self> {
        Places::usual().open(progress)
    }

    /// The folder that downloaded files are kept in: `fashion-mnist` in the folder that the
    /// environment variable `BURN_ZOO_CACHE` names, else in `burn-zoo` in the user's cache folder,
    /// which is `$XDG_CACHE_HOME` or `~/.cache`, and `%LOCALAPPDATA%` on Windows. `None` if none
    /// of them is known.
    pub fn cache_dir() -> Option<PathBuf> {
        places::cache_dir()
    }

    /// The sample that is part of this crate: the first 600 training and the first 100 test images
    /// of each class, in the order of the official files. Touches neither the disk nor the
    /// network.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] if the crate was built from a damaged sample.
    #[cfg(feature = "fashion-mnist-mini")]
    pub fn bundled() -> Result<Self> {
        let (train, test) = mini::read()?;
        Ok(FashionMnist {
            train,
            test,
            source: Source::Bundled,
        })
    }

    /// The training images.
    pub fn train(&self) -> ImageSet {
        self.train.clone()
    }

    /// The test images.
    pub fn test(&self) -> ImageSet {
        self.test.clone()
    }

    /// Where the images came from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Reads the files of `dir`, with `files` only if they have the content that it says.
    pub(super) fn open_checked(dir: &Path, files: Option<&[RemoteFile<'_>; 4]>) -> Result<Self> {
        let [train_images, train_labels, test_images, test_labels] = locate_all(dir)?;
        let sha256 = |index: usize| files.map(|files| files[index].content_sha256);
        let split = |images: &Path, labels: &Path, first: usize| {
            image_set(
                idx::read_images(images, sha256(first))?,
                idx::read_labels(labels, Self::CLASSES.len(), sha256(first + 1))?,
                images,
                labels,
            )
        };
        Ok(FashionMnist {
            train: split(&train_images, &train_labels, 0)?,
            test: split(&test_images, &test_labels, 2)?,
            source: Source::Folder(dir.to_path_buf()),
        })
    }
}

/// The images of one split with their labels, after the checks that need both.
pub(super) fn image_set(
    images: idx::Images,
    labels: Vec<u8>,
    images_path: &Path,
    labels_path: &Path,
) -> Result<ImageSet> {
    if (images.height, images.width) != (SIDE, SIDE) {
        return Err(Error::Data {
            path: images_path.to_path_buf(),
            expected: format!("images of {SIDE} × {SIDE} pixels"),
            found: format!("{} × {}", images.height, images.width),
        });
    }
    if labels.len() != images.count {
        return Err(Error::Data {
            path: labels_path.to_path_buf(),
            expected: format!(
                "{} labels, one for each image of {}",
                images.count,
                images_path.display()
            ),
            found: format!("{} labels", labels.len()),
        });
    }
    ImageSet::new(
        images.pixels,
        labels.into_iter().map(usize::from).collect(),
        (SIDE, SIDE),
        1,
        FashionMnist::CLASSES.map(str::to_owned).to_vec(),
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
    paths.try_into().map_err(|_| Error::Data {
        path: dir.to_path_buf(),
        expected: "the four files of FashionMNIST, each as it is or with .gz after its name"
            .to_owned(),
        found: if dir.is_dir() {
            missing.join(", ")
        } else {
            "no such folder".to_owned()
        },
    })
}
