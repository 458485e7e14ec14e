//! Vision transformer: Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image
//! Recognition at Scale", ICLR 2021, <https://arxiv.org/abs/2010.11929>.
//!
//! Class token, learnt position embeddings, pre-norm blocks; the structure is timm's
//! `vision_transformer.py`. Parameters are those of a model for 1000 classes at the size in the
//! table.
//!
//! | variant | width | blocks | heads | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|---|---|
//! | `vit_tiny_patch16_224` | 192 | 12 | 3 | 224 | 5 717 416 | 75.5 % (`augreg_in21k_ft_in1k`) |
//! | `vit_small_patch16_224` | 384 | 12 | 6 | 224 | 22 050 664 | 81.4 % (`augreg_in21k_ft_in1k`) |
//! | `vit_base_patch16_224` | 768 | 12 | 12 | 224 | 86 567 656 | |
//! | `test_vit` | 64 | 6 | 2 | 160 | 371 240 | 41.0 % (`r160_in1k`) |

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::{Error, Result};
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, Group, InputSize, OtherNames, Pool, PosEmbed, group, key_table,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, DropPath, Epilogue, LayerNorm, Mlp, ParamBuilder, SelfAttention,
    drop_path_rates,
};
use crate::preprocess::ImageSize;

variants! {
    family: VisionTransformer, manifest: "vision_transformer.toml",
    paper: "https://arxiv.org/abs/2010.11929", pool: Pool::Token;
    vit_tiny_patch16_224 (224): "12 blocks of width 192" => Config::new(192, 12, 3);
    vit_small_patch16_224 (224): "12 blocks of width 384" => Config::new(384, 12, 6);
    vit_base_patch16_224 (224): "12 blocks of width 768" => Config::new(768, 12, 12);
    test_vit (160): "a tiny one, for tests" => Config { mlp_ratio: 3, image_size: 160, ..Config::new(64, 6, 2) };
}

/// Pixels on a side of a patch, in every variant.
const PATCH: usize = 16;
/// Patches on a side of an image, at most: attention grows with their fourth power.
const MOST_PATCHES: usize = 256;
const EPSILON: f64 = 1e-6;

/// The shape of a vision transformer.
#[derive(Debug, Clone)]
struct Config {
    width: usize,
    depth: usize,
    heads: usize,
    mlp_ratio: usize,
    image_size: usize,
}

impl Config {
    fn new(width: usize, depth: usize, heads: usize) -> Self {
        Self {
            width,
            depth,
            heads,
            mlp_ratio: 4,
            image_size: 224,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<VisionTransformer> {
        let image_size = options.image_size.unwrap_or([self.image_size; 2]);
        let sides = PATCH..=MOST_PATCHES * PATCH;
        if !image_size.iter().all(|side| sides.contains(side)) {
            let expected = format!("{PATCH}, the side of a patch, to {}", MOST_PATCHES * PATCH);
            return Err(Error::argument(
                "image_size",
                expected,
                ImageSize::from(image_size),
            ));
        }
        let (grid, width) = (image_size.map(|side| side / PATCH), self.width);
        let numbered = (0..self.depth)
            .map(|index| Group::new(format!("block{}", index + 1), format!("blocks.{index}.")));
        let groups = std::iter::once(Group::named("stem"))
            .chain(numbered)
            .chain([Group::named("norm")]);
        let description = Description {
            input_size: InputSize::Exactly(image_size),
            unseen_edge: image_size.map(|side| side % PATCH),
            pools: &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::Token, Pool::None],
            prefix_tokens: 1,
            classifier: "head",
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stem.proj" => "patch_embed.proj", "stem.cls_token" => "cls_token",
                "stem.pos_embed" => "pos_embed",
            ],
            other_names: vec![torchvision_names(), transformers_names()],
            pos_embed: Some(PosEmbed {
                path: "stem.pos_embed".to_owned(),
                prefix_tokens: 1,
                grid,
                patch: PATCH,
                max_side: MOST_PATCHES,
            }),
            no_weight_decay: vec!["stem.pos_embed".to_owned(), "stem.cls_token".to_owned()],
            ..Description::new(groups.collect(), options.in_channels, width, "stem.proj")
        };
        let proj = Conv2dConfig::new(options.in_channels, width, PATCH).stride(PATCH);
        let backbone = VisionTransformer {
            stem: Stem {
                proj: proj.bias().init(params),
                cls_token: params.weight([1, 1, width], &Init::normal(1e-6)),
                pos_embed: params.weight([1, grid[0] * grid[1] + 1, width], &WEIGHTS),
            },
            blocks: drop_path_rates(options.drop_path_rate, self.depth)
                .map(|rate| Block::new(self, rate, params))
                .collect(),
            norm: LayerNorm::new(width, EPSILON, params),
            image_size: image_size.into(),
        };
        Ok((backbone, description))
    }
}

/// The rule of affine layers and of the position embeddings.
const WEIGHTS: Init = Init::trunc_normal(0.02);

