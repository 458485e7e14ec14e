//! Max pooling that remembers where the largest value was.

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::feature_map::{self, MapShape};
use super::simd::{uninitialized, vectorised};
use super::window::Window;

/// The largest value of each window and the tap it was found at, as `[height][width][batch]
/// [channels]`; the first of equals.
pub fn forward(x: &FlexTensor, window: Window) -> (FlexTensor, Vec<u8>) {
    let input = MapShape::of(x);
    let output = MapShape {
        height: window.output(input.height),
        width: window.output(input.width),
        ..input
    };
    let x = feature_map::values(x);
    let position = input.position();
    let mut values = uninitialized(output.len());
    let mut taps = vec![0u8; output.len()];
    values
        .par_chunks_mut(position)
        .zip(taps.par_chunks_mut(position))
        .enumerate()
        .for_each(|(place, (values, taps))| {
            values.fill(f32::NEG_INFINITY);
            let (y, column) = (place / output.width, place % output.width);
            for (tap, from) in window.taps_at((y, column), input) {
                let (tap, x) = (tap as u8, &x[from..from + position]);
                vectorised(
                    #[inline(always)]
                    || {
                        let out = values.iter_mut().zip(taps.iter_mut());
                        for ((value, best), x) in out.zip(x) {
                            // NaN wins, so that it is seen. Both are written in either case:
                            // a loop that writes at times has no vectors.
                            let larger = *x > *value || x.is_nan();
                            *value = if larger { *x } else { *value };
                            *best = if larger { tap } else { *best };
                        }
                    },
                );
            }
        });
    (feature_map::tensor(values, output), taps)
}

/// The gradient of the input: each window's goes where its value came from.
pub fn backward(gradient: &FlexTensor, taps: &[u8], window: Window, input: MapShape) -> FlexTensor {
    let output = MapShape::of(gradient);
    let gradient = feature_map::values(gradient);
    let position = input.position();
    let mut values = uninitialized(input.len());
    values
        .par_chunks_mut(position)
        .enumerate()
        .for_each(|(place, out)| {
            out.fill(0.0);
            let (row, column) = (place / input.width, place % input.width);
            // The windows that this position lies in.
            for ky in 0..window.kernel {
                let Some(y) = window.of(row, ky, output.height) else {
                    continue;
                };
                for kx in 0..window.kernel {
                    let Some(x) = window.of(column, kx, output.width) else {
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
    feature_map::tensor(values, input)
}
