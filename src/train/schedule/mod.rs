//! How the learning rate changes over a run.
//!
//! A [`Schedule`] is a pure function of the position in a run: nothing is counted on the way,
//! so a run goes on from any step as if it had never stopped. The one exception is
//! [`Schedule::Plateau`], which looks at results; what it remembers is kept in checkpoints.
//!
//! Step `k` of a run of `n` steps, counted from 0, uses the schedule's value at `k / n`. The full
//! rate therefore belongs to the first step, and the value at the end of the curve to the step
//! after the last: the convention of `torch.optim.lr_scheduler`, of timm's schedulers and of
//! fastai.

mod curves;
mod plateau;

use serde::{Deserialize, Serialize};

pub(crate) use plateau::PlateauState;
pub use plateau::{Plateau, Threshold};

use crate::error::{Error, Result};
use crate::text::{Form, Style, no_fields, one_or_more, text_choice, text_form};
use curves::Span;

/// A schedule of the learning rate, as a factor of the recipe's rate.
///
/// In a recipe's file a value that is left out is the default: `schedule = { kind = "cosine" }`. As
/// text, on the command line, values follow the kind, by name or in the order shown below:
/// `step:30:0.1`, `multi_step:30,60:0.1`, `cosine:end=0.01:cycles=3`, `one_cycle:pct_start=0.3`.
///
/// All epochs are counted from where the curve begins, which is the end of a [`Warmup`] or, with
/// [`WarmupMode::Overlay`], the beginning of the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// Always the same.
    #[default]
    #[serde(deserialize_with = "no_fields")]
    Constant,
    /// Multiplied by `gamma` after each `epochs` epochs: `StepLR` of PyTorch.
    Step {
        /// Epochs between two drops.
        #[serde(default = "default::step_epochs")]
        epochs: usize,
        /// The factor of one drop.
        #[serde(default = "default::tenth")]
        gamma: f64,
    },
    /// Multiplied by `gamma` at each milestone: `MultiStepLR` of PyTorch. (timm's scheduler of that
    /// name drops one epoch earlier.)
    MultiStep {
        /// The epochs, counted from 0, that are the first with a lower rate. One that is named
        /// twice counts twice.
        #[serde(default = "default::milestones", deserialize_with = "one_or_more")]
        milestones: Vec<usize>,
        /// The factor of one drop.
        #[serde(default = "default::tenth")]
        gamma: f64,
    },
    /// Multiplied by `gamma` over each epoch: `ExponentialLR` of PyTorch, which takes whole epochs;
    /// by steps, the same curve in between.
    Exponential {
        /// The factor of one epoch.
        #[serde(default = "default::exponential_gamma")]
        gamma: f64,
    },
    /// A straight line over the whole run: `LinearLR` of PyTorch.
    Linear {
        /// The factor at the end of the run.
        #[serde(default)]
        end: f64,
    },
    /// `(1 - progress)^power`, from the full rate to `end`: `PolynomialLR` of PyTorch,
    /// `PolyLRScheduler` of timm. A power of 1 is a straight line, 0.9 is common in segmentation.
    Polynomial {
        /// The exponent, above 0.
        #[serde(default = "default::one")]
        power: f64,
        /// The factor at the end of the run.
        #[serde(default)]
        end: f64,
    },
    /// Half a cosine over the whole run, or one after another, each from the full rate (Loshchilov
    /// & Hutter, 2017, <https://arxiv.org/abs/1608.03983>): `CosineLRScheduler` of timm,
    /// `CosineAnnealingLR` and `CosineAnnealingWarmRestarts` of PyTorch.
    Cosine {
        /// The factor at the end of each cycle.
        #[serde(default)]
        end: f64,
        /// Cycles, at least 1; together they fill the run.
        #[serde(default = "default::one_cycle")]
        cycles: usize,
        /// The length of a cycle, as a multiple of the one before.
        #[serde(default = "default::one")]
        cycle_mul: f64,
        /// The rate that a cycle begins with, as a multiple of the one before.
        #[serde(default = "default::one")]
        cycle_decay: f64,
    },
    /// Half a cosine up and half a cosine down, with the momentum the other way round (Smith, 2018,
    /// <https://arxiv.org/abs/1803.09820>): fastai's `fit_one_cycle`. PyTorch's `OneCycleLR` has
    /// another abscissa and ends lower (`final_div_factor` divides its starting rate).
    OneCycle {
        /// The part of the run in which the rate rises, 0 to 1.
        #[serde(default = "default::pct_start")]
        pct_start: f64,
        /// The run begins with the full rate divided by this.
        #[serde(default = "default::div")]
        div: f64,
        /// The run ends with the full rate divided by this.
        #[serde(default = "default::div_final")]
        div_final: f64,
        /// Momentum (for Adam, the first beta) at the beginning, at the full rate and at the end.
        /// The same number three times keeps it still.
        #[serde(default = "default::momentum")]
        momentum: [f64; 3],
    },
    /// Lowered whenever results have stopped improving: `ReduceLROnPlateau` of PyTorch.
    Plateau(Plateau),
}

