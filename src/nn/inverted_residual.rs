//! The blocks of the MobileNets and their kin, and the words in which timm writes them.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{
    Act, BatchNorm2dConfig, Conv2dConfig, ConvNorm, DropPath, Epilogue, ParamBuilder, SqueezeExcite,
};
use crate::error::{Error, Result};
use crate::init::Init;

/// Which convolutions an [`InvertedResidual`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// A depthwise one and one of 1x1 (MobileNet V1): `ds`.
    Separable,
    /// One of 1x1 that widens, a depthwise one, and one of 1x1 that narrows (MobileNet V2): `ir`.
    Inverted,
    /// One convolution alone: `cn`.
    Conv,
}

/// Some blocks of a stage in timm's words: `ir_r2_k5_s2_e4.5_c40_se0.25_nre`.
///
/// It is a kind, and behind it how often the block is repeated (`r`), the side of the kernels
/// (`k`), the stride of the first one (`s`), the channels within as a multiple of the input's (`e`),
/// those of the output (`c`), those of the squeeze-excite as a part of those within (`se`, none
/// without it), and the activation if it is ReLU (`nre`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockSpec {
    /// Which convolutions.
    pub kind: BlockKind,
    /// How often.
    pub repeats: usize,
    /// A side of the spatial kernels.
    pub kernel: usize,
    /// Stride of the first block.
    pub stride: usize,
    /// Channels within, as a multiple of the input's.
    pub expansion: f64,
    /// Channels of the output, before a network's factor of width.
    pub channels: usize,
    /// Channels of the squeeze-excite, as a part of those within.
    pub se: Option<f64>,
    /// Whether the activation is ReLU, whatever the network's is.
    pub is_relu: bool,
}

impl std::str::FromStr for BlockSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            let expected = "timm's words, such as ir_r1_k3_s2_e4_c24_se0.25_nre";
            Error::argument("blocks", expected, format!("`{text}`"))
        };
        let mut words = text.split('_');
        let kind = match words.next() {
            Some("ds") => BlockKind::Separable,
            Some("ir") => BlockKind::Inverted,
            Some("cn") => BlockKind::Conv,
            _ => return Err(bad()),
        };
        let mut spec = Self {
            kind,
            repeats: 1,
            kernel: 1,
            stride: 1,
            expansion: 1.0,
            channels: 0,
            se: None,
            is_relu: false,
        };
        for word in words {
            let number = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
            let float = || number.parse::<f64>().map_err(|_| bad());
            let whole = || number.parse::<usize>().map_err(|_| bad());
            match &word[..word.len() - number.len()] {
                "r" => spec.repeats = whole()?,
                "k" => spec.kernel = whole()?,
                "s" => spec.stride = whole()?,
                "e" => spec.expansion = float()?,
                "c" => spec.channels = whole()?,
                "se" => spec.se = Some(float()?),
                "nre" if number.is_empty() => spec.is_relu = true,
                _ => return Err(bad()),
            }
        }
        if spec.channels == 0 || spec.stride == 0 || spec.kernel == 0 {
            return Err(bad());
        }
        Ok(spec)
    }
}

/// The multiple of 8 that is nearest to a number of channels, and at least nine tenths of it.
pub fn divisible_by_8(channels: f64) -> usize {
    let nearest = (((channels + 4.0) / 8.0) as usize * 8).max(8);
    if (nearest as f64) < 0.9 * channels {
        nearest + 8
    } else {
        nearest
    }
}

/// How timm initialises the convolutions of these networks: N(0, 2 / fan_out), the fan that of one
/// group.
pub fn fan_out_normal(fan_out: usize) -> Init {
    Init::normal((2.0 / fan_out as f64).sqrt())
}

/// What the blocks of a network have in common.
#[derive(Debug, Clone, Copy)]
pub struct BlockStyle {
    /// The activation.
    pub act: Act,
    /// The activations within the squeeze-excite and at its end.
    pub se_acts: [Act; 2],
    /// Epsilon of the normalisations.
    pub epsilon: f64,
}

