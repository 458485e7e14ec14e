//! RegNet: Radosavovic et al., "Designing Network Design Spaces", CVPR 2020,
//! <https://arxiv.org/abs/2003.13678>.
//!
//! Residual bottlenecks as wide inside as outside, with grouped convolutions. X is plain, Y has a
//! squeeze-excite, whose width is a quarter of that of the block's input. V is Y with its norms before
//! its convolutions, Z widens inside (Dollar et al., "Fast and Accurate Model Scaling", 2021,
//! <https://arxiv.org/abs/2103.06877>). The structure is timm's `regnet.py`, for Z `byobnet.py`;
//! torchvision's networks have other widths at 400 MF (X) and 800 MF (Y), which the variants in `_tv`
//! have, and are otherwise the same. Parameters are those of a model for 1000 classes, accuracies
//! timm's at 224 pixels.
//!
//! | variant | parameters | ImageNet top-1 (weights) |
//! |---|---|---|
//! | `regnetx_002` | 2 684 792 | 68.8 % (`pycls_in1k`) |
//! | `regnetx_004` | 5 157 512 | 72.5 % (`pycls_in1k`) |
//! | `regnetx_004_tv` | 5 495 976 | 74.6 % (`tv2_in1k`) |
//! | `regnetx_006` | 6 196 040 | 73.9 % (`pycls_in1k`) |
//! | `regnetx_008` | 7 259 656 | 77.3 % (`tv2_in1k`) |
//! | `regnetx_016` | 9 190 136 | 79.4 % (`tv2_in1k`) |
//! | `regnetx_032` | 15 296 552 | 80.9 % (`tv2_in1k`) |
//! | `regnety_002` | 3 162 996 | 70.3 % (`pycls_in1k`) |
//! | `regnety_004` | 4 344 144 | 75.6 % (`tv2_in1k`) |
//! | `regnety_006` | 6 055 160 | 75.3 % (`pycls_in1k`) |
//! | `regnety_008` | 6 263 168 | 76.3 % (`pycls_in1k`) |
//! | `regnety_008_tv` | 6 432 512 | 78.7 % (`tv2_in1k`) |
//! | `regnety_016` | 11 202 430 | 80.7 % (`tv2_in1k`) |
//! | `regnety_032` | 19 436 338 | 81.9 % (`ra_in1k`) |
//! | `regnety_040` | 20 646 656 | 82.3 % (`ra3_in1k`) |
//! | `regnetv_040` | 20 640 640 | 82.4 % (`ra3_in1k`) |
//! | `regnetz_b16` | 9 715 480 | 79.9 % (`ra3_in1k`) |
//! | `regnetz_c16` | 13 459 880 | 82.2 % (`ra3_in1k`, 256 px) |

mod blocks;

use burn::module::Module;

use self::blocks::{Block, PostBlock, PreBlock};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, KeyTable, OtherNames, Pool, Stages, key_table,
};
use crate::nn::{
    Act, BatchNorm2dConfig, Conv2dConfig, ConvLayer, ConvNorm, DropPath, ParamBuilder, Residual,
    ResidualConfig, ResidualKind, Shortcut, SqueezeExcite, drop_path_rates, fan_out_normal,
};

use Kind::{V, X, Y, Z};

