//! Xception: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017,
//! <https://arxiv.org/abs/1610.02357>, and Aligned Xception: Chen et al., "Encoder-Decoder with Atrous
//! Separable Convolution", ECCV 2018, <https://arxiv.org/abs/1802.02611>.
//!
//! Residual blocks of separable convolutions, each a depthwise and a pointwise one. The aligned
//! networks have more blocks, strides in place of poolings, and a norm behind every convolution; in
//! those in `p` norm and activation stand before a separable convolution. The structure is timm's
//! `xception.py` and `xception_aligned.py`. Parameters are those of a model for 1000 classes,
//! accuracies timm's at 299 pixels.
//!
//! | variant | parameters | ImageNet top-1 (weights) |
//! |---|---|---|
//! | `legacy_xception` | 22 855 952 | 79.1 % (`tf_in1k`) |
//! | `xception41` | 26 969 560 | 78.5 % (`tf_in1k`) |
//! | `xception65` | 39 916 312 | 83.2 % (`ra3_in1k`) |
//! | `xception71` | 42 338 736 | 79.9 % (`tf_in1k`) |
//! | `xception41p` | 26 907 752 | 82.0 % (`ra3_in1k`) |
//! | `xception65p` | 39 819 560 | 83.2 % (`ra3_in1k`) |

mod blocks;

use burn::module::Module;

use self::blocks::{Block, Separable, Stem};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, Group, InputSize, KeyTable, MapLayer, Pool, group, key_table,
};
use crate::nn::{
    Act, BatchNorm2dConfig, Conv2dConfig, ConvNorm, DropPath, ParamBuilder, drop_path_rates,
};

use Kind::{Aligned, Legacy, PreNorm};

variants! {
    family: Xception, manifest: "xception.toml", paper: "https://arxiv.org/abs/1610.02357",
    pool: Pool::Avg;
    legacy_xception (299): "the first one" => Config::legacy();
    xception41 (299): "aligned, 13 blocks" => Config::aligned(Aligned, &ENTRY, 8);
    xception65 (299): "aligned, 21 blocks" => Config::aligned(Aligned, &ENTRY, 16);
    xception71 (299): "aligned, 23 blocks" => Config::aligned(Aligned, &ENTRY_OF_71, 16);
    xception41p (299): "aligned, norms first, 13 blocks"
        => Config { epsilon: 1e-5, ..Config::aligned(PreNorm, &ENTRY, 8) };
    xception65p (299): "aligned, norms first, 21 blocks"
        => Config::aligned(PreNorm, &ENTRY, 16);
}

/// Channels and stride of the aligned networks' first blocks.
const ENTRY: [(usize, usize); 3] = [(128, 2), (256, 2), (728, 2)];
const ENTRY_OF_71: [(usize, usize); 5] = [(128, 2), (256, 1), (256, 2), (728, 1), (728, 2)];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Blocks end with a pooling, and depthwise convolutions have no norm.
    Legacy,
    Aligned,
    /// Norms and activations stand before separable convolutions.
    PreNorm,
}

/// A block: the channels behind each of its separable convolutions, and its stride.
#[derive(Debug, Clone)]
struct BlockConfig {
    widths: Vec<usize>,
    stride: usize,
    has_shortcut: bool,
}

impl BlockConfig {
    fn new(widths: &[usize], stride: usize) -> Self {
        Self {
            widths: widths.to_vec(),
            stride,
            has_shortcut: true,
        }
    }

    /// What stands at the end of the network.
    fn last(widths: &[usize]) -> Self {
        Self {
            has_shortcut: false,
            ..Self::new(widths, 1)
        }
    }
}

/// The shape of an Xception.
#[derive(Debug, Clone)]
struct Config {
    kind: Kind,
    blocks: Vec<BlockConfig>,
    epsilon: f64,
}

