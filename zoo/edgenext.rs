//! EdgeNeXt: Maaz et al., "EdgeNeXt: Efficiently Amalgamated CNN-Transformer Architecture for Mobile
//! Vision Applications", ECCV 2022 workshops, <https://arxiv.org/abs/2206.10589>.
//!
//! Blocks of a ConvNeXt with kernels that grow from stage to stage; the last block of each stage but the
//! first splits its channels, convolves them one part after the other, and lets channels attend to each
//! other. The structure is timm's `edgenext.py`. Parameters are those of a model for 1000 classes;
//! accuracies are those timm publishes at 256 pixels.
//!
//! | variant | blocks | widths | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `edgenext_xx_small` | 2 2 6 2 | 24 48 88 168 | 1 327 216 | 71.1 % (`in1k`) |
//! | `edgenext_x_small` | 3 3 9 3 | 32 64 100 192 | 2 336 804 | 74.9 % (`in1k`) |
//! | `edgenext_small` | 3 3 9 3 | 48 96 160 304 | 5 586 832 | 81.1 % (`usi_in1k`) |
//! | `edgenext_small_rw` | 3 3 9 3 | 48 96 192 384 | 7 826 512 | 79.6 % (`sw_in1k`) |
//! | `edgenext_base` | 3 3 9 3 | 80 160 288 584 | 18 511 292 | 83.7 % (`usi_in1k`) |

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, InputSize, MapLayer, Pool, Pooling, Stage, Stages, key_table,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, CrossCovariance, DropPath, Epilogue, FourierPositions, LayerNorm,
    LayerScale, ParamBuilder, Pointwise, PointwiseMlp, drop_path_rates,
};

variants! {
    family: EdgeNeXt, manifest: "edgenext.toml", paper: "https://arxiv.org/abs/2206.10589",
    pool: Pool::Avg;
    edgenext_xx_small (256): "width 24"
        => Config { heads: 4, ..Config::new([2, 2, 6, 2], [24, 48, 88, 168]) };
    edgenext_x_small (256): "width 32"
        => Config { heads: 4, ..Config::new([3, 3, 9, 3], [32, 64, 100, 192]) };
    edgenext_small (256): "width 48" => Config::new([3, 3, 9, 3], [48, 96, 160, 304]);
    edgenext_small_rw (256): "width 48, without biases and with an overlapping stem"
        => Config { is_overlapping: true, ..Config::new([3, 3, 9, 3], [48, 96, 192, 384]) };
    edgenext_base (256): "width 80" => Config::new([3, 3, 9, 3], [80, 160, 288, 584]);
}

/// Sides of the depthwise kernels of each stage.
const KERNELS: [usize; 4] = [3, 5, 7, 9];
/// Parts into which a stage's last block splits its channels; the first stage has no such block.
const PARTS: [usize; 4] = [0, 2, 3, 4];
/// The stage whose last block sees where a position is.
const WITH_POSITIONS: usize = 1;
const EPSILON: f64 = 1e-6;
/// Cut at two standard deviations.
const WEIGHTS: Init = Init::TruncNormal {
    mean: 0.0,
    std: 0.02,
    low: -0.04,
    high: 0.04,
};

/// The shape of an EdgeNeXt.
#[derive(Debug, Clone)]
struct Config {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Channels of each stage.
    widths: [usize; 4],
    heads: usize,
    /// Convolutions overlap where they stride, and have no bias. The first block of a stage halves the
    /// size itself.
    is_overlapping: bool,
}

