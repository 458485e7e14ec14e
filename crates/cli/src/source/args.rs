//! The flags that say which images, and how they are divided.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn_zoo::data::{Broken, Check, CsvOptions, CsvSplit, FolderOptions, ImageFolder, Task};
use clap::Args;
use serde::{Deserialize, Serialize, Serializer};

use super::kind::{DataKind, check_name};
use crate::flags::{Choice, positive, probability};

/// Which images, and how they are divided. A run's file keeps whole numbers of 63 bits.
#[derive(Args, Clone, Serialize, Deserialize)]
pub struct DataArgs {
    /// fashion-mnist, fashion-mnist-mini (bundled: 600 training and 100 test images a class),
    /// fractals[:KEY=VALUE,..] (drawn from formulas, such as fractals:categories=100,size=28), a
    /// folder with FashionMNIST's files, a folder of images (CLASS/*.jpg, or train/CLASS/*.jpg and
    /// val/CLASS/*.jpg), or a .csv or .tsv file with a column of paths and one of labels
    /// [default: fashion-mnist-mini; for `eval` of a run, the run's own images]
    #[arg(long, value_parser = check_name)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What is to be told of images: one of the classes, any number of them, or numbers. Of several labels
    /// a CSV file has a column with | between them, or a column of 0 and 1 for each, and a folder's images
    /// are linked into several classes; of numbers a CSV file has columns [default: single-label; for
    /// `eval` the model's]
    #[arg(long, value_name = "TASK", requires = "data",
        value_parser = Choice::<Task>::of(Task::names()))]
    #[serde(default, skip_serializing_if = "is_single_label")]
    pub task: Option<Task>,
    /// Use N images for validation only, and N test images: the first, or of a folder N spread over its
    /// classes; for `eval`, N of the images that it would take
    #[arg(long, value_name = "N", value_parser = positive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_test: Option<usize>,
    /// Share of each class's training images that is set aside for validation, of FashionMNIST and of a
    /// folder without val/ [default: 0.1 and 0.2; `eval` sets nothing aside]
    #[arg(long, value_name = "X", value_parser = probability)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_share: Option<f64>,
    /// Seed of that division [default: 42]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    #[serde(default, serialize_with = "resolved_seed")]
    pub split_seed: Option<u64>,
    /// Whether images for validation are set aside of FashionMNIST's training images. Runs of earlier
    /// versions, which do not say so, were validated on its test images.
    #[arg(skip = true)]
    #[serde(default)]
    pub splits_fashion_mnist: bool,
    /// Leave out images of a folder that cannot be read, instead of stopping
    #[arg(long)]
    pub skip_broken: bool,
    /// What was left out when a run began, from the folder of the images on. `None` for runs of
    /// earlier versions, which did not keep it.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Vec<String>>,
    /// The images are those of a run, so that nobody has chosen them now.
    #[arg(skip)]
    #[serde(skip)]
    pub of_run: bool,
    /// Images are not looked at before they are used, as for a run that goes on with them.
    #[arg(skip)]
    #[serde(skip)]
    pub unchecked: bool,
    /// Decode every image of a folder before anything else, to find damage that the quick look at
    /// its header and end does not see
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
    /// Pixels of the largest image of a folder that is decoded [default: Pillow's 178956970]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<u64>,
    /// The column of a CSV file that has the paths: its title, or its number from 0
    /// [default: detected, such as path, file_name, image, id]
    #[arg(long, value_name = "COLUMN", requires = "data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) csv_path_column: Option<String>,
    /// The column that has the labels, or the number [default: detected, such as label, class, category]
    #[arg(long, value_name = "COLUMN", requires = "data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) csv_label_column: Option<String>,
    /// The columns of several labels, each with 1 or 0, or of several numbers, by their titles or their
    /// numbers from 0; needs --task multi-label or --task regression
    #[arg(
        long,
        value_name = "A,B,..",
        requires = "data",
        value_delimiter = ',',
        conflicts_with = "csv_label_column"
    )]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) csv_label_columns: Vec<String>,
    /// What is between several labels in a column: a character, or tab [default: |]
    #[arg(long, value_name = "CHARACTER", requires = "data", value_parser = delimiter)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) csv_label_separator: Option<char>,
    /// The column that says train, val or test, or is true for validation, or none to split by
    /// --split-seed [default: detected, such as split, is_valid]
    #[arg(long, value_name = "COLUMN|none", requires = "data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) csv_split_column: Option<String>,
    /// What is between the columns: a character, or tab [default: detected]
    #[arg(long, value_name = "CHARACTER", requires = "data", value_parser = delimiter)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) csv_delimiter: Option<char>,
}

pub(super) const VALID_SHARE: f64 = 0.2;
/// 6,000 of 60,000 images.
const FASHION_MNIST_VALID_SHARE: f64 = 0.1;
pub(super) const SPLIT_SEED: u64 = 42;

/// A run keeps what it was divided by, whatever the default is later.
fn resolved_seed<S: Serializer>(seed: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(seed.unwrap_or(SPLIT_SEED))
}

