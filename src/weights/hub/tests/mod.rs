//! Fetching from the hub, against a server on 127.0.0.1. The faults are in `faults.rs`, whose
//! test also makes the table in `docs/weights.md`; `UPDATE_DOCS=1` writes it there.

mod faults;
#[allow(dead_code)]
#[path = "../../../../tests/common/hub_server.rs"]
mod hub_server;
mod push;
mod rules;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::error::HubErrorKind;
use crate::weights::hub::results::Fetched;
use crate::weights::hub::settings::Limits;
use crate::weights::hub::{Hub, Outcome, Pin, Progress, Request};
use crate::{Error, Result};
use hub_server::{Answer, COMMIT, CONFIG, HubServer, git_sha1, sha256};

const REPOSITORY: &str = "timm/resnet18";
const MODEL: &str = "model.safetensors";
const TOKEN: &str = "hf_secretSECRETsecret";

/// The bytes of the model file: enough for several pieces, and not compressible by accident.
fn model() -> Vec<u8> {
    let mut state = 1_u32;
    (0..200_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn limits() -> Limits {
    Limits {
        silence: Duration::from_secs(1),
        backoff: Duration::from_millis(1),
        lock: Duration::from_secs(20),
        ..Limits::default()
    }
}

/// A server, and a cache in a folder that must hold nothing else.
struct Place {
    server: HubServer,
    folder: tempfile::TempDir,
    model: Vec<u8>,
}

impl Place {
    fn new() -> Place {
        let model = model();
        Place {
            server: HubServer::start(&model),
            folder: tempfile::tempdir().unwrap(),
            model,
        }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    fn repo(&self) -> PathBuf {
        self.cache().join("models--timm--resnet18")
    }

    fn blob(&self) -> PathBuf {
        self.repo().join("blobs").join(sha256(&self.model))
    }

    fn partial(&self) -> PathBuf {
        self.repo()
            .join(".burn-zoo/partial")
            .join(sha256(&self.model))
    }

    fn hub(&self) -> Hub {
        Hub::new(self.cache())
            .with_limits(limits())
            .with_endpoint(&self.server.url)
            .unwrap()
    }

    fn fetch(&self) -> Result<Fetched> {
        fetch(&self.hub(), &request())
    }

    /// The message of a failure, without what differs from run to run.
    fn message(&self, error: &Error) -> String {
        let message = error.to_string();
        assert!(!message.contains(TOKEN), "the token is told: {message}");
        assert!(
            !message.contains("secret"),
            "a signature is told: {message}"
        );
        assert!(!message.contains('\n'), "{message}");
        message
            .replace(self.cache().to_str().unwrap(), "CACHE")
            .replace(&self.server.url, "http://hub")
            .replace(self.server.host(), "hub")
    }

    /// What is left after a fault, once it is sure that it is nothing bad.
    fn left(&self) -> String {
        let mut blobs = 0;
        if let Ok(entries) = std::fs::read_dir(self.repo().join("blobs")) {
            for entry in entries {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let bytes = std::fs::read(&path).unwrap();
                assert!(
                    [sha256(&bytes), git_sha1(&bytes)].contains(&name),
                    "a bad blob: {}",
                    path.display()
                );
                blobs += 1;
            }
        }
        // Nothing was written beside the cache.
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            assert_eq!(entry.unwrap().file_name(), "hub");
        }
        match std::fs::metadata(self.partial()) {
            Ok(metadata) => format!("{} bytes kept", metadata.len()),
            Err(_) if blobs == 0 => "nothing kept".to_owned(),
            Err(_) => "the file is cached".to_owned(),
        }
    }

    /// Fetches from a server without faults, and says how that went.
    fn recover(&self) -> &'static str {
        self.server.heal();
        self.server.seen();
        let fetched = self.fetch().unwrap();
        self.assert_sound(&fetched);
        let seen = self.server.seen();
        if seen.iter().any(|seen| seen.headers.contains_key("range")) {
            "the next attempt continues there"
        } else if seen.is_empty() {
            "the next attempt needs no request"
        } else {
            "the next attempt succeeds"
        }
    }

    fn assert_sound(&self, fetched: &Fetched) {
        assert_eq!(fetched.sha256, sha256(&self.model));
        assert_eq!(fetched.bytes, self.model.len() as u64);
        assert_eq!(fetched.commit, COMMIT);
        assert_eq!(std::fs::read(&fetched.path).unwrap(), self.model);
        assert_eq!(
            fetched.path,
            self.repo().join("snapshots").join(COMMIT).join(MODEL)
        );
        assert!(!self.partial().exists());
    }
}

fn request() -> Request<'static> {
    Request {
        repository: REPOSITORY,
        revision: None,
        file: MODEL,
        pin: Pin::default(),
    }
}

