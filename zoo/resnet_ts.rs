//! ResNets with a tiered stem and SiLU, `ts`, and an attention in the middle of each block: without
//! one, squeeze-and-excitation (Hu et al., 2018, <https://arxiv.org/abs/1709.01507>), efficient
//! channel attention (Wang et al., 2020, <https://arxiv.org/abs/1910.03151>), or a global context
//! (Cao et al., 2019, <https://arxiv.org/abs/1904.11492>).
//!
//! The structure is that of timm's `byobnet.py`. Parameters are those of a model for 1000 classes;
//! accuracies are those timm publishes.
//!
//! | variant | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `resnet32ts` | 2 3 3 2 | 17 963 616 | 79.1 % (`ra2_in1k`, 256 px) |
//! | `resnet33ts` | 2 3 3 2 | 19 676 256 | 79.2 % (`ra2_in1k`, 256 px) |
//! | `eca_resnext26ts` | 2 2 2 2 | 10 297 988 | 77.4 % (`ch_in1k`, 256 px) |
//! | `seresnext26ts` | 2 2 2 2 | 10 388 064 | 77.9 % (`ch_in1k`, 256 px) |
//! | `gcresnext26ts` | 2 2 2 2 | 10 476 600 | 77.8 % (`ch_in1k`, 256 px) |

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{Backbone, Description, Features, MapLayer, Pool, Stages, key_table};
use crate::nn::{
    Act, BatchNorm2dConfig, ChannelAttention, Conv2dConfig, ConvNorm, DropPath, EfficientAttention,
    GlobalContext, ParamBuilder, SqueezeExcite, drop_path_rates, fan_out_normal, max_pool2d,
    nearest_multiple_of_8,
};

variants! {
    family: ResNetTs, manifest: "resnet_ts.toml", paper: "https://arxiv.org/abs/1512.03385",
    pool: Pool::Avg;
    resnet32ts (256): "tiered stem, SiLU" => Config::plain(None);
    resnet33ts (256): "tiered stem, SiLU, a last convolution" => Config::plain(Some(1280));
    eca_resnext26ts (256): "efficient attention, groups of 32" => Config::next(Attention::Efficient);
    seresnext26ts (256): "squeeze-excite, groups of 32" => Config::next(Attention::Squeeze);
    gcresnext26ts (256): "global context, groups of 32" => Config::next(Attention::Context);
}

/// Channels behind the stem.
const STEM: [usize; 3] = [24, 32, 64];

#[derive(Debug, Clone, Copy)]
enum Attention {
    Squeeze,
    Efficient,
    Context,
}

/// The shape of one of these networks.
#[derive(Debug, Clone)]
struct Config {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Channels of each stage.
    channels: [usize; 4],
    /// Channels of a group of the 3x3 convolutions, if they are grouped.
    group: Option<usize>,
    attention: Option<Attention>,
    /// The stem ends with a pooling, else with a convolution that strides.
    pools: bool,
    /// Channels of a convolution behind the last stage.
    last: Option<usize>,
}

impl Config {
    fn plain(last: Option<usize>) -> Self {
        Self {
            depths: [2, 3, 3, 2],
            channels: [256, 512, 1536, 1536],
            group: None,
            attention: None,
            pools: false,
            last,
        }
    }

