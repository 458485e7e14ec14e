//! What trains at which step, and how fast: a recipe, worked out for one model and one length.

use std::collections::BTreeMap;

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{ParamGroup, ParamId};

use super::extend::AddedEpochs;
use super::rates::{BackboneRate, Rates, group_of, layer_ids};
use super::recipe::Recipe;
use super::schedule::{Per, Position, Schedule, Warmup};
use super::unfreeze::Unfreeze;
use crate::error::Result;
use crate::model::{Classifier, Freeze, Group, PRE_LOGITS, params};

/// Parameters that share a rate.
#[derive(Debug, Clone)]
pub(crate) struct RateGroup {
    /// The name of the group of the model, or of a block in it (`stage1.0`).
    pub name: String,
    /// Index of the model's group.
    pub group: usize,
    /// Its parameters.
    pub ids: Vec<ParamId>,
}

/// A part of a run with one schedule.
#[derive(Debug, Clone)]
struct Phase {
    start: usize,
    epochs: f64,
    rate: f64,
    schedule: Schedule,
    warmup: Warmup,
    /// One for each rate group.
    scales: Vec<f64>,
}

/// What trains at which step, and how fast.
#[derive(Debug, Clone)]
pub struct Plan {
    steps_per_epoch: usize,
    per: Per,
    groups: Vec<RateGroup>,
    /// In rising order; the first starts at step 0.
    phases: Vec<Phase>,
    /// In rising order; the first is that of step 0.
    changes: Vec<(usize, Freeze)>,
    /// Lightning's rule for the backbone, and the index of the model's head.
    joins: Option<(BackboneRate, usize)>,
}

/// The rates of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRates {
    /// One for each of [`Plan::groups`], whether it is frozen or not.
    pub rates: Vec<f64>,
    /// The momentum that the schedule asks for.
    pub momentum: Option<f64>,
}

impl StepRates {
    /// The rate of the head.
    pub fn head(&self) -> f64 {
        self.rates.last().copied().unwrap_or_default()
    }
}

impl Recipe {
    /// What this recipe freezes and at which rates it trains a model, step by step, for a loop of
    /// your own. `steps_per_epoch` counts steps of the optimiser.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for a value out of range,
    /// [`UnknownGroup`](crate::Error::UnknownGroup) or [`Pattern`](crate::Error::Pattern) for
    /// something to freeze that the model does not have.
    pub fn plan(&self, model: &Classifier, steps_per_epoch: usize) -> Result<Plan> {
        self.plan_of_ranks(model, steps_per_epoch, 1)
    }

    /// The same for several ranks, each with batches of its own.
    pub(super) fn plan_of_ranks(
        &self,
        model: &Classifier,
        steps_per_epoch: usize,
        ranks: usize,
    ) -> Result<Plan> {
        self.validate()?;
        Plan::new(self, model, steps_per_epoch, self.effective_batch() * ranks)
    }
}

impl Plan {
    fn new(
        recipe: &Recipe,
        model: &Classifier,
        steps_per_epoch: usize,
        images_per_step: usize,
    ) -> Result<Self> {
        let model_groups = model.all_groups();
        let groups = rate_groups(model, matches!(recipe.rates, Rates::LayerDecay { .. }));
        let steps_per_epoch = steps_per_epoch.max(1);
        let changes = freeze_changes(recipe, &model_groups, steps_per_epoch);
        // Everything that will be frozen is looked up now, so that a wrong name does not end a run
        // in its seventh epoch.
        for (_, freeze) in &changes {
            model.clone().freeze(freeze)?;
        }
        let head = model_groups.len() - 1;
        Ok(Self {
            steps_per_epoch,
            per: recipe.per,
            phases: phases(recipe, &groups, head, steps_per_epoch, images_per_step),
            groups,
            changes,
            joins: match recipe.unfreeze {
                Unfreeze::Backbone(rate) => Some((rate, head)),
                _ => None,
            },
        })
    }

    /// Epochs that are added to a finished run: a phase of their own, in which what is frozen
    /// stays frozen. `scaling` is the factor of the rate by the images in a step.
    pub(super) fn extend(&mut self, added: &AddedEpochs, scaling: f64) {
        let last = self.phases.last();
        let mut scales = last.map_or_else(Vec::new, |last| last.scales.clone());
        if let (Some((rule, head)), 1) = (self.joins, self.phases.len()) {
            // A backbone that joined keeps the part of the head's rate that it had come to.
            let part = rule.at(added.from_epoch.saturating_sub(1), |_| 1.0);
            for (scale, group) in scales.iter_mut().zip(&self.groups) {
                if group.group != head {
                    *scale = part.unwrap_or(rule.ratio);
                }
            }
        }
        self.phases.push(Phase {
            // An epoch of before may have ended early, and this one is counted from its beginning.
            start: added.from_epoch * self.steps_per_epoch,
            epochs: added.epochs as f64,
            rate: added.learning_rate * scaling,
            schedule: added.schedule.clone(),
            warmup: Warmup::default(),
            scales,
        });
        self.changes
            .retain(|(step, _)| *step == 0 || *step < added.from_step);
    }

