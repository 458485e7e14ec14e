//! FastViT: Vasu et al., "FastViT: A Fast Hybrid Vision Transformer using Structural
//! Reparameterization", ICCV 2023, <https://arxiv.org/abs/2303.14189>; and the image tower of
//! MobileCLIP, CVPR 2024, <https://arxiv.org/abs/2311.17049>.
//!
//! Depthwise convolutions mix the positions, in the last stage of some variants attention. Most
//! convolutions are sums of branches in training, which
//! [`Classifier::fuse`](crate::Classifier::fuse) makes one, with the additions around them. The
//! structure is timm's `fastvit.py` in the form for training, in which the weights are published,
//! under licences of Apple's own (MobileCLIP's for research only). Parameters are those of a model
//! for 1000 classes; accuracies are those timm publishes at 256 pixels.
//!
//! | variant | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `fastvit_t8` | 2 2 4 2 | 4 026 232 | 77.2 % (`apple_dist_in1k`) |
//! | `fastvit_t12` | 2 2 6 2 | 7 553 704 | 80.4 % (`apple_dist_in1k`) |
//! | `fastvit_s12` | 2 2 6 2 | 9 473 576 | 81.1 % (`apple_dist_in1k`) |
//! | `fastvit_sa12` | 2 2 6 2 | 11 580 968 | 81.8 % (`apple_dist_in1k`) |
//! | `fastvit_sa24` | 4 4 12 4 | 21 554 216 | 83.4 % (`apple_dist_in1k`) |
//! | `fastvit_mci0` | 2 6 10 2 | 11 907 176 |  |

mod blocks;

use burn::module::Module;

use self::blocks::{
    AttentionBlock, Block, ConvMlp, Downsample, MixerBlock, RepMixer, Scale, Stage,
};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{Backbone, Description, Features, Group, Pool, Stages, key_table};
use crate::nn::{
    Act, BatchNorm2dConfig, Conv2dConfig, DropPath, ParamBuilder, RepConv, RepConvConfig,
    SelfAttention, SqueezeExcite, drop_path_rates,
};

variants! {
    family: FastVit, manifest: "fastvit.toml", paper: "https://arxiv.org/abs/2303.14189",
    pool: Pool::Avg;
    fastvit_t8 (256): "10 blocks of width 48" => Config::new([2, 2, 4, 2], 48, 3);
    fastvit_t12 (256): "12 blocks of width 64" => Config::new([2, 2, 6, 2], 64, 3);
    fastvit_s12 (256): "12 blocks of width 64, wider within" => Config::new([2, 2, 6, 2], 64, 4);
    fastvit_sa12 (256): "12 blocks, the last two with attention"
        => Config::new([2, 2, 6, 2], 64, 4).attention();
    fastvit_sa24 (256): "24 blocks, the last four with attention"
        => Config::new([4, 4, 12, 4], 64, 4).attention();
    fastvit_mci0 (256): "the image tower of MobileCLIP-S0; for research only"
        => Config { is_mci: true, ..Config::new([2, 6, 10, 2], 64, 3).attention() };
}

const WEIGHTS: Init = Init::trunc_normal(0.02);
const ACTS: [Act; 2] = [Act::Relu, Act::Sigmoid];

/// The shape of a FastViT.
#[derive(Debug, Clone)]
struct Config {
    depths: [usize; 4],
    /// Channels of the first stage; each further one has twice as many.
    width: usize,
    mlp_ratio: usize,
    /// Whether the last stage has attention.
    attends: bool,
    /// Whether what is between stages has an activation, and before the last two a squeeze-excite.
    is_mci: bool,
}

impl Config {
    fn new(depths: [usize; 4], width: usize, mlp_ratio: usize) -> Self {
        Self {
            depths,
            width,
            mlp_ratio,
            attends: false,
            is_mci: false,
        }
    }

