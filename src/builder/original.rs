//! The second source: the file that upstream itself published, such as torchvision's `.pth`.
//!
//! Its name holds the first digits of its SHA-256 (torch.hub's convention), and a file that does
//! not have them never gets a name in the cache.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::data::cache_root;
use crate::error::{Error, Result};
use crate::files::{file_sha256, hex};
use crate::weights::hub::{Hub, Progress};
use crate::weights::manifest::OriginalFile;

const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);

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
    let Some(root) = cache_root() else {
        return Err(Error::argument(
            "BURN_ZOO_CACHE",
            "a folder",
            "none, and no home folder",
        ));
    };
    let folder = root.join("weights");
    let path = folder.join(original.file_name());
    if path.is_file() && file_sha256(&path)?.starts_with(prefix.as_str()) {
        return Ok(path);
    }
    if Hub::from_env()?.is_offline() {
        let reason = "it is not in the cache, and HF_HUB_OFFLINE forbids to fetch it";
        return Err(failed(reason.to_owned()));
    }
    std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let mut partial =
        tempfile::NamedTempFile::new_in(&folder).map_err(Error::io("write into", &folder))?;
    let found = receive(&original.url, partial.as_file_mut(), &path, progress)?;
    if !found.starts_with(prefix.as_str()) {
        return Err(failed(format!(
            "expected a SHA-256 that begins with {prefix}, as the file's name says, found {found}"
        )));
    }
    partial
        .persist(&path)
        .map_err(|error| Error::io("write", &path)(error.error))?;
    Ok(path)
}

/// Writes what the server sends into `file`; its SHA-256.
fn receive(
    url: &str,
    file: &mut std::fs::File,
    path: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<String> {
    let (sender, receiver) = channel();
    // A thread of its own, as the caller may be inside a runtime already.
    std::thread::scope(|scope| {
        let transfer = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Error::io("start a transfer of", url))?;
            runtime.block_on(transfer(url, file, path, sender))
        });
        receiver.into_iter().for_each(progress);
        transfer.join().unwrap_or_else(|_| {
            Err(Error::Download {
                url: url.to_owned(),
                reason: "the transfer ended unexpectedly".to_owned(),
            })
        })
    })
}

async fn transfer(
    url: &str,
    file: &mut std::fs::File,
    path: &Path,
    progress: Sender<Progress>,
) -> Result<String> {
    let failed = |reason: String| Error::Download {
        url: url.to_owned(),
        reason,
    };
    let broken = |error: reqwest::Error| {
        let reason = match (error.is_timeout(), error.is_connect()) {
            (true, _) => "the server did not answer in time".to_owned(),
            (_, true) => "no connection to the server; check the network and the proxy".to_owned(),
            _ => error.without_url().to_string(),
        };
        failed(reason)
    };
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .redirect(reqwest::redirect::Policy::limited(5))
        .build()
        .map_err(broken)?;
    let mut answer = client.get(url).send().await.map_err(broken)?;
    if !answer.status().is_success() {
        return Err(failed(format!("the server answered {}", answer.status())));
    }
    let total = answer.content_length();
    let mut received = 0;
    let mut hash = Sha256::new();
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        file.write_all(&chunk).map_err(Error::io("write", path))?;
        hash.update(&chunk);
        received += chunk.len() as u64;
        // Nobody listening is no reason to stop.
        let _ = progress.send(Progress::Received { received, total });
    }
    Ok(hex(&hash.finalize()))
}
