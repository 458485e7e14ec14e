//! Initial values of weights and biases: all of `torch.nn.init`, computed in host memory.
//!
//! A rule is an [`Init`]; the random numbers come from an [`Rng`], one for each parameter. Shapes
//! are in PyTorch's layout, `[out, in / groups, ...kernel]`, and values are in row-major order.
//! Everything is computed in `f64` and rounded once to `f32`.
//!
//! ```
//! use burn_zoo::init::{Init, Rng};
//!
//! # fn main() -> burn_zoo::error::Result<()> {
//! let rule: Init = "kaiming_normal(mode=fan_out,nonlinearity=relu)".parse()?;
//! let weight = rule.weight(&[64, 3, 7, 7], &mut Rng::new(0, "conv1.weight"))?;
//! assert_eq!(weight.len(), 64 * 3 * 7 * 7);
//! let bias = rule.bias(&[64, 3, 7, 7], 64, &mut Rng::new(0, "conv1.bias"))?;
//! assert_eq!(bias, [0.0; 64]);
//! # Ok(())
//! # }
//! ```

use std::f64::consts::{E, SQRT_2, TAU};
use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Which fan a Kaiming rule divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FanMode {
    /// The inputs of one output, `fan_in`: keeps the variance of the activations in the forward
    /// pass. Torch's default.
    #[default]
    FanIn,
    /// The outputs of one input, `fan_out`: keeps the variance of the gradients in the backward
    /// pass.
    FanOut,
}

impl FanMode {
    fn name(self) -> &'static str {
        match self {
            FanMode::FanIn => "fan_in",
            FanMode::FanOut => "fan_out",
        }
    }
}

/// The function that follows a layer, as `torch.nn.init.calculate_gain` names it.
///
/// The default is `leaky_relu` with slope 0.01, as in `calculate_gain("leaky_relu")`. The Kaiming
/// rules have another default slope, 0, as in torch: see [`Init::kaiming_uniform`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Nonlinearity {
    /// None: `linear`.
    Linear,
    /// A convolution, with the gain of [`Nonlinearity::Linear`]: `conv1d`, `conv2d`, `conv3d`,
    /// `conv_transpose1d`, `conv_transpose2d` or `conv_transpose3d`; written as `conv2d`.
    Conv,
    /// The logistic function: `sigmoid`.
    Sigmoid,
    /// The hyperbolic tangent: `tanh`.
    Tanh,
    /// `max(x, 0)`: `relu`.
    Relu,
    /// `x` where positive, else the negative slope times `x`: `leaky_relu`, the slope being torch's
    /// `a` or `param`.
    LeakyRelu(f64),
    /// The scaled exponential linear unit: `selu`.
    Selu,
}

impl Default for Nonlinearity {
    fn default() -> Self {
        Nonlinearity::LeakyRelu(0.01)
    }
}

impl Nonlinearity {
    fn name(self) -> &'static str {
        match self {
            Nonlinearity::Linear => "linear",
            Nonlinearity::Conv => "conv2d",
            Nonlinearity::Sigmoid => "sigmoid",
            Nonlinearity::Tanh => "tanh",
            Nonlinearity::Relu => "relu",
            Nonlinearity::LeakyRelu(_) => "leaky_relu",
            Nonlinearity::Selu => "selu",
        }
    }
}

