//! The loader as burn's own training code wants it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::batch::Batch;
use super::batches::Batches;
use super::data_loader::Loader;

struct BurnBatches {
    batches: Batches,
    images: usize,
}

impl Iterator for BurnBatches {
    type Item = std::result::Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.batches.next()?.map_err(DatasetError::new))
    }
}

impl DataLoaderIterator<Batch> for BurnBatches {
    fn progress(&self) -> Progress {
        let done = self.batches.handed_out().min(self.images);
        Progress::new(done, self.images, Some("images".to_owned()))
    }
}

impl DataLoader<Batch> for Loader {
    /// The batches of the next epoch.
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(BurnBatches {
            batches: self.epoch(self.next_epoch.fetch_add(1, Ordering::Relaxed)),
            images: self.num_images(),
        })
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
