//! Where an instance stands in its picture: turned, stretched, sheared, mirrored, scaled, shifted.

use super::options::Jitter;
use super::random::chance;
use burn_zoo::init::Rng;

/// `p = linear · q + shift`, the matrix row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    pub(super) linear: [f64; 4],
    pub(super) shift: [f64; 2],
}

impl Affine {
    pub(super) const IDENTITY: Affine = Affine::diagonal([1.0, 1.0], [0.0, 0.0]);

    pub(super) const fn diagonal(scale: [f64; 2], shift: [f64; 2]) -> Self {
        Affine {
            linear: [scale[0], 0.0, 0.0, scale[1]],
            shift,
        }
    }

    pub(super) fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [a, b, c, d] = self.linear;
        [a * x + b * y + self.shift[0], c * x + d * y + self.shift[1]]
    }

    /// `self` applied to what `first` gives.
    pub(super) fn after(&self, first: &Affine) -> Affine {
        Affine {
            linear: product(self.linear, first.linear),
            shift: self.apply(first.shift),
        }
    }

    /// The way back. A matrix without an inverse does not occur: poses are checked to keep area.
    pub(super) fn inverse(&self) -> Affine {
        let [a, b, c, d] = self.linear;
        let det = a * d - b * c;
        let linear = [d / det, -b / det, -c / det, a / det];
        let [x, y] = self.shift;
        Affine {
            linear,
            shift: [
                -(linear[0] * x + linear[1] * y),
                -(linear[2] * x + linear[3] * y),
            ],
        }
    }
}

/// The matrix product of two matrices, row by row.
pub(super) fn product(l: [f64; 4], r: [f64; 4]) -> [f64; 4] {
    [
        l[0] * r[0] + l[1] * r[2],
        l[0] * r[1] + l[1] * r[3],
        l[2] * r[0] + l[3] * r[2],
        l[2] * r[1] + l[3] * r[3],
    ]
}

/// How an instance is turned and where it goes; shares are of the picture's side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pose {
    linear: [f64; 4],
    /// The longer side of the instance's box.
    extent: f64,
    /// The middle of that box.
    centre: [f64; 2],
}

impl Pose {
    pub(super) fn draw(jitter: &Jitter, rng: &mut Rng) -> Self {
        let angle = rng.uniform(-jitter.rotation, jitter.rotation).to_radians();
        let (sin, cos) = libm::sincos(angle);
        let stretch = 1.0 + rng.uniform(0.0, jitter.stretch);
        let [x, y] = if chance(rng, 0.5) {
            [stretch, 1.0]
        } else {
            [1.0, stretch]
        };
        let shear = rng.uniform(-jitter.shear, jitter.shear);
        let mirror = if chance(rng, jitter.flip) { -1.0 } else { 1.0 };
        let linear = product([cos, -sin, sin, cos], [x, shear, 0.0, y]);
        Pose {
            linear: product(linear, [mirror, 0.0, 0.0, 1.0]),
            extent: rng.uniform(jitter.scale.0, jitter.scale.1),
            centre: std::array::from_fn(|_| 0.5 + rng.uniform(-jitter.shift, jitter.shift)),
        }
    }

    /// Makes room for a second, smaller copy in the opposite corner, whose pose is returned.
    pub(super) fn split(&mut self, mut second: Pose, rng: &mut Rng) -> Pose {
        let side = |rng: &mut Rng| if chance(rng, 0.5) { 1.0 } else { -1.0 };
        let corner = [side(rng), side(rng)];
        self.extent *= 0.72;
        second.extent *= 0.42;
        for (axis, towards) in corner.into_iter().enumerate() {
            self.centre[axis] += 0.12 * towards;
            second.centre[axis] -= 0.27 * towards;
        }
        second
    }

    /// What brings `points` to their place in a picture of `size` pixels a side. The share
    /// `outside` of them, on each of the four sides, does not count for the box.
    pub(super) fn fit(&self, points: &[[f32; 2]], outside: f64, size: usize) -> Affine {
        let turned = Affine {
            linear: self.linear,
            shift: [0.0, 0.0],
        };
        let (mut xs, mut ys): (Vec<f32>, Vec<f32>) = points
            .iter()
            .map(|&[x, y]| {
                let [x, y] = turned.apply([f64::from(x), f64::from(y)]);
                (x as f32, y as f32)
            })
            .unzip();
        let boxes = [span(&mut xs, outside), span(&mut ys, outside)];
        let longest = boxes
            .iter()
            .map(|[low, high]| high - low)
            .fold(1e-6, f64::max);
        let scale = self.extent * size as f64 / longest;
        let shift = |axis: usize| {
            let [low, high] = boxes[axis];
            self.centre[axis] * size as f64 - scale * 0.5 * (low + high)
        };
        Affine {
            linear: self.linear.map(|value| value * scale),
            shift: [shift(0), shift(1)],
        }
    }
}

/// The values between which all but the share `outside` at each end lie.
pub(super) fn span(values: &mut [f32], outside: f64) -> [f64; 2] {
    if values.is_empty() {
        return [0.0, 0.0];
    }
    let last = values.len() - 1;
    let skipped = ((outside * values.len() as f64) as usize).min(last / 2);
    let mut at = |place: usize| {
        let (_, value, _) = values.select_nth_unstable_by(place, f32::total_cmp);
        f64::from(*value)
    };
    [at(skipped), at(last - skipped)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_puts_the_box_where_the_pose_says() {
        for number in 0..200 {
            let mut rng = Rng::new(number, "fit");
            let jitter = Jitter {
                scale: (0.5, 0.5),
                shift: 0.0,
                ..Jitter::default()
            };
            let pose = Pose::draw(&jitter, &mut rng);
            let points: Vec<[f32; 2]> = (0..50)
                .map(|_| [0, 1].map(|_| rng.uniform(-9.0, 4.0) as f32))
                .collect();
            let place = pose.fit(&points, 0.0, 64);
            let moved = points.iter().map(|point| place.apply(point.map(f64::from)));
            let mut sides = [0, 1].map(|axis| {
                let values = moved.clone().map(|point| point[axis]);
                let low = values.clone().fold(f64::INFINITY, f64::min);
                let high = values.fold(f64::NEG_INFINITY, f64::max);
                assert!((low + high - 64.0).abs() < 1e-3);
                high - low
            });
            sides.sort_by(f64::total_cmp);
            assert!((sides[1] - 32.0).abs() < 1e-3, "{sides:?}");
        }
    }

    #[test]
    fn an_inverse_leads_back() {
        let place = Affine {
            linear: [2.0, 1.0, -3.0, 0.5],
            shift: [4.0, -7.0],
        };
        let both = place.inverse().after(&place);
        let [x, y] = both.apply([0.3, -0.8]);
        assert!((x - 0.3).abs() < 1e-12 && (y + 0.8).abs() < 1e-12);
    }

    #[test]
    fn spans_leave_out_the_share_at_each_end() {
        let mut values: Vec<f32> = (0..100).rev().map(|i| i as f32).collect();
        assert_eq!(span(&mut values, 0.02), [2.0, 97.0]);
        assert_eq!(span(&mut values, 0.0), [0.0, 99.0]);
        assert_eq!(span(&mut [], 0.1), [0.0, 0.0]);
    }
}
