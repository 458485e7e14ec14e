//! ResNet V2, whose blocks normalise and activate before each convolution: He et al., "Identity
//! Mappings in Deep Residual Networks", ECCV 2016, <https://arxiv.org/abs/1603.05027>.
//!
//! BiT (Kolesnikov et al., "Big Transfer", ECCV 2020, <https://arxiv.org/abs/1912.11370>) is one with
//! standardised kernels and group normalisation. The structure is timm's `resnetv2.py`, whose
//! classifier is a convolution of 1x1. Parameters are those of a model for 1000 classes; accuracies
//! are those timm publishes, at 224 pixels unless said.
//!
//! | variant | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `resnetv2_18` | 2 2 2 2 | 11 687 720 | 73.6 % (`ra4_e3600_r224_in1k`) |
//! | `resnetv2_18d` | 2 2 2 2 | 11 706 952 | 74.4 % (`ra4_e3600_r224_in1k`) |
//! | `resnetv2_34` | 3 4 6 3 | 21 795 880 | 77.6 % (`ra4_e3600_r224_in1k`) |
//! | `resnetv2_34d` | 3 4 6 3 | 21 815 112 | 78.3 % (`ra4_e3600_r224_in1k`) |
//! | `resnetv2_50` | 3 4 6 3 | 25 549 352 | 80.4 % (`a1h_in1k`) |
//! | `resnetv2_50d_gn` | 3 4 6 3 | 25 568 584 | 80.8 % (`ah_in1k`) |
//! | `resnetv2_50x1_bit` | 3 4 6 3 | 25 549 352 | 82.8 % (`goog_distilled_in1k`) |
//! | `resnetv2_50x3_bit` | 3 4 6 3 | 217 319 080 | 84.0 % (`goog_in21k_ft_in1k`, 448 px) |
//! | `resnetv2_101x1_bit` | 3 4 23 3 | 44 541 480 | 82.3 % (`goog_in21k_ft_in1k`, 448 px) |

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

use super::residual::conv;
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, Group, InputSize, MapLayer, Pool, Stages, StemShape, key_table,
};
use crate::nn::{
    Act, BatchNorm2dConfig, Conv2d, Conv2dConfig, ConvNorm, DropPath, Epilogue, GroupNormConfig,
    Norm, NormConfig, ParamBuilder, avg_pool2d, drop_path_rates, max_pool2d,
};

variants! {
    family: ResNetV2, manifest: "resnet_v2.toml", paper: "https://arxiv.org/abs/1603.05027",
    pool: Pool::Avg;
    resnetv2_18 (224): "two convolutions a block" => Config::basic([2, 2, 2, 2]);
    resnetv2_18d (224): "deep stem" => Config::basic([2, 2, 2, 2]).deep();
    resnetv2_34 (224): "two convolutions a block" => Config::basic([3, 4, 6, 3]);
    resnetv2_34d (224): "deep stem" => Config::basic([3, 4, 6, 3]).deep();
    resnetv2_50 (224): "bottleneck blocks" => Config::bottleneck([3, 4, 6, 3]);
    resnetv2_50d_gn (224): "deep stem, group normalisation"
        => Config { groups_norm: true, ..Config::bottleneck([3, 4, 6, 3]).deep() };
    resnetv2_50x1_bit (224): "BiT" => Config::bit([3, 4, 6, 3], 1);
    resnetv2_50x3_bit (448): "BiT, three times as wide" => Config::bit([3, 4, 6, 3], 3);
    resnetv2_101x1_bit (448): "BiT" => Config::bit([3, 4, 23, 3], 1);
}

/// The group behind the stem and the four stages.
const NORM: usize = 5;

/// The shape of a ResNet V2.
#[derive(Debug, Clone)]
struct Config {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Channels of the first stage; each further one has twice as many.
    channels: usize,
    /// A block's channels as a multiple of those between its convolutions.
    expansion: usize,
    stem_channels: usize,
    is_deep: bool,
    /// Normalises by 32 groups of channels, not by batches.
    groups_norm: bool,
    is_bit: bool,
}