/// The names of torchvision's `vit_b_16` and its kin.
fn torchvision_names() -> OtherNames {
    let table = key_table![
        "cls_token" => "class_token", "pos_embed" => "encoder.pos_embedding",
        "patch_embed.proj" => "conv_proj",
        "blocks.*.norm1" => "encoder.layers.encoder_layer_*.ln_1",
        "blocks.*.attn.qkv.weight"
            => "encoder.layers.encoder_layer_*.self_attention.in_proj_weight",
        "blocks.*.attn.qkv.bias" => "encoder.layers.encoder_layer_*.self_attention.in_proj_bias",
        "blocks.*.attn.proj" => "encoder.layers.encoder_layer_*.self_attention.out_proj",
        "blocks.*.norm2" => "encoder.layers.encoder_layer_*.ln_2",
        "blocks.*.mlp.fc1" => "encoder.layers.encoder_layer_*.mlp.0",
        "blocks.*.mlp.fc2" => "encoder.layers.encoder_layer_*.mlp.3",
        "norm" => "encoder.ln", "head" => "heads.head",
    ];
    OtherNames::new("torchvision's VisionTransformer", table)
}

/// The names of transformers' `ViTForImageClassification`.
fn transformers_names() -> OtherNames {
    let table = key_table![
        "cls_token" => "vit.embeddings.cls_token",
        "pos_embed" => "vit.embeddings.position_embeddings",
        "patch_embed.proj" => "vit.embeddings.patch_embeddings.projection",
        "blocks.*.norm1" => "vit.encoder.layer.*.layernorm_before",
        "blocks.*.attn.qkv" => "vit.encoder.layer.*.attention.attention.{query,key,value}",
        "blocks.*.attn.proj" => "vit.encoder.layer.*.attention.output.dense",
        "blocks.*.norm2" => "vit.encoder.layer.*.layernorm_after",
        "blocks.*.mlp.fc1" => "vit.encoder.layer.*.intermediate.dense",
        "blocks.*.mlp.fc2" => "vit.encoder.layer.*.output.dense",
        "norm" => "vit.layernorm", "head" => "classifier",
    ];
    OtherNames::new("transformers' ViT", table)
}

/// A vision transformer: patches become tokens, blocks mix them.
#[derive(Module, Debug)]
struct VisionTransformer {
    stem: Stem,
    blocks: Vec<Block>,
    norm: LayerNorm,
    #[module(skip)]
    image_size: ImageSize,
}

impl Backbone for VisionTransformer {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        Ok(Features::Tokens(match index.checked_sub(1) {
            None => self.stem.forward(x.into_map()?),
            Some(index) if index == self.blocks.len() => self.norm.forward(x.into_tokens()?),
            Some(index) => group(&self.blocks, index)?.forward(x.into_tokens()?),
        }))
    }

    fn timm_args(&self, pool: Pool) -> serde_json::Map<String, serde_json::Value> {
        let mut args = serde_json::Map::new();
        args.insert("img_size".to_owned(), self.image_size.timm_arg());
        // Where timm would take any size, it would insist on whole patches.
        args.insert("dynamic_img_size".to_owned(), false.into());
        // With any other pooling timm would move the last normalisation behind it.
        if pool != Pool::Token {
            args.insert("fc_norm".to_owned(), false.into());
        }
        args
    }
}

#[derive(Module, Debug)]
struct Stem {
    proj: Conv2d,
    cls_token: Param<Tensor<3>>,
    pos_embed: Param<Tensor<3>>,
}

impl Stem {
    fn forward(&self, image: Tensor<4>) -> Tensor<3> {
        let patches = self.proj.forward(image);
        let [batch, width, rows, columns] = patches.dims();
        let patches = patches
            .reshape([batch, width, rows * columns])
            .swap_dims(1, 2);
        let dtype = patches.dtype();
        let class = self.cls_token.val().cast(dtype).expand([batch, 1, width]);
        Tensor::cat(vec![class, patches], 1) + self.pos_embed.val().cast(dtype)
    }
}

/// Attention and an MLP, each on normalised tokens and added to them.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: SelfAttention,
    norm2: LayerNorm,
    mlp: Mlp,
    drop_path: DropPath,
}

impl Block {
    fn new(config: &Config, drop_path: f64, params: &ParamBuilder) -> Self {
        let width = config.width;
        Self {
            norm1: LayerNorm::new(width, EPSILON, params),
            attn: SelfAttention::new(width, config.heads, &WEIGHTS, params),
            norm2: LayerNorm::new(width, EPSILON, params),
            mlp: Mlp::new(width, width * config.mlp_ratio, &WEIGHTS, params),
            drop_path: DropPath::new(drop_path),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attend = |x, end: Epilogue<'_, 3>| self.attn.forward_with(self.norm1.forward(x), end);
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let mlp = |x, end: Epilogue<'_, 3>| self.mlp.forward_with(self.norm2.forward(x), end);
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}
