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

use super::shifted_windows::{EPSILON, Merging, Place, PositionLayer, Sizes, Swin};
use super::swin_v2::Block;
use super::{BackboneOptions, Built};
use crate::init::Init;
use crate::model::{Description, Pool, key_table};
use crate::nn::{
    Dropout, LayerNorm, Linear, LinearConfig, OffsetMlp, ParamBuilder, Windows, cosine_attention,
    fused, log_offset,
};

variants! {
    family: SwinV2Cr, manifest: "swin_v2_cr.toml", paper: "https://arxiv.org/abs/2111.09883",
    pool: Pool::Avg;
    swinv2_cr_tiny_ns_224 (224): "width 96, a normalisation behind each stage"
        => Config { sizes: Sizes::tiny(224), norms: true };
    swinv2_cr_small_224 (224): "width 96, deeper"
        => Config { sizes: Sizes::small(224), norms: false };
    swinv2_cr_small_ns_224 (224): "width 96, deeper, a normalisation behind each stage"
        => Config { sizes: Sizes::small(224), norms: true };
}

/// Patches on a side of the image, for each position on a side of a window.
const WINDOW_RATIO: usize = 8;
/// Features of the network that computes biases, and what is dropped of them in training.
const HIDDEN: usize = 384;
const HIDDEN_DROP: f64 = 0.125;

type SwinV2Cr = Swin<Merging, Block<Attention>>;

/// The shape of a Swin transformer V2 CR.
#[derive(Debug, Clone)]
struct Config {
    sizes: Sizes,
    /// Whether every stage ends with a normalisation, and not the last one only.
    norms: bool,
}

impl Config {
    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<SwinV2Cr> {
        let block = |place: &Place| {
            let has_norm = place.is_last && (self.norms || place.stage == 3);
            let norm = has_norm.then(|| LayerNorm::new(place.width, EPSILON, params));
            let attn = Attention::new(place, params);
            Block::new(attn, place, &Init::PyTorch, norm, params)
        };
        let merging = |width| Merging::new(width, Init::PyTorch, params);
        let (backbone, description) = self.sizes.init(options, merging, block, false, params)?;
        let description = Description {
            key_table: key_table!["stem" => "patch_embed", "stage*" => "stages.*-1"],
            ..description
        };
        Ok((backbone, description))
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
    fn new(place: &Place, params: &ParamBuilder) -> Self {
        let (width, heads) = (place.width, place.heads());
        let window = place.patches.map(|side| (side / WINDOW_RATIO).max(1));
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
            windows: place.windows(window),
        }
    }
}

impl PositionLayer for Attention {
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
