//! FashionMNIST: 70,000 grey images of 28 × 28 pixels of articles of clothing in 10 classes,
//! 60,000 to train on and 10,000 to test with.
//!
//! Source: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for
//! Benchmarking Machine Learning Algorithms", arXiv:1708.07747, 2017,
//! <https://github.com/zalandoresearch/fashion-mnist>; MIT licence, Copyright (c) 2017 Zalando SE.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::idx;
use super::image_set::ImageSet;
use crate::error::{Error, Result};

/// The names of the files without `.gz`, in the order of [`Mirror::files`].
const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Where Debian's package `dataset-fashion-mnist` puts the files.
const SYSTEM_FOLDER: &str = "/usr/share/datasets/fashion-mnist";

const SIDE: usize = 28;

#[cfg(feature = "fashion-mnist-mini")]
const SAMPLE: &[u8] = include_bytes!("fashion_mnist_mini.bin.gz");

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

/// How far a download has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The name of the file that is being fetched.
    pub file: &'static str,
    /// The bytes received so far, of all files that have to be fetched.
    pub received: u64,
    /// The bytes of all files that have to be fetched.
    pub total: u64,
}

/// A server that has the four files compressed with gzip, and what they must be.
///
/// The table is what makes plain HTTP safe: bytes that differ from it are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror<'a> {
    /// The address of the folder with the files, `http://…`, with or without a slash at its end.
    pub base_url: &'a str,
    /// The files `train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz`,
    /// `t10k-images-idx3-ubyte.gz` and `t10k-labels-idx1-ubyte.gz`, in this order.
    pub files: [RemoteFile<'a>; 4],
}

/// What a file of a [`Mirror`] must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteFile<'a> {
    /// The size of the compressed file in bytes.
    pub bytes: u64,
    /// The SHA-256 of the compressed file in lower-case hexadecimal digits.
    pub sha256: &'a str,
    /// The SHA-256 of the decompressed content in lower-case hexadecimal digits.
    pub content_sha256: &'a str,
}

