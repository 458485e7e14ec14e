//! Where FashionMNIST is looked for, and where downloaded files are kept.

use std::path::{Path, PathBuf};

use super::fashion_mnist::FashionMnist;
use super::fashion_mnist_files::locate_all;
use super::mirror::{Mirror, Progress};
use crate::cache_folder::{cache_folder, variable};
use crate::error::{Error, Result};

/// Where Debian's package `dataset-fashion-mnist` puts the files.
const SYSTEM_FOLDER: &str = "/usr/share/datasets/fashion-mnist";

/// What [`FashionMnist::open_default`] looks at, in this order.
struct Sources<'a> {
    chosen: Option<PathBuf>,
    system: PathBuf,
    cache: Option<PathBuf>,
    mirror: Mirror<'a>,
}

impl FashionMnist {
    /// Reads the data set from the first of these places that has it:
    ///
    /// 1. the folder that the environment variable `FASHION_MNIST_DIR` names, and no other place
    ///    if it is set;
    /// 2. `/usr/share/datasets/fashion-mnist`, where Debian's package `dataset-fashion-mnist` puts
    ///    it;
    /// 3. [`FashionMnist::cache_dir`], where each file must have the official content;
    /// 4. with the feature `download`, the authors' server (30.9 MB), into
    ///    the cache, where files without the official content are replaced.
    ///
    /// # Errors
    ///
    /// As [`FashionMnist::open`]; [`Error::Download`](crate::Error::Download) if no place has the files and they cannot be
    /// fetched; [`Error::Data`] if no place has them and this build lacks the feature `download`.
    pub fn open_default() -> Result<Self> {
        Self::open_default_with(&mut |_| {})
    }

    /// [`FashionMnist::open_default`], with a callback for the progress of a download.
    ///
    /// # Errors
    ///
    /// As [`FashionMnist::open_default`].
    pub fn open_default_with(progress: &mut dyn FnMut(Progress)) -> Result<Self> {
        let sources = Sources {
            chosen: variable("FASHION_MNIST_DIR").map(PathBuf::from),
            system: PathBuf::from(SYSTEM_FOLDER),
            cache: Self::cache_dir(),
            mirror: Mirror::OFFICIAL,
        };
        sources.open(progress)
    }

    /// The folder that downloaded files are kept in: `fashion-mnist` in the folder that the
    /// environment variable `BURN_ZOO_CACHE` names, else in `burn-zoo` in the user's cache folder,
    /// which is `$XDG_CACHE_HOME` or `~/.cache`, and `%LOCALAPPDATA%` on Windows. `None` if none
    /// of them is known.
    pub fn cache_dir() -> Option<PathBuf> {
        Some(cache_folder()?.join("fashion-mnist"))
    }
}

impl Sources<'_> {
    fn open(&self, progress: &mut dyn FnMut(Progress)) -> Result<FashionMnist> {
        if let Some(dir) = &self.chosen {
            return FashionMnist::open(dir);
        }
        if locate_all(&self.system).is_ok() {
            return FashionMnist::open(&self.system);
        }
        let Some(cache) = &self.cache else {
            return Err(Error::argument(
                "BURN_ZOO_CACHE",
                "a folder to keep downloaded files in, as there is no home folder",
                "nothing",
            ));
        };
        if locate_all(cache).is_ok() {
            let cached = FashionMnist::open_checked(cache, Some(&self.mirror.files));
            // A damaged cache is fetched anew if that can be done.
            if cached.is_ok() || cfg!(not(feature = "download")) {
                return cached;
            }
        }
        self.fetch(cache, progress)
    }

    #[cfg(feature = "download")]
    fn fetch(&self, cache: &Path, progress: &mut dyn FnMut(Progress)) -> Result<FashionMnist> {
        FashionMnist::download_from(&self.mirror, cache, progress).map_err(|error| match error {
            Error::Download { url, reason } => Error::Download {
                url,
                reason: format!(
                    "{reason}; neither {} nor {} has the files of FashionMNIST; {HOW_TO_GET}",
                    self.system.display(),
                    cache.display()
                ),
            },
            error => error,
        })
    }

    #[cfg(not(feature = "download"))]
    fn fetch(&self, cache: &Path, _progress: &mut dyn FnMut(Progress)) -> Result<FashionMnist> {
        Err(Error::Data {
            path: cache.to_path_buf(),
            expected: format!(
                "the four files of FashionMNIST here or in {}",
                self.system.display()
            ),
            found: format!(
                "neither; {HOW_TO_GET}, or fetch the files from {}, or build with the feature \
                 `download`",
                self.mirror.base_url
            ),
        })
    }
}

