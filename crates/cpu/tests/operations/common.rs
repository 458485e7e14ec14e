//! What the tests share.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;

pub fn device() -> Device {
    Device::flex().autodiff()
}

pub fn random<const D: usize>(shape: [usize; D], name: &str) -> Tensor<D> {
    let mut state = name
        .bytes()
        .fold(11, |state, byte| mixed(state ^ u64::from(byte)));
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = mixed(state);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &device())
}

/// A step of SplitMix64 (Steele et al., 2014): numbers that are the same in every run.
fn mixed(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The largest difference relative to the largest value.
pub fn relative_difference<const D: usize>(actual: Tensor<D>, expected: Tensor<D>) -> f32 {
    difference(actual, expected, 1e-6)
}

/// The same where the largest value counts as no smaller than `least`.
pub fn difference<const D: usize>(actual: Tensor<D>, expected: Tensor<D>, least: f32) -> f32 {
    assert_eq!(actual.dims(), expected.dims());
    let (actual, expected) = (values(actual), values(expected));
    let scale = expected.iter().fold(least, |most, v| most.max(v.abs()));
    let pairs = actual.iter().zip(&expected);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

/// Runs a function of tensors and gives its output and the gradients of all of them, for an output
/// gradient that differs from place to place.
pub fn run<const N: usize, const D: usize>(
    inputs: [Tensor<D>; N],
    function: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
) -> (Tensor<D>, Vec<Tensor<D>>) {
    let inputs = inputs.map(|input| Param::initialized(ParamId::new(), input.require_grad()).val());
    let output = function(inputs.clone());
    let weights = random(output.dims(), "gradient");
    let gradients = (output.clone() * weights).sum().backward();
    let actual = inputs
        .iter()
        .map(|input| Tensor::from_inner(input.grad(&gradients).unwrap()));
    (output.detach(), actual.collect())
}

pub const SLACK: f32 = 1e-5;

pub fn compare<const N: usize, const D: usize>(
    inputs: [Tensor<D>; N],
    ours: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
    theirs: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
) -> Result<(), TestCaseError> {
    compare_sums(inputs, [1e-6; N], ours, theirs)
}

/// The same with the usual size of each gradient. A gradient that is a sum can be small by chance,
/// and its rounding is that of the terms.
pub fn compare_sums<const N: usize, const D: usize>(
    inputs: [Tensor<D>; N],
    usual: [f32; N],
    ours: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
    theirs: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
) -> Result<(), TestCaseError> {
    let (output, gradients) = run(inputs.clone(), ours);
    let (expected, expected_gradients) = run(inputs, theirs);
    let off = relative_difference(output, expected);
    prop_assert!(off < SLACK, "output: {off}");
    for (index, (actual, expected)) in gradients.into_iter().zip(expected_gradients).enumerate() {
        let off = difference(actual, expected, usual[index]);
        prop_assert!(off < SLACK, "gradient {index}: {off}");
    }
    Ok(())
}
