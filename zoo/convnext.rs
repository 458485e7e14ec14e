//! ConvNeXt: Liu et al., "A ConvNet for the 2020s", CVPR 2022, <https://arxiv.org/abs/2201.03545>,
//! and ConvNeXt V2: Woo et al., CVPR 2023, <https://arxiv.org/abs/2301.00808>.
//!
//! A convolutional network in the manner of a transformer: patches, layer normalisation, blocks of a
//! 7x7 depthwise convolution and an MLP. V2 has a global response normalisation in place of a layer
//! scale. The structure is timm's `convnext.py`. Parameters are those of a model for 1000 classes,
//! accuracies timm's at 224 pixels.
//!
//! The weights of V2 (CC BY-NC 4.0) and of EUPE (`eupe_*`) are for non-commercial use; those of DINOv3
//! (`dinov3_*`) have a licence of their own. The files of these two have no classifier.
//!
//! | variant | blocks | width | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `convnext_zepto_rms` | 2 2 4 2 | 32 | 2 155 656 | 72.8 % (`ra4_e3600_r224_in1k`) |
//! | `convnext_atto` | 2 2 6 2 | 40 | 3 695 520 | 75.7 % (`d2_in1k`) |
//! | `convnext_atto_ols` | 2 2 6 2 | 40 | 3 702 912 | 75.9 % (`a2_in1k`) |
//! | `convnext_atto_rms` | 2 2 6 2 | 40 | 3 693 040 | |
//! | `convnext_femto` | 2 2 6 2 | 48 | 5 217 784 | 77.5 % (`d1_in1k`) |
//! | `convnext_femto_ols` | 2 2 6 2 | 48 | 5 226 520 | 77.9 % (`d1_in1k`) |
//! | `convnext_pico` | 2 2 6 2 | 64 | 9 045 672 | 79.5 % (`d1_in1k`) |
//! | `convnext_pico_ols` | 2 2 6 2 | 64 | 9 061 928 | 79.5 % (`d1_in1k`) |
//! | `convnext_nano` | 2 2 8 2 | 80 | 15 593 560 | 82.3 % (`in12k_ft_in1k`) |
//! | `convnext_nano_ols` | 2 2 8 2 | 80 | 15 649 560 | 80.9 % (`d1h_in1k`) |
//! | `convnext_tiny` | 3 3 9 3 | 96 | 28 589 128 | 84.2 % (`in12k_ft_in1k`) |
//! | `convnext_tiny_hnf` | 3 3 9 3 | 96 | 28 589 128 | 82.2 % (`a2h_in1k`) |
//! | `convnext_small` | 3 3 27 3 | 96 | 50 223 688 | 85.2 % (`in12k_ft_in1k`) |
//! | `convnext_base` | 3 3 27 3 | 128 | 88 591 464 | 85.8 % (`fb_in22k_ft_in1k`) |
//! | `convnext_large` | 3 3 27 3 | 192 | 197 767 336 | 86.6 % (`fb_in22k_ft_in1k`) |
//! | `convnextv2_atto` | 2 2 6 2 | 40 | 3 708 400 | 76.6 % (`fcmae_ft_in1k`) |
//! | `convnextv2_femto` | 2 2 6 2 | 48 | 5 233 240 | 78.5 % (`fcmae_ft_in1k`) |
//! | `convnextv2_pico` | 2 2 6 2 | 64 | 9 066 280 | 80.3 % (`fcmae_ft_in1k`) |
//! | `convnextv2_nano` | 2 2 8 2 | 80 | 15 623 800 | 82.0 % (`fcmae_ft_in22k_in1k`) |
//! | `convnextv2_tiny` | 3 3 9 3 | 96 | 28 635 496 | 83.9 % (`fcmae_ft_in22k_in1k`) |
//! | `convnextv2_small` | 3 3 27 3 | 96 | 50 318 440 | |
//! | `convnextv2_base` | 3 3 27 3 | 128 | 88 717 800 | 86.8 % (`fcmae_ft_in22k_in1k`) |
//! | `test_convnext` | 1 2 4 2 | 24 | 272 128 | 47.8 % (`r160_in1k`, 160 px) |
//! | `test_convnext2` | 1 1 1 1 | 32 | 477 800 | 53.5 % (`r160_in1k`, 160 px) |
//! | `test_convnext3` | 1 1 1 1 | 32 | 468 840 | 53.3 % (`r160_in1k`, 160 px) |

