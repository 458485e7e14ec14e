//! Where the hub is and where its files lie, from the environment and from the program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use reqwest::Url;

use super::cache::Cache;
use super::fetch::without_secrets;
use super::{Hub, HubError, Limits};
use crate::error::Result;

/// The hub's own address.
const ENDPOINT: &str = "https://huggingface.co";

impl Hub {
    /// The hub with its files in the folder `cache`, without an access token, whatever the
    /// environment says.
    pub fn new(cache: impl Into<PathBuf>) -> Hub {
        Hub {
            endpoint: default_endpoint(),
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
    /// [`HubError::Setting`] if a variable has a value that cannot be used.
    pub fn from_env() -> Result<Hub> {
        Ok(Self::from_variables(
            |name| std::env::var_os(name),
            std::env::home_dir(),
        )?)
    }

    pub(super) fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> Result<Hub, Box<HubError>> {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let folder = |name: &'static str| match value(name) {
            None => Ok(None),
            Some(value) => {
                let path = PathBuf::from(value);
                match (path.strip_prefix("~"), &home) {
                    (Err(_), _) => Ok(Some(path)),
                    (Ok(rest), Some(home)) => Ok(Some(home.join(rest))),
                    (Ok(_), None) => Err(setting(
                        name,
                        "a folder",
                        format!("{path:?}, and no home folder is known"),
                    )),
                }
            }
        };
        let flag = |name: &'static str| match value(name) {
            None => Ok(false),
            Some(value) => match value.to_string_lossy().to_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => Ok(true),
                "0" | "false" | "no" | "off" => Ok(false),
                other => Err(setting(
                    name,
                    "1, true, yes or on, or 0, false, no or off",
                    format!("{other:?}"),
                )),
            },
        };

        let hf_home = match folder("HF_HOME")? {
            Some(folder) => Some(folder),
            None => folder("XDG_CACHE_HOME")?
                .or(home.as_ref().map(|home| home.join(".cache")))
                .map(|folder| folder.join("huggingface")),
        };
        let cache = match folder("HF_HUB_CACHE")? {
            Some(folder) => Some(folder),
            None => hf_home.as_ref().map(|folder| folder.join("hub")),
        };
        let cache = cache.ok_or_else(|| {
            setting(
                "HF_HUB_CACHE",
                "a folder, as no home folder is known",
                "none".to_owned(),
            )
        })?;
        let mut hub = Hub::new(cache);
        if let Some(endpoint) = value("HF_ENDPOINT") {
            hub.endpoint = check_endpoint(&endpoint.to_string_lossy())?;
        }
        hub.offline = flag("HF_HUB_OFFLINE")?;
        hub.cache.symlinks = !flag("HF_HUB_DISABLE_SYMLINKS")?;
        if !flag("HF_HUB_DISABLE_IMPLICIT_TOKEN")? {
            let token = value("HF_TOKEN").map(|token| token.to_string_lossy().trim().to_owned());
            let token = match token.filter(|token| !token.is_empty()) {
                Some(token) => Some(token),
                None => folder("HF_TOKEN_PATH")?
                    .or(hf_home.map(|folder| folder.join("token")))
                    // Not being signed in is the usual case, and a file that cannot be read is
                    // found out by the hub's answer.
                    .and_then(|path| std::fs::read_to_string(path).ok()),
            };
            hub.token = match token.as_deref().map(str::trim) {
                None | Some("") => None,
                Some(token) => Some(check_token(token)?),
            };
        }
        Ok(hub)
    }

    /// Another address for the hub: a mirror, or a server for tests.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if it is no http or https address.
    pub fn with_endpoint(mut self, endpoint: &str) -> Result<Hub> {
        self.endpoint = check_endpoint(endpoint)?;
        Ok(self)
    }

    /// Another cache folder.
    pub fn with_cache(mut self, cache: impl Into<PathBuf>) -> Hub {
        self.cache.root = cache.into();
        self
    }

    /// Another access token, or none.
    ///
    /// # Errors
    ///
    /// [`HubError::Setting`] if it has characters that no token has.
    pub fn with_token(mut self, token: Option<&str>) -> Result<Hub> {
        self.token = token.map(check_token).transpose()?;
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
    pub fn with_limits(mut self, limits: Limits) -> Hub {
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

    /// The waiting limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

fn setting(name: &'static str, expected: &'static str, found: String) -> Box<HubError> {
    Box::new(HubError::Setting {
        name,
        expected,
        found,
    })
}

fn default_endpoint() -> Url {
    match Url::parse(ENDPOINT) {
        Ok(url) => url,
        Err(_) => unreachable!("the constant is an address"),
    }
}

pub(super) fn check_endpoint(endpoint: &str) -> Result<Url, Box<HubError>> {
    let expected = "an address like https://huggingface.co, without a query";
    // A value that is no address is not repeated: it may be a password that slipped in here.
    let url = Url::parse(endpoint)
        .map_err(|error| setting("HF_ENDPOINT", expected, format!("no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https")
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(setting(
            "HF_ENDPOINT",
            expected,
            format!("`{}`", without_secrets(&url)),
        ));
    }
    Ok(url)
}

fn check_token(token: &str) -> Result<String, Box<HubError>> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(setting(
            "HF_TOKEN",
            "an access token, of visible ASCII characters without spaces",
            "others".to_owned(),
        ));
    }
    Ok(token.to_owned())
}
