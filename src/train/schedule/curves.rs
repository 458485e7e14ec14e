//! The formulas of the schedules, and the ranges of their numbers.

use std::f64::consts::PI;

use super::Schedule;
use crate::error::{Error, Result};

/// A sum of fractions can fall just short of a whole epoch; nobody has a billion steps in one.
const ROUNDING: f64 = 1e-9;

/// Epochs since a curve began, at least 0, and epochs that it spans.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub at: f64,
    pub length: f64,
}

impl Span {
    /// The part that is behind, 0 to 1.
    pub fn progress(self) -> f64 {
        if self.at < self.length {
            self.at / self.length
        } else {
            1.0
        }
    }

    /// How often `epochs` have passed.
    pub fn whole(self, epochs: f64) -> f64 {
        ((self.at + ROUNDING) / epochs).floor()
    }

    /// How many of the milestones have passed.
    pub fn passed(self, milestones: &[usize]) -> usize {
        let behind = |milestone: &&usize| self.at + ROUNDING >= **milestone as f64;
        milestones.iter().filter(behind).count()
    }

    /// Which of so many cycles this is, counted from 0, and the part of it that is behind. Together
    /// they fill the span; each is `growth` times as long as the one before.
    pub fn cycle(self, cycles: usize, growth: f64) -> (usize, f64) {
        let last = cycles.saturating_sub(1);
        if self.at >= self.length {
            return (last, 1.0);
        }
        let shares = if growth == 1.0 {
            cycles as f64
        } else {
            (growth.powf(cycles as f64) - 1.0) / (growth - 1.0)
        };
        let first = self.length / shares;
        // Where cycle `index` begins, and what it spans.
        let part = |index: usize| {
            let scale = growth.powf(index as f64);
            let start = if growth == 1.0 {
                first * index as f64
            } else {
                first * (scale - 1.0) / (growth - 1.0)
            };
            (start, first * scale)
        };
        // The closed form can miss a boundary by one cycle; the comparison decides.
        let guess = if growth == 1.0 {
            self.at / first
        } else {
            (1.0 + self.at / first * (growth - 1.0)).ln() / growth.ln()
        };
        let mut index = (guess as usize).min(last);
        if index < last && self.at + ROUNDING >= part(index + 1).0 {
            index += 1;
        } else if index > 0 && self.at + ROUNDING < part(index).0 {
            index -= 1;
        }
        let (start, length) = part(index);
        (index, ((self.at - start) / length).clamp(0.0, 1.0))
    }
}

/// From `from` to `to` along half a cosine.
pub(super) fn half_cosine(from: f64, to: f64, progress: f64) -> f64 {
    to + 0.5 * (from - to) * (1.0 + (PI * progress).cos())
}

/// Half a cosine from the first to the second value, and from `turn` on another to the third.
pub(super) fn up_and_down(turn: f64, [first, second, third]: [f64; 3], progress: f64) -> f64 {
    if progress < turn {
        half_cosine(first, second, progress / turn)
    } else if turn < 1.0 {
        half_cosine(second, third, (progress - turn) / (1.0 - turn))
    } else {
        second
    }
}

