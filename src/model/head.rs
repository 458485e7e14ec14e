//! The layers behind a backbone.

use burn::module::Module;

use super::backbone::Description;
use super::features::Pool;
use crate::nn::{Dropout, Linear, LinearConfig, ParamBuilder};

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
        description: &Description,
        num_classes: usize,
        pool: Pool,
        drop_rate: f64,
        params: &ParamBuilder,
    ) -> Self {
        let fc = LinearConfig::new(description.head_features(pool), num_classes)
            .weights(description.classifier_init.clone());
        Self {
            fc: (num_classes > 0).then(|| fc.init(params)),
            dropout: Dropout::new(drop_rate),
            pool,
        }
    }

    /// How features become a vector.
    pub fn pool(&self) -> Pool {
        self.pool
    }
}
