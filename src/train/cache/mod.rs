//! What frozen layers compute, kept from epoch to epoch.

mod features;
pub(super) mod inputs;
pub(super) mod prefix;
mod store;
