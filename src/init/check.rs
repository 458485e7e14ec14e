//! What a rule refuses: arguments outside their limits, shapes it has no values for, and values
//! that `f32` cannot hold.

use super::{Init, Nonlinearity};
use crate::error::{Error, Result};
use crate::text::number;

impl Init {
    /// Whether the arguments are within their limits.
    pub(super) fn check(&self) -> Result<()> {
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
    pub(super) fn check_shape(&self, shape: &[usize]) -> Result<()> {
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
    pub(super) fn check_values(&self, values: &[f32]) -> Result<()> {
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
