//! Images of one's own as a data set: a folder for each class, as torchvision's `ImageFolder` and
//! timm's folder reader have it, or a CSV file of paths and labels.

mod channels;
mod csv;
mod files;
mod found;
mod known;
mod labels;
mod layout;
mod report;
mod split;
mod verify;
mod walk;
mod whole;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::ImageData;
use crate::error::{Error, Result};
use crate::preprocess::{DecodeOptions, Image};

pub use csv::{CsvOptions, CsvReport, CsvSplit, CsvWarning};
pub use files::ImageFiles;
pub use report::{ClassCount, Division, FolderReport, FolderWarning, Part, Skipped};
pub use verify::CheckProgress;
pub use whole::Whole;

/// Labelled images in files, decoded when they are asked for.
///
/// The list of files lies behind an [`Arc`], so that a clone copies nothing.
///
/// ```no_run
/// use burn_zoo::data::ImageFolder;
/// use burn_zoo::prelude::*;
///
/// # fn main() -> burn_zoo::Result<()> {
/// let data = ImageFolder::open("flowers")?; // flowers/daisy/1.jpg, flowers/rose/2.png, ..
/// println!("{}", data.report);
/// assert_eq!(data.train.classes(), data.valid.classes());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ImageFolder {
    shared: Arc<Shared>,
}

struct Shared {
    /// What relative paths start from.
    base: PathBuf,
    samples: Vec<Sample>,
    classes: Arc<[String]>,
    decode: DecodeOptions,
}

/// One image.
#[derive(Clone)]
struct Sample {
    /// Relative to the base, or absolute.
    path: Box<Path>,
    label: u32,
    /// The line of a CSV file that names it; 0 if none does.
    line: u32,
}

/// How a folder or a CSV file is read.
///
/// ```
/// use burn_zoo::data::{Broken, FolderOptions};
///
/// let options = FolderOptions {
///     valid_share: 0.1,
///     broken: Broken::Skip,
///     ..FolderOptions::default()
/// };
/// assert_eq!(options.seed, 42);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FolderOptions {
    /// The share of each class that becomes validation images where the data set has none of its
    /// own, above 0 and below 1. It is rounded; a class of two images or more has at least one in
    /// either part, and a single image is for training.
    pub valid_share: f64,
    /// Seed of that split. An image's place depends on the seed, its path below the folder and its
    /// rank among its class, so that the same seed gives the same split on every machine, and a
    /// new image moves at most one other.
    pub seed: u64,
    /// What becomes of images that cannot be read.
    pub broken: Broken,
    /// How carefully images are looked at before anything else happens. `None` is
    /// [`Check::Look`].
    pub check: Option<Check>,
    /// The folder that keeps which images were found sound, by path, size and time of change, so
    /// that they are not looked at again; `None` keeps nothing. By default the folder `looks` in
    /// `$BURN_ZOO_CACHE`, or in the cache folder of the user. Where nothing can be read or written,
    /// that costs time only.
    pub remember_in: Option<PathBuf>,
    /// Images that are left out unseen, by the paths that [`ImageFolder::path`] gives: those that a
    /// run which goes on left out when it began. Their number is told in
    /// [`FolderReport::left_out_before`]; what is not there is not missed.
    pub left_out: Vec<PathBuf>,
    /// The extensions of images, in any case, with or without a dot; other files are left out and
    /// counted. A CSV file may name images with any extension.
    pub extensions: Vec<String>,
    /// Accepts classes without a single image, which keep their place among the labels. Otherwise
    /// an empty folder is no class, and one whose images cannot be read is an error.
    pub allow_empty: bool,
    /// The largest image that is accepted, and whether it is turned as its EXIF data say.
    pub decode: DecodeOptions,
    /// How a CSV file is read. With a folder, anything but the default is an error.
    pub csv: CsvOptions,
}

/// The extensions of the formats that can be decoded.
const EXTENSIONS: [&str; 10] = [
    "bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp",
];

impl Default for FolderOptions {
    /// A fifth of each class for validation by seed 42; broken images are errors; BMP, GIF, JPEG,
    /// PNG, TIFF and WebP files; no class may be empty.
    fn default() -> Self {
        Self {
            valid_share: 0.2,
            seed: 42,
            broken: Broken::Fail,
            check: None,
            remember_in: super::cache_root().map(|root| root.join("looks")),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
            allow_empty: false,
            decode: DecodeOptions::default(),
            csv: CsvOptions::default(),
            left_out: Vec::new(),
        }
    }
}

