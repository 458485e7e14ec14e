//! XCiT: El-Nouby et al., "XCiT: Cross-Covariance Image Transformers", NeurIPS 2021,
//! <https://arxiv.org/abs/2106.09681>.
//!
//! Channels attend to each other, not positions, so that the work grows with the number of positions and
//! not with its square; convolutions mix neighbours, and a class token attends to the positions in two
//! blocks at the end. The structure is timm's `xcit.py`. Parameters are those of a model for 1000
//! classes; accuracies are those timm publishes at 224 pixels.
//!
//! | variant | width | blocks | patch | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|---|
//! | `xcit_nano_12_p16_224` | 128 | 12 | 16 | 3 053 224 | 70.0 % (`fb_in1k`) |
//! | `xcit_nano_12_p8_224` | 128 | 12 | 8 | 3 049 016 | 73.9 % (`fb_in1k`) |
//! | `xcit_tiny_12_p16_224` | 192 | 12 | 16 | 6 716 272 | 77.1 % (`fb_in1k`) |
//! | `xcit_tiny_12_p8_224` | 192 | 12 | 8 | 6 706 504 | 79.7 % (`fb_in1k`) |
//! | `xcit_tiny_24_p16_224` | 192 | 24 | 16 | 12 116 896 | 79.5 % (`fb_in1k`) |
//! | `xcit_small_12_p16_224` | 384 | 12 | 16 | 26 253 304 | 82.0 % (`fb_in1k`) |

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, Group, MapLayer, OtherNames, Pool, group, key_table,
};
use crate::nn::{
    Act, BatchNorm2d, BatchNorm2dConfig, ClassAttention, Conv2d, Conv2dConfig, ConvNorm,
    CrossCovariance, DropPath, Epilogue, FourierPositions, LayerNorm, LayerScale, Mlp,
    ParamBuilder, channels_last, from_channels_last, map_of_tokens, prepend_tokens, tokens_of_map,
};

variants! {
    family: Xcit, manifest: "xcit.toml", paper: "https://arxiv.org/abs/2106.09681",
    pool: Pool::Token;
    xcit_nano_12_p16_224 (224): "12 blocks of width 128" => Config::new(128, 12, 4, 16);
    xcit_nano_12_p8_224 (224): "12 blocks of width 128, small patches" => Config::new(128, 12, 4, 8);
    xcit_tiny_12_p16_224 (224): "12 blocks of width 192" => Config::new(192, 12, 4, 16);
    xcit_tiny_12_p8_224 (224): "12 blocks of width 192, small patches" => Config::new(192, 12, 4, 8);
    xcit_tiny_24_p16_224 (224): "24 blocks of width 192" => Config::new(192, 24, 4, 16);
    xcit_small_12_p16_224 (224): "12 blocks of width 384" => Config::new(384, 12, 8, 16);
}

/// Blocks of the class token.
const CLASS_BLOCKS: usize = 2;
const EPSILON: f64 = 1e-6;
const WEIGHTS: Init = Init::trunc_normal(0.02);

/// The shape of an XCiT.
#[derive(Debug, Clone)]
struct Config {
    width: usize,
    depth: usize,
    heads: usize,
    /// Pixels on a side of a patch.
    patch: usize,
}

