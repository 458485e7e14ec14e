//! The largest batch that fits.

use std::sync::Arc;

use serde::Serialize;

use super::Recipe;
use super::fit::{prepare, single_step};
use crate::data::{ImageData, Loader};
use crate::error::{Error, Result};
use crate::memory;
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

/// The largest batch that fits, and how it was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchSize {
    /// Images.
    pub batch_size: usize,
    /// What was tried, in order.
    pub trials: Vec<Trial>,
}

/// One batch size that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
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
    /// [`Error::OutOfMemory`] if not even the smallest batch fits, [`Error::InvalidArgument`] for a margin
    /// out of range, and as [`Recipe::fit`].
    pub fn find_batch_size(
        &self,
        model: &Classifier,
        train: Arc<dyn ImageData>,
        search: BatchSearch,
        mut watch: impl FnMut(Trial),
    ) -> Result<BatchSize> {
        self.validate()?;
        if !(0.0..1.0).contains(&search.margin) {
            let expected = "at least 0 and below 1";
            return Err(Error::argument("margin", expected, search.margin));
        }
        let device = model.device();
        // A device that knows its own memory has its own limits.
        let budget = match device.memory_pool_usage() {
            Some(_) => None,
            None => search
                .budget
                .or_else(|| memory::available().map(|free| free / 5 * 4 + resident())),
        };
        let budget = budget.map(|budget| (budget as f64 * (1.0 - search.margin)) as u64);
        let least = self.least_batch(model, &train, search.skip_broken)?;
        if search.largest < least {
            return Err(Error::argument(
                "largest",
                format!("at least {least}"),
                search.largest,
            ));
        }
        let largest = search.largest.min(train.len());
        let mut trials: Vec<Trial> = Vec::new();
        let mut fits = |batch_size: usize| -> Result<bool> {
            let expected = expected_peak(&trials, batch_size);
            // What is known to be too much is not tried: main memory that is not there does not
            // come back as an error.
            let hopeless = expected
                .zip(budget)
                .is_some_and(|(peak, budget)| peak > budget);
            let trial = match hopeless {
                true => Trial {
                    batch_size,
                    peak: expected,
                    fits: false,
                },
                false => self.try_batch(model, &train, batch_size, budget, search.skip_broken)?,
            };
            trials.push(trial);
            watch(trial);
            Ok(trial.fits)
        };

        let mut good = 0;
        let mut bad = None;
        let mut size = least;
        while bad.is_none() && good < largest {
            match fits(size)? {
                true => good = size,
                false => bad = Some(size),
            }
            size = (size * 2).min(largest);
        }
        // To within an eighth: memory varies more than that from run to run.
        while let Some(limit) = bad
            && limit - good > (good / 8).max(1)
            && good > 0
        {
            let middle = good + (limit - good) / 2;
            match fits(middle)? {
                true => good = middle,
                false => bad = Some(middle),
            }
        }
        if good == 0 {
            return Err(Error::OutOfMemory {
                batch_size: least,
                accumulate: self.accumulate,
                least,
                reason: match budget {
                    Some(budget) => format!("the budget is {budget} bytes, margin deducted"),
                    None => "the device has no room for the smallest batch".to_owned(),
                },
            });
        }
        Ok(BatchSize {
            batch_size: good,
            trials,
        })
    }

    /// This recipe with another batch size, for a few steps.
    fn trial(&self, batch_size: usize) -> Recipe {
        Recipe {
            batch_size,
            workers: 0,
            drop_last: false,
            ..self.clone()
        }
    }

    /// The smallest batch that trains.
    fn least_batch(
        &self,
        model: &Classifier,
        train: &Arc<dyn ImageData>,
        skip_broken: bool,
    ) -> Result<usize> {
        if train.is_empty() {
            return Err(Error::argument("data", "at least one image", "none"));
        }
        let data = (train.clone(), train.clone());
        let (_, setup) = prepare(&self.trial(2), model.clone(), data.0, data.1, skip_broken)?;
        Ok(setup.least)
    }

    /// Two steps, the second with the optimiser's state in place.
    fn try_batch(
        &self,
        model: &Classifier,
        train: &Arc<dyn ImageData>,
        batch_size: usize,
        budget: Option<u64>,
        skip_broken: bool,
    ) -> Result<Trial> {
        let recipe = self.trial(batch_size);
        let known = memory::reset_peak();
        let steps = || -> Result<()> {
            let data = (train.clone(), train.clone());
            let (model, setup) = prepare(&recipe, model.clone(), data.0, data.1, skip_broken)?;
            let mut most = (0, None);
            for (_, freeze) in setup.plan.changes() {
                let frozen = model.clone().freeze_with(freeze, recipe.frozen_norm)?;
                let trained = frozen.trainable_parameters().len();
                if trained > most.0 {
                    most = (trained, Some(frozen));
                }
            }
            let mut model = most.1.unwrap_or(model);
            let mut optimizer = recipe.optimizer(&model)?;
            let rates = setup.plan.at(0);
            for _ in 0..2 {
                let Some(batch) = first_batch(&setup.train)? else {
                    break;
                };
                let rates = setup.plan.learning_rate(&rates);
                (_, model) = single_step(&setup, model, &mut optimizer, rates, batch)?;
            }
            let device = model.device();
            device.sync().map_err(|error| Error::Device {
                device: crate::device::device_name(&device),
                reason: error.to_string(),
            })
        };
        let fits = match steps() {
            Ok(()) => true,
            Err(Error::OutOfMemory { .. }) => {
                model.device().memory_cleanup();
                false
            }
            Err(error) => return Err(error),
        };
        let peak = crate::Memory::peak_resident().filter(|_| known);
        let within = peak.zip(budget).is_none_or(|(peak, budget)| peak <= budget);
        Ok(Trial {
            batch_size,
            peak,
            fits: fits && within,
        })
    }
}

fn first_batch(loader: &Loader) -> Result<Option<crate::data::Batch>> {
    loader.epoch(0).next().transpose()
}

/// What this process holds.
fn resident() -> u64 {
    memory::resident().unwrap_or_default()
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
