//! Images with labels, and batches of them.

mod class_match;
#[cfg(feature = "download")]
mod download;
mod fashion_mnist;
mod fashion_mnist_default;
mod fashion_mnist_files;
#[cfg(feature = "fashion-mnist-mini")]
mod fashion_mnist_mini;
#[cfg(test)]
mod fashion_mnist_tests;
#[cfg(feature = "image")]
mod folder;
mod idx;
mod image_data;
mod image_set;
mod label_split;
mod loader;
mod message;
mod mirror;
mod subset;
mod target;
mod valid_share;

#[cfg(feature = "plots")]
pub(crate) use class_match::class_difference;
pub(crate) use class_match::labels_by_name;
pub use class_match::match_classes;
pub use fashion_mnist::{FashionMnist, Source};
#[cfg(feature = "image")]
pub use folder::{
    Broken, Check, CheckProgress, CsvOptions, CsvSplit, Division, EvaluationSet, FolderOptions,
    FolderReport, ImageFiles, ImageFolder, Part, Skipped, Splits,
};
pub use image_data::ImageData;
pub use image_set::ImageSet;
pub use loader::{Batch, Batches, BrokenImage, Loader, LoaderConfig, Sampler, Shard};
pub(crate) use loader::{EpochBatch, check_loading, labels, targets};
pub use mirror::Progress;
pub(crate) use subset::Subset;
pub use target::{Target, Targets, Task};
