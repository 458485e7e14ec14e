//! BEiT: Bao et al., "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022,
//! <https://arxiv.org/abs/2106.08254>, and BEiT v2: Peng et al., 2022,
//! <https://arxiv.org/abs/2208.06366>.
//!
//! A vision transformer with a bias for each relative position in place of position embeddings, a layer
//! scale, and keys without bias; the mean of the patches is normalised. The structure is timm's
//! `beit.py`. Parameters are those of a model for 1000 classes.
//!
//! | variant | width | blocks | heads | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|---|
//! | `beit_base_patch16_224` | 768 | 12 | 12 | 86 530 984 | 85.2 % (`in22k_ft_in22k_in1k`) |
//! | `beitv2_base_patch16_224` | 768 | 12 | 12 | 86 530 984 | 86.5 % (`in1k_ft_in22k_in1k`) |

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData};

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, Group, InputSize, Pool, Pooling, PositionTable, TableLayout,
    group, key_table,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, DropPath, Epilogue, LayerNorm, LayerScale, Linear, LinearConfig,
    Mlp, ParamBuilder, attention_with_bias, drop_path_rates, prepend_tokens, scaled, tokens_of_map,
};

variants! {
    family: BEiT, manifest: "beit.toml", paper: "https://arxiv.org/abs/2106.08254",
    pool: Pool::Avg;
    beit_base_patch16_224 (224): "12 blocks of width 768" => Config::base();
    beitv2_base_patch16_224 (224): "v2, 12 blocks of width 768" => Config::base();
}

/// Pixels on a side of a patch.
const PATCH: usize = 16;
const EPSILON: f64 = 1e-6;

/// The rule of affine layers, where a layer at the end of a branch starts smaller the deeper it is.
fn weights(smaller: f64) -> Init {
    Init::TruncNormal {
        mean: 0.0,
        std: 0.02 / smaller,
        low: -2.0 / smaller,
        high: 2.0 / smaller,
    }
}

/// The shape of a BEiT.
#[derive(Debug, Clone)]
struct Config {
    width: usize,
    depth: usize,
    heads: usize,
}

impl Config {
    fn base() -> Self {
        Self {
            width: 768,
            depth: 12,
            heads: 12,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<BEiT> {
        let stem = options.stem.patches(PATCH)?.timm_arg("patch_size");
        let patch = stem.stride();
        let [image_size, grid] = options.patch_grid(224, patch)?;
        let width = self.width;
        let offsets = Offsets::new(grid);
        let tables = (0..self.depth).map(|index| format!("blocks.{index}.attn.bias_table"));
        let resampled = tables.clone().map(|path| {
            let table = PositionTable::new(path, grid, TableLayout::Offsets);
            table.other_rows(OF_THE_CLASS)
        });
        let description = Description {
            has_pre_logits: true,
            input_size: InputSize::Exactly(image_size),
            stem: Some(stem),
            unseen_edge: image_size.map(|side| side % patch),
            pools: &[Pool::Avg, Pool::Token, Pool::None],
            prefix_tokens: 1,
            classifier: "head",
            classifier_init: weights(1000.0),
            key_table: key_table![
                "stem.proj" => "patch_embed.proj", "stem.cls_token" => "cls_token",
                "blocks.*.attn.bias_table" => "blocks.*.attn.relative_position_bias_table",
                "blocks.*.ls1.gamma" => "blocks.*.gamma_1",
                "blocks.*.ls2.gamma" => "blocks.*.gamma_2", "pre_logits" => "fc_norm",
            ],
            position_tables: resampled.collect(),
            no_weight_decay: tables.chain(["stem.cls_token".to_owned()]).collect(),
            ..Description::new(
                Group::stem_and_blocks(self.depth),
                options.in_channels,
                width,
                "stem.proj",
            )
        };
        let proj = Conv2dConfig::new(options.in_channels, width, patch).stride(patch);
        let rates = drop_path_rates(options.drop_path_rate, self.depth);
        let backbone = BEiT {
            stem: Stem {
                proj: proj.bias().init(params),
                cls_token: params.weight([1, 1, width], &weights(1.0)),
            },
            blocks: rates
                .enumerate()
                .map(|(index, rate)| self.block(index, rate, &offsets, params))
                .collect(),
            pre_logits: LayerNorm::new(width, EPSILON, params),
        };
        Ok((backbone, description))
    }

    fn block(&self, index: usize, rate: f64, offsets: &Offsets, params: &ParamBuilder) -> Block {
        let width = self.width;
        let last = weights((2.0 * (index + 1) as f64).sqrt());
        let qkv = LinearConfig::new(width, 3 * width).without_bias();
        let proj = LinearConfig::new(width, width).weights(last.clone());
        let scale = || LayerScale::new(width, 0.1, params);
        Block {
            norm1: LayerNorm::new(width, EPSILON, params),
            attn: Attention {
                qkv: qkv.weights(weights(1.0)).init(params),
                q_bias: params.constant([width], 0.0),
                v_bias: params.constant([width], 0.0),
                bias_table: params.constant([offsets.count, self.heads], 0.0),
                proj: proj.init(params),
                heads: self.heads,
                offsets: offsets.clone(),
            },
            ls1: scale(),
            norm2: LayerNorm::new(width, EPSILON, params),
            mlp: Mlp::with_rules(width, 4 * width, [&weights(1.0), &last], params),
            ls2: scale(),
            drop_path: DropPath::new(rate),
        }
    }
}

#[derive(Module, Debug)]
struct BEiT {
    stem: Stem,
    blocks: Vec<Block>,
    pre_logits: LayerNorm,
}

impl Backbone for BEiT {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        Ok(Features::Tokens(match index.checked_sub(1) {
            None => self.stem.forward(x.into_map()?),
            Some(index) => group(&self.blocks, index)?.forward(x.into_tokens()?),
        }))
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        pooling.normalized_vector(features, |vectors| self.pre_logits.forward(vectors))
    }

    fn timm_args(&self, pool: Pool) -> serde_json::Map<String, serde_json::Value> {
        let mut args = serde_json::Map::new();
        // With any other pooling timm would move the normalisation before it.
        if pool != Pool::Avg {
            args.insert("use_fc_norm".to_owned(), true.into());
        }
        args
    }
}

#[derive(Module, Debug)]
struct Stem {
    proj: Conv2d,
    cls_token: Param<Tensor<3>>,
}

impl Stem {
    fn forward(&self, image: Tensor<4>) -> Tensor<3> {
        prepend_tokens([&self.cls_token], tokens_of_map(self.proj.forward(image)))
    }
}

/// Attention and an MLP, each on normalised tokens, scaled and added to them.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: Attention,
    ls1: LayerScale,
    norm2: LayerNorm,
    mlp: Mlp,
    ls2: LayerScale,
    drop_path: DropPath,
}

