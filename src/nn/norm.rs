//! The normalisations of maps as one.

use burn::module::Module;
use burn::tensor::Tensor;
use burn_zoo_cpu::{Act, Epilogue};

use super::{
    BatchNorm2d, BatchNorm2dConfig, EvoNorm, EvoNormConfig, GroupNorm, GroupNormConfig, LayerNorm,
    ParamBuilder,
};

/// A normalisation of maps.
#[derive(Module, Debug)]
pub enum Norm {
    /// By the statistics of a batch, or running ones.
    Batch(BatchNorm2d),
    /// By those of each image.
    Group(GroupNorm),
    /// By those of each position.
    Layer(LayerNorm),
    /// By those of each image, with an activation in it.
    Evo(EvoNorm),
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
            Self::Layer(norm) => epilogue.apply(norm.forward_map(input)),
            Self::Evo(norm) => epilogue.apply(norm.forward(input)),
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
    /// Of a [`Norm::Layer`] with PyTorch's epsilon of 1e-5.
    Layer {
        /// Of the map.
        channels: usize,
        /// Whether the scale starts at 0, and not at 1.
        is_zero: bool,
    },
    /// Of a [`Norm::Evo`].
    Evo(EvoNormConfig),
}

impl NormConfig {
    /// Makes the layer.
    pub fn init(&self, params: &ParamBuilder) -> Norm {
        match *self {
            Self::Batch(config) => Norm::Batch(config.init(params)),
            Self::Group(config) => Norm::Group(config.init(params)),
            Self::Layer { channels, is_zero } => {
                let layer = if is_zero {
                    LayerNorm::zero_init
                } else {
                    LayerNorm::new
                };
                Norm::Layer(layer(channels, 1e-5, params))
            }
            Self::Evo(config) => Norm::Evo(config.init(params)),
        }
    }

    /// The scale starts at 0: [`BatchNorm2dConfig::zero_init`].
    pub fn zero_init(self) -> Self {
        match self {
            Self::Batch(config) => Self::Batch(config.zero_init()),
            Self::Group(config) => Self::Group(config.zero_init()),
            Self::Layer { channels, .. } => Self::Layer {
                channels,
                is_zero: true,
            },
            Self::Evo(config) => Self::Evo(config.zero_init()),
        }
    }

    /// With this activation behind it, and what remains of that: the evolved normalisation has one of
    /// its own, in the place of any other.
    pub(super) fn activated(self, act: Act) -> (Self, Act) {
        match self {
            Self::Evo(config) if act != Act::None => (Self::Evo(config.activated()), Act::None),
            other => (other, act),
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
