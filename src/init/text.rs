//! Rules as text: what they are called, how they are written, and how they are read back.

use std::fmt;
use std::str::FromStr;

use super::{FanMode, Init, Nonlinearity};
use crate::error::{Error, Result};

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

    pub(super) fn name(&self) -> &'static str {
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
}

impl FanMode {
    fn name(self) -> &'static str {
        match self {
            FanMode::FanIn => "fan_in",
            FanMode::FanOut => "fan_out",
        }
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

/// A number as the shortest text that reads back as the same, without the digits that `Display`
/// would spell out for a very large or small one.
pub(super) fn number(value: f64) -> String {
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
