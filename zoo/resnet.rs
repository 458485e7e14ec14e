//! ResNet: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
//! <https://arxiv.org/abs/1512.03385>.
//!
//! With its relatives: ResNeXt (Xie et al., 2017, <https://arxiv.org/abs/1611.05431>), Wide ResNet
//! (Zagoruyko & Komodakis, 2016, <https://arxiv.org/abs/1605.07146>), and the `d` variants with a
//! deep stem and an average-pooled shortcut (He et al., "Bag of Tricks", 2019,
//! <https://arxiv.org/abs/1812.01187>), of which `c` and `s` have the stem alone. `aa` and `blur`
//! smooth before they stride (Zhang, 2019, <https://arxiv.org/abs/1904.11486>), `gn` normalises by
//! groups. The structure is timm's `resnet.py`; for the variants that torchvision has, the two are
//! the same. Those with an attention over channels are in `resnet_attention.rs`. Parameters are those
//! of a model for 1000 classes; accuracies are those timm publishes, at 224 pixels unless said.
//!
//! | variant | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `resnet18` | 2 2 2 2 | 11 689 512 | 71.5 % (`a1_in1k`) |
//! | `resnet34` | 3 4 6 3 | 21 797 672 | 76.4 % (`a1_in1k`) |
//! | `resnet50` | 3 4 6 3 | 25 557 032 | 80.4 % (`a1_in1k`) |
//! | `resnet101` | 3 4 23 3 | 44 549 160 | 82.0 % (`a1h_in1k`) |
//! | `resnet152` | 3 8 36 3 | 60 192 808 | 82.8 % (`a1h_in1k`) |
//! | `resnext50_32x4d` | 3 4 6 3 | 25 028 904 | 81.1 % (`a1h_in1k`) |
//! | `resnext101_32x8d` | 3 4 23 3 | 88 791 336 | |
//! | `wide_resnet50_2` | 3 4 6 3 | 68 883 240 | 81.5 % (`racm_in1k`) |
//! | `wide_resnet101_2` | 3 4 23 3 | 126 886 696 | |
//! | `resnet10t` | 1 1 1 1 | 5 435 488 | 68.4 % (`c3_in1k`) |
//! | `resnet14t` | 1 1 1 1 | 10 081 632 | 72.2 % (`c3_in1k`) |
//! | `resnet18d` | 2 2 2 2 | 11 708 744 | 72.3 % (`ra2_in1k`) |
//! | `resnet34d` | 3 4 6 3 | 21 816 904 | 77.1 % (`ra2_in1k`) |
//! | `resnet50d` | 3 4 6 3 | 25 576 264 | 80.5 % (`ra2_in1k`) |
//! | `resnet26` | 2 2 2 2 | 15 995 176 | 75.3 % (`bt_in1k`) |
//! | `resnet26d` | 2 2 2 2 | 16 014 408 | 76.7 % (`bt_in1k`) |
//! | `resnet26t` | 2 2 2 2 | 16 011 872 | 77.9 % (`ra2_in1k`, 256 px) |
//! | `resnet50t` | 3 4 6 3 | 25 573 728 | |
//! | `resnet50c` | 3 4 6 3 | 25 576 264 | 78.0 % (`gluon_in1k`) |
//! | `resnet50s` | 3 4 6 3 | 25 680 808 | 78.7 % (`gluon_in1k`) |
//! | `resnet50_gn` | 3 4 6 3 | 25 557 032 | 80.1 % (`a1h_in1k`) |
//! | `resnetaa50` | 3 4 6 3 | 25 557 032 | 80.6 % (`a1h_in1k`) |
//! | `resnetaa50d` | 3 4 6 3 | 25 576 264 | 81.8 % (`sw_in12k_ft_in1k`) |
//! | `resnetblur18` | 2 2 2 2 | 11 689 512 | |
//! | `resnetblur50` | 3 4 6 3 | 25 557 032 | 79.3 % (`bt_in1k`) |
//! | `test_resnet` | 1 1 1 1 | 469 688 | 41.6 % (`r160_in1k`, 160 px) |

use burn::module::Module;

use super::residual::Kind::{Basic, Bottleneck};
use super::residual::{Block, Config, Smoothing, Stem};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::model::{Backbone, Features, KeyTable, OtherNames, Pool, Stages, key_table};
use crate::nn::ParamBuilder;

