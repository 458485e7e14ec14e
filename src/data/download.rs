//! Fetches files from a [`Mirror`] into a folder, and lets none in that is not what it must be.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::fashion_mnist::FashionMnist;
use super::fashion_mnist_files::{FILES, locate};
use super::idx;
use super::mirror::{Mirror, Progress, RemoteFile};
use crate::error::{Error, Result};
use crate::files::hex;

const CONNECT: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(600);

impl FashionMnist {
    /// Fetches the files from the authors' server ([`Mirror::OFFICIAL`], 30.9 MB) into
    /// `cache_dir`, which is created if it is missing, and reads them.
    ///
    /// # Errors
    ///
    /// As [`FashionMnist::download_from`].
    pub fn download(
        cache_dir: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        Self::download_from(&Mirror::OFFICIAL, cache_dir, progress)
    }

    /// Fetches the files from `mirror` into `cache_dir`, which is created if it is missing, and
    /// reads them. A file that is there already with the right content is kept.
    ///
    /// Each file is written under a temporary name, checked against the table of the mirror and
    /// then renamed, so that a file that fails the check leaves nothing behind, and two processes
    /// may do this at once. A server has 10 seconds to accept a connection and 10 minutes to
    /// deliver a file. `progress` is called after each piece.
    ///
    /// # Errors
    ///
    /// [`Error::Download`] if the server cannot be reached, does not have a file, breaks off or
    /// sends bytes of another number or SHA-256 than the table says; [`Error::Io`] if a file
    /// cannot be written; and as [`FashionMnist::open`].
    pub fn download_from(
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
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(WHOLE))
        .build()
        .into();
    let mut received = 0;
    for (&name, file) in missing {
        fetch(&agent, mirror.base_url, name, file, folder, &mut |bytes| {
            received += bytes;
            progress(Progress {
                file: name,
                received,
                total,
            });
        })?;
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

fn fetch(
    agent: &ureq::Agent,
    base_url: &str,
    name: &str,
    file: &RemoteFile<'_>,
    folder: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let url = format!("{}/{name}.gz", base_url.trim_end_matches('/'));
    let failed = |reason: String| Error::Download {
        url: url.clone(),
        reason,
    };
    let wanted = file.bytes;
    let mut response = agent
        .get(&url)
        .call()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(announced) = response.body().content_length()
        && announced != wanted
    {
        return Err(failed(format!(
            "expected {wanted} bytes, the server announces {announced}"
        )));
    }

    let mut temporary = temporary_file(name, folder)?;
    let mut hasher = Sha256::new();
    let mut received = 0;
    let mut buffer = vec![0; 64 * 1024];
    let mut body = response
        .body_mut()
        .as_reader()
        .take(wanted.saturating_add(1));
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(failed(format!(
                    "broken off after {received} of {wanted} bytes: {error}"
                )));
            }
        };
        let piece = &buffer[..count];
        received += count as u64;
        if received > wanted {
            return Err(failed(format!(
                "expected {wanted} bytes, the server sends more"
            )));
        }
        hasher.update(piece);
        temporary
            .write_all(piece)
            .map_err(Error::io("write", temporary.path()))?;
        progress(count as u64);
    }
    if received < wanted {
        return Err(failed(format!("expected {wanted} bytes, found {received}")));
    }
    let found = hex(&hasher.finalize());
    if found != file.sha256 {
        return Err(failed(format!(
            "expected SHA-256 {}, found {found}",
            file.sha256
        )));
    }

    let path = folder.join(format!("{name}.gz"));
    match temporary.persist(&path) {
        Ok(_) => Ok(()),
        // Windows does not replace a file that another process has open. If that process has
        // fetched the same file, there is nothing left to do.
        Err(_) if is_intact(folder, name, file) => Ok(()),
        Err(error) => Err(Error::io("write", &path)(error.error)),
    }
}

/// A file that is deleted when it is dropped.
fn temporary_file(name: &str, folder: &Path) -> Result<tempfile::NamedTempFile> {
    let prefix = format!(".{name}.");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As for any new file, less the umask: temporary files are private unless told, and
        // the cache may be shared.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder)
        .map_err(Error::io("create", folder))
}
