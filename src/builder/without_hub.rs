//! Stands in for `from_hub.rs` in a build without the feature `hub`.

use std::path::PathBuf;

use super::spec::Spec;
use crate::error::{Error, Result};
use crate::weights::Progress;
use crate::weights::manifest::Entry;

pub(super) fn fetch_original(entry: &Entry, _: &mut dyn FnMut(Progress)) -> Result<PathBuf> {
    no_hub(entry.name.clone())
}

pub(super) fn fetch_entry(entry: &Entry, _: &mut dyn FnMut(Progress)) -> Result<PathBuf> {
    no_hub(entry.name.clone())
}

pub(super) fn fetch_repository(
    repository: &str,
    _revision: Option<&str>,
    _progress: &mut dyn FnMut(Progress),
) -> Result<(Spec, String)> {
    no_hub(format!("hf-hub:{repository}"))
}

pub(super) fn spec_of_repository(repository: &str, _revision: Option<&str>) -> Result<Spec> {
    no_hub(format!("hf-hub:{repository}"))
}

fn no_hub<T>(name: String) -> Result<T> {
    Err(Error::NoHub { name })
}