variants! {
    family: ResNet, manifest: "resnet.toml", paper: "https://arxiv.org/abs/1512.03385",
    pool: Pool::Avg;
    resnet18 (224): "two convolutions a block" => Config::new(Basic, [2, 2, 2, 2]);
    resnet34 (224): "two convolutions a block" => Config::new(Basic, [3, 4, 6, 3]);
    resnet50 (224): "bottleneck blocks" => Config::new(Bottleneck, [3, 4, 6, 3]);
    resnet101 (224): "bottleneck blocks" => Config::new(Bottleneck, [3, 4, 23, 3]);
    resnet152 (224): "bottleneck blocks" => Config::new(Bottleneck, [3, 8, 36, 3]);
    resnext50_32x4d (224): "32 groups of width 4"
        => Config::new(Bottleneck, [3, 4, 6, 3]).groups(32, 4);
    resnext101_32x8d (224): "32 groups of width 8"
        => Config::new(Bottleneck, [3, 4, 23, 3]).groups(32, 8);
    wide_resnet50_2 (224): "twice as wide" => Config::new(Bottleneck, [3, 4, 6, 3]).groups(1, 128);
    wide_resnet101_2 (224): "twice as wide"
        => Config::new(Bottleneck, [3, 4, 23, 3]).groups(1, 128);
    resnet10t (176): "tiered stem" => Config::new(Basic, [1, 1, 1, 1]).deep([24, 32]);
    resnet14t (176): "tiered stem" => Config::new(Bottleneck, [1, 1, 1, 1]).deep([24, 32]);
    resnet18d (224): "deep stem" => Config::new(Basic, [2, 2, 2, 2]).deep([32, 32]);
    resnet34d (224): "deep stem" => Config::new(Basic, [3, 4, 6, 3]).deep([32, 32]);
    resnet50d (224): "deep stem" => Config::new(Bottleneck, [3, 4, 6, 3]).deep([32, 32]);
    resnet26 (224): "bottleneck blocks" => Config::new(Bottleneck, [2, 2, 2, 2]);
    resnet26d (224): "deep stem" => Config::new(Bottleneck, [2, 2, 2, 2]).deep([32, 32]);
    resnet26t (256): "tiered stem" => Config::new(Bottleneck, [2, 2, 2, 2]).deep([24, 32]);
    resnet50t (224): "tiered stem" => Config::new(Bottleneck, [3, 4, 6, 3]).deep([24, 32]);
    resnet50c (224): "deep stem, plain shortcut"
        => Config { stem: Some([32, 32]), ..Config::new(Bottleneck, [3, 4, 6, 3]) };
    resnet50s (224): "wide deep stem, plain shortcut"
        => Config { stem: Some([64, 64]), ..Config::new(Bottleneck, [3, 4, 6, 3]) };
    resnet50_gn (224): "group normalisation"
        => Config { norm_groups: Some(32), ..Config::new(Bottleneck, [3, 4, 6, 3]) };
    resnetaa50 (224): "averages before it strides"
        => Config::new(Bottleneck, [3, 4, 6, 3]).smooth(Smoothing::Average);
    resnetaa50d (224): "deep stem, averages before it strides"
        => Config::new(Bottleneck, [3, 4, 6, 3]).deep([32, 32]).smooth(Smoothing::Average);
    resnetblur18 (224): "blurs before it strides"
        => Config::new(Basic, [2, 2, 2, 2]).smooth(Smoothing::Blur);
    resnetblur50 (224): "blurs before it strides"
        => Config::new(Bottleneck, [3, 4, 6, 3]).smooth(Smoothing::Blur);
    test_resnet (160): "a tiny one of mixed blocks, for tests"
        => Config {
            stages: [(Basic, 32), (Basic, 48), (Bottleneck, 48), (Basic, 96)],
            ..Config::new(Basic, [1, 1, 1, 1]).deep([16, 16])
        };
}

impl Config {
    pub fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<ResNet> {
        let stages = self.stages(options.drop_path_rate, |place| self.block(&place, params));
        let mut description = self.describe(options, &stages, KeyTable::new(&[]))?;
        description
            .other_names
            .extend([fastai_names(), transformers_names()]);
        let stem = self.stem(options, params)?;
        Ok((ResNet { stem, stages }, description))
    }
}

/// The children of a `Sequential` of torchvision's model, which is the body of a fastai `Learner`.
/// After the first convolution and its normalisation come an activation and a pooling.
fn fastai_names() -> OtherNames {
    let table = key_table![
        "conv1" => "0", "bn1" => "1", "maxpool" => "3",
        "layer1" => "4", "layer2" => "5", "layer3" => "6", "layer4" => "7",
    ];
    OtherNames::new("the body of a fastai Learner", table)
}

/// The names of transformers' `ResNetForImageClassification`.
fn transformers_names() -> OtherNames {
    let table = key_table![
        "conv1" => "resnet.embedder.embedder.convolution",
        "bn1" => "resnet.embedder.embedder.normalization",
        "layer*.*.downsample.0" => "resnet.encoder.stages.*-1.layers.*.shortcut.convolution",
        "layer*.*.downsample.1" => "resnet.encoder.stages.*-1.layers.*.shortcut.normalization",
        "layer*.*.conv*" => "resnet.encoder.stages.*-1.layers.*.layer.*-1.convolution",
        "layer*.*.bn*" => "resnet.encoder.stages.*-1.layers.*.layer.*-1.normalization",
        "fc" => "classifier.1",
    ];
    OtherNames::new("transformers' ResNet", table)
}

/// A residual network: a stem and four stages, each half the size of the one before.
#[derive(Module, Debug)]
pub(super) struct ResNet {
    stem: Stem,
    stages: Stages<Vec<Block>>,
}

impl Backbone for ResNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}