impl Mirror<'static> {
    /// The server of the data set's authors, as their repository names it.
    pub const OFFICIAL: Mirror<'static> = Mirror {
        base_url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        files: [
            RemoteFile {
                bytes: 26_421_880,
                sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                content_sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            },
            RemoteFile {
                bytes: 29_515,
                sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                content_sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            },
            RemoteFile {
                bytes: 4_422_102,
                sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                content_sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            },
            RemoteFile {
                bytes: 5_148,
                sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                content_sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            },
        ],
    };
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
    pub fn open_default() -> Result<Self> {
        Self::open_default_with(&mut |_| {})
    }

    /// [`FashionMnist::open_default`], with a callback for the progress of a download.
    ///
    /// # Errors
    ///
    /// As [`FashionMnist::open_default`].
    pub fn open_default_with(progress: &mut dyn FnMut(Progress)) -> Result<Self> {
        let places = Places {
            chosen: variable("FASHION_MNIST_DIR").map(PathBuf::from),
            system: PathBuf::from(SYSTEM_FOLDER),
            cache: Self::cache_dir(),
            mirror: Mirror::OFFICIAL,
        };
        places.open(progress)
    }

    /// The folder that downloaded files are kept in: `fashion-mnist` in the folder that the
    /// environment variable `BURN_ZOO_CACHE` names, else in `burn-zoo` in the user's cache folder,
    /// which is `$XDG_CACHE_HOME` or `~/.cache`, and `%LOCALAPPDATA%` on Windows. `None` if none
    /// of them is known.
    pub fn cache_dir() -> Option<PathBuf> {
        cache_dir(cfg!(windows), variable, std::env::home_dir())
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
        let path = Path::new("fashion_mnist_mini.bin.gz");
        let mut reader = idx::Reader::from_gzip(path, SAMPLE);
        let mut split = || {
            let mut images = reader.images()?;
            let labels = reader.labels(Self::CLASSES.len())?;
            undo_paeth(&mut images);
            image_set(images, labels, path, path)
        };
        let train = split()?;
        let test = split()?;
        reader.finish(None)?;
        Ok(FashionMnist {
            train,
            test,
            source: Source::Bundled,
        })
    }

    /// Fetches the files from the authors' server ([`Mirror::OFFICIAL`], 30.9 MB) into
    /// `cache_dir`, which is created if it is missing, and reads them.
    ///
    /// # Errors
    ///
    /// As [`FashionMnist::download_from`].
    #[cfg(feature = "download")]
    pub fn download(
        cache_dir: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        Self::download_from(&Mirror::OFFICIAL, cache_dir, progress)
    }

    /// Fetches the files from `mirror` into `cache_dir`, which is created if it is missing, and
    /// reads them. A file that is there already with the right content is kept.
    ///
    /// Each file is written under a temporary name, checked against the table of the mirror and
    /// then renamed, so that a file that fails the check leaves nothing behind, and two processes
    /// may do this at once. A server has 10 seconds to accept a connection and 10 minutes to
    /// deliver a file. `progress` is called after each piece.
    ///
    /// # Errors
    ///
    /// [`Error::Download`] if the server cannot be reached, does not have a file, breaks off or
    /// sends bytes of another number or SHA-256 than the table says; [`Error::Io`] if a file
    /// cannot be written; and as [`FashionMnist::open`].
    #[cfg(feature = "download")]
    pub fn download_from(
        mirror: &Mirror<'_>,
        cache_dir: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let folder = cache_dir.as_ref();
        download::fetch_missing(mirror, folder, progress)?;
        Self::open_checked(folder, Some(&mirror.files))
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
    fn open_checked(dir: &Path, files: Option<&[RemoteFile<'_>; 4]>) -> Result<Self> {
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
fn image_set(
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

/// Turns the differences to the Paeth predictor (filter type 4 of PNG, ISO/IEC 15948, clause 9.4;
/// neighbours outside the image are 0), which the sample is stored as because they compress
/// better, back into pixels.
#[cfg(feature = "fashion-mnist-mini")]
fn undo_paeth(images: &mut idx::Images) {
    let width = images.width;
    for image in images.pixels.chunks_exact_mut(images.height * width) {
        for index in 0..image.len() {
            let (top, first) = (index < width, index % width == 0);
            let left = if first { 0 } else { image[index - 1] };
            let up = if top { 0 } else { image[index - width] };
            let corner = if top || first {
                0
            } else {
                image[index - width - 1]
            };
            image[index] = image[index].wrapping_add(paeth(left, up, corner));
        }
    }
}

/// Whichever of the three neighbours is nearest to `left + up - corner`.
#[cfg(feature = "fashion-mnist-mini")]
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let estimate = i16::from(left) + i16::from(up) - i16::from(corner);
    let distance = |neighbour: u8| (estimate - i16::from(neighbour)).abs();
    if distance(left) <= distance(up) && distance(left) <= distance(corner) {
        left
    } else if distance(up) <= distance(corner) {
        up
    } else {
        corner
    }
}

/// The path of a file in `dir`, as gzip or plain, or `None` if it is there as neither.
fn locate(dir: &Path, name: &str) -> Result<Option<PathBuf>> {
    for path in [dir.join(format!("{name}.gz")), dir.join(name)] {
        if path.try_exists().map_err(Error::io("read", &path))? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn locate_all(dir: &Path) -> Result<[PathBuf; 4]> {
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

/// The value of an environment variable, unless it is empty.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// [`FashionMnist::cache_dir`] with its surroundings as arguments.
fn cache_dir(
    windows: bool,
    variable: impl Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
) -> Option<PathBuf> {
    let base = if let Some(chosen) = variable("BURN_ZOO_CACHE") {
        PathBuf::from(chosen)
    } else if windows {
        PathBuf::from(variable("LOCALAPPDATA")?).join("burn-zoo")
    } else {
        // The XDG Base Directory Specification has relative paths ignored.
        let user = variable("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        match user {
            Some(user) => user.join("burn-zoo"),
            None => home?.join(".cache").join("burn-zoo"),
        }
    };
    Some(base.join("fashion-mnist"))
}

/// The places that [`FashionMnist::open_default`] looks at.
struct Places<'a> {
    chosen: Option<PathBuf>,
    system: PathBuf,
    cache: Option<PathBuf>,
    mirror: Mirror<'a>,
}

impl Places<'_> {
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
                    "{reason}; neither {} nor {} has the files of FashionMNIST; {}",
                    self.system.display(),
                    cache.display(),
                    how_to_get()
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
                "neither; {}, or fetch the files from {}, or build with the feature `download`",
                how_to_get(),
                self.mirror.base_url
            ),
        })
    }
}

fn how_to_get() -> &'static str {
    "set FASHION_MNIST_DIR to a folder that has them, \
     or install the Debian package dataset-fashion-mnist"
}

#[cfg(feature = "download")]
mod download {
    use std::io::{Read, Write};
    use std::path::Path;
    use std::time::Duration;

    use sha2::{Digest, Sha256};

    use super::{FILES, Mirror, Progress, RemoteFile, idx, locate};
    use crate::error::{Error, Result};

    const CONNECT: Duration = Duration::from_secs(10);
    const WHOLE: Duration = Duration::from_secs(600);

    /// Fetches each file that `folder` does not have with the right content.
    pub(super) fn fetch_missing(
        mirror: &Mirror<'_>,
        folder: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let missing: Vec<_> = FILES
            .iter()
            .zip(&mirror.files)
            .filter(|(name, file)| !is_intact(folder, name, file))
            .collect();
        let total = missing
            .iter()
            .map(|(_, file)| file.bytes)
            .fold(0, u64::saturating_add);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .build()
            .into();
        let mut received = 0;
        for (&name, file) in missing {
            fetch(&agent, mirror.base_url, name, file, folder, &mut |bytes| {
                received += bytes;
                progress(Progress {
                    file: name,
                    received,
                    total,
                });
            })?;
        }
        Ok(())
    }

