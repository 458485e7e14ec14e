//! What a ResNet consists of, for the families that are made of its parts: stem, blocks, shortcuts, and
//! where they stand.

mod blocks;

use self::blocks::DeepStem;
pub(super) use self::blocks::{Block, Downsample, Smoothing, Stem};
use super::BackboneOptions;
use crate::error::Result;
use crate::init::Init;
use crate::model::{Description, InputSize, KeyTable, Stages, StemShape};
use crate::nn::{
    Act, BatchNorm2dConfig, ChannelAttention, Conv2dConfig, ConvNorm, DropPath, EfficientAttention,
    GroupNormConfig, NormConfig, ParamBuilder, SqueezeExcite, drop_path_rates,
    nearest_multiple_of_8,
};

use Kind::{Basic, Bottleneck};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1; the output has four times the channels of the middle.
    Bottleneck,
}

impl Kind {
    pub(super) fn expansion(self) -> usize {
        match self {
            Basic => 1,
            Bottleneck => 4,
        }
    }
}

/// An attention at the end of each block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Attention {
    /// Squeeze-and-excitation through this part of the channels.
    Squeeze(f64),
    Efficient,
}

/// The shape of a ResNet.
#[derive(Debug, Clone)]
pub(super) struct Config {
    /// Blocks of each stage.
    pub depths: [usize; 4],
    /// Kind of block and width of each stage.
    pub stages: [(Kind, usize); 4],
    pub cardinality: usize,
    pub base_width: usize,
    /// Widths of the two convolutions that a deep stem puts before its last one, which is twice as
    /// wide as the second.
    pub stem: Option<[usize; 2]>,
    /// The stem ends with a convolution in place of a pooling.
    pub strided_stem: bool,
    /// A shortcut is pooled before its convolution.
    pub pools_shortcut: bool,
    pub smoothing: Option<Smoothing>,
    pub attention: Option<Attention>,
    /// Groups of channels that are normalised by themselves.
    pub norm_groups: Option<usize>,
    /// A block starts as the identity: the scale of its last normalisation is zero.
    pub zero_init: bool,
}

/// Where a block stands in the network.
pub(super) struct Place {
    pub kind: Kind,
    /// The width that its channels follow from.
    pub planes: usize,
    pub in_channels: usize,
    pub stride: usize,
    pub drop_path: f64,
}

impl Place {
    pub fn out_channels(&self) -> usize {
        self.planes * self.kind.expansion()
    }
}

impl Config {
    pub fn new(block: Kind, depths: [usize; 4]) -> Self {
        Self {
            depths,
            stages: [64, 128, 256, 512].map(|width| (block, width)),
            cardinality: 1,
            base_width: 64,
            stem: None,
            strided_stem: false,
            pools_shortcut: false,
            smoothing: None,
            attention: None,
            norm_groups: None,
            zero_init: true,
        }
    }

    pub fn groups(mut self, cardinality: usize, base_width: usize) -> Self {
        self.cardinality = cardinality;
        self.base_width = base_width;
        self
    }

    /// A deep stem, and an average-pooled shortcut.
    pub fn deep(mut self, widths: [usize; 2]) -> Self {
        self.stem = Some(widths);
        self.pools_shortcut = true;
        self
    }

    pub fn smooth(mut self, smoothing: Smoothing) -> Self {
        self.smoothing = Some(smoothing);
        self
    }

    /// The stages, of what is made for each place.
    pub fn stages<B>(
        &self,
        drop_path_rate: f64,
        mut block: impl FnMut(Place) -> B,
    ) -> Stages<Vec<B>> {
        let mut rates = drop_path_rates(drop_path_rate, self.depths.iter().sum());
        let mut channels = self.stem_channels();
        let mut stages = Vec::new();
        for (index, (depth, (kind, planes))) in self.depths.into_iter().zip(self.stages).enumerate()
        {
            let mut blocks = Vec::new();
            for (at, drop_path) in rates.by_ref().take(depth).enumerate() {
                let place = Place {
                    kind,
                    planes,
                    in_channels: channels,
                    stride: if index > 0 && at == 0 { 2 } else { 1 },
                    drop_path,
                };
                channels = place.out_channels();
                blocks.push(block(place));
            }
            stages.push(blocks);
        }
        Stages::new(stages)
    }

    /// The description, with names that go before those of a ResNet.
    pub fn describe<B>(
        &self,
        options: &BackboneOptions,
        stages: &Stages<Vec<B>>,
        names: KeyTable,
    ) -> Result<Description> {
        let stem = self.stem_shape(options)?;
        let [.., (kind, planes)] = self.stages;
        let channels = planes * kind.expansion();
        let first = self.stem.map_or("stem.conv", |_| "stem.deep.conv1");
        let groups = stages.groups_with_stem();
        Ok(Description {
            input_size: match self.smoothing {
                // Every layer that strides also pads, so a single pixel comes out as a single pixel.
                None => InputSize::AtLeast(1),
                // The means of an odd side are one fewer than what the shortcut has.
                Some(Smoothing::Average) => InputSize::MultipleOf(stem.scale(32)),
                // Two positions before the last stage, which the border is reflected at.
                Some(Smoothing::Blur) => InputSize::AtLeast(stem.scale(17)),
            },
            stem: Some(stem),
            key_table: self.add_names(names),
            ..Description::new(groups, options.in_channels, channels, first)
        })
    }

    fn stem_channels(&self) -> usize {
        self.stem.map_or(64, |[_, width]| 2 * width)
    }

    fn stem_shape(&self, options: &BackboneOptions) -> Result<StemShape> {
        let strides: &[usize] = if self.strided_stem { &[2, 2] } else { &[2] };
        options.stem.convolutions(strides, !self.strided_stem)
    }

