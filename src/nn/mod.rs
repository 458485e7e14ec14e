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
mod channel_attention;
mod conv;
mod conv_norm;
mod cross_entropy;
mod drop;
pub(crate) mod fused;
mod group_norm;
mod inverted_residual;
mod layer_norm;
mod layer_scale;
mod linear;
mod mlp;
pub(crate) mod noise;
mod param_builder;
mod pointwise;
mod pool;
mod position_bias;
mod precision;
pub(crate) mod rep_conv;
mod residual;
mod resize;
mod squeeze_excite;
pub(crate) mod trace;
mod windows;

pub use attention::{
    SelfAttention, attention, attention_by_head, attention_with_bias, cosine_attention,
};
pub use batch_norm::{BatchNorm2d, BatchNorm2dConfig};
pub use buffer::Buffer;
pub use burn_zoo_cpu::{Act, Epilogue};
pub use channel_attention::{
    ChannelAttention, EfficientAttention, GlobalContext, nearest_multiple_of_8,
};
pub use conv::{Conv2d, Conv2dConfig, Sides};
pub use conv_norm::ConvNorm;
pub use cross_entropy::cross_entropy;
pub use drop::{DropPath, Dropout, drop_path_rates};
pub use group_norm::{GroupNorm, GroupNormConfig, Norm, NormConfig};
pub use inverted_residual::{
    BlockKind, BlockSpec, BlockStyle, InvertedResidual, divisible_by_8, fan_out_normal,
};
pub use layer_norm::{LayerNorm, channels_last, from_channels_last};
pub use layer_scale::{GlobalResponseNorm, LayerScale};
pub use linear::{Linear, LinearConfig};
pub use mlp::Mlp;
pub use param_builder::ParamBuilder;
pub(crate) use param_builder::Start;
pub use pointwise::Pointwise;
pub use pool::{
    adaptive_avg_pool2d, avg_pool2d, blur_pool2d, max_pool2d, padded_avg_pool2d, upsample_nearest2d,
};
pub use position_bias::{OffsetMlp, PositionBias, log_length, log_offset};
pub use precision::Precision;
pub use rep_conv::{RepConv, RepConvConfig};
pub use residual::{Residual, ResidualConfig, ResidualKind, Shortcut};
pub use resize::{Resize, resize};
pub use squeeze_excite::SqueezeExcite;
pub use windows::{Windows, merge_neighbours};

/// Whether a parameter path names a buffer: state that is saved with the model and never trained.
pub(crate) fn is_buffer(path: &str) -> bool {
    path.ends_with("running_mean") || path.ends_with("running_var")
}
