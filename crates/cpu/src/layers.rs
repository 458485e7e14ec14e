//! The arguments of the operations: what a layer is made of, borrowed for one call.

use burn::tensor::Tensor;

use crate::weight_cache::WeightCache;

/// A convolution with square kernels (`torch.nn.Conv2d`) for [`conv2d`](crate::conv2d), with the
/// normalisation that follows it.
#[derive(Debug, Clone, Copy)]
pub struct Conv2d<'a> {
    /// Kernels, `[out_channels, in_channels / groups, kernel, kernel]`. The number of groups follows
    /// from this and the input's channels.
    pub weight: &'a Tensor<4>,
    /// Added to the output, `[out_channels]`.
    pub bias: Option<&'a Tensor<1>>,
    /// A normalisation of the output, after the bias.
    pub norm: Option<BatchNorm<'a>>,
    /// Positions from one window to the next, in both directions.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// Whether each product is a product, which rounds less than the faster way for 3x3 kernels
    /// (Winograd's). The gradient of the kernels takes the faster one.
    pub is_direct: bool,
    /// What has been prepared of `weight`, used where there is no graph.
    pub cache: Option<&'a WeightCache>,
}

impl<'a> Conv2d<'a> {
    /// A convolution of stride 1 without padding, bias or normalisation.
    pub fn new(weight: &'a Tensor<4>) -> Self {
        Self {
            weight,
            bias: None,
            norm: None,
            stride: 1,
            padding: 0,
            is_direct: false,
            cache: None,
        }
    }
}

/// A batch normalisation by given statistics (`torch.nn.BatchNorm2d` in evaluation mode) for
/// [`batch_norm`](crate::batch_norm):
/// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, each `[channels]`.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm<'a> {
    /// Scale.
    pub weight: &'a Tensor<1>,
    /// Shift.
    pub bias: &'a Tensor<1>,
    /// Mean; no gradient flows to it.
    pub mean: &'a Tensor<1>,
    /// Variance; no gradient flows to it.
    pub variance: &'a Tensor<1>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// A batch normalisation by the batch's own statistics (`torch.nn.BatchNorm2d` in training mode) for
/// [`batch_norm_train`](crate::batch_norm_train). The running statistics are the caller's.
#[derive(Debug, Clone, Copy)]
pub struct BatchNormTrain<'a> {
    /// Scale, `[channels]`.
    pub weight: &'a Tensor<1>,
    /// Shift, `[channels]`.
    pub bias: &'a Tensor<1>,
    /// Added to the variance.
    pub epsilon: f64,
    /// Replicas whose batches are normalised as one.
    pub sync: Option<&'a std::sync::Arc<dyn StatisticsSync>>,
}

/// Replicas of a model whose batch normalisations normalise by the images of all of them.
pub trait StatisticsSync: std::fmt::Debug + Send + Sync {
    /// The values that each replica gives. All make the same calls in the same order, in the forward
    /// pass and in the backward pass, and give as many values.
    fn all(&self, values: &[f64]) -> Vec<Vec<f64>>;
}

/// What [`batch_norm_train`](crate::batch_norm_train) gives.
#[derive(Debug, Clone)]
pub struct BatchNormTrainOutput {
    /// The output, `[batch, channels, height, width]`.
    pub output: Tensor<4>,
    /// The batch's mean, `[channels]`; no gradient flows through it.
    pub mean: Tensor<1>,
    /// The batch's unbiased variance, `[channels]` (over a single value: zero); no gradient flows
    /// through it.
    pub unbiased_variance: Tensor<1>,
}

/// A max pooling with square windows (`torch.nn.MaxPool2d`) for
/// [`max_pool2d`](crate::max_pool2d). Padding takes no part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPool2d {
    /// A side of a window, at most 15.
    pub kernel: usize,
    /// Positions from one window to the next, in both directions.
    pub stride: usize,
    /// Positions that windows reach beyond each side; less than a window.
    pub padding: usize,
}

/// An affine layer (`torch.nn.Linear`) for [`linear`](crate::linear), its weight in PyTorch's layout.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    /// Weight, `[out_features, in_features]`.
    pub weight: &'a Tensor<2>,
    /// Bias, `[out_features]`.
    pub bias: Option<&'a Tensor<1>>,
    /// What has been prepared of `weight`.
    pub cache: Option<&'a WeightCache>,
}

/// A normalisation of the last dimension (`torch.nn.LayerNorm`) for
/// [`layer_norm`](crate::layer_norm).
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm<'a> {
    /// Scale, `[features]`.
    pub weight: &'a Tensor<1>,
    /// Shift, `[features]`.
    pub bias: &'a Tensor<1>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Scaled dot-product attention of several heads (Vaswani et al., 2017,
/// <https://arxiv.org/abs/1706.03762>) for [`attention`](crate::attention).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// The number of heads, which divides the width.
    pub heads: usize,
}

/// SGD (`torch.optim.SGD`) for [`sgd_step`](crate::sgd_step): with
/// `g = gradient + weight_decay p`, it is `v = momentum v + g`, and then `p -= learning_rate v`, or
/// `p -= learning_rate (g + momentum v)` in Nesterov's form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Step size.
    pub learning_rate: f32,
    /// Momentum; 0 for none.
    pub momentum: f32,
    /// Nesterov's form of it.
    pub nesterov: bool,
    /// Weight decay, added to the gradient.
    pub weight_decay: f32,
}

/// Muon (Jordan et al., 2024, <https://kellerjordan.github.io/posts/muon/>) for
/// [`muon_step`](crate::muon_step): with `v = momentum v + g`, the direction `g + momentum v` has its
/// singular values brought near to 1, as a matrix of the first axis by all others; then
/// `p -= learning_rate (weight_decay p + 0.2 sqrt(max(rows, columns)) direction)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Muon {
    /// Step size.
    pub learning_rate: f32,
    /// Momentum, in Nesterov's form.
    pub momentum: f32,
    /// Weight decay, taken from the parameter.
    pub weight_decay: f32,
}

/// Adam (Kingma & Ba, 2015, <https://arxiv.org/abs/1412.6980>) and AdamW (Loshchilov & Hutter, 2019,
/// <https://arxiv.org/abs/1711.05101>) for [`adam_step`](crate::adam_step).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Step size.
    pub learning_rate: f32,
    /// Decay of the gradients' average and of their squares'.
    pub betas: [f32; 2],
    /// Added to the denominator.
    pub epsilon: f32,
    /// Weight decay, added to the gradient or taken from the parameter.
    pub weight_decay: f32,
    /// Whether it is taken from the parameter, as AdamW does.
    pub decoupled: bool,
    /// The number of this step, from 1.
    pub step: usize,
}
