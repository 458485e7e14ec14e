//! Where the hub is and where its files lie, from the environment and from the program.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use super::cache::Cache;
use super::error::HubError;
use crate::error::Result;
use crate::http::{CONNECT, SILENCE, without_secrets};

/// The hub, and the cache of its files.
#[derive(Clone)]
pub struct Hub {
    pub(super) endpoint: Url,
    pub(super) cache: Cache,
    pub(super) token: Option<String>,
    pub(super) offline: bool,
    pub(super) limits: Limits,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &without_secrets(&self.endpoint))
            .field("cache", &self.cache.root)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// How long is waited for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// For a connection: 10 s.
    pub connect: Duration,
    /// For the next piece of an answer: 30 s. A transfer may last as long as it moves.
    pub silence: Duration,
    /// In all, when the hub limits the number of requests: 60 s.
    pub rate_limit: Duration,
    /// Before the first repetition of a failed request, twice as long before the next and so on:
    /// 1 s. There are three.
    pub backoff: Duration,
    /// For another process that fetches the same file: 1 hour.
    pub lock: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: CONNECT,
            silence: SILENCE,
            rate_limit: Duration::from_secs(60),
            backoff: Duration::from_secs(1),
            lock: Duration::from_secs(60 * 60),
        }
    }
}

impl Hub {
    /// The hub with its files in the folder `cache`, without an access token, whatever the
    /// environment says.
    pub fn new(cache: impl Into<PathBuf>) -> Hub {
        let endpoint = Url::parse("https://huggingface.co");
        Hub {
            endpoint: endpoint.unwrap_or_else(|_| unreachable!("this is an address")),
            cache: Cache {
                root: cache.into(),
                symlinks: true,
            },
            token: None,
            offline: false,
            limits: Limits::default(),
        }
    }

    /// The hub as the environment describes it, with the variables of Python's `huggingface_hub`:
    ///
    /// | variable | meaning | if it is not set |
    /// |---|---|---|
    /// | `HF_ENDPOINT` | the hub's address | `https://huggingface.co` |
    /// | `HF_HOME` | the folder of all that belongs to the hub | `$XDG_CACHE_HOME/huggingface`, or `~/.cache/huggingface` |
    /// | `HF_HUB_CACHE` | the cache | `$HF_HOME/hub` |
    /// | `HF_HUB_OFFLINE` | `1`, `true`, `yes` or `on`: never use the network | use it |
    /// | `HF_TOKEN` | the access token | the file that `HF_TOKEN_PATH` names, or `$HF_HOME/token`, where `hf auth login` puts it |
    /// | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | `1`: do not read a token from the environment or a file | read it |
    /// | `HF_HUB_DISABLE_SYMLINKS` | `1`: copy files into snapshots | link them |
    ///
    /// A variable without a value counts as not set. `~` at the start of a folder is the home
    /// folder.
    ///
    /// # Errors
    ///
    /// [`Error::Hub`](crate::Error::Hub) if a variable has a value that cannot be used.
    pub fn from_env() -> Result<Hub> {
        let variable = |name: &str| std::env::var_os(name);
        Ok(Self::from_variables(variable, std::env::home_dir())?)
    }

    /// [`Hub::from_env`] with its surroundings as arguments.
    pub(super) fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> Result<Hub, HubError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let folder = |name| {
            let Some(path) = variable(name).map(PathBuf::from) else {
                return Ok(None);
            };
            match (path.strip_prefix("~"), &home) {
                (Err(_), _) => Ok(Some(path)),
                (Ok(rest), Some(home)) => Ok(Some(home.join(rest))),
                (Ok(_), None) => {
                    let found = format!("{path:?}, and no home folder is known");
                    Err(unusable(name, "a folder", found))
                }
            }
        };
        let flag = |name| {
            let value = variable(name).unwrap_or_default();
            let value = value.to_string_lossy().to_lowercase();
            match value.as_str() {
                "1" | "true" | "yes" | "on" => Ok(true),
                "" | "0" | "false" | "no" | "off" => Ok(false),
                _ => {
                    let expected = "1, true, yes or on, or 0, false, no or off";
                    Err(unusable(name, expected, format!("{value:?}")))
                }
            }
        };

