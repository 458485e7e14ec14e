//! What is perhaps a mistake in a data set.

use std::path::PathBuf;

use super::part::Part;
use crate::data::message::first_few;

/// What is perhaps a mistake in how a folder is laid out, or in a CSV file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FolderWarning {
    /// A part has no image of a class, so that nothing can be said about the class.
    #[error("there are no {0} images of class `{1}`")]
    MissingClass(Part, String),
    /// A folder among those of the classes that has no images, so that it is no class.
    #[error("{}: no images in it{beside}, so it is no class and left out", .path.display())]
    EmptyClass {
        /// The folder.
        path: PathBuf,
        /// What it has instead, such as ` (2 .txt)`, or nothing.
        beside: String,
    },
    /// The test images, in this place, stand for validation images, of which there are none: the
    /// best epoch is chosen by them.
    #[error(
        "{}: there are no validation images, so the best epoch is chosen by these test images",
        .0.display()
    )]
    TestIsValid(PathBuf),
    /// A folder beside `train` that is no part of the data set.
    #[error("{}: not `train`, `val` or `test`, so it is left out", .0.display())]
    IgnoredFolder(PathBuf),
    /// A folder `test` whose images are not in folders of classes, so that they have no labels.
    #[error("{}: no folders of classes, so it is left out", .0.display())]
    NoLabels(PathBuf),
    /// All classes hold the same folders, which may be the classes.
    #[error(
        "{}: the classes {classes} all hold the folders {folders}; if these are the classes, the folder is one \
         too high",
        .path.display()
    )]
    SameFoldersWithin {
        /// The folder that holds the classes.
        path: PathBuf,
        /// Some of the classes.
        classes: String,
        /// Some of the folders in them.
        folders: String,
    },
    /// Images beside the folders of the classes, which have no labels.
    #[error("{}: images in no class's folder, which are left out: {count}", .path.display())]
    StrayImages {
        /// The folder that holds them.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// Links lead to the same images in two parts, so that the second says too much good of a model.
    #[error(
        "{}: the same image as {}, in another part; images that are in two parts: {count}",
        .path.display(), .other.display()
    )]
    SharedFiles {
        /// The first of them.
        path: PathBuf,
        /// The same image in an earlier part.
        other: PathBuf,
        /// How many.
        count: usize,
    },
    /// Links lead to a folder twice; its images are taken once.
    #[error("{}: links lead here twice; the images are taken once", .0.display())]
    SameFolder(PathBuf),
    /// Links lead to images twice within a class; each is taken once.
    #[error(
        "{}: links lead to this image twice within a class; images that are taken once: {count}",
        .path.display()
    )]
    SameImage {
        /// The first of them.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// Images of several frames or pages, of which the first is taken.
    #[error(
        "{}: several frames or pages, of which the first is taken; images of several: {count}",
        .path.display()
    )]
    SeveralFrames {
        /// The first of them.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// An image of several labels is a copy of another one.
    #[error(
        "{}: a copy of {}, and no link to it, so each has the labels of its own folders alone; link \
         images that have several labels, or list them in a CSV file",
        .path.display(), .other.display()
    )]
    CopiedImage {
        /// The copy.
        path: PathBuf,
        /// What it is a copy of.
        other: PathBuf,
    },
    /// A number is the same for all training images, so that there is nothing to learn.
    #[error("the number `{0}` is the same for all training images")]
    ConstantNumber(String),
    /// Names of classes that differ only in upper and lower case, in groups.
    #[error("classes that differ only in upper and lower case: {}", groups_of_names(.0))]
    AlikeClasses(Vec<Vec<String>>),
    /// A column of a CSV file was taken because nothing else can be meant, not for its title.
    #[error(
        "the column `{column}` is taken for {holds}, as no other can be meant; {flag} names another"
    )]
    GuessedColumn {
        /// The column.
        column: String,
        /// What it is taken to hold.
        holds: &'static str,
        /// The flag that names another.
        flag: &'static str,
    },
    /// A column is called as a split may be, but says nothing of the kind.
    #[error("the column `{0}` does not say `train` or `val`, so it is left aside")]
    NoSplit(String),
    /// A column with a split that is left aside because the caller asks for it.
    #[error("the column `{0}` is left aside, as asked")]
    IgnoredSplit(String),
    /// The column of the split has training images only, so that the seed decides.
    #[error(
        "the column `{0}` has training images only, so the validation images are chosen by seed"
    )]
    AllTraining(String),
    /// Fields that go over several lines, as after a quote that was not meant as one.
    #[error(
        "fields of the column `{column}` that go over several lines: {count} (the first: lines {} to {}); \
         what such lines name is not read; a quote within a quoted field is written twice",
        .lines[0], .lines[1]
    )]
    LongFields {
        /// The column.
        column: String,
        /// How many fields.
        count: usize,
        /// The first and the last line of the first.
        lines: [u32; 2],
    },
    /// The same images are in two parts, so that the second says too much good of a model.
    #[error(
        "images in both the {} and the {} part: {count}, so the {} figures are too good (the \
         first: {}, lines {} and {})",
        .parts[0], .parts[1], .parts[1], .path.display(), .lines[0], .lines[1]
    )]
    SharedImages {
        /// The parts.
        parts: [Part; 2],
        /// How many images.
        count: usize,
        /// The first of them.
        path: PathBuf,
        /// The lines of the CSV file that name it.
        lines: [u32; 2],
    },
    /// So many names of classes look like lists of classes; the first of them.
    #[error(
        "names of classes that look like several labels: {0} (the first: `{1}`); each is one \
         class; with --task multi-label an image has several labels"
    )]
    LabelLists(usize, String),
    /// So many labels look like lists of labels with something else between them; the first of them.
    #[error(
        "labels that look like several: {0} (the first: `{1}`); each is one label; \
         --csv-label-separator says what is between labels"
    )]
    UndividedLabels(usize, String),
}

fn groups_of_names(groups: &[Vec<String>]) -> String {
    let quoted = |group: &Vec<String>| format!("`{}`", group.join("` and `"));
    let groups: Vec<String> = groups.iter().map(quoted).collect();
    first_few(&groups)
}
