//! Iterated function systems: a few affine contractions whose attractor is the shape.

use std::f64::consts::PI;

use super::place::{Affine, product};
use super::random::{below, chance};
use burn_zoo::init::Rng;

/// Singular values stay below this. The paper has 1; but a map that hardly contracts is left so
/// rarely that a few hundred points do not tell where the attractor is.
const LARGEST: f64 = 0.97;
/// A system has from 2 to 7 maps, as in Anderson and Farrell (2022).
const COUNTS: [usize; 2] = [2, 7];
/// A few affine contractions.
#[derive(Debug, Clone)]
pub(super) struct System {
    pub(super) maps: Vec<Affine>,
}

impl System {
    /// A system by the rule of Anderson and Farrell, "Improving Fractal Pre-training" (WACV 2022),
    /// as their code has it: with N maps the weighted sum Σ (σ₁ + 2 σ₂) of the singular values is
    /// α, drawn from U((5 + N) / 2, (6 + N) / 2). Systems with a smaller sum are dust, those with a
    /// larger one are blots. Singular vectors are uniform rotations and reflections, shifts U(-1, 1).
    pub(super) fn sample(rng: &mut Rng) -> Self {
        let count = COUNTS[0] + below(rng, COUNTS[1] - COUNTS[0] + 1);
        let n = count as f64;
        let alpha = rng.uniform(0.5 * (5.0 + n), 0.5 * (6.0 + n));
        let maps = singular_pairs(count, alpha, rng)
            .into_iter()
            .map(|pair| map(pair, rng))
            .collect();
        System { maps }
    }

    /// The system with each map, all six parameters, multiplied by U(1 - t, 1 + t) of its own, where
    /// t is `strength` times 2 (1 - σ₁) where that is below 1. FractalDB (Kataoka et al., 2020)
    /// multiplies one parameter by 0.8 to 1.2, for which `strength` is 0.2; but the attractor of a
    /// map with a σ₁ near 1 changes with 1 / (1 - σ₁), beyond recognition. Up to a strength of 0.5
    /// every map still contracts: σ₁ (1 + (1 - σ₁)) = 1 - (1 - σ₁)².
    pub(super) fn jittered(&self, strength: f64, rng: &mut Rng) -> Self {
        let jitter = |map: &Affine| {
            let [first, _] = singular_values(map.linear);
            let reach = strength * (2.0 * (1.0 - first)).clamp(0.0, 1.0);
            let factor = rng.uniform(1.0 - reach, 1.0 + reach);
            Affine {
                linear: map.linear.map(|value| value * factor),
                shift: map.shift.map(|value| value * factor),
            }
        };
        System {
            maps: self.maps.iter().map(jitter).collect(),
        }
    }
}

/// Pairs σ₁ ≥ σ₂ below [`LARGEST`] with Σ (σ₁ + 2 σ₂) = `alpha`. Each is uniform between the bounds
/// that leave the later ones a solution.
fn singular_pairs(count: usize, alpha: f64, rng: &mut Rng) -> Vec<[f64; 2]> {
    let mut rest = alpha;
    (1..=count)
        .map(|number| {
            let later = (count - number) as f64 * 3.0 * LARGEST;
            // What this pair must take at least, and all of the rest if it is the last one.
            let least = (rest - later).max(0.0);
            let most = if number == count { least } else { rest };
            let first = rng.uniform((least / 3.0).max(0.0), LARGEST.min(most));
            let low = ((least - first) / 2.0).max(0.0);
            let second = if number == count {
                low.min(first)
            } else {
                rng.uniform(low, first.min((most - first) / 2.0))
            };
            rest -= first + 2.0 * second;
            [first, second]
        })
        .collect()
}

/// A map with these singular values.
fn map([first, second]: [f64; 2], rng: &mut Rng) -> Affine {
    let rotation = |rng: &mut Rng| {
        let (sin, cos) = libm::sincos(rng.uniform(-PI, PI));
        [cos, -sin, sin, cos]
    };
    let left = rotation(rng);
    let right = rotation(rng);
    let second = if chance(rng, 0.5) { second } else { -second };
    let linear = product(product(left, [first, 0.0, 0.0, second]), right);
    Affine {
        linear,
        shift: std::array::from_fn(|_| rng.uniform(-1.0, 1.0)),
    }
}

/// The singular values of a matrix, the larger one first.
fn singular_values([a, b, c, d]: [f64; 4]) -> [f64; 2] {
    let even = ((a + d) * (a + d) + (c - b) * (c - b)).sqrt();
    let odd = ((a - d) * (a - d) + (b + c) * (b + c)).sqrt();
    [0.5 * (even + odd), 0.5 * (even - odd).abs()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_follow_the_rule_of_singular_values() {
        for number in 0..500 {
            let mut rng = Rng::new(number, "rule");
            let system = System::sample(&mut rng);
            let n = system.maps.len() as f64;
            let values = system.maps.iter().map(|map| singular_values(map.linear));
            let alpha: f64 = values
                .clone()
                .map(|[first, second]| first + 2.0 * second)
                .sum();
            let range = 0.5 * (5.0 + n) - 1e-9..=0.5 * (6.0 + n) + 1e-9;
            assert!(range.contains(&alpha), "{alpha} with {n} maps");
            assert!(values.clone().all(|[first, second]| second <= first));
            assert!(values.clone().all(|[first, _]| first < LARGEST + 1e-9));
        }
    }

    #[test]
    fn systems_have_from_two_to_seven_maps_and_all_sums() {
        let mut seen = [0; 9];
        let mut mean = 0.0;
        for number in 0..600 {
            let system = System::sample(&mut Rng::new(number, "counts"));
            seen[system.maps.len()] += 1;
            let sum: f64 = system
                .maps
                .iter()
                .map(|map| singular_values(map.linear))
                .map(|[first, second]| first + 2.0 * second)
                .sum();
            mean += (sum - 0.5 * (5.5 + system.maps.len() as f64)) / 600.0;
        }
        assert_eq!([seen[0], seen[1], seen[8]], [0, 0, 0]);
        assert!(seen[2..8].iter().all(|count| *count > 60), "{seen:?}");
        // U(-0.25, 0.25) has a standard error of 0.006 here.
        assert!(mean.abs() < 0.03, "{mean}");
    }

    #[test]
    fn the_strongest_jitter_changes_all_maps_and_keeps_them_contracting() {
        for number in 0..500 {
            let mut rng = Rng::new(number, "jitter");
            let system = System::sample(&mut rng);
            let other = system.jittered(0.5, &mut rng);
            let mut pairs = system.maps.iter().zip(&other.maps);
            assert!(pairs.all(|(a, b)| a.linear != b.linear && a.shift != b.shift));
            let all = other.maps.iter().map(|map| singular_values(map.linear)[0]);
            assert!(all.fold(0.0, f64::max) < 1.0);
            let same = system.jittered(0.0, &mut rng);
            let mut pairs = system.maps.iter().zip(&same.maps);
            assert!(pairs.all(|(a, b)| a.linear == b.linear && a.shift == b.shift));
        }
    }
}
