//! How much each parameter matters: functional analysis of variance over a random forest (Hutter et
//! al., ICML 2014, <https://proceedings.mlr.press/v32/hutter14.html>).

use super::search::SearchResult;
use super::space::{Axis, Distribution};
use super::study::TrialRecord;
use crate::init::Rng;

const TREES: usize = 64;
/// Fewer trials say nothing.
const LEAST: usize = 8;
const LEAST_LEAF: usize = 2;
const DEEPEST: usize = 12;

impl SearchResult {
    /// The share of the variance of the results that each parameter explains by itself, the largest
    /// first: main effects of a fANOVA over a random forest. Empty for fewer than eight results, or if
    /// all are the same. What parameters explain together is in no share.
    pub fn importance(&self) -> Vec<(String, f64)> {
        let space = &self.settings().search;
        let result = |trial: &TrialRecord| {
            let best = trial.best(self.settings())?;
            let place = |(name, parameter): (&str, &super::Parameter)| {
                let value = trial.params.get(name);
                let place = value.and_then(|value| unit(&parameter.distribution, value));
                // In the middle of what it might have been.
                place.unwrap_or(0.5)
            };
            let score = self.settings().score(&best.metrics);
            score
                .is_finite()
                .then(|| (space.iter().map(place).collect(), score))
        };
        let results: Vec<(Vec<f64>, f64)> = self.trials().iter().filter_map(result).collect();
        let shares = main_effects(&results, space.len());
        let names = space.iter().map(|(name, _)| name.to_owned());
        let mut shares: Vec<(String, f64)> = names.zip(shares).collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        shares
    }
}

/// The place of a value between 0 and 1.
fn unit(distribution: &Distribution, value: &serde_json::Value) -> Option<f64> {
    let place = distribution.place(value)?;
    let axis = Axis::with_half_steps(distribution);
    let [middle, width] = axis.prior;
    Some(match distribution {
        Distribution::Normal(..) => {
            0.5 * libm::erfc((middle - place) / width / std::f64::consts::SQRT_2)
        }
        _ => (place - axis.low) / (axis.high - axis.low),
    })
}

/// Empty where nothing can be said.
fn main_effects(results: &[(Vec<f64>, f64)], parameters: usize) -> Vec<f64> {
    if results.len() < LEAST {
        return Vec::new();
    }
    let mut sums = vec![0.0; parameters];
    let mut counted = 0;
    for tree in 0..TREES {
        let mut rng = Rng::new(0, &format!("tree {tree}"));
        let count = results.len();
        let draw = (0..count).map(|_| {
            let index = rng.uniform(0.0, count as f64) as usize;
            &results[index.min(count - 1)]
        });
        let sample: Vec<&(Vec<f64>, f64)> = draw.collect();
        let mut leaves = Vec::new();
        let whole = vec![[0.0, 1.0]; parameters];
        grow(sample, whole, DEEPEST, &mut leaves);
        let mean: f64 = leaves
            .iter()
            .map(|leaf| leaf.volume(None) * leaf.value)
            .sum();
        let variance: f64 = leaves
            .iter()
            .map(|leaf| leaf.volume(None) * (leaf.value - mean).powi(2))
            .sum();
        if variance <= 1e-18 {
            continue;
        }
        counted += 1;
        for (parameter, sum) in sums.iter_mut().enumerate() {
            *sum += effect(&leaves, parameter, mean) / variance;
        }
    }
    match counted {
        0 => Vec::new(),
        _ => sums
            .into_iter()
            .map(|sum| sum / f64::from(counted))
            .collect(),
    }
}

/// A box in which a tree gives one value.
struct Leaf {
    sides: Vec<[f64; 2]>,
    value: f64,
}

impl Leaf {
    /// Of all sides but one.
    fn volume(&self, without: Option<usize>) -> f64 {
        let sides = self.sides.iter().enumerate();
        let counted = sides.filter(|(index, _)| Some(*index) != without);
        counted.map(|(_, [low, high])| high - low).product()
    }
}