text_form!(
    /// `constant`, `step:EPOCHS:GAMMA`, `multi_step:EPOCH,EPOCH:GAMMA`, `exponential:GAMMA`,
    /// `linear`, `polynomial:POWER`, `cosine`, `one_cycle` or `plateau`; every kind takes its other
    /// values by name, as in `cosine:end=0.01:cycles=3`.
    Schedule,
    Form::new("schedule", Style::Colons, &[("step", 2), ("multi_step", 2), ("exponential", 1), ("polynomial", 1)]),
    Schedule::validate
);

/// What values are where nothing is said.
mod default {
    /// ImageNet's classical schedule (Goyal et al., 2017, <https://arxiv.org/abs/1706.02677>).
    pub fn milestones() -> Vec<usize> {
        vec![30, 60, 80]
    }

    pub fn step_epochs() -> usize {
        30
    }

    pub fn tenth() -> f64 {
        0.1
    }

    pub fn exponential_gamma() -> f64 {
        0.95
    }

    pub fn one() -> f64 {
        1.0
    }

    pub fn one_cycle() -> usize {
        1
    }

    pub fn pct_start() -> f64 {
        0.25
    }

    pub fn div() -> f64 {
        25.0
    }

    pub fn div_final() -> f64 {
        1e5
    }

    pub fn momentum() -> [f64; 3] {
        [0.95, 0.85, 0.95]
    }
}

/// A place in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Position {
    /// The optimiser's step, counted from 0 over the whole run.
    pub step: usize,
    /// Steps of the optimiser in an epoch; 0 counts as 1.
    pub steps_per_epoch: usize,
    /// Length of the run in epochs, a warm-up included.
    pub epochs: f64,
}

impl Position {
    /// Epochs since the beginning of the run, as `per` sees them.
    pub fn epoch(&self, per: Per) -> f64 {
        let steps = self.steps_per_epoch.max(1);
        match per {
            Per::Step => self.step as f64 / steps as f64,
            Per::Epoch => (self.step / steps) as f64,
        }
    }
}

/// How often the rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// With every step of the optimiser.
    #[default]
    Step,
    /// At the beginning of every epoch: timm's `t_in_epochs`, the usual way to use PyTorch's
    /// schedulers. A warm-up is then a staircase as well.
    Epoch,
}

text_choice!(Per, "per");

/// What a schedule says at one position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// The learning rate is the recipe's rate times this.
    pub factor: f64,
    /// Momentum, or Adam's first beta, from schedules that speak of it.
    pub momentum: Option<f64>,
}

/// A linear rise to the full rate at the beginning of a run; part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table such as { epochs = 3.0 }"
)]
pub struct Warmup {
    /// Its length in epochs; 0 for none.
    pub epochs: f64,
    /// The factor of the first step, 0 to 1. With 0 the first step, by epoch the first epoch,
    /// teaches nothing. The default, 0.01, is that of torchvision's reference training.
    pub start: f64,
    /// What becomes of the schedule meanwhile.
    pub mode: WarmupMode,
}

