//! The bytes of a file. They come through hf-hub's stream, which also knows Xet: its
//! `download_file` would build paths from headers that nobody has checked, keep the body of an error
//! as if it were the file, and could not continue.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use hf_hub::HFClient;
use sha2::{Digest as _, Sha256};

use super::announce::Announcement;
use super::cache_error::CacheError;
use super::fetch_error::FetchError;
use super::results::Progress;
use super::transfer::{AttemptError, Transfer, refuse_redirect};
use crate::files::{hex, read_in_pieces};
use crate::http::{cause, client};

/// No header value that can be sent: hf-hub then sends no token, where without any it would look
/// for one itself.
const NO_TOKEN: &str = "\n";
/// Between two reports of progress.
const REPORT: Duration = Duration::from_millis(50);

impl Transfer<'_> {
    /// Receives the file into `path`, which may hold the first part of it already, and checks it.
    /// Returns its SHA-256. What fails the check is deleted.
    pub async fn receive(
        &mut self,
        announced: &Announcement,
        path: &Path,
    ) -> Result<String, FetchError> {
        let client = self.stream_client()?;
        let total = self.request.bytes.or(announced.bytes);
        self.received.total = total;
        let mut partial = Partial::open(path)?;
        self.received.bytes = partial.bytes;
        // Without a size it is unknown what is left.
        if total.is_none_or(|total| partial.bytes > total) {
            self.restart(&mut partial)?;
        }
        loop {
            let attempt = match self.receive_once(&client, announced, &mut partial).await {
                Ok(()) => self.check(announced, &partial).map_err(AttemptError::from),
                Err(failure) => Err(failure),
            };
            let failure = match attempt {
                Ok(sha256) => return Ok(sha256),
                Err(failure) => failure,
            };
            let is_wrong = matches!(
                failure,
                AttemptError::Range | AttemptError::Final(FetchError::Mismatch { .. })
            );
            if is_wrong && partial.continued {
                // The part that was kept, or the server's idea of a part, may be what is wrong.
                self.restart(&mut partial)?;
            } else if let Err(error) = self.wait_for_next(failure).await {
                let helps_the_next_attempt = matches!(
                    error,
                    FetchError::TimedOut { .. }
                        | FetchError::Interrupted { .. }
                        | FetchError::Unreachable { .. }
                        | FetchError::RateLimited { .. }
                        | FetchError::Status { .. }
                );
                if !helps_the_next_attempt || partial.bytes == 0 {
                    let _ = std::fs::remove_file(path);
                }
                return Err(error);
            }
        }
    }

    fn stream_client(&self) -> Result<HFClient, FetchError> {
        let limits = &self.hub.limits;
        let redirects = reqwest::redirect::Policy::custom(|attempt| {
            let previous = attempt.previous();
            match refuse_redirect(previous.len(), previous.last(), attempt.url()) {
                Some(reason) => attempt.error(reason),
                None => attempt.follow(),
            }
        });
        let client = client(&self.hub.endpoint, limits.connect, limits.silence)
            .redirect(redirects)
            .build()
            .map_err(|error| FetchError::Other(cause(&error)))?;
        HFClient::builder()
            .client(client)
            .endpoint(self.hub.endpoint.as_str().trim_end_matches('/'))
            .token(self.hub.token.as_deref().unwrap_or(NO_TOKEN))
            .cache_enabled(false)
            .cache_dir(&self.hub.cache.root)
            .retry_max_attempts(0)
            .build()
            .map_err(|error| FetchError::Other(error.to_string()))
    }

    fn restart(&mut self, partial: &mut Partial) -> Result<(), CacheError> {
        partial.restart()?;
        self.received.bytes = 0;
        Ok(())
    }

    async fn receive_once(
        &mut self,
        client: &HFClient,
        announced: &Announcement,
        partial: &mut Partial,
    ) -> Result<(), AttemptError> {
        let total = self.received.total;
        let begin = partial.bytes;
        if begin > 0 && total == Some(begin) {
            return Ok(());
        }
        let range = total.filter(|_| begin > 0).map(|total| begin..total);
        if range.is_some() {
            partial.continued = true;
        } else {
            self.restart(partial)?;
        }
        let begin = partial.bytes;
        let file = &self.request.file;
        let (owner, name) = hf_hub::split_id(&file.repository);
        let (declared, mut stream) = client
            .model(owner, name)
            .download_file_stream()
            .filename(file.file.as_str())
            .revision(announced.commit.as_str())
            .maybe_range(range)
            .send()
            .await
            .map_err(|error| self.library_error(error))?;

        // The client's own limit covers HTTP; this one covers hf-hub's other ways.
        let silence = self.hub.limits.silence;
        let limit = silence.saturating_add(Duration::from_secs(1));
        self.report();
        let mut reported = Instant::now();
        loop {
            let piece = match tokio::time::timeout(limit, stream.next()).await {
                Ok(None) => break,
                Ok(Some(piece)) => piece.map_err(|error| self.library_error(error))?,
                Err(_) => return Err(self.silence_error().into()),
            };
            let written = partial.append(&piece);
            written.map_err(|error| self.write_error(error, &partial.path))?;
            self.received.bytes = partial.bytes;
            if let Some(total) = total.filter(|total| partial.bytes > *total) {
                let found = format!("more than {total}");
                return Err(self.wrong_size(partial, found).into());
            }
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                self.report();
            }
        }
        self.report();
        // A server that announces no length ends a body that broke off like a whole one.
        let is_short = total.is_some_and(|total| partial.bytes < total);
        if is_short && declared != Some(partial.bytes - begin) {
            let reason = "the server closed the connection".to_owned();
            return Err(AttemptError::Interrupted { reason });
        }
        Ok(())
    }

    fn report(&self) {
        self.tell(Progress::Received {
            received: self.received.bytes,
            total: self.received.total,
        });
    }

    /// Compares what was received with what the manifest and the hub say; its SHA-256.
    fn check(&self, announced: &Announcement, partial: &Partial) -> Result<String, FetchError> {
        let total = self.received.total;
        if total.is_some_and(|total| partial.bytes != total) {
            return Err(self.wrong_size(partial, partial.bytes.to_string()));
        }
        partial
            .file
            .sync_all()
            .map_err(CacheError::of("write", &partial.path))?;
        let sha256 = hex(&partial.sha256.clone().finalize());
        for (pinned, expected) in [(true, &self.request.sha256), (false, &announced.checksum)] {
            let Some(expected) = expected else { continue };
            let found = expected.same_kind_of(&partial.path, &sha256);
            let found = found.map_err(CacheError::of("read", &partial.path))?;
            if found != *expected {
                return Err(FetchError::Mismatch {
                    property: "checksum",
                    pinned,
                    expected: expected.to_string(),
                    found: found.to_string(),
                    html: partial.is_html(),
                });
            }
        }
        Ok(sha256)
    }

    fn wrong_size(&self, partial: &Partial, found: String) -> FetchError {
        FetchError::Mismatch {
            property: "size",
            pinned: self.request.bytes.is_some(),
            expected: format!("{} bytes", self.received.total.unwrap_or(0)),
            found,
            html: partial.is_html(),
        }
    }
}