mod blocks;
mod names;

use burn::module::Module;
use burn::tensor::Tensor;

use self::blocks::{Block, Mlp, Norm, Patches, Stem};
use self::names::{facebook_names, torchvision_names, transformers_names};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, Group, InputSize, MapLayer, Pool, Pooling, Stage, Stages,
    key_table,
};
use crate::nn::{
    Act, Conv2dConfig, DropPath, GlobalResponseNorm, LayerNorm, LayerScale, ParamBuilder,
    Pointwise, RmsNorm, drop_path_rates,
};

use NormKind::{Layer, MeanSquare, Variance};

variants! {
    family: ConvNeXt, manifest: "convnext.toml", paper: "https://arxiv.org/abs/2201.03545",
    pool: Pool::Avg;
    convnext_zepto_rms (224): "width 32, scaled by the variance"
        => Config { norm: Variance, ..Config::new(1, [2, 2, 4, 2], 32) };
    convnext_atto (224): "width 40" => Config::new(1, [2, 2, 6, 2], 40);
    convnext_atto_ols (224): "width 40, overlapping stem"
        => Config { overlap: Some(24), ..Config::new(1, [2, 2, 6, 2], 40) };
    convnext_atto_rms (224): "width 40, scaled by the mean square"
        => Config { norm: MeanSquare, ..Config::new(1, [2, 2, 6, 2], 40) };
    convnext_femto (224): "width 48" => Config::new(1, [2, 2, 6, 2], 48);
    convnext_femto_ols (224): "width 48, overlapping stem"
        => Config { overlap: Some(24), ..Config::new(1, [2, 2, 6, 2], 48) };
    convnext_pico (224): "width 64" => Config::new(1, [2, 2, 6, 2], 64);
    convnext_pico_ols (224): "width 64, overlapping stem"
        => Config { overlap: Some(32), ..Config::new(1, [2, 2, 6, 2], 64) };
    convnext_nano (224): "width 80" => Config::new(1, [2, 2, 8, 2], 80);
    convnext_nano_ols (224): "width 80, overlapping stem"
        => Config { overlap: Some(80), ..Config::new(1, [2, 2, 8, 2], 80) };
    convnext_tiny (224): "width 96" => Config::new(1, [3, 3, 9, 3], 96);
    convnext_tiny_hnf (224): "width 96, normalised before the pooling"
        => Config { has_conv_mlp: true, pools_first: false, ..Config::new(1, [3, 3, 9, 3], 96) };
    convnext_small (224): "width 96, deeper" => Config::new(1, [3, 3, 27, 3], 96);
    convnext_base (224): "width 128" => Config::new(1, [3, 3, 27, 3], 128);
    convnext_large (224): "width 192" => Config::new(1, [3, 3, 27, 3], 192);
    convnextv2_atto (224): "V2, width 40; CC BY-NC 4.0" => Config::new(2, [2, 2, 6, 2], 40);
    convnextv2_femto (224): "V2, width 48; CC BY-NC 4.0" => Config::new(2, [2, 2, 6, 2], 48);
    convnextv2_pico (224): "V2, width 64; CC BY-NC 4.0" => Config::new(2, [2, 2, 6, 2], 64);
    convnextv2_nano (224): "V2, width 80; CC BY-NC 4.0" => Config::new(2, [2, 2, 8, 2], 80);
    convnextv2_tiny (224): "V2, width 96; CC BY-NC 4.0" => Config::new(2, [3, 3, 9, 3], 96);
    convnextv2_small (224): "V2, width 96, deeper" => Config::new(2, [3, 3, 27, 3], 96);
    convnextv2_base (224): "V2, width 128; CC BY-NC 4.0" => Config::new(2, [3, 3, 27, 3], 128);
    test_convnext (160): "a tiny one, for tests"
        => Config::test([1, 2, 4, 2], [24, 32, 48, 64], Act::GeluTanh);
    test_convnext2 (160): "a tiny and flat one, for tests"
        => Config::test([1, 1, 1, 1], [32, 64, 96, 128], Act::GeluTanh);
    test_convnext3 (160): "a tiny one of several kernels, for tests"
        => Config {
            kernels: [7, 5, 5, 3],
            ..Config::test([1, 1, 1, 1], [32, 64, 96, 128], Act::Silu)
        };
}

