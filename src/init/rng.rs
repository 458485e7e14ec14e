//! The random numbers: the same on every device, and with any version of a library.

use std::f64::consts::{E, TAU};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest, Sha256};

/// A stream of random numbers that depends on a seed and a name only, not on the order in which
/// parameters are made nor on the device.
///
/// With the parameter's name as the name, a model's initial values are the same whichever of its
/// parameters are made, in whatever order and on however many threads.
///
/// The rule, fixed here so that it outlasts the versions of any library:
///
/// - The key is the SHA-256 digest of the seed as 8 little-endian bytes followed by the name in
///   UTF-8. ChaCha with 8 rounds, that key, a 64-bit block counter and nonce, both from 0, gives
///   the stream of 64-bit words, each from two 32-bit ones, the lower half first.
/// - A number u on `[0, 1)` is the upper 53 bits of one word, divided by 2⁵³.
/// - A normal number is √(−2 ln(1 − u₁)) · cos(2π u₂) from two of those (Box and Muller, 1958). The
///   sine that could give a second one is not kept, so that the state is the position alone.
///
/// The words and the uniform numbers are the same everywhere; the normal ones can differ in the
/// last bits of an `f64` between platforms, whose logarithms and cosines do.
///
/// ```
/// use burn_zoo::init::Rng;
///
/// let mut first = Rng::new(42, "fc.weight");
/// let mut again = Rng::new(42, "fc.weight");
/// assert_eq!(first.uniform(-1.0, 1.0), again.uniform(-1.0, 1.0));
/// ```
#[derive(Debug, Clone)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The start of the stream for this seed and name.
    pub fn new(seed: u64, name: &str) -> Self {
        let key = Sha256::new()
            .chain_update(seed.to_le_bytes())
            .chain_update(name)
            .finalize();
        Rng(ChaCha8Rng::from_seed(key.into()))
    }

    /// The stream after so many more words.
    pub(super) fn after(&self, words: usize) -> Self {
        let mut after = self.clone();
        // The generator counts words of 32 bits.
        after
            .0
            .set_word_pos(self.0.get_word_pos() + 2 * words as u128);
        after
    }

    /// One number of U(low, high): low + (high − low) · u. Takes one word of the stream.
    ///
    /// The product is rounded, so that `high` itself can occur where the bounds are close to each
    /// other. The bounds are not checked; with `low` above `high` the interval is the reverse one.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// One number of N(0, 1). Takes two words of the stream.
    pub fn normal(&mut self) -> f64 {
        // 1 - u is exact and never 0.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }

    /// One number of U(0, 1), a multiple of 2⁻⁵³ below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// One number of N(0, 1) restricted to `[low, high]`, of which `low` is finite or negative and
    /// `high` finite or positive. By the rejection of Robert (1995): each loop accepts 49 % of its
    /// proposals or more, whatever the bounds.
    pub(crate) fn truncated_normal(&mut self, low: f64, high: f64) -> f64 {
        // The lower tail is the upper one mirrored.
        if high < 0.0 {
            return -self.truncated_normal(-high, -low);
        }
        let width = high - low;
        if low <= 0.0 {
            // Around the peak: from the normal distribution where it fits between the bounds, from
            // the uniform one where they are closer than the normal density is wide.
            if width > TAU.sqrt() {
                loop {
                    let z = self.normal();
                    if (low..=high).contains(&z) {
                        return z;
                    }
                }
            }
            loop {
                let z = self.uniform(low, high);
                if self.unit() < (-0.5 * z * z).exp() {
                    return z;
                }
            }
        }
        // In the tail: from the exponential distribution that starts at the bound and has the best
        // rate, or from the uniform one where the bounds are closer than it is wide.
        let sum = low + low.hypot(2.0);
        let rate = 0.5 * sum;
        if width <= 2.0 * E.sqrt() / sum * (-low / sum).exp() {
            loop {
                let z = self.uniform(low, high);
                if self.unit() < (-0.5 * (z - low) * (z + low)).exp() {
                    return z;
                }
            }
        }
        loop {
            let z = low - (1.0 - self.unit()).ln() / rate;
            if z <= high && self.unit() < (-0.5 * (z - rate) * (z - rate)).exp() {
                return z;
            }
        }
    }
}
