//! The median stopping rule as Ray has it.

use std::collections::BTreeMap;

use super::{Decision, percentile};

#[derive(Debug)]
pub(in crate::tune) struct Median {
    grace: usize,
    min_samples: usize,
    /// What each trial has reported, by epoch.
    reports: BTreeMap<usize, Vec<(usize, f64)>>,
}

impl Median {
    pub fn new(grace: usize, min_samples: usize) -> Self {
        Self {
            grace,
            min_samples,
            reports: BTreeMap::new(),
        }
    }

    pub fn report(&mut self, trial: usize, epoch: usize, score: f64) -> Decision {
        self.reports.entry(trial).or_default().push((epoch, score));
        if epoch < self.grace {
            return Decision::Continue;
        }
        let others = self.reports.iter().filter(|(other, reports)| {
            **other != trial && reports.last().is_some_and(|(last, _)| *last >= epoch)
        });
        let means: Vec<f64> = others
            .map(|(_, reports)| self.mean(reports, epoch))
            .filter(|mean| mean.is_finite())
            .collect();
        if means.len() < self.min_samples {
            return Decision::Continue;
        }
        let best = self.reports[&trial].iter().map(|(_, score)| *score);
        let best = best.fold(f64::NEG_INFINITY, f64::max);
        match percentile(&means, 0.5) {
            Some(median) if best < median => Decision::Stop,
            _ => Decision::Continue,
        }
    }

    /// The mean of what was reported from the first epoch that counts to this one.
    fn mean(&self, reports: &[(usize, f64)], epoch: usize) -> f64 {
        let counted = reports
            .iter()
            .filter(|(at, _)| (self.grace..=epoch).contains(at));
        let (count, sum) = counted.fold((0, 0.0), |(n, sum), (_, score)| (n + 1, sum + score));
        sum / f64::from(count)
    }
}
