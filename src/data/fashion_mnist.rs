//! FashionMNIST: 70,000 grey images of 28 × 28 pixels of articles of clothing in 10 classes,
//! 60,000 to train on and 10,000 to test with.
//!
//! Source: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for
//! Benchmarking Machine Learning Algorithms", arXiv:1708.07747, 2017,
//! <https://github.com/zalandoresearch/fashion-mnist>; MIT licence, Copyright (c) 2017 Zalando SE.

use std::fmt;
use std::path::{Path, PathBuf};

use super::fashion_mnist_files::{CLASSES, class_names, image_set, locate_all};
#[cfg(feature = "fashion-mnist-mini")]
use super::fashion_mnist_mini;
use super::idx;
use super::image_set::ImageSet;
use super::mirror::RemoteFile;
use crate::error::Result;

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
    pub const CLASSES: [&'static str; 10] = CLASSES;

    /// Reads the four IDX files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
    /// `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte` in `dir`, each plain or as gzip with
    /// `.gz` after its name; with both there, the latter is read. There may be any number of
    /// images in them. Files of these names that are of another data set, such as MNIST, which their first
    /// labels tell, have classes that are called `0` to `9`.
    ///
    /// # Errors
    ///
    /// [`Error::Data`](crate::Error::Data) if a file is missing or damaged, if a label is not below 10, if there is
    /// not one label for each image or if the images do not have 28 × 28 pixels; [`Error::Io`](crate::Error::Io) if
    /// a file cannot be read.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_checked(dir.as_ref(), None)
    }

    /// The sample that is part of this crate: the first 600 training and the first 100 test images
    /// of each class, in the order of the official files. Touches neither the disk nor the
    /// network.
    ///
    /// # Errors
    ///
    /// [`Error::Data`](crate::Error::Data) if the crate was built from a damaged sample.
    #[cfg(feature = "fashion-mnist-mini")]
    pub fn bundled() -> Result<Self> {
        let (train, test) = fashion_mnist_mini::read()?;
        Ok(FashionMnist {
            train,
            test,
            source: Source::Bundled,
        })
    }

    /// The training images. [`ImageSet::split`] sets some of them aside for validation: a best epoch
    /// that is chosen by the test images makes their accuracy too good.
    pub fn train(&self) -> ImageSet {
        self.train.clone()
    }

    /// The test images, for [`Run::test`](crate::train::Run::test) at the end.
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
        let count = Self::CLASSES.len();
        let images = idx::read_images(&train_images, sha256(0))?;
        let labels = idx::read_labels(&train_labels, count, sha256(1))?;
        let classes = class_names(&labels);
        let train = image_set(images, labels, &classes, &train_images, &train_labels)?;
        let images = idx::read_images(&test_images, sha256(2))?;
        let labels = idx::read_labels(&test_labels, count, sha256(3))?;
        let test = image_set(images, labels, &classes, &test_images, &test_labels)?;
        Ok(FashionMnist {
            train,
            test,
            source: Source::Folder(dir.to_path_buf()),
        })
    }
}
