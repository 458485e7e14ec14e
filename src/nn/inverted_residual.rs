//! The blocks of the MobileNets and their kin.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{
    Act, AnyConv, BatchNorm2dConfig, BlockKind, BlockSpec, ChannelAttention, Conv2dConfig,
    DropPath, Epilogue, EvoNormConfig, GlobalContext, GroupNormConfig, LayerScale,
    MultiQueryAttention, Norm, NormConfig, ParamBuilder, SqueezeExcite, blur_pool2d_zeros,
    divisible_by_8, padded_avg_pool2d,
};
use crate::init::Init;

/// How timm initialises the convolutions of these networks: N(0, 2 / fan_out), the fan that of one
/// group.
pub fn fan_out_normal(fan_out: usize) -> Init {
    Init::normal((2.0 / fan_out as f64).sqrt())
}

/// What the blocks of a network have in common.
#[derive(Debug, Clone, Copy)]
pub struct BlockStyle {
    /// The activation.
    pub act: Act,
    /// What weighs the channels, in the blocks that say so.
    pub excite: Excite,
    /// What normalises.
    pub norm: NormKind,
    /// Whether convolutions pad as TensorFlow does.
    pub is_same: bool,
    /// What strides in place of the convolutions, behind them.
    pub pool: Option<StridedPool>,
    /// What the factors at the end of blocks that have such start with; there are none without it.
    pub layer_scale: Option<f32>,
}

impl BlockStyle {
    /// The normalisation of so many channels.
    pub fn norm(&self, channels: usize) -> NormConfig {
        match self.norm {
            NormKind::Batch { epsilon } => BatchNorm2dConfig::new(channels).epsilon(epsilon).into(),
            NormKind::Group(of_group) => GroupNormConfig::new(channels, channels / of_group).into(),
            NormKind::Layer => NormConfig::Layer {
                channels,
                is_zero: false,
            },
            NormKind::Evo(of_group) => {
                NormConfig::Evo(EvoNormConfig::new(channels, channels / of_group))
            }
        }
    }
}

/// What normalises in all blocks of a network.
#[derive(Debug, Clone, Copy)]
pub enum NormKind {
    /// Batch normalisation.
    Batch {
        /// What is added to the variance.
        epsilon: f64,
    },
    /// Group normalisation, with so many channels in a group.
    Group(usize),
    /// Layer normalisation.
    Layer,
    /// Evolved normalisation, with so many channels in a group.
    Evo(usize),
}

/// What weighs the channels within a block.
#[derive(Debug, Clone, Copy)]
pub enum Excite {
    /// A squeeze-excite.
    Squeeze {
        /// The activation between its layers, if it is not the block's.
        act: Option<Act>,
        /// The activation at its end.
        gate: Act,
        /// Whether its channels are a part of those within the block, or of the block's input.
        of_inner: bool,
        /// How their number is rounded.
        round: fn(f64) -> usize,
    },
    /// A global context, whose channels are a part of those of the block's input.
    Context,
}

impl Excite {
    /// EfficientNet's.
    pub const EFFICIENT: Self = Self::Squeeze {
        act: None,
        gate: Act::Sigmoid,
        of_inner: false,
        round: |channels| channels.round_ties_even() as usize,
    };
}

/// A pooling of stride 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StridedPool {
    /// The mean of 2x2.
    Average,
    /// See [`blur_pool2d_zeros`].
    Blur,
}

impl StridedPool {
    fn forward(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Average => padded_avg_pool2d(x, 2, 2, 0),
            Self::Blur => blur_pool2d_zeros(x),
        }
    }
}

/// A block of a MobileNet or one of its kin.
#[derive(Module, Debug)]
pub enum MobileBlock {
    /// Convolutions.
    Convs(InvertedResidual),
    /// Attention.
    Attention(MobileAttention),
}