impl Config {
    fn basic(depths: [usize; 4]) -> Self {
        Self {
            depths,
            channels: 64,
            expansion: 1,
            stem_channels: 64,
            is_deep: false,
            groups_norm: false,
            is_bit: false,
        }
    }

    fn bottleneck(depths: [usize; 4]) -> Self {
        Self {
            channels: 256,
            expansion: 4,
            ..Self::basic(depths)
        }
    }

    fn bit(depths: [usize; 4], width: usize) -> Self {
        Self {
            channels: 256 * width,
            stem_channels: 64 * width,
            groups_norm: true,
            is_bit: true,
            ..Self::bottleneck(depths)
        }
    }

    /// A deep stem comes with an average-pooled shortcut.
    fn deep(mut self) -> Self {
        self.is_deep = true;
        self
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<ResNetV2> {
        let shape = options.stem.convolutions(&[2], true)?;
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let mut from = self.stem_channels;
        let mut stages = Vec::new();
        for (index, depth) in self.depths.into_iter().enumerate() {
            let mut blocks = Vec::new();
            for (at, rate) in rates.by_ref().take(depth).enumerate() {
                let stride = if index > 0 && at == 0 { 2 } else { 1 };
                let to = self.channels << index;
                blocks.push(self.block([from, to], stride, rate, params));
                from = to;
            }
            stages.push(blocks);
        }
        let stages = Stages::new(stages);
        let mut groups = stages.groups_with_stem();
        groups.push(Group::named("norm"));
        let (first, last) = match self.is_deep {
            true => ("stem.deep.conv1", "stem.conv3"),
            false => ("stem.conv", "stem.conv"),
        };
        let mut table = key_table![
            "stem.deep.conv*" => "stem.conv*", "stem.deep.bn*" => "stem.norm*",
            "stage*.*.bn1" => "stages.*-1.blocks.*.norm2",
            "stage*.*.bn2" => "stages.*-1.blocks.*.norm3",
            "stage*" => "stages.*-1.blocks",
        ];
        table.push("stem.conv", last);
        table.rank("head.fc.weight", 4);
        let backbone = ResNetV2 {
            stem: self.stem(options.in_channels, &shape, params),
            stages,
            norm: self.norm(from).init(params),
        };
        let mut description = Description {
            classifier: "head.fc",
            classifier_init: Init::normal(0.01),
            key_table: table,
            // The first group of the deep stem is a single channel, of which one position says nothing.
            input_size: InputSize::AtLeast(if self.is_deep && self.groups_norm {
                shape.stride() + 1
            } else {
                1
            }),
            stem: Some(shape),
            ..Description::new(groups, options.in_channels, from, first)
        };
        description.first_convs[0].is_standardized = self.is_bit;
        Ok((backbone, description))
    }

    fn conv(&self, [from, to]: [usize; 2], kernel: usize) -> Conv2dConfig {
        let config = conv(from, to, kernel);
        if self.is_bit {
            config.standardized(1e-8)
        } else {
            config
        }
    }

    fn norm(&self, channels: usize) -> NormConfig {
        if self.groups_norm {
            GroupNormConfig::new(channels, 32).into()
        } else {
            BatchNorm2dConfig::new(channels).into()
        }
    }

    /// A convolution, and what the next one begins with.
    fn layer(&self, config: Conv2dConfig, channels: usize, params: &ParamBuilder) -> ConvNorm {
        ConvNorm::with_norm(config, self.norm(channels), Act::Relu, params)
    }

    fn stem(&self, in_channels: usize, shape: &StemShape, params: &ParamBuilder) -> Stem {
        let stride = shape.stride();
        let (half, channels) = (self.stem_channels / 2, self.stem_channels);
        let deep = || DeepStem {
            conv1: self.layer(
                self.conv([in_channels, half], 3).stride(stride),
                half,
                params,
            ),
            conv2: self.layer(self.conv([half, half], 3), half, params),
        };
        let conv = match self.is_deep {
            true => self.conv([half, channels], 3),
            false => self.conv([in_channels, channels], 7).stride(stride),
        };
        Stem {
            deep: self.is_deep.then(deep),
            conv: conv.init(params),
            pools: shape.pools() != Some(false),
            pools_zeros: self.is_bit,
        }
    }

    fn block(
        &self,
        [from, to]: [usize; 2],
        stride: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Block {
        let width = to / self.expansion;
        let (conv1, conv2, conv3) = if self.expansion == 1 {
            let conv1 = self.conv([from, width], 3).stride(stride);
            let conv2 = self.conv([width, to], 3);
            let conv2 = ConvNorm::without_norm(conv2, Act::None, params);
            (self.layer(conv1, width, params), conv2, None)
        } else {
            let conv1 = self.conv([from, width], 1);
            let conv2 = self.conv([width, width], 3).stride(stride);
            let conv3 = self.conv([width, to], 1).init(params);
            let [conv1, conv2] = [conv1, conv2].map(|it| self.layer(it, width, params));
            (conv1, conv2, Some(conv3))
        };
        let (pool, shortcut_stride) = match stride {
            1 => (None, 1),
            side if self.is_deep => (Some(side), 1),
            stride => (None, stride),
        };
        let downsample = || Downsample {
            pool,
            conv: self
                .conv([from, to], 1)
                .stride(shortcut_stride)
                .init(params),
        };
        Block {
            norm1: self.norm(from).init(params),
            conv1,
            conv2,
            conv3,
            downsample: (stride != 1 || from != to).then(downsample),
            drop_path: DropPath::new(drop_path),
        }
    }
}

#[derive(Module, Debug)]
struct ResNetV2 {
    stem: Stem,
    stages: Stages<Vec<Block>>,
    norm: Norm,
}

impl Backbone for ResNetV2 {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        if index == NORM {
            let act = Epilogue::act(Act::Relu);
            return Ok(Features::Map(self.norm.forward_with(x.into_map()?, act)));
        }
        self.stages.forward_group(&self.stem, index, x)
    }
}

#[derive(Module, Debug)]
struct Stem {
    deep: Option<DeepStem>,
    conv: Conv2d,
    pools: bool,
    /// The zeros around the map are pooled like its values, as in TensorFlow's model.
    pools_zeros: bool,
}

#[derive(Module, Debug)]
struct DeepStem {
    conv1: ConvNorm,
    conv2: ConvNorm,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let deep = |x, deep: &DeepStem| deep.conv2.forward(deep.conv1.forward(x));
        let x = self.conv.forward(self.deep.iter().fold(x, deep));
        if !self.pools {
            x
        } else if self.pools_zeros {
            max_pool2d(x.pad([(1, 1), (1, 1)], PadMode::Constant(0.0)), 3, 2, 0)
        } else {
            max_pool2d(x, 3, 2, 1)
        }
    }
}

