//! RepVGG: Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021,
//! <https://arxiv.org/abs/2101.03697>.
//!
//! A stack of 3x3 convolutions, each of which has in training a second branch of 1x1 and, where the
//! shape stays, its own input as a third. [`Classifier::fuse`](crate::Classifier::fuse) makes one
//! convolution of the three. The structure and the names are those of timm's `byobnet.py` in the
//! form for training, in which the weights are published. Parameters are those of a model for 1000
//! classes; accuracies are those timm publishes for the tag `rvgg_in1k` at the size in the table.
//!
//! | variant | blocks | pixels | parameters | ImageNet top-1 |
//! |---|---|---|---|---|
//! | `repvgg_a0` | 2 4 14 1 | 224 | 9 108 968 | 72.4 % |
//! | `repvgg_a1` | 2 4 14 1 | 224 | 14 092 264 | 74.5 % |
//! | `repvgg_a2` | 2 4 14 1 | 224 | 28 210 600 | 76.5 % |
//! | `repvgg_b0` | 4 6 16 1 | 224 | 15 817 960 | 75.2 % |
//! | `repvgg_b1` | 4 6 16 1 | 224 | 57 415 016 | 78.4 % |
//! | `repvgg_b1g4` | 4 6 16 1 | 224 | 39 966 056 | 77.6 % |
//! | `repvgg_d2se` | 8 14 24 1 | 320 | 133 334 836 | 83.6 % |

use burn::module::Module;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{Backbone, Description, Features, Pool, Stages, key_table};
use crate::nn::{
    Act, BatchNorm2dConfig, ParamBuilder, RepConv, RepConvConfig, SqueezeExcite, drop_path_rates,
    fan_out_normal,
};

variants! {
    family: RepVgg, manifest: "repvgg.toml", paper: "https://arxiv.org/abs/2101.03697",
    pool: Pool::Avg;
    repvgg_a0 (224): "22 blocks, narrow" => Config::new(A, [48, 96, 192, 1280]).stem(48);
    repvgg_a1 (224): "22 blocks" => Config::new(A, [64, 128, 256, 1280]);
    repvgg_a2 (224): "22 blocks, wide" => Config::new(A, [96, 192, 384, 1408]);
    repvgg_b0 (224): "28 blocks" => Config::new(B, [64, 128, 256, 1280]);
    repvgg_b1 (224): "28 blocks, wide" => Config::new(B, [128, 256, 512, 2048]);
    repvgg_b1g4 (224): "28 blocks, wide, every second one in 4 groups"
        => Config { groups: 4, ..Config::new(B, [128, 256, 512, 2048]) };
    repvgg_d2se (320): "48 blocks with squeeze-excite"
        => Config { has_se: true, ..Config::new(D, [160, 320, 640, 2560]) };
}

/// Blocks of each stage.
const A: [usize; 4] = [2, 4, 14, 1];
const B: [usize; 4] = [4, 6, 16, 1];
const D: [usize; 4] = [8, 14, 24, 1];

/// The shape of a RepVGG.
#[derive(Debug, Clone)]
struct Config {
    depths: [usize; 4],
    widths: [usize; 4],
    stem_channels: usize,
    /// Groups of the convolutions in every second block of a stage.
    groups: usize,
    has_se: bool,
}

impl Config {
    fn new(depths: [usize; 4], widths: [usize; 4]) -> Self {
        Self {
            depths,
            widths,
            stem_channels: 64,
            groups: 1,
            has_se: false,
        }
    }

    fn stem(mut self, channels: usize) -> Self {
        self.stem_channels = channels;
        self
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<RepVgg> {
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let mut channels = self.stem_channels;
        let shape = options.stem.convolutions(&[2], false)?;
        let stem = RepConvConfig::new(options.in_channels, channels, 3)
            .stride(shape.stride())
            .without_identity();
        let stem = self.block(stem, channels, params);
        let mut stages = Vec::new();
        for (depth, width) in self.depths.into_iter().zip(self.widths) {
            let mut blocks = Vec::new();
            for (index, rate) in rates.by_ref().take(depth).enumerate() {
                let conv = RepConvConfig::new(channels, width, 3)
                    .stride(if index == 0 { 2 } else { 1 })
                    .groups(if index % 2 == 1 { self.groups } else { 1 })
                    .drop_path(rate);
                blocks.push(self.block(conv, width, params));
                channels = width;
            }
            stages.push(blocks);
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let first = "stem.conv_kxk.0.conv";
        let description = Description {
            stem: Some(shape),
            classifier: "head.fc",
            classifier_init: Init::normal(0.01),
            key_table: key_table![
                "stem.conv_kxk.0" => "stem.conv_kxk", "stem.conv_scale" => "stem.conv_1x1",
                "stem.se.reduce" => "stem.attn.fc1", "stem.se.expand" => "stem.attn.fc2",
                "stage*.*.conv_kxk.0" => "stages.*-1.*.conv_kxk",
                "stage*.*.conv_scale" => "stages.*-1.*.conv_1x1",
                "stage*.*.se.reduce" => "stages.*-1.*.attn.fc1",
                "stage*.*.se.expand" => "stages.*-1.*.attn.fc2",
                "stage*" => "stages.*-1",
            ],
            ..Description::new(groups, options.in_channels, channels, first)
                .also_first("stem.conv_scale.conv")
        };
        Ok((RepVgg { stem, stages }, description))
    }

    fn block(&self, conv: RepConvConfig, width: usize, params: &ParamBuilder) -> RepConv {
        let acts = [Act::Relu, Act::Sigmoid];
        let se = || SqueezeExcite::new(width, width / 16, acts, fan_out_normal, params);
        // The branches begin as a tenth of what they see, and unlike each other.
        let norm = BatchNorm2dConfig::new(width).normal_init(0.1, 0.1);
        let conv = conv.norm(norm).weights(fan_out_normal).act(Act::Relu);
        conv.init(params).with_se(self.has_se.then(se))
    }
}

#[derive(Module, Debug)]
struct RepVgg {
    stem: RepConv,
    stages: Stages<Vec<RepConv>>,
}

impl Backbone for RepVgg {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}
