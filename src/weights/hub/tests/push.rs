//! Pushing to the hub: what it holds afterwards, and what of it when something fails on the way.

use std::collections::BTreeMap;

use super::hub_server::{Answer, Branch, Seen, git_sha1, sha256};
use super::{CONFIG, MODEL, Place, TOKEN, kind};
use crate::error::HubErrorKind;
use crate::weights::hub::{Hub, Push, PushFile, PushProgress, Pushed};
use crate::{Error, Result};

const OWN: &str = "me/tuned";

/// A server with a push that it has not seen.
struct Desk {
    place: Place,
    files: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        let desk = Desk {
            place: Place::new(),
            files: tempfile::tempdir().unwrap(),
        };
        std::fs::write(desk.files.path().join(MODEL), &desk.place.model).unwrap();
        desk
    }

    fn hub(&self) -> Hub {
        self.place.hub().with_token(Some(TOKEN)).unwrap()
    }

    fn push(&self) -> Push {
        Push {
            repository: OWN.to_owned(),
            files: vec![
                PushFile::open(MODEL, self.files.path().join(MODEL)),
                PushFile::of_bytes("config.json", CONFIG),
                PushFile::of_bytes("README.md", "---\ntags: []\n---\n# tuned\n"),
            ],
            ..Push::default()
        }
    }

    fn send(&self, push: &Push) -> Result<Pushed> {
        self.hub().push(push, &mut |_| {})
    }

    fn branch(&self, name: &str) -> Option<Branch> {
        self.place.server.written(|written| {
            let repository = written.repositories.get(OWN)?;
            repository.branches.get(name).cloned()
        })
    }

    fn commits(&self) -> usize {
        self.place.server.written(|written| written.commits)
    }

    /// Whether the repository holds what was pushed, and nothing of it is half there.
    fn assert_whole(&self) {
        let mut expected = BTreeMap::from([
            (MODEL.to_owned(), self.place.model.clone()),
            ("config.json".to_owned(), CONFIG.to_vec()),
            (
                "README.md".to_owned(),
                b"---\ntags: []\n---\n# tuned\n".to_vec(),
            ),
        ]);
        expected.insert(".gitattributes".to_owned(), b"*.safetensors".to_vec());
        assert_eq!(self.branch("main").unwrap().files, expected);
    }

    /// Whether the repository, if there is one, has no file of the push.
    fn assert_untouched(&self) {
        assert_eq!(self.commits(), 0);
        if let Some(branch) = self.branch("main") {
            assert_eq!(branch.files.len(), 1, "{:?}", branch.files.keys());
        }
    }

    /// How often the bytes of the model were sent whole.
    fn puts(seen: &[Seen]) -> usize {
        let puts = seen.iter().filter(|seen| seen.method == "PUT");
        puts.filter(|seen| !seen.body.is_empty()).count()
    }
}

