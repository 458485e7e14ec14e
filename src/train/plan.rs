//! What trains at which step, and how fast: a recipe, worked out for one model and one length.

use std::collections::HashMap;

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{ParamGroup, ParamId};
use serde::{Deserialize, Serialize};

use super::rates::layer_ids;
use super::recipe::as_text;
use super::{BackboneRate, Extended, Per, Position, Rates, Recipe, Schedule, Warmup};
use crate::error::{Error, Result};
use crate::model::Freeze;
use crate::model::params;
use crate::model::{Classifier, HEAD};

/// How frozen parts join a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Unfreeze {
    /// They do not.
    #[default]
    Never,
    /// The head trains first, then one group more from the top at each step.
    Gradual {
        /// Epochs between two steps, with a fraction; `None` spreads them evenly over the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        every: Option<f64>,
    },
    /// What is frozen from each of these epochs on; before the first, what the recipe freezes.
    At {
        /// In rising order.
        steps: Vec<FreezeAt>,
    },
    /// fastai's `fine_tune`: two one-cycle schedules, the first with a frozen backbone.
    FineTune {
        /// Epochs of the first.
        #[serde(default = "numbers::freeze_epochs")]
        freeze_epochs: usize,
        /// By how much the lowest rate of the second is below its highest.
        #[serde(default = "numbers::lr_mult")]
        lr_mult: f64,
        /// Which part of the second its rate rises.
        #[serde(default = "numbers::pct_start")]
        pct_start: f64,
        /// By how much the second starts below its highest rate.
        #[serde(default = "numbers::div")]
        div: f64,
    },
    /// Lightning's `BackboneFinetuning`: the backbone joins at an epoch, at a part of the head's
    /// rate, and grows to it.
    Backbone(BackboneRate),
}

/// fastai's defaults.
mod numbers {
    pub fn freeze_epochs() -> usize {
        1
    }
    pub fn lr_mult() -> f64 {
        100.0
    }
    pub fn pct_start() -> f64 {
        0.3
    }
    pub fn div() -> f64 {
        5.0
    }
}

/// What is frozen from an epoch on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeAt {
    /// Counted from 0, with a fraction.
    pub epoch: f64,
    /// What is frozen.
    #[serde(with = "as_text")]
    pub freeze: Freeze,
}

impl Unfreeze {
    /// fastai's `fine_tune` with its defaults.
    pub fn fine_tune() -> Self {
        Unfreeze::FineTune {
            freeze_epochs: numbers::freeze_epochs(),
            lr_mult: numbers::lr_mult(),
            pct_start: numbers::pct_start(),
            div: numbers::div(),
        }
    }

    /// Lightning's `BackboneFinetuning` with its defaults.
    pub fn backbone_finetuning() -> Self {
        Unfreeze::Backbone(BackboneRate::default())
    }

    /// A schedule of one's own: pairs of an epoch, counted from 0, and what is frozen from then on.
    pub fn at(steps: impl IntoIterator<Item = (f64, Freeze)>) -> Self {
        let steps = steps.into_iter();
        Unfreeze::At {
            steps: steps
                .map(|(epoch, freeze)| FreezeAt { epoch, freeze })
                .collect(),
        }
    }

    pub(crate) fn validate(&self, epochs: usize) -> Result<()> {
        let within = |name: &str, value: f64, least: f64| match value.is_finite() && value > least {
            true => Ok(()),
            false => Err(Error::argument(
                name,
                format!("a number above {least}"),
                value,
            )),
        };
        match self {
            Unfreeze::Never | Unfreeze::Gradual { every: None } => Ok(()),
            Unfreeze::Gradual { every: Some(every) } => within("unfreeze.every", *every, 0.0),
            Unfreeze::At { steps } => {
                let mut last = -1.0;
                for step in steps {
                    if !(step.epoch.is_finite() && step.epoch >= 0.0 && step.epoch > last) {
                        return Err(Error::argument(
                            "unfreeze.steps",
                            "epochs of at least 0 in rising order",
                            step.epoch,
                        ));
                    }
                    last = step.epoch;
                }
                Ok(())
            }
            Unfreeze::FineTune {
                freeze_epochs,
                lr_mult,
                pct_start,
                div,
            } => {
                if *freeze_epochs >= epochs {
                    return Err(Error::argument(
                        "unfreeze.freeze_epochs",
                        format!("less than the {epochs} epochs of the run"),
                        freeze_epochs,
                    ));
                }
                within("unfreeze.lr_mult", *lr_mult, 0.0)?;
                within("unfreeze.div", *div, 0.0)?;
                match (0.0..=1.0).contains(pct_start) {
                    true => Ok(()),
                    false => Err(Error::argument("unfreeze.pct_start", "0 to 1", pct_start)),
                }
            }
            Unfreeze::Backbone(rate) => {
                if rate.joins_at >= epochs {
                    return Err(Error::argument(
                        "unfreeze.joins_at",
                        format!("less than the {epochs} epochs of the run"),
                        rate.joins_at,
                    ));
                }
                rate.validate()
            }
        }
    }

