//! The features of all images of a set, in host memory.

use burn::tensor::{Device, Tensor, TensorData};

use crate::data::Loader;
use crate::error::{Error, Result};
use crate::infer::Fused;
use crate::model::host_vec;
use crate::preprocess::augment::Views;

/// One vector for each image of a set: what the last layer of a model gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// The vectors, one after the other.
    pub values: Vec<f32>,
    /// Length of a vector.
    pub length: usize,
    /// The label of each image.
    pub labels: Vec<usize>,
    /// The place of each image in its set, which leaves out those that could not be read.
    pub indices: Vec<usize>,
}

impl Fused {
    /// The vectors of all images of a loader, in the data's own order and as they are: neither shuffled
    /// nor augmented. `watch` is told how many batches are done; if it says no, there is no result.
    ///
    /// With [`LoaderConfig::skip_broken`](crate::data::LoaderConfig::skip_broken) images that cannot be
    /// read are left out, and [`Loader::broken`] names them.
    ///
    /// # Errors
    /// [`Error::InputShape`] if the images do not fit, [`Error::InvalidArgument`] for several views of
    /// an image, if no image can be read, and if the features are not numbers; and whatever reading
    /// images meets.
    pub fn embed_all(
        &self,
        loader: &Loader,
        mut watch: impl FnMut(usize) -> bool,
    ) -> Result<Option<Embeddings>> {
        let views = loader.config().views;
        if views != Views::One {
            return Err(Error::argument("views", "one of each image", views));
        }
        let loader = loader.in_order(false);
        let (images, batch_size) = (loader.num_images(), loader.config().batch_size);
        let device = self.model().device();
        let mut found = Embeddings {
            values: Vec::new(),
            length: self.model().num_features(),
            labels: Vec::with_capacity(images),
            indices: Vec::with_capacity(images),
        };
        let mut batches = loader.epoch(0);
        let mut done = 0;
        while let Some(part) = batches.next_with_skipped() {
            let part = part?;
            let first = done * batch_size;
            let places = first..(first + batch_size).min(images);
            done += 1;
            if let Some(batch) = part.batch {
                let pixels = batch.images.to_device(&device);
                let vectors = self.embed(pixels)?;
                // Without pooling the length follows from the size of the images.
                found.length = vectors.dims()[1];
                found.values.extend(host_vec(vectors.into_data())?);
                found.labels.extend(batch.targets.classes()?);
                let read = places.filter(|place| !part.skipped.contains(place));
                found.indices.extend(read);
            }
            if !watch(done) {
                return Ok(None);
            }
        }
        if found.is_empty() {
            let expected = "at least one image that can be read";
            return Err(Error::argument("data", expected, "none"));
        }
        if found.values.iter().any(|value| !value.is_finite()) {
            return Err(crate::infer::no_numbers("features"));
        }
        Ok(Some(found))
    }
}

impl Embeddings {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The vectors in their order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.length.max(1))
    }

    /// One more than the highest label.
    pub(super) fn classes(&self) -> usize {
        self.labels.iter().max().map_or(0, |label| label + 1)
    }

    /// Those of these places among them.
    pub(super) fn at(&self, places: &[usize]) -> Self {
        let row = |place: &usize| &self.values[place * self.length..(place + 1) * self.length];
        Self {
            values: places.iter().flat_map(row).copied().collect(),
            length: self.length,
            labels: places.iter().map(|place| self.labels[*place]).collect(),
            indices: places.iter().map(|place| self.indices[*place]).collect(),
        }
    }

    /// Refuses vectors of other lengths, or of none, and other counts than that of the labels.
    pub(super) fn check_length(&self, length: usize) -> Result<()> {
        let fits = self.length == length && self.values.len() == self.len() * length;
        if fits && self.indices.len() == self.len() && (length > 0 || self.is_empty()) {
            return Ok(());
        }
        let expected = format!(
            "{0} vectors of length {1}, {0} labels and indices",
            self.len(),
            length.max(1)
        );
        let (values, indices) = (self.values.len(), self.indices.len());
        let found = format!(
            "{values} numbers for length {}, {indices} indices",
            self.length
        );
        Err(Error::argument("embeddings", expected, found))
    }
}

/// Rows as a tensor.
pub(super) fn tensor(values: Vec<f32>, length: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / length.max(1);
    Tensor::from_data(TensorData::new(values, [rows, length]), device)
}
