//! Swin transformer: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted
//! Windows", ICCV 2021, <https://arxiv.org/abs/2103.14030>.
//!
//! Attention within windows, every second time within windows that are shifted by half a side; four
//! stages of feature maps, each half the size of the one before. The structure is timm's
//! `swin_transformer.py`. Parameters are those of a model for 1000 classes; accuracies are those
//! timm publishes at 224 pixels.
//!
//! | variant | width | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `swin_tiny_patch4_window7_224` | 96 | 2 2 6 2 | 28 288 354 | 81.4 % (`ms_in1k`) |
//! | `swin_small_patch4_window7_224` | 96 | 2 2 18 2 | 49 606 258 | 83.3 % (`ms_in22k_ft_in1k`) |
//! | `swin_base_patch4_window7_224` | 128 | 2 2 18 2 | 87 768 224 | 85.3 % (`ms_in22k_ft_in1k`) |

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::{Error, Result};
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, Group, InputSize, MapLayer, OtherNames, Pool, Stages,
    key_table,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, DropPath, Epilogue, LayerNorm, Linear, LinearConfig, Mlp,
    ParamBuilder, SelfAttention, Windows, drop_path_rates,
};
use crate::preprocess::ImageSize;

variants! {
    family: Swin, manifest: "swin.toml", paper: "https://arxiv.org/abs/2103.14030",
    pool: Pool::Avg;
    swin_tiny_patch4_window7_224 (224): "width 96" => Config::new(96, [2, 2, 6, 2], [3, 6, 12, 24]);
    swin_small_patch4_window7_224 (224): "width 96, deeper"
        => Config::new(96, [2, 2, 18, 2], [3, 6, 12, 24]);
    swin_base_patch4_window7_224 (224): "width 128"
        => Config::new(128, [2, 2, 18, 2], [4, 8, 16, 32]);
}

/// Pixels on a side of a patch.
const PATCH: usize = 4;
/// Positions on a side of a window.
const WINDOW: usize = 7;
/// A side of the image is a multiple of this: a patch, halved three times.
const MULTIPLE: usize = 32;
const EPSILON: f64 = 1e-5;
const WEIGHTS: Init = Init::trunc_normal(0.02);

/// The shape of a Swin transformer.
#[derive(Debug, Clone)]
struct Config {
    width: usize,
    depths: [usize; 4],
    heads: [usize; 4],
}

impl Config {
    fn new(width: usize, depths: [usize; 4], heads: [usize; 4]) -> Self {
        Self {
            width,
            depths,
            heads,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<Swin> {
        let [image_size, width] = options.image_size.unwrap_or([224; 2]);
        if width != image_size {
            let found = ImageSize::from([image_size, width]);
            return Err(Error::argument("image_size", "a square", found));
        }
        if image_size == 0 || !image_size.is_multiple_of(MULTIPLE) || image_size > 64 * MULTIPLE {
            let expected = format!("a multiple of {MULTIPLE} up to {}", 64 * MULTIPLE);
            return Err(Error::argument("image_size", expected, image_size));
        }
        let stem = Stem {
            proj: Conv2dConfig::new(options.in_channels, self.width, PATCH)
                .stride(PATCH)
                .bias()
                .init(params),
            norm: LayerNorm::new(self.width, EPSILON, params),
        };
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let mut tables = Vec::new();
        let stages = (0..4).map(|index| {
            let width = self.width << index;
            let grid = (image_size / PATCH) >> index;
            let downsample = (index > 0).then(|| Merging {
                norm: LayerNorm::new(2 * width, EPSILON, params),
                reduction: LinearConfig::new(2 * width, width)
                    .without_bias()
                    .weights(WEIGHTS)
                    .init(params),
            });
            let blocks =
                rates
                    .by_ref()
                    .take(self.depths[index])
                    .enumerate()
                    .map(|(block, rate)| {
                        tables.push(format!("stage{}.blocks.{block}.attn.bias_table", index + 1));
                        let shift = if block % 2 == 1 { WINDOW / 2 } else { 0 };
                        let windows = Windows::new(grid, WINDOW, shift);
                        Block::new(width, self.heads[index], windows, rate, params)
                    });
            Stage {
                blocks: blocks.collect(),
                downsample,
            }
        });
        let stages = Stages::new(stages.collect());
        let width = self.width << 3;
        let mut groups = stages.groups_with_stem();
        groups.push(Group::named("norm"));
        let description = Description {
            input_size: InputSize::Exactly([image_size; 2]),
            classifier: "head.fc",
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stem" => "patch_embed",
                "stage*.blocks.*.attn.bias_table"
                    => "layers.*-1.blocks.*.attn.relative_position_bias_table",
                "stage*.blocks.*.attn.attention" => "layers.*-1.blocks.*.attn",
                "stage*" => "layers.*-1",
            ],
            other_names: vec![torchvision_names(), microsoft_names()],
            no_weight_decay: tables,
            ..Description::new(groups, options.in_channels, width, "stem.proj")
        };
        let norm = LayerNorm::new(width, EPSILON, params);
        let backbone = Swin {
            stem,
            stages,
            norm,
            image_size,
        };
        Ok((backbone, description))
    }
}

/// Tables that other libraries write beside the weights; they follow from the size of a window.
const TABLES: &[&str] = &["relative_position_index", "attn_mask"];

/// torchvision's names, which count a merging of patches as a stage of its own.
fn torchvision_names() -> OtherNames {
    let table = key_table![
        "patch_embed.proj" => "features.0.0", "patch_embed.norm" => "features.0.2",
        "layers.*.downsample" => "features.*x2",
        "layers.*.blocks.*.mlp.fc1" => "features.*x2+1.*.mlp.0",
        "layers.*.blocks.*.mlp.fc2" => "features.*x2+1.*.mlp.3",
        "layers.*.blocks" => "features.*x2+1", "head.fc" => "head",
    ];
    OtherNames::new("torchvision's SwinTransformer", table).ignores(TABLES)
}

/// The names of the authors' own files, where a merging of patches ends the stage before.
fn microsoft_names() -> OtherNames {
    let table = key_table![
        "layers.*.downsample" => "layers.*-1.downsample", "head.fc" => "head",
    ];
    OtherNames::new("the authors' Swin transformer", table).ignores(TABLES)
}

#[derive(Module, Debug)]
struct Swin {
    stem: Stem,
    stages: Stages<Stage>,
    norm: LayerNorm,
    image_size: usize,
}

impl Backbone for Swin {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        if index == 5 {
            return Ok(Features::Map(self.norm.forward_map(x.into_map()?)));
        }
        self.stages.forward_group(&self.stem, index, x)
    }

