//! EVA-02: Fang et al., "EVA-02: A Visual Representation for Neon Genesis", 2023,
//! <https://arxiv.org/abs/2303.11331>.
//!
//! A vision transformer with gated MLPs whose queries and keys are turned by where a patch is (rotary
//! position embeddings), beside the learnt embeddings; keys have no bias. It is normalised behind the
//! pooling. The structure is timm's `eva.py`; DINOv3 is one, too. Parameters are those of a model for
//! 1000 classes at the size in the table.
//!
//! | variant | width | patch | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|---|
//! | `eva02_tiny_patch14_224` | 192 | 14 | 224 | 5 695 144 | (`mim_in22k`, no classifier) |
//! | `eva02_small_patch14_224` | 384 | 14 | 224 | 22 006 120 | (`mim_in22k`, no classifier) |
//! | `eva02_base_patch14_224` | 768 | 14 | 224 | 86 527 720 | (`mim_in22k`, no classifier) |
//! | `eva02_tiny_patch14_336` | 192 | 14 | 336 | 5 756 584 | 80.6 % (`mim_in22k_ft_in1k`) |
//! | `eva02_small_patch14_336` | 384 | 14 | 336 | 22 129 000 | 85.8 % (`mim_in22k_ft_in1k`) |
//! | `eva02_base_patch14_448` | 768 | 14 | 448 | 87 117 544 | 88.7 % (`mim_in22k_ft_in22k_in1k`) |
//! | `eva02_base_patch16_clip_224` | 768 | 16 | 224 | 86 638 312 | (`merged2b`, CLIP's 512 features) |

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{BackboneOptions, Built, MOST_PATCHES};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, Group, InputSize, OtherNames, Pool, Pooling, PosEmbed, group,
    key_table,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, DropPath, Epilogue, LayerNorm, LayerScale, Mlp, ParamBuilder,
    QkvKind, Rotary, RotaryAttention, RotaryKind, SwiGlu, SwiGluPacked, drop_path_rates,
    prepend_tokens, scaled, tokens_of_map,
};

variants! {
    family: Eva, manifest: "eva02.toml", paper: "https://arxiv.org/abs/2303.11331",
    pool: Pool::Avg;
    eva02_tiny_patch14_224 (224): "12 blocks of width 192" => Config::eva02(192, 224);
    eva02_small_patch14_224 (224): "12 blocks of width 384" => Config::eva02(384, 224);
    eva02_base_patch14_224 (224): "12 blocks of width 768" => Config::eva02_base(224);
    eva02_tiny_patch14_336 (336): "12 blocks of width 192" => Config::eva02(192, 336);
    eva02_small_patch14_336 (336): "12 blocks of width 384" => Config::eva02(384, 336);
    eva02_base_patch14_448 (448): "12 blocks of width 768" => Config::eva02_base(448);
    eva02_base_patch16_clip_224 (224, Pool::Token): "12 blocks of width 768, CLIP's image tower"
        => Config {
            patch: 16,
            normalizes_attention: true,
            pools_first: false,
            ..Config::eva02_base(224)
        };
}

const BLOCKS: usize = 12;
/// Features of a head.
const HEAD: usize = 64;
const WEIGHTS: Init = Init::trunc_normal(0.02);

/// The MLP of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum MlpKind {
    /// GELU between two layers.
    Plain,
    /// Gated, with the first two layers apart; the gated features may be normalised.
    Gated { is_normalized: bool },
    /// Gated, with the first two layers in one.
    Packed,
}

/// The shape of a network of timm's class `Eva`.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub width: usize,
    pub patch: usize,
    pub image_size: usize,
    /// Tokens between the class token and those of the patches.
    pub registers: usize,
    /// Whether there is a learnt embedding for each place, too.
    pub has_pos_embed: bool,
    pub rotary: RotaryKind,
    pub qkv: QkvKind,
    /// Whether what attention gives is normalised before its last layer.
    pub normalizes_attention: bool,
    pub mlp: MlpKind,
    /// Features between the layers of the MLP.
    pub hidden: usize,
    /// How the scale of a branch starts, if branches have one.
    pub layer_scale: Option<f32>,
    /// Whether the last normalisation is behind the pooling.
    pub pools_first: bool,
    pub epsilon: f64,
    pub other_names: Vec<OtherNames>,
}

