//! Attention that pools: one query for an image (Lee et al., "Set Transformer", 2019,
//! <https://arxiv.org/abs/1810.00825>; Zhai et al., "Scaling Vision Transformers", 2022,
//! <https://arxiv.org/abs/2106.04560>).

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use burn_zoo_cpu::{Act, Epilogue};

use super::{LayerNorm, Linear, LinearConfig, Mlp, ParamBuilder, trace};
use crate::init::Init;

/// A learnt query attends to all tokens; an MLP with a shortcut follows. timm's `AttentionPoolLatent`.
#[derive(Module, Debug)]
pub struct AttentionPool {
    /// What the query is made of, `[1, 1, features]`.
    latent: Param<Tensor<3>>,
    q: Linear,
    kv: Linear,
    proj: Linear,
    norm: LayerNorm,
    mlp: Mlp,
    heads: usize,
}

impl AttentionPool {
    /// For tokens of so many features, which the number of heads divides, with an MLP through `hidden`
    /// ones; `weights` is how affine layers start.
    pub fn new(
        [features, hidden, heads]: [usize; 3],
        act: Act,
        epsilon: f64,
        weights: &Init,
        params: &ParamBuilder,
    ) -> Self {
        let layer = |to| {
            let config = LinearConfig::new(features, to);
            config.weights(weights.clone()).init(params)
        };
        let std = (features as f64).powf(-0.5);
        // Cut at two standard deviations.
        let latent = Init::TruncNormal {
            mean: 0.0,
            std,
            low: -2.0 * std,
            high: 2.0 * std,
        };
        Self {
            latent: params.weight([1, 1, features], &latent),
            q: layer(features),
            kv: layer(2 * features),
            proj: layer(features),
            norm: LayerNorm::new(features, epsilon, params),
            mlp: Mlp::new(features, hidden, weights, params).act(act),
            heads,
        }
    }

    /// One vector for each image.
    ///
    /// # Shapes
    /// - tokens: `[batch, length, features]`
    /// - output: `[batch, features]`
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<2> {
        let [batch, length, width] = tokens.dims();
        let (heads, head) = (self.heads, width / self.heads);
        let query = self.q.forward(self.latent.val().cast(tokens.dtype()));
        let query = query.reshape([1, heads, 1, head]) * (head as f64).powf(-0.5);
        // [batch, length, 2 * heads * head] -> two of [batch, heads, length, head]
        let kv = self.kv.forward(tokens);
        let kv = kv.reshape([batch, length, 2 * heads, head]).swap_dims(1, 2);
        let part = |index: usize| kv.clone().narrow(1, index * heads, heads);
        let query = query.expand([batch, heads, 1, head]);
        let scores = softmax(query.matmul(part(0).swap_dims(2, 3)), 3);
        let macs = batch * length * width;
        trace::product("AttentionScores", &scores, macs);
        let mixed = scores.matmul(part(1));
        trace::product("AttentionValues", &mixed, macs);
        let x = self.proj.forward(mixed.reshape([batch, 1, width]));
        let end = Epilogue {
            residual: Some(&x),
            act: Act::None,
        };
        let x = self.mlp.forward_with(self.norm.forward(x.clone()), end);
        x.reshape([batch, width])
    }
}