    /// Its name in a recipe's file.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Unfreeze::Never => "never",
            Unfreeze::Gradual { .. } => "gradual",
            Unfreeze::At { .. } => "at",
            Unfreeze::FineTune { .. } => "fine_tune",
            Unfreeze::Backbone(_) => "backbone",
        }
    }
}

/// `never`, `gradual`, `gradual:EPOCHS`, `fine-tune`, `backbone`, `backbone:EPOCH`, or
/// `EPOCH=FREEZE;EPOCH=FREEZE..`.
impl std::str::FromStr for Unfreeze {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            Error::argument(
                "unfreeze",
                "never, gradual, gradual:EPOCHS, fine-tune, backbone, backbone:EPOCH or \
                 EPOCH=FREEZE;..",
                format!("`{text}`"),
            )
        };
        Ok(match text {
            "never" => Unfreeze::Never,
            "gradual" => Unfreeze::Gradual { every: None },
            "fine-tune" => Unfreeze::fine_tune(),
            "backbone" => Unfreeze::backbone_finetuning(),
            _ if text.starts_with("backbone:") => Unfreeze::Backbone(BackboneRate {
                joins_at: text["backbone:".len()..].parse().map_err(|_| unknown())?,
                ..BackboneRate::default()
            }),
            _ => match text.strip_prefix("gradual:") {
                Some(every) => Unfreeze::Gradual {
                    every: Some(every.parse().map_err(|_| unknown())?),
                },
                None => {
                    let mut steps = Vec::new();
                    for step in text.split(';') {
                        let (epoch, freeze) = step.split_once('=').ok_or_else(unknown)?;
                        steps.push((epoch.parse().map_err(|_| unknown())?, freeze.parse()?));
                    }
                    Unfreeze::at(steps)
                }
            },
        })
    }
}

/// Parameters that share a rate.
#[derive(Debug, Clone)]
pub struct RateGroup {
    /// The name of the group of the model, or of a block in it (`stage1.0`).
    pub name: String,
    /// Index of the model's group.
    pub group: usize,
    /// Its parameters.
    pub ids: Vec<ParamId>,
}

/// A stretch of a run with one schedule.
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

impl Plan {
    pub(super) fn new(recipe: &Recipe, model: &Classifier, steps_per_epoch: usize) -> Result<Self> {
        let zoo_groups = model.all_groups();
        let by_layer = matches!(recipe.rates, Rates::LayerDecay { .. });
        let groups = rate_groups(model, by_layer);
        let steps_per_epoch = steps_per_epoch.max(1);
        let step = |epoch: f64| (epoch * steps_per_epoch as f64).round() as usize;

        let images = recipe.effective_batch();
        let rate = recipe.learning_rate * recipe.rate_scaling.factor(images);
        let one = |scales: Vec<f64>| {
            vec![Phase {
                start: 0,
                epochs: recipe.epochs as f64,
                rate,
                schedule: recipe.schedule.clone(),
                warmup: recipe.warmup,
                scales,
            }]
        };
        let own = scales(&recipe.rates, &groups, zoo_groups.len());
        let (phases, changes) = match &recipe.unfreeze {
            Unfreeze::Never => (one(own), vec![(0, recipe.freeze.clone())]),
            Unfreeze::Gradual { every } => {
                // The head alone, then with each step the group before those that train.
                let count = zoo_groups.len();
                let every = every.unwrap_or(recipe.epochs as f64 / count as f64);
                let frozen = |free: usize| match count.checked_sub(free + 1) {
                    None => Freeze::Nothing,
                    Some(last) => Freeze::up_to(&zoo_groups[last].name),
                };
                let changes = (0..count).map(|i| (step(every * i as f64), frozen(i + 1)));
                (one(own), changes.collect())
            }
            Unfreeze::At { steps } => {
                let mut changes = vec![(0, recipe.freeze.clone())];
                for at in steps {
                    changes.push((step(at.epoch), at.freeze.clone()));
                }
                (one(own), changes)
            }
            Unfreeze::FineTune {
                freeze_epochs,
                lr_mult,
                pct_start,
                div,
            } => {
                let split = |rates: Rates| -> Vec<f64> {
                    // fastai's three groups of a ResNet: stem to layer2, layer3 and 4, head.
                    let backbone = zoo_groups.len() - 1;
                    let three = rates.scales(3);
                    let scale = |group: &RateGroup| match group.group {
                        g if g == backbone => three[2],
                        g if g < backbone.div_ceil(2) => three[0],
                        _ => three[1],
                    };
                    groups.iter().map(scale).collect()
                };
                let phases = vec![
                    Phase {
                        start: 0,
                        epochs: *freeze_epochs as f64,
                        rate,
                        schedule: Schedule::of_fine_tune(0.99, 25.0),
                        warmup: Warmup::default(),
                        scales: split(Rates::Slice),
                    },
                    Phase {
                        start: freeze_epochs * steps_per_epoch,
                        epochs: (recipe.epochs - freeze_epochs) as f64,
                        rate: rate / 2.0,
                        schedule: Schedule::of_fine_tune(*pct_start, *div),
                        warmup: Warmup::default(),
                        scales: split(Rates::Geometric {
                            lowest: 1.0 / lr_mult,
                        }),
                    },
                ];
                let joined = freeze_epochs * steps_per_epoch;
                (
                    phases,
                    vec![(0, Freeze::Backbone), (joined, Freeze::Nothing)],
                )
            }
            Unfreeze::Backbone(rate) => {
                let joined = rate.joins_at * steps_per_epoch;
                (
                    one(own),
                    vec![(0, Freeze::Backbone), (joined, Freeze::Nothing)],
                )
            }
        };
        let joins = match recipe.unfreeze {
            Unfreeze::Backbone(rate) => Some((rate, zoo_groups.len() - 1)),
            _ => None,
        };
        // Everything that will be frozen is looked up now, so that a wrong name does not end a run
        // in its seventh epoch.
        for (_, freeze) in &changes {
            model.clone().freeze(freeze)?;
        }
        Ok(Self {
            steps_per_epoch,
            per: recipe.per,
            groups,
            phases,
            changes,
            joins,
        })
    }

