//! Layer normalisation in one pass each way.

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::math::sum_of;
use super::rows::{self, sum_of_parts};
use crate::flex::simd::{uninitialized, vectorised};

/// Numbers that one task normalises, about.
const PART: usize = 1 << 14;

/// Rows of a task.
fn rows_of_task(features: usize) -> usize {
    (PART / features).max(1)
}

/// What a row was normalised with: mean, and one over the standard deviation.
pub type RowStatistics = [f32; 2];

/// The rows normalised, times `weight`, plus `bias`.
pub fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    epsilon: f64,
) -> (FlexTensor, Vec<RowStatistics>) {
    let shape = x.layout().shape().clone();
    let (x, weight, bias) = (rows::values(x), rows::values(weight), rows::values(bias));
    let (weight, bias) = (&*weight, &*bias);
    let features = weight.len();
    let mut out = uninitialized(x.len());
    let mut statistics = vec![[0.0; 2]; x.len() / features];
    let task_rows = rows_of_task(features);
    let parts = x.par_chunks(task_rows * features);
    out.par_chunks_mut(task_rows * features)
        .zip(statistics.par_chunks_mut(task_rows))
        .zip(parts)
        .for_each(|((out, statistics), x)| {
            vectorised(
                #[inline(always)]
                || {
                    let outputs = out.chunks_exact_mut(features).zip(statistics);
                    for (x, (out, statistics)) in x.chunks_exact(features).zip(outputs) {
                        *statistics = row_statistics(x, epsilon);
                        let [mean, inverse] = *statistics;
                        let affine = weight.iter().zip(bias);
                        for ((out, x), (w, b)) in out.iter_mut().zip(x).zip(affine) {
                            *out = (x - mean) * inverse * w + b;
                        }
                    }
                },
            );
        });
    (rows::tensor(out, shape), statistics)
}

#[inline(always)]
fn row_statistics(x: &[f32], epsilon: f64) -> RowStatistics {
    let count = x.len() as f32;
    let mean = sum_of(x, x, |x, _| x) / count;
    let variance = sum_of(x, x, |x, _| (x - mean) * (x - mean)) / count;
    [mean, (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32]
}

/// The gradients of input, weight and bias.
pub struct Gradients {
    pub input: Option<FlexTensor>,
    pub weight: FlexTensor,
    pub bias: FlexTensor,
}

/// The way back.
pub fn backward(
    gradient: &FlexTensor,
    x: &FlexTensor,
    weight: &FlexTensor,
    statistics: &[RowStatistics],
    input_needed: bool,
) -> Gradients {
    let [shape, weight_shape] = [x, weight].map(|tensor| tensor.layout().shape().clone());
    let (gradient, x) = (rows::values(gradient), rows::values(x));
    let weight = &*rows::values(weight);
    let features = weight.len();
    let mut input = input_needed.then(|| uninitialized(x.len()));
    let task_rows = rows_of_task(features);
    let size = task_rows * features;
    let task = |input: Option<&mut [f32]>,
                (gradient, x, statistics): (&[f32], &[f32], &[RowStatistics])| {
        let mut sums = vec![0.0f32; 2 * features];
        let (of_weight, of_bias) = sums.split_at_mut(features);
        vectorised(
            #[inline(always)]
            || {
                let pairs = gradient
                    .chunks_exact(features)
                    .zip(x.chunks_exact(features));
                for ((g, x), [mean, inverse]) in pairs.zip(statistics) {
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
                    let rows = pairs.zip(statistics).zip(input.chunks_exact_mut(features));
                    for (((g, x), statistics), out) in rows {
                        input_gradient(g, x, weight, *statistics, out);
                    }
                }
            },
        );
        sums
    };
    let parts = gradient
        .par_chunks(size)
        .zip(x.par_chunks(size))
        .zip(statistics.par_chunks(task_rows))
        .map(|((gradient, x), statistics)| (gradient, x, statistics));
    let sums: Vec<Vec<f32>> = match &mut input {
        Some(input) => input
            .par_chunks_mut(size)
            .zip(parts)
            .map(|(input, part)| task(Some(input), part))
            .collect(),
        None => parts.map(|part| task(None, part)).collect(),
    };
    let mut of_weight = sum_of_parts(&sums, 2 * features);
    let of_bias = of_weight.split_off(features);
    Gradients {
        input: input.map(|input| rows::tensor(input, shape)),
        weight: rows::tensor(of_weight, weight_shape.clone()),
        bias: rows::tensor(of_bias, weight_shape),
    }
}

#[inline(always)]
fn input_gradient(
    g: &[f32],
    x: &[f32],
    weight: &[f32],
    [mean, inverse]: RowStatistics,
    out: &mut [f32],
) {
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
