//! The file that upstream itself published, such as torchvision's `.pth`: a second source, or the only
//! one.
//!
//! Its name holds the first digits of its SHA-256 (torch.hub's convention), and a file that does
//! not have them never gets a name in the cache.

use std::path::PathBuf;

use crate::cache_folder::cache_folder;
use crate::error::{Error, Result};
use crate::files::sha256_of;
use crate::http::{Expected, download};
use crate::weights::hub::{Hub, Progress};
use crate::weights::manifest::OriginalFile;

/// The file in the cache, fetched if it is not there or is not what it was.
pub(super) fn fetch(
    original: &OriginalFile,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf> {
    let failed = |reason: String| Error::Download {
        url: original.url.clone(),
        reason,
    };
    let Some(prefix) = &original.sha256_prefix else {
        let reason = "its name holds no checksum, so it could not be verified";
        return Err(failed(reason.to_owned()));
    };
    let Some(root) = cache_folder() else {
        return Err(Error::argument(
            "BURN_ZOO_CACHE",
            "a folder",
            "none, and no home folder",
        ));
    };
    let folder = root.join("weights");
    let path = folder.join(original.file_name());
    let mut why = "it is not in the cache".to_owned();
    if path.is_file() {
        let found = sha256_of(&path).map_err(Error::io("read", &path))?;
        if found.starts_with(prefix.as_str()) {
            return Ok(path);
        }
        why = format!(
            "the cached {} was altered: expected a SHA-256 that begins with {prefix}, found {found}",
            path.display()
        );
    }
    if Hub::from_env()?.is_offline() {
        return Err(failed(format!(
            "{why}, and HF_HUB_OFFLINE forbids to fetch it"
        )));
    }
    std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let expected = Expected {
        bytes: None,
        sha256: prefix,
    };
    download(&original.url, &path, &expected, None, &mut |(
        received,
        total,
    )| {
        progress(Progress::Received { received, total });
    })?;
    Ok(path)
}