    /// What is frozen in one of the first so many steps.
    pub(super) fn freezes(&self, steps: usize) -> Vec<&Freeze> {
        let ends = self.changes.iter().skip(1).map(|(step, _)| *step);
        let ends = ends.chain([usize::MAX]);
        let changes = self.changes.iter().zip(ends);
        changes
            .filter(|((from, _), end)| from < end && *from < steps)
            .map(|((_, freeze), _)| freeze)
            .collect()
    }

    /// Parameters that share a rate, from the input to the head.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|group| group.name.as_str())
    }

    /// The same with their parameters.
    pub(super) fn rate_groups(&self) -> &[RateGroup] {
        &self.groups
    }

    /// When what is frozen changes: the step of the optimiser, counted from 0, and what is frozen
    /// from then on. The first is that of step 0.
    pub fn changes(&self) -> &[(usize, Freeze)] {
        &self.changes
    }

    /// What is frozen at a step of the optimiser, counted from 0 over the whole run.
    pub fn freeze_at(&self, step: usize) -> &Freeze {
        let past = self.changes.iter().rev().find(|(from, _)| *from <= step);
        past.map_or(&Freeze::Nothing, |(_, freeze)| freeze)
    }

    /// The rates at a step of the optimiser, counted from 0 over the whole run.
    pub fn at(&self, step: usize) -> StepRates {
        let Some(phase) = self.phases.iter().rev().find(|p| p.start <= step) else {
            return StepRates {
                rates: vec![0.0; self.groups.len()],
                momentum: None,
            };
        };
        let point = phase.schedule.at(
            Position {
                step: step - phase.start,
                steps_per_epoch: self.steps_per_epoch,
                epochs: phase.epochs,
            },
            &phase.warmup,
            self.per,
        );
        let rate = phase.rate * point.factor;
        let mut rates: Vec<f64> = phase.scales.iter().map(|scale| rate * scale).collect();
        if let (Some((rule, head_group)), 0) = (self.joins, phase.start) {
            let epoch = step / self.steps_per_epoch;
            // Lightning looks at the head's rate once an epoch.
            let head = |epoch: usize| {
                let position = Position {
                    step: epoch * self.steps_per_epoch,
                    steps_per_epoch: self.steps_per_epoch,
                    epochs: phase.epochs,
                };
                phase.rate * phase.schedule.at(position, &phase.warmup, self.per).factor
            };
            let backbone = rule.at(epoch, head);
            for (rate, group) in rates.iter_mut().zip(&self.groups) {
                if group.group != head_group {
                    *rate = backbone.unwrap_or_default();
                }
            }
        }
        StepRates {
            rates,
            momentum: point.momentum,
        }
    }

    /// The ratio of each group's rate to the head's, at the beginning.
    pub(super) fn scales(&self) -> Vec<f64> {
        let first = self.phases.first();
        first.map_or_else(Vec::new, |phase| phase.scales.clone())
    }

    /// Rates in the form that burn's optimisers take.
    pub fn learning_rate(&self, rates: &StepRates) -> ModuleLearningRate {
        let groups = self.groups.iter().zip(&rates.rates);
        groups
            .fold(
                ModuleLrScheduler::new(rates.head()),
                |scheduler, (group, rate)| {
                    scheduler.with_group(ParamGroup::from_ids(group.ids.clone()), *rate)
                },
            )
            .step()
    }
}

/// When what is frozen changes: the step and what is frozen from then on.
fn freeze_changes(
    recipe: &Recipe,
    groups: &[Group],
    steps_per_epoch: usize,
) -> Vec<(usize, Freeze)> {
    let step = |epoch: f64| (epoch * steps_per_epoch as f64).round() as usize;
    let backbone_until = |epochs: usize| {
        let joins = epochs * steps_per_epoch;
        vec![(0, Freeze::Backbone), (joins, Freeze::Nothing)]
    };
    match &recipe.unfreeze {
        Unfreeze::Never => vec![(0, recipe.freeze.clone())],
        Unfreeze::Gradual { every } => {
            // The head alone, then with each step the group before those that train.
            let count = groups.len();
            let every = every.unwrap_or(recipe.epochs as f64 / count as f64);
            let frozen = |free: usize| match count.checked_sub(free + 1) {
                None => Freeze::Nothing,
                Some(last) => Freeze::up_to(&groups[last].name),
            };
            let changes = (0..count).map(|i| (step(every * i as f64), frozen(i + 1)));
            changes.collect()
        }
        Unfreeze::At { steps } => {
            let later = steps.iter().map(|at| (step(at.epoch), at.freeze.clone()));
            let first = (0, recipe.freeze.clone());
            std::iter::once(first).chain(later).collect()
        }
        Unfreeze::FineTune { freeze_epochs, .. } => backbone_until(*freeze_epochs),
        Unfreeze::Backbone(rate) => backbone_until(rate.joins_at),
    }
}

