//! Winograd's minimal filtering for 3x3 kernels of stride 1: Lavin & Gray, "Fast Algorithms for
//! Convolutional Neural Networks", CVPR 2016, <https://arxiv.org/abs/1509.09308>.
//!
//! A tile of 2x2 outputs takes 16 products in place of 36, one of 4x4 takes 36 in place of 144; the
//! transforms around them are additions. Each place of a transformed tile is one matrix product over
//! all tiles. Kernels are transformed once, so this is for inference.

use rayon::prelude::*;

use super::conv::{Finish, Kernels};
use super::map::Sides;
use super::norm::at_least;
use super::simd::{Matrix, Shared, product, room, vectorised};

/// Neighbouring channels that are computed together.
const LANES: usize = 16;

/// One number for each of those channels.
#[derive(Clone, Copy)]
struct Lanes([f32; LANES]);

impl Lanes {
    const ZERO: Self = Self([0.0; LANES]);

    /// # Safety
    /// So many numbers may be read.
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above; an array of numbers needs no other alignment than a number.
        Self(unsafe { from.cast::<[f32; LANES]>().read() })
    }

    /// # Safety
    /// So many numbers may be written.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; LANES]>().write(self.0) }
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut out = self;
        for i in 0..LANES {
            out.0[i] = f(self.0[i], other.0[i]);
        }
        out
    }

    #[inline(always)]
    fn times(self, factor: f32) -> Self {
        let mut out = self;
        for i in 0..LANES {
            out.0[i] *= factor;
        }
        out
    }

    /// `self + factor * other`
    #[inline(always)]
    fn plus(self, factor: f32, other: Self) -> Self {
        self.zip(other, |a, b| a + b * factor)
    }
}

impl std::ops::Add for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl std::ops::Sub for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
}

/// `F(M x M, 3 x 3)` along one axis; tiles have `T = M + 2` places.
trait Filter<const M: usize, const T: usize> {
    fn input(d: [Lanes; T]) -> [Lanes; T];
    fn kernel(g: [Lanes; 3]) -> [Lanes; T];
    fn output(m: [Lanes; T]) -> [Lanes; M];
}

struct Two;

impl Filter<2, 4> for Two {
    #[inline(always)]
    fn input([a, b, c, d]: [Lanes; 4]) -> [Lanes; 4] {
        [a - c, b + c, c - b, b - d]
    }

    #[inline(always)]
    fn kernel([a, b, c]: [Lanes; 3]) -> [Lanes; 4] {
        let sum = a + c;
        [a, (sum + b).times(0.5), (sum - b).times(0.5), c]
    }

    #[inline(always)]
    fn output([a, b, c, d]: [Lanes; 4]) -> [Lanes; 2] {
        [a + b + c, b - c - d]
    }
}

struct Four;

impl Filter<4, 6> for Four {
    #[inline(always)]
    fn input([a, b, c, d, e, f]: [Lanes; 6]) -> [Lanes; 6] {
        let (even, odd) = (e.plus(-4.0, c), d.plus(-4.0, b));
        let (even2, odd2) = (e - c, (d - b).times(2.0));
        [
            a.times(4.0).plus(-5.0, c) + e,
            even + odd,
            even - odd,
            even2 + odd2,
            even2 - odd2,
            b.times(4.0).plus(-5.0, d) + f,
        ]
    }

    #[inline(always)]
    fn kernel([a, b, c]: [Lanes; 3]) -> [Lanes; 6] {
        let sum = (a + c).times(-1.0 / 6.0);
        let middle = b.times(1.0 / 6.0);
        let outer = a.times(1.0 / 24.0).plus(1.0 / 6.0, c);
        let twelfth = b.times(1.0 / 12.0);
        [
            a.times(0.25),
            sum - middle,
            sum + middle,
            outer + twelfth,
            outer - twelfth,
            c,
        ]
    }

    #[inline(always)]
    fn output([a, b, c, d, e, f]: [Lanes; 6]) -> [Lanes; 4] {
        let (sum, difference) = (b + c, b - c);
        let (sum2, difference2) = (d + e, d - e);
        [
            a + sum + sum2,
            difference.plus(2.0, difference2),
            sum.plus(4.0, sum2),
            difference.plus(8.0, difference2) + f,
        ]
    }
}

/// Kernels as `[place of a tile][in][out]`.
#[derive(Debug)]
pub(super) struct Transformed {
    /// Outputs along a side of a tile: 2 or 4.
    tile: usize,
    values: Vec<f32>,
}

