//! The weights that others published: where they are, whether to believe them, what they may be
//! used for, and what images they expect.
//!
//! An [`Entry`] is named `architecture.tag`, as timm names it; the architecture's name alone means
//! its default tag. The entries that come with the crate are TOML files in `weights-manifest/`,
//! whose `README.md` describes every key. A user adds entries without recompiling, in a file of the
//! same form:
//!
//! ```toml
//! [resnet18.moths]                     # architecture.tag
//! repository = "me/moths-resnet18"     # on the hub; or: path = "weights/moths.safetensors"
//! licence = "mit"
//! input_size = [3, 224, 224]
//! mean = [0.485, 0.456, 0.406]
//! std = [0.229, 0.224, 0.225]
//! interpolation = "bicubic"
//! crop_pct = 0.95
//! num_classes = 12
//! ```
//!
//! [`Manifest::with_user_files`] says where such files are looked for. An entry is added, never
//! replaced: a name that exists already is an error.
//!
//! Of a repository that is in no manifest, its `config.json` says the same.

mod collection;
mod entry;
mod fields;
mod hub_model;
mod parse;
mod terms;
#[cfg(test)]
mod tests;
mod wildcard;

pub use collection::{Manifest, USER_FILE, USER_VARIABLE};
#[cfg(feature = "hub")]
pub(crate) use entry::OriginalFile;
pub(crate) use entry::Source;
pub use entry::{DataConfig, Entry, Published};
pub(crate) use hub_model::{HubModel, changed_stem};
pub use terms::{Terms, licence_in_words, licence_source_in_words, non_commercial};
pub(crate) use wildcard::wildcard;
