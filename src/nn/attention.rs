//! Attention of several heads.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{FloatDType, Tensor};
use burn_zoo_cpu::{Attention, Epilogue};

use super::{Linear, LinearConfig, ParamBuilder, trace};
use crate::init::Init;

/// Attention of the tokens of an image to each other, between two affine layers: timm's `Attention`.
#[derive(Module, Debug)]
pub struct SelfAttention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
    by_head: bool,
}

impl SelfAttention {
    /// For tokens of so many features, which the number of heads divides.
    pub fn new(features: usize, heads: usize, weights: &Init, params: &ParamBuilder) -> Self {
        let layer = |to| {
            let config = LinearConfig::new(features, to);
            config.weights(weights.clone()).init(params)
        };
        Self {
            qkv: layer(3 * features),
            proj: layer(features),
            heads,
            by_head: false,
        }
    }

    /// Takes the bias of queries, keys and values away.
    pub fn without_qkv_bias(mut self) -> Self {
        self.qkv.bias = None;
        self
    }

    /// Takes the biases away.
    pub fn without_biases(mut self) -> Self {
        self.qkv.bias = None;
        self.proj.bias = None;
        self
    }

    /// The first layer gives each head's query, key and value one behind the other, and not those of
    /// all heads.
    pub fn by_head(mut self) -> Self {
        self.by_head = true;
        self
    }

    /// Attends, and does what follows.
    ///
    /// # Shapes
    /// - x, residual and output: `[batch, length, features]`
    pub fn forward_with(&self, x: Tensor<3>, epilogue: Epilogue<'_, 3>) -> Tensor<3> {
        let qkv = self.qkv.forward(x);
        let mixed = if self.by_head {
            attend(qkv, self.heads, Order::ByHead, None, None)
        } else {
            attention(qkv, self.heads)
        };
        self.proj.forward_with(mixed, epilogue)
    }

    /// As [`forward_with`](Self::forward_with), with something added to the scores; see
    /// [`attention_with_bias`].
    pub fn forward_biased(&self, x: Tensor<3>, bias: Tensor<4>) -> Tensor<3> {
        let qkv = self.qkv.forward(x);
        let mixed = if self.by_head {
            attention_by_head(qkv, self.heads, bias)
        } else {
            attention_with_bias(qkv, self.heads, bias)
        };
        self.proj.forward(mixed)
    }
}

/// Scaled dot-product attention within each image (Vaswani et al., 2017,
/// <https://arxiv.org/abs/1706.03762>).
///
/// # Shapes
/// - qkv: `[batch, length, 3 * width]`: of each token its queries, then keys, then values, of `heads`
///   heads each, which divide `width`
/// - output: `[batch, length, width]`
pub fn attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    if !trace::active()
        && let Some(output) = burn_zoo_cpu::attention(&qkv, Attention { heads })
    {
        return output;
    }
    attend(qkv, heads, Order::ByPart, None, None)
}

/// Attention with something added to the scores, such as a bias for each relative position, or a
/// mask: a large negative number where a token must not look.
///
/// # Shapes
/// - qkv: `[batch * n, length, 3 * width]`, as for [`attention`]
/// - bias: `[n, heads, length, length]`; each `n` rows of the batch have their own
/// - output: `[batch * n, length, width]`
pub fn attention_with_bias(qkv: Tensor<3>, heads: usize, bias: Tensor<4>) -> Tensor<3> {
    attend(qkv, heads, Order::ByPart, None, Some(bias))
}

/// The same, with each head's query, key and value one behind the other in `qkv`.
pub fn attention_by_head(qkv: Tensor<3>, heads: usize, bias: Tensor<4>) -> Tensor<3> {
    attend(qkv, heads, Order::ByHead, None, Some(bias))
}

/// Attention whose scores are cosines (Liu et al., "Swin Transformer V2", 2022,
/// <https://arxiv.org/abs/2111.09883>): queries and keys have the length 1, and the score is then
/// multiplied by a number of each head, at most 100.
///
/// # Shapes
/// - qkv, bias and output: as for [`attention_with_bias`]
/// - log_scale: `[heads]`, the logarithms of the numbers
pub fn cosine_attention(
    qkv: Tensor<3>,
    heads: usize,
    log_scale: Tensor<1>,
    bias: Tensor<4>,
) -> Tensor<3> {
    let scale = log_scale.clamp_max(100f64.ln()).exp();
    let scale = scale.reshape([1, heads, 1, 1]);
    attend(qkv, heads, Order::ByPart, Some(scale), Some(bias))
}

/// How the features of a token are ordered.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// The queries of all heads, then the keys, then the values.
    ByPart,
    /// Query, key and value of each head.
    ByHead,
}

/// `cosine_scale` is a factor of each head, `[1, heads, 1, 1]`, for cosines as scores.
fn attend(
    qkv: Tensor<3>,
    heads: usize,
    order: Order,
    cosine_scale: Option<Tensor<4>>,
    bias: Option<Tensor<4>>,
) -> Tensor<3> {
    let [batch, length, width] = qkv.dims();
    let width = width / 3;
    let head = width / heads;
    // [batch, length, 3 * heads * head] -> three of [batch, heads, length, head]
    let shape = match order {
        Order::ByPart => [batch, length, 3 * heads, head],
        Order::ByHead => [batch, length, heads, 3 * head],
    };
    let qkv = qkv.reshape(shape).swap_dims(1, 2);
    let part = |index: usize| match order {
        Order::ByPart => qkv.clone().narrow(1, index * heads, heads),
        Order::ByHead => qkv.clone().narrow(3, index * head, head),
    };

    let (query, key) = match cosine_scale {
        Some(scale) => {
            let scale = scale.cast(qkv.dtype());
            (normalized(part(0)) * scale, normalized(part(1)))
        }
        None => (part(0) * (head as f64).powf(-0.5), part(1)),
    };
    let mut scores = query.matmul(key.swap_dims(2, 3));
    if let Some(bias) = bias {
        let n = bias.dims()[0];
        let rows = [batch / n, n * heads, length, length];
        let bias = bias
            .cast(scores.dtype())
            .reshape([1, n * heads, length, length]);
        scores = (scores.reshape(rows) + bias).reshape([batch, heads, length, length]);
    }
    let scores = softmax(scores, 3);
    let macs = batch * heads * length * length * head;
    trace::product("AttentionScores", &scores, macs);
    let mixed = scores.matmul(part(2));
    trace::product("AttentionValues", &mixed, macs);
    mixed.swap_dims(1, 2).reshape([batch, length, width])
}

/// Vectors of the length 1: `torch.nn.functional.normalize` over the last dimension.
fn normalized(x: Tensor<4>) -> Tensor<4> {
    // In 32 bits whatever the activations are in, as in PyTorch's autocast. The root has no derivative
    // at 0, where a token is nothing but zeros.
    let dtype = x.dtype();
    let x = x.cast(FloatDType::F32);
    let length = (x.clone() * x.clone()).sum_dim(3).clamp_min(1e-24).sqrt();
    (x / length).cast(dtype)
}
