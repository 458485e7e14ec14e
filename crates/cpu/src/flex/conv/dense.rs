//! The ways to the output of a convolution whose every output channel sees every input channel.

use rayon::prelude::*;

use super::layouts::{Columns, Planes};
use super::partition::{channel_block, channel_blocks};
use crate::flex::epilogue::ChannelEpilogue;
use crate::flex::feature_map::MapShape;
use crate::flex::kernels::Kernels;
use crate::flex::matmul::{Matrix, product};
use crate::flex::packed::Packed;
use crate::flex::simd::{Shared, uninitialized};
use crate::flex::window::{Window, taps_of_row};

/// Kernels, packed or not.
#[derive(Clone, Copy)]
pub struct Factor<'a> {
    kernels: &'a Kernels,
    packed: Option<&'a Packed>,
}

impl<'a> Factor<'a> {
    pub fn new(kernels: &'a Kernels, packed: Option<&'a Packed>) -> Self {
        Self { kernels, packed }
    }

    /// The product of `m` rows of `a` with the kernels of all taps, or where `tap` says so of one,
    /// for some of the outputs; as [`product`].
    ///
    /// # Safety
    /// As [`product`].
    pub unsafe fn multiply(
        &self,
        m: usize,
        (first, last): (usize, usize),
        out: *mut f32,
        add: bool,
        a: Matrix,
        tap: Option<usize>,
    ) {
        let Kernels {
            input,
            output,
            taps,
            ..
        } = *self.kernels;
        // SAFETY: as above.
        unsafe {
            if let Some(packed) = self.packed {
                return packed.product(m, (first, last), out, output, add, a);
            }
            let (depth, start) = match tap {
                None => (taps * input, 0),
                Some(tap) => (input, tap * input * output),
            };
            let kernels = Matrix::new(self.kernels.values(), start + first, output);
            product([m, last - first, depth], out, output, add, a, kernels);
        }
    }
}

/// Where a row of positions is a product of fewer rows than this, several of them are gathered.
pub const FEW_POSITIONS: usize = 48;

/// Rows of a product of gathered positions.
pub const GATHERED: usize = 256;

/// The patches under the windows of several rows side by side, `[position][tap][in]`: a copy, and in
/// exchange one large product in place of many thin ones.
pub fn gathered(
    x: &[f32],
    input: MapShape,
    factor: Factor<'_>,
    window: Window,
    output: MapShape,
    epilogue: Option<&ChannelEpilogue<'_>>,
    out: &mut [f32],
) {
    let (from, to) = (input.channels, output.channels);
    let depth = window.taps() * from;
    let row = output.width * output.batch;
    let lines = (GATHERED / row.max(1)).clamp(1, output.height);
    let mut gathered = uninitialized(lines * row * depth);
    let shared = Shared::new(out);
    let count = channel_blocks(1, to);
    for first in (0..output.height).step_by(lines) {
        let lines = lines.min(output.height - first);
        gathered[..lines * row * depth]
            .par_chunks_mut(depth * output.batch)
            .enumerate()
            .for_each(|(place, out)| {
                let (y, x_out) = (first + place / output.width, place % output.width);
                gather(x, input, window, (y, x_out), out);
            });
        (0..count).into_par_iter().for_each(|task| {
            let (begin, end) = channel_block(task, count, to);
            let start = first * output.row();
            let patches = Matrix::new(&gathered, 0, depth);
            // SAFETY: all ranges are inside; this block of channels is this task's.
            unsafe {
                let out = shared.at(start + begin);
                factor.multiply(lines * row, (begin, end), out, false, patches, None);
            }
            if let Some(epilogue) = epilogue {
                epilogue.apply_to_row(shared, start, lines * row, to, (begin, end));
            }
        });
    }
}

