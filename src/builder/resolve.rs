//! From the name of weights to a file, and to what is known about it.

use std::path::Path;

use super::from_hub::{fetch_entry, fetch_original, fetch_repository};
use super::spec::Spec;
use crate::error::{Error, Result};
use crate::files::sha256_of;
use crate::preprocess::Normalization;
use crate::weights::manifest::{Entry, Manifest, Source, licence_in_words};
use crate::weights::{Progress, Weights, WeightsFile};
use crate::zoo::{self, Architecture, OWN_LIBRARY};

impl Spec {
    /// The entry of the weights manifest that this spec's weights name, if they name one: licence,
    /// published accuracy, preprocessing.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no such entry.
    pub fn entry(&self) -> Result<Option<Entry>> {
        let name = match &self.weights {
            Weights::Default | Weights::Original(None) => self.architecture.to_owned(),
            Weights::Tag(tag) | Weights::Original(Some(tag)) => {
                format!("{}.{tag}", self.architecture)
            }
            Weights::Bundled => return bundled_entry(self.architecture).map(Some),
            _ => return Ok(None),
        };
        let manifest = Manifest::with_user_files()?;
        let entry = manifest.get(&name).cloned();
        entry.map(Some).map_err(|error| self.unpublished(error))
    }

    /// What is said of weights that no manifest has: of a registered architecture there are none but by an
    /// entry of the user's own.
    fn unpublished(&self, error: Error) -> Error {
        let is_own = |a: &Architecture| a.library == OWN_LIBRARY;
        if !zoo::find(self.architecture).is_ok_and(is_own) {
            return error;
        }
        let expected = format!(
            "random ones or a file: {} was registered and has no published weights",
            self.architecture
        );
        Error::argument("weights", expected, &self.weights)
    }

    /// The licence of the weights, from their entry in the manifest or from the configuration of
    /// their repository or folder; `None` is unknown, not free. See
    /// [`Terms`](crate::manifest::Terms).
    pub fn licence(&self) -> Option<String> {
        let entry = self.entry().ok().flatten();
        entry.map_or(self.licence.clone(), |entry| entry.licence)
    }

    /// Where that licence was read, if upstream does not state it for these weights themselves: weak
    /// evidence.
    pub fn licence_source(&self) -> Option<String> {
        let entry = self.entry().ok().flatten();
        entry.map_or(self.licence_source.clone(), |entry| entry.licence_source)
    }

    /// Fetches the weights, unless they are cached, and gives the spec with them as a file. A spec
    /// whose weights are a file already, or random, comes back as it is.
    ///
    /// # Errors
    /// [`Error::Hub`] for whatever the network, the disk or the hub can add.
    pub fn fetch(&self, progress: &mut dyn FnMut(Progress)) -> Result<Spec> {
        resolve(self, progress)
    }
}

/// The entry of an architecture's weights that come with the crate.
fn bundled_entry(architecture: &str) -> Result<Entry> {
    let is_bundled = |entry: &&Entry| matches!(entry.source, Source::Bundled(_));
    let manifest = Manifest::with_user_files()?;
    let found = manifest.tags(architecture).find(is_bundled);
    found.cloned().ok_or_else(|| {
        let names: Vec<&str> = manifest
            .entries()
            .filter(is_bundled)
            .map(Entry::architecture)
            .collect();
        let expected = format!(
            "an architecture with bundled weights ({})",
            names.join(", ")
        );
        Error::argument(
            "weights",
            expected,
            format!("bundled weights of {architecture}"),
        )
    })
}

/// The file of an architecture's weights that come with the crate.
pub(crate) fn bundled(architecture: &str) -> Result<WeightsFile> {
    let entry = bundled_entry(architecture)?;
    match &entry.source {
        Source::Bundled(file) => super::bundled::open(&entry, file),
        _ => Err(Error::NotBundled { name: entry.name }),
    }
}

/// The spec with its weights as a file, and with what their entry or their repository says about
/// them. A spec whose weights are a file already, or random, stays as it is.
pub(crate) fn resolve(spec: &Spec, progress: &mut dyn FnMut(Progress)) -> Result<Spec> {
    check_choice(spec)?;
    if let Some(entry) = spec.entry()? {
        return of_entry(spec, &entry, progress);
    }
    match &spec.weights {
        Weights::Hub {
            repository,
            revision,
        } => {
            let found = fetch_repository(repository, revision.as_deref(), progress)?;
            of_repository(spec, repository, found)
        }
        _ => Ok(spec.clone()),
    }
}

