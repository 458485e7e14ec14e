//! Models for inference alone.

use std::sync::Arc;

use burn::module::Module as _;
use burn::tensor::Tensor;

use super::evaluate::Evaluation;
use super::predict::Prediction;
use crate::data::Loader;
use crate::error::Result;
use crate::model::{Classifier, Features, GroupOutput};
use crate::nn::fused::{self, Prepared};
use crate::preprocess::augment::Views;
use crate::preprocess::{Image, ImageSize};

/// A model whose weights no longer change, and what follows from that: batch normalisations are
/// folded into the convolutions before them, additions and activations are done with them, and on a
/// CPU kernels are kept in the form that is computed with (Winograd's, where it pays). Its outputs
/// are those of the model to about 1e-5 of their size.
///
/// All of that happens when a layer first runs: the first batch takes longer than the others. For a
/// single image [`Classifier::predict`] is the faster way.
///
/// ```
/// use burn_zoo::prelude::*;
///
/// # fn main() -> burn_zoo::Result<()> {
/// let model = Zoo::resnet18().weights(Weights::Random(1)).adapt(1, 10).build(&Device::default())?;
/// let fused = model.fuse();
/// let images = Tensor::<4>::zeros([2, 1, 28, 28], &Device::default());
/// assert_eq!(fused.forward(images)?.dims(), [2, 10]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Fused {
    model: Classifier,
    prepared: Arc<Prepared>,
}

impl Classifier {
    /// The model for inference, on the device without autodiff. It shares its weights with this one
    /// until that one's change. Adapters are folded into the weights.
    pub fn fuse(&self) -> Fused {
        Fused {
            model: self.valid().merge_adapters(),
            prepared: Arc::default(),
        }
    }
}

impl Fused {
    /// The model itself.
    pub fn model(&self) -> &Classifier {
        &self.model
    }

    fn run<T>(&self, run: impl FnOnce(&Classifier) -> T) -> T {
        fused::with(&self.prepared, || run(&self.model))
    }

    /// As [`Classifier::forward`].
    ///
    /// # Shapes
    /// - images: `[batch, in_channels, height, width]`, normalised
    /// - output: `[batch, num_classes]`
    ///
    /// # Errors
    /// As [`Classifier::forward`].
    pub fn forward(&self, images: Tensor<4>) -> Result<Tensor<2>> {
        self.run(|model| model.forward(images.without_autodiff()))
    }

    /// As [`Classifier::forward_features`].
    ///
    /// # Errors
    /// As [`Classifier::forward_features`].
    pub fn forward_features(&self, images: Tensor<4>) -> Result<Features> {
        self.run(|model| model.forward_features(images.without_autodiff()))
    }

    /// The output of the first `groups` groups; of the whole backbone, pooled.
    pub(crate) fn forward_to(&self, images: Tensor<4>, groups: usize) -> Result<GroupOutput> {
        self.run(|model| model.forward_to(images, groups))
    }

    /// As [`Classifier::forward_intermediates`].
    ///
    /// # Errors
    /// As [`Classifier::forward_intermediates`].
    pub fn forward_intermediates(
        &self,
        images: Tensor<4>,
        groups: &[&str],
    ) -> Result<Vec<(String, Features)>> {
        self.run(|model| model.forward_intermediates(images.without_autodiff(), groups))
    }

    /// One vector for each image: what the last layer gets.
    ///
    /// # Shapes
    /// - images: `[batch, in_channels, height, width]`, normalised
    /// - output: `[batch, num_features]`
    ///
    /// # Errors
    /// As [`Classifier::forward`].
    pub fn embed(&self, images: Tensor<4>) -> Result<Tensor<2>> {
        let features = self.forward_features(images)?;
        self.model.forward_head(features, true)
    }

    /// As [`Classifier::evaluate`].
    ///
    /// # Errors
    /// As [`Classifier::evaluate`].
    pub fn evaluate(&self, loader: &Loader) -> Result<Evaluation> {
        self.run(|model| model.evaluate(loader))
    }

    /// As [`Classifier::predict_views`].
    ///
    /// # Errors
    /// As [`Classifier::predict_views`].
    pub fn predict(
        &self,
        image: &Image,
        image_size: Option<ImageSize>,
        top_k: usize,
        views: Views,
    ) -> Result<Vec<Prediction>> {
        self.run(|model| model.predict_views(image, image_size, top_k, views))
    }
}
