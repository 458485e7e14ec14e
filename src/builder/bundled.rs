//! Weights that come with the crate.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::files::hex;
use crate::weights::WeightsFile;
use crate::weights::manifest::Entry;
use crate::zoo::bundled::FILES;

/// Opens the file of an entry, which has to be the one that the entry was written for.
pub(super) fn open(entry: &Entry, name: &str) -> Result<WeightsFile> {
    let Some((_, bytes)) = FILES.iter().find(|(file, _)| *file == name) else {
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