variants! {
    family: RegNet, manifest: "regnet.toml", paper: "https://arxiv.org/abs/2003.13678",
    pool: Pool::Avg;
    regnetx_002 (224): "X, 200 MF" => Config::new(X, 8, [1, 1, 4, 7], [24, 56, 152, 368]);
    regnetx_004 (224): "X, 400 MF" => Config::new(X, 16, [1, 2, 7, 12], [32, 64, 160, 384]);
    regnetx_004_tv (224): "X, 400 MF, torchvision's widths"
        => Config::new(X, 16, [1, 2, 7, 12], [32, 64, 160, 400]);
    regnetx_006 (224): "X, 600 MF" => Config::new(X, 24, [1, 3, 5, 7], [48, 96, 240, 528]);
    regnetx_008 (224): "X, 800 MF" => Config::new(X, 16, [1, 3, 7, 5], [64, 128, 288, 672]);
    regnetx_016 (224): "X, 1.6 GF" => Config::new(X, 24, [2, 4, 10, 2], [72, 168, 408, 912]);
    regnetx_032 (224): "X, 3.2 GF" => Config::new(X, 48, [2, 6, 15, 2], [96, 192, 432, 1008]);
    regnety_002 (224): "Y, 200 MF" => Config::new(Y, 8, [1, 1, 4, 7], [24, 56, 152, 368]);
    regnety_004 (224): "Y, 400 MF" => Config::new(Y, 8, [1, 3, 6, 6], [48, 104, 208, 440]);
    regnety_006 (224): "Y, 600 MF" => Config::new(Y, 16, [1, 3, 7, 4], [48, 112, 256, 608]);
    regnety_008 (224): "Y, 800 MF" => Config::new(Y, 16, [1, 3, 8, 2], [64, 128, 320, 768]);
    regnety_008_tv (224): "Y, 800 MF, torchvision's widths"
        => Config::new(Y, 16, [1, 3, 8, 2], [64, 144, 320, 784]);
    regnety_016 (224): "Y, 1.6 GF" => Config::new(Y, 24, [2, 6, 17, 2], [48, 120, 336, 888]);
    regnety_032 (224): "Y, 3.2 GF" => Config::new(Y, 24, [2, 5, 13, 1], [72, 216, 576, 1512]);
    regnety_040 (224): "Y, 4 GF" => Config::new(Y, 64, [2, 6, 12, 2], [128, 192, 512, 1088]);
    regnetv_040 (224): "V, 4 GF" => Config::new(V, 64, [2, 6, 12, 2], [128, 192, 512, 1088]);
    regnetz_b16 (224): "Z, three times as wide inside"
        => Config::new(Z(3), 16, [2, 6, 12, 2], [48, 96, 192, 288]);
    regnetz_c16 (256): "Z, four times as wide inside"
        => Config::new(Z(4), 16, [2, 6, 12, 2], [48, 96, 192, 288]);
}

/// Channels of the stem.
const STEM: usize = 32;
/// Channels of the convolution behind the last stage of Z.
const Z_FEATURES: usize = 1536;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    X,
    Y,
    /// The norms stand before the convolutions.
    V,
    /// So many times as wide as its input inside. A block that changes the shape has no shortcut, and
    /// none is activated at its end.
    Z(usize),
}

/// The shape of a RegNet.
#[derive(Debug, Clone)]
struct Config {
    kind: Kind,
    /// Channels of a group of the grouped convolutions.
    group_width: usize,
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Channels of each stage.
    widths: [usize; 4],
}

/// From and to so many channels, with a stride.
#[derive(Debug, Clone, Copy)]
struct Ends {
    from: usize,
    to: usize,
    stride: usize,
}

impl Ends {
    fn changes_shape(self) -> bool {
        self.stride != 1 || self.from != self.to
    }
}