/// The factor by which the weights before a nonlinearity are scaled up to keep the variance of the
/// signal (`torch.nn.init.calculate_gain`).
///
/// | nonlinearity | gain |
/// |---|---|
/// | `Linear`, `Conv`, `Sigmoid` | 1 |
/// | `Tanh` | 5/3 |
/// | `Relu` | √2 |
/// | `LeakyRelu(a)` | √(2 / (1 + a²)) |
/// | `Selu` | 3/4 |
///
/// For self-normalizing networks (Klambauer et al., 2017) the weights want variance 1 / fan_in,
/// which is the gain of `Linear`; torch's 3/4 for `Selu` is an empirical value that favours the
/// gradients.
///
/// ```
/// use burn_zoo::init::{Nonlinearity, calculate_gain};
///
/// assert_eq!(calculate_gain(Nonlinearity::Relu), 2f64.sqrt());
/// ```
pub fn calculate_gain(nonlinearity: Nonlinearity) -> f64 {
    match nonlinearity {
        Nonlinearity::Linear | Nonlinearity::Conv | Nonlinearity::Sigmoid => 1.0,
        Nonlinearity::Tanh => 5.0 / 3.0,
        Nonlinearity::Relu => SQRT_2,
        Nonlinearity::LeakyRelu(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
        Nonlinearity::Selu => 3.0 / 4.0,
    }
}

/// `(fan_in, fan_out)` of a weight in torch's layout `[out, in / groups, ...kernel]`
/// (`torch.nn.init._calculate_fan_in_and_fan_out`).
///
/// With the receptive field `r`, the product of the kernel's sizes: `fan_in = shape[1] * r` and
/// `fan_out = shape[0] * r`. For a grouped convolution `fan_in` is exact, and `fan_out` counts the
/// outputs of all groups, as torch does.
///
/// ```
/// assert_eq!(burn_zoo::init::fans(&[64, 3, 7, 7])?, (147, 3136));
/// # Ok::<(), burn_zoo::error::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidArgument`] if the shape has fewer than two dimensions, or if a fan does not fit
/// into a `usize`.
pub fn fans(shape: &[usize]) -> Result<(usize, usize)> {
    let [outputs, inputs, kernel @ ..] = shape else {
        return Err(Error::argument(
            "shape",
            "2 dimensions or more",
            format!("{shape:?}"),
        ));
    };
    let receptive_field = elements(kernel)?;
    match (
        inputs.checked_mul(receptive_field),
        outputs.checked_mul(receptive_field),
    ) {
        (Some(fan_in), Some(fan_out)) => Ok((fan_in, fan_out)),
        _ => Err(too_large(shape)),
    }
}

/// A rule for the initial values of a weight, and of the bias that belongs to it.
///
/// The rules are those of `torch.nn.init`, and two recipes made of them, [`Init::PyTorch`] and
/// [`Init::Course`]. In the formulas `fan_in` and `fan_out` are those of [`fans`], `gain` without
/// an argument is that of [`calculate_gain`], U(l, h) is the uniform distribution on `[l, h)` and
/// N(m, s²) the normal distribution with mean m and standard deviation s.
///
/// A rule is written, in text and by serde, as the name of torch's function without its trailing
/// underscore, followed by the arguments that differ from torch's defaults:
///
/// | written | rule |
/// |---|---|
/// | `zeros`, `ones` | [`Init::Zeros`], [`Init::Ones`] |
/// | `constant(0.5)`, `constant(value=0.5)` | [`Init::Constant`]; the value is required |
/// | `uniform(low=0,high=1)` | [`Init::Uniform`] |
/// | `normal(mean=0,std=1)` | [`Init::Normal`] |
/// | `trunc_normal(mean=0,std=1,low=-2,high=2)` | [`Init::TruncNormal`] |
/// | `xavier_uniform(gain=1)` | [`Init::XavierUniform`] |
/// | `xavier_normal(gain=1)` | [`Init::XavierNormal`] |
/// | `kaiming_uniform(mode=fan_in,nonlinearity=leaky_relu,a=0)` | [`Init::KaimingUniform`] |
/// | `kaiming_normal(mode=fan_in,nonlinearity=leaky_relu,a=0)` | [`Init::KaimingNormal`] |
/// | `orthogonal(gain=1)` | [`Init::Orthogonal`] |
/// | `dirac(groups=1)` | [`Init::Dirac`] |
/// | `eye` | [`Init::Eye`] |
/// | `sparse(sparsity=0.1,std=0.01)` | [`Init::Sparse`]; the sparsity is required |
/// | `pytorch`, `course` | [`Init::PyTorch`], [`Init::Course`] |
///
/// ```
/// use burn_zoo::init::Init;
///
/// let rule: Init = "trunc_normal(std=0.02)".parse()?;
/// assert_eq!(rule, Init::trunc_normal(0.02));
/// assert_eq!(rule.to_string(), "trunc_normal(std=0.02)");
/// # Ok::<(), burn_zoo::error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Init {
    /// All 0 (`torch.nn.init.zeros_`).
    Zeros,

    /// All 1 (`torch.nn.init.ones_`).
    Ones,

    /// All the same value (`torch.nn.init.constant_`).
    Constant {
        /// The value; finite.
        value: f64,
    },

    /// U(low, high) (`torch.nn.init.uniform_`, default 0 to 1).
    Uniform {
        /// The lower bound; finite.
        low: f64,
        /// The upper bound; finite, no less than `low`.
        high: f64,
    },

    /// N(mean, std²) (`torch.nn.init.normal_`, default mean 0 and std 1).
    Normal {
        /// The mean; finite.
        mean: f64,
        /// The standard deviation; finite, 0 or more.
        std: f64,
    },

    /// N(mean, std²) restricted to `[low, high]` (`torch.nn.init.trunc_normal_`, default mean 0,
    /// std 1, bounds −2 and 2).
    ///
    /// The bounds are values, not multiples of `std`: with std 0.02 the default bounds cut nothing.
    /// `std` is that of the normal distribution before the cut.
    ///
    /// Drawn by rejection, as torch does now, and not by the inverse of the distribution function,
    /// as it once did: rejection is exact, also where the bounds lie far from the mean, and needs
    /// no special function. The proposals are those of Robert (1995), *Simulation of truncated
    /// normal variables*, so that at least 49 % of them are accepted, whatever the bounds. Where a
    /// bound is more than 10⁸ standard deviations beyond the mean, all values are that bound.
    TruncNormal {
        /// The mean before the cut; finite. It may lie outside the bounds.
        mean: f64,
        /// The standard deviation before the cut; finite, more than 0.
        std: f64,
        /// The lower bound; finite.
        low: f64,
        /// The upper bound; finite, no less than `low`.
        high: f64,
    },

    /// U(−b, b) with b = gain · √(6 / (fan_in + fan_out)) (`torch.nn.init.xavier_uniform_`).
    ///
    /// Glorot and Bengio (2010), *Understanding the difficulty of training deep feedforward neural
    /// networks*.
    XavierUniform {
        /// The scale; finite, 0 or more. Torch's default is 1.
        gain: f64,
    },

    /// N(0, s²) with s = gain · √(2 / (fan_in + fan_out)) (`torch.nn.init.xavier_normal_`); the
    /// paper is that of [`Init::XavierUniform`].
    XavierNormal {
        /// The scale; finite, 0 or more. Torch's default is 1.
        gain: f64,
    },

    /// U(−b, b) with b = gain · √(3 / fan) (`torch.nn.init.kaiming_uniform_`).
    ///
    /// He et al. (2015), *Delving deep into rectifiers: surpassing human-level performance on
    /// ImageNet classification*.
    KaimingUniform {
        /// Which fan.
        mode: FanMode,
        /// The nonlinearity that gives the gain; a slope must be finite.
        nonlinearity: Nonlinearity,
    },

    /// N(0, s²) with s = gain / √fan (`torch.nn.init.kaiming_normal_`); the paper is that of
    /// [`Init::KaimingUniform`].
    KaimingNormal {
        /// Which fan.
        mode: FanMode,
        /// The nonlinearity that gives the gain; a slope must be finite.
        nonlinearity: Nonlinearity,
    },

    /// A (semi-)orthogonal matrix, times the gain (`torch.nn.init.orthogonal_`).
    ///
    /// The weight, flattened to `W = [shape[0], rest]`, has `W Wᵀ = gain² I` if it has no more rows
    /// than columns, else `Wᵀ W = gain² I`. It is the factor Q of a matrix of N(0, 1) values, with
    /// the signs for which the diagonal of R is positive: only so is Q uniformly distributed
    /// (Mezzadri 2006, *How to generate random matrices from the classical compact groups*).
    /// Saxe et al. (2013), *Exact solutions to the nonlinear dynamics of learning in deep linear
    /// neural networks*.
    Orthogonal {
        /// The scale; finite. Torch's default is 1.
        gain: f64,
    },

    /// The Dirac delta: a convolution that hands on as many of its input channels as it can
    /// (`torch.nn.init.dirac_`). For weights of rank 3, 4 or 5.
    ///
    /// In each group the output d < min(out / groups, in / groups) has 1 at its input d, at the
    /// middle `size / 2` (rounded down) of the kernel; all else is 0.
    Dirac {
        /// The groups of the convolution; 1 or more, a divisor of `shape[0]`. Torch's default is 1.
        groups: usize,
    },

    /// The identity matrix: 1 on the diagonal, 0 elsewhere (`torch.nn.init.eye_`). For weights of
    /// rank 2, square or not.
    Eye,

    /// N(0, std²), but in each column ⌈sparsity · rows⌉ elements, drawn at random, are 0
    /// (`torch.nn.init.sparse_`). For weights of rank 2.
    ///
    /// Martens (2010), *Deep learning via Hessian-free optimization*.
    Sparse {
        /// The part of each column that is 0; from 0 to 1.
        sparsity: f64,
        /// The standard deviation of the rest; finite, 0 or more. Torch's default is 0.01.
        std: f64,
    },

    /// What `torch.nn.Linear` and `torch.nn.Conv1d` to `Conv3d` do by themselves: the weight
    /// `kaiming_uniform(a=√5)`, which is U(−1/√fan_in, 1/√fan_in), and the bias the same, with the
    /// fan of the weight.
    PyTorch,

    /// The weight [`Init::xavier_uniform`], the bias U(−1/√fan_in, 1/√fan_in) with the fan of the
    /// weight: the recipe of a PyTorch course, which sets the weights by `xavier_uniform_` and
    /// leaves the biases as the layers made them.
    Course,
}

