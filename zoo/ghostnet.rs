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
use crate::model::{
    Backbone, Description, Features, InputSize, KeyTable, MapLayer, Pool, Pooling, Stages,
    key_table,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, ConvLayer, Epilogue, GhostBottleneck, GhostConfig, GhostKind,
    ParamBuilder,
};

variants! {
    family: GhostNet, manifest: "ghostnet.toml", paper: "https://arxiv.org/abs/1911.11907",
    pool: Pool::Avg;
    ghostnet_050 (224): "half as wide" => Config::new(GhostKind::Plain, 0.5);
    ghostnet_100 (224): "16 blocks" => Config::new(GhostKind::Plain, 1.0);
    ghostnet_130 (224): "1.3 times as wide" => Config::new(GhostKind::Plain, 1.3);
    ghostnetv2_100 (224): "V2, with gates" => Config::new(GhostKind::Plain, 1.0).gates();
    ghostnetv2_130 (224): "V2, 1.3 times as wide" => Config::new(GhostKind::Plain, 1.3).gates();
    ghostnetv2_160 (224): "V2, 1.6 times as wide" => Config::new(GhostKind::Plain, 1.6).gates();
    ghostnetv3_100 (224): "V3, with gates and branches"
        => Config::new(GhostKind::Branched, 1.0).gates();
}

/// The kernel, the channels within and of the output, whether there is a squeeze-excite, and the stride.
type BlockShape = (usize, usize, usize, bool, usize);

/// Of each stage its blocks.
#[rustfmt::skip]
const STAGES: [&[BlockShape]; 9] = [
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

/// The shape of a GhostNet.
#[derive(Debug, Clone)]
pub(super) struct Config {
    kind: GhostKind,
    /// Whether all blocks but the first two have a gate.
    has_gates: bool,
    /// Factor of all widths but that of the layer before the classifier.
    width: f64,
}

impl Config {
    pub(super) fn new(kind: GhostKind, width: f64) -> Self {
        Self {
            kind,
            has_gates: false,
            width,
        }
    }

    fn gates(mut self) -> Self {
        self.has_gates = true;
        self
    }

    pub(super) fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<GhostNet> {
        options.check_no_drop_path()?;
        let wide = |channels: usize| divisible_by_4(channels as f64 * self.width);
        let mut channels = wide(16);
        let stem = Conv2dConfig::new(options.in_channels, channels, 3);
        let layer = |conv| ConvLayer::new(conv, Act::Relu, params);
        let shape = options.stem.convolutions(&[2], false)?;
        let stem = layer(stem.padding(1).stride(shape.stride()));
        let mut number = 0;
        let mut stages: Vec<Vec<Block>> = Vec::new();
        for stage in STAGES {
            let mut blocks = Vec::new();
            for &(kernel, inner, out, has_se, stride) in stage {
                // Half as many where nothing is put side by side, but for two blocks.
                let inner = wide(match (self.kind, inner) {
                    (GhostKind::Added, 184) => 120,
                    (GhostKind::Added, inner) => inner / 2,
                    (_, inner) => inner,
                });
                let config = GhostConfig {
                    kind: self.kind,
                    kernel,
                    channels: [channels, inner, wide(out)],
                    stride,
                    se: has_se.then(|| divisible_by_4(0.25 * inner as f64)),
                    is_gated: self.has_gates && number > 1,
                };
                blocks.push(Block::Ghost(GhostBottleneck::new(&config, params)));
                channels = wide(out);
                number += 1;
            }
            stages.push(blocks);
        }
        let last = Conv2dConfig::new(channels, wide(LAST), 1);
        stages.push(vec![Block::Conv(layer(last))]);
        channels = wide(LAST);
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let description = Description {
            has_pre_logits: true,
            head_features: Some(HEAD),
            // A gate sees nothing of a single position, which more than 32 pixels do not become.
            input_size: InputSize::AtLeast(shape.scale(if self.has_gates { 33 } else { 1 })),
            stem: Some(shape),
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
        };
        Ok((backbone, description))
    }

    fn key_table(&self) -> KeyTable {
        let mut table = key_table![
            "stem.conv" => "conv_stem", "stem.bn" => "bn1", "pre_logits" => "conv_head",
            "stage*.*.bn" => "blocks.*-1.*.bn1",
        ];
        for (ours, theirs) in GhostBottleneck::names(self.kind) {
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
    stem: ConvLayer,
    stages: Stages<Vec<Block>>,
    pre_logits: Conv2d,
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
        Map::from_iter([("drop_rate".to_owned(), json!(0.0))])
    }
}

#[derive(Module, Debug)]
enum Block {
    Ghost(GhostBottleneck),
    Conv(ConvLayer),
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Ghost(block) => block.forward(x),
            Self::Conv(layer) => layer.forward(x),
        }
    }
}
