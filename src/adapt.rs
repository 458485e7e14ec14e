//! Surgery on the first and the last layer.
//!
//! The first convolution was trained on RGB images, normalised with a mean and a standard deviation
//! of each channel. [`StemRule`] says how it is brought to another number of channels.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::init::{Init, Rng};
use crate::model::{Classifier, HEAD, Head};
use crate::params;
use crate::preprocess::Normalization;
use crate::weights::HostTensor;

/// How the first convolution is brought to another number of input channels.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum StemRule {
    /// To one channel: exact. A grey image, normalised with the mean of the means and the mean of
    /// the standard deviations, gives what its RGB replica gives through the original layer: the
    /// kernel becomes s·Σ_c W_c/σ_c, and the constant Σ W_c·(m − μ_c)/σ_c moves into the running
    /// mean of the normalisation behind it (or into the bias). Only where the kernel hangs over a
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

impl Classifier {
    /// Replaces the first convolution by one for `in_channels` channels, made from the present one
    /// by `rule`. The normalisation of the images changes with it. What was frozen stays frozen; an
    /// optimiser made before starts anew.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for zero channels, or for a rule that does not apply.
    pub fn reset_stem(mut self, in_channels: usize, rule: &StemRule, seed: u64) -> Result<Self> {
        check_channels(in_channels)?;
        let first = self.backbone.first_conv();
        let name = format!("{}.weight", first.conv);
        let values = params::read(&self)?;
        let find = |path: &str| values.iter().find(|(p, _)| p == path).map(|(_, t)| t);
        let Some(weight) = find(&name) else {
            return Err(Error::Pattern {
                pattern: name,
                reason: "the model has no such parameter".to_owned(),
            });
        };
        let mut rng = Rng::new(seed, &name);
        let adapted = adapt_conv(
            weight,
            in_channels,
            rule,
            &self.info.normalization,
            &mut rng,
        )?;

        let spec = crate::Spec::like(&self).in_channels(in_channels);
        let device = self.device();
        let mut rebuilt = spec.skeleton(in_channels, self.num_classes(), &device)?;
        let shift = Shift::of(&first, &adapted);
        rebuilt = params::write(rebuilt, |path, shape| {
            if path == name {
                return Ok(Some(adapted.weight.data.clone()));
            }
            let value = find(path).filter(|tensor| tensor.shape == shape);
            Ok(value.map(|tensor| shift.apply(path, tensor.data.clone())))
        })?;
        // What was frozen stays frozen.
        let training = params::training_state(&self);
        rebuilt = params::set_training(rebuilt, |path| {
            let trains = training.get(path).copied().unwrap_or(true);
            params::Training {
                gradient: trains,
                flag: trains,
            }
        });
        let info = Arc::make_mut(&mut self.info);
        info.normalization = info.normalization.for_channels(in_channels);
        rebuilt.info = self.info;
        Ok(rebuilt)
    }

    /// Replaces the head by a fresh one for `num_classes` classes, which trains; 0 takes it away.
    /// The classes' names are forgotten. An optimiser made before knows nothing of the new head.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for too many classes, for classes without a pooling, or for a rule
    /// that does not apply.
    pub fn reset_head(mut self, num_classes: usize, init: &Init, seed: u64) -> Result<Self> {
        crate::build::check_classes(num_classes)?;
        crate::build::check_pool(self.head.pool(), num_classes)?;
        Arc::make_mut(&mut self.info).classes.clear();
        let device = self.device();
        self.head = Head::new(
            self.backbone.num_features(),
            num_classes,
            self.head.pool(),
            self.info.drop_rate,
            &device,
        );
        let values = fresh_head(num_classes, self.num_features(), init, seed)?;
        params::write(self, |path, _| Ok(values.get(path)))
    }

    /// Gives the weights and biases of a group new values: weights by `init`, biases by the rule's
    /// own way with biases, normalisations their neutral values (scale 1, shift 0, mean 0,
    /// variance 1).
    ///
    /// # Errors
    /// [`Error::UnknownGroup`], or [`Error::InvalidArgument`] for a rule that does not apply.
    pub fn init_group(self, group: &str, init: &Init, seed: u64) -> Result<Self> {
        let groups = self.all_groups();
        let Some(found) = groups.iter().find(|g| g.name == group) else {
            return Err(self.unknown_group(group, groups));
        };
        let prefix = found.prefix.clone();
        self.init_where(|path| path.starts_with(&prefix), init, seed)
    }

