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
use serde_json::{Map, Value, json};

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, MapLayer, Pool, Pooling, Stage, Stages, key_table,
};
use crate::nn::{
    Act, BatchNorm2dConfig, Conv2dConfig, ConvNorm, ConvStem, DropPath, Epilogue, LayerNorm,
    ParamBuilder, Pointwise, PositionBias, SelfAttention, Windows, drop_path_rates,
};

variants! {
    family: TinyVit, manifest: "tiny_vit.toml", paper: "https://arxiv.org/abs/2207.10666",
    pool: Pool::Avg;
    tiny_vit_5m_224 (224): "5 million parameters"
        => Config { widths: [64, 128, 160, 320], windows: [7, 14, 7] };
    tiny_vit_11m_224 (224): "11 million parameters"
        => Config { widths: [64, 128, 256, 448], windows: [7, 14, 7] };
    tiny_vit_21m_224 (224): "21 million parameters"
        => Config { widths: [96, 192, 384, 576], windows: [7, 14, 7] };
    tiny_vit_21m_384 (384): "21 million parameters, larger windows"
        => Config { widths: [96, 192, 384, 576], windows: [12, 24, 12] };
}

/// Blocks of each stage, in every variant.
const DEPTHS: [usize; 4] = [2, 2, 6, 2];
/// Features of a head.
const HEAD: usize = 32;
const EPSILON: f64 = 1e-5;
const WEIGHTS: Init = Init::trunc_normal(0.02);

/// The shape of a TinyViT. The first stage has no attention.
#[derive(Debug, Clone)]
struct Config {
    widths: [usize; 4],
    /// Positions on a side of a window.
    windows: [usize; 3],
}

impl Config {
    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<TinyVit> {
        let mut rates = drop_path_rates(options.drop_path_rate, DEPTHS.iter().sum());
        let mut tables = Vec::new();
        let mut stages = Vec::new();
        for (index, depth) in DEPTHS.into_iter().enumerate() {
            let width = self.widths[index];
            let before = index.checked_sub(1);
            let merging = |before: usize| {
                let channels = [self.widths[before], width, width];
                MbConv::new(channels, 2, None, params)
            };
            let blocks = rates.by_ref().take(depth).enumerate();
            let blocks = blocks.map(|(block, rate)| match before {
                None => {
                    let channels = [width, 4 * width, width];
                    Block::Convs(MbConv::new(channels, 1, Some(rate), params))
                }
                Some(before) => {
                    tables.push(format!("stage{}.blocks.{block}.attn.biases", index + 1));
                    let window = self.windows[before];
                    Block::Attention(AttentionBlock::new(width, window, rate, params))
                }
            });
            stages.push(Stage {
                blocks: blocks.collect(),
                downsample: before.map(merging),
            });
        }
        let stages = Stages::new(stages);
        let (groups, last) = (stages.groups_with_stem(), self.widths[3]);
        let stem = options.stem.convolutions(&[2, 2], false)?;
        let strides = stem.strides().to_vec();
        let description = Description {
            stem: Some(stem),
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
            stem: ConvStem::new(
                options.in_channels,
                self.widths[0],
                &strides,
                Act::Gelu,
                params,
            ),
            stages,
            pre_logits: LayerNorm::new(last, EPSILON, params),
        };
        Ok((backbone, description))
    }
}

fn depthwise(width: usize, stride: usize, act: Act, params: &ParamBuilder) -> ConvNorm {
    let config = Conv2dConfig::new(width, width, 3).depthwise();
    ConvNorm::new(config.stride(stride).padding(1), act, params)
}

#[derive(Module, Debug)]
struct TinyVit {
    stem: ConvStem,
    stages: Stages<Stage<MbConv, Block>>,
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

    fn timm_args(&self, _: Pool) -> Map<String, Value> {
        // timm's own is up to 0.2.
        Map::from_iter([("drop_path_rate".to_owned(), json!(0.0))])
    }
}

/// An inverted residual, activated behind the sum; without a sum it makes a map half the size.
#[derive(Module, Debug)]
struct MbConv {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: ConvNorm,
    /// Of the branch beside the shortcut, if there is one.
    drop_path: Option<DropPath>,
}

impl MbConv {
    /// With a shortcut if there is a rate to drop the branch at.
    fn new(
        [from, inner, to]: [usize; 3],
        stride: usize,
        drop_path: Option<f64>,
        params: &ParamBuilder,
    ) -> Self {
        let norm = BatchNorm2dConfig::new(to);
        let norm = match drop_path {
            Some(_) => norm.zero_init(),
            None => norm,
        };
        let last = Conv2dConfig::new(inner, to, 1);
        Self {
            conv1: ConvNorm::new(Conv2dConfig::new(from, inner, 1), Act::Gelu, params),
            conv2: depthwise(inner, stride, Act::Gelu, params),
            conv3: ConvNorm::with_norm(last, norm, Act::None, params),
            drop_path: drop_path.map(DropPath::new),
        }
    }
}

impl MapLayer for MbConv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let branch = |x, end: Epilogue<'_, 4>| {
            let x = self.conv2.forward(self.conv1.forward(x));
            self.conv3.forward_with(x, end)
        };
        match &self.drop_path {
            Some(drop_path) => drop_path.residual(x, Act::Gelu, |x| x, branch),
            None => branch(x, Epilogue::default()),
        }
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
            Self::Convs(block) => block.forward(x),
            Self::Attention(block) => block.forward(x),
        }
    }
}

#[derive(Module, Debug)]
struct AttentionBlock {
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

impl AttentionBlock {
    fn new(width: usize, window: usize, drop_path: f64, params: &ParamBuilder) -> Self {
        let heads = width / HEAD;
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

impl MapLayer for AttentionBlock {
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
