//! ResNet: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
//! <https://arxiv.org/abs/1512.03385>.
//!
//! With its relatives: ResNeXt (Xie et al., 2017, <https://arxiv.org/abs/1611.05431>), Wide ResNet
//! (Zagoruyko & Komodakis, 2016, <https://arxiv.org/abs/1605.07146>), and the `d` variants with a
//! deep stem and an average-pooled shortcut (He et al., "Bag of Tricks", 2019,
//! <https://arxiv.org/abs/1812.01187>). The structure is timm's `resnet.py`; for the variants that
//! torchvision has, the two are the same. Parameters are those of a model for 1000
//! classes; accuracies are those timm publishes at 224 pixels.
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
//! | `resnet34d` | 3 4 6 3 | 21 816 904 | |
//! | `resnet50d` | 3 4 6 3 | 25 576 264 | |
//! | `test_resnet` | 1 1 1 1 | 469 688 | 41.6 % (`r160_in1k`, 160 px) |

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};

use super::BackboneOptions;
use crate::error::Result;
use crate::init::Init;
use crate::model::{Backbone, Features, FirstConv, Group, InputSize, KeyTable, OtherNames, Pool};
use crate::nn::{
    BatchNorm2d, Conv2d, Conv2dConfig, DropPath, avg_pool2d, conv_norm, drop_path_rates, fork,
    max_pool2d,
};

use BlockKind::{Basic, Bottleneck};

