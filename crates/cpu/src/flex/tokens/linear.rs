//! Affine layers, with what follows them in a transformer: GELU, or the addition to the tokens that
//! went around.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::math::{gelu, gelu_slope};
use super::product::{Right, View, product};
use crate::flex::simd::{Packed, room, vectorised};

/// A weight `[out, in]` in the form that is computed with, kept from one forward pass to the next.
#[derive(Debug, Default)]
pub struct Prepared(OnceLock<Option<Packed>>);

impl Prepared {
    pub(in crate::flex) fn get(
        &self,
        weight: &[f32],
        [outputs, inputs]: [usize; 2],
    ) -> Option<&Packed> {
        let make = || Packed::transposed(weight, inputs, outputs);
        self.0.get_or_init(make).as_ref()
    }
}

/// What becomes of the sums.
#[derive(Clone, Copy)]
pub struct After<'a> {
    pub bias: &'a [f32],
    /// Added to the output, `[rows, out]`.
    pub residual: Option<&'a [f32]>,
    /// Whether the output goes through GELU.
    pub gelu: bool,
}

/// `x weightᵀ + bias` and what follows, for `x` of `[rows, in]` and `weight` of `[out, in]`.
pub fn forward(
    x: &[f32],
    weight: &[f32],
    sides: [usize; 2],
    after: After<'_>,
    prepared: &Prepared,
) -> Vec<f32> {
    let [outputs, inputs] = sides;
    let rows = x.len() / inputs.max(1);
    let right = match prepared.get(weight, sides) {
        Some(packed) => Right::Packed(packed),
        None => Right::Plain(View::rows(weight, inputs).transposed()),
    };
    let x = View::rows(x, inputs);
    product([rows, outputs, inputs], x, right, |row, column, out| {
        let bias = &after.bias[column..][..out.len()];
        let residual = after
            .residual
            .map(|residual| &residual[row * outputs + column..][..out.len()]);
        vectorised(
            #[inline(always)]
            || {
                for (out, bias) in out.iter_mut().zip(bias) {
                    *out += bias;
                }
                if after.gelu {
                    out.iter_mut().for_each(|out| *out = gelu(*out));
                }
                if let Some(residual) = residual {
                    let pairs = out.iter_mut().zip(residual);
                    pairs.for_each(|(out, residual)| *out += residual);
                }
            },
        );
    })
}

/// Numbers that a task passes over.
const PART: usize = 1 << 14;

/// GELU of each.
pub fn gelu_of(x: &[f32]) -> Vec<f32> {
    let mut out = room(x.len());
    let parts = out.par_chunks_mut(PART).zip(x.par_chunks(PART));
    parts.for_each(|(out, x)| {
        vectorised(
            #[inline(always)]
            || out.iter_mut().zip(x).for_each(|(out, x)| *out = gelu(*x)),
        );
    });
    out
}

/// A gradient before GELU, from the one behind it and what went in.
pub fn gelu_backward(gradient: &[f32], x: &[f32]) -> Vec<f32> {
    let mut out = room(x.len());
    out.par_chunks_mut(PART)
        .zip(gradient.par_chunks(PART).zip(x.par_chunks(PART)))
        .for_each(|(out, (gradient, x))| {
            vectorised(
                #[inline(always)]
                || {
                    for (out, (g, x)) in out.iter_mut().zip(gradient.iter().zip(x)) {
                        *out = g * gelu_slope(*x);
                    }
                },
            );
        });
    out
}

/// The input's gradient: `gradient weight`.
pub fn input_gradient(gradient: &[f32], weight: &[f32], [outputs, inputs]: [usize; 2]) -> Vec<f32> {
    let rows = gradient.len() / outputs.max(1);
    let packed = Packed::new(weight, outputs, inputs);
    let right = right(packed.as_ref(), weight, inputs);
    let gradient = View::rows(gradient, outputs);
    product([rows, inputs, outputs], gradient, right, |_, _, _| {})
}

/// The weight's gradient: `gradientᵀ x`.
pub fn weight_gradient(gradient: &[f32], x: &[f32], [outputs, inputs]: [usize; 2]) -> Vec<f32> {
    let rows = gradient.len() / outputs.max(1);
    let packed = Packed::new(x, rows, inputs);
    let right = right(packed.as_ref(), x, inputs);
    let gradient = View::rows(gradient, outputs).transposed();
    product([outputs, inputs, rows], gradient, right, |_, _, _| {})
}

fn right<'a>(packed: Option<&'a Packed>, values: &'a [f32], columns: usize) -> Right<'a> {
    match packed {
        Some(packed) => Right::Packed(packed),
        None => Right::Plain(View::rows(values, columns)),
    }
}

/// The bias's gradient: the sum of the rows.
pub fn bias_gradient(gradient: &[f32], outputs: usize) -> Vec<f32> {
    let size = (PART / outputs.max(1)).max(1) * outputs;
    let sums: Vec<Vec<f32>> = gradient
        .par_chunks(size.max(1))
        .map(|rows| {
            let mut sums = vec![0.0; outputs];
            vectorised(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact(outputs) {
                        sums.iter_mut().zip(row).for_each(|(sum, g)| *sum += g);
                    }
                },
            );
            sums
        })
        .collect();
    super::total(&sums, outputs)
}
