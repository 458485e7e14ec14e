//! SqueezeNet: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
//! <0.5MB model size", 2016, <https://arxiv.org/abs/1602.07360>.
//!
//! Modules that narrow a map and widen it again, and no norms. The classifier sees every position; its
//! scores are activated, so that none is negative, and then averaged. The structure is torchvision's
//! `squeezenet.py`; timm has no such network. Parameters are those of a model for 1000 classes,
//! accuracies those torchvision publishes at 224 pixels.
//!
//! | variant | parameters | ImageNet top-1 (`tv_in1k`) |
//! |---|---|---|
//! | `squeezenet1_0` | 1 248 424 | 58.1 % |
//! | `squeezenet1_1` | 1 235 496 | 58.2 % |

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::{FanMode, Init, Nonlinearity};
use crate::model::{Backbone, Description, Features, InputSize, MapLayer, Pool, Stages, key_table};
use crate::nn::{Act, Conv2d, Conv2dConfig, Epilogue, ParamBuilder, max_pool2d_ceil};

variants! {
    family: SqueezeNet, manifest: "squeezenet.toml", paper: "https://arxiv.org/abs/1602.07360",
    pool: Pool::Avg, library: "torchvision";
    squeezenet1_0 (224): "the network of the paper"
        => Config { stem: (96, 7), depths: [3, 4, 1] };
    squeezenet1_1 (224): "with a small stem and early poolings"
        => Config { stem: (64, 3), depths: [2, 2, 4] };
}

/// U(-b, b) with b = sqrt(6 / fan_in).
const WEIGHTS: Init = Init::KaimingUniform {
    mode: FanMode::FanIn,
    nonlinearity: Nonlinearity::LeakyRelu(0.0),
};
/// Of each module the channels between, and half of those of the output.
const MODULES: [(usize, usize); 8] = [
    (16, 64),
    (16, 64),
    (32, 128),
    (32, 128),
    (48, 192),
    (48, 192),
    (64, 256),
    (64, 256),
];

/// The shape of a SqueezeNet.
#[derive(Debug, Clone)]
struct Config {
    /// Channels and kernel of the first convolution.
    stem: (usize, usize),
    /// Modules of each stage.
    depths: [usize; 3],
}

impl Config {
    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<SqueezeNet> {
        options.check_no_drop_path()?;
        let conv = |from, to, kernel: usize| {
            let conv = Conv2dConfig::new(from, to, kernel).bias();
            conv.weights(WEIGHTS)
        };
        let (width, kernel) = self.stem;
        let shape = options.stem.convolutions(&[2], true)?;
        let pools = shape.pools() != Some(false);
        // The positions behind its convolution that leave the last pooling one, less one.
        let steps = if pools { 7 } else { 3 };
        let stem = Stem {
            conv: conv(options.in_channels, width, kernel)
                .stride(shape.stride())
                .init(params),
            pools,
        };
        let mut table = key_table!["stem.conv" => "features.0"];
        // Upstream counts the first convolution, activations and poolings too.
        let mut number = 3;
        let mut channels = width;
        let mut modules = MODULES.into_iter();
        let mut stages = Vec::new();
        for (stage, depth) in (1..).zip(self.depths) {
            let mut fires = Vec::new();
            for (fire, (between, half)) in modules.by_ref().take(depth).enumerate() {
                table.push(
                    &format!("stage{stage}.fires.{fire}"),
                    &format!("features.{number}"),
                );
                fires.push(Fire {
                    squeeze: conv(channels, between, 1).init(params),
                    expand1x1: conv(between, half, 1).init(params),
                    expand3x3: conv(between, half, 3).padding(1).init(params),
                });
                channels = 2 * half;
                number += 1;
            }
            number += 1;
            stages.push(Stage {
                fires,
                pools: stage < 3,
            });
        }
        // The classifier is a convolution.
        table.rank("head.fc.weight", 4);
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let description = Description {
            input_size: InputSize::AtLeast(steps * shape.stride() + kernel),
            stem: Some(shape),
            // Scores are pooled, and there are as many as classes.
            pools: &[Pool::Avg, Pool::Max, Pool::AvgMax],
            classifier: "classifier.1",
            score_act: Some(Act::Relu),
            classifier_init: Init::normal(0.01),
            key_table: table,
            ..Description::new(groups, options.in_channels, channels, "stem.conv")
        };
        Ok((SqueezeNet { stem, stages }, description))
    }
}

#[derive(Module, Debug)]
struct SqueezeNet {
    stem: Stem,
    stages: Stages<Stage>,
}

impl Backbone for SqueezeNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}

/// A layer, and ReLU.
fn activated(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    conv.forward_with(x, Epilogue::act(Act::Relu))
}

#[derive(Module, Debug)]
struct Stem {
    conv: Conv2d,
    pools: bool,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = activated(&self.conv, x);
        if self.pools {
            max_pool2d_ceil(x, 3, 2)
        } else {
            x
        }
    }
}

#[derive(Module, Debug)]
struct Stage {
    fires: Vec<Fire>,
    pools: bool,
}

impl MapLayer for Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.fires.forward(x);
        if self.pools {
            max_pool2d_ceil(x, 3, 2)
        } else {
            x
        }
    }
}

/// Few channels, and then two convolutions side by side.
#[derive(Module, Debug)]
struct Fire {
    squeeze: Conv2d,
    expand1x1: Conv2d,
    expand3x3: Conv2d,
}

impl MapLayer for Fire {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = activated(&self.squeeze, x);
        let maps = [&self.expand1x1, &self.expand3x3].map(|conv| activated(conv, x.clone()));
        Tensor::cat(maps.to_vec(), 1)
    }
}
