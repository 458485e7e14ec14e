//! RepViT: Wang et al., "RepViT: Revisiting Mobile CNN From ViT Perspective", CVPR 2024,
//! <https://arxiv.org/abs/2307.09283>.
//!
//! Depthwise convolutions with two branches beside them, which
//! [`Classifier::fuse`](crate::Classifier::fuse) makes one, and layers of 1x1 in the manner of a
//! transformer's block. Two classifiers, one of which learnt from a teacher, each with a normalisation
//! of its own before it; the mean of their scores counts, in training too. The structure is timm's
//! `repvit.py`. There is no stochastic depth. Parameters are those of a model for 1000 classes;
//! accuracies are those timm publishes at 224 pixels.
//!
//! | variant | blocks | width | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `repvit_m0_9` | 2 2 14 2 | 48 | 5 489 328 | 79.1 % (`dist_450e_in1k`) |
//! | `repvit_m1_0` | 2 2 14 2 | 56 | 7 302 796 | 80.4 % (`dist_450e_in1k`) |
//! | `repvit_m1_1` | 2 2 12 2 | 64 | 8 802 912 | 81.3 % (`dist_450e_in1k`) |

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, KeyTable, MapLayer, Pool, Pooling, Stage, Stages, key_table,
};
use crate::nn::fused::{self, Folded};
use crate::nn::rep_conv::{identity_kernels, padded};
use crate::nn::{
    Act, BatchNorm2d, BatchNorm2dConfig, Conv2d, Conv2dConfig, ConvNorm, ConvStem, Epilogue,
    ParamBuilder, SqueezeExcite, divisible_by_8,
};

variants! {
    family: RepVit, manifest: "repvit.toml", paper: "https://arxiv.org/abs/2307.09283",
    pool: Pool::Avg;
    repvit_m0_9 (224): "width 48" => Config { depths: [2, 2, 14, 2], width: 48 };
    repvit_m1_0 (224): "width 56" => Config { depths: [2, 2, 14, 2], width: 56 };
    repvit_m1_1 (224): "width 64" => Config { depths: [2, 2, 12, 2], width: 64 };
}

/// The shape of a RepViT.
#[derive(Debug, Clone)]
struct Config {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Channels of the first stage; each further one has twice as many.
    width: usize,
}

impl Config {
    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<RepVit> {
        options.check_no_drop_path()?;
        let stages = self.depths.into_iter().enumerate().map(|(index, depth)| {
            let width = self.width << index;
            // Every second block weighs its channels.
            let block = |block| Block::new(width, block % 2 == 0, params);
            Stage {
                downsample: (index > 0).then(|| Downsample::new(width / 2, width, params)),
                blocks: (0..depth).map(block).collect(),
            }
        });
        let stages = Stages::new(stages.collect());
        let (groups, last) = (stages.groups_with_stem(), self.width << 3);
        let shape = options.stem.convolutions(&[2, 2], false)?;
        let strides = shape.strides().to_vec();
        let description = Description {
            stem: Some(shape),
            has_pre_logits: true,
            pre_logits_for_classes: true,
            pools: &[Pool::Avg, Pool::None],
            classifier: "head.head.l",
            second_classifier: Some("head.head_dist.l"),
            classifier_init: Init::trunc_normal(0.02),
            key_table: key_table(),
            ..Description::new(groups, options.in_channels, last, "stem.conv1")
        };
        let norm = || BatchNorm2dConfig::new(last).init(params);
        let backbone = RepVit {
            stem: ConvStem::new(options.in_channels, self.width, &strides, Act::Gelu, params),
            stages,
            pre_logits: PreLogits {
                norm1: norm(),
                norm2: norm(),
            },
        };
        Ok((backbone, description))
    }
}

fn key_table() -> KeyTable {
    let mut table = key_table![
        "stem.conv*" => "stem.conv*.c", "stem.bn*" => "stem.conv*.bn",
        "stage*.downsample.conv_dw" => "stages.*-1.downsample.spatial_downsample.c",
        "stage*.downsample.bn_dw" => "stages.*-1.downsample.spatial_downsample.bn",
        "stage*.downsample.conv_pw" => "stages.*-1.downsample.channel_downsample.c",
        "stage*.downsample.bn_pw" => "stages.*-1.downsample.channel_downsample.bn",
        "stage*.downsample.ffn.conv*" => "stages.*-1.downsample.ffn.conv*.c",
        "stage*.downsample.ffn.bn*" => "stages.*-1.downsample.ffn.conv*.bn",
        "pre_logits.norm1" => "head.head.bn", "pre_logits.norm2" => "head.head_dist.bn",
    ];
    for block in ["blocks.*", "downsample.pre_block"] {
        for (ours, theirs) in [
            ("token_mixer.conv", "token_mixer.conv.c"),
            ("token_mixer.bn", "token_mixer.conv.bn"),
            ("token_mixer.norm", "token_mixer.bn"),
            ("se.reduce", "se.fc1"),
            ("se.expand", "se.fc2"),
            ("channel_mixer.conv*", "channel_mixer.conv*.c"),
            ("channel_mixer.bn*", "channel_mixer.conv*.bn"),
        ] {
            let theirs = format!("stages.*-1.{block}.{theirs}");
            table.push(&format!("stage*.{block}.{ours}"), &theirs);
        }
    }
    table.push("stage*", "stages.*-1");
    table
}

