//! Squeeze-and-excitation (Hu et al., 2018, <https://arxiv.org/abs/1709.01507>).

use burn::module::Module;
use burn::tensor::Tensor;
use burn_zoo_cpu::{Act, Epilogue};

use super::pool::position_means;
use super::{Conv2d, Conv2dConfig, ParamBuilder};
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
        acts: [Act; 2],
        weights: impl Fn(usize) -> Init,
        params: &ParamBuilder,
    ) -> Self {
        let layer = |from, to| Conv2dConfig::new(from, to, 1).bias().weights(weights(to));
        let layers = [layer(channels, hidden), layer(hidden, channels)];
        Self::of(layers, acts, params)
    }

    /// Of these two convolutions of 1x1, with what stands behind each.
    pub fn of([reduce, expand]: [Conv2dConfig; 2], acts: [Act; 2], params: &ParamBuilder) -> Self {
        Self {
            reduce: reduce.init(params),
            expand: expand.init(params),
            acts,
        }
    }

    /// Weighs the channels.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let means = position_means(&x);
        let [act, gate] = self.acts.map(Epilogue::act);
        let hidden = self.reduce.forward_with(means, act);
        x * self.expand.forward_with(hidden, gate)
    }
}
