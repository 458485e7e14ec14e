//! The ways to the output.

use rayon::prelude::*;

use super::kernels::Factor;
use super::layouts::{Columns, Planes};
use super::{Finish, Window, block, blocks, taps_of_row};
use crate::flex::map::Sides;
use crate::flex::simd::{Matrix, Shared, room};

/// Where a row of positions is a product of fewer rows than this, several of them are gathered.
pub(super) const THIN: usize = 48;

/// Rows of a product of gathered positions.
const GATHERED: usize = 256;

/// The patches under the windows of several rows side by side, `[position][tap][in]`: a copy, and in
/// exchange one large product in place of many thin ones.
pub(super) fn gathered(
    x: &[f32],
    input: Sides,
    factor: Factor<'_>,
    window: Window,
    output: Sides,
    finish: Option<&Finish<'_>>,
    out: &mut [f32],
) {
    let (from, to) = (input.channels, output.channels);
    let depth = window.taps() * from;
    let row = output.width * output.batch;
    let lines = (GATHERED / row.max(1)).clamp(1, output.height);
    let mut gathered = room(lines * row * depth);
    let shared = Shared::new(out);
    let count = blocks(1, to);
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
            let (begin, end) = block(task, count, to);
            let start = first * output.row();
            let patches = Matrix {
                start: gathered.as_ptr(),
                row: depth,
                column: 1,
            };
            // SAFETY: all ranges are inside; this block of channels is this task's.
            unsafe {
                let out = shared.at(start + begin);
                factor.multiply(lines * row, (begin, end), out, false, patches, None);
            }
            if let Some(finish) = finish {
                finish.row(shared, start, lines * row, to, (begin, end));
            }
        });
    }
}

/// The patch under one window, `[batch][tap][in]`.
fn gather(x: &[f32], input: Sides, window: Window, (y, x_out): (usize, usize), out: &mut [f32]) {
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
                match inside {
                    false => to.fill(0.0),
                    true => to.copy_from_slice(&x[start + n * channels..][..channels]),
                }
            }
        }
    }
}

pub(super) fn taps(
    x: &[f32],
    input: Sides,
    factor: Factor<'_>,
    window: Window,
    output: Sides,
    finish: Option<&Finish<'_>>,
    out: &mut [f32],
) {
    let columns = Columns::new(x, input, window);
    let (from, to) = (input.channels, output.channels);
    let count = blocks(output.height, to);
    let shared = Shared::new(out);
    (0..output.height * count).into_par_iter().for_each(|task| {
        let (y, (first, last)) = (task / count, block(task % count, count, to));
        let row = y * output.row();
        let mut written = false;
        let taps = taps_of_row(&window, y, input, output.width);
        if !taps.iter().any(|tap| tap.to - tap.from == output.width) {
            // No tap reaches all of the row: what none reaches is 0.
            let positions = output.width * output.batch;
            // SAFETY: this block of this row is this task's alone.
            unsafe { shared.clear(row + first, positions, to, last - first) };
            written = true;
        }
        for tap in taps {
            let start = columns.start(tap.y, tap.offset, tap.from);
            let (m, add) = ((tap.to - tap.from) * input.batch, written);
            // SAFETY: all ranges are inside of their slices; this block of this row is this task's.
            unsafe {
                let out = shared.at(row + tap.from * output.position() + first);
                let positions = Matrix {
                    start: columns.values.as_ptr().add(start),
                    row: from,
                    column: 1,
                };
                factor.multiply(m, (first, last), out, add, positions, Some(tap.tap));
            }
            written = true;
        }
        if let Some(finish) = finish {
            let rows = output.width * output.batch;
            finish.row(shared, row, rows, to, (first, last));
        }
    });
}

pub(super) fn patches(
    x: &[f32],
    input: Sides,
    factor: Factor<'_>,
    window: Window,
    output: Sides,
    finish: Option<&Finish<'_>>,
    out: &mut [f32],
) {
    let rows = output.width * output.batch;
    let depth = window.taps() * input.channels;
    let planes = Planes::new(x, input, window);
    let shared = Shared::new(out);
    (0..output.height).into_par_iter().for_each_init(
        || room(depth * rows),
        |buffer, y| {
            planes.patches(y, output.width, buffer);
            let patches = Matrix {
                start: buffer.as_ptr(),
                row: 1,
                column: rows,
            };
            // SAFETY: all three have these sizes, and this row is this task's alone.
            unsafe {
                let out = shared.at(y * output.row());
                factor.multiply(rows, (0, output.channels), out, false, patches, None);
            }
            if let Some(finish) = finish {
                let start = y * output.row();
                finish.row(shared, start, rows, output.channels, (0, output.channels));
            }
        },
    );
}
