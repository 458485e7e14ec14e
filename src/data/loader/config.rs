//! How batches are made.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::preprocess::augment::{Augment, Mixing, Views};
use crate::text::text_choice;

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
    /// are smaller by them, and a batch without an image is left out. [`Loader::broken`](super::Loader::broken) names
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
    /// Mixes the images of a batch with each other, and their labels into [`Batch::soft`](super::Batch::soft).
    pub mixing: Option<Mixing>,
    /// Which views there are of each image, for a prediction from more than one. Neither `augment`
    /// nor `mixing` goes with more than one.
    pub views: Views,
    /// The seed of what is random beside the order.
    pub seed: u64,
    /// Takes a share of the images, for one of several ranks that train together.
    pub shard: Option<Shard>,
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
            shard: None,
        }
    }
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

text_choice!(Sampler, "sampler");

/// One rank's share of each epoch: every `size`-th image of the order of all, from `rank` on, as PyTorch's
/// `DistributedSampler`. All ranks have as many: where the images do not go up, the first of the
/// order come once more, or with [`drop_last`](LoaderConfig::drop_last) the last are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The rank, counted from 0.
    pub rank: usize,
    /// How many ranks there are.
    pub size: usize,
}

impl Shard {
    /// How many images of so many each rank has.
    pub(super) fn num_images(self, images: usize, drop_last: bool) -> usize {
        if drop_last {
            images / self.size
        } else {
            images.div_ceil(self.size)
        }
    }

    /// This rank's part of an order.
    pub(super) fn of(self, order: &[usize], drop_last: bool) -> Vec<usize> {
        let own = self.num_images(order.len(), drop_last);
        let place = |index| order[(index * self.size + self.rank) % order.len()];
        (0..own).map(place).collect()
    }
}

impl LoaderConfig {
    /// Whether batches can be made so of this many images.
    pub(super) fn check(&self, num_images: usize) -> Result<()> {
        check_loading(self.batch_size, self.workers)?;
        self.augment.check()?;
        if let Some(mixing) = &self.mixing {
            mixing.check()?;
        }
        let mixes = self.mixing.as_ref().is_some_and(Mixing::is_active);
        if self.views != Views::One && (mixes || !self.augment.is_none()) {
            let expected = "one, where images are augmented or mixed";
            return Err(Error::argument("views", expected, self.views));
        }
        if let Some(Shard { rank, size }) = self.shard
            && rank >= size
        {
            let expected = format!("a rank below the size, {size}");
            return Err(Error::argument("shard", expected, rank));
        }
        if num_images == 0 {
            return Err(Error::argument("data", "at least one image", "none"));
        }
        let num_images = match self.shard {
            Some(shard) => shard.num_images(num_images, self.drop_last),
            None => num_images,
        };
        if self.drop_last && num_images < self.batch_size {
            let expected = format!("at least one full batch of {}", self.batch_size);
            return Err(Error::argument(
                "drop_last",
                expected,
                format!("{num_images} images"),
            ));
        }
        if self.drop_single && self.batch_size > 1 && num_images == 1 {
            let expected = "more than one image, since one alone in its batch is left out";
            return Err(Error::argument("drop_single", expected, "1 image"));
        }
        Ok(())
    }

    /// Batches of an epoch of this many images.
    pub(super) fn num_batches(&self, num_images: usize) -> usize {
        let size = self.batch_size;
        let is_single = size > 1 && num_images % size == 1;
        if self.drop_last || self.drop_single && is_single {
            num_images / size
        } else {
            num_images.div_ceil(size)
        }
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