        let mut hf_home = folder("HF_HOME")?;
        if hf_home.is_none() {
            let user = folder("XDG_CACHE_HOME")?;
            let user = user.or_else(|| Some(home.as_ref()?.join(".cache")));
            hf_home = user.map(|user| user.join("huggingface"));
        }
        let in_home = |name| hf_home.as_ref().map(|folder| folder.join(name));
        let cache = folder("HF_HUB_CACHE")?.or_else(|| in_home("hub"));
        let mut hub = Hub::new(cache.ok_or_else(|| {
            let expected = "a folder, as no home folder is known";
            unusable("HF_HUB_CACHE", expected, "none".to_owned())
        })?);
        if let Some(endpoint) = variable("HF_ENDPOINT") {
            hub.endpoint = check_endpoint(&endpoint.to_string_lossy())?;
        }
        hub.offline = flag("HF_HUB_OFFLINE")?;
        hub.cache.symlinks = !flag("HF_HUB_DISABLE_SYMLINKS")?;
        if !flag("HF_HUB_DISABLE_IMPLICIT_TOKEN")? {
            let mut file = None;
            let token = variable("HF_TOKEN").map(|token| token.to_string_lossy().into_owned());
            let token = match token.filter(|token| !token.trim().is_empty()) {
                Some(token) => Some(token),
                // Not being signed in is the usual case, and a file that cannot be read is found
                // out by the hub's answer.
                None => {
                    file = folder("HF_TOKEN_PATH")?.or_else(|| in_home("token"));
                    let file = file.as_ref();
                    file.and_then(|path| std::fs::read_to_string(path).ok())
                }
            };
            let token = token.as_deref().map(str::trim);
            hub.token = match token.filter(|token| !token.is_empty()) {
                Some(token) => Some(check_token(token, file.as_deref())?),
                None => None,
            };
        }
        Ok(hub)
    }

    /// Another address for the hub: a mirror, or a server for tests.
    ///
    /// # Errors
    ///
    /// [`Error::Hub`](crate::Error::Hub) if it is no http or https address.
    pub fn with_endpoint(mut self, endpoint: &str) -> Result<Hub> {
        self.endpoint = check_endpoint(endpoint)?;
        Ok(self)
    }

    /// Another access token, or none.
    ///
    /// # Errors
    ///
    /// [`Error::Hub`](crate::Error::Hub) if it has characters that no token has.
    pub fn with_token(mut self, token: Option<&str>) -> Result<Hub> {
        self.token = token.map(|token| check_token(token, None)).transpose()?;
        Ok(self)
    }

    /// Whether all use of the network is forbidden.
    pub fn with_offline(mut self, offline: bool) -> Hub {
        self.offline = offline;
        self
    }

    /// Whether snapshots link to blobs, as they do wherever the file system can, or are copies.
    pub fn with_symlinks(mut self, symlinks: bool) -> Hub {
        self.cache.symlinks = symlinks;
        self
    }

    /// Other limits for waiting.
    #[cfg(test)]
    pub(super) fn with_limits(mut self, limits: Limits) -> Hub {
        self.limits = limits;
        self
    }

    /// The cache folder.
    pub fn cache(&self) -> &Path {
        &self.cache.root
    }

    /// Whether all use of the network is forbidden.
    pub fn is_offline(&self) -> bool {
        self.offline
    }
}

fn unusable(name: &'static str, expected: &'static str, found: String) -> HubError {
    HubError::Setting {
        name,
        expected,
        found,
    }
}

pub(super) fn check_endpoint(endpoint: &str) -> Result<Url, HubError> {
    // A value that is no address is not repeated: it may be a password that slipped in here.
    let found = match Url::parse(endpoint) {
        Err(error) => format!("no address: {error}"),
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.query().is_none()
                && url.fragment().is_none() =>
        {
            return Ok(url);
        }
        Ok(url) => format!("`{}`", without_secrets(&url)),
    };
    let expected = "an address like https://huggingface.co, without a query";
    Err(unusable("HF_ENDPOINT", expected, found))
}

/// A token, from this file or from the environment.
fn check_token(token: &str, file: Option<&Path>) -> Result<String, HubError> {
    if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(token.to_owned());
    }
    let expected = "an access token, of visible ASCII characters without spaces";
    let found = match file {
        Some(file) => format!("others in {}", file.display()),
        None => "others".to_owned(),
    };
    Err(unusable("HF_TOKEN", expected, found))
}
