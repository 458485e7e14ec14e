//! Attention of several heads.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use burn_zoo_cpu::{Attention, Epilogue};

use super::{Linear, LinearConfig, ParamBuilder, trace};
use crate::init::Init;

/// Attention of the tokens of an image to each other, between two affine layers: timm's `Attention`.
#[derive(Module, Debug)]
pub struct SelfAttention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
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

    /// Attends, and does what follows.
    ///
    /// # Shapes
    /// - x, residual and output: `[batch, length, features]`
    pub fn forward_with(&self, x: Tensor<3>, epilogue: Epilogue<'_, 3>) -> Tensor<3> {
        let mixed = attention(self.qkv.forward(x), self.heads);
        self.proj.forward_with(mixed, epilogue)
    }

    /// As [`forward_with`](Self::forward_with), with something added to the scores; see
    /// [`attention_with_bias`].
    pub fn forward_biased(&self, x: Tensor<3>, bias: Tensor<4>) -> Tensor<3> {
        let mixed = attention_with_bias(self.qkv.forward(x), self.heads, bias);
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
    attend(qkv, heads, None)
}

/// Attention with something added to the scores, such as a bias for each relative position, or a
/// mask: a large negative number where a token must not look.
///
/// # Shapes
/// - qkv: `[batch * n, length, 3 * width]`, as for [`attention`]
/// - bias: `[n, heads, length, length]`; each `n` rows of the batch have their own
/// - output: `[batch * n, length, width]`
pub fn attention_with_bias(qkv: Tensor<3>, heads: usize, bias: Tensor<4>) -> Tensor<3> {
    attend(qkv, heads, Some(bias))
}

fn attend(qkv: Tensor<3>, heads: usize, bias: Option<Tensor<4>>) -> Tensor<3> {
    let [batch, length, width] = qkv.dims();
    let width = width / 3;
    let head = width / heads;
    // [batch, length, 3 * heads * head] -> three of [batch, heads, length, head]
    let qkv = qkv
        .reshape([batch, length, 3 * heads, head])
        .swap_dims(1, 2);
    let part = |index: usize| qkv.clone().narrow(1, index * heads, heads);

    let query = part(0) * (head as f64).powf(-0.5);
    let mut scores = query.matmul(part(1).swap_dims(2, 3));
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
