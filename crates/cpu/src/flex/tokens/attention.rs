//! Attention of several heads (Vaswani et al., 2017, <https://arxiv.org/abs/1706.03762>), for each
//! image and head at a time, so that its scores stay in the cache.

use rayon::prelude::*;

use super::math::{exp_of_negative, sum_of};
use crate::flex::simd::{self, Matrix, Shared, room, vectorised};

/// What is attended to by what.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub batch: usize,
    pub length: usize,
    pub heads: usize,
    /// Numbers of a head.
    pub size: usize,
}

impl Shape {
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

/// Numbers that lie in rows `row` apart.
fn matrix(values: &[f32], start: usize, row: usize) -> Matrix {
    Matrix {
        start: values[start..].as_ptr(),
        row,
        column: 1,
    }
}

fn transposed(matrix: Matrix) -> Matrix {
    Matrix {
        row: matrix.column,
        column: matrix.row,
        ..matrix
    }
}

/// Of queries, keys and values `[batch, length, 3, heads, size]`: the mixed values
/// `[batch, length, heads, size]`, and, where asked for, the scores
/// `[batch, heads, length, length]`.
pub fn forward(qkv: &[f32], shape: Shape, keep: bool) -> (Vec<f32>, Vec<f32>) {
    let Shape {
        batch,
        length,
        heads,
        size,
    } = shape;
    let tasks = batch * heads;
    let queries = if tasks < MANY { QUERIES } else { length };
    let parts = length.div_ceil(queries);
    let mut out = room(batch * length * shape.width());
    let mut kept = room(if keep { tasks * shape.scores() } else { 0 });
    let (to, scores) = (Shared::new(&mut out), Shared::new(&mut kept));
    (0..tasks * parts).into_par_iter().for_each_init(
        || room(if keep { 0 } else { queries * length }),
        |own, part| {
            let (task, first) = (part / parts, part % parts * queries);
            let rows = queries.min(length - first);
            let start = |part| shape.start(task, part);
            // SAFETY: each task has its own rows of the scores and of the output.
            unsafe {
                let scores = match keep {
                    true => scores.at(task * shape.scores() + first * length),
                    false => own.as_mut_ptr(),
                };
                let query = matrix(qkv, start(0) + first * shape.step(), shape.step());
                let keys = transposed(matrix(qkv, start(1), shape.step()));
                simd::product([rows, length, size], scores, length, false, query, keys);
                softmax(
                    std::slice::from_raw_parts_mut(scores, rows * length),
                    length,
                    shape.scale(),
                );
                let scores = Matrix {
                    start: scores,
                    row: length,
                    column: 1,
                };
                let values = matrix(qkv, start(2), shape.step());
                let (image, head) = (task / heads, task % heads);
                let to = to.at((image * length + first) * shape.width() + head * size);
                let sides = [rows, size, length];
                simd::product(sides, to, shape.width(), false, scores, values);
            }
        },
    );
    (out, kept)
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
pub fn backward(gradient: &[f32], qkv: &[f32], scores: &[f32], shape: Shape) -> Vec<f32> {
    let Shape {
        batch,
        length,
        heads,
        size,
    } = shape;
    let mut out = room(qkv.len());
    let to = Shared::new(&mut out);
    let step = shape.step();
    (0..batch * heads).into_par_iter().for_each_init(
        || room(shape.scores()),
        |slopes, task| {
            let (image, head) = (task / heads, task % heads);
            let start = |part| shape.start(task, part);
            let weights = &scores[task * shape.scores()..][..shape.scores()];
            let from = image * length * shape.width() + head * size;
            let g = matrix(gradient, from, shape.width());
            let weights_at = matrix(weights, 0, length);
            let sides = [length, size, length];
            // SAFETY: each task writes what belongs to its image and head.
            unsafe {
                // values: scoresᵀ g
                let to_values = to.at(start(2));
                simd::product(sides, to_values, step, false, transposed(weights_at), g);
                // scores: g valuesᵀ, through the softmax
                let values = transposed(matrix(qkv, start(2), step));
                let slope = slopes.as_mut_ptr();
                simd::product([length, length, size], slope, length, false, g, values);
                softmax_backward(slopes, weights, length, shape.scale());
                let slope = matrix(slopes, 0, length);
                let (queries, keys) = (matrix(qkv, start(0), step), matrix(qkv, start(1), step));
                simd::product(sides, to.at(start(0)), step, false, slope, keys);
                simd::product(
                    sides,
                    to.at(start(1)),
                    step,
                    false,
                    transposed(slope),
                    queries,
                );
            }
        },
    );
    out
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
