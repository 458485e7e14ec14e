//! Group normalisation (Wu & He, 2018, <https://arxiv.org/abs/1803.08494>).

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};
use burn_zoo_cpu::Epilogue;

use super::{ParamBuilder, trace};

/// `torch.nn.GroupNorm`: normalises each image by the mean and the variance of each group of its
/// channels.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    config: GroupNormConfig,
}

/// What a [`GroupNorm`] looks like.
#[derive(Debug, Clone, Copy)]
pub struct GroupNormConfig {
    channels: usize,
    groups: usize,
    epsilon: f64,
    scale: f32,
    bias: bool,
}

impl GroupNormConfig {
    /// Groups of as many channels each, with PyTorch's epsilon of 1e-5 and a scale that starts at 1.
    pub fn new(channels: usize, groups: usize) -> Self {
        Self {
            channels,
            groups,
            epsilon: 1e-5,
            scale: 1.0,
            bias: true,
        }
    }

    /// Sets what is added to the variance.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Takes the shift away.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// The scale starts at 0, as that of [`BatchNorm2dConfig::zero_init`](super::BatchNorm2dConfig::zero_init).
    pub fn zero_init(mut self) -> Self {
        self.scale = 0.0;
        self
    }

    /// Makes the layer.
    pub fn init(&self, params: &ParamBuilder) -> GroupNorm {
        let bias = || params.constant([self.channels], 0.0);
        GroupNorm {
            weight: params.scale(self.channels, self.scale),
            bias: self.bias.then(bias),
            config: *self,
        }
    }
}

impl GroupNorm {
    /// Normalises each group, and does what follows.
    ///
    /// # Shapes
    /// - input, residual and output: `[batch, channels, height, width]`
    pub fn forward_with(&self, input: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        // In 32 bits whatever the activations are in, as in PyTorch's autocast.
        let dtype = input.dtype();
        let input = input.cast(FloatDType::F32);
        let groups = self.config.groups;
        let centred = input.clone() - group_means(input, groups);
        let variance = group_means(centred.clone() * centred.clone(), groups);
        let vector = |param: &Param<Tensor<1>>| param.val().reshape([1, -1, 1, 1]);
        let scale = (variance + self.config.epsilon).sqrt().recip() * vector(&self.weight);
        let mut output = centred * scale;
        if let Some(bias) = &self.bias {
            output = output + vector(bias);
        }
        let output = output.cast(dtype);
        trace::layer("GroupNorm", self.weight.id, &output, 0);
        epilogue.apply(output)
    }
}

/// The mean over a channel's group and all positions, `[batch, channels, 1, 1]`.
pub(super) fn group_means(x: Tensor<4>, groups: usize) -> Tensor<4> {
    let [batch, channels, ..] = x.dims();
    let group = [batch, groups, channels / groups];
    let of_channels = x.mean_dim(3).mean_dim(2).reshape(group);
    let of_groups = of_channels.mean_dim(2).expand(group);
    of_groups.reshape([batch, channels, 1, 1])
}
