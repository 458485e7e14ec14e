//! Rules as text: the names of their arguments, and torch's defaults.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{FanMode, Init, Nonlinearity};
use crate::error::{Error, Result};
use crate::text::{self, Form, Style, no_fields, serde_as_text};

const FORM: Form = Form::new("init", Style::Call, &[("constant", 1)]);

impl Init {
    /// The names of all rules, as they are written.
    pub fn names() -> &'static [&'static str] {
        text::kinds::<Table>()
    }

    pub(super) fn name(&self) -> String {
        text::kind(&Table(self.clone()))
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
        let Table(init) = text::parse(&FORM, text)?;
        init.check()?;
        Ok(init)
    }
}

/// The rule as it is written, with the arguments that differ from torch's defaults.
impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write(&FORM, &Table(self.clone())))
    }
}

serde_as_text!(Init);

/// A rule as a table of its arguments.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Table(#[serde(with = "Fields")] Init);

#[derive(Serialize, Deserialize)]
#[serde(
    remote = "Init",
    tag = "kind",
    rename_all = "snake_case",
    deny_unknown_fields
)]
enum Fields {
    #[serde(deserialize_with = "no_fields")]
    Zeros,
    #[serde(deserialize_with = "no_fields")]
    Ones,
    Constant {
        value: f64,
    },
    Uniform {
        #[serde(default)]
        low: f64,
        #[serde(default = "whole::<1>")]
        high: f64,
    },
    Normal {
        #[serde(default)]
        mean: f64,
        #[serde(default = "whole::<1>")]
        std: f64,
    },
    TruncNormal {
        #[serde(default)]
        mean: f64,
        #[serde(default = "whole::<1>")]
        std: f64,
        #[serde(default = "whole::<-2>")]
        low: f64,
        #[serde(default = "whole::<2>")]
        high: f64,
    },
    XavierUniform {
        #[serde(default = "whole::<1>")]
        gain: f64,
    },
    XavierNormal {
        #[serde(default = "whole::<1>")]
        gain: f64,
    },
    #[serde(with = "kaiming")]
    KaimingUniform {
        mode: FanMode,
        nonlinearity: Nonlinearity,
    },
    #[serde(with = "kaiming")]
    KaimingNormal {
        mode: FanMode,
        nonlinearity: Nonlinearity,
    },
    Orthogonal {
        #[serde(default = "whole::<1>")]
        gain: f64,
    },
    Dirac {
        #[serde(default = "one_group")]
        groups: usize,
    },
    #[serde(deserialize_with = "no_fields")]
    Eye,
    Sparse {
        sparsity: f64,
        #[serde(default = "hundredth")]
        std: f64,
    },
    #[serde(rename = "pytorch", deserialize_with = "no_fields")]
    PyTorch,
    #[serde(deserialize_with = "no_fields")]
    Course,
}

fn whole<const VALUE: i64>() -> f64 {
    VALUE as f64
}

fn one_group() -> usize {
    1
}

fn hundredth() -> f64 {
    0.01
}

/// The arguments of the Kaiming rules: the slope of a leaky ReLU stands beside its name, and both
/// are left out where they are torch's defaults.
mod kaiming {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        #[serde(default)]
        mode: FanMode,
        #[serde(skip_serializing_if = "Option::is_none")]
        nonlinearity: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<f64>,
    }

    pub fn serialize<S: Serializer>(
        mode: &FanMode,
        nonlinearity: &Nonlinearity,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let (nonlinearity, a) = match *nonlinearity {
            Nonlinearity::LeakyRelu(0.0) => (None, None),
            Nonlinearity::LeakyRelu(slope) => (Some("leaky_relu".into()), Some(slope)),
            ref other => (serde_json::to_value(other).ok(), None),
        };
        let mode = *mode;
        Arguments {
            mode,
            nonlinearity,
            a,
        }
        .serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<(FanMode, Nonlinearity), D::Error> {
        let Arguments {
            mode,
            nonlinearity,
            a,
        } = Arguments::deserialize(from)?;
        let nonlinearity = match (nonlinearity, a) {
            (None, a) => Nonlinearity::LeakyRelu(a.unwrap_or(0.0)),
            (Some(name), a) if name == "leaky_relu" => Nonlinearity::LeakyRelu(a.unwrap_or(0.0)),
            (Some(name), None) => Nonlinearity::deserialize(name).map_err(D::Error::custom)?,
            // Torch ignores the slope here; nobody who writes one wants that.
            (Some(_), Some(_)) => {
                return Err(D::Error::custom(
                    "a slope `a` with nonlinearity=leaky_relu only",
                ));
            }
        };
        Ok((mode, nonlinearity))
    }
}