#[derive(Module, Debug)]
struct RepVit {
    stem: ConvStem,
    stages: Stages<Stage<Downsample, Block>>,
    pre_logits: PreLogits,
}

impl Backbone for RepVit {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let pooled = pooling.map(features.into_map()?);
        let PreLogits { norm1, norm2 } = &self.pre_logits;
        let vectors = [norm1, norm2].map(|norm| norm.forward(pooled.clone()).flatten(1, 3));
        Ok(Tensor::cat(vectors.into(), 1))
    }
}

/// The normalisations before the classifiers: `torch.nn.BatchNorm1d`, on a map of one position.
#[derive(Module, Debug)]
struct PreLogits {
    norm1: BatchNorm2d,
    norm2: BatchNorm2d,
}

#[derive(Module, Debug)]
struct Downsample {
    pre_block: Block,
    conv_dw: ConvNorm,
    conv_pw: ConvNorm,
    ffn: Mlp,
}

impl Downsample {
    fn new(from: usize, to: usize, params: &ParamBuilder) -> Self {
        let conv_dw = Conv2dConfig::new(from, from, 3).padding(1).stride(2);
        Self {
            pre_block: Block::new(from, false, params),
            conv_dw: ConvNorm::new(conv_dw.depthwise(), Act::None, params),
            conv_pw: ConvNorm::new(Conv2dConfig::new(from, to, 1), Act::None, params),
            ffn: Mlp::new(to, params),
        }
    }
}

impl MapLayer for Downsample {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv_dw.forward(self.pre_block.forward(x));
        self.ffn.added_to(self.conv_pw.forward(x))
    }
}

#[derive(Module, Debug)]
struct Block {
    token_mixer: TokenMixer,
    se: Option<SqueezeExcite>,
    channel_mixer: Mlp,
}

impl Block {
    fn new(width: usize, has_se: bool, params: &ParamBuilder) -> Self {
        let acts = [Act::Relu, Act::Sigmoid];
        let hidden = divisible_by_8(0.25 * width as f64);
        let se = || SqueezeExcite::new(width, hidden, acts, |_| Init::PyTorch, params);
        let conv = |kernel| Conv2dConfig::new(width, width, kernel).depthwise();
        Self {
            token_mixer: TokenMixer {
                conv: ConvNorm::new(conv(3).padding(1), Act::None, params),
                conv1: conv(1).bias().init(params),
                norm: BatchNorm2dConfig::new(width).init(params),
            },
            se: has_se.then(se),
            channel_mixer: Mlp::new(width, params),
        }
    }
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.token_mixer.forward(x);
        self.channel_mixer.added_to(self.se.forward(x))
    }
}

/// A depthwise convolution, one of 1x1 and the input, added and normalised.
#[derive(Module, Debug)]
struct TokenMixer {
    conv: ConvNorm,
    conv1: Conv2d,
    norm: BatchNorm2d,
}

impl TokenMixer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if let Some(prepared) = fused::for_input(&x) {
            let (conv, end) = (&self.conv.conv, Epilogue::default());
            return conv.forward_folded(&prepared, x, end, || self.fold());
        }
        let sum = self.conv1.forward_with(x.clone(), Epilogue::adding(&x));
        let sum = self.conv.forward_with(x, Epilogue::adding(&sum));
        self.norm.forward(sum)
    }

    /// The convolution that it is.
    fn fold(&self) -> Folded {
        let (kernels, shift) = self.conv.fold();
        let shape = kernels.dims();
        let identity = identity_kernels(shape, &kernels.device());
        let kernels = kernels + padded(self.conv1.weight.val(), shape) + identity;
        let shift = match &self.conv1.bias {
            Some(bias) => shift + Param::val(bias),
            None => shift,
        };
        self.norm.fold(kernels, Some(shift))
    }
}

/// Two layers that see one position at a time.
#[derive(Module, Debug)]
struct Mlp {
    conv1: ConvNorm,
    conv2: ConvNorm,
}

impl Mlp {
    fn new(width: usize, params: &ParamBuilder) -> Self {
        let wide = Conv2dConfig::new(width, 2 * width, 1);
        let narrow = Conv2dConfig::new(2 * width, width, 1);
        // It begins as nothing.
        let norm = BatchNorm2dConfig::new(width).zero_init();
        Self {
            conv1: ConvNorm::new(wide, Act::Gelu, params),
            conv2: ConvNorm::with_norm(narrow, norm, Act::None, params),
        }
    }

    fn added_to(&self, x: Tensor<4>) -> Tensor<4> {
        let hidden = self.conv1.forward(x.clone());
        self.conv2.forward_with(hidden, Epilogue::adding(&x))
    }
}