fn fetch(hub: &Hub, request: &Request<'_>) -> Result<Fetched> {
    hub.fetch(request, &mut |_| {})
}

/// Changes one byte of a file, and its size and time of modification not at all.
fn alter(path: &Path) {
    let modified = std::fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    bytes[77] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(modified).unwrap();
}

/// The requests, as method and path.
fn lines(place: &Place) -> Vec<String> {
    place
        .server
        .seen()
        .into_iter()
        .map(|seen| format!("{} {}", seen.method, seen.path))
        .collect()
}

/// What a program that uses the library sees of an error.
fn kind(error: &Error) -> HubErrorKind {
    match error {
        Error::Hub { kind, .. } => *kind,
        other => panic!("{other}"),
    }
}

#[test]
fn a_cached_file_needs_no_request() {
    let place = Place::new();
    let fetched = place.fetch().unwrap();
    place.assert_sound(&fetched);
    assert!(!fetched.from_cache);
    assert!(!place.server.seen().is_empty());

    // By the branch, by the commit, pinned or not, online or not.
    let sum = sha256(&place.model);
    for revision in [None, Some("main"), Some(COMMIT)] {
        for pin in [
            Pin::default(),
            Pin {
                sha256: Some(&sum),
                bytes: Some(200_000),
            },
        ] {
            for offline in [false, true] {
                let wanted = Request {
                    revision,
                    pin,
                    ..request()
                };
                let again = fetch(&place.hub().with_offline(offline), &wanted).unwrap();
                place.assert_sound(&again);
                assert!(again.from_cache);
            }
        }
    }
    assert_eq!(lines(&place), Vec::<String>::new());
}

#[test]
fn the_requests_of_a_download_are_few() {
    let place = Place::new();
    place.fetch().unwrap();
    let sum = sha256(&place.model);
    assert_eq!(
        lines(&place),
        [
            "HEAD /timm/resnet18/resolve/main/model.safetensors".to_owned(),
            format!("HEAD /timm/resnet18/resolve/{COMMIT}/model.safetensors"),
            format!("HEAD /lfs/{sum}?signature=secret"),
            format!("GET /timm/resnet18/resolve/{COMMIT}/model.safetensors"),
            format!("GET /lfs/{sum}?signature=secret"),
        ]
    );
    // A tag that means the same commit has the file already.
    let tag = Request {
        revision: Some("v1"),
        ..request()
    };
    let fetched = fetch(&place.hub(), &tag).unwrap();
    place.assert_sound(&fetched);
    assert!(fetched.from_cache);
    assert_eq!(
        lines(&place),
        ["HEAD /timm/resnet18/resolve/v1/model.safetensors"]
    );
}

