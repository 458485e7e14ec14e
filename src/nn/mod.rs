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
mod attention_pool;
mod batch_norm;
mod block_spec;
mod buffer;
mod channel_attention;
mod class_attention;
mod conv;
mod conv_norm;
mod conv_stem;
mod cross_covariance;
mod cross_entropy;
mod drop;
mod evo_norm;
mod fourier_positions;
pub(crate) mod fused;
mod ghost;
mod group_norm;
mod inverted_residual;
mod layer_norm;
mod layer_scale;
mod linear;
mod mixed_conv;
mod mlp;
mod multi_query;
pub(crate) mod noise;
mod norm;
pub(crate) mod norm_sync;
mod param_builder;
mod pointwise;
mod pool;
mod position_bias;
mod precision;
pub(crate) mod rep_conv;
mod residual;
mod resize;
mod rms_norm;
mod rotary;
mod rotary_attention;
mod squeeze_excite;
mod star_relu;
mod swiglu;
mod tokens;
pub(crate) mod trace;
mod windows;

pub use attention::{
    SelfAttention, attention, attention_by_head, attention_with_bias, cosine_attention,
};
pub use attention_pool::AttentionPool;
pub use batch_norm::{BatchNorm2d, BatchNorm2dConfig};
pub use block_spec::{BlockKind, BlockSpec, divisible_by_8, nearest_divisible_by_8};
pub use buffer::Buffer;
pub(crate) use burn_zoo_cpu::StatisticsSync;
pub use burn_zoo_cpu::{Act, Epilogue};
pub use channel_attention::{
    ChannelAttention, EfficientAttention, GlobalContext, nearest_multiple_of_8,
};
pub use class_attention::ClassAttention;
pub use conv::{Conv2d, Conv2dConfig, Sides};
pub use conv_norm::{ConvLayer, ConvNorm};
pub use conv_stem::ConvStem;
pub use cross_covariance::CrossCovariance;
pub use cross_entropy::{binary_cross_entropy, cross_entropy};
pub use drop::{DropPath, Dropout, drop_path_rates};
pub use evo_norm::{EvoNorm, EvoNormConfig};
pub use fourier_positions::FourierPositions;
pub use ghost::{GhostBottleneck, GhostConfig, GhostKind};
pub use group_norm::{GroupNorm, GroupNormConfig};
pub use inverted_residual::{
    BlockStyle, Excite, InvertedResidual, MobileAttention, MobileBlock, NormKind, StridedPool,
    fan_out_normal,
};
pub use layer_norm::{LayerNorm, channels_last, from_channels_last};
pub use layer_scale::{GlobalResponseNorm, LayerScale, scaled};
pub use linear::{Linear, LinearConfig};
pub use mixed_conv::{AnyConv, MixedConv};
pub use mlp::Mlp;
pub use multi_query::MultiQueryAttention;
pub use norm::{Norm, NormConfig};
pub use param_builder::ParamBuilder;
pub(crate) use param_builder::Start;
pub use pointwise::{Pointwise, PointwiseMlp};
pub use pool::{
    adaptive_avg_pool2d, avg_pool2d, blur_pool2d, blur_pool2d_zeros, local_means, max_pool2d,
    max_pool2d_ceil, padded_avg_pool2d, upsample_nearest2d,
};
pub use position_bias::{OffsetMlp, PositionBias, log_length, log_offset};
pub use precision::Precision;
pub use rep_conv::{RepConv, RepConvConfig};
pub use residual::{Residual, ResidualConfig, ResidualKind, Shortcut};
pub use resize::{Resize, resize};
pub use rms_norm::RmsNorm;
pub use rotary::{Rotary, RotaryKind};
pub use rotary_attention::{QkvKind, RotaryAttention};
pub use squeeze_excite::SqueezeExcite;
pub use star_relu::{StarRelu, squared_relu};
pub use swiglu::{SwiGlu, SwiGluPacked};
pub use tokens::{map_of_tokens, prepend_tokens, tokens_of_map};
pub use windows::{Windows, merge_neighbours};

/// Whether a parameter path names a buffer: state that is saved with the model and never trained.
pub(crate) fn is_buffer(path: &str) -> bool {
    path.ends_with("running_mean") || path.ends_with("running_var")
}
