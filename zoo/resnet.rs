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
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, KeyTable, MapLayer, OtherNames, Pool, Stages, key_table,
};
use crate::nn::{
    Act, BatchNorm2dConfig, Conv2dConfig, ConvNorm, DropPath, ParamBuilder, avg_pool2d,
    drop_path_rates, max_pool2d,
};

use Kind::{Basic, Bottleneck};

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
    test_resnet (160): "a tiny one of mixed blocks, for tests"
        => Config {
            stages: [(Basic, 32), (Basic, 48), (Bottleneck, 48), (Basic, 96)],
            stem_channels: 32,
            ..Config::new(Basic, [1, 1, 1, 1]).deep([16, 16])
        };
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1; the output has four times the channels of the middle.
    Bottleneck,
}

impl Kind {
    fn expansion(self) -> usize {
        match self {
            Basic => 1,
            Bottleneck => 4,
        }
    }
}

/// The shape of a ResNet.
#[derive(Debug, Clone)]
struct Config {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Kind of block and width of each stage.
    stages: [(Kind, usize); 4],
    cardinality: usize,
    base_width: usize,
    /// Widths of the two convolutions that a deep stem puts before its last one.
    deep: Option<[usize; 2]>,
    stem_channels: usize,
}

impl Config {
    fn new(block: Kind, depths: [usize; 4]) -> Self {
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
    fn deep(mut self, widths: [usize; 2]) -> Self {
        self.deep = Some(widths);
        self
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<ResNet> {
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let stem = self.stem(options.in_channels, params);
        let mut channels = self.stem_channels;
        let mut stages = Vec::new();
        for (index, (depth, (kind, planes))) in self.depths.into_iter().zip(self.stages).enumerate()
        {
            let mut blocks = Vec::new();
            for (block, rate) in rates.by_ref().take(depth).enumerate() {
                let stride = if index > 0 && block == 0 { 2 } else { 1 };
                blocks.push(self.block(kind, planes, channels, stride, rate, params));
                channels = planes * kind.expansion();
            }
            stages.push(blocks);
        }
        let stages = Stages::new(stages);
        let first = self.deep.map_or("stem.conv", |_| "stem.deep.conv1");
        // Every layer that strides also pads, so a single pixel comes out as a single pixel.
        let groups = stages.groups_with_stem();
        let description = Description {
            key_table: self.key_table(),
            other_names: vec![fastai_names()],
            ..Description::new(groups, options.in_channels, channels, first)
        };
        Ok((ResNet { stem, stages }, description))
    }

    fn stem(&self, in_channels: usize, params: &ParamBuilder) -> Stem {
        let conv = |from, to, kernel, stride| {
            ConvNorm::new(conv(from, to, kernel).stride(stride), Act::Relu, params)
        };
        let deep = self.deep.map(|[first, second]| DeepStem {
            conv1: conv(in_channels, first, 3, 2),
            conv2: conv(first, second, 3, 1),
        });
        let conv = match self.deep {
            None => conv(in_channels, self.stem_channels, 7, 2),
            Some([_, second]) => conv(second, self.stem_channels, 3, 1),
        };
        Stem { deep, conv }
    }

    fn block(
        &self,
        kind: Kind,
        planes: usize,
        in_channels: usize,
        stride: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Block {
        let out_channels = planes * kind.expansion();
        let width = planes * self.base_width / 64 * self.cardinality;
        let changes_shape = stride != 1 || in_channels != out_channels;
        let inner = |config| ConvNorm::new(config, Act::Relu, params);
        // A block starts as the identity: the scale of its last normalisation is zero.
        let last = |config| {
            let norm = BatchNorm2dConfig::new(out_channels).zero_init();
            ConvNorm::with_norm(config, norm, Act::Relu, params)
        };
        let middle = conv(width, width, 3).stride(stride);
        let (conv1, conv2, conv3) = match kind {
            Basic => (
                inner(conv(in_channels, planes, 3).stride(stride)),
                last(conv(planes, planes, 3)),
                None,
            ),
            Bottleneck => (
                inner(conv(in_channels, width, 1)),
                inner(middle.groups(self.cardinality)),
                Some(last(conv(width, out_channels, 1))),
            ),
        };
        let (pool, stride) = match self.deep {
            Some(_) if stride != 1 => (Some(stride), 1),
            _ => (None, stride),
        };
        let shortcut = conv(in_channels, out_channels, 1).stride(stride);
        let downsample = changes_shape.then(|| Downsample {
            pool,
            conv: ConvNorm::new(shortcut, Act::None, params),
        });
        Block {
            conv1,
            conv2,
            conv3,
            downsample,
            drop_path: DropPath::new(drop_path),
        }
    }

    fn key_table(&self) -> KeyTable {
        let mut table = if self.deep.is_some() {
            key_table![
                "stem.deep.conv1" => "conv1.0", "stem.deep.bn1" => "conv1.1",
                "stem.deep.conv2" => "conv1.3", "stem.deep.bn2" => "conv1.4",
                "stem.conv" => "conv1.6",
                // The pooling before the shortcut's convolution takes the first place.
                "stage*.*.downsample.conv" => "layer*.*.downsample.1",
                "stage*.*.downsample.bn" => "layer*.*.downsample.2",
            ]
        } else {
            key_table![
                "stem.conv" => "conv1",
                "stage*.*.downsample.conv" => "layer*.*.downsample.0",
                "stage*.*.downsample.bn" => "layer*.*.downsample.1",
            ]
        };
        table.push("stem.bn", "bn1");
        table.push("stage*", "layer*");
        table
    }
}

/// A convolution that keeps the size at stride 1.
fn conv(in_channels: usize, out_channels: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig::new(in_channels, out_channels, kernel)
        .padding(kernel / 2)
        .weights(Init::kaiming_normal_fan_out())
}

/// The children of a `Sequential` of torchvision's model, which is the body of a fastai `Learner`.
/// After the first convolution and its normalisation come an activation and a pooling.
fn fastai_names() -> OtherNames {
    let table = key_table![
        "conv1" => "0", "bn1" => "1",
        "layer1" => "4", "layer2" => "5", "layer3" => "6", "layer4" => "7",
    ];
    OtherNames::new("the body of a fastai Learner", table)
}

/// A residual network: a stem and four stages, each half the size of the one before.
#[derive(Module, Debug)]
struct ResNet {
    stem: Stem,
    stages: Stages<Vec<Block>>,
}

impl Backbone for ResNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}

#[derive(Module, Debug)]
struct Stem {
    deep: Option<DeepStem>,
    conv: ConvNorm,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let deep = |x, deep: &DeepStem| deep.conv2.forward(deep.conv1.forward(x));
        let x = self.deep.iter().fold(x, deep);
        max_pool2d(self.conv.forward(x), 3, 2, 1)
    }
}

#[derive(Module, Debug)]
struct DeepStem {
    conv1: ConvNorm,
    conv2: ConvNorm,
}

/// A residual block of either kind: a bottleneck has the third convolution.
#[derive(Module, Debug)]
struct Block {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: Option<ConvNorm>,
    downsample: Option<Downsample>,
    drop_path: DropPath,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = |x| match &self.downsample {
            Some(Downsample { pool, conv }) => {
                conv.forward(pool.iter().fold(x, |x, &side| avg_pool2d(x, side, side)))
            }
            None => x,
        };
        self.drop_path.residual(x, Act::Relu, shortcut, |x, end| {
            let x = self.conv1.forward(x);
            match &self.conv3 {
                Some(conv3) => conv3.forward_with(self.conv2.forward(x), end),
                None => self.conv2.forward_with(x, end),
            }
        })
    }
}

/// The shortcut of a block that changes the shape.
#[derive(Module, Debug)]
struct Downsample {
    /// Window and stride of the average pooling before the convolution, in the `d` variants.
    pool: Option<usize>,
    conv: ConvNorm,
}
