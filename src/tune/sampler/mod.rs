//! Which values the next trial gets.

mod bohb;
mod grid;
mod parzen;
#[cfg(test)]
mod tests;
mod tpe;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::space::{Params, Space};
use crate::error::{Error, Result};
use crate::text::{Form, Style, text_form};

/// How the values of a trial are chosen. As text `grid`, `grid:points=5`, `random`, `tpe`,
/// `tpe:multivariate=false`, `bohb`.
///
/// A proposal follows from the seed, the number of the trial and the trials that have ended, and from
/// nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Sampler {
    /// Every combination, in order: the last parameter by its name changes first.
    Grid {
        /// Values of a parameter that has no list of them, evenly from end to end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        points: Option<usize>,
    },
    /// Each value at random.
    Random,
    /// TPE (Bergstra et al., NeurIPS 2011): after 20 random trials the best of 24 candidates that are
    /// likely among the good trials, of which there are ⌈√n/4⌉, at most 25, by the ratio to their
    /// likelihood among all others.
    Tpe {
        /// One density over all parameters, by Optuna's rules; else one for each, by HyperOpt's.
        #[serde(default = "yes")]
        multivariate: bool,
    },
    /// BOHB (Falkner et al., ICML 2018): a third at random, else the best of 64 candidates by kernel
    /// densities over the trials at the largest number of epochs that enough of them have reached.
    Bohb,
}

fn yes() -> bool {
    true
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler::Tpe { multivariate: true }
    }
}

impl Sampler {
    const FORM: Form = Form::new("sampler", Style::Colons, &[]);

    fn validate(&self) -> Result<()> {
        match self {
            Sampler::Grid {
                points: Some(points),
            } if !(2..=1000).contains(points) => {
                Err(Error::argument("sampler grid points", "2 to 1000", points))
            }
            _ => Ok(()),
        }
    }

    /// How many trials there are, if it ends by itself.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a parameter that has no list of values.
    pub(super) fn num_trials(&self, space: &Space) -> Result<Option<usize>> {
        match self {
            Sampler::Grid { points } => grid::combinations(space, *points).map(|c| Some(c.len())),
            _ => Ok(None),
        }
    }

    /// The values of a trial, counted from 0; `None` where there are no more.
    pub(super) fn propose(
        &self,
        space: &Space,
        history: &[Observation],
        trial: usize,
        seed: u64,
    ) -> Result<Option<Params>> {
        Ok(match self {
            Sampler::Grid { points } => grid::combinations(space, *points)?.into_iter().nth(trial),
            Sampler::Random => Some(space.sample(seed, trial)),
            Sampler::Tpe { multivariate } => {
                Some(tpe::propose(space, history, trial, seed, *multivariate))
            }
            Sampler::Bohb => Some(bohb::propose(space, history, trial, seed)),
        })
    }
}

text_form!(Sampler, Sampler::FORM, Sampler::validate);

/// A trial that has ended or waits, as a sampler sees it.
#[derive(Debug, Clone)]
pub(super) struct Observation {
    pub params: Params,
    /// What was reported after so many epochs; less is better.
    pub losses: BTreeMap<usize, f64>,
    /// Whether it ran to its end: else it was stopped because others did better.
    pub is_complete: bool,
}

impl Observation {
    fn budgets(&self) -> impl Iterator<Item = usize> {
        self.losses.keys().copied()
    }

    fn loss_at(&self, budget: usize) -> Option<f64> {
        self.losses.get(&budget).copied()
    }

    /// What trials are ranked by: complete ones by their best epoch; after them those that were
    /// stopped, the longest first, by their last one, as Optuna ranks pruned trials.
    fn rank(&self) -> Option<(bool, i64, f64)> {
        let (last, loss) = self.losses.last_key_value()?;
        if self.is_complete {
            let best = self.losses.values().copied().fold(f64::INFINITY, f64::min);
            return Some((false, 0, best));
        }
        Some((true, -(*last as i64), *loss))
    }
}

/// Trials from the best to the worst, equal ones in their order.
struct Ranked<'a>(Vec<(usize, &'a Params)>);

impl<'a> Ranked<'a> {
    fn new(history: &'a [Observation]) -> Self {
        let trials = history.iter().enumerate();
        let mut ranked: Vec<_> = trials
            .filter_map(|(index, trial)| Some((trial.rank()?, index, &trial.params)))
            .collect();
        ranked.sort_by(|(a, ..), (b, ..)| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        Self(
            ranked
                .into_iter()
                .map(|(_, index, params)| (index, params))
                .collect(),
        )
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// The best so many, and all others; each part in the order of the trials.
    fn split(mut self, good: usize) -> (Vec<&'a Params>, Vec<&'a Params>) {
        let mut bad = self.0.split_off(good.min(self.0.len()));
        let in_order = |trials: &mut Vec<(usize, &'a Params)>| {
            trials.sort_by_key(|(index, _)| *index);
            trials.iter().map(|(_, params)| *params).collect()
        };
        (in_order(&mut self.0), in_order(&mut bad))
    }
}