/// A file that is being received.
struct Partial {
    path: PathBuf,
    file: File,
    bytes: u64,
    sha256: Sha256,
    /// Whether it is made of more than one answer.
    continued: bool,
}

impl Partial {
    /// Opens what is left of an earlier attempt, or begins.
    fn open(path: &Path) -> Result<Self, CacheError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut partial = Partial {
            path: path.to_path_buf(),
            file: file.map_err(CacheError::of("create", path))?,
            bytes: 0,
            sha256: Sha256::new(),
            continued: false,
        };
        read_in_pieces(path, |piece| partial.count(piece)).map_err(CacheError::of("read", path))?;
        partial.continued = partial.bytes > 0;
        Ok(partial)
    }

    fn count(&mut self, piece: &[u8]) {
        self.sha256.update(piece);
        self.bytes += piece.len() as u64;
    }

    fn append(&mut self, piece: &[u8]) -> std::io::Result<()> {
        self.file.write_all(piece)?;
        self.count(piece);
        Ok(())
    }

    /// Forgets all that was received.
    fn restart(&mut self) -> Result<(), CacheError> {
        let emptied = self.file.set_len(0);
        emptied.map_err(CacheError::of("write", &self.path))?;
        self.bytes = 0;
        self.sha256 = Sha256::new();
        self.continued = false;
        Ok(())
    }

    /// Whether the content begins like an HTML page, which is what sign-in pages send for a file.
    fn is_html(&self) -> bool {
        let mut start = Vec::new();
        if let Ok(file) = File::open(&self.path) {
            let _ = file.take(512).read_to_end(&mut start);
        }
        let start = String::from_utf8_lossy(&start).trim_start().to_lowercase();
        start.starts_with("<!doctype html") || start.starts_with("<html")
    }
}