/// The phases of a run. `head` is the index of the model's last group.
fn phases(
    recipe: &Recipe,
    groups: &[RateGroup],
    head: usize,
    steps_per_epoch: usize,
    images_per_step: usize,
) -> Vec<Phase> {
    let rate = recipe.learning_rate * recipe.rate_scaling.factor(images_per_step);
    let Unfreeze::FineTune {
        freeze_epochs,
        lr_mult,
        pct_start,
        div,
    } = recipe.unfreeze
    else {
        let scales = match recipe.rates {
            // Each layer is a rate group of its own.
            Rates::LayerDecay { .. } => recipe.rates.scales(groups.len()),
            _ => {
                let scales = recipe.rates.scales(head + 1);
                groups.iter().map(|group| scales[group.group]).collect()
            }
        };
        return vec![Phase {
            start: 0,
            epochs: recipe.epochs as f64,
            rate,
            schedule: recipe.schedule.clone(),
            warmup: recipe.warmup,
            scales,
        }];
    };
    // fastai's three groups of a ResNet: stem to layer2, layer3 and 4, head.
    let scales = |rates: Rates| -> Vec<f64> {
        let three = rates.scales(3);
        let scale = |group: &RateGroup| match group.group {
            g if g == head => three[2],
            g if g < head.div_ceil(2) => three[0],
            _ => three[1],
        };
        groups.iter().map(scale).collect()
    };
    let lowest = 1.0 / lr_mult;
    vec![
        Phase {
            start: 0,
            epochs: freeze_epochs as f64,
            rate,
            schedule: Schedule::of_fine_tune(0.99, 25.0),
            warmup: Warmup::default(),
            scales: scales(Rates::Slice),
        },
        Phase {
            start: freeze_epochs * steps_per_epoch,
            epochs: (recipe.epochs - freeze_epochs) as f64,
            rate: rate / 2.0,
            schedule: Schedule::of_fine_tune(pct_start, div),
            warmup: Warmup::default(),
            scales: scales(Rates::Geometric { lowest }),
        },
    ]
}

/// The parameters by group, or by layer, from the input to the head.
fn rate_groups(model: &Classifier, by_layer: bool) -> Vec<RateGroup> {
    let groups = model.all_groups();
    let prefixes: Vec<&str> = groups.iter().map(|group| group.prefix.as_str()).collect();
    let params = params::list(model).into_iter();
    let params: Vec<_> = params.filter(|param| !param.is_buffer()).collect();
    let layer_of = model.backbone.describe().layer_of.filter(|_| by_layer);
    let layers: Vec<usize> = if let Some(layer_of) = layer_of {
        let names = &model.backbone.describe().key_table;
        let upstream = params
            .iter()
            .map(|param| layer_of(&names.name(&param.path)));
        // What upstream does not count is the head's.
        upstream.map(|layer| layer.unwrap_or(usize::MAX)).collect()
    } else if by_layer {
        let paths: Vec<&str> = params.iter().map(|param| param.path.as_str()).collect();
        layer_ids(&paths, &prefixes)
    } else {
        let paths = params.iter().map(|param| &param.path);
        paths.map(|path| group_of(path, &prefixes)).collect()
    };
    let mut rate_groups: BTreeMap<usize, RateGroup> = BTreeMap::new();
    for (param, layer) in params.into_iter().zip(layers) {
        let new = || {
            let head = groups.len().saturating_sub(1);
            let group = match group_of(&param.path, &prefixes) {
                // Layers before the classifier are of its layer, and what upstream counts with it.
                group if by_layer && (layer == usize::MAX || groups[group].name == PRE_LOGITS) => {
                    head
                }
                group => group,
            };
            let name = &groups[group].name;
            // A block is named after its place in the group.
            let rest = param.path.strip_prefix(prefixes[group]);
            let block = rest.and_then(|rest| rest.split('.').next());
            let block = block.filter(|b| by_layer && b.parse::<usize>().is_ok());
            let layer = param
                .path
                .rsplit_once('.')
                .map(|(layer, _)| layer.to_owned());
            let name = match (block, layer) {
                (Some(_), Some(layer)) if layer_of.is_some() => layer,
                (Some(block), _) => format!("{name}.{block}"),
                _ => name.clone(),
            };
            RateGroup {
                name,
                group,
                ids: Vec::new(),
            }
        };
        rate_groups
            .entry(layer)
            .or_insert_with(new)
            .ids
            .push(param.id);
    }
    rate_groups.into_values().collect()
}
