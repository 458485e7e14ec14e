//! VGG: Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
//! ICLR 2015, <https://arxiv.org/abs/1409.1556>.
//!
//! Convolutions of 3x3 in five stages, each ended by a max pooling, and an MLP of two layers before
//! the classifier, which holds most of the parameters. The structure is timm's `vgg.py`, which says
//! the MLP as convolutions; torchvision's files, where it is affine, are read too. Parameters are
//! those of a model for 1000 classes; accuracies are those timm publishes at 224 pixels.
//!
//! | variant | convolutions | parameters | ImageNet top-1 (`tv_in1k`) |
//! |---|---|---|---|
//! | `vgg11` | 1 1 2 2 2 | 132 863 336 | 69.0 % |
//! | `vgg13` | 2 2 2 2 2 | 133 047 848 | 70.0 % |
//! | `vgg16` | 2 2 3 3 3 | 138 357 544 | 71.6 % |
//! | `vgg19` | 2 2 4 4 4 | 143 667 240 | 72.4 % |
//! | `vgg11_bn` | 1 1 2 2 2 | 132 868 840 | 70.4 % |
//! | `vgg13_bn` | 2 2 2 2 2 | 133 053 736 | 71.6 % |
//! | `vgg16_bn` | 2 2 3 3 3 | 138 365 992 | 73.4 % |
//! | `vgg19_bn` | 2 2 4 4 4 | 143 678 248 | 74.2 % |

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
    Act, Conv2d, Conv2dConfig, ConvNorm, Dropout, Epilogue, ParamBuilder, adaptive_avg_pool2d,
    max_pool2d,
};

variants! {
    family: Vgg, manifest: "vgg.toml", paper: "https://arxiv.org/abs/1409.1556", pool: Pool::Avg;
    vgg11 (224): "8 convolutions" => Config::new([1, 1, 2, 2, 2]);
    vgg13 (224): "10 convolutions" => Config::new([2, 2, 2, 2, 2]);
    vgg16 (224): "13 convolutions" => Config::new([2, 2, 3, 3, 3]);
    vgg19 (224): "16 convolutions" => Config::new([2, 2, 4, 4, 4]);
    vgg11_bn (224): "8 convolutions with batch normalisation"
        => Config::new([1, 1, 2, 2, 2]).batch_norm();
    vgg13_bn (224): "10 convolutions with batch normalisation"
        => Config::new([2, 2, 2, 2, 2]).batch_norm();
    vgg16_bn (224): "13 convolutions with batch normalisation"
        => Config::new([2, 2, 3, 3, 3]).batch_norm();
    vgg19_bn (224): "16 convolutions with batch normalisation"
        => Config::new([2, 2, 4, 4, 4]).batch_norm();
}

/// Channels of each stage.
const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];
/// Channels within the MLP.
const HIDDEN: usize = 4096;
/// A side of the map that the MLP sees at a time.
const WINDOW: usize = 7;

/// The shape of a VGG.
#[derive(Debug, Clone)]
struct Config {
    /// Convolutions of each stage.
    depths: [usize; 5],
    batch_norm: bool,
}

impl Config {
    fn new(depths: [usize; 5]) -> Self {
        Self {
            depths,
            batch_norm: false,
        }
    }

    fn batch_norm(mut self) -> Self {
        self.batch_norm = true;
        self
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<Vgg> {
        options.check_no_drop_path()?;
        let mut table = key_table![];
        let mut channels = options.in_channels;
        // Upstream counts every layer, also those without parameters.
        let mut number = 0;
        let mut stages = Vec::new();
        for (stage, (depth, width)) in self.depths.into_iter().zip(WIDTHS).enumerate() {
            let mut layers = Vec::new();
            for layer in 0..depth {
                let config = Conv2dConfig::new(channels, width, 3).padding(1).bias();
                let config = config.weights(Init::kaiming_normal_fan_out());
                let ours = format!("stage{}.{layer}", stage + 1);
                table.push(&format!("{ours}.conv"), &format!("features.{number}"));
                let conv = if self.batch_norm {
                    number += 1;
                    table.push(&format!("{ours}.bn"), &format!("features.{number}"));
                    ConvNorm::new(config, Act::Relu, params)
                } else {
                    ConvNorm::without_norm(config, Act::Relu, params)
                };
                number += 2;
                layers.push(Layer {
                    conv,
                    is_last: layer + 1 == depth,
                });
                channels = width;
            }
            number += 1;
            stages.push(layers);
        }
        let stages = Stages::new(stages);
        let groups = stages.groups();
        let description = Description {
            has_pre_logits: true,
            head_features: Some(HIDDEN * options.pool.multiplier()),
            // Five poolings halve the sides.
            input_size: InputSize::AtLeast(32),
            classifier: "head.fc",
            classifier_init: Init::normal(0.01),
            key_table: table,
            other_names: vec![torchvision_names()],
            layer_of: Some(layer_of),
            ..Description::new(groups, options.in_channels, channels, "stage1.0.conv")
        };
        let fc = |from, kernel| {
            let conv = Conv2dConfig::new(from, HIDDEN, kernel).bias();
            conv.weights(Init::kaiming_normal_fan_out()).init(params)
        };
        let pre_logits = PreLogits {
            fc1: fc(channels, WINDOW),
            fc2: fc(HIDDEN, 1),
            dropout: Dropout::new(options.drop_rate),
        };
        Ok((Vgg { stages, pre_logits }, description))
    }
}

/// timm counts each numbered layer of `features`.
fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("features.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// torchvision's names, whose MLP is affine.
fn torchvision_names() -> OtherNames {
    let table = key_table![
        "pre_logits.fc1" => "classifier.0", "pre_logits.fc2" => "classifier.3",
        "head.fc" => "classifier.6",
    ];
    OtherNames::new("torchvision's VGG", table).reshapes(&["pre_logits."])
}

#[derive(Module, Debug)]
struct Vgg {
    stages: Stages<Vec<Layer>>,
    pre_logits: PreLogits,
}

impl Backbone for Vgg {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_stage(index, x)
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let map = self.pre_logits.forward(features.into_map()?);
        Ok(pooling.vector(Features::Map(map)))
    }
}

/// A convolution, and behind the last one of a stage a pooling.
#[derive(Module, Debug)]
struct Layer {
    conv: ConvNorm,
    is_last: bool,
}

impl MapLayer for Layer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward(x);
        if self.is_last {
            max_pool2d(x, 2, 2, 0)
        } else {
            x
        }
    }
}

/// The MLP, at every place of the map where its window fits.
#[derive(Module, Debug)]
struct PreLogits {
    fc1: Conv2d,
    fc2: Conv2d,
    dropout: Dropout,
}

impl PreLogits {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let x = if height < WINDOW || width < WINDOW {
            adaptive_avg_pool2d(x, [height.max(WINDOW), width.max(WINDOW)])
        } else {
            x
        };
        let relu = Epilogue::act(Act::Relu);
        let hidden = self.dropout.forward(self.fc1.forward_with(x, relu));
        self.fc2.forward_with(hidden, relu)
    }
}
