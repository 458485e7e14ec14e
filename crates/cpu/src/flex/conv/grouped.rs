//! Convolutions of several groups of channels, each of which sees its own only.
//!
//! Groups of few channels, as ResNeXt has them, are computed several at a time as one group whose
//! kernels are zero between channels of different groups: the products with zeros cost less than
//! what thin products leave of the CPU.

use rayon::prelude::*;

use super::kernels::Kernels;
use super::layouts::Columns;
use super::{Finish, Tap, Window, taps_of_row};
use crate::flex::map::Sides;
use crate::flex::simd::{Matrix, PANEL, Packed, Shared, product, room};

/// Kernels of groups that are computed at once, `[block][tap][in][out]`.
#[derive(Debug)]
pub(super) struct Blocks {
    values: Vec<f32>,
    packed: Option<Vec<Packed>>,
    /// Channels of a block.
    input: usize,
    output: usize,
    /// Blocks.
    count: usize,
    taps: usize,
}

/// How many groups are computed at once.
fn together(groups: usize, [input, output]: [usize; 2]) -> usize {
    let most = (PANEL / input.max(output).max(1)).max(1);
    (1..=most.min(groups))
        .rev()
        .find(|count| groups.is_multiple_of(*count))
        .unwrap_or(1)
}

impl Blocks {
    /// Of kernels for so many input channels. Where `turned`, inputs and outputs are exchanged, for the
    /// way back.
    pub fn new(kernels: &Kernels, channels: usize, turned: bool) -> Self {
        let groups = channels / kernels.input.max(1);
        let [from, to] = [kernels.input, kernels.output / groups.max(1)];
        let together = together(groups, [from, to]);
        let (count, taps) = (groups / together.max(1), kernels.taps);
        let [input, output] = match turned {
            false => [together * from, together * to],
            true => [together * to, together * from],
        };
        let mut values = vec![0.0; count * taps * input * output];
        let of_kernels = kernels.values();
        for (index, values) in values.chunks_exact_mut(input * output).enumerate() {
            let (block, tap) = (index / taps, index % taps);
            for i in 0..from {
                for o in 0..together * to {
                    // The group within the block, which both channels belong to.
                    let group = o / to;
                    let kernel =
                        of_kernels[(tap * from + i) * kernels.output + block * together * to + o];
                    let (row, column) = (group * from + i, o);
                    let place = match turned {
                        false => row * output + column,
                        true => column * output + row,
                    };
                    values[place] = kernel;
                }
            }
        }
        let packed = values
            .chunks_exact(input * output)
            .map(|values| Packed::new(values, input, output))
            .collect();
        Self {
            values,
            packed,
            input,
            output,
            count,
            taps,
        }
    }

    /// The product of `m` rows of `a` with a tap of a block.
    ///
    /// # Safety
    /// As [`product`].
    unsafe fn multiply(
        &self,
        (block, tap): (usize, usize),
        m: usize,
        (out, row): (*mut f32, usize),
        add: bool,
        a: Matrix,
    ) {
        let place = block * self.taps + tap;
        // SAFETY: as above.
        unsafe {
            if let Some(packed) = &self.packed {
                return packed[place].product(m, (0, self.output), out, row, add, a);
            }
            let size = self.input * self.output;
            let b = Matrix {
                start: self.values[place * size..][..size].as_ptr(),
                row: self.output,
                column: 1,
            };
            product([m, self.output, self.input], out, row, add, a, b);
        }
    }
}

/// The output of a convolution.
pub(super) fn forward(
    x: &[f32],
    input: Sides,
    blocks: &Blocks,
    window: Window,
    output: Sides,
    finish: Option<&Finish<'_>>,
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
            let a = Matrix {
                start: columns.values[start..].as_ptr(),
                row: from,
                column: 1,
            };
            // SAFETY: all ranges are inside of their slices; this block of this row is this task's.
            unsafe {
                let out = shared.at(row + tap.from * output.position() + first);
                blocks.multiply((block, tap.tap), m, (out, to), add, a);
            }
            add = true;
        }
        if let Some(finish) = finish {
            finish.row(shared, row, positions, to, (first, first + blocks.output));
        }
    });
}

/// The gradient of the input, from kernels that are turned.
pub(super) fn input_gradient(
    gradient: &[f32],
    output: Sides,
    blocks: &Blocks,
    window: Window,
    input: Sides,
) -> Vec<f32> {
    let mut values = room(input.len());
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
                    let a = Matrix {
                        start: gradient[start + block * blocks.input..].as_ptr(),
                        row: output.channels,
                        column: 1,
                    };
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
pub(super) fn kernel_gradient(
    x: &[f32],
    input: Sides,
    gradient: &[f32],
    output: Sides,
    window: Window,
    groups: usize,
) -> Vec<f32> {
    let columns = Columns::new(x, input, window);
    let [from, to] = [input.channels / groups, output.channels / groups];
    let together = together(groups, [from, to]);
    let (count, taps) = (groups / together, window.taps());
    let [inputs, outputs] = [together * from, together * to];
    let mut values = room(taps * from * output.channels);
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
            let a = Matrix {
                start: columns.values[start..].as_ptr(),
                row: 1,
                column: input.channels,
            };
            let start = y * output.row() + left * output.position() + block * outputs;
            let b = Matrix {
                start: gradient[start..].as_ptr(),
                row: output.channels,
                column: 1,
            };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_groups_are_computed_several_at_a_time() {
        assert_eq!(together(32, [4, 4]), 8);
        assert_eq!(together(32, [8, 8]), 4);
        assert_eq!(together(6, [8, 8]), 3);
        assert_eq!(together(7, [8, 8]), 1);
        assert_eq!(together(32, [64, 64]), 1);
    }

    #[test]
    fn rows_of_no_window_are_none() {
        let window = Window {
            kernel: 1,
            stride: 2,
            padding: 0,
        };
        assert_eq!(window.of(0, 0, 3), Some(0));
        assert_eq!(window.of(1, 0, 3), None);
        assert_eq!(window.of(6, 0, 3), None);
    }
}
