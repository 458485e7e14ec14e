//! Event files, which TensorBoard draws while a run goes on and afterwards.
//!
//! An [`EventWriter`] writes scalars, histograms, images and text to one file, and a
//! [`TensorBoardMonitor`] a model's structure and hyperparameters as well; `tensorboard --logdir FOLDER` reads it. The format is that of
//! PyTorch's `SummaryWriter`, so every reader of its files reads these as well, with or without
//! TensorFlow.
//!
//! # One run, one folder
//!
//! TensorBoard takes each folder for a run. Values of one run that belong into one picture, such as
//! the losses of training and validation, go into two folders under the same tag, or into one
//! folder under two tags (`loss/train`, `loss/valid`: what is before the slash is a section).
//!
//! Several writers can write into one folder, each to a file of its own. TensorBoard reads the
//! files in the order in which their writers were created. Only with its data server, which is in
//! use unless `--load_fast=false` is given, does it see what is added to a file later than to the
//! next one.
//!
//! Steps must not go back within a tag: TensorBoard's data server takes that for a restart, and
//! drops the points that are not earlier.
//!
//! # After a crash
//!
//! Records are handed to the system whole, at the latest some 5 seconds after they were made as
//! long as others follow, at [`flush`](EventWriter::flush) and when the writer is dropped. A run
//! that is killed loses no more than that. TensorBoard reads what is before a record that is not
//! complete.
//!
//! # How it is made
//!
//! Messages are written field by field, which takes less code than `prost`'s structs for them, and
//! no crates. The crate `tfrecord` would add 31 of them.

mod event_writer;
mod graph;
mod histogram;
mod hparams;
mod message;
mod monitor;
mod record;
#[cfg(test)]
mod tests;

pub use event_writer::EventWriter;
pub use monitor::TensorBoardMonitor;
