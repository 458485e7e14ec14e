//! What a spec takes from the hub: files of weights, configurations.

use std::path::PathBuf;

use super::config::read_config;
use super::original;
use super::spec::Spec;
use crate::error::{Error, Result};
use crate::weights::hub::{FetchError, Hub, Pin, Request};
use crate::weights::manifest::{Entry, Source};
use crate::weights::{PICKLED, Progress, WEIGHTS, Weights};

/// The file that upstream published first.
pub(super) fn fetch_original(entry: &Entry, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf> {
    match &entry.original {
        Some(original) => original::fetch(original, progress),
        None => Err(Error::argument(
            format!("weights of {}", entry.architecture()),
            "an entry with the address of its original",
            &entry.name,
        )),
    }
}

/// The file of an entry in a repository.
pub(super) fn fetch_entry(entry: &Entry, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf> {
    let Source::Hub {
        repository,
        revision,
        ..
    } = &entry.source
    else {
        return Err(Error::argument("source", "a repository", &entry.name));
    };
    // What only one record says is asked for, but believed only if the hub confirms it.
    let pin = Pin {
        sha256: entry
            .sha256
            .as_ref()
            .and_then(|pin| pin.confirmed())
            .map(String::as_str),
        bytes: entry
            .bytes
            .as_ref()
            .and_then(|pin| pin.confirmed())
            .copied(),
    };
    let confirmed = revision
        .as_ref()
        .and_then(|pin| pin.confirmed())
        .map(String::as_str);
    let names = entry.source.file_names();
    let hub = Hub::from_env()?;
    let request = |file| Request {
        repository,
        revision: confirmed,
        file,
        pin,
    };
    first_that_exists(&hub, &names, request, progress)
}

/// The first of these files that is cached, else the first that the hub has. Only that a file is not there
/// leads on to the next.
fn first_that_exists<'a>(
    hub: &Hub,
    names: &[&'a str],
    request: impl Fn(&'a str) -> Request<'a>,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf> {
    for name in names {
        if let Some(cached) = hub.find(&request(name))? {
            return Ok(cached.path);
        }
    }
    let mut last = Err(Error::argument("file", "a name to look for", "none"));
    for name in names {
        last = hub
            .fetch(&request(name), progress)
            .map(|fetched| fetched.path);
        match &last {
            Err(error)
                if matches!(FetchError::of(error), Some(FetchError::FileNotFound { .. })) => {}
            _ => break,
        }
    }
    last
}

/// The spec of a repository's configuration with the weights of the same commit as a file, and the
/// commit.
pub(super) fn fetch_repository(
    repository: &str,
    revision: Option<&str>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Spec, String)> {
    let hub = Hub::from_env()?;
    let request = |revision, file| Request {
        repository,
        revision,
        file,
        pin: Pin::default(),
    };
    let config = hub.fetch(&request(revision, "config.json"), progress)?;
    let commit = Some(config.commit.as_str());
    let names = [WEIGHTS, PICKLED];
    let path = first_that_exists(&hub, &names, |file| request(commit, file), progress)?;
    let spec = read_config(&config.path, Weights::File(path))?;
    Ok((spec, config.commit))
}

/// The spec of a timm-style repository: its configuration is fetched, unless it is cached, and says
/// which architecture it is.
pub(super) fn spec_of_repository(repository: &str, revision: Option<&str>) -> Result<Spec> {
    let request = Request {
        repository,
        revision,
        file: "config.json",
        pin: Pin::default(),
    };
    let config = Hub::from_env()?.fetch(&request, &mut |_| {})?;
    let weights = Weights::Hub {
        repository: repository.to_owned(),
        revision: Some(config.commit),
    };
    read_config(&config.path, weights)
}