impl FolderOptions {
    /// The extensions in lower case, without dots.
    fn checked_extensions(&self) -> Result<BTreeSet<String>> {
        let plain = |text: &String| text.trim_start_matches('.').to_ascii_lowercase();
        let set: BTreeSet<String> = self.extensions.iter().map(plain).collect();
        match set.iter().find(|e| e.is_empty() || e.contains('.')) {
            _ if set.is_empty() => Err(Error::argument("extensions", "at least one", "none")),
            Some(bad) => {
                let expected = "extensions such as `png`";
                Err(Error::argument("extensions", expected, format!("`{bad}`")))
            }
            None => Ok(set),
        }
    }

    fn validate(&self) -> Result<()> {
        // Also refuses what is not a number.
        if self.valid_share > 0.0 && self.valid_share < 1.0 {
            return Ok(());
        }
        let expected = "a number above 0 and below 1";
        Err(Error::argument("valid_share", expected, self.valid_share))
    }

    fn resolved_check(&self) -> Check {
        self.check.unwrap_or(Check::Look)
    }
}

/// What becomes of an image that cannot be read, and of a link to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Broken {
    /// The first one, in the order of the data set, is an error that names it.
    #[default]
    Fail,
    /// It is left out, and [`FolderReport::skipped`] says so. Only what the [`Check`] finds is left
    /// out here. An image that turns out to be broken when it is read, as one may that only looked
    /// sound, is an error there, which whoever reads it has to deal with.
    Skip,
}

/// How carefully images are looked at when a data set is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Not at all.
    No,
    /// The header of each file, the lengths that it declares, and its end, so that one that was cut
    /// off is found. A file that does not look sound is decoded, and only that decides. Damage in
    /// the middle is not seen.
    Look,
    /// Each image is decoded once.
    Full,
}

/// A data set in its parts, which have the same classes.
#[derive(Debug, Clone)]
pub struct Splits {
    /// The images to train on.
    pub train: ImageFolder,
    /// The images to choose the best epoch by.
    pub valid: ImageFolder,
    /// The images of a third part, where the data set has one: a folder `test` beside `val`.
    pub test: Option<ImageFolder>,
    /// What was found, and what was left out.
    pub report: FolderReport,
}

impl ImageFolder {
    /// Opens a folder of images with the default options; see [`open_with`](Self::open_with).
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open(dir: impl AsRef<Path>) -> Result<Splits> {
        Self::open_with(dir, &FolderOptions::default())
    }

    /// Opens a folder of images of one of these forms:
    ///
    /// - `dir/train/CLASS/..` and `dir/val/CLASS/..`. The second may be called `valid` or
    ///   `validation`, or, if there is none of them, `test`; with both, `test` is a part of its
    ///   own. Upper case, `training` and `testing`, and endings such as `train_images` and
    ///   `test-set` are understood. A folder `train` on its own, without images directly in it, is
    ///   split.
    /// - `dir/CLASS/..`, of which [`FolderOptions::valid_share`] of each class becomes validation
    ///   images, chosen by [`FolderOptions::seed`].
    ///
    /// The classes are the names of the folders in the order of their bytes, as torchvision's
    /// `sorted` has them, and labels are indices into them; those of the training images hold for
    /// all parts. Images in folders within a class's folder, at any depth, count for the class.
    /// Images come in torchvision's order: by class, then by folder, then by name. Links are
    /// followed. Names that begin with a dot, what systems and tools leave behind, and files with
    /// other extensions are left out and counted in every layout; a folder without images beside
    /// those of the classes is left out with a warning, unless [`FolderOptions::allow_empty`] says
    /// otherwise.
    ///
    /// # Errors
    /// Folders are never skipped, whatever [`FolderOptions::broken`] says.
    ///
    /// [`Error::Data`] that names the folder or file: no such folder, no class or a single one, a
    /// class whose images can all not be read, a folder above the data set, parts within a class,
    /// validation images of a class that is not trained, a class's name that
    /// is not UTF-8 or has a line break, two folders for the same part, a folder that a link leads
    /// back into or that belongs to two classes, a link to nothing; [`Error::Image`] for an image
    /// that the [`Check`] refuses; [`Error::Io`] for what cannot be read;
    /// [`Error::InvalidArgument`] for options out of range.
    pub fn open_with(dir: impl AsRef<Path>, options: &FolderOptions) -> Result<Splits> {
        Self::open_watched(dir, options, &mut |_| {})
    }