impl Config {
    fn eva02(width: usize, image_size: usize) -> Self {
        Self {
            width,
            patch: 14,
            image_size,
            registers: 0,
            has_pos_embed: true,
            rotary: RotaryKind::Counted { side: 16 },
            qkv: QkvKind::Fused { is_biased: true },
            normalizes_attention: false,
            mlp: MlpKind::Packed,
            hidden: width * 8 / 3,
            layer_scale: None,
            pools_first: true,
            epsilon: 1e-6,
            other_names: Vec::new(),
        }
    }

    fn eva02_base(image_size: usize) -> Self {
        Self {
            qkv: QkvKind::Split,
            mlp: MlpKind::Gated {
                is_normalized: true,
            },
            ..Self::eva02(768, image_size)
        }
    }

    pub(super) fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<Eva> {
        let stem = options.stem.patches(self.patch)?.timm_arg("patch_size");
        let (width, patch) = (self.width, stem.stride());
        let [image_size, grid] = options.patch_grid(self.image_size, patch)?;
        let prefix_tokens = 1 + self.registers;
        let mut groups = Group::stem_and_blocks(BLOCKS);
        groups.extend((!self.pools_first).then(|| Group::named("norm")));
        let tokens = ["stem.pos_embed", "stem.cls_token", "stem.reg_token"];
        let description = Description {
            has_pre_logits: self.pools_first,
            input_size: InputSize::Exactly(image_size),
            stem: Some(stem),
            unseen_edge: image_size.map(|side| side % patch),
            pools: &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::Token, Pool::None],
            prefix_tokens,
            classifier: "head",
            // A thousandth of the others.
            classifier_init: Init::trunc_normal(2e-5),
            key_table: key_table![
                "stem.proj" => "patch_embed.proj", "stem.cls_token" => "cls_token",
                "stem.reg_token" => "reg_token", "stem.pos_embed" => "pos_embed",
                "blocks.*.attn.input" => "blocks.*.attn",
                "blocks.*.scale*.gamma" => "blocks.*.gamma_*", "pre_logits" => "fc_norm",
            ],
            other_names: self.other_names.clone(),
            pos_embed: self.has_pos_embed.then(|| PosEmbed {
                path: "stem.pos_embed".to_owned(),
                prefix_tokens,
                grid,
                patch: self.patch,
                max_side: MOST_PATCHES,
            }),
            no_weight_decay: tokens.map(str::to_owned).to_vec(),
            ..Description::new(groups, options.in_channels, width, "stem.proj")
        };
        let proj = Conv2dConfig::new(options.in_channels, width, patch).stride(patch);
        let token = |count| params.weight([1, count, width], &WEIGHTS);
        let norm = || LayerNorm::new(width, self.epsilon, params);
        let rotary = Rotary::new(self.rotary, grid, HEAD, prefix_tokens);
        let backbone = Eva {
            stem: Stem {
                proj: proj.bias().init(params),
                cls_token: token(1),
                reg_token: (self.registers > 0).then(|| token(self.registers)),
                pos_embed: self
                    .has_pos_embed
                    .then(|| token(prefix_tokens + grid[0] * grid[1])),
            },
            blocks: drop_path_rates(options.drop_path_rate, BLOCKS)
                .enumerate()
                .map(|(index, rate)| self.block(index, rate, &rotary, params))
                .collect(),
            norm: (!self.pools_first).then(norm),
            pre_logits: self.pools_first.then(norm),
        };
        Ok((backbone, description))
    }

    fn block(&self, index: usize, drop_path: f64, rotary: &Rotary, params: &ParamBuilder) -> Block {
        let (width, hidden) = (self.width, self.hidden);
        // The later a block, the smaller its last layers begin.
        let last = Init::trunc_normal(0.02 / (2.0 * (index + 1) as f64).sqrt());
        let rules = [&WEIGHTS, &last];
        let norm = |features| LayerNorm::new(features, self.epsilon, params);
        let scale = || {
            let start = self.layer_scale?;
            Some(LayerScale::new(width, start, params))
        };
        let inner_norm = self.normalizes_attention.then(|| norm(width));
        Block {
            norm1: norm(width),
            attn: RotaryAttention::new(width, self.qkv, rules, rotary.clone(), params)
                .norm(inner_norm),
            scale1: scale(),
            norm2: norm(width),
            mlp: match self.mlp {
                MlpKind::Plain => BlockMlp::Plain(Mlp::with_rules(width, hidden, rules, params)),
                MlpKind::Packed => {
                    BlockMlp::Packed(SwiGluPacked::new(width, hidden, rules, params))
                }
                MlpKind::Gated { is_normalized } => {
                    let mlp = SwiGlu::new(width, hidden, rules, params);
                    BlockMlp::Gated(mlp.norm(is_normalized.then(|| norm(hidden))))
                }
            },
            scale2: scale(),
            drop_path: DropPath::new(drop_path),
        }
    }
}

