//! Vision transformer: Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image
//! Recognition at Scale", ICLR 2021, <https://arxiv.org/abs/2010.11929>.
//!
//! Patches become tokens with learnt position embeddings, pre-norm blocks mix them. Before them may stand
//! a class token, a distillation token and registers (Darcet et al., ICLR 2024,
//! <https://arxiv.org/abs/2309.16588>); blocks may have a layer scale. The structure is timm's
//! `vision_transformer.py`; the other families of this structure take its `Config`. Parameters are
//! those of a model for 1000 classes at the size in the table.
//!
//! | variant | width | blocks | heads | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|---|---|
//! | `vit_tiny_patch16_224` | 192 | 12 | 3 | 224 | 5 717 416 | 75.5 % (`augreg_in21k_ft_in1k`) |
//! | `vit_tiny_patch16_384` | 192 | 12 | 3 | 384 | 5 790 376 | 78.4 % (`augreg_in21k_ft_in1k`) |
//! | `vit_small_patch32_224` | 384 | 12 | 6 | 224 | 22 878 952 | 76.0 % (`augreg_in21k_ft_in1k`) |
//! | `vit_small_patch32_384` | 384 | 12 | 6 | 384 | 22 915 432 | 80.5 % (`augreg_in21k_ft_in1k`) |
//! | `vit_small_patch16_224` | 384 | 12 | 6 | 224 | 22 050 664 | 81.4 % (`augreg_in21k_ft_in1k`) |
//! | `vit_small_patch16_384` | 384 | 12 | 6 | 384 | 22 196 584 | 83.8 % (`augreg_in21k_ft_in1k`) |
//! | `vit_small_patch8_224` | 384 | 12 | 6 | 224 | 22 055 272 | |
//! | `vit_base_patch32_224` | 768 | 12 | 12 | 224 | 88 224 232 | 80.7 % (`augreg_in21k_ft_in1k`) |
//! | `vit_base_patch32_384` | 768 | 12 | 12 | 384 | 88 297 192 | 83.4 % (`augreg_in21k_ft_in1k`) |
//! | `vit_base_patch16_224` | 768 | 12 | 12 | 224 | 86 567 656 | 85.1 % (`augreg2_in21k_ft_in1k`) |
//! | `vit_base_patch16_384` | 768 | 12 | 12 | 384 | 86 859 496 | 86.0 % (`augreg_in21k_ft_in1k`) |
//! | `vit_base_patch8_224` | 768 | 12 | 12 | 224 | 86 576 872 | 86.3 % (`augreg2_in21k_ft_in1k`) |
//! | `vit_base_patch16_224_miil` | 768 | 12 | 12 | 224 | 86 540 008 | 84.3 % (`in21k_ft_in1k`) |
//! | `vit_wee_patch16_reg1_gap_256` | 256 | 14 | 4 | 256 | 13 422 568 | 80.3 % (`sbb_in1k`) |
//! | `vit_little_patch16_reg4_gap_256` | 320 | 14 | 5 | 256 | 22 516 008 | 82.5 % (`sbb_in1k`) |
//! | `vit_medium_patch16_reg4_gap_256` | 512 | 12 | 8 | 256 | 38 881 768 | 85.0 % (`sbb_in12k_ft_in1k`) |
//! | `vit_mediumd_patch16_reg4_gap_256` | 512 | 20 | 8 | 256 | 64 109 032 | 86.6 % (`sbb2_e200_in12k_ft_in1k`) |
//! | `vit_betwixt_patch16_reg4_gap_256` | 640 | 12 | 10 | 256 | 60 398 440 | 85.7 % (`sbb2_e200_in12k_ft_in1k`) |
//! | `vit_base_patch16_reg4_gap_256` | 768 | 12 | 12 | 256 | 86 615 272 | |
//! | `test_vit` | 64 | 6 | 2 | 160 | 371 240 | 41.0 % (`r160_in1k`) |
//! | `test_vit2` | 64 | 8 | 2 | 160 | 455 720 | 42.3 % (`r160_in1k`) |
//! | `test_vit3` | 96 | 9 | 3 | 160 | 930 280 | 56.9 % (`r160_in1k`) |
//! | `test_vit4` | 96 | 9 | 3 | 160 | 1 020 520 | |

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, FirstConv, Group, InputSize, OtherNames, Pool, Pooling,
    PosEmbed, group, key_table,
};
use crate::nn::{
    Act, AttentionPool, Conv2d, Conv2dConfig, DropPath, Epilogue, LayerNorm, LayerScale, Mlp,
    ParamBuilder, RmsNorm, SelfAttention, drop_path_rates,
};

