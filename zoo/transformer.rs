//! The vision transformer that several families share: its configuration, its modules and its
//! description. It is that of timm's `vision_transformer.py`.

mod blocks;

use burn::module::Module;
use burn::tensor::Tensor;

use self::blocks::{Block, Norm, PreLogits, Stem};
use super::{BackboneOptions, Built, MOST_PATCHES};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, FirstConv, Group, InputSize, OtherNames, Pool, Pooling,
    PosEmbed, group, key_table,
};
use crate::nn::{Act, AttentionPool, Conv2dConfig, ParamBuilder, drop_path_rates};

/// The rule of affine layers and of the position embeddings.
const WEIGHTS: Init = Init::trunc_normal(0.02);

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

    pub(super) fn mlp_ratio(self, mlp_ratio: f64) -> Self {
        Self { mlp_ratio, ..self }
    }

    pub(super) fn layer_scale(self, start: f32) -> Self {
        Self {
            layer_scale: Some(start),
            ..self
        }
    }

    /// Registers in place of the class token, without positions; the patches' mean is pooled.
    pub(super) fn registers(self, registers: usize) -> Self {
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
        let stem = options.stem.patches(self.patch)?.timm_arg("patch_size");
        let (patch, width) = (stem.stride(), self.width);
        let [image_size, grid] = options.patch_grid(self.image_size, patch)?;
        // The tokens before those of the patches, in order.
        let prefix = [
            ("stem.cls_token", usize::from(self.has_class_token)),
            ("stem.dist_token", usize::from(self.is_distilled)),
            ("stem.reg_token", self.registers),
        ];
        let [class, distillation, registers] = prefix.map(|(_, count)| count);
        let prefix_tokens = class + distillation + registers;
        let embedded = if self.embeds_prefix { prefix_tokens } else { 0 };
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
        let mut groups = Group::stem_and_blocks(self.depth);
        groups.extend(has_norm.then(|| Group::named("norm")));
        let mut table = key_table![
            "stem.proj" => "patch_embed.proj", "stem.norm" => "norm_pre",
            "stem.cls_token" => "cls_token", "stem.dist_token" => "dist_token",
            "stem.reg_token" => "reg_token", "stem.pos_embed" => "pos_embed",
        ];
        let behind = match pre_logits {
            Some(PreLogits::Pool(_)) => "attn_pool",
            _ => "fc_norm",
        };
        table.push("pre_logits", behind);
        let undecayed = prefix.iter().filter(|(_, count)| *count > 0);
        let undecayed = undecayed.map(|(path, _)| *path).chain(["stem.pos_embed"]);
        let described = Description::new(groups, options.in_channels, width, "stem.proj");
        let description = Description {
            has_pre_logits: pre_logits.is_some(),
            input_size: InputSize::Exactly(image_size),
            stem: Some(stem),
            unseen_edge: image_size.map(|side| side % patch),
            pools: self.pools(),
            prefix_tokens,
            pools_prefix: self.pools_prefix,
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
                patch: self.patch,
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
        };
        Ok((backbone, description))
    }
}

/// A vision transformer: patches become tokens, blocks mix them.
#[derive(Module, Debug)]
pub(super) struct VisionTransformer {
    stem: Stem,
    blocks: Vec<Block>,
    norm: Option<Norm>,
    pre_logits: Option<PreLogits>,
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
        if self.stem.dist_token.is_some() {
            // The class token for one classifier, that of the distillation for the other.
            let tokens = features.into_tokens()?;
            let [batch, _, width] = tokens.dims();
            return Ok(tokens.narrow(1, 0, 2).reshape([batch, 2 * width]));
        }
        match &self.pre_logits {
            None => Ok(pooling.vector(Features::Tokens(features.into_tokens()?))),
            Some(PreLogits::Norm(norm)) => {
                pooling.normalized_vector(features, |vectors| norm.forward(vectors))
            }
            Some(PreLogits::Pool(pool)) => {
                Ok(pool.forward(pooling.pooled_tokens(features.into_tokens()?)))
            }
        }
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
