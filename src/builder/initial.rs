//! The values with which parameters start.

use crate::error::Result;
use crate::init::{Init, Rng};
use crate::model::HEAD;
use crate::model::params::ParamInfo;

/// The value with which a parameter starts: its weight's rule for a weight and its bias, the
/// neutral value for a buffer.
pub(crate) fn initial_value(
    path: &str,
    shape: &[usize],
    all: &[ParamInfo],
    rule: impl Fn(&str, &[usize]) -> Init,
    seed: u64,
) -> Result<Vec<f32>> {
    let len = shape.iter().product();
    let mut rng = Rng::new(seed, path);
    if path.ends_with("running_mean") {
        return Ok(vec![0.0; len]);
    }
    if path.ends_with("running_var") {
        return Ok(vec![1.0; len]);
    }
    match path.strip_suffix(".bias") {
        None => rule(path, shape).weight(shape, &mut rng),
        Some(layer) => {
            let weight = format!("{layer}.weight");
            let shape = all
                .iter()
                .find(|p| p.path == weight)
                .map(|p| p.shape.as_slice());
            match shape {
                Some(shape) => rule(&weight, shape).bias(shape, len, &mut rng),
                None => Ok(vec![0.0; len]),
            }
        }
    }
}

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
