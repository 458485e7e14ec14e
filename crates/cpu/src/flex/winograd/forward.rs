//! The convolution, which is also the gradient of its input.

use rayon::prelude::*;

use super::filter::{Filter, Four, LANES, Lanes, Two};
use super::tiles::{InputTiles, TILES_AT_ONCE};
use super::transformed::Transformed;
use crate::flex::epilogue::ChannelEpilogue;
use crate::flex::feature_map::MapShape;
use crate::flex::matmul::{Matrix, product};
use crate::flex::simd::{Shared, at_least, uninitialized, vectorised};

/// A convolution with a 3x3 kernel of stride 1.
pub fn forward(
    x: &[f32],
    input: MapShape,
    kernels: &Transformed,
    padding: usize,
    output: MapShape,
    epilogue: Option<&ChannelEpilogue<'_>>,
    out: &mut [f32],
) {
    let job = Job {
        x,
        input,
        kernels,
        padding,
        output,
        epilogue,
        out: Shared::new(out),
    };
    match kernels.tile {
        2 => job.run::<Two, 2, 4>(),
        _ => job.run::<Four, 4, 6>(),
    }
}

struct Job<'a> {
    x: &'a [f32],
    input: MapShape,
    kernels: &'a Transformed,
    padding: usize,
    output: MapShape,
    epilogue: Option<&'a ChannelEpilogue<'a>>,
    out: Shared,
}

impl Job<'_> {
    fn run<F: Filter<M, T>, const M: usize, const T: usize>(&self) {
        let columns = self.output.width.div_ceil(M);
        let tiles = self.output.height.div_ceil(M) * columns;
        let batch = self.output.batch;
        let (from, to) = (self.input.channels, self.output.channels);
        let together = TILES_AT_ONCE.div_ceil(batch).min(tiles);
        let mut before = uninitialized(T * T * together * batch * from);
        let mut after = uninitialized(T * T * together * batch * to);
        let (before, after) = (Shared::new(&mut before), Shared::new(&mut after));
        let input = InputTiles {
            x: self.x,
            shape: self.input,
            padding: self.padding,
        };
        for first in (0..tiles).step_by(together) {
            let count = together.min(tiles - first);
            let rows = count * batch;
            (0..count).into_par_iter().for_each(|tile| {
                let place = ((first + tile) / columns, (first + tile) % columns);
                vectorised(
                    #[inline(always)]
                    || input.transform::<F, M, T>(place, before, tile * batch, rows),
                );
            });
            (0..T * T).into_par_iter().for_each(|place| {
                let kernels = self.kernels;
                // SAFETY: each place has its own parts of the three.
                unsafe {
                    let out = after.at(place * rows * to);
                    let tiles = Matrix::at(before.at(place * rows * from), from);
                    match &kernels.packed {
                        Some(packed) => {
                            packed[place].product(rows, (0, to), out, to, false, tiles);
                        }
                        None => {
                            let kernels = kernels.place(place);
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
        let MapShape { height, width, .. } = self.output;
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
                        let value = match self.epilogue {
                            None => value,
                            Some(epilogue) => apply(epilogue, value, at, c),
                        };
                        // SAFETY: inside, and this tile is this task's alone.
                        unsafe { value.store(self.out.at(at)) };
                    }
                }
            }
        }
    }
}

/// An epilogue of the channels from `c` on, at place `at` of the map.
#[inline(always)]
fn apply(epilogue: &ChannelEpilogue<'_>, value: Lanes, at: usize, c: usize) -> Lanes {
    let floor = if epilogue.relu {
        0.0
    } else {
        f32::NEG_INFINITY
    };
    // SAFETY: both have a number for each channel, and channels come in whole lanes.
    let (scale, shift) = unsafe {
        (
            Lanes::load(epilogue.scale.as_ptr().add(c)),
            Lanes::load(epilogue.shift.as_ptr().add(c)),
        )
    };
    let mut value = value.zip(scale, |v, s| v * s) + shift;
    if let Some(residual) = epilogue.residual {
        // SAFETY: the residual is a map of the output's shape.
        value = value + unsafe { Lanes::load(residual.as_ptr().add(at)) };
    }
    value.zip(value, |v, _| at_least(v, floor))
}
