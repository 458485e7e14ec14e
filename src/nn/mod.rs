//! Layers that several families share, with PyTorch's names, layouts and arithmetic.
//!
//! Three things differ from burn's own layers, each for a reason:
//!
//! * every weight keeps PyTorch's layout (`Linear` is `[out, in]`) and PyTorch's field names, so
//!   that a state dict is a plain walk over the module;
//! * parameters start as lazy zeros. Values always come from a weights file or from
//!   [`crate::init`], on the host, and are therefore the same on every device;
//! * [`BatchNorm2d`] keeps its running statistics like PyTorch: the variance is the unbiased one,
//!   and a clone of a model does not share them with the original.

mod attention;
mod batch_norm;
mod buffer;
mod conv;
mod cross_entropy;
mod drop;
pub(crate) mod fused;
mod layer_norm;
mod linear;
pub(crate) mod noise;
mod parameter;
mod pool;
mod precision;
pub(crate) mod trace;

use burn::tensor::Tensor;

pub use attention::attention;
pub use batch_norm::{BatchNorm2d, conv_norm};
pub use buffer::Buffer;
pub use conv::{Conv2d, Conv2dConfig};
pub use cross_entropy::cross_entropy;
pub(crate) use drop::drop_path_rates;
pub use drop::{DropPath, Dropout};
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use parameter::parameter;
pub use pool::{avg_pool2d, max_pool2d};
pub use precision::Precision;

/// The input of a block whose two branches come together again, once for each of them. The block's
/// output has to depend on both.
///
/// # Shapes
/// - input and outputs: any, such as `[batch, channels, height, width]`
pub fn fork<const D: usize>(input: Tensor<D>) -> [Tensor<D>; 2] {
    burn_zoo_cpu::fork(input)
}

/// Whether a parameter path names a buffer: state that is saved with the model and never trained.
pub(crate) fn is_buffer(path: &str) -> bool {
    path.ends_with("running_mean") || path.ends_with("running_var")
}
