//! ConvNeXt: Liu et al., "A ConvNet for the 2020s", CVPR 2022, <https://arxiv.org/abs/2201.03545>,
//! and ConvNeXt V2: Woo et al., CVPR 2023, <https://arxiv.org/abs/2301.00808>.
//!
//! A convolutional network in the manner of a transformer: patches, layer normalisation, blocks of a
//! 7x7 depthwise convolution and an MLP. V2 has a global response normalisation in the MLP in place
//! of a layer scale. The structure is timm's `convnext.py`. Parameters are those of a model for 1000
//! classes; accuracies are those timm publishes at 224 pixels, of the default tag where there is one
//! at that size. The weights of V2 are for non-commercial use (CC BY-NC 4.0).
//!
//! | variant | blocks | width | parameters |
//! |---|---|---|---|
//! | `convnext_atto` | 2 2 6 2 | 40 | 3 695 840 |
//! | `convnext_femto` | 2 2 6 2 | 48 | 5 217 592 |
//! | `convnext_pico` | 2 2 6 2 | 64 | 9 047 144 |
//! | `convnext_nano` | 2 2 8 2 | 80 | 15 590 440 |
//! | `convnext_tiny` | 3 3 9 3 | 96 | 28 589 128 |
//! | `convnext_small` | 3 3 27 3 | 96 | 50 223 688 |
//! | `convnext_base` | 3 3 27 3 | 128 | 88 591 464 |
//! | `convnextv2_atto` | 2 2 6 2 | 40 | 3 708 400 |
//! | `convnextv2_nano` | 2 2 8 2 | 80 | 15 623 800 |
//! | `convnextv2_tiny` | 3 3 9 3 | 96 | 28 635 496 |

use burn::module::Module;
use burn::tensor::Tensor;

use super::BackboneOptions;
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, FirstConv, InputSize, KeyTable, MapLayer, OtherNames, Pool,
    Pooling, Stages,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, DropPath, GlobalResponseNorm, LayerNorm, LayerScale, ParamBuilder,
    Pointwise, drop_path_rates,
};

variants! {
    family: ConvNeXt, manifest: "convnext.toml", paper: "https://arxiv.org/abs/2201.03545",
    pool: Pool::Avg;
    convnext_atto (224): "width 40" => ConvNeXtConfig::new([2, 2, 6, 2], 40).conv_mlp();
    convnext_femto (224): "width 48" => ConvNeXtConfig::new([2, 2, 6, 2], 48).conv_mlp();
    convnext_pico (224): "width 64" => ConvNeXtConfig::new([2, 2, 6, 2], 64).conv_mlp();
    convnext_nano (224): "width 80" => ConvNeXtConfig::new([2, 2, 8, 2], 80).conv_mlp();
    convnext_tiny (224): "width 96" => ConvNeXtConfig::new([3, 3, 9, 3], 96);
    convnext_small (224): "width 96, deeper" => ConvNeXtConfig::new([3, 3, 27, 3], 96);
    convnext_base (224): "width 128" => ConvNeXtConfig::new([3, 3, 27, 3], 128);
    convnextv2_atto (224): "V2 of width 40; weights CC BY-NC 4.0"
        => ConvNeXtConfig::new([2, 2, 6, 2], 40).conv_mlp().v2();
    convnextv2_nano (224): "V2 of width 80; weights CC BY-NC 4.0"
        => ConvNeXtConfig::new([2, 2, 8, 2], 80).conv_mlp().v2();
    convnextv2_tiny (224): "V2 of width 96; weights CC BY-NC 4.0"
        => ConvNeXtConfig::new([3, 3, 9, 3], 96).v2();
}

const EPSILON: f64 = 1e-6;
const WEIGHTS: Init = Init::trunc_normal(0.02);

/// The shape of a ConvNeXt.
#[derive(Debug, Clone)]
struct ConvNeXtConfig {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Channels of the first stage; each further one has twice as many.
    width: usize,
    /// Whether the layers of an MLP are convolutions of 1x1, as they are in the small variants.
    conv_mlp: bool,
    is_v2: bool,
}

impl ConvNeXtConfig {
    fn new(depths: [usize; 4], width: usize) -> Self {
        Self {
            depths,
            width,
            conv_mlp: false,
            is_v2: false,
        }
    }

    fn conv_mlp(mut self) -> Self {
        self.conv_mlp = true;
        self
    }

    fn v2(mut self) -> Self {
        self.is_v2 = true;
        self
    }

    fn init(
        &self,
        options: &BackboneOptions,
        params: &ParamBuilder,
    ) -> Result<(ConvNeXt, Description)> {
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let stem = Stem {
            conv: patches(options.in_channels, self.width, 4, params),
            norm: LayerNorm::new(self.width, EPSILON, params),
        };
        let widths = [1, 2, 4, 8].map(|factor| factor * self.width);
        let stages = (0..4).map(|index| {
            let width = widths[index];
            let downsample = index.checked_sub(1).map(|before| Downsample {
                norm: LayerNorm::new(widths[before], EPSILON, params),
                conv: patches(widths[before], width, 2, params),
            });
            let blocks = rates.by_ref().take(self.depths[index]);
            Stage {
                downsample,
                blocks: blocks.map(|rate| self.block(width, rate, params)).collect(),
            }
        });
        let stages = Stages::new(stages.collect());
        let last = widths[3];
        let first_conv = FirstConv::new("stem.conv");
        let groups = stages.groups_with_stem();
        let description = Description {
            has_pre_logits: true,
            // 32 pixels are one position in the last stage.
            input_size: InputSize::AtLeast(32),
            // The normalisation behind the pooling has as many channels as the features.
            pools: &[Pool::Avg, Pool::Max, Pool::AvgMax, Pool::None],
            classifier: "head.fc",
            classifier_init: WEIGHTS,
            key_table: KeyTable::new(&[
                ("stem.conv", "stem.0"),
                ("stem.norm", "stem.1"),
                ("stage*.downsample.norm", "stages.*-1.downsample.0"),
                ("stage*.downsample.conv", "stages.*-1.downsample.1"),
                ("stage*.blocks.*.scale", "stages.*-1.blocks.*"),
                ("stage*", "stages.*-1"),
                ("pre_logits.norm", "head.norm"),
            ]),
            other_names: vec![torchvision_names(), facebook_names()],
            ..Description::new(groups, options.in_channels, last, first_conv)
        };
        let pre_logits = PreLogits {
            norm: LayerNorm::new(last, EPSILON, params),
        };
        let backbone = ConvNeXt {
            stem,
            stages,
            pre_logits,
        };
        Ok((backbone, description))
    }

