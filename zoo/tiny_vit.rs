//! TinyViT: Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision Transformers", ECCV
//! 2022, <https://arxiv.org/abs/2207.10666>.
//!
//! A stage of inverted residuals, then three of attention within windows, each of whose blocks has a
//! depthwise convolution between attention and MLP. The structure is timm's `tiny_vit.py`. Parameters
//! are those of a model for 1000 classes; accuracies are those timm publishes at the size in the
//! variant's name. timm trains the larger ones with stochastic depth by default; here it is 0 unless
//! said.
//!
//! | variant | widths | windows | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `tiny_vit_5m_224` | 64 128 160 320 | 7 14 7 | 5 392 764 | 80.9 % (`dist_in22k_ft_in1k`) |
//! | `tiny_vit_11m_224` | 64 128 256 448 | 7 14 7 | 10 996 972 | 83.2 % (`dist_in22k_ft_in1k`) |
//! | `tiny_vit_21m_224` | 96 192 384 576 | 7 14 7 | 21 198 568 | 85.1 % (`dist_in22k_ft_in1k`) |
//! | `tiny_vit_21m_384` | 96 192 384 576 | 12 24 12 | 21 230 488 | 86.1 % (`dist_in22k_ft_in1k`) |

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{Backbone, Description, Features, MapLayer, Pool, Pooling, Stages, key_table};
use crate::nn::{
    Act, BatchNorm2dConfig, Conv2dConfig, ConvNorm, DropPath, Epilogue, LayerNorm, ParamBuilder,
    Pointwise, PositionBias, SelfAttention, Windows, drop_path_rates,
};

variants! {
    family: TinyVit, manifest: "tiny_vit.toml", paper: "https://arxiv.org/abs/2207.10666",
    pool: Pool::Avg;
    tiny_vit_5m_224 (224): "5 million parameters"
        => Config::new([64, 128, 160, 320], [4, 5, 10]);
    tiny_vit_11m_224 (224): "11 million parameters"
        => Config::new([64, 128, 256, 448], [4, 8, 14]);
    tiny_vit_21m_224 (224): "21 million parameters"
        => Config::new([96, 192, 384, 576], [6, 12, 18]);
    tiny_vit_21m_384 (384): "21 million parameters, larger windows"
        => Config { windows: [12, 24, 12], ..Config::new([96, 192, 384, 576], [6, 12, 18]) };
}

/// Blocks of each stage, in every variant.
const DEPTHS: [usize; 4] = [2, 2, 6, 2];
const EPSILON: f64 = 1e-5;
const WEIGHTS: Init = Init::trunc_normal(0.02);

/// The shape of a TinyViT. The first stage has no attention.
#[derive(Debug, Clone)]
struct Config {
    widths: [usize; 4],
    heads: [usize; 3],
    /// Positions on a side of a window.
    windows: [usize; 3],
}

impl Config {
    fn new(widths: [usize; 4], heads: [usize; 3]) -> Self {
        Self {
            widths,
            heads,
            windows: [7, 14, 7],
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<TinyVit> {
        let mut rates = drop_path_rates(options.drop_path_rate, DEPTHS.iter().sum());
        let first = self.widths[0];
        let stem = Stem {
            conv1: conv(options.in_channels, first / 2, 3, 2, Act::Gelu, params),
            conv2: conv(first / 2, first, 3, 2, Act::None, params),
        };
        let convs = rates.by_ref().take(DEPTHS[0]);
        let convs = convs.map(|rate| MbConv::new(first, rate, params)).collect();
        let mut stages = vec![Stage {
            downsample: None,
            blocks: Blocks::Convs(convs),
        }];
        let mut tables = Vec::new();
        for (index, depth) in DEPTHS.into_iter().enumerate().skip(1) {
            let (heads, window) = (self.heads[index - 1], self.windows[index - 1]);
            let [before, width] = [self.widths[index - 1], self.widths[index]];
            let mut blocks = Vec::new();
            for (block, rate) in rates.by_ref().take(depth).enumerate() {
                tables.push(format!("stage{}.blocks.{block}.attn.biases", index + 1));
                blocks.push(Block::new(width, heads, window, rate, params));
            }
            stages.push(Stage {
                downsample: Some(Merging {
                    conv1: conv(before, width, 1, 1, Act::Gelu, params),
                    conv2: depthwise(width, 2, Act::Gelu, params),
                    conv3: conv(width, width, 1, 1, Act::None, params),
                }),
                blocks: Blocks::Attention(blocks),
            });
        }
        let stages = Stages::new(stages);
        let (groups, last) = (stages.groups_with_stem(), self.widths[3]);
        let description = Description {
            has_pre_logits: true,
            // The normalisation behind the pooling has as many channels as the features.
            pools: &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::None],
            classifier: "head.fc",
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stem.conv*" => "patch_embed.conv*.conv", "stem.bn*" => "patch_embed.conv*.bn",
                "stage*.downsample.conv*" => "stages.*-1.downsample.conv*.conv",
                "stage*.downsample.bn*" => "stages.*-1.downsample.conv*.bn",
                "stage*.blocks.*.conv*" => "stages.*-1.blocks.*.conv*.conv",
                "stage*.blocks.*.bn*" => "stages.*-1.blocks.*.conv*.bn",
                "stage*.blocks.*.local" => "stages.*-1.blocks.*.local_conv.conv",
                "stage*.blocks.*.local_bn" => "stages.*-1.blocks.*.local_conv.bn",
                "stage*.blocks.*.attn.biases" => "stages.*-1.blocks.*.attn.attention_biases",
                "stage*.blocks.*.attn.attention" => "stages.*-1.blocks.*.attn",
                "stage*" => "stages.*-1", "pre_logits" => "head.norm",
            ],
            no_weight_decay: tables,
            ..Description::new(groups, options.in_channels, last, "stem.conv1")
        };
        let backbone = TinyVit {
            stem,
            stages,
            pre_logits: LayerNorm::new(last, EPSILON, params),
        };
        Ok((backbone, description))
    }
}