variants! {
    family: VisionTransformer, manifest: "vision_transformer.toml",
    paper: "https://arxiv.org/abs/2010.11929", pool: Pool::Token;
    vit_tiny_patch16_224 (224): "12 blocks of width 192" => plain(Config::tiny());
    vit_tiny_patch16_384 (384): "12 blocks of width 192" => plain(Config::tiny().size(384));
    vit_small_patch32_224 (224): "12 blocks of width 384, patches of 32 pixels"
        => plain(Config::small().patch(32));
    vit_small_patch32_384 (384): "12 blocks of width 384, patches of 32 pixels"
        => plain(Config::small().patch(32).size(384));
    vit_small_patch16_224 (224): "12 blocks of width 384" => plain(Config::small());
    vit_small_patch16_384 (384): "12 blocks of width 384" => plain(Config::small().size(384));
    vit_small_patch8_224 (224): "12 blocks of width 384, patches of 8 pixels"
        => plain(Config::small().patch(8));
    vit_base_patch32_224 (224): "12 blocks of width 768, patches of 32 pixels"
        => plain(Config::base().patch(32));
    vit_base_patch32_384 (384): "12 blocks of width 768, patches of 32 pixels"
        => plain(Config::base().patch(32).size(384));
    vit_base_patch16_224 (224): "12 blocks of width 768" => plain(Config::base());
    vit_base_patch16_384 (384): "12 blocks of width 768" => plain(Config::base().size(384));
    vit_base_patch8_224 (224): "12 blocks of width 768, patches of 8 pixels"
        => plain(Config::base().patch(8));
    vit_base_patch16_224_miil (224): "12 blocks of width 768, queries, keys and values without bias"
        => Config { qkv_bias: false, ..Config::base() };
    vit_wee_patch16_reg1_gap_256 (256, Pool::Avg): "14 blocks of width 256, a register"
        => Config::new(256, 14, 4).mlp_ratio(5.0).layer_scale(1e-5).registers(1);
    vit_little_patch16_reg4_gap_256 (256, Pool::Avg): "14 blocks of width 320, registers"
        => Config::new(320, 14, 5).mlp_ratio(5.6).layer_scale(1e-5).registers(4);
    vit_medium_patch16_reg4_gap_256 (256, Pool::Avg): "12 blocks of width 512, registers"
        => Config::new(512, 12, 8).layer_scale(1e-5).registers(4);
    vit_mediumd_patch16_reg4_gap_256 (256, Pool::Avg): "20 blocks of width 512, registers"
        => Config::new(512, 20, 8).layer_scale(1e-5).registers(4);
    vit_betwixt_patch16_reg4_gap_256 (256, Pool::Avg): "12 blocks of width 640, registers"
        => Config::new(640, 12, 10).layer_scale(1e-5).registers(4);
    vit_base_patch16_reg4_gap_256 (256, Pool::Avg): "12 blocks of width 768, registers"
        => Config::base().registers(4);
    test_vit (160): "a tiny one, for tests"
        => plain(Config::new(64, 6, 2).mlp_ratio(3.0).size(160));
    test_vit2 (160, Pool::Avg): "a tiny one with a register, for tests"
        => test(Config::new(64, 8, 2).mlp_ratio(3.0));
    test_vit3 (160, Pool::Map): "a tiny one with attention pooling, for tests"
        => Config { end: End::Attention, pools_prefix: true, ..test(Config::new(96, 9, 3).mlp_ratio(2.0)) };
    test_vit4 (160, Pool::Avg): "a tiny one with RMS normalisation, for tests"
        => Config { is_rms: true, ..test(Config::new(96, 9, 3).mlp_ratio(3.0)) };
}

/// Of the structure that other libraries have too.
fn plain(config: Config) -> Config {
    let other_names = || vec![torchvision_names(), transformers_names()];
    Config {
        other_names,
        ..config
    }
}

/// A register that has a position, as the networks for tests have it.
fn test(config: Config) -> Config {
    Config {
        embeds_prefix: true,
        ..config.layer_scale(1e-5).registers(1).size(160)
    }
}

/// Patches on a side of an image, at most: attention grows with their fourth power.
const MOST_PATCHES: usize = 256;

