//! Root mean square normalisation (Zhang & Sennrich, 2019, <https://arxiv.org/abs/1910.07467>).

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};

use super::{ParamBuilder, channels_last, from_channels_last, trace};

/// `torch.nn.RMSNorm` over the last dimension: by the root of the mean square, with neither a mean nor
/// a shift.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// Scale, `[features]`.
    pub weight: Param<Tensor<1>>,
    epsilon: f64,
    by_variance: bool,
}

impl RmsNorm {
    /// A layer for this many features.
    pub fn new(features: usize, epsilon: f64, params: &ParamBuilder) -> Self {
        Self {
            weight: params.scale(features, 1.0),
            epsilon,
            by_variance: false,
        }
    }

    /// Takes the unbiased variance for the mean square, without taking the mean away from what is
    /// scaled: timm's `SimpleNorm`.
    pub fn by_variance(mut self) -> Self {
        self.by_variance = true;
        self
    }

    /// Normalises the last dimension.
    ///
    /// # Shapes
    /// - input and output: `[.., features]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        // In 32 bits whatever the activations are in, as layer normalisation.
        let dtype = input.dtype();
        let x = input.cast(FloatDType::F32);
        let mean_square = if self.by_variance {
            x.clone().var(D - 1)
        } else {
            (x.clone() * x.clone()).mean_dim(D - 1)
        };
        let weight = self.weight.val();
        let mut shape = [1; D];
        shape[D - 1] = weight.dims()[0];
        let output = x / (mean_square + self.epsilon).sqrt() * weight.reshape(shape);
        let output = output.cast(dtype);
        trace::layer("RmsNorm", self.weight.id, &output, 0);
        output
    }

    /// Normalises the channels of a map at each position: timm's `RmsNorm2d`.
    ///
    /// # Shapes
    /// - input and output: `[batch, features, height, width]`
    pub fn forward_map(&self, input: Tensor<4>) -> Tensor<4> {
        let output = from_channels_last(self.forward(channels_last(input)));
        trace::shape_of_last(&output);
        output
    }
}
