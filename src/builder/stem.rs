//! The first convolution, brought to another number of input channels.
//!
//! It was trained on RGB images, normalised with a mean and a standard deviation of each channel.

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
    /// mean of the normalisation behind it (or into the bias, or the position embeddings). Only where the kernel hangs over a
    /// zero-padded border do the two differ.
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
pub(crate) struct AdaptedConv {
    pub weight: HostTensor,
    /// What the layer's output gained, for each output channel, and must lose again behind it.
    pub constant: Option<Vec<f64>>,
}

/// Brings a convolution of shape `[out, from, k, k]` to `to` input channels.
///
/// `normalization` is that of the images the layer was trained on.
pub(crate) fn adapt_conv(
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

/// Where the constant of a folded convolution goes.
pub(crate) struct Shift {
    target: Option<(String, Vec<f64>)>,
    /// Values at the start of that tensor that stay.
    kept: usize,
}

impl Shift {
    pub fn of(description: &Description, adapted: &AdaptedConv) -> Self {
        let first = &description.first_conv;
        let positions = description.pos_embed.as_ref();
        let positions = positions.filter(|_| first.into_positions);
        let target = adapted.constant.as_ref().map(|constant| match &first.norm {
            // The normalisation subtracts its mean, so what the input lost, the mean loses too.
            Some(norm) => {
                let less = constant.iter().map(|c| -c).collect();
                (format!("{norm}.running_mean"), less)
            }
            None => match positions {
                Some(positions) => (positions.path.clone(), constant.clone()),
                None => (format!("{}.bias", first.conv), constant.clone()),
            },
        });
        let kept = positions.map_or(0, |it| it.prefix_tokens * adapted.weight.shape[0]);
        Self { target, kept }
    }

    /// Adds the constant if this is the tensor it goes to.
    pub fn apply(&self, path: &str, mut data: Vec<f32>) -> Vec<f32> {
        if let Some((target, shift)) = &self.target
            && target == path
        {
            let shifts = shift.iter().cycle();
            for (value, shift) in data.iter_mut().skip(self.kept).zip(shifts) {
                *value = (f64::from(*value) + shift) as f32;
            }
        }
        data
    }
}