impl Transformed {
    /// `None` where the plain kernels are better: where most of them falls on padding, which costs
    /// `direct` nothing, and where there are so few tiles that the transformed kernels, which are
    /// larger, are read for too little. `direct` counts the products of each channel without this.
    pub fn new(kernels: &Kernels, direct: usize, output: Sides) -> Option<Self> {
        if !kernels.input.is_multiple_of(LANES) || !kernels.output.is_multiple_of(LANES) {
            return None;
        }
        match best_tile(direct, output)? {
            2 => Some(transform::<Two, 2, 4>(kernels)),
            _ => Some(transform::<Four, 4, 6>(kernels)),
        }
    }
}

/// Tiles, over the whole batch, from which on they pay.
const ENOUGH: usize = 24;

/// The tile with the fewest products, if they are fewer than the `direct` ones by what the
/// transforms cost.
fn best_tile(direct: usize, output: Sides) -> Option<usize> {
    let tiles = |m: usize| output.height.div_ceil(m) * output.width.div_ceil(m) * output.batch;
    // Products of each channel, those for outputs beyond the edge included.
    let products = |m: usize| tiles(m) * (m + 2) * (m + 2);
    let pays = |m: &usize| tiles(*m) >= ENOUGH && products(*m) * 4 < direct * 3;
    [2, 4].into_iter().filter(pays).min_by_key(|m| products(*m))
}

fn transform<F: Filter<M, T>, const M: usize, const T: usize>(kernels: &Kernels) -> Transformed {
    let (input, output) = (kernels.input, kernels.output);
    let from = kernels.values();
    let mut values = room(T * T * input * output);
    let to = Shared::new(&mut values);
    (0..input).into_par_iter().for_each(|i| {
        vectorised(
            #[inline(always)]
            || {
                for o in (0..output).step_by(LANES) {
                    let at = |place: usize| (place * input + i) * output + o;
                    let mut g = [[Lanes::ZERO; 3]; 3];
                    for (y, row) in g.iter_mut().enumerate() {
                        for (x, value) in row.iter_mut().enumerate() {
                            // SAFETY: inside of the kernels.
                            *value = unsafe { Lanes::load(from.as_ptr().add(at(y * 3 + x))) };
                        }
                    }
                    let rows = g.map(F::kernel);
                    for x in 0..T {
                        let column = F::kernel([rows[0][x], rows[1][x], rows[2][x]]);
                        for (y, value) in column.into_iter().enumerate() {
                            // SAFETY: inside, and these inputs are this task's alone.
                            unsafe { value.store(to.at(at(y * T + x))) };
                        }
                    }
                }
            },
        );
    });
    Transformed { tile: M, values }
}

/// Tiles that are transformed, multiplied and transformed back together.
const TOGETHER: usize = 512;

/// A convolution with a 3x3 kernel of stride 1.
pub(super) fn forward(
    x: &[f32],
    input: Sides,
    kernels: &Transformed,
    padding: usize,
    output: Sides,
    finish: Option<&Finish<'_>>,
    out: &mut [f32],
) {
    let job = Job {
        x,
        input,
        kernels: &kernels.values,
        padding,
        output,
        finish,
        out: Shared::new(out),
    };
    match kernels.tile {
        2 => job.run::<Two, 2, 4>(),
        _ => job.run::<Four, 4, 6>(),
    }
}

struct Job<'a> {
    x: &'a [f32],
    input: Sides,
    kernels: &'a [f32],
    padding: usize,
    output: Sides,
    finish: Option<&'a Finish<'a>>,
    out: Shared,
}