    /// [`open_with`](Self::open_with), with a callback for the progress of the check.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open_watched(
        dir: impl AsRef<Path>,
        options: &FolderOptions,
        progress: &mut dyn FnMut(CheckProgress),
    ) -> Result<Splits> {
        options.validate()?;
        if options.csv != CsvOptions::default() {
            let found = format!("the folder {}", dir.as_ref().display());
            return Err(Error::argument("csv", "options for a CSV file only", found));
        }
        layout::find(dir.as_ref(), options)?.into_splits(options, progress)
    }

    /// Opens the images that a CSV file names (RFC 4180; UTF-8, or UTF-16 with a byte order mark).
    ///
    /// Fields are divided by commas, semicolons, tabs or bars. A column `path` (`file_name`,
    /// `image`, `id`, ..) has paths, absolute or from the file's own folder on; a column `label`
    /// (`class`, `category`, `breed`, ..) has the names of classes. They are text and sorted by their
    /// bytes, as the names of folders are: `1`, `10`, `2`. A file without a header is one whose
    /// first line names an image. [`FolderOptions::csv`] says what is meant where this is not
    /// enough, and [`FolderReport::csv`] what was taken. Other columns are left alone, and so is
    /// white space around a field.
    ///
    /// A column `split` (`set`, `subset`, ..), if there is one, says `train`, `val` (`valid`,
    /// `validation`) or `test` of each image, and a column `is_valid` (`is_test`, `is_train`) says
    /// `True` or `False`; they have the meaning of the folders of [`open_with`](Self::open_with).
    /// Without them the images are split in the same way.
    ///
    /// A path without the extension of an image stands for the one image that is called so, and
    /// one with backslashes for that with slashes, where there is no such file as it is written.
    /// A row that names an image once more counts once more, as oversampling has it; the seed puts
    /// all of an image's rows into one part, and the share is one of images.
    ///
    /// # Errors
    /// [`Error::Data`] that names the file and the line: a column that is missing or may be one of
    /// several, a line with more or fewer fields than the header, an empty field, a split that says
    /// something else, an image with two labels, a name that fits two images, an image that is not
    /// there; [`Error::InvalidArgument`] for a column that the file does not have; and as
    /// [`open_with`](Self::open_with).
    pub fn from_csv(csv: impl AsRef<Path>, options: &FolderOptions) -> Result<Splits> {
        Self::from_csv_watched(csv, options, &mut |_| {})
    }

    /// [`from_csv`](Self::from_csv), with a callback for the progress of the check.
    ///
    /// # Errors
    /// As [`from_csv`](Self::from_csv).
    pub fn from_csv_watched(
        csv: impl AsRef<Path>,
        options: &FolderOptions,
        progress: &mut dyn FnMut(CheckProgress),
    ) -> Result<Splits> {
        options.validate()?;
        csv::find(csv.as_ref(), options)?.into_splits(options, progress)
    }

    /// Opens images to evaluate on: everything that is given, and nothing is split. `path` is a
    /// folder as for [`open_with`](Self::open_with), the folder of a part such as `test`, or a CSV
    /// file as for [`from_csv`](Self::from_csv).
    ///
    /// `classes` are the model's: labels are by name into them, whatever the order of the folders,
    /// and classes that the set lacks are in [`Whole::missing`]. Without `classes` they are the
    /// set's own. Where the set has parts, `part` chooses one; unasked it is the test part, else
    /// the validation part, else the training part.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with), but a single class is enough; and [`Error::Data`] for
    /// images of a class that is not among `classes`, for a part that is not there, and if there is
    /// no image.
    pub fn open_part(
        path: impl AsRef<Path>,
        options: &FolderOptions,
        classes: &[String],
        part: Option<Part>,
        progress: &mut dyn FnMut(CheckProgress),
    ) -> Result<Whole> {
        let path = path.as_ref();
        let given = if path.is_file() {
            csv::given(path, options)?
        } else {
            layout::given(path, options, classes)?
        };
        given.into_whole(options, classes, part, progress)
    }

    /// The channels that all images have: 1 if every one is grey, else 3. The beginnings of the
    /// files are looked at, and no more of them than it takes to find a coloured one. What cannot
    /// be read counts as coloured.
    ///
    /// ```
    /// # fn main() -> burn_zoo::Result<()> {
    /// # use burn_zoo::data::{ImageFolder, FolderOptions};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # for class in ["a", "b"] {
    /// #     std::fs::create_dir(dir.path().join(class)).unwrap();
    /// #     for name in ["1.png", "2.png"] {
    /// #         image::GrayImage::new(2, 2).save(dir.path().join(class).join(name)).unwrap();
    /// #     }
    /// # }
    /// # let path = dir.path();
    /// let images = ImageFolder::open(path)?; // grey ones
    /// assert_eq!(images.train.channels(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn channels(&self) -> usize {
        let shared = &*self.shared;
        channels::of_all(&shared.base, &shared.samples, &shared.decode)
    }

    fn new(
        base: PathBuf,
        samples: Vec<Sample>,
        classes: Arc<[String]>,
        decode: DecodeOptions,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                base,
                samples,
                classes,
                decode,
            }),
        }
    }

    /// The file of image `index`, counted from 0, or `None` past the last image.
    pub fn path(&self, index: usize) -> Option<PathBuf> {
        let sample = self.shared.samples.get(index)?;
        Some(self.shared.base.join(&sample.path))
    }

    /// The label of image `index`, counted from 0, or `None` past the last image. Nothing is
    /// decoded.
    pub fn label(&self, index: usize) -> Option<usize> {
        Some(self.shared.samples.get(index)?.label as usize)
    }

    /// `count` of the images, or all of them if there are fewer, in their order: of each class as
    /// many as its share of the whole says, chosen by `seed`. The first `count` would be images of
    /// the first class.
    #[must_use]
    pub fn subset(&self, count: usize, seed: u64) -> Self {
        let shared = &*self.shared;
        if count >= shared.samples.len() {
            return self.clone();
        }
        let chosen = split::subset(&shared.samples, shared.classes.len(), count, seed);
        let samples = chosen.iter().map(|i| shared.samples[*i].clone()).collect();
        Self::new(
            shared.base.clone(),
            samples,
            shared.classes.clone(),
            shared.decode,
        )
    }
}

