//! A step of Muon over one parameter.

use burn::backend::flex::{FlexTensor, Layout};
use rayon::prelude::*;

use super::matmul::Matrix;
use super::optimizer::{PART, common_layout, in_layout, in_layout_or_zeros, sum_of_squares};
use super::parallel_product::{Right, product};
use super::simd::vectorised;
use crate::layers::Muon;

/// The polynomial `a x + b x^3 + c x^5` of an iteration, and how many there are (Jordan et al., 2024).
const COEFFICIENTS: [f32; 3] = [3.4445, -4.775, 2.0315];
const ITERATIONS: usize = 5;
/// The least norm that a matrix is divided by.
const EPSILON: f32 = 1e-7;

/// The parameter and its velocity after a step.
pub fn step(
    parameter: FlexTensor,
    gradient: FlexTensor,
    velocity: Option<FlexTensor>,
    rule: Muon,
) -> (FlexTensor, FlexTensor) {
    let (layout, shape) = matrix_layout(&gradient);
    let numbers = layout.num_elements();
    let gradient = in_layout(gradient, &layout);
    let mut parameter = in_layout(parameter, &layout);
    let g = &gradient.storage::<f32>()[..numbers];
    let mut velocity = in_layout_or_zeros(velocity, &layout);
    let Muon {
        learning_rate: rate,
        momentum,
        weight_decay,
    } = rule;
    let v = velocity.storage_mut::<f32>();
    let mut direction = vec![0.0f32; numbers];
    direction
        .par_chunks_mut(PART)
        .zip(g.par_chunks(PART))
        .zip(v.par_chunks_mut(PART))
        .for_each(|((d, g), v)| {
            vectorised(
                #[inline(always)]
                || {
                    for ((d, g), v) in d.iter_mut().zip(g).zip(v) {
                        *v = momentum * *v + g;
                        *d = g + momentum * *v;
                    }
                },
            );
        });
    let direction = orthogonalised(&direction, shape);
    // As large as updates of AdamW are (Liu et al., 2025, <https://arxiv.org/abs/2502.16982>).
    let scale = rate * 0.2 * (shape[0].max(shape[1]) as f32).sqrt();
    let shrink = 1.0 - rate * weight_decay;
    parameter
        .storage_mut::<f32>()
        .par_chunks_mut(PART)
        .zip(direction.par_chunks(PART))
        .for_each(|(p, d)| {
            vectorised(
                #[inline(always)]
                || {
                    for (p, d) in p.iter_mut().zip(d) {
                        *p = shrink * *p - scale * d;
                    }
                },
            );
        });
    (parameter, velocity)
}

/// The layout that all tensors of a step take, and the rows and columns of the matrix that such memory
/// is: one is the first axis, the other all the rest.
///
/// In which order the others lie does not matter: what exchanges columns of a matrix exchanges those
/// of its polar factor.
fn matrix_layout(gradient: &FlexTensor) -> (Layout, [usize; 2]) {
    let layout = common_layout(gradient);
    let (first, stride) = (layout.shape()[0], layout.strides()[0]);
    let rest = layout.num_elements().checked_div(first).unwrap_or(0);
    if first == 1 || stride == rest as isize {
        (layout, [first, rest])
    } else if stride == 1 {
        (layout, [rest, first])
    } else {
        // The first axis lies amid the others.
        (Layout::contiguous(layout.shape().clone()), [first, rest])
    }
}

/// A matrix of `rows` by `columns` with its singular values brought near to 1, by Newton and Schulz's
/// iteration `X <- (a + b A + c A^2) X` with `A = X X^T`.
///
/// The shorter side's Gram matrix is all that it needs: with `P = a + b A + c A^2` it becomes
/// `P A P`, and the matrix is multiplied once, with the product of all `P`. For one of 512 by 4608
/// that is 2.7 times less to compute. A Gram matrix has no digits for singular values that are below
/// 3e-4 of the norm; those only grow, by `a` each time, for which `P` needs none.
fn orthogonalised(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let side = rows.min(columns);
    let norm = sum_of_squares(values).sqrt() as f32;
    let inverse = 1.0 / norm.max(EPSILON);
    let matrix = Matrix::new(values, 0, columns);
    let (wide, long) = if rows <= columns {
        (matrix, columns)
    } else {
        (matrix.transposed(), rows)
    };
    let scaled = |scale: f32| {
        move |_: usize, _: usize, part: &mut [f32]| part.iter_mut().for_each(|v| *v *= scale)
    };
    let right = Right::Plain(wide.transposed());
    // SAFETY: `values` has as many numbers as both sides multiply to.
    let mut gram = unsafe { product([side, side, long], wide, right, scaled(inverse * inverse)) };
    let mut polynomial = polynomial_of(&gram, side);
    let mut whole = polynomial.clone();
    for _ in 1..ITERATIONS {
        let half = square_product(&polynomial, &gram, side, |_, _, _| ());
        gram = square_product(&half, &polynomial, side, |_, _, _| ());
        polynomial = polynomial_of(&gram, side);
        whole = square_product(&polynomial, &whole, side, |_, _, _| ());
    }
    let whole = Matrix::new(&whole, 0, side);
    let (left, right) = if rows <= columns {
        (whole, matrix)
    } else {
        (matrix, whole)
    };
    let size = [rows, columns, side];
    // SAFETY: as above; `whole` is square.
    unsafe { product(size, left, Right::Plain(right), scaled(inverse)) }
}

/// `a + b A + c A^2`.
fn polynomial_of(gram: &[f32], side: usize) -> Vec<f32> {
    let [a, b, c] = COEFFICIENTS;
    square_product(gram, gram, side, |row, column, part: &mut [f32]| {
        let gram = &gram[row * side + column..][..part.len()];
        for (p, g) in part.iter_mut().zip(gram) {
            *p = b * g + c * *p;
        }
        if let Some(diagonal) = row.checked_sub(column).and_then(|i| part.get_mut(i)) {
            *diagonal += a;
        }
    })
}

/// The product of two square matrices.
fn square_product(
    a: &[f32],
    b: &[f32],
    side: usize,
    epilogue: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let (a, b) = (Matrix::new(a, 0, side), Matrix::new(b, 0, side));
    // SAFETY: both are of this size.
    unsafe { product([side; 3], a, Right::Plain(b), epilogue) }
}