impl Schedule {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that names the first that is not.
    pub fn validate(&self) -> Result<()> {
        let check = |good: bool, name: &str, expected: &str, found: f64| {
            if good {
                Ok(())
            } else {
                Err(Error::argument(format!("schedule {name}"), expected, found))
            }
        };
        let positive = |name: &str, value: f64| {
            let good = value > 0.0 && value.is_finite();
            check(good, name, "a positive number", value)
        };
        let end = |value: f64| {
            let good = value >= 0.0 && value.is_finite();
            check(good, "end", "a number of at least 0", value)
        };
        match *self {
            Schedule::Constant => Ok(()),
            Schedule::Step { epochs, gamma } => {
                check(epochs > 0, "step", "at least one epoch", 0.0)?;
                positive("gamma", gamma)
            }
            Schedule::MultiStep {
                ref milestones,
                gamma,
            } => {
                let some = !milestones.is_empty() && !milestones.contains(&0);
                if !some {
                    let expected = "one epoch or more, counted from 0, none of them the first";
                    let found: Vec<String> = milestones.iter().map(usize::to_string).collect();
                    let found = if found.is_empty() {
                        "none".to_owned()
                    } else {
                        found.join(", ")
                    };
                    return Err(Error::argument("schedule milestones", expected, found));
                }
                positive("gamma", gamma)
            }
            Schedule::Exponential { gamma } => positive("gamma", gamma),
            Schedule::Linear { end: value } => end(value),
            Schedule::Polynomial { power, end: value } => {
                positive("power", power)?;
                end(value)
            }
            Schedule::Cosine {
                end: value,
                cycles,
                cycle_mul,
                cycle_decay,
            } => {
                end(value)?;
                check(
                    (1..=1000).contains(&cycles),
                    "cycles",
                    "1 to 1000",
                    cycles as f64,
                )?;
                positive("cycle_mul", cycle_mul)?;
                // Beyond that the shortest cycle is no longer a step, and numbers overflow.
                let longest = cycle_mul.powf(cycles as f64 - 1.0);
                check(
                    (1e-6..=1e6).contains(&longest),
                    "cycle_mul",
                    "cycles that differ in length by a factor of at most a million",
                    cycle_mul,
                )?;
                positive("cycle_decay", cycle_decay)
            }
            Schedule::OneCycle {
                pct_start,
                div,
                div_final,
                momentum,
            } => {
                let part = (0.0..=1.0).contains(&pct_start);
                check(part, "pct_start", "0 to 1", pct_start)?;
                positive("div", div)?;
                positive("div_final", div_final)?;
                momentum.iter().try_for_each(|&value| {
                    let good = (0.0..1.0).contains(&value);
                    check(good, "momentum", "at least 0 and below 1", value)
                })
            }
            Schedule::Plateau(ref plateau) => plateau.validate(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_begin_where_the_ones_before_end() {
        // Lengths 1, 2, 4, 8 in a span of 15.
        let cycle = |at: f64| Span { at, length: 15.0 }.cycle(4, 2.0);
        assert_eq!(cycle(0.0), (0, 0.0));
        assert_eq!(cycle(1.0), (1, 0.0));
        assert_eq!(cycle(2.0), (1, 0.5));
        assert_eq!(cycle(3.0), (2, 0.0));
        assert_eq!(cycle(7.0), (3, 0.0));
        assert_eq!(cycle(11.0), (3, 0.5));
        assert_eq!(cycle(15.0), (3, 1.0));
        assert_eq!(cycle(99.0), (3, 1.0));
    }

    #[test]
    fn every_boundary_is_a_restart_whatever_the_growth() {
        for growth in [0.5, 0.8, 1.0, 1.1, 1.5, 3.0] {
            for cycles in 1..9 {
                let length: f64 = (0..cycles).map(|i| growth_power(growth, i) * 7.0).sum();
                let mut at = 0.0;
                for index in 0..cycles {
                    let (found, progress) = Span { at, length }.cycle(cycles, growth);
                    assert_eq!(found, index, "{growth} {cycles} {at}");
                    assert!(progress < 1e-9, "{growth} {cycles} {at}: {progress}");
                    at += growth_power(growth, index) * 7.0;
                }
            }
        }
    }

    fn growth_power(growth: f64, index: usize) -> f64 {
        (0..index).fold(1.0, |product, _| product * growth)
    }

    #[test]
    fn an_empty_span_is_at_its_end() {
        let span = Span {
            at: 0.0,
            length: 0.0,
        };
        assert_eq!(span.progress(), 1.0);
        assert_eq!(span.cycle(3, 2.0), (2, 1.0));
    }
}
