//! The network: what the hub announces about a file, and its bytes.
//!
//! The announcement is asked for here, because hf-hub's own request for it follows the redirect to
//! the storage server and so loses the headers of the hub. The bytes come through hf-hub's stream:
//! its `download_file` would build paths from headers that nobody has checked, keep the body of an
//! error as if it were the file, and could not continue.

use std::error::Error as _;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hf_hub::{HFClient, HFError};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use sha2::{Digest, Sha256};

use super::error::{At, Authority, HubError};
use super::verify::{Checksum, checksum_like, is_hex, read_through};
use super::wanted::Wanted;
use super::{Hub, Limits, Progress};
use crate::files::hex;

/// The redirects that are followed, as many as browsers and hf-hub do.
const REDIRECTS: usize = 10;
/// How often a request is repeated that the server failed at.
const SERVER_RETRIES: u32 = 3;
/// How often a transfer that broke off is continued.
const CONTINUATIONS: u32 = 3;
/// No header value that can be sent: hf-hub then sends no token, where without any it would look
/// for one itself.
const NO_TOKEN: &str = "\n";

/// What the hub says about a file.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub commit: String,
    pub etag: String,
    pub checksum: Option<Checksum>,
    pub bytes: Option<u64>,
}

/// Why an attempt failed.
enum Failure {
    /// For good.
    Final(Box<HubError>),
    /// The hub wants to be left alone for a time.
    Busy { asked: Option<Duration> },
    /// The server failed.
    Server { status: u16, said: Option<String> },
    /// The connection broke in the body.
    Broken { reason: String },
    /// A part was asked for that the server does not have.
    Range,
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Failure::Final(Box::new(error))
    }
}

impl From<Box<HubError>> for Failure {
    fn from(error: Box<HubError>) -> Self {
        Failure::Final(error)
    }
}

/// A file on the hub, and the patience with it.
pub(super) struct Remote<'a> {
    wanted: &'a Wanted,
    limits: &'a Limits,
    cache: &'a Path,
    token: Option<&'a str>,
    events: &'a Sender<Progress>,
    /// Does not follow redirects.
    asking: reqwest::Client,
    receiving: HFClient,
    waited: Duration,
    server_failures: u32,
    breaks: u32,
}