/// A message of ours tells no token and no signature, in whatever form.
fn message(error: &Error) -> String {
    let (message, debug) = (error.to_string(), format!("{error:?}"));
    for text in [&message, &debug] {
        assert!(
            !text.contains(TOKEN) && !text.contains("signature"),
            "{text}"
        );
    }
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn a_push_is_one_commit_of_all_files() {
    let desk = Desk::new();
    let mut events = Vec::new();
    let push = Push {
        message: Some("first".to_owned()),
        ..desk.push()
    };
    let pushed = desk
        .hub()
        .push(&push, &mut |event| events.push(event))
        .unwrap();
    desk.assert_whole();
    assert_eq!(desk.commits(), 1);
    let branch = desk.branch("main").unwrap();
    assert_eq!(branch.message, "first");
    assert_eq!(pushed.commit.as_ref(), Some(&branch.commit));
    assert!(pushed.created && !pushed.created_branch);
    assert_eq!(pushed.private, Some(false));
    assert_eq!(pushed.url, format!("{}/{OWN}", desk.place.server.url));
    let files: Vec<_> = pushed
        .files
        .iter()
        .map(|file| {
            (
                file.path.as_str(),
                file.bytes,
                file.large,
                file.changed,
                file.sent,
            )
        })
        .collect();
    assert_eq!(
        files,
        [
            (MODEL, 200_000, true, true, true),
            ("config.json", CONFIG.len() as u64, false, true, true),
            ("README.md", 25, false, true, true),
        ]
    );
    let last = events.iter().rev().find_map(|event| match event {
        PushProgress::Sent { sent, total } => Some((*sent, *total)),
        _ => None,
    });
    assert_eq!(last, Some((200_000, 200_000)));

    // The token goes to the hub and not to its storage.
    let seen = desk.place.server.seen();
    for seen in &seen {
        let to_storage = seen.path.starts_with("/storage/");
        assert_eq!(
            seen.headers.contains_key("authorization"),
            !to_storage,
            "{}",
            seen.path
        );
        assert!(!seen.path.contains(TOKEN));
    }
    let lines: Vec<_> = seen
        .iter()
        .map(|seen| format!("{} {}", seen.method, seen.path))
        .collect();
    let sum = sha256(&desk.place.model);
    assert_eq!(
        lines,
        [
            "GET /api/models/me/tuned".to_owned(),
            "POST /api/repos/create".to_owned(),
            "GET /api/models/me/tuned".to_owned(),
            "GET /api/models/me/tuned".to_owned(),
            "POST /api/models/me/tuned/preupload/main".to_owned(),
            "POST /me/tuned.git/info/lfs/objects/batch".to_owned(),
            format!("PUT /storage/{sum}?signature=secret"),
            format!("POST /verify/{sum}"),
            "POST /api/models/me/tuned/commit/main".to_owned(),
        ]
    );

    // Once more: nothing is sent, no commit is made, and this is told.
    let again = desk.send(&push).unwrap();
    assert_eq!((again.commit, again.created), (None, false));
    assert!(again.files.iter().all(|file| !file.changed && !file.sent));
    assert_eq!(desk.commits(), 1);
    assert_eq!(Desk::puts(&desk.place.server.seen()), 0);

    // One file has changed: the commit is of that alone.
    let mut push = desk.push();
    push.files[1] = PushFile::of_bytes("config.json", "{}");
    let changed = desk.send(&push).unwrap();
    let changed: Vec<_> = changed.files.iter().map(|file| file.changed).collect();
    assert_eq!(changed, [false, true, false]);
    let seen = desk.place.server.seen();
    let commit = String::from_utf8(seen.last().unwrap().body.clone()).unwrap();
    assert_eq!(commit.lines().count(), 2);
    assert!(commit.contains(&format!("\"parentCommit\":\"{}\"", branch.commit)));
    assert_eq!(desk.branch("main").unwrap().files["config.json"], b"{}");
}

#[test]
fn large_files_go_in_parts_where_the_storage_wants_that() {
    let desk = Desk::new();
    desk.place
        .server
        .written(|written| written.part_size = Some(60_000));
    let mut most = 0;
    let mut watch = |event| {
        if let PushProgress::Sent { sent, total } = event {
            assert!(sent <= total && total == 200_000);
            most = sent.max(most);
        }
    };
    desk.hub().push(&desk.push(), &mut watch).unwrap();
    desk.assert_whole();
    assert_eq!(most, 200_000);
    let seen = desk.place.server.seen().into_iter();
    let sizes = seen.filter(|seen| seen.method == "PUT");
    let sizes: Vec<_> = sizes.map(|seen| seen.body.len()).collect();
    assert_eq!(sizes, [60_000, 60_000, 60_000, 20_000]);
}

#[test]
fn private_is_for_a_new_repository_and_a_branch_begins_as_main() {
    let desk = Desk::new();
    let push = Push {
        private: true,
        revision: Some("try/1".to_owned()),
        ..desk.push()
    };
    let pushed = desk.send(&push).unwrap();
    assert_eq!(pushed.private, Some(true));
    assert!(pushed.created && pushed.created_branch);
    assert_eq!(pushed.revision, "try/1");
    assert_eq!(desk.branch("main").unwrap().files.len(), 1);
    assert_eq!(desk.branch("try/1").unwrap().files.len(), 4);
    // The branch is there now; on main the object of the storage is not sent again.
    assert!(!desk.send(&push).unwrap().created_branch);
    desk.place.server.seen();
    let pushed = desk.send(&desk.push()).unwrap();
    assert!(pushed.files[0].changed && !pushed.files[0].sent);
    assert_eq!(Desk::puts(&desk.place.server.seen()), 0);
    desk.assert_whole();

    // Nothing goes where everybody sees it.
    let desk = Desk::new();
    desk.place
        .server
        .written(|written| written.create(OWN, false));
    let push = Push {
        private: true,
        ..desk.push()
    };
    let error = desk.send(&push).unwrap_err();
    assert_eq!(kind(&error), HubErrorKind::Refused);
    let text = message(&error);
    assert!(text.contains("`private`: expected a private"), "{text}");
    assert!(text.ends_with("are as they were"), "{text}");
    desk.assert_untouched();
    assert!(
        desk.place
            .server
            .seen()
            .iter()
            .all(|seen| seen.method == "GET")
    );
}

/// The connection is cut at each request in turn, for good: the repository is untouched, and whole
/// after a repetition that sends no large file twice.
#[test]
fn a_push_that_breaks_off_leaves_nothing_half_written() {
    let requests = {
        let desk = Desk::new();
        desk.send(&desk.push()).unwrap();
        desk.place.server.seen().len()
    };
    for place in 0..requests {
        let desk = Desk::new();
        let mut count = 0;
        desk.place.server.before(move |_| {
            count += 1;
            (count > place).then(Answer::cut)
        });
        let error = desk.send(&desk.push()).unwrap_err();
        let text = message(&error);
        assert!(
            text.contains("the connection broke 4 times"),
            "{place}: {text}"
        );
        assert_eq!(kind(&error), HubErrorKind::Network);
        desk.assert_untouched();
        let expected = match place {
            0..=1 => "no file was sent",
            2..8 => "the repository was created and is empty",
            _ => "whether the commit was made is not known",
        };
        assert!(text.contains(expected), "{place}: {text}");
        let before = Desk::puts(&desk.place.server.seen());
        desk.place.server.heal();
        desk.send(&desk.push()).unwrap();
        desk.assert_whole();
        let after = Desk::puts(&desk.place.server.seen());
        assert_eq!(before + after, 1, "{place}");
        assert_eq!(desk.commits(), 1, "{place}");
    }
}

/// The answer to each request in turn is lost once, after the server did what was asked.
#[test]
fn a_lost_answer_is_made_up_for() {
    for place in 0..9 {
        let desk = Desk::new();
        let mut count = 0;
        desk.place.server.on(move |_, answer| {
            count += 1;
            if count == place + 1 {
                Answer::cut()
            } else {
                answer
            }
        });
        let pushed = desk.send(&desk.push()).unwrap();
        desk.assert_whole();
        assert_eq!(desk.commits(), 1, "{place}");
        let branch = desk.branch("main").unwrap();
        assert_eq!(pushed.commit, Some(branch.commit), "{place}");
        assert_eq!(pushed.files.len(), 3);
        assert!(pushed.files.iter().all(|file| file.changed));
    }
    // A server that does not say what it has gets the commit again.
    let desk = Desk::new();
    desk.place.server.written(|written| written.no_oids = true);
    desk.send(&desk.push()).unwrap();
    desk.send(&desk.push()).unwrap();
    desk.assert_whole();
    assert_eq!(desk.commits(), 2);
}

/// Answers `status` to every request whose path contains `part`.
fn refuse(desk: &Desk, part: &'static str, answer: impl Fn() -> Answer + Send + 'static) {
    let refuse = move |seen: &Seen| seen.path.contains(part).then(&answer);
    desk.place.server.before(refuse);
}

#[test]
fn refusals_say_what_to_do() {
    let said = |status: u16| {
        // As a careless server would.
        let body = format!("{{\"error\": \"no, {TOKEN}\"}}");
        move || Answer::new(status, body.clone())
    };
    for (part, status, expected_kind, expected) in [
        (
            "/api/models",
            401,
            HubErrorKind::Access,
            "make a new one with the right to write at",
        ),
        (
            "/api/repos",
            403,
            HubErrorKind::Access,
            "the right to write to the repositories of me",
        ),
        (
            "/commit/",
            403,
            HubErrorKind::Access,
            "committing: the hub refuses it (403) (\"no, …\")",
        ),
        (
            "/preupload/",
            404,
            HubErrorKind::NotFound,
            "comparing the files: the server has nothing",
        ),
        (
            "/commit/",
            409,
            HubErrorKind::Refused,
            "another commit came in between",
        ),
        (
            "/commit/",
            412,
            HubErrorKind::Refused,
            "another commit came in between",
        ),
        (
            "/commit/",
            413,
            HubErrorKind::Refused,
            "committing: it is larger than the hub takes (413)",
        ),
        (
            "/storage/",
            413,
            HubErrorKind::Refused,
            "sending model.safetensors: it is larger",
        ),
        (
            "/storage/",
            403,
            HubErrorKind::Network,
            "sending model.safetensors: the server answered 403",
        ),
        (
            "/preupload/",
            500,
            HubErrorKind::Network,
            "the server answered 500 (\"no, …\") 4 times",
        ),
        (
            "/commit/",
            503,
            HubErrorKind::Network,
            "the server answered 503 (\"no, …\") 4 times",
        ),
        (
            "/api/repos",
            418,
            HubErrorKind::Network,
            "the server answered 418",
        ),
        (
            "/api/models",
            302,
            HubErrorKind::Network,
            "a push follows no redirect",
        ),
    ] {
        let desk = Desk::new();
        refuse(&desk, part, said(status));
        let error = desk.send(&desk.push()).unwrap_err();
        let text = message(&error);
        assert!(text.contains(expected), "{part} {status}: {text}");
        assert_eq!(kind(&error), expected_kind, "{part} {status}");
        assert!(text.starts_with("cannot push to me/tuned: "), "{text}");
        desk.assert_untouched();
        desk.place.server.heal();
        desk.send(&desk.push()).unwrap();
        desk.assert_whole();
    }
    // What is no hub at all.
    let desk = Desk::new();
    refuse(&desk, "/api", || {
        Answer::new(200, "<!DOCTYPE html><title>Sign in</title>")
    });
    let text = message(&desk.send(&desk.push()).unwrap_err());
    assert!(
        text.contains("found an HTML page; check HF_ENDPOINT"),
        "{text}"
    );
}

#[test]
fn failures_that_pass_are_waited_for() {
    for (part, status, times) in [
        ("/api/repos", 500, 3),
        ("/preupload/", 502, 3),
        ("/batch", 503, 3),
        ("/storage/", 504, 3),
        ("/verify/", 500, 3),
        ("/commit/", 503, 3),
        ("/commit/", 429, 1),
        ("/storage/", 429, 1),
    ] {
        let desk = Desk::new();
        let mut count = 0;
        desk.place.server.before(move |seen| {
            if !seen.path.contains(part) {
                return None;
            }
            count += 1;
            (count <= times).then(|| Answer::new(status, "").with("retry-after", "0"))
        });
        let mut waits = 0;
        let mut watch =
            |event| waits += usize::from(matches!(event, PushProgress::Retrying { .. }));
        desk.hub().push(&desk.push(), &mut watch).unwrap();
        assert_eq!(waits, times, "{part} {status}");
        desk.assert_whole();
        assert_eq!(desk.commits(), 1);
    }
    let desk = Desk::new();
    refuse(&desk, "/commit/", || {
        Answer::new(429, "").with("retry-after", "3600")
    });
    let text = message(&desk.send(&desk.push()).unwrap_err());
    assert!(text.contains("(429) and asks to wait 3600 s"), "{text}");
    assert!(
        text.ends_with("is empty; a repetition goes on from here"),
        "{text}"
    );

    // A repository that somebody created in between is used as it is.
    let desk = Desk::new();
    let mut first = true;
    desk.place.server.on(move |seen, answer| {
        let hide = std::mem::take(&mut first) && seen.method == "GET";
        if hide { Answer::new(404, "") } else { answer }
    });
    desk.place
        .server
        .written(|written| written.create(OWN, true));
    let pushed = desk.send(&desk.push()).unwrap();
    assert_eq!((pushed.created, pushed.private), (false, Some(true)));
}

#[test]
fn a_commit_that_came_in_between_is_not_overwritten() {
    let desk = Desk::new();
    desk.place
        .server
        .written(|written| written.create(OWN, false));
    // The branch moves after it was looked at.
    desk.place.server.on(|seen, mut answer| {
        if seen.path == "/api/models/me/tuned" {
            let old = git_sha1(b"older");
            answer.body = format!("{{\"private\": false, \"sha\": \"{old}\"}}").into();
        }
        answer
    });
    let error = desk.send(&desk.push()).unwrap_err();
    assert_eq!(kind(&error), HubErrorKind::Refused);
    let text = message(&error);
    assert!(text.contains("A commit has happened since."), "{text}");
    assert!(
        text.ends_with("the files of the repository are as they were"),
        "{text}"
    );
}

/// A commit whose answer was lost may come later than the hub was asked for it.
#[test]
fn a_commit_that_may_still_come_is_not_denied() {
    let desk = Desk::new();
    let mut count = 0;
    desk.place.server.before(move |seen| {
        if !seen.path.contains("/commit/") {
            return None;
        }
        count += 1;
        Some(Answer::new(if count == 1 { 504 } else { 409 }, ""))
    });
    let error = desk.send(&desk.push()).unwrap_err();
    assert_eq!(kind(&error), HubErrorKind::Refused);
    let text = message(&error);
    assert!(
        text.contains("whether the commit was made is not known"),
        "{text}"
    );
}

#[test]
fn a_repository_of_somebody_else_is_not_called_empty() {
    let desk = Desk::new();
    let mut count = 0;
    // Somebody creates it after it was looked for, and then the connection breaks.
    desk.place.server.before(move |_| {
        count += 1;
        match count {
            1 => Some(Answer::new(404, "")),
            2 => Some(Answer::new(409, "")),
            _ => Some(Answer::cut()),
        }
    });
    let text = message(&desk.send(&desk.push()).unwrap_err());
    assert!(text.ends_with("are as they were"), "{text}");
}

#[test]
fn what_moves_slowly_is_not_silent() {
    let desk = Desk::new();
    let mut push = desk.push();
    push.files[0] = PushFile::of_bytes(MODEL, desk.place.model.clone());
    // Longer than a silence may be, and shorter than two of them.
    desk.place.server.before(|seen| {
        if seen.path.starts_with("/storage/") || seen.path.contains("/commit/") {
            std::thread::sleep(std::time::Duration::from_millis(1500));
        }
        None
    });
    let mut most = 0;
    let mut watch = |event| {
        if let PushProgress::Sent { sent, .. } = event {
            most = sent.max(most);
        }
    };
    desk.hub().push(&push, &mut watch).unwrap();
    assert_eq!(most, 200_000);
    desk.assert_whole();
}

#[test]
fn what_the_hub_keeps_in_lfs_is_called_large() {
    let is_large = |path: &str| PushFile::of_bytes(path, "").is_large().unwrap();
    for path in [
        MODEL,
        "a/model.onnx",
        "x.pth",
        "x.tar.lz",
        "saved_model/a/b",
    ] {
        assert!(is_large(path), "{path}");
    }
    for path in ["README.md", "config.json", "curves.svg", "onnx", "gz/a.txt"] {
        assert!(!is_large(path), "{path}");
    }
    let bytes = vec![0; 10_000_001];
    assert!(PushFile::of_bytes("x.txt", bytes).is_large().unwrap());
}

#[test]
fn silence_ends_a_push() {
    let desk = Desk::new();
    desk.place.server.on(|seen, mut answer| {
        if seen.path.contains("/preupload/") {
            answer.silent_after = Some(0);
        }
        answer
    });
    let text = message(&desk.send(&desk.push()).unwrap_err());
    assert!(
        text.contains("comparing the files: nothing moved for 1 s"),
        "{text}"
    );
    desk.assert_untouched();
}

#[test]
fn what_cannot_be_pushed_is_said_before_a_request() {
    let desk = Desk::new();
    let error = |hub: &Hub, push: &Push| hub.push(push, &mut |_| {}).unwrap_err();
    let hub = desk.hub();
    let none = desk.place.hub();
    let found = error(&none, &desk.push());
    assert_eq!(kind(&found), HubErrorKind::Access);
    let text = message(&found);
    assert!(
        text.contains("found none; make one at") && text.contains("/settings/tokens"),
        "{text}"
    );
    assert!(
        text.contains("HF_TOKEN") && text.ends_with("no file was sent"),
        "{text}"
    );
    let found = error(&hub.clone().with_offline(true), &desk.push());
    assert!(message(&found).contains("HF_HUB_OFFLINE"));
    for repository in [
        "tuned",
        "me/",
        "a/b/c",
        "../evil",
        "https://huggingface.co/me/tuned",
    ] {
        let push = Push {
            repository: repository.to_owned(),
            ..desk.push()
        };
        assert_eq!(
            kind(&error(&hub, &push)),
            HubErrorKind::Request,
            "{repository}"
        );
    }
    for revision in ["", "a..b", &git_sha1(b"")] {
        let push = Push {
            revision: Some(revision.to_owned()),
            ..desk.push()
        };
        error(&hub, &push);
    }
    let mut push = desk.push();
    push.files[0] = PushFile::open("../model.safetensors", "/dev/null");
    assert_eq!(kind(&error(&hub, &push)), HubErrorKind::Request);
    push.files[0] = PushFile::open(MODEL, desk.files.path().join("none"));
    assert!(matches!(error(&hub, &push), Error::Io { .. }));
    push.files[0] = PushFile::of_bytes("config.json", "twice");
    assert!(matches!(error(&hub, &push), Error::InvalidArgument { .. }));
    push.files.clear();
    assert!(matches!(error(&hub, &push), Error::InvalidArgument { .. }));
    assert!(desk.place.server.seen().is_empty());
    assert!(!format!("{hub:?}").contains(TOKEN));
    // An object that the hub does not take, and a file that it would leave out.
    let sum = sha256(&desk.place.model);
    let body = format!(
        "{{\"objects\": [{{\"oid\": \"{sum}\", \"error\": {{\"code\": 422, \"message\": \"full\"}}}}]}}"
    );
    refuse(&desk, "/batch", move || Answer::new(200, body.clone()));
    let text = message(&desk.send(&desk.push()).unwrap_err());
    assert!(
        text.contains("does not take `model.safetensors` (422: \"full\")"),
        "{text}"
    );
    desk.place.server.heal();
    desk.place.server.on(|seen, mut answer| {
        if seen.path.contains("/preupload/") {
            let text = String::from_utf8(answer.body).unwrap();
            answer.body = text
                .replace("\"shouldIgnore\":false", "\"shouldIgnore\":true")
                .into();
        }
        answer
    });
    let text = message(&desk.send(&desk.push()).unwrap_err());
    assert!(text.contains(".gitignore"), "{text}");
    desk.assert_untouched();
}

#[test]
fn another_storage_gets_the_bytes_and_no_token() {
    let desk = Desk::new();
    let storage = super::hub_server::HubServer::start(b"");
    desk.place.server.store_at(&storage.url);
    let error = desk.send(&desk.push()).unwrap_err();
    // The other one has the object, and the hub of this test looks for it in its own storage.
    assert!(message(&error).contains("verifying model.safetensors"));
    let seen = storage.seen();
    assert_eq!(Desk::puts(&seen), 1);
    assert!(!seen[0].headers.contains_key("authorization"));
}
