//! Layer normalisation (Ba et al., 2016, <https://arxiv.org/abs/1607.06450>).

use burn::module::{Module, Param};
use burn::tensor::{Device, FloatDType, Tensor, module};

use super::{parameter, trace};

/// `torch.nn.LayerNorm` over the last dimension.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale, `[features]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[features]`.
    pub bias: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    /// A layer for this many features; its parameters are lazy zeros.
    pub fn new(features: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            weight: parameter([features], device),
            bias: parameter([features], device),
            epsilon,
        }
    }

    /// Normalises the last dimension.
    ///
    /// # Shapes
    /// - input and output: `[.., features]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let norm = burn_zoo_cpu::LayerNorm {
            weight: &self.weight.val(),
            bias: &self.bias.val(),
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
            self.weight.val(),
            Some(self.bias.val()),
            self.epsilon,
        )
        .cast(dtype);
        trace::layer("LayerNorm", self.weight.id, &output, 0);
        output
    }
}
