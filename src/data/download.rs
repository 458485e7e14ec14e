//! Fetches files from a [`Mirror`] into a folder, and lets none in that is not what it must be.

use std::path::Path;
use std::time::Duration;

use super::fashion_mnist::FashionMnist;
use super::fashion_mnist_files::{FILES, locate};
use super::idx;
use super::mirror::{Mirror, Progress, RemoteFile};
use crate::error::{Error, Result};
use crate::http::{self, Expected};

/// For each file.
const TIMEOUT: Duration = Duration::from_secs(600);

impl FashionMnist {
    /// Fetches the files from the authors' server (30.9 MB) into `cache_dir`, which is created if it
    /// is missing, and reads them. A file that is there already with the right content is kept.
    ///
    /// Each file is written under a temporary name, checked against the official sums and
    /// then renamed, so that a file that fails the check leaves nothing behind, and two processes
    /// may do this at once. A server has 10 seconds to accept a connection, 30 for each
    /// piece and 10 minutes for a file. `progress` is called after each piece.
    ///
    /// # Errors
    ///
    /// [`Error::Download`] if the server cannot be reached, does not have a file, breaks off or
    /// sends bytes of another number or SHA-256 than it should have; [`Error::Io`] if a file
    /// cannot be written; and as [`FashionMnist::open`].
    pub fn download(
        cache_dir: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        Self::download_from(&Mirror::OFFICIAL, cache_dir, progress)
    }

    /// [`download`](Self::download) from any server, checked against the table of the mirror.
    pub(super) fn download_from(
        mirror: &Mirror<'_>,
        cache_dir: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let folder = cache_dir.as_ref();
        fetch_missing(mirror, folder, progress)?;
        Self::open_checked(folder, Some(&mirror.files))
    }
}

/// Fetches each file that `folder` does not have with the right content.
fn fetch_missing(
    mirror: &Mirror<'_>,
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let missing: Vec<_> = FILES
        .iter()
        .zip(&mirror.files)
        .filter(|(name, file)| !is_intact(folder, name, file))
        .collect();
    let total = missing
        .iter()
        .map(|(_, file)| file.bytes)
        .fold(0, u64::saturating_add);
    let base_url = mirror.base_url.trim_end_matches('/');
    let mut before = 0;
    for (&name, file) in missing {
        let url = format!("{base_url}/{name}.gz");
        let path = folder.join(format!("{name}.gz"));
        let expected = Expected {
            bytes: Some(file.bytes),
            sha256: file.sha256,
        };
        let result = http::download(&url, &path, &expected, Some(TIMEOUT), &mut |(bytes, _)| {
            progress(Progress {
                file: name,
                received: before + bytes,
                total,
            });
        });
        match result {
            // Windows does not replace a file that another process has open. If that process has
            // fetched the same file, there is nothing left to do.
            Err(Error::Io { .. }) if is_intact(folder, name, file) => {}
            result => result?,
        }
        before += file.bytes;
    }
    Ok(())
}

/// A file that cannot be read counts as one to be fetched, whose writing then tells why.
fn is_intact(folder: &Path, name: &str, file: &RemoteFile<'_>) -> bool {
    match locate(folder, name) {
        Ok(Some(path)) => {
            idx::content_sha256(&path).is_ok_and(|found| found == file.content_sha256)
        }
        _ => false,
    }
}
