//! The folder that everything fetched or computed once is kept in, but for the files of the hub,
//! whose cache is shared with Python.

use std::ffi::OsString;
use std::path::PathBuf;

/// `BURN_ZOO_CACHE`, or `burn-zoo` in the user's cache folder; `None` if neither is known.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    cache_folder_of(cfg!(windows), variable, std::env::home_dir())
}

/// The value of an environment variable, unless it is empty.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// [`cache_folder`] with its surroundings as arguments.
fn cache_folder_of(
    windows: bool,
    variable: impl Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
) -> Option<PathBuf> {
    if let Some(chosen) = variable("BURN_ZOO_CACHE") {
        return Some(PathBuf::from(chosen));
    }
    let user = if windows {
        PathBuf::from(variable("LOCALAPPDATA")?)
    } else {
        // The XDG Base Directory Specification has relative paths ignored.
        variable("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(home?.join(".cache")))?
    };
    Some(user.join("burn-zoo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_follows_the_environment() {
        let folder = |windows, variables: &[(&str, &str)], home: Option<&str>| {
            let variable = |name: &str| {
                let (_, value) = variables.iter().find(|(other, _)| *other == name)?;
                Some(OsString::from(value))
            };
            cache_folder_of(windows, variable, home.map(PathBuf::from))
        };
        let path = |parts: &[&str]| Some(parts.iter().collect::<PathBuf>());
        // An absolute path on every system.
        let temporary = std::env::temp_dir();
        let absolute = temporary.to_str().unwrap();
        let both = [("BURN_ZOO_CACHE", "zoo"), ("XDG_CACHE_HOME", absolute)];
        assert_eq!(folder(false, &both, Some("home")), path(&["zoo"]));
        assert_eq!(
            folder(false, &both[1..], Some("home")),
            path(&[absolute, "burn-zoo"])
        );
        let in_home = path(&["home", ".cache", "burn-zoo"]);
        assert_eq!(folder(false, &[], Some("home")), in_home);
        assert_eq!(
            folder(false, &[("XDG_CACHE_HOME", "relative")], Some("home")),
            in_home
        );
        assert_eq!(folder(false, &[], None), None);
        assert_eq!(
            folder(
                true,
                &[("LOCALAPPDATA", "local"), ("XDG_CACHE_HOME", absolute)],
                None
            ),
            path(&["local", "burn-zoo"])
        );
        assert_eq!(folder(true, &[], Some("home")), None);
    }
}