/// The shape of a vision transformer.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub width: usize,
    pub depth: usize,
    pub heads: usize,
    /// Pixels on a side of a patch.
    pub patch: usize,
    pub image_size: usize,
    /// Width of the MLPs, in widths.
    pub mlp_ratio: f64,
    pub act: Act,
    pub qkv_bias: bool,
    /// Where the factors of the branches start, if they have some.
    pub layer_scale: Option<f32>,
    pub has_class_token: bool,
    /// Whether there are a distillation token and a classifier for it.
    pub is_distilled: bool,
    pub registers: usize,
    /// Whether the tokens before those of the patches have positions too.
    pub embeds_prefix: bool,
    /// Whether the tokens are normalised before the blocks; the patches have no bias then.
    pub norm_pre: bool,
    pub epsilon: f64,
    /// Whether normalisations are by the root mean square alone.
    pub is_rms: bool,
    pub end: End,
    /// Whether the tokens before those of the patches are pooled with them.
    pub pools_prefix: bool,
    pub other_names: fn() -> Vec<OtherNames>,
    /// See [`Description::unread`].
    pub unread: &'static [&'static str],
}

/// What follows the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A normalisation of the tokens.
    Norm,
    /// A normalisation of what is pooled.
    PooledNorm,
    /// A normalisation of the tokens, and attention that pools.
    Attention,
}

impl Config {
    /// Patches of 16 pixels, images of 224, and a class token.
    pub(super) fn new(width: usize, depth: usize, heads: usize) -> Self {
        Self {
            width,
            depth,
            heads,
            patch: 16,
            image_size: 224,
            mlp_ratio: 4.0,
            act: Act::Gelu,
            qkv_bias: true,
            layer_scale: None,
            has_class_token: true,
            is_distilled: false,
            registers: 0,
            embeds_prefix: true,
            norm_pre: false,
            epsilon: 1e-6,
            is_rms: false,
            end: End::Norm,
            pools_prefix: false,
            other_names: Vec::new,
            unread: &[],
        }
    }

    pub(super) fn tiny() -> Self {
        Self::new(192, 12, 3)
    }

    pub(super) fn small() -> Self {
        Self::new(384, 12, 6)
    }

    pub(super) fn base() -> Self {
        Self::new(768, 12, 12)
    }

    pub(super) fn patch(self, patch: usize) -> Self {
        Self { patch, ..self }
    }

    pub(super) fn size(self, image_size: usize) -> Self {
        Self { image_size, ..self }
    }

    fn mlp_ratio(self, mlp_ratio: f64) -> Self {
        Self { mlp_ratio, ..self }
    }

    pub(super) fn layer_scale(self, start: f32) -> Self {
        Self {
            layer_scale: Some(start),
            ..self
        }
    }

    /// Registers in place of the class token, without positions; the patches' mean is pooled.
    fn registers(self, registers: usize) -> Self {
        Self {
            has_class_token: false,
            registers,
            embeds_prefix: false,
            end: End::PooledNorm,
            image_size: 256,
            ..self
        }
    }

