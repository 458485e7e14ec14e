//! NFNet, without normalisations: Brock et al., "High-Performance Large-Scale Image Recognition
//! Without Normalization", ICML 2021, <https://arxiv.org/abs/2102.06171>.
//!
//! Kernels are standardised, activations scaled so that they keep their variance, and each block
//! divides by the standard deviation that its input is expected to have. `dm` is DeepMind's own
//! network; `nf_regnet` and `nf_resnet` are of the paper before (Brock et al., 2021,
//! <https://arxiv.org/abs/2101.08692>). The structure is timm's `nfnet.py`. Parameters are those of a
//! model for 1000 classes; accuracies are those timm publishes, at 224 pixels unless said.
//!
//! | variant | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `nfnet_l0` | 1 2 6 3 | 35 074 488 | 81.9 % (`ra2_in1k`) |
//! | `eca_nfnet_l0` | 1 2 6 3 | 24 143 924 | 81.8 % (`ra2_in1k`) |
//! | `eca_nfnet_l1` | 2 4 12 6 | 41 407 728 | 83.3 % (`ra2_in1k`, 256 px) |
//! | `dm_nfnet_f0` | 1 2 6 3 | 71 489 284 | 81.4 % (`dm_in1k`, 192 px) |
//! | `nf_regnet_b1` | 2 4 7 7 | 10 223 984 | 78.7 % (`ra2_in1k`, 256 px) |
//! | `nf_resnet50` | 3 4 6 3 | 25 557 032 | 80.2 % (`ra2_in1k`, 256 px) |
//! | `test_nfnet` | 1 1 1 1 | 383 080 | 47.6 % (`r160_in1k`, 160 px) |

mod blocks;

use burn::module::Module;

use self::blocks::{ALPHA, Block, Downsample, ScaledAct, Stem};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::{FanMode, Init, Nonlinearity};
use crate::model::{Backbone, Description, Features, Pool, Stages, StemShape, key_table};
use crate::nn::{
    Act, ChannelAttention, Conv2d, Conv2dConfig, DropPath, EfficientAttention, ParamBuilder,
    SqueezeExcite, divisible_by_8, drop_path_rates, nearest_multiple_of_8,
};

use Attention::{Efficient, Squeeze};

variants! {
    family: NfNet, manifest: "nfnet.toml", paper: "https://arxiv.org/abs/2102.06171",
    pool: Pool::Avg;
    nfnet_l0 (224): "light, squeeze-excite" => Config::light([1, 2, 6, 3], Squeeze(0.25));
    eca_nfnet_l0 (224): "light, efficient attention" => Config::light([1, 2, 6, 3], Efficient);
    eca_nfnet_l1 (256): "light, efficient attention"
        => Config { last: Some(3072), ..Config::light([2, 4, 12, 6], Efficient) };
    dm_nfnet_f0 (192): "DeepMind's F0"
        => Config {
            group: Some(128),
            ratio: 0.5,
            attention: Some(Squeeze(0.5)),
            act: Act::Gelu,
            last: Some(3072),
            is_deepmind: true,
            ..Config::light([1, 2, 6, 3], Efficient)
        };
    nf_regnet_b1 (256): "a RegNet without normalisations"
        => Config {
            depths: [2, 4, 7, 7],
            channels: [40, 80, 160, 328],
            stem: Stems::Small(40),
            group: Some(8),
            ratio: 2.25,
            attention: Some(Squeeze(0.5)),
            act: Act::Silu,
            last: Some(960),
            is_reg: true,
            has_extra: false,
            is_deepmind: false,
        };
    nf_resnet50 (256): "a ResNet without normalisations"
        => Config {
            depths: [3, 4, 6, 3],
            channels: [256, 512, 1024, 2048],
            stem: Stems::Large(64),
            group: None,
            ratio: 0.25,
            attention: None,
            act: Act::Relu,
            last: None,
            is_reg: false,
            has_extra: false,
            is_deepmind: false,
        };
    test_nfnet (160): "a tiny one, for tests"
        => Config {
            channels: [32, 64, 96, 128],
            group: Some(8),
            last: Some(192),
            ..Config::light([1, 1, 1, 1], Squeeze(0.25))
        };
}

const WEIGHTS: Init = Init::KaimingNormal {
    mode: FanMode::FanIn,
    nonlinearity: Nonlinearity::Linear,
};

