//! The folder that a run leaves behind.

pub(super) mod config;
pub(super) mod files;
pub(super) mod finished;
pub(super) mod folder;
mod layout;
pub(super) mod lock;
pub(super) mod scratch;
mod tables;
pub(super) mod tested;
