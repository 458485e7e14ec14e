//! The values with which a new head starts.

use crate::error::Result;
use crate::init::{Init, Rng};
use crate::model::HEAD;

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