impl Init {
    /// The names of all rules, as they are written.
    pub const NAMES: &[&str] = &[
        "zeros",
        "ones",
        "constant",
        "uniform",
        "normal",
        "trunc_normal",
        "xavier_uniform",
        "xavier_normal",
        "kaiming_uniform",
        "kaiming_normal",
        "orthogonal",
        "dirac",
        "eye",
        "sparse",
        "pytorch",
        "course",
    ];

    /// `normal_(std=std)`: mean 0.
    pub const fn normal(std: f64) -> Self {
        Init::Normal { mean: 0.0, std }
    }

    /// `trunc_normal_(std=std)`: mean 0 and bounds −2 and 2.
    pub const fn trunc_normal(std: f64) -> Self {
        Init::TruncNormal {
            mean: 0.0,
            std,
            low: -2.0,
            high: 2.0,
        }
    }

    /// `xavier_uniform_()`: gain 1.
    pub const fn xavier_uniform() -> Self {
        Init::XavierUniform { gain: 1.0 }
    }

    /// `xavier_normal_()`: gain 1.
    pub const fn xavier_normal() -> Self {
        Init::XavierNormal { gain: 1.0 }
    }

    /// `kaiming_uniform_()`: `fan_in`, and `leaky_relu` with slope 0, whose gain is √2.
    pub const fn kaiming_uniform() -> Self {
        Init::KaimingUniform {
            mode: FanMode::FanIn,
            nonlinearity: Nonlinearity::LeakyRelu(0.0),
        }
    }

    /// `kaiming_normal_()`: `fan_in`, and `leaky_relu` with slope 0, whose gain is √2.
    pub const fn kaiming_normal() -> Self {
        Init::KaimingNormal {
            mode: FanMode::FanIn,
            nonlinearity: Nonlinearity::LeakyRelu(0.0),
        }
    }

    /// `kaiming_normal_(mode="fan_out", nonlinearity="relu")`: the rule of timm and torchvision for
    /// the convolutions of a ResNet.
    pub const fn kaiming_normal_fan_out() -> Self {
        Init::KaimingNormal {
            mode: FanMode::FanOut,
            nonlinearity: Nonlinearity::Relu,
        }
    }

    /// `orthogonal_()`: gain 1.
    pub const fn orthogonal() -> Self {
        Init::Orthogonal { gain: 1.0 }
    }

    /// `dirac_()`: one group.
    pub const fn dirac() -> Self {
        Init::Dirac { groups: 1 }
    }

