//! What a model is: a backbone made of groups, and a head.

mod any_backbone;
mod backbone;
mod classifier;
mod feature_maps;
mod features;
pub mod freeze;
mod group_output;
mod head;
mod host_tensor;
mod key_table;
pub(crate) mod params;
mod path;
mod pos_embed;
mod position_table;
mod stages;
mod state_dict;
mod summary;

pub use any_backbone::AnyBackbone;
pub(crate) use backbone::PRE_LOGITS;
pub use backbone::{Backbone, Description, FirstConv, Group, InputSize};
pub use classifier::{Classifier, ModelInfo};
pub use feature_maps::FeatureInfo;
pub use features::{Features, Pool, Pooling};
pub use freeze::{Freeze, FrozenNorm};
pub(crate) use group_output::{GroupOutput, OutputShape, TensorFn};
pub(crate) use head::HEAD;
pub use head::Head;
pub use host_tensor::HostTensor;
pub(crate) use host_tensor::host_vec;
pub use key_table::{KeyTable, OtherNames};
pub(crate) use key_table::{Source, key_table};
pub use pos_embed::PosEmbed;
pub use position_table::{PositionTable, TableLayout};
pub use stages::{MapLayer, Stages};
pub(crate) use stages::{Stage, group};
pub use summary::{Layer, Summary};
