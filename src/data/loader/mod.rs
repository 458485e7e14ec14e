//! Batches, made by worker threads and handed out in a fixed order.

mod batch;
mod batch_maker;
mod batches;
mod broken;
#[cfg(feature = "dataset")]
mod burn_loader;
mod config;
mod data_loader;
mod order;

pub use batch::Batch;
pub(crate) use batch::EpochBatch;
pub use batches::Batches;
pub use broken::BrokenImage;
pub(crate) use config::check_loading;
pub use config::{LoaderConfig, Sampler, Shard};
pub use data_loader::Loader;
pub(crate) use data_loader::{labels, targets};