/// What becomes of the schedule during a warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmupMode {
    /// It begins when the warm-up ends and spans what is left of the run: PyTorch's `SequentialLR`,
    /// timm's `warmup_prefix` (which adds the warm-up to the epochs asked for).
    #[default]
    Prefix,
    /// It begins with the run, its first part hidden by the warm-up: timm's default. A curve that
    /// falls from the start is then below the full rate when the warm-up ends, hence a small drop.
    Overlay,
}

impl From<f64> for Warmup {
    /// A warm-up of so many epochs.
    fn from(epochs: f64) -> Self {
        Self::new(epochs)
    }
}

impl Default for Warmup {
    /// None.
    fn default() -> Self {
        Self::new(0.0)
    }
}

impl Warmup {
    /// A warm-up of so many epochs from a hundredth of the rate, before the schedule.
    pub fn new(epochs: f64) -> Self {
        Self {
            epochs,
            start: 0.01,
            mode: WarmupMode::Prefix,
        }
    }

    /// Where the schedule begins.
    fn offset(&self) -> f64 {
        match self.mode {
            WarmupMode::Prefix => self.epochs,
            WarmupMode::Overlay => 0.0,
        }
    }

    /// Checks the values, alone and with the schedule and the epochs of a run.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a value out of range, for a warm-up longer than the run, and
    /// for one before a [`Schedule::OneCycle`], which brings its own.
    pub fn validate(&self, schedule: &Schedule, epochs: f64) -> Result<()> {
        if !(self.epochs.is_finite() && self.epochs >= 0.0) {
            let expected = "a number of at least 0";
            return Err(Error::argument("warmup_epochs", expected, self.epochs));
        }
        if self.epochs > epochs {
            let expected = format!("at most the {epochs} epochs of the run");
            return Err(Error::argument("warmup_epochs", expected, self.epochs));
        }
        if !(0.0..=1.0).contains(&self.start) {
            return Err(Error::argument("warmup start", "0 to 1", self.start));
        }
        if self.epochs > 0.0 && matches!(schedule, Schedule::OneCycle { .. }) {
            let expected = "0 with one_cycle, which begins with its own";
            return Err(Error::argument("warmup_epochs", expected, self.epochs));
        }
        Ok(())
    }
}

impl Schedule {
    /// Half a cosine to nothing.
    pub fn cosine() -> Self {
        Schedule::Cosine {
            end: 0.0,
            cycles: 1,
            cycle_mul: 1.0,
            cycle_decay: 1.0,
        }
    }

    /// fastai's one cycle, with its numbers.
    pub fn one_cycle() -> Self {
        Schedule::OneCycle {
            pct_start: default::pct_start(),
            div: default::div(),
            div_final: default::div_final(),
            momentum: default::momentum(),
        }
    }

    /// What of the schedule a run of so many epochs never comes to, in words.
    pub(super) fn unused(&self, warmup: &Warmup, epochs: usize) -> Option<String> {
        let length = epochs as f64 - warmup.offset();
        let never = |when: String| {
            let run = match warmup.offset() {
                0.0 => format!("the run has {epochs} epochs"),
                offset => format!("the run has {epochs} epochs, {offset} of them warm-up"),
            };
            Some(format!("schedule {self}: the rate falls {when}, but {run}"))
        };
        match *self {
            Schedule::Step { epochs: every, .. } if every as f64 >= length => {
                never(format!("after each {every} epochs"))
            }
            Schedule::MultiStep { ref milestones, .. } => {
                let late = milestones.iter().filter(|epoch| **epoch as f64 >= length);
                let late: Vec<String> = late.map(usize::to_string).collect();
                if late.is_empty() {
                    return None;
                }
                never(format!("after epoch {}", late.join(", ")))
            }
            // An epoch sets the mark, one more than are waited for miss it, and one has the rate.
            Schedule::Plateau(Plateau { patience, .. })
                if epochs as f64 - warmup.epochs.ceil() < patience as f64 + 3.0 =>
            {
                never(format!(
                    "after more than {patience} epochs without progress"
                ))
            }
            _ => None,
        }
    }

