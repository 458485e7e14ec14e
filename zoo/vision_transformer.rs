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
use burn::tensor::{Device, Tensor};

use super::BackboneOptions;
use crate::error::{Error, Result};
use crate::init::Init;
use crate::model::{
    Backbone, Features, FirstConv, Group, HostTensor, InputSize, KeyTable, Pool,
};
use crate::nn::{
    attention, fork,
    Conv2d, Conv2dConfig, DropPath, LayerNorm, Linear, drop_path_rates, parameter,
};
use crate::preprocess::resample;

variants! {
    family: VisionTransformer, paper: "https://arxiv.org/abs/2010.11929", pool: Pool::Token;
    vit_tiny_patch16_224 (224): "12 blocks of width 192" => ViTConfig::new(192, 12, 3);
    vit_small_patch16_224 (224): "12 blocks of width 384" => ViTConfig::new(384, 12, 6);
    vit_base_patch16_224 (224): "12 blocks of width 768" => ViTConfig::new(768, 12, 12);
    test_vit (160): "a tiny one, for tests" => ViTConfig::new(64, 6, 2).mlp_ratio(3).image_size(160);
}

/// Pixels on a side of a patch, in every variant.
const PATCH: usize = 16;
/// Patches on a side of an image, at most: attention grows with their fourth power.
const MOST_PATCHES: usize = 256;
const EPSILON: f64 = 1e-6;

/// The shape of a vision transformer.
#[derive(Debug, Clone)]
struct ViTConfig {
    width: usize,
    depth: usize,
    heads: usize,
    mlp_ratio: usize,
    image_size: usize,
}

impl ViTConfig {
    fn new(width: usize, depth: usize, heads: usize) -> Self {
        Self {
            width,
            depth,
            heads,
            mlp_ratio: 4,
            image_size: 224,
        }
    }

    fn mlp_ratio(mut self, ratio: usize) -> Self {
        self.mlp_ratio = ratio;
        self
    }

    fn image_size(mut self, size: usize) -> Self {
        self.image_size = size;
        self
    }

    fn init(&self, options: &BackboneOptions, device: &Device) -> Result<VisionTransformer> {
        let image_size = options.image_size.unwrap_or(self.image_size);
        if image_size < PATCH {
            let expected = format!("at least {PATCH}, the side of a patch");
            return Err(Error::argument("image_size", expected, image_size));
        }
        if image_size > MOST_PATCHES * PATCH {
            let expected = format!("at most {}", MOST_PATCHES * PATCH);
            return Err(Error::argument("image_size", expected, image_size));
        }
        let grid = image_size / PATCH;
        let width = self.width;
        Ok(VisionTransformer {
            stem: Stem {
                proj: Conv2dConfig::new(options.in_channels, width, PATCH)
                    .stride(PATCH)
                    .bias()
                    .init(device),
                cls_token: parameter([1, 1, width], device),
                pos_embed: parameter([1, grid * grid + 1, width], device),
            },
            blocks: drop_path_rates(options.drop_path_rate, self.depth)
                .map(|rate| Block::new(self, rate, device))
                .collect(),
            norm: LayerNorm::new(width, EPSILON, device),
            in_channels: options.in_channels,
            image_size,
        })
    }
}

/// A vision transformer: patches become tokens, blocks mix them.
#[derive(Module, Debug)]
pub struct VisionTransformer {
    stem: Stem,
    blocks: Vec<Block>,
    norm: LayerNorm,
    in_channels: usize,
    image_size: usize,
}

impl Backbone for VisionTransformer {
    fn groups(&self) -> Vec<Group> {
        let blocks = (0..self.blocks.len())
            .map(|index| Group::new(format!("block{}", index + 1), format!("blocks.{index}.")));
        std::iter::once(Group::new("stem", "stem."))
            .chain(blocks)
            .chain([Group::new("norm", "norm.")])
            .collect()
    }

