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

mod check;
mod fields;
mod gain;
mod rng;
mod rules;

pub use gain::{FanMode, Nonlinearity, calculate_gain, fans};
pub use rng::Rng;

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
#[derive(Debug, Clone, PartialEq)]
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
}
