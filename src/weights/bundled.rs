//! Weights that come with the crate.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::{WeightsFile, hex};
use crate::error::{Error, Result};
use crate::manifest::Entry;

/// The names that the manifest may give, whether or not this build has the files.
pub(crate) const NAMES: [&str; 1] = ["resnet18.fractal.safetensors"];

/// The files by their names.
#[cfg(feature = "bundled-weights")]
use burn_zoo_bundled_weights::FILES;

#[cfg(not(feature = "bundled-weights"))]
const FILES: &[(&str, &[u8])] = &[];

/// Opens the file of an entry, which has to be the one that the entry was written for.
pub(crate) fn open(entry: &Entry, file: &str) -> Result<WeightsFile> {
    let Some((name, bytes)) = FILES.iter().find(|(name, _)| *name == file) else {
        return Err(Error::NotBundled {
            name: entry.name.clone(),
        });
    };
    let path = PathBuf::from(format!("weights-manifest/{name}"));
    let found = hex(&Sha256::digest(bytes));
    let expected = entry.sha256.as_ref().and_then(|pin| pin.confirmed());
    if expected.is_some_and(|expected| *expected != found) {
        let reason = format!("{}: expected another SHA-256, found {found}", entry.name);
        return Err(Error::WeightsFormat { path, reason });
    }
    WeightsFile::in_memory(path, bytes)
}
