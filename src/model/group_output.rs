//! The output of a model's groups.

use burn::tensor::{Tensor, TensorData};

use super::features::Features;

/// The output of a model's first groups, which the next group or the last layer gets.
#[derive(Debug, Clone)]
pub(crate) enum GroupOutput {
    /// Not of all groups; of none, the images.
    Features(Features),
    /// Of all but the head, `[batch, num_features]`.
    Vector(Tensor<2>),
}

impl GroupOutput {
    /// Applies the same to the tensor, whatever its rank.
    pub fn map(self, function: &impl TensorFn) -> Self {
        match self {
            Self::Features(Features::Map(x)) => Self::Features(Features::Map(function.apply(x))),
            Self::Features(Features::Tokens(x)) => {
                Self::Features(Features::Tokens(function.apply(x)))
            }
            Self::Vector(x) => Self::Vector(function.apply(x)),
        }
    }

    /// The shape, batch first.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Features(features) => features.dims(),
            Self::Vector(x) => x.dims().to_vec(),
        }
    }

    /// The values in row-major order.
    pub fn into_data(self) -> TensorData {
        match self {
            Self::Features(Features::Map(x)) => x.into_data(),
            Self::Features(Features::Tokens(x)) => x.into_data(),
            Self::Vector(x) => x.into_data(),
        }
    }
}

/// A function of tensors of any rank.
pub(crate) trait TensorFn {
    fn apply<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D>;
}