#[derive(Debug, Clone, Copy)]
enum Attention {
    /// Squeeze-and-excitation through this part of the channels.
    Squeeze(f64),
    Efficient,
}

/// The stem, for so many channels.
#[derive(Debug, Clone, Copy)]
enum Stems {
    /// Four convolutions of 3x3.
    Deep(usize),
    /// One of 3x3.
    Small(usize),
    /// One of 7x7, and a pooling.
    Large(usize),
}

/// The shape of an NFNet.
#[derive(Debug, Clone)]
struct Config {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Channels of each stage.
    channels: [usize; 4],
    stem: Stems,
    /// Channels of a group of the 3x3 convolutions, if they are grouped.
    group: Option<usize>,
    /// Channels between a block's convolutions, as a part of its output's; of its input's in a RegNet.
    ratio: f64,
    attention: Option<Attention>,
    act: Act,
    /// Channels of a convolution behind the last stage.
    last: Option<usize>,
    is_reg: bool,
    /// A block has a second convolution of 3x3.
    has_extra: bool,
    /// The activations are scaled and not the kernels, TensorFlow's padding, and a block starts as
    /// nothing by a factor of its own.
    is_deepmind: bool,
}

impl Config {
    fn light(depths: [usize; 4], attention: Attention) -> Self {
        Self {
            depths,
            channels: [256, 512, 1536, 1536],
            stem: Stems::Deep(128),
            group: Some(64),
            ratio: 0.25,
            attention: Some(attention),
            act: Act::Silu,
            last: Some(2304),
            is_reg: false,
            has_extra: true,
            is_deepmind: false,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<NfNet> {
        let shape = self.stem_shape(options)?;
        let (stem, mut from) = self.stem(options.in_channels, &shape, params);
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let mut variance = 1.0f64;
        let mut stages = Vec::new();
        for (index, (depth, to)) in self.depths.into_iter().zip(self.channels).enumerate() {
            let mut blocks = Vec::new();
            for (at, drop_path) in rates.by_ref().take(depth).enumerate() {
                let halves = at == 0 && (index > 0 || matches!(self.stem, Stems::Small(_)));
                let place = Place {
                    from,
                    to,
                    stride: if halves { 2 } else { 1 },
                    is_first: index == 0 && at == 0,
                    is_last: index + 1 == self.depths.len() && at + 1 == depth,
                    beta: 1.0 / variance.sqrt(),
                    drop_path,
                };
                blocks.push(self.block(place, params));
                // The shortcut of a stage's first block begins anew.
                variance = if at == 0 { 1.0 } else { variance } + ALPHA * ALPHA;
                from = to;
            }
            stages.push(blocks);
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let mut table = match self.stem {
            Stems::Deep(_) => key_table!["stem.convs.*" => "stem.conv*+1"],
            Stems::Small(_) | Stems::Large(_) => key_table!["stem.convs.*" => "stem.conv"],
        };
        for (ours, theirs) in [
            ("stage*.*.attn*.reduce", "stages.*-1.*.attn*.fc1"),
            ("stage*.*.attn*.expand", "stages.*-1.*.attn*.fc2"),
            ("stage*.*.attn*.weight", "stages.*-1.*.attn*.conv.weight"),
            ("stage*.*.conv_final", "final_conv"),
            ("stage*", "stages.*-1"),
        ] {
            table.push(ours, theirs);
        }
        table.rank("stage*.*.skipinit_gain", 0);
        let features = self.last.unwrap_or(from);
        let mut description = Description {
            stem: Some(shape),
            classifier: "head.fc",
            classifier_init: Init::normal(0.01),
            key_table: table,
            ..Description::new(groups, options.in_channels, features, "stem.convs.0")
        };
        description.first_convs[0].is_standardized = true;
        Ok((NfNet { stem, stages }, description))
    }

    /// The activation, with what keeps the variance of normal numbers.
    fn act(&self) -> ScaledAct {
        ScaledAct {
            act: self.act,
            scale: if self.is_deepmind { self.gamma() } else { 1.0 },
        }
    }

    fn gamma(&self) -> f64 {
        match self.act {
            Act::Relu => 1.713_958_859_443_664_6,
            Act::Gelu => 1.701_504_349_708_557_1,
            _ => 1.788_129_329_681_396_5,
        }
    }

    fn conv(&self, ends: [usize; 2], kernel: usize) -> Conv2dConfig {
        let config = Conv2dConfig::new(ends[0], ends[1], kernel)
            .bias()
            .weights(WEIGHTS);
        if self.is_deepmind {
            config.same()
        } else {
            config.padding(kernel / 2)
        }
    }

    /// Makes a convolution with kernels that are standardised and scaled.
    fn scaled(&self, conv: Conv2dConfig, gain: f32, params: &ParamBuilder) -> Conv2d {
        let gamma = if self.is_deepmind { 1.0 } else { self.gamma() };
        conv.scaled_standardized(1e-5, gamma, gain).init(params)
    }

    fn stem_shape(&self, options: &BackboneOptions) -> Result<StemShape> {
        match self.stem {
            Stems::Deep(_) => options.stem.convolutions(&[2, 2], false),
            Stems::Small(_) => options.stem.convolutions(&[2], false),
            Stems::Large(_) => options.stem.convolutions(&[2], true),
        }
    }

    fn stem(&self, in_channels: usize, shape: &StemShape, params: &ParamBuilder) -> (Stem, usize) {
        let strides = shape.strides();
        // Channels, kernel and stride.
        let (channels, convs) = match self.stem {
            Stems::Deep(to) => (
                to,
                vec![
                    (to / 8, 3, strides[0]),
                    (to / 4, 3, 1),
                    (to / 2, 3, 1),
                    (to, 3, strides[1]),
                ],
            ),
            Stems::Small(to) => (to, vec![(to, 3, strides[0])]),
            Stems::Large(to) => (to, vec![(to, 7, strides[0])]),
        };
        let mut from = in_channels;
        let convs = convs.into_iter().map(|(to, kernel, stride)| {
            let conv = self.conv([from, to], kernel).stride(stride);
            from = to;
            self.scaled(conv, 1.0, params)
        });
        let stem = Stem {
            convs: convs.collect(),
            act: self.act(),
            pools: shape.pools() == Some(true),
        };
        (stem, channels)
    }

    fn block(&self, place: Place, params: &ParamBuilder) -> Block {
        let Place {
            from, to, stride, ..
        } = place;
        let ratio = if self.is_reg && place.is_first {
            1.0
        } else {
            self.ratio
        };
        let width = divisible_by_8(if self.is_reg { from } else { to } as f64 * ratio);
        let groups = self.group.map_or(1, |group| width / group);
        let plain = |conv| self.scaled(conv, 1.0, params);
        let middle = || self.conv([width, width], 3).groups(groups);
        let downsample = || Downsample {
            pools: stride != 1,
            conv: plain(self.conv([from, to], 1)),
        };
        let attention = |channels| self.attention.map(|it| it.init(channels, params));
        // A block starts as nothing.
        let gain = if self.is_deepmind { 1.0 } else { 0.0 };
        let last = self.last.filter(|_| place.is_last);
        Block {
            conv1: plain(self.conv([from, width], 1)),
            conv2: plain(middle().stride(stride)),
            conv2b: self.has_extra.then(|| plain(middle())),
            conv3: self.scaled(self.conv([width, to], 1), gain, params),
            attn: self.is_reg.then(|| attention(width)).flatten(),
            attn_last: (!self.is_reg).then(|| attention(to)).flatten(),
            downsample: (stride != 1 || from != to).then(downsample),
            skipinit_gain: self.is_deepmind.then(|| params.constant([1], 0.0)),
            conv_final: last.map(|features| plain(self.conv([to, features], 1))),
            is_last: place.is_last,
            act: self.act(),
            beta: place.beta,
            drop_path: DropPath::new(place.drop_path),
        }
    }
}

impl Attention {
    fn init(self, channels: usize, params: &ParamBuilder) -> ChannelAttention {
        match self {
            Squeeze(part) => {
                let hidden = nearest_multiple_of_8(part * channels as f64);
                let acts = [Act::Relu, Act::Sigmoid];
                let squeeze = SqueezeExcite::new(channels, hidden, acts, |_| WEIGHTS, params);
                ChannelAttention::Squeeze(squeeze)
            }
            Efficient => ChannelAttention::Efficient(EfficientAttention::new(channels, params)),
        }
    }
}

/// Where a block stands in the network.
struct Place {
    from: usize,
    to: usize,
    stride: usize,
    is_first: bool,
    is_last: bool,
    beta: f64,
    drop_path: f64,
}

#[derive(Module, Debug)]
struct NfNet {
    stem: Stem,
    stages: Stages<Vec<Block>>,
}

impl Backbone for NfNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}
