//! Where the random numbers come from.

use crate::init::Rng;

/// The random numbers of one image in one epoch: the stream of `seed` that is called
/// `augment EPOCH INDEX`. `index` is the image's position in the data set, not in the order of the
/// epoch.
pub fn image_rng(seed: u64, epoch: u64, index: usize) -> Rng {
    Rng::new(seed, &format!("augment {epoch} {index}"))
}

/// The random numbers of one batch in one epoch, for [`Mixing`](super::Mixing): the stream of `seed` that is
/// called `mixing EPOCH BATCH`.
pub fn batch_rng(seed: u64, epoch: u64, batch: usize) -> Rng {
    Rng::new(seed, &format!("mixing {epoch} {batch}"))
}

/// An index below `n`, each as likely; 0 if `n` is.
pub(super) fn index(rng: &mut Rng, n: usize) -> usize {
    let index = rng.uniform(0.0, n as f64) as usize;
    index.min(n.saturating_sub(1))
}

/// True with probability `p`.
pub(super) fn happens(rng: &mut Rng, p: f64) -> bool {
    rng.uniform(0.0, 1.0) < p
}
