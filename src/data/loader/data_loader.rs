//! What makes batches of a set of images.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::Device;

use super::batch::Batch;
use super::batch_maker::BatchMaker;
use super::batches::Batches;
use super::broken::{BrokenImage, BrokenImages};
use super::config::{LoaderConfig, Sampler};
use super::order::shuffled;
use crate::data::image_data::ImageData;
use crate::data::target::Targets;
use crate::error::{Error, Result};
use crate::preprocess::Preprocess;
use crate::preprocess::augment::{Augment, Views};

/// Makes batches from images. With the feature `dataset` it is a burn `DataLoader`; unlike burn's own
/// multi-threaded one it hands batches out in the same order whatever the number of workers, and can
/// drop the last.
pub struct Loader {
    data: Arc<dyn ImageData>,
    pub(super) range: Range<usize>,
    preprocess: Preprocess,
    config: LoaderConfig,
    pub(super) device: Device,
    /// The label of every image, where the sampler needs them.
    labels: Arc<Vec<usize>>,
    broken: BrokenImages,
    /// Each epoch has so many images: the first come once more, or the last do not come.
    repeated_to: Option<usize>,
    /// The epoch that the next call of burn's `iter` starts.
    pub(super) next_epoch: AtomicU64,
}

impl Loader {
    /// A loader over all of `data`, onto `device`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a batch size of zero, no data, or so few that `drop_last`
    /// leaves nothing.
    pub fn new(
        data: Arc<dyn ImageData>,
        preprocess: Preprocess,
        config: LoaderConfig,
        device: &Device,
    ) -> Result<Self> {
        preprocess.check()?;
        config.check(data.len())?;
        let labels = match config.sampler {
            Sampler::Shuffle => Vec::new(),
            Sampler::Balanced => labels(data.as_ref())?,
        };
        Ok(Self {
            range: 0..data.len(),
            data,
            preprocess,
            config,
            device: device.clone(),
            labels: Arc::new(labels),
            broken: BrokenImages::default(),
            repeated_to: None,
            next_epoch: AtomicU64::new(0),
        })
    }

    /// Images in the set.
    pub fn num_images(&self) -> usize {
        let images = self.range.len();
        match (self.repeated_to, self.config.shard) {
            (Some(own), _) => own,
            (None, Some(shard)) => shard.num_images(images, self.config.drop_last),
            (None, None) => images,
        }
    }

    /// Batches of an epoch.
    pub fn num_batches(&self) -> usize {
        self.config.num_batches(self.num_images())
    }

    /// The images that could not be read so far, in the data's own order.
    pub fn broken(&self) -> Vec<BrokenImage> {
        self.broken.without(&HashSet::new())
    }

    /// What is wrong with an image, if it could not be read.
    pub(crate) fn broken_at(&self, index: usize) -> Option<BrokenImage> {
        self.broken.at(index)
    }

    /// The images that could not be read so far and are not known yet, in the data's own order.
    pub(crate) fn broken_beside(&self, known: &HashSet<usize>) -> Vec<BrokenImage> {
        self.broken.without(known)
    }

    /// The batches of this epoch, counted from 0. The same epoch is always the same.
    pub fn epoch(&self, epoch: u64) -> Batches {
        self.epoch_from(epoch, 0)
    }

    /// The batches of this epoch from a later one on, counted from 0, as if those before it had
    /// been read.
    pub fn epoch_from(&self, epoch: u64, first: usize) -> Batches {
        let maker = self.batch_maker(self.order(epoch), epoch, self.config.clone());
        let total = self.num_batches();
        Batches::start(maker, first, total, self.device.clone())
    }

    /// One image as a batch, the first of the set that can be read.
    pub(crate) fn first(&self) -> Result<Batch> {
        let config = LoaderConfig {
            augment: Augment::default(),
            mixing: None,
            views: Views::One,
            batch_size: 1,
            ..self.config.clone()
        };
        let maker = self.batch_maker(self.range.clone().collect(), 0, config);
        for index in 0..self.range.len() {
            if let Some(batch) = maker.batch(index)?.batch {
                return Ok(batch.onto(&self.device));
            }
        }
        let broken = self.broken().into_iter().next();
        let such = broken.map_or_else(String::new, |b| {
            format!(", such as {}: {}", b.name, b.reason)
        });
        Err(Error::argument(
            "data",
            "at least one image that can be read",
            format!("{} that cannot{such}", self.range.len()),
        ))
    }

