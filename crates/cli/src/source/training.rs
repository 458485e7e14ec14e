//! Images to train on.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use burn_zoo::data::{Division, FashionMnist, ImageData, ImageFolder, Splits};
use burn_zoo_fractals::{FractalOptions, Fractals};

use super::args::DataArgs;
use super::kind::{DataKind, no_data_set};
use super::notices::tell_of_report;
use crate::{notice, progress};

/// Training and test images.
pub struct TrainingImages {
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
    pub splits: Option<Splits>,
}

/// Instances of each category that a run on fractals is validated on.
const VALIDATED: usize = 5;

impl DataArgs {
    /// Opens the images.
    pub fn open(&self, limit_train: Option<usize>) -> Result<TrainingImages> {
        let name = self.name();
        if self.data.is_none() && !self.of_run {
            notice::tell(format!("images: {name}, unless --data names others"));
        }
        if self.folder().is_none() {
            self.tell_of_own_division();
            self.tell_of_no_files();
        }
        self.check_csv_flags()?;
        let data = match self.kind() {
            Some(DataKind::Fractals(options)) => {
                return self.open_fractals(options.parse()?, limit_train);
            }
            Some(DataKind::Folder(path) | DataKind::Csv(path)) => {
                return self.open_folder(path, limit_train);
            }
            Some(DataKind::FashionMnist) => progress::download(FashionMnist::open_default_with)?,
            Some(DataKind::FashionMnistMini) => FashionMnist::bundled()?,
            Some(DataKind::FashionMnistFolder(path)) => FashionMnist::open(path)?,
            _ => bail!("--data: found `{name}`, {}", no_data_set(name)),
        };
        let train = data.train().take_first(limit_train.unwrap_or(usize::MAX));
        let test = data
            .test()
            .take_first(self.limit_test.unwrap_or(usize::MAX));
        Ok(TrainingImages {
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
            splits: None,
        })
    }

    fn open_fractals(
        &self,
        options: FractalOptions,
        limit_train: Option<usize>,
    ) -> Result<TrainingImages> {
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
        Ok(TrainingImages {
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
            splits: None,
        })
    }

    fn open_folder(&self, path: &Path, limit_train: Option<usize>) -> Result<TrainingImages> {
        let splits = self.open_splits(path)?;
        let skipped = splits.report.skipped.iter();
        Ok(TrainingImages {
            train: Arc::new(self.limited(splits.train.clone(), limit_train)),
            test: Arc::new(self.limited(splits.valid.clone(), self.limit_test)),
            // Of all of them, so that --limit-train makes no other model.
            channels: splits.train.channels(),
            any_size: true,
            left_out: self.below_root(skipped.map(|skipped| &skipped.path)),
            source: format!("{}: {}", path.display(), splits.report),
            splits: Some(splits),
        })
    }

    /// Opens a folder or a CSV file, and says what was left out.
    fn open_splits(&self, path: &Path) -> Result<Splits> {
        let options = self.folder_options();
        let splits = progress::check(|watch| {
            if path.is_dir() {
                ImageFolder::open_watched(path, &options, watch)
            } else {
                ImageFolder::from_csv_watched(path, &options, watch)
            }
        });
        let splits = splits.map_err(|error| self.with_advice(error))?;
        tell_of_report(&splits.report);
        if !matches!(splits.report.division, Division::Seeded { .. }) {
            self.tell_of_own_division();
        }
        let path = path.display();
        notice::say(format_args!("images: {path}: {}", splits.report));
        Ok(splits)
    }
}
