use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::weights::hub::request::{
    CheckedRequest, Pin, Request, check_file, check_repository, check_revision,
};
use crate::weights::hub::settings::{Hub, check_endpoint};

fn from(variables: &[(&str, &str)], home: Option<&str>) -> Result<Hub, String> {
    let variables: std::collections::BTreeMap<String, OsString> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
        .collect();
    Hub::from_variables(|name| variables.get(name).cloned(), home.map(PathBuf::from))
        .map_err(|error| error.to_string())
}

#[test]
fn the_cache_is_found_as_in_python() {
    let cache = |variables: &[(&str, &str)]| from(variables, Some("/home/me")).unwrap().cache.root;
    let all = [
        ("HF_HUB_CACHE", "/cache"),
        ("HF_HOME", "~/hf"),
        ("XDG_CACHE_HOME", "/xdg"),
    ];
    assert_eq!(cache(&all), Path::new("/cache"));
    assert_eq!(cache(&all[1..]), Path::new("/home/me/hf/hub"));
    assert_eq!(cache(&all[2..]), Path::new("/xdg/huggingface/hub"));
    let default = Path::new("/home/me/.cache/huggingface/hub");
    assert_eq!(cache(&[]), default);
    assert_eq!(cache(&[("HF_HOME", ""), ("HF_HUB_CACHE", "")]), default);
    assert_eq!(
        from(&[], None).unwrap_err(),
        "HF_HUB_CACHE: expected a folder, as no home folder is known, found none"
    );
    assert_eq!(
        from(&[("HF_HOME", "~/hf")], None).unwrap_err(),
        "HF_HOME: expected a folder, found \"~/hf\", and no home folder is known"
    );
    assert_eq!(
        from(&[("HF_HUB_CACHE", "/cache")], None).unwrap().cache(),
        Path::new("/cache")
    );
}

#[test]
fn settings_are_checked() {
    let message = |name, value| from(&[(name, value)], Some("/home/me")).unwrap_err();
    assert_eq!(
        message("HF_HUB_OFFLINE", "2"),
        "HF_HUB_OFFLINE: expected 1, true, yes or on, or 0, false, no or off, found \"2\""
    );
    assert_eq!(
        message("HF_ENDPOINT", "ftp://me:secret@hub/?token=secret"),
        "HF_ENDPOINT: expected an address like https://huggingface.co, without a query, found \
         `ftp://hub/`"
    );
    assert_eq!(
        message("HF_ENDPOINT", "hub"),
        "HF_ENDPOINT: expected an address like https://huggingface.co, without a query, found \
         no address: relative URL without a base"
    );
    assert_eq!(
        message("HF_TOKEN", "hf secret"),
        "HF_TOKEN: expected an access token, of visible ASCII characters without spaces, found \
         others"
    );
    for (value, offline) in [("1", true), ("TRUE", true), ("Yes", true), ("on", true)]
        .into_iter()
        .chain([("0", false), ("off", false), ("", false)])
    {
        let hub = from(&[("HF_HUB_OFFLINE", value)], Some("/home/me")).unwrap();
        assert_eq!(hub.is_offline(), offline, "{value}");
    }
    let hub = from(&[("HF_TOKEN", " hf_secret\n")], Some("/home/me")).unwrap();
    assert_eq!(hub.token.as_deref(), Some("hf_secret"));
    assert_eq!(hub.endpoint.as_str(), "https://huggingface.co/");
}

#[test]
fn an_address_keeps_no_secret_and_no_special_character() {
    let endpoint = check_endpoint("http://me:secret@127.0.0.1:8080/mirror/").unwrap();
    let request = Request {
        repository: "owner/name",
        revision: Some("refs/pr/1"),
        file: "a b/100%?#.bin",
        pin: Pin::default(),
    };
    let at = CheckedRequest::new(&request, &endpoint).unwrap().file;
    assert_eq!(
        at.address,
        "http://127.0.0.1:8080/mirror/owner/name/resolve/refs%2Fpr%2F1/a%20b/100%25%3F%23.bin"
    );
    assert_eq!(at.page, "http://127.0.0.1:8080/mirror/owner/name");
}

#[test]
fn names_stay_within_the_cache() {
    for sound in ["timm/resnet18.a1_in1k", "a/b", "Owner-1/name_2.x"] {
        assert!(check_repository(sound, 2).is_ok(), "{sound}");
    }
    for bad in [
        "", "a", "a/", "/a", "a/b/c", "../a", "a/..", "a/.", "a--b/c", "a/b--c", "a b/c", "a/b\0",
        "-a/b", "a/b-", "ä/b", "a\\b/c",
    ] {
        assert!(check_repository(bad, 2).is_err(), "{bad}");
    }
    for sound in ["model.safetensors", "a/b c/ü.bin", ".gitattributes", "a..b"] {
        assert!(check_file(sound).is_ok(), "{sound}");
    }
    for bad in [
        "", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/..", "a\\b", "C:a", "a\nb",
    ] {
        assert!(check_file(bad).is_err(), "{bad}");
    }
    assert!(check_file(&"a".repeat(256)).is_err());
    for sound in ["main", "v1.0", "refs/pr/1", "feature/x#1", "0123abc"] {
        assert!(check_revision(sound).is_ok(), "{sound}");
    }
    for bad in [
        "", "..", "a..b", "a/../b", ".a", "a/.b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[",
        "a\\b", "a.lock", "a@{1}", "a/", "/a", "a\tb", "a.",
    ] {
        assert!(check_revision(bad).is_err(), "{bad}");
    }
}
