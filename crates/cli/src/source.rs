//! Where labelled images come from.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use burn_zoo::Error;
use burn_zoo::data::{
    Broken, Check, CsvOptions, CsvSplit, Division, FashionMnist, FolderOptions, FolderReport,
    ImageData, ImageFolder, ImageSet, Part, Splits,
};
use burn_zoo_fractals::{FractalOptions, Fractals};
use clap::Args;
use serde::{Deserialize, Serialize, Serializer};

use crate::flags::{positive, probability};
use crate::{notice, progress};

/// Which images, and how they are divided.
#[derive(Args, Clone, Serialize, Deserialize)]
pub struct DataArgs {
    /// fashion-mnist, fashion-mnist-mini (bundled: 600 training and 100 test images a class),
    /// fractals[:KEY=VALUE,..] (drawn from formulas, such as fractals:categories=100,size=28), a
    /// folder with FashionMNIST's files, a folder of images (CLASS/*.jpg, or train/CLASS/*.jpg and
    /// val/CLASS/*.jpg), or a .csv or .tsv file with a column of paths and one of labels
    /// [default: fashion-mnist-mini; for `eval` of a run, the run's own images]
    #[arg(long, value_parser = name)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Use N test images only: the first, or of a folder N spread over its classes; for `eval`, N of
    /// the images that it would take
    #[arg(long, value_name = "N", value_parser = positive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_test: Option<usize>,
    /// Share of each class that a folder without val/ sets aside for validation [default: 0.2; `eval`
    /// sets nothing aside]
    #[arg(long, value_name = "X", value_parser = probability)]
    #[serde(default, serialize_with = "resolved_share")]
    pub valid_share: Option<f64>,
    /// Seed of that division [default: 42]
    #[arg(long, value_name = "N")]
    #[serde(default, serialize_with = "resolved_seed")]
    pub split_seed: Option<u64>,
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
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<u64>,
    /// The column of a CSV file that has the paths: its title, or its number from 0
    /// [default: detected, such as path, file_name, image, id]
    #[arg(long, value_name = "COLUMN", requires = "data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    csv_path_column: Option<String>,
    /// The column that has the labels [default: detected, such as label, class, category]
    #[arg(long, value_name = "COLUMN", requires = "data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    csv_label_column: Option<String>,
    /// The column that says train, val or test, or is true for validation, or none to split by
    /// --split-seed [default: detected, such as split, is_valid]
    #[arg(long, value_name = "COLUMN|none", requires = "data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    csv_split_column: Option<String>,
    /// What is between the columns: a character, or tab [default: detected]
    #[arg(long, value_name = "CHARACTER", requires = "data", value_parser = delimiter)]
    #[serde(skip_serializing_if = "Option::is_none")]
    csv_delimiter: Option<char>,
}

const VALID_SHARE: f64 = 0.2;
const SPLIT_SEED: u64 = 42;

/// A run keeps what it was divided by, whatever the default is later.
fn resolved_share<S: Serializer>(share: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(share.unwrap_or(VALID_SHARE))
}

fn resolved_seed<S: Serializer>(seed: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(seed.unwrap_or(SPLIT_SEED))
}

/// The images of an evaluation.
pub struct Chosen {
    pub images: Arc<dyn ImageData>,
    /// Which part they are; `None` if nothing is divided.
    pub part: Option<Part>,
    /// How many there were to choose from, those that cannot be read among them.
    pub of: usize,
    /// The name of the data set, or where it is.
    pub data: String,
    /// Whether those that cannot be read are left out.
    pub skip_broken: bool,
    /// What they are, in words.
    pub what: String,
}

/// Training and test images.
pub struct Data {
    pub train: Arc<dyn ImageData>,
    pub test: Arc<dyn ImageData>,
    /// Channels of an image.
    pub channels: usize,
    /// Whether images may differ in size.
    pub any_size: bool,
    /// Where they come from, in words.
    pub source: String,
    /// Those that were left out, from the folder of the images on.
    pub left_out: Vec<String>,
    /// All of a folder or of a CSV file, without a limit.
    pub whole: Option<Splits>,
}

