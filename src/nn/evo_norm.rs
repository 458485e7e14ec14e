//! Evolved normalisation and activation (Liu et al., "Evolving Normalization-Activation Layers", 2020,
//! <https://arxiv.org/abs/2004.02967>).

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{FloatDType, Tensor};

use super::group_norm::group_means;
use super::{ParamBuilder, trace};

/// EvoNorm-S0: `x sigmoid(v x)`, divided by the standard deviation of each group of each image's
/// channels. timm's `EvoNorm2dS0`, which without an activation does not normalise either.
#[derive(Module, Debug)]
pub struct EvoNorm {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Factor within the sigmoid, `[channels]`, of a layer that activates.
    pub v: Option<Param<Tensor<1>>>,
    groups: usize,
}

/// What an [`EvoNorm`] looks like.
#[derive(Debug, Clone, Copy)]
pub struct EvoNormConfig {
    channels: usize,
    groups: usize,
    scale: f32,
    is_activated: bool,
}

impl EvoNormConfig {
    /// A layer without an activation, with groups of as many channels each and a scale that starts at 1.
    pub fn new(channels: usize, groups: usize) -> Self {
        Self {
            channels,
            groups,
            scale: 1.0,
            is_activated: false,
        }
    }

    /// With the activation, and so with the normalisation.
    pub fn activated(mut self) -> Self {
        self.is_activated = true;
        self
    }

    /// The scale starts at 0.
    pub fn zero_init(mut self) -> Self {
        self.scale = 0.0;
        self
    }

    /// Makes the layer.
    pub fn init(&self, params: &ParamBuilder) -> EvoNorm {
        let v = || params.scale(self.channels, 1.0);
        EvoNorm {
            weight: params.scale(self.channels, self.scale),
            bias: params.constant([self.channels], 0.0),
            v: self.is_activated.then(v),
            groups: self.groups,
        }
    }
}

impl EvoNorm {
    /// Activates and normalises, scales and shifts.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let vector = |param: &Param<Tensor<1>>| param.val().reshape([1, -1, 1, 1]);
        // In 32 bits whatever the activations are in, as the other normalisations.
        let dtype = input.dtype();
        let mut x = input.cast(FloatDType::F32);
        if let Some(v) = &self.v {
            let centred = x.clone() - group_means(x.clone(), self.groups);
            let variance = group_means(centred.clone() * centred, self.groups);
            let gate = sigmoid(x.clone() * vector(v));
            x = x * gate * (variance + 1e-5).sqrt().recip();
        }
        let output = (x * vector(&self.weight) + vector(&self.bias)).cast(dtype);
        trace::layer("EvoNorm2dS0", self.weight.id, &output, 0);
        output
    }
}