    fn forward_group(&self, index: usize, x: Features) -> Features {
        Features::Tokens(match x {
            Features::Map(image) => self.stem.forward(image),
            Features::Tokens(tokens) => match self.blocks.get(index.wrapping_sub(1)) {
                Some(block) => block.forward(tokens),
                None => self.norm.forward(tokens),
            },
        })
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn input_size(&self) -> InputSize {
        InputSize::Exactly(self.image_size)
    }

    fn unseen_edge(&self) -> usize {
        self.image_size % PATCH
    }

    fn num_features(&self) -> usize {
        self.norm.weight.lazy_shape()[0]
    }

    fn supports(&self, pool: Pool) -> bool {
        pool != Pool::CatAvgMax
    }

    fn pool(&self, features: Features, pool: Pool) -> Tensor<2> {
        let tokens = match features {
            Features::Tokens(tokens) => tokens,
            Features::Map(_) => return features.pool_map(pool),
        };
        let [batch, length, width] = tokens.dims();
        // The class token is the first; pooling over positions leaves it out.
        let patches = || tokens.clone().slice([0..batch, 1..length, 0..width]);
        let mean = || patches().mean_dim(1).reshape([batch, width]);
        let max = || patches().max_dim(1).reshape([batch, width]);
        match pool {
            Pool::Avg => mean(),
            Pool::Max => max(),
            Pool::AvgMax => (mean() + max()) * 0.5,
            Pool::CatAvgMax => Tensor::cat(vec![mean(), max()], 1),
            Pool::Token => tokens.slice([0..batch, 0..1, 0..width]).reshape([batch, width]),
            Pool::None => tokens.reshape([batch, length * width]),
        }
    }

    fn key_table(&self) -> KeyTable {
        KeyTable::new(&[
            ("stem.proj", "patch_embed.proj"),
            ("stem.cls_token", "cls_token"),
            ("stem.pos_embed", "pos_embed"),
            ("blocks", "blocks"),
            ("norm", "norm"),
            ("head.fc", "head"),
        ])
    }

    fn first_conv(&self) -> FirstConv {
        FirstConv {
            conv: "stem.proj".to_owned(),
            norm: None,
        }
    }

    fn init_rule(&self, path: &str, shape: &[usize]) -> Init {
        match shape.len() {
            1 => Init::Ones,
            3 if path.ends_with("cls_token") => Init::normal(1e-6),
            4 => Init::PyTorch,
            _ => Init::trunc_normal(0.02),
        }
    }

    fn timm_args(&self, pool: Pool) -> serde_json::Map<String, serde_json::Value> {
        let mut args = serde_json::Map::new();
        args.insert("img_size".to_owned(), self.image_size.into());
        // Where timm would take any size, it would insist on whole patches.
        args.insert("dynamic_img_size".to_owned(), false.into());
        // With any other pooling timm would move the last normalisation behind it.
        if pool != Pool::Token {
            args.insert("fc_norm".to_owned(), false.into());
        }
        args
    }

    /// Position embeddings at another image size: the class token's is kept, the grid is resampled
    /// bicubically with antialiasing (timm's `resample_abs_pos_embed`).
    fn resample(&self, _path: &str, tensor: &HostTensor, shape: &[usize]) -> Vec<f32> {
        let Some((from, to, width)) = grids(&tensor.shape, shape) else {
            return tensor.data.clone();
        };
        let (class, grid) = tensor.data.split_at(width);
        let mut data = class.to_vec();
        data.extend(resample::bicubic(grid, [from, from], [to, to], width));
        data
    }

    fn resamples(&self, path: &str, from: &[usize], to: &[usize]) -> bool {
        path == POS_EMBED && grids(from, to).is_some()
    }

    fn no_weight_decay(&self) -> &[&str] {
        &[POS_EMBED, "stem.cls_token"]
    }
}

const POS_EMBED: &str = "stem.pos_embed";

/// Sides of the grids of two position embeddings, and their width, if both are a class token and a
/// square.
fn grids(from: &[usize], to: &[usize]) -> Option<(usize, usize, usize)> {
    let ([1, from, width], [1, to, wanted]) = (from, to) else {
        return None;
    };
    let side = |tokens: usize| {
        let side = tokens.checked_sub(1)?.isqrt();
        let square = side * side + 1 == tokens;
        (square && (1..=MOST_PATCHES).contains(&side)).then_some(side)
    };
    (width == wanted).then_some((side(*from)?, side(*to)?, *width))
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
        let patches = patches.reshape([batch, width, rows * columns]).swap_dims(1, 2);
        let dtype = patches.dtype();
        let class = self.cls_token.val().cast(dtype).expand([batch, 1, width]);
        Tensor::cat(vec![class, patches], 1) + self.pos_embed.val().cast(dtype)
    }
}

/// Attention and an MLP, each on normalised tokens and added to them.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    drop_path: DropPath,
}

impl Block {
    fn new(config: &ViTConfig, drop_path: f64, device: &Device) -> Self {
        let width = config.width;
        let hidden = width * config.mlp_ratio;
        Self {
            norm1: LayerNorm::new(width, EPSILON, device),
            attn: Attention {
                qkv: Linear::new(width, 3 * width, device),
                proj: Linear::new(width, width, device),
                heads: config.heads,
            },
            norm2: LayerNorm::new(width, EPSILON, device),
            mlp: Mlp {
                fc1: Linear::new(width, hidden, device),
                fc2: Linear::new(hidden, width, device),
            },
            drop_path: DropPath::new(drop_path),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [x, around] = fork(x);
        let mixed = self.attn.forward(self.norm1.forward(x));
        let [x, around] = fork(self.add(&self.attn.proj, mixed, around));
        let hidden = self.mlp.fc1.forward_gelu(self.norm2.forward(x));
        self.add(&self.mlp.fc2, hidden, around)
    }

    /// The last layer of a branch, and the tokens that went around the branch.
    fn add(&self, last: &Linear, branch: Tensor<3>, around: Tensor<3>) -> Tensor<3> {
        if self.drop_path.is_active(&branch) {
around + self.drop_path.forward(last.forward(branch))
} else {
last.forward_add(branch, around)
        }
    }
}

#[derive(Module, Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    /// Without the projection behind it.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        attention(self.qkv.forward(x), self.heads)
    }
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}
