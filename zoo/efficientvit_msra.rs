//! EfficientViT of Microsoft: Liu et al., "EfficientViT: Memory Efficient Vision Transformer with
//! Cascaded Group Attention", CVPR 2023, <https://arxiv.org/abs/2305.07027>.
//!
//! Three stages at a sixteenth of the image's size and less. Each block has one attention between
//! depthwise convolutions and MLPs; each of its heads sees a part of the channels, and what the head
//! before has made of its own. The structure is timm's `efficientvit_msra.py`. Parameters are those of
//! a model for 1000 classes; accuracies are those timm publishes at 224 pixels. MIT's network of the
//! same name is another one.
//!
//! | variant | widths | blocks | heads | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|---|
//! | `efficientvit_m0` | 64 128 192 | 1 2 3 | 4 4 4 | 2 349 436 | 63.3 % (`r224_in1k`) |
//! | `efficientvit_m1` | 128 144 192 | 1 2 3 | 2 3 3 | 2 980 560 | 68.3 % (`r224_in1k`) |
//! | `efficientvit_m2` | 128 192 224 | 1 2 3 | 4 3 2 | 4 187 554 | 70.8 % (`r224_in1k`) |
//! | `efficientvit_m3` | 128 240 320 | 1 2 3 | 4 3 4 | 6 900 722 | 73.4 % (`r224_in1k`) |
//! | `efficientvit_m4` | 128 256 384 | 1 2 3 | 4 4 4 | 8 804 228 | 74.3 % (`r224_in1k`) |
//! | `efficientvit_m5` | 192 288 384 | 1 3 4 | 3 3 4 | 12 473 772 | 77.1 % (`r224_in1k`) |

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, InputSize, KeyTable, MapLayer, Pool, Pooling, PositionTable,
    Stage, Stages, TableLayout, key_table,
};
use crate::nn::{
    Act, BatchNorm2d, BatchNorm2dConfig, Conv2dConfig, ConvNorm, ConvStem, Epilogue, ParamBuilder,
    PositionBias, SqueezeExcite, Windows, trace,
};

variants! {
    family: EfficientVitMsra, manifest: "efficientvit_msra.toml",
    paper: "https://arxiv.org/abs/2305.07027", pool: Pool::Avg;
    efficientvit_m0 (224): "widths 64 to 192" => Config {
        widths: [64, 128, 192], depths: [1, 2, 3], heads: [4; 3], kernels: [5; 4],
    };
    efficientvit_m1 (224): "widths 128 to 192" => Config {
        widths: [128, 144, 192], depths: [1, 2, 3], heads: [2, 3, 3], kernels: [7, 5, 3, 3],
    };
    efficientvit_m2 (224): "widths 128 to 224" => Config {
        widths: [128, 192, 224], depths: [1, 2, 3], heads: [4, 3, 2], kernels: [7, 5, 3, 3],
    };
    efficientvit_m3 (224): "widths 128 to 320" => Config {
        widths: [128, 240, 320], depths: [1, 2, 3], heads: [4, 3, 4], kernels: [5; 4],
    };
    efficientvit_m4 (224): "widths 128 to 384" => Config {
        widths: [128, 256, 384], depths: [1, 2, 3], heads: [4; 3], kernels: [7, 5, 3, 3],
    };
    efficientvit_m5 (224): "widths 192 to 384" => Config {
        widths: [192, 288, 384], depths: [1, 3, 4], heads: [3, 3, 4], kernels: [7, 5, 3, 3],
    };
}

/// Convolutions of the stem, each of half the size.
const STRIDES: [usize; 4] = [2; 4];
/// Pixels on a side of an image, at most.
const LARGEST: usize = 4096;
/// Positions on a side of a window.
const WINDOW: usize = 7;
/// Channels of a head's queries, and of its keys.
const KEY: usize = 16;

