//! Opening folders of images and CSV files.

use std::path::Path;

use super::check::CheckProgress;
use super::csv;
use super::evaluation::EvaluationSet;
use super::image_folder::ImageFolder;
use super::layout;
use super::listing::Purpose;
use super::options::{CsvOptions, FolderOptions};
use super::part::Part;
use super::splits::Splits;
use crate::error::{Error, Result};

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
    /// [`Error::Data`] for [`Task::Regression`](crate::data::Task::Regression), which folders cannot
    /// say. Folders are never skipped, whatever [`FolderOptions::broken`] says.
    ///
    /// [`Error::Data`] that names the folder or file: no such folder, no class or a single one, a
    /// class whose images can all not be read, a folder above the data set, parts within a class,
    /// validation images of a class that is not trained, a class's name that
    /// is not UTF-8 or has a line break, two folders for the same part, a folder that a link leads
    /// back into or that belongs to two classes where an image has one, a link to nothing; [`Error::Image`] for an image
    /// that the [`Check`](super::Check) refuses; [`Error::Io`] for what cannot be read;
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
        let listing = layout::list(dir.as_ref(), options, Purpose::Training)?;
        listing.into_splits(options, progress)
    }

    /// Opens the images that a CSV file names (RFC 4180; UTF-8, or UTF-16 with a byte order mark).
    ///
    /// Fields are divided by commas, semicolons, tabs or bars. A column `path` (`file_name`,
    /// `image`, `id`, ..) has paths, absolute or from the file's own folder on; a column `label`
    /// (`class`, `category`, `breed`, ..) has the names of classes. They are text and sorted by their
    /// bytes, as the names of folders are: `1`, `10`, `2`. A file without a header is one whose
    /// first line names an image. [`FolderOptions::csv`] says what is meant where this is not
    /// enough, and [`FolderReport::notices`](super::FolderReport::notices) what was taken. Other columns
    /// are left alone, and so is white space around a field.
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
    /// With [`Task::MultiLabel`](crate::data::Task::MultiLabel) the column has any number of labels
    /// with [`CsvOptions::label_separator`] between them, or
    /// [`CsvOptions::label_columns`] say 1 or 0 for each; the labels of all rows that name an image
    /// for the same part are joined. With [`Task::Regression`](crate::data::Task::Regression) the
    /// column or columns have decimal numbers, and [`ImageFolder::classes`](crate::data::ImageData::classes)
    /// are their names.
    ///
    /// # Errors
    /// [`Error::Data`] that names the file and the line: a column that is missing or may be one of
    /// several, a line with more or fewer fields than the header, an empty field, a split that says
    /// something else, an image with two labels or other numbers in two rows, what is neither 1 nor 0
    /// for a label, what is no finite number, a name that fits two images, an image that is not
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
        let listing = csv::list(csv.as_ref(), options, Purpose::Training)?;
        listing.into_splits(options, progress)
    }

    /// Opens images to evaluate on: everything that is given, and nothing is split. `path` is a
    /// folder as for [`open_with`](Self::open_with), the folder of a part such as `test`, or a CSV
    /// file as for [`from_csv`](Self::from_csv).
    ///
    /// `classes` are the model's: labels are by name into them, whatever the order of the folders,
    /// and classes that the set lacks are in [`EvaluationSet::missing`]. Without `classes` they are the
    /// set's own. Numbers are matched in the same way, and must all be there; columns of a CSV file
    /// that are called as the model's numbers, or as its labels where an image has several, need no
    /// [`CsvOptions::label_columns`]. Where the set has parts, `part` chooses one; unasked it is the test part, else
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
    ) -> Result<EvaluationSet> {
        let path = path.as_ref();
        let list = if path.is_file() {
            csv::list
        } else {
            layout::list
        };
        let listing = list(path, options, Purpose::Evaluation { classes })?;
        listing.into_evaluation(options, classes, part, progress)
    }
}