    /// The values of a weight of this shape, in row-major order.
    ///
    /// The shape is in PyTorch's layout, `[out, in / groups, ...kernel]`. A shape with a 0 in it
    /// gives no values, as in torch. The values of a bounded rule lie between its bounds, these
    /// rounded to `f32`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if
    /// - an argument of the rule is outside what its documentation says,
    /// - the shape has a rank that the rule does not take: 2 or more for Xavier, Kaiming,
    ///   orthogonal and the two recipes, 3 to 5 for Dirac, 2 for eye and sparse, any for the
    ///   others,
    /// - the groups of Dirac do not divide `shape[0]`,
    /// - the values do not fit into memory, or one of them does not fit into an `f32`.
    pub fn weight(&self, shape: &[usize], rng: &mut Rng) -> Result<Vec<f32>> {
        self.check()?;
        self.check_shape(shape)?;
        let len = elements(shape)?;
        if len == 0 {
            return Ok(Vec::new());
        }
        let values = match *self {
            Init::Zeros => fill(len, || 0.0),
            Init::Ones => fill(len, || 1.0),
            Init::Constant { value } => fill(len, || value),
            // The width is rounded, possibly up.
            Init::Uniform { low, high } => fill(len, || rng.uniform(low, high).min(high)),
            Init::Normal { mean, std } => fill(len, || mean + std * rng.normal()),
            Init::TruncNormal {
                mean,
                std,
                low,
                high,
            } => {
                // So far out the values exceed the bound by some std / alpha, 1e-16 of its distance
                // from the mean, which rounding does not see.
                const FAR: f64 = 1e8;
                let (alpha, beta) = ((low - mean) / std, (high - mean) / std);
                if alpha > FAR {
                    fill(len, || low)
                } else if beta < -FAR {
                    fill(len, || high)
                } else {
                    fill(len, || {
                        let value = mean + std * rng.truncated_normal(alpha, beta);
                        // Rounding in the way to standard units and back could cross a bound.
                        value.max(low).min(high)
                    })
                }
            }
            Init::XavierUniform { gain } => uniform_of_std(len, xavier_std(shape, gain)?, rng),
            Init::XavierNormal { gain } => {
                let std = xavier_std(shape, gain)?;
                fill(len, || std * rng.normal())
            }
            Init::KaimingUniform { mode, nonlinearity } => {
                uniform_of_std(len, kaiming_std(shape, mode, nonlinearity)?, rng)
            }
            Init::KaimingNormal { mode, nonlinearity } => {
                let std = kaiming_std(shape, mode, nonlinearity)?;
                fill(len, || std * rng.normal())
            }
            Init::Orthogonal { gain } => orthogonal(shape[0], len / shape[0], gain, rng),
            Init::Dirac { groups } => dirac(shape, len, groups),
            Init::Eye => eye(shape[0], shape[1]),
            Init::Sparse { sparsity, std } => sparse(shape[0], shape[1], sparsity, std, rng),
            Init::PyTorch => {
                let rule = Nonlinearity::LeakyRelu(5f64.sqrt());
                uniform_of_std(len, kaiming_std(shape, FanMode::FanIn, rule)?, rng)
            }
            Init::Course => uniform_of_std(len, xavier_std(shape, 1.0)?, rng),
        }?;
        self.check_values(&values)?;
        Ok(values)
    }

    /// The `len` values of the bias that belongs to a weight of shape `weight_shape`.
    ///
    /// For [`Init::PyTorch`] and [`Init::Course`] they are U(−1/√fan_in, 1/√fan_in), the rule of
    /// `torch.nn.Linear` and `torch.nn.Conv2d`; for every other rule they are 0, and the shape is
    /// not looked at.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if
    /// - an argument of the rule is outside what its documentation says,
    /// - the values do not fit into memory,
    /// - for the two recipes, the weight has fewer than two dimensions or a `fan_in` of 0.
    pub fn bias(&self, weight_shape: &[usize], len: usize, rng: &mut Rng) -> Result<Vec<f32>> {
        self.check()?;
        if !matches!(self, Init::PyTorch | Init::Course) {
            return fill(len, || 0.0);
        }
        self.check_shape(weight_shape)?;
        let (fan_in, _) = fans(weight_shape)?;
        if len == 0 {
            return Ok(Vec::new());
        }
        if fan_in == 0 {
            return Err(Error::argument(
                format!("{self} weight shape"),
                "a fan_in of 1 or more",
                format!("{weight_shape:?}"),
            ));
        }
        let bound = 1.0 / (fan_in as f64).sqrt();
        fill(len, || rng.uniform(-bound, bound))
    }

