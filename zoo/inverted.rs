//! The network of inverted residuals: the MobileNets, EfficientNet and their kin, which differ in their
//! blocks, widths and depths, and in whether the last convolution is before or behind the pooling.
//!
//! The structure is that of all networks of timm's `EfficientNetBuilder`. Each family has a file with its
//! variants, and makes a [`Config`] of them.

use burn::module::Module;
use burn::tensor::Tensor;
use serde_json::{Map, Value};

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::{FanMode, Init, Nonlinearity};
use crate::model::{
    Backbone, Description, Features, Group, InputSize, KeyTable, OtherNames, Pool, Pooling, Stages,
    key_table,
};
use crate::nn::{
    Act, BlockSpec, BlockStyle, Conv2d, Conv2dConfig, ConvLayer, ConvNorm, Epilogue, Excite,
    MobileBlock, NormKind, ParamBuilder, StridedPool, fan_out_normal, nearest_divisible_by_8,
};

/// The blocks of each stage; the words are [`BlockSpec`]'s.
pub(super) type Words = &'static [&'static [&'static str]];

/// U(-b, b) with b = 1 / sqrt(classes).
const CLASSIFIER: Init = Init::KaimingUniform {
    mode: FanMode::FanOut,
    nonlinearity: Nonlinearity::LeakyRelu(2.236_067_977_499_79),
};

/// The shape of a network of inverted residuals.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub stages: Words,
    /// Factor of the widths of the stages, and of the stem unless it is fixed.
    pub width: f64,
    /// The least part of a width that rounding to a multiple of 8 may leave of it.
    pub least_width: f64,
    pub depth: Depth,
    pub stem: usize,
    pub is_stem_fixed: bool,
    pub head: Head,
    pub style: BlockStyle,
    /// Pixels that it needs on a side.
    pub least_size: usize,
    /// The epsilon, if timm's constructor has to be told it.
    pub named_epsilon: Option<f64>,
    pub other_names: Vec<OtherNames>,
}

/// How often blocks are repeated.
#[derive(Debug, Clone, Copy)]
pub(super) enum Depth {
    /// The blocks of each stage times this, rounded up.
    Up(f64),
    /// The same but in the first and the last stage.
    Inner(f64),
    /// The first factor in the first four stages, the second in the others; rounded up.
    Late([f64; 2]),
    /// The blocks of each stage times this, rounded to the nearest.
    Nearest(f64),
}

/// What is behind the stages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Head {
    /// The pooling.
    None,
    /// A convolution to so many channels, then the pooling.
    Conv(usize),
    /// The pooling, then a convolution to so many channels, with or without a bias.
    Pooled { channels: usize, has_bias: bool },
    /// The pooling, then a convolution to so many channels and its normalisation.
    PooledNorm(usize),
}

impl Config {
    pub fn new(stages: Words, width: f64, act: Act) -> Self {
        Self {
            stages,
            width,
            least_width: 0.9,
            depth: Depth::Up(1.0),
            stem: 32,
            is_stem_fixed: false,
            head: Head::Conv(1280),
            style: BlockStyle {
                act,
                excite: Excite::EFFICIENT,
                norm: NormKind::Batch { epsilon: 1e-5 },
                is_same: false,
                pool: None,
                layer_scale: None,
            },
            least_size: 1,
            named_epsilon: None,
            other_names: Vec::new(),
        }
    }

    /// As TensorFlow computes it.
    pub fn tf(mut self) -> Self {
        self.style.is_same = true;
        self.norm(NormKind::Batch { epsilon: 1e-3 })
    }

    pub fn norm(mut self, norm: NormKind) -> Self {
        self.style.norm = norm;
        self
    }

    pub fn act(mut self, act: Act) -> Self {
        self.style.act = act;
        self
    }

    pub fn excite(mut self, excite: Excite) -> Self {
        self.style.excite = excite;
        self
    }

    /// Poolings stride in place of the convolutions of the stages.
    pub fn pool(mut self, pool: StridedPool) -> Self {
        self.style.pool = Some(pool);
        self
    }

