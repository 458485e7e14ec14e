//! The blocks of MaxViT and CoAtNet, and how they differ between the variants.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::init::Init;
use crate::model::{KeyTable, MapLayer, PositionTable, TableLayout};
use crate::nn::{
    Act, BatchNorm2d, BatchNorm2dConfig, Conv2d, Conv2dConfig, ConvNorm, DropPath, Dropout,
    Epilogue, LayerNorm, LinearConfig, Norm, OffsetMlp, ParamBuilder, Pointwise, PointwiseMlp,
    PositionBias, SqueezeExcite, Windows, attention_by_head, attention_with_bias, avg_pool2d,
    fan_out_normal,
};

/// Features of a head.
const HEAD: usize = 32;
const XAVIER: Init = Init::xavier_uniform();
/// Of the biases of MLPs.
const TINY: Init = Init::normal(1e-6);

/// How the variants differ beside their sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Whether every block is that of a MaxViT; else the stages are those of a CoAtNet.
    pub(super) is_max: bool,
    /// Whether it is as the authors of MaxViT have it, in TensorFlow.
    pub(super) is_tf: bool,
    /// Whether inverted residuals end with a bias.
    pub(super) output_bias: bool,
    /// Whether they make a map half the size by a pooling, and not by the stride of a convolution.
    pub(super) pools: bool,
    /// Whether they begin with an activation, and have the squeeze-excite before one.
    pub(super) is_early: bool,
    /// Channels of the squeeze-excite, as a part of those within a block; with `is_tf` of its width.
    pub(super) se: f64,
    /// Features of the network that computes the biases of attention; else there is a table.
    pub(super) rmlp: Option<usize>,
    /// Whether normalisations around attention are batch normalisations, too.
    pub(super) batch_norm: bool,
}

pub(super) const MAX: Style = Style {
    is_max: true,
    is_tf: false,
    output_bias: false,
    pools: false,
    is_early: false,
    se: 1.0 / 16.0,
    rmlp: None,
    batch_norm: false,
};
pub(super) const TF: Style = Style {
    is_tf: true,
    output_bias: true,
    se: 0.25,
    ..MAX
};
pub(super) const COAT: Style = Style {
    is_max: false,
    output_bias: true,
    pools: true,
    se: 0.25,
    ..MAX
};
pub(super) const COAT_0: Style = Style {
    output_bias: false,
    is_early: true,
    ..COAT
};

impl Style {
    pub(super) fn rmlp(self, hidden: usize) -> Self {
        let rmlp = Some(hidden);
        Self { rmlp, ..self }
    }

    /// The activation of inverted residuals.
    pub(super) fn conv_act(&self) -> Act {
        if self.is_tf { Act::GeluTanh } else { Act::Silu }
    }

    fn mlp_act(&self) -> Act {
        if self.is_tf { Act::GeluTanh } else { Act::Gelu }
    }

    /// A convolution of an inverted residual.
    pub(super) fn conv(
        &self,
        from: usize,
        to: usize,
        kernel: usize,
        groups: usize,
    ) -> Conv2dConfig {
        let conv = Conv2dConfig::new(from, to, kernel).groups(groups);
        let conv = conv.weights(fan_out_normal(kernel * kernel * to / groups));
        if self.is_tf {
            conv.same()
        } else {
            conv.padding(kernel / 2)
        }
    }

    pub(super) fn conv_norm(&self, channels: usize) -> BatchNorm2dConfig {
        BatchNorm2dConfig::new(channels).epsilon(if self.is_tf { 1e-3 } else { 1e-5 })
    }

    /// A normalisation around attention.
    pub(super) fn norm(&self, width: usize, params: &ParamBuilder) -> Norm {
        let epsilon = if self.is_tf { 1e-5 } else { 1e-6 };
        if self.batch_norm {
            let norm = BatchNorm2dConfig::new(width).epsilon(epsilon);
            Norm::Batch(norm.init(params))
        } else {
            Norm::Layer(LayerNorm::new(width, epsilon, params))
        }
    }

    fn position_bias(
        &self,
        windows: &Windows,
        heads: usize,
        params: &ParamBuilder,
    ) -> PositionBias {
        let linear = |from, to| LinearConfig::new(from, to).weights(XAVIER).biases(TINY);
        match self.rmlp {
            Some(hidden) => PositionBias::Mlp(OffsetMlp {
                fc1: linear(2, hidden).init(params),
                dropout: Dropout::new(0.125),
                fc2: linear(hidden, heads).init(params),
            }),
            None if self.is_tf => PositionBias::grid(windows, heads, &Init::normal(0.02), params),
            None => PositionBias::offsets(windows, heads, &Init::trunc_normal(0.02), params),
        }
    }

    /// The tables of biases at these paths, for windows of these sides, and the paths of all that
    /// decides on biases.
    pub(super) fn position_tables(
        &self,
        positions: Vec<(String, [usize; 2])>,
    ) -> (Vec<PositionTable>, Vec<String>) {
        let paths = positions.iter().map(|(path, _)| path);
        if self.rmlp.is_some() {
            let weights = |path: &String| ["fc1", "fc2"].map(|fc| format!("{path}.{fc}.weight"));
            return (Vec::new(), paths.flat_map(weights).collect());
        }
        let layout = if self.is_tf {
            TableLayout::Grid
        } else {
            TableLayout::Offsets
        };
        let paths = paths.cloned().collect();
        let table = |(path, sides)| PositionTable::new(path, sides, layout);
        (positions.into_iter().map(table).collect(), paths)
    }

    /// timm's names for the parts of blocks.
    pub(super) fn name_parts(&self, table: &mut KeyTable) {
        let se = if self.is_early {
            ["se_early.fc1", "se_early.fc2"]
        } else {
            ["se.fc1", "se.fc2"]
        };
        for (ours, theirs) in [
            ("stage*.*", "stages.*-1.blocks.*"),
            ("stage*.*.conv", "stages.*-1.blocks.*.conv"),
        ] {
            for (part, name) in [
                ("conv1", "conv1_1x1"),
                ("bn1", "norm1"),
                ("conv2", "conv2_kxk"),
                ("bn2", "norm2"),
                ("conv3", "conv3_1x1"),
                ("se.reduce", se[0]),
                ("se.expand", se[1]),
            ] {
                table.push(&format!("{ours}.{part}"), &format!("{theirs}.{name}"));
            }
        }
        let rel_pos = match self.rmlp {
            Some(_) => "attn.rel_pos.mlp",
            None => "attn.rel_pos.relative_position_bias_table",
        };
        for part in ["", ".attn_block", ".attn_grid"] {
            let ours = format!("stage*.*{part}.attn.rel_pos");
            table.push(&ours, &format!("stages.*-1.blocks.*{part}.{rel_pos}"));
        }
        table.push("stage*.*", "stages.*-1.blocks.*");
    }
}

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