/// A vision transformer with rotary position embeddings.
#[derive(Module, Debug)]
pub(super) struct Eva {
    stem: Stem,
    blocks: Vec<Block>,
    norm: Option<LayerNorm>,
    pre_logits: Option<LayerNorm>,
}

impl Backbone for Eva {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        let Some(index) = index.checked_sub(1) else {
            return Ok(Features::Tokens(self.stem.forward(x.into_map()?)));
        };
        let x = x.into_tokens()?;
        Ok(Features::Tokens(match &self.norm {
            Some(norm) if index == self.blocks.len() => norm.forward(x),
            _ => group(&self.blocks, index)?.forward(x),
        }))
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        match &self.pre_logits {
            Some(norm) => pooling.normalized_vector(features, |vectors| norm.forward(vectors)),
            None => Ok(pooling.vector(features)),
        }
    }

    fn timm_args(&self, _pool: Pool) -> serde_json::Map<String, serde_json::Value> {
        let args = [
            // Where timm would take any size, it would insist on whole patches.
            ("dynamic_img_size", false.into()),
            // By itself timm would choose by the pooling.
            ("use_fc_norm", self.pre_logits.is_some().into()),
        ];
        args.map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }
}

#[derive(Module, Debug)]
struct Stem {
    proj: Conv2d,
    cls_token: Param<Tensor<3>>,
    reg_token: Option<Param<Tensor<3>>>,
    pos_embed: Option<Param<Tensor<3>>>,
}

impl Stem {
    fn forward(&self, image: Tensor<4>) -> Tensor<3> {
        let patches = tokens_of_map(self.proj.forward(image));
        let learnt = [Some(&self.cls_token), self.reg_token.as_ref()];
        let tokens = prepend_tokens(learnt.into_iter().flatten(), patches);
        match &self.pos_embed {
            Some(places) => {
                let places = places.val().cast(tokens.dtype());
                tokens + places
            }
            None => tokens,
        }
    }
}

/// Attention and an MLP, each on normalised tokens, scaled if there is a scale, and added to them.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: RotaryAttention,
    scale1: Option<LayerScale>,
    norm2: LayerNorm,
    mlp: BlockMlp,
    scale2: Option<LayerScale>,
    drop_path: DropPath,
}

impl Block {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attend = |x, end: Epilogue<'_, 3>| {
            let x = self.norm1.forward(x);
            scaled(self.scale1.as_ref(), end, |end| {
                self.attn.forward_with(x, end)
            })
        };
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let mlp = |x, end: Epilogue<'_, 3>| {
            let x = self.norm2.forward(x);
            scaled(self.scale2.as_ref(), end, |end| {
                self.mlp.forward_with(x, end)
            })
        };
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}

#[derive(Module, Debug)]
enum BlockMlp {
    Plain(Mlp),
    Gated(SwiGlu),
    Packed(SwiGluPacked),
}

impl BlockMlp {
    fn forward_with(&self, x: Tensor<3>, end: Epilogue<'_, 3>) -> Tensor<3> {
        match self {
            Self::Plain(mlp) => mlp.forward_with(x, end),
            Self::Gated(mlp) => mlp.forward_with(x, end),
            Self::Packed(mlp) => mlp.forward_with(x, end),
        }
    }
}