const HOW_TO_GET: &str = "set FASHION_MNIST_DIR to a folder that has them, \
                          or install the Debian package dataset-fashion-mnist";

#[cfg(test)]
mod tests {
    use std::fs;

    use sha2::{Digest, Sha256};

    use super::*;
    use crate::data::fashion_mnist_files::FILES;
    use crate::data::mirror::RemoteFile;
    use crate::files::hex;

    /// The contents of the four files with one black image and one label each.
    fn contents() -> [Vec<u8>; 4] {
        let images = [
            &[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28],
            &[0; 784][..],
        ]
        .concat();
        let labels = vec![0, 0, 8, 1, 0, 0, 0, 1, 7];
        [images.clone(), labels.clone(), images, labels]
    }

    fn write(dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        for (name, bytes) in FILES.iter().zip(contents()) {
            fs::write(dir.join(name), bytes).unwrap();
        }
    }

    /// Opens with `system` and `cache` in a temporary folder, after `prepare`. The mirror cannot
    /// be reached. In an error, the folder is written as `DIR`.
    fn open(chosen: Option<&str>, prepare: impl Fn(&Path)) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let sha256 = contents().map(|bytes| hex(&Sha256::digest(bytes)));
        let sources = Sources {
            chosen: chosen.map(|name| dir.path().join(name)),
            system: dir.path().join("system"),
            cache: Some(dir.path().join("cache")),
            mirror: Mirror {
                base_url: "http://127.0.0.1:1",
                files: sha256.each_ref().map(|sha256| RemoteFile {
                    bytes: 1,
                    sha256: "",
                    content_sha256: sha256,
                }),
            },
        };
        let neutral = |text: String| text.replace(&dir.path().display().to_string(), "DIR");
        sources
            .open(&mut |_| {})
            .map(|data| neutral(data.source().to_string()))
            .map_err(|error| neutral(error.to_string()))
    }

    #[test]
    fn sources_are_looked_at_in_order() {
        let all = |dir: &Path| {
            for name in ["chosen", "system", "cache"] {
                write(&dir.join(name));
            }
        };
        let found = |name| Ok(Path::new("DIR").join(name).display().to_string());
        assert_eq!(open(Some("chosen"), all), found("chosen"));
        assert_eq!(open(None, all), found("system"));
        assert_eq!(open(None, |dir| write(&dir.join("cache"))), found("cache"));
        // A folder with only some of the files is not the data set.
        let partly = |dir: &Path| {
            all(dir);
            fs::remove_file(dir.join("system").join(FILES[2])).unwrap();
        };
        assert_eq!(open(None, partly), found("cache"));
        // One that was chosen has to be.
        assert!(open(Some("gone"), all).is_err());
    }

    #[test]
    fn nothing_found_says_how_to_get_it() {
        let error = open(None, |_| {}).unwrap_err();
        let how = "set FASHION_MNIST_DIR to a folder that has them, \
                   or install the Debian package dataset-fashion-mnist";
        if cfg!(feature = "download") {
            let start = "cannot download http://127.0.0.1:1/train-images-idx3-ubyte.gz: ";
            let end =
                format!("; neither DIR/system nor DIR/cache has the files of FashionMNIST; {how}")
                    .replace("DIR/", &format!("DIR{}", std::path::MAIN_SEPARATOR));
            assert!(error.starts_with(start) && error.ends_with(&end), "{error}");
        } else {
            let expected = format!(
                "DIR/cache: expected the four files of FashionMNIST here or in DIR/system, found \
                 neither; {how}, or fetch the files from http://127.0.0.1:1, or build with the \
                 feature `download`"
            )
            .replace("DIR/", &format!("DIR{}", std::path::MAIN_SEPARATOR));
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_cache_with_other_content_is_not_used() {
        let error = open(None, |dir| {
            write(&dir.join("cache"));
            let label = dir.join("cache").join(FILES[1]);
            fs::write(label, [0, 0, 8, 1, 0, 0, 0, 1, 8]).unwrap();
        })
        .unwrap_err();
        if cfg!(feature = "download") {
            // It is to be fetched anew, and that file only.
            let start = "cannot download http://127.0.0.1:1/train-labels-idx1-ubyte.gz: ";
            assert!(error.starts_with(start), "{error}");
        } else {
            assert!(error.contains("expected content with SHA-256 "), "{error}");
        }
    }
}
