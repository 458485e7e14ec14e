//! How several ranks train together.

use std::sync::Arc;

use burn::tensor::Device;

use super::communicator::Communicator;

/// Whether a run trains on several devices or in several processes, and how: data-parallel, as
/// PyTorch's `DistributedDataParallel`.
///
/// Each rank has a replica of the model and every `size`-th image of one shuffled order (PyTorch's
/// `DistributedSampler`: the first images once more where the ranks would not have as many, or
/// none of them with [`drop_last`](crate::train::Recipe::drop_last)). A recipe's `batch_size` is that of
/// one rank. Gradients are averaged over all images of a step, so that ranks with batches of 32
/// train as one device with batches of `32 * size` does, but for batch normalisation: each rank
/// normalises by its own images, and the running statistics of rank 0 are kept, unless
/// [`sync_batch_norm`](crate::train::Recipe::sync_batch_norm) is set, and for class weights: each
/// rank divides by the weights of its own images. An error of one rank is the error of all; a process that has
/// met one has to end.
#[derive(Clone)]
pub struct Parallel {
    /// Devices of this process, each with a replica; a device that is named twice has two. On the CPU
    /// each replica has its share of the threads. With none, the model's own trains.
    pub devices: Vec<Device>,
    /// Processes that train together, of which this is one: `Mpi` of the feature `mpi`, or a
    /// communicator of your own.
    pub communicator: Option<Arc<dyn Communicator>>,
    /// Bytes of gradients that are summed at once.
    pub bucket_bytes: usize,
    /// Sums the gradients of a group while the backward pass goes on below it, in a thread of its own; not
    /// those of several batches that are accumulated.
    pub overlap: bool,
}

impl Default for Parallel {
    fn default() -> Self {
        Self {
            devices: Vec::new(),
            communicator: None,
            bucket_bytes: 8 << 20,
            overlap: true,
        }
    }
}

impl std::fmt::Debug for Parallel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let processes = self.communicator.as_ref().map(|c| c.size());
        f.debug_struct("Parallel")
            .field("devices", &self.devices)
            .field("processes", &processes)
            .field("bucket_bytes", &self.bucket_bytes)
            .field("overlap", &self.overlap)
            .finish()
    }
}
