//! From a spec to a model: a name, its weights as a file, the strict comparison, the adaptation.

mod adapt;
mod bundled;
mod by_name;
mod checks;
mod config;
#[cfg(feature = "hub")]
mod from_hub;
#[cfg(not(feature = "hub"))]
#[path = "without_hub.rs"]
mod from_hub;
mod from_spec;
mod initial;
mod load;
mod lora;
#[cfg(feature = "hub")]
mod original;
mod resolve;
mod skeleton;
mod spec;
mod stem;

pub use spec::{Spec, Zoo};
pub use stem::StemRule;
