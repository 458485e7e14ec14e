//! EfficientViT of MIT: Cai et al., "EfficientViT: Multi-Scale Linear Attention for High-Resolution
//! Dense Prediction", ICCV 2023, <https://arxiv.org/abs/2205.14756>.
//!
//! Inverted residuals, and in the last two stages attention without a softmax, whose cost grows with
//! the number of positions and not with its square, on queries, keys and values of each position and
//! on those of its neighbourhood. The structure is timm's `efficientvit_mit.py`. Parameters are those
//! of a model for 1000 classes; accuracies are those timm publishes at 224 pixels. Microsoft's network
//! of the same name is another one.
//!
//! | variant | widths | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `efficientvit_b0` | 8 16 32 64 128 | 1 2 2 2 2 | 3 410 008 | 71.4 % (`r224_in1k`) |
//! | `efficientvit_b1` | 16 32 64 128 256 | 1 2 3 3 4 | 9 102 024 | 79.3 % (`r224_in1k`) |
//! | `efficientvit_b2` | 24 48 96 192 384 | 1 3 4 4 6 | 24 330 712 | 82.2 % (`r224_in1k`) |

use burn::module::Module;
use burn::tensor::{FloatDType, Tensor};

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::model::{
    Backbone, Description, Features, KeyTable, MapLayer, Pool, Pooling, Stages, key_table,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, ConvNorm, Epilogue, LayerNorm, Linear, LinearConfig, ParamBuilder,
    trace,
};

variants! {
    family: EfficientVitMit, manifest: "efficientvit_mit.toml",
    paper: "https://arxiv.org/abs/2205.14756", pool: Pool::Avg;
    efficientvit_b0 (224): "widths 8 to 128" => Config {
        widths: [8, 16, 32, 64, 128], depths: [1, 2, 2, 2, 2], head_width: 16, hidden: [1024, 1280],
    };
    efficientvit_b1 (224): "widths 16 to 256" => Config {
        widths: [16, 32, 64, 128, 256], depths: [1, 2, 3, 3, 4], head_width: 16, hidden: [1536, 1600],
    };
    efficientvit_b2 (224): "widths 24 to 384" => Config {
        widths: [24, 48, 96, 192, 384], depths: [1, 3, 4, 4, 6], head_width: 32, hidden: [2304, 2560],
    };
}

const ACT: Act = Act::HardSwish;
/// Channels within a block, as a multiple of its width.
const EXPANSION: usize = 4;
/// The first stage with attention, counted from 0.
const ATTENTION: usize = 2;
/// Added to what attention divides by, and to the variance before the classifier.
const EPSILON: f64 = 1e-5;

/// The shape of an EfficientViT.
#[derive(Debug, Clone)]
struct Config {
    /// Of the stem and the stages.
    widths: [usize; 5],
    depths: [usize; 5],
    /// Features of a head of attention.
    head_width: usize,
    /// Features between the last stage and the classifier.
    hidden: [usize; 2],
}

impl Config {
    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<EfficientVitMit> {
        options.check_no_drop_path()?;
        let first = self.widths[0];
        let separable = |_| MbConv {
            conv_inverted: None,
            conv_depth: layer(depthwise(first, 1), true, ACT, params),
            conv_point: layer(Conv2dConfig::new(first, first, 1), true, Act::None, params),
            has_shortcut: true,
        };
        let shape = options.stem.convolutions(&[2], false)?;
        let stem = Conv2dConfig::new(options.in_channels, first, 3);
        let stem = Stem {
            conv: layer(stem.stride(shape.stride()).padding(1), true, ACT, params),
            blocks: (0..self.depths[0]).map(separable).collect(),
        };
        let stages = (0..4).map(|index| {
            let [before, width] = [self.widths[index], self.widths[index + 1]];
            let (depth, has_attention) = (self.depths[index + 1], index >= ATTENTION);
            let inverted = |from, stride| MbConv::new(from, width, stride, has_attention, params);
            let mut blocks = vec![Block::Convs(inverted(before, 2))];
            if has_attention {
                blocks.extend((0..depth).map(|_| {
                    Block::Attention(AttentionBlock {
                        context: LinearAttention::new(width, self.head_width, params),
                        local: inverted(width, 1),
                    })
                }));
            } else {
                blocks.extend((1..depth).map(|_| Block::Convs(inverted(width, 1))));
            }
            blocks
        });
        let stages = Stages::new(stages.collect());
        let (groups, last, [inner, hidden]) =
            (stages.groups_with_stem(), self.widths[4], self.hidden);
        let description = Description {
            stem: Some(shape),
            has_pre_logits: true,
            head_features: Some(hidden),
            // Behind the pooling is an affine layer.
            pools: &[Pool::Avg, Pool::Max, Pool::AvgMax],
            classifier: "head.classifier.4",
            key_table: names(),
            ..Description::new(groups, options.in_channels, last, "stem.conv")
        };
        let backbone = EfficientVitMit {
            stem,
            stages,
            pre_logits: PreLogits {
                conv: layer(Conv2dConfig::new(last, inner, 1), true, ACT, params),
                fc: LinearConfig::new(inner, hidden).without_bias().init(params),
                norm: LayerNorm::new(hidden, EPSILON, params),
            },
        };
        Ok((backbone, description))
    }
}