const WEIGHTS: Init = Init::trunc_normal(0.02);

/// What normalises the channels of a position.
#[derive(Debug, Clone, Copy)]
enum NormKind {
    Layer,
    MeanSquare,
    Variance,
}

/// The shape of a ConvNeXt.
#[derive(Debug, Clone)]
struct Config {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Channels of each stage.
    widths: [usize; 4],
    /// Sides of the depthwise kernels of each stage.
    kernels: [usize; 4],
    is_v2: bool,
    /// Whether the layers of an MLP are said by kernels of 1x1.
    has_conv_mlp: bool,
    act: Act,
    norm: NormKind,
    epsilon: f64,
    /// Channels between the two overlapping convolutions of a stem that does not cut patches.
    overlap: Option<usize>,
    /// Whether the last normalisation is behind the pooling.
    pools_first: bool,
}

impl Config {
    fn new(version: usize, depths: [usize; 4], width: usize) -> Self {
        Self {
            depths,
            widths: [width, 2 * width, 4 * width, 8 * width],
            kernels: [7; 4],
            is_v2: version == 2,
            has_conv_mlp: width < 96,
            act: Act::Gelu,
            norm: Layer,
            epsilon: 1e-6,
            overlap: None,
            pools_first: true,
        }
    }

    fn test(depths: [usize; 4], widths: [usize; 4], act: Act) -> Self {
        Self {
            widths,
            has_conv_mlp: false,
            act,
            epsilon: 1e-5,
            ..Self::new(1, depths, widths[0])
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<ConvNeXt> {
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let stages = (0..4).map(|index| {
            let width = self.widths[index];
            let blocks = rates.by_ref().take(self.depths[index]);
            Stage {
                downsample: index.checked_sub(1).map(|before| {
                    let from = self.widths[before];
                    let conv = Conv2dConfig::new(from, width, 2).stride(2);
                    Patches {
                        conv: conv.bias().weights(WEIGHTS).init(params),
                        norm: self.norm(from, params),
                    }
                }),
                blocks: blocks
                    .map(|rate| self.block(width, self.kernels[index], rate, params))
                    .collect(),
            }
        });
        let stages = Stages::new(stages.collect());
        let stem = match self.overlap {
            Some(_) => options.stem.convolutions(&[2, 2], false)?,
            // Of patches of two pixels, timm's first stage halves the map once more.
            None => options.stem.patches(4)?,
        };
        let last = self.widths[3];
        let mut groups = stages.groups_with_stem();
        if !self.pools_first {
            groups.push(Group::named("norm"));
        }
        let (first, least) = match self.overlap {
            Some(_) => ("stem.first", 29),
            None => ("stem.conv", 32),
        };
        let mut table = key_table![
            "stage*.downsample.norm" => "stages.*-1.downsample.0",
            "stage*.downsample.conv" => "stages.*-1.downsample.1",
            "stage*.blocks.*.scale" => "stages.*-1.blocks.*", "stage*" => "stages.*-1",
            "norm" => "norm_pre", "pre_logits" => "head.norm", "stem.first" => "stem.0",
        ];
        let shift = usize::from(self.overlap.is_some());
        table.push("stem.conv", &format!("stem.{shift}"));
        table.push("stem.norm", &format!("stem.{}", shift + 1));
        let norm = || self.norm(last, params);
        let backbone = ConvNeXt {
            stem: self.stem(options.in_channels, stem.strides(), params),
            stages,
            norm: (!self.pools_first).then(norm),
            pre_logits: self.pools_first.then(norm),
        };
        let description = Description {
            has_pre_logits: self.pools_first,
            // So many pixels are one position in the last stage.
            input_size: InputSize::AtLeast(stem.scale(least)),
            // A normalisation behind the pooling has as many channels as the features.
            pools: if self.pools_first {
                &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::None]
            } else {
                &[
                    Pool::Avg,
                    Pool::Max,
                    Pool::AvgMax,
                    Pool::CatAvgMax,
                    Pool::None,
                ]
            },
            stem: Some(stem),
            classifier: "head.fc",
            classifier_init: WEIGHTS,
            key_table: table,
            other_names: vec![
                torchvision_names(),
                facebook_names(),
                transformers_names("convnext"),
                transformers_names("convnextv2"),
            ],
            ..Description::new(groups, options.in_channels, last, first)
        };
        Ok((backbone, description))
    }

    fn stem(&self, in_channels: usize, strides: &[usize], params: &ParamBuilder) -> Stem {
        let width = self.widths[0];
        let conv =
            |from, to, stride: usize| Conv2dConfig::new(from, to, 3).stride(stride).padding(1);
        let (first, conv) = match self.overlap {
            Some(between) => (
                Some(conv(in_channels, between, strides[0])),
                conv(between, width, strides[1]),
            ),
            None => {
                let patch = strides[0];
                (
                    None,
                    Conv2dConfig::new(in_channels, width, patch).stride(patch),
                )
            }
        };
        let init = |conv: Conv2dConfig| conv.bias().weights(WEIGHTS).init(params);
        Stem {
            first: first.map(init),
            conv: init(conv),
            norm: self.norm(width, params),
        }
    }

    fn norm(&self, channels: usize, params: &ParamBuilder) -> Norm {
        let rms_norm = || RmsNorm::new(channels, self.epsilon, params);
        match self.norm {
            Layer => Norm::Layer(LayerNorm::new(channels, self.epsilon, params)),
            MeanSquare => Norm::Rms(rms_norm()),
            Variance => Norm::Rms(rms_norm().by_variance()),
        }
    }

    fn block(&self, width: usize, kernel: usize, drop_path: f64, params: &ParamBuilder) -> Block {
        let layer = |from, to| Pointwise::new(self.has_conv_mlp, from, to, &WEIGHTS, params);
        let grn = || GlobalResponseNorm::new(4 * width, params);
        let conv_dw = Conv2dConfig::new(width, width, kernel).padding(kernel / 2);
        Block {
            conv_dw: conv_dw.depthwise().bias().weights(WEIGHTS).init(params),
            norm: self.norm(width, params),
            mlp: Mlp {
                fc1: layer(width, 4 * width),
                grn: self.is_v2.then(grn),
                fc2: layer(4 * width, width),
                act: self.act,
            },
            scale: (!self.is_v2).then(|| LayerScale::new(width, 1e-6, params)),
            drop_path: DropPath::new(drop_path),
        }
    }
}

#[derive(Module, Debug)]
struct ConvNeXt {
    stem: Stem,
    stages: Stages<Stage<Patches, Block>>,
    norm: Option<Norm>,
    pre_logits: Option<Norm>,
}

impl Backbone for ConvNeXt {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        match &self.norm {
            Some(norm) if index == 5 => Ok(Features::Map(norm.forward(x.into_map()?))),
            _ => self.stages.forward_group(&self.stem, index, x),
        }
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let pooled = pooling.map(features.into_map()?);
        Ok(self.pre_logits.forward(pooled).flatten(1, 3))
    }
}
