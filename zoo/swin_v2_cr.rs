//! Swin transformer V2 as Christoph Reich wrote it before the authors' own code was there: Liu et al.,
//! "Swin Transformer V2: Scaling Up Capacity and Resolution", CVPR 2022,
//! <https://arxiv.org/abs/2111.09883>.
//!
//! Cosines and normalisations at the end of branches as in the V2 transformers of `swin_v2.rs`, but
//! another scale of offsets and another order in what merges patches; windows are an eighth of the
//! first map's sides at any image size. The `ns` have a normalisation at the end of each stage, the
//! others one at the end of the last. The structure is timm's `swin_transformer_v2_cr.py`. Parameters
//! are those of a model for 1000 classes; accuracies are those timm publishes at 224 pixels.
//!
//! | variant | width | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `swinv2_cr_tiny_ns_224` | 96 | 2 2 6 2 | 28 333 468 | 81.8 % (`sw_in1k`) |
//! | `swinv2_cr_small_224` | 96 | 2 2 18 2 | 49 695 100 | 83.1 % (`sw_in1k`) |
//! | `swinv2_cr_small_ns_224` | 96 | 2 2 18 2 | 49 696 444 | 83.5 % (`sw_in1k`) |

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::swin::{EPSILON, Merging, Stem, grid, image_size, reduction, windows};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{Backbone, Description, Features, InputSize, MapLayer, Pool, Stages, key_table};
use crate::nn::{
    Act, DropPath, Dropout, Epilogue, LayerNorm, Linear, LinearConfig, Mlp, OffsetMlp,
    ParamBuilder, Windows, cosine_attention, drop_path_rates, fused, log_offset,
};
use crate::preprocess::ImageSize;

variants! {
    family: SwinV2Cr, manifest: "swin_v2_cr.toml", paper: "https://arxiv.org/abs/2111.09883",
    pool: Pool::Avg;
    swinv2_cr_tiny_ns_224 (224): "width 96, a normalisation behind each stage"
        => Config { depths: [2, 2, 6, 2], norms: true };
    swinv2_cr_small_224 (224): "width 96, deeper" => Config { depths: [2, 2, 18, 2], norms: false };
    swinv2_cr_small_ns_224 (224): "width 96, deeper, a normalisation behind each stage"
        => Config { depths: [2, 2, 18, 2], norms: true };
}

/// Width of the first stage, in every variant.
const WIDTH: usize = 96;
/// Heads of each stage.
const HEADS: [usize; 4] = [3, 6, 12, 24];
/// Windows on a side of the first map.
const WINDOWS: usize = 8;
/// Features of the network that computes biases, and what is dropped of them in training.
const HIDDEN: usize = 384;
const HIDDEN_DROP: f64 = 0.125;

/// The shape of a Swin transformer V2 CR.
#[derive(Debug, Clone)]
struct Config {
    depths: [usize; 4],
    /// Whether every stage ends with a normalisation, and not the last one only.
    norms: bool,
}

impl Config {
    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<SwinV2Cr> {
        let image_size = image_size(options, 224)?;
        let window = grid(image_size, 0).map(|side| (side / WINDOWS).max(1));
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let mut stages = Vec::new();
        for (index, depth) in self.depths.into_iter().enumerate() {
            let width = WIDTH << index;
            let grid = grid(image_size, index);
            let has_norm = self.norms || index == 3;
            let blocks = rates.by_ref().take(depth).enumerate();
            let blocks = blocks.map(|(block, rate)| {
                let norm = || LayerNorm::new(width, EPSILON, params);
                let windows = windows(grid, window, block);
                Block {
                    attn: Attention::new(width, HEADS[index], windows, params),
                    norm1: LayerNorm::zero_init(width, EPSILON, params),
                    mlp: Mlp::new(width, 4 * width, &Init::PyTorch, params),
                    norm2: LayerNorm::zero_init(width, EPSILON, params),
                    norm3: (has_norm && block + 1 == depth).then(norm),
                    drop_path: DropPath::new(rate),
                }
            });
            stages.push(Stage {
                blocks: blocks.collect(),
                downsample: (index > 0).then(|| Merging {
                    norm: LayerNorm::new(2 * width, EPSILON, params),
                    reduction: reduction(width, Init::PyTorch, params),
                }),
            });
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let description = Description {
            input_size: InputSize::Exactly(image_size),
            classifier: "head.fc",
            key_table: key_table!["stem" => "patch_embed", "stage*" => "stages.*-1"],
            ..Description::new(groups, options.in_channels, WIDTH << 3, "stem.proj")
        };
        let backbone = SwinV2Cr {
            stem: Stem::new(options.in_channels, WIDTH, params),
            stages,
            image_size: image_size.into(),
        };
        Ok((backbone, description))
    }
}

#[derive(Module, Debug)]
struct SwinV2Cr {
    stem: Stem,
    stages: Stages<Stage>,
    #[module(skip)]
    image_size: ImageSize,
}

impl Backbone for SwinV2Cr {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
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
            Some(downsample) => downsample.forward(x),
            None => x,
        };
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        x.permute([0, 3, 1, 2])
    }
}

#[derive(Module, Debug)]
struct Block {
    attn: Attention,
    norm1: LayerNorm,
    mlp: Mlp,
    norm2: LayerNorm,
    norm3: Option<LayerNorm>,
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
        let x = self.drop_path.residual(x, Act::None, |x| x, mlp);
        match &self.norm3 {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}

/// Attention within windows by cosines, with a bias for each two positions.
#[derive(Module, Debug)]
struct Attention {
    /// Logarithms, `[heads]`.
    logit_scale: Param<Tensor<1>>,
    meta_mlp: OffsetMlp,
    qkv: Linear,
    proj: Linear,
    #[module(skip)]
    windows: Windows,
}

impl Attention {
    fn new(width: usize, heads: usize, windows: Windows, params: &ParamBuilder) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(params);
        Self {
            logit_scale: params.constant([heads], 10f32.ln()),
            meta_mlp: OffsetMlp {
                fc1: linear(2, HIDDEN),
                dropout: Dropout::new(HIDDEN_DROP),
                fc2: linear(HIDDEN, heads),
            },
            qkv: linear(width, 3 * width),
            proj: linear(width, width),
            windows,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, height, width, _] = x.dims();
        let windows = &self.windows;
        let bias = fused::bias(self.logit_scale.id, || {
            let offsets = windows.pairs().map(log_offset);
            windows.bias_of_pairs(self.meta_mlp.forward(offsets))
        });
        let log_scale = self.logit_scale.val();
        let heads = log_scale.dims()[0];
        let qkv = self.qkv.forward(windows.split(x));
        let mixed = cosine_attention(qkv, heads, log_scale, bias);
        windows.join(self.proj.forward(mixed), [height, width])
    }
}
