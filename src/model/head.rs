//! The layers behind a backbone.

use burn::module::Module;
use burn::tensor::Device;

use super::features::Pool;
use crate::nn::{Dropout, Linear};

/// Name of the last group of every model.
pub(crate) const HEAD: &str = "head";

/// The layers behind the backbone: pooling, dropout and the last affine layer.
#[derive(Module, Debug)]
pub struct Head {
    /// The classifier; `None` if the model has no classes.
    pub fc: Option<Linear>,
    pub(super) dropout: Dropout,
    #[module(skip)]
    pub(super) pool: Pool,
}

impl Head {
    pub(crate) fn new(
        num_features: usize,
        num_classes: usize,
        pool: Pool,
        drop_rate: f64,
        device: &Device,
    ) -> Self {
        let in_features = num_features * pool.multiplier();
        Self {
            fc: (num_classes > 0).then(|| Linear::new(in_features, num_classes, device)),
            dropout: Dropout::new(drop_rate),
            pool,
        }
    }

    /// How features become a vector.
    pub fn pool(&self) -> Pool {
        self.pool
    }
}