/// The shape of an EfficientViT.
#[derive(Debug, Clone)]
struct Config {
    widths: [usize; 3],
    depths: [usize; 3],
    heads: [usize; 3],
    /// A side of the kernels over the queries, by head.
    kernels: [usize; 4],
}

impl Config {
    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<EfficientVitMsra> {
        options.check_no_drop_path()?;
        let stem = options.stem.convolutions(&STRIDES, false)?;
        // Pixels on a side of what becomes one position of the first stage.
        let patch = stem.stride();
        let image_size = options.fixed_size(224, format!("{patch} to {LARGEST}"), |side| {
            (patch..=LARGEST).contains(&side)
        })?;
        // The shorter side of the image decides on the windows.
        let [height, width] = image_size;
        let mut grid = height.min(width) / patch;
        let mut tables = Vec::new();
        let mut stages = Vec::new();
        for (index, width) in self.widths.into_iter().enumerate() {
            let downsample = index.checked_sub(1).map(|before| {
                grid = grid.div_ceil(2);
                Downsample::new(self.widths[before], width, params)
            });
            let windows = Windows::new([grid.min(WINDOW); 2]);
            let kernels = &self.kernels[..self.heads[index]];
            let blocks = (0..self.depths[index]).map(|block| {
                let path = format!("stage{}.blocks.{block}.attn.biases", index + 1);
                let layout = TableLayout::Distances;
                tables.push(PositionTable::new(path, windows.sides(), layout));
                Block {
                    before: Local::new(width, true, params),
                    attn: Attention::new(width, kernels, windows.clone(), params),
                    after: Local::new(width, true, params),
                }
            });
            stages.push(Stage {
                blocks: blocks.collect(),
                downsample,
            });
        }
        let stages = Stages::new(stages);
        let (groups, last) = (stages.groups_with_stem(), self.widths[2]);
        let strides = stem.strides().to_vec();
        let description = Description {
            has_pre_logits: true,
            pre_logits_for_classes: true,
            stem: Some(stem),
            input_size: InputSize::Exactly(image_size),
            pools: &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::CatAvgMax],
            classifier: "head.linear",
            classifier_init: Init::trunc_normal(0.02),
            key_table: names(),
            no_weight_decay: tables.iter().map(|table| table.path.clone()).collect(),
            position_tables: tables,
            ..Description::new(groups, options.in_channels, last, "stem.conv1")
        };
        let pooled = last * options.pool.multiplier();
        let backbone = EfficientVitMsra {
            stem: ConvStem::new(
                options.in_channels,
                self.widths[0],
                &strides,
                Act::Relu,
                params,
            ),
            stages,
            pre_logits: BatchNorm2dConfig::new(pooled).init(params),
        };
        Ok((backbone, description))
    }
}

fn names() -> KeyTable {
    let mut table = key_table![
        "stem.conv*" => "patch_embed.conv*.conv", "stem.bn*" => "patch_embed.conv*.bn",
        "stage*.downsample.conv*" => "stages.*-1.downsample.patchmerge.conv*.conv",
        "stage*.downsample.bn*" => "stages.*-1.downsample.patchmerge.conv*.bn",
        "stage*.downsample.se.reduce" => "stages.*-1.downsample.patchmerge.se.fc1",
        "stage*.downsample.se.expand" => "stages.*-1.downsample.patchmerge.se.fc2",
        "stage*.blocks.*.attn.heads.*.qkv" => "stages.*-1.blocks.*.mixer.m.attn.qkvs.*.conv",
        "stage*.blocks.*.attn.heads.*.qkv_bn" => "stages.*-1.blocks.*.mixer.m.attn.qkvs.*.bn",
        "stage*.blocks.*.attn.heads.*.dw" => "stages.*-1.blocks.*.mixer.m.attn.dws.*.conv",
        "stage*.blocks.*.attn.heads.*.dw_bn" => "stages.*-1.blocks.*.mixer.m.attn.dws.*.bn",
        "stage*.blocks.*.attn.proj" => "stages.*-1.blocks.*.mixer.m.attn.proj.1.conv",
        "stage*.blocks.*.attn.proj_bn" => "stages.*-1.blocks.*.mixer.m.attn.proj.1.bn",
        "stage*.blocks.*.attn.biases" => "stages.*-1.blocks.*.mixer.m.attn.attention_biases",
        "pre_logits" => "head.bn",
    ];
    for (whole, part, dw, mlp) in [
        ("downsample", "before", "res1.0", "res1.1"),
        ("downsample", "after", "res2.0", "res2.1"),
        ("blocks.*", "before", "dw0", "ffn0"),
        ("blocks.*", "after", "dw1", "ffn1"),
    ] {
        for (layer, theirs) in [
            ("dw", format!("{dw}.m")),
            ("pw1", format!("{mlp}.m.pw1")),
            ("pw2", format!("{mlp}.m.pw2")),
        ] {
            let ours = format!("stage*.{whole}.{part}.{layer}");
            let theirs = format!("stages.*-1.{whole}.{theirs}");
            table.push(&ours, &format!("{theirs}.conv"));
            table.push(&format!("{ours}_bn"), &format!("{theirs}.bn"));
        }
    }
    table
}