    fn pools(&self) -> &'static [Pool] {
        match (self.has_class_token, self.end) {
            _ if self.is_distilled => &[Pool::Token],
            (true, _) => &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::Token, Pool::None],
            (_, End::Attention) => &[Pool::Map, Pool::Avg, Pool::Max, Pool::AvgMax, Pool::None],
            _ => &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::None],
        }
    }

    fn hidden(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }

    pub(super) fn init(
        &self,
        options: &BackboneOptions,
        params: &ParamBuilder,
    ) -> Built<VisionTransformer> {
        let (patch, width) = (self.patch, self.width);
        let sides = patch..=MOST_PATCHES * patch;
        let expected = format!("{patch}, the side of a patch, to {}", sides.end());
        let fits = |side| sides.contains(&side);
        let image_size = options.fixed_size(self.image_size, expected, fits)?;
        let grid = image_size.map(|side| side / patch);
        // The tokens before those of the patches, in order.
        let prefix = [
            ("stem.cls_token", usize::from(self.has_class_token)),
            ("stem.dist_token", usize::from(self.is_distilled)),
            ("stem.reg_token", self.registers),
        ];
        let [class, distillation, registers] = prefix.map(|(_, count)| count);
        let prefix_tokens = class + distillation + registers;
        let embedded = if self.embeds_prefix { prefix_tokens } else { 0 };
        let pooled_from = if self.pools_prefix { 0 } else { prefix_tokens };
        let pre_logits = match self.end {
            End::PooledNorm => Some(PreLogits::Norm(Norm::new(self, params))),
            End::Attention if options.pool == Pool::Map => {
                let sizes = [width, self.hidden(), self.heads];
                let pool = AttentionPool::new(sizes, self.act, self.epsilon, &WEIGHTS, params);
                Some(PreLogits::Pool(pool))
            }
            _ => None,
        };
        let has_norm = self.end != End::PooledNorm;
        let numbered = (0..self.depth)
            .map(|index| Group::new(format!("block{}", index + 1), format!("blocks.{index}.")));
        let groups = std::iter::once(Group::named("stem"))
            .chain(numbered)
            .chain(has_norm.then(|| Group::named("norm")));
        let mut table = key_table![
            "stem.proj" => "patch_embed.proj", "stem.norm" => "norm_pre",
            "stem.cls_token" => "cls_token", "stem.dist_token" => "dist_token",
            "stem.reg_token" => "reg_token", "stem.pos_embed" => "pos_embed",
        ];
        let pools_by_attention = matches!(pre_logits, Some(PreLogits::Pool(_)));
        table.push(
            "pre_logits",
            if pools_by_attention {
                "attn_pool"
            } else {
                "fc_norm"
            },
        );
        let undecayed = prefix.iter().filter(|(_, count)| *count > 0);
        let undecayed = undecayed.map(|(path, _)| *path).chain(["stem.pos_embed"]);
        let described = Description::new(groups.collect(), options.in_channels, width, "stem.proj");
        let description = Description {
            has_pre_logits: pre_logits.is_some(),
            input_size: InputSize::Exactly(image_size),
            unseen_edge: image_size.map(|side| side % patch),
            pools: self.pools(),
            prefix_tokens: pooled_from,
            first_convs: vec![FirstConv {
                into_positions: self.norm_pre,
                ..described.first_convs[0].clone()
            }],
            classifier: "head",
            second_classifier: self.is_distilled.then_some("head_dist"),
            classifier_init: WEIGHTS,
            key_table: table,
            other_names: (self.other_names)(),
            unread: self.unread,
            pos_embed: Some(PosEmbed {
                path: "stem.pos_embed".to_owned(),
                prefix_tokens: embedded,
                grid,
                patch,
                max_side: MOST_PATCHES,
            }),
            no_weight_decay: undecayed.map(str::to_owned).collect(),
            ..described
        };
        let proj = Conv2dConfig::new(options.in_channels, width, patch).stride(patch);
        let proj = if self.norm_pre { proj } else { proj.bias() };
        let tokens =
            |count: usize, init: &Init| (count > 0).then(|| params.weight([1, count, width], init));
        let small = Init::normal(1e-6);
        let backbone = VisionTransformer {
            stem: Stem {
                proj: proj.init(params),
                cls_token: tokens(class, &small),
                dist_token: tokens(distillation, &WEIGHTS),
                reg_token: tokens(registers, &small),
                pos_embed: params.weight([1, embedded + grid[0] * grid[1], width], &WEIGHTS),
                norm: self.norm_pre.then(|| Norm::new(self, params)),
                embeds_prefix: self.embeds_prefix,
            },
            blocks: drop_path_rates(options.drop_path_rate, self.depth)
                .map(|rate| Block::new(self, rate, params))
                .collect(),
            norm: has_norm.then(|| Norm::new(self, params)),
            pre_logits,
            pooled_from,
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
pub(super) fn transformers_names() -> OtherNames {
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
pub(super) struct VisionTransformer {
    stem: Stem,
    blocks: Vec<Block>,
    norm: Option<Norm>,
    pre_logits: Option<PreLogits>,
    /// The first token that is pooled.
    pooled_from: usize,
}

impl Backbone for VisionTransformer {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        Ok(Features::Tokens(match (index.checked_sub(1), &self.norm) {
            (None, _) => self.stem.forward(x.into_map()?),
            (Some(index), Some(norm)) if index == self.blocks.len() => {
                norm.forward(x.into_tokens()?)
            }
            (Some(index), _) => group(&self.blocks, index)?.forward(x.into_tokens()?),
        }))
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let tokens = features.into_tokens()?;
        let [batch, length, width] = tokens.dims();
        if self.stem.dist_token.is_some() {
            // The class token for one classifier, that of the distillation for the other.
            return Ok(tokens.narrow(1, 0, 2).reshape([batch, 2 * width]));
        }
        Ok(match &self.pre_logits {
            None => pooling.vector(Features::Tokens(tokens)),
            Some(PreLogits::Norm(norm)) => {
                // One vector, or without a pooling one for each token.
                let vectors = pooling.vector(Features::Tokens(tokens));
                let all = vectors.dims()[1];
                let vectors = vectors.reshape([batch, all / width, width]);
                norm.forward(vectors).reshape([batch, all])
            }
            Some(PreLogits::Pool(pool)) => {
                let first = self.pooled_from;
                pool.forward(tokens.narrow(1, first, length - first))
            }
        })
    }

    fn timm_args(&self, pool: Pool) -> serde_json::Map<String, serde_json::Value> {
        let mut args = serde_json::Map::new();
        // Where timm would take any size, it would insist on whole patches.
        args.insert("dynamic_img_size".to_owned(), false.into());
        // timm would choose by the pooling whether the last normalisation is before or behind it.
        if !matches!(pool, Pool::Token | Pool::Map) {
            args.insert("fc_norm".to_owned(), self.norm.is_none().into());
        }
        args
    }
}

/// Patches as tokens, with those before them and their positions.
#[derive(Module, Debug)]
struct Stem {
    proj: Conv2d,
    cls_token: Option<Param<Tensor<3>>>,
    dist_token: Option<Param<Tensor<3>>>,
    reg_token: Option<Param<Tensor<3>>>,
    pos_embed: Param<Tensor<3>>,
    norm: Option<Norm>,
    embeds_prefix: bool,
}

impl Stem {
    fn forward(&self, image: Tensor<4>) -> Tensor<3> {
        let patches = self.proj.forward(image);
        let [batch, width, rows, columns] = patches.dims();
        let patches = patches
            .reshape([batch, width, rows * columns])
            .swap_dims(1, 2);
        let dtype = patches.dtype();
        let positions = self.pos_embed.val().cast(dtype);
        let prefix = [&self.cls_token, &self.dist_token, &self.reg_token];
        let prefix = prefix.into_iter().flatten().map(|token| {
            let token = token.val().cast(dtype);
            let [_, count, width] = token.dims();
            token.expand([batch, count, width])
        });
        let mut tokens: Vec<Tensor<3>> = prefix.collect();
        let x = if self.embeds_prefix {
            tokens.push(patches);
            Tensor::cat(tokens, 1) + positions
        } else {
            tokens.push(patches + positions);
            Tensor::cat(tokens, 1)
        };
        match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}

/// What stands between the last group and the classifier.
#[derive(Module, Debug)]
enum PreLogits {
    Norm(Norm),
    Pool(AttentionPool),
}

#[derive(Module, Debug)]
enum Norm {
    Layer(LayerNorm),
    Rms(RmsNorm),
}

impl Norm {
    fn new(config: &Config, params: &ParamBuilder) -> Self {
        if config.is_rms {
            Self::Rms(RmsNorm::new(config.width, config.epsilon, params))
        } else {
            Self::Layer(LayerNorm::new(config.width, config.epsilon, params))
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::Rms(norm) => norm.forward(x),
        }
    }
}

/// Attention and an MLP, each on normalised tokens and added to them.
#[derive(Module, Debug)]
struct Block {
    norm1: Norm,
    attn: SelfAttention,
    ls1: Option<LayerScale>,
    norm2: Norm,
    mlp: Mlp,
    ls2: Option<LayerScale>,
    drop_path: DropPath,
}

impl Block {
    fn new(config: &Config, drop_path: f64, params: &ParamBuilder) -> Self {
        let width = config.width;
        let attn = SelfAttention::new(width, config.heads, &WEIGHTS, params);
        let scale = || {
            let start = config.layer_scale;
            start.map(|start| LayerScale::new(width, start, params))
        };
        Self {
            norm1: Norm::new(config, params),
            attn: if config.qkv_bias {
                attn
            } else {
                attn.without_qkv_bias()
            },
            ls1: scale(),
            norm2: Norm::new(config, params),
            mlp: Mlp::new(width, config.hidden(), &WEIGHTS, params).act(config.act),
            ls2: scale(),
            drop_path: DropPath::new(drop_path),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attend = |x, end: Epilogue<'_, 3>| {
            let x = self.norm1.forward(x);
            scaled(self.ls1.as_ref(), end, |end| self.attn.forward_with(x, end))
        };
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let mlp = |x, end: Epilogue<'_, 3>| {
            let x = self.norm2.forward(x);
            scaled(self.ls2.as_ref(), end, |end| self.mlp.forward_with(x, end))
        };
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}

/// A branch, its layer scale, if it has one, and how it ends.
fn scaled(
    scale: Option<&LayerScale>,
    end: Epilogue<'_, 3>,
    branch: impl FnOnce(Epilogue<'_, 3>) -> Tensor<3>,
) -> Tensor<3> {
    match scale {
        None => branch(end),
        Some(scale) => end.apply(scale.forward(branch(Epilogue::default()))),
    }
}
