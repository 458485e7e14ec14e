//! Batches, made by worker threads and handed out in a fixed order.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::ImageData;
use crate::error::{Error, Result};
use crate::init::Rng;
use crate::panics;
use crate::preprocess::augment::{Augment, Mixing, Views, batch_rng, image_rng, soft_targets};
use crate::preprocess::{Image, Preprocess};
use serde::{Deserialize, Serialize};

/// Images and labels, ready for a model.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[batch, channels, height, width]`, normalised.
    pub images: Tensor<4>,
    /// `[batch]`, indices of classes.
    pub labels: Tensor<1, Int>,
    /// The same labels in host memory.
    pub targets: Vec<usize>,
    /// [`Views`] of each image, which follow each other in `images`; labels are by image.
    pub views: usize,
    /// Where images are [mixed](Mixing): the share of each class, `[batch, classes]`.
    pub soft: Option<Tensor<2>>,
}

/// In which order, and how often, images are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sampler {
    /// Each once an epoch, in random order.
    #[default]
    Shuffle,
    /// Each class as often as any other: as many draws an epoch as there are images, with
    /// replacement, each image weighted by one over the images of its class; PyTorch's
    /// `WeightedRandomSampler`.
    Balanced,
}

/// `shuffle` or `balanced`.
impl std::str::FromStr for Sampler {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "shuffle" => Ok(Sampler::Shuffle),
            "balanced" => Ok(Sampler::Balanced),
            _ => Err(Error::argument(
                "sampler",
                "shuffle or balanced",
                format!("`{text}`"),
            )),
        }
    }
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
    /// Leaves out a last batch of a single image, where batches are larger.
    pub drop_single: bool,
    /// Leaves out images that cannot be read, instead of ending with the first of them: batches
    /// are smaller by them, and a batch without an image is left out. [`Loader::broken`] names
    /// them. Each epoch tries them again.
    pub skip_broken: bool,
    /// Threads that read and prepare images; 0 does it in the calling thread. Neither the order of
    /// the batches nor what is in them depends on it.
    pub workers: usize,
    /// How often each image is seen. Of no effect without `shuffle`.
    pub sampler: Sampler,
    /// Random changes of the images. They follow from `seed`, the epoch and the image's place in
    /// it.
    pub augment: Augment,
    /// Mixes the images of a batch with each other, and their labels into [`Batch::soft`].
    pub mixing: Option<Mixing>,
    /// Which views there are of each image, for a prediction from more than one. Neither `augment`
    /// nor `mixing` goes with more than one.
    pub views: Views,
    /// The seed of what is random beside the order.
    pub seed: u64,
}

impl Default for LoaderConfig {
    /// Batches of 64 in the data's own order, prepared by one worker.
    fn default() -> Self {
        Self {
            batch_size: 64,
            shuffle: None,
            drop_last: false,
            drop_single: false,
            skip_broken: false,
            workers: 1,
            sampler: Sampler::default(),
            augment: Augment::default(),
            mixing: None,
            views: Views::One,
            seed: 0,
        }
    }
}

/// An image that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenImage {
    /// Its place in the set, counted from 0.
    pub index: usize,
    /// Its [name](ImageData::name).
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

impl BrokenImage {
    /// What an error says of an image; `None` if it speaks of something else.
    fn of(data: &dyn ImageData, index: usize, error: &Error) -> Option<Self> {
        let reason = match error {
            Error::Image { reason, .. } => format!("not a readable image: {reason}"),
            Error::Io { action, source, .. } => format!("cannot {action} it: {source}"),
            Error::Data {
                expected, found, ..
            } => format!("expected {expected}, found {found}"),
            _ => return None,
        };
        Some(Self {
            index,
            name: data.name(index),
            reason,
        })
    }
}

/// Images that could not be read so far, by their index.
type BrokenImages = Arc<Mutex<BTreeMap<usize, BrokenImage>>>;

/// Makes batches from images. It is a burn [`DataLoader`]; unlike burn's own multi-threaded one it
/// hands batches out in the same order whatever the number of workers, and can drop the last.
pub struct Loader {
    data: Arc<dyn ImageData>,
    range: std::ops::Range<usize>,
    preprocess: Preprocess,
    config: LoaderConfig,
    device: Device,
    /// The label of every image, where the sampler needs them.
    labels: Arc<Vec<usize>>,
    broken: BrokenImages,
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
        config.augment.check()?;
        if let Some(mixing) = &config.mixing {
            mixing.check()?;
        }
        if config.views != Views::One && !(config.augment.is_none() && config.mixing.is_none()) {
            let expected = "one, where images are augmented or mixed";
            return Err(Error::argument("views", expected, config.views));
        }
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
        if config.drop_single && config.batch_size > 1 && data.len() == 1 {
            let expected = "more than one image, since one alone in its batch is left out";
            return Err(Error::argument("drop_single", expected, "1 image"));
        }
        let range = 0..data.len();
        let labels = match config.sampler {
            Sampler::Shuffle => Vec::new(),
            Sampler::Balanced => labels(data.as_ref())?,
        };
        Ok(Self {
            data,
            range,
            preprocess,
            config,
            device: device.clone(),
            labels: Arc::new(labels),
            broken: BrokenImages::default(),
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
        let single = size > 1 && images % size == 1;
        if self.config.drop_last || self.config.drop_single && single {
            images / size
        } else {
            images.div_ceil(size)
        }
    }

    /// The images that could not be read so far, in the data's own order.
    pub fn broken(&self) -> Vec<BrokenImage> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.values().cloned().collect()
    }

