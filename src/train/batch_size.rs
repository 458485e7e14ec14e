//! The largest batch that fits.

use std::sync::Arc;

use super::plan::Plan;
use super::ranges::below_one;
use super::recipe::Recipe;
use super::setup::{Setup, prepare};
use super::step::single_step;
use crate::data::ImageData;
use crate::device::device_name;
use crate::error::{Error, Result};
use crate::memory::{self, Memory};
use crate::model::Classifier;

/// How the largest batch is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchSearch {
    /// Bytes that the whole process may take in main memory; `None` for four fifths of what is
    /// free. On a GPU it is the device that says no.
    pub budget: Option<u64>,
    /// Share of the budget that is kept free, 0 to below 1.
    pub margin: f64,
    /// No batch is larger: a very large one needs other learning rates, and trains worse.
    pub largest: usize,
    /// Leaves out images that cannot be read, instead of ending with the first of them.
    pub skip_broken: bool,
}

impl Default for BatchSearch {
    /// A margin of a tenth, at most 1024 images.
    fn default() -> Self {
        Self {
            budget: None,
            margin: 0.1,
            largest: 1024,
            skip_broken: false,
        }
    }
}

/// One batch size that was tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// Images.
    pub batch_size: usize,
    /// The most main memory that two training steps took, in bytes, where that is known.
    pub peak: Option<u64>,
    /// Whether it fits.
    pub fits: bool,
}

impl Recipe {
    /// Finds the largest batch that a training step has room for, by training steps on a copy of
    /// the model: doubled until it does not fit, then halved in between. The stage of the recipe
    /// at which the most trains is tried. A batch of one image is only tried where it trains: see
    /// [`Error::SingleValue`].
    ///
    /// `watch` is told of each trial.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if not even the smallest batch fits, [`Error::InvalidArgument`] for a
    /// margin out of range, and as [`Recipe::fit`].
    pub fn find_batch_size(
        &self,
        model: &Classifier,
        train: Arc<dyn ImageData>,
        search: BatchSearch,
        mut watch: impl FnMut(Trial),
    ) -> Result<usize> {
        self.validate()?;
        below_one("margin", search.margin)?;
        let searched = Searched {
            recipe: self,
            model,
            train: &train,
            skip_broken: search.skip_broken,
            budget: budget(model, &search),
        };
        let least = searched.min_batch()?;
        if search.largest < least {
            let expected = format!("at least {least}");
            return Err(Error::argument("largest", expected, search.largest));
        }
        let largest = search.largest.min(train.len());
        let mut trials: Vec<Trial> = Vec::new();
        let mut fits = |batch_size: usize| -> Result<bool> {
            let trial = match searched.hopeless(&trials, batch_size) {
                Some(trial) => trial,
                None => searched.try_batch(batch_size)?,
            };
            trials.push(trial);
            watch(trial);
            Ok(trial.fits)
        };

        let mut good = 0;
        let mut bad = None;
        let mut size = least;
        while bad.is_none() && good < largest {
            if fits(size)? {
                good = size;
            } else {
                bad = Some(size);
            }
            size = (size * 2).min(largest);
        }
        // To within an eighth: memory varies more than that from run to run.
        while let Some(limit) = bad
            && limit - good > (good / 8).max(1)
            && good > 0
        {
            let middle = good + (limit - good) / 2;
            if fits(middle)? {
                good = middle;
            } else {
                bad = Some(middle);
            }
        }
        if good == 0 {
            return Err(Error::OutOfMemory {
                batch_size: least,
                accumulate: self.accumulate,
                least,
                reason: match searched.budget {
                    Some(budget) => format!("the budget is {budget} bytes, margin deducted"),
                    None => "the device has no room for the smallest batch".to_owned(),
                },
            });
        }
        Ok(good)
    }
}

/// Bytes that the process may take, without the margin; `None` where the device has its own limits.
fn budget(model: &Classifier, search: &BatchSearch) -> Option<u64> {
    // A device that knows its own memory says no by itself.
    if model.device().memory_pool_usage().is_some() {
        return None;
    }
    let resident = || memory::resident().unwrap_or_default();
    let free = || memory::available().map(|free| free / 5 * 4 + resident());
    let budget = search.budget.or_else(free)?;
    Some((budget as f64 * (1.0 - search.margin)) as u64)
}

