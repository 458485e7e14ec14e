//! Swin transformer: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted
//! Windows", ICCV 2021, <https://arxiv.org/abs/2103.14030>.
//!
//! Attention within windows, every second time within windows that are shifted by half a side; four
//! stages of feature maps, each half the size of the one before. The structure is timm's
//! `swin_transformer.py`. Parameters are those of a model for 1000 classes; accuracies are those
//! timm publishes at that size.
//!
//! | variant | width | blocks | windows | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|---|---|
//! | `swin_tiny_patch4_window7_224` | 96 | 2 2 6 2 | 7 | 224 | 28 288 354 | 81.4 % (`ms_in1k`) |
//! | `swin_small_patch4_window7_224` | 96 | 2 2 18 2 | 7 | 224 | 49 606 258 | 83.3 % (`ms_in22k_ft_in1k`) |
//! | `swin_base_patch4_window7_224` | 128 | 2 2 18 2 | 7 | 224 | 87 768 224 | 85.3 % (`ms_in22k_ft_in1k`) |
//! | `swin_base_patch4_window12_384` | 128 | 2 2 18 2 | 12 | 384 | 87 903 584 | 86.4 % (`ms_in22k_ft_in1k`) |
//! | `swin_s3_tiny_224` | 96 | 2 2 6 2 | 7 7 14 7 | 224 | 28 328 674 | 82.1 % (`ms_in1k`) |
//! | `swin_s3_small_224` | 96 | 2 2 18 2 | 14 14 14 7 | 224 | 49 737 298 | 83.8 % (`ms_in1k`) |
//!
//! The S3 are what a search has found: Chen et al., "Searching the Search Space of Vision
//! Transformer", NeurIPS 2021, <https://arxiv.org/abs/2111.14725>.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::{Error, Result};
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, Group, InputSize, MapLayer, OtherNames, Pool, PositionTable,
    Stages, TableLayout, key_table,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, DropPath, Epilogue, LayerNorm, Linear, LinearConfig, Mlp,
    ParamBuilder, PositionBias, SelfAttention, Windows, drop_path_rates, merge_neighbours,
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
    swin_base_patch4_window12_384 (384): "width 128, larger windows"
        => Config::new(128, [2, 2, 18, 2], [4, 8, 16, 32]).windows(384, [12; 4]);
    swin_s3_tiny_224 (224): "width 96, windows that a search has found"
        => Config::new(96, [2, 2, 6, 2], [3, 6, 12, 24]).windows(224, [7, 7, 14, 7]);
    swin_s3_small_224 (224): "width 96, deeper, windows that a search has found"
        => Config::new(96, [2, 2, 18, 2], [3, 6, 12, 24]).windows(224, [14, 14, 14, 7]);
}

/// Pixels on a side of a patch.
pub(super) const PATCH: usize = 4;
/// Pixels on a side of an image, at most.
const LARGEST: usize = 2048;
pub(super) const EPSILON: f64 = 1e-5;
const WEIGHTS: Init = Init::trunc_normal(0.02);

/// The shape of a Swin transformer.
#[derive(Debug, Clone)]
struct Config {
    width: usize,
    depths: [usize; 4],
    heads: [usize; 4],
    /// Positions on a side of a window, in each stage.
    windows: [usize; 4],
    image_size: usize,
}

impl Config {
    fn new(width: usize, depths: [usize; 4], heads: [usize; 4]) -> Self {
        Self {
            width,
            depths,
            heads,
            windows: [7; 4],
            image_size: 224,
        }
    }