fn names() -> KeyTable {
    let mut table = key_table![
        "stem.conv" => "stem.in_conv.conv", "stem.bn" => "stem.in_conv.norm",
        "stage*.*.context.qkv" => "stages.*-1.blocks.*.context_module.main.qkv.conv",
        "stage*.*.context.depth" => "stages.*-1.blocks.*.context_module.main.aggreg.0.0",
        "stage*.*.context.point" => "stages.*-1.blocks.*.context_module.main.aggreg.0.1",
        "stage*.*.context.proj" => "stages.*-1.blocks.*.context_module.main.proj.conv",
        "stage*.*.context.proj_bn" => "stages.*-1.blocks.*.context_module.main.proj.norm",
        "pre_logits.conv" => "head.in_conv.conv", "pre_logits.bn" => "head.in_conv.norm",
        "pre_logits.fc" => "head.classifier.0", "pre_logits.norm" => "head.classifier.1",
    ];
    for (ours, theirs) in [
        ("stem.blocks.*", "stem.res*.main"),
        ("stage*.*", "stages.*-1.blocks.*.main"),
        ("stage*.*.local", "stages.*-1.blocks.*.local_module.main"),
    ] {
        for part in ["inverted", "depth", "point"] {
            for (layer, name) in [("conv", "conv"), ("bn", "norm")] {
                let ours = format!("{ours}.{layer}_{part}");
                table.push(&ours, &format!("{theirs}.{part}_conv.{name}"));
            }
        }
    }
    table
}

/// A convolution with a normalisation behind it, or with a bias in place of one.
fn layer(conv: Conv2dConfig, has_norm: bool, act: Act, params: &ParamBuilder) -> ConvNorm {
    if has_norm {
        ConvNorm::new(conv, act, params)
    } else {
        ConvNorm::without_norm(conv.bias(), act, params)
    }
}

fn depthwise(width: usize, stride: usize) -> Conv2dConfig {
    let conv = Conv2dConfig::new(width, width, 3).depthwise();
    conv.stride(stride).padding(1)
}

#[derive(Module, Debug)]
struct EfficientVitMit {
    stem: Stem,
    stages: Stages<Vec<Block>>,
    pre_logits: PreLogits,
}

impl Backbone for EfficientVitMit {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let PreLogits { conv, fc, norm } = &self.pre_logits;
        let pooled = pooling.vector(Features::Map(conv.forward(features.into_map()?)));
        Ok(ACT.forward(norm.forward(fc.forward(pooled))))
    }
}

/// A convolution before the pooling, an affine layer behind it.
#[derive(Module, Debug)]
struct PreLogits {
    conv: ConvNorm,
    fc: Linear,
    norm: LayerNorm,
}

#[derive(Module, Debug)]
struct Stem {
    conv: ConvNorm,
    blocks: Vec<MbConv>,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.blocks.forward(self.conv.forward(x))
    }
}

#[derive(Module, Debug)]
enum Block {
    Convs(MbConv),
    Attention(AttentionBlock),
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Convs(convs) => convs.forward(x),
            Self::Attention(AttentionBlock { context, local }) => local.forward(context.forward(x)),
        }
    }
}

