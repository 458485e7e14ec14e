//! The first convolution, brought to another number of input channels.
//!
//! It was trained on RGB images, normalised with a mean and a standard deviation of each channel.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::init::{Init, Rng};
use crate::model::{Description, HostTensor};
use crate::preprocess::Normalization;

/// How the first convolution is brought to another number of input channels.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum StemRule {
    /// To one channel: exact. A grey image, normalised with the mean of the means and the mean of
    /// the standard deviations, gives what its RGB replica gives through the original layer: the
    /// kernel becomes s·Σ_c W_c/σ_c, and the constant Σ W_c·(m − μ_c)/σ_c moves into the running
    /// mean of the normalisation behind it (or into the bias, or the position embeddings). Only where the
    /// kernel hangs over a zero-padded border do the two differ. A layer that has none of them loses the
    /// constant, and a kernel that is [standardised](crate::nn::Conv2dConfig::standardized) before it
    /// is used loses its scale: there the two are alike, and not the same.
    ///
    /// To any other number of channels it is [`Repeat`](StemRule::Repeat).
    #[default]
    Fold,
    /// To one channel only: the sum of the kernel over its input channels, as timm does.
    Sum,
    /// To two or more channels: the kernel's input channels, repeated as often as needed, cut, and scaled by 3/N so that the
    /// activations keep their size, as timm does.
    Repeat,
    /// New values by a rule of [`Init`], also if the number of channels stays.
    Init(Init),
}

/// `fold`, `sum`, `repeat`, or the name of a rule of [`Init`].
impl std::str::FromStr for StemRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "fold" => Ok(StemRule::Fold),
            "sum" => Ok(StemRule::Sum),
            "repeat" => Ok(StemRule::Repeat),
            rule => rule.parse().map(StemRule::Init),
        }
    }
}

impl std::fmt::Display for StemRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StemRule::Fold => f.write_str("fold"),
            StemRule::Sum => f.write_str("sum"),
            StemRule::Repeat => f.write_str("repeat"),
            StemRule::Init(rule) => rule.fmt(f),
        }
    }
}

/// A first convolution after surgery.
struct AdaptedConv {
    weight: HostTensor,
    /// What the layer's output gained, for each output channel, and must lose again behind it.
    constant: Option<Vec<f64>>,
}

/// Brings a convolution of shape `[out, from, k, k]` to `to` input channels.
///
/// `normalization` is that of the images the layer was trained on.
fn adapt_conv(
    weight: &HostTensor,
    to: usize,
    rule: &StemRule,
    normalization: &Normalization,
    rng: &mut Rng,
) -> Result<AdaptedConv> {
    let [out, from, height, width] = weight.shape[..] else {
        return Err(Error::argument(
            "first convolution",
            "four dimensions",
            format!("{:?}", weight.shape),
        ));
    };
    let area = height * width;
    let shape = vec![out, to, height, width];
    let plain = |data| AdaptedConv {
        weight: HostTensor {
            shape: shape.clone(),
            data,
        },
        constant: None,
    };
    // The taps of one output channel for one input channel.
    let taps = |o: usize, c: usize| &weight.data[(o * from + c) * area..][..area];
    match rule {
        StemRule::Init(init) => Ok(plain(init.weight(&shape, rng)?)),
        _ if from == to => Ok(plain(weight.data.clone())),
        StemRule::Fold if to == 1 => {
            if normalization.channels() != from {
                return Err(Error::argument(
                    "normalization",
                    format!(
                        "a mean and a standard deviation for each of the {from} channels of the weights"
                    ),
                    format!("{} channels", normalization.channels()),
                ));
            }
            let grey = normalization.for_channels(1);
            let (m, s) = (grey.mean()[0], grey.std()[0]);
            let mut data = Vec::with_capacity(out * area);
            let mut constant = vec![0.0; out];
            for (o, constant) in constant.iter_mut().enumerate() {
                for tap in 0..area {
                    let mut sum = 0.0;
                    for c in 0..from {
                        let scaled = f64::from(taps(o, c)[tap]) / normalization.std()[c];
                        sum += scaled;
                        *constant += scaled * (m - normalization.mean()[c]);
                    }
                    data.push((s * sum) as f32);
                }
            }
            Ok(AdaptedConv {
                constant: Some(constant),
                ..plain(data)
            })
        }
        StemRule::Sum if to == 1 => {
            // The order of timm's `weight.sum(dim=1)`, so that the bits agree.
            let sum = |o: usize, tap: usize| (0..from).fold(0.0f32, |sum, c| sum + taps(o, c)[tap]);
            let data = (0..out).flat_map(|o| (0..area).map(move |tap| sum(o, tap)));
            Ok(plain(data.collect()))
        }
        StemRule::Sum => Err(Error::argument(
            "stem rule `sum`",
            "one input channel; `repeat` serves any other number",
            format!("{to} channels"),
        )),
        StemRule::Repeat if to == 1 => Err(Error::argument(
            "stem rule `repeat`",
            "two or more input channels; `fold` or `sum` serve one",
            "1 channel",
        )),
        StemRule::Fold | StemRule::Repeat => {
            let scale = (from as f64 / to as f64) as f32;
            let data = (0..out)
                .flat_map(|o| (0..to).flat_map(move |c| taps(o, c % from)))
                .map(|tap| tap * scale);
            Ok(plain(data.collect()))
        }
    }
}