/// A block of two convolutions, or a bottleneck of three. The normalisation that a convolution begins
/// with is that of the [`ConvNorm`] before it.
#[derive(Module, Debug)]
struct Block {
    norm1: Norm,
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: Option<Conv2d>,
    downsample: Option<Downsample>,
    drop_path: DropPath,
}

impl Block {
    fn branch(&self, x: Tensor<4>, end: Epilogue<'_, 4>) -> Tensor<4> {
        let x = self.conv1.forward(x);
        match &self.conv3 {
            Some(conv3) => conv3.forward_with(self.conv2.forward(x), end),
            None => self.conv2.forward_with(x, end),
        }
    }
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let norm = |x| self.norm1.forward_with(x, Epilogue::act(Act::Relu));
        let drop = &self.drop_path;
        match &self.downsample {
            // Both ways begin with the normalisation.
            Some(downsample) => {
                let shortcut = |x| downsample.forward(x);
                drop.residual(norm(x), Act::None, shortcut, |x, end| self.branch(x, end))
            }
            None => drop.residual(x, Act::None, |x| x, |x, end| self.branch(norm(x), end)),
        }
    }
}

/// The shortcut of a block that changes the shape.
#[derive(Module, Debug)]
struct Downsample {
    /// Window and stride of an average pooling before the convolution.
    pool: Option<usize>,
    conv: Conv2d,
}

impl MapLayer for Downsample {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self
            .pool
            .iter()
            .fold(x, |x, &side| avg_pool2d(x, side, side));
        self.conv.forward(x)
    }
}
