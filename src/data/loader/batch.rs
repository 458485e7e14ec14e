//! One batch, in the memory of the host and of the device.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Images and labels, ready for a model.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[batch, channels, height, width]`, normalised.
    pub images: Tensor<4>,
    /// `[batch]`, indices of classes.
    pub labels: Tensor<1, Int>,
    /// The same labels in host memory.
    pub targets: Vec<usize>,
    /// [`Views`](crate::preprocess::augment::Views) of each image, which follow each other in `images`; labels are by image.
    pub views: usize,
    /// Where images are [mixed](crate::preprocess::augment::Mixing): the share of each class, `[batch, classes]`.
    pub soft: Option<Tensor<2>>,
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
    pub(super) labels: Vec<usize>,
    pub(super) soft: Option<Vec<f32>>,
}

impl HostBatch {
    pub(super) fn onto(self, device: &Device) -> Batch {
        let soft = self.soft.map(|soft| {
            let classes = soft.len() / self.labels.len().max(1);
            let data = TensorData::new(soft, [self.labels.len(), classes]);
            Tensor::from_data(data, device)
        });
        let targets: Vec<i64> = self.labels.iter().map(|l| *l as i64).collect();
        let labels = TensorData::new(targets, [self.labels.len()]);
        Batch {
            images: Tensor::from_data(TensorData::new(self.images, self.shape), device),
            labels: Tensor::from_data(labels, device),
            views: self.shape[0] / self.labels.len().max(1),
            targets: self.labels,
            soft,
        }
    }
}
