//! Images to train on.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use burn_zoo::data::{Division, FashionMnist, ImageData, ImageFolder, ImageSet, Part, Splits};
use burn_zoo_fractals::{FractalOptions, Fractals};

use super::args::DataArgs;
use super::kind::{DataKind, no_data_set};
use super::notices::tell_of_report;
use crate::{notice, progress};

/// The images of a run or a comparison.
pub struct TrainingImages {
    pub train: Arc<dyn ImageData>,
    /// Those by which everything is chosen: the best epoch, when to stop, the better model.
    pub valid: Arc<dyn ImageData>,
    /// Which part these are: the test images, where those stand for validation images.
    pub valid_part: Part,
    /// Those by which nothing is chosen, if there are any.
    pub test: Option<Arc<dyn ImageData>>,
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

/// Instances of each category of fractals that are for validation, and as many for the test.
const JUDGED: usize = 5;

impl TrainingImages {
    /// The images of a part, and which they are: test images that stand for validation images are both.
    pub fn part(&self, part: Part) -> Option<(Part, Arc<dyn ImageData>)> {
        let images = match part {
            Part::Train => self.train.clone(),
            Part::Test if self.valid_part != Part::Test => self.test.clone()?,
            Part::Valid | Part::Test => return Some((self.valid_part, self.valid.clone())),
        };
        Some((part, images))
    }
}

impl DataArgs {
    /// Opens the images.
    pub fn open(&self, limit_train: Option<usize>) -> Result<TrainingImages> {
        let name = self.name();
        if self.data.is_none() && !self.of_run {
            notice::tell(format!("images: {name}, unless --data names others"));
        }
        let in_files = self.folder().is_some();
        if !in_files {
            if !self.is_split_fashion_mnist() {
                self.tell_of_own_division();
            }
            self.tell_of_no_files();
        }
        self.check_csv_flags()?;
        self.check_task()?;
        let images = self.read(limit_train)?;
        if !in_files {
            notice::say(format_args!("images: {}", images.source));
        }
        Ok(images)
    }

    /// [`open`](Self::open) that says nothing of what was given; of a folder, what was found.
    pub(super) fn read(&self, limit_train: Option<usize>) -> Result<TrainingImages> {
        let name = self.name();
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
        self.open_fashion_mnist(&data, limit_train)
    }

    fn open_fashion_mnist(
        &self,
        data: &FashionMnist,
        limit_train: Option<usize>,
    ) -> Result<TrainingImages> {
        let first = |images: ImageSet, limit: Option<usize>| match limit {
            Some(limit) => images.take_first(limit),
            None => images,
        };
        let (name, test) = (self.name(), first(data.test(), self.limit_test));
        if data.train().classes() != FashionMnist::CLASSES {
            notice::tell(format!(
                "{name}: its labels are not those of FashionMNIST; the classes are called 0 to 9"
            ));
        }
        if !self.splits_fashion_mnist {
            let train = first(data.train(), limit_train);
            return Ok(TrainingImages {
                channels: train.channels(),
                any_size: false,
                source: format!(
                    "{name}: the first {} training and {} test images of {}",
                    train.len(),
                    test.len(),
                    data.source()
                ),
                train: Arc::new(train),
                valid: Arc::new(test),
                valid_part: Part::Test,
                test: None,
                left_out: Vec::new(),
                splits: None,
            });
        }
        let (share, seed) = (self.share(), self.seed());
        let (train, valid) = data.train().split(share, seed)?;
        let (train, valid) = (first(train, limit_train), first(valid, self.limit_test));
        Ok(TrainingImages {
            channels: train.channels(),
            any_size: false,
            source: format!(
                "{name}: the first {} training and {} validation images of {}, {}",
                train.len(),
                valid.len(),
                data.source(),
                Division::Seeded { share, seed }
            ),
            train: Arc::new(train),
            valid: Arc::new(valid),
            valid_part: Part::Valid,
            test: Some(Arc::new(test)),
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
        // Behind all that are trained on, and those for the test behind these.
        let judged = |behind: usize| FractalOptions {
            per_category: each(self.limit_test, JUDGED),
            first: options.first.saturating_add(behind as u64),
            ..options.clone()
        };
        let valid = judged(options.per_category);
        let test = judged(options.per_category.saturating_add(JUDGED));
        let (train, valid) = (Fractals::new(train)?, Fractals::new(valid)?);
        let test = Fractals::new(test)?;
        let limits = [
            ("--limit-train", limit_train, train.len()),
            ("--limit-test", self.limit_test, valid.len()),
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
                "{}: {} training and {} validation images, drawn",
                self.name(),
                train.len(),
                valid.len()
            ),
            train: Arc::new(train),
            valid: Arc::new(valid),
            valid_part: Part::Valid,
            test: Some(Arc::new(test)),
            left_out: Vec::new(),
            splits: None,
        })
    }

    fn open_folder(&self, path: &Path, limit_train: Option<usize>) -> Result<TrainingImages> {
        let splits = self.open_splits(path)?;
        let skipped = splits.report.skipped.iter();
        let test = splits.test.clone();
        Ok(TrainingImages {
            train: Arc::new(self.limited(splits.train.clone(), limit_train)),
            valid: Arc::new(self.limited(splits.valid.clone(), self.limit_test)),
            valid_part: if splits.report.test_is_valid() {
                Part::Test
            } else {
                Part::Valid
            },
            test: test.map(|test| -> Arc<dyn ImageData> {
                Arc::new(self.limited(test, self.limit_test))
            }),
            // Of all of them, so that --limit-train makes no other model.
            channels: splits.train.channels(),
            any_size: true,
            left_out: self.below_root(skipped.map(|skipped| &skipped.path))?,
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