impl ImageData for ImageFolder {
    fn len(&self) -> usize {
        self.shared.samples.len()
    }

    fn get(&self, index: usize) -> Result<(Image, usize)> {
        let (Some(path), Some(label)) = (self.path(index), self.label(index)) else {
            let expected = format!("below {}", self.len());
            return Err(Error::argument("index", expected, index));
        };
        Ok((Image::open_with(path, &self.shared.decode)?, label))
    }

    fn label(&self, index: usize) -> Result<usize> {
        ImageFolder::label(self, index).ok_or_else(|| {
            let expected = format!("below {}", self.len());
            Error::argument("index", expected, index)
        })
    }

    fn classes(&self) -> &[String] {
        &self.shared.classes
    }

    fn name(&self, index: usize) -> String {
        let path = self.path(index);
        path.map_or_else(String::new, |path| path.display().to_string())
    }

    /// From the files' names, sizes and times of change, as make and git do.
    fn fingerprint(&self) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        hash.update(format!("{:?}", self.shared.decode));
        for sample in &self.shared.samples {
            let path = self.shared.base.join(&sample.path);
            let found = std::fs::metadata(&path).map_err(Error::io("read", &path))?;
            let changed = found.modified().map_err(Error::io("read", &path))?;
            hash.update(format!(
                "{}\0{}\0{}\0{changed:?}\n",
                path.display(),
                sample.label,
                found.len()
            ));
        }
        Ok(hash.finalize().into())
    }
}

impl fmt::Debug for ImageFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Counts only: the paths of a data set would fill pages.
        f.debug_struct("ImageFolder")
            .field("base", &self.shared.base)
            .field("images", &self.len())
            .field("classes", &self.shared.classes.len())
            .finish()
    }
}
