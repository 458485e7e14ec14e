//! GhostNet: Han et al., "GhostNet: More Features from Cheap Operations", CVPR 2020,
//! <https://arxiv.org/abs/1911.11907>; V2: Tang et al., NeurIPS 2022,
//! <https://arxiv.org/abs/2211.12905>; V3: Liu et al., 2024, <https://arxiv.org/abs/2404.11202>.
//!
//! Half of the channels of a layer are made from the other half, by a depthwise convolution. V2 gates
//! them by what is far away, seen along rows and columns at half the size. In V3 each convolution is
//! a sum of branches while it trains, which [`Classifier::fuse`](crate::Classifier::fuse) makes one.
//! The structure is timm's `ghostnet.py`. There is no stochastic depth. Parameters are those of a
//! model for 1000 classes; accuracies are those timm publishes at 224 pixels for the tag `in1k`.
//!
//! | variant | parameters | ImageNet top-1 |
//! |---|---|---|
//! | `ghostnet_050` | 2 587 292 |  |
//! | `ghostnet_100` | 5 182 508 | 74.0 % |
//! | `ghostnet_130` | 7 358 820 |  |
//! | `ghostnetv2_100` | 6 156 908 | 75.2 % |
//! | `ghostnetv2_130` | 8 960 404 | 76.7 % |
//! | `ghostnetv2_160` | 12 392 698 | 77.8 % |
//! | `ghostnetv3_100` | 8 129 028 | 76.9 % |

use burn::module::Module;
use burn::tensor::Tensor;
use serde_json::{Map, Value, json};

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, InputSize, KeyTable, MapLayer, Pool, Pooling, Stages,
    key_table,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, ConvNorm, Epilogue, ParamBuilder, RepConv, RepConvConfig, Resize,
    SqueezeExcite, avg_pool2d, resize,
};

use Version::{Rep, V1, V2, V3};

variants! {
    family: GhostNet, manifest: "ghostnet.toml", paper: "https://arxiv.org/abs/1911.11907",
    pool: Pool::Avg;
    ghostnet_050 (224): "half as wide" => Config::new(V1, 0.5);
    ghostnet_100 (224): "16 blocks" => Config::new(V1, 1.0);
    ghostnet_130 (224): "1.3 times as wide" => Config::new(V1, 1.3);
    ghostnetv2_100 (224): "V2, with gates" => Config::new(V2, 1.0);
    ghostnetv2_130 (224): "V2, 1.3 times as wide" => Config::new(V2, 1.3);
    ghostnetv2_160 (224): "V2, 1.6 times as wide" => Config::new(V2, 1.6);
    ghostnetv3_100 (224): "V3, with gates and branches" => Config::new(V3, 1.0);
}

/// Of each block of each stage the kernel, the channels within and of the output, whether there is a
/// squeeze-excite, and the stride.
#[rustfmt::skip]
const STAGES: [&[(usize, usize, usize, bool, usize)]; 9] = [
    &[(3, 16, 16, false, 1)],
    &[(3, 48, 24, false, 2)],
    &[(3, 72, 24, false, 1)],
    &[(5, 72, 40, true, 2)],
    &[(5, 120, 40, true, 1)],
    &[(3, 240, 80, false, 2)],
    &[
        (3, 200, 80, false, 1), (3, 184, 80, false, 1), (3, 184, 80, false, 1),
        (3, 480, 112, true, 1), (3, 672, 112, true, 1),
    ],
    &[(5, 672, 160, true, 2)],
    &[
        (5, 960, 160, false, 1), (5, 960, 160, true, 1), (5, 960, 160, false, 1),
        (5, 960, 160, true, 1),
    ],
];
/// Channels of the last stage's convolution.
const LAST: usize = 960;
/// Length of the vector before the classifier.
const HEAD: usize = 1280;

/// Of which paper the modules are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
    V3,
    /// RepGhost: see `repghost.rs`.
    Rep,
}

/// The shape of a GhostNet.
#[derive(Debug, Clone)]
pub(super) struct Config {
    version: Version,
    /// Factor of all widths but that of the layer before the classifier.
    width: f64,
}

impl Config {
    pub(super) fn new(version: Version, width: f64) -> Self {
        Self { version, width }
    }

