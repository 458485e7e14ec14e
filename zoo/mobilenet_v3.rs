//! MobileNetV3: Howard et al., "Searching for MobileNetV3", ICCV 2019,
//! <https://arxiv.org/abs/1905.02244>.
//!
//! Inverted residuals with squeeze-excite and hard-swish, and a convolution behind the pooling. The
//! structure is timm's `mobilenetv3.py`. torchvision's networks have the same parameters and another
//! epsilon (1e-3), so its files would compute something else here and are not read. Parameters are
//! those of a model for 1000 classes; accuracies are those timm publishes at 224 pixels.
//!
//! | variant | parameters | ImageNet top-1 (weights) |
//! |---|---|---|
//! | `mobilenetv3_small_050` | 1 593 224 | 57.9 % (`lamb_in1k`) |
//! | `mobilenetv3_small_075` | 2 041 872 | 65.3 % (`lamb_in1k`) |
//! | `mobilenetv3_small_100` | 2 542 856 | 67.6 % (`lamb_in1k`) |
//! | `mobilenetv3_large_075` | 3 993 528 |  |
//! | `mobilenetv3_large_100` | 5 483 032 | 75.8 % (`ra_in1k`) |

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::{FanMode, Init, Nonlinearity};
use crate::model::{Backbone, Description, Features, MapLayer, Pool, Pooling, Stages, key_table};
use crate::nn::{
    Act, BlockSpec, BlockStyle, Conv2d, Conv2dConfig, ConvNorm, Epilogue, InvertedResidual,
    ParamBuilder, divisible_by_8, fan_out_normal,
};

variants! {
    family: MobileNetV3, manifest: "mobilenet_v3.toml", paper: "https://arxiv.org/abs/1905.02244",
    pool: Pool::Avg;
    mobilenetv3_small_050 (224): "small, half as wide" => Config::small(0.5);
    mobilenetv3_small_075 (224): "small, three quarters as wide" => Config::small(0.75);
    mobilenetv3_small_100 (224): "small" => Config::small(1.0);
    mobilenetv3_large_075 (224): "large, three quarters as wide" => Config::large(0.75);
    mobilenetv3_large_100 (224): "large" => Config::large(1.0);
}

/// The blocks of each stage; the words are [`BlockSpec`]'s.
const SMALL: &[&[&str]] = &[
    &["ds_r1_k3_s2_e1_c16_se0.25_nre"],
    &["ir_r1_k3_s2_e4.5_c24_nre", "ir_r1_k3_s1_e3.67_c24_nre"],
    &["ir_r1_k5_s2_e4_c40_se0.25", "ir_r2_k5_s1_e6_c40_se0.25"],
    &["ir_r2_k5_s1_e3_c48_se0.25"],
    &["ir_r3_k5_s2_e6_c96_se0.25"],
    &["cn_r1_k1_s1_c576"],
];

const LARGE: &[&[&str]] = &[
    &["ds_r1_k3_s1_e1_c16_nre"],
    &["ir_r1_k3_s2_e4_c24_nre", "ir_r1_k3_s1_e3_c24_nre"],
    &["ir_r3_k5_s2_e3_c40_se0.25_nre"],
    &[
        "ir_r1_k3_s2_e6_c80",
        "ir_r1_k3_s1_e2.5_c80",
        "ir_r2_k3_s1_e2.3_c80",
    ],
    &["ir_r2_k3_s1_e6_c112_se0.25"],
    &["ir_r3_k5_s2_e6_c160_se0.25"],
    &["cn_r1_k1_s1_c960"],
];

const STYLE: BlockStyle = BlockStyle {
    act: Act::HardSwish,
    se_acts: [Act::Relu, Act::HardSigmoid],
    epsilon: 1e-5,
};

/// U(-b, b) with b = 1 / sqrt(classes).
const CLASSIFIER: Init = Init::KaimingUniform {
    mode: FanMode::FanOut,
    nonlinearity: Nonlinearity::LeakyRelu(2.236_067_977_499_79),
};

/// The shape of a MobileNetV3.
#[derive(Debug, Clone)]
struct Config {
    stages: &'static [&'static [&'static str]],
    /// Factor of all widths but that of the layer before the classifier.
    width: f64,
    head_channels: usize,
}

impl Config {
    fn small(width: f64) -> Self {
        Self {
            stages: SMALL,
            width,
            head_channels: 1024,
        }
    }

    fn large(width: f64) -> Self {
        Self {
            stages: LARGE,
            width,
            head_channels: 1280,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<MobileNetV3> {
        let mut specs: Vec<Vec<BlockSpec>> = Vec::new();
        for stage in self.stages {
            let stage: Result<_> = stage.iter().map(|words| words.parse()).collect();
            specs.push(stage?);
        }
        let total: usize = specs.iter().flatten().map(|spec| spec.repeats).sum();
        // Unlike in other families, the last block does not reach the full rate.
        let mut rates = (0..total).map(|i| options.drop_path_rate * i as f64 / total as f64);
        // The stem does not become narrower than this.
        let mut channels = divisible_by_8(16.0 * self.width.max(0.75));
        let stem = Conv2dConfig::new(options.in_channels, channels, 3)
            .padding(1)
            .stride(2);
        let stem = stem.weights(fan_out_normal(9 * channels));
        let stem = Stem {
            conv: ConvNorm::new(stem, STYLE.act, params),
        };
        let mut table = key_table![
            "stem.conv" => "conv_stem", "stem.bn" => "bn1", "pre_logits" => "conv_head",
        ];
        let mut stages = Vec::new();
        for (index, of_stage) in specs.iter().enumerate() {
            let mut blocks = Vec::new();
            for spec in of_stage {
                for (repeat, rate) in rates.by_ref().take(spec.repeats).enumerate() {
                    let stride = if repeat == 0 { spec.stride } else { 1 };
                    let ends = [channels, divisible_by_8(spec.channels as f64 * self.width)];
                    channels = ends[1];
                    blocks.push(InvertedResidual::new(
                        spec, STYLE, ends, stride, rate, params,
                    ));
                }
                for (ours, theirs) in InvertedResidual::names(spec.kind) {
                    let path = format!("stage{}.*.{ours}", index + 1);
                    table.push(&path, &format!("blocks.{index}.*.{theirs}"));
                }
            }
            stages.push(blocks);
        }
        table.push("stage*", "blocks.*-1");
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let description = Description {
            has_pre_logits: true,
            head_features: Some(self.head_channels),
            classifier: "classifier",
            classifier_init: CLASSIFIER,
            key_table: table,
            ..Description::new(groups, options.in_channels, channels, "stem.conv")
        };
        let pooled = channels * options.pool.multiplier();
        let pre_logits = Conv2dConfig::new(pooled, self.head_channels, 1).bias();
        let pre_logits = pre_logits
            .weights(fan_out_normal(self.head_channels))
            .init(params);
        let backbone = MobileNetV3 {
            stem,
            stages,
            pre_logits,
        };
        Ok((backbone, description))
    }
}

#[derive(Module, Debug)]
struct MobileNetV3 {
    stem: Stem,
    stages: Stages<Vec<InvertedResidual>>,
    pre_logits: Conv2d,
}

impl Backbone for MobileNetV3 {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let pooled = pooling.map(features.into_map()?);
        let act = Epilogue::act(STYLE.act);
        Ok(self.pre_logits.forward_with(pooled, act).flatten(1, 3))
    }
}

#[derive(Module, Debug)]
struct Stem {
    conv: ConvNorm,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }
}

impl MapLayer for InvertedResidual {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward(x)
    }
}