    fn block(&self, width: usize, drop_path: f64, params: &ParamBuilder) -> Block {
        let layer = if self.conv_mlp {
            Pointwise::conv
        } else {
            Pointwise::linear
        };
        let conv_dw = Conv2dConfig::new(width, width, 7).padding(3).depthwise();
        Block {
            conv_dw: conv_dw.bias().weights(WEIGHTS).init(params),
            norm: LayerNorm::new(width, EPSILON, params),
            mlp: Mlp {
                fc1: layer(width, 4 * width, &WEIGHTS, params),
                grn: self
                    .is_v2
                    .then(|| GlobalResponseNorm::new(4 * width, params)),
                fc2: layer(4 * width, width, &WEIGHTS, params),
            },
            scale: (!self.is_v2).then(|| LayerScale::new(width, 1e-6, params)),
            drop_path: DropPath::new(drop_path),
        }
    }
}

/// A convolution whose windows lie side by side.
fn patches(from: usize, to: usize, side: usize, params: &ParamBuilder) -> Conv2d {
    let conv = Conv2dConfig::new(from, to, side).stride(side).bias();
    conv.weights(WEIGHTS).init(params)
}

/// torchvision's names. Its layer scale has two more dimensions, of length one.
fn torchvision_names() -> OtherNames {
    OtherNames {
        reshapes: &["stages."],
        ..OtherNames::new(
            "torchvision's ConvNeXt",
            &[
                ("stem", "features.0"),
                ("stages.*.downsample", "features.*x2"),
                ("stages.*.blocks.*.conv_dw", "features.*x2+1.*.block.0"),
                ("stages.*.blocks.*.norm", "features.*x2+1.*.block.2"),
                ("stages.*.blocks.*.mlp.fc1", "features.*x2+1.*.block.3"),
                ("stages.*.blocks.*.mlp.fc2", "features.*x2+1.*.block.5"),
                ("stages.*.blocks.*.gamma", "features.*x2+1.*.layer_scale"),
                ("head.norm", "classifier.0"),
                ("head.fc", "classifier.2"),
            ],
        )
    }
}

/// The names of the authors' own files, where every layer of an MLP is affine.
fn facebook_names() -> OtherNames {
    OtherNames {
        reshapes: &["stages."],
        ..OtherNames::new(
            "the authors' ConvNeXt",
            &[
                ("stem", "downsample_layers.0"),
                ("stages.*.downsample", "downsample_layers.*"),
                ("stages.*.blocks.*.conv_dw", "stages.*.*.dwconv"),
                ("stages.*.blocks.*.mlp.fc1", "stages.*.*.pwconv1"),
                ("stages.*.blocks.*.mlp.fc2", "stages.*.*.pwconv2"),
                ("stages.*.blocks.*.mlp.grn.weight", "stages.*.*.grn.gamma"),
                ("stages.*.blocks.*.mlp.grn.bias", "stages.*.*.grn.beta"),
                ("stages.*.blocks.*", "stages.*.*"),
                ("head.norm", "norm"),
                ("head.fc", "head"),
            ],
        )
    }
}

#[derive(Module, Debug)]
struct ConvNeXt {
    stem: Stem,
    stages: Stages<Stage>,
    pre_logits: PreLogits,
}

impl Backbone for ConvNeXt {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let pooled = pooling.map(features.into_map()?);
        Ok(self.pre_logits.norm.forward_map(pooled).flatten(1, 3))
    }
}

#[derive(Module, Debug)]
struct PreLogits {
    norm: LayerNorm,
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

#[derive(Module, Debug)]
struct Stage {
    downsample: Option<Downsample>,
    blocks: Vec<Block>,
}

impl MapLayer for Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.blocks.forward(match &self.downsample {
            Some(downsample) => downsample.conv.forward(downsample.norm.forward_map(x)),
            None => x,
        })
    }
}

#[derive(Module, Debug)]
struct Downsample {
    norm: LayerNorm,
    conv: Conv2d,
}

#[derive(Module, Debug)]
struct Block {
    conv_dw: Conv2d,
    norm: LayerNorm,
    mlp: Mlp,
    scale: Option<LayerScale>,
    drop_path: DropPath,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.drop_path.residual(
            x,
            Act::None,
            |x| x,
            |x, end| {
                let x = self.norm.forward_map(self.conv_dw.forward(x));
                let x = self.mlp.forward(x);
                end.apply(match &self.scale {
                    Some(scale) => scale.forward_map(x),
                    None => x,
                })
            },
        )
    }
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Pointwise,
    grn: Option<GlobalResponseNorm>,
    fc2: Pointwise,
}

impl Mlp {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let hidden = self.fc1.forward(x, Act::Gelu);
        let hidden = match &self.grn {
            Some(grn) => grn.forward(hidden),
            None => hidden,
        };
        self.fc2.forward(hidden, Act::None)
    }
}
