//! What keeps the signal's variance from layer to layer: the gain of a nonlinearity, and the fans
//! of a weight.

use std::f64::consts::SQRT_2;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which fan a Kaiming rule divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FanMode {
    /// The inputs of one output, `fan_in`: keeps the variance of the activations in the forward
    /// pass. Torch's default.
    #[default]
    FanIn,
    /// The outputs of one input, `fan_out`: keeps the variance of the gradients in the backward
    /// pass.
    FanOut,
}

/// The function that follows a layer, as `torch.nn.init.calculate_gain` names it.
///
/// The default is `leaky_relu` with slope 0.01, as in `calculate_gain("leaky_relu")`. The Kaiming
/// rules have another default slope, 0, as in torch: see [`Init::kaiming_uniform`].
///
/// [`Init::kaiming_uniform`]: super::Init::kaiming_uniform
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nonlinearity {
    /// None: `linear`.
    Linear,
    /// A convolution, with the gain of [`Nonlinearity::Linear`]: `conv1d`, `conv2d`, `conv3d`,
    /// `conv_transpose1d`, `conv_transpose2d` or `conv_transpose3d`; written as `conv2d`.
    #[serde(
        rename = "conv2d",
        alias = "conv1d",
        alias = "conv3d",
        alias = "conv_transpose1d",
        alias = "conv_transpose2d",
        alias = "conv_transpose3d"
    )]
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

/// The number of elements of a tensor of this shape.
pub(super) fn elements(shape: &[usize]) -> Result<usize> {
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