    fn name(&self) -> &'static str {
        match self {
            Init::Zeros => "zeros",
            Init::Ones => "ones",
            Init::Constant { .. } => "constant",
            Init::Uniform { .. } => "uniform",
            Init::Normal { .. } => "normal",
            Init::TruncNormal { .. } => "trunc_normal",
            Init::XavierUniform { .. } => "xavier_uniform",
            Init::XavierNormal { .. } => "xavier_normal",
            Init::KaimingUniform { .. } => "kaiming_uniform",
            Init::KaimingNormal { .. } => "kaiming_normal",
            Init::Orthogonal { .. } => "orthogonal",
            Init::Dirac { .. } => "dirac",
            Init::Eye => "eye",
            Init::Sparse { .. } => "sparse",
            Init::PyTorch => "pytorch",
            Init::Course => "course",
        }
    }

    /// Whether the arguments are within their limits.
    fn check(&self) -> Result<()> {
        let fault = |argument: &str, expected: &str, found: f64| {
            let argument = format!("{}({argument})", self.name());
            Err(Error::argument(argument, expected, number(found)))
        };
        let finite = |argument: &str, value: f64| {
            if value.is_finite() {
                Ok(())
            } else {
                fault(argument, "a finite number", value)
            }
        };
        let not_negative = |argument: &str, value: f64| {
            if value.is_finite() && value >= 0.0 {
                Ok(())
            } else {
                fault(argument, "a finite number, 0 or more", value)
            }
        };
        let bounds = |low: f64, high: f64| {
            finite("low", low)?;
            finite("high", high)?;
            if low <= high {
                Ok(())
            } else {
                Err(Error::argument(
                    format!("{}(low, high)", self.name()),
                    "low <= high",
                    format!("low={}, high={}", number(low), number(high)),
                ))
            }
        };
        match *self {
            Init::Zeros | Init::Ones | Init::Eye | Init::PyTorch | Init::Course => Ok(()),
            Init::Constant { value } => finite("value", value),
            Init::Uniform { low, high } => bounds(low, high),
            Init::Normal { mean, std } => {
                finite("mean", mean)?;
                not_negative("std", std)
            }
            Init::TruncNormal {
                mean,
                std,
                low,
                high,
            } => {
                finite("mean", mean)?;
                // Torch divides by it.
                if !(std.is_finite() && std > 0.0) {
                    return fault("std", "a finite number above 0", std);
                }
                bounds(low, high)
            }
            Init::XavierUniform { gain } | Init::XavierNormal { gain } => {
                not_negative("gain", gain)
            }
            Init::KaimingUniform { nonlinearity, .. }
            | Init::KaimingNormal { nonlinearity, .. } => match nonlinearity {
                Nonlinearity::LeakyRelu(slope) => finite("a", slope),
                _ => Ok(()),
            },
            Init::Orthogonal { gain } => finite("gain", gain),
            Init::Dirac { groups } => {
                if groups > 0 {
                    Ok(())
                } else {
                    Err(Error::argument(
                        "dirac(groups)",
                        "a whole number, 1 or more",
                        groups,
                    ))
                }
            }
            Init::Sparse { sparsity, std } => {
                if !(0.0..=1.0).contains(&sparsity) {
                    return fault("sparsity", "a number from 0 to 1", sparsity);
                }
                not_negative("std", std)
            }
        }
    }

    /// Whether the rule has values for a weight of this shape.
    fn check_shape(&self, shape: &[usize]) -> Result<()> {
        let (taken, expected) = match self {
            Init::Zeros
            | Init::Ones
            | Init::Constant { .. }
            | Init::Uniform { .. }
            | Init::Normal { .. }
            | Init::TruncNormal { .. } => (true, ""),
            Init::XavierUniform { .. }
            | Init::XavierNormal { .. }
            | Init::KaimingUniform { .. }
            | Init::KaimingNormal { .. }
            | Init::Orthogonal { .. }
            | Init::PyTorch
            | Init::Course => (shape.len() >= 2, "2 dimensions or more"),
            Init::Dirac { .. } => ((3..=5).contains(&shape.len()), "3, 4 or 5 dimensions"),
            Init::Eye | Init::Sparse { .. } => (shape.len() == 2, "2 dimensions"),
        };
        if !taken {
            return Err(Error::argument(
                format!("{self} weight shape"),
                expected,
                format!("{shape:?}"),
            ));
        }
        if let Init::Dirac { groups } = *self
            && !shape[0].is_multiple_of(groups)
        {
            return Err(Error::argument(
                format!("{self} weight shape"),
                format!("a first dimension divisible by {groups}"),
                format!("{shape:?}"),
            ));
        }
        Ok(())
    }

    /// Whether all values are finite: arguments that `f64` holds can lead to some that `f32` does
    /// not.
    fn check_values(&self, values: &[f32]) -> Result<()> {
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(value) => Err(Error::argument(
                self.to_string(),
                "values within the range of f32",
                value,
            )),
        }
    }
}

/// The number of elements of a tensor of this shape.
fn elements(shape: &[usize]) -> Result<usize> {
    // A 0 anywhere makes the tensor empty, whatever the other dimensions would amount to.
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size))
        .ok_or_else(|| too_large(shape))
}

fn too_large(shape: &[usize]) -> Error {
    Error::argument(
        "shape",
        "a tensor that fits into memory",
        format!("{shape:?}"),
    )
}

/// An empty vector with room for `len` elements; the error stands in for the abort that an
/// allocation of any size would risk.
fn buffer<T>(len: usize) -> Result<Vec<T>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| {
        Error::argument(
            "shape",
            "a tensor that fits into memory",
            format!("{len} elements"),
        )
    })?;
    Ok(buffer)
}

/// `len` values, drawn in row-major order.
fn fill(len: usize, mut value: impl FnMut() -> f64) -> Result<Vec<f32>> {
    fill_from(len, |_| value())
}

/// `len` values, each from its index.
fn fill_from(len: usize, mut value: impl FnMut(usize) -> f64) -> Result<Vec<f32>> {
    let mut values = buffer(len)?;
    values.extend((0..len).map(|index| value(index) as f32));
    Ok(values)
}

/// The uniform distribution with mean 0 and this standard deviation. The bound is computed in
/// torch's order of operations, to the last bit.
fn uniform_of_std(len: usize, std: f64, rng: &mut Rng) -> Result<Vec<f32>> {
    let bound = 3f64.sqrt() * std;
    fill(len, || rng.uniform(-bound, bound))
}

fn xavier_std(shape: &[usize], gain: f64) -> Result<f64> {
    let (fan_in, fan_out) = fans(shape)?;
    Ok(gain * (2.0 / (fan_in as f64 + fan_out as f64)).sqrt())
}

fn kaiming_std(shape: &[usize], mode: FanMode, nonlinearity: Nonlinearity) -> Result<f64> {
    let (fan_in, fan_out) = fans(shape)?;
    let fan = match mode {
        FanMode::FanIn => fan_in,
        FanMode::FanOut => fan_out,
    };
    Ok(calculate_gain(nonlinearity) / (fan as f64).sqrt())
}