/// The patch under one window, `[batch][tap][in]`.
fn gather(x: &[f32], input: MapShape, window: Window, (y, x_out): (usize, usize), out: &mut [f32]) {
    let channels = input.channels;
    let depth = window.taps() * channels;
    for ky in 0..window.kernel {
        let row = window.place(y, ky);
        for kx in 0..window.kernel {
            let column = window.place(x_out, kx);
            let inside = (0..input.height as isize).contains(&row)
                && (0..input.width as isize).contains(&column);
            let tap = (ky * window.kernel + kx) * channels;
            let start = (row * input.width as isize + column).max(0) as usize * input.position();
            for (n, patch) in out.chunks_exact_mut(depth).enumerate() {
                let to = &mut patch[tap..tap + channels];
                if inside {
                    to.copy_from_slice(&x[start + n * channels..][..channels]);
                } else {
                    to.fill(0.0);
                }
            }
        }
    }
}

/// Columns of a row to which all taps are added before the next are begun, so that the sums stay in the
/// cache. Each such block reads all kernels, so many numbers: it is not to be smaller than they are.
fn block_columns(output: MapShape, channels: usize, kernels: usize) -> usize {
    const NUMBERS: usize = 1 << 15;
    let column = (output.batch * channels).max(1);
    let positions = GATHERED / output.batch.max(1);
    (NUMBERS.max(kernels) / column).max(positions).max(1)
}

/// Each tap's product with a row of positions, added up, one part of the row after the other.
pub fn taps(
    x: &[f32],
    input: MapShape,
    factor: Factor<'_>,
    window: Window,
    output: MapShape,
    epilogue: Option<&ChannelEpilogue<'_>>,
    out: &mut [f32],
) {
    let columns = Columns::new(x, input, window);
    let (from, to) = (input.channels, output.channels);
    let count = channel_blocks(output.height, to);
    let shared = Shared::new(out);
    (0..output.height * count).into_par_iter().for_each(|task| {
        let (y, (first, last)) = (task / count, channel_block(task % count, count, to));
        let row = y * output.row();
        let taps = taps_of_row(&window, y, input, output.width);
        // Where no tap reaches all of the row, what none reaches is 0.
        let is_cleared = !taps.iter().any(|tap| tap.to - tap.from == output.width);
        if is_cleared {
            let positions = output.width * output.batch;
            // SAFETY: this block of this row is this task's alone.
            unsafe { shared.clear(row + first, positions, to, last - first) };
        }
        let size = block_columns(output, last - first, window.taps() * from * (last - first));
        for begin in (0..output.width).step_by(size) {
            let end = (begin + size).min(output.width);
            let mut written = is_cleared;
            for tap in &taps {
                let (left, right) = (tap.from.max(begin), tap.to.min(end));
                if left >= right {
                    continue;
                }
                let start = columns.start(tap.y, tap.offset, left);
                let (m, add) = ((right - left) * input.batch, written);
                // SAFETY: all ranges are inside of their slices; this block of this row is this task's.
                unsafe {
                    let out = shared.at(row + left * output.position() + first);
                    let positions = Matrix::new(&columns.values, start, from);
                    factor.multiply(m, (first, last), out, add, positions, Some(tap.tap));
                }
                written = true;
            }
            if let Some(epilogue) = epilogue {
                let rows = (end - begin) * output.batch;
                let start = row + begin * output.position();
                epilogue.apply_to_row(shared, start, rows, to, (first, last));
            }
        }
    });
}

/// The patches under the windows of one row, `[tap][in][position]`, for a few channels.
pub fn patches(
    x: &[f32],
    input: MapShape,
    factor: Factor<'_>,
    window: Window,
    output: MapShape,
    epilogue: Option<&ChannelEpilogue<'_>>,
    out: &mut [f32],
) {
    let rows = output.width * output.batch;
    let depth = window.taps() * input.channels;
    let planes = Planes::new(x, input, window);
    let shared = Shared::new(out);
    (0..output.height).into_par_iter().for_each_init(
        || uninitialized(depth * rows),
        |buffer, y| {
            planes.patches(y, output.width, buffer);
            let patches = Matrix::new(buffer, 0, rows).transposed();
            // SAFETY: all three have these sizes, and this row is this task's alone.
            unsafe {
                let out = shared.at(y * output.row());
                factor.multiply(rows, (0, output.channels), out, false, patches, None);
            }
            if let Some(epilogue) = epilogue {
                let start = y * output.row();
                epilogue.apply_to_row(shared, start, rows, output.channels, (0, output.channels));
            }
        },
    );
}
