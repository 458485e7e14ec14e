//! The blocks of the GhostNets.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{
    Act, Conv2dConfig, ConvNorm, ParamBuilder, RepConv, RepConvConfig, Resize, SqueezeExcite,
    avg_pool2d, resize,
};
use crate::init::Init;

/// How a [`GhostBottleneck`] makes more channels from few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GhostKind {
    /// A depthwise convolution makes the other half (Han et al., 2020,
    /// <https://arxiv.org/abs/1911.11907>).
    Plain,
    /// The same, and each convolution is a sum of branches (Liu et al., 2024,
    /// <https://arxiv.org/abs/2404.11202>).
    Branched,
    /// A depthwise convolution makes all, and a normalisation of what it sees is added (Chen et al.,
    /// 2022, <https://arxiv.org/abs/2211.06088>).
    Added,
}

/// What a [`GhostBottleneck`] looks like.
#[derive(Debug, Clone, Copy)]
pub struct GhostConfig {
    /// How it makes more channels from few.
    pub kind: GhostKind,
    /// A side of the kernels of the convolutions that stride.
    pub kernel: usize,
    /// Channels of the input, within, and of the output; the last two are even.
    pub channels: [usize; 3],
    /// Stride.
    pub stride: usize,
    /// Channels of the squeeze-excite.
    pub se: Option<usize>,
    /// Whether what is far away gates the channels within (Tang et al., 2022,
    /// <https://arxiv.org/abs/2211.12905>).
    pub is_gated: bool,
}

/// Two ghost modules, one that widens and one that narrows, added to the input.
#[derive(Module, Debug)]
pub struct GhostBottleneck {
    ghost1: Ghost,
    conv_dw: Option<Sum>,
    se: Option<SqueezeExcite>,
    ghost2: Ghost,
    shortcut: Option<Shortcut>,
}

impl GhostBottleneck {
    /// The names of a block's parts in timm's files, ours first.
    pub fn names(kind: GhostKind) -> Vec<(&'static str, &'static str)> {
        let mut names = vec![
            ("se.reduce", "se.conv_reduce"),
            ("se.expand", "se.conv_expand"),
            ("shortcut.conv_dw", "shortcut.0"),
            ("shortcut.bn_dw", "shortcut.1"),
            ("shortcut.conv_pw", "shortcut.2"),
            ("shortcut.bn_pw", "shortcut.3"),
            ("ghost*.gate.conv1", "ghost*.short_conv.0"),
            ("ghost*.gate.bn1", "ghost*.short_conv.1"),
            ("ghost*.gate.conv2", "ghost*.short_conv.2"),
            ("ghost*.gate.bn2", "ghost*.short_conv.3"),
            ("ghost*.gate.conv3", "ghost*.short_conv.4"),
            ("ghost*.gate.bn3", "ghost*.short_conv.5"),
        ];
        names.extend(match kind {
            GhostKind::Plain | GhostKind::Added => &[
                ("ghost*.primary", "ghost*.primary_conv.0"),
                ("ghost*.primary_bn", "ghost*.primary_conv.1"),
                ("ghost*.cheap.conv_kxk.0.conv", "ghost*.cheap_operation.0"),
                ("ghost*.cheap.conv_kxk.0.bn", "ghost*.cheap_operation.1"),
                ("ghost*.cheap.identity", "ghost*.fusion_bn.0"),
                ("ghost*.cheap", "ghost*.cheap_operation.0"),
                ("ghost*.cheap_bn", "ghost*.cheap_operation.1"),
            ][..],
            GhostKind::Branched => &[
                (
                    "ghost*.primary.conv_kxk.*.bn",
                    "ghost*.primary_rpr_conv.*.bn1",
                ),
                ("ghost*.primary.conv_kxk", "ghost*.primary_rpr_conv"),
                ("ghost*.cheap.conv_kxk.*.bn", "ghost*.cheap_rpr_conv.*.bn1"),
                ("ghost*.cheap.conv_kxk", "ghost*.cheap_rpr_conv"),
                ("ghost*.cheap.conv_scale.bn", "ghost*.cheap_rpr_scale.bn1"),
                ("ghost*.cheap.conv_scale", "ghost*.cheap_rpr_scale"),
                ("ghost*.cheap.identity", "ghost*.cheap_rpr_skip"),
                ("conv_dw.conv_kxk.*.bn", "dw_rpr_conv.*.bn1"),
                ("conv_dw.conv_kxk", "dw_rpr_conv"),
                ("conv_dw.conv_scale.bn", "dw_rpr_scale.bn1"),
                ("conv_dw.conv_scale", "dw_rpr_scale"),
            ],
        });
        names
    }