/// What a batch size is looked for.
pub(super) struct Searched<'a> {
    pub recipe: &'a Recipe,
    pub model: &'a Classifier,
    pub train: &'a Arc<dyn ImageData>,
    pub skip_broken: bool,
    pub budget: Option<u64>,
}

impl Searched<'_> {
    /// Model and data for a few steps in batches of this size.
    pub fn prepare(&self, batch_size: usize) -> Result<(Classifier, Setup)> {
        let recipe = Recipe {
            batch_size,
            workers: 0,
            drop_last: false,
            ..self.recipe.clone()
        };
        let (train, valid) = (self.train.clone(), self.train.clone());
        prepare(
            &recipe,
            self.model.clone(),
            train,
            valid,
            self.skip_broken,
            Arc::default(),
        )
    }

    /// The smallest batch that trains.
    pub fn min_batch(&self) -> Result<usize> {
        if self.train.is_empty() {
            return Err(Error::argument("data", "at least one image", "none"));
        }
        let of_model = self.prepare(2)?.1.min_batch;
        // One image has no other to be mixed with.
        let of_mixing = if self.recipe.mixes() { 2 } else { 1 };
        Ok(of_model.max(of_mixing))
    }

    /// A trial that need not be made, as it is known to be too much: main memory that is not there
    /// does not come back as an error.
    fn hopeless(&self, trials: &[Trial], batch_size: usize) -> Option<Trial> {
        let peak = expected_peak(trials, batch_size)?;
        (peak > self.budget?).then_some(Trial {
            batch_size,
            peak: Some(peak),
            fits: false,
        })
    }

    pub fn try_batch(&self, batch_size: usize) -> Result<Trial> {
        // What an earlier trial reserved is no part of this one.
        self.model.device().memory_cleanup();
        let is_measured = memory::reset_peak();
        let fits = match self.two_steps(batch_size) {
            Ok(()) => true,
            Err(Error::OutOfMemory { .. }) => {
                self.model.device().memory_cleanup();
                false
            }
            Err(error) => return Err(error),
        };
        // A device with a pool of its own says what it has reserved.
        let reserved = self.model.device().memory_pool_usage();
        let peak = match reserved {
            Some(pool) => Some(pool.bytes_reserved),
            None => Memory::peak_resident().filter(|_| is_measured),
        };
        let within = peak.zip(self.budget).is_none_or(|(peak, max)| peak <= max);
        Ok(Trial {
            batch_size,
            peak,
            fits: fits && within,
        })
    }

    /// Two steps of the stage at which the most trains, the second with the optimiser's state in
    /// place.
    fn two_steps(&self, batch_size: usize) -> Result<()> {
        let (model, setup) = self.prepare(batch_size)?;
        let mut model = where_most_trains(&setup.recipe, &setup.plan, model)?;
        let mut optimizer = setup.recipe.optimizer(&model)?;
        let rates = setup.plan.at(0);
        for _ in 0..2 {
            let Some(batch) = setup.train.epoch(0).next().transpose()? else {
                break;
            };
            let rates = setup.plan.learning_rate(&rates);
            (_, model) = single_step(&setup, model, &mut optimizer, rates, batch)?;
        }
        let device = model.device();
        device.sync().map_err(|error| Error::Device {
            device: device_name(&device),
            reason: error.to_string(),
        })
    }
}

/// A model frozen as in the stage of a plan at which the most trains.
pub(super) fn where_most_trains(
    recipe: &Recipe,
    plan: &Plan,
    model: Classifier,
) -> Result<Classifier> {
    let (mut most, mut found) = (0, model.clone());
    for (_, freeze) in plan.changes() {
        let frozen = recipe.frozen(model.clone(), freeze)?;
        let trained = frozen.trainable_parameters().len();
        if trained > most {
            (most, found) = (trained, frozen);
        }
    }
    Ok(found)
}

/// The peak of a larger batch, on the line through the last two that were measured.
fn expected_peak(trials: &[Trial], batch_size: usize) -> Option<u64> {
    let mut known = trials.iter().filter(|t| t.fits).filter_map(|t| {
        let peak = t.peak?;
        Some((t.batch_size as f64, peak as f64))
    });
    let mut last = known.next()?;
    let mut before = last;
    for point in known {
        if point.0 > last.0 {
            before = last;
            last = point;
        }
    }
    if last.0 == before.0 {
        return None;
    }
    let slope = ((last.1 - before.1) / (last.0 - before.0)).max(0.0);
    Some((last.1 + slope * (batch_size as f64 - last.0)) as u64)
}