#[derive(Module, Debug)]
struct EfficientVitMsra {
    stem: ConvStem,
    stages: Stages<Stage<Downsample, Block>>,
    /// `torch.nn.BatchNorm1d`: on a map of one position.
    pre_logits: BatchNorm2d,
}

impl Backbone for EfficientVitMsra {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let pooled = pooling.map(features.into_map()?);
        Ok(self.pre_logits.forward(pooled).flatten(1, 3))
    }
}

/// An inverted residual that makes a map half the size, between others.
#[derive(Module, Debug)]
struct Downsample {
    before: Local,
    conv1: ConvNorm,
    conv2: ConvNorm,
    se: SqueezeExcite,
    conv3: ConvNorm,
    after: Local,
}

impl Downsample {
    fn new(from: usize, to: usize, params: &ParamBuilder) -> Self {
        let inner = 4 * from;
        let conv2 = Conv2dConfig::new(inner, inner, 3).depthwise();
        let acts = [Act::Relu, Act::Sigmoid];
        Self {
            before: Local::new(from, false, params),
            conv1: ConvNorm::new(Conv2dConfig::new(from, inner, 1), Act::Relu, params),
            conv2: ConvNorm::new(conv2.stride(2).padding(1), Act::Relu, params),
            se: SqueezeExcite::new(inner, from, acts, |_| Init::PyTorch, params),
            conv3: ConvNorm::new(Conv2dConfig::new(inner, to, 1), Act::None, params),
            after: Local::new(to, false, params),
        }
    }
}

impl MapLayer for Downsample {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv1.forward(self.before.forward(x));
        let x = self.se.forward(self.conv2.forward(x));
        self.after.forward(self.conv3.forward(x))
    }
}

/// A depthwise convolution and an MLP, each with a shortcut.
#[derive(Module, Debug)]
struct Local {
    dw: ConvNorm,
    pw1: ConvNorm,
    pw2: ConvNorm,
}

impl Local {
    /// The MLP begins as nothing; within a block the depthwise convolution does too.
    fn new(width: usize, in_block: bool, params: &ParamBuilder) -> Self {
        let dw = Conv2dConfig::new(width, width, 3).padding(1).depthwise();
        let norm = BatchNorm2dConfig::new(width);
        let dw_norm = if in_block { norm.zero_init() } else { norm };
        let pw1 = Conv2dConfig::new(width, 2 * width, 1);
        let pw2 = Conv2dConfig::new(2 * width, width, 1);
        Self {
            dw: ConvNorm::with_norm(dw, dw_norm, Act::None, params),
            pw1: ConvNorm::new(pw1, Act::Relu, params),
            pw2: ConvNorm::with_norm(pw2, norm.zero_init(), Act::None, params),
        }
    }
}

