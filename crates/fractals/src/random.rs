//! Draws that several parts need.

use burn_zoo::init::Rng;

/// One of the numbers below `count`, which is not zero.
pub(super) fn below(rng: &mut Rng, count: usize) -> usize {
    (rng.uniform(0.0, count as f64) as usize).min(count.saturating_sub(1))
}

/// True with this probability.
pub(super) fn chance(rng: &mut Rng, probability: f64) -> bool {
    rng.uniform(0.0, 1.0) < probability
}

/// A seed for a generator of another kind.
pub(super) fn seed(rng: &mut Rng) -> u64 {
    rng.uniform(0.0, (1u64 << 53) as f64) as u64
}