    /// What is wrong with an image, if it could not be read.
    pub(crate) fn broken_at(&self, index: usize) -> Option<BrokenImage> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.get(&index).cloned()
    }

    /// The images that could not be read so far and are not known yet, in the data's own order.
    pub(crate) fn broken_beside(&self, known: &HashSet<usize>) -> Vec<BrokenImage> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let new = broken.values().filter(|b| !known.contains(&b.index));
        new.cloned().collect()
    }

    /// The batches of this epoch, counted from 0. The same epoch is always the same.
    pub fn epoch(&self, epoch: u64) -> Batches {
        self.epoch_from(epoch, 0)
    }

    /// The batches of this epoch from a later one on, counted from 0, as if those before it had
    /// been read.
    pub fn epoch_from(&self, epoch: u64, first: usize) -> Batches {
        let total = self.num_batches();
        let work = Arc::new(self.work(self.order(epoch), epoch));
        let first = first.min(total);
        let workers = self.config.workers.min(total - first);
        // Worker w makes the batches first + w, first + w + workers, ..; reading the channels in
        // turn restores the order. A worker ends when its channel is dropped.
        let receivers = (0..workers)
            .map(|worker| {
                let (sender, receiver) = sync_channel(PREFETCH);
                let work = work.clone();
                let run = move || {
                    for index in (first + worker..total).step_by(workers) {
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
            first,
            next: first,
            total,
            images: self.num_images(),
            device: self.device.clone(),
        }
    }

    /// One image as a batch, the first of the set that can be read.
    pub(crate) fn first(&self) -> Result<Batch> {
        let plain = Work {
            augment: Augment::default(),
            mixing: None,
            views: Views::One,
            batch_size: 1,
            ..self.work(self.range.clone().collect(), 0)
        };
        for index in self.range.clone() {
            if let Some(batch) = plain.batch(index)?.batch {
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
            format!("{} that cannot{such}", self.num_images()),
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
        let work = Work {
            batch_size: count,
            views: Views::One,
            ..self.work(order, epoch)
        };
        match work.batch(0)?.batch {
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
        if !augmented {
            loader.config.augment = Augment::default();
        }
        loader
    }

    /// The label of every image, in the data's own order.
    pub(crate) fn labels(&self) -> Result<Vec<usize>> {
        self.range.clone().map(|i| self.data.label(i)).collect()
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

    fn work(&self, order: Vec<usize>, epoch: u64) -> Work {
        Work {
            data: self.data.clone(),
            preprocess: self.preprocess.clone(),
            order,
            batch_size: self.config.batch_size,
            sampler: self.config.sampler,
            augment: self.config.augment.clone(),
            mixing: self.config.mixing,
            views: self.config.views,
            seed: self.config.seed,
            epoch,
            skip_broken: self.config.skip_broken,
            broken: self.broken.clone(),
        }
    }

    /// The images of an epoch in the order in which they are seen.
    pub(crate) fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = self.range.clone().collect();
        let Some(seed) = self.config.shuffle else {
            return order;
        };
        let mut rng = Rng::new(seed, &format!("shuffle {epoch}"));
        if self.config.sampler == Sampler::Balanced {
            // One class first, each as likely as the others, then one of its images: the same
            // distribution as weighing each image by one over its class's count.
            let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for index in self.range.clone() {
                members.entry(self.labels[index]).or_default().push(index);
            }
            let classes: Vec<Vec<usize>> = members.into_values().collect();
            let mut draw = |count: usize| {
                let place = rng.uniform(0.0, count as f64) as usize;
                place.min(count - 1)
            };
            for place in &mut order {
                let class = &classes[draw(classes.len())];
                *place = class[draw(class.len())];
            }
            return order;
        }
        // Fisher and Yates, from the end.
        for last in (1..order.len()).rev() {
            let other = rng.uniform(0.0, (last + 1) as f64) as usize;
            order.swap(last, other.min(last));
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
            labels: self.labels.clone(),
            broken: self.broken.clone(),
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
    order: Vec<usize>,
    batch_size: usize,
    sampler: Sampler,
    augment: Augment,
    mixing: Option<Mixing>,
    views: Views,
    seed: u64,
    epoch: u64,
    skip_broken: bool,
    broken: BrokenImages,
}

/// A batch of an epoch, and what was left out of it.
pub(crate) struct Part<B = Batch> {
    /// `None` if no image of it could be read.
    pub batch: Option<B>,
    /// The indices of images that could not be read.
    pub skipped: Vec<usize>,
}

/// A batch in host memory.
struct HostBatch {
    images: Vec<f32>,
    shape: [usize; 4],
    labels: Vec<usize>,
    soft: Option<Vec<f32>>,
}

impl HostBatch {
    fn onto(self, device: &Device) -> Batch {
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

impl Work {
    /// An image and its label. A decoder that panics has met an image that cannot be read.
    fn read(&self, index: usize) -> Result<(Image, usize)> {
        panics::of_decoder(self.data.name(index), || self.data.get(index))
    }

    /// [`read`](Self::read), or `None` for an image that is left out.
    fn read_or_skip(&self, index: usize) -> Result<Option<(Image, usize)>> {
        let error = match self.read(index) {
            Ok(read) => return Ok(Some(read)),
            Err(error) => error,
        };
        let Some(broken) = BrokenImage::of(self.data.as_ref(), index, &error) else {
            return Err(error);
        };
        let mut all = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(index, broken);
        if self.skip_broken {
            Ok(None)
        } else {
            Err(error)
        }
    }

    fn batch(&self, index: usize) -> Result<Part<HostBatch>> {
        let start = index * self.batch_size;
        let end = (start + self.batch_size).min(self.order.len());
        let mut images = Vec::new();
        let mut labels = Vec::with_capacity(end - start);
        let mut size = None;
        let mut skipped = Vec::new();
        for (place, &index) in (start..end).zip(&self.order[start..end]) {
            let Some((image, label)) = self.read_or_skip(index)? else {
                skipped.push(index);
                continue;
            };
            let this = self.preprocess.output_size(image.height(), image.width());
            if *size.get_or_insert(this) != this {
                let [(h, w), (height, width)] = [size.unwrap_or_default(), this];
                return Err(Error::argument(
                    "image_size",
                    "a size to bring images of different sizes to",
                    format!("images of {h} x {w} and {height} x {width} pixels in one batch"),
                ));
            }
            if self.views != Views::One {
                for view in self.views.views(&self.preprocess, &image) {
                    images.extend(view);
                }
            } else if self.augment.is_none() {
                images.extend(self.preprocess.apply(&image));
            } else {
                // An image that is drawn twice is changed in two ways.
                let key = match self.sampler {
                    Sampler::Shuffle => index,
                    Sampler::Balanced => self.order.len() + place,
                };
                let mut rng = image_rng(self.seed, self.epoch, key);
                images.extend(self.augment.apply(&image, &self.preprocess, &mut rng));
            }
            labels.push(label);
        }
        let Some((height, width)) = size else {
            return Ok(Part {
                batch: None,
                skipped,
            });
        };
        let count = labels.len() * self.views.count();
        let channels = images.len() / (count * height * width).max(1);
        let shape = [count, channels, height, width];
        let soft = match &self.mixing {
            None => None,
            Some(mixing) => {
                let mut soft = soft_targets(&labels, self.data.classes().len(), 0.0)?;
                let mut rng = batch_rng(self.seed, self.epoch, index);
                mixing.apply(&mut images, shape, &mut soft, &mut rng)?;
                Some(soft)
            }
        };
        Ok(Part {
            batch: Some(HostBatch {
                shape,
                images,
                labels,
                soft,
            }),
            skipped,
        })
    }
}

/// The label of every image.
pub(crate) fn labels(data: &dyn ImageData) -> Result<Vec<usize>> {
    (0..data.len()).map(|index| data.label(index)).collect()
}

/// The batches of one epoch, in order.
pub struct Batches {
    work: Arc<Work>,
    receivers: Vec<Receiver<Result<Part<HostBatch>>>>,
    first: usize,
    next: usize,
    total: usize,
    images: usize,
    device: Device,
}

impl Batches {
    /// The next batch with what was left out of it; one without an image is not left out here.
    pub(crate) fn part(&mut self) -> Option<Result<Part>> {
        if self.is_done() {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let made = match self
            .receivers
            .get((index - self.first) % self.receivers.len().max(1))
        {
            None => self.work.batch(index),
            // What panics while it reads an image is an error with the image's name; a closed
            // channel is a thread that never began, or died of something else.
            Some(receiver) => receiver.recv().unwrap_or_else(|_| {
                Err(Error::argument(
                    "workers",
                    "as many threads as the system can start and run to the end",
                    format!("{}, of which one stopped", self.receivers.len()),
                ))
            }),
        };
        Some(made.map(|part| Part {
            batch: part.batch.map(|batch| batch.onto(&self.device)),
            skipped: part.skipped,
        }))
    }

    /// Whether the epoch has no more batches.
    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.total
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.part()? {
                Err(error) => return Some(Err(error)),
                Ok(part) => {
                    if let Some(batch) = part.batch {
                        return Some(Ok(batch));
                    }
                }
            }
        }
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