/// The variance of what is expected where a parameter alone is known.
fn effect(leaves: &[Leaf], parameter: usize, mean: f64) -> f64 {
    let mut ends: Vec<f64> = leaves
        .iter()
        .flat_map(|leaf| leaf.sides[parameter])
        .collect();
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    let interval = |ends: &[f64]| {
        let middle = 0.5 * (ends[0] + ends[1]);
        let here = leaves.iter().filter(|leaf| {
            let [low, high] = leaf.sides[parameter];
            low < middle && middle < high
        });
        let expected: f64 = here
            .map(|leaf| leaf.volume(Some(parameter)) * leaf.value)
            .sum();
        (ends[1] - ends[0]) * (expected - mean).powi(2)
    };
    ends.windows(2).map(interval).sum()
}

/// Splits a box where the values on both sides differ least among themselves.
fn grow(sample: Vec<&(Vec<f64>, f64)>, sides: Vec<[f64; 2]>, depth: usize, leaves: &mut Vec<Leaf>) {
    let count = sample.len() as f64;
    let mean = sample.iter().map(|(_, value)| value).sum::<f64>() / count;
    let mut best: Option<(f64, usize, f64)> = None;
    if depth > 0 && sample.len() >= 2 * LEAST_LEAF {
        for parameter in 0..sides.len() {
            let mut sorted = sample.clone();
            sorted.sort_by(|a, b| a.0[parameter].total_cmp(&b.0[parameter]));
            let mut sum = 0.0;
            for index in 1..sorted.len() {
                sum += sorted[index - 1].1 - mean;
                let (before, after) = (sorted[index - 1].0[parameter], sorted[index].0[parameter]);
                if before == after || index < LEAST_LEAF || sorted.len() - index < LEAST_LEAF {
                    continue;
                }
                let (left, right) = (index as f64, count - index as f64);
                let gain = sum * sum / left + sum * sum / right;
                if gain > 1e-15 && best.is_none_or(|(most, ..)| gain > most) {
                    best = Some((gain, parameter, 0.5 * (before + after)));
                }
            }
        }
    }
    let Some((_, parameter, at)) = best else {
        leaves.push(Leaf { sides, value: mean });
        return;
    };
    let (left, right): (Vec<_>, Vec<_>) = sample
        .into_iter()
        .partition(|(place, _)| place[parameter] < at);
    let (mut below, mut above) = (sides.clone(), sides);
    below[parameter][1] = at;
    above[parameter][0] = at;
    grow(left, below, depth - 1, leaves);
    grow(right, above, depth - 1, leaves);
}

#[cfg(test)]
mod tests {
    use super::main_effects;
    use crate::init::Rng;

    #[test]
    fn shares_are_those_of_a_known_function() {
        let mut rng = Rng::new(1, "points");
        let mut points = |function: fn(f64, f64, f64) -> f64| {
            let draw = |_| {
                let place = [0; 3].map(|_| rng.uniform(0.0, 1.0));
                (place.to_vec(), function(place[0], place[1], place[2]))
            };
            let results: Vec<(Vec<f64>, f64)> = (0..400).map(draw).collect();
            main_effects(&results, 3)
        };
        // Variances 4/12 and 1/12 of a whole of 5/12.
        let shares = points(|a, b, _| 2.0 * a + b);
        assert!((shares[0] - 0.8).abs() < 0.06, "{shares:?}");
        assert!(
            (shares[1] - 0.2).abs() < 0.06 && shares[2] < 0.02,
            "{shares:?}"
        );
        // What two explain only together is in no share.
        let shares = points(|a, b, _| if (a < 0.5) == (b < 0.5) { 1.0 } else { 0.0 });
        assert!(shares.iter().all(|share| *share < 0.15), "{shares:?}");
        assert!(points(|_, _, _| 0.5).is_empty());
        assert!(main_effects(&[(vec![0.5], 1.0)], 1).is_empty());
    }
}