    fn windows(mut self, image_size: usize, windows: [usize; 4]) -> Self {
        self.image_size = image_size;
        self.windows = windows;
        self
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<Swin> {
        let image_size = image_size(options, self.image_size)?;
        let stem = Stem::new(options.in_channels, self.width, params);
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let mut tables = Vec::new();
        let stages = (0..4).map(|index| {
            let width = self.width << index;
            let grid = grid(image_size, index);
            let downsample = (index > 0).then(|| Merging {
                norm: LayerNorm::new(2 * width, EPSILON, params),
                reduction: reduction(width, WEIGHTS, params),
            });
            let blocks =
                rates
                    .by_ref()
                    .take(self.depths[index])
                    .enumerate()
                    .map(|(block, rate)| {
                        let path = format!("stage{}.blocks.{block}.attn.bias_table", index + 1);
                        let windows = windows(grid, [self.windows[index]; 2], block);
                        let layout = TableLayout::Offsets;
                        tables.push(PositionTable::new(path, windows.sides(), layout));
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
            input_size: InputSize::Exactly(image_size),
            classifier: "head.fc",
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stem" => "patch_embed",
                "stage*.blocks.*.attn.bias_table"
                    => "layers.*-1.blocks.*.attn.relative_position_bias_table",
                "stage*.blocks.*.attn.attention" => "layers.*-1.blocks.*.attn",
                "stage*" => "layers.*-1",
            ],
            other_names: vec![torchvision_names(), microsoft_names(), transformers_names()],
            no_weight_decay: tables.iter().map(|table| table.path.clone()).collect(),
            position_tables: tables,
            ..Description::new(groups, options.in_channels, width, "stem.proj")
        };
        let norm = LayerNorm::new(width, EPSILON, params);
        let backbone = Swin {
            stem,
            stages,
            norm,
            image_size: image_size.into(),
        };
        Ok((backbone, description))
    }
}

/// The size of the image, which has whole patches.
pub(super) fn image_size(options: &BackboneOptions, upstream: usize) -> Result<[usize; 2]> {
    let image_size = options.image_size.unwrap_or([upstream; 2]);
    let fits = |side: &usize| side.is_multiple_of(PATCH) && (PATCH..=LARGEST).contains(side);
    if !image_size.iter().all(fits) {
        let expected = format!("a multiple of {PATCH} up to {LARGEST}");
        let found = ImageSize::from(image_size);
        return Err(Error::argument("image_size", expected, found));
    }
    Ok(image_size)
}

/// Sides of the map in a stage, counted from 0.
pub(super) fn grid(image_size: [usize; 2], stage: usize) -> [usize; 2] {
    image_size.map(|side| (side / PATCH).div_ceil(1 << stage))
}

/// The windows of a block, counted from 0 in its stage: every second one has them shifted.
pub(super) fn windows(grid: [usize; 2], sides: [usize; 2], block: usize) -> Windows {
    let shift = sides.map(|side| if block % 2 == 1 { side / 2 } else { 0 });
    Windows::shifted(grid, sides, shift)
}

/// What makes the channels of four neighbours those of one position.
pub(super) fn reduction(width: usize, weights: Init, params: &ParamBuilder) -> Linear {
    let linear = LinearConfig::new(2 * width, width).without_bias();
    linear.weights(weights).init(params)
}

/// Tables that other libraries write beside the weights; they follow from the size of a window.
pub(super) const TABLES: &[&str] = &[
    "relative_position_index",
    "relative_coords_table",
    "attn_mask",
];

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

/// The names of transformers' `SwinForImageClassification`.
fn transformers_names() -> OtherNames {
    let table = key_table![
        "patch_embed.proj" => "swin.embeddings.patch_embeddings.projection",
        "patch_embed.norm" => "swin.embeddings.norm",
        "layers.*.downsample" => "swin.encoder.layers.*-1.downsample",
        "layers.*.blocks.*.norm1" => "swin.encoder.layers.*.blocks.*.layernorm_before",
        "layers.*.blocks.*.attn.qkv"
            => "swin.encoder.layers.*.blocks.*.attention.self.{query,key,value}",
        "layers.*.blocks.*.attn.proj" => "swin.encoder.layers.*.blocks.*.attention.output.dense",
        "layers.*.blocks.*.attn" => "swin.encoder.layers.*.blocks.*.attention.self",
        "layers.*.blocks.*.norm2" => "swin.encoder.layers.*.blocks.*.layernorm_after",
        "layers.*.blocks.*.mlp.fc1" => "swin.encoder.layers.*.blocks.*.intermediate.dense",
        "layers.*.blocks.*.mlp.fc2" => "swin.encoder.layers.*.blocks.*.output.dense",
        "norm" => "swin.layernorm", "head.fc" => "classifier",
    ];
    OtherNames::new("transformers' Swin transformer", table).ignores(TABLES)
}

#[derive(Module, Debug)]
struct Swin {
    stem: Stem,
    stages: Stages<Stage>,
    norm: LayerNorm,
    #[module(skip)]
    image_size: ImageSize,
}

impl Backbone for Swin {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        if index == 5 {
            return Ok(Features::Map(self.norm.forward_map(x.into_map()?)));
        }
        self.stages.forward_group(&self.stem, index, x)
    }

    fn timm_args(&self, _pool: Pool) -> serde_json::Map<String, serde_json::Value> {
        [("img_size".to_owned(), self.image_size.timm_arg())]
            .into_iter()
            .collect()
    }
}

/// Patches become positions.
#[derive(Module, Debug)]
pub(super) struct Stem {
    proj: Conv2d,
    norm: LayerNorm,
}

impl Stem {
    pub(super) fn new(in_channels: usize, width: usize, params: &ParamBuilder) -> Self {
        let proj = Conv2dConfig::new(in_channels, width, PATCH).stride(PATCH);
        Self {
            proj: proj.bias().init(params),
            norm: LayerNorm::new(width, EPSILON, params),
        }
    }
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
pub(super) struct Merging {
    pub(super) norm: LayerNorm,
    pub(super) reduction: Linear,
}

impl Merging {
    /// `[batch, height, width, channels]` in, half the sides and twice the channels out.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norm.forward(merge_neighbours(x));
        self.reduction.forward(x)
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
                bias_table: PositionBias::offsets(&windows, heads, &WEIGHTS, params),
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
    bias_table: PositionBias,
    attention: SelfAttention,
    #[module(skip)]
    windows: Windows,
}

impl Attention {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, height, width, _] = x.dims();
        let bias = self.bias_table.bias(&self.windows);
        let mixed = self.attention.forward_biased(self.windows.split(x), bias);
        self.windows.join(mixed, [height, width])
    }
}
