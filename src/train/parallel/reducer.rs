//! Sums of gradients, a bucket at a time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::communicator::Communicator;
use crate::error::{Error, Result};

/// What summing the gradients of a step over all ranks takes: the mean of an epoch, or of the steps since the run went on
/// within it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AllReduceTime {
    /// Seconds in which a bucket was being summed. Where the ranks are not equally fast, waiting for the slowest
    /// is in it.
    pub seconds: f64,
    /// Seconds in which the step waited for that: what overlap with the backward pass did not hide.
    pub waited_seconds: f64,
}

/// Sums buckets over all ranks, in the order in which they come: in a thread of its own, so that the next
/// one is made ready meanwhile, or at once. (Requests that nobody waits for do not progress in MPI.)
pub(super) struct Reducer {
    communicator: Arc<dyn Communicator>,
    worker: Option<Worker>,
    /// Summed at once.
    done: Vec<Result<Vec<f32>>>,
    steps: u32,
    summing: Duration,
    waited: Duration,
}

struct Worker {
    buckets: Sender<Vec<f32>>,
    sums: Receiver<(Result<Vec<f32>>, Duration)>,
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
            steps: 0,
            summing: Duration::ZERO,
            waited: Duration::ZERO,
        })
    }

    /// What a step took since this was last asked, if there was one.
    pub fn take_time(&mut self) -> Option<AllReduceTime> {
        let steps = std::mem::take(&mut self.steps);
        let summing = std::mem::take(&mut self.summing);
        let waited = std::mem::take(&mut self.waited);
        (steps > 0).then(|| AllReduceTime {
            seconds: (summing / steps).as_secs_f64(),
            waited_seconds: (waited / steps).as_secs_f64(),
        })
    }

    /// Hands a bucket over.
    pub fn push(&mut self, bucket: Vec<f32>) {
        match &self.worker {
            // What is not taken is missed by `sums`.
            Some(worker) => drop(worker.buckets.send(bucket)),
            None => {
                let (sum, time) = sum(&*self.communicator, bucket);
                self.done.push(sum);
                self.summing += time;
                self.waited += time;
            }
        }
    }

    /// The sums of so many buckets, in the order in which they were handed over.
    pub fn sums(&mut self, buckets: usize) -> Result<Vec<Vec<f32>>> {
        self.steps += 1;
        let Some(worker) = &self.worker else {
            return std::mem::take(&mut self.done).into_iter().collect();
        };
        let began = Instant::now();
        let sum = |_| match worker.sums.recv() {
            Ok((sum, time)) => {
                self.summing += time;
                sum
            }
            Err(_) => Err(Error::Rank {
                rank: self.communicator.rank(),
                host: self.communicator.host(),
                reason: "the thread that sums gradients has ended".to_owned(),
            }),
        };
        let sums = (0..buckets).map(sum).collect();
        self.waited += began.elapsed();
        sums
    }
}

/// The sum of a bucket over all ranks, and how long it took.
fn sum(communicator: &dyn Communicator, mut bucket: Vec<f32>) -> (Result<Vec<f32>>, Duration) {
    let began = Instant::now();
    let sum = communicator.all_reduce_sum(&mut bucket);
    (sum.map(|()| bucket), began.elapsed())
}

impl Worker {
    fn start(communicator: Arc<dyn Communicator>) -> Result<Self> {
        let (buckets, to_sum) = channel::<Vec<f32>>();
        let (summed, sums) = channel();
        let run = move || {
            for bucket in to_sum {
                let (sum, time) = sum(&*communicator, bucket);
                let failed = sum.is_err();
                if summed.send((sum, time)).is_err() || failed {
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
