//! An optimiser for the parameters of a model.

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{ParamGroup, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer, Optimizer as Update};
use burn::tensor::Bytes;

use super::optimizer::Optimizer;
use super::recipe::Recipe;
use super::update_rules::{Adam, AdamW, Momentum, Muon, Rebuilt, Settings, Sgd};
use crate::error::Result;
use crate::model::{Classifier, params};

impl Recipe {
    /// The optimiser that this recipe trains a model with, for a loop of your own.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for a value out of range.
    pub fn optimizer(&self, model: &Classifier) -> Result<ModelOptimizer> {
        self.validate()?;
        Ok(ModelOptimizer::new(
            self.optimizer,
            model,
            self.weight_decay,
        ))
    }
}

/// Drops the state of some parameters.
type Forget = Box<dyn Fn(ModuleOptimizer, &[ParamId]) -> ModuleOptimizer + Send>;

/// An optimiser for one model: burn's [`ModuleOptimizer`], whose momentum a schedule may change.
pub struct ModelOptimizer {
    /// Always there but while it is being changed.
    inner: Option<ModuleOptimizer>,
    momentum: Momentum,
    forget: Forget,
}

impl ModelOptimizer {
    /// The optimiser for a model: weights decay; biases, the scales and shifts of normalisations
    /// (everything of rank one) and what the family exempts do not, as in timm.
    fn new(kind: Optimizer, model: &Classifier, weight_decay: f64) -> Self {
        let momentum = Momentum::default();
        let settings = |decay: Option<f64>| Settings {
            kind,
            decay: decay.unwrap_or(0.0),
            is_undecayed: decay.is_none(),
            momentum: momentum.clone(),
        };
        let exempt = &model.backbone.describe().no_weight_decay;
        let params = params::list(model).into_iter();
        let undecayed = params.filter(|p| p.shape.len() <= 1 || exempt.contains(&p.path));
        let groups = DecayGroups {
            decayed: settings(Some(weight_decay)),
            undecayed: settings(None),
            undecayed_ids: undecayed.map(|p| p.id).collect(),
        };
        let (inner, forget) = match kind {
            Optimizer::Sgd { .. } => groups.optimizer(Sgd, Sgd),
            Optimizer::Adam { .. } => groups.optimizer(Adam, Adam),
            Optimizer::AdamW { .. } => groups.optimizer(AdamW, AdamW),
            Optimizer::Muon { .. } => groups.optimizer(Muon, AdamW),
            Optimizer::RmsProp { .. } => groups.rebuilt(Settings::rmsprop),
            Optimizer::Lamb { .. } => groups.rebuilt(Settings::lamb),
            Optimizer::Lion { .. } => groups.rebuilt(Settings::lion),
            Optimizer::AdaGrad => groups.rebuilt(Settings::adagrad),
            Optimizer::Adan => groups.rebuilt(Settings::adan),
            Optimizer::Adafactor => groups.rebuilt(Settings::adafactor),
        };
        Self {
            inner: Some(inner),
            momentum,
            forget,
        }
    }

    /// Updates the parameters that have a gradient. `rate` is a number, or burn's
    /// [`ModuleLearningRate`] with one for each group of parameters, as [`Plan`](crate::train::Plan)
    /// makes it.
    pub fn step(
        &mut self,
        rate: impl Into<ModuleLearningRate>,
        model: Classifier,
        gradients: GradientsParams,
    ) -> Classifier {
        match &mut self.inner {
            Some(inner) => inner.step(rate, model, gradients),
            None => model,
        }
    }

    /// Sets the momentum (Adam's first beta) for the steps to come; `None` for the optimiser's own.
    pub fn set_momentum(&mut self, momentum: Option<f64>) {
        self.momentum.set(momentum);
    }

    /// How many parameters the optimiser remembers something about.
    pub fn num_states(&self) -> usize {
        self.inner
            .as_ref()
            .map_or(0, |inner| inner.to_record().len())
    }

    /// Drops the state of parameters, so that they start afresh when they train again.
    pub(crate) fn forget(&mut self, ids: &[ParamId]) {
        if let Some(inner) = self.inner.take() {
            self.inner = Some((self.forget)(inner, ids));
        }
    }

    /// Everything the optimiser remembers.
    pub(crate) fn to_bytes(&self) -> std::result::Result<Bytes, String> {
        let inner = self.inner.as_ref().ok_or("no optimiser")?;
        inner.into_bytes().map_err(|error| error.to_string())
    }

    /// Takes over what [`to_bytes`](Self::to_bytes) gave, for parameters of the same ids.
    pub(crate) fn load(&mut self, bytes: Bytes) -> std::result::Result<(), String> {
        let inner = self.inner.take().ok_or("no optimiser")?;
        self.inner = Some(inner.from_bytes(bytes).map_err(|error| error.to_string())?);
        Ok(())
    }
}

/// The parameters that decay, and those that do not.
struct DecayGroups {
    decayed: Settings,
    undecayed: Settings,
    undecayed_ids: Vec<ParamId>,
}

impl DecayGroups {
    /// An optimiser with one rule for each group.
    fn optimizer<A: Update, B: Update>(
        self,
        decayed: impl Fn(Settings) -> A,
        undecayed: impl Fn(Settings) -> B,
    ) -> (ModuleOptimizer, Forget) {
        let (decayed, undecayed) = (decayed(self.decayed), undecayed(self.undecayed));
        let ids = self.undecayed_ids;
        let group = ParamGroup::from_ids(ids.clone());
        let inner = ModuleOptimizer::from(decayed.clone());
        let inner = inner.with_group(group, undecayed.clone(), None);
        // burn drops the state of parameters that are put into a group anew.
        let forget = move |inner: ModuleOptimizer, forgotten: &[ParamId]| {
            let (without, with): (Vec<ParamId>, Vec<ParamId>) =
                forgotten.iter().partition(|id| ids.contains(id));
            inner
                .with_group(ParamGroup::from_ids(with), decayed.clone(), None)
                .with_group(ParamGroup::from_ids(without), undecayed.clone(), None)
        };
        (inner, Box::new(forget))
    }

    /// An optimiser with a rule of burn's for both.
    fn rebuilt<U: Update>(self, build: fn(&Settings) -> U) -> (ModuleOptimizer, Forget) {
        let rule = |settings| Rebuilt { settings, build };
        self.optimizer(rule, rule)
    }
}