const NAMES: &str = "expected fashion-mnist, fashion-mnist-mini, fractals[:KEY=VALUE,..], a folder, \
     or a .csv or .tsv file that exists";

/// What stands behind `fractals`, if that is meant.
fn fractals(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("fractals")?;
    rest.strip_prefix(':').or(rest.is_empty().then_some(""))
}

/// Instances of each category that a run on fractals is validated on.
const VALIDATED: usize = 5;

/// What `--data` takes.
fn name(text: &str) -> Result<String, String> {
    let bundled = text == "fashion-mnist-mini";
    if let Some(options) = fractals(text) {
        let read = options.parse::<FractalOptions>();
        return read
            .map(|_| text.to_owned())
            .map_err(|error| error.to_string());
    }
    let path = Path::new(text);
    if bundled || text == "fashion-mnist" || path.is_dir() || is_csv(path) {
        return Ok(text.to_owned());
    }
    Err(format!("{NAMES}; {}", what_is(path)))
}

/// What is wrong with a path that is no data set.
fn what_is(path: &Path) -> String {
    if path.is_file() {
        return "this is a file; single images are for `predict`".to_owned();
    }
    let from = match std::env::current_dir() {
        Ok(folder) if path.is_relative() => format!(" (looked for from {} on)", folder.display()),
        _ => String::new(),
    };
    format!("there is no such file or folder{from}")
}

fn is_csv(path: &Path) -> bool {
    let is_one = |e: &OsStr| e.eq_ignore_ascii_case("csv") || e.eq_ignore_ascii_case("tsv");
    path.is_file() && path.extension().is_some_and(is_one)
}

/// What `--csv-delimiter` takes.
fn delimiter(text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (text, characters.next(), characters.next()) {
        ("tab" | "\\t", ..) => Ok('\t'),
        (_, Some(character), None) => Ok(character),
        _ => Err("expected one character, such as `;`, or `tab`".to_owned()),
    }
}

/// Whether a folder is meant to be FashionMNIST's: it has at least one of its files.
fn has_fashion_mnist(dir: &Path) -> bool {
    let parts = [
        "train-images-idx3",
        "train-labels-idx1",
        "t10k-images-idx3",
        "t10k-labels-idx1",
    ];
    parts.iter().any(|part| {
        let file = dir.join(format!("{part}-ubyte"));
        file.exists() || file.with_extension("gz").exists()
    })
}

impl DataArgs {
    /// The name, for the run folder's name.
    pub fn name(&self) -> &str {
        self.data.as_deref().unwrap_or("fashion-mnist-mini")
    }

    /// Opens the images.
    pub fn open(&self, limit_train: Option<usize>) -> Result<Data> {
        let name = self.name();
        if self.data.is_none() && !self.of_run {
            let name = self.name();
            notice::tell(format!("images: {name}, unless --data names others"));
        }
        if self.folder().is_none() {
            self.divided_already();
            self.no_files();
        }
        if !is_csv(Path::new(name)) {
            self.no_csv()?;
        }
        if let Some(options) = fractals(name) {
            return self.open_fractals(options.parse()?, limit_train);
        }
        let path = Path::new(name);
        let data = match name {
            "fashion-mnist" => progress::download(FashionMnist::open_default_with)?,
            "fashion-mnist-mini" => FashionMnist::bundled()?,
            _ if path.is_dir() && has_fashion_mnist(path) => FashionMnist::open(path)?,
            _ if path.is_dir() || is_csv(path) => return self.open_folder(path, limit_train),
            _ => bail!("--data: {NAMES}, found `{name}`; {}", what_is(path)),
        };
        let train = limit(data.train(), limit_train);
        let test = limit(data.test(), self.limit_test);
        Ok(Data {
            channels: train.channels(),
            any_size: false,
            source: format!(
                "{name}: the first {} training and {} test images of {}",
                train.len(),
                test.len(),
                data.source()
            ),
            train: Arc::new(train),
            test: Arc::new(test),
            left_out: Vec::new(),
            whole: None,
        })
    }