/// A block of a MobileNet or one of its kin; what its kind lacks is `None`.
#[derive(Module, Debug)]
pub struct InvertedResidual {
    conv_pw: Option<ConvNorm>,
    conv_dw: Option<ConvNorm>,
    se: Option<SqueezeExcite>,
    conv_pwl: Option<ConvNorm>,
    has_shortcut: bool,
    drop_path: DropPath,
}

impl InvertedResidual {
    /// The names of a block's parts in timm's files, ours first.
    pub fn names(kind: BlockKind) -> &'static [(&'static str, &'static str)] {
        match kind {
            BlockKind::Separable => &[
                ("bn_dw", "bn1"),
                ("conv_pwl", "conv_pw"),
                ("bn_pwl", "bn2"),
                ("se.reduce", "se.conv_reduce"),
                ("se.expand", "se.conv_expand"),
            ],
            BlockKind::Inverted => &[
                ("bn_pw", "bn1"),
                ("bn_dw", "bn2"),
                ("bn_pwl", "bn3"),
                ("se.reduce", "se.conv_reduce"),
                ("se.expand", "se.conv_expand"),
            ],
            BlockKind::Conv => &[("conv_pw", "conv"), ("bn_pw", "bn1")],
        }
    }

    /// A block from and to so many channels.
    pub fn new(
        spec: &BlockSpec,
        style: BlockStyle,
        [from, to]: [usize; 2],
        stride: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Self {
        let act = if spec.is_relu { Act::Relu } else { style.act };
        let layer = |conv: Conv2dConfig, out: usize, act| {
            let norm = BatchNorm2dConfig::new(out).epsilon(style.epsilon);
            ConvNorm::with_norm(conv, norm, act, params)
        };
        let conv = |from, to, kernel: usize, groups: usize| {
            Conv2dConfig::new(from, to, kernel)
                .padding(kernel / 2)
                .groups(groups)
                .weights(fan_out_normal(kernel * kernel * to / groups))
        };
        let inner = divisible_by_8(from as f64 * spec.expansion);
        let is_conv = spec.kind == BlockKind::Conv;
        let first = match spec.kind {
            BlockKind::Separable => None,
            BlockKind::Inverted => Some(layer(conv(from, inner, 1, 1), inner, act)),
            BlockKind::Conv => {
                let conv = conv(from, to, spec.kernel, 1).stride(stride);
                Some(layer(conv, to, act))
            }
        };
        let depthwise = || conv(inner, inner, spec.kernel, inner).stride(stride);
        let se = |part: f64| {
            let hidden = divisible_by_8(part * inner as f64);
            SqueezeExcite::new(inner, hidden, style.se_acts, fan_out_normal, params)
        };
        Self {
            conv_pw: first,
            conv_dw: (!is_conv).then(|| layer(depthwise(), inner, act)),
            se: spec.se.map(se),
            conv_pwl: (!is_conv).then(|| layer(conv(inner, to, 1, 1), to, Act::None)),
            has_shortcut: !is_conv && stride == 1 && from == to,
            drop_path: DropPath::new(drop_path),
        }
    }

    /// The block.
    ///
    /// # Shapes
    /// - input: `[batch, in_channels, height, width]`
    /// - output: `[batch, out_channels, height / stride, width / stride]`, rounded up
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if !self.has_shortcut {
            return self.branch(x, Epilogue::default());
        }
        let branch = |x, end: Epilogue<'_, 4>| self.branch(x, end);
        self.drop_path.residual(x, Act::None, |x| x, branch)
    }

    fn branch(&self, x: Tensor<4>, end: Epilogue<'_, 4>) -> Tensor<4> {
        let convs = [&self.conv_pw, &self.conv_dw].into_iter().flatten();
        let mut x = convs.fold(x, |x, conv| conv.forward(x));
        if let Some(se) = &self.se {
            x = se.forward(x);
        }
        match &self.conv_pwl {
            Some(conv) => conv.forward_with(x, end),
            None => x,
        }
    }
}