    fn timm_args(&self, _pool: Pool) -> serde_json::Map<String, serde_json::Value> {
        [("img_size".to_owned(), self.image_size.into())]
            .into_iter()
            .collect()
    }
}

#[derive(Module, Debug)]
struct Stem {
    proj: Conv2d,
    norm: LayerNorm,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward_map(self.proj.forward(x))
    }
}

#[derive(Module, Debug)]
struct Stage {
    downsample: Option<Merging>,
    blocks: Vec<Block>,
}

impl MapLayer for Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        // [batch, channels, height, width] -> [batch, height, width, channels]
        let x = x.permute([0, 2, 3, 1]);
        let x = match &self.downsample {
            Some(downsample) => downsample.forward(x),
            None => x,
        };
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        x.permute([0, 3, 1, 2])
    }
}

/// Each four neighbours become one position.
#[derive(Module, Debug)]
struct Merging {
    norm: LayerNorm,
    reduction: Linear,
}

impl Merging {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let x = x.reshape([batch, height / 2, 2, width / 2, 2, channels]);
        // Of the four, the rows change faster than the columns.
        let x = x.permute([0, 1, 3, 4, 2, 5]);
        let x = x.reshape([batch, height / 2, width / 2, 4 * channels]);
        self.reduction.forward(self.norm.forward(x))
    }
}

#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    drop_path: DropPath,
}

impl Block {
    fn new(
        width: usize,
        heads: usize,
        windows: Windows,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Self {
        Self {
            norm1: LayerNorm::new(width, EPSILON, params),
            attn: Attention {
                bias_table: params.weight([windows.num_offsets(), heads], &WEIGHTS),
                attention: SelfAttention::new(width, heads, &WEIGHTS, params),
                windows,
            },
            norm2: LayerNorm::new(width, EPSILON, params),
            mlp: Mlp::new(width, 4 * width, &WEIGHTS, params),
            drop_path: DropPath::new(drop_path),
        }
    }

    /// `[batch, height, width, channels]` in and out.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let attend = |x, end: Epilogue<'_, 4>| end.apply(self.attn.forward(self.norm1.forward(x)));
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let mlp = |x, end: Epilogue<'_, 4>| self.mlp.forward_with(self.norm2.forward(x), end);
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}

/// Attention within windows, with a bias for each offset between two positions.
#[derive(Module, Debug)]
struct Attention {
    /// `[(2 * side - 1)^2, heads]`.
    bias_table: Param<Tensor<2>>,
    attention: SelfAttention,
    #[module(skip)]
    windows: Windows,
}

impl Attention {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let bias = self.windows.bias(self.bias_table.val());
        let mixed = self.attention.forward_biased(self.windows.split(x), bias);
        self.windows.join(mixed)
    }
}
