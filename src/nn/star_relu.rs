//! Squares of ReLU.

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{FloatDType, Tensor};

use super::ParamBuilder;

/// The square of ReLU, times a number, plus a number, both learnt (Yu et al., "MetaFormer Baselines for
/// Vision", 2022, <https://arxiv.org/abs/2210.13452>).
#[derive(Module, Debug)]
pub struct StarRelu {
    scale: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

impl StarRelu {
    /// Starts as the square of ReLU.
    pub fn new(params: &ParamBuilder) -> Self {
        Self {
            scale: params.constant([1], 1.0),
            bias: params.constant([1], 0.0),
        }
    }

    /// Activates a map.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [scale, bias] = [&self.scale, &self.bias].map(|it| it.val().unsqueeze::<4>());
        squared_relu(x, |squares| squares * scale + bias)
    }
}

/// The square of ReLU, and what follows, in 32 bits: squares do not fit into 16.
///
/// # Shapes
/// - input and output: any, the same
pub fn squared_relu<const D: usize>(
    x: Tensor<D>,
    then: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    let dtype = x.dtype();
    then(relu(x.cast(FloatDType::F32)).square()).cast(dtype)
}