    pub fn named_as(mut self, names: OtherNames) -> Self {
        self.other_names.push(names);
        self
    }

    pub fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<InvertedNet> {
        let specs = self.specs()?;
        let shape = options.stem.convolutions(&[2], false)?;
        let stem = self.stem(options.in_channels, shape.stride(), params);
        let mut channels = self.stem_channels();
        let total: usize = specs.iter().flatten().map(|spec| spec.repeats).sum();
        // Unlike in other families, the last block does not reach the full rate.
        let mut rates = (0..total).map(|i| options.drop_path_rate * i as f64 / total as f64);
        let mut stages = Vec::new();
        for spec in &specs {
            let mut blocks = Vec::new();
            for spec in spec {
                for rate in rates.by_ref().take(spec.repeats) {
                    // Only the first block of a stage strides.
                    let stride = if blocks.is_empty() { spec.stride } else { 1 };
                    let style = &self.style;
                    blocks.push(MobileBlock::new(
                        spec, style, channels, stride, rate, params,
                    ));
                    channels = spec.channels;
                }
            }
            stages.push(blocks);
        }
        let stages = Stages::new(stages);
        let mut groups = stages.groups_with_stem();
        let head = |from, to| {
            let conv = Conv2dConfig::new(from, to, 1).weights(fan_out_normal(to));
            let conv = ConvNorm::with_norm(conv, self.style.norm(to), self.style.act, params);
            ConvLayer { conv }
        };
        let pooled = channels * options.pool.multiplier();
        let (mut conv_head, mut pre_logits) = (None, None);
        match self.head {
            Head::None => {}
            Head::Conv(to) => {
                conv_head = Some(head(channels, to));
                groups.push(Group::named("conv_head"));
                channels = to;
            }
            Head::Pooled {
                channels: to,
                has_bias,
            } => {
                let conv = Conv2dConfig::new(pooled, to, 1).weights(fan_out_normal(to));
                let conv = if has_bias { conv.bias() } else { conv };
                pre_logits = Some(PreLogits::Conv(conv.init(params)));
            }
            Head::PooledNorm(to) => pre_logits = Some(PreLogits::Normed(head(pooled, to))),
        }
        let description = Description {
            has_pre_logits: pre_logits.is_some(),
            head_features: match self.head {
                Head::None | Head::Conv(_) => None,
                Head::Pooled { channels, .. } | Head::PooledNorm(channels) => Some(channels),
            },
            input_size: InputSize::AtLeast(shape.scale(self.least_size)),
            stem: Some(shape),
            classifier: "classifier",
            classifier_init: CLASSIFIER,
            key_table: timm_names(&specs, self.head),
            other_names: self.other_names.clone(),
            ..Description::new(groups, options.in_channels, channels, "stem.conv")
        };
        let backbone = InvertedNet {
            stem,
            stages,
            conv_head,
            pre_logits,
            num_stages: specs.len(),
            act: self.style.act,
            named_epsilon: self.named_epsilon,
        };
        Ok((backbone, description))
    }

    /// The blocks of each stage, with the widths and repeats of this network.
    fn specs(&self) -> Result<Vec<Vec<BlockSpec>>> {
        let last = self.stages.len().saturating_sub(1);
        let stage = |(index, words): (usize, &&[&str])| -> Result<Vec<BlockSpec>> {
            let specs: Result<Vec<BlockSpec>> = words.iter().map(|words| words.parse()).collect();
            let mut specs = specs?;
            // What a stage gains in depth is shared out from its last blocks on, as in timm.
            let mut before: usize = specs.iter().map(|spec| spec.repeats).sum();
            let mut after = self.depth.of(index, last, before);
            for spec in specs.iter_mut().rev() {
                let share = spec.repeats as f64 / before as f64 * after as f64;
                before -= spec.repeats;
                spec.repeats = (share.round_ties_even() as usize).max(1);
                after = after.saturating_sub(spec.repeats);
            }
            let scaled = specs
                .into_iter()
                .map(|spec| spec.with_channels(|n| self.scaled(n)));
            Ok(scaled.collect())
        };
        self.stages.iter().enumerate().map(stage).collect()
    }

