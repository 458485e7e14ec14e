//! Activations of whole tensors, in one pass over their memory by all threads.

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType};
use rayon::prelude::*;

use super::feature_map;
use super::simd::{uninitialized, vectorised};
use super::tokens::math::{exp_of_negative, gelu, gelu_slope};
use super::tokens::rows;
use crate::epilogue::Act;

/// Whether there is a function for it here. ReLU is fast in burn, too.
pub fn is_fast(act: Act) -> bool {
    !matches!(act, Act::None | Act::Relu | Act::Tanh)
}

/// The activation of each number, in the tensor's memory if nobody else uses it.
pub fn forward(x: FlexTensor, act: Act) -> FlexTensor {
    match act {
        Act::Relu6 => each(x, relu6),
        Act::Silu => each(x, silu),
        Act::HardSwish => each(x, |x| x * hard_sigmoid(x)),
        Act::HardSigmoid => each(x, hard_sigmoid),
        Act::Gelu => each(x, gelu),
        Act::GeluTanh => each(x, |x| x * sigmoid(inner(x))),
        Act::QuickGelu => each(x, |x| x * sigmoid(QUICK * x)),
        Act::Sigmoid => each(x, sigmoid),
        Act::None | Act::Relu | Act::Tanh => x,
    }
}

/// The gradient of what was activated, `x`, from that of the output.
pub fn backward(gradient: FlexTensor, x: &FlexTensor, act: Act) -> FlexTensor {
    match act {
        Act::Relu6 => with_slope(gradient, x, |x| if x > 0.0 && x < 6.0 { 1.0 } else { 0.0 }),
        Act::Silu => with_slope(gradient, x, |x| gate_slope(x, sigmoid(x), 1.0)),
        Act::HardSwish => with_slope(gradient, x, hard_swish_slope),
        Act::HardSigmoid => {
            with_slope(gradient, x, |x| if x.abs() < 3.0 { 1.0 / 6.0 } else { 0.0 })
        }
        Act::Gelu => with_slope(gradient, x, gelu_slope),
        Act::GeluTanh => with_slope(gradient, x, |x| {
            gate_slope(x, sigmoid(inner(x)), inner_slope(x))
        }),
        Act::QuickGelu => with_slope(gradient, x, |x| gate_slope(x, sigmoid(QUICK * x), QUICK)),
        Act::Sigmoid => with_slope(gradient, x, |x| {
            let s = sigmoid(x);
            s * (1.0 - s)
        }),
        Act::None | Act::Relu | Act::Tanh => gradient,
    }
}

const QUICK: f32 = 1.702;

/// σ(x). The exponential is of a negative number on both sides, so that it does not overflow.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let e = exp_of_negative(-x.abs());
    let above = if x < 0.0 { e } else { 1.0 };
    above / (1.0 + e)
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

#[inline(always)]
fn relu6(x: f32) -> f32 {
    let x = if x < 0.0 { 0.0 } else { x };
    if x > 6.0 { 6.0 } else { x }
}

#[inline(always)]
fn hard_sigmoid(x: f32) -> f32 {
    let y = x * (1.0 / 6.0) + 0.5;
    let y = if y < 0.0 { 0.0 } else { y };
    if y > 1.0 { 1.0 } else { y }
}

/// Where the slope jumps it is the one outside, as in PyTorch.
#[inline(always)]
fn hard_swish_slope(x: f32) -> f32 {
    let slope = x * (1.0 / 3.0) + 0.5;
    let slope = if x <= -3.0 { 0.0 } else { slope };
    if x >= 3.0 { 1.0 } else { slope }
}

/// What σ is taken of in the approximation of GELU by a tangent: (1 + tanh(u)) / 2 is σ(2u).
#[inline(always)]
fn inner(x: f32) -> f32 {
    TWO_ROOT * (x + CUBE * x * x * x)
}

#[inline(always)]
fn inner_slope(x: f32) -> f32 {
    TWO_ROOT * (1.0 + 3.0 * CUBE * x * x)
}

