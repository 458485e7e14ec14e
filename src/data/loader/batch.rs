//! One batch, in the memory of the host and of the device.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::data::target::Targets;
use crate::error::Result;
use crate::nn::{Resize, resize};
use crate::preprocess::ImageSize;

/// Images and labels, ready for a model.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[batch, channels, height, width]`, normalised.
    pub images: Tensor<4>,
    /// What is to be told of each image, in host memory.
    pub targets: Targets,
    /// [`Views`](crate::preprocess::augment::Views) of each image, which follow each other in `images`; labels are by image.
    pub views: usize,
    /// Where images are [mixed](crate::preprocess::augment::Mixing): the share of each class, `[batch, classes]`.
    pub soft: Option<Tensor<2>>,
}

impl Batch {
    /// The class of each image.
    ///
    /// # Shapes
    /// - output: `[batch]`
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for images with several labels, or with
    /// numbers: those are in [`rows`](Targets::rows) of `targets`.
    pub fn labels(&self) -> Result<Tensor<1, Int>> {
        self.targets.labels(&self.images.device())
    }

    /// With images of this size.
    pub(crate) fn resized(self, size: Option<ImageSize>) -> Self {
        match size {
            Some(size) => Self {
                images: resize(self.images, size.sides(), Resize::Antialiased),
                ..self
            },
            None => self,
        }
    }
}

/// A batch of an epoch, and what was left out of it.
pub(crate) struct EpochBatch<B = Batch> {
    /// `None` if no image of it could be read.
    pub batch: Option<B>,
    /// The indices of images that could not be read.
    pub skipped: Vec<usize>,
}

/// A batch in host memory.
pub(super) struct HostBatch {
    pub(super) images: Vec<f32>,
    /// `[batch, channels, height, width]`
    pub(super) shape: [usize; 4],
    pub(super) targets: Targets,
    pub(super) soft: Option<Vec<f32>>,
}

impl HostBatch {
    pub(super) fn onto(self, device: &Device) -> Batch {
        let soft = self.soft.map(|soft| {
            let classes = soft.len() / self.targets.len().max(1);
            let data = TensorData::new(soft, [self.targets.len(), classes]);
            Tensor::from_data(data, device)
        });
        Batch {
            images: Tensor::from_data(TensorData::new(self.images, self.shape), device),
            views: self.shape[0] / self.targets.len().max(1),
            targets: self.targets,
            soft,
        }
    }
}