/// Q of the QR decomposition of an N(0, 1) matrix, drawn as `[rows, cols]` and decomposed as its
/// transpose where that is the taller one.
///
/// Gram–Schmidt makes the diagonal of R positive by itself, so there are no signs to correct.
fn orthogonal(rows: usize, cols: usize, gain: f64, rng: &mut Rng) -> Result<Vec<f32>> {
    let mut drawn: Vec<f64> = buffer(rows * cols)?;
    drawn.extend((0..rows * cols).map(|_| rng.normal()));
    if rows < cols {
        orthonormalize(&mut drawn, cols);
        return fill_from(rows * cols, |index| gain * drawn[index]);
    }
    // Column by column, so that each vector is contiguous.
    let mut columns: Vec<f64> = buffer(rows * cols)?;
    for col in 0..cols {
        columns.extend((0..rows).map(|row| drawn[row * cols + col]));
    }
    drop(drawn);
    orthonormalize(&mut columns, rows);
    fill_from(rows * cols, |index| {
        gain * columns[index % cols * rows + index / cols]
    })
}

/// Makes the vectors of length `dim` that lie one after the other in `vectors` orthonormal, each
/// from itself and those before it.
fn orthonormalize(vectors: &mut [f64], dim: usize) {
    for start in (0..vectors.len()).step_by(dim) {
        let (done, rest) = vectors.split_at_mut(start);
        let vector = &mut rest[..dim];
        // One pass leaves an error that grows with the condition number; after the second one it
        // is rounding: "twice is enough" (Kahan; Parlett 1980).
        for _ in 0..2 {
            for unit in done.chunks_exact(dim) {
                let along = dot(unit, vector);
                for (v, u) in vector.iter_mut().zip(unit) {
                    *v -= along * u;
                }
            }
        }
        let norm = dot(vector, vector).sqrt();
        for v in vector {
            *v /= norm;
        }
    }
}

/// The inner product, in eight sums: one sum would have to be added up in order, which neither
/// vectorizes nor pipelines.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

fn dirac(shape: &[usize], len: usize, groups: usize) -> Result<Vec<f32>> {
    let (outputs, inputs, kernel) = (shape[0], shape[1], &shape[2..]);
    let receptive_field: usize = kernel.iter().product();
    let middle = kernel.iter().fold(0, |index, size| index * size + size / 2);
    let outputs_per_group = outputs / groups;
    let mut values = fill(len, || 0.0)?;
    for group in 0..groups {
        for channel in 0..outputs_per_group.min(inputs) {
            let row = group * outputs_per_group + channel;
            values[(row * inputs + channel) * receptive_field + middle] = 1.0;
        }
    }
    Ok(values)
}

fn eye(rows: usize, cols: usize) -> Result<Vec<f32>> {
    let mut values = fill(rows * cols, || 0.0)?;
    values
        .iter_mut()
        .step_by(cols + 1)
        .take(rows.min(cols))
        .for_each(|value| *value = 1.0);
    Ok(values)
}

/// All values are drawn first, then for each column the rows that become 0: the first places of a
/// Fisher–Yates shuffle of all rows.
fn sparse(rows: usize, cols: usize, sparsity: f64, std: f64, rng: &mut Rng) -> Result<Vec<f32>> {
    let mut values = fill(rows * cols, || std * rng.normal())?;
    let zeros = ((sparsity * rows as f64).ceil() as usize).min(rows);
    let mut order: Vec<usize> = buffer(rows)?;
    for col in 0..cols {
        order.clear();
        order.extend(0..rows);
        for place in 0..zeros {
            let left = rows - place;
            let step = (rng.unit() * left as f64) as usize;
            order.swap(place, place + step.min(left - 1));
            values[order[place] * cols + col] = 0.0;
        }
    }
    Ok(values)
}

/// A stream of random numbers that depends on a seed and a name only, not on the order in which
/// parameters are made nor on the device.
///
/// With the parameter's name as the name, a model's initial values are the same whichever of its
/// parameters are made, in whatever order and on however many threads.
///
/// The rule, fixed here so that it outlasts the versions of any library:
///
/// - The key is the SHA-256 digest of the seed as 8 little-endian bytes followed by the name in
///   UTF-8. ChaCha with 8 rounds, that key, a 64-bit block counter and nonce, both from 0, gives
///   the stream of 64-bit words, each from two 32-bit ones, the lower half first.
/// - A number u on `[0, 1)` is the upper 53 bits of one word, divided by 2⁵³.
/// - A normal number is √(−2 ln(1 − u₁)) · cos(2π u₂) from two of those (Box and Muller, 1958). The
///   sine that could give a second one is not kept, so that the state is the position alone.
///
/// The words and the uniform numbers are the same everywhere; the normal ones can differ in the
/// last bits of an `f64` between platforms, whose logarithms and cosines do.
///
/// ```
/// use burn_zoo::init::Rng;
///
/// let mut first = Rng::new(42, "fc.weight");
/// let mut again = Rng::new(42, "fc.weight");
/// assert_eq!(first.uniform(-1.0, 1.0), again.uniform(-1.0, 1.0));
/// ```
#[derive(Debug, Clone)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The start of the stream for this seed and name.
    pub fn new(seed: u64, name: &str) -> Self {
        let key = Sha256::new()
            .chain_update(seed.to_le_bytes())
            .chain_update(name)
            .finalize();
        Rng(ChaCha8Rng::from_seed(key.into()))
    }

    /// One number of U(low, high): low + (high − low) · u. Takes one word of the stream.
    ///
    /// The product is rounded, so that `high` itself can occur where the bounds are close to each
    /// other. The bounds are not checked; with `low` above `high` the interval is the reverse one.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// One number of N(0, 1). Takes two words of the stream.
    pub fn normal(&mut self) -> f64 {
        // 1 - u is exact and never 0.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }

    /// One number of U(0, 1), a multiple of 2⁻⁵³ below 1.
    fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// One number of N(0, 1) restricted to `[low, high]`, of which `low` is finite or negative and
    /// `high` finite or positive. By the rejection of Robert (1995): each loop accepts 49 % of its
    /// proposals or more, whatever the bounds.
    fn truncated_normal(&mut self, low: f64, high: f64) -> f64 {
        // The lower tail is the upper one mirrored.
        if high < 0.0 {
            return -self.truncated_normal(-high, -low);
        }
        let width = high - low;
        if low <= 0.0 {
            // Around the peak: from the normal distribution where it fits between the bounds, from
            // the uniform one where they are closer than the normal density is wide.
            if width > TAU.sqrt() {
                loop {
                    let z = self.normal();
                    if (low..=high).contains(&z) {
                        return z;
                    }
                }
            }
            loop {
                let z = self.uniform(low, high);
                if self.unit() < (-0.5 * z * z).exp() {
                    return z;
                }
            }
        }
        // In the tail: from the exponential distribution that starts at the bound and has the best
        // rate, or from the uniform one where the bounds are closer than it is wide.
        let sum = low + low.hypot(2.0);
        let rate = 0.5 * sum;
        if width <= 2.0 * E.sqrt() / sum * (-low / sum).exp() {
            loop {
                let z = self.uniform(low, high);
                if self.unit() < (-0.5 * (z - low) * (z + low)).exp() {
                    return z;
                }
            }
        }
        loop {
            let z = low - (1.0 - self.unit()).ln() / rate;
            if z <= high && self.unit() < (-0.5 * (z - rate) * (z - rate)).exp() {
                return z;
            }
        }
    }
}

