//! Sums of gradients, a bucket at a time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::communicator::Communicator;
use crate::error::{Error, Result};

/// Sums buckets over all ranks, in the order in which they come: in a thread of its own, so that the next
/// one is made ready meanwhile, or at once. (Requests that nobody waits for do not progress in MPI.)
pub(super) struct Reducer {
    communicator: Arc<dyn Communicator>,
    worker: Option<Worker>,
    /// Summed at once.
    done: Vec<Result<Vec<f32>>>,
}

struct Worker {
    buckets: Sender<Vec<f32>>,
    sums: Receiver<Result<Vec<f32>>>,
    _thread: JoinHandle<()>,
}

impl Reducer {
    pub fn new(communicator: Arc<dyn Communicator>, overlap: bool) -> Result<Self> {
        let worker = overlap
            .then(|| Worker::start(communicator.clone()))
            .transpose()?;
        Ok(Self {
            communicator,
            worker,
            done: Vec::new(),
        })
    }

    /// Hands a bucket over.
    pub fn push(&mut self, mut bucket: Vec<f32>) {
        match &self.worker {
            // What is not taken is missed by `sums`.
            Some(worker) => drop(worker.buckets.send(bucket)),
            None => {
                let summed = self.communicator.all_reduce_sum(&mut bucket);
                self.done.push(summed.map(|()| bucket));
            }
        }
    }

    /// The sums of so many buckets, in the order in which they were handed over.
    pub fn sums(&mut self, buckets: usize) -> Result<Vec<Vec<f32>>> {
        let Some(worker) = &self.worker else {
            return std::mem::take(&mut self.done).into_iter().collect();
        };
        let sum = |_| match worker.sums.recv() {
            Ok(sum) => sum,
            Err(_) => Err(Error::Rank {
                rank: self.communicator.rank(),
                host: self.communicator.host(),
                reason: "the thread that sums gradients has ended".to_owned(),
            }),
        };
        (0..buckets).map(sum).collect()
    }
}

impl Worker {
    fn start(communicator: Arc<dyn Communicator>) -> Result<Self> {
        let (buckets, to_sum) = channel::<Vec<f32>>();
        let (summed, sums) = channel();
        let run = move || {
            for mut bucket in to_sum {
                let sum = communicator.all_reduce_sum(&mut bucket);
                let failed = sum.is_err();
                if summed.send(sum.map(|()| bucket)).is_err() || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("all-reduce".to_owned())
            .spawn(run)
            .map_err(|error| Error::Device {
                device: "the CPU".to_owned(),
                reason: format!("no thread can be started: {error}"),
            })?;
        Ok(Self {
            buckets,
            sums,
            _thread: thread,
        })
    }
}
