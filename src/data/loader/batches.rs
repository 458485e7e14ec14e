//! The batches of an epoch, made by worker threads and handed out in order.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use burn::tensor::Device;

use super::batch::{Batch, EpochBatch, HostBatch};
use super::batch_maker::BatchMaker;
use crate::error::{Error, Result};

/// The batches of one epoch, in order.
pub struct Batches {
    maker: Arc<BatchMaker>,
    receivers: Vec<Receiver<Result<EpochBatch<HostBatch>>>>,
    first: usize,
    next: usize,
    total: usize,
    device: Device,
}

/// Batches that each worker prepares ahead.
const PREFETCH: usize = 2;

impl Batches {
    /// The batches from `first` to `total`, made by so many threads; by the calling one if there
    /// are none.
    pub(super) fn start(maker: BatchMaker, first: usize, total: usize, device: Device) -> Self {
        let maker = Arc::new(maker);
        let first = first.min(total);
        let workers = maker.config.workers.min(total - first);
        // Worker w makes the batches first + w, first + w + workers, ..; reading the channels in
        // turn restores the order. A worker ends when its channel is dropped.
        let start = |worker: usize| {
            let (sender, receiver) = sync_channel(PREFETCH);
            let maker = maker.clone();
            let run = move || {
                for index in (first + worker..total).step_by(workers) {
                    if sender.send(maker.batch(index)).is_err() {
                        return;
                    }
                }
            };
            // Where no thread can be had, the closed channel says so.
            let name = format!("loader-{worker}");
            drop(std::thread::Builder::new().name(name).spawn(run));
            receiver
        };
        let receivers = (0..workers).map(start).collect();
        Self {
            maker,
            receivers,
            first,
            next: first,
            total,
            device,
        }
    }

    /// The next batch with what was left out of it; one without an image is not left out here.
    pub(crate) fn next_with_skipped(&mut self) -> Option<Result<EpochBatch>> {
        if self.is_done() {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let worker = (index - self.first) % self.receivers.len().max(1);
        let made = match self.receivers.get(worker) {
            None => self.maker.batch(index),
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
        Some(made.map(|made| EpochBatch {
            batch: made.batch.map(|batch| batch.onto(&self.device)),
            skipped: made.skipped,
        }))
    }

    /// Images in the batches that were handed out, were they all full.
    #[cfg(feature = "dataset")]
    pub(super) fn handed_out(&self) -> usize {
        self.next * self.maker.config.batch_size
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
            let batch = self.next_with_skipped()?.map(|made| made.batch);
            if let Some(batch) = batch.transpose() {
                return Some(batch);
            }
        }
    }
}
