//! The minimum of a smooth convex function: L-BFGS.

use std::collections::VecDeque;

use crate::error::Result;

/// Steps that the curvature is known from.
const MEMORY: usize = 10;

/// Halvings of a step before there is no better place to be found.
const HALVINGS: usize = 30;

/// Share of the decrease that the slope promises (Armijo's rule).
const DECREASE: f64 = 1e-4;

/// Where a search ended.
pub(super) struct Minimum {
    pub place: Vec<f64>,
    /// The largest derivative there.
    pub slope: f64,
}

/// Goes down from `place` until no derivative is above `tolerance`, or nothing better is found: of
/// functions that are computed in 32 bits the last steps are lost in rounding.
pub(super) fn minimize(
    place: Vec<f64>,
    tolerance: f64,
    most_steps: usize,
    mut function: impl FnMut(&[f64]) -> Result<(f64, Vec<f64>)>,
) -> Result<Minimum> {
    let mut place = place;
    let (mut value, mut slope) = function(&place)?;
    let mut steps: VecDeque<Step> = VecDeque::new();
    for _ in 0..most_steps {
        if largest(&slope) <= tolerance {
            break;
        }
        let direction = direction(&slope, &steps);
        let promised = dot(&direction, &slope);
        // The first step has nothing to go by but its length.
        let mut length = match steps.is_empty() {
            true => 1.0 / dot(&slope, &slope).sqrt().max(1.0),
            false => 1.0,
        };
        let mut better = None;
        for _ in 0..HALVINGS {
            let there: Vec<f64> = place
                .iter()
                .zip(&direction)
                .map(|(x, d)| x + length * d)
                .collect();
            let (lower, next) = function(&there)?;
            if lower <= value + DECREASE * length * promised {
                better = Some((there, lower, next));
                break;
            }
            length /= 2.0;
        }
        let Some((there, lower, next)) = better else {
            break;
        };
        steps.extend(Step::between([&place, &there], [&slope, &next]));
        if steps.len() > MEMORY {
            steps.pop_front();
        }
        (place, value, slope) = (there, lower, next);
    }
    let slope = largest(&slope);
    Ok(Minimum { place, slope })
}

/// A step, and by how much it changed the slope.
struct Step {
    moved: Vec<f64>,
    turned: Vec<f64>,
    /// One over their product.
    scale: f64,
}

impl Step {
    /// `None` if rounding has left nothing of the curvature.
    fn between(places: [&[f64]; 2], slopes: [&[f64]; 2]) -> Option<Self> {
        let difference = |[from, to]: [&[f64]; 2]| -> Vec<f64> {
            from.iter().zip(to).map(|(from, to)| to - from).collect()
        };
        let (moved, turned) = (difference(places), difference(slopes));
        let product = dot(&moved, &turned);
        let enough = 1e-12 * (dot(&moved, &moved) * dot(&turned, &turned)).sqrt();
        (product > enough).then(|| Self {
            moved,
            turned,
            scale: 1.0 / product,
        })
    }
}

/// Down the slope, with the curvature of the last steps taken into account.
fn direction(slope: &[f64], steps: &VecDeque<Step>) -> Vec<f64> {
    let mut down: Vec<f64> = slope.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(steps.len());
    for step in steps.iter().rev() {
        let share = step.scale * dot(&step.moved, &down);
        add(&mut down, -share, &step.turned);
        shares.push(share);
    }
    if let Some(step) = steps.back() {
        let scale = 1.0 / (step.scale * dot(&step.turned, &step.turned));
        down.iter_mut().for_each(|d| *d *= scale);
    }
    for (step, share) in steps.iter().zip(shares.iter().rev()) {
        let back = step.scale * dot(&step.turned, &down);
        add(&mut down, share - back, &step.moved);
    }
    down
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], share: f64, what: &[f64]) {
    to.iter_mut()
        .zip(what)
        .for_each(|(to, what)| *to += share * what);
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| value.abs().max(most))
}

#[cfg(test)]
mod tests {
    use super::minimize;

    #[test]
    fn a_narrow_valley_is_walked_to_its_end() {
        // Convex, with curvatures that differ by 1e4, and the minimum at (1, -2, 3).
        let function = |x: &[f64]| {
            let weights = [1.0, 100.0, 1e4];
            let from = [x[0] - 1.0, x[1] + 2.0, x[2] - 3.0];
            let value = (0..3)
                .map(|i| weights[i] * from[i].powi(2) + from[i].powi(4))
                .sum();
            let slope = (0..3)
                .map(|i| 2.0 * weights[i] * from[i] + 4.0 * from[i].powi(3))
                .collect();
            Ok((value, slope))
        };
        let found = minimize(vec![0.0; 3], 1e-9, 200, function).unwrap();
        assert!(found.slope <= 1e-9, "{}", found.slope);
        for (x, expected) in found.place.iter().zip([1.0, -2.0, 3.0]) {
            assert!((x - expected).abs() < 1e-8, "{:?}", found.place);
        }
        let few = minimize(vec![0.0; 3], 1e-9, 1, function).unwrap();
        assert!(few.slope > 1e-9);
    }
}
