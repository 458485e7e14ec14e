//! Mean and standard deviation.

use crate::error::{Error, Result};

/// Mean and standard deviation of each channel, for pixel values in 0..1.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Normalization {
    mean: Vec<f64>,
    std: Vec<f64>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Parts {
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl TryFrom<Parts> for Normalization {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        Normalization::new(parts.mean, parts.std)
    }
}

impl From<Normalization> for Parts {
    fn from(n: Normalization) -> Self {
        Parts {
            mean: n.mean,
            std: n.std,
        }
    }
}

impl Normalization {
    /// One mean and one standard deviation for each channel.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for no channel, lists of unequal length, a value that is not
    /// finite, or a standard deviation that is not positive.
    pub fn new(mean: impl Into<Vec<f64>>, std: impl Into<Vec<f64>>) -> Result<Self> {
        let (mean, std) = (mean.into(), std.into());
        if mean.is_empty() || mean.len() != std.len() {
            return Err(Error::argument(
                "normalization",
                "as many means as standard deviations, at least one",
                format!("{} and {}", mean.len(), std.len()),
            ));
        }
        if let Some(bad) = mean.iter().find(|m| !m.is_finite()) {
            return Err(Error::argument("mean", "a finite number", bad));
        }
        if let Some(bad) = std.iter().find(|s| !s.is_finite() || **s <= 0.0) {
            return Err(Error::argument("std", "a positive number", bad));
        }
        Ok(Self { mean, std })
    }

    /// ImageNet's, which nearly all convolutional weights were trained with.
    pub fn imagenet() -> Self {
        Self {
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
        }
    }

    /// 0.5 and 0.5, which most vision transformers were trained with.
    pub fn inception() -> Self {
        Self {
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
        }
    }

    /// Mean of each channel.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Standard deviation of each channel.
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// How many channels it is for.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// The one for another number of channels: for one, the mean of the means and the mean of the
    /// standard deviations; for more, the channels repeated.
    pub fn for_channels(&self, channels: usize) -> Self {
        let convert = |values: &[f64]| match channels {
            n if n == values.len() => values.to_vec(),
            1 => vec![values.iter().sum::<f64>() / values.len() as f64],
            n => values.iter().copied().cycle().take(n).collect(),
        };
        Self {
            mean: convert(&self.mean),
            std: convert(&self.std),
        }
    }
}