    pub(super) fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<GhostNet> {
        options.check_no_drop_path()?;
        let wide = |channels: usize| divisible_by_4(channels as f64 * self.width);
        let mut channels = wide(16);
        let stem = Conv2dConfig::new(options.in_channels, channels, 3);
        let stem = Layer::new(stem.padding(1).stride(2), params);
        let mut number = 0;
        let mut stages: Vec<Vec<Block>> = Vec::new();
        for stage in STAGES {
            let mut blocks = Vec::new();
            for &(kernel, inner, out, has_se, stride) in stage {
                // Half as many in a RepGhost, where nothing is put together, but for two blocks.
                let inner = match (self.version, inner) {
                    (Rep, 184) => 120,
                    (Rep, inner) => inner / 2,
                    (_, inner) => inner,
                };
                let ends = [channels, wide(inner), wide(out)];
                // The maps of the first two blocks are too large for a gate.
                let is_gated = matches!(self.version, V2 | V3) && number > 1;
                let block = self.block(kernel, ends, has_se, stride, is_gated, params);
                blocks.push(Block::Bottleneck(block));
                channels = wide(out);
                number += 1;
            }
            stages.push(blocks);
        }
        let last = Conv2dConfig::new(channels, wide(LAST), 1);
        stages.push(vec![Block::Conv(Layer::new(last, params))]);
        channels = wide(LAST);
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let description = Description {
            has_pre_logits: true,
            head_features: Some(HEAD),
            // A gate sees nothing of a map of one pixel, which 33 do not become.
            input_size: InputSize::AtLeast(match self.version {
                V1 | Rep => 1,
                V2 | V3 => 33,
            }),
            pools: &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::None],
            classifier: "classifier",
            key_table: self.key_table(),
            layer_of: Some(layer_of),
            ..Description::new(groups, options.in_channels, channels, "stem.conv")
        };
        let backbone = GhostNet {
            stem,
            stages,
            pre_logits: Conv2dConfig::new(channels, HEAD, 1).bias().init(params),
            drop_rate: options.drop_rate,
        };
        Ok((backbone, description))
    }

    fn block(
        &self,
        kernel: usize,
        [from, inner, to]: [usize; 3],
        has_se: bool,
        stride: usize,
        is_gated: bool,
        params: &ParamBuilder,
    ) -> Bottleneck {
        let conv =
            |from, to, kernel: usize| Conv2dConfig::new(from, to, kernel).padding(kernel / 2);
        let norm = |conv| ConvNorm::new(conv, Act::None, params);
        let conv_dw = || match self.version {
            V3 => Sum::Branches(
                RepConvConfig::new(inner, inner, kernel)
                    .stride(stride)
                    .depthwise()
                    .branches(3)
                    .init(params),
            ),
            _ => Sum::One(norm(conv(inner, inner, kernel).stride(stride).depthwise())),
        };
        let hidden = divisible_by_4(inner as f64 * 0.25);
        let acts = [Act::Relu, Act::HardSigmoid];
        let se = || SqueezeExcite::new(inner, hidden, acts, |_| Init::PyTorch, params);
        let shortcut = || Shortcut {
            conv_dw: norm(conv(from, from, kernel).stride(stride).depthwise()),
            conv_pw: norm(conv(from, to, 1)),
        };
        Bottleneck {
            ghost1: self.ghost([from, inner], Act::Relu, is_gated, params),
            conv_dw: (stride > 1).then(conv_dw),
            se: has_se.then(se),
            ghost2: self.ghost([inner, to], Act::None, false, params),
            shortcut: (stride > 1 || from != to).then(shortcut),
        }
    }

    fn ghost(
        &self,
        [from, to]: [usize; 2],
        act: Act,
        is_gated: bool,
        params: &ParamBuilder,
    ) -> Ghost {
        // All widths are even.
        let half = if self.version == Rep { to } else { to / 2 };
        let primary = || ConvNorm::new(Conv2dConfig::new(from, half, 1), act, params);
        let cheap = RepConvConfig::new(half, half, 3).depthwise().act(act);
        let (primary, cheap) = match self.version {
            V1 | V2 => {
                let cheap = Conv2dConfig::new(half, half, 3).padding(1).depthwise();
                let cheap = ConvNorm::new(cheap, act, params);
                (Sum::One(primary()), Sum::One(cheap))
            }
            V3 => {
                let primary = RepConvConfig::new(from, half, 1)
                    .without_identity()
                    .act(act);
                let primary = primary.branches(3).init(params);
                let cheap = cheap.branches(3).init(params);
                (Sum::Branches(primary), Sum::Branches(cheap))
            }
            Rep => {
                let cheap = cheap.small(None).init(params);
                (Sum::One(primary()), Sum::Branches(cheap))
            }
        };
        let norm = |conv: Conv2dConfig, act| ConvNorm::new(conv, act, params);
        let along = |kernel: [usize; 2]| {
            let conv = Conv2dConfig::new(to, to, kernel).depthwise();
            conv.padding(kernel.map(|side| side / 2))
        };
        let gate = || Gate {
            conv1: norm(Conv2dConfig::new(from, to, 1), Act::None),
            conv2: norm(along([1, 5]), Act::None),
            conv3: norm(along([5, 1]), Act::Sigmoid),
        };
        Ghost {
            primary,
            cheap,
            joins: self.version != Rep,
            gate: is_gated.then(gate),
        }
    }

    fn key_table(&self) -> KeyTable {
        let mut table = key_table![
            "stem.conv" => "conv_stem", "stem.bn" => "bn1", "pre_logits" => "conv_head",
            "stage*.*.bn" => "blocks.*-1.*.bn1",
            "stage*.*.se.reduce" => "blocks.*-1.*.se.conv_reduce",
            "stage*.*.se.expand" => "blocks.*-1.*.se.conv_expand",
            "stage*.*.shortcut.conv_dw" => "blocks.*-1.*.shortcut.0",
            "stage*.*.shortcut.bn_dw" => "blocks.*-1.*.shortcut.1",
            "stage*.*.shortcut.conv_pw" => "blocks.*-1.*.shortcut.2",
            "stage*.*.shortcut.bn_pw" => "blocks.*-1.*.shortcut.3",
        ];
        for (number, part) in ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3"]
            .into_iter()
            .enumerate()
        {
            let theirs = format!("blocks.*-1.*.ghost*.short_conv.{number}");
            table.push(&format!("stage*.*.ghost*.gate.{part}"), &theirs);
        }
        let parts: &[(&str, &str)] = match self.version {
            V3 => &[
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
            V1 | V2 | Rep => &[
                ("ghost*.primary", "ghost*.primary_conv.0"),
                ("ghost*.primary_bn", "ghost*.primary_conv.1"),
                ("ghost*.cheap.conv_kxk.0.conv", "ghost*.cheap_operation.0"),
                ("ghost*.cheap.conv_kxk.0.bn", "ghost*.cheap_operation.1"),
                ("ghost*.cheap.identity", "ghost*.fusion_bn.0"),
                ("ghost*.cheap", "ghost*.cheap_operation.0"),
                ("ghost*.cheap_bn", "ghost*.cheap_operation.1"),
            ],
        };
        for (ours, theirs) in parts {
            table.push(
                &format!("stage*.*.{ours}"),
                &format!("blocks.*-1.*.{theirs}"),
            );
        }
        table.push("stage*", "blocks.*-1");
        table
    }
}