    /// Makes the block.
    pub fn new(config: &GhostConfig, params: &ParamBuilder) -> Self {
        let GhostConfig {
            kind,
            kernel,
            channels: [from, inner, to],
            stride,
            ..
        } = *config;
        let norm = |conv| ConvNorm::new(conv, Act::None, params);
        let strided = |channels| {
            let conv = Conv2dConfig::new(channels, channels, kernel).padding(kernel / 2);
            conv.stride(stride).depthwise()
        };
        let conv_dw = || match kind {
            GhostKind::Branched => {
                let conv = RepConvConfig::new(inner, inner, kernel).stride(stride);
                Sum::Branches(conv.depthwise().branches(3).init(params))
            }
            _ => Sum::One(norm(strided(inner))),
        };
        let acts = [Act::Relu, Act::HardSigmoid];
        let se = |hidden| SqueezeExcite::new(inner, hidden, acts, |_| Init::PyTorch, params);
        let shortcut = || Shortcut {
            conv_dw: norm(strided(from)),
            conv_pw: norm(Conv2dConfig::new(from, to, 1)),
        };
        let gate = || Gate::new([from, inner], params);
        Self {
            ghost1: Ghost {
                gate: config.is_gated.then(gate),
                ..Ghost::new(kind, [from, inner], Act::Relu, params)
            },
            conv_dw: (stride > 1).then(conv_dw),
            se: config.se.map(se),
            ghost2: Ghost::new(kind, [inner, to], Act::None, params),
            shortcut: (stride > 1 || from != to).then(shortcut),
        }
    }

    /// The block.
    ///
    /// # Shapes
    /// - input: `[batch, from, height, width]`, of at least two positions on a side if it is gated
    /// - output: `[batch, to, height / stride, width / stride]`, rounded up
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(Shortcut { conv_dw, conv_pw }) => conv_pw.forward(conv_dw.forward(x.clone())),
            None => x.clone(),
        };
        let mut x = self.ghost1.forward(x);
        if let Some(conv) = &self.conv_dw {
            x = conv.forward(x);
        }
        if let Some(se) = &self.se {
            x = se.forward(x);
        }
        self.ghost2.forward(x) + shortcut
    }
}

/// A convolution, or a sum of several.
#[derive(Module, Debug)]
enum Sum {
    One(ConvNorm),
    Branches(RepConv),
}

impl Sum {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::One(conv) => conv.forward(x),
            Self::Branches(conv) => conv.forward(x),
        }
    }
}

#[derive(Module, Debug)]
struct Shortcut {
    conv_dw: ConvNorm,
    conv_pw: ConvNorm,
}

/// What a convolution of 1x1 gives, and what a depthwise one makes of that: side by side, or the
/// latter alone if that has the former as a branch.
#[derive(Module, Debug)]
struct Ghost {
    primary: Sum,
    cheap: Sum,
    joins: bool,
    gate: Option<Gate>,
}

impl Ghost {
    fn new(kind: GhostKind, [from, to]: [usize; 2], act: Act, params: &ParamBuilder) -> Self {
        let joins = kind != GhostKind::Added;
        let half = if joins { to / 2 } else { to };
        let primary = || ConvNorm::new(Conv2dConfig::new(from, half, 1), act, params);
        let cheap = RepConvConfig::new(half, half, 3).depthwise().act(act);
        let (primary, cheap) = match kind {
            GhostKind::Plain => {
                let cheap = Conv2dConfig::new(half, half, 3).padding(1).depthwise();
                let cheap = ConvNorm::new(cheap, act, params);
                (Sum::One(primary()), Sum::One(cheap))
            }
            GhostKind::Branched => {
                let primary = RepConvConfig::new(from, half, 1).without_identity();
                let primary = primary.branches(3).act(act).init(params);
                let cheap = cheap.branches(3).init(params);
                (Sum::Branches(primary), Sum::Branches(cheap))
            }
            GhostKind::Added => {
                let cheap = cheap.small(None).init(params);
                (Sum::One(primary()), Sum::Branches(cheap))
            }
        };
        Self {
            primary,
            cheap,
            joins,
            gate: None,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let primary = self.primary.forward(x.clone());
        let mut output = self.cheap.forward(primary.clone());
        if self.joins {
            output = Tensor::cat(vec![primary, output], 1);
        }
        match &self.gate {
            Some(gate) => {
                let [_, _, height, width] = output.dims();
                output * resize(gate.forward(x), [height, width], Resize::Nearest)
            }
            None => output,
        }
    }
}

/// What is far away, along rows and columns, at half the size.
#[derive(Module, Debug)]
struct Gate {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: ConvNorm,
}

impl Gate {
    fn new([from, to]: [usize; 2], params: &ParamBuilder) -> Self {
        let along = |kernel: [usize; 2], act| {
            let conv = Conv2dConfig::new(to, to, kernel).depthwise();
            ConvNorm::new(conv.padding(kernel.map(|side| side / 2)), act, params)
        };
        Self {
            conv1: ConvNorm::new(Conv2dConfig::new(from, to, 1), Act::None, params),
            conv2: along([1, 5], Act::None),
            conv3: along([5, 1], Act::Sigmoid),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        // An odd row or column at the end is not seen.
        let even = [0..batch, 0..channels, 0..height / 2 * 2, 0..width / 2 * 2];
        let x = self.conv1.forward(avg_pool2d(x.slice(even), 2, 2));
        self.conv3.forward(self.conv2.forward(x))
    }
}
