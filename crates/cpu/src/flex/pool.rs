//! Max pooling that remembers where the largest value was.

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::conv::Window;
use super::map::{self, Sides};
use super::simd::{room, vectorised};

/// The largest value of each window and the tap it was found at, as `[height][width][batch]
/// [channels]`; the first of equals.
pub(super) fn forward(x: &FlexTensor, window: Window) -> (FlexTensor, Vec<u8>) {
    let input = Sides::of(x);
    let output = Sides {
        height: window.output(input.height),
        width: window.output(input.width),
        ..input
    };
    let x = map::values(x);
    let position = input.position();
    let mut values = room(output.len());
    let mut taps = vec![0u8; output.len()];
    values
        .par_chunks_mut(position)
        .zip(taps.par_chunks_mut(position))
        .enumerate()
        .for_each(|(place, (values, taps))| {
            values.fill(f32::NEG_INFINITY);
            let (y, column) = (place / output.width, place % output.width);
            each_tap(window, input, y, column, |tap, from| {
                let x = &x[from..from + position];
                vectorised(
                    #[inline(always)]
                    || {
                        let out = values.iter_mut().zip(taps.iter_mut());
                        for ((value, best), x) in out.zip(x) {
                            // A value that is no number wins, so that it is seen.
                            if *x > *value || x.is_nan() {
                                *value = *x;
                                *best = tap;
                            }
                        }
                    },
                );
            });
        });
    (map::tensor(values, output), taps)
}

/// Calls for each tap of a window inside of the map: its number and where its numbers begin.
fn each_tap(window: Window, input: Sides, y: usize, x: usize, mut call: impl FnMut(u8, usize)) {
    for ky in 0..window.kernel {
        let row = (y * window.stride + ky).wrapping_sub(window.padding);
        for kx in 0..window.kernel {
            let column = (x * window.stride + kx).wrapping_sub(window.padding);
            if row < input.height && column < input.width {
                let start = (row * input.width + column) * input.position();
                call((ky * window.kernel + kx) as u8, start);
            }
        }
    }
}

/// The gradient of the input: each window's goes where its value came from.
pub(super) fn backward(
    gradient: &FlexTensor,
    taps: &[u8],
    window: Window,
    input: Sides,
) -> FlexTensor {
    let output = Sides::of(gradient);
    let gradient = map::values(gradient);
    let position = input.position();
    let mut values = room(input.len());
    values
        .par_chunks_mut(position)
        .enumerate()
        .for_each(|(place, out)| {
            out.fill(0.0);
            let (row, column) = (place / input.width, place % input.width);
            // The windows that this position lies in.
            for ky in 0..window.kernel {
                let Some(y) = window_of(window, row, ky, output.height) else {
                    continue;
                };
                for kx in 0..window.kernel {
                    let Some(x) = window_of(window, column, kx, output.width) else {
                        continue;
                    };
                    let start = (y * output.width + x) * position;
                    let tap = (ky * window.kernel + kx) as u8;
                    let from = &gradient[start..start + position];
                    let taps = &taps[start..start + position];
                    vectorised(
                        #[inline(always)]
                        || {
                            for ((out, g), best) in out.iter_mut().zip(from).zip(taps) {
                                *out += if *best == tap { *g } else { 0.0 };
                            }
                        },
                    );
                }
            }
        });
    map::tensor(values, input)
}

/// The window whose tap lies at a place, if there is one.
fn window_of(window: Window, place: usize, tap: usize, windows: usize) -> Option<usize> {
    let start = (place + window.padding).checked_sub(tap)?;
    let index = start / window.stride;
    (start % window.stride == 0 && index < windows).then_some(index)
}
