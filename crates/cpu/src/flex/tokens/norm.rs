//! Layer normalisation in one pass each way.

use rayon::prelude::*;

use super::math::sum_of;
use crate::flex::simd::{room, vectorised};

/// Numbers that one task normalises, about.
const PART: usize = 1 << 14;

/// Rows of a task.
fn rows(features: usize) -> usize {
    (PART / features).max(1)
}

/// What a row was normalised with, for the way back: mean, and one over the standard deviation.
pub type Row = [f32; 2];

/// The rows normalised, times `weight`, plus `bias`.
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f64) -> (Vec<f32>, Vec<Row>) {
    let features = weight.len();
    let mut out = room(x.len());
    let mut known = vec![[0.0; 2]; x.len() / features];
    let rows = rows(features);
    let parts = x.par_chunks(rows * features);
    out.par_chunks_mut(rows * features)
        .zip(known.par_chunks_mut(rows))
        .zip(parts)
        .for_each(|((out, known), x)| {
            vectorised(
                #[inline(always)]
                || {
                    let outputs = out.chunks_exact_mut(features).zip(known);
                    for (x, (out, known)) in x.chunks_exact(features).zip(outputs) {
                        *known = statistics(x, epsilon);
                        let [mean, inverse] = *known;
                        let affine = weight.iter().zip(bias);
                        for ((out, x), (w, b)) in out.iter_mut().zip(x).zip(affine) {
                            *out = (x - mean) * inverse * w + b;
                        }
                    }
                },
            );
        });
    (out, known)
}

#[inline(always)]
fn statistics(x: &[f32], epsilon: f64) -> Row {
    let count = x.len() as f32;
    let mean = sum_of(x, x, |x, _| x) / count;
    let variance = sum_of(x, x, |x, _| (x - mean) * (x - mean)) / count;
    [mean, (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32]
}

/// The gradients of input, weight and bias.
pub struct Gradients {
    pub input: Option<Vec<f32>>,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// The way back.
pub fn backward(
    gradient: &[f32],
    x: &[f32],
    weight: &[f32],
    known: &[Row],
    wants_input: bool,
) -> Gradients {
    let features = weight.len();
    let mut input = wants_input.then(|| room(x.len()));
    let rows = rows(features);
    let size = rows * features;
    let task = |input: Option<&mut [f32]>, (gradient, x, known): (&[f32], &[f32], &[Row])| {
        let mut sums = vec![0.0f32; 2 * features];
        let (of_weight, of_bias) = sums.split_at_mut(features);
        vectorised(
            #[inline(always)]
            || {
                let pairs = gradient
                    .chunks_exact(features)
                    .zip(x.chunks_exact(features));
                for ((g, x), [mean, inverse]) in pairs.zip(known) {
                    let sums = of_weight.iter_mut().zip(of_bias.iter_mut());
                    for ((g, x), (of_weight, of_bias)) in g.iter().zip(x).zip(sums) {
                        *of_weight += g * (x - mean) * inverse;
                        *of_bias += g;
                    }
                }
                if let Some(input) = input {
                    let pairs = gradient
                        .chunks_exact(features)
                        .zip(x.chunks_exact(features));
                    let rows = pairs.zip(known).zip(input.chunks_exact_mut(features));
                    for (((g, x), known), out) in rows {
                        input_gradient(g, x, weight, *known, out);
                    }
                }
            },
        );
        sums
    };
    let parts = gradient
        .par_chunks(size)
        .zip(x.par_chunks(size))
        .zip(known.par_chunks(rows))
        .map(|((gradient, x), known)| (gradient, x, known));
    let sums: Vec<Vec<f32>> = match &mut input {
        Some(input) => input
            .par_chunks_mut(size)
            .zip(parts)
            .map(|(input, part)| task(Some(input), part))
            .collect(),
        None => parts.map(|part| task(None, part)).collect(),
    };
    let mut weight = super::total(&sums, 2 * features);
    let bias = weight.split_off(features);
    Gradients {
        input,
        weight,
        bias,
    }
}

#[inline(always)]
fn input_gradient(g: &[f32], x: &[f32], weight: &[f32], [mean, inverse]: Row, out: &mut [f32]) {
    let count = x.len() as f32;
    for ((out, g), w) in out.iter_mut().zip(g).zip(weight) {
        *out = g * w;
    }
    let mean_gradient = sum_of(out, out, |g, _| g) / count;
    let along = sum_of(out, x, |g, x| g * (x - mean)) * inverse / count;
    for (out, x) in out.iter_mut().zip(x) {
        *out = inverse * (*out - mean_gradient - (x - mean) * inverse * along);
    }
}