variants! {
    family: ResNet, paper: "https://arxiv.org/abs/1512.03385", pool: Pool::Avg;
    resnet18 (224): "two convolutions a block" => ResNetConfig::new(Basic, [2, 2, 2, 2]);
    resnet34 (224): "two convolutions a block" => ResNetConfig::new(Basic, [3, 4, 6, 3]);
    resnet50 (224): "bottleneck blocks" => ResNetConfig::new(Bottleneck, [3, 4, 6, 3]);
    resnet101 (224): "bottleneck blocks" => ResNetConfig::new(Bottleneck, [3, 4, 23, 3]);
    resnet152 (224): "bottleneck blocks" => ResNetConfig::new(Bottleneck, [3, 8, 36, 3]);
    resnext50_32x4d (224): "32 groups of width 4"
        => ResNetConfig::new(Bottleneck, [3, 4, 6, 3]).groups(32, 4);
    resnext101_32x8d (224): "32 groups of width 8"
        => ResNetConfig::new(Bottleneck, [3, 4, 23, 3]).groups(32, 8);
    wide_resnet50_2 (224): "bottlenecks twice as wide"
        => ResNetConfig::new(Bottleneck, [3, 4, 6, 3]).groups(1, 128);
    wide_resnet101_2 (224): "bottlenecks twice as wide"
        => ResNetConfig::new(Bottleneck, [3, 4, 23, 3]).groups(1, 128);
    resnet10t (176): "tiered deep stem, pooled shortcut"
        => ResNetConfig::new(Basic, [1, 1, 1, 1]).deep([24, 32], 64);
    resnet14t (176): "tiered deep stem, pooled shortcut"
        => ResNetConfig::new(Bottleneck, [1, 1, 1, 1]).deep([24, 32], 64);
    resnet18d (224): "deep stem, pooled shortcut"
        => ResNetConfig::new(Basic, [2, 2, 2, 2]).deep([32, 32], 64);
    resnet34d (224): "deep stem, pooled shortcut"
        => ResNetConfig::new(Basic, [3, 4, 6, 3]).deep([32, 32], 64);
    resnet50d (224): "deep stem, pooled shortcut"
        => ResNetConfig::new(Bottleneck, [3, 4, 6, 3]).deep([32, 32], 64);
    test_resnet (160): "a tiny one of mixed blocks, for tests"
        => ResNetConfig::new(Basic, [1, 1, 1, 1])
            .deep([16, 16], 32)
            .stages([(Basic, 32), (Basic, 48), (Bottleneck, 48), (Basic, 96)]);
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum BlockKind {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1; the output has four times the channels of the middle.
    Bottleneck,
}

impl BlockKind {
    fn expansion(self) -> usize {
        match self {
            Basic => 1,
            Bottleneck => 4,
        }
    }
}

/// The shape of a ResNet.
#[derive(Debug, Clone)]
struct ResNetConfig {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Kind of block and width of each stage.
    stages: [(BlockKind, usize); 4],
    cardinality: usize,
    base_width: usize,
    /// Widths of the two convolutions that a deep stem puts before its last one.
    deep: Option<[usize; 2]>,
    stem_channels: usize,
}

impl ResNetConfig {
    fn new(block: BlockKind, depths: [usize; 4]) -> Self {
        Self {
            depths,
            stages: [64, 128, 256, 512].map(|width| (block, width)),
            cardinality: 1,
            base_width: 64,
            deep: None,
            stem_channels: 64,
        }
    }

    fn groups(mut self, cardinality: usize, base_width: usize) -> Self {
        self.cardinality = cardinality;
        self.base_width = base_width;
        self
    }

    /// A deep stem comes with an average-pooled shortcut, in every variant that has either.
    fn deep(mut self, widths: [usize; 2], stem_channels: usize) -> Self {
        self.deep = Some(widths);
        self.stem_channels = stem_channels;
        self
    }

    fn stages(mut self, stages: [(BlockKind, usize); 4]) -> Self {
        self.stages = stages;
        self
    }

    fn init(&self, options: &BackboneOptions, device: &Device) -> Result<ResNet> {
        let stem = self.stem(options.in_channels, device);
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let mut channels = self.stem_channels;
        let mut stage = |index: usize| {
            let stride = if index == 0 { 1 } else { 2 };
            (0..self.depths[index])
                .map(|block| {
                    let stride = if block == 0 { stride } else { 1 };
                    let rate = rates.next().unwrap_or(0.0);
                    let block = self.block(index, channels, stride, rate, device);
                    let (kind, width) = self.stages[index];
                    channels = width * kind.expansion();
                    block
                })
                .collect::<Vec<_>>()
        };
        Ok(ResNet {
            stage1: stage(0),
            stage2: stage(1),
            stage3: stage(2),
            stage4: stage(3),
            stem,
            in_channels: options.in_channels,
            num_features: channels,
            last_norms: self.stages.map(|(kind, _)| match kind {
                Basic => "bn2",
                Bottleneck => "bn3",
            }),
        })
    }

    fn stem(&self, in_channels: usize, device: &Device) -> Stem {
        match self.deep {
            None => Stem {
                deep: None,
                conv: Conv2dConfig::new(in_channels, self.stem_channels, 7)
                    .stride(2)
                    .padding(3)
                    .init(device),
                bn: BatchNorm2d::new(self.stem_channels, device),
            },
            Some([first, second]) => Stem {
                deep: Some(DeepStem {
                    conv1: Conv2dConfig::new(in_channels, first, 3)
                        .stride(2)
                        .padding(1)
                        .init(device),
                    bn1: BatchNorm2d::new(first, device),
                    conv2: Conv2dConfig::new(first, second, 3).padding(1).init(device),
                    bn2: BatchNorm2d::new(second, device),
                }),
                conv: Conv2dConfig::new(second, self.stem_channels, 3)
                    .padding(1)
                    .init(device),
                bn: BatchNorm2d::new(self.stem_channels, device),
            },
        }
    }

    fn block(
        &self,
        stage: usize,
        in_channels: usize,
        stride: usize,
        drop_path: f64,
        device: &Device,
    ) -> Block {
        let (kind, planes) = self.stages[stage];
        let out_channels = planes * kind.expansion();
        let width = planes * self.base_width / 64 * self.cardinality;
        let conv3x3 = |from: usize, to: usize, stride: usize, groups: usize| {
            Conv2dConfig::new(from, to, 3)
                .stride(stride)
                .padding(1)
                .groups(groups)
                .init(device)
        };
        let conv1x1 = |from: usize, to: usize| Conv2dConfig::new(from, to, 1).init(device);
        let norm = |channels: usize| BatchNorm2d::new(channels, device);

        let (conv1, bn1, conv2, bn2, conv3, bn3) = match kind {
            Basic => (
                conv3x3(in_channels, planes, stride, 1),
                norm(planes),
                conv3x3(planes, planes, 1, 1),
                norm(planes),
                None,
                None,
            ),
            Bottleneck => (
                conv1x1(in_channels, width),
                norm(width),
                conv3x3(width, width, stride, self.cardinality),
                norm(width),
                Some(conv1x1(width, out_channels)),
                Some(norm(out_channels)),
            ),
        };
        let downsample = (stride != 1 || in_channels != out_channels).then(|| Downsample {
            pool: (self.deep.is_some() && stride != 1).then_some(stride),
            conv: Conv2dConfig::new(in_channels, out_channels, 1)
                .stride(if self.deep.is_some() { 1 } else { stride })
                .init(device),
            bn: norm(out_channels),
        });
        Block {
            conv1,
            bn1,
            conv2,
            bn2,
            conv3,
            bn3,
            downsample,
            drop_path: DropPath::new(drop_path),
        }
    }
}

/// A residual network: a stem and four stages, each half the size of the one before.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: Stem,
    stage1: Vec<Block>,
    stage2: Vec<Block>,
    stage3: Vec<Block>,
    stage4: Vec<Block>,
    in_channels: usize,
    num_features: usize,
    /// The last normalisation of each stage's blocks, whose scale starts at zero.
    #[module(skip)]
    last_norms: [&'static str; 4],
}

impl Backbone for ResNet {
    fn groups(&self) -> Vec<Group> {
        ["stem", "stage1", "stage2", "stage3", "stage4"]
            .map(|name| Group::new(name, format!("{name}.")))
            .to_vec()
    }

    fn forward_group(&self, index: usize, x: Features) -> Features {
        let Features::Map(x) = x else { return x };
        let blocks = match index {
            0 => return Features::Map(self.stem.forward(x)),
            1 => &self.stage1,
            2 => &self.stage2,
            3 => &self.stage3,
            _ => &self.stage4,
        };
        Features::Map(blocks.iter().fold(x, |x, block| block.forward(x)))
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn input_size(&self) -> InputSize {
        // Every layer that strides also pads, so a single pixel comes out as a single pixel.
        InputSize::AtLeast(1)
    }

    fn num_features(&self) -> usize {
        self.num_features
    }

    fn supports(&self, pool: Pool) -> bool {
        pool != Pool::Token
    }

    fn pool(&self, features: Features, pool: Pool) -> Tensor<2> {
        features.pool_map(pool)
    }

    fn key_table(&self) -> KeyTable {
        let stem: &[_] = if self.stem.deep.is_some() {
            &[
                ("stem.deep.conv1", "conv1.0"),
                ("stem.deep.bn1", "conv1.1"),
                ("stem.deep.conv2", "conv1.3"),
                ("stem.deep.bn2", "conv1.4"),
                ("stem.conv", "conv1.6"),
                ("stem.bn", "bn1"),
                // The pooling before the shortcut's convolution takes the first place.
                ("stage*.*.downsample.conv", "layer*.*.downsample.1"),
                ("stage*.*.downsample.bn", "layer*.*.downsample.2"),
            ]
        } else {
            &[
                ("stem.conv", "conv1"),
                ("stem.bn", "bn1"),
                ("stage*.*.downsample.conv", "layer*.*.downsample.0"),
                ("stage*.*.downsample.bn", "layer*.*.downsample.1"),
            ]
        };
        KeyTable::new(stem.iter().chain(&[("stage*", "layer*"), ("head.fc", "fc")]))
    }

    /// Those of a `Sequential` of torchvision's children without the last two, which is the body of
    /// a fastai `Learner`. After the first convolution and its normalisation come an activation and
    /// a pooling.
    fn other_names(&self) -> Vec<OtherNames> {
        let children = [
            ("conv1", "0"),
            ("bn1", "1"),
            ("layer1", "4"),
            ("layer2", "5"),
            ("layer3", "6"),
            ("layer4", "7"),
        ];
        vec![OtherNames {
            whose: "the body of a fastai Learner",
            table: KeyTable::new(&children),
        }]
    }

    fn first_conv(&self) -> FirstConv {
        let (conv, norm) = if self.stem.deep.is_some() {
            ("stem.deep.conv1", "stem.deep.bn1")
        } else {
            ("stem.conv", "stem.bn")
        };
        FirstConv {
            conv: conv.to_owned(),
            norm: Some(norm.to_owned()),
        }
    }

    fn init_rule(&self, path: &str, shape: &[usize]) -> Init {
        let last_norm = self.last_norms.iter().enumerate().any(|(index, norm)| {
            path.starts_with(&format!("stage{}.", index + 1))
                && path.ends_with(&format!(".{norm}.weight"))
        });
        match shape.len() {
            // A block then starts as the identity (timm's `zero_init_last`).
            1 if last_norm => Init::Zeros,
            1 => Init::Ones,
            4 => Init::kaiming_normal_fan_out(),
            _ => Init::PyTorch,
        }
    }
}

#[derive(Module, Debug)]
struct Stem {
    deep: Option<DeepStem>,
    conv: Conv2d,
    bn: BatchNorm2d,
}

impl Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match &self.deep {
            Some(deep) => deep.forward(x),
            None => x,
        };
        let x = conv_norm(&self.conv, &self.bn, x, None, true);
        max_pool2d(x, 3, 2, 1)
    }
}