    /// A stretch of fastai's `fine_tune`.
    pub(super) fn of_fine_tune(pct_start: f64, div: f64) -> Self {
        Schedule::OneCycle {
            pct_start,
            div,
            div_final: default::div_final(),
            momentum: default::momentum(),
        }
    }

    /// A straight line to nothing.
    pub fn linear() -> Self {
        Schedule::Linear { end: 0.0 }
    }

    /// What the schedule says at a position, after a warm-up.
    ///
    /// Positions past the end of the run have the value of its end, but for the schedules that
    /// count epochs, which go on.
    pub(crate) fn at(&self, position: Position, warmup: &Warmup, per: Per) -> Point {
        let epoch = position.epoch(per);
        let offset = warmup.offset();
        let point = self.point(Span {
            at: (epoch - offset).max(0.0),
            length: position.epochs - offset,
        });
        if epoch < warmup.epochs {
            let factor = warmup.start + (1.0 - warmup.start) * epoch / warmup.epochs;
            return Point { factor, ..point };
        }
        point
    }

    fn point(&self, span: Span) -> Point {
        let factor = match *self {
            Schedule::Constant | Schedule::Plateau(_) => 1.0,
            Schedule::Step { epochs, gamma } => gamma.powf(span.whole(epochs as f64)),
            Schedule::MultiStep {
                ref milestones,
                gamma,
            } => gamma.powf(span.passed(milestones) as f64),
            Schedule::Exponential { gamma } => gamma.powf(span.at),
            Schedule::Linear { end } => 1.0 + (end - 1.0) * span.progress(),
            Schedule::Polynomial { power, end } => {
                end + (1.0 - end) * (1.0 - span.progress()).powf(power)
            }
            Schedule::Cosine {
                end,
                cycles,
                cycle_mul,
                cycle_decay,
            } => {
                let (cycle, progress) = span.cycle(cycles, cycle_mul);
                curves::half_cosine(cycle_decay.powf(cycle as f64), end, progress)
            }
            Schedule::OneCycle {
                pct_start,
                div,
                div_final,
                momentum,
            } => {
                let progress = span.progress();
                let factors = [div.recip(), 1.0, div_final.recip()];
                return Point {
                    factor: curves::up_and_down(pct_start, factors, progress),
                    momentum: Some(curves::up_and_down(pct_start, momentum, progress)),
                };
            }
        };
        Point {
            factor,
            momentum: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_is_too_short_for_is_told() {
        let told = |schedule: &str, warmup: f64, epochs: usize| {
            let schedule: Schedule = schedule.parse().unwrap();
            schedule.unused(&Warmup::new(warmup), epochs)
        };
        for (schedule, warmup, epochs, words) in [
            (
                "step",
                0.0,
                30,
                "after each 30 epochs, but the run has 30 epochs",
            ),
            ("step:9", 2.0, 10, "10 epochs, 2 of them warm-up"),
            ("multi_step:3,12,60", 0.0, 12, "after epoch 12, 60, but"),
            ("plateau", 0.0, 12, "more than 10 epochs without progress"),
        ] {
            let text = told(schedule, warmup, epochs).unwrap();
            assert!(text.contains(words), "{text}");
        }
        for (schedule, warmup, epochs) in [
            ("step", 0.0, 31),
            ("step:9", 0.0, 10),
            ("multi_step:3,11", 0.0, 12),
            ("plateau", 0.0, 13),
            ("constant", 0.0, 1),
            ("cosine", 0.0, 1),
            ("one_cycle", 0.0, 1),
        ] {
            assert_eq!(told(schedule, warmup, epochs), None, "{schedule}");
        }
    }
}