fn conv(
    from: usize,
    to: usize,
    kernel: usize,
    stride: usize,
    act: Act,
    params: &ParamBuilder,
) -> ConvNorm {
    let config = Conv2dConfig::new(from, to, kernel);
    ConvNorm::new(config.stride(stride).padding(kernel / 2), act, params)
}

fn depthwise(width: usize, stride: usize, act: Act, params: &ParamBuilder) -> ConvNorm {
    let config = Conv2dConfig::new(width, width, 3).depthwise();
    ConvNorm::new(config.stride(stride).padding(1), act, params)
}

#[derive(Module, Debug)]
struct TinyVit {
    stem: Stem,
    stages: Stages<Stage>,
    pre_logits: LayerNorm,
}

impl Backbone for TinyVit {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let pooled = pooling.map(features.into_map()?);
        Ok(self.pre_logits.forward_map(pooled).flatten(1, 3))
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

#[derive(Module, Debug)]
struct Stage {
    downsample: Option<Merging>,
    blocks: Blocks,
}

#[derive(Module, Debug)]
enum Blocks {
    Convs(Vec<MbConv>),
    Attention(Vec<Block>),
}

impl MapLayer for Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match &self.downsample {
            Some(downsample) => downsample.forward(x),
            None => x,
        };
        match &self.blocks {
            Blocks::Convs(blocks) => blocks.forward(x),
            Blocks::Attention(blocks) => blocks.forward(x),
        }
    }
}

/// Makes a map half the size.
#[derive(Module, Debug)]
struct Merging {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: ConvNorm,
}

impl MapLayer for Merging {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv2.forward(self.conv1.forward(x));
        self.conv3.forward(x)
    }
}

/// An inverted residual, activated behind the sum.
#[derive(Module, Debug)]
struct MbConv {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: ConvNorm,
    drop_path: DropPath,
}

impl MbConv {
    fn new(width: usize, drop_path: f64, params: &ParamBuilder) -> Self {
        let inner = 4 * width;
        let last = Conv2dConfig::new(inner, width, 1);
        let norm = BatchNorm2dConfig::new(width).zero_init();
        Self {
            conv1: conv(width, inner, 1, 1, Act::Gelu, params),
            conv2: depthwise(inner, 1, Act::Gelu, params),
            conv3: ConvNorm::with_norm(last, norm, Act::Gelu, params),
            drop_path: DropPath::new(drop_path),
        }
    }
}

impl MapLayer for MbConv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let branch = |x, end: Epilogue<'_, 4>| {
            let x = self.conv2.forward(self.conv1.forward(x));
            self.conv3.forward_with(x, end)
        };
        self.drop_path.residual(x, Act::Gelu, |x| x, branch)
    }
}

#[derive(Module, Debug)]
struct Block {
    attn: Attention,
    local: ConvNorm,
    mlp: Mlp,
    drop_path: DropPath,
}

#[derive(Module, Debug)]
struct Mlp {
    norm: LayerNorm,
    fc1: Pointwise,
    fc2: Pointwise,
}

impl Block {
    fn new(
        width: usize,
        heads: usize,
        window: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Self {
        let linear = |from, to| Pointwise::new(false, from, to, &WEIGHTS, params);
        let windows = Windows::new([window; 2]);
        Self {
            attn: Attention {
                norm: LayerNorm::new(width, EPSILON, params),
                biases: PositionBias::distances(&windows, heads, params),
                attention: SelfAttention::new(width, heads, &WEIGHTS, params).by_head(),
                windows,
            },
            local: depthwise(width, 1, Act::None, params),
            mlp: Mlp {
                norm: LayerNorm::new(width, EPSILON, params),
                fc1: linear(width, 4 * width),
                fc2: linear(4 * width, width),
            },
            drop_path: DropPath::new(drop_path),
        }
    }
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let attend = |x, end: Epilogue<'_, 4>| end.apply(self.attn.forward(x));
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let x = self.local.forward(x);
        let Mlp { norm, fc1, fc2 } = &self.mlp;
        let mlp = |x, end: Epilogue<'_, 4>| {
            fc2.forward_with(fc1.forward(norm.forward_map(x), Act::Gelu), end)
        };
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}

/// Attention within windows, with a bias for each distance between two positions. The zeros beyond the
/// edge take part.
#[derive(Module, Debug)]
struct Attention {
    norm: LayerNorm,
    biases: PositionBias,
    attention: SelfAttention,
    #[module(skip)]
    windows: Windows,
}

impl MapLayer for Attention {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let windows = &self.windows;
        let bias = self.biases.bias(windows);
        let x = self.norm.forward(windows.split(x.permute([0, 2, 3, 1])));
        let mixed = self.attention.forward_biased(x, bias);
        let mixed = windows.join(mixed, [height, width]);
        mixed.permute([0, 3, 1, 2])
    }
}
