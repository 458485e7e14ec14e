//! Convolutions of several kernels, each on its part of the channels.

use burn::module::Module;
use burn::tensor::Tensor;
use burn_zoo_cpu::{Act, Epilogue};

use super::{Conv2d, Conv2dConfig, ConvNorm, Norm, NormConfig, ParamBuilder};

/// A convolution whose kernels have several sides, each for an equal part of the channels (Tan & Le,
/// "MixConv: Mixed Depthwise Convolutional Kernels", 2019, <https://arxiv.org/abs/1907.09595>), the
/// normalisation behind it, and an activation.
#[derive(Module, Debug)]
pub struct MixedConv {
    convs: Vec<Conv2d>,
    norm: Norm,
    #[module(skip)]
    act: Act,
    /// Channels of the input that each convolution sees.
    #[module(skip)]
    parts: Vec<usize>,
}

impl MixedConv {
    /// A convolution for each of some sides, made by `conv` from its channels and its side.
    pub fn new(
        sides: &[usize],
        [from, to]: [usize; 2],
        conv: impl Fn([usize; 2], usize) -> Conv2dConfig,
        norm: NormConfig,
        act: Act,
        params: &ParamBuilder,
    ) -> Self {
        // What is left over is the first one's.
        let part = |channels: usize, index: usize| {
            let rest = if index == 0 {
                channels % sides.len()
            } else {
                0
            };
            channels / sides.len() + rest
        };
        let conv = |(index, &side)| conv([part(from, index), part(to, index)], side).init(params);
        Self {
            convs: sides.iter().enumerate().map(conv).collect(),
            norm: norm.init(params),
            act,
            parts: (0..sides.len()).map(|index| part(from, index)).collect(),
        }
    }

    /// Convolves, normalises, and ends with this in place of the activation.
    ///
    /// # Shapes
    /// - input: `[batch, in_channels, height, width]`
    /// - output and residual: `[batch, out_channels, height', width']`
    pub fn forward_with(&self, input: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        let mut start = 0;
        let mut outputs = Vec::with_capacity(self.convs.len());
        for (conv, &length) in self.convs.iter().zip(&self.parts) {
            outputs.push(conv.forward(input.clone().narrow(1, start, length)));
            start += length;
        }
        self.norm.forward_with(Tensor::cat(outputs, 1), epilogue)
    }
}

/// A convolution with a normalisation and an activation, of kernels of one side or of several.
#[derive(Module, Debug)]
pub enum AnyConv {
    /// Of one side.
    One(ConvNorm),
    /// Of several.
    Mixed(MixedConv),
}

impl AnyConv {
    /// A convolution for each of some sides, made by `conv` from its channels and its side.
    pub fn new(
        sides: &[usize],
        channels: [usize; 2],
        conv: impl Fn([usize; 2], usize) -> Conv2dConfig,
        norm: NormConfig,
        act: Act,
        params: &ParamBuilder,
    ) -> Self {
        match sides {
            &[side] => Self::One(ConvNorm::with_norm(conv(channels, side), norm, act, params)),
            _ => Self::Mixed(MixedConv::new(sides, channels, conv, norm, act, params)),
        }
    }

    /// Convolves, normalises and activates.
    ///
    /// # Shapes
    /// - input: `[batch, in_channels, height, width]`
    /// - output: `[batch, out_channels, height', width']`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match self {
            Self::One(conv) => conv.forward(input),
            Self::Mixed(conv) => conv.forward_with(input, Epilogue::act(conv.act)),
        }
    }

    /// Convolves, normalises, and ends with this in place of the activation.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); the residual is of the output's shape.
    pub fn forward_with(&self, input: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        match self {
            Self::One(conv) => conv.forward_with(input, epilogue),
            Self::Mixed(conv) => conv.forward_with(input, epilogue),
        }
    }
}
