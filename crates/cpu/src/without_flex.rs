//! The operations in a build without Flex: burn computes everything.

#![allow(missing_docs)] // they are documented where Flex computes

use burn::tensor::Tensor;

use crate::epilogue::{Act, Epilogue};
use crate::layers::{
    Adam, Attention, BatchNorm, BatchNormTrain, BatchNormTrainOutput, Conv2d, LayerNorm, Linear,
    MaxPool2d, Muon, Sgd,
};

pub fn conv2d(_: &Tensor<4>, _: Conv2d<'_>, _: Epilogue<'_, 4>) -> Option<Tensor<4>> {
    None
}

pub fn batch_norm(_: &Tensor<4>, _: BatchNorm<'_>, _: Epilogue<'_, 4>) -> Option<Tensor<4>> {
    None
}

pub fn batch_norm_train(
    _: &Tensor<4>,
    _: BatchNormTrain<'_>,
    _: Epilogue<'_, 4>,
) -> Option<BatchNormTrainOutput> {
    None
}

pub fn max_pool2d(_: &Tensor<4>, _: MaxPool2d) -> Option<Tensor<4>> {
    None
}

pub fn linear<const D: usize>(
    _: &Tensor<D>,
    _: Linear<'_>,
    _: Epilogue<'_, D>,
) -> Option<Tensor<D>> {
    None
}

pub fn layer_norm<const D: usize>(_: &Tensor<D>, _: LayerNorm<'_>) -> Option<Tensor<D>> {
    None
}

pub fn attention(_: &Tensor<3>, _: Attention) -> Option<Tensor<3>> {
    None
}

#[allow(clippy::result_large_err)]
pub fn activation<const D: usize>(x: Tensor<D>, _: Act) -> Result<Tensor<D>, Tensor<D>> {
    Err(x)
}

pub fn fork<const D: usize>(x: Tensor<D>) -> [Tensor<D>; 2] {
    [x.clone(), x]
}

pub fn kernel_layout<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor
}

pub fn lays_out_kernels<const D: usize>(_: &Tensor<D>) -> bool {
    false
}

pub fn row_major<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor
}

pub fn sgd_step<const D: usize>(
    _: Sgd,
    _: &mut Tensor<D>,
    _: &Tensor<D>,
    _: &mut Option<Tensor<D>>,
) -> bool {
    false
}

pub fn muon_step<const D: usize>(
    _: Muon,
    _: &mut Tensor<D>,
    _: &Tensor<D>,
    _: &mut Option<Tensor<D>>,
) -> bool {
    false
}

pub fn adam_step<const D: usize>(
    _: Adam,
    _: &mut Tensor<D>,
    _: &Tensor<D>,
    _: &mut Option<[Tensor<D>; 2]>,
) -> bool {
    false
}

pub fn lerp<const D: usize>(_: &Tensor<D>, _: &Tensor<D>, _: f64) -> Option<Tensor<D>> {
    None
}

pub fn add<const D: usize>(_: &Tensor<D>, _: &Tensor<D>) -> Option<Tensor<D>> {
    None
}

pub fn sum_of_squares<const D: usize>(_: &Tensor<D>) -> Option<f64> {
    None
}
