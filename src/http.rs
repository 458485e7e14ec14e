//! The HTTP client of this crate, and the download of single files with it.

use std::error::Error as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use reqwest::{ClientBuilder, Url};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::files::{folder_of, hex, rename_into, temporary_in};

/// For a connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// For the next piece of an answer.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// A client for the server of `url`. The proxy is that of `HTTPS_PROXY` and its like.
pub(crate) fn client(url: &Url, connect: Duration, silence: Duration) -> ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("burn-zoo/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect)
        .read_timeout(silence);
    // A slow receiver acknowledges nothing for a while. Silence is measured by `read_timeout`, and of what is
    // sent by its bytes.
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(None);
    // A proxy cannot reach this machine's own servers under that name.
    if is_loopback(url) {
        builder.no_proxy()
    } else {
        builder
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

/// Runs `work` to its end and hands the events that it sends to `report`. It has a thread and an
/// asynchronous runtime of its own, as the caller may be inside another one, and `report` may not
/// leave the caller's thread.
///
/// # Errors
///
/// If there can be no thread or no runtime, or if `work` panics.
pub(crate) fn run<E: Send, T: Send>(
    report: &mut dyn FnMut(E),
    work: impl AsyncFnOnce(Sender<E>) -> T + Send,
) -> io::Result<T> {
    let (sender, events) = channel();
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new()
            .name("burn-zoo-http".to_owned())
            .spawn_scoped(scope, move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                Ok(runtime.block_on(work(sender)))
            })?;
        events.into_iter().for_each(report);
        let ended = || Err(io::Error::other("the transfer ended unexpectedly"));
        worker.join().unwrap_or_else(|_| ended())
    })
}

/// What a file must be.
pub(crate) struct Expected<'a> {
    /// Its size, if it is known.
    pub bytes: Option<u64>,
    /// Its SHA-256, or the first digits of that.
    pub sha256: &'a str,
}

/// Fetches `url` into the file `path`, which gets its name once it is what it must be. `report` is
/// called after each piece with the bytes received and the size, if that is known. A server has
/// `timeout` to deliver the file, if that is set.
///
/// # Errors
///
/// [`Error::Download`] if the file cannot be had or is another than `expected`; [`Error::Io`] if it
/// cannot be written.
pub(crate) fn download(
    url: &str,
    path: &Path,
    expected: &Expected<'_>,
    timeout: Option<Duration>,
    report: &mut dyn FnMut((u64, Option<u64>)),
) -> Result<()> {
    let failed = |reason: String| Error::Download {
        url: url.to_owned(),
        reason,
    };
    run(report, async |events| {
        let address = Url::parse(url).map_err(|error| failed(error.to_string()))?;
        let mut client = client(&address, CONNECT, SILENCE);
        if let Some(timeout) = timeout {
            client = client.timeout(timeout);
        }
        let client = client.build().map_err(|error| failed(cause(&error)))?;
        let response = client.get(address).send().await;
        let mut response = response.map_err(|error| failed(explain(&error)))?;
        if !response.status().is_success() {
            let status = response.status();
            return Err(failed(format!("the server answered {status}")));
        }
        let total = match (expected.bytes, response.content_length()) {
            (Some(bytes), Some(announced)) if bytes != announced => {
                return Err(failed(format!(
                    "expected {bytes} bytes, the server announces {announced}"
                )));
            }
            (bytes, announced) => bytes.or(announced),
        };
        let folder = folder_of(path);
        let mut file = temporary_in(folder).map_err(Error::io("create", folder))?;
        let mut hash = Sha256::new();
        let mut received = 0;
        loop {
            let piece = match response.chunk().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) => {
                    let of = total.map_or(String::new(), |total| format!(" of {total}"));
                    return Err(failed(format!(
                        "broken off after {received}{of} bytes: {}",
                        explain(&error)
                    )));
                }
            };
            received += piece.len() as u64;
            if let Some(bytes) = expected.bytes
                && received > bytes
            {
                return Err(failed(format!(
                    "expected {bytes} bytes, the server sends more"
                )));
            }
            hash.update(&piece);
            file.write_all(&piece)
                .map_err(Error::io("write", file.path()))?;
            // Nobody listening is no reason to stop.
            let _ = events.send((received, total));
        }
        if let Some(bytes) = expected.bytes
            && received < bytes
        {
            return Err(failed(format!("expected {bytes} bytes, found {received}")));
        }
        let found = hex(&hash.finalize());
        if !found.starts_with(expected.sha256) {
            let sha256 = expected.sha256;
            let expected = match sha256.len() {
                64 => format!("SHA-256 {sha256}"),
                _ => format!("a SHA-256 that begins with {sha256}, as the file's name says"),
            };
            return Err(failed(format!("expected {expected}, found {found}")));
        }
        rename_into(file, path).map_err(Error::io("write", path))
    })
    .map_err(|error| failed(error.to_string()))?
}

/// What an error means to somebody who wants a file.
fn explain(error: &reqwest::Error) -> String {
    if error.is_connect() {
        let reason = connection_failure(error);
        format!("no connection to the server: {reason}; check the network and the proxy")
    } else if error.is_timeout() {
        "the server did not answer in time".to_owned()
    } else {
        cause(error)
    }
}

/// Why no connection came about.
pub(crate) fn connection_failure(error: &reqwest::Error) -> String {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};

    let mut source = error.source();
    while let Some(inner) = source {
        let kind = inner.downcast_ref::<io::Error>().map(io::Error::kind);
        let text = inner.to_string();
        match kind {
            Some(ConnectionRefused) => return "the connection was refused".to_owned(),
            Some(HostUnreachable | NetworkUnreachable) => {
                return "the network cannot reach it".to_owned();
            }
            // The resolver's own words differ from system to system.
            _ if text.contains("dns error") || text.contains("failed to lookup address") => {
                return "the host name cannot be resolved".to_owned();
            }
            _ => source = inner.source(),
        }
    }
    cause(error)
}

/// The innermost reason of an error, which names no address.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    cause.map_or("the request failed".to_owned(), ToString::to_string)
}

/// An address without its query, user name and password.
#[cfg(feature = "hub")]
pub(crate) fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Neither can fail for an address with a host, and one without has nothing to remove.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}