    /// Only a CSV file has columns.
    fn no_csv(&self) -> Result<()> {
        let given = [
            ("--csv-path-column", self.csv_path_column.is_some()),
            ("--csv-label-column", self.csv_label_column.is_some()),
            ("--csv-split-column", self.csv_split_column.is_some()),
            ("--csv-delimiter", self.csv_delimiter.is_some()),
        ];
        if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
            bail!(
                "{flag}: expected --data to be a .csv or .tsv file, found `{}`",
                self.name()
            );
        }
        Ok(())
    }

    fn csv(&self) -> CsvOptions {
        CsvOptions {
            delimiter: self.csv_delimiter,
            path_column: self.csv_path_column.clone(),
            label_column: self.csv_label_column.clone(),
            split: match self.csv_split_column.as_deref() {
                None => CsvSplit::Detect,
                Some("none") => CsvSplit::Ignore,
                Some(column) => CsvSplit::Column(column.to_owned()),
            },
        }
    }

    fn open_fractals(&self, options: FractalOptions, limit_train: Option<usize>) -> Result<Data> {
        let each = |limit: Option<usize>, default: usize| {
            limit.map_or(default, |limit| {
                limit.div_ceil(options.categories).min(default)
            })
        };
        let train = FractalOptions {
            per_category: each(limit_train, options.per_category),
            ..options.clone()
        };
        let test = FractalOptions {
            per_category: each(self.limit_test, VALIDATED),
            // Behind all that are trained on.
            first: options.first.saturating_add(options.per_category as u64),
            ..options
        };
        let (train, test) = (Fractals::new(train)?, Fractals::new(test)?);
        let limits = [
            ("--limit-train", limit_train, train.len()),
            ("--limit-test", self.limit_test, test.len()),
        ];
        for (flag, limit, found) in limits {
            if let Some(limit) = limit.filter(|limit| *limit < found) {
                notice::tell(format!(
                    "{flag} {limit}: {found} images, the same number of each category"
                ));
            }
        }
        Ok(Data {
            channels: train.get(0)?.0.channels(),
            any_size: false,
            source: format!(
                "{}: {} training and {} test images, drawn",
                self.name(),
                train.len(),
                test.len()
            ),
            train: Arc::new(train),
            test: Arc::new(test),
            left_out: Vec::new(),
            whole: None,
        })
    }

    fn seed(&self) -> u64 {
        self.split_seed.unwrap_or(SPLIT_SEED)
    }

    fn folder_options(&self) -> FolderOptions {
        let mut options = FolderOptions {
            valid_share: self.valid_share.unwrap_or(VALID_SHARE),
            seed: self.seed(),
            broken: if self.skip_broken {
                Broken::Skip
            } else {
                Broken::Fail
            },
            csv: self.csv(),
            check: self.verify.then_some(Check::Full),
            left_out: self.left_out(),
            ..FolderOptions::default()
        };
        if self.unchecked {
            options.check = Some(Check::No);
        }
        let limits = &mut options.decode.limits;
        limits.max_pixels = self.max_pixels.unwrap_or(limits.max_pixels);
        options
    }

    /// The folder that images of a folder or a CSV file are below of.
    fn root(&self) -> Option<&Path> {
        let path = self.folder()?;
        if path.is_dir() {
            Some(path)
        } else {
            path.parent()
        }
    }

    fn left_out(&self) -> Vec<PathBuf> {
        let root = self.root().unwrap_or(Path::new(""));
        let left_out = self.left_out.iter().flatten();
        left_out.map(|path| root.join(path)).collect()
    }

    /// Opens a folder or a CSV file, and says what was left out.
    fn splits(&self, path: &Path) -> Result<Splits> {
        let options = self.folder_options();
        let splits = progress::check(|watch| {
            if path.is_dir() {
                ImageFolder::open_watched(path, &options, watch)
            } else {
                ImageFolder::from_csv_watched(path, &options, watch)
            }
        });
        let splits = splits.map_err(|error| self.with_advice(error))?;
        tell(&splits.report);
        if !matches!(splits.report.division, Division::Seeded { .. }) {
            self.divided_already();
        }
        notice::say(format_args!(
            "images: {}: {}",
            path.display(),
            splits.report
        ));
        Ok(splits)
    }

    /// Says so where files were to be looked at, and there are none.
    fn no_files(&self) {
        let flags = [
            ("--skip-broken", self.skip_broken),
            ("--verify", self.verify),
            ("--max-pixels", self.max_pixels.is_some()),
        ];
        for (flag, _) in flags.iter().filter(|(_, given)| *given) {
            let name = self.name();
            notice::tell(format!("{flag} has no effect: {name} has no image files"));
        }
    }

    /// Says so where a division was asked for, and the images have one of their own.
    fn divided_already(&self) {
        let name = self.name();
        if self.valid_share.is_some_and(|share| share != VALID_SHARE) {
            notice::tell(format!(
                "--valid-share has no effect: {name} has validation images of its own"
            ));
        }
        if self.split_seed.is_some_and(|seed| seed != SPLIT_SEED) {
            notice::tell(format!(
                "--split-seed divides nothing: {name} has validation images of its own; of a \
                 folder it chooses the images that --limit-train and --limit-test leave"
            ));
        }
    }

    /// What helps where one image is to blame.
    fn with_advice(&self, error: Error) -> anyhow::Error {
        let of_image = match &error {
            Error::Image { .. } => true,
            // A link to nothing, or what a CSV file names and is not there.
            Error::Data { path, .. } => !path.is_dir() && !is_csv(path),
            _ => false,
        };
        if of_image {
            self.with_skip_broken(error)
        } else {
            error.into()
        }
    }

    /// The error of an image that cannot be read, with what helps.
    pub fn with_skip_broken(&self, error: Error) -> anyhow::Error {
        if self.skip_broken {
            return error.into();
        }
        anyhow!("{error}; --skip-broken leaves out what cannot be read")
    }

    fn some(&self, set: ImageFolder, limit: Option<usize>) -> ImageFolder {
        match limit {
            Some(n) => set.subset(n, self.seed()),
            None => set,
        }
    }

    fn open_folder(&self, path: &Path, limit_train: Option<usize>) -> Result<Data> {
        let splits = self.splits(path)?;
        // Of all of them, so that --limit-train makes no other model.
        let channels = splits.train.channels();
        let root = self.root().unwrap_or(Path::new(""));
        let skipped = splits.report.skipped.iter();
        let left_out = skipped.filter_map(|skipped| {
            let path = skipped.path.strip_prefix(root).unwrap_or(&skipped.path);
            path.to_str().map(str::to_owned)
        });
        Ok(Data {
            train: Arc::new(self.some(splits.train.clone(), limit_train)),
            test: Arc::new(self.some(splits.valid.clone(), self.limit_test)),
            channels,
            any_size: true,
            left_out: left_out.collect(),
            source: format!("{}: {}", path.display(), splits.report),
            whole: Some(splits),
        })
    }
}

