//! Which trials go on after an epoch.

mod asha;
mod hyperband;
mod median;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use self::asha::Asha;
use self::hyperband::Hyperband;
use self::median::Median;
use crate::error::{Error, Result};
use crate::text::{self, Form, Style};

/// Which trials go on after an epoch, judged beside the others. As text `none`,
/// `asha:max_t=9,grace=1,eta=4`, `hyperband:max_t=9,eta=3`, `median:grace=1,min_samples=3`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Scheduler {
    /// Every trial runs to its end.
    #[default]
    None,
    /// ASHA (Li et al., MLSys 2020, <https://arxiv.org/abs/1810.05934>) as Ray's
    /// `AsyncHyperBandScheduler` with one bracket has it: at `grace`, `grace·eta`, `grace·eta²`, ..
    /// epochs a trial stops that is worse than the best `1/eta` of those that came there before it.
    Asha {
        /// Epochs after which every trial ends.
        #[serde(default = "asha_max_t")]
        max_t: usize,
        /// Epochs before the first decision.
        #[serde(default = "one")]
        grace: usize,
        /// One in so many goes on.
        #[serde(default = "asha_eta")]
        eta: f64,
    },
    /// Hyperband (Li et al., JMLR 18-185, <https://arxiv.org/abs/1603.06560>): brackets of trials
    /// that wait for each other at `max_t/eta^s`, .., `max_t/eta`, `max_t` epochs, where the best
    /// `1/eta` of them go on.
    Hyperband {
        /// Epochs of the trials that go furthest; those of the longest trial unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_t: Option<usize>,
        /// One in so many goes on.
        #[serde(default = "hyperband_eta")]
        eta: usize,
    },
    /// A trial stops whose best epoch is worse than the median of the others' means so far (Golovin
    /// et al., KDD 2017), as Ray's `MedianStoppingRule` has it.
    Median {
        /// Epochs before the first decision; what was reported before does not count.
        #[serde(default = "one")]
        grace: usize,
        /// Other trials that must have come as far.
        #[serde(default = "median_min_samples")]
        min_samples: usize,
    },
}

fn asha_max_t() -> usize {
    100
}

fn asha_eta() -> f64 {
    4.0
}

fn hyperband_eta() -> usize {
    3
}

fn one() -> usize {
    1
}

fn median_min_samples() -> usize {
    3
}

impl Scheduler {
    const FORM: Form = Form::new("scheduler", Style::Colons, &[]);

    pub(super) fn validate(&self) -> Result<()> {
        let named = |field: &str| format!("scheduler {field}");
        let at_least_one = |field: &str, count: usize| match count {
            0 => Err(Error::argument(named(field), "at least 1", 0)),
            _ => Ok(()),
        };
        let epochs = |field: &str, count: usize| match count {
            1..=1_000_000 => Ok(()),
            _ => Err(Error::argument(named(field), "1 to 1000000", count)),
        };
        match *self {
            Scheduler::None => Ok(()),
            Scheduler::Asha { max_t, grace, eta } => {
                epochs("asha max_t", max_t)?;
                at_least_one("asha grace", grace)?;
                if grace > max_t {
                    let expected = format!("at most max_t, {max_t}");
                    return Err(Error::argument(named("asha grace"), expected, grace));
                }
                if !(1.01..=1e6).contains(&eta) {
                    let expected = "a number from 1.01 to 1000000";
                    return Err(Error::argument(named("asha eta"), expected, eta));
                }
                Ok(())
            }
            Scheduler::Hyperband { max_t, eta } => {
                epochs("hyperband max_t", max_t.unwrap_or(1))?;
                match eta {
                    0 | 1 => Err(Error::argument(named("hyperband eta"), "at least 2", eta)),
                    _ => Ok(()),
                }
            }
            Scheduler::Median { grace, min_samples } => {
                at_least_one("median grace", grace)?;
                at_least_one("median min_samples", min_samples)
            }
        }
    }

    /// The epoch at which every trial ends, in a search whose trials have at most so many; `None` if trials end
    /// by themselves.
    pub fn last_epoch(&self, epochs: usize) -> Option<usize> {
        match *self {
            Scheduler::Asha { max_t, .. } => Some(max_t),
            Scheduler::Hyperband { max_t, .. } => Some(max_t.unwrap_or(epochs)),
            Scheduler::None | Scheduler::Median { .. } => None,
        }
    }