impl MobileBlock {
    /// A block from so many channels, which starts with this stride.
    pub fn new(
        spec: &BlockSpec,
        style: &BlockStyle,
        from: usize,
        stride: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Self {
        if spec.kind == BlockKind::Attention {
            Self::Attention(MobileAttention::new(spec, style, from, drop_path, params))
        } else {
            let block = InvertedResidual::new(spec, style, from, stride, drop_path, params);
            Self::Convs(block)
        }
    }

    /// The names of a block's parts in timm's files, ours first, where they are others.
    pub fn names(kind: BlockKind) -> impl Iterator<Item = (&'static str, &'static str)> {
        let own: &'static [(&'static str, &'static str)] = match kind {
            BlockKind::Separable => &[("bn_dw", "bn1"), ("conv_pwl", "conv_pw"), ("bn_pwl", "bn2")],
            BlockKind::Inverted => &[
                ("conv_pw.convs", "conv_pw"),
                ("conv_pw.norm", "bn1"),
                ("bn_pw", "bn1"),
                ("conv_dw.convs", "conv_dw"),
                ("conv_dw.norm", "bn2"),
                ("bn_dw", "bn2"),
                ("conv_pwl.convs", "conv_pwl"),
                ("conv_pwl.norm", "bn3"),
                ("bn_pwl", "bn3"),
            ],
            BlockKind::Edge => &[("conv_pw", "conv_exp"), ("bn_pw", "bn1"), ("bn_pwl", "bn2")],
            BlockKind::Conv => &[("conv_pw", "conv"), ("bn_pw", "bn1")],
            BlockKind::Universal => &[
                ("conv_start", "dw_start.conv"),
                ("bn_start", "dw_start.bn"),
                ("conv_pw", "pw_exp.conv"),
                ("bn_pw", "pw_exp.bn"),
                ("conv_dw", "dw_mid.conv"),
                ("bn_dw", "dw_mid.bn"),
                ("conv_pwl", "pw_proj.conv"),
                ("bn_pwl", "pw_proj.bn"),
            ],
            BlockKind::Attention => &[
                ("attn.query", "attn.query.proj"),
                ("attn.key.conv_down", "attn.key.down_conv"),
                ("attn.key.bn_down", "attn.key.norm"),
                ("attn.value.conv_down", "attn.value.down_conv"),
                ("attn.value.bn_down", "attn.value.norm"),
                ("attn.output", "attn.output.proj"),
            ],
        };
        let shared = [
            ("se.reduce", "se.conv_reduce"),
            ("se.expand", "se.conv_expand"),
            ("se.attend", "se.conv_attn"),
            ("se.fc1", "se.mlp_scale.fc1"),
            ("se.norm", "se.mlp_scale.norm"),
            ("se.fc2", "se.mlp_scale.fc2"),
            ("scale", "layer_scale"),
        ];
        own.iter().copied().chain(shared)
    }

    /// The block.
    ///
    /// # Shapes
    /// - input: `[batch, in_channels, height, width]`
    /// - output: `[batch, out_channels, height / stride, width / stride]`, rounded up but behind an
    ///   average pooling
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Convs(block) => block.forward(x),
            Self::Attention(block) => block.forward(x),
        }
    }
}

/// Convolutions that widen, look around and narrow again; what a kind of block lacks is `None`.
#[derive(Module, Debug)]
pub struct InvertedResidual {
    conv_start: Option<AnyConv>,
    conv_pw: Option<AnyConv>,
    conv_dw: Option<AnyConv>,
    #[module(skip)]
    pool: Option<StridedPool>,
    se: Option<ChannelAttention>,
    conv_pwl: Option<AnyConv>,
    scale: Option<LayerScale>,
    ends_active: bool,
    /// Of the branch beside the shortcut, if there is one.
    drop_path: Option<DropPath>,
}