    pub fn stem(&self, options: &BackboneOptions, params: &ParamBuilder) -> Result<Stem> {
        let shape = self.stem_shape(options)?;
        let (in_channels, strides) = (options.in_channels, shape.strides());
        let layer = |from, to, kernel, stride| {
            let conv = conv(from, to, kernel).stride(stride);
            ConvNorm::with_norm(conv, self.norm(to), Act::Relu, params)
        };
        let channels = self.stem_channels();
        let deep = self.stem.map(|[first, second]| DeepStem {
            conv1: layer(in_channels, first, 3, strides[0]),
            conv2: layer(first, second, 3, 1),
        });
        let conv = match self.stem {
            None => layer(in_channels, channels, 7, strides[0]),
            Some([_, second]) => layer(second, channels, 3, 1),
        };
        let conv_pool = strides
            .get(1)
            .map(|stride| layer(channels, channels, 3, *stride));
        Ok(Stem {
            deep,
            conv,
            conv_pool,
            smoothing: self.smoothing,
            pools: shape.pools() != Some(false),
        })
    }

    fn norm(&self, channels: usize) -> NormConfig {
        match self.norm_groups {
            Some(groups) => GroupNormConfig::new(channels, groups).into(),
            None => BatchNorm2dConfig::new(channels).into(),
        }
    }

    pub fn block(&self, place: &Place, params: &ParamBuilder) -> Block {
        let &Place {
            kind,
            planes,
            in_channels,
            ..
        } = place;
        let out_channels = place.out_channels();
        let width = planes * self.base_width / 64 * self.cardinality;
        let smoothing = self.smoothing.filter(|_| place.stride != 1);
        let stride = smoothing.map_or(place.stride, |_| 1);
        let inner = |config, to| ConvNorm::with_norm(config, self.norm(to), Act::Relu, params);
        let last = |config| {
            let norm = self.norm(out_channels);
            let norm = if self.zero_init {
                norm.zero_init()
            } else {
                norm
            };
            ConvNorm::with_norm(config, norm, Act::Relu, params)
        };
        let middle = conv(width, width, 3).stride(stride);
        let (conv1, conv2, conv3) = match kind {
            Basic => (
                inner(conv(in_channels, planes, 3).stride(stride), planes),
                last(conv(planes, planes, 3)),
                None,
            ),
            Bottleneck => (
                inner(conv(in_channels, width, 1), width),
                inner(middle.groups(self.cardinality), width),
                Some(last(conv(width, out_channels, 1))),
            ),
        };
        Block {
            conv1,
            conv2,
            conv3,
            attention: self.attention(out_channels, params),
            downsample: self.downsample(place, params),
            drop_path: DropPath::new(place.drop_path),
            smoothing,
        }
    }

    fn attention(&self, channels: usize, params: &ParamBuilder) -> Option<ChannelAttention> {
        Some(match self.attention? {
            Attention::Squeeze(part) => {
                let hidden = nearest_multiple_of_8(part * channels as f64);
                // The rule of all convolutions says nothing of a bias.
                let layer = |from, to| conv(from, to, 1).bias().biases(Init::PyTorch);
                let layers = [layer(channels, hidden), layer(hidden, channels)];
                let acts = [Act::Relu, Act::Sigmoid];
                ChannelAttention::Squeeze(SqueezeExcite::of(layers, acts, params))
            }
            Attention::Efficient => {
                ChannelAttention::Efficient(EfficientAttention::new(channels, params))
            }
        })
    }

    /// The shortcut of a block that changes the shape.
    pub fn downsample(&self, place: &Place, params: &ParamBuilder) -> Option<Downsample> {
        let out_channels = place.out_channels();
        if place.stride == 1 && place.in_channels == out_channels {
            return None;
        }
        let (pool, stride) = match place.stride {
            1 => (None, 1),
            side if self.pools_shortcut => (Some(side), 1),
            stride => (None, stride),
        };
        let shortcut = conv(place.in_channels, out_channels, 1).stride(stride);
        let norm = self.norm(out_channels);
        Some(Downsample {
            pool,
            conv: ConvNorm::with_norm(shortcut, norm, Act::None, params),
        })
    }

    fn add_names(&self, mut table: KeyTable) -> KeyTable {
        // The pooling before the shortcut's convolution takes the first place.
        let first = usize::from(self.pools_shortcut);
        for (ours, place) in [("conv", first), ("bn", first + 1)] {
            let ours = format!("stage*.*.downsample.{ours}");
            table.push(&ours, &format!("layer*.*.downsample.{place}"));
        }
        let last = self.stem.map_or("conv1", |_| "conv1.6");
        for (ours, theirs) in [
            ("stem.deep.conv1", "conv1.0"),
            ("stem.deep.bn1", "conv1.1"),
            ("stem.deep.conv2", "conv1.3"),
            ("stem.deep.bn2", "conv1.4"),
            ("stem.conv", last),
            ("stem.bn", "bn1"),
            ("stem.conv_pool", "maxpool.0"),
            ("stem.bn_pool", "maxpool.1"),
            ("stage*.*.attention.reduce", "layer*.*.se.fc1"),
            ("stage*.*.attention.expand", "layer*.*.se.fc2"),
            ("stage*.*.attention.weight", "layer*.*.se.conv.weight"),
            ("stage*", "layer*"),
        ] {
            table.push(ours, theirs);
        }
        table
    }
}

/// A convolution that keeps the size at stride 1.
pub(super) fn conv(in_channels: usize, out_channels: usize, kernel: usize) -> Conv2dConfig {
    Conv2dConfig::new(in_channels, out_channels, kernel)
        .padding(kernel / 2)
        .weights(Init::kaiming_normal_fan_out())
}
