//! Batches, made by worker threads and handed out in a fixed order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::ImageData;
use crate::error::{Error, Result};
use crate::init::Rng;
use crate::preprocess::Preprocess;

/// Images and labels, ready for a model.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[batch, channels, height, width]`, normalised.
    pub images: Tensor<4>,
    /// `[batch]`, indices of classes.
    pub labels: Tensor<1, Int>,
    /// The same labels in host memory.
    pub targets: Vec<usize>,
}

/// How batches are made.
#[derive(Debug, Clone)]
pub struct LoaderConfig {
    /// Images in a batch.
    pub batch_size: usize,
    /// The seed of the order, which differs from epoch to epoch; `None` keeps the data's own order.
    pub shuffle: Option<u64>,
    /// Leaves out a last batch that is not full.
    pub drop_last: bool,
    /// Threads that read and prepare images; 0 does it in the calling thread. The order of the
    /// batches does not depend on it.
    pub workers: usize,
}

impl Default for LoaderConfig {
    /// Batches of 64 in the data's own order, prepared by one worker.
    fn default() -> Self {
        Self {
            batch_size: 64,
            shuffle: None,
            drop_last: false,
            workers: 1,
        }
    }
}

/// Makes batches from images. It is a burn [`DataLoader`]; unlike burn's own multi-threaded one it
/// hands batches out in the same order whatever the number of workers, and can drop the last.
pub struct Loader {
    data: Arc<dyn ImageData>,
    range: std::ops::Range<usize>,
    preprocess: Preprocess,
    config: LoaderConfig,
    device: Device,
    /// The epoch that the next call of burn's `iter` starts.
    next_epoch: AtomicU64,
}

/// Batches that each worker prepares ahead.
const PREFETCH: usize = 2;

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
        check_loading(config.batch_size, config.workers)?;
        preprocess.check()?;
        if data.is_empty() {
            return Err(Error::argument("data", "at least one image", "none"));
        }
        if config.drop_last && data.len() < config.batch_size {
            return Err(Error::argument(
                "drop_last",
                format!("at least one full batch of {}", config.batch_size),
                format!("{} images", data.len()),
            ));
        }
        let range = 0..data.len();
        Ok(Self {
            data,
            range,
            preprocess,
            config,
            device: device.clone(),
            next_epoch: AtomicU64::new(0),
        })
    }

    /// Images in the set.
    pub fn num_images(&self) -> usize {
        self.range.len()
    }

    /// Batches of an epoch.
    pub fn num_batches(&self) -> usize {
        let (images, size) = (self.num_images(), self.config.batch_size);
        if self.config.drop_last {
            images / size
        } else {
            images.div_ceil(size)
        }
    }

    /// The batches of this epoch, counted from 0. The same epoch is always the same.
    pub fn epoch(&self, epoch: u64) -> Batches {
        let order = Arc::new(self.order(epoch));
        let total = self.num_batches();
        let work = Arc::new(Work {
            data: self.data.clone(),
            preprocess: self.preprocess.clone(),
            order,
            batch_size: self.config.batch_size,
        });
        let workers = self.config.workers.min(total);
        // Worker w makes the batches w, w + workers, ..; reading the channels in turn restores the
        // order. A worker ends when its channel is dropped.
        let receivers = (0..workers)
            .map(|worker| {
                let (sender, receiver) = sync_channel(PREFETCH);
                let work = work.clone();
                let run = move || {
                    for index in (worker..total).step_by(workers) {
                        if sender.send(work.batch(index)).is_err() {
                            return;
                        }
                    }
                };
                // Where no thread can be had, the closed channel says so.
                let name = format!("loader-{worker}");
                drop(std::thread::Builder::new().name(name).spawn(run));
                receiver
            })
            .collect();
        Batches {
            work,
            receivers,
            next: 0,
            total,
            images: self.num_images(),
            device: self.device.clone(),
        }
    }

    /// One image as a batch, the first of the set.
    pub(crate) fn first(&self) -> Result<Batch> {
        let work = Work {
            data: self.data.clone(),
            preprocess: self.preprocess.clone(),
            order: Arc::new(self.range.clone().take(1).collect()),
            batch_size: 1,
        };
        Ok(work.batch(0)?.onto(&self.device))
    }

    fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = self.range.clone().collect();
        if let Some(seed) = self.config.shuffle {
            let mut rng = Rng::new(seed, &format!("shuffle {epoch}"));
            // Fisher and Yates, from the end.
            for last in (1..order.len()).rev() {
                let other = rng.uniform(0.0, (last + 1) as f64) as usize;
                order.swap(last, other.min(last));
            }
        }
        order
    }

    fn with(&self, range: std::ops::Range<usize>, device: &Device) -> Self {
        Self {
            data: self.data.clone(),
            range,
            preprocess: self.preprocess.clone(),
            config: self.config.clone(),
            device: device.clone(),
            next_epoch: AtomicU64::new(self.next_epoch.load(Ordering::Relaxed)),
        }
    }
}

