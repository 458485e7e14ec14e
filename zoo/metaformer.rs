//! MetaFormer: Yu et al., "MetaFormer Is Actually What You Need for Vision", CVPR 2022,
//! <https://arxiv.org/abs/2111.11418>, and "MetaFormer Baselines for Vision", 2022,
//! <https://arxiv.org/abs/2210.13452>.
//!
//! Four stages of blocks that mix positions and then channels. PoolFormer mixes by pooling, ConvFormer by
//! separable convolutions, CAFormer by those in its first two stages and by attention in the others. The
//! structure is timm's `metaformer.py`. Parameters are those of a model for 1000 classes; accuracies are
//! those timm publishes at 224 pixels.
//!
//! ConvFormer and CAFormer have an MLP for a classifier; here its last layer is the classifier, and the
//! others stand before it. A model without classes keeps those, where timm's drops them. Dropout is
//! before the last layer, as the paper has it, and not before the first, as timm has.
//!
//! | variant | mixers | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `poolformer_s12` | pooling | 2 2 6 2 | 11 915 176 | 77.2 % (`sail_in1k`) |
//! | `poolformer_s24` | pooling | 4 4 12 4 | 21 388 968 | 80.3 % (`sail_in1k`) |
//! | `poolformerv2_s12` | pooling | 2 2 6 2 | 11 891 712 | 78.0 % (`sail_in1k`) |
//! | `convformer_s18` | convolutions | 3 3 9 3 | 26 774 448 | 83.0 % (`sail_in1k`) |
//! | `caformer_s18` | both | 3 3 9 3 | 26 341 656 | 83.7 % (`sail_in1k`) |

mod blocks;

use burn::module::Module;
use burn::tensor::Tensor;

use self::blocks::{Block, Mixer, Mlp, SepConv};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, InputSize, MapLayer, Pool, Pooling, Stage, Stages, key_table,
};
use crate::nn::{
    Conv2d, Conv2dConfig, DropPath, GroupNormConfig, LayerNorm, LayerScale, Linear, LinearConfig,
    Norm, ParamBuilder, Pointwise, SelfAttention, StarRelu, drop_path_rates, squared_relu,
};

use MixerKind::{Attention, Pooled, Separable};

variants! {
    family: MetaFormer, manifest: "metaformer.toml", paper: "https://arxiv.org/abs/2210.13452",
    pool: Pool::Avg;
    poolformer_s12 (224): "mixes by pooling" => Config::poolformer([2, 2, 6, 2]);
    poolformer_s24 (224): "mixes by pooling, deeper" => Config::poolformer([4, 4, 12, 4]);
    poolformerv2_s12 (224): "mixes by pooling, with learnt activations"
        => Config { has_mlp_head: false, ..Config::new([2, 2, 6, 2], [Pooled; 4]) };
    convformer_s18 (224): "mixes by separable convolutions"
        => Config::new([3, 3, 9, 3], [Separable; 4]);
    caformer_s18 (224): "mixes by separable convolutions and attention"
        => Config::new([3, 3, 9, 3], [Separable, Separable, Attention, Attention]);
}

/// Channels of the stages, in every variant.
const WIDTHS: [usize; 4] = [64, 128, 320, 512];
/// Channels of a head of attention.
const HEAD: usize = 32;
const EPSILON: f64 = 1e-6;
const WEIGHTS: Init = Init::trunc_normal(0.02);

/// What mixes positions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum MixerKind {
    /// The mean around a position, less the position itself.
    Pooled,
    Separable,
    Attention,
}

/// The shape of a MetaFormer.
#[derive(Debug, Clone)]
struct Config {
    /// Blocks of each stage.
    depths: [usize; 4],
    mixers: [MixerKind; 4],
    /// The first PoolFormer: GELU, biases, scales of branches that start small, and no normalisation
    /// between stages.
    is_first: bool,
    has_mlp_head: bool,
}

impl Config {
    fn new(depths: [usize; 4], mixers: [MixerKind; 4]) -> Self {
        Self {
            depths,
            mixers,
            is_first: false,
            has_mlp_head: true,
        }
    }