#[test]
fn the_cache_is_laid_out_as_in_python() {
    let place = Place::new();
    place.fetch().unwrap();
    for file in ["config.json", "nested/deep/config.json"] {
        let fetched = fetch(&place.hub(), &Request { file, ..request() }).unwrap();
        assert_eq!(std::fs::read(&fetched.path).unwrap(), CONFIG);
        assert_eq!(fetched.sha256, sha256(CONFIG));
    }
    let repo = place.repo();
    assert_eq!(
        std::fs::read_to_string(repo.join("refs/main")).unwrap(),
        COMMIT
    );
    let snapshot = repo.join("snapshots").join(COMMIT);
    for (file, target) in [
        (MODEL, format!("../../blobs/{}", sha256(&place.model))),
        ("config.json", format!("../../blobs/{}", git_sha1(CONFIG))),
        (
            "nested/deep/config.json",
            format!("../../../../blobs/{}", git_sha1(CONFIG)),
        ),
    ] {
        assert_eq!(
            std::fs::read_link(snapshot.join(file)).unwrap(),
            Path::new(&target)
        );
    }
    let mut names: Vec<_> = std::fs::read_dir(place.cache())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".locks", "CACHEDIR.TAG", "models--timm--resnet18"]);
    // Nothing is left over, and all of it is remembered.
    assert_eq!(
        std::fs::read_dir(repo.join(".burn-zoo/partial"))
            .unwrap()
            .count(),
        0
    );
    let cached = place.hub().cached().unwrap();
    let files: Vec<_> = cached.iter().map(|cached| cached.file.as_str()).collect();
    assert_eq!(files, ["config.json", MODEL, "nested/deep/config.json"]);
    for cached in &cached {
        assert_eq!(cached.repository, REPOSITORY);
        assert_eq!(cached.commit, COMMIT);
        assert_eq!(cached.revisions, ["main"]);
        assert!(cached.verified, "{}", cached.file);
    }
    assert_eq!(cached[1].bytes, 200_000);

    // Revisions are in order, whatever the file system's.
    let mut revisions = ["v3", "a", "v1", "z", "nested/b", "v2", "nested/a", "m"];
    std::fs::create_dir_all(repo.join("refs/nested")).unwrap();
    for revision in revisions {
        std::fs::write(repo.join("refs").join(revision), COMMIT).unwrap();
    }
    revisions.sort();
    let mut cached = place.hub().cached().unwrap();
    cached[0].revisions.retain(|revision| revision != "main");
    assert_eq!(cached[0].revisions, revisions);
}

#[test]
fn verify_reads_everything_and_remove_deletes_it() {
    let place = Place::new();
    assert_eq!(place.hub().cached().unwrap(), []);
    assert_eq!(place.hub().verify().unwrap(), []);
    place.fetch().unwrap();
    fetch(
        &place.hub(),
        &Request {
            file: "config.json",
            ..request()
        },
    )
    .unwrap();
    let snapshot = place.repo().join("snapshots").join(COMMIT);
    std::fs::write(snapshot.join("by-hand.bin"), "anything").unwrap();
    place.server.seen();

    let outcomes = |place: &Place| {
        place
            .hub()
            .verify()
            .unwrap()
            .into_iter()
            .map(|verification| (verification.file, verification.outcome))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        outcomes(&place),
        [
            ("by-hand.bin".to_owned(), Outcome::Unknown),
            (
                "config.json".to_owned(),
                Outcome::Sound {
                    sha256: sha256(CONFIG)
                }
            ),
            (
                MODEL.to_owned(),
                Outcome::Sound {
                    sha256: sha256(&place.model)
                }
            ),
        ]
    );
    alter(&place.blob());
    std::fs::remove_file(place.repo().join("blobs").join(git_sha1(CONFIG))).unwrap();
    let found = sha256(&std::fs::read(place.blob()).unwrap());
    assert_eq!(
        outcomes(&place),
        [
            ("by-hand.bin".to_owned(), Outcome::Unknown),
            ("config.json".to_owned(), Outcome::Missing),
            (
                MODEL.to_owned(),
                Outcome::Altered {
                    expected: format!("SHA-256 {}", sha256(&place.model)),
                    found: format!("SHA-256 {found}"),
                }
            ),
        ]
    );
    let verified: Vec<_> = place
        .hub()
        .cached()
        .unwrap()
        .into_iter()
        .map(|cached| (cached.file, cached.verified))
        .collect();
    assert_eq!(
        verified,
        [("by-hand.bin".to_owned(), false), (MODEL.to_owned(), false)]
    );
    assert!(place.server.seen().is_empty());

    let error = place.hub().remove("timm/resnet50").unwrap_err();
    assert_eq!(
        place.message(&error),
        "timm/resnet50 is not in the cache CACHE; expected one of timm/resnet18"
    );
    assert_eq!(kind(&error), HubErrorKind::NotCached);
    let error = place.hub().remove("../hub").unwrap_err();
    assert_eq!(kind(&error), HubErrorKind::Request);
    let removed = place.hub().remove(REPOSITORY).unwrap();
    assert!(
        removed.bytes >= 200_008 && removed.files >= 2,
        "{removed:?}"
    );
    assert!(!place.repo().exists());
    let error = place.hub().remove(REPOSITORY).unwrap_err();
    assert_eq!(
        place.message(&error),
        "timm/resnet18 is not in the cache CACHE; the cache is empty"
    );
    place.assert_sound(&place.fetch().unwrap());
}

