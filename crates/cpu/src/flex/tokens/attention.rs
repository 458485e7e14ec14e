//! Attention of several heads (Vaswani et al., 2017, <https://arxiv.org/abs/1706.03762>), for each
//! image and head at a time, so that its scores stay in the cache.

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::math::{exp_of_negative, sum_of};
use super::rows;
use crate::flex::matmul::{Matrix, product};
use crate::flex::simd::{Shared, uninitialized, vectorised};

/// The shape of queries, keys and values.
#[derive(Debug, Clone, Copy)]
struct Shape {
    batch: usize,
    length: usize,
    heads: usize,
    /// Numbers of a head.
    size: usize,
}

impl Shape {
    /// Of `[batch, length, 3 * heads * size]`.
    fn of(qkv: &FlexTensor, heads: usize) -> Self {
        let shape = qkv.layout().shape();
        Self {
            batch: shape[0],
            length: shape[1],
            heads,
            size: shape[2] / 3 / heads,
        }
    }

    /// Numbers of a token: all heads.
    fn width(&self) -> usize {
        self.heads * self.size
    }

    /// Numbers from a token's queries, keys and values to the next one's.
    fn step(&self) -> usize {
        3 * self.width()
    }

    /// Where queries, keys or values (0, 1, 2) of this image and head begin.
    fn start(&self, task: usize, part: usize) -> usize {
        let (image, head) = (task / self.heads, task % self.heads);
        image * self.length * self.step() + part * self.width() + head * self.size
    }

    fn scale(&self) -> f32 {
        (self.size as f64).powf(-0.5) as f32
    }

    fn scores(&self) -> usize {
        self.length * self.length
    }
}

/// Queries of a task where there are few images and heads, so that all threads have work.
const QUERIES: usize = 64;
/// Images times heads that are enough for one task each.
const MANY: usize = 16;

/// Of queries, keys and values `[batch, length, 3, heads, size]`: the mixed values
/// `[batch, length, heads, size]`, and, where asked for, the scores
/// `[batch, heads, length, length]`.
pub fn forward(qkv: &FlexTensor, heads: usize, keep: bool) -> (FlexTensor, Vec<f32>) {
    let shape = Shape::of(qkv, heads);
    let output_shape = rows::with_last(qkv, shape.width());
    let qkv = &*rows::values(qkv);
    let Shape {
        batch,
        length,
        heads,
        size,
    } = shape;
    let tasks = batch * heads;
    let queries = if tasks < MANY { QUERIES } else { length };
    let parts = length.div_ceil(queries);
    let mut out = uninitialized(batch * length * shape.width());
    let mut kept = uninitialized(if keep { tasks * shape.scores() } else { 0 });
    let (to, scores) = (Shared::new(&mut out), Shared::new(&mut kept));
    (0..tasks * parts).into_par_iter().for_each_init(
        || uninitialized(if keep { 0 } else { queries * length }),
        |own, part| {
            let (task, first) = (part / parts, part % parts * queries);
            let rows = queries.min(length - first);
            let start = |part| shape.start(task, part);
            // SAFETY: each task has its own rows of the scores and of the output.
            unsafe {
                let scores = if keep {
                    scores.at(task * shape.scores() + first * length)
                } else {
                    own.as_mut_ptr()
                };
                let query = Matrix::new(qkv, start(0) + first * shape.step(), shape.step());
                let keys = Matrix::new(qkv, start(1), shape.step()).transposed();
                product([rows, length, size], scores, length, false, query, keys);
                softmax(
                    std::slice::from_raw_parts_mut(scores, rows * length),
                    length,
                    shape.scale(),
                );
                let scores = Matrix::at(scores, length);
                let values = Matrix::new(qkv, start(2), shape.step());
                let (image, head) = (task / heads, task % heads);
                let to = to.at((image * length + first) * shape.width() + head * size);
                let sides = [rows, size, length];
                product(sides, to, shape.width(), false, scores, values);
            }
        },
    );
    (rows::tensor(out, output_shape), kept)
}

/// The softmax of each row times `scale`, which is positive.
fn softmax(scores: &mut [f32], length: usize, scale: f32) {
    vectorised(
        #[inline(always)]
        || {
            for row in scores.chunks_exact_mut(length) {
                let most = largest(row);
                for score in row.iter_mut() {
                    *score = exp_of_negative((*score - most) * scale);
                }
                let sum = sum_of(row, row, |score, _| score);
                for score in row.iter_mut() {
                    *score /= sum;
                }
            }
        },
    );
}

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; 16];
    let chunks = row.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (most, value) in most.iter_mut().zip(chunk) {
            *most = most.max(*value);
        }
    }
    most.iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, b| a.max(*b))
}

/// The gradient of queries, keys and values, from the mixed values' gradient and the kept scores.
pub fn backward(
    gradient: &FlexTensor,
    qkv: &FlexTensor,
    scores: &[f32],
    heads: usize,
) -> FlexTensor {
    let shape = Shape::of(qkv, heads);
    let qkv_shape = qkv.layout().shape().clone();
    let (gradient, qkv) = (&*rows::values(gradient), &*rows::values(qkv));
    let Shape {
        batch,
        length,
        heads,
        size,
    } = shape;
    let mut out = uninitialized(qkv.len());
    let to = Shared::new(&mut out);
    let step = shape.step();
    (0..batch * heads).into_par_iter().for_each_init(
        || uninitialized(shape.scores()),
        |slopes, task| {
            let (image, head) = (task / heads, task % heads);
            let start = |part| shape.start(task, part);
            let weights = &scores[task * shape.scores()..][..shape.scores()];
            let from = image * length * shape.width() + head * size;
            let g = Matrix::new(gradient, from, shape.width());
            let weights_at = Matrix::new(weights, 0, length);
            let sides = [length, size, length];
            // SAFETY: each task writes what belongs to its image and head.
            unsafe {
                // values: scoresᵀ g
                let to_values = to.at(start(2));
                product(sides, to_values, step, false, weights_at.transposed(), g);
                // scores: g valuesᵀ, through the softmax
                let values = Matrix::new(qkv, start(2), step).transposed();
                let slope = slopes.as_mut_ptr();
                product([length, length, size], slope, length, false, g, values);
                softmax_backward(slopes, weights, length, shape.scale());
                let slope = Matrix::new(slopes, 0, length);
                let (queries, keys) = (
                    Matrix::new(qkv, start(0), step),
                    Matrix::new(qkv, start(1), step),
                );
                product(sides, to.at(start(0)), step, false, slope, keys);
                product(
                    sides,
                    to.at(start(1)),
                    step,
                    false,
                    slope.transposed(),
                    queries,
                );
            }
        },
    );
    rows::tensor(out, qkv_shape)
}

/// What the scores' gradients say of the numbers that the softmax was taken of.
fn softmax_backward(slopes: &mut [f32], weights: &[f32], length: usize, scale: f32) {
    vectorised(
        #[inline(always)]
        || {
            let rows = slopes.chunks_exact_mut(length);
            for (slope, weight) in rows.zip(weights.chunks_exact(length)) {
                let along = sum_of(slope, weight, |s, w| s * w);
                for (slope, weight) in slope.iter_mut().zip(weight) {
                    *slope = weight * (*slope - along) * scale;
                }
            }
        },
    );
}
