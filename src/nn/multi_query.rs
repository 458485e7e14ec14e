//! Attention over a map, whose heads share keys and values.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use burn_zoo_cpu::Act;

use super::{Conv2d, Conv2dConfig, ConvNorm, NormConfig, ParamBuilder, trace};
use crate::init::Init;

/// Attention of the positions of a map to each other, in which each head has queries of its own and
/// all have the same keys and values (Shazeer, "Fast Transformer Decoding", 2019,
/// <https://arxiv.org/abs/1911.02150>): timm's `MultiQueryAttention2d`. Keys and values may come
/// from a smaller map.
#[derive(Module, Debug)]
pub struct MultiQueryAttention {
    query: Conv2d,
    key: Shared,
    value: Shared,
    output: Conv2d,
    heads: usize,
}

/// What the heads share: a projection, of a smaller map if a convolution strides before it.
#[derive(Module, Debug)]
struct Shared {
    conv_down: Option<ConvNorm>,
    proj: Conv2d,
}

impl MultiQueryAttention {
    /// From and to so many channels, with `heads` heads of `features` each. `down` is the depthwise
    /// convolution that keys and values go through first, with its normalisation.
    pub fn new(
        [from, to]: [usize; 2],
        heads: usize,
        features: usize,
        down: Option<(Conv2dConfig, NormConfig)>,
        params: &ParamBuilder,
    ) -> Self {
        let proj = |from, to| {
            let conv = Conv2dConfig::new(from, to, 1);
            conv.weights(Init::xavier_uniform()).init(params)
        };
        let shared = || Shared {
            conv_down: down.clone().map(|(conv, norm)| {
                let conv = conv.weights(Init::xavier_uniform());
                ConvNorm::with_norm(conv, norm, Act::None, params)
            }),
            proj: proj(from, features),
        };
        Self {
            query: proj(from, heads * features),
            key: shared(),
            value: shared(),
            output: proj(heads * features, to),
            heads,
        }
    }

    /// Attends.
    ///
    /// # Shapes
    /// - input: `[batch, in_channels, height, width]`
    /// - output: `[batch, out_channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, _, height, width] = x.dims();
        let (heads, length) = (self.heads, height * width);
        let key = self.key.forward(x.clone());
        let value = self.value.forward(x.clone());
        let [_, features, keys] = key.dims();
        let query = self.query.forward(x) * (features as f64).powf(-0.5);
        // One key serves the queries of all heads: [batch, heads * length, features].
        let query = query.reshape([batch, heads, features, length]);
        let query = query.swap_dims(2, 3);
        let query = query.reshape([batch, heads * length, features]);
        let scores = softmax(query.matmul(key), 2);
        let macs = batch * heads * length * keys * features;
        trace::product("AttentionScores", &scores, macs);
        let mixed = scores.matmul(value.swap_dims(1, 2));
        trace::product("AttentionValues", &mixed, macs);
        let mixed = mixed.reshape([batch, heads, length, features]);
        let mixed = mixed.swap_dims(2, 3);
        let map = mixed.reshape([batch, heads * features, height, width]);
        self.output.forward(map)
    }
}

impl Shared {
    /// # Shapes
    /// - input: `[batch, channels, height, width]`
    /// - output: `[batch, features, positions]`
    fn forward(&self, x: Tensor<4>) -> Tensor<3> {
        let x = self.conv_down.iter().fold(x, |x, conv| conv.forward(x));
        let x = self.proj.forward(x);
        let [batch, features, height, width] = x.dims();
        x.reshape([batch, features, height * width])
    }
}