/// For evaluations.
impl DataArgs {
    /// A folder or a CSV file, if that is what `--data` names.
    pub fn folder(&self) -> Option<&Path> {
        let path = Path::new(self.name());
        let other = fractals(self.name()).is_some() || self.is_fashion_mnist();
        (!other && (path.is_dir() || is_csv(path))).then_some(path)
    }

    fn is_fashion_mnist(&self) -> bool {
        let path = Path::new(self.name());
        let named = ["fashion-mnist", "fashion-mnist-mini"].contains(&self.name());
        named || (path.is_dir() && has_fashion_mnist(path))
    }

    /// Every image of what `--data` names, or of one part of it; labels are by name into `classes`.
    pub fn given(&self, classes: &[String], part: Option<Part>) -> Result<Chosen> {
        if !is_csv(Path::new(self.name())) {
            self.no_csv()?;
        }
        let Some(path) = self.folder() else {
            return self.made(self.limit_test, part.unwrap_or(Part::Test));
        };
        let options = self.folder_options();
        let whole =
            progress::check(|watch| ImageFolder::open_part(path, &options, classes, part, watch));
        let whole = whole.map_err(|error| self.with_advice(error))?;
        tell(&whole.report);
        let of = whole.images.len() + whole.report.skipped.len();
        let shown = path.display();
        let what = match whole.part {
            None => format!("everything in {shown}"),
            Some(part) => format!("the {part} images of {shown}"),
        };
        if part.is_none() && !whole.others.is_empty() {
            let others = whole.others.iter();
            let others: Vec<String> = others
                .map(|(part, count)| format!("{count} {part} images (--part {})", part.name()))
                .collect();
            notice::tell(format!(
                "{what} are judged; not judged: {}",
                others.join(", ")
            ));
        }
        Ok(Chosen {
            images: Arc::new(self.some(whole.images, self.limit_test)),
            part: whole.part,
            of,
            data: self.name().to_owned(),
            skip_broken: self.skip_broken,
            what,
        })
    }