/// A key and a prefix are those of a file that the caller knows.
fn check_choice(spec: &Spec) -> Result<()> {
    if matches!(spec.weights, Weights::File(_)) {
        return Ok(());
    }
    let asked = [
        ("weights_key (--weights-key)", &spec.weights_key),
        ("weights_prefix (--weights-prefix)", &spec.weights_prefix),
    ];
    match asked.into_iter().find(|(_, value)| value.is_some()) {
        Some((argument, _)) => Err(Error::argument(
            argument,
            "weights that are a file",
            &spec.weights,
        )),
        None => Ok(()),
    }
}

fn of_entry(spec: &Spec, entry: &Entry, progress: &mut dyn FnMut(Progress)) -> Result<Spec> {
    let weights = match &entry.source {
        _ if matches!(spec.weights, Weights::Original(_)) => {
            Weights::File(fetch_original(entry, progress)?)
        }
        Source::File(path) => {
            check_file(path, entry)?;
            Weights::File(path.clone())
        }
        Source::Hub { .. } => Weights::File(fetch_entry(entry, progress)?),
        Source::Original => {
            let path = fetch_original(entry, progress)?;
            check_file(&path, entry)?;
            Weights::File(path)
        }
        Source::Bundled(_) => Weights::Bundled,
    };
    let data = &entry.data;
    let mut resolved = spec.clone();
    if resolved.normalization.is_none() {
        resolved.normalization = Some(Normalization::new(data.mean.clone(), data.std.clone())?);
    }
    resolved.resizing = resolved.resizing.or(Some(data.resizing()));
    resolved.image_size = resolved.image_size.or(Some(data.image_size()));
    let mut resolved = resolved.declared_weights(
        weights,
        data.input_size[0],
        entry.num_classes,
        data.image_size(),
    );
    resolved.origin = Some(origin(&entry.name, entry.licence.as_deref()));
    resolved.licence = entry.licence.clone();
    resolved.licence_source = entry.licence_source.clone();
    Ok(resolved)
}

/// A file must be what its entry says.
fn check_file(path: &Path, entry: &Entry) -> Result<()> {
    let differs = |what: &str, expected: String, found: String| Error::WeightsFormat {
        path: path.to_path_buf(),
        reason: format!("{}: expected {what} {expected}, found {found}", entry.name),
    };
    if let Some(bytes) = entry.bytes.as_ref().and_then(|pin| pin.confirmed()) {
        let found = path.metadata().map_err(Error::io("read", path))?.len();
        if found != *bytes {
            return Err(differs("a size of", bytes.to_string(), found.to_string()));
        }
    }
    if let Some(expected) = entry.sha256.as_ref().and_then(|pin| pin.confirmed()) {
        let found = sha256_of(path).map_err(Error::io("read", path))?;
        if found != *expected {
            return Err(differs("SHA-256", expected.clone(), found));
        }
    }
    Ok(())
}

/// Where weights come from, in words.
fn origin(name: &str, licence: Option<&str>) -> String {
    format!("{name} (licence {})", licence_in_words(licence))
}

/// The spec with what the configuration of a repository's commit says.
fn of_repository(spec: &Spec, repository: &str, (found, commit): (Spec, String)) -> Result<Spec> {
    if found.architecture != spec.architecture {
        return Err(Error::argument(
            format!("hf-hub:{repository}"),
            format!("weights of {}", spec.architecture),
            found.architecture,
        ));
    }
    let mut resolved = spec.clone();
    resolved.weights = found.weights;
    resolved.declared = found.declared;
    resolved.declared_size = found.declared_size;
    resolved.declared_stem = found.declared_stem;
    if !resolved.stem.small_images {
        resolved.stem.stride = resolved.stem.stride.or(found.stem.stride);
        resolved.stem.pool = resolved.stem.pool.or(found.stem.pool);
    }
    resolved.resizing = resolved.resizing.or(found.resizing);
    resolved.normalization = resolved.normalization.or(found.normalization);
    resolved.image_size = resolved.image_size.or(found.image_size);
    resolved.pool = resolved.pool.or(found.pool);
    let name = format!("hf-hub:{repository}@{commit}");
    resolved.origin = Some(origin(&name, found.licence.as_deref()));
    resolved.licence = found.licence;
    resolved.licence_source = found.licence_source;
    resolved.classes = found.classes;
    resolved.outputs = found.outputs;
    Ok(resolved)
}
