//! AlexNet: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks",
//! NeurIPS 2012, in the form of "One weird trick for parallelizing convolutional neural networks",
//! 2014, <https://arxiv.org/abs/1404.5997>.
//!
//! Five convolutions, three poolings, and an MLP, which holds most of the parameters. The structure is
//! torchvision's `alexnet.py`; timm has no such network. Parameters are those of a model for 1000
//! classes, the accuracy is the one torchvision publishes at 224 pixels.
//!
//! | variant | parameters | ImageNet top-1 (`tv_in1k`) |
//! |---|---|---|
//! | `alexnet` | 61 100 840 | 56.5 % |

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::model::{
    Backbone, Description, Features, InputSize, MapLayer, Pool, Pooling, Stages, key_table,
};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, Dropout, Epilogue, Linear, LinearConfig, ParamBuilder,
    adaptive_avg_pool2d, max_pool2d,
};

variants! {
    family: AlexNet, manifest: "alexnet.toml", paper: "https://arxiv.org/abs/1404.5997",
    pool: Pool::Avg, library: "torchvision";
    alexnet (224): "5 convolutions and an MLP" => Config;
}

/// Features within the MLP.
const HIDDEN: usize = 4096;
/// A side of the map that the MLP gets.
const SIDE: usize = 6;

/// The shape of an AlexNet; there is one.
#[derive(Debug, Clone)]
struct Config;

impl Config {
    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<AlexNet> {
        options.check_no_drop_path()?;
        let stem = options.stem.convolutions(&[4], true)?;
        let pools = stem.pools() != Some(false);
        // The positions behind its convolution that the poolings make one of, less one.
        let steps = if pools { 14 } else { 6 };
        let conv = |from, to, kernel: usize| {
            Conv2dConfig::new(from, to, kernel)
                .padding(kernel / 2)
                .bias()
        };
        let first = Conv2dConfig::new(options.in_channels, 64, 11);
        let first = first.stride(stem.stride()).padding(2).bias();
        let layer = |config: Conv2dConfig, pools| Layer {
            conv: config.init(params),
            pools,
        };
        let stages = Stages::new(vec![
            vec![layer(first, pools)],
            vec![layer(conv(64, 192, 5), true)],
            vec![
                layer(conv(192, 384, 3), false),
                layer(conv(384, 256, 3), false),
                layer(conv(256, 256, 3), true),
            ],
        ]);
        let description = Description {
            has_pre_logits: true,
            head_features: Some(HIDDEN),
            // What the strides leave of so many pixels is one: of 63 upstream.
            input_size: InputSize::AtLeast(steps * stem.stride() + 7),
            stem: Some(stem),
            // The MLP takes the means over a grid.
            pools: &[Pool::Avg],
            classifier: "classifier.6",
            key_table: key_table![
                "stage1.0.conv" => "features.0", "stage2.0.conv" => "features.3",
                "stage3.0.conv" => "features.6", "stage3.1.conv" => "features.8",
                "stage3.2.conv" => "features.10",
                "pre_logits.fc1" => "classifier.1", "pre_logits.fc2" => "classifier.4",
            ],
            ..Description::new(stages.groups(), options.in_channels, 256, "stage1.0.conv")
        };
        let pre_logits = PreLogits {
            dropout: Dropout::new(options.drop_rate),
            fc1: LinearConfig::new(256 * SIDE * SIDE, HIDDEN).init(params),
            fc2: LinearConfig::new(HIDDEN, HIDDEN).init(params),
        };
        Ok((AlexNet { stages, pre_logits }, description))
    }
}

#[derive(Module, Debug)]
struct AlexNet {
    stages: Stages<Vec<Layer>>,
    pre_logits: PreLogits,
}

impl Backbone for AlexNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_stage(index, x)
    }

    fn pre_logits(&self, features: Features, _pooling: Pooling) -> Result<Tensor<2>> {
        let map = adaptive_avg_pool2d(features.into_map()?, [SIDE; 2]);
        Ok(self.pre_logits.forward(map.flatten(1, 3)))
    }
}

/// A convolution, and behind the last one of a stage a pooling. The first stage is the stem, too.
#[derive(Module, Debug)]
struct Layer {
    conv: Conv2d,
    pools: bool,
}

impl MapLayer for Layer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward_with(x, Epilogue::act(Act::Relu));
        if self.pools {
            max_pool2d(x, 3, 2, 0)
        } else {
            x
        }
    }
}

/// The MLP. torchvision drops before both of its layers; the head drops before the classifier too.
#[derive(Module, Debug)]
struct PreLogits {
    dropout: Dropout,
    fc1: Linear,
    fc2: Linear,
}

impl PreLogits {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        [&self.fc1, &self.fc2].into_iter().fold(x, |x, layer| {
            layer.forward_with(self.dropout.forward(x), Epilogue::act(Act::Relu))
        })
    }
}
