//! The learning-rate finder (Smith, 2017, <https://arxiv.org/abs/1506.01186>), as fastai's `lr_find`.

mod suggest;

use std::sync::Arc;

use serde::Serialize;

pub(super) use suggest::Smoothed;
pub use suggest::{Suggestions, Sweep};

use super::classes::begin;
use super::plan::StepRates;
use super::recipe::Recipe;
use super::setup::prepare;
use super::step::single_step;
use crate::data::{BrokenImage, ImageData};
use crate::error::{Error, Result};
use crate::model::Classifier;
use crate::nn::noise;

/// What a sweep over learning rates found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RateSweep {
    /// The rates of the head that were tried, in rising order.
    pub rates: Vec<f64>,
    /// The loss of the batch at each.
    pub losses: Vec<f64>,
    /// The running average of the losses.
    pub smoothed: Vec<f64>,
    /// Good rates.
    pub suggestions: Suggestions,
    /// Images that were left out because they could not be read.
    pub skipped: Vec<BrokenImage>,
}

impl Recipe {
    /// Tries learning rates on a copy of the model, from very small to very large, one for each
    /// step of the optimiser, until the loss runs away. The model that is passed does not change.
    ///
    /// What is frozen is what this recipe freezes at its start; rates that differ between groups
    /// keep their ratios.
    ///
    /// `watch` is told how many steps are done, and says whether to go on.
    ///
    /// # Errors
    /// As [`Recipe::fit`], also where no batch of an epoch gives a step; [`Error::Interrupted`] if
    /// `watch` says no.
    pub fn find_learning_rate(
        &self,
        model: &Classifier,
        train: Arc<dyn ImageData>,
        sweep: Sweep,
        mut watch: impl FnMut(usize) -> bool,
    ) -> Result<RateSweep> {
        self.validate()?;
        sweep.validate()?;
        let data = (train.clone(), train);
        // What is told of the head, the run itself tells.
        let (model, _) = begin(model.clone(), data.0.as_ref())?;
        let (model, setup) = prepare(
            self,
            model,
            data.0,
            data.1,
            sweep.skip_broken,
            Arc::default(),
        )?;
        let mut model = self.frozen(model, setup.plan.freeze_at(0))?;
        let mut optimizer = self.optimizer(&model)?;
        let scales = setup.plan.scales();
        let mut smoothed = Smoothed::default();
        let mut found = RateSweep {
            rates: Vec::new(),
            losses: Vec::new(),
            smoothed: Vec::new(),
            suggestions: Suggestions::default(),
            skipped: Vec::new(),
        };
        'sweep: for epoch in 0.. {
            let before = found.rates.len();
            for batch in setup.train.epoch(epoch) {
                let step = found.rates.len();
                if step == sweep.steps || smoothed.diverged() {
                    break 'sweep;
                }
                let batch = batch?.resized(setup.train_size(1));
                // It can have lost others that could not be read.
                if batch.targets.len() < setup.min_batch {
                    continue;
                }
                let rate = sweep.rate(step);
                let rates = setup.plan.learning_rate(&StepRates {
                    rates: scales.iter().map(|scale| rate * scale).collect(),
                    momentum: None,
                });
                let run = || single_step(&setup, model, &mut optimizer, rates, batch);
                let (loss, next) = noise::with(self.seed, &format!("lr-find step {step}"), run)?;
                model = next;
                found.rates.push(rate);
                found.losses.push(loss);
                found.smoothed.push(smoothed.push(loss));
                if !watch(step + 1) {
                    return Err(Error::Interrupted {
                        checkpoint: None,
                        run: Default::default(),
                    });
                }
            }
            if found.rates.len() == before {
                let expected = "batches that a step can be made with";
                let count = setup.train.broken().len();
                let unread = format!("none, with {count} images that cannot be read");
                return Err(Error::argument("training data", expected, unread));
            }
        }
        found.skipped = setup.train.broken();
        found.suggestions = Suggestions::of(&found.rates, &found.smoothed, sweep.steps);
        Ok(found)
    }
}
