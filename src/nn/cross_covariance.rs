//! Attention of channels to each other (El-Nouby et al., "XCiT", 2021,
//! <https://arxiv.org/abs/2106.09681>).

use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{FloatDType, Tensor};

use super::{Linear, LinearConfig, ParamBuilder, trace};
use crate::init::Init;

/// Cross-covariance attention: each channel of a head becomes a mixture of the head's channels, by how
/// alike they are over all tokens. timm's `XCA`.
#[derive(Module, Debug)]
pub struct CrossCovariance {
    /// Factor of the likeness in each head, `[heads, 1, 1]`.
    pub temperature: Param<Tensor<3>>,
    qkv: Linear,
    proj: Linear,
}

impl CrossCovariance {
    /// For tokens of so many features, which the number of heads divides.
    pub fn new(features: usize, heads: usize, weights: &Init, params: &ParamBuilder) -> Self {
        let layer = |to| {
            let config = LinearConfig::new(features, to);
            config.weights(weights.clone()).init(params)
        };
        Self {
            temperature: params.constant([heads, 1, 1], 1.0),
            qkv: layer(3 * features),
            proj: layer(features),
        }
    }

    /// Attends.
    ///
    /// # Shapes
    /// - x and output: `[batch, length, features]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, length, width] = x.dims();
        let heads = self.temperature.lazy_shape()[0];
        let head = width / heads;
        // [batch, length, 3 * heads * head] -> three of [batch, heads, head, length]
        let qkv = self.qkv.forward(x);
        let qkv = qkv
            .reshape([batch, length, 3 * heads, head])
            .permute([0, 2, 3, 1]);
        let part = |index: usize| qkv.clone().narrow(1, index * heads, heads);

        let temperature = self.temperature.val().cast(qkv.dtype());
        let likeness = unit(part(0)).matmul(unit(part(1)).swap_dims(2, 3));
        let scores = softmax(likeness * temperature.unsqueeze::<4>(), 3);
        let macs = batch * heads * head * head * length;
        trace::product("AttentionScores", &scores, macs);
        let mixed = scores.matmul(part(2));
        trace::product("AttentionValues", &mixed, macs);
        let mixed = mixed.permute([0, 3, 1, 2]);
        self.proj.forward(mixed.reshape([batch, length, width]))
    }
}

/// Divides the last dimension by its length: PyTorch's `normalize`.
fn unit(x: Tensor<4>) -> Tensor<4> {
    // In 32 bits: the sum of squares does not fit into 16.
    let dtype = x.dtype();
    let x = x.cast(FloatDType::F32);
    let squares = (x.clone() * x.clone()).sum_dim(3);
    // The smallest length is 1e-12.
    (x / squares.clamp_min(1e-24).sqrt()).cast(dtype)
}
