//! MobileOne: Vasu et al., "MobileOne: An Improved One Millisecond Mobile Backbone", CVPR 2023,
//! <https://arxiv.org/abs/2206.04040>.
//!
//! Pairs of a depthwise and a 1x1 convolution, which in training are sums of branches;
//! [`Classifier::fuse`](crate::Classifier::fuse) makes one convolution of each sum. The structure and
//! the names are those of timm's `byobnet.py` in the form for training, in which the weights are
//! published, under a licence of Apple's own. Parameters are those of a model for 1000 classes;
//! accuracies are those timm publishes at 224 pixels for the tag `apple_in1k`.
//!
//! | variant | parameters | ImageNet top-1 |
//! |---|---|---|
//! | `mobileone_s0` | 5 293 272 | 71.4 % |
//! | `mobileone_s1` | 4 825 192 | 75.8 % |
//! | `mobileone_s2` | 7 884 648 | 77.5 % |
//! | `mobileone_s3` | 10 170 600 | 78.0 % |
//! | `mobileone_s4` | 14 951 248 | 79.4 % |

use burn::module::Module;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{Backbone, Description, Features, Pool, Stages, key_table};
use crate::nn::{
    Act, ParamBuilder, RepConv, RepConvConfig, SqueezeExcite, drop_path_rates, fan_out_normal,
};

variants! {
    family: MobileOne, manifest: "mobileone.toml", paper: "https://arxiv.org/abs/2206.04040",
    pool: Pool::Avg;
    mobileone_s0 (224): "four branches of each kernel"
        => Config { branches: 4, stem_channels: 48, ..Config::new([48, 128, 256, 1024]) };
    mobileone_s1 (224): "one and a half to two and a half times as wide"
        => Config::new([96, 192, 512, 1280]);
    mobileone_s2 (224): "one and a half to four times as wide"
        => Config::new([96, 256, 640, 2048]);
    mobileone_s3 (224): "two to four times as wide" => Config::new([128, 320, 768, 2048]);
    mobileone_s4 (224): "three to four times as wide, with squeeze-excite"
        => Config { with_se: [0, 0, 5, 1], ..Config::new([192, 448, 896, 2048]) };
}

/// Pairs of convolutions in each stage.
const DEPTHS: [usize; 4] = [2, 8, 10, 1];

/// The shape of a MobileOne.
#[derive(Debug, Clone)]
struct Config {
    widths: [usize; 4],
    stem_channels: usize,
    /// Branches of the same kernel.
    branches: usize,
    /// How many of the last pairs of each stage have a squeeze-excite behind both convolutions.
    with_se: [usize; 4],
}

impl Config {
    fn new(widths: [usize; 4]) -> Self {
        Self {
            widths,
            stem_channels: 64,
            branches: 1,
            with_se: [0; 4],
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<MobileOne> {
        let layer = |config: RepConvConfig| config.weights(fan_out_normal).act(Act::Relu);
        let mut channels = self.stem_channels;
        let shape = options.stem.convolutions(&[2], false)?;
        let stem = RepConvConfig::new(options.in_channels, channels, 3)
            .stride(shape.stride())
            .without_identity();
        let stem = layer(stem).init(params);
        let mut rates = drop_path_rates(options.drop_path_rate, 2 * DEPTHS.iter().sum::<usize>());
        let mut rate = || rates.next().unwrap_or_default();
        let mut stages = Vec::new();
        for (stage, width) in self.widths.into_iter().enumerate() {
            let mut layers = Vec::new();
            for pair in 0..DEPTHS[stage] {
                let has_se = pair + self.with_se[stage] >= DEPTHS[stage];
                let mut push = |config: RepConvConfig, width: usize| {
                    let acts = [Act::Relu, Act::Sigmoid];
                    let se = || SqueezeExcite::new(width, width / 16, acts, fan_out_normal, params);
                    let config = layer(config).branches(self.branches).drop_path(rate());
                    layers.push(config.init(params).with_se(has_se.then(se)));
                };
                let depthwise = RepConvConfig::new(channels, channels, 3).depthwise();
                push(depthwise.stride(if pair == 0 { 2 } else { 1 }), channels);
                push(RepConvConfig::new(channels, width, 1), width);
                channels = width;
            }
            stages.push(layers);
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let first = "stem.conv_kxk.0.conv";
        let description = Description {
            stem: Some(shape),
            classifier: "head.fc",
            classifier_init: Init::normal(0.01),
            key_table: key_table![
                "stage*.*.se.reduce" => "stages.*-1.*.attn.fc1",
                "stage*.*.se.expand" => "stages.*-1.*.attn.fc2",
                "stage*" => "stages.*-1",
            ],
            ..Description::new(groups, options.in_channels, channels, first)
                .also_first("stem.conv_scale.conv")
        };
        Ok((MobileOne { stem, stages }, description))
    }
}

#[derive(Module, Debug)]
struct MobileOne {
    stem: RepConv,
    stages: Stages<Vec<RepConv>>,
}

impl Backbone for MobileOne {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}
