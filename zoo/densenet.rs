//! DenseNet: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017,
//! <https://arxiv.org/abs/1608.06993>.
//!
//! Every layer of a stage sees the outputs of all layers before it, and adds a few channels. Norms and
//! activations stand before the convolutions. `densenetblur121d` has a deep stem, and blurs the map
//! where the stem makes it smaller (Zhang, "Making Convolutional Networks Shift-Invariant Again",
//! 2019, <https://arxiv.org/abs/1904.11486>). The structure is timm's `densenet.py`, which is
//! torchvision's; torchvision's files have older names, which are read too. Parameters are those of a
//! model for 1000 classes, accuracies timm's at 224 pixels.
//!
//! | variant | layers | growth | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `densenet121` | 6 12 24 16 | 32 | 7 978 856 | 75.6 % (`ra_in1k`) |
//! | `densenet161` | 6 12 36 24 | 48 | 28 681 000 | 77.4 % (`tv_in1k`) |
//! | `densenet169` | 6 12 32 32 | 32 | 14 149 480 | 75.9 % (`tv_in1k`) |
//! | `densenet201` | 6 12 48 32 | 32 | 20 013 928 | 77.3 % (`tv_in1k`) |
//! | `densenetblur121d` | 6 12 24 16 | 32 | 7 998 088 | 76.6 % (`ra_in1k`) |

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::{FanMode, Init, Nonlinearity};
use crate::model::{
    Backbone, Description, Features, Group, InputSize, KeyTable, MapLayer, OtherNames, Pool,
    Stages, StemShape, key_table,
};
use crate::nn::{
    Act, BatchNorm2d, BatchNorm2dConfig, Conv2d, Conv2dConfig, ConvNorm, Epilogue, ParamBuilder,
    blur_pool2d, max_pool2d, padded_avg_pool2d,
};

variants! {
    family: DenseNet, manifest: "densenet.toml", paper: "https://arxiv.org/abs/1608.06993",
    pool: Pool::Avg;
    densenet121 (224): "58 layers that grow by 32" => Config::new([6, 12, 24, 16], 32);
    densenet161 (224): "78 layers that grow by 48" => Config::new([6, 12, 36, 24], 48);
    densenet169 (224): "82 layers that grow by 32" => Config::new([6, 12, 32, 32], 32);
    densenet201 (224): "98 layers that grow by 32" => Config::new([6, 12, 48, 32], 32);
    densenetblur121d (224): "58 layers that grow by 32, deep stem with a blur"
        => Config { is_deep: true, ..Config::new([6, 12, 24, 16], 32) };
}

/// Width of a layer's first convolution, as a multiple of what it adds.
const BOTTLENECK: usize = 4;

/// N(0, 2 / fan_in).
const WEIGHTS: Init = Init::KaimingNormal {
    mode: FanMode::FanIn,
    nonlinearity: Nonlinearity::LeakyRelu(0.0),
};

/// PyTorch's values for the weights, and zeros for the biases.
const CLASSIFIER: Init = Init::KaimingUniform {
    mode: FanMode::FanIn,
    nonlinearity: Nonlinearity::LeakyRelu(2.236_067_977_499_79),
};

/// The shape of a DenseNet.
#[derive(Debug, Clone)]
struct Config {
    /// Layers of each stage.
    depths: [usize; 4],
    /// Channels that a layer adds.
    growth: usize,
    /// Whether three convolutions and a blur are the stem.
    is_deep: bool,
}

