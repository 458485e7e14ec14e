//! The layers behind a backbone.

use burn::module::Module;
use burn::tensor::Tensor;

use super::backbone::Description;
use super::features::Pool;
use crate::nn::{Dropout, Linear, LinearConfig, ParamBuilder};

/// Name of the last group of every model.
pub(crate) const HEAD: &str = "head";

/// Whether a parameter with this path is one of the head.
pub(crate) fn in_head(path: &str) -> bool {
    path.strip_prefix(HEAD)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// The layers behind the backbone: pooling, dropout and the last affine layer.
#[derive(Module, Debug)]
pub struct Head {
    /// The classifier; `None` if the model has no classes.
    pub fc: Option<Linear>,
    /// The second classifier of a model that has two.
    pub fc2: Option<Linear>,
    pub(super) dropout: Dropout,
    /// Whether the backbone gives a vector for each of two classifiers.
    is_twofold: bool,
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
        let is_twofold = description.second_classifier.is_some();
        Self {
            fc: (num_classes > 0).then(|| fc.init(params)),
            fc2: (num_classes > 0 && is_twofold).then(|| fc.init(params)),
            dropout: Dropout::new(drop_rate),
            is_twofold,
            pool,
        }
    }

    /// How features become a vector.
    pub fn pool(&self) -> Pool {
        self.pool
    }

    /// The scores, by what the backbone gives; without classes the vector.
    pub(super) fn score(&self, vector: Tensor<2>) -> Tensor<2> {
        let Some(fc) = &self.fc else {
            return self.vector(vector);
        };
        let vector = self.dropout.forward(vector);
        let Some(fc2) = &self.fc2 else {
            return fc.forward(vector);
        };
        let [first, second] = halves(vector);
        (fc.forward(first) + fc2.forward(second)) * 0.5
    }

    /// The vector for an image: the mean of those for two classifiers.
    pub(super) fn vector(&self, vector: Tensor<2>) -> Tensor<2> {
        if !self.is_twofold {
            return vector;
        }
        let [first, second] = halves(vector);
        (first + second) * 0.5
    }
}

/// What is for the first classifier, and for the second.
fn halves(vector: Tensor<2>) -> [Tensor<2>; 2] {
    let length = vector.dims()[1] / 2;
    [0, 1].map(|half| vector.clone().narrow(1, half * length, length))
}
