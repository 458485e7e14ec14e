//! Closed contours around a point, by their radius in each direction.

use std::f32::consts::PI;

use super::layer::Context;
use super::place::Affine;
use super::tables::turn;

/// Directions in which the radius is kept.
const DIRECTIONS: usize = 256;
/// Straight up, as rows are counted from the top.
const TOP: u8 = 192;
/// The least radius, where waves would make it smaller or negative.
const SMALLEST: f32 = 0.12;
/// How far a contour may be from square to the ray, as a tangent, for the width of its edge. Beyond
/// it the distance to the first order is of no use: a spike's tip would be seen pixels away.
const STEEPEST: f32 = 2.5;

/// A part of a contour's radius.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wave {
    /// Periods around the contour.
    pub(super) frequency: u8,
    /// In 256ths of a period, from the top.
    pub(super) phase: u8,
    pub(super) amplitude: f32,
}

/// A closed contour around the origin, by its radius in each direction; the first is repeated.
pub(super) struct Contour(Vec<f32>);

/// A pixel as a contour sees it.
pub(super) struct At {
    /// In the contour's own coordinates.
    pub(super) point: [f32; 2],
    /// The distance from the middle as a share of the radius in that direction.
    pub(super) level: f32,
    /// How much the level changes over a pixel.
    pub(super) slope: f32,
}

impl Contour {
    /// The sum of these waves; with corners, the polygon whose corners have that sum's radii, from
    /// the top.
    pub(super) fn new(waves: &[Wave], corners: usize, context: &Context) -> Self {
        let smooth = |i: usize| {
            let parts = waves.iter().map(|wave| {
                // From the top, so that waves without a phase are symmetric.
                let turned = (i as u8).wrapping_sub(TOP).wrapping_mul(wave.frequency);
                wave.amplitude * context.tables.cosine(turned.wrapping_add(wave.phase))
            });
            (1.0 + parts.sum::<f32>()).max(SMALLEST)
        };
        let mut radii: Vec<f32> = match corners {
            0 => (0..DIRECTIONS).map(smooth).collect(),
            corners => polygon(corners, smooth),
        };
        let largest = radii.iter().copied().fold(SMALLEST, f32::max);
        for radius in &mut radii {
            *radius /= largest;
        }
        radii.extend(radii.first().copied());
        Contour(radii)
    }

    /// What it encloses; π at most.
    pub(super) fn area(&self) -> f32 {
        let squares: f32 = self.0.iter().take(DIRECTIONS).map(|r| r * r).sum();
        squares * PI / DIRECTIONS as f32
    }

    /// Points on it.
    pub(super) fn points<'a>(
        &'a self,
        context: &'a Context,
    ) -> impl Iterator<Item = [f32; 2]> + 'a {
        let radii = self.0.iter().take(DIRECTIONS).enumerate();
        radii.map(|(i, r)| {
            let i = i as u8;
            [r * context.tables.cosine(i), r * context.tables.sine(i)]
        })
    }

    /// The radius at a direction in turns, and how much it changes over a radian.
    fn radius(&self, turn: f32) -> (f32, f32) {
        let place = turn * DIRECTIONS as f32;
        let i = (place as usize).min(DIRECTIONS - 1);
        match self.0.get(i..i + 2) {
            Some([a, b]) => {
                let steps = DIRECTIONS as f32 / (2.0 * PI);
                (a + (b - a) * (place - i as f32), (b - a) * steps)
            }
            _ => (1.0, 0.0),
        }
    }

    /// Shows every pixel within `reach` radii, and one beyond the border, to `visit`. The distance
    /// to a level in pixels is the difference of levels over the slope, to the first order; that is
    /// what lets edges be antialiased without drawing them larger.
    pub(super) fn trace(
        &self,
        place: &Affine,
        size: usize,
        reach: f32,
        mut visit: impl FnMut(usize, At),
    ) {
        let back = place.inverse();
        let [a, b, c, d] = back.linear.map(|value| value as f32);
        let [e, f] = back.shift.map(|value| value as f32);
        for pixel in 0..size * size {
            let (x, y) = ((pixel % size) as f32 + 0.5, (pixel / size) as f32 + 0.5);
            let (u, v) = (a * x + b * y + e, c * x + d * y + f);
            let far = u * u + v * v;
            let distance = far.sqrt().max(1e-4);
            let (r, change) = self.radius(turn(u, v));
            let level = distance / r;
            // The gradient of the level, along the ray and across it, then in pixels.
            let along = 1.0 / (r * distance);
            let across = -along * (change / r).clamp(-STEEPEST, STEEPEST);
            let gu = along * u - across * v;
            let gv = along * v + across * u;
            let (gx, gy) = (gu * a + gv * c, gu * b + gv * d);
            let slope = (gx * gx + gy * gy).sqrt();
            if level < reach + slope {
                let point = [u, v];
                visit(
                    pixel,
                    At {
                        point,
                        level,
                        slope,
                    },
                );
            }
        }
    }
}

/// The radii of the polygon whose corners have the radii of `smooth`, the first at the top.
fn polygon(corners: usize, smooth: impl Fn(usize) -> f32) -> Vec<f32> {
    let step = DIRECTIONS as f64 / corners as f64;
    let sine = |directions: f64| libm::sin(directions * std::f64::consts::TAU / DIRECTIONS as f64);
    let corner = |i: usize| {
        f64::from(smooth(
            (f64::from(TOP) + i as f64 * step) as usize % DIRECTIONS,
        ))
    };
    let radii: Vec<f64> = (0..=corners).map(|i| corner(i % corners)).collect();
    let radius = |direction: usize| {
        let from_top = (direction + DIRECTIONS - usize::from(TOP)) % DIRECTIONS;
        let side = ((from_top as f64 / step) as usize).min(corners - 1);
        let past = from_top as f64 - side as f64 * step;
        let (a, b) = match radii.get(side..side + 2) {
            Some([a, b]) => (*a, *b),
            _ => (1.0, 1.0),
        };
        // Where the ray meets the line between the two corners.
        (a * b * sine(step) / (a * sine(past) + b * sine(step - past))) as f32
    };
    (0..DIRECTIONS).map(radius).collect()
}
