//! Winograd's minimal filtering for 3x3 kernels of stride 1: Lavin & Gray, "Fast Algorithms for
//! Convolutional Neural Networks", CVPR 2016, <https://arxiv.org/abs/1509.09308>.
//!
//! A tile of 2x2 outputs takes 16 products in place of 36, one of 4x4 takes 36 in place of 144; the
//! transforms around them are additions. Each place of a transformed tile is one matrix product over
//! all tiles.

use rayon::prelude::*;

use super::conv::{Finish, Kernels};
use super::map::Sides;
use super::norm::at_least;
use super::simd::{Matrix, Packed, Shared, product, room, vectorised};

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
    /// `output` the other way round: its transposed matrix.
    fn output_back(g: [Lanes; M]) -> [Lanes; T];
    /// `kernel` the other way round: its transposed matrix.
    fn kernel_back(m: [Lanes; T]) -> [Lanes; 3];
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

    #[inline(always)]
    fn output_back([a, b]: [Lanes; 2]) -> [Lanes; 4] {
        [a, a + b, a - b, Lanes::ZERO - b]
    }

    #[inline(always)]
    fn kernel_back([a, b, c, d]: [Lanes; 4]) -> [Lanes; 3] {
        let half = (b + c).times(0.5);
        [a + half, (b - c).times(0.5), half + d]
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

    #[inline(always)]
    fn output_back([a, b, c, d]: [Lanes; 4]) -> [Lanes; 6] {
        let (even, odd) = (a + c, b + d);
        let (even2, odd2) = (a.plus(4.0, c), b.times(2.0).plus(8.0, d));
        [a, even + odd, even - odd, even2 + odd2, even2 - odd2, d]
    }

    #[inline(always)]
    fn kernel_back([a, b, c, d, e, f]: [Lanes; 6]) -> [Lanes; 3] {
        let (sum, difference) = ((b + c).times(-1.0 / 6.0), (c - b).times(1.0 / 6.0));
        let (sum2, difference2) = (d + e, d - e);
        [
            a.times(0.25).plus(1.0 / 24.0, sum2) + sum,
            difference.plus(1.0 / 12.0, difference2),
            sum.plus(1.0 / 6.0, sum2) + f,
        ]
    }
}

/// Kernels as `[place of a tile][in][out]`.
#[derive(Debug)]
pub(super) struct Transformed {
    /// Outputs along a side of a tile: 2 or 4.
    tile: usize,
    values: Vec<f32>,
    /// The same, packed for each place; `values` is empty then.
    packed: Option<Vec<Packed>>,
    /// How far apart the channels are that are read, and those that are written.
    strides: [usize; 2],
}

/// What kernels are transformed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// One forward pass.
    Forward,
    /// Many of them.
    Forwards,
    /// The gradient of the input, which is a convolution with the kernels turned around, from
    /// outputs to inputs.
    InputGradient,
}

/// Whether channels come in whole lanes.
fn whole(channels: usize) -> bool {
    channels.is_multiple_of(LANES)
}

impl Transformed {
    /// `None` where the plain kernels are better: where the maps are so small that most taps fall on
    /// padding, which costs nothing otherwise, and where there are so few tiles that the transform
    /// and the reading of its result, which is larger, cost more than they save. `direct` counts the
    /// products of each pair of channels without this; `output` is the map that is computed.
    pub fn new(kernels: &Kernels, of: Use, direct: usize, output: Sides) -> Option<Self> {
        if !whole(kernels.input) || !whole(kernels.output) {
            return None;
        }
        let found = match of {
            Use::Forwards => best_tile(&[2, 4], READ, direct, output),
            Use::Forward | Use::InputGradient => best_tile(TRAINING, MADE, direct, output),
        };
        match found? {
            2 => Some(transform::<Two, 2, 4>(kernels, of)),
            _ => Some(transform::<Four, 4, 6>(kernels, of)),
        }
    }
}

/// What transformed kernels cost, in products of a tile: those that are only read, and those that are
/// made for one use.
const READ: usize = 12;
const MADE: usize = 44;

/// The tiles that are trained with. The larger one rounds ten times as coarsely as a plain product
/// (1e-6 to 1e-5 of the largest value); where activations lie next to a ReLU's edge that is enough to
/// move single gradients by some thousandths.
const TRAINING: &[usize] = &[2];

