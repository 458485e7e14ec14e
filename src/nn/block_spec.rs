//! The words in which timm writes the blocks of the MobileNets and their kin.

use super::Act;
use crate::error::{Error, Result};

/// Which layers a [`MobileBlock`](super::MobileBlock) has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// A depthwise convolution and one of 1x1 (MobileNet V1): `ds`, or `dsa` with an activation
    /// behind the last one too, and never with a shortcut.
    Separable,
    /// A convolution of 1x1 that widens, a depthwise one, and one of 1x1 that narrows (MobileNet
    /// V2): `ir`.
    Inverted,
    /// A convolution that widens, and one of 1x1 that narrows (EfficientNet-EdgeTPU): `er`.
    Edge,
    /// One convolution alone: `cn`.
    Conv,
    /// As `Inverted`, with another depthwise convolution before, and either or neither of the two
    /// (MobileNet V4): `uir`.
    Universal,
    /// Attention whose heads share keys and values (MobileNet V4): `mqa`.
    Attention,
}

/// Some blocks of a stage in timm's words: `ir_r2_k5_s2_e4.5_c40_se0.25_nre`.
///
/// It is a kind, and behind it, in any order:
///
/// | word | says |
/// |---|---|
/// | `r` | how often the block is repeated |
/// | `k` | the side of the spatial kernels; of `uir`, 0 for no depthwise convolution |
/// | `a`, `p` | the kernels of the convolutions before and behind the depthwise one, 1 unless said; of `uir`, `a` is the side of the depthwise convolution before, 0 unless said |
/// | `s` | the stride of the first block |
/// | `e` | the channels within, as a multiple of the input's |
/// | `fc` | of how many channels they are a multiple, if not of the input's |
/// | `c` | the channels of the output |
/// | `se` | the channels of the squeeze-excite as a part of others; none without it |
/// | `nre`, `nsw` | the activation, if it is not the network's: ReLU, SiLU |
/// | `noskip`, `skip` | no shortcut; of `cn`, a shortcut |
/// | `h`, `d`, `v` | heads, features of each, and the stride of keys and values |
///
/// Kernels of several sides (`k3.5.7`) are those of a [`MixedConv`](super::MixedConv).
#[derive(Debug, Clone, PartialEq)]
pub struct BlockSpec {
    /// Which layers.
    pub kind: BlockKind,
    /// How often.
    pub repeats: usize,
    /// Sides of the spatial kernels.
    pub kernels: Vec<usize>,
    /// Sides of the kernels of the first convolution.
    pub first_kernels: Vec<usize>,
    /// Sides of the kernels of the last convolution.
    pub last_kernels: Vec<usize>,
    /// Stride of the first block.
    pub stride: usize,
    /// Channels within, as a multiple of the input's.
    pub expansion: f64,
    /// Channels that the expansion counts from, if not the input's.
    pub expanded: Option<usize>,
    /// Channels of the output.
    pub channels: usize,
    /// Channels of the squeeze-excite, as a part of others.
    pub se: Option<f64>,
    /// The activation, if it is not the network's.
    pub act: Option<Act>,
    /// Whether an activation ends the block.
    pub ends_active: bool,
    /// Whether there is a shortcut where the shape stays.
    pub has_shortcut: bool,
    /// Heads of the attention.
    pub heads: usize,
    /// Features of each head.
    pub head_features: usize,
    /// Stride of keys and values.
    pub key_stride: usize,
}

impl std::str::FromStr for BlockSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            let expected = "timm's words, such as ir_r1_k3_s2_e4_c24_se0.25_nre";
            Error::argument("blocks", expected, format!("`{text}`"))
        };
        let mut words = text.split('_');
        let kind = words.next().ok_or_else(bad)?;
        let ends_active = kind == "dsa";
        let kind = match kind {
            "ds" | "dsa" => BlockKind::Separable,
            "ir" => BlockKind::Inverted,
            "er" => BlockKind::Edge,
            "cn" => BlockKind::Conv,
            "uir" => BlockKind::Universal,
            "mqa" => BlockKind::Attention,
            _ => return Err(bad()),
        };
        let is_universal = kind == BlockKind::Universal;
        let mut spec = Self {
            kind,
            repeats: 1,
            kernels: vec![1],
            first_kernels: vec![if is_universal { 0 } else { 1 }],
            last_kernels: vec![1],
            stride: 1,
            expansion: 1.0,
            expanded: None,
            channels: 0,
            se: None,
            act: None,
            ends_active,
            has_shortcut: kind != BlockKind::Conv && !ends_active,
            heads: 1,
            head_features: 1,
            key_stride: 1,
        };
        for word in words {
            let number = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
            let float = || number.parse::<f64>().map_err(|_| bad());
            let whole = || number.parse::<usize>().map_err(|_| bad());
            let kernels = || {
                let side = |side: &str| side.parse::<usize>().map_err(|_| bad());
                number.split('.').map(side).collect::<Result<Vec<_>>>()
            };
            match &word[..word.len() - number.len()] {
                "r" => spec.repeats = whole()?,
                "k" => spec.kernels = kernels()?,
                "a" => spec.first_kernels = kernels()?,
                "p" if !is_universal => spec.last_kernels = kernels()?,
                "s" => spec.stride = whole()?,
                "e" => spec.expansion = float()?,
                "fc" => spec.expanded = Some(whole()?),
                "c" => spec.channels = whole()?,
                "se" => spec.se = Some(float()?),
                "h" => spec.heads = whole()?,
                "d" => spec.head_features = whole()?,
                "v" => spec.key_stride = whole()?,
                "nre" if number.is_empty() => spec.act = Some(Act::Relu),
                "nsw" if number.is_empty() => spec.act = Some(Act::Silu),
                "noskip" if number.is_empty() => spec.has_shortcut = false,
                "skip" if number.is_empty() => spec.has_shortcut = true,
                _ => return Err(bad()),
            }
        }
        if is_universal {
            spec.kernels.retain(|&side| side > 0);
            spec.first_kernels.retain(|&side| side > 0);
        }
        let kernels = [&spec.kernels, &spec.first_kernels, &spec.last_kernels];
        let numbers = [spec.channels, spec.stride, spec.heads, spec.key_stride];
        let is_void = numbers.contains(&0) || kernels.iter().any(|sides| sides.contains(&0));
        // The depthwise convolution in the middle strides; without one there is none that does.
        let cannot_stride = spec.kernels.is_empty() && spec.stride > 1;
        if is_void || cannot_stride {
            return Err(bad());
        }
        Ok(spec)
    }
}

impl BlockSpec {
    /// The same with other numbers of channels.
    pub fn with_channels(self, change: impl Fn(usize) -> usize) -> Self {
        Self {
            channels: change(self.channels),
            expanded: self.expanded.map(&change),
            ..self
        }
    }
}

/// The multiple of 8 that is nearest to a number of channels, and at least nine tenths of it.
pub fn divisible_by_8(channels: f64) -> usize {
    nearest_divisible_by_8(channels, 0.9)
}

/// The multiple of 8 that is nearest to a number of channels, or the next one if that is less than
/// this part of it.
pub fn nearest_divisible_by_8(channels: f64, at_least: f64) -> usize {
    let nearest = (((channels + 4.0) / 8.0) as usize * 8).max(8);
    if (nearest as f64) < at_least * channels {
        nearest + 8
    } else {
        nearest
    }
}