#[derive(Module, Debug)]
struct DeepStem {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
}

impl DeepStem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = conv_norm(&self.conv1, &self.bn1, x, None, true);
        conv_norm(&self.conv2, &self.bn2, x, None, true)
    }
}

/// A residual block of either kind: a bottleneck has the third convolution.
#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm2d>,
    downsample: Option<Downsample>,
    drop_path: DropPath,
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [x, shortcut] = fork(x);
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.forward(shortcut),
            None => shortcut,
        };
        let mut x = conv_norm(&self.conv1, &self.bn1, x, None, true);
        let (mut conv, mut bn) = (&self.conv2, &self.bn2);
        if let (Some(conv3), Some(bn3)) = (&self.conv3, &self.bn3) {
            x = conv_norm(conv, bn, x, None, true);
            (conv, bn) = (conv3, bn3);
        }
        if self.drop_path.is_active(&x) {
relu(self.drop_path.forward(conv_norm(conv, bn, x, None, false)) + shortcut)
} else {
conv_norm(conv, bn, x, Some(shortcut), true)
        }
    }
}

/// The shortcut of a block that changes the shape.
#[derive(Module, Debug)]
struct Downsample {
    /// Window and stride of the average pooling before the convolution, in the `d` variants.
    pool: Option<usize>,
    conv: Conv2d,
    bn: BatchNorm2d,
}