impl Config {
    fn new(width: usize, depth: usize, heads: usize, patch: usize) -> Self {
        Self {
            width,
            depth,
            heads,
            patch,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<Xcit> {
        let (width, depth) = (self.width, self.depth);
        // The blocks of the class token are counted on.
        let of_class = (0..CLASS_BLOCKS).map(|index| {
            let name = format!("block{}", depth + index + 1);
            Group::new(name, format!("cls_attn_blocks.{index}."))
        });
        let mut groups = Group::stem_and_blocks(depth);
        groups.extend(of_class.chain([Group::named("norm")]));
        let count = self.patch.ilog2() as usize;
        // Each convolution halves the size.
        let shape = options.stem.convolutions(&vec![2; count], false)?;
        let stem = self.stem(options.in_channels, shape.strides(), params);
        let description = Description {
            stem: Some(shape),
            pools: &[Pool::Avg, Pool::Token, Pool::None],
            prefix_tokens: 1,
            classifier: "head",
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stem.layers.*.conv" => "patch_embed.proj.*x2.0",
                "stem.layers.*.bn" => "patch_embed.proj.*x2.1",
                "stem.pos_embed" => "pos_embed", "stem.cls_token" => "cls_token",
                "blocks.*.scale*.gamma" => "blocks.*.gamma*",
                "cls_attn_blocks.*.scale*.gamma" => "cls_attn_blocks.*.gamma*",
            ],
            other_names: vec![facebook_names()],
            no_weight_decay: ["stem.pos_embed.token_projection.weight", "stem.cls_token"]
                .map(str::to_owned)
                .to_vec(),
            ..Description::new(groups, options.in_channels, width, "stem.layers.0.conv")
        };
        let backbone = Xcit {
            stem,
            blocks: (0..depth)
                .map(|_| self.block(options.drop_path_rate, params))
                .collect(),
            cls_attn_blocks: (0..CLASS_BLOCKS)
                .map(|_| self.class_block(params))
                .collect(),
            norm: LayerNorm::new(width, EPSILON, params),
        };
        Ok((backbone, description))
    }

    fn stem(&self, in_channels: usize, strides: &[usize], params: &ParamBuilder) -> Stem {
        let count = strides.len();
        let layers = (1..).zip(strides).map(|(number, &stride)| {
            let channels = |number: usize| self.width >> (count - number);
            let from = if number == 1 {
                in_channels
            } else {
                channels(number - 1)
            };
            let conv = Conv2dConfig::new(from, channels(number), 3);
            let act = if number < count { Act::Gelu } else { Act::None };
            Layer {
                conv: ConvNorm::new(conv.stride(stride).padding(1), act, params),
            }
        });
        Stem {
            layers: layers.collect(),
            pos_embed: FourierPositions::new(self.width, &Init::PyTorch, params),
            cls_token: params.weight([1, 1, self.width], &WEIGHTS),
        }
    }

    /// How the scales of branches start.
    fn scale(&self, params: &ParamBuilder) -> LayerScale {
        let start = if self.depth > 12 { 1e-5 } else { 1.0 };
        LayerScale::new(self.width, start, params)
    }

    /// All blocks are dropped at the same rate.
    fn block(&self, drop_path: f64, params: &ParamBuilder) -> Block {
        let width = self.width;
        let norm = || LayerNorm::new(width, EPSILON, params);
        let conv = || {
            let conv = Conv2dConfig::new(width, width, 3).padding(1);
            conv.depthwise().bias().init(params)
        };
        Block {
            norm1: norm(),
            attn: CrossCovariance::new(width, self.heads, &WEIGHTS, params),
            scale1: self.scale(params),
            norm3: norm(),
            local_mp: LocalMix {
                conv1: conv(),
                bn: BatchNorm2dConfig::new(width).init(params),
                conv2: conv(),
            },
            scale3: self.scale(params),
            norm2: norm(),
            mlp: Mlp::new(width, 4 * width, &WEIGHTS, params),
            scale2: self.scale(params),
            drop_path: DropPath::new(drop_path),
        }
    }

    fn class_block(&self, params: &ParamBuilder) -> ClassBlock {
        let width = self.width;
        ClassBlock {
            norm1: LayerNorm::new(width, EPSILON, params),
            attn: ClassAttention::new(width, self.heads, &WEIGHTS, params),
            scale1: self.scale(params),
            norm2: LayerNorm::new(width, EPSILON, params),
            mlp: Mlp::new(width, 4 * width, &WEIGHTS, params),
            scale2: self.scale(params),
            normalizes_all: width > 128,
        }
    }
}

/// The names of the authors' own files.
fn facebook_names() -> OtherNames {
    let table = key_table![
        "pos_embed" => "pos_embeder",
        "cls_attn_blocks.*.attn.q.weight" => "cls_attn_blocks.*.attn.qkv[0/3].weight",
        "cls_attn_blocks.*.attn.k.weight" => "cls_attn_blocks.*.attn.qkv[1/3].weight",
        "cls_attn_blocks.*.attn.v.weight" => "cls_attn_blocks.*.attn.qkv[2/3].weight",
        "cls_attn_blocks.*.attn.q.bias" => "cls_attn_blocks.*.attn.qkv[0/3].bias",
        "cls_attn_blocks.*.attn.k.bias" => "cls_attn_blocks.*.attn.qkv[1/3].bias",
        "cls_attn_blocks.*.attn.v.bias" => "cls_attn_blocks.*.attn.qkv[2/3].bias",
    ];
    OtherNames::new("the authors' XCiT", table)
}

/// A network of channels that attend to each other. Its features are maps up to the blocks of the class
/// token.
#[derive(Module, Debug)]
struct Xcit {
    stem: Stem,
    blocks: Vec<Block>,
    cls_attn_blocks: Vec<ClassBlock>,
    norm: LayerNorm,
}

impl Backbone for Xcit {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        let Some(index) = index.checked_sub(1) else {
            return Ok(Features::Map(self.stem.forward(x.into_map()?)));
        };
        let Some(index) = index.checked_sub(self.blocks.len()) else {
            let block = group(&self.blocks, index)?;
            return Ok(Features::Map(block.forward(x.into_map()?)));
        };
        let tokens = match x {
            Features::Map(map) => self.stem.with_class_token(map),
            tokens => tokens.into_tokens()?,
        };
        Ok(Features::Tokens(if index == self.cls_attn_blocks.len() {
            self.norm.forward(tokens)
        } else {
            group(&self.cls_attn_blocks, index)?.forward(tokens)
        }))
    }
}

