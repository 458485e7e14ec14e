//! A tensor's values in host memory.

use crate::error::{Error, Result};

/// A tensor in host memory, row-major, in PyTorch's layout.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// The values; as many as the product of the shape.
    pub data: Vec<f32>,
}

/// The f32 values of a tensor's data.
pub(crate) fn host_vec(data: burn::tensor::TensorData) -> Result<Vec<f32>> {
    data.convert::<f32>()
        .try_into_vec::<f32>()
        .map_err(|error| Error::Device {
            device: "of the model".to_owned(),
            reason: format!("its values cannot be read as f32: {error}"),
        })
}