    /// A part of the images of a run, which `splits` has as the run divided them.
    pub fn own(
        &self,
        splits: Option<Splits>,
        limit_train: Option<usize>,
        part: Option<Part>,
    ) -> Result<Chosen> {
        let part = part.unwrap_or(Part::Valid);
        let (Some(splits), Some(path)) = (splits, self.folder()) else {
            return self.made(limit_train, part);
        };
        // Where the set has no validation part, its test part is what a run is validated on.
        let (set, limit) = match part {
            Part::Train => (Some(splits.train), limit_train),
            Part::Valid => (Some(splits.valid), self.limit_test),
            Part::Test if splits.test.is_none() && splits.report.test_is_valid() => {
                (Some(splits.valid), self.limit_test)
            }
            Part::Test => (splits.test, self.limit_test),
        };
        let Some(set) = set else {
            bail!(
                "--part: expected train or val, the parts of {}, found test; --data names other \
                 images",
                path.display()
            );
        };
        Ok(Chosen {
            of: set.len(),
            images: Arc::new(self.some(set, limit)),
            part: Some(part),
            data: self.name().to_owned(),
            skip_broken: self.skip_broken,
            what: format!(
                "the {part} images of {}, as the run divides them",
                path.display()
            ),
        })
    }

    /// A part of images that are divided into training and test images from the start.
    fn made(&self, limit_train: Option<usize>, part: Part) -> Result<Chosen> {
        let all = Self {
            limit_test: None,
            data: Some(self.name().to_owned()),
            // What these are of no use for is said once.
            valid_share: None,
            split_seed: None,
            ..self.clone()
        };
        let of_part = |data: Data| match part {
            Part::Train => data.train,
            Part::Valid | Part::Test => data.test,
        };
        let of = of_part(all.open(None)?).len();
        let shown = match part {
            Part::Train => Part::Train,
            Part::Valid | Part::Test => Part::Test,
        };
        Ok(Chosen {
            images: of_part(self.open(limit_train)?),
            part: Some(shown),
            of,
            data: self.name().to_owned(),
            skip_broken: self.skip_broken,
            what: format!("the {shown} images of {}", self.name()),
        })
    }
}

fn limit(set: ImageSet, limit: Option<usize>) -> ImageSet {
    match limit {
        Some(n) => set.take_first(n),
        None => set,
    }
}

/// Says what a person should know about a folder or a CSV file.
fn tell(report: &FolderReport) {
    if report.left_out_before > 0 {
        notice::tell(format!(
            "images left out as when the run began: {}",
            report.left_out_before
        ));
    }
    for line in report.csv.iter().flat_map(|csv| csv.notices()) {
        notice::tell(line);
    }
    for warning in &report.warnings {
        notice::tell(format!("warning: {warning}"));
    }
    for skipped in &report.skipped {
        notice::tell(format!("skipped: {skipped}"));
    }
    for line in report.left_out() {
        notice::tell(line);
    }
}