impl InvertedResidual {
    fn new(
        spec: &BlockSpec,
        style: &BlockStyle,
        from: usize,
        stride: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Self {
        let (kind, to) = (spec.kind, spec.channels);
        let act = spec.act.unwrap_or(style.act);
        let inner = match kind {
            BlockKind::Separable => from,
            _ => divisible_by_8(spec.expanded.unwrap_or(from) as f64 * spec.expansion),
        };
        let pool = style.pool.filter(|_| stride > 1);
        let conv_stride = if pool.is_some() { 1 } else { stride };
        let dense = |sides: &[usize], channels: [usize; 2], stride: usize, act| {
            let conv = |[from, to]: [usize; 2], side: usize| {
                let fan_out = side * side * to;
                conv(from, to, side, style)
                    .stride(stride)
                    .weights(fan_out_normal(fan_out))
            };
            AnyConv::new(sides, channels, conv, style.norm(channels[1]), act, params)
        };
        let depthwise = |sides: &[usize], channels: usize, stride: usize, act| {
            let conv = |[from, to]: [usize; 2], side: usize| {
                let conv = conv(from, to, side, style).depthwise();
                conv.stride(stride).weights(fan_out_normal(side * side))
            };
            AnyConv::new(
                sides,
                [channels; 2],
                conv,
                style.norm(channels),
                act,
                params,
            )
        };
        let conv_start = match (kind, &spec.first_kernels[..]) {
            (BlockKind::Universal, sides @ [_, ..]) => Some(depthwise(sides, from, 1, Act::None)),
            _ => None,
        };
        let conv_pw = match kind {
            BlockKind::Separable => None,
            BlockKind::Edge => Some(dense(&spec.kernels, [from, inner], conv_stride, act)),
            BlockKind::Conv => Some(dense(&spec.kernels, [from, to], conv_stride, act)),
            BlockKind::Universal => Some(dense(&[1], [from, inner], 1, act)),
            _ => Some(dense(&spec.first_kernels, [from, inner], 1, act)),
        };
        let has_depthwise =
            !matches!(kind, BlockKind::Edge | BlockKind::Conv) && !spec.kernels.is_empty();
        let last_act = if spec.ends_active { act } else { Act::None };
        let last = || dense(&spec.last_kernels, [inner, to], 1, last_act);
        Self {
            conv_start,
            conv_pw,
            conv_dw: has_depthwise.then(|| depthwise(&spec.kernels, inner, conv_stride, act)),
            pool,
            se: spec.se.map(|part| excite(spec, style, part, inner, params)),
            conv_pwl: (kind != BlockKind::Conv).then(last),
            scale: style
                .layer_scale
                .filter(|_| kind == BlockKind::Universal)
                .map(|start| LayerScale::new(to, start, params)),
            ends_active: spec.ends_active,
            drop_path: (spec.has_shortcut && stride == 1 && from == to)
                .then(|| DropPath::new(drop_path)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let branch = |x, end: Epilogue<'_, 4>| self.branch(x, end);
        match &self.drop_path {
            Some(drop_path) => drop_path.residual(x, Act::None, |x| x, branch),
            None => branch(x, Epilogue::default()),
        }
    }

    fn branch(&self, x: Tensor<4>, end: Epilogue<'_, 4>) -> Tensor<4> {
        let convs = [&self.conv_start, &self.conv_pw, &self.conv_dw];
        let x = convs
            .into_iter()
            .flatten()
            .fold(x, |x, conv| conv.forward(x));
        let x = self.pool.iter().fold(x, |x, pool| pool.forward(x));
        let x = match &self.se {
            Some(se) => se.forward(x),
            None => x,
        };
        match (&self.conv_pwl, &self.scale) {
            (None, _) => end.apply(x),
            (Some(conv), Some(scale)) => end.apply(scale.forward_map(conv.forward(x))),
            (Some(conv), None) if self.ends_active => end.apply(conv.forward(x)),
            (Some(conv), None) => conv.forward_with(x, end),
        }
    }
}

/// A convolution that keeps the size at stride 1.
fn conv(from: usize, to: usize, side: usize, style: &BlockStyle) -> Conv2dConfig {
    let conv = Conv2dConfig::new(from, to, side);
    if style.is_same {
        conv.same()
    } else {
        conv.padding(side / 2)
    }
}

/// What weighs so many channels within a block, `part` of which, or of the block's input, are its own.
fn excite(
    spec: &BlockSpec,
    style: &BlockStyle,
    part: f64,
    inner: usize,
    params: &ParamBuilder,
) -> ChannelAttention {
    let block_act = spec.act.unwrap_or(style.act);
    // The depthwise-separable block does not widen, whatever it says.
    let expansion = match spec.kind {
        BlockKind::Separable => 1.0,
        _ => spec.expansion,
    };
    let of_input = inner as f64 * (part / expansion);
    match style.excite {
        Excite::Squeeze {
            act,
            gate,
            of_inner,
            round,
        } => {
            let hidden = if of_inner {
                inner as f64 * part
            } else {
                of_input
            };
            let acts = [act.unwrap_or(block_act), gate];
            let layer = SqueezeExcite::new(inner, round(hidden), acts, fan_out_normal, params);
            ChannelAttention::Squeeze(layer)
        }
        Excite::Context => {
            let hidden = ((of_input + 0.5) as usize).max(1);
            let layer = GlobalContext::weighing(inner, hidden, block_act, fan_out_normal, params);
            ChannelAttention::Context(layer)
        }
    }
}

/// Attention over a normalised map, scaled and added to it: timm's `MobileAttention`.
#[derive(Module, Debug)]
pub struct MobileAttention {
    norm: Norm,
    attn: MultiQueryAttention,
    scale: Option<LayerScale>,
    /// Of the branch beside the shortcut, if there is one.
    drop_path: Option<DropPath>,
}

impl MobileAttention {
    fn new(
        spec: &BlockSpec,
        style: &BlockStyle,
        from: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Self {
        let to = spec.channels;
        let down = (spec.key_stride > 1).then(|| {
            let side = spec.kernels.first().copied().unwrap_or(1);
            let conv = conv(from, from, side, style).depthwise();
            (conv.stride(spec.key_stride), style.norm(from))
        });
        let scale = style.layer_scale;
        Self {
            norm: style.norm(from).init(params),
            attn: MultiQueryAttention::new(
                [from, to],
                spec.heads,
                spec.head_features,
                down,
                params,
            ),
            scale: scale.map(|start| LayerScale::new(to, start, params)),
            drop_path: (spec.has_shortcut && from == to).then(|| DropPath::new(drop_path)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let branch = |x, end: Epilogue<'_, 4>| {
            let x = self
                .attn
                .forward(self.norm.forward_with(x, Epilogue::default()));
            let x = self.scale.iter().fold(x, |x, scale| scale.forward_map(x));
            end.apply(x)
        };
        match &self.drop_path {
            Some(drop_path) => drop_path.residual(x, Act::None, |x| x, branch),
            None => branch(x, Epilogue::default()),
        }
    }
}
