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

use super::shifted_windows::{
    EPSILON, Place, PositionLayer, Sizes, Swin, microsoft_names, torchvision_names,
};
use super::{BackboneOptions, Built};
use crate::init::Init;
use crate::model::{Description, Pool, key_table};
use crate::nn::{
    Act, DropPath, Dropout, Epilogue, LayerNorm, Linear, LinearConfig, Mlp, OffsetMlp,
    ParamBuilder, Windows, cosine_attention, fused, log_length, merge_neighbours,
};

variants! {
    family: SwinV2, manifest: "swin_v2.toml", paper: "https://arxiv.org/abs/2111.09883",
    pool: Pool::Avg;
    swinv2_tiny_window8_256 (256): "width 96, windows of 8" => Config::new(Sizes::tiny(256), 8);
    swinv2_tiny_window16_256 (256): "width 96, windows of 16" => Config::new(Sizes::tiny(256), 16);
    swinv2_small_window8_256 (256): "width 96, deeper, windows of 8"
        => Config::new(Sizes::small(256), 8);
    swinv2_small_window16_256 (256): "width 96, deeper, windows of 16"
        => Config::new(Sizes::small(256), 16);
    swinv2_base_window8_256 (256): "width 128, windows of 8" => Config::new(Sizes::base(256), 8);
    swinv2_base_window16_256 (256): "width 128, windows of 16" => Config::new(Sizes::base(256), 16);
    swinv2_base_window12_192 (192): "width 128, windows of 12" => Config::new(Sizes::base(192), 12);
    swinv2_base_window12to16_192to256 (256): "width 128, windows of 12 in the first training, then of 16"
        => Config { trained_windows: Some([12, 12, 12, 6]), ..Config::new(Sizes::base(256), 16) };
}

const WEIGHTS: Init = Init::trunc_normal(0.02);
/// Features of the network that computes biases.
const HIDDEN: usize = 512;

type SwinV2 = Swin<Merging, Block<Attention>>;

/// The shape of a Swin transformer V2.
#[derive(Debug, Clone)]
struct Config {
    sizes: Sizes,
    /// Positions on a side of a window.
    window: usize,
    /// The same in the training before, by which offsets are measured, where it is another.
    trained_windows: Option<[usize; 4]>,
}

impl Config {
    fn new(sizes: Sizes, window: usize) -> Self {
        Self {
            sizes,
            window,
            trained_windows: None,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<SwinV2> {
        let mut no_weight_decay = Vec::new();
        let block = |place: &Place| {
            let weights = ["logit_scale", "cpb_mlp.fc1.weight", "cpb_mlp.fc2.weight"];
            no_weight_decay.extend(weights.map(|name| place.path(&format!("attn.{name}"))));
            let windows = place.windows([self.window; 2]);
            // Offsets are measured by the window that there is, unless another was trained with.
            let trained = self
                .trained_windows
                .map(|windows| [windows[place.stage]; 2]);
            let unit = trained.unwrap_or(windows.sides());
            let unit = unit.map(|side| side.saturating_sub(1).max(1) as f64);
            let attn = Attention::new(place, windows, unit, params);
            Block::new(attn, place, &WEIGHTS, None, params)
        };
        let merging = |width| {
            let reduction = LinearConfig::new(2 * width, width).without_bias();
            Merging {
                reduction: reduction.weights(WEIGHTS).init(params),
                norm: LayerNorm::new(width, EPSILON, params),
            }
        };
        let (backbone, description) = self.sizes.init(options, merging, block, true, params)?;
        let description = Description {
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stem" => "patch_embed",
                "stage*.blocks.*.attn.cpb_mlp.fc1" => "layers.*-1.blocks.*.attn.cpb_mlp.0",
                "stage*.blocks.*.attn.cpb_mlp.fc2" => "layers.*-1.blocks.*.attn.cpb_mlp.2",
                "stage*" => "layers.*-1",
            ],
            other_names: vec![
                torchvision_names("torchvision's SwinTransformer V2"),
                microsoft_names("the authors' Swin transformer V2"),
            ],
            no_weight_decay,
            ..description
        };
        Ok((backbone, description))
    }
}

/// Each four neighbours become one position of twice the channels, and are normalised then.
#[derive(Module, Debug)]
struct Merging {
    reduction: Linear,
    norm: LayerNorm,
}

impl PositionLayer for Merging {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.reduction.forward(merge_neighbours(x));
        self.norm.forward(x)
    }
}

/// Attention and an MLP, each normalised before it is added; what comes out may be, too.
#[derive(Module, Debug)]
pub(super) struct Block<A> {
    attn: A,
    norm1: LayerNorm,
    mlp: Mlp,
    norm2: LayerNorm,
    norm3: Option<LayerNorm>,
    drop_path: DropPath,
}

impl<A> Block<A> {
    /// `weights` is how those of the MLP start.
    pub(super) fn new(
        attn: A,
        place: &Place,
        weights: &Init,
        norm3: Option<LayerNorm>,
        params: &ParamBuilder,
    ) -> Self {
        let width = place.width;
        Self {
            attn,
            norm1: LayerNorm::zero_init(width, EPSILON, params),
            mlp: Mlp::new(width, 4 * width, weights, params),
            norm2: LayerNorm::zero_init(width, EPSILON, params),
            norm3,
            drop_path: DropPath::new(place.drop_path),
        }
    }
}

impl<A: PositionLayer> PositionLayer for Block<A> {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let attend = |x, end: Epilogue<'_, 4>| end.apply(self.norm1.forward(self.attn.forward(x)));
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let mlp = |x, end: Epilogue<'_, 4>| {
            let x = self.mlp.forward_with(x, Epilogue::default());
            end.apply(self.norm2.forward(x))
        };
        let x = self.drop_path.residual(x, Act::None, |x| x, mlp);
        self.norm3.iter().fold(x, |x, norm| norm.forward(x))
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
    windows: Windows,
    /// What offsets are measured by.
    unit: [f64; 2],
}

impl Attention {
    fn new(place: &Place, windows: Windows, unit: [f64; 2], params: &ParamBuilder) -> Self {
        let (width, heads) = (place.width, place.heads());
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
            windows,
            unit,
        }
    }
}

impl PositionLayer for Attention {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, height, width, _] = x.dims();
        let (windows, unit) = (&self.windows, self.unit);
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
