//! From images to a batch.

use std::sync::Arc;

use super::batch::{EpochBatch, HostBatch};
use super::broken::{BrokenImage, BrokenImages};
use super::config::{LoaderConfig, Sampler};
use crate::data::image_data::ImageData;
use crate::data::target::{Target, Targets};
use crate::error::{Error, Result};
use crate::panics;
use crate::preprocess::augment::{Mixing, Views, batch_rng, image_rng, soft_targets};
use crate::preprocess::{Image, Preprocess};

/// Makes any batch of one epoch, whichever thread asks for it.
pub(super) struct BatchMaker {
    pub(super) data: Arc<dyn ImageData>,
    pub(super) preprocess: Preprocess,
    /// The images in the order of the epoch.
    pub(super) order: Vec<usize>,
    pub(super) epoch: u64,
    pub(super) config: LoaderConfig,
    pub(super) broken: BrokenImages,
}

impl BatchMaker {
    /// An image and its target. A decoder that panics has met an image that cannot be read.
    fn read(&self, index: usize) -> Result<(Image, Target)> {
        panics::of_decoder(self.data.name(index), || self.data.get(index))
    }

    /// [`read`](Self::read), or `None` for an image that is left out.
    fn read_or_skip(&self, index: usize) -> Result<Option<(Image, Target)>> {
        let error = match self.read(index) {
            Ok(read) => return Ok(Some(read)),
            Err(error) => error,
        };
        let Some(broken) = BrokenImage::of(self.data.as_ref(), index, &error) else {
            return Err(error);
        };
        self.broken.insert(broken);
        if self.config.skip_broken {
            Ok(None)
        } else {
            Err(error)
        }
    }

    /// The values of the image in this place of the order, `[views, channels, height, width]`.
    fn values(&self, place: usize, image: &Image) -> Vec<f32> {
        let LoaderConfig {
            views,
            augment,
            sampler,
            seed,
            ..
        } = &self.config;
        if *views != Views::One {
            return views.views(&self.preprocess, image).concat();
        }
        if augment.is_none() {
            return self.preprocess.apply(image);
        }
        // An image that is drawn twice is changed in two ways.
        let key = match sampler {
            Sampler::Shuffle => self.order[place],
            Sampler::Balanced => self.order.len() + place,
        };
        let mut rng = image_rng(*seed, self.epoch, key);
        augment.apply(image, &self.preprocess, &mut rng)
    }

    pub(super) fn batch(&self, index: usize) -> Result<EpochBatch<HostBatch>> {
        let start = index * self.config.batch_size;
        let end = (start + self.config.batch_size).min(self.order.len());
        let mut images = Vec::new();
        let mut targets = Targets::none(self.data.task(), self.data.classes().len());
        let mut size = None;
        let mut skipped = Vec::new();
        for place in start..end {
            let Some((image, target)) = self.read_or_skip(self.order[place])? else {
                skipped.push(self.order[place]);
                continue;
            };
            let this = self.preprocess.output_size(image.height(), image.width());
            let (h, w) = *size.get_or_insert(this);
            if (h, w) != this {
                let (height, width) = this;
                return Err(Error::argument(
                    "image_size",
                    "a size to bring images of different sizes to",
                    format!("images of {h} x {w} and {height} x {width} pixels in one batch"),
                ));
            }
            images.extend(self.values(place, &image));
            targets.push(&target)?;
        }
        let Some((height, width)) = size else {
            return Ok(EpochBatch {
                batch: None,
                skipped,
            });
        };
        let count = targets.len() * self.config.views.count();
        let channels = images.len() / (count * height * width).max(1);
        let shape = [count, channels, height, width];
        let mut soft = None;
        if let Some(mixing) = self.config.mixing.filter(Mixing::is_active) {
            let mut shares = match &targets {
                Targets::Classes(labels) => soft_targets(labels, self.data.classes().len(), 0.0)?,
                Targets::Rows { values, .. } => values.clone(),
            };
            // Of several ranks each mixes in its own way.
            let (rank, size) = self
                .config
                .shard
                .map_or((0, 1), |shard| (shard.rank, shard.size));
            let mut rng = batch_rng(self.config.seed, self.epoch, index * size + rank);
            mixing.apply(&mut images, shape, &mut shares, &mut rng)?;
            soft = Some(shares);
        }
        let batch = HostBatch {
            images,
            shape,
            targets,
            soft,
        };
        Ok(EpochBatch {
            batch: Some(batch),
            skipped,
        })
    }
}
