//! The blocks of MaxViT and CoAtNet.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::init::Init;
use crate::model::MapLayer;
use crate::nn::{
    Act, BatchNorm2d, Conv2d, Conv2dConfig, ConvNorm, DropPath, Epilogue, LinearConfig, Norm,
    ParamBuilder, Pointwise, PointwiseMlp, PositionBias, SqueezeExcite, Windows, attention_by_head,
    attention_with_bias, avg_pool2d, fan_out_normal,
};

use super::style::{HEAD, Style, TINY, XAVIER};

/// The shortcut of a block that makes a map half the size.
#[derive(Module, Debug)]
struct Shortcut {
    expand: Option<Conv2d>,
}

impl Shortcut {
    fn new([from, to]: [usize; 2], expand: Conv2dConfig, params: &ParamBuilder) -> Self {
        Self {
            expand: (from != to).then(|| expand.init(params)),
        }
    }
}

impl MapLayer for Shortcut {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.expand.forward(avg_pool2d(x, 2, 2))
    }
}

/// An inverted residual with a normalisation before it and none at its end.
#[derive(Module, Debug)]
pub(super) struct MbConv {
    shortcut: Option<Shortcut>,
    pre_norm: BatchNorm2d,
    conv1: ConvNorm,
    conv2: ConvNorm,
    se: SqueezeExcite,
    /// Behind a squeeze-excite that stands before it.
    norm2: Option<BatchNorm2d>,
    conv3: Conv2d,
    drop_path: DropPath,
    #[module(skip)]
    style: Style,
}

impl MbConv {
    pub(super) fn new(
        [from, to]: [usize; 2],
        stride: usize,
        style: Style,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Self {
        let act = style.conv_act();
        let inner = 4 * if style.is_tf { to } else { from };
        let se_of = if style.is_tf { to } else { inner };
        let se_width = (style.se * se_of as f64) as usize;
        let se_act = if style.is_early { Act::Relu } else { Act::Silu };
        let se_acts = [se_act, Act::Sigmoid];
        let norm = style.conv_norm(inner);
        let dw_stride = if style.pools { 1 } else { stride };
        let conv1 = style.conv(from, inner, 1, 1);
        let conv2 = style.conv(inner, inner, 3, inner).stride(dw_stride);
        let (mut conv3, mut expand) = (style.conv(inner, to, 1, 1), style.conv(from, to, 1, 1));
        if style.output_bias {
            (conv3, expand) = (conv3.bias(), expand.bias());
        }
        Self {
            shortcut: (stride > 1).then(|| Shortcut::new([from, to], expand, params)),
            pre_norm: style.conv_norm(from).init(params),
            conv1: ConvNorm::with_norm(conv1, norm, act, params),
            conv2: if style.is_early {
                ConvNorm::without_norm(conv2, Act::None, params)
            } else {
                ConvNorm::with_norm(conv2, norm, act, params)
            },
            se: SqueezeExcite::new(inner, se_width, se_acts, fan_out_normal, params),
            norm2: style.is_early.then(|| norm.init(params)),
            conv3: conv3.init(params),
            drop_path: DropPath::new(drop_path),
            style,
        }
    }
}

impl MapLayer for MbConv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let act = Epilogue::act(self.style.conv_act());
        let shortcut = |x| self.shortcut.forward(x);
        let branch = |x, end: Epilogue<'_, 4>| {
            let mut x = if self.style.is_early {
                self.pre_norm.forward_with(x, act)
            } else {
                self.pre_norm.forward(x)
            };
            if self.style.pools && self.shortcut.is_some() {
                x = avg_pool2d(x, 2, 2);
            }
            x = self.se.forward(self.conv2.forward(self.conv1.forward(x)));
            if let Some(norm) = &self.norm2 {
                x = norm.forward_with(x, act);
            }
            self.conv3.forward_with(x, end)
        };
        self.drop_path.residual(x, Act::None, shortcut, branch)
    }
}

/// Attention and an MLP.
#[derive(Module, Debug)]
pub(super) struct Transformer {
    shortcut: Option<Shortcut>,
    norm1: Norm,
    attn: Attention,
    norm2: Norm,
    mlp: PointwiseMlp,
    drop_path: DropPath,
}

impl Transformer {
    pub(super) fn new(
        [from, to]: [usize; 2],
        stride: usize,
        windows: Windows,
        style: Style,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Self {
        // A CoAtNet says affine layers by kernels of 1x1.
        let layer = |from, to, biases: Init| {
            if style.is_max {
                let linear = LinearConfig::new(from, to).weights(XAVIER).biases(biases);
                Pointwise::Linear(linear.init(params))
            } else {
                let conv = Conv2dConfig::new(from, to, 1).weights(XAVIER);
                Pointwise::Conv(conv.bias().biases(biases).init(params))
            }
        };
        let mut expand = Conv2dConfig::new(from, to, 1).weights(XAVIER);
        if !style.is_early {
            expand = expand.bias();
        }
        Self {
            shortcut: (stride > 1).then(|| Shortcut::new([from, to], expand, params)),
            norm1: style.norm(from, params),
            attn: Attention {
                qkv: layer(from, 3 * from, Init::Zeros),
                rel_pos: style.position_bias(&windows, from / HEAD, params),
                proj: layer(from, to, Init::Zeros),
                windows,
            },
            norm2: style.norm(to, params),
            mlp: PointwiseMlp::new(
                [layer(to, 4 * to, TINY), layer(4 * to, to, TINY)],
                style.mlp_act(),
            ),
            drop_path: DropPath::new(drop_path),
        }
    }
}

impl MapLayer for Transformer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = |x| self.shortcut.forward(x);
        let attend = |x, end: Epilogue<'_, 4>| {
            let mut x = self.norm1.forward(x);
            if self.shortcut.is_some() {
                x = avg_pool2d(x, 2, 2);
            }
            self.attn.forward_with(x, end)
        };
        let x = self.drop_path.residual(x, Act::None, shortcut, attend);
        let mlp = |x, end: Epilogue<'_, 4>| self.mlp.forward_with(self.norm2.forward(x), end);
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}

/// Attention within windows, with a bias for each offset between two positions.
#[derive(Module, Debug)]
struct Attention {
    qkv: Pointwise,
    rel_pos: PositionBias,
    proj: Pointwise,
    #[module(skip)]
    windows: Windows,
}

impl Attention {
    fn forward_with(&self, x: Tensor<4>, end: Epilogue<'_, 4>) -> Tensor<4> {
        let [_, channels, height, width] = x.dims();
        let heads = channels / HEAD;
        let qkv = self.qkv.forward(x, Act::None).permute([0, 2, 3, 1]);
        let qkv = self.windows.split(qkv);
        let bias = self.rel_pos.bias(&self.windows);
        let mixed = match &self.rel_pos {
            PositionBias::Grid(_) => attention_with_bias(qkv, heads, bias),
            _ => attention_by_head(qkv, heads, bias),
        };
        let mixed = self.windows.join(mixed, [height, width]);
        self.proj.forward_with(mixed.permute([0, 3, 1, 2]), end)
    }
}