impl Config {
    fn new(kind: Kind, group_width: usize, depths: [usize; 4], widths: [usize; 4]) -> Self {
        Self {
            kind,
            group_width,
            depths,
            widths,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<RegNet> {
        let total: usize = self.depths.iter().sum();
        let mut rates = drop_path_rates(options.drop_path_rate, total).enumerate();
        let shape = options.stem.convolutions(&[2], false)?;
        let stem = conv(options.in_channels, STEM, 3).stride(shape.stride());
        let stem = ConvLayer {
            conv: match self.kind {
                V => ConvNorm::without_norm(stem, Act::None, params),
                _ => ConvNorm::new(stem, self.act(), params),
            },
        };
        let mut channels = STEM;
        let mut stages = Vec::new();
        for (depth, width) in self.depths.into_iter().zip(self.widths) {
            let mut blocks = Vec::new();
            for (block, rate) in rates.by_ref().take(depth) {
                let ends = Ends {
                    from: channels,
                    to: width,
                    stride: if blocks.is_empty() { 2 } else { 1 },
                };
                blocks.push(match self.kind {
                    X | Y => Block::Post(self.post_block(ends, rate, params)),
                    V => Block::Pre(self.pre_block(ends, rate, block + 1 == total, params)),
                    Z(factor) => Block::Wide(self.wide_block(ends, factor, rate, params)),
                });
                channels = width;
            }
            stages.push(blocks);
        }
        let is_z = matches!(self.kind, Z(_));
        if let (true, Some(last)) = (is_z, stages.last_mut()) {
            let conv = conv(channels, Z_FEATURES, 1);
            last.push(Block::Final(ConvLayer::new(conv, self.act(), params)));
            channels = Z_FEATURES;
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let description = Description {
            stem: Some(shape),
            classifier: "head.fc",
            classifier_init: Init::normal(0.01),
            key_table: self.key_table(),
            other_names: match self.kind {
                X | Y => vec![self.torchvision_names()],
                V | Z(_) => Vec::new(),
            },
            layer_of: is_z.then_some(layer_of_z),
            ..Description::new(groups, options.in_channels, channels, "stem.conv")
        };
        Ok((RegNet { stem, stages }, description))
    }

    fn act(&self) -> Act {
        match self.kind {
            X | Y => Act::Relu,
            V | Z(_) => Act::Silu,
        }
    }

    fn post_block(&self, ends: Ends, drop_path: f64, params: &ParamBuilder) -> PostBlock {
        let Ends { from, to, stride } = ends;
        let act = self.act();
        // A residual branch begins as nothing.
        let last = BatchNorm2dConfig::new(to).zero_init();
        let shortcut = || ConvNorm::new(conv(from, to, 1).stride(stride), Act::None, params);
        PostBlock {
            conv1: ConvNorm::new(conv(from, to, 1), act, params),
            conv2: ConvNorm::new(self.grouped(to).stride(stride), act, params),
            se: (self.kind == Y).then(|| self.se(to, from / 4, params)),
            conv3: ConvNorm::with_norm(conv(to, to, 1), last, Act::None, params),
            downsample: ends.changes_shape().then(shortcut),
            drop_path: DropPath::new(drop_path),
        }
    }

    fn wide_block(
        &self,
        ends: Ends,
        factor: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Residual {
        let inner = factor * ends.from;
        let config = ResidualConfig {
            kind: ResidualKind::Bottleneck,
            inner,
            channels: ends.to,
            stride: ends.stride,
            groups: inner / self.group_width,
            shortcut: Shortcut::Nothing,
            se: Some(0.25),
            act: self.act(),
            last_act: Act::None,
        };
        Residual::new(&config, ends.from, drop_path, params)
    }

    /// `is_last`: the last block of the network, whose output is activated.
    fn pre_block(
        &self,
        ends: Ends,
        drop_path: f64,
        is_last: bool,
        params: &ParamBuilder,
    ) -> PreBlock {
        let Ends { from, to, stride } = ends;
        let norm = |channels| BatchNorm2dConfig::new(channels).init(params);
        let shortcut = || conv(from, to, 1).stride(stride).init(params);
        PreBlock {
            norm1: norm(from),
            conv1: ConvNorm::new(conv(from, to, 1), self.act(), params),
            conv2: self.grouped(to).stride(stride).init(params),
            se: self.se(to, from / 4, params),
            norm3: norm(to),
            conv3: conv(to, to, 1).init(params),
            downsample: ends.changes_shape().then(shortcut),
            drop_path: DropPath::new(drop_path),
            end: if is_last { self.act() } else { Act::None },
        }
    }

    fn grouped(&self, channels: usize) -> Conv2dConfig {
        let groups = channels / self.group_width;
        conv(channels, channels, 3)
            .groups(groups)
            .weights(fan_out_normal(9 * self.group_width))
    }

    fn se(&self, channels: usize, hidden: usize, params: &ParamBuilder) -> SqueezeExcite {
        let act = if self.kind == V { Act::Silu } else { Act::Relu };
        SqueezeExcite::new(
            channels,
            hidden,
            [act, Act::Sigmoid],
            fan_out_normal,
            params,
        )
    }

    fn key_table(&self) -> KeyTable {
        match self.kind {
            X | Y => key_table![
                "stage*.*.conv1" => "s*.b*+1.conv1.conv", "stage*.*.bn1" => "s*.b*+1.conv1.bn",
                "stage*.*.conv2" => "s*.b*+1.conv2.conv", "stage*.*.bn2" => "s*.b*+1.conv2.bn",
                "stage*.*.conv3" => "s*.b*+1.conv3.conv", "stage*.*.bn3" => "s*.b*+1.conv3.bn",
                "stage*.*.downsample" => "s*.b*+1.downsample.conv",
                "stage*.*.downsample_bn" => "s*.b*+1.downsample.bn",
                "stage*.*.se.reduce" => "s*.b*+1.se.fc1", "stage*.*.se.expand" => "s*.b*+1.se.fc2",
            ],
            V => key_table![
                "stem.conv" => "stem", "stage*.*.bn1" => "s*.b*+1.norm2",
                "stage*.*.se.reduce" => "s*.b*+1.se.fc1", "stage*.*.se.expand" => "s*.b*+1.se.fc2",
                "stage*.*" => "s*.b*+1",
            ],
            Z(_) => {
                let mut table = key_table![
                    "stage4.2.conv" => "final_conv.conv", "stage4.2.bn" => "final_conv.bn",
                ];
                let names = Residual::names(ResidualKind::Bottleneck, Shortcut::Nothing);
                for (ours, theirs) in names {
                    let ours = format!("stage*.*.{ours}");
                    table.push(&ours, &format!("stages.*-1.*.{theirs}"));
                }
                table
            }
        }
    }

    /// torchvision's names, which say the stage twice.
    fn torchvision_names(&self) -> OtherNames {
        let mut table = key_table![
            "stem.conv" => "stem.0", "stem.bn" => "stem.1", "head.fc" => "fc",
        ];
        for (stage, depth) in (1..).zip(self.depths) {
            for block in 0..depth {
                let ours = format!("s{stage}.b{}", block + 1);
                let theirs = format!("trunk_output.block{stage}.block{stage}-{block}");
                for (layer, name) in [
                    ("conv1", "f.a"),
                    ("conv2", "f.b"),
                    ("conv3", "f.c"),
                    ("downsample", "proj"),
                ] {
                    table.push(
                        &format!("{ours}.{layer}.conv"),
                        &format!("{theirs}.{name}.0"),
                    );
                    table.push(&format!("{ours}.{layer}.bn"), &format!("{theirs}.{name}.1"));
                }
                table.push(&format!("{ours}.se"), &format!("{theirs}.f.se"));
            }
        }
        OtherNames::new("torchvision's RegNet", table)
    }
}

/// A convolution that keeps the size at stride 1.
fn conv(from: usize, to: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig::new(from, to, kernel)
        .padding(kernel / 2)
        .weights(fan_out_normal(kernel * kernel * to))
}

/// timm counts the blocks of Z, and the last convolution to the last of them.
fn layer_of_z(name: &str) -> Option<usize> {
    let mut parts = name.split('.');
    let place = match parts.next()? {
        "stem" => return Some(0),
        "stages" => [parts.next()?.parse().ok()?, parts.next()?.parse().ok()?],
        "final_conv" => [3, 1],
        _ => return None,
    };
    let [stage, block]: [usize; 2] = place;
    Some(1 + 100 * stage + block)
}

#[derive(Module, Debug)]
struct RegNet {
    stem: ConvLayer,
    stages: Stages<Vec<Block>>,
}

impl Backbone for RegNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}
