//! What lies between two groups of a model.

use burn::tensor::{Tensor, TensorData};

use super::features::Features;

/// What lies between two groups of a model, or between its backbone and its last layer.
#[derive(Debug, Clone)]
pub(crate) enum Between {
    Features(Features),
    /// `[batch, num_features]`
    Pooled(Tensor<2>),
}

impl Between {
    /// Applies the same to the tensor, whatever its rank.
    pub fn map(self, map: &impl Map) -> Self {
        match self {
            Between::Features(Features::Map(x)) => Between::Features(Features::Map(map.map(x))),
            Between::Features(Features::Tokens(x)) => {
                Between::Features(Features::Tokens(map.map(x)))
            }
            Between::Pooled(x) => Between::Pooled(map.map(x)),
        }
    }

    /// The shape, batch first.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Between::Features(features) => features.dims(),
            Between::Pooled(x) => x.dims().to_vec(),
        }
    }

    /// The values in row-major order.
    pub fn into_data(self) -> TensorData {
        match self {
            Between::Features(Features::Map(x)) => x.into_data(),
            Between::Features(Features::Tokens(x)) => x.into_data(),
            Between::Pooled(x) => x.into_data(),
        }
    }
}

/// A function of tensors of any rank.
pub(crate) trait Map {
    fn map<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D>;
}
