//! Parameters that take no memory before their values come.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor};

/// A trainable parameter of this shape that holds zeros once somebody looks at it.
///
/// It is lazy so that a model whose values come from a file never allocates the zeros.
pub fn parameter<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::uninitialized(
        ParamId::new(),
        move |device: &Device, require_grad| {
            let zeros = Tensor::zeros(shape, device);
            if require_grad {
                zeros.require_grad()
            } else {
                zeros
            }
        },
        device.clone(),
        true,
        shape.into(),
    )
}
