//! Learning rates and the size of a batch.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::text::{Form, Style, no_fields, text_form};
use crate::train::ranges::at_least_one;

/// How the learning rate follows the images that go into one step of the optimiser: the batch size
/// times the batches whose gradients are accumulated.
///
/// timm scales its `lr_base` by the square root for adaptive optimisers (those of Adam's kind) and
/// linearly for all others, from 256 images.
///
/// As text: `none`, `linear:256` or `sqrt:256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum RateScaling {
    /// Not at all.
    #[default]
    #[serde(deserialize_with = "no_fields")]
    None,
    /// In proportion (Goyal et al., 2017, <https://arxiv.org/abs/1706.02677>).
    Linear {
        /// The images that the recipe's rate is meant for.
        #[serde(default = "batch")]
        base: usize,
    },
    /// With the square root (Krizhevsky, 2014, <https://arxiv.org/abs/1404.5997>).
    Sqrt {
        /// The images that the recipe's rate is meant for.
        #[serde(default = "batch")]
        base: usize,
    },
}

fn batch() -> usize {
    256
}

impl RateScaling {
    /// The factor of the learning rate for so many images in a step of the optimiser.
    pub fn factor(&self, images: usize) -> f64 {
        match *self {
            RateScaling::None => 1.0,
            RateScaling::Linear { base } => images as f64 / base as f64,
            RateScaling::Sqrt { base } => (images as f64 / base as f64).sqrt(),
        }
    }

    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Error::InvalidArgument) for a base of 0 images.
    pub fn validate(&self) -> Result<()> {
        match *self {
            RateScaling::None => Ok(()),
            RateScaling::Linear { base } | RateScaling::Sqrt { base } => {
                at_least_one("rate scaling base", base)
            }
        }
    }
}

text_form!(
    /// `none`, `linear:IMAGES` or `sqrt:IMAGES`.
    RateScaling,
    Form::new("rate scaling", Style::Colons, &[("linear", 1), ("sqrt", 1)]),
    RateScaling::validate
);
