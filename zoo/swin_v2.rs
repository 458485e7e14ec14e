//! Swin transformer V2: Liu et al., "Swin Transformer V2: Scaling Up Capacity and Resolution", CVPR
//! 2022, <https://arxiv.org/abs/2111.09883>.
//!
//! A Swin transformer whose branches end with their normalisation, whose attention
//! compares by cosines, and whose biases a small network computes from offsets, so that windows may
//! have another size than in training. The structure is timm's `swin_transformer_v2.py`. Parameters
//! are those of a model for 1000 classes; accuracies are those timm publishes at the size in the
//! variant's name.
//!
//! | variant | width | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `swinv2_tiny_window8_256` | 96 | 2 2 6 2 | 28 347 154 | 81.8 % (`ms_in1k`) |
//! | `swinv2_tiny_window16_256` | 96 | 2 2 6 2 | 28 347 154 | 82.8 % (`ms_in1k`) |
//! | `swinv2_small_window8_256` | 96 | 2 2 18 2 | 49 728 418 | 83.8 % (`ms_in1k`) |
//! | `swinv2_small_window16_256` | 96 | 2 2 18 2 | 49 728 418 | 84.2 % (`ms_in1k`) |
//! | `swinv2_base_window8_256` | 128 | 2 2 18 2 | 87 918 816 | 84.2 % (`ms_in1k`) |
//! | `swinv2_base_window16_256` | 128 | 2 2 18 2 | 87 918 816 | 84.6 % (`ms_in1k`) |
//! | `swinv2_base_window12_192` | 128 | 2 2 18 2 | 87 918 816 | |
//! | `swinv2_base_window12to16_192to256` | 128 | 2 2 18 2 | 87 918 816 | 86.3 % (`ms_in22k_ft_in1k`) |
//!
//! Variants of one width have tensors of the same names and shapes, whatever their windows are, and
//! compute something else by them.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::swin::{EPSILON, Stem, TABLES, grid, image_size, reduction, windows};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, Group, InputSize, MapLayer, OtherNames, Pool, Stages,
    key_table,
};
use crate::nn::{
    Act, DropPath, Dropout, Epilogue, LayerNorm, Linear, LinearConfig, Mlp, OffsetMlp,
    ParamBuilder, Windows, cosine_attention, drop_path_rates, fused, log_length, merge_neighbours,
};
use crate::preprocess::ImageSize;

variants! {
    family: SwinV2, manifest: "swin_v2.toml", paper: "https://arxiv.org/abs/2111.09883",
    pool: Pool::Avg;
    swinv2_tiny_window8_256 (256): "width 96, windows of 8" => Config::tiny(8);
    swinv2_tiny_window16_256 (256): "width 96, windows of 16" => Config::tiny(16);
    swinv2_small_window8_256 (256): "width 96, deeper, windows of 8" => Config::small(8);
    swinv2_small_window16_256 (256): "width 96, deeper, windows of 16" => Config::small(16);
    swinv2_base_window8_256 (256): "width 128, windows of 8" => Config::base(8);
    swinv2_base_window16_256 (256): "width 128, windows of 16" => Config::base(16);
    swinv2_base_window12_192 (192): "width 128, windows of 12"
        => Config { image_size: 192, ..Config::base(12) };
    swinv2_base_window12to16_192to256 (256): "width 128, windows of 12 in the first training, then of 16"
        => Config { trained_windows: Some([12, 12, 12, 6]), ..Config::base(16) };
}

const WEIGHTS: Init = Init::trunc_normal(0.02);
/// Features of the network that computes biases.
const HIDDEN: usize = 512;

/// The shape of a Swin transformer V2.
#[derive(Debug, Clone)]
struct Config {
    width: usize,
    depths: [usize; 4],
    heads: [usize; 4],
    /// Positions on a side of a window.
    window: usize,
    /// The same in the training before, by which offsets are measured, where it is another.
    trained_windows: Option<[usize; 4]>,
    image_size: usize,
}