/// Convolutions, what they are told of places, and the token that the last blocks begin with.
#[derive(Module, Debug)]
struct Stem {
    layers: Vec<Layer>,
    pos_embed: FourierPositions,
    cls_token: Param<Tensor<3>>,
}

impl Stem {
    fn with_class_token(&self, map: Tensor<4>) -> Tensor<3> {
        prepend_tokens([&self.cls_token], tokens_of_map(map))
    }
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.pos_embed.forward(self.layers.forward(x))
    }
}

#[derive(Module, Debug)]
struct Layer {
    conv: ConvNorm,
}

impl MapLayer for Layer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }
}

/// Attention of channels, convolutions and an MLP, each on what is normalised, scaled and added to it.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: CrossCovariance,
    scale1: LayerScale,
    norm3: LayerNorm,
    local_mp: LocalMix,
    scale3: LayerScale,
    norm2: LayerNorm,
    mlp: Mlp,
    scale2: LayerScale,
    drop_path: DropPath,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [.., height, width] = x.dims();
        let attend = |x, end: Epilogue<'_, 4>| {
            let x = self.norm1.forward(tokens_of_map(x));
            let x = self.scale1.forward(self.attn.forward(x));
            end.apply(map_of_tokens(x, [height, width]))
        };
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let convolve = |x, end: Epilogue<'_, 4>| {
            let x = self.local_mp.forward(self.norm3.forward_map(x));
            end.apply(self.scale3.forward_map(x))
        };
        let x = self.drop_path.residual(x, Act::None, |x| x, convolve);
        let mlp = |x, end: Epilogue<'_, 4>| {
            let x = self.norm2.forward(channels_last(x));
            let x = self.mlp.forward_with(x, Epilogue::default());
            end.apply(from_channels_last(self.scale2.forward(x)))
        };
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}

/// Two depthwise convolutions.
#[derive(Module, Debug)]
struct LocalMix {
    conv1: Conv2d,
    bn: BatchNorm2d,
    conv2: Conv2d,
}

impl MapLayer for LocalMix {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv1.forward_with(x, Epilogue::act(Act::Gelu));
        self.conv2.forward(self.bn.forward(x))
    }
}

/// Attention of the class token and an MLP of it.
#[derive(Module, Debug)]
struct ClassBlock {
    norm1: LayerNorm,
    attn: ClassAttention,
    scale1: LayerScale,
    norm2: LayerNorm,
    mlp: Mlp,
    scale2: LayerScale,
    /// Whether the second normalisation is of all tokens, and not of the class token alone.
    normalizes_all: bool,
}

impl ClassBlock {
    /// The other tokens are not attended with, but normalised, scaled and doubled, as upstream does it.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let normalized = self.norm1.forward(x.clone());
        let [_, others] = split(normalized.clone());
        let mixed = Tensor::cat(vec![self.attn.forward(normalized), others], 1);
        let x = x + self.scale1.forward(mixed);
        let [class, others] = if self.normalizes_all {
            split(self.norm2.forward(x))
        } else {
            let [class, others] = split(x);
            [self.norm2.forward(class), others]
        };
        let mlp = self.mlp.forward_with(class.clone(), Epilogue::default());
        let class = class + self.scale2.forward(mlp);
        Tensor::cat(vec![class, others * 2.0], 1)
    }
}

/// The class token, and the others.
fn split(tokens: Tensor<3>) -> [Tensor<3>; 2] {
    let others = tokens.dims()[1] - 1;
    [tokens.clone().narrow(1, 0, 1), tokens.narrow(1, 1, others)]
}