impl Config {
    fn new(depths: [usize; 4], widths: [usize; 4]) -> Self {
        Self {
            depths,
            widths,
            heads: 8,
            is_overlapping: false,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<EdgeNeXt> {
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let first = self.widths[0];
        let shape = if self.is_overlapping {
            options.stem.convolutions(&[4], false)?
        } else {
            options.stem.patches(4)?
        };
        let stride = shape.stride();
        let (side, padding) = if self.is_overlapping {
            (9, 4)
        } else {
            (stride, 0)
        };
        let stem = Conv2dConfig::new(options.in_channels, first, side);
        let stages = (0..4).map(|index| {
            let (width, before) = (self.widths[index], self.widths[index.saturating_sub(1)]);
            let depth = self.depths[index];
            let strides = index > 0;
            let downsample = || Patches {
                norm: LayerNorm::new(before, EPSILON, params),
                conv: self.conv(Conv2dConfig::new(before, width, 2).stride(2), params),
            };
            let blocks = rates.by_ref().take(depth).enumerate();
            let blocks = blocks.map(|(block, rate)| {
                if PARTS[index] > 0 && block == depth - 1 {
                    return Block::Split(self.split_block(index, rate, params));
                }
                let strides = strides && self.is_overlapping && block == 0;
                let from = if strides { before } else { width };
                Block::Conv(self.conv_block(index, from, strides, rate, params))
            });
            Stage {
                blocks: blocks.collect(),
                downsample: (strides && !self.is_overlapping).then(downsample),
            }
        });
        let stages = Stages::new(stages.collect());
        let last = self.widths[3];
        let groups = stages.groups_with_stem();
        let description = Description {
            has_pre_logits: true,
            // Without overlapping, 32 pixels are one position in the last stage.
            input_size: InputSize::AtLeast(shape.scale(if self.is_overlapping { 1 } else { 32 })),
            stem: Some(shape),
            // The normalisation behind the pooling has as many channels as the features.
            pools: &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::None],
            classifier: "head.fc",
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stem.conv" => "stem.0", "stem.norm" => "stem.1",
                "stage*.downsample.norm" => "stages.*-1.downsample.0",
                "stage*.downsample.conv" => "stages.*-1.downsample.1",
                "stage*.blocks.*.scale" => "stages.*-1.blocks.*",
                "stage*.blocks.*.scale_xca.gamma" => "stages.*-1.blocks.*.gamma_xca",
                "stage*" => "stages.*-1", "pre_logits" => "head.norm",
            ],
            ..Description::new(groups, options.in_channels, last, "stem.conv")
        };
        let backbone = EdgeNeXt {
            stem: Stem {
                conv: self.conv(stem.stride(stride).padding(padding), params),
                norm: LayerNorm::new(first, EPSILON, params),
            },
            stages,
            pre_logits: LayerNorm::new(last, EPSILON, params),
        };
        Ok((backbone, description))
    }

    fn conv(&self, conv: Conv2dConfig, params: &ParamBuilder) -> Conv2d {
        let conv = if self.is_overlapping {
            conv
        } else {
            conv.bias()
        };
        conv.weights(WEIGHTS).init(params)
    }

    fn conv_block(
        &self,
        stage: usize,
        from: usize,
        strides: bool,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> ConvBlock {
        let (width, kernel) = (self.widths[stage], KERNELS[stage]);
        let conv = Conv2dConfig::new(from, width, kernel)
            .stride(if strides { 2 } else { 1 })
            .padding(kernel / 2);
        ConvBlock {
            conv_dw: self.conv(conv.depthwise(), params),
            norm: LayerNorm::new(width, EPSILON, params),
            mlp: mlp(width, params),
            scale: LayerScale::new(width, 1e-6, params),
            drop_path: DropPath::new(drop_path),
            strides,
        }
    }

    fn split_block(&self, stage: usize, drop_path: f64, params: &ParamBuilder) -> SplitBlock {
        let (width, parts) = (self.widths[stage], PARTS[stage]);
        let part = width.div_ceil(parts);
        let conv = || Conv2dConfig::new(part, part, 3).padding(1).depthwise();
        let norm = || LayerNorm::new(width, EPSILON, params);
        let scale = || LayerScale::new(width, 1e-6, params);
        // The last part stays as it is.
        SplitBlock {
            convs: (1..parts).map(|_| self.conv(conv(), params)).collect(),
            pos_embd: (stage == WITH_POSITIONS)
                .then(|| FourierPositions::new(width, &WEIGHTS, params)),
            norm_xca: norm(),
            scale_xca: scale(),
            xca: CrossCovariance::new(width, self.heads, &WEIGHTS, params),
            norm: norm(),
            mlp: mlp(width, params),
            scale: scale(),
            drop_path: DropPath::new(drop_path),
        }
    }
}

/// The MLP of a block.
fn mlp(width: usize, params: &ParamBuilder) -> PointwiseMlp {
    let layer = |from, to| Pointwise::new(false, from, to, &WEIGHTS, params);
    PointwiseMlp::new(
        [layer(width, 4 * width), layer(4 * width, width)],
        Act::Gelu,
    )
}

#[derive(Module, Debug)]
struct EdgeNeXt {
    stem: Stem,
    stages: Stages<Stage<Patches, Block>>,
    pre_logits: LayerNorm,
}

impl Backbone for EdgeNeXt {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let pooled = pooling.map(features.into_map()?);
        Ok(self.pre_logits.forward_map(pooled).flatten(1, 3))
    }
}