impl DataLoader<Batch> for Loader {
    /// The batches of the next epoch.
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(BurnBatches(
            self.epoch(self.next_epoch.fetch_add(1, Ordering::Relaxed)),
        ))
    }

    fn num_items(&self) -> usize {
        self.num_images()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(self.with(self.range.clone(), device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        let clip = |index: usize| (self.range.start + index).min(self.range.end);
        Arc::new(self.with(clip(start)..clip(end), &self.device))
    }
}

/// Sizes beyond these are surely a mistake, and would ask for all of a machine's memory.
pub(crate) fn check_loading(batch_size: usize, workers: usize) -> Result<()> {
    if !(1..=65_536).contains(&batch_size) {
        return Err(Error::argument("batch_size", "1 to 65536", batch_size));
    }
    if workers > 256 {
        return Err(Error::argument("workers", "0 to 256", workers));
    }
    Ok(())
}

/// What a worker needs.
struct Work {
    data: Arc<dyn ImageData>,
    preprocess: Preprocess,
    order: Arc<Vec<usize>>,
    batch_size: usize,
}

/// A batch in host memory.
struct HostBatch {
    images: Vec<f32>,
    shape: [usize; 4],
    labels: Vec<usize>,
}

impl HostBatch {
    fn onto(self, device: &Device) -> Batch {
        let targets: Vec<i64> = self.labels.iter().map(|l| *l as i64).collect();
        let labels = TensorData::new(targets, [self.labels.len()]);
        Batch {
            images: Tensor::from_data(TensorData::new(self.images, self.shape), device),
            labels: Tensor::from_data(labels, device),
            targets: self.labels,
        }
    }
}

impl Work {
    fn batch(&self, index: usize) -> Result<HostBatch> {
        let start = index * self.batch_size;
        let end = (start + self.batch_size).min(self.order.len());
        let mut images = Vec::new();
        let mut labels = Vec::with_capacity(end - start);
        let mut size = None;
        for &index in &self.order[start..end] {
            let (image, label) = self.data.get(index)?;
            let this = self.preprocess.output_size(image.height(), image.width());
            if *size.get_or_insert(this) != this {
                return Err(Error::argument(
                    "image_size",
                    "a size to bring images of different sizes to",
                    format!("images of {size:?} and {this:?} in one batch"),
                ));
            }
            images.extend(self.preprocess.apply(&image));
            labels.push(label);
        }
        let (height, width) = size.unwrap_or_default();
        let channels = images.len() / (labels.len() * height * width).max(1);
        Ok(HostBatch {
            shape: [labels.len(), channels, height, width],
            images,
            labels,
        })
    }
}

/// The batches of one epoch, in order.
pub struct Batches {
    work: Arc<Work>,
    receivers: Vec<Receiver<Result<HostBatch>>>,
    next: usize,
    total: usize,
    images: usize,
    device: Device,
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.total {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let made = match self.receivers.get(index % self.receivers.len().max(1)) {
            None => self.work.batch(index),
            // A worker that died (a panic in a user's data set) shows as a closed channel.
            Some(receiver) => receiver.recv().unwrap_or_else(|_| {
                Err(Error::argument(
                    "workers",
                    "threads that run to the end",
                    "one that stopped",
                ))
            }),
        };
        Some(made.map(|batch| batch.onto(&self.device)))
    }
}

/// [`Batches`] as burn wants them.
struct BurnBatches(Batches);

impl Iterator for BurnBatches {
    type Item = std::result::Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.map_err(DatasetError::new))
    }
}

impl DataLoaderIterator<Batch> for BurnBatches {
    fn progress(&self) -> Progress {
        let done = (self.0.next * self.0.work.batch_size).min(self.0.images);
        Progress::new(done, self.0.images, Some("images".to_owned()))
    }
}