/// The tile with the fewest products, if they are clearly fewer than the `direct` ones. The kernels
/// themselves count as products, too: as many as take the time to write or read them.
fn best_tile(of: &[usize], kernels: usize, direct: usize, output: Sides) -> Option<usize> {
    let tiles = |m: usize| output.height.div_ceil(m) * output.width.div_ceil(m) * output.batch;
    // Products of each pair of channels, those for outputs beyond the edge included.
    let products = |m: &usize| (tiles(*m) + kernels) * (m + 2) * (m + 2);
    let pays = |m: &usize| products(m) * 4 < direct * 3;
    of.iter().copied().filter(pays).min_by_key(products)
}

fn transform<F: Filter<M, T>, const M: usize, const T: usize>(
    kernels: &Kernels,
    of: Use,
) -> Transformed {
    let tap = |tap: usize| match of {
        Use::InputGradient => 8 - tap,
        Use::Forward | Use::Forwards => tap,
    };
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
                            *value = unsafe { Lanes::load(from.as_ptr().add(at(tap(y * 3 + x)))) };
                        }
                    }
                    let rows = g.map(F::kernel);
                    let columns = (0..T).map(|x| [rows[0][x], rows[1][x], rows[2][x]]);
                    for (x, column) in columns.enumerate() {
                        for (y, value) in F::kernel(column).into_iter().enumerate() {
                            // SAFETY: inside, and these inputs are this task's alone.
                            unsafe { value.store(to.at(at(y * T + x))) };
                        }
                    }
                }
            },
        );
    });
    let strides = match of {
        Use::InputGradient => [1, output],
        Use::Forward | Use::Forwards => [output, 1],
    };
    let packed = match of {
        Use::Forwards => {
            let places: Vec<&[f32]> = values.chunks_exact(input * output).collect();
            let packed = places
                .into_par_iter()
                .map(|place| Packed::new(place, input, output));
            packed.collect::<Option<Vec<_>>>()
        }
        Use::Forward | Use::InputGradient => None,
    };
    if packed.is_some() {
        values = Vec::new();
    }
    Transformed {
        tile: M,
        values,
        packed,
        strides,
    }
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
        kernels,
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

/// A map whose tiles overlap.
struct View<'a> {
    x: &'a [f32],
    sides: Sides,
    padding: usize,
}

impl View<'_> {
    /// Transforms a tile for all images.
    #[inline(always)]
    fn transform<F: Filter<M, T>, const M: usize, const T: usize>(
        &self,
        (ty, tx): (usize, usize),
        to: Shared,
        row: usize,
        rows: usize,
    ) {
        let Sides { height, width, .. } = self.sides;
        let (batch, channels) = (self.sides.batch, self.sides.channels);
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
}