/// What a run does not keep, as it is meant where nothing is said.
fn is_single_label(task: &Option<Task>) -> bool {
    task.unwrap_or_default() == Task::SingleLabel
}

/// What `--csv-delimiter` and `--csv-label-separator` take.
fn delimiter(text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (text, characters.next(), characters.next()) {
        ("tab" | "\\t", ..) => Ok('\t'),
        (_, Some(character), None) => Ok(character),
        _ => Err("expected one character, such as `;`, or `tab`".to_owned()),
    }
}

impl DataArgs {
    /// The name, for the run folder's name.
    pub fn name(&self) -> &str {
        self.data.as_deref().unwrap_or("fashion-mnist-mini")
    }

    /// What `--data` names, if there is such a data set.
    pub(super) fn kind(&self) -> Option<DataKind<'_>> {
        DataKind::of(self.name())
    }

    /// A folder or a CSV file, if that is what `--data` names.
    pub fn folder(&self) -> Option<&Path> {
        match self.kind()? {
            DataKind::Folder(path) | DataKind::Csv(path) => Some(path),
            _ => None,
        }
    }

    /// Whether this is FashionMNIST with validation images that are set aside of its training images.
    pub(super) fn is_split_fashion_mnist(&self) -> bool {
        self.splits_fashion_mnist && self.is_fashion_mnist()
    }

    fn is_fashion_mnist(&self) -> bool {
        matches!(
            self.kind(),
            Some(
                DataKind::FashionMnist
                    | DataKind::FashionMnistMini
                    | DataKind::FashionMnistFolder(_)
            )
        )
    }

    /// The share of each class that is for validation, where images are set aside for it.
    pub fn share(&self) -> f64 {
        let default = if self.is_split_fashion_mnist() {
            FASHION_MNIST_VALID_SHARE
        } else {
            VALID_SHARE
        };
        self.valid_share.unwrap_or(default)
    }

    /// What is to be told of the images.
    pub fn task(&self) -> Task {
        self.task.unwrap_or_default()
    }

    /// The same images, of which this is to be told.
    ///
    /// # Errors
    /// If something else was asked for.
    pub fn of_task(&self, task: Task, whose: &str) -> Result<Self> {
        if let Some(asked) = self.task.filter(|asked| *asked != task) {
            bail!("--task: expected {task}, as {whose} says, found {asked}");
        }
        Ok(Self {
            task: Some(task),
            ..self.clone()
        })
    }

    pub(super) fn seed(&self) -> u64 {
        self.split_seed.unwrap_or(SPLIT_SEED)
    }

    pub(super) fn folder_options(&self) -> FolderOptions {
        let check = if self.unchecked {
            Some(Check::No)
        } else {
            self.verify.then_some(Check::Full)
        };
        let root = self.root();
        let left_out = self.left_out.iter().flatten();
        let mut options = FolderOptions {
            task: self.task(),
            valid_share: self.share(),
            seed: self.seed(),
            broken: if self.skip_broken {
                Broken::Skip
            } else {
                Broken::Fail
            },
            csv: self.csv(),
            check,
            left_out: left_out.map(|path| root.join(path)).collect(),
            ..FolderOptions::default()
        };
        let decode = &mut options.decode;
        decode.max_pixels = self.max_pixels.unwrap_or(decode.max_pixels);
        options
    }

    fn csv(&self) -> CsvOptions {
        let default = CsvOptions::default();
        CsvOptions {
            delimiter: self.csv_delimiter,
            path_column: self.csv_path_column.clone(),
            label_column: self.csv_label_column.clone(),
            label_columns: self.csv_label_columns.clone(),
            label_separator: self.csv_label_separator.unwrap_or(default.label_separator),
            split: match self.csv_split_column.as_deref() {
                None => CsvSplit::Detect,
                Some("none") => CsvSplit::Ignore,
                Some(column) => CsvSplit::Column(column.to_owned()),
            },
        }
    }

    /// The folder that images of a folder or a CSV file are below of.
    fn root(&self) -> &Path {
        let path = self.folder().unwrap_or(Path::new(""));
        if path.is_dir() {
            path
        } else {
            path.parent().unwrap_or(path)
        }
    }

    /// The paths from the folder of the images on, as a run keeps them.
    pub(super) fn below_root<'p>(
        &self,
        mut paths: impl Iterator<Item = &'p PathBuf>,
    ) -> Result<Vec<String>> {
        let root = self.root();
        paths.try_fold(Vec::new(), |mut below, path| {
            match path.strip_prefix(root).unwrap_or(path).to_str() {
                Some(path) => below.push(path.to_owned()),
                None => bail!(
                    "--skip-broken: expected names in UTF-8 of images that a run leaves out, found {path:?}; \
                     rename the file"
                ),
            }
            Ok(below)
        })
    }

    /// As many images of a folder as a limit says, of each class its share.
    pub fn limited(&self, images: ImageFolder, limit: Option<usize>) -> ImageFolder {
        match limit {
            Some(count) => images.subset(count, self.seed()),
            None => images,
        }
    }
}
