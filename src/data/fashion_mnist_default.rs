//! FashionMNIST from where it usually is.

use std::path::PathBuf;

use super::fashion_mnist::FashionMnist;
use super::mirror::Progress;
use super::places::{self, Places};
use crate::error::Result;

impl FashionMnist {
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
    /// As [`FashionMnist::open`]; [`Error::Download`](crate::Error::Download) if no place has the files and they cannot be
    /// fetched; [`Error::Data`](crate::Error::Data) if no place has them and this build lacks the feature `download`.
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
}