    fn attention(mut self) -> Self {
        self.attends = true;
        self
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<FastVit> {
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let width = self.width;
        let shape = options.stem.convolutions(&[2, 2], false)?;
        let strided = |from, stride| {
            let conv = RepConvConfig::new(from, width, 3).stride(stride);
            conv.without_identity()
        };
        let stem = [
            strided(options.in_channels, shape.strides()[0]),
            strided(width, shape.strides()[1]).depthwise(),
            RepConvConfig::new(width, width, 1),
        ];
        let mut stages = Vec::new();
        for (index, depth) in self.depths.into_iter().enumerate() {
            let width = self.width << index;
            let attends = self.attends && index == 3;
            let block = |rate| {
                if attends {
                    Block::Attention(self.attentive(width, rate, params))
                } else {
                    Block::Mixer(self.mixer(width, rate, params))
                }
            };
            let pos_emb = Conv2dConfig::new(width, width, 7).padding(3).depthwise();
            stages.push(Stage {
                downsample: (index > 0).then(|| self.downsample(width, index > 1, params)),
                pos_emb: attends.then(|| pos_emb.bias().init(params)),
                blocks: rates.by_ref().take(depth).map(block).collect(),
            });
        }
        let channels = 2 * (self.width << 3);
        let final_conv = RepConvConfig::new(channels / 2, channels, 3).depthwise();
        let se = SqueezeExcite::new(channels, channels / 16, ACTS, |_| Init::PyTorch, params);
        let backbone = FastVit {
            stem: stem.map(|it| it.act(Act::Gelu).init(params)).into(),
            stages: Stages::new(stages),
            final_conv: final_conv.act(Act::Gelu).init(params).with_se(Some(se)),
        };
        let mut groups = backbone.stages.groups_with_stem();
        groups.push(Group::named("final_conv"));
        let first = "stem.0.conv_kxk.0.conv";
        let description = Description {
            stem: Some(shape),
            classifier: "head.fc",
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stage*.downsample.large.conv_kxk.0" => "stages.*-1.downsample.proj.0.large_conv",
                "stage*.downsample.large.conv_scale" => "stages.*-1.downsample.proj.0.small_conv",
                "stage*.downsample.large.se.reduce" => "stages.*-1.downsample.proj.0.se.fc1",
                "stage*.downsample.large.se.expand" => "stages.*-1.downsample.proj.0.se.fc2",
                "stage*.downsample.pointwise" => "stages.*-1.downsample.proj.1",
                "stage*.pos_emb" => "stages.*-1.pos_emb.pos_enc",
                "stage*.blocks.*.token_mixer.norm" => "stages.*-1.blocks.*.token_mixer.norm.identity",
                "stage*.blocks.*.mlp.conv" => "stages.*-1.blocks.*.mlp.conv.conv",
                "stage*.blocks.*.mlp.bn" => "stages.*-1.blocks.*.mlp.conv.bn",
                "stage*" => "stages.*-1",
                "final_conv.se.reduce" => "final_conv.se.fc1",
                "final_conv.se.expand" => "final_conv.se.fc2",
            ],
            layer_of: Some(layer_of),
            ..Description::new(groups, options.in_channels, channels, first)
                .also_first("stem.0.conv_scale.conv")
        };
        Ok((backbone, description))
    }

    fn downsample(&self, width: usize, has_se: bool, params: &ParamBuilder) -> Downsample {
        let se = || SqueezeExcite::new(width, width / 4, ACTS, |_| Init::PyTorch, params);
        let large = RepConvConfig::new(width / 2, width, 7)
            .small(Some(3))
            .stride(2)
            .depthwise()
            .act(if self.is_mci { Act::Gelu } else { Act::None })
            .init(params);
        let pointwise = RepConvConfig::new(width, width, 1).act(Act::Gelu);
        Downsample {
            large: large.with_se((self.is_mci && has_se).then(se)),
            pointwise: pointwise.init(params),
        }
    }

    fn mixer(&self, width: usize, drop_path: f64, params: &ParamBuilder) -> MixerBlock {
        MixerBlock {
            token_mixer: RepMixer {
                norm: BatchNorm2dConfig::new(width).init(params),
                mixer: RepConvConfig::new(width, width, 3).depthwise().init(params),
                layer_scale: Scale::new(width, params),
            },
            mlp: ConvMlp::new(width, width * self.mlp_ratio, params),
            layer_scale: Scale::new(width, params),
            drop_path: DropPath::new(drop_path),
        }
    }

    fn attentive(&self, width: usize, drop_path: f64, params: &ParamBuilder) -> AttentionBlock {
        let attention = SelfAttention::new(width, width / 32, &WEIGHTS, params);
        AttentionBlock {
            norm: BatchNorm2dConfig::new(width).init(params),
            token_mixer: attention.without_qkv_bias(),
            layer_scale_1: Scale::new(width, params),
            mlp: ConvMlp::new(width, width * self.mlp_ratio, params),
            layer_scale_2: Scale::new(width, params),
            drop_path: DropPath::new(drop_path),
        }
    }
}

/// timm counts what begins a stage with its first block, and the last convolution with the classifier.
fn layer_of(name: &str) -> Option<usize> {
    if name.starts_with("stem.") {
        return Some(0);
    }
    let (stage, rest) = name.strip_prefix("stages.")?.split_once('.')?;
    let block = rest
        .strip_prefix("blocks.")
        .and_then(|rest| rest.split('.').next());
    let block: usize = block.map_or(Some(0), |block| block.parse().ok())?;
    Some(1 + stage.parse::<usize>().ok()? * 100 + block)
}

#[derive(Module, Debug)]
struct FastVit {
    stem: Vec<RepConv>,
    stages: Stages<Stage>,
    final_conv: RepConv,
}

impl Backbone for FastVit {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        match index {
            5 => Ok(Features::Map(self.final_conv.forward(x.into_map()?))),
            _ => self.stages.forward_group(&self.stem, index, x),
        }
    }
}