struct Job<'a> {
    x: &'a [f32],
    input: Sides,
    kernels: &'a Transformed,
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
        let view = View {
            x: self.x,
            sides: self.input,
            padding: self.padding,
        };
        for first in (0..tiles).step_by(together) {
            let count = together.min(tiles - first);
            let rows = count * batch;
            (0..count).into_par_iter().for_each(|tile| {
                let place = ((first + tile) / columns, (first + tile) % columns);
                vectorised(
                    #[inline(always)]
                    || view.transform::<F, M, T>(place, before, tile * batch, rows),
                );
            });
            (0..T * T).into_par_iter().for_each(|place| {
                let kernels = self.kernels;
                // SAFETY: each place has its own parts of the three.
                unsafe {
                    let out = after.at(place * rows * to);
                    let tiles = Matrix {
                        start: before.at(place * rows * from),
                        row: from,
                        column: 1,
                    };
                    match &kernels.packed {
                        Some(packed) => {
                            packed[place].product(rows, (0, to), out, to, false, tiles);
                        }
                        None => {
                            let kernels = Matrix {
                                start: kernels.values.as_ptr().add(place * from * to),
                                row: kernels.strides[0],
                                column: kernels.strides[1],
                            };
                            product([rows, to, from], out, to, false, tiles, kernels);
                        }
                    }
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

/// The gradient of 3x3 kernels of stride 1, `[tap][in][out]`; `None` where it is better computed
/// without this. `direct` counts the products of each pair of channels then.
pub(super) fn kernel_gradient(
    x: &[f32],
    input: Sides,
    gradient: &[f32],
    output: Sides,
    padding: usize,
    direct: usize,
) -> Option<Vec<f32>> {
    if !whole(input.channels) || !whole(output.channels) {
        return None;
    }
    let job = Gradient {
        x,
        input,
        gradient,
        output,
        padding,
    };
    Some(match best_tile(TRAINING, MADE, direct, output)? {
        2 => job.run::<Two, 2, 4>(),
        _ => job.run::<Four, 4, 6>(),
    })
}

struct Gradient<'a> {
    x: &'a [f32],
    input: Sides,
    gradient: &'a [f32],
    output: Sides,
    padding: usize,
}

impl Gradient<'_> {
    fn run<F: Filter<M, T>, const M: usize, const T: usize>(&self) -> Vec<f32> {
        let columns = self.output.width.div_ceil(M);
        let tiles = self.output.height.div_ceil(M) * columns;
        let batch = self.output.batch;
        let (from, to) = (self.input.channels, self.output.channels);
        let together = TOGETHER.div_ceil(batch).min(tiles);
        let mut inputs = room(T * T * together * batch * from);
        let mut outputs = room(T * T * together * batch * to);
        let mut sums = room(T * T * from * to);
        let (inputs, outputs) = (Shared::new(&mut inputs), Shared::new(&mut outputs));
        let sum = Shared::new(&mut sums);
        let view = View {
            x: self.x,
            sides: self.input,
            padding: self.padding,
        };
        for first in (0..tiles).step_by(together) {
            let count = together.min(tiles - first);
            let rows = count * batch;
            (0..count).into_par_iter().for_each(|tile| {
                let place = ((first + tile) / columns, (first + tile) % columns);
                vectorised(
                    #[inline(always)]
                    || {
                        view.transform::<F, M, T>(place, inputs, tile * batch, rows);
                        self.transform_output::<F, M, T>(place, outputs, tile * batch, rows);
                    },
                );
            });
            (0..T * T).into_par_iter().for_each(|place| {
                // SAFETY: each place has its own parts of the three.
                unsafe {
                    product(
                        [from, to, rows],
                        sum.at(place * from * to),
                        to,
                        first > 0,
                        Matrix {
                            start: inputs.at(place * rows * from),
                            row: 1,
                            column: from,
                        },
                        Matrix {
                            start: outputs.at(place * rows * to),
                            row: to,
                            column: 1,
                        },
                    );
                }
            });
        }
        let mut values = room(9 * from * to);
        let out = Shared::new(&mut values);
        (0..from).into_par_iter().for_each(|i| {
            vectorised(
                #[inline(always)]
                || {
                    for o in (0..to).step_by(LANES) {
                        let at = |place: usize| (place * from + i) * to + o;
                        let mut rows = [[Lanes::ZERO; 3]; T];
                        for (y, row) in rows.iter_mut().enumerate() {
                            let mut line = [Lanes::ZERO; T];
                            for (x, value) in line.iter_mut().enumerate() {
                                // SAFETY: inside, and nobody writes there now.
                                *value = unsafe { Lanes::load(sum.at(at(y * T + x))) };
                            }
                            *row = F::kernel_back(line);
                        }
                        for x in 0..3 {
                            let mut column = [Lanes::ZERO; T];
                            for (value, row) in column.iter_mut().zip(&rows) {
                                *value = row[x];
                            }
                            for (y, value) in F::kernel_back(column).into_iter().enumerate() {
                                // SAFETY: inside, and these inputs are this task's alone.
                                unsafe { value.store(out.at(at(y * 3 + x))) };
                            }
                        }
                    }
                },
            );
        });
        values
    }

    #[inline(always)]
    fn transform_output<F: Filter<M, T>, const M: usize, const T: usize>(
        &self,
        (ty, tx): (usize, usize),
        to: Shared,
        row: usize,
        rows: usize,
    ) {
        let Sides { height, width, .. } = self.output;
        let (batch, channels) = (self.output.batch, self.output.channels);
        for n in 0..batch {
            for c in (0..channels).step_by(LANES) {
                let mut lines = [[Lanes::ZERO; T]; M];
                for (y, transformed) in lines.iter_mut().enumerate() {
                    let mut line = [Lanes::ZERO; M];
                    for (x, value) in line.iter_mut().enumerate() {
                        let (y, x) = (ty * M + y, tx * M + x);
                        if y < height && x < width {
                            let at = ((y * width + x) * batch + n) * channels + c;
                            // SAFETY: inside of the map.
                            *value = unsafe { Lanes::load(self.gradient.as_ptr().add(at)) };
                        }
                    }
                    *transformed = F::output_back(line);
                }
                for x in 0..T {
                    let mut column = [Lanes::ZERO; M];
                    for (value, line) in column.iter_mut().zip(&lines) {
                        *value = line[x];
                    }
                    for (y, value) in F::output_back(column).into_iter().enumerate() {
                        let place = (y * T + x) * rows + row + n;
                        // SAFETY: inside, and these rows are this task's alone.
                        unsafe { value.store(to.at(place * channels + c)) };
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
