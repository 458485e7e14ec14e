//! The gradient of the kernels.

use rayon::prelude::*;

use super::filter::{Filter, Four, LANES, Lanes, Two};
use super::tiles::{
    InputTiles, MAKE_COST, TILES_AT_ONCE, TRAINING_TILES, best_tile, in_whole_lanes,
};
use crate::flex::feature_map::MapShape;
use crate::flex::matmul::{Matrix, product};
use crate::flex::simd::{Shared, uninitialized, vectorised};

/// The gradient of 3x3 kernels of stride 1, `[tap][in][out]`; `None` where it is better computed
/// without this. `direct` counts the products of each pair of channels then.
pub fn kernel_gradient(
    x: &[f32],
    input: MapShape,
    gradient: &[f32],
    output: MapShape,
    padding: usize,
    direct: usize,
) -> Option<Vec<f32>> {
    if !in_whole_lanes(input.channels) || !in_whole_lanes(output.channels) {
        return None;
    }
    let job = Gradient {
        x,
        input,
        gradient,
        output,
        padding,
    };
    Some(
        match best_tile(TRAINING_TILES, MAKE_COST, direct, output)? {
            2 => job.run::<Two, 2, 4>(),
            _ => job.run::<Four, 4, 6>(),
        },
    )
}

struct Gradient<'a> {
    x: &'a [f32],
    input: MapShape,
    gradient: &'a [f32],
    output: MapShape,
    padding: usize,
}

impl Gradient<'_> {
    fn run<F: Filter<M, T>, const M: usize, const T: usize>(&self) -> Vec<f32> {
        let columns = self.output.width.div_ceil(M);
        let tiles = self.output.height.div_ceil(M) * columns;
        let batch = self.output.batch;
        let (from, to) = (self.input.channels, self.output.channels);
        let together = TILES_AT_ONCE.div_ceil(batch).min(tiles);
        let mut inputs = uninitialized(T * T * together * batch * from);
        let mut outputs = uninitialized(T * T * together * batch * to);
        let mut sums = uninitialized(T * T * from * to);
        let (inputs, outputs) = (Shared::new(&mut inputs), Shared::new(&mut outputs));
        let sum = Shared::new(&mut sums);
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
                    || {
                        input.transform::<F, M, T>(place, inputs, tile * batch, rows);
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
                        Matrix::at(inputs.at(place * rows * from), from).transposed(),
                        Matrix::at(outputs.at(place * rows * to), to),
                    );
                }
            });
        }
        let mut values = uninitialized(9 * from * to);
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
        let MapShape { height, width, .. } = self.output;
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
