//! Group normalisation (Wu & He, 2018, <https://arxiv.org/abs/1803.08494>), and the normalisations
//! of maps as one.

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};
use burn_zoo_cpu::Epilogue;

use super::{BatchNorm2d, BatchNorm2dConfig, ParamBuilder, trace};

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

    /// The scale starts at 0, as that of [`BatchNorm2dConfig::zero_init`].
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
        let centred = input.clone() - self.group_means(input);
        let variance = self.group_means(centred.clone() * centred.clone());
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

    /// The mean over a channel's group and all positions, `[batch, channels, 1, 1]`.
    fn group_means(&self, x: Tensor<4>) -> Tensor<4> {
        let GroupNormConfig {
            channels, groups, ..
        } = self.config;
        let batch = x.dims()[0];
        let group = [batch, groups, channels / groups];
        let of_channels = x.mean_dim(3).mean_dim(2).reshape(group);
        let of_groups = of_channels.mean_dim(2).expand(group);
        of_groups.reshape([batch, channels, 1, 1])
    }
}

/// A normalisation of maps.
#[derive(Module, Debug)]
pub enum Norm {
    /// By the statistics of a batch, or running ones.
    Batch(BatchNorm2d),
    /// By those of each image.
    Group(GroupNorm),
}

impl Norm {
    /// Normalises, and does what follows.
    ///
    /// # Shapes
    /// - input, residual and output: `[batch, channels, height, width]`
    pub fn forward_with(&self, input: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        match self {
            Self::Batch(norm) => norm.forward_with(input, epilogue),
            Self::Group(norm) => norm.forward_with(input, epilogue),
        }
    }
}

/// What a [`Norm`] looks like.
#[derive(Debug, Clone, Copy)]
pub enum NormConfig {
    /// Of a [`Norm::Batch`].
    Batch(BatchNorm2dConfig),
    /// Of a [`Norm::Group`].
    Group(GroupNormConfig),
}

impl NormConfig {
    /// Makes the layer.
    pub fn init(&self, params: &ParamBuilder) -> Norm {
        match self {
            Self::Batch(config) => Norm::Batch(config.init(params)),
            Self::Group(config) => Norm::Group(config.init(params)),
        }
    }

    /// The scale starts at 0: [`BatchNorm2dConfig::zero_init`].
    pub fn zero_init(self) -> Self {
        match self {
            Self::Batch(config) => Self::Batch(config.zero_init()),
            Self::Group(config) => Self::Group(config.zero_init()),
        }
    }
}

impl From<BatchNorm2dConfig> for NormConfig {
    fn from(config: BatchNorm2dConfig) -> Self {
        Self::Batch(config)
    }
}

impl From<GroupNormConfig> for NormConfig {
    fn from(config: GroupNormConfig) -> Self {
        Self::Group(config)
    }
}
