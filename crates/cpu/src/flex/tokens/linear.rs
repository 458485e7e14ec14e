//! Affine layers, with what follows them in a transformer: GELU, or the addition to the tokens that
//! went around.

use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;
use rayon::prelude::*;

use super::math::gelu;
use super::rows::{self, sum_of_parts};
use crate::flex::matmul::Matrix;
use crate::flex::packed::Packed;
use crate::flex::parallel_product::{Right, product};
use crate::flex::simd::vectorised;
use crate::flex::weight_forms::WeightForms;

/// `gelu(x weightᵀ + bias + residual)` for `x` of `[.., in]` and `weight` of `[out, in]`, whose forms
/// these are; without `gelu`, there is none.
pub fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    residual: Option<&FlexTensor>,
    with_gelu: bool,
    forms: &WeightForms,
) -> FlexTensor {
    let [outputs, inputs] = matrix_shape(weight);
    let output_shape = rows::with_last(x, outputs);
    let (x, weight, bias) = (rows::values(x), rows::values(weight), rows::values(bias));
    let residual = residual.map(rows::values);
    let count = x.len() / inputs.max(1);
    let right = match forms.packed_rows(&weight, [outputs, inputs]) {
        Some(packed) => Right::Packed(packed),
        None => Right::Plain(Matrix::new(&weight, 0, inputs).transposed()),
    };
    let x = Matrix::new(&x, 0, inputs);
    let epilogue = |row: usize, column: usize, out: &mut [f32]| {
        let bias = &bias[column..][..out.len()];
        let residual = residual
            .as_ref()
            .map(|residual| &residual[row * outputs + column..][..out.len()]);
        vectorised(
            #[inline(always)]
            || {
                for (out, bias) in out.iter_mut().zip(bias) {
                    *out += bias;
                }
                if let Some(residual) = residual {
                    let pairs = out.iter_mut().zip(residual);
                    pairs.for_each(|(out, residual)| *out += residual);
                }
                if with_gelu {
                    out.iter_mut().for_each(|out| *out = gelu(*out));
                }
            },
        );
    };
    // SAFETY: both are slices of this size.
    let output = unsafe { product([count, outputs, inputs], x, right, epilogue) };
    rows::tensor(output, output_shape)
}

/// The shape of a weight: outputs, inputs.
fn matrix_shape(weight: &FlexTensor) -> [usize; 2] {
    let shape = weight.layout().shape();
    [shape[0], shape[1]]
}

/// Numbers that a task passes over.
const PART: usize = 1 << 14;

/// The input's gradient: `gradient weight`.
pub fn input_gradient(gradient: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
    let [outputs, inputs] = matrix_shape(weight);
    let shape = rows::with_last(gradient, inputs);
    let (gradient, weight) = (rows::values(gradient), rows::values(weight));
    let count = gradient.len() / outputs.max(1);
    let packed = Packed::new(&weight, outputs, inputs);
    let right = right(packed.as_ref(), &weight, inputs);
    let gradient = Matrix::new(&gradient, 0, outputs);
    // SAFETY: both are slices of this size.
    let output = unsafe { product([count, inputs, outputs], gradient, right, |_, _, _| {}) };
    rows::tensor(output, shape)
}

/// The weight's gradient: `gradientᵀ x`.
pub fn weight_gradient(gradient: &FlexTensor, x: &FlexTensor) -> FlexTensor {
    let [outputs, inputs] = [last(gradient), last(x)];
    let (gradient, x) = (rows::values(gradient), rows::values(x));
    let count = x.len() / inputs.max(1);
    let packed = Packed::new(&x, count, inputs);
    let right = right(packed.as_ref(), &x, inputs);
    let gradient = Matrix::new(&gradient, 0, outputs).transposed();
    // SAFETY: both are slices of this size.
    let output = unsafe { product([outputs, inputs, count], gradient, right, |_, _, _| {}) };
    rows::tensor(output, Shape::from([outputs, inputs]))
}

/// A tensor's last dimension.
fn last(tensor: &FlexTensor) -> usize {
    tensor.layout().shape().last().copied().unwrap_or(1)
}

fn right<'a>(packed: Option<&'a Packed>, values: &[f32], columns: usize) -> Right<'a> {
    match packed {
        Some(packed) => Right::Packed(packed),
        None => Right::Plain(Matrix::new(values, 0, columns)),
    }
}

/// The bias's gradient: the sum of the rows.
pub fn bias_gradient(gradient: &FlexTensor) -> FlexTensor {
    let outputs = last(gradient);
    let size = (PART / outputs.max(1)).max(1) * outputs;
    let sums: Vec<Vec<f32>> = rows::values(gradient)
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
    rows::tensor(sum_of_parts(&sums, outputs), Shape::from([outputs]))
}