    fn scaled(&self, channels: usize) -> usize {
        nearest_divisible_by_8(channels as f64 * self.width, self.least_width)
    }

    fn stem_channels(&self) -> usize {
        if self.is_stem_fixed {
            self.stem
        } else {
            self.scaled(self.stem)
        }
    }

    fn stem(&self, in_channels: usize, stride: usize, params: &ParamBuilder) -> ConvLayer {
        let (style, channels) = (&self.style, self.stem_channels());
        let conv = Conv2dConfig::new(in_channels, channels, 3).stride(stride);
        let conv = conv.weights(fan_out_normal(9 * channels));
        let conv = if style.is_same {
            conv.same()
        } else {
            conv.padding(1)
        };
        let conv = ConvNorm::with_norm(conv, style.norm(channels), style.act, params);
        ConvLayer { conv }
    }
}

impl Depth {
    /// Blocks of a stage that has so many before; `last` is the index of the last stage.
    fn of(self, stage: usize, last: usize, blocks: usize) -> usize {
        let factor = match self {
            Self::Up(factor) | Self::Nearest(factor) => factor,
            Self::Inner(_) if stage == 0 || stage == last => 1.0,
            Self::Inner(factor) => factor,
            Self::Late([early, late]) => {
                if stage < 4 {
                    early
                } else {
                    late
                }
            }
        };
        let blocks = blocks as f64 * factor;
        let blocks = match self {
            Self::Nearest(_) => blocks.round_ties_even().max(1.0),
            _ => blocks.ceil(),
        };
        blocks as usize
    }
}

/// timm's names.
fn timm_names(specs: &[Vec<BlockSpec>], head: Head) -> KeyTable {
    let mut table = key_table![
        "stem.conv" => "conv_stem", "stem.bn" => "bn1",
        "conv_head.conv" => "conv_head", "conv_head.bn" => "bn2",
    ];
    if let Head::PooledNorm(_) = head {
        table.push("pre_logits.conv", "conv_head");
        table.push("pre_logits.bn", "norm_head");
    } else {
        table.push("pre_logits", "conv_head");
    }
    for (index, specs) in specs.iter().enumerate() {
        let mut kinds: Vec<_> = specs.iter().map(|spec| spec.kind).collect();
        kinds.dedup();
        for (ours, theirs) in kinds.into_iter().flat_map(MobileBlock::names) {
            let ours = format!("stage{}.*.{ours}", index + 1);
            table.push(&ours, &format!("blocks.{index}.*.{theirs}"));
        }
    }
    table.push("stage*", "blocks.*-1");
    table
}

/// A stem, stages of inverted residuals, and a convolution before or behind the pooling.
#[derive(Module, Debug)]
pub(super) struct InvertedNet {
    stem: ConvLayer,
    stages: Stages<Vec<MobileBlock>>,
    conv_head: Option<ConvLayer>,
    pre_logits: Option<PreLogits>,
    num_stages: usize,
    #[module(skip)]
    act: Act,
    named_epsilon: Option<f64>,
}

impl Backbone for InvertedNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        match &self.conv_head {
            Some(head) if index == self.num_stages + 1 => {
                Ok(Features::Map(head.forward(x.into_map()?)))
            }
            _ => self.stages.forward_group(&self.stem, index, x),
        }
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let Some(layer) = &self.pre_logits else {
            return Ok(pooling.vector(features));
        };
        let pooled = pooling.map(features.into_map()?);
        let act = Epilogue::act(self.act);
        let vector = match layer {
            PreLogits::Conv(conv) => conv.forward_with(pooled, act),
            PreLogits::Normed(layer) => layer.forward(pooled),
        };
        Ok(vector.flatten(1, 3))
    }

    fn timm_args(&self, _pool: Pool) -> Map<String, Value> {
        let named = |epsilon| ("bn_eps".to_owned(), Value::from(epsilon));
        self.named_epsilon.map(named).into_iter().collect()
    }
}

/// The convolution behind the pooling.
#[derive(Module, Debug)]
enum PreLogits {
    Conv(Conv2d),
    Normed(ConvLayer),
}