/// A number as the shortest text that reads back as the same, without the digits that `Display`
/// would spell out for a very large or small one.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude.is_finite() && magnitude != 0.0 && !(1e-5..1e16).contains(&magnitude) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

/// The rule as it is written, with the arguments that differ from torch's defaults; [`FromStr`]
/// reads it back.
impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: f64, default: Option<f64>| {
            if Some(value) != default {
                arguments.push(format!("{name}={}", number(value)));
            }
        };
        match *self {
            Init::Zeros | Init::Ones | Init::Eye | Init::PyTorch | Init::Course => {}
            // Torch's function, too, is called with the bare value.
            Init::Constant { value } => arguments.push(number(value)),
            Init::Uniform { low, high } => {
                add("low", low, Some(0.0));
                add("high", high, Some(1.0));
            }
            Init::Normal { mean, std } => {
                add("mean", mean, Some(0.0));
                add("std", std, Some(1.0));
            }
            Init::TruncNormal {
                mean,
                std,
                low,
                high,
            } => {
                add("mean", mean, Some(0.0));
                add("std", std, Some(1.0));
                add("low", low, Some(-2.0));
                add("high", high, Some(2.0));
            }
            Init::XavierUniform { gain }
            | Init::XavierNormal { gain }
            | Init::Orthogonal { gain } => add("gain", gain, Some(1.0)),
            Init::KaimingUniform { mode, nonlinearity }
            | Init::KaimingNormal { mode, nonlinearity } => {
                if mode != FanMode::default() {
                    arguments.push(format!("mode={}", mode.name()));
                }
                if nonlinearity != Nonlinearity::LeakyRelu(0.0) {
                    arguments.push(format!("nonlinearity={}", nonlinearity.name()));
                    if let Nonlinearity::LeakyRelu(slope) = nonlinearity {
                        arguments.push(format!("a={}", number(slope)));
                    }
                }
            }
            Init::Dirac { groups } => {
                if groups != 1 {
                    arguments.push(format!("groups={groups}"));
                }
            }
            Init::Sparse { sparsity, std } => {
                add("sparsity", sparsity, None);
                add("std", std, Some(0.01));
            }
        }
        f.write_str(self.name())?;
        if !arguments.is_empty() {
            write!(f, "({})", arguments.join(","))?;
        }
        Ok(())
    }
}

/// Reads a rule as [`Init`] describes it. Spaces around names and values are skipped.
///
/// # Errors
///
/// [`Error::InvalidArgument`] if the name is no rule's (the error lists them), if an argument is
/// unknown to the rule, missing, given twice or no number, or if it is outside what the rule takes.
impl FromStr for Init {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, list) = match text.split_once('(') {
            None => (text.trim(), ""),
            Some((name, rest)) => match rest.trim_end().strip_suffix(')') {
                Some(list) => (name.trim(), list),
                None => {
                    return Err(Error::argument(
                        "init",
                        "`name` or `name(argument=value,...)`",
                        format!("`{text}`"),
                    ));
                }
            },
        };
        let Some(&rule) = Init::NAMES.iter().find(|known| **known == name) else {
            return Err(Error::argument(
                "init",
                format!("one of {}", Init::NAMES.join(", ")),
                format!("`{name}`"),
            ));
        };
        let mut arguments = Arguments::new(rule, list)?;
        let init = match rule {
            "zeros" => Init::Zeros,
            "ones" => Init::Ones,
            "constant" => Init::Constant {
                value: arguments.number("value", None)?,
            },
            "uniform" => Init::Uniform {
                low: arguments.number("low", Some(0.0))?,
                high: arguments.number("high", Some(1.0))?,
            },
            "normal" => Init::Normal {
                mean: arguments.number("mean", Some(0.0))?,
                std: arguments.number("std", Some(1.0))?,
            },
            "trunc_normal" => Init::TruncNormal {
                mean: arguments.number("mean", Some(0.0))?,
                std: arguments.number("std", Some(1.0))?,
                low: arguments.number("low", Some(-2.0))?,
                high: arguments.number("high", Some(2.0))?,
            },
            "xavier_uniform" => Init::XavierUniform {
                gain: arguments.number("gain", Some(1.0))?,
            },
            "xavier_normal" => Init::XavierNormal {
                gain: arguments.number("gain", Some(1.0))?,
            },
            "kaiming_uniform" => Init::KaimingUniform {
                mode: arguments.mode()?,
                nonlinearity: arguments.nonlinearity()?,
            },
            "kaiming_normal" => Init::KaimingNormal {
                mode: arguments.mode()?,
                nonlinearity: arguments.nonlinearity()?,
            },
            "orthogonal" => Init::Orthogonal {
                gain: arguments.number("gain", Some(1.0))?,
            },
            "dirac" => Init::Dirac {
                groups: arguments.groups()?,
            },
            "eye" => Init::Eye,
            "sparse" => Init::Sparse {
                sparsity: arguments.number("sparsity", None)?,
                std: arguments.number("std", Some(0.01))?,
            },
            "pytorch" => Init::PyTorch,
            _ => Init::Course,
        };
        arguments.finish()?;
        init.check()?;
        Ok(init)
    }
}