impl MapLayer for Local {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.dw.forward_with(x.clone(), Epilogue::adding(&x));
        let hidden = self.pw1.forward(x.clone());
        self.pw2.forward_with(hidden, Epilogue::adding(&x))
    }
}

#[derive(Module, Debug)]
struct Block {
    before: Local,
    attn: Attention,
    after: Local,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.before.forward(x);
        let x = self.attn.forward(x.clone()) + x;
        self.after.forward(x)
    }
}

/// Attention within windows, with a bias for each distance between two positions.
#[derive(Module, Debug)]
struct Attention {
    heads: Vec<Head>,
    proj: ConvNorm,
    biases: PositionBias,
    #[module(skip)]
    windows: Windows,
}

#[derive(Module, Debug)]
struct Head {
    qkv: ConvNorm,
    /// On the queries.
    dw: ConvNorm,
}

impl Attention {
    fn new(width: usize, kernels: &[usize], windows: Windows, params: &ParamBuilder) -> Self {
        let part = width / kernels.len();
        let head = |&kernel: &usize| {
            let dw = Conv2dConfig::new(KEY, KEY, kernel).padding(kernel / 2);
            let qkv = Conv2dConfig::new(part, 2 * KEY + part, 1);
            Head {
                qkv: ConvNorm::new(qkv, Act::None, params),
                dw: ConvNorm::new(dw.depthwise(), Act::None, params),
            }
        };
        let proj = Conv2dConfig::new(width, width, 1);
        let norm = BatchNorm2dConfig::new(width).zero_init();
        Self {
            heads: kernels.iter().map(head).collect(),
            proj: ConvNorm::with_norm(proj, norm, Act::None, params),
            biases: PositionBias::distances(&windows, kernels.len(), params),
            windows,
        }
    }

    /// Attention over all positions of maps that are windows.
    fn attend(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let (part, length) = (channels / self.heads.len(), height * width);
        let bias = self.biases.bias(&self.windows).cast(x.dtype());
        let mut outputs: Vec<Tensor<4>> = Vec::with_capacity(self.heads.len());
        for (index, Head { qkv, dw }) in self.heads.iter().enumerate() {
            let own = x.clone().narrow(1, index * part, part);
            let seen = match outputs.last() {
                Some(before) => before.clone() + own,
                None => own,
            };
            let qkv = qkv.forward(seen);
            let flat = |x: Tensor<4>, channels| x.reshape([batch, channels, length]);
            let query = flat(dw.forward(qkv.clone().narrow(1, 0, KEY)), KEY);
            let key = flat(qkv.clone().narrow(1, KEY, KEY), KEY);
            let value = flat(qkv.narrow(1, 2 * KEY, part), part);
            let scores = (query * (KEY as f64).powf(-0.5))
                .swap_dims(1, 2)
                .matmul(key);
            let bias = bias.clone().narrow(1, index, 1).flatten::<3>(0, 1);
            let scores = softmax(scores + bias, 2);
            trace::product("AttentionScores", &scores, batch * length * length * KEY);
            let mixed = value.matmul(scores.swap_dims(1, 2));
            trace::product("AttentionValues", &mixed, batch * length * length * part);
            outputs.push(mixed.reshape([batch, part, height, width]));
        }
        self.proj
            .forward(Act::Relu.forward(Tensor::cat(outputs, 1)))
    }
}

impl MapLayer for Attention {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, channels, height, width] = x.dims();
        let [side_y, side_x] = self.windows.sides();
        if [height, width] == [side_y, side_x] {
            return self.attend(x);
        }
        let windows = self.windows.split(x.permute([0, 2, 3, 1]));
        let [all, length, _] = windows.dims();
        let windows = windows.swap_dims(1, 2);
        let mixed = self.attend(windows.reshape([all, channels, side_y, side_x]));
        let mixed = mixed.reshape([all, channels, length]).swap_dims(1, 2);
        let mixed = self.windows.join(mixed, [height, width]);
        mixed.permute([0, 3, 1, 2])
    }
}
