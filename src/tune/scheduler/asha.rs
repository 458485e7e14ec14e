//! ASHA as Ray has it.

use std::collections::BTreeMap;

use super::{Decision, percentile};

/// The epochs at which trials are compared, from the first to the last.
pub(super) fn rungs(max_t: usize, grace: usize, eta: f64) -> Vec<f64> {
    let (max_t, grace) = (max_t as f64, grace as f64);
    let count = ((max_t / grace).ln() / eta.ln() + 1.0) as i32;
    (0..count).map(|rung| grace * eta.powi(rung)).collect()
}

#[derive(Debug)]
pub(in crate::tune) struct Asha {
    max_t: usize,
    eta: f64,
    /// An epoch, and what trials had reported when they came there.
    rungs: Vec<(f64, BTreeMap<usize, f64>)>,
}

impl Asha {
    pub fn new(max_t: usize, grace: usize, eta: f64) -> Self {
        let rungs = rungs(max_t, grace, eta).into_iter();
        Self {
            max_t,
            eta,
            rungs: rungs.map(|epoch| (epoch, BTreeMap::new())).collect(),
        }
    }

    pub fn report(&mut self, trial: usize, epoch: usize, score: f64) -> Decision {
        if epoch >= self.max_t {
            return Decision::Stop;
        }
        let share = 1.0 - 1.0 / self.eta;
        for (rung, recorded) in self.rungs.iter_mut().rev() {
            if (epoch as f64) < *rung || recorded.contains_key(&trial) {
                continue;
            }
            let others: Vec<f64> = recorded.values().copied().collect();
            recorded.insert(trial, score);
            return match percentile(&others, share) {
                Some(cutoff) if score < cutoff => Decision::Stop,
                _ => Decision::Continue,
            };
        }
        Decision::Continue
    }
}
