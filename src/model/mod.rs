//! What a model is: a backbone made of groups, and a head.

mod backbone;
mod classifier;
mod features;
pub mod freeze;
mod group_output;
mod head;
mod host_tensor;
mod key_table;
pub(crate) mod params;
mod state_dict;
mod summary;

pub use backbone::{Backbone, FirstConv, Group, InputSize};
pub use classifier::{Classifier, ModelInfo};
pub use features::{Features, Pool};
pub use freeze::{Freeze, FrozenNorm};
pub(crate) use group_output::{GroupOutput, TensorFn};
pub(crate) use head::HEAD;
pub use head::Head;
pub use host_tensor::HostTensor;
pub(crate) use host_tensor::host_vec;
pub use key_table::{KeyTable, OtherNames};
pub use summary::{Layer, Summary};