impl Config {
    fn new(depths: [usize; 4], growth: usize) -> Self {
        Self {
            depths,
            growth,
            is_deep: false,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<DenseNet> {
        options.check_no_drop_path()?;
        let shape = options.stem.convolutions(&[2], true)?;
        let stem = self.stem(options.in_channels, &shape, params);
        let mut channels = 2 * self.growth;
        let mut stages = Vec::new();
        for (index, depth) in self.depths.into_iter().enumerate() {
            let transition = (index > 0).then(|| Transition {
                norm: BatchNorm2dConfig::new(channels).init(params),
                conv: conv(channels, channels / 2, 1).init(params),
            });
            if transition.is_some() {
                channels /= 2;
            }
            let layers = (0..depth).map(|layer| {
                let from = channels + layer * self.growth;
                let inner = BOTTLENECK * self.growth;
                Layer {
                    norm1: BatchNorm2dConfig::new(from).init(params),
                    conv1: ConvNorm::new(conv(from, inner, 1), Act::Relu, params),
                    conv2: conv(inner, self.growth, 3).init(params),
                }
            });
            let layers = layers.collect();
            channels += depth * self.growth;
            stages.push(Stage { transition, layers });
        }
        let stages = Stages::new(stages);
        let mut groups = stages.groups_with_stem();
        groups.push(Group::named("norm"));
        let first = if self.is_deep {
            "stem.conv0"
        } else {
            "stem.conv"
        };
        let description = Description {
            // The stem and the transitions divide the sides by 32.
            input_size: InputSize::AtLeast(shape.scale(29)),
            stem: Some(shape),
            classifier: "classifier",
            classifier_init: CLASSIFIER,
            key_table: self.key_table(),
            other_names: vec![torchvision_names()],
            layer_of: Some(match self.depths[2] {
                24 => layer_of::<24>,
                32 => layer_of::<32>,
                36 => layer_of::<36>,
                _ => layer_of::<48>,
            }),
            ..Description::new(groups, options.in_channels, channels, first)
        };
        let backbone = DenseNet {
            stem,
            stages,
            norm: BatchNorm2dConfig::new(channels).init(params),
        };
        Ok((backbone, description))
    }

    fn stem(&self, in_channels: usize, shape: &StemShape, params: &ParamBuilder) -> Stem {
        let layer = |config| ConvNorm::new(config, Act::Relu, params);
        let (narrow, wide) = (self.growth, 2 * self.growth);
        let (stride, pools) = (shape.stride(), shape.pools() != Some(false));
        if self.is_deep {
            Stem {
                conv0: Some(layer(conv(in_channels, narrow, 3).stride(stride))),
                conv1: Some(layer(conv(narrow, narrow, 3))),
                conv: layer(conv(narrow, wide, 3)),
                pools,
                blurs: true,
            }
        } else {
            Stem {
                conv0: None,
                conv1: None,
                conv: layer(conv(in_channels, wide, 7).stride(stride)),
                pools,
                blurs: false,
            }
        }
    }

    fn key_table(&self) -> KeyTable {
        let mut table = key_table![
            "stage*.layers.*.norm1" => "features.denseblock*.denselayer*+1.norm1",
            "stage*.layers.*.conv1" => "features.denseblock*.denselayer*+1.conv1",
            "stage*.layers.*.bn1" => "features.denseblock*.denselayer*+1.norm2",
            "stage*.layers.*.conv2" => "features.denseblock*.denselayer*+1.conv2",
            "stage*.transition" => "features.transition*-1", "norm" => "features.norm5",
        ];
        let last = if self.is_deep { 2 } else { 0 };
        for (ours, number) in [("0", 0), ("1", 1), ("", last)] {
            table.push(
                &format!("stem.conv{ours}"),
                &format!("features.conv{number}"),
            );
            table.push(&format!("stem.bn{ours}"), &format!("features.norm{number}"));
        }
        table
    }
}

/// A convolution that keeps the size at stride 1.
fn conv(from: usize, to: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig::new(from, to, kernel)
        .padding(kernel / 2)
        .weights(WEIGHTS)
}

/// timm counts the layers, and a transition to the last one before it: the sixth, the twelfth, or in the
/// third stage number `THIRD`.
fn layer_of<const THIRD: usize>(name: &str) -> Option<usize> {
    let mut parts = name.strip_prefix("features.")?.split('.');
    let part = parts.next()?;
    let (stage, layer) = if let Some(stage) = part.strip_prefix("denseblock") {
        let layer = parts.next()?.strip_prefix("denselayer")?;
        (stage.parse().ok()?, layer.parse().ok()?)
    } else if let Some(stage) = part.strip_prefix("transition") {
        let stage: usize = stage.parse().ok()?;
        (stage, *[6, 12, THIRD].get(stage.checked_sub(1)?)?)
    } else if part == "norm5" {
        return None;
    } else {
        (0, 0)
    };
    Some(100 * stage + layer)
}

/// The names in torchvision's files, which its own code renames.
fn torchvision_names() -> OtherNames {
    let table = key_table![
        "features.denseblock*.denselayer*.norm1" => "features.denseblock*.denselayer*.norm.1",
        "features.denseblock*.denselayer*.conv1" => "features.denseblock*.denselayer*.conv.1",
        "features.denseblock*.denselayer*.norm2" => "features.denseblock*.denselayer*.norm.2",
        "features.denseblock*.denselayer*.conv2" => "features.denseblock*.denselayer*.conv.2",
    ];
    OtherNames::new("torchvision's files of DenseNets", table)
}

/// A norm that is activated.
fn norm_act(norm: &BatchNorm2d, x: Tensor<4>) -> Tensor<4> {
    norm.forward_with(x, Epilogue::act(Act::Relu))
}

#[derive(Module, Debug)]
struct DenseNet {
    stem: Stem,
    stages: Stages<Stage>,
    norm: BatchNorm2d,
}

impl Backbone for DenseNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        match index {
            5 => Ok(Features::Map(norm_act(&self.norm, x.into_map()?))),
            _ => self.stages.forward_group(&self.stem, index, x),
        }
    }
}

#[derive(Module, Debug)]
struct Stem {
    conv0: Option<ConvNorm>,
    conv1: Option<ConvNorm>,
    conv: ConvNorm,
    pools: bool,
    blurs: bool,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let deep = [&self.conv0, &self.conv1].into_iter().flatten();
        let x = deep.fold(x, |x, conv| conv.forward(x));
        let x = self.conv.forward(x);
        match (self.pools, self.blurs) {
            (false, _) => x,
            (true, true) => blur_pool2d(max_pool2d(x, 3, 1, 1)),
            (true, false) => max_pool2d(x, 3, 2, 1),
        }
    }
}

#[derive(Module, Debug)]
struct Stage {
    transition: Option<Transition>,
    layers: Vec<Layer>,
}

impl MapLayer for Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.transition.iter().fold(x, |x, it| it.forward(x));
        self.layers.iter().fold(x, |x, layer| {
            let new = layer.forward(x.clone());
            Tensor::cat(vec![x, new], 1)
        })
    }
}

/// What a layer adds to the channels.
#[derive(Module, Debug)]
struct Layer {
    norm1: BatchNorm2d,
    conv1: ConvNorm,
    conv2: Conv2d,
}

impl MapLayer for Layer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let inner = self.conv1.forward(norm_act(&self.norm1, x));
        self.conv2.forward(inner)
    }
}

/// Half the channels and half the sides.
#[derive(Module, Debug)]
struct Transition {
    norm: BatchNorm2d,
    conv: Conv2d,
}

impl MapLayer for Transition {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward(norm_act(&self.norm, x));
        padded_avg_pool2d(x, 2, 2, 0)
    }
}