    /// Epochs that are added to a finished run: a stretch of their own, in which what is frozen
    /// stays frozen. `scaling` is the factor of the rate by the images in a step.
    pub(super) fn extend(&mut self, added: &Extended, scaling: f64) {
        let mut scales = match self.phases.last() {
            Some(last) => last.scales.clone(),
            None => vec![1.0; self.groups.len()],
        };
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
    pub fn groups(&self) -> &[RateGroup] {
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

/// The parameters by group, or by block.
fn rate_groups(model: &Classifier, by_layer: bool) -> Vec<RateGroup> {
    let groups = model.all_groups();
    let params: Vec<_> = params::list(model)
        .into_iter()
        .filter(|p| !p.is_buffer())
        .collect();
    let group_of = |path: &str| {
        groups
            .iter()
            .position(|group| path.starts_with(&group.prefix))
            .unwrap_or(groups.len() - 1)
    };
    let mut rate_groups: Vec<RateGroup> = Vec::new();
    let mut index: HashMap<usize, usize> = HashMap::new();
    let layers: Vec<usize> = if by_layer {
        let paths: Vec<String> = params.iter().map(|p| p.path.clone()).collect();
        let prefixes: Vec<&str> = groups.iter().map(|g| g.prefix.as_str()).collect();
        layer_ids(&paths, &prefixes)
    } else {
        params.iter().map(|p| group_of(&p.path)).collect()
    };
    let last = layers.iter().max().copied().unwrap_or_default();
    for layer in 0..=last {
        let Some(first) = layers.iter().position(|l| *l == layer) else {
            continue;
        };
        let group = group_of(&params[first].path);
        let group_name = &groups[group].name;
        // A block is named after its place in the group.
        let rest = params[first].path.strip_prefix(&groups[group].prefix);
        let block = rest.and_then(|rest| rest.split('.').next());
        let block = block.filter(|b| by_layer && b.parse::<usize>().is_ok());
        index.insert(layer, rate_groups.len());
        rate_groups.push(RateGroup {
            name: block.map_or(group_name.clone(), |block| format!("{group_name}.{block}")),
            group,
            ids: Vec::new(),
        });
    }
    for (param, layer) in params.iter().zip(layers) {
        if let Some(at) = index.get(&layer) {
            rate_groups[*at].ids.push(param.id);
        }
    }
    // The head's parameters exist whenever something can be trained.
    debug_assert!(
        rate_groups
            .last()
            .is_none_or(|g| groups[g.group].name == HEAD)
    );
    rate_groups
}

fn scales(rates: &Rates, groups: &[RateGroup], zoo_groups: usize) -> Vec<f64> {
    match rates {
        // Each layer is a group of its own here.
        Rates::LayerDecay { .. } => rates.scales(groups.len()),
        _ => {
            let scales = rates.scales(zoo_groups);
            groups.iter().map(|group| scales[group.group]).collect()
        }
    }
}
