//! Where weights come from, and whether to believe them.
//!
//! A name is looked up in the [manifest] and becomes a file through the [`hub`],
//! which checks it. A file is opened by [`WeightsFile`], which reads only its table of contents and
//! refuses what is damaged or hostile.
//!
//! [`Spec::build`](crate::Spec::build) then finds the model in it: under which key (`state_dict`,
//! `model`, .. or one that [`Spec::weights_key`](crate::Spec::weights_key) names), and behind which
//! prefix (`module.`, `model.`, `backbone.`, .. or one that
//! [`Spec::weights_prefix`](crate::Spec::weights_prefix) names). It compares every name, shape and
//! type with the model's, and only when all of them agree are values read. Left out are, beside what
//! is outside of the key and the prefix, the tensors of a head that the adaptation replaces.
//! [`LoadReport`] says what was taken, what was left out, and what differs.

mod adapter;
mod card;
mod contents;
mod export;
mod file;
mod format;
#[cfg(feature = "hub")]
pub mod hub;
mod layout;
mod load_summary;
pub mod manifest;
mod pickle;
mod progress;
mod pytorch;
mod quote;
mod read_error;
mod safetensors;
mod source;
mod tensor_file;

pub use crate::error::{LoadReport, Mismatch};
pub use crate::model::{HostTensor, KeyTable};
pub use adapter::Adapter;
pub(crate) use adapter::{ADAPTER_FILES, paths_of, read_bases, upstream_shapes, write_bases};
#[cfg(any(feature = "plots", feature = "onnx"))]
pub(crate) use card::public;
#[cfg(all(test, feature = "plots"))]
pub(crate) use card::sealed;
#[cfg(feature = "plots")]
pub(crate) use card::{CardFacts, at_repository, weights_name, yaml};
pub use contents::{DType, TensorInfo};
#[cfg(feature = "plots")]
pub(crate) use export::{CARD, is_ours};
pub(crate) use export::{CONFIG, EXPORTED, PICKLED, WEIGHTS};
pub use file::WeightsFile;
pub(crate) use layout::{COUNTER, Layout, is_head};
pub use progress::Progress;
pub use source::Weights;