#[derive(Module, Debug)]
struct Stem {
    conv: Conv2d,
    norm: LayerNorm,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward_map(self.conv.forward(x))
    }
}

/// Patches, normalised, become positions.
#[derive(Module, Debug)]
struct Patches {
    norm: LayerNorm,
    conv: Conv2d,
}

impl MapLayer for Patches {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(self.norm.forward_map(x))
    }
}

#[derive(Module, Debug)]
enum Block {
    Conv(ConvBlock),
    Split(SplitBlock),
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(block) => block.forward(x),
            Self::Split(block) => block.forward(x),
        }
    }
}

#[derive(Module, Debug)]
struct ConvBlock {
    conv_dw: Conv2d,
    norm: LayerNorm,
    mlp: PointwiseMlp,
    scale: LayerScale,
    drop_path: DropPath,
    strides: bool,
}

impl MapLayer for ConvBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (before, inside) = if self.strides {
            // The shortcut begins where the size is that of the output.
            (self.conv_dw.forward(x), None)
        } else {
            (x, Some(&self.conv_dw))
        };
        self.drop_path.residual(
            before,
            Act::None,
            |x| x,
            |x, end| {
                let x = inside.iter().fold(x, |x, conv| conv.forward(x));
                let x = self.norm.forward_map(x);
                let x = self.mlp.forward_with(x, Epilogue::default());
                end.apply(self.scale.forward_map(x))
            },
        )
    }
}

/// A block that convolves its channels part by part, each part with what came out of the one before, and
/// then lets them attend to each other.
#[derive(Module, Debug)]
struct SplitBlock {
    convs: Vec<Conv2d>,
    pos_embd: Option<FourierPositions>,
    norm_xca: LayerNorm,
    scale_xca: LayerScale,
    xca: CrossCovariance,
    norm: LayerNorm,
    mlp: PointwiseMlp,
    scale: LayerScale,
    drop_path: DropPath,
}

impl MapLayer for SplitBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let branch = |x, end: Epilogue<'_, 4>| {
            let x = self.convolve(x);
            let x = self.pos_embd.iter().fold(x, |x, it| it.forward(x));
            let attend = |x, end: Epilogue<'_, 4>| {
                let x = self.attend(self.norm_xca.forward_map(x));
                end.apply(self.scale_xca.forward_map(x))
            };
            let x = self.drop_path.residual(x, Act::None, |x| x, attend);
            let x = self.norm.forward_map(x);
            let x = self.mlp.forward_with(x, Epilogue::default());
            end.apply(self.scale.forward_map(x))
        };
        self.drop_path.residual(x, Act::None, |x| x, branch)
    }
}

impl SplitBlock {
    fn convolve(&self, x: Tensor<4>) -> Tensor<4> {
        let mut parts = x.chunk(self.convs.len() + 1, 1);
        for (index, conv) in self.convs.iter().enumerate() {
            let part = match index {
                0 => parts[0].clone(),
                _ => parts[index - 1].clone() + parts[index].clone(),
            };
            parts[index] = conv.forward(part);
        }
        Tensor::cat(parts, 1)
    }

    fn attend(&self, x: Tensor<4>) -> Tensor<4> {
        let shape = x.dims();
        let tokens = x.flatten::<3>(2, 3).swap_dims(1, 2);
        self.xca.forward(tokens).swap_dims(1, 2).reshape(shape)
    }
}
