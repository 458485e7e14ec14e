//! The operations that have a gradient, as extensions of burn's backends.
//!
//! An extension takes no optional tensors. So a residual is always there, and where an operation's
//! options say that none is added, it is any tensor at hand.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, backend_extension};

use super::batch_norm::{self, Statistics};
use super::tokens::{attention, layer_norm, linear};
use super::weight_forms::WeightForms;
use super::window::Window;
use super::{activation, conv, feature_map, max_pool};
use crate::epilogue::Act;
use crate::layers::StatisticsSync;

/// What a batch normalisation does beside its tensors.
#[derive(Debug, Clone)]
pub struct NormOptions {
    pub epsilon: f64,
    pub adds_residual: bool,
    pub relu: bool,
    /// Replicas whose batches are normalised as one.
    pub sync: Option<Arc<dyn StatisticsSync>>,
}

/// What an affine layer does beside its tensors.
#[derive(Debug, Clone, Copy)]
pub struct LinearOptions {
    pub adds_residual: bool,
    pub gelu: bool,
}

/// Operations on images, `[batch, channels, height, width]` in any memory layout.
#[backend_extension(Flex, Autodiff)]
pub trait ImageOps: Backend {
    /// A convolution with square kernels `[out, in / groups, k, k]`.
    fn flex_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        window: Window,
    ) -> FloatTensor<Self>;

    /// A normalisation by the batch's statistics: the output, the mean and the unbiased variance.
    fn flex_batch_norm_train(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// A normalisation by given statistics.
    fn flex_batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self>;

    /// The largest value of each window.
    fn flex_max_pool2d(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self>;
}

/// Operations on rows of numbers, `[.., features]`.
#[backend_extension(Flex, Autodiff)]
pub trait TokenOps: Backend {
    /// `x weightᵀ + bias` and what follows.
    fn flex_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        options: LinearOptions,
    ) -> FloatTensor<Self>;

    /// A normalisation of the last dimension.
    fn flex_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// Attention of so many heads, of `[batch, length, 3 * width]`.
    fn flex_attention(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self>;

    /// The activation of each number of a tensor of any shape, where
    /// [`is_fast`](super::activation::is_fast).
    fn flex_activation(x: FloatTensor<Self>, act: Act) -> FloatTensor<Self>;

    /// The same tensor of any shape twice, for a loss that depends on both.
    fn flex_fork(x: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl ImageOps for Flex {
    fn flex_conv2d(x: FlexTensor, weight: FlexTensor, window: Window) -> FlexTensor {
        conv::forward(&x, &weight, window, None, None).0
    }

    fn flex_batch_norm_train(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: FlexTensor,
        options: NormOptions,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let statistics = Statistics::of_batch(&x, options.epsilon, options.sync.as_deref());
        let residual = options.adds_residual.then_some(&residual);
        let output = batch_norm::forward(&x, &weight, &bias, &statistics, residual, options.relu);
        let variance = feature_map::vector(statistics.unbiased_variance());
        (output, feature_map::vector(statistics.mean), variance)
    }

    fn flex_batch_norm(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        residual: FlexTensor,
        options: NormOptions,
    ) -> FlexTensor {
        let statistics = Statistics::given(&mean, &variance, options.epsilon);
        let residual = options.adds_residual.then_some(&residual);
        batch_norm::forward(&x, &weight, &bias, &statistics, residual, options.relu)
    }

    fn flex_max_pool2d(x: FlexTensor, window: Window) -> FlexTensor {
        max_pool::forward(&x, window).0
    }
}

impl TokenOps for Flex {
    fn flex_linear(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: FlexTensor,
        options: LinearOptions,
    ) -> FlexTensor {
        let residual = options.adds_residual.then_some(&residual);
        let forms = WeightForms::default();
        linear::forward(&x, &weight, &bias, residual, options.gelu, &forms)
    }

    fn flex_layer_norm(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        epsilon: f64,
    ) -> FlexTensor {
        layer_norm::forward(&x, &weight, &bias, epsilon).0
    }

    fn flex_attention(qkv: FlexTensor, heads: usize) -> FlexTensor {
        attention::forward(&qkv, heads, false).0
    }

    fn flex_activation(x: FlexTensor, act: Act) -> FlexTensor {
        activation::forward(x, act)
    }

    fn flex_fork(x: FlexTensor) -> (FlexTensor, FlexTensor) {
        (x.clone(), x)
    }
}