    /// Epochs at which trials are compared, the last one included, for pictures.
    pub fn rungs(&self, epochs: usize) -> Vec<usize> {
        match *self {
            Scheduler::Asha { max_t, grace, eta } => {
                let last = max_t.min(epochs);
                let rungs = asha::rungs(max_t, grace, eta).into_iter();
                let mut rungs: Vec<usize> = rungs
                    .map(|rung| rung.ceil() as usize)
                    .filter(|rung| *rung < last)
                    .collect();
                rungs.push(last);
                rungs
            }
            Scheduler::Hyperband { max_t, eta } => {
                let max_t = max_t.unwrap_or(epochs);
                let most = hyperband::brackets(max_t, eta);
                most.into_iter()
                    .next()
                    .map_or(Vec::new(), |bracket| bracket.epochs)
            }
            Scheduler::None | Scheduler::Median { .. } => (1..=epochs).collect(),
        }
    }

    /// Decides of a search whose trials have at most so many epochs.
    pub(super) fn start(&self, epochs: usize) -> Decider {
        match *self {
            Scheduler::None => Decider::None,
            Scheduler::Asha { max_t, grace, eta } => Decider::Asha(Asha::new(max_t, grace, eta)),
            Scheduler::Hyperband { max_t, eta } => {
                Decider::Hyperband(Hyperband::new(max_t.unwrap_or(epochs), eta))
            }
            Scheduler::Median { grace, min_samples } => {
                Decider::Median(Median::new(grace, min_samples))
            }
        }
    }
}

impl std::fmt::Display for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&text::write(&Self::FORM, self))
    }
}

impl FromStr for Scheduler {
    type Err = Error;

    /// Fields may have commas between them: none of them is a list.
    fn from_str(text: &str) -> Result<Self> {
        let scheduler: Self = text::parse(&Self::FORM, &text.replace(',', ":"))?;
        scheduler.validate()?;
        Ok(scheduler)
    }
}

/// What becomes of a trial after an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It goes on.
    Continue,
    /// It ends here.
    Stop,
    /// It writes a checkpoint and waits until others have come as far.
    Pause,
}

/// The state of a scheduler. It follows from what was reported, in its order.
#[derive(Debug)]
pub(super) enum Decider {
    None,
    Asha(Asha),
    Hyperband(Hyperband),
    Median(Median),
}

impl Decider {
    /// Looks at what a trial reports; `score` is better the larger it is.
    pub fn report(&mut self, trial: usize, epoch: usize, score: f64) -> Decision {
        match self {
            Decider::None => Decision::Continue,
            Decider::Asha(asha) => asha.report(trial, epoch, score),
            Decider::Hyperband(hyperband) => hyperband.report(trial, epoch, score),
            Decider::Median(median) => median.report(trial, epoch, score),
        }
    }

    /// A trial has ended, by itself or not.
    pub fn ended(&mut self, trial: usize) {
        if let Decider::Hyperband(hyperband) = self {
            hyperband.ended(trial);
        }
    }

    /// A trial that has come to a rung does not wait there after all: it ends by itself.
    pub fn withdraw(&mut self, trial: usize) {
        if let Decider::Hyperband(hyperband) = self {
            hyperband.withdraw(trial);
        }
    }

    /// A trial that waited goes on, as was decided before.
    pub fn resumed(&mut self, trial: usize) {
        if let Decider::Hyperband(hyperband) = self {
            hyperband.resumed(trial);
        }
    }

    /// Of the trials that wait, those that go on and those that end. `all` says that no trial
    /// will be added.
    pub fn waiting(&mut self, trials: usize, all: bool) -> Vec<(usize, Decision)> {
        match self {
            Decider::Hyperband(hyperband) => hyperband.waiting(trials, all),
            _ => Vec::new(),
        }
    }
}

/// The value below which a share of the others lies, with what lies between interpolated, as NumPy's
/// `percentile` has it.
fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let below = (place.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let rest = place - below as f64;
    let (low, high) = (sorted[below], sorted[above]);
    // NumPy's way to interpolate, which is exact at both ends.
    Some(if rest >= 0.5 {
        high - (high - low) * (1.0 - rest)
    } else {
        low + (high - low) * rest
    })
}
