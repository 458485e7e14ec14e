//! What a run changes from step to step.

use burn::optim::GradientsParams;

use super::ema::Ema;
use super::model_optimizer::ModelOptimizer;
use super::plan::{Plan, StepRates};
use super::recipe::Recipe;
use super::state::{RunState, TrainTotals};
use crate::error::Result;
use crate::model::{Classifier, Freeze, params};

/// What trains, and how far it has come.
pub(super) struct Progress {
    pub model: Classifier,
    pub optimizer: ModelOptimizer,
    pub ema: Option<Ema>,
    pub state: RunState,
}

/// What the first batches of a step change before the step is made.
pub(super) struct StepStart {
    model: Classifier,
    batches: usize,
    totals: TrainTotals,
}

impl Progress {
    /// The model that is evaluated and exported: the averaged one, if there is one.
    pub fn result(&self) -> &Classifier {
        self.ema.as_ref().map_or(&self.model, Ema::model)
    }

    pub fn step_start(&self) -> StepStart {
        StepStart {
            model: self.model.clone(),
            batches: self.state.batches,
            totals: self.state.totals,
        }
    }

    /// Undoes what was done since a step began.
    pub fn restore(&mut self, start: StepStart) {
        self.model = start.model;
        self.state.batches = start.batches;
        self.state.totals = start.totals;
    }

    /// One step of the optimiser. The model is moved through it, not cloned: tensors that nobody
    /// else holds are updated in place.
    pub fn update(mut self, plan: &Plan, rates: &StepRates, gradients: GradientsParams) -> Self {
        self.optimizer.set_momentum(rates.momentum);
        let rate = plan.learning_rate(rates);
        self.model = self.optimizer.step(rate, self.model, gradients);
        self.state.steps += 1;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.model, self.state.steps);
        }
        self
    }

    /// Says from which probability on an image has a class.
    pub fn set_thresholds(&mut self, thresholds: &[f32]) {
        self.model.set_thresholds(thresholds);
        if let Some(ema) = &mut self.ema {
            let mut model = ema.model().clone();
            model.set_thresholds(thresholds);
            ema.replace(model);
        }
    }

    /// Freezes and frees. What trains already keeps the optimiser's state; what is freed starts
    /// without.
    pub fn freeze(&mut self, freeze: &Freeze, recipe: &Recipe) -> Result<()> {
        self.model = recipe.frozen(self.model.clone(), freeze)?;
        let training = params::training_state(&self.model);
        let frozen = params::list(&self.model).into_iter();
        let frozen = frozen.filter(|p| training.get(&p.path) == Some(&false));
        let frozen: Vec<_> = frozen.map(|p| p.id).collect();
        self.optimizer.forget(&frozen);
        Ok(())
    }
}
