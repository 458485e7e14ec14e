//! Convolutions of every channel with a kernel of its own. There is one product for each number that
//! is read, so that all is a pass over memory, with channels side by side.

use rayon::prelude::*;

use super::{Finish, Window};
use crate::flex::map::Sides;
use crate::flex::simd::{Shared, room, vectorised};

/// The taps of a window that lie inside of a map: their number, and where the position begins.
fn taps_of(
    window: Window,
    (y, x): (usize, usize),
    input: Sides,
) -> impl Iterator<Item = (usize, usize)> {
    (0..window.taps()).filter_map(move |tap| {
        let row = usize::try_from(window.place(y, tap / window.kernel)).ok()?;
        let column = usize::try_from(window.place(x, tap % window.kernel)).ok()?;
        let inside = row < input.height && column < input.width;
        inside.then_some((tap, row * input.row() + column * input.position()))
    })
}

/// `out += a b`, number by number.
#[inline(always)]
fn add_products(out: &mut [f32], a: &[f32], b: &[f32]) {
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out += a * b;
    }
}

/// The output of a convolution with kernels `[tap][channel]`.
pub(super) fn forward(
    x: &[f32],
    input: Sides,
    kernels: &[f32],
    window: Window,
    output: Sides,
    finish: Option<&Finish<'_>>,
    out: &mut [f32],
) {
    let channels = input.channels;
    let shared = Shared::new(out);
    (0..output.height).into_par_iter().for_each(|y| {
        let row = y * output.row();
        for place in 0..output.width {
            let start = row + place * output.position();
            // SAFETY: this row is this task's alone.
            let out =
                unsafe { std::slice::from_raw_parts_mut(shared.at(start), output.position()) };
            out.fill(0.0);
            for (tap, from) in taps_of(window, (y, place), input) {
                let x = &x[from..from + input.position()];
                let kernel = &kernels[tap * channels..][..channels];
                vectorised(
                    #[inline(always)]
                    || {
                        let images = out.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
                        images.for_each(|(out, x)| add_products(out, x, kernel));
                    },
                );
            }
        }
        if let Some(finish) = finish {
            let rows = output.width * output.batch;
            finish.row(shared, row, rows, channels, (0, channels));
        }
    });
}

/// The gradient of the input.
pub(super) fn input_gradient(
    gradient: &[f32],
    output: Sides,
    kernels: &[f32],
    window: Window,
    input: Sides,
) -> Vec<f32> {
    let channels = input.channels;
    let mut values = room(input.len());
    let rows = values.par_chunks_mut(input.row().max(1)).enumerate();
    rows.for_each(|(y, row)| {
        row.fill(0.0);
        for (x, out) in row.chunks_exact_mut(input.position()).enumerate() {
            for tap in 0..window.taps() {
                let line = window.of(y, tap / window.kernel, output.height);
                let column = window.of(x, tap % window.kernel, output.width);
                let (Some(line), Some(column)) = (line, column) else {
                    continue;
                };
                let start = line * output.row() + column * output.position();
                let gradient = &gradient[start..start + output.position()];
                let kernel = &kernels[tap * channels..][..channels];
                vectorised(
                    #[inline(always)]
                    || {
                        let gradients = gradient.chunks_exact(channels);
                        let images = out.chunks_exact_mut(channels).zip(gradients);
                        images.for_each(|(out, g)| add_products(out, g, kernel));
                    },
                );
            }
        }
    });
    values
}

/// Rows of the output whose sums make one part.
const PARTS: usize = 8;

/// The gradient of the kernels, `[tap][channel]`.
pub(super) fn kernel_gradient(
    x: &[f32],
    input: Sides,
    gradient: &[f32],
    output: Sides,
    window: Window,
) -> Vec<f32> {
    let channels = input.channels;
    let size = output.height.div_ceil(PARTS).max(1);
    let parts: Vec<Vec<f32>> = (0..output.height.div_ceil(size))
        .into_par_iter()
        .map(|part| {
            let mut sums = vec![0.0; window.taps() * channels];
            for y in part * size..((part + 1) * size).min(output.height) {
                for place in 0..output.width {
                    let start = y * output.row() + place * output.position();
                    let gradient = &gradient[start..start + output.position()];
                    for (tap, from) in taps_of(window, (y, place), input) {
                        let x = &x[from..from + input.position()];
                        let sums = &mut sums[tap * channels..][..channels];
                        vectorised(
                            #[inline(always)]
                            || {
                                let gradients = gradient.chunks_exact(channels);
                                let images = x.chunks_exact(channels).zip(gradients);
                                images.for_each(|(x, g)| add_products(sums, x, g));
                            },
                        );
                    }
                }
            }
            sums
        })
        .collect();
    super::sum(parts)
}
