//! The mathematics of a learning-rate finder (Smith, 2017, <https://arxiv.org/abs/1506.01186>): the
//! rates of the sweep, the smoothed loss, and what the curve suggests. All of it as in fastai's
//! `lr_find`.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::train::ranges::positive;

/// The rates that a sweep tries, each a fixed factor above the one before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sweep {
    /// The rate of the first step.
    pub start: f64,
    /// The rate that a step after the last would have.
    pub end: f64,
    /// Steps of the optimiser, at least 6.
    pub steps: usize,
    /// Leaves out images that cannot be read, instead of ending with the first of them.
    pub skip_broken: bool,
}

impl Default for Sweep {
    /// fastai's: from 1e-7 to 10 in 100 steps.
    fn default() -> Self {
        Self {
            start: 1e-7,
            end: 10.0,
            steps: 100,
            skip_broken: false,
        }
    }
}

impl Sweep {
    /// The rate of a step, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        self.start * (self.end / self.start).powf(step as f64 / self.steps.max(1) as f64)
    }

    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that names the first that is not.
    pub fn validate(&self) -> Result<()> {
        positive("sweep start", self.start)?;
        if !(self.end > self.start && (self.end / self.start).is_finite()) {
            let expected = format!("a number above the start, {}", self.start);
            return Err(Error::argument("sweep end", expected, self.end));
        }
        if self.steps < 6 {
            return Err(Error::argument("sweep steps", "at least 6", self.steps));
        }
        Ok(())
    }
}

/// A running average of losses, as fastai shows it: 0.98 of it stays with every loss, and the first
/// losses have their full weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Smoothed {
    average: f64,
    /// The weight that the zero it began with still has.
    missing: f64,
    best: f64,
}

const BETA: f64 = 0.98;

impl Default for Smoothed {
    /// Without a loss.
    fn default() -> Self {
        Self {
            average: 0.0,
            missing: 1.0,
            best: f64::INFINITY,
        }
    }
}

impl Smoothed {
    /// Takes in a loss and returns the average.
    pub fn push(&mut self, loss: f64) -> f64 {
        self.average = loss + BETA * (self.average - loss);
        self.missing *= BETA;
        self.best = self.best.min(self.value());
        self.value()
    }

    /// The average; NaN before the first loss.
    pub fn value(&self) -> f64 {
        self.average / (1.0 - self.missing)
    }

    /// Whether a sweep has gone far enough: the average is above four times its lowest value, or no
    /// longer a number.
    pub fn diverged(&self) -> bool {
        let started = self.missing < 1.0;
        started && (self.value().is_nan() || self.value() > 4.0 * self.best)
    }
}

/// The learning rates that a sweep suggests; `None` where the curve has too few points, or nothing
/// to say.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Suggestions {
    /// The middle of the longest valley, the longest sequence of ever lower losses: fastai's
    /// default.
    pub valley: Option<f64>,
    /// Where the loss falls most steeply over the logarithm of the rate.
    pub steepest: Option<f64>,
    /// A tenth of the rate with the lowest loss.
    pub minimum: Option<f64>,
    /// Back from the end of the curve, the last rate before the slopes of two points fifteen apart
    /// become alike: fastai's interval slide rule.
    pub slide: Option<f64>,
}

/// Points at the end of a sweep that are left out: there the loss already runs away.
const SKIPPED_AT_END: usize = 5;
/// Fewer points have no shape.
const FEWEST: usize = 3;

impl Suggestions {
    /// What the smoothed losses at these rates suggest. As in fastai, a tenth of the sweep's
    /// `steps` is left out at the beginning and five points at the end, and nothing after a NaN
    /// counts.
    ///
    /// A sweep may stop at its first NaN or go on through NaNs to its last step: both give the
    /// same.
    pub(crate) fn of(rates: &[f64], losses: &[f64], steps: usize) -> Self {
        let recorded = rates.len().min(losses.len());
        let finite = losses.iter().take_while(|loss| loss.is_finite());
        let good = finite.count().min(recorded);
        let length = if losses.get(good).is_some_and(|loss| loss.is_nan()) {
            steps.max(recorded)
        } else {
            recorded
        };
        let end = length.saturating_sub(SKIPPED_AT_END).min(good);
        let range = (steps / 10).min(end)..end;
        let (rates, losses) = (&rates[range.clone()], &losses[range]);
        if losses.len() < FEWEST {
            return Self::default();
        }
        Self {
            valley: valley(losses).map(|index| rates[index]),
            steepest: steepest(rates, losses).map(|index| rates[index]),
            minimum: lowest(losses.iter().copied()).map(|index| rates[index] / 10.0),
            slide: slide(losses).map(|index| rates[index]),
        }
    }
}

/// The index of the lowest value, the first of equals.
fn lowest(values: impl Iterator<Item = f64>) -> Option<usize> {
    values
        .enumerate()
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(index, _)| index)
}

fn valley(losses: &[f64]) -> Option<usize> {
    // Length of the longest sequence of ever lower losses that ends at each point.
    let mut lengths = vec![1usize; losses.len()];
    let mut last = 0;
    for i in 1..losses.len() {
        for j in 0..i {
            if losses[i] < losses[j] && lengths[i] < lengths[j] + 1 {
                lengths[i] = lengths[j] + 1;
            }
        }
        if lengths[last] < lengths[i] {
            last = i;
        }
    }
    // Nothing is lower than what came before it: the valley is the first point.
    if last == 0 {
        return Some(0);
    }
    // As many points back as the sequence has, though it may have gaps. Two points at the very
    // beginning have no middle; fastai would suggest the last rate of the sweep.
    let length = lengths[last];
    (last + length / 3 + length / 6).checked_sub(length)
}

fn steepest(rates: &[f64], losses: &[f64]) -> Option<usize> {
    let slopes = (1..losses.len())
        .map(|i| (losses[i] - losses[i - 1]) / (rates[i].ln() - rates[i - 1].ln()));
    lowest(slopes)
}

fn slide(losses: &[f64]) -> Option<usize> {
    const APART: usize = 15;
    const ALIKE: f64 = 0.005;
    let last = losses.len() - 1;
    let slope = |i: usize| {
        let (left, right) = (i.saturating_sub(1), (i + 1).min(last));
        (losses[right] - losses[left]) / (right - left) as f64
    };
    let from = last.checked_sub(APART)?;
    let unlike = |left: usize| (slope(left + APART) - slope(left)).abs() > ALIKE;
    let lowest = (0..=from).rev().take_while(|&left| unlike(left)).last();
    Some(lowest.unwrap_or(from))
}
