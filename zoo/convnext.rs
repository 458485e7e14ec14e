//! ConvNeXt: Liu et al., "A ConvNet for the 2020s", CVPR 2022, <https://arxiv.org/abs/2201.03545>,
//! and ConvNeXt V2: Woo et al., CVPR 2023, <https://arxiv.org/abs/2301.00808>.
//!
//! A convolutional network in the manner of a transformer: patches, layer normalisation, blocks of a
//! 7x7 depthwise convolution and an MLP. V2 has a global response normalisation in place of a layer
//! scale; its weights are for non-commercial use (CC BY-NC 4.0). The structure is timm's
//! `convnext.py`. Parameters are those of a model for 1000 classes, accuracies timm's at 224 pixels.
//!
//! | variant | blocks | width | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `convnext_atto` | 2 2 6 2 | 40 | 3 695 520 | 75.7 % (`d2_in1k`) |
//! | `convnext_femto` | 2 2 6 2 | 48 | 5 217 784 | 77.5 % (`d1_in1k`) |
//! | `convnext_pico` | 2 2 6 2 | 64 | 9 045 672 | 79.5 % (`d1_in1k`) |
//! | `convnext_nano` | 2 2 8 2 | 80 | 15 593 560 | 82.3 % (`in12k_ft_in1k`) |
//! | `convnext_tiny` | 3 3 9 3 | 96 | 28 589 128 | 84.2 % (`in12k_ft_in1k`) |
//! | `convnext_small` | 3 3 27 3 | 96 | 50 223 688 | 85.2 % (`in12k_ft_in1k`) |
//! | `convnext_base` | 3 3 27 3 | 128 | 88 591 464 | 85.8 % (`fb_in22k_ft_in1k`) |
//! | `convnextv2_atto` | 2 2 6 2 | 40 | 3 708 400 | 76.6 % (`fcmae_ft_in1k`) |
//! | `convnextv2_nano` | 2 2 8 2 | 80 | 15 623 800 | 82.0 % (`fcmae_ft_in22k_in1k`) |
//! | `convnextv2_tiny` | 3 3 9 3 | 96 | 28 635 496 | 83.9 % (`fcmae_ft_in22k_in1k`) |

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, InputSize, MapLayer, OtherNames, Pool, Pooling, Stages,
    key_table,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, DropPath, GlobalResponseNorm, LayerNorm, LayerScale, ParamBuilder,
    Pointwise, drop_path_rates,
};

variants! {
    family: ConvNeXt, manifest: "convnext.toml", paper: "https://arxiv.org/abs/2201.03545",
    pool: Pool::Avg;
    convnext_atto (224): "width 40" => Config::new(1, [2, 2, 6, 2], 40);
    convnext_femto (224): "width 48" => Config::new(1, [2, 2, 6, 2], 48);
    convnext_pico (224): "width 64" => Config::new(1, [2, 2, 6, 2], 64);
    convnext_nano (224): "width 80" => Config::new(1, [2, 2, 8, 2], 80);
    convnext_tiny (224): "width 96" => Config::new(1, [3, 3, 9, 3], 96);
    convnext_small (224): "width 96, deeper" => Config::new(1, [3, 3, 27, 3], 96);
    convnext_base (224): "width 128" => Config::new(1, [3, 3, 27, 3], 128);
    convnextv2_atto (224): "V2, width 40; CC BY-NC 4.0" => Config::new(2, [2, 2, 6, 2], 40);
    convnextv2_nano (224): "V2, width 80; CC BY-NC 4.0" => Config::new(2, [2, 2, 8, 2], 80);
    convnextv2_tiny (224): "V2, width 96; CC BY-NC 4.0" => Config::new(2, [3, 3, 9, 3], 96);
}

const EPSILON: f64 = 1e-6;
const WEIGHTS: Init = Init::trunc_normal(0.02);

/// The shape of a ConvNeXt.
#[derive(Debug, Clone)]
struct Config {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Channels of the first stage; each further one has twice as many.
    width: usize,
    is_v2: bool,
}