    /// At most so many images as a batch, for somebody to look at: the first of an epoch, or, where
    /// images come in the data's own order, some from all over it.
    pub(crate) fn preview(&self, epoch: u64, count: usize) -> Result<Batch> {
        let mut order = self.order(epoch);
        let count = count.min(order.len());
        if self.config.shuffle.is_none() {
            order = (0..count).map(|i| order[i * order.len() / count]).collect();
        }
        order.truncate(count);
        let config = LoaderConfig {
            batch_size: count,
            views: Views::One,
            ..self.config.clone()
        };
        match self.batch_maker(order, epoch, config).batch(0)?.batch {
            Some(batch) => Ok(batch.onto(&self.device)),
            None => self.first(),
        }
    }

    /// The same images in the data's own order, each once and not mixed; as they are, or augmented
    /// as an epoch of this loader has them.
    pub(crate) fn in_order(&self, augmented: bool) -> Self {
        let mut loader = self.with(self.range.clone(), &self.device);
        loader.config.shuffle = None;
        loader.config.sampler = Sampler::Shuffle;
        loader.config.drop_last = false;
        loader.config.drop_single = false;
        loader.config.mixing = None;
        loader.config.shard = None;
        loader.repeated_to = None;
        if !augmented {
            loader.config.augment = Augment::default();
            // Nothing is random: what follows from the images is the same whatever the seed.
            loader.config.seed = 0;
        }
        loader
    }

    /// The same with batches of another size.
    pub(crate) fn with_batch_size(mut self, batch_size: usize) -> Self {
        self.config.batch_size = batch_size;
        self
    }

    /// The target of every image, in the data's own order.
    pub(crate) fn targets(&self) -> Result<Targets> {
        targets_of(self.data.as_ref(), self.range.clone())
    }

    pub(crate) fn data(&self) -> &dyn ImageData {
        self.data.as_ref()
    }

    pub(crate) fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// Leaves out a last batch of a single image from now on.
    pub(crate) fn drop_single(&mut self) {
        self.config.drop_single = true;
    }

    fn batch_maker(&self, order: Vec<usize>, epoch: u64, config: LoaderConfig) -> BatchMaker {
        BatchMaker {
            data: self.data.clone(),
            preprocess: self.preprocess.clone(),
            order,
            epoch,
            config,
            broken: self.broken.clone(),
        }
    }

    /// The images of an epoch in the order in which they are seen.
    pub(crate) fn order(&self, epoch: u64) -> Vec<usize> {
        let range = self.range.clone();
        let order: Vec<usize> = match self.config.shuffle {
            Some(seed) => shuffled(range, &self.labels, self.config.sampler, seed, epoch),
            None => range.collect(),
        };
        match (self.repeated_to, self.config.shard) {
            (Some(own), _) => order.iter().copied().cycle().take(own).collect(),
            (None, Some(shard)) => shard.of(&order, self.config.drop_last),
            (None, None) => order,
        }
    }

    /// The loader with so many images an epoch, as many as other ranks have.
    pub(crate) fn repeated_to(mut self, images: usize) -> Self {
        self.repeated_to = Some(images);
        self
    }

    pub(super) fn with(&self, range: Range<usize>, device: &Device) -> Self {
        Self {
            data: self.data.clone(),
            range,
            preprocess: self.preprocess.clone(),
            config: self.config.clone(),
            device: device.clone(),
            labels: self.labels.clone(),
            broken: self.broken.clone(),
            repeated_to: self.repeated_to,
            next_epoch: AtomicU64::new(self.next_epoch.load(Ordering::Relaxed)),
        }
    }
}

/// The target of every image.
pub(crate) fn targets(data: &dyn ImageData) -> Result<Targets> {
    targets_of(data, 0..data.len())
}

fn targets_of(data: &dyn ImageData, range: Range<usize>) -> Result<Targets> {
    let mut targets = Targets::none(data.task(), data.classes().len());
    for index in range {
        targets.push(&data.target(index)?)?;
    }
    Ok(targets)
}

/// The class of every image.
pub(crate) fn labels(data: &dyn ImageData) -> Result<Vec<usize>> {
    let classes = (0..data.len()).map(|index| data.target(index)?.class());
    classes.collect()
}