impl TryFrom<String> for Init {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Init> for String {
    fn from(init: Init) -> Self {
        init.to_string()
    }
}

/// The arguments in a written rule, taken one after the other.
struct Arguments<'a> {
    rule: &'static str,
    given: Vec<(&'a str, &'a str)>,
    /// The arguments that the rule has asked for, for the error that names them.
    known: Vec<&'static str>,
}

impl<'a> Arguments<'a> {
    fn new(rule: &'static str, list: &'a str) -> Result<Self> {
        let mut given: Vec<(&str, &str)> = Vec::new();
        if !list.trim().is_empty() {
            for item in list.split(',') {
                let (name, value) = match item.split_once('=') {
                    Some((name, value)) => (name.trim(), value.trim()),
                    None if rule == "constant" => ("value", item.trim()),
                    None => {
                        return Err(Error::argument(
                            rule,
                            "arguments as name=value",
                            format!("`{}`", item.trim()),
                        ));
                    }
                };
                if given.iter().any(|(earlier, _)| *earlier == name) {
                    return Err(Error::argument(
                        rule,
                        "each argument once",
                        format!("`{name}` twice"),
                    ));
                }
                given.push((name, value));
            }
        }
        Ok(Arguments {
            rule,
            given,
            known: Vec::new(),
        })
    }

    fn take(&mut self, name: &'static str) -> Option<&'a str> {
        self.known.push(name);
        let index = self.given.iter().position(|(given, _)| *given == name)?;
        Some(self.given.remove(index).1)
    }

    fn fault(&self, name: &str, expected: &str, found: &str) -> Error {
        Error::argument(format!("{}({name})", self.rule), expected, found)
    }

    /// A number; without a default it is required.
    fn number(&mut self, name: &'static str, default: Option<f64>) -> Result<f64> {
        match self.take(name) {
            Some(text) => text
                .parse()
                .map_err(|_| self.fault(name, "a number", &format!("`{text}`"))),
            None => default.ok_or_else(|| self.fault(name, "a number", "nothing")),
        }
    }

    fn groups(&mut self) -> Result<usize> {
        self.take("groups").map_or(Ok(1), |text| {
            text.parse().map_err(|_| {
                self.fault("groups", "a whole number, 1 or more", &format!("`{text}`"))
            })
        })
    }

    fn mode(&mut self) -> Result<FanMode> {
        match self.take("mode") {
            None | Some("fan_in") => Ok(FanMode::FanIn),
            Some("fan_out") => Ok(FanMode::FanOut),
            Some(text) => Err(self.fault("mode", "fan_in or fan_out", &format!("`{text}`"))),
        }
    }

    fn nonlinearity(&mut self) -> Result<Nonlinearity> {
        let nonlinearity = match self.take("nonlinearity") {
            None | Some("leaky_relu") => {
                return Ok(Nonlinearity::LeakyRelu(self.number("a", Some(0.0))?));
            }
            Some("linear") => Nonlinearity::Linear,
            Some(
                "conv1d" | "conv2d" | "conv3d" | "conv_transpose1d" | "conv_transpose2d"
                | "conv_transpose3d",
            ) => Nonlinearity::Conv,
            Some("sigmoid") => Nonlinearity::Sigmoid,
            Some("tanh") => Nonlinearity::Tanh,
            Some("relu") => Nonlinearity::Relu,
            Some("selu") => Nonlinearity::Selu,
            Some(text) => {
                return Err(self.fault(
                    "nonlinearity",
                    "linear, conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, \
                     conv_transpose3d, sigmoid, tanh, relu, leaky_relu or selu",
                    &format!("`{text}`"),
                ));
            }
        };
        // Torch ignores the slope here; nobody who writes one wants that.
        match self.take("a") {
            None => Ok(nonlinearity),
            Some(_) => Err(self.fault(
                "a",
                "a slope with nonlinearity=leaky_relu only",
                &format!("nonlinearity={}", nonlinearity.name()),
            )),
        }
    }

    /// That nothing is left which the rule has not asked for.
    fn finish(self) -> Result<()> {
        let Some((name, _)) = self.given.first() else {
            return Ok(());
        };
        let expected = match self.known.as_slice() {
            [] => "no arguments".to_owned(),
            [known] => format!("the argument {known}"),
            known => format!("the arguments {}", known.join(", ")),
        };
        Err(Error::argument(self.rule, expected, format!("`{name}`")))
    }
}
