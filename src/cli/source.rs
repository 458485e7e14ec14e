//! Where labelled images come from.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use burn_zoo::data::{
    Broken, Check, FashionMnist, FolderOptions, FractalOptions, Fractals, ImageData, ImageFolder,
    ImageSet,
};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{notice, positive, probability, progress};

/// Which images, and how they are divided.
#[derive(Args, Serialize, Deserialize)]
pub struct DataArgs {
    /// fashion-mnist, fashion-mnist-mini (bundled: 600 training and 100 test images a class),
    /// fractals[:KEY=VALUE,..] (drawn from formulas, such as fractals:categories=100,size=28), a
    /// folder with FashionMNIST's files, a folder of images (CLASS/*.jpg, or train/CLASS/*.jpg and
    /// val/CLASS/*.jpg), or a .csv file with the columns path and label
    /// [default: fashion-mnist-mini; for `eval` of a run, the images it was trained on]
    #[arg(long, value_parser = name)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Use N test images only: the first, or of a folder N spread over its classes
    #[arg(long, value_name = "N", value_parser = positive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_test: Option<usize>,
    /// Share of each class that a folder without val/ sets aside for validation
    #[arg(long, value_name = "X", default_value_t = 0.2, value_parser = probability)]
    valid_share: f64,
    /// Seed of that division
    #[arg(long, value_name = "N", default_value_t = 42)]
    split_seed: u64,
    /// Leave out images of a folder that cannot be read, instead of stopping
    #[arg(long)]
    skip_broken: bool,
    /// Decode every image of a folder before anything else, to find damage that the quick look at
    /// its header and end does not see
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    verify: bool,
    /// Pixels of the largest image of a folder that is decoded [default: Pillow's 178956970]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_pixels: Option<u64>,
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
}

const NAMES: &str = "expected fashion-mnist, fashion-mnist-mini, fractals[:KEY=VALUE,..], a folder or \
     a .csv file that exists";

/// What stands behind `fractals`, if that is meant.
fn fractals(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("fractals")?;
    rest.strip_prefix(':').or(rest.is_empty().then_some(""))
}

/// Instances of each category that a run on fractals is validated on.
const VALIDATED: usize = 5;

/// What `--data` takes.
fn name(text: &str) -> Result<String, String> {
    let bundled = cfg!(feature = "fashion-mnist-mini") && text == "fashion-mnist-mini";
    if let Some(options) = fractals(text) {
        let read = options.parse::<FractalOptions>();
        return read
            .map(|_| text.to_owned())
            .map_err(|error| error.to_string());
    }
    let path = Path::new(text);
    match bundled || text == "fashion-mnist" || path.is_dir() || is_csv(path) {
        true => Ok(text.to_owned()),
        false => Err(NAMES.to_owned()),
    }
}

fn is_csv(path: &Path) -> bool {
    path.is_file()
        && path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("csv"))
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
        if let Some(options) = fractals(name) {
            return self.open_fractals(options.parse()?, limit_train);
        }
        let path = Path::new(name);
        let data = match name {
            "fashion-mnist" => progress::download(FashionMnist::open_default_with)?,
            #[cfg(feature = "fashion-mnist-mini")]
            "fashion-mnist-mini" => FashionMnist::bundled()?,
            _ if path.is_dir() && has_fashion_mnist(path) => FashionMnist::open(path)?,
            _ if path.is_dir() || is_csv(path) => return self.open_folder(path, limit_train),
            _ => bail!("--data: {NAMES}, found `{name}`"),
        };
        let limit = |set: ImageSet, limit: Option<usize>| match limit {
            Some(n) => set.take_first(n),
            None => set,
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
        })
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
        })
    }

    fn open_folder(&self, path: &Path, limit_train: Option<usize>) -> Result<Data> {
        let mut options = FolderOptions {
            valid_share: self.valid_share,
            seed: self.split_seed,
            broken: if self.skip_broken {
                Broken::Skip
            } else {
                Broken::Fail
            },
            check: self.verify.then_some(Check::Full),
            ..FolderOptions::default()
        };
        let limits = &mut options.decode.limits;
        limits.max_pixels = self.max_pixels.unwrap_or(limits.max_pixels);
        let splits = progress::check(|watch| match path.is_dir() {
            true => ImageFolder::open_watched(path, &options, watch),
            false => ImageFolder::from_csv_watched(path, &options, watch),
        })?;
        for warning in &splits.report.warnings {
            notice::tell(format!("warning: {warning}"));
        }
        for skipped in &splits.report.skipped {
            notice::tell(format!("skipped: {skipped}"));
        }
        let limit = |set: ImageFolder, limit: Option<usize>| match limit {
            Some(n) => set.subset(n, self.split_seed),
            None => set,
        };
        Ok(Data {
            train: Arc::new(limit(splits.train, limit_train)),
            test: Arc::new(limit(splits.valid, self.limit_test)),
            channels: 3,
            any_size: true,
            source: format!("{}: {}", path.display(), splits.report),
        })
    }
}
