//! How a model is fine-tuned, as plain data.

use std::path::Path;
use std::sync::Arc;

use burn::optim::ModuleOptimizer;
use serde::{Deserialize, Serialize};

use super::fit::{self, FitOptions, Silent};
use super::{Observer, Optimizer, Run, Schedule};
use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::freeze::{Freeze, FrozenNorm};
use crate::model::Classifier;

/// A recipe: what trains, for how long, and how fast.
///
/// ```
/// use burn_zoo::prelude::*;
///
/// let recipe = Recipe::full().epochs(9).learning_rate(9.3e-4).batch_size(32);
/// assert_eq!(recipe.epochs, 9);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recipe {
    /// What is frozen.
    #[serde(with = "as_text")]
    pub freeze: Freeze,
    /// What becomes of frozen batch normalisations.
    pub frozen_norm: FrozenNorm,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images in a batch.
    pub batch_size: usize,
    /// The learning rate before the schedule.
    pub learning_rate: f64,
    /// Weight decay, for weights of rank two and more.
    pub weight_decay: f64,
    /// Epochs of linear warm-up, part of the run.
    pub warmup_epochs: f64,
    /// Side of the images in pixels; `None` leaves them as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Leaves out a last training batch that is not full. A last batch of a single image is left
    /// out in any case: a normalisation has nothing to learn from one value.
    pub drop_last: bool,
    /// Seed of the order of the images and of everything random in training.
    pub seed: u64,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// The schedule of the learning rate.
    pub schedule: Schedule,
}

impl Recipe {
    fn new(freeze: Freeze) -> Self {
        Self {
            freeze,
            frozen_norm: FrozenNorm::default(),
            epochs: 9,
            batch_size: 64,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            warmup_epochs: 0.0,
            image_size: None,
            workers: 1,
            drop_last: false,
            seed: 42,
            optimizer: Optimizer::Adam,
            schedule: Schedule::Constant,
        }
    }

    /// Everything trains: nine epochs of Adam at 1e-3 in batches of 64.
    pub fn full() -> Self {
        Self::new(Freeze::Nothing)
    }

    /// The backbone is frozen, its normalisations included, and the head trains: nine epochs of
    /// Adam at 1e-3 in batches of 64.
    pub fn feature_extraction() -> Self {
        Self::new(Freeze::Backbone)
    }

    /// Sets what is frozen.
    pub fn freeze(mut self, freeze: Freeze) -> Self {
        self.freeze = freeze;
        self
    }

    /// Sets what becomes of frozen batch normalisations.
    pub fn frozen_norm(mut self, norm: FrozenNorm) -> Self {
        self.frozen_norm = norm;
        self
    }

    /// Sets the number of epochs.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Sets the images in a batch.
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = size;
        self
    }

    /// Sets the learning rate before the schedule.
    pub fn learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = rate;
        self
    }

    /// Sets the weight decay.
    pub fn weight_decay(mut self, decay: f64) -> Self {
        self.weight_decay = decay;
        self
    }

    /// Sets the optimiser.
    pub fn with_optimizer(mut self, optimizer: Optimizer) -> Self {
        self.optimizer = optimizer;
        self
    }

    /// Sets the schedule of the learning rate.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Sets the epochs of linear warm-up.
    pub fn warmup(mut self, epochs: f64) -> Self {
        self.warmup_epochs = epochs;
        self
    }

    /// Brings the images to this many pixels on a side.
    pub fn image_size(mut self, size: usize) -> Self {
        self.image_size = Some(size);
        self
    }

    /// Sets the threads that prepare batches.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Leaves out a last training batch that is not full.
    pub fn drop_last(mut self, drop: bool) -> Self {
        self.drop_last = drop;
        self
    }

    /// Sets the seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The optimiser that this recipe trains a model with, for a loop of your own.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a value out of range.
    pub fn optimizer(&self, model: &Classifier) -> Result<ModuleOptimizer> {
        self.validate()?;
        Ok(self.optimizer.init(model, self.weight_decay))
    }

    /// The learning rate at a step, counted from 0 over the whole run.
    pub fn rate_at(&self, step: usize, steps_per_epoch: usize) -> f64 {
        let epoch = step as f64 / steps_per_epoch.max(1) as f64;
        // The first step of a warm-up would otherwise be wasted at a rate of zero.
        let epoch = match epoch < self.warmup_epochs {
            true => (step + 1) as f64 / steps_per_epoch.max(1) as f64,
            false => epoch,
        };
        let warmup = self.warmup_epochs;
        self.learning_rate * self.schedule.factor(epoch, self.epochs as f64, warmup)
    }

    /// Fine-tunes a model, with the recipe's choice of what is frozen, and writes everything about it into a new run folder: `config.toml`,
    /// `log.jsonl`, `classes.txt`, and the checkpoints `best` and `last`, each a folder as
    /// [`Classifier::export`] writes it.
    ///
    /// # Errors
    /// [`Error::Exists`] if the folder is there already, [`Error::InvalidArgument`] for a recipe
    /// that does not fit model and data, [`Error::Diverged`] if the loss is no longer a number,
    /// and whatever reading images and writing files meets.
    pub fn fit(
        &self,
        model: Classifier,
        train: impl ImageData + 'static,
        valid: impl ImageData + 'static,
        dir: impl AsRef<Path>,
    ) -> Result<Run> {
        self.fit_with(
            model,
            Arc::new(train),
            Arc::new(valid),
            dir,
            FitOptions::default(),
            &mut Silent,
        )
    }

    /// [`fit`](Self::fit) for somebody who watches: progress goes to `observer`, which can also
    /// stop the run.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and [`Error::Interrupted`] if the observer stopped it.
    pub fn fit_with(
        &self,
        model: Classifier,
        train: Arc<dyn ImageData>,
        valid: Arc<dyn ImageData>,
        dir: impl AsRef<Path>,
        options: FitOptions,
        observer: &mut dyn Observer,
    ) -> Result<Run> {
        fit::fit(self, model, train, valid, dir.as_ref(), options, observer)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let positive = |name: &str, value: usize| match value {
            0 => Err(Error::argument(name, "at least 1", 0)),
            _ => Ok(()),
        };
        positive("epochs", self.epochs)?;
        crate::data::check_loading(self.batch_size, self.workers)?;
        crate::preprocess::check_size(self.image_size)?;
        let finite = |name: &str, value: f64, least: f64| {
            if value.is_finite() && value >= least {
                Ok(())
            } else {
                Err(Error::argument(
                    name,
                    format!("a number of at least {least}"),
                    value,
                ))
            }
        };
        finite("learning_rate", self.learning_rate, 0.0)?;
        finite("weight_decay", self.weight_decay, 0.0)?;
        finite("warmup_epochs", self.warmup_epochs, 0.0)?;
        if self.warmup_epochs > self.epochs as f64 {
            return Err(Error::argument(
                "warmup_epochs",
                format!("at most the {} epochs of the run", self.epochs),
                self.warmup_epochs,
            ));
        }
        self.optimizer.validate()?;
        self.schedule.validate()
    }
}

/// A value as the text a person would type.
mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::freeze::Freeze;

    pub fn serialize<S: Serializer>(value: &Freeze, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Freeze, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