impl Downsample {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match self.pool {
            Some(stride) => avg_pool2d(x, stride, stride),
            None => x,
        };
        conv_norm(&self.conv, &self.bn, x, None, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo;

    #[test]
    fn the_children_of_a_resnet_are_counted() {
        let options = BackboneOptions {
            in_channels: 3,
            image_size: None,
            drop_path_rate: 0.0,
        };
        let device = crate::device("cpu").unwrap();
        let backbone = (zoo::find("test_resnet").unwrap().build)(&options, &device).unwrap();
        let [names] = &backbone.other_names()[..] else {
            panic!("{:?}", backbone.other_names());
        };
        assert_eq!(names.whose, "the body of a fastai Learner");
        for (upstream, child) in [
            ("conv1.weight", "0.weight"),
            ("bn1.running_mean", "1.running_mean"),
            ("layer1.0.conv1.weight", "4.0.conv1.weight"),
            ("layer4.1.bn2.bias", "7.1.bn2.bias"),
            ("layer4.1.downsample.0.weight", "7.1.downsample.0.weight"),
        ] {
            assert_eq!(names.table.upstream(upstream).as_deref(), Some(child));
        }
        // What is no child of a ResNet has no number, and keeps the name that it has.
        for other in [
            "patch_embed.proj.weight",
            "layer99999999999999999999.0.weight",
            "layer10.0.conv1.weight",
            "layer0.0.weight",
            "layer-1.0.weight",
            "layer.0.weight",
            "layer4x.0.weight",
            "layeré.0.weight",
            "conv1x.weight",
            "conv.1.weight",
            "fc.weight",
            ".conv1.weight",
            ".",
            "",
        ] {
            assert_eq!(names.table.upstream(other), None, "{other}");
            assert_eq!(names.table.name(other), other);
        }
    }
}
