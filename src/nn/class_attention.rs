//! Attention of the class token alone (Touvron et al., "Going deeper with image transformers", 2021,
//! <https://arxiv.org/abs/2103.17239>).

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use super::{Linear, LinearConfig, ParamBuilder, trace};
use crate::init::Init;

/// Attention of the first token to all: timm's `ClassAttn`.
#[derive(Module, Debug)]
pub struct ClassAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    proj: Linear,
    heads: usize,
}

impl ClassAttention {
    /// For tokens of so many features, which the number of heads divides.
    pub fn new(features: usize, heads: usize, weights: &Init, params: &ParamBuilder) -> Self {
        let layer = || {
            let config = LinearConfig::new(features, features);
            config.weights(weights.clone()).init(params)
        };
        Self {
            q: layer(),
            k: layer(),
            v: layer(),
            proj: layer(),
            heads,
        }
    }

    /// What becomes of the first token.
    ///
    /// # Shapes
    /// - x: `[batch, length, features]`
    /// - output: `[batch, 1, features]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, length, width] = x.dims();
        let head = width / self.heads;
        // [batch, tokens, heads * head] -> [batch, heads, tokens, head]
        let split = |x: Tensor<3>| {
            let tokens = x.dims()[1];
            let x = x.reshape([batch, tokens, self.heads, head]);
            x.swap_dims(1, 2)
        };
        let class = x.clone().narrow(1, 0, 1);
        let query = split(self.q.forward(class)) * (head as f64).powf(-0.5);
        let key = split(self.k.forward(x.clone()));
        let scores = softmax(query.matmul(key.swap_dims(2, 3)), 3);
        let macs = batch * width * length;
        trace::product("AttentionScores", &scores, macs);
        let mixed = scores.matmul(split(self.v.forward(x)));
        trace::product("AttentionValues", &mixed, macs);
        self.proj
            .forward(mixed.swap_dims(1, 2).reshape([batch, 1, width]))
    }
}
