//! Root mean square normalisation (Zhang & Sennrich, 2019, <https://arxiv.org/abs/1910.07467>).

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};

use super::{ParamBuilder, trace};

/// `torch.nn.RMSNorm` over the last dimension: by the root of the mean square, with neither a mean nor
/// a shift.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// Scale, `[features]`.
    pub weight: Param<Tensor<1>>,
    epsilon: f64,
}

impl RmsNorm {
    /// A layer for this many features.
    pub fn new(features: usize, epsilon: f64, params: &ParamBuilder) -> Self {
        Self {
            weight: params.scale(features, 1.0),
            epsilon,
        }
    }

    /// Normalises the last dimension.
    ///
    /// # Shapes
    /// - input and output: `[.., features]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        // In 32 bits whatever the activations are in, as layer normalisation.
        let dtype = input.dtype();
        let x = input.cast(FloatDType::F32);
        let mean_square = (x.clone() * x.clone()).mean_dim(D - 1);
        let weight = self.weight.val();
        let mut shape = [1; D];
        shape[D - 1] = weight.dims()[0];
        let output = x / (mean_square + self.epsilon).sqrt() * weight.reshape(shape);
        let output = output.cast(dtype);
        trace::layer("RmsNorm", self.weight.id, &output, 0);
        output
    }
}