    /// A file that cannot be read counts as one to be fetched, whose writing then tells why.
    fn is_intact(folder: &Path, name: &str, file: &RemoteFile<'_>) -> bool {
        match locate(folder, name) {
            Ok(Some(path)) => {
                idx::content_sha256(&path).is_ok_and(|found| found == file.content_sha256)
            }
            _ => false,
        }
    }

    fn fetch(
        agent: &ureq::Agent,
        base_url: &str,
        name: &str,
        file: &RemoteFile<'_>,
        folder: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let url = format!("{}/{name}.gz", base_url.trim_end_matches('/'));
        let failed = |reason: String| Error::Download {
            url: url.clone(),
            reason,
        };
        let wanted = file.bytes;
        let mut response = agent
            .get(&url)
            .call()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(announced) = response.body().content_length()
            && announced != wanted
        {
            return Err(failed(format!(
                "expected {wanted} bytes, the server announces {announced}"
            )));
        }

        let mut temporary = temporary_file(name, folder)?;
        let mut hasher = Sha256::new();
        let mut received = 0;
        let mut buffer = vec![0; 64 * 1024];
        let mut body = response
            .body_mut()
            .as_reader()
            .take(wanted.saturating_add(1));
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(failed(format!(
                        "broken off after {received} of {wanted} bytes: {error}"
                    )));
                }
            };
            let piece = &buffer[..count];
            received += count as u64;
            if received > wanted {
                return Err(failed(format!(
                    "expected {wanted} bytes, the server sends more"
                )));
            }
            hasher.update(piece);
            temporary
                .write_all(piece)
                .map_err(Error::io("write", temporary.path()))?;
            progress(count as u64);
        }
        if received < wanted {
            return Err(failed(format!("expected {wanted} bytes, found {received}")));
        }
        let found = idx::hex(hasher);
        if found != file.sha256 {
            return Err(failed(format!(
                "expected SHA-256 {}, found {found}",
                file.sha256
            )));
        }

        let path = folder.join(format!("{name}.gz"));
        match temporary.persist(&path) {
            Ok(_) => Ok(()),
            // Windows does not replace a file that another process has open. If that process has
            // fetched the same file, there is nothing left to do.
            Err(_) if is_intact(folder, name, file) => Ok(()),
            Err(error) => Err(Error::io("write", &path)(error.error)),
        }
    }

    /// A file that is deleted when it is dropped.
    fn temporary_file(name: &str, folder: &Path) -> Result<tempfile::NamedTempFile> {
        let prefix = format!(".{name}.");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".part");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As for any new file, less the umask: temporary files are private unless told, and
            // the cache may be shared.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        builder
            .tempfile_in(folder)
            .map_err(Error::io("create", folder))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sha2::{Digest, Sha256};

    use super::*;

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
        let sha256 = contents().map(|bytes| idx::hex(Sha256::new_with_prefix(bytes)));
        let places = Places {
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
        places
            .open(&mut |_| {})
            .map(|data| neutral(data.source().to_string()))
            .map_err(|error| neutral(error.to_string()))
    }

    #[test]
    fn places_are_looked_at_in_order() {
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

    #[test]
    fn cache_dir_follows_the_environment() {
        let dir = |windows, variables: &[(&str, &str)], home: Option<&str>| {
            let variable = |name: &str| {
                let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
                Some(OsString::from(value))
            };
            cache_dir(windows, variable, home.map(PathBuf::from))
        };
        let path = |parts: &[&str]| Some(parts.iter().collect::<PathBuf>());
        // An absolute path on every system.
        let temporary = std::env::temp_dir();
        let absolute = temporary.to_str().unwrap();
        let both = [("BURN_ZOO_CACHE", "zoo"), ("XDG_CACHE_HOME", absolute)];
        assert_eq!(
            dir(false, &both, Some("home")),
            path(&["zoo", "fashion-mnist"])
        );
        assert_eq!(
            dir(false, &both[1..], Some("home")),
            path(&[absolute, "burn-zoo", "fashion-mnist"])
        );
        let in_home = path(&["home", ".cache", "burn-zoo", "fashion-mnist"]);
        assert_eq!(dir(false, &[], Some("home")), in_home);
        assert_eq!(
            dir(false, &[("XDG_CACHE_HOME", "relative")], Some("home")),
            in_home
        );
        assert_eq!(dir(false, &[], None), None);
        assert_eq!(
            dir(
                true,
                &[("LOCALAPPDATA", "local"), ("XDG_CACHE_HOME", absolute)],
                None
            ),
            path(&["local", "burn-zoo", "fashion-mnist"])
        );
        assert_eq!(dir(true, &[], Some("home")), None);
    }
}