impl<'a> Remote<'a> {
    pub fn new(
        hub: &'a Hub,
        wanted: &'a Wanted,
        events: &'a Sender<Progress>,
    ) -> Result<Self, Box<HubError>> {
        let failed = |reason: String| {
            Box::new(HubError::Transfer {
                at: wanted.at.clone(),
                reason: format!("no HTTP client can be made: {reason}"),
            })
        };
        let builder = |redirects| {
            let builder = reqwest::Client::builder()
                .user_agent(concat!("burn-zoo/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(hub.limits.connect)
                .read_timeout(hub.limits.silence)
                .redirect(redirects);
            // A proxy cannot reach this machine's own servers under that name.
            if is_loopback(&hub.endpoint) {
                builder.no_proxy()
            } else {
                builder
            }
        };
        let asking = builder(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| failed(cause(&error)))?;
        let client = builder(reqwest::redirect::Policy::custom(
            |attempt| match refuse_redirect(
                attempt.previous().len(),
                attempt.previous().last(),
                attempt.url(),
            ) {
                Some(reason) => attempt.error(reason),
                None => attempt.follow(),
            },
        ))
        .build()
        .map_err(|error| failed(cause(&error)))?;
        let receiving = HFClient::builder()
            .client(client)
            .endpoint(hub.endpoint.as_str().trim_end_matches('/'))
            .token(hub.token.as_deref().unwrap_or(NO_TOKEN))
            .cache_enabled(false)
            .cache_dir(&hub.cache.root)
            .retry_max_attempts(0)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Remote {
            wanted,
            limits: &hub.limits,
            cache: &hub.cache.root,
            token: hub.token.as_deref(),
            events,
            asking,
            receiving,
            waited: Duration::ZERO,
            server_failures: 0,
            breaks: 0,
        })
    }

    fn at(&self) -> At {
        self.wanted.at.clone()
    }

    /// Asks the hub what the file is.
    pub async fn announce(&mut self, absent: impl Fn(&str)) -> Result<Announced, Box<HubError>> {
        loop {
            match self.ask(&absent).await {
                Ok(announced) => return Ok(announced),
                Err(failure) => self.retry(failure, None).await?,
            }
        }
    }

    async fn ask(&self, absent: &impl Fn(&str)) -> Result<Announced, Failure> {
        let mut url = self.wanted.url.clone();
        for followed in 0.. {
            let mut request = self
                .asking
                .head(url.clone())
                // A compressed answer would have another size.
                .header("accept-encoding", "identity");
            if let Some(token) = self.token.and_then(bearer) {
                request = request.header("authorization", token);
            }
            let response = request
                .send()
                .await
                .map_err(|error| self.transport(&error, None))?;
            let headers = response.headers();
            // With this header a redirect leads to the bytes; without, to the repository's new
            // name, whose answer is the one that counts.
            if response.status().is_redirection() && !headers.contains_key("x-linked-etag") {
                let next = location(&response, &url).ok_or_else(|| HubError::Answer {
                    at: self.at(),
                    expected: "the headers of the file".to_owned(),
                    found: format!("status {} without them", response.status().as_u16()),
                })?;
                if let Some(reason) = refuse_redirect(followed + 1, Some(&url), &next) {
                    return Err(HubError::Redirect {
                        at: self.at(),
                        reason,
                    }
                    .into());
                }
                // The access token is for this host only, and so is the trust in what it says.
                if next.origin() != self.wanted.url.origin() {
                    return Err(HubError::Answer {
                        at: self.at(),
                        expected: "the headers of the file".to_owned(),
                        found: self
                            .presentable(&format!("a redirect to {}", without_secrets(&next))),
                    }
                    .into());
                }
                url = next;
                continue;
            }
            if response.status().is_success() || response.status().is_redirection() {
                return Ok(self.read_announcement(headers)?);
            }
            let code = text(headers, "x-error-code");
            if code.as_deref() == Some("EntryNotFound")
                && let Some(commit) = text(headers, "x-repo-commit")
                && is_hex(&commit, 40)
            {
                absent(&commit);
            }
            return Err(self.refusal(
                response.status(),
                code.as_deref(),
                text(headers, "x-error-message"),
                retry_after(headers),
            ));
        }
        // The bound of `refuse_redirect` ends the loop.
        Err(Failure::Broken {
            reason: "too many redirects".to_owned(),
        })
    }

    /// Takes from the headers what becomes part of a path only if it cannot lead anywhere else.
    fn read_announcement(&self, headers: &HeaderMap) -> Result<Announced, Box<HubError>> {
        let answer = |expected: String, found: String| {
            Box::new(HubError::Answer {
                at: self.at(),
                expected,
                found,
            })
        };
        let html = text(headers, "content-type").is_some_and(|kind| kind.contains("text/html"));
        let found = |value: Option<String>| match value {
            Some(value) => format!("{:?}", self.presentable(&value)),
            None if html => "none, and an HTML page".to_owned(),
            None => "none".to_owned(),
        };

        let commit = text(headers, "x-repo-commit");
        let commit = match commit {
            Some(commit) if is_hex(&commit, 40) => commit,
            other => {
                let expected = "a commit of 40 hexadecimal digits in X-Repo-Commit".to_owned();
                return Err(answer(expected, found(other)));
            }
        };
        if is_hex(&self.wanted.revision, 40) && commit != self.wanted.revision {
            let expected = format!("commit {} in X-Repo-Commit", self.wanted.revision);
            return Err(answer(expected, commit));
        }
        let raw = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"));
        let etag = raw
            .as_deref()
            .map(|raw| raw.strip_prefix("W/").unwrap_or(raw).trim_matches('"'));
        let etag = match etag {
            Some(etag)
                if (1..=128).contains(&etag.len())
                    && etag
                        .bytes()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')) =>
            {
                etag.to_owned()
            }
            _ => {
                let expected = "hexadecimal digits in X-Linked-Etag or ETag".to_owned();
                return Err(answer(expected, found(raw)));
            }
        };
        let size = text(headers, "x-linked-size").or_else(|| {
            // Of a redirect it is the size of the redirect.
            (!headers.contains_key("location"))
                .then(|| text(headers, "content-length"))
                .flatten()
        });
        let bytes = match size {
            None => None,
            Some(size) => match size.parse() {
                Ok(bytes) => Some(bytes),
                Err(_) => {
                    let expected = "a number of bytes in X-Linked-Size".to_owned();
                    return Err(answer(expected, found(Some(size))));
                }
            },
        };
        Ok(Announced {
            commit,
            checksum: Checksum::from_etag(&etag),
            etag,
            bytes,
        })
    }

    /// Receives the file into `path`, which may hold the first part of it already, and checks it.
    /// Returns its SHA-256 and size. What fails the check is deleted.
    pub async fn receive(
        &mut self,
        announced: &Announced,
        path: &Path,
    ) -> Result<(String, u64), Box<HubError>> {
        let total = self.wanted.bytes.or(announced.bytes);
        let mut partial = Partial::open(path)?;
        // Without a size it is unknown what is left.
        if partial.bytes > 0 && total.is_none_or(|total| partial.bytes > total) {
            partial.restart()?;
        }
        loop {
            let failure = match self.receive_once(announced, &mut partial, total).await {
                Ok(()) => match self.check(announced, &mut partial, total) {
                    Ok(sha256) => {
                        partial
                            .file
                            .sync_all()
                            .map_err(HubError::io("write", path))?;
                        return Ok((sha256, partial.bytes));
                    }
                    Err(error) => error.into(),
                },
                Err(failure) => failure,
            };
            let restart = match &failure {
                Failure::Range => partial.continued,
                Failure::Final(error) => {
                    partial.continued
                        && matches!(**error, HubError::Size { .. } | HubError::Checksum { .. })
                }
                _ => false,
            };
            if restart {
                // The part that was kept, or the server's idea of a part, may be what is wrong.
                partial.restart()?;
            } else if let Err(error) = self.retry(failure, Some((partial.bytes, total))).await {
                let worth_keeping = matches!(
                    *error,
                    HubError::TimedOut { .. }
                        | HubError::Interrupted { .. }
                        | HubError::Unreachable { .. }
                        | HubError::RateLimited { .. }
                        | HubError::Status { .. }
                );
                if !worth_keeping || partial.bytes == 0 {
                    let _ = std::fs::remove_file(path);
                }
                return Err(error);
            }
        }
    }

    async fn receive_once(
        &mut self,
        announced: &Announced,
        partial: &mut Partial,
        total: Option<u64>,
    ) -> Result<(), Failure> {
        if total.is_some_and(|total| partial.bytes == total) && partial.bytes > 0 {
            return Ok(());
        }
        let range = total
            .filter(|_| partial.bytes > 0)
            .map(|total| partial.bytes..total);
        if range.is_some() {
            partial.continued = true;
        } else if partial.bytes > 0 {
            partial.restart()?;
        }
        let repository = self
            .receiving
            .model(self.wanted.owner.as_str(), self.wanted.name.as_str());
        let begin = partial.bytes;
        let (declared, mut stream) = repository
            .download_file_stream()
            .filename(self.wanted.file.as_str())
            .revision(announced.commit.as_str())
            .maybe_range(range)
            .send()
            .await
            .map_err(|error| self.library(error, begin, total))?;

        let mut reported = Instant::now();
        self.report(partial.bytes, total);
        loop {
            // The client's own limit covers HTTP; this one covers hf-hub's other ways.
            let limit = self.limits.silence.saturating_add(Duration::from_secs(1));
            let piece = match tokio::time::timeout(limit, stream.next()).await {
                Ok(None) => break,
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => return Err(self.library(error, partial.bytes, total)),
                Err(_) => return Err(self.silent(Some((partial.bytes, total)))),
            };
            if let Some(total) = total
                && partial.bytes + piece.len() as u64 > total
            {
                partial
                    .append(&piece)
                    .map_err(|error| self.full(error, partial, Some(total)))?;
                return Err(self.wrong_size(partial, total, true).into());
            }
            partial
                .append(&piece)
                .map_err(|error| self.full(error, partial, total))?;
            if reported.elapsed() >= Duration::from_millis(50) {
                reported = Instant::now();
                self.report(partial.bytes, total);
            }
        }
        self.report(partial.bytes, total);
        match total {
            // A server that announces no length ends a body that broke off like a whole one.
            Some(total) if partial.bytes < total && declared != Some(partial.bytes - begin) => {
                Err(Failure::Broken {
                    reason: "the server closed the connection".to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    fn check(
        &self,
        announced: &Announced,
        partial: &mut Partial,
        total: Option<u64>,
    ) -> Result<String, Box<HubError>> {
        if let Some(total) = total
            && partial.bytes != total
        {
            return Err(Box::new(self.wrong_size(partial, total, false)));
        }
        let sha256 = hex(&partial.sha256.clone().finalize());
        let found = Checksum::Sha256(sha256.clone());
        let pinned = self.wanted.sha256.clone().map(Checksum::Sha256);
        for (authority, expected) in [
            (Authority::Manifest, pinned.as_ref()),
            (Authority::Hub, announced.checksum.as_ref()),
        ] {
            let Some(expected) = expected else { continue };
            let found = match expected {
                Checksum::Sha256(_) => found.clone(),
                Checksum::Git(_) => checksum_like(expected, &partial.path)
                    .map_err(HubError::io("read", &partial.path))?,
            };
            if found != *expected {
                return Err(Box::new(HubError::Checksum {
                    at: self.at(),
                    authority,
                    expected: expected.to_string(),
                    found: found.to_string(),
                    html: partial.is_html(),
                }));
            }
        }
        Ok(sha256)
    }

    fn wrong_size(&self, partial: &Partial, expected: u64, more: bool) -> HubError {
        HubError::Size {
            at: self.at(),
            authority: if self.wanted.bytes.is_some() {
                Authority::Manifest
            } else {
                Authority::Hub
            },
            expected,
            found: if more { expected } else { partial.bytes },
            more,
            html: partial.is_html(),
        }
    }

    fn report(&self, received: u64, total: Option<u64>) {
        // A caller that is gone does not mind.
        let _ = self.events.send(Progress::Received { received, total });
    }

    /// Waits until the next attempt, or says why there is none.
    async fn retry(
        &mut self,
        failure: Failure,
        received: Option<(u64, Option<u64>)>,
    ) -> Result<(), Box<HubError>> {
        let (wait, reason) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Range => {
                return Err(Box::new(HubError::Status {
                    at: self.at(),
                    status: 416,
                    said: None,
                    attempts: 1,
                }));
            }
            Failure::Busy { asked } => {
                // Without a time each wait is as long as all before it, and none is zero.
                let wait = asked
                    .unwrap_or(self.waited)
                    .max(self.limits.backoff)
                    .max(Duration::from_millis(1));
                // The time comes from the server and may be absurd.
                if self.waited.saturating_add(wait) > self.limits.rate_limit {
                    return Err(Box::new(HubError::RateLimited {
                        at: self.at(),
                        asked,
                        limit: self.limits.rate_limit,
                    }));
                }
                self.waited = self.waited.saturating_add(wait);
                (wait, "the hub limits the number of requests".to_owned())
            }
            Failure::Server { status, said } => {
                if self.server_failures == SERVER_RETRIES {
                    return Err(Box::new(HubError::Status {
                        at: self.at(),
                        status,
                        said,
                        attempts: self.server_failures + 1,
                    }));
                }
                self.server_failures += 1;
                let wait = self
                    .limits
                    .backoff
                    .saturating_mul(1 << (self.server_failures - 1));
                (wait, format!("the server answered {status}"))
            }
            Failure::Broken { reason } => {
                if self.breaks == CONTINUATIONS {
                    let (received, total) = received.unwrap_or((0, None));
                    return Err(Box::new(HubError::Interrupted {
                        at: self.at(),
                        received,
                        total,
                        attempts: self.breaks + 1,
                        reason,
                    }));
                }
                self.breaks += 1;
                let wait = self.limits.backoff.saturating_mul(1 << (self.breaks - 1));
                (wait, reason)
            }
        };
        let _ = self.events.send(Progress::Retrying { wait, reason });
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// What a status that is no success means.
    fn refusal(
        &self,
        status: StatusCode,
        code: Option<&str>,
        said: Option<String>,
        asked: Option<Duration>,
    ) -> Failure {
        let at = self.at();
        let token = self.token.is_some();
        let said = said.map(|said| self.presentable(&said));
        match (code, status.as_u16()) {
            (Some("GatedRepo"), _) => HubError::Gated { at, token }.into(),
            (Some("RepoNotFound"), _) => HubError::RepositoryNotFound { at, token }.into(),
            (Some("RevisionNotFound"), _) => HubError::RevisionNotFound { at }.into(),
            (Some("EntryNotFound"), _) => HubError::FileNotFound { at }.into(),
            (_, 401) => HubError::Unauthorized { at, token }.into(),
            (_, 403) => HubError::Forbidden { at, said }.into(),
            (_, 404) => HubError::NotFound { at }.into(),
            (_, status @ 300..=399) => HubError::Redirect {
                at,
                reason: format!("a redirect ({status}) that cannot be followed"),
            }
            .into(),
            (_, 416) => Failure::Range,
            (_, 429) => Failure::Busy { asked },
            (_, status @ (500 | 502 | 503 | 504)) => Failure::Server { status, said },
            (_, status) => HubError::Status {
                at,
                status,
                said,
                attempts: 1,
            }
            .into(),
        }
    }

    /// The server's words, short, on one line and without the token, should it send that back.
    fn presentable(&self, said: &str) -> String {
        let said: String = said
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(200)
            .collect();
        match self.token {
            Some(token) if said.contains(token) => said.replace(token, "…"),
            _ => said,
        }
    }

    /// What an error of the HTTP client means. `received` is what was kept if a body was being
    /// read.
    fn transport(&self, error: &reqwest::Error, received: Option<(u64, Option<u64>)>) -> Failure {
        let url = error.url().unwrap_or(&self.wanted.url);
        let host = match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            _ => "the server".to_owned(),
        };
        let at = self.at();
        if error.is_redirect() {
            return HubError::Redirect {
                at,
                reason: cause(error),
            }
            .into();
        }
        if error.is_connect() {
            let reason = if error.is_timeout() {
                format!("no answer within {} s", self.limits.connect.as_secs_f64())
            } else {
                connection_failure(error)
            };
            return HubError::Unreachable { at, host, reason }.into();
        }
        if error.is_timeout() {
            return self.silent(received);
        }
        let reason = self.presentable(&cause(error));
        if is_about_json(error) {
            // An answer to hf-hub itself, on its way to the bytes.
            return HubError::Transfer {
                at,
                reason: format!("an answer of the hub cannot be understood: {reason}"),
            }
            .into();
        }
        Failure::Broken { reason }
    }

    fn silent(&self, received: Option<(u64, Option<u64>)>) -> Failure {
        HubError::TimedOut {
            at: self.at(),
            after: self.limits.silence,
            received: received
                .map(|(received, _)| received)
                .filter(|received| *received > 0),
            total: received.and_then(|(_, total)| total),
        }
        .into()
    }

    /// What an error of hf-hub means.
    fn library(&self, error: HFError, received: u64, total: Option<u64>) -> Failure {
        match error {
            HFError::RateLimited { retry_after, .. } => Failure::Busy { asked: retry_after },
            HFError::Request { source, .. } => self.transport(&source, Some((received, total))),
            HFError::Http { context }
            | HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::EntryNotFound {
                context: Some(context),
                ..
            }
            | HFError::RepoNotFound {
                context: Some(context),
                ..
            }
            | HFError::RevisionNotFound {
                context: Some(context),
                ..
            } => {
                let said = context.server_message.clone();
                match (context.error_code.as_deref(), context.status.as_u16()) {
                    // The hub has announced the file to us: it is the storage that has none, or
                    // none for us, and no token would change that.
                    (None, status @ (401 | 403 | 404)) => HubError::Status {
                        at: self.at(),
                        status,
                        said: said.map(|said| self.presentable(&said)),
                        attempts: 1,
                    }
                    .into(),
                    (code, _) => self.refusal(context.status, code, said, None),
                }
            }
            other => HubError::Transfer {
                at: self.at(),
                reason: self.presentable(&other.to_string()),
            }
            .into(),
        }
    }

    /// What a failure to write the file means.
    fn full(&self, error: std::io::Error, partial: &Partial, needed: Option<u64>) -> Failure {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                HubError::DiskFull {
                    at: self.at(),
                    path: self.cache.to_path_buf(),
                    needed,
                    written: partial.bytes,
                }
                .into()
            }
            _ => HubError::io("write", &partial.path)(error).into(),
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
    fn open(path: &Path) -> Result<Self, Box<HubError>> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(HubError::io("create", path))?;
        let mut sha256 = Sha256::new();
        let mut bytes = 0;
        read_through(path, |piece| {
            sha256.update(piece);
            bytes += piece.len() as u64;
        })
        .map_err(HubError::io("read", path))?;
        Ok(Partial {
            path: path.to_path_buf(),
            file,
            bytes,
            sha256,
            continued: bytes > 0,
        })
    }

    fn append(&mut self, piece: &[u8]) -> std::io::Result<()> {
        self.file.write_all(piece)?;
        self.sha256.update(piece);
        self.bytes += piece.len() as u64;
        Ok(())
    }

    /// Forgets all that was received.
    fn restart(&mut self) -> Result<(), Box<HubError>> {
        self.file
            .set_len(0)
            .map_err(HubError::io("write", &self.path))?;
        self.bytes = 0;
        self.sha256 = Sha256::new();
        self.continued = false;
        Ok(())
    }

    /// Whether the content begins like an HTML page, which is what sign-in pages send for a file.
    fn is_html(&self) -> bool {
        use std::io::Read;
        let mut start = Vec::new();
        if let Ok(file) = File::open(&self.path) {
            let _ = file.take(512).read_to_end(&mut start);
        }
        let start = String::from_utf8_lossy(&start).trim_start().to_lowercase();
        start.starts_with("<!doctype html") || start.starts_with("<html")
    }
}

/// A header as text, if it is there and is one.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// `Retry-After` as the hub writes it, in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    text(headers, "retry-after")?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Where an answer redirects to.
fn location(response: &Response, url: &Url) -> Option<Url> {
    let location = text(response.headers(), "location")?;
    url.join(&location).ok()
}

/// Why a redirect, the `number`th of a request, is not followed.
fn refuse_redirect(number: usize, from: Option<&Url>, to: &Url) -> Option<String> {
    if number > REDIRECTS {
        return Some(format!("more than {REDIRECTS} redirects"));
    }
    if !matches!(to.scheme(), "http" | "https") {
        return Some(format!("a redirect to a `{}:` address", to.scheme()));
    }
    if to.scheme() == "http" && from.is_some_and(|from| from.scheme() == "https") {
        return Some(format!("a redirect from https to {}", without_secrets(to)));
    }
    None
}

/// An address without its query, user name and password.
pub(super) fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Neither can fail for an address with a host, and one without has nothing to remove.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

/// Why no connection came about.
fn connection_failure(error: &reqwest::Error) -> String {
    let mut source = error.source();
    let mut last = String::new();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            match io.kind() {
                ErrorKind::ConnectionRefused => return "the connection was refused".to_owned(),
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                    return "the network cannot reach it".to_owned();
                }
                _ => {}
            }
        }
        last = inner.to_string();
        // The resolver's own words differ from system to system.
        if last.contains("dns error") || last.contains("failed to lookup address") {
            return "the host name cannot be resolved".to_owned();
        }
        source = inner.source();
    }
    last
}

/// Whether an answer came whole and was no JSON where it should have been.
fn is_about_json(error: &reqwest::Error) -> bool {
    error
        .source()
        .is_some_and(|source| source.is::<serde_json::Error>())
}

/// The innermost reason of an error, which names no address.
fn cause(error: &reqwest::Error) -> String {
    let mut source = error.source();
    let mut last = "the request failed".to_owned();
    while let Some(inner) = source {
        last = inner.to_string();
        source = inner.source();
    }
    last
}
