//! HRNet, which keeps a fine map beside coarser ones: Wang et al., "Deep High-Resolution
//! Representation Learning for Visual Recognition", TPAMI 2020, <https://arxiv.org/abs/1908.07919>.
//!
//! From the first stage on a group gives several maps, each half the size of the one before, and
//! exchanges between them; the layers before the classifier make one map of them. The structure is
//! timm's `hrnet.py`. Parameters are those of a model for 1000 classes; accuracies are those timm
//! publishes at 224 pixels.
//!
//! | variant | width of the finest map | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `hrnet_w18_small` | 16 | 13 187 464 | 73.9 % (`gluon_in1k`) |
//! | `hrnet_w18_small_v2` | 18 | 15 597 464 | 78.2 % (`gluon_in1k`) |
//! | `hrnet_w18` | 18 | 21 299 004 | 78.1 % (`ms_aug_in1k`) |
//! | `hrnet_w30` | 30 | 37 712 220 | 78.2 % (`ms_in1k`) |
//! | `hrnet_w32` | 32 | 41 232 680 | 78.5 % (`ms_in1k`) |

mod exchange;

use burn::module::Module;
use burn::tensor::Tensor;

use self::exchange::{Exchange, PreLogits, Transition};
use super::residual::Kind::{self, Basic, Bottleneck};
use super::residual::{self, Block, Place, conv};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, InputSize, KeyTable, MapLayer, Pool, Pooling, Stages,
    key_table,
};
use crate::nn::{Act, ConvLayer, ConvNorm, ParamBuilder};

variants! {
    family: HrNet, manifest: "hrnet.toml", paper: "https://arxiv.org/abs/1908.07919",
    pool: Pool::Avg;
    hrnet_w18_small (224): "small, width 16"
        => Config { width: 16, first: [1, 32], modules: [1, 1, 1], blocks: 2 };
    hrnet_w18_small_v2 (224): "small, width 18"
        => Config { width: 18, first: [2, 64], modules: [1, 3, 2], blocks: 2 };
    hrnet_w18 (224): "width 18" => Config::new(18);
    hrnet_w30 (224): "width 30" => Config::new(30);
    hrnet_w32 (224): "width 32" => Config::new(32);
}

/// Channels between the stem and the first stage.
const STEM: usize = 64;
/// Widths of the blocks that each map goes through before the classifier.
const HEAD: [usize; 4] = [32, 64, 128, 256];
/// Channels of what is pooled.
const FEATURES: usize = 2048;

/// The shape of an HRNet.
#[derive(Debug, Clone)]
struct Config {
    /// Channels of the finest map; each coarser one has twice as many.
    width: usize,
    /// Blocks of the first stage, and their width.
    first: [usize; 2],
    /// Exchanges of each further stage.
    modules: [usize; 3],
    /// Blocks of each map before an exchange.
    blocks: usize,
}