#[test]
fn the_token_is_for_the_hub_alone() {
    let place = Place::new();
    // Another port is another server, and the storage is one.
    let storage = HubServer::start(&place.model);
    place.server.store_at(&storage.url);
    let hub = place.hub().with_token(Some(TOKEN)).unwrap();
    place.assert_sound(&fetch(&hub, &request()).unwrap());
    let asked = place.server.seen();
    assert_eq!(asked.len(), 3);
    for seen in asked {
        assert_eq!(seen.headers["authorization"], format!("Bearer {TOKEN}"));
    }
    let stored = storage.seen();
    assert_eq!(stored.len(), 2);
    for seen in stored {
        assert!(seen.path.starts_with("/lfs/"));
        assert!(!seen.headers.contains_key("authorization"));
    }
    // Nor is it told to anybody who looks at the value.
    assert!(!format!("{hub:?}").contains(TOKEN));
    // A redirect with which the hub itself seems to move is not believed.
    let place = Place::new();
    let other = format!("{}/timm/resnet18", storage.url);
    place
        .server
        .on(move |_, _| Answer::new(301, "").with("location", &other));
    let hub = place.hub().with_token(Some(TOKEN)).unwrap();
    fetch(&hub, &request()).unwrap_err();
    assert!(storage.seen().is_empty());
    // Without a token none is sent, not even an empty one.
    let place = Place::new();
    place.fetch().unwrap();
    for seen in place.server.seen() {
        assert!(!seen.headers.contains_key("authorization"));
    }
}

#[test]
fn a_repository_may_have_a_new_name() {
    let place = Place::new();
    place.server.on(
        |seen, answer| match seen.path.strip_prefix("/timm/old-name/") {
            Some(rest) => Answer::new(307, "").with("location", &format!("/timm/resnet18/{rest}")),
            None => answer,
        },
    );
    let old = Request {
        repository: "timm/old-name",
        ..request()
    };
    let hub = place.hub().with_token(Some(TOKEN)).unwrap();
    let fetched = fetch(&hub, &old).unwrap();
    assert_eq!(fetched.sha256, sha256(&place.model));
    // As in Python it is cached under the name that was asked for.
    assert!(place.cache().join("models--timm--old-name").is_dir());
}

#[test]
fn progress_ends_with_the_whole_file() {
    let place = Place::new();
    let mut events = Vec::new();
    let here = std::thread::current().id();
    place
        .hub()
        .fetch(&request(), &mut |event| {
            assert_eq!(std::thread::current().id(), here);
            events.push(event);
        })
        .unwrap();
    let total = Some(200_000);
    assert_eq!(events[0], Progress::Received { received: 0, total });
    assert_eq!(
        events.last(),
        Some(&Progress::Received {
            received: 200_000,
            total
        })
    );
}