impl Block {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attend = |x, end: Epilogue<'_, 3>| {
            let x = self.norm1.forward(x);
            end.apply(self.ls1.forward(self.attn.forward(x)))
        };
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let mlp = |x, end: Epilogue<'_, 3>| {
            let x = self.norm2.forward(x);
            scaled(Some(&self.ls2), end, |end| self.mlp.forward_with(x, end))
        };
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}

/// Attention with a bias for each relative position.
#[derive(Module, Debug)]
struct Attention {
    qkv: Linear,
    q_bias: Param<Tensor<1>>,
    v_bias: Param<Tensor<1>>,
    /// `[offsets.count, heads]`.
    bias_table: Param<Tensor<2>>,
    proj: Linear,
    heads: usize,
    #[module(skip)]
    offsets: Offsets,
}

impl Attention {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let q_bias = self.q_bias.val();
        let k_bias = q_bias.zeros_like();
        let bias = Tensor::cat(vec![q_bias, k_bias, self.v_bias.val()], 0);
        let qkv = self.qkv.forward(x);
        let qkv = qkv.clone() + bias.cast(qkv.dtype()).reshape([1, 1, -1]);
        let positions = self.offsets.bias(self.bias_table.val());
        let mixed = attention_with_bias(qkv, self.heads, positions);
        self.proj.forward(mixed)
    }
}

/// Relative positions between the class token and a patch, a patch and it, and of it to itself.
const OF_THE_CLASS: usize = 3;

/// The relative positions of the class token and the patches of a grid.
#[derive(Debug, Clone)]
struct Offsets {
    /// How many there are.
    count: usize,
    /// Tokens.
    length: usize,
    /// Which it is, for each two tokens.
    rows: Arc<[i64]>,
}

impl Offsets {
    fn new([height, width]: [usize; 2]) -> Self {
        let between_patches = (2 * height - 1) * (2 * width - 1);
        let length = height * width + 1;
        let row = |a: usize, b: usize| match (a.checked_sub(1), b.checked_sub(1)) {
            (Some(a), Some(b)) => {
                let down = a / width + height - 1 - b / width;
                let right = a % width + width - 1 - b % width;
                down * (2 * width - 1) + right
            }
            (None, Some(_)) => between_patches,
            (Some(_), None) => between_patches + 1,
            (None, None) => between_patches + 2,
        };
        let rows = (0..length).flat_map(|a| (0..length).map(move |b| row(a, b) as i64));
        Self {
            count: between_patches + OF_THE_CLASS,
            length,
            rows: rows.collect(),
        }
    }

    /// What is added to the scores of attention.
    ///
    /// # Shapes
    /// - table: `[count, heads]`
    /// - output: `[1, heads, length, length]`
    fn bias(&self, table: Tensor<2>) -> Tensor<4> {
        let (heads, length) = (table.dims()[1], self.length);
        let rows = TensorData::new(self.rows.to_vec(), [length * length]);
        let rows = Tensor::<1, Int>::from_data(rows, &table.device());
        let bias = table.select(0, rows).reshape([length, length, heads]);
        bias.permute([2, 0, 1]).reshape([1, heads, length, length])
    }
}
