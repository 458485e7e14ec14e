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

use super::shifted_windows::{
    self, EPSILON, Merging, Place, PositionLayer, Sizes, TABLES, microsoft_names, torchvision_names,
};
use super::{BackboneOptions, Built};
use crate::init::Init;
use crate::model::{Description, OtherNames, Pool, PositionTable, TableLayout, key_table};
use crate::nn::{
    Act, DropPath, Epilogue, LayerNorm, Mlp, ParamBuilder, PositionBias, SelfAttention, Windows,
};

variants! {
    family: Swin, manifest: "swin.toml", paper: "https://arxiv.org/abs/2103.14030",
    pool: Pool::Avg;
    swin_tiny_patch4_window7_224 (224): "width 96"
        => Config { sizes: Sizes::tiny(224), windows: [7; 4] };
    swin_small_patch4_window7_224 (224): "width 96, deeper"
        => Config { sizes: Sizes::small(224), windows: [7; 4] };
    swin_base_patch4_window7_224 (224): "width 128"
        => Config { sizes: Sizes::base(224), windows: [7; 4] };
    swin_base_patch4_window12_384 (384): "width 128, larger windows"
        => Config { sizes: Sizes::base(384), windows: [12; 4] };
    swin_s3_tiny_224 (224): "width 96, windows that a search has found"
        => Config { sizes: Sizes::tiny(224), windows: [7, 7, 14, 7] };
    swin_s3_small_224 (224): "width 96, deeper, windows that a search has found"
        => Config { sizes: Sizes::small(224), windows: [14, 14, 14, 7] };
}

const WEIGHTS: Init = Init::trunc_normal(0.02);

type Swin = shifted_windows::Swin<Merging, Block>;

/// The shape of a Swin transformer.
#[derive(Debug, Clone)]
struct Config {
    sizes: Sizes,
    /// Positions on a side of a window, in each stage.
    windows: [usize; 4],
}

impl Config {
    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<Swin> {
        let mut tables = Vec::new();
        let block = |place: &Place| {
            let windows = place.windows([self.windows[place.stage]; 2]);
            let path = place.path("attn.bias_table");
            tables.push(PositionTable::new(
                path,
                windows.sides(),
                TableLayout::Offsets,
            ));
            Block::new(place, windows, params)
        };
        let merging = |width| Merging::new(width, WEIGHTS, params);
        let (backbone, description) = self.sizes.init(options, merging, block, true, params)?;
        let description = Description {
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stem" => "patch_embed",
                "stage*.blocks.*.attn.bias_table"
                    => "layers.*-1.blocks.*.attn.relative_position_bias_table",
                "stage*.blocks.*.attn.attention" => "layers.*-1.blocks.*.attn",
                "stage*" => "layers.*-1",
            ],
            other_names: vec![
                torchvision_names("torchvision's SwinTransformer"),
                microsoft_names("the authors' Swin transformer"),
                transformers_names(),
            ],
            no_weight_decay: tables.iter().map(|table| table.path.clone()).collect(),
            position_tables: tables,
            ..description
        };
        Ok((backbone, description))
    }
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
struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    drop_path: DropPath,
}

impl Block {
    fn new(place: &Place, windows: Windows, params: &ParamBuilder) -> Self {
        let (width, heads) = (place.width, place.heads());
        Self {
            norm1: LayerNorm::new(width, EPSILON, params),
            attn: Attention {
                bias_table: PositionBias::offsets(&windows, heads, &WEIGHTS, params),
                attention: SelfAttention::new(width, heads, &WEIGHTS, params),
                windows,
            },
            norm2: LayerNorm::new(width, EPSILON, params),
            mlp: Mlp::new(width, 4 * width, &WEIGHTS, params),
            drop_path: DropPath::new(place.drop_path),
        }
    }
}

impl PositionLayer for Block {
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

impl PositionLayer for Attention {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, height, width, _] = x.dims();
        let bias = self.bias_table.bias(&self.windows);
        let mixed = self.attention.forward_biased(self.windows.split(x), bias);
        self.windows.join(mixed, [height, width])
    }
}
