//! Layer normalisation (Ba et al., 2016, <https://arxiv.org/abs/1607.06450>).

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor, module};

use super::{ParamBuilder, trace};

/// `torch.nn.LayerNorm` over the last dimension.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale, `[features]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[features]`.
    pub bias: Option<Param<Tensor<1>>>,
    epsilon: f64,
}

impl LayerNorm {
    /// A layer for this many features.
    pub fn new(features: usize, epsilon: f64, params: &ParamBuilder) -> Self {
        Self {
            weight: params.scale(features, 1.0),
            bias: Some(params.constant([features], 0.0)),
            epsilon,
        }
    }

    /// Takes the shift away.
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self
    }

    /// The same with a scale that starts at 0, so that a residual branch that ends here begins as
    /// nothing.
    pub fn zero_init(features: usize, epsilon: f64, params: &ParamBuilder) -> Self {
        Self {
            weight: params.scale(features, 0.0),
            ..Self::new(features, epsilon, params)
        }
    }

    /// Normalises the last dimension.
    ///
    /// # Shapes
    /// - input and output: `[.., features]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let weight = self.weight.val();
        let bias = match &self.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros(weight.dims(), &weight.device()),
        };
        let norm = burn_zoo_cpu::LayerNorm {
            weight: &weight,
            bias: &bias,
            epsilon: self.epsilon,
        };
        if !trace::active()
            && let Some(output) = burn_zoo_cpu::layer_norm(&input, norm)
        {
            return output;
        }
        // In 32 bits whatever the activations are in, as in PyTorch's autocast.
        let dtype = input.dtype();
        let output = module::layer_norm(
            input.cast(FloatDType::F32),
            weight,
            Some(bias),
            self.epsilon,
        )
        .cast(dtype);
        trace::layer("LayerNorm", self.weight.id, &output, 0);
        output
    }

    /// Normalises the channels of a map at each position: timm's `LayerNorm2d`.
    ///
    /// # Shapes
    /// - input and output: `[batch, features, height, width]`
    pub fn forward_map(&self, input: Tensor<4>) -> Tensor<4> {
        let output = from_channels_last(self.forward(channels_last(input)));
        trace::shape_of_last(&output);
        output
    }
}

/// A map with its channels last, as affine layers and layer normalisation take it. It is a view, in
/// the order in which the operations on a CPU keep maps.
///
/// # Shapes
/// - input: `[batch, channels, height, width]`
/// - output: `[height, width, batch, channels]`
pub fn channels_last(map: Tensor<4>) -> Tensor<4> {
    map.permute([2, 3, 0, 1])
}

/// The map whose channels [`channels_last`] put last.
///
/// # Shapes
/// - input: `[height, width, batch, channels]`
/// - output: `[batch, channels, height, width]`
pub fn from_channels_last(map: Tensor<4>) -> Tensor<4> {
    map.permute([2, 3, 0, 1])
}