#[test]
fn a_runtime_of_the_caller_does_no_harm() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let place = Place::new();
    let fetched = runtime.block_on(async { place.fetch() }).unwrap();
    place.assert_sound(&fetched);
}

#[test]
fn the_pin_stands_in_for_a_checksum_that_the_hub_lacks() {
    let place = Place::new();
    place.server.on(|seen, answer| {
        if seen.path.contains("/resolve/") {
            answer.with("x-linked-etag", "\"d41d8cd98f00b204e9800998ecf8427e-2\"")
        } else {
            answer
        }
    });
    let sum = sha256(&place.model);
    let pinned = Request {
        pin: Pin {
            sha256: Some(&sum),
            bytes: None,
        },
        ..request()
    };
    place.assert_sound(&fetch(&place.hub(), &pinned).unwrap());
    // From then on it is remembered, and a change is found.
    place.assert_sound(&fetch(&place.hub().with_offline(true), &request()).unwrap());
    alter(
        &place
            .repo()
            .join("blobs/d41d8cd98f00b204e9800998ecf8427e-2"),
    );
    let error = fetch(&place.hub().with_offline(true), &request()).unwrap_err();
    assert_eq!(kind(&error), HubErrorKind::Checksum);
}

#[test]
fn a_branch_that_moved_is_asked_for_when_the_manifest_means_the_new_file() {
    let place = Place::new();
    let old = "a".repeat(40);
    let snapshot = place.repo().join("snapshots").join(&old);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(place.repo().join("blobs")).unwrap();
    std::fs::create_dir_all(place.repo().join("refs")).unwrap();
    std::fs::write(place.repo().join("refs/main"), &old).unwrap();
    let bytes = b"the old file";
    let blob = place.repo().join("blobs").join(sha256(bytes));
    std::fs::write(&blob, bytes).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(
        format!("../../blobs/{}", sha256(bytes)),
        snapshot.join(MODEL),
    )
    .unwrap();
    // The branch means what is cached, whoever fetched it, as long as that is acceptable.
    let fetched = fetch(&place.hub(), &request()).unwrap();
    assert_eq!((fetched.commit, fetched.sha256), (old, sha256(bytes)));
    assert!(place.server.seen().is_empty());
    let sum = sha256(&place.model);
    let pinned = Request {
        pin: Pin {
            sha256: Some(&sum),
            bytes: None,
        },
        ..request()
    };
    place.assert_sound(&fetch(&place.hub(), &pinned).unwrap());
    // From now on it means the new one.
    place.assert_sound(&place.fetch().unwrap());
    assert!(blob.is_file());
}

#[test]
fn threads_at_once_fetch_it_once() {
    let place = Place::new();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                place.assert_sound(&place.fetch().unwrap());
            });
        }
    });
    let bodies = lines(&place)
        .into_iter()
        .filter(|line| line.starts_with("GET /lfs/"))
        .count();
    assert_eq!(bodies, 1);
}

/// Not a test of its own: what the processes do that tests start. Settings come from the
/// environment.
#[test]
fn child() {
    let Some(report) = std::env::var_os("HUB_TEST_REPORT") else {
        return;
    };
    let text = match Hub::from_env().and_then(|hub| fetch(&hub.with_limits(limits()), &request())) {
        Ok(fetched) => format!("{} {}", fetched.sha256, fetched.from_cache),
        Err(error) => error.to_string(),
    };
    std::fs::write(report, text).unwrap();
}