/// The convolutions that see the image, brought to another number of input channels.
pub(crate) struct AdaptedStem {
    /// The kernels, by their path.
    kernels: HashMap<String, Vec<f32>>,
    /// What the constants that the convolutions gained change behind them, by the tensor's path.
    shifts: HashMap<String, Shift>,
}

/// What is added to a tensor.
struct Shift {
    /// Values at the start of the tensor that stay.
    kept: usize,
    /// Is added to what follows, over and over.
    constant: Vec<f64>,
}

impl AdaptedStem {
    /// Adapts each of the model's first convolutions, whose kernels `read` gives by their path.
    ///
    /// `normalization` is that of the images the layers were trained on.
    pub fn new(
        model: &Description,
        to: usize,
        rule: &StemRule,
        normalization: &Normalization,
        seed: u64,
        read: impl Fn(&str) -> Result<HostTensor>,
    ) -> Result<Self> {
        let mut stem = Self {
            kernels: HashMap::new(),
            shifts: HashMap::new(),
        };
        for first in &model.first_convs {
            let path = first.weight();
            let mut rng = Rng::new(seed, &path);
            let adapted = adapt_conv(&read(&path)?, to, rule, normalization, &mut rng)?;
            let width = adapted.weight.shape[0];
            stem.kernels.insert(path, adapted.weight.data);
            let Some(mut constant) = adapted.constant.filter(|_| !first.is_standardized) else {
                continue;
            };
            let positions = model.pos_embed.as_ref().filter(|_| first.into_positions);
            let (target, kept) = match (&first.norm, positions) {
                (Some(norm), _) => {
                    // The normalisation subtracts its mean, so what the input lost, the mean loses too.
                    constant.iter_mut().for_each(|value| *value = -*value);
                    (format!("{norm}.running_mean"), 0)
                }
                (None, Some(positions)) => {
                    (positions.path.clone(), positions.prefix_tokens * width)
                }
                (None, None) => (format!("{}.bias", first.conv), 0),
            };
            stem.shifts.insert(target, Shift { kept, constant });
        }
        Ok(stem)
    }

    /// The new kernels of a convolution, if this is their path.
    pub fn kernels(&self, path: &str) -> Option<Vec<f32>> {
        self.kernels.get(path).cloned()
    }

    /// The values of another tensor, with a constant added if this is one it goes to.
    pub fn shifted(&self, path: &str, mut data: Vec<f32>) -> Vec<f32> {
        if let Some(Shift { kept, constant }) = self.shifts.get(path) {
            let constants = constant.iter().cycle();
            for (value, shift) in data.iter_mut().skip(*kept).zip(constants) {
                *value = (f64::from(*value) + shift) as f32;
            }
        }
        data
    }
}