impl Config {
    fn tiny(window: usize) -> Self {
        Self {
            width: 96,
            depths: [2, 2, 6, 2],
            heads: [3, 6, 12, 24],
            window,
            trained_windows: None,
            image_size: 256,
        }
    }

    fn small(window: usize) -> Self {
        Self {
            depths: [2, 2, 18, 2],
            ..Self::tiny(window)
        }
    }

    fn base(window: usize) -> Self {
        Self {
            width: 128,
            heads: [4, 8, 16, 32],
            ..Self::small(window)
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<SwinV2> {
        let image_size = image_size(options, self.image_size)?;
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let mut no_weight_decay = Vec::new();
        let mut stages = Vec::new();
        for (index, depth) in self.depths.into_iter().enumerate() {
            let width = self.width << index;
            let grid = grid(image_size, index);
            let mut blocks = Vec::new();
            for (block, rate) in rates.by_ref().take(depth).enumerate() {
                let attn = format!("stage{}.blocks.{block}.attn", index + 1);
                for name in ["logit_scale", "cpb_mlp.fc1.weight", "cpb_mlp.fc2.weight"] {
                    no_weight_decay.push(format!("{attn}.{name}"));
                }
                let windows = windows(grid, [self.window; 2], block);
                // Offsets are measured by the window that there is, unless another was trained with.
                let trained = self.trained_windows.map(|windows| [windows[index]; 2]);
                let unit = trained.unwrap_or(grid.map(|side| side.min(self.window)));
                let unit = unit.map(|side| side.saturating_sub(1).max(1) as f64);
                let attn = Attention::new(width, self.heads[index], windows, unit, params);
                blocks.push(Block {
                    attn,
                    norm1: LayerNorm::zero_init(width, EPSILON, params),
                    mlp: Mlp::new(width, 4 * width, &WEIGHTS, params),
                    norm2: LayerNorm::zero_init(width, EPSILON, params),
                    drop_path: DropPath::new(rate),
                });
            }
            let downsample = (index > 0).then(|| Merging {
                reduction: reduction(width, WEIGHTS, params),
                norm: LayerNorm::new(width, EPSILON, params),
            });
            stages.push(Stage { downsample, blocks });
        }
        let stages = Stages::new(stages);
        let width = self.width << 3;
        let mut groups = stages.groups_with_stem();
        groups.push(Group::named("norm"));
        let description = Description {
            input_size: InputSize::Exactly(image_size),
            classifier: "head.fc",
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stem" => "patch_embed",
                "stage*.blocks.*.attn.cpb_mlp.fc1" => "layers.*-1.blocks.*.attn.cpb_mlp.0",
                "stage*.blocks.*.attn.cpb_mlp.fc2" => "layers.*-1.blocks.*.attn.cpb_mlp.2",
                "stage*" => "layers.*-1",
            ],
            other_names: vec![torchvision_names(), microsoft_names()],
            no_weight_decay,
            ..Description::new(groups, options.in_channels, width, "stem.proj")
        };
        let backbone = SwinV2 {
            stem: Stem::new(options.in_channels, self.width, params),
            stages,
            norm: LayerNorm::new(width, EPSILON, params),
            image_size: image_size.into(),
        };
        Ok((backbone, description))
    }
}

/// torchvision's names, which count a merging of patches as a stage of its own. The bias of the keys,
/// in the middle of the first layer's, is not used there either.
fn torchvision_names() -> OtherNames {
    let table = key_table![
        "patch_embed.proj" => "features.0.0", "patch_embed.norm" => "features.0.2",
        "layers.*.downsample" => "features.*x2",
        "layers.*.blocks.*.attn.q_bias" => "features.*x2+1.*.attn.qkv.bias[0/3]",
        "layers.*.blocks.*.attn.v_bias" => "features.*x2+1.*.attn.qkv.bias[2/3]",
        "layers.*.blocks.*.mlp.fc1" => "features.*x2+1.*.mlp.0",
        "layers.*.blocks.*.mlp.fc2" => "features.*x2+1.*.mlp.3",
        "layers.*.blocks" => "features.*x2+1", "head.fc" => "head",
    ];
    OtherNames::new("torchvision's SwinTransformer V2", table).ignores(TABLES)
}

/// The names of the authors' own files, where a merging of patches ends the stage before.
fn microsoft_names() -> OtherNames {
    let table = key_table![
        "layers.*.downsample" => "layers.*-1.downsample", "head.fc" => "head",
    ];
    OtherNames::new("the authors' Swin transformer V2", table).ignores(TABLES)
}

#[derive(Module, Debug)]
struct SwinV2 {
    stem: Stem,
    stages: Stages<Stage>,
    norm: LayerNorm,
    #[module(skip)]
    image_size: ImageSize,
}

impl Backbone for SwinV2 {
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
            Some(Merging { reduction, norm }) => {
                norm.forward(reduction.forward(merge_neighbours(x)))
            }
            None => x,
        };
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        x.permute([0, 3, 1, 2])
    }
}