impl Config {
    fn new(width: usize) -> Self {
        Self {
            width,
            first: [4, 64],
            modules: [1, 4, 3],
            blocks: 4,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<HrNet> {
        options.check_no_drop_path()?;
        let shape = options.stem.convolutions(&[2, 2], false)?;
        let strides = shape.strides();
        let stem = Stem {
            conv1: layer([options.in_channels, STEM], strides[0], Act::Relu, params),
            conv2: layer([STEM, STEM], strides[1], Act::Relu, params),
        };
        let mut stages = vec![self.first_stage(params)];
        for (index, modules) in self.modules.into_iter().enumerate() {
            let maps = index + 2;
            let module = |at| {
                // A coarser map begins behind the last module.
                let coarser = at + 1 == modules && index + 1 < self.modules.len();
                self.module(maps, coarser, params)
            };
            stages.push((0..modules).map(module).collect());
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let description = Description {
            has_pre_logits: true,
            // Maps that are halved add up to those that are doubled.
            input_size: InputSize::MultipleOf(shape.scale(32)),
            stem: Some(shape),
            classifier: "classifier",
            key_table: names(),
            ..Description::new(groups, options.in_channels, FEATURES, "stem.conv1")
        };
        let backbone = HrNet {
            stem,
            stages,
            pre_logits: self.pre_logits(params),
        };
        Ok((backbone, description))
    }

    /// Channels of a map, the finest first.
    fn channels(&self, map: usize) -> usize {
        self.width << map
    }

    /// Blocks one after the other, and two maps of what they give.
    fn first_stage(&self, params: &ParamBuilder) -> Vec<Exchange> {
        let [depth, planes] = self.first;
        let channels = planes * Bottleneck.expansion();
        let module = |at| {
            let from = if at == 0 { STEM } else { channels };
            let [fine, coarse] = [0, 1].map(|map| [channels, self.channels(map)]);
            let transition = || Transition {
                conv_same: Some(layer(fine, 1, Act::Relu, params)),
                conv_new: layer(coarse, 2, Act::Relu, params),
            };
            Exchange {
                branches: vec![vec![block(Bottleneck, from, planes, params)]],
                fuse: Vec::new(),
                transition: (at + 1 == depth).then(transition),
            }
        };
        (0..depth).map(module).collect()
    }

    fn module(&self, maps: usize, coarser: bool, params: &ParamBuilder) -> Exchange {
        let branch = |map| {
            let channels = self.channels(map);
            let blocks = (0..self.blocks).map(|_| block(Basic, channels, channels, params));
            blocks.collect()
        };
        let way = |to: usize, from: usize| {
            let [from_channels, to_channels] = [from, to].map(|map| self.channels(map));
            if from > to {
                let conv = conv(from_channels, to_channels, 1);
                return vec![ConvLayer::new(conv, Act::None, params)];
            }
            // Each halves the map; the last one widens it.
            let halve = |step| {
                let is_last = step + 1 == to - from;
                let (channels, act) = match is_last {
                    true => (to_channels, Act::None),
                    false => (from_channels, Act::Relu),
                };
                ConvLayer {
                    conv: layer([from_channels, channels], 2, act, params),
                }
            };
            (0..to - from).map(halve).collect()
        };
        let ways = |to| (0..maps).map(|from| way(to, from)).collect();
        let transition = || Transition {
            conv_same: None,
            conv_new: layer(
                [self.channels(maps - 1), self.channels(maps)],
                2,
                Act::Relu,
                params,
            ),
        };
        Exchange {
            branches: (0..maps).map(branch).collect(),
            fuse: (0..maps).map(ways).collect(),
            transition: coarser.then(transition),
        }
    }

    fn pre_logits(&self, params: &ParamBuilder) -> PreLogits {
        let widths = HEAD.map(|planes| planes * Bottleneck.expansion());
        let increase = HEAD.into_iter().enumerate();
        let increase =
            increase.map(|(map, planes)| block(Bottleneck, self.channels(map), planes, params));
        // The rule of all convolutions says nothing of a bias.
        let biased = |ends: [usize; 2], kernel, stride| {
            let conv = conv(ends[0], ends[1], kernel).stride(stride);
            ConvNorm::new(conv.bias().biases(Init::PyTorch), Act::Relu, params)
        };
        let halve = |ends: &[usize]| ConvLayer {
            conv: biased([ends[0], ends[1]], 3, 2),
        };
        PreLogits {
            increase: increase.collect(),
            down: widths.windows(2).map(halve).collect(),
            conv: biased([widths[3], FEATURES], 1, 1),
        }
    }
}

/// A convolution of 3x3.
fn layer([from, to]: [usize; 2], stride: usize, act: Act, params: &ParamBuilder) -> ConvNorm {
    ConvNorm::new(conv(from, to, 3).stride(stride), act, params)
}

/// A block of a ResNet, which does not start as the identity.
fn block(kind: Kind, in_channels: usize, planes: usize, params: &ParamBuilder) -> Block {
    let net = residual::Config {
        zero_init: false,
        ..residual::Config::new(kind, [0; 4])
    };
    let place = Place {
        kind,
        planes,
        in_channels,
        stride: 1,
        drop_path: 0.0,
    };
    net.block(&place, params)
}

fn names() -> KeyTable {
    let mut table = key_table![
        "stem.conv*" => "conv*", "stem.bn*" => "bn*",
        "stage1.*.transition.conv_same" => "transition1.0.0",
        "stage1.*.transition.bn_same" => "transition1.0.1",
        "stage1.*.transition.conv_new" => "transition1.1.0.0",
        "stage1.*.transition.bn_new" => "transition1.1.0.1",
        "stage2.*.transition.conv_new" => "transition2.2.0.0",
        "stage2.*.transition.bn_new" => "transition2.2.0.1",
        "stage3.*.transition.conv_new" => "transition3.3.0.0",
        "stage3.*.transition.bn_new" => "transition3.3.0.1",
        "stage1.*.branches.0.0.downsample.conv" => "layer1.*.downsample.0",
        "stage1.*.branches.0.0.downsample.bn" => "layer1.*.downsample.1",
        "stage1.*.branches.0.0" => "layer1.*",
        "pre_logits.increase.*.downsample.conv" => "incre_modules.*.0.downsample.0",
        "pre_logits.increase.*.downsample.bn" => "incre_modules.*.0.downsample.1",
        "pre_logits.increase.*" => "incre_modules.*.0",
        "pre_logits.down.*.conv" => "downsamp_modules.*.0",
        "pre_logits.down.*.bn" => "downsamp_modules.*.1",
        "pre_logits.conv" => "final_layer.0", "pre_logits.bn" => "final_layer.1",
    ];
    // A way to a finer map is one convolution, one to a coarser map a list of them.
    for (to, from) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
        for (part, place) in [("conv", 0), ("bn", 1)] {
            let ours = format!("stage*.*.fuse.{to}.{from}.0.{part}");
            table.push(&ours, &format!("stage*.*.fuse_layers.{to}.{from}.{place}"));
        }
    }
    table.push("stage*.*.fuse.*.*.*.conv", "stage*.*.fuse_layers.*.*.*.0");
    table.push("stage*.*.fuse.*.*.*.bn", "stage*.*.fuse_layers.*.*.*.1");
    table
}

#[derive(Module, Debug)]
struct HrNet {
    stem: Stem,
    stages: Stages<Vec<Exchange>>,
    pre_logits: PreLogits,
}

impl Backbone for HrNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        let Some(stage) = index.checked_sub(1) else {
            return Ok(Features::Map(self.stem.forward(x.into_map()?)));
        };
        let maps = match x {
            Features::Map(map) => vec![map],
            other => other.into_maps()?,
        };
        let mut modules = self.stages.stage(stage)?.iter();
        let maps = modules.try_fold(maps, |maps, module| module.forward(maps))?;
        Ok(Features::Maps(maps))
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let map = self.pre_logits.forward(features.into_maps()?)?;
        Ok(pooling.vector(Features::Map(map)))
    }
}

#[derive(Module, Debug)]
struct Stem {
    conv1: ConvNorm,
    conv2: ConvNorm,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv2.forward(self.conv1.forward(x))
    }
}