fn start_child(place: &Place, report: &Path, settings: &[(&str, &str)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "weights::hub::tests::child"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env("HUB_TEST_REPORT", report)
        .env("HF_ENDPOINT", &place.server.url)
        .env("HF_HOME", place.folder.path());
    for name in [
        "HF_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
        "HF_HUB_DISABLE_SYMLINKS",
    ] {
        command.env_remove(name);
    }
    command.envs(settings.iter().copied()).spawn().unwrap()
}

fn run_child(place: &Place, settings: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    assert!(
        start_child(place, &report, settings)
            .wait()
            .unwrap()
            .success()
    );
    std::fs::read_to_string(report).unwrap()
}

#[test]
fn the_environment_is_heeded() {
    let place = Place::new();
    let sum = sha256(&place.model);
    // HF_HOME/hub is the cache, HF_HOME/token the token.
    let offline = run_child(&place, &[("HF_HUB_OFFLINE", "1")]);
    assert!(
        offline.contains("it is not in the cache") && offline.contains("HF_HUB_OFFLINE"),
        "{offline}"
    );
    assert!(place.server.seen().is_empty());
    std::fs::write(place.folder.path().join("token"), "hf_file\n").unwrap();
    assert_eq!(run_child(&place, &[]), format!("{sum} false"));
    assert_eq!(
        place.server.seen()[0].headers["authorization"],
        "Bearer hf_file"
    );
    assert!(place.blob().is_file());
    assert_eq!(
        run_child(&place, &[("HF_HUB_OFFLINE", "yes")]),
        format!("{sum} true")
    );
    assert!(place.server.seen().is_empty());
    let other = tempfile::tempdir().unwrap();
    assert_eq!(
        run_child(
            &place,
            &[
                ("HF_HUB_CACHE", other.path().to_str().unwrap()),
                ("HF_TOKEN", "hf_variable"),
            ]
        ),
        format!("{sum} false")
    );
    assert_eq!(
        place.server.seen()[0].headers["authorization"],
        "Bearer hf_variable"
    );
    assert!(other.path().join("models--timm--resnet18").is_dir());
    assert_eq!(
        run_child(
            &place,
            &[("HF_HUB_CACHE", "/nowhere"), ("HF_HUB_OFFLINE", "perhaps"),]
        ),
        "HF_HUB_OFFLINE: expected 1, true, yes or on, or 0, false, no or off, found \"perhaps\""
    );
    // hf-hub would look for a token itself if it were not told that there is none.
    std::fs::remove_dir_all(place.cache()).unwrap();
    assert_eq!(
        run_child(
            &place,
            &[
                ("HF_TOKEN", "hf_variable"),
                ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
            ]
        ),
        format!("{sum} false")
    );
    for seen in place.server.seen() {
        assert!(!seen.headers.contains_key("authorization"));
    }
}

#[test]
fn processes_at_once_fetch_it_once() {
    let place = Place::new();
    place.server.on(|seen, answer| {
        // Long enough for all of them to be there.
        if seen.method == "GET" {
            std::thread::sleep(Duration::from_millis(300));
        }
        answer
    });
    let folder = tempfile::tempdir().unwrap();
    let reports: Vec<PathBuf> = (0..4).map(|n| folder.path().join(n.to_string())).collect();
    let children: Vec<Child> = reports
        .iter()
        .map(|report| start_child(&place, report, &[]))
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut fetched = 0;
    for report in reports {
        let text = std::fs::read_to_string(report).unwrap();
        let sum = sha256(&place.model);
        assert!(
            text == format!("{sum} false") || text == format!("{sum} true"),
            "{text}"
        );
        fetched += usize::from(text.ends_with("false"));
    }
    assert_eq!(fetched, 1);
    place.assert_sound(&place.fetch().unwrap());
}

#[test]
fn a_killed_process_leaves_what_the_next_one_continues() {
    let place = Place::new();
    place.server.on(|seen, mut answer| {
        if seen.method == "GET" && seen.path.starts_with("/lfs/") {
            answer.length = Some(answer.body.len());
            answer.silent_after = Some(120_000);
        }
        answer
    });
    let folder = tempfile::tempdir().unwrap();
    let mut child = start_child(&place, &folder.path().join("report"), &[]);
    let start = Instant::now();
    while std::fs::metadata(place.partial()).map_or(0, |metadata| metadata.len()) < 120_000 {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!place.blob().exists());
    place.server.heal();
    place.server.seen();
    place.assert_sound(&place.fetch().unwrap());
    assert!(
        place.server.seen().iter().any(
            |seen| seen.headers.get("range").map(String::as_str) == Some("bytes=120000-199999")
        )
    );
}

/// Python's library and ours take turns at one cache. `HUB_PYTHON` names a Python that has
/// `huggingface_hub`, of the version in `fixtures/hub_python.py`; without it this does nothing.
#[test]
fn python_and_we_share_a_cache() {
    let Some(python) = std::env::var_os("HUB_PYTHON") else {
        eprintln!("not tried: HUB_PYTHON is not set");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hub_python.py");
    let start = |place: &Place, command: &str, path: &Path| {
        Command::new(&python)
            .arg(&script)
            .args([command, &place.server.url])
            .arg(path)
            .env("HF_HOME", place.folder.path().join("python"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let run = |place: &Place, command: &str| {
        let output = start(place, command, &place.cache())
            .wait_with_output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let text = text
            .replace(place.cache().to_str().unwrap(), "CACHE")
            .replace(&place.server.url, "http://hub");
        println!("$ python tests/fixtures/hub_python.py {command} http://hub CACHE\n{text}");
        text
    };
    let show = |place: &Place, what: &str, fetched: &Fetched| {
        let path = fetched.path.display().to_string();
        println!(
            "{what}: {} from_cache={} sha256={} requests={}",
            path.replace(place.cache().to_str().unwrap(), "CACHE"),
            fetched.from_cache,
            fetched.sha256,
            place.server.seen().len()
        );
    };
    let files = [MODEL, "config.json", "nested/deep/config.json"];

    // Where large files are stored is another server, as it is for the hub: Python follows a
    // redirect within one before it reads the headers.
    let storage = HubServer::start(&model());
    let place = Place::new();
    place.server.store_at(&storage.url);
    println!("-- our code writes, Python reads");
    for file in files {
        let fetched = fetch(&place.hub(), &Request { file, ..request() }).unwrap();
        show(&place, "Hub::fetch", &fetched);
    }
    let text = run(&place, "read");
    assert!(text.contains("warnings: 0"), "{text}");
    for file in files {
        assert!(text.contains(&format!("{COMMIT}/{file}")), "{text}");
    }
    assert!(text.contains(&sha256(&place.model)));
    assert!(place.server.seen().is_empty());

    let place = Place::new();
    place.server.store_at(&storage.url);
    println!("-- Python writes, our code reads");
    run(&place, "write");
    place.server.seen();
    for file in files {
        let wanted = Request { file, ..request() };
        let fetched = fetch(&place.hub(), &wanted).unwrap();
        assert!(fetched.from_cache);
        show(&place, "Hub::fetch", &fetched);
        let fetched = fetch(&place.hub().with_offline(true), &wanted).unwrap();
        show(&place, "Hub::fetch, offline", &fetched);
    }
    for verification in place.hub().verify().unwrap() {
        assert!(matches!(verification.outcome, Outcome::Sound { .. }));
        println!("Hub::verify: {} sound", verification.file);
    }
    let text = run(&place, "read");
    assert!(text.contains("warnings: 0"), "{text}");

    let place = Place::new();
    println!("-- Python holds the lock, our code waits");
    let lock = place
        .cache()
        .join(".locks/models--timm--resnet18")
        .join(format!("{}.lock", sha256(&place.model)));
    let mut child = start(&place, "lock", &lock);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line != "locked\n" {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0);
    }
    let mut events = Vec::new();
    let fetched = place
        .hub()
        .fetch(&request(), &mut |event| events.push(event))
        .unwrap();
    assert_eq!(events[0], Progress::Locked);
    // Python let go of it before.
    assert!(child.wait().unwrap().success());
    place.assert_sound(&fetched);
    show(&place, "Hub::fetch", &fetched);
}