/// Each four neighbours become one position.
#[derive(Module, Debug)]
struct Merging {
    reduction: Linear,
    norm: LayerNorm,
}

#[derive(Module, Debug)]
struct Block {
    attn: Attention,
    norm1: LayerNorm,
    mlp: Mlp,
    norm2: LayerNorm,
    drop_path: DropPath,
}

impl Block {
    /// `[batch, height, width, channels]` in and out.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let attend = |x, end: Epilogue<'_, 4>| end.apply(self.norm1.forward(self.attn.forward(x)));
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let mlp = |x, end: Epilogue<'_, 4>| {
            let x = self.mlp.forward_with(x, Epilogue::default());
            end.apply(self.norm2.forward(x))
        };
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}

/// Attention within windows by cosines, with a bias for each offset between two positions.
#[derive(Module, Debug)]
struct Attention {
    /// Logarithms, `[heads, 1, 1]`.
    logit_scale: Param<Tensor<3>>,
    cpb_mlp: OffsetMlp,
    /// Keys have no bias.
    qkv: Linear,
    q_bias: Param<Tensor<1>>,
    v_bias: Param<Tensor<1>>,
    proj: Linear,
    #[module(skip)]
    place: Place,
}

/// Where attention takes place.
#[derive(Debug, Clone)]
struct Place {
    windows: Windows,
    /// What offsets are measured by.
    unit: [f64; 2],
}

impl Attention {
    fn new(
        width: usize,
        heads: usize,
        windows: Windows,
        unit: [f64; 2],
        params: &ParamBuilder,
    ) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).weights(WEIGHTS);
        Self {
            logit_scale: params.constant([heads, 1, 1], 10f32.ln()),
            cpb_mlp: OffsetMlp {
                fc1: linear(2, HIDDEN).init(params),
                dropout: Dropout::new(0.0),
                fc2: linear(HIDDEN, heads).without_bias().init(params),
            },
            qkv: linear(width, 3 * width).without_bias().init(params),
            q_bias: params.constant([width], 0.0),
            v_bias: params.constant([width], 0.0),
            proj: linear(width, width).init(params),
            place: Place { windows, unit },
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, height, width, _] = x.dims();
        let Place { windows, unit } = &self.place;
        // -1 to 1 on a logarithmic scale, and a little further where windows are larger than trained.
        let measured = |[y, x]: [i64; 2]| {
            let offset = [y as f64 / unit[0], x as f64 / unit[1]];
            offset.map(|at| log_length(8.0 * at) / 8f64.ln())
        };
        let bias = fused::bias(self.logit_scale.id, || {
            let table = self.cpb_mlp.forward(windows.offsets().map(measured));
            windows.bias(Act::Sigmoid.forward(table) * 16.0)
        });
        let (queries, values) = (self.q_bias.val(), self.v_bias.val());
        let keys = queries.zeros_like();
        let qkv_bias = Tensor::cat(vec![queries, keys, values], 0);
        let qkv = self.qkv.forward_biased(windows.split(x), qkv_bias);
        let log_scale = self.logit_scale.val().flatten(0, 2);
        let heads = log_scale.dims()[0];
        let mixed = cosine_attention(qkv, heads, log_scale, bias);
        windows.join(self.proj.forward(mixed), [height, width])
    }
}