/// 2 √(2/π)
const TWO_ROOT: f32 = 1.595_769_2;
const CUBE: f32 = 0.044_715;

/// The derivative of x σ(u(x)), where `s` is σ(u(x)) and `slope` u'(x).
#[inline(always)]
fn gate_slope(x: f32, s: f32, slope: f32) -> f32 {
    s + x * slope * s * (1.0 - s)
}

/// Numbers that a task passes over.
const PART: usize = 1 << 14;

fn each(x: FlexTensor, function: impl Fn(f32) -> f32 + Copy + Sync) -> FlexTensor {
    let mut x = dense(x);
    if x.is_unique() {
        x.storage_mut::<f32>()
            .par_chunks_mut(PART)
            .for_each(|part| {
                vectorised(
                    #[inline(always)]
                    || part.iter_mut().for_each(|x| *x = function(*x)),
                );
            });
        return x;
    }
    let values = x.storage::<f32>();
    let mut out = uninitialized(values.len());
    let parts = out.par_chunks_mut(PART).zip(values.par_chunks(PART));
    parts.for_each(|(out, x)| {
        vectorised(
            #[inline(always)]
            || {
                out.iter_mut()
                    .zip(x)
                    .for_each(|(out, x)| *out = function(*x))
            },
        );
    });
    laid_out(out, x.layout().clone())
}

fn with_slope(
    gradient: FlexTensor,
    x: &FlexTensor,
    slope: impl Fn(f32) -> f32 + Copy + Sync,
) -> FlexTensor {
    let shape = x.layout().shape().clone();
    let multiply = |gradient: &mut [f32], x: &[f32]| {
        let parts = gradient.par_chunks_mut(PART).zip(x.par_chunks(PART));
        parts.for_each(|(gradient, x)| {
            vectorised(
                #[inline(always)]
                || {
                    let pairs = gradient.iter_mut().zip(x);
                    pairs.for_each(|(gradient, x)| *gradient *= slope(*x));
                },
            );
        });
    };
    if is_dense(x) && is_dense(&gradient) && lie_alike(&gradient, x) {
        let mut gradient = gradient;
        if !gradient.is_unique() {
            gradient = laid_out(
                gradient.storage::<f32>().to_vec(),
                gradient.layout().clone(),
            );
        }
        multiply(gradient.storage_mut::<f32>(), x.storage::<f32>());
        return gradient;
    }
    if shape.len() == 4 {
        let mut out = feature_map::values(&gradient).into_owned();
        multiply(&mut out, &feature_map::values(x));
        return feature_map::tensor(out, feature_map::MapShape::of(x));
    }
    let mut out = rows::values(&gradient).into_owned();
    multiply(&mut out, &rows::values(x));
    rows::tensor(out, shape)
}

fn laid_out(values: Vec<f32>, layout: Layout) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// The tensor, whose memory is its numbers and nothing else.
fn dense(x: FlexTensor) -> FlexTensor {
    if is_dense(&x) {
        return x;
    }
    let shape = x.layout().shape().clone();
    if shape.len() == 4 {
        let values = feature_map::values(&x).into_owned();
        return feature_map::tensor(values, feature_map::MapShape::of(&x));
    }
    rows::tensor(rows::values(&x).into_owned(), shape)
}

/// Whether a tensor's memory is its numbers and nothing else, in whatever order.
fn is_dense(x: &FlexTensor) -> bool {
    let layout = x.layout();
    feature_map::is_dense(layout) && x.storage::<f32>().len() == layout.num_elements()
}

/// Whether two tensors of one shape have their numbers in the same order.
fn lie_alike(a: &FlexTensor, b: &FlexTensor) -> bool {
    let (a, b) = (a.layout(), b.layout());
    let strides = a.strides().iter().zip(b.strides());
    let mut axes = strides.zip(a.shape().iter());
    a.shape() == b.shape() && axes.all(|((a, b), side)| *side == 1 || a == b)
}
