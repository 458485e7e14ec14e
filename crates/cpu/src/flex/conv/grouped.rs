//! Convolutions of several groups of channels, each of which sees its own only.

use rayon::prelude::*;

use super::layouts::Columns;
use crate::flex::epilogue::ChannelEpilogue;
use crate::flex::feature_map::MapShape;
use crate::flex::group_blocks::{GroupBlocks, groups_of_block};
use crate::flex::matmul::{Matrix, product};
use crate::flex::simd::{Shared, uninitialized};
use crate::flex::window::{Tap, Window, taps_of_row};

/// The output of a convolution.
pub fn forward(
    x: &[f32],
    input: MapShape,
    blocks: &GroupBlocks,
    window: Window,
    output: MapShape,
    epilogue: Option<&ChannelEpilogue<'_>>,
    out: &mut [f32],
) {
    let columns = Columns::new(x, input, window);
    let (from, to) = (input.channels, output.channels);
    let shared = Shared::new(out);
    let tasks = 0..output.height * blocks.count;
    tasks.into_par_iter().for_each(|task| {
        let (y, block) = (task / blocks.count, task % blocks.count);
        let (first, row) = (block * blocks.output, y * output.row());
        let taps = taps_of_row(&window, y, input, output.width);
        let positions = output.width * output.batch;
        // The first tap writes if it reaches all of the row; all others add.
        let reaches = |tap: &Tap| tap.to - tap.from == output.width;
        let mut add = !taps.first().is_some_and(reaches);
        if add {
            // SAFETY: this block of this row is this task's alone.
            unsafe { shared.clear(row + first, positions, to, blocks.output) };
        }
        for tap in taps {
            let start = columns.start(tap.y, tap.offset, tap.from) + block * blocks.input;
            let m = (tap.to - tap.from) * input.batch;
            let a = Matrix::new(&columns.values, start, from);
            // SAFETY: all ranges are inside of their slices; this block of this row is this task's.
            unsafe {
                let out = shared.at(row + tap.from * output.position() + first);
                blocks.multiply((block, tap.tap), m, (out, to), add, a);
            }
            add = true;
        }
        if let Some(epilogue) = epilogue {
            epilogue.apply_to_row(shared, row, positions, to, (first, first + blocks.output));
        }
    });
}

/// The gradient of the input, from transposed kernels.
pub fn input_gradient(
    gradient: &[f32],
    output: MapShape,
    blocks: &GroupBlocks,
    window: Window,
    input: MapShape,
) -> Vec<f32> {
    let mut values = uninitialized(input.len());
    let shared = Shared::new(&mut values);
    let tasks = 0..input.height * blocks.count;
    tasks.into_par_iter().for_each(|task| {
        let (y, block) = (task / blocks.count, task % blocks.count);
        let (first, row) = (block * blocks.output, y * input.row());
        let positions = input.width * input.batch;
        // SAFETY: this block of this row is this task's alone.
        unsafe { shared.clear(row + first, positions, input.channels, blocks.output) };
        for ky in 0..window.kernel {
            let Some(line) = window.of(y, ky, output.height) else {
                continue;
            };
            for kx in 0..window.kernel {
                let (from, to) = window.inside(kx, input.width);
                // Where the windows are apart, so are the places that they meet.
                let (runs, each) = match window.stride {
                    _ if from == to => (0, 0),
                    1 => (1, to - from),
                    _ => (to - from, 1),
                };
                for run in 0..runs {
                    let column = window.place(from + run, kx) as usize;
                    let start = line * output.row() + (from + run) * output.position();
                    let start = start + block * blocks.input;
                    let a = Matrix::new(gradient, start, output.channels);
                    let at = row + column * input.position() + first;
                    let tap = ky * window.kernel + kx;
                    // SAFETY: all ranges are inside; this block of this row is this task's.
                    unsafe {
                        let out = (shared.at(at), input.channels);
                        blocks.multiply((block, tap), each * input.batch, out, true, a);
                    }
                }
            }
        }
    });
    values
}

/// The gradient of the kernels, `[tap][in][out]`, of `groups` groups.
pub fn kernel_gradient(
    x: &[f32],
    input: MapShape,
    gradient: &[f32],
    output: MapShape,
    window: Window,
    groups: usize,
) -> Vec<f32> {
    let columns = Columns::new(x, input, window);
    let [from, to] = [input.channels / groups, output.channels / groups];
    let together = groups_of_block(groups, [from, to]);
    let (count, taps) = (groups / together, window.taps());
    let [inputs, outputs] = [together * from, together * to];
    let mut values = uninitialized(taps * from * output.channels);
    let shared = Shared::new(&mut values);
    (0..taps * count).into_par_iter().for_each(|task| {
        let (tap, block) = (task / count, task % count);
        let (ky, kx) = (tap / window.kernel, tap % window.kernel);
        let (left, right) = window.inside(kx, input.width);
        let (top, bottom) = window.inside(ky, input.height);
        let mut sum = vec![0.0f32; inputs * outputs];
        for y in if left < right { top..bottom } else { 0..0 } {
            let row = window.place(y, ky) as usize;
            let start = columns.start(row, window.offset(kx), left) + block * inputs;
            let a = Matrix::new(&columns.values, start, input.channels).transposed();
            let start = y * output.row() + left * output.position() + block * outputs;
            let b = Matrix::new(gradient, start, output.channels);
            // SAFETY: all ranges are inside.
            unsafe {
                let size = [inputs, outputs, (right - left) * input.batch];
                product(size, sum.as_mut_ptr(), outputs, true, a, b);
            }
        }
        // What lies between channels of different groups is left out.
        for i in 0..from {
            for o in 0..outputs {
                let place = (tap * from + i) * output.channels + block * outputs + o;
                // SAFETY: inside; each task has a tap and outputs of its own.
                unsafe { *shared.at(place) = sum[(o / to * from + i) * outputs + o] };
            }
        }
    });
    values
}