impl Config {
    fn legacy() -> Self {
        let mut blocks = vec![
            BlockConfig::new(&[128, 128], 2),
            BlockConfig::new(&[256, 256], 2),
            BlockConfig::new(&[728, 728], 2),
        ];
        blocks.extend(vec![BlockConfig::new(&[728; 3], 1); 8]);
        blocks.push(BlockConfig::new(&[728, 1024], 2));
        blocks.push(BlockConfig::last(&[1536, 2048]));
        Self {
            kind: Legacy,
            blocks,
            epsilon: 1e-5,
        }
    }

    /// With so many blocks of the same size in the middle.
    fn aligned(kind: Kind, entry: &[(usize, usize)], middle: usize) -> Self {
        let entry = entry.iter();
        let mut blocks: Vec<BlockConfig> = entry
            .map(|&(width, stride)| BlockConfig::new(&[width; 3], stride))
            .collect();
        blocks.extend(vec![BlockConfig::new(&[728; 3], 1); middle]);
        blocks.push(BlockConfig::new(&[728, 1024, 1024], 2));
        blocks.push(BlockConfig::last(&[1536, 1536, 2048]));
        Self {
            kind,
            blocks,
            epsilon: 1e-3,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<Xception> {
        if self.kind == Legacy {
            options.check_no_drop_path()?;
        }
        let padding = if self.kind == Legacy { 0 } else { 1 };
        let shape = options.stem.convolutions(&[2], false)?;
        let stride = shape.stride();
        let stem = |from, to| self.conv(from, to, 3).padding(padding);
        let second = stem(32, 64);
        let stem = Stem {
            conv1: self.layer(
                stem(options.in_channels, 32).stride(stride),
                Act::Relu,
                params,
            ),
            conv2: match self.kind {
                PreNorm => ConvNorm::without_norm(second, Act::None, params),
                _ => self.layer(second, Act::Relu, params),
            },
        };
        let mut channels = 64;
        let rates = drop_path_rates(options.drop_path_rate, self.blocks.len());
        let mut blocks = Vec::new();
        for (config, rate) in self.blocks.iter().zip(rates) {
            blocks.push(self.block(channels, config, blocks.is_empty(), rate, params));
            channels = *config.widths.last().unwrap_or(&channels);
        }
        let groups = Group::stem_and_blocks(blocks.len());
        let description = Description {
            // The stem of the first Xception does not pad: at stride 2, six pixels leave it nothing.
            input_size: InputSize::AtLeast(if self.kind == Legacy {
                2 * stride + 3
            } else {
                1
            }),
            stem: Some(shape),
            classifier: if self.kind == Legacy { "fc" } else { "head.fc" },
            key_table: self.key_table(),
            ..Description::new(groups, options.in_channels, channels, "stem.conv1")
        };
        Ok((Xception { stem, blocks }, description))
    }

    fn conv(&self, from: usize, to: usize, kernel: usize) -> Conv2dConfig {
        Conv2dConfig::new(from, to, kernel).weights(match self.kind {
            Legacy => Init::kaiming_normal_fan_out(),
            _ => Init::PyTorch,
        })
    }

    fn norm(&self, channels: usize) -> BatchNorm2dConfig {
        BatchNorm2dConfig::new(channels).epsilon(self.epsilon)
    }

    fn layer(&self, conv: Conv2dConfig, act: Act, params: &ParamBuilder) -> ConvNorm {
        let norm = self.norm(conv.out_channels());
        ConvNorm::with_norm(conv, norm, act, params)
    }

    fn block(
        &self,
        from: usize,
        config: &BlockConfig,
        is_first: bool,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Block {
        let BlockConfig {
            ref widths,
            stride,
            has_shortcut,
        } = *config;
        let last = widths.len() - 1;
        let mut channels = from;
        let mut units = Vec::new();
        for (index, &width) in widths.iter().enumerate() {
            let pools = self.kind == Legacy;
            let step = if index == last && !pools { stride } else { 1 };
            let depthwise = self.conv(channels, channels, 3).padding(1).stride(step);
            let depthwise = depthwise.depthwise();
            let pointwise = self.conv(channels, width, 1);
            // Behind the last one the shortcut is added.
            let end = if index < last || !has_shortcut {
                Act::Relu
            } else {
                Act::None
            };
            units.push(Separable {
                conv_dw: match self.kind {
                    Aligned => {
                        let act = if has_shortcut { Act::None } else { Act::Relu };
                        self.layer(depthwise, act, params)
                    }
                    _ => ConvNorm::without_norm(depthwise, Act::None, params),
                },
                conv_pw: match self.kind {
                    PreNorm if index == last => ConvNorm::without_norm(pointwise, end, params),
                    _ => self.layer(pointwise, end, params),
                },
            });
            channels = width;
        }
        let shortcut = self.conv(from, channels, 1).stride(stride);
        let shortcut = || match self.kind {
            PreNorm => ConvNorm::without_norm(shortcut, Act::None, params),
            _ => self.layer(shortcut, Act::None, params),
        };
        let norm = || self.norm(from).init(params);
        // What comes out of the stem is activated already, and what comes to the end stays as it is.
        let activates = match self.kind {
            Legacy => has_shortcut && !is_first,
            Aligned => has_shortcut,
            PreNorm => false,
        };
        Block {
            norm: (self.kind == PreNorm).then(norm),
            units,
            pool: (self.kind == Legacy && stride != 1).then_some(stride),
            shortcut: (has_shortcut && (stride != 1 || from != channels)).then(shortcut),
            has_shortcut,
            activates,
            drop_path: DropPath::new(drop_path),
        }
    }

    fn key_table(&self) -> KeyTable {
        match self.kind {
            Legacy => self.legacy_table(),
            Aligned => key_table![
                "stem.conv1" => "stem.0.conv", "stem.bn1" => "stem.0.bn",
                "stem.conv2" => "stem.1.conv", "stem.bn2" => "stem.1.bn",
                "blocks.*.units.*" => "blocks.*.stack.conv*+1",
                "blocks.*.shortcut" => "blocks.*.shortcut.conv",
                "blocks.*.shortcut_bn" => "blocks.*.shortcut.bn",
            ],
            PreNorm => key_table![
                "stem.conv1" => "stem.0.conv", "stem.bn1" => "stem.0.bn", "stem.conv2" => "stem.1",
                // The norm behind a pointwise convolution is the one before the next depthwise one.
                "blocks.*.units.*.bn_pw" => "blocks.*.stack.conv*+2.norm",
                "blocks.*.units.*" => "blocks.*.stack.conv*+1",
            ],
        }
    }

    /// Upstream counts activations too. The last block has names of its own.
    fn legacy_table(&self) -> KeyTable {
        let mut table = key_table![
            "stem.conv1" => "conv1", "stem.bn1" => "bn1",
            "stem.conv2" => "conv2", "stem.bn2" => "bn2",
            "blocks.12.units.*.conv_dw" => "conv*+3.conv1",
            "blocks.12.units.*.conv_pw" => "conv*+3.pointwise",
            "blocks.12.units.*.bn_pw" => "bn*+3",
            "blocks.*.shortcut" => "block*+1.skip", "blocks.*.shortcut_bn" => "block*+1.skipbn",
        ];
        for (block, first) in [("0", 0), ("*", 1)] {
            for unit in 0..3 {
                let ours = format!("blocks.{block}.units.{unit}");
                let theirs = match block {
                    "*" => "block*+1.rep",
                    _ => "block1.rep",
                };
                let place = first + 3 * unit;
                table.push(
                    &format!("{ours}.conv_dw"),
                    &format!("{theirs}.{place}.conv1"),
                );
                table.push(
                    &format!("{ours}.conv_pw"),
                    &format!("{theirs}.{place}.pointwise"),
                );
                table.push(&format!("{ours}.bn_pw"), &format!("{theirs}.{}", place + 1));
            }
        }
        table
    }
}

#[derive(Module, Debug)]
struct Xception {
    stem: Stem,
    blocks: Vec<Block>,
}

impl Backbone for Xception {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        let x = x.into_map()?;
        Ok(Features::Map(match index.checked_sub(1) {
            None => self.stem.forward(x),
            Some(block) => group(&self.blocks, block)?.forward(x),
        }))
    }
}
