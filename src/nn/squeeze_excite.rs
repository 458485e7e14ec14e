//! Squeeze-and-excitation (Hu et al., 2018, <https://arxiv.org/abs/1709.01507>).

use burn::module::Module;
use burn::tensor::Tensor;
use burn_zoo_cpu::{Act, Epilogue};

use super::{Conv2d, Conv2dConfig, ParamBuilder, trace};
use crate::init::Init;

/// Weighs the channels of a map by a small network that sees their means: timm's `SqueezeExcite`.
#[derive(Module, Debug)]
pub struct SqueezeExcite {
    reduce: Conv2d,
    expand: Conv2d,
    #[module(skip)]
    acts: [Act; 2],
}

impl SqueezeExcite {
    /// For maps of so many channels, through `hidden` ones; `act` stands between the two layers,
    /// `gate` behind the second. `weights` is how a convolution of so many output channels starts.
    pub fn new(
        channels: usize,
        hidden: usize,
        [act, gate]: [Act; 2],
        weights: impl Fn(usize) -> Init,
        params: &ParamBuilder,
    ) -> Self {
        let layer = |from, to| {
            Conv2dConfig::new(from, to, 1)
                .bias()
                .weights(weights(to))
                .init(params)
        };
        Self {
            reduce: layer(channels, hidden),
            expand: layer(hidden, channels),
            acts: [act, gate],
        }
    }

    /// Weighs the channels.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let means = x
            .clone()
            .reshape([batch, channels, height * width])
            .mean_dim(2);
        let means = means.reshape([batch, channels, 1, 1]);
        trace::pool("Mean", &means);
        let [act, gate] = self.acts.map(Epilogue::act);
        let hidden = self.reduce.forward_with(means, act);
        x * self.expand.forward_with(hidden, gate)
    }
}