impl Config {
    fn new(version: usize, depths: [usize; 4], width: usize) -> Self {
        Self {
            depths,
            width,
            is_v2: version == 2,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<ConvNeXt> {
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let patches = |from, to, side, norm| {
            let conv = Conv2dConfig::new(from, to, side).stride(side).bias();
            let conv = conv.weights(WEIGHTS).init(params);
            let norm = LayerNorm::new(norm, EPSILON, params);
            Patches { conv, norm }
        };
        let stem = patches(options.in_channels, self.width, 4, self.width);
        let stages = self.depths.into_iter().enumerate().map(|(index, depth)| {
            let width = self.width << index;
            let before = width / 2;
            let blocks = rates.by_ref().take(depth);
            Stage {
                downsample: (index > 0).then(|| patches(before, width, 2, before)),
                blocks: blocks.map(|rate| self.block(width, rate, params)).collect(),
            }
        });
        let stages = Stages::new(stages.collect());
        let last = self.width << 3;
        let groups = stages.groups_with_stem();
        let description = Description {
            has_pre_logits: true,
            // 32 pixels are one position in the last stage.
            input_size: InputSize::AtLeast(32),
            // The normalisation behind the pooling has as many channels as the features.
            pools: &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::None],
            classifier: "head.fc",
            classifier_init: WEIGHTS,
            key_table: key_table![
                "stem.conv" => "stem.0", "stem.norm" => "stem.1",
                "stage*.downsample.norm" => "stages.*-1.downsample.0",
                "stage*.downsample.conv" => "stages.*-1.downsample.1",
                "stage*.blocks.*.scale" => "stages.*-1.blocks.*", "stage*" => "stages.*-1",
                "pre_logits" => "head.norm",
            ],
            other_names: vec![torchvision_names(), facebook_names()],
            ..Description::new(groups, options.in_channels, last, "stem.conv")
        };
        let backbone = ConvNeXt {
            stem,
            stages,
            pre_logits: LayerNorm::new(last, EPSILON, params),
        };
        Ok((backbone, description))
    }

    fn block(&self, width: usize, drop_path: f64, params: &ParamBuilder) -> Block {
        // The narrow variants say an affine layer by kernels of 1x1.
        let layer = |from, to| Pointwise::new(self.width < 96, from, to, &WEIGHTS, params);
        let grn = || GlobalResponseNorm::new(4 * width, params);
        let conv_dw = Conv2dConfig::new(width, width, 7).padding(3).depthwise();
        Block {
            conv_dw: conv_dw.bias().weights(WEIGHTS).init(params),
            norm: LayerNorm::new(width, EPSILON, params),
            mlp: Mlp {
                fc1: layer(width, 4 * width),
                grn: self.is_v2.then(grn),
                fc2: layer(4 * width, width),
            },
            scale: (!self.is_v2).then(|| LayerScale::new(width, 1e-6, params)),
            drop_path: DropPath::new(drop_path),
        }
    }
}

/// torchvision's names. Its layer scale has two more dimensions, of length one.
fn torchvision_names() -> OtherNames {
    let table = key_table![
        "stem" => "features.0", "stages.*.downsample" => "features.*x2",
        "stages.*.blocks.*.conv_dw" => "features.*x2+1.*.block.0",
        "stages.*.blocks.*.norm" => "features.*x2+1.*.block.2",
        "stages.*.blocks.*.mlp.fc1" => "features.*x2+1.*.block.3",
        "stages.*.blocks.*.mlp.fc2" => "features.*x2+1.*.block.5",
        "stages.*.blocks.*.gamma" => "features.*x2+1.*.layer_scale",
        "head.norm" => "classifier.0", "head.fc" => "classifier.2",
    ];
    OtherNames::new("torchvision's ConvNeXt", table).reshapes(&["stages."])
}

/// The names of the authors' own files, where every layer of an MLP is affine.
fn facebook_names() -> OtherNames {
    let table = key_table![
        "stem" => "downsample_layers.0", "stages.*.downsample" => "downsample_layers.*",
        "stages.*.blocks.*.conv_dw" => "stages.*.*.dwconv",
        "stages.*.blocks.*.mlp.fc1" => "stages.*.*.pwconv1",
        "stages.*.blocks.*.mlp.fc2" => "stages.*.*.pwconv2",
        "stages.*.blocks.*.mlp.grn.weight" => "stages.*.*.grn.gamma",
        "stages.*.blocks.*.mlp.grn.bias" => "stages.*.*.grn.beta",
        "stages.*.blocks.*" => "stages.*.*", "head.norm" => "norm", "head.fc" => "head",
    ];
    OtherNames::new("the authors' ConvNeXt", table).reshapes(&["stages."])
}

#[derive(Module, Debug)]
struct ConvNeXt {
    stem: Patches,
    stages: Stages<Stage>,
    pre_logits: LayerNorm,
}

impl Backbone for ConvNeXt {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let pooled = pooling.map(features.into_map()?);
        Ok(self.pre_logits.forward_map(pooled).flatten(1, 3))
    }
}

/// Patches become positions; the stem normalises them, what is between stages what they are made of.
#[derive(Module, Debug)]
struct Patches {
    conv: Conv2d,
    norm: LayerNorm,
}

impl MapLayer for Patches {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward_map(self.conv.forward(x))
    }
}

#[derive(Module, Debug)]
struct Stage {
    downsample: Option<Patches>,
    blocks: Vec<Block>,
}

impl MapLayer for Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.blocks.forward(match &self.downsample {
            Some(Patches { norm, conv }) => conv.forward(norm.forward_map(x)),
            None => x,
        })
    }
}

#[derive(Module, Debug)]
struct Block {
    conv_dw: Conv2d,
    norm: LayerNorm,
    mlp: Mlp,
    scale: Option<LayerScale>,
    drop_path: DropPath,
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Pointwise,
    grn: Option<GlobalResponseNorm>,
    fc2: Pointwise,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.drop_path.residual(
            x,
            Act::None,
            |x| x,
            |x, end| {
                let x = self.norm.forward_map(self.conv_dw.forward(x));
                let mut x = self.mlp.fc1.forward(x, Act::Gelu);
                if let Some(grn) = &self.mlp.grn {
                    x = grn.forward(x);
                }
                x = self.mlp.fc2.forward(x, Act::None);
                if let Some(scale) = &self.scale {
                    x = scale.forward_map(x);
                }
                end.apply(x)
            },
        )
    }
}
