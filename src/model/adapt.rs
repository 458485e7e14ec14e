//! Training a model by few of its parameters.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::text::{self, Form, Style, no_fields};

/// Which parameters train of what is not frozen. The head trains in any case, as long as it is not
/// frozen itself.
///
/// As text: `none`, `lora`, `lora:rank=8,alpha=16`, `lora:rank=8,rslora`, `bias-only`, `norm-only`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Adapt {
    /// All of them.
    #[default]
    #[serde(deserialize_with = "no_fields")]
    None,
    /// Adapters of low rank beside weights that stay as they are.
    Lora(Lora),
    /// Biases: those of layers and the shifts of normalisations (Ben Zaken et al., "BitFit", 2022,
    /// <https://arxiv.org/abs/2106.10199>).
    #[serde(deserialize_with = "no_fields")]
    BiasOnly,
    /// Scales and shifts of normalisations (Frankle et al., 2021, <https://arxiv.org/abs/2003.00152>).
    #[serde(deserialize_with = "no_fields")]
    NormOnly,
}

impl Adapt {
    /// Adapters of this rank.
    pub fn lora(rank: usize) -> Self {
        Self::Lora(Lora::new(rank))
    }

    /// Whether all parameters train.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match self {
            Self::Lora(lora) => lora.validate(),
            _ => Ok(()),
        }
    }
}

/// Adapters of low rank (Hu et al., "LoRA", 2022, <https://arxiv.org/abs/2106.09685>): a layer computes
/// with `W + scale · B·A` in place of its weight `W`, which stays as it is. `A`, `[rank, in]`, and `B`,
/// `[out, rank]`, train. The kernels of a convolution are such a matrix, `[out, in · height · width]`:
/// peft's form.
///
/// Two are equal if they compute the same.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Lora {
    /// Rows of `A`: how much an adapter can say.
    pub rank: usize,
    /// The scale is `alpha / rank`. `None` is twice the rank, whatever that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The scale is `alpha / √rank` (Kalajdzievski, 2023, <https://arxiv.org/abs/2312.03732>), which
    /// suits large ranks.
    pub rslora: bool,
}

impl Default for Lora {
    fn default() -> Self {
        Self::new(8)
    }
}

impl PartialEq for Lora {
    fn eq(&self, other: &Self) -> bool {
        let values = |lora: &Self| (lora.rank, lora.alpha_or_default(), lora.rslora);
        values(self) == values(other)
    }
}

impl Lora {
    /// Adapters of this rank.
    pub fn new(rank: usize) -> Self {
        Self {
            rank,
            alpha: None,
            rslora: false,
        }
    }

    /// Sets `alpha`.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = Some(alpha);
        self
    }

    pub(crate) fn alpha_or_default(&self) -> f64 {
        self.alpha.unwrap_or(2.0 * self.rank as f64)
    }

    /// Takes the scale `alpha / √rank`.
    pub fn rslora(mut self) -> Self {
        self.rslora = true;
        self
    }

    /// What the product of the factors is multiplied with in a layer whose adapter has this rank.
    pub(crate) fn scale(&self, rank: usize) -> f64 {
        let rank = rank as f64;
        self.alpha_or_default() / if self.rslora { rank.sqrt() } else { rank }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if !(1..=4096).contains(&self.rank) {
            return Err(Error::argument("adapt lora rank", "1 to 4096", self.rank));
        }
        let alpha = self.alpha_or_default();
        if !((alpha as f32).is_finite() && alpha as f32 > 0.0) {
            let expected = "a number above 0, rounded to 32 bits";
            return Err(Error::argument("adapt lora alpha", expected, alpha));
        }
        Ok(())
    }
}

const FORM: Form = Form::new("adapt", Style::Colons, &[]).only(&[
    "none",
    "lora:rank=R,alpha=A",
    "bias-only",
    "norm-only",
]);

/// `none`, `lora:rank=R,alpha=A`, `bias-only` or `norm-only`.
impl std::str::FromStr for Adapt {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // No field is a list, so that a comma can stand between fields.
        let adapt: Self = if text.contains('(') {
            text::parse(&FORM, text)?
        } else {
            text::parse(&FORM, &text.replace(',', ":"))?
        };
        adapt.validate()?;
        Ok(adapt)
    }
}

impl std::fmt::Display for Adapt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = text::write(&FORM, self).replace('_', "-");
        match text.split_once(':') {
            Some((kind, fields)) => write!(f, "{kind}:{}", fields.replace(':', ",")),
            None => f.write_str(&text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back() {
        for (text, adapt) in [
            ("none", Adapt::None),
            ("bias-only", Adapt::BiasOnly),
            ("norm-only", Adapt::NormOnly),
            ("lora", Adapt::lora(8)),
            ("lora:rank=4", Adapt::lora(4)),
            ("lora:alpha=16", Adapt::lora(8)),
            (
                "lora:rank=4,alpha=16",
                Adapt::Lora(Lora::new(4).alpha(16.0)),
            ),
            (
                "lora:rank=4,alpha=2.5,rslora",
                Adapt::Lora(Lora::new(4).alpha(2.5).rslora()),
            ),
        ] {
            let read: Adapt = text.parse().unwrap();
            assert_eq!(read, adapt);
            assert_eq!(read.to_string(), text);
        }
        let one_form: Adapt = "lora:rank=2:alpha=3".parse().unwrap();
        assert_eq!(one_form, "lora(rank=2,alpha=3)".parse().unwrap());
    }

    #[test]
    fn alpha_is_twice_the_rank() {
        let scale = |text: &str| match text.parse().unwrap() {
            Adapt::Lora(lora) => lora.scale(lora.rank),
            other => panic!("{other}"),
        };
        for text in ["lora", "lora:rank=4", "lora:rank=64"] {
            assert_eq!(scale(text), 2.0, "{text}");
        }
        assert_eq!(scale("lora:rank=4,alpha=16"), 4.0);
        assert_eq!(Lora::new(4), Lora::new(4).alpha(8.0));
        assert_ne!(Lora::new(4), Lora::new(4).alpha(16.0));
    }

    #[test]
    fn mistakes_are_refused() {
        for text in [
            "lor",
            "lora:rank=0",
            "lora:rank=9999",
            "lora:alpha=0",
            "lora:alpha=-1",
            "lora:dropout=0.1",
            "bias-only:rank=3",
        ] {
            text.parse::<Adapt>().unwrap_err();
        }
    }
}