impl Job<'_> {
    fn run<F: Filter<M, T>, const M: usize, const T: usize>(&self) {
        let columns = self.output.width.div_ceil(M);
        let tiles = self.output.height.div_ceil(M) * columns;
        let batch = self.output.batch;
        let (from, to) = (self.input.channels, self.output.channels);
        let together = TOGETHER.div_ceil(batch).min(tiles);
        let mut before = room(T * T * together * batch * from);
        let mut after = room(T * T * together * batch * to);
        let (before, after) = (Shared::new(&mut before), Shared::new(&mut after));
        for first in (0..tiles).step_by(together) {
            let count = together.min(tiles - first);
            let rows = count * batch;
            (0..count).into_par_iter().for_each(|tile| {
                let place = ((first + tile) / columns, (first + tile) % columns);
                vectorised(
                    #[inline(always)]
                    || self.transform_input::<F, M, T>(place, before, tile * batch, rows),
                );
            });
            (0..T * T).into_par_iter().for_each(|place| {
                // SAFETY: each place has its own parts of the three.
                unsafe {
                    product(
                        [rows, to, from],
                        after.at(place * rows * to),
                        to,
                        false,
                        Matrix {
                            start: before.at(place * rows * from),
                            row: from,
                            column: 1,
                        },
                        Matrix {
                            start: self.kernels.as_ptr().add(place * from * to),
                            row: to,
                            column: 1,
                        },
                    );
                }
            });
            (0..count).into_par_iter().for_each(|tile| {
                let place = ((first + tile) / columns, (first + tile) % columns);
                vectorised(
                    #[inline(always)]
                    || self.transform_output::<F, M, T>(place, after, tile * batch, rows),
                );
            });
        }
    }

    #[inline(always)]
    fn transform_input<F: Filter<M, T>, const M: usize, const T: usize>(
        &self,
        (ty, tx): (usize, usize),
        to: Shared,
        row: usize,
        rows: usize,
    ) {
        let Sides { height, width, .. } = self.input;
        let (batch, channels) = (self.input.batch, self.input.channels);
        // Where the tile's places lie in the map, if they do.
        let at = |y: usize, x: usize| -> Option<usize> {
            let y = (ty * M + y).checked_sub(self.padding)?;
            let x = (tx * M + x).checked_sub(self.padding)?;
            (y < height && x < width).then(|| (y * width + x) * batch * channels)
        };
        let mut places = [[None; T]; T];
        for (y, row) in places.iter_mut().enumerate() {
            for (x, place) in row.iter_mut().enumerate() {
                *place = at(y, x);
            }
        }
        for n in 0..batch {
            for c in (0..channels).step_by(LANES) {
                let mut d = [[Lanes::ZERO; T]; T];
                for (row, places) in d.iter_mut().zip(&places) {
                    let mut line = [Lanes::ZERO; T];
                    for (value, place) in line.iter_mut().zip(places) {
                        if let Some(start) = place {
                            let from = start + n * channels + c;
                            // SAFETY: inside of the map.
                            *value = unsafe { Lanes::load(self.x.as_ptr().add(from)) };
                        }
                    }
                    *row = F::input(line);
                }
                for x in 0..T {
                    let mut column = [Lanes::ZERO; T];
                    for (value, row) in column.iter_mut().zip(&d) {
                        *value = row[x];
                    }
                    for (y, value) in F::input(column).into_iter().enumerate() {
                        let place = (y * T + x) * rows + row + n;
                        // SAFETY: inside, and these rows are this task's alone.
                        unsafe { value.store(to.at(place * channels + c)) };
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn transform_output<F: Filter<M, T>, const M: usize, const T: usize>(
        &self,
        (ty, tx): (usize, usize),
        from: Shared,
        row: usize,
        rows: usize,
    ) {
        let Sides { height, width, .. } = self.output;
        let (batch, channels) = (self.output.batch, self.output.channels);
        for n in 0..batch {
            for c in (0..channels).step_by(LANES) {
                let mut lines = [[Lanes::ZERO; T]; M];
                for x in 0..T {
                    let mut column = [Lanes::ZERO; T];
                    for (y, value) in column.iter_mut().enumerate() {
                        let place = (y * T + x) * rows + row + n;
                        // SAFETY: inside, and nobody writes there now.
                        *value = unsafe { Lanes::load(from.at(place * channels + c)) };
                    }
                    for (line, value) in lines.iter_mut().zip(F::output(column)) {
                        line[x] = value;
                    }
                }
                for (y, line) in lines.into_iter().enumerate() {
                    for (x, value) in F::output(line).into_iter().enumerate() {
                        let (y, x) = (ty * M + y, tx * M + x);
                        if y >= height || x >= width {
                            continue;
                        }
                        let at = ((y * width + x) * batch + n) * channels + c;
                        let value = match self.finish {
                            None => value,
                            Some(finish) => finished(value, finish, at, c),
                        };
                        // SAFETY: inside, and this tile is this task's alone.
                        unsafe { value.store(self.out.at(at)) };
                    }
                }
            }
        }
    }
}

/// What a [`Finish`] makes of the channels from `c` on, at place `at` of the map.
#[inline(always)]
fn finished(value: Lanes, finish: &Finish<'_>, at: usize, c: usize) -> Lanes {
    let floor = if finish.relu { 0.0 } else { f32::NEG_INFINITY };
    // SAFETY: both have a number for each channel, and channels come in whole lanes.
    let (scale, shift) = unsafe {
        (
            Lanes::load(finish.scale.as_ptr().add(c)),
            Lanes::load(finish.shift.as_ptr().add(c)),
        )
    };
    let mut value = value.zip(scale, |v, s| v * s) + shift;
    if let Some(residual) = finish.residual {
        // SAFETY: the residual is a map of the output's sides.
        value = value + unsafe { Lanes::load(residual.as_ptr().add(at)) };
    }
    value.zip(value, |v, _| at_least(v, floor))
}
