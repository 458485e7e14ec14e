//! Convolutions of every channel with a kernel of its own. There is one product for each number that
//! is read, so that all is a pass over memory, with channels side by side.

use rayon::prelude::*;

use super::partition::sum_of_parts;
use crate::flex::epilogue::ChannelEpilogue;
use crate::flex::feature_map::MapShape;
use crate::flex::simd::{Shared, uninitialized, vectorised};
use crate::flex::window::Window;

/// `out += a b`, number by number.
#[inline(always)]
fn add_products(out: &mut [f32], a: &[f32], b: &[f32]) {
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out += a * b;
    }
}

/// The output of a convolution with kernels `[tap][channel]`.
pub fn forward(
    x: &[f32],
    input: MapShape,
    kernels: &[f32],
    window: Window,
    output: MapShape,
    epilogue: Option<&ChannelEpilogue<'_>>,
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
            for (tap, from) in window.taps_at((y, place), input) {
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
        if let Some(epilogue) = epilogue {
            let rows = output.width * output.batch;
            epilogue.apply_to_row(shared, row, rows, channels, (0, channels));
        }
    });
}

/// The gradient of the input.
pub fn input_gradient(
    gradient: &[f32],
    output: MapShape,
    kernels: &[f32],
    window: Window,
    input: MapShape,
) -> Vec<f32> {
    let channels = input.channels;
    let mut values = uninitialized(input.len());
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
pub fn kernel_gradient(
    x: &[f32],
    input: MapShape,
    gradient: &[f32],
    output: MapShape,
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
                    for (tap, from) in window.taps_at((y, place), input) {
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
    sum_of_parts(parts)
}