/// The multiple of 4 that is nearest to a number of channels, and at least nine tenths of it.
fn divisible_by_4(channels: f64) -> usize {
    let nearest = (((channels + 2.0) / 4.0) as usize * 4).max(4);
    if (nearest as f64) < 0.9 * channels {
        nearest + 4
    } else {
        nearest
    }
}

/// timm counts the layer before the classifier with the last stage, which is one layer.
fn layer_of(name: &str) -> Option<usize> {
    let number = |stage: usize, block: usize| 1 + stage * 8 + block;
    if name.starts_with("conv_stem") || name.starts_with("bn1") {
        return Some(0);
    }
    if name.starts_with("conv_head") {
        return Some(number(STAGES.len(), 0));
    }
    let mut numbers = name.strip_prefix("blocks.")?.split('.');
    let mut next = || numbers.next()?.parse().ok();
    Some(number(next()?, next()?))
}

#[derive(Module, Debug)]
pub(super) struct GhostNet {
    stem: Layer,
    stages: Stages<Vec<Block>>,
    pre_logits: Conv2d,
    drop_rate: f64,
}

impl Backbone for GhostNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let pooled = pooling.map(features.into_map()?);
        let relu = Epilogue::act(Act::Relu);
        Ok(self.pre_logits.forward_with(pooled, relu).flatten(1, 3))
    }

    fn timm_args(&self, _: Pool) -> Map<String, Value> {
        // timm's own is 0.2.
        Map::from_iter([("drop_rate".to_owned(), json!(self.drop_rate))])
    }
}

/// A convolution with its normalisation and ReLU.
#[derive(Module, Debug)]
struct Layer {
    conv: ConvNorm,
}

impl Layer {
    fn new(conv: Conv2dConfig, params: &ParamBuilder) -> Self {
        Self {
            conv: ConvNorm::new(conv, Act::Relu, params),
        }
    }
}

impl MapLayer for Layer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Block {
    Bottleneck(Bottleneck),
    Conv(Layer),
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Bottleneck(block) => block.forward(x),
            Self::Conv(layer) => layer.forward(x),
        }
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

/// Two ghost modules, one that widens and one that narrows.
#[derive(Module, Debug)]
struct Bottleneck {
    ghost1: Ghost,
    conv_dw: Option<Sum>,
    se: Option<SqueezeExcite>,
    ghost2: Ghost,
    shortcut: Option<Shortcut>,
}

#[derive(Module, Debug)]
struct Shortcut {
    conv_dw: ConvNorm,
    conv_pw: ConvNorm,
}

impl MapLayer for Bottleneck {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
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
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        // An odd row or column at the end is not seen.
        let even = [0..batch, 0..channels, 0..height / 2 * 2, 0..width / 2 * 2];
        let x = self.conv1.forward(avg_pool2d(x.slice(even), 2, 2));
        self.conv3.forward(self.conv2.forward(x))
    }
}
