//! The models by name.

use super::from_hub::spec_of_repository;
use super::spec::{Spec, Zoo};
use crate::error::Result;
use crate::weights::manifest::{Manifest, wildcard};
use crate::zoo::{self, Architecture};

impl Zoo {
    /// What this name stands for:
    ///
    /// * `resnet18`: the architecture, with the default tag of its weights;
    /// * `resnet18.tv_in1k`: with this tag;
    /// * `hf-hub:owner/repo` or `hf-hub:owner/repo@revision`: a timm-style repository of the hub,
    ///   whose small configuration is fetched at once, unless it is cached;
    /// * `local-dir:DIR`: a folder that [`Classifier::export`](crate::Classifier::export) or timm's `save_for_hf` wrote.
    ///
    /// # Errors
    /// [`Error::UnknownModel`](crate::Error::UnknownModel) with the closest names,
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for an unknown tag, and what
    /// reading a configuration meets.
    pub fn get(name: &str) -> Result<Spec> {
        if let Some(repository) = name.strip_prefix("hf-hub:") {
            let (repository, revision) = match repository.split_once('@') {
                Some((repository, revision)) => (repository, Some(revision)),
                None => (repository, None),
            };
            return spec_of_repository(repository, revision);
        }
        if let Some(dir) = name.strip_prefix("local-dir:") {
            return Spec::of_folder(dir);
        }
        match name.split_once('.') {
            None => Ok(Spec::of(zoo::find(name)?.name)),
            Some((architecture, tag)) => {
                let architecture = zoo::find(architecture)?.name;
                Manifest::with_user_files()?.get(name)?;
                Ok(Spec::of(architecture).weights(tag))
            }
        }
    }

    /// Adds an architecture of your own to the zoo, as timm's `register_model` does. From then on
    /// this program finds it by its name, like any other: [`Zoo::get`] builds it, recipes train it,
    /// and [`Classifier::open`](crate::Classifier::open) opens what was exported of it.
    ///
    /// There are no published weights of it: choose random ones or a file. An architecture is registered
    /// once, before it is used. The command `burn-zoo` is another program: it does not know it, and
    /// opens neither its runs nor what was exported of it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a name that the zoo has already, or that has anything but
    /// letters, digits and `_`.
    pub fn register(architecture: Architecture) -> Result<Spec> {
        zoo::registered::add(architecture).map(Spec::of)
    }

    /// The architectures whose name matches a pattern in which `*` stands for anything and `?` for
    /// one character.
    pub fn list(pattern: &str) -> Vec<&'static Architecture> {
        zoo::architectures()
            .filter(|a| wildcard(pattern, a.name))
            .collect()
    }
}