#[derive(Module, Debug)]
struct AttentionBlock {
    context: LinearAttention,
    local: MbConv,
}

/// An inverted residual; without the first convolution a depthwise-separable one.
#[derive(Module, Debug)]
struct MbConv {
    conv_inverted: Option<ConvNorm>,
    conv_depth: ConvNorm,
    conv_point: ConvNorm,
    has_shortcut: bool,
}

impl MbConv {
    /// Beside attention, the first two convolutions have no normalisation.
    fn new(
        from: usize,
        to: usize,
        stride: usize,
        beside_attention: bool,
        params: &ParamBuilder,
    ) -> Self {
        let inner = EXPANSION * from;
        let first = |conv| layer(conv, !beside_attention, ACT, params);
        let last = Conv2dConfig::new(inner, to, 1);
        Self {
            conv_inverted: Some(first(Conv2dConfig::new(from, inner, 1))),
            conv_depth: first(depthwise(inner, stride)),
            conv_point: layer(last, true, Act::None, params),
            has_shortcut: stride == 1,
        }
    }
}

impl MapLayer for MbConv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let end = Epilogue {
            residual: self.has_shortcut.then_some(&x),
            act: Act::None,
        };
        let inverted = self.conv_inverted.forward(x.clone());
        let inner = self.conv_depth.forward(inverted);
        self.conv_point.forward_with(inner, end)
    }
}

/// Attention whose score is the product of queries and keys that are not negative, so that the sum
/// over keys and values is taken first, once for all queries.
#[derive(Module, Debug)]
struct LinearAttention {
    qkv: Conv2d,
    /// The neighbourhood of each channel ..
    depth: Conv2d,
    /// .. and a mixture of those of a head's queries, keys or values.
    point: Conv2d,
    proj: ConvNorm,
    head_width: usize,
}

impl LinearAttention {
    fn new(width: usize, head_width: usize, params: &ParamBuilder) -> Self {
        let heads = width / head_width;
        let inner = heads * head_width;
        let conv = |kernel: usize, groups: usize| {
            let conv = Conv2dConfig::new(3 * inner, 3 * inner, kernel).padding(kernel / 2);
            conv.groups(groups).init(params)
        };
        let proj = Conv2dConfig::new(2 * inner, width, 1);
        Self {
            qkv: Conv2dConfig::new(width, 3 * inner, 1).init(params),
            depth: conv(5, 3 * inner),
            point: conv(1, 3 * heads),
            proj: layer(proj, true, Act::None, params),
            head_width,
        }
    }
}

impl MapLayer for LinearAttention {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let qkv = self.qkv.forward(x.clone());
        let around = self.point.forward(self.depth.forward(qkv.clone()));
        let qkv = Tensor::cat(vec![qkv, around], 1);
        let [batch, channels, height, width] = qkv.dims();
        let (head, length) = (self.head_width, height * width);
        let heads = channels / (3 * head);
        // In 32 bits whatever the activations are in, as timm has it: sums over all positions.
        let dtype = qkv.dtype();
        let qkv = qkv
            .cast(FloatDType::F32)
            .reshape([batch, heads, 3 * head, length]);
        let part = |index: usize| qkv.clone().narrow(2, index * head, head);
        let [query, key] = [0, 1].map(|index| Act::Relu.forward(part(index)));
        // A value of one more, always 1, whose mixture is the sum of the scores.
        let one = Tensor::ones([batch, heads, 1, length], &qkv.device());
        let value = Tensor::cat(vec![part(2), one], 2);
        let macs = batch * heads * length * head * (head + 1);
        let sums = value.matmul(key.swap_dims(2, 3));
        trace::product("AttentionValues", &sums, macs);
        let mixed = sums.matmul(query);
        trace::product("AttentionScores", &mixed, macs);
        let scores = mixed.clone().narrow(2, head, 1) + EPSILON;
        let mixed = (mixed.narrow(2, 0, head) / scores).cast(dtype);
        let mixed = mixed.reshape([batch, heads * head, height, width]);
        self.proj.forward_with(mixed, Epilogue::adding(&x))
    }
}
