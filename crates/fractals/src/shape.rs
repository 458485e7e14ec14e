//! Iterated function systems whose attractor is a shape, and the frame that it is drawn in.

use super::chaos::{Chaos, pilot};
use super::place::{Affine, span};
use super::system::System;
use burn_zoo::init::Rng;

/// The side of the grid on which a candidate is judged.
const GRID: usize = 32;
/// The share of the grid's cells that a category covers.
const FILL: [f64; 2] = [0.22, 0.82];
/// How many cells the points are spread over at least, counted as 1 / Σp².
const SPREAD: f64 = 140.0;
/// The share of points at each side that may lie outside of a frame.
pub(super) const OUTSIDE: f64 = 0.01;
/// Candidates for a category; six in seven are accepted.
const ATTEMPTS: usize = 60;

impl System {
    /// A system whose attractor is neither dust nor a line nor a blot; the best of the candidates
    /// where none is.
    pub(super) fn shape(rng: &mut Rng) -> Self {
        let mut best = Self::sample(rng);
        let mut fault = best.fault(rng);
        for _ in 1..ATTEMPTS {
            if fault <= 0.0 {
                break;
            }
            let next = Self::sample(rng);
            let other = next.fault(rng);
            if other < fault {
                (best, fault) = (next, other);
            }
        }
        best
    }

    /// How far the attractor is from what a category has; 0 is well. It is judged in a tighter and
    /// in a wider frame than it is drawn in: with a small part far away that only just counts, or
    /// does not, instances would be drawn in one or the other.
    fn fault(&self, rng: &mut Rng) -> f64 {
        let points = pilot(self, 2048, rng);
        let judged = [0.5, 2.0].map(|share| {
            let frame = frame(&points, share * OUTSIDE);
            self.fault_in(&frame, rng)
        });
        judged.into_iter().fold(0.0, f64::max)
    }

    /// How far the share of covered cells and the spread over them are from the bounds.
    fn fault_in(&self, frame: &Affine, rng: &mut Rng) -> f64 {
        let half = 0.5 * GRID as f64;
        let frame = Affine::diagonal([half, half], [half, half]).after(frame);
        let mut cells = vec![0; GRID * GRID];
        let jumps = 8 * cells.len();
        Chaos::new(self, &frame, rng).count(jumps, GRID, &mut cells);
        let lit = cells.iter().filter(|hits| **hits > 0).count() as f64;
        let fill = lit / cells.len() as f64;
        let total: f64 = cells.iter().map(|hits| f64::from(*hits)).sum();
        let squares: f64 = cells
            .iter()
            .map(|hits| f64::from(*hits) * f64::from(*hits))
            .sum();
        let spread = total * total / squares.max(1.0);
        let sides = [FILL[0] - fill, fill - FILL[1], 1.0 - spread / SPREAD];
        sides.into_iter().fold(0.0, f64::max)
    }
}

/// What brings these points to the square from -1 to 1: a shear that makes the axes uncorrelated,
/// then a scale by which the share `outside` of the points is beyond each side. An affine image of an attractor is an
/// attractor too; without the shear many are slivers along a diagonal.
pub(super) fn frame(points: &[[f32; 2]], outside: f64) -> Affine {
    let count = points.len().max(1) as f64;
    let (mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0);
    for [u, v] in points.iter().map(|point| point.map(f64::from)) {
        (x, y) = (x + u, y + v);
        (xx, xy) = (xx + u * u, xy + u * v);
    }
    let variance = (xx / count - x / count * x / count).max(1e-9);
    let slope = (xy / count - x / count * y / count) / variance;
    let (mut us, mut vs): (Vec<f32>, Vec<f32>) = points
        .iter()
        .map(|[u, v]| (*u, (f64::from(*v) - slope * f64::from(*u)) as f32))
        .unzip();
    let axis = |values: &mut [f32]| {
        let [low, high] = span(values, outside);
        let half = (0.5 * (high - low)).max(1e-6);
        [1.0 / half, -0.5 * (low + high) / half]
    };
    let ([a, e], [d, f]) = (axis(&mut us), axis(&mut vs));
    Affine {
        linear: [a, 0.0, -slope * d, d],
        shift: [e, f],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_systems_fill_the_grid_as_asked() {
        let faulty = (0..200).filter(|number| {
            let mut rng = Rng::new(*number, "fill");
            System::shape(&mut rng).fault(&mut rng) > 0.1
        });
        // The second look is at other points than the first.
        let faulty = faulty.count();
        assert!(faulty <= 2, "{faulty}");
    }

    #[test]
    fn a_frame_makes_the_axes_uncorrelated_and_fills_the_square() {
        for number in 0..100 {
            let mut rng = Rng::new(number, "frame");
            let points = pilot(&System::shape(&mut rng), 4096, &mut rng);
            let frame = frame(&points, OUTSIDE);
            let moved: Vec<[f64; 2]> = points
                .iter()
                .map(|point| frame.apply(point.map(f64::from)))
                .collect();
            let mean = |of: &dyn Fn(&[f64; 2]) -> f64| moved.iter().map(of).sum::<f64>() / 4096.0;
            let (x, y) = (mean(&|point| point[0]), mean(&|point| point[1]));
            let covariance = mean(&|point| (point[0] - x) * (point[1] - y));
            assert!(covariance.abs() < 1e-3, "{covariance}");
            for axis in 0..2 {
                let inside = moved.iter().filter(|point| point[axis].abs() <= 1.0 + 1e-4);
                assert!((4012..=4020).contains(&inside.count()));
            }
        }
    }
}