    /// As [`init_group`](Self::init_group), for the parameters whose path matches a regular
    /// expression (unanchored).
    ///
    /// # Errors
    /// [`Error::Pattern`] for a pattern that is no regular expression or matches nothing,
    /// [`Error::InvalidArgument`] for a rule that does not apply.
    pub fn init_matching(self, pattern: &str, init: &Init, seed: u64) -> Result<Self> {
        let regex = crate::freeze::compile(pattern)?;
        let paths: Vec<String> = params::list(&self).into_iter().map(|p| p.path).collect();
        if !paths.iter().any(|path| regex.is_match(path)) {
            return Err(crate::freeze::no_match(pattern, &paths));
        }
        self.init_where(|path| regex.is_match(path), init, seed)
    }

    fn init_where(self, wanted: impl Fn(&str) -> bool, init: &Init, seed: u64) -> Result<Self> {
        let all = params::list(&self);
        params::write(self, |path, shape| {
            if !wanted(path) {
                return Ok(None);
            }
            let rule = |_: &str, shape: &[usize]| {
                if shape.len() > 1 {
                    init.clone()
                } else {
                    Init::Ones
                }
            };
            initial_value(path, shape, &all, rule, seed).map(Some)
        })
    }
}

/// The value with which a parameter starts: its weight's rule for a weight and its bias, the
/// neutral value for a buffer.
pub(crate) fn initial_value(
    path: &str,
    shape: &[usize],
    all: &[params::ParamInfo],
    rule: impl Fn(&str, &[usize]) -> Init,
    seed: u64,
) -> Result<Vec<f32>> {
    let len = shape.iter().product();
    let mut rng = Rng::new(seed, path);
    if path.ends_with("running_mean") {
        return Ok(vec![0.0; len]);
    }
    if path.ends_with("running_var") {
        return Ok(vec![1.0; len]);
    }
    match path.strip_suffix(".bias") {
        None => rule(path, shape).weight(shape, &mut rng),
        Some(layer) => {
            let weight = format!("{layer}.weight");
            let shape = all
                .iter()
                .find(|p| p.path == weight)
                .map(|p| p.shape.as_slice());
            match shape {
                Some(shape) => rule(&weight, shape).bias(shape, len, &mut rng),
                None => Ok(vec![0.0; len]),
            }
        }
    }
}

/// Values of a fresh head.
pub(crate) struct FreshHead {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl FreshHead {
    pub fn get(&self, path: &str) -> Option<Vec<f32>> {
        match path.strip_prefix(HEAD)? {
            ".fc.weight" => Some(self.weight.clone()),
            ".fc.bias" => Some(self.bias.clone()),
            _ => None,
        }
    }
}

pub(crate) fn fresh_head(
    num_classes: usize,
    in_features: usize,
    init: &Init,
    seed: u64,
) -> Result<FreshHead> {
    let shape = [num_classes, in_features];
    let rng = |part: &str| Rng::new(seed, &format!("{HEAD}.fc.{part}"));
    Ok(FreshHead {
        weight: init.weight(&shape, &mut rng("weight"))?,
        bias: init.bias(&shape, num_classes, &mut rng("bias"))?,
    })
}

/// Where the constant of a folded convolution goes.
pub(crate) struct Shift {
    target: Option<(String, Vec<f64>)>,
}

impl Shift {
    pub fn of(first: &crate::FirstConv, adapted: &AdaptedConv) -> Self {
        let target = adapted.constant.as_ref().map(|constant| match &first.norm {
            // The normalisation subtracts its mean, so what the input lost, the mean loses too.
            Some(norm) => {
                let less = constant.iter().map(|c| -c).collect();
                (format!("{norm}.running_mean"), less)
            }
            None => (format!("{}.bias", first.conv), constant.clone()),
        });
        Self { target }
    }

    /// Adds the constant if this is the tensor it goes to.
    pub fn apply(&self, path: &str, mut data: Vec<f32>) -> Vec<f32> {
        if let Some((target, shift)) = &self.target
            && target == path
        {
            for (value, shift) in data.iter_mut().zip(shift) {
                *value = (f64::from(*value) + shift) as f32;
            }
        }
        data
    }
}

pub(crate) fn check_channels(in_channels: usize) -> Result<()> {
    // More is surely a mistake, and would ask for a very large first layer.
    if (1..=1024).contains(&in_channels) {
        return Ok(());
    }
    Err(Error::argument("in_channels", "1 to 1024", in_channels))
}