    fn poolformer(depths: [usize; 4]) -> Self {
        Self {
            is_first: true,
            has_mlp_head: false,
            ..Self::new(depths, [Pooled; 4])
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<MetaFormer> {
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let conv = |from, to, kernel, stride, padding| {
            let conv = Conv2dConfig::new(from, to, kernel).stride(stride);
            conv.padding(padding).bias().weights(WEIGHTS).init(params)
        };
        let between = |channels| {
            let norm = || LayerNorm::new(channels, EPSILON, params).without_bias();
            (!self.is_first).then(norm)
        };
        let stages = (0..4).map(|index| {
            let blocks = rates.by_ref().take(self.depths[index]);
            Stage {
                downsample: index.checked_sub(1).map(|before| Downsample {
                    norm: between(WIDTHS[before]),
                    conv: conv(WIDTHS[before], WIDTHS[index], 3, 2, 1),
                }),
                blocks: blocks.map(|rate| self.block(index, rate, params)).collect(),
            }
        });
        let stages = Stages::new(stages.collect());
        let stem = options.stem.convolutions(&[4], false)?;
        let stride = stem.stride();
        let last = WIDTHS[3];
        let hidden = 4 * last;
        let groups = stages.groups_with_stem();
        let description = Description {
            has_pre_logits: true,
            pre_logits_for_classes: self.has_mlp_head,
            head_features: self.has_mlp_head.then_some(hidden),
            // The stem looks 7 pixels far and pads with 2.
            input_size: InputSize::AtLeast(3),
            stem: Some(stem),
            pools: if self.has_mlp_head {
                &[Pool::Avg, Pool::Max, Pool::AvgMax]
            } else {
                &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::None]
            },
            classifier: if self.has_mlp_head {
                "head.fc.fc2"
            } else {
                "head.fc"
            },
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stage*.blocks.*.layer_scale*.gamma" => "stages.*-1.blocks.*.layer_scale*.scale",
                "stage*.blocks.*.res_scale*.gamma" => "stages.*-1.blocks.*.res_scale*.scale",
                "stage*" => "stages.*-1",
                "pre_logits.norm" => "head.norm", "pre_logits.mlp" => "head.fc",
            ],
            ..Description::new(groups, options.in_channels, last, "stem.conv")
        };
        let backbone = MetaFormer {
            stem: Stem {
                conv: conv(options.in_channels, WIDTHS[0], 7, stride, 2),
                norm: between(WIDTHS[0]),
            },
            stages,
            pre_logits: PreLogits {
                norm: LayerNorm::new(last, EPSILON, params),
                mlp: self.has_mlp_head.then(|| HeadMlp {
                    fc1: LinearConfig::new(last, hidden)
                        .weights(WEIGHTS)
                        .init(params),
                    norm: LayerNorm::new(hidden, EPSILON, params),
                }),
            },
        };
        Ok((backbone, description))
    }

    fn block(&self, stage: usize, drop_path: f64, params: &ParamBuilder) -> Block {
        let (width, mixer) = (WIDTHS[stage], self.mixers[stage]);
        let group_norm = GroupNormConfig::new(width, 1);
        let norm = || match (mixer, self.is_first) {
            (Pooled, true) => Norm::Group(group_norm.init(params)),
            (Pooled, false) => Norm::Group(group_norm.epsilon(EPSILON).without_bias().init(params)),
            _ => Norm::Layer(LayerNorm::new(width, EPSILON, params).without_bias()),
        };
        let layer = |from, to| {
            let layer = Pointwise::new(mixer != Attention, from, to, &WEIGHTS, params);
            if self.is_first {
                layer
            } else {
                layer.without_bias()
            }
        };
        let layer_scale = || self.is_first.then(|| LayerScale::new(width, 1e-5, params));
        let has_res_scale = !self.is_first && stage >= 2;
        let res_scale = || has_res_scale.then(|| LayerScale::new(width, 1.0, params));
        let conv_dw = || Conv2dConfig::new(2 * width, 2 * width, 7).padding(3);
        let attention = || SelfAttention::new(width, width / HEAD, &WEIGHTS, params);
        Block {
            norm1: norm(),
            token_mixer: match mixer {
                Pooled => None,
                Separable => Some(Mixer::Separable(SepConv {
                    pwconv1: layer(width, 2 * width),
                    act1: StarRelu::new(params),
                    dwconv: conv_dw().depthwise().weights(WEIGHTS).init(params),
                    pwconv2: layer(2 * width, width),
                })),
                Attention => Some(Mixer::Attention(attention().without_biases())),
            },
            layer_scale1: layer_scale(),
            res_scale1: res_scale(),
            norm2: norm(),
            mlp: Mlp {
                fc1: layer(width, 4 * width),
                act: (!self.is_first).then(|| StarRelu::new(params)),
                fc2: layer(4 * width, width),
            },
            layer_scale2: layer_scale(),
            res_scale2: res_scale(),
            drop_path: DropPath::new(drop_path),
        }
    }
}

#[derive(Module, Debug)]
struct MetaFormer {
    stem: Stem,
    stages: Stages<Stage<Downsample, Block>>,
    pre_logits: PreLogits,
}

impl Backbone for MetaFormer {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let pooled = pooling.map(features.into_map()?);
        let vector = self.pre_logits.norm.forward_map(pooled).flatten(1, 3);
        Ok(match &self.pre_logits.mlp {
            Some(HeadMlp { fc1, norm }) => squared_relu(fc1.forward(vector), |x| norm.forward(x)),
            None => vector,
        })
    }
}

#[derive(Module, Debug)]
struct PreLogits {
    norm: LayerNorm,
    mlp: Option<HeadMlp>,
}

/// All but the last layer of an MLP; between its layers is the square of ReLU.
#[derive(Module, Debug)]
struct HeadMlp {
    fc1: Linear,
    norm: LayerNorm,
}

#[derive(Module, Debug)]
struct Stem {
    conv: Conv2d,
    norm: Option<LayerNorm>,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward(x);
        self.norm.iter().fold(x, |x, norm| norm.forward_map(x))
    }
}

#[derive(Module, Debug)]
struct Downsample {
    norm: Option<LayerNorm>,
    conv: Conv2d,
}

impl MapLayer for Downsample {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norm.iter().fold(x, |x, norm| norm.forward_map(x));
        self.conv.forward(x)
    }
}