    fn next(attention: Attention) -> Self {
        Self {
            depths: [2, 2, 2, 2],
            channels: [256, 512, 1024, 2048],
            group: Some(32),
            attention: Some(attention),
            pools: true,
            last: None,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<ResNetTs> {
        let layer =
            |ends, stride| ConvNorm::new(conv(ends, 3, 1).stride(stride), Act::Silu, params);
        let strides: &[usize] = if self.pools { &[2] } else { &[2, 2] };
        let shape = options.stem.convolutions(strides, self.pools)?;
        let strides = shape.strides();
        let stem = Stem {
            conv1: layer([options.in_channels, STEM[0]], strides[0]),
            conv2: layer([STEM[0], STEM[1]], 1),
            conv3: layer([STEM[1], STEM[2]], strides.get(1).copied().unwrap_or(1)),
            pools: shape.pools() == Some(true),
        };
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let mut from = STEM[2];
        let mut stages = Vec::new();
        for (index, (depth, to)) in self.depths.into_iter().zip(self.channels).enumerate() {
            let mut blocks = Vec::new();
            for (at, rate) in rates.by_ref().take(depth).enumerate() {
                let stride = if index > 0 && at == 0 { 2 } else { 1 };
                let is_last = index + 1 == self.depths.len() && at + 1 == depth;
                let last = self.last.filter(|_| is_last);
                blocks.push(self.block([from, to], stride, last, rate, params));
                from = to;
            }
            stages.push(blocks);
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let features = self.last.unwrap_or(from);
        let description = Description {
            stem: Some(shape),
            classifier: "head.fc",
            classifier_init: Init::normal(0.01),
            key_table: key_table![
                "stem.conv*" => "stem.conv*.conv", "stem.bn*" => "stem.conv*.bn",
                "stage*.*.conv1" => "stages.*-1.*.conv1_1x1.conv",
                "stage*.*.bn1" => "stages.*-1.*.conv1_1x1.bn",
                "stage*.*.conv2" => "stages.*-1.*.conv2_kxk.conv",
                "stage*.*.bn2" => "stages.*-1.*.conv2_kxk.bn",
                "stage*.*.conv3" => "stages.*-1.*.conv3_1x1.conv",
                "stage*.*.bn3" => "stages.*-1.*.conv3_1x1.bn",
                "stage*.*.conv_shortcut" => "stages.*-1.*.shortcut.conv",
                "stage*.*.bn_shortcut" => "stages.*-1.*.shortcut.bn",
                "stage*.*.conv_final" => "final_conv.conv", "stage*.*.bn_final" => "final_conv.bn",
                "stage*.*.attention.reduce" => "stages.*-1.*.attn.fc1",
                "stage*.*.attention.expand" => "stages.*-1.*.attn.fc2",
                "stage*.*.attention.weight" => "stages.*-1.*.attn.conv.weight",
                "stage*.*.attention.attend" => "stages.*-1.*.attn.conv_attn",
                "stage*.*.attention" => "stages.*-1.*.attn.mlp_add",
            ],
            ..Description::new(groups, options.in_channels, features, "stem.conv1")
        };
        Ok((ResNetTs { stem, stages }, description))
    }

    fn block(
        &self,
        [from, to]: [usize; 2],
        stride: usize,
        last: Option<usize>,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Block {
        let layer = |conv: Conv2dConfig| ConvNorm::new(conv, Act::Silu, params);
        let width = to / 4;
        let groups = self.group.map_or(1, |group| width / group);
        let norm = BatchNorm2dConfig::new(to).zero_init();
        let shortcut = || ConvNorm::new(conv([from, to], 1, 1).stride(stride), Act::None, params);
        Block {
            conv1: layer(conv([from, width], 1, 1)),
            conv2: layer(conv([width, width], 3, groups).stride(stride)),
            attention: self.attention.map(|it| it.init(width, params)),
            conv3: ConvNorm::with_norm(conv([width, to], 1, 1), norm, Act::Silu, params),
            conv_shortcut: (stride != 1 || from != to).then(shortcut),
            conv_final: last.map(|features| layer(conv([to, features], 1, 1))),
            drop_path: DropPath::new(drop_path),
        }
    }
}

impl Attention {
    fn init(self, channels: usize, params: &ParamBuilder) -> ChannelAttention {
        match self {
            Self::Squeeze => {
                let hidden = nearest_multiple_of_8(channels as f64 / 16.0);
                let acts = [Act::Relu, Act::Sigmoid];
                let squeeze = SqueezeExcite::new(channels, hidden, acts, fan_out_normal, params);
                ChannelAttention::Squeeze(squeeze)
            }
            Self::Efficient => {
                ChannelAttention::Efficient(EfficientAttention::new(channels, params))
            }
            Self::Context => {
                let context = GlobalContext::new(channels, channels / 8, fan_out_normal, params);
                ChannelAttention::Context(context)
            }
        }
    }
}

/// A convolution that keeps the size at stride 1.
fn conv([from, to]: [usize; 2], kernel: usize, groups: usize) -> Conv2dConfig {
    Conv2dConfig::new(from, to, kernel)
        .padding(kernel / 2)
        .groups(groups)
        .weights(fan_out_normal(kernel * kernel * to / groups))
}

#[derive(Module, Debug)]
struct ResNetTs {
    stem: Stem,
    stages: Stages<Vec<Block>>,
}

impl Backbone for ResNetTs {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}

#[derive(Module, Debug)]
struct Stem {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: ConvNorm,
    pools: bool,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let convs = [&self.conv1, &self.conv2, &self.conv3];
        let x = convs.into_iter().fold(x, |x, conv| conv.forward(x));
        if self.pools {
            max_pool2d(x, 3, 2, 1)
        } else {
            x
        }
    }
}

#[derive(Module, Debug)]
struct Block {
    conv1: ConvNorm,
    conv2: ConvNorm,
    attention: Option<ChannelAttention>,
    conv3: ConvNorm,
    conv_shortcut: Option<ConvNorm>,
    /// Behind the last block of the network.
    conv_final: Option<ConvNorm>,
    drop_path: DropPath,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = |x| match &self.conv_shortcut {
            Some(conv) => conv.forward(x),
            None => x,
        };
        let x = self.drop_path.residual(x, Act::Silu, shortcut, |x, end| {
            let x = self.conv2.forward(self.conv1.forward(x));
            let x = match &self.attention {
                Some(attention) => attention.forward(x),
                None => x,
            };
            self.conv3.forward_with(x, end)
        });
        match &self.conv_final {
            Some(conv) => conv.forward(x),
            None => x,
        }
    }
}
