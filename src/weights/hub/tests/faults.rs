//! Every fault, with the message it gives and what is left of it: the table of `docs/weights.md`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::weights::hub::results::Fetched;
use crate::weights::hub::{Pin, Progress, Request};

use super::hub_server::{Answer, COMMIT, Seen, sha256};
use super::{MODEL, Place, TOKEN, alter, fetch, limits, model, request};

/// The message about the file of [`request`].
fn cannot(what: &str) -> String {
    format!(
        "cannot fetch `model.safetensors` of timm/resnet18 at `main`: {what} \
         (http://hub/timm/resnet18/resolve/main/model.safetensors)"
    )
}

/// The answer to a request for the bytes of the model, changed by `change`; all others as they are.
fn bytes_hook(
    mut change: impl FnMut(Answer) -> Answer + Send + 'static,
) -> impl FnMut(&Seen, Answer) -> Answer + Send + 'static {
    move |seen, answer| {
        if seen.method == "GET" && seen.path.starts_with("/lfs/") {
            change(answer)
        } else {
            answer
        }
    }
}

/// The answer to the request for the announcement, changed by `change`.
fn announcement_hook(
    mut change: impl FnMut(Answer) -> Answer + Send + 'static,
) -> impl FnMut(&Seen, Answer) -> Answer + Send + 'static {
    move |seen, answer| {
        if seen.method == "HEAD" && seen.path.contains("/resolve/") {
            change(answer)
        } else {
            answer
        }
    }
}

/// The table of `docs/weights.md`.
struct Table {
    rows: Vec<[String; 3]>,
    committed: String,
}

const BEGIN: &str = "<!-- faults: made by src/weights/hub/tests/faults.rs -->";
const END: &str = "<!-- end of faults -->";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/weights.md")
}

impl Table {
    fn new(committed: &str) -> Table {
        Table {
            rows: Vec::new(),
            committed: committed.to_owned(),
        }
    }

    /// A fault that ends in an error.
    fn fails(&mut self, fault: &str, place: &Place, result: Result<Fetched>, expected: &str) {
        let error = result.expect_err(fault);
        let message = place.message(&error);
        assert_eq!(message, expected, "{fault}");
        let left = place.left();
        let outcome = format!("{left}; {}", place.recover());
        self.row(fault, &message, &outcome);
    }

    /// A fault that is overcome.
    fn overcome(&mut self, fault: &str, place: &Place, result: Result<Fetched>, outcome: &str) {
        let fetched = result.unwrap_or_else(|error| panic!("{fault}: {error}"));
        place.assert_sound(&fetched);
        place.left();
        self.row(fault, "none", outcome);
    }

    fn row(&mut self, fault: &str, message: &str, outcome: &str) {
        self.rows
            .push([fault, message, outcome].map(|cell| cell.replace('|', "\\|")));
    }

    /// A fault that this machine cannot make: its row stays as it was.
    fn skip(&mut self, fault: &str, reason: &str) {
        eprintln!("not tried: {fault}: {reason}");
        for line in self.committed.lines() {
            if line.starts_with(&format!("| {fault} |")) {
                let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
                let mut next = || cells.next().unwrap_or_default().to_owned();
                self.rows.push([next(), next(), next()]);
            }
        }
    }

    fn compare(self) {
        let mut table = format!("{BEGIN}\n\n| fault | message | outcome |\n|---|---|---|\n");
        for [fault, message, outcome] in &self.rows {
            table.push_str(&format!("| {fault} | {message} | {outcome} |\n"));
        }
        table.push_str(&format!("\n{END}"));
        let from = self.committed.find(BEGIN);
        let to = self.committed.find(END);
        let (Some(from), Some(to)) = (from, to) else {
            panic!("{} lacks the lines {BEGIN} and {END}", docs().display());
        };
        let to = to + END.len();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let text = format!(
                "{}{table}{}",
                &self.committed[..from],
                &self.committed[to..]
            );
            std::fs::write(docs(), text).unwrap();
        } else {
            assert!(
                self.committed[from..to] == table,
                "the table in docs/weights.md is not what the faults now give; \
                 UPDATE_DOCS=1 cargo test --lib hub writes it:\n{table}"
            );
        }
    }
}

#[test]
fn every_fault() {
    let committed = std::fs::read_to_string(docs()).unwrap();
    let sections: [fn(&mut Table); 12] = [
        connections,
        bodies,
        refusals,
        overload,
        redirects,
        strange_answers,
        disks,
        remains,
        altered,
        pins,
        offline,
        requests,
    ];
    let mut table = Table::new(&committed);
    // At the same time, as most of it is waiting.
    std::thread::scope(|scope| {
        let workers: Vec<_> = sections
            .into_iter()
            .map(|section| {
                let mut part = Table::new(&committed);
                scope.spawn(move || {
                    section(&mut part);
                    part.rows
                })
            })
            .collect();
        for worker in workers {
            table.rows.extend(worker.join().unwrap());
        }
    });
    table.compare();
}

fn connections(table: &mut Table) {
    let place = Place::new();
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let hub = place
        .hub()
        .with_endpoint(&format!("http://127.0.0.1:{port}"))
        .unwrap();
    let error = fetch(&hub, &request()).unwrap_err();
    let message = place
        .message(&error)
        .replace(&format!("127.0.0.1:{port}"), "hub");
    assert_eq!(
        message,
        "cannot fetch `model.safetensors` of timm/resnet18 at `main`: no connection to hub: the \
         connection was refused; check the network, the proxy settings (HTTPS_PROXY) and \
         HF_ENDPOINT (http://hub/timm/resnet18/resolve/main/model.safetensors)"
    );
    let outcome = format!("{}; {}", place.left(), place.recover());
    table.row("connection refused", &message, &outcome);

    let place = Place::new();
    let hub = place.hub().with_endpoint("http://hub.invalid").unwrap();
    // A proxy would resolve the name itself.
    if ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
    {
        table.skip("host name unknown", "a proxy is set");
    } else {
        table.fails(
            "host name unknown",
            &place,
            fetch(&hub, &request()),
            "cannot fetch `model.safetensors` of timm/resnet18 at `main`: no connection to \
             hub.invalid:80: the host name cannot be resolved; check the network, the proxy \
             settings (HTTPS_PROXY) and HF_ENDPOINT \
             (http://hub.invalid/timm/resnet18/resolve/main/model.safetensors)",
        );
    }

    let place = Place::new();
    place.server.on(announcement_hook(|mut answer| {
        answer.silent_after = Some(0);
        answer
    }));
    table.fails(
        "no answer",
        &place,
        place.fetch(),
        &cannot("the server sent nothing for 1 s in answer to the request; try again later"),
    );

    let place = Place::new();
    place.server.on(bytes_hook(|mut answer| {
        answer.silent_after = Some(50_000);
        answer
    }));
    table.fails(
        "silence in the middle of the file",
        &place,
        place.fetch(),
        &cannot(
            "the server sent nothing for 1 s after 50000 of 200000 bytes; the part received is \
             kept, so that the next attempt continues there",
        ),
    );
}

fn bodies(table: &mut Table) {
    let cut = |at: usize| {
        move |mut answer: Answer| {
            answer.length = Some(answer.body.len());
            answer.body.truncate(at);
            answer
        }
    };
    let place = Place::new();
    let mut times = 0;
    place.server.on(bytes_hook(move |answer| {
        times += 1;
        if times == 1 {
            cut(50_000)(answer)
        } else {
            answer
        }
    }));
    let result = place.fetch();
    let ranges: Vec<String> = place
        .server
        .seen()
        .into_iter()
        .filter_map(|seen| seen.headers.get("range").cloned())
        .collect();
    // Once from the hub, and once from the storage that it redirects to.
    assert_eq!(ranges, ["bytes=50000-199999"; 2]);
    table.overcome(
        "file cut off once",
        &place,
        result,
        "the transfer continues after the last byte received",
    );

    let place = Place::new();
    place.server.on(bytes_hook(cut(20_000)));
    table.fails(
        "file cut off again and again",
        &place,
        place.fetch(),
        &cannot(
            "the transfer broke off 4 times (end of file before message length reached) after \
             80000 of 200000 bytes; the part received is kept, so that the next attempt \
             continues there",
        ),
    );

    let place = Place::new();
    place.server.on(bytes_hook(|mut answer| {
        answer.no_length = true;
        answer.body.truncate(30_000);
        answer
    }));
    table.fails(
        "file cut off, no length announced",
        &place,
        place.fetch(),
        &cannot(
            "the transfer broke off 4 times (the server closed the connection) after 120000 of \
             200000 bytes; the part received is kept, so that the next attempt continues there",
        ),
    );

    let place = Place::new();
    place.server.on(bytes_hook(|mut answer| {
        answer.body[1234] ^= 1;
        answer
    }));
    table.fails(
        "wrong bytes of the right length",
        &place,
        place.fetch(),
        &cannot(
            "its checksum is another than the hub says: expected SHA-256 \
             8006993938aa28eb2188163351aabcb20fe8a877b2b6b123d259b69700c80aec, found SHA-256 \
             56967566115e8821072c0acbb3773697bc634c3ba55d160bf8ed070c0a8a96ee; nothing was kept; \
             try again, and check the proxy settings if it comes back",
        ),
    );

    let place = Place::new();
    place.server.on(bytes_hook(|mut answer| {
        answer.body.truncate(150_000);
        answer
    }));
    table.fails(
        "too short a file",
        &place,
        place.fetch(),
        &cannot(
            "its size is another than the hub says: expected 200000 bytes, found 150000; nothing \
     was kept; try again, and check the proxy settings if it comes back",
        ),
    );

    let place = Place::new();
    place.server.on(bytes_hook(|mut answer| {
        answer.body.extend([0; 100_000]);
        answer
    }));
    table.fails(
        "too long a file",
        &place,
        place.fetch(),
        &cannot(
            "its size is another than the hub says: expected 200000 bytes, found more than \
     200000; nothing was kept; try again, and check the proxy settings if it comes back",
        ),
    );

    let place = Place::new();
    place.server.on(bytes_hook(|_| {
        Answer::new(200, "<!DOCTYPE html><title>Sign in</title>").with("content-type", "text/html")
    }));
    table.fails(
        "an HTML page instead of the file",
        &place,
        place.fetch(),
        &cannot(
            "its size is another than the hub says: expected 200000 bytes, found 37, an HTML \
     page; nothing was kept; check HF_ENDPOINT, and whether a proxy or a sign-in page stands \
     between",
        ),
    );

    let place = Place::new();
    place.server.on(|_, _| {
        Answer::new(200, "<html>Sign in</html>").with("content-type", "text/html; charset=utf-8")
    });
    table.fails(
        "an HTML page in answer to everything",
        &place,
        place.fetch(),
        &cannot(
            "this is not the answer of a hub: expected a commit of 40 hexadecimal digits in \
             X-Repo-Commit, found none, and an HTML page; check HF_ENDPOINT, and whether a proxy \
             or a sign-in page stands between",
        ),
    );

    // A small file is in Git itself, and its checksum of another kind.
    let place = Place::new();
    place.server.on(|seen, mut answer| {
        if seen.method == "GET" {
            answer.body[3] ^= 1;
        }
        answer
    });
    let config = Request {
        file: "config.json",
        ..request()
    };
    table.fails(
        "wrong bytes of a small file in Git",
        &place,
        fetch(&place.hub(), &config),
        "cannot fetch `config.json` of timm/resnet18 at `main`: its checksum is another than the \
         hub says: expected git blob SHA-1 8f9ee949bd735d88eaafb23a1996134cb483969c, found git blob SHA-1 \
         c3de0dbc0df6bd18328e5637f74ca3bdb3cc0b54; nothing was kept; try again, and check the \
         proxy settings if it comes back (http://hub/timm/resnet18/resolve/main/config.json)",
    );
}

fn refusals(table: &mut Table) {
    let refuse = |status: u16, code: &'static str| {
        move |_: &Seen, _: Answer| {
            let answer = Answer::new(status, "{\"error\": \"no\"}");
            if code.is_empty() {
                answer
            } else {
                answer.with("x-error-code", code)
            }
        }
    };
    let with_token = |place: &Place| {
        let hub = place.hub().with_token(Some(TOKEN)).unwrap();
        fetch(&hub, &request())
    };

    let place = Place::new();
    place.server.on(refuse(401, ""));
    table.fails("401 without a token", &place, place.fetch(), &cannot(
        "the hub wants an access token (401) and none is set; check the name of the repository, \
         and if it is private, set HF_TOKEN or run `hf auth login`",
    ));

    let place = Place::new();
    place.server.on(refuse(401, ""));
    table.fails(
        "401 with a token",
        &place,
        with_token(&place),
        &cannot(
            "the hub does not accept the access token (401); it may be expired or mistyped: make a \
         new one in the settings of your account and set HF_TOKEN, or unset it",
        ),
    );

    let place = Place::new();
    place.server.on(refuse(401, "GatedRepo"));
    table.fails(
        "gated, without a token",
        &place,
        place.fetch(),
        &cannot(
            "the repository is gated: expected an account that has accepted its terms, found no \
         access token; accept them at http://hub/timm/resnet18 and set HF_TOKEN to a token of \
         that account",
        ),
    );

    let place = Place::new();
    place.server.on(refuse(403, "GatedRepo"));
    table.fails("gated, with a token (403)", &place, with_token(&place), &cannot(
        "the repository is gated: expected an account that has accepted its terms, found a token \
         of one that has not; accept them at http://hub/timm/resnet18 and set HF_TOKEN to a token \
         of that account",
    ));

    let place = Place::new();
    place.server.on(|_, _| {
        Answer::new(403, "").with(
            "x-error-message",
            &format!("your token {TOKEN} lacks\tthe right `read`"),
        )
    });
    table.fails(
        "403 for another reason, and the server repeats the token",
        &place,
        with_token(&place),
        &cannot(
            "the hub refuses access (403) (\"your token … lacks the right `read`\"); check the \
             rights of the access token in HF_TOKEN",
        ),
    );

    let place = Place::new();
    place
        .server
        .on(bytes_hook(|_| Answer::new(403, "<Error>expired</Error>")));
    table.fails(
        "403 by the storage server",
        &place,
        place.fetch(),
        &cannot(
            "the server answered 403; expected the file; try again, and check HF_ENDPOINT and the \
         proxy settings if it comes back",
        ),
    );

    let place = Place::new();
    let other = Request {
        repository: "timm/resnet81",
        ..request()
    };
    table.fails(
        "no such repository",
        &place,
        fetch(&place.hub(), &other),
        "cannot fetch `model.safetensors` of timm/resnet81 at `main`: the hub has no repository \
     timm/resnet81, or it is private; check the spelling, and if it is private, set HF_TOKEN to a token that \
     may read it (http://hub/timm/resnet81/resolve/main/model.safetensors)",
    );

    let place = Place::new();
    let other = Request {
        file: "model.bin",
        ..request()
    };
    table.fails("no such file", &place, fetch(&place.hub(), &other), "cannot fetch `model.bin` of timm/resnet18 at `main`: the repository has no file `model.bin` \
     at this revision; http://hub/timm/resnet18/tree/main lists its files \
     (http://hub/timm/resnet18/resolve/main/model.bin)");
    // As Python does, so that both know next time.
    assert!(
        place
            .repo()
            .join(".no_exist")
            .join(COMMIT)
            .join("model.bin")
            .is_file()
    );

    let place = Place::new();
    let other = Request {
        revision: Some("v2"),
        ..request()
    };
    table.fails("no such revision", &place, fetch(&place.hub(), &other), "cannot fetch `model.safetensors` of timm/resnet18 at `v2`: the repository has no branch, tag \
     or commit `v2`; http://hub/timm/resnet18/commits/main lists its commits \
     (http://hub/timm/resnet18/resolve/v2/model.safetensors)");

    let place = Place::new();
    place.server.on(|_, _| Answer::new(404, "nginx"));
    table.fails(
        "404 by something that is no hub",
        &place,
        place.fetch(),
        &cannot(
            "the server has nothing at this address (404); check the repository, the revision, the \
         file and HF_ENDPOINT",
        ),
    );

    let place = Place::new();
    place.server.on(|_, _| Answer::new(418, "short and stout"));
    table.fails(
        "another status",
        &place,
        place.fetch(),
        &cannot(
            "the server answered 418; expected the file; try again, and check HF_ENDPOINT and the \
         proxy settings if it comes back",
        ),
    );
}

fn overload(table: &mut Table) {
    let failing = |count: usize, answer: Answer| {
        let mut times = 0;
        move |_: &Seen, right: Answer| {
            times += 1;
            if times <= count {
                answer.clone()
            } else {
                right
            }
        }
    };
    let busy = |seconds: &str| Answer::new(429, "").with("retry-after", seconds);

    let place = Place::new();
    place.server.on(failing(1, busy("1")));
    let mut events = Vec::new();
    let result = place
        .hub()
        .fetch(&request(), &mut |event| events.push(event));
    assert_eq!(
        events[0],
        Progress::Retrying {
            wait: Duration::from_secs(1),
            reason: "the hub limits the number of requests".to_owned()
        }
    );
    table.overcome(
        "429 with Retry-After: 1",
        &place,
        result,
        "asked again after 1 s",
    );

    let place = Place::new();
    place.server.on(failing(99, busy("3600")));
    table.fails("429 with Retry-After: 3600", &place, place.fetch(), &cannot(
        "the hub limits the number of requests (429) and asks to wait 3600 s; expected to wait 60 \
         s at most; try again later, or set HF_TOKEN, which raises the limit",
    ));

    let place = Place::new();
    let absurd = u64::MAX.to_string();
    let mut times = 0;
    place.server.on(move |_, _| {
        times += 1;
        busy(if times == 1 { "1" } else { &absurd })
    });
    table.fails(
        "429 with an absurd Retry-After",
        &place,
        place.fetch(),
        &cannot(
            "the hub limits the number of requests (429) and asks to wait 18446744073709552000 s; \
             expected to wait 60 s at most; try again later, or set HF_TOKEN, which raises the limit",
        ),
    );

    let place = Place::new();
    place.server.on(bytes_hook(failing_bytes(1, busy("1"))));
    table.overcome(
        "429 for the bytes",
        &place,
        place.fetch(),
        "asked again after 1 s",
    );

    for status in [500, 503] {
        let place = Place::new();
        place.server.on(failing(3, Answer::new(status, "")));
        table.overcome(
            &format!("{status}, three times"),
            &place,
            place.fetch(),
            "asked again after 1, 2 and 4 s",
        );
    }

    let place = Place::new();
    place.server.on(failing(
        99,
        Answer::new(503, "").with("x-error-message", "maintenance"),
    ));
    let result = place.fetch();
    assert_eq!(place.server.seen().len(), 4);
    table.fails(
        "503 again and again",
        &place,
        result,
        &cannot(
            "the server answered 503 (\"maintenance\") 4 times; expected the file; try again later",
        ),
    );
}

fn failing_bytes(count: usize, answer: Answer) -> impl FnMut(Answer) -> Answer + Send + 'static {
    let mut times = 0;
    move |right| {
        times += 1;
        if times <= count {
            answer.clone()
        } else {
            right
        }
    }
}

fn redirects(table: &mut Table) {
    let to = |location: &'static str| {
        move |_: &Seen, _: Answer| Answer::new(302, "").with("location", location)
    };

    let place = Place::new();
    place
        .server
        .on(to("/timm/resnet18/resolve/main/model.safetensors"));
    let result = place.fetch();
    assert_eq!(place.server.seen().len(), 11);
    table.fails(
        "redirects in a circle",
        &place,
        result,
        &cannot(
            "more than 10 redirects; expected at most 10 redirects, to http or https addresses and \
         never from https to http; check HF_ENDPOINT and the proxy settings",
        ),
    );

    let place = Place::new();
    place.server.on(|seen, answer| {
        if seen.path.starts_with("/lfs/") {
            Answer::new(302, "").with("location", &seen.path)
        } else {
            answer
        }
    });
    table.fails(
        "redirects in a circle at the storage server",
        &place,
        place.fetch(),
        &cannot(
            "more than 10 redirects; expected at most 10 redirects, to http or https addresses \
             and never from https to http; check HF_ENDPOINT and the proxy settings",
        ),
    );

    let place = Place::new();
    place.server.on(to("file:///etc/passwd"));
    table.fails(
        "a redirect to a file",
        &place,
        place.fetch(),
        &cannot(
            "a redirect to a `file:` address; expected at most 10 redirects, to http or https \
         addresses and never from https to http; check HF_ENDPOINT and the proxy settings",
        ),
    );

    let place = Place::new();
    place.server.on(|seen, answer| {
        if seen.path.starts_with("/lfs/") {
            Answer::new(302, "").with("location", "file:///etc/passwd")
        } else {
            answer
        }
    });
    table.fails(
        "a redirect to a file by the storage server",
        &place,
        place.fetch(),
        &cannot(
            "a redirect (302) that cannot be followed; expected at most 10 redirects, to http or \
             https addresses and never from https to http; check HF_ENDPOINT and the proxy \
             settings",
        ),
    );

    let place = Place::new();
    place
        .server
        .on(to("http://hub.invalid/timm/resnet18?signature=secret"));
    table.fails("a redirect to another host, without headers", &place, place.fetch(), &cannot(
        "this is not the answer of a hub: expected the headers of the file, found a redirect to \
         http://hub.invalid/timm/resnet18; check HF_ENDPOINT, and whether a proxy or a sign-in \
         page stands between",
    ));
}

fn strange_answers(table: &mut Table) {
    let header = |table: &mut Table, fault: &str, name, value, expected: &str| {
        let place = Place::new();
        place
            .server
            .on(announcement_hook(move |answer| answer.with(name, value)));
        table.fails(fault, &place, place.fetch(), expected);
    };
    header(
        table,
        "`..` in X-Repo-Commit",
        "x-repo-commit",
        "../../../../evil",
        &cannot(
            "this is not the answer of a hub: expected a commit of 40 hexadecimal digits in \
             X-Repo-Commit, found \"../../../../evil\"; check HF_ENDPOINT, and whether a proxy or \
             a sign-in page stands between",
        ),
    );
    header(
        table,
        "an absolute path in X-Repo-Commit",
        "x-repo-commit",
        "/evil",
        &cannot(
            "this is not the answer of a hub: expected a commit of 40 hexadecimal digits in \
             X-Repo-Commit, found \"/evil\"; check HF_ENDPOINT, and whether a proxy or a \
             sign-in page stands between",
        ),
    );
    header(
        table,
        "`..` in X-Linked-Etag",
        "x-linked-etag",
        "\"../../../../evil\"",
        &cannot(
            "this is not the answer of a hub: expected hexadecimal digits in X-Linked-Etag or \
             ETag, found \"\\\"../../../../evil\\\"\"; check HF_ENDPOINT, and whether a proxy or \
             a sign-in page stands between",
        ),
    );
    header(
        table,
        "an absolute path in X-Linked-Etag",
        "x-linked-etag",
        "\"/evil\"",
        &cannot(
            "this is not the answer of a hub: expected hexadecimal digits in X-Linked-Etag or \
             ETag, found \"\\\"/evil\\\"\"; check HF_ENDPOINT, and whether a proxy or a \
             sign-in page stands between",
        ),
    );
    header(
        table,
        "an empty X-Linked-Etag",
        "x-linked-etag",
        "\"\"",
        &cannot(
            "this is not the answer of a hub: expected hexadecimal digits in X-Linked-Etag or \
             ETag, found \"\\\"\\\"\"; check HF_ENDPOINT, and whether a proxy or a sign-in page \
             stands between",
        ),
    );
    header(
        table,
        "no number in X-Linked-Size",
        "x-linked-size",
        "-1",
        &cannot(
            "this is not the answer of a hub: expected a number of bytes in X-Linked-Size, found \
             \"-1\"; check HF_ENDPOINT, and whether a proxy or a sign-in page stands between",
        ),
    );

    let place = Place::new();
    place
        .server
        .on(announcement_hook(|answer| answer.without("x-repo-commit")));
    table.fails(
        "no X-Repo-Commit",
        &place,
        place.fetch(),
        &cannot(
            "this is not the answer of a hub: expected a commit of 40 hexadecimal digits in \
         X-Repo-Commit, found none; check HF_ENDPOINT, and whether a proxy or a sign-in page \
         stands between",
        ),
    );

    let place = Place::new();
    let other = "f".repeat(40);
    place.server.on(announcement_hook(move |answer| {
        answer.with("x-repo-commit", &other)
    }));
    let pinned = Request {
        revision: Some(COMMIT),
        ..request()
    };
    table.fails(
        "another commit than the one asked for",
        &place,
        fetch(&place.hub(), &pinned),
        "cannot fetch `model.safetensors` of timm/resnet18 at \
         `0123456789abcdef0123456789abcdef01234567`: this is not the answer of a hub: expected \
         commit 0123456789abcdef0123456789abcdef01234567 in X-Repo-Commit, found \
         ffffffffffffffffffffffffffffffffffffffff; check HF_ENDPOINT, and whether a proxy or a \
         sign-in page stands between \
         (http://hub/timm/resnet18/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors)",
    );

    let place = Place::new();
    place.server.on(announcement_hook(|answer| {
        answer.with("x-linked-etag", "\"d41d8cd98f00b204e9800998ecf8427e-2\"")
    }));
    table.fails(
        "an ETag that is no checksum, and no pin",
        &place,
        place.fetch(),
        &cannot(
            "there is nothing to check it against: expected a checksum from the manifest or the \
             hub, found the ETag `d41d8cd98f00b204e9800998ecf8427e-2`; add the file's SHA-256 to \
             the manifest, or check HF_ENDPOINT",
        ),
    );

    let place = Place::new();
    place.server.on(|seen, answer| {
        if seen.path.starts_with("/lfs/") {
            answer.with("x-xet-hash", "../../evil")
        } else {
            answer
        }
    });
    table.fails("an X-Xet-Hash that leads nowhere", &place, place.fetch(), &cannot(
        "an answer of the hub cannot be understood: missing field `accessToken` at line 1 column \
         74; try again later",
    ));
}

/// A file system mounted for a test.
struct Mount(PathBuf);

impl Mount {
    fn new(path: &Path, options: &str) -> Option<Mount> {
        std::fs::create_dir_all(path).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(path)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        done.then(|| Mount(path.to_path_buf()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn disks(table: &mut Table) {
    let place = Place::new();
    std::fs::write(place.cache(), "a file").unwrap();
    let result = place.fetch();
    std::fs::remove_file(place.cache()).unwrap();
    table.fails("the cache folder is a file", &place, result, &cannot(
        "cannot create CACHE/models--timm--resnet18/blobs: Not a directory (os error 20); a file \
         is where a folder of the cache should be; set HF_HUB_CACHE to another folder",
    ));

    let fault = "the cache folder is read-only";
    let place = Place::new();
    match Mount::new(&place.cache(), "ro,size=1m") {
        None => {
            table.skip(fault, "it takes the right to mount a file system");
            no_permission(&place);
        }
        Some(mount) => {
            let result = place.fetch();
            drop(mount);
            table.fails(
                fault,
                &place,
                result,
                &cannot(
                    "cannot create CACHE/models--timm--resnet18/blobs: Read-only file system (os \
                 error 30); set HF_HUB_CACHE to a folder that you may write to",
                ),
            );
        }
    }

    let fault = "the disk is full";
    let place = Place::new();
    match Mount::new(&place.cache(), "size=100k") {
        None => table.skip(fault, "it takes the right to mount a file system"),
        Some(mount) => {
            let error = place.fetch().unwrap_err();
            let message = place.message(&error);
            // How much fits depends on the file system.
            let message = regex_free(&message, "found room for ", " of", "98304");
            assert_eq!(
                message,
                cannot(
                    "the disk of CACHE is full: found room for 98304 of 200000 bytes; nothing was \
                     kept; free some space, or set HF_HUB_CACHE to a folder on another disk",
                )
            );
            let left = place.left();
            drop(mount);
            let outcome = format!("{left}; {}", place.recover());
            table.row(fault, &message, &outcome);
        }
    }

    let place = Place::new();
    let hub = place.hub().with_symlinks(false);
    let fetched = fetch(&hub, &request()).unwrap();
    place.assert_sound(&fetched);
    assert!(!fetched.path.is_symlink());
    place.server.seen();
    let again = fetch(&hub, &request()).unwrap();
    assert!(again.from_cache && place.server.seen().is_empty());
    table.row(
        "symbolic links are not possible",
        "none",
        "the snapshot holds a copy; the next attempt needs no request",
    );
}

/// What a user without the right to mount a file system has instead of one that is read-only.
#[cfg(unix)]
fn no_permission(place: &Place) {
    use std::os::unix::fs::PermissionsExt;
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.cache(), permissions).unwrap();
    };
    mode(0o555);
    let result = place.fetch();
    mode(0o755);
    // Nothing is forbidden to some users.
    if let Err(error) = result {
        assert_eq!(
            place.message(&error),
            cannot(
                "cannot create CACHE/models--timm--resnet18/blobs: Permission denied (os error 13); set \
                 HF_HUB_CACHE to a folder that you may write to"
            )
        );
    }
}

#[cfg(not(unix))]
fn no_permission(_: &Place) {}

/// `text` with what is between `from` and `to` replaced.
fn regex_free(text: &str, from: &str, to: &str, with: &str) -> String {
    let Some((before, rest)) = text.split_once(from) else {
        return text.to_owned();
    };
    match rest.split_once(to) {
        Some((_, after)) => format!("{before}{from}{with}{to}{after}"),
        None => text.to_owned(),
    }
}

fn remains(table: &mut Table) {
    let place = Place::new();
    std::fs::create_dir_all(place.repo().join("blobs")).unwrap();
    let sum = sha256(&place.model);
    let others = place.repo().join("blobs").join(format!("{sum}.incomplete"));
    std::fs::write(&others, b"left by another program").unwrap();
    let result = place.fetch();
    assert_eq!(std::fs::read(&others).unwrap(), b"left by another program");
    std::fs::remove_file(others).unwrap();
    table.overcome(
        "half a blob left by another program",
        &place,
        result,
        "fetched; the other's file is left alone",
    );

    let place = Place::new();
    std::fs::create_dir_all(place.partial().parent().unwrap()).unwrap();
    std::fs::write(place.partial(), &place.model[..80_000]).unwrap();
    let result = place.fetch();
    assert!(
        place
            .server
            .seen()
            .iter()
            .any(|seen| seen.headers.get("range").map(String::as_str)
                == Some("bytes=80000-199999"))
    );
    table.overcome(
        "a part left by a killed process",
        &place,
        result,
        "the transfer continues after the last byte received",
    );

    let place = Place::new();
    std::fs::create_dir_all(place.partial().parent().unwrap()).unwrap();
    std::fs::write(place.partial(), vec![0; 80_000]).unwrap();
    table.overcome(
        "a part left by a killed process, with wrong bytes",
        &place,
        place.fetch(),
        "found out by the checksum; fetched from the start",
    );

    let place = Place::new();
    std::fs::create_dir_all(place.partial().parent().unwrap()).unwrap();
    std::fs::write(place.partial(), vec![0; 80_000]).unwrap();
    place.server.on(|seen, answer| {
        // A server that does not know ranges sends everything.
        if seen.headers.contains_key("range") && seen.path.starts_with("/lfs/") {
            Answer::new(200, model())
        } else {
            answer
        }
    });
    table.overcome(
        "a part is left, and the server does not know ranges",
        &place,
        place.fetch(),
        "found out by the size; fetched from the start",
    );

    let place = Place::new();
    std::fs::create_dir_all(place.repo().join("snapshots").join(COMMIT)).unwrap();
    std::fs::create_dir_all(place.repo().join("refs")).unwrap();
    std::fs::write(place.repo().join("refs/main"), COMMIT).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(
        format!("../../blobs/{}", sha256(&place.model)),
        place.repo().join("snapshots").join(COMMIT).join(MODEL),
    )
    .unwrap();
    table.overcome("a link without its blob", &place, place.fetch(), "fetched");

    let place = Place::new();
    std::fs::create_dir_all(place.repo().join("refs")).unwrap();
    std::fs::write(place.repo().join("refs/main"), "../../../../evil").unwrap();
    table.overcome(
        "`..` in a reference of the cache",
        &place,
        place.fetch(),
        "the reference is not used; fetched",
    );

    let place = Place::new();
    let locks = place.cache().join(".locks/models--timm--resnet18");
    std::fs::create_dir_all(&locks).unwrap();
    let lock = std::fs::File::create(locks.join(format!("{}.lock", sha256(&place.model)))).unwrap();
    lock.lock().unwrap();
    let mut short = limits();
    short.lock = Duration::from_millis(100);
    let result = fetch(&place.hub().with_limits(short), &request());
    drop(lock);
    table.fails("another process never ends", &place, result, &cannot("another process has been fetching it for 0.1 s; expected it to be done by now; end \
     that process, or try again later (lock file \
     CACHE/.locks/models--timm--resnet18/8006993938aa28eb2188163351aabcb20fe8a877b2b6b123d259b69700c80aec.lock)"));
}

fn altered(table: &mut Table) {
    let place = Place::new();
    place.fetch().unwrap();
    alter(&place.blob());
    let error = fetch(&place.hub().with_offline(true), &request()).unwrap_err();
    let message = place.message(&error);
    assert_eq!(
        message,
        cannot(
            "the cached \
             CACHE/models--timm--resnet18/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors \
             was altered: expected SHA-256 \
             8006993938aa28eb2188163351aabcb20fe8a877b2b6b123d259b69700c80aec, found SHA-256 \
             63df19b98d4ab534d81ae6184e0c4b851432a63ab2ccdc460274d1124cc8ce11; it is not used; go \
             online to have it replaced, or delete it with `burn-zoo cache rm timm/resnet18`"
        )
    );
    table.row(
        "a cached file was altered, offline",
        &message,
        "it is not used",
    );

    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let hub = place
        .hub()
        .with_endpoint(&format!("http://127.0.0.1:{port}"))
        .unwrap();
    let error = fetch(&hub, &request()).unwrap_err();
    let message = place
        .message(&error)
        .replace(&format!("127.0.0.1:{port}"), "hub");
    assert_eq!(
        message,
        cannot(
            "the cached \
             CACHE/models--timm--resnet18/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors \
             was altered: expected SHA-256 \
             8006993938aa28eb2188163351aabcb20fe8a877b2b6b123d259b69700c80aec, found SHA-256 \
             63df19b98d4ab534d81ae6184e0c4b851432a63ab2ccdc460274d1124cc8ce11; it is not used; \
             fetching it again failed too: no connection to hub: the connection was refused; \
             check the network, the proxy settings (HTTPS_PROXY) and HF_ENDPOINT"
        )
    );
    table.row(
        "a cached file was altered, and the hub cannot be reached",
        &message,
        "it is not used",
    );

    let mut told = None;
    let fetched = place.hub().fetch(&request(), &mut |event| {
        if let Progress::Replaced { path, expected, .. } = event {
            told = Some((path, expected));
        }
    });
    let fetched = fetched.unwrap();
    place.assert_sound(&fetched);
    assert!(!fetched.from_cache);
    let replaced = fetched.replaced.unwrap();
    let expected = format!("SHA-256 {}", sha256(&place.model));
    assert_eq!(told, Some((replaced.clone(), expected)));
    assert_ne!(std::fs::read(replaced).unwrap(), place.model);
    table.row(
        "a cached file was altered",
        "none",
        "it is set aside and fetched anew, which the result tells",
    );
}

fn pins(table: &mut Table) {
    let other = sha256(b"other");
    let pin = |place: &Place, sha256: Option<&str>, bytes: Option<u64>| {
        fetch(
            &place.hub(),
            &Request {
                revision: Some(COMMIT),
                pin: Pin { sha256, bytes },
                ..request()
            },
        )
    };

    let place = Place::new();
    let result = pin(&place, Some(&other), None);
    // Not a byte was asked for.
    assert_eq!(place.server.seen().len(), 1);
    table.fails(
        "the hub announces another file than the manifest",
        &place,
        result,
        "cannot fetch `model.safetensors` of timm/resnet18 at \
     `0123456789abcdef0123456789abcdef01234567`: its checksum is another than the manifest says: \
     expected SHA-256 \
     d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, found SHA-256 \
     8006993938aa28eb2188163351aabcb20fe8a877b2b6b123d259b69700c80aec; nothing was kept; do not \
     use the file: it was replaced, or the manifest is wrong \
     (http://hub/timm/resnet18/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors)",
    );

    let place = Place::new();
    let result = pin(&place, None, Some(7));
    assert_eq!(place.server.seen().len(), 1);
    table.fails(
        "the hub announces another size than the manifest",
        &place,
        result,
        "cannot fetch `model.safetensors` of timm/resnet18 at \
     `0123456789abcdef0123456789abcdef01234567`: its size is another than the manifest says: \
     expected 7 bytes, found 200000; nothing was kept; do \
     not use the file: it was replaced, or the manifest is wrong \
     (http://hub/timm/resnet18/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors)",
    );

    let place = Place::new();
    place.server.on(announcement_hook(|answer| {
        answer.with("x-linked-etag", "\"d41d8cd98f00b204e9800998ecf8427e\"")
    }));
    let result = pin(&place, Some(&other), None);
    table.fails(
        "the file is another than the manifest says",
        &place,
        result,
        "cannot fetch `model.safetensors` of timm/resnet18 at \
     `0123456789abcdef0123456789abcdef01234567`: its checksum is another than the manifest says: \
     expected SHA-256 \
     d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, found SHA-256 \
     8006993938aa28eb2188163351aabcb20fe8a877b2b6b123d259b69700c80aec; nothing was kept; do not \
     use the file: it was replaced, or the manifest is wrong \
     (http://hub/timm/resnet18/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors)",
    );

    let place = Place::new();
    place.fetch().unwrap();
    let result = pin(&place, Some(&other), None);
    table.fails("the cached file is another than the manifest says", &place, result, "cannot fetch `model.safetensors` of timm/resnet18 at \
     `0123456789abcdef0123456789abcdef01234567`: the cached \
     CACHE/models--timm--resnet18/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors \
     is sound but not the one the manifest means: expected SHA-256 \
     d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, found SHA-256 \
     8006993938aa28eb2188163351aabcb20fe8a877b2b6b123d259b69700c80aec; it is not used; correct the \
     manifest's checksum or revision \
     (http://hub/timm/resnet18/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors)");
}

fn offline(table: &mut Table) {
    let place = Place::new();
    let result = fetch(&place.hub().with_offline(true), &request());
    assert!(place.server.seen().is_empty());
    table.fails(
        "offline, not cached",
        &place,
        result,
        &cannot(
            "it is not in the cache CACHE and HF_HUB_OFFLINE forbids to use the network; unset \
         HF_HUB_OFFLINE, or copy the repository's folder into the cache",
        ),
    );

    let place = Place::new();
    place.fetch().unwrap();
    place.server.seen();
    let result = fetch(&place.hub().with_offline(true), &request());
    assert!(place.server.seen().is_empty());
    table.overcome("offline, cached", &place, result, "no request is made");

    let place = Place::new();
    let absent = Request {
        file: "model.bin",
        ..request()
    };
    fetch(&place.hub(), &absent).unwrap_err();
    let result = fetch(&place.hub().with_offline(true), &absent);
    table.fails("offline, and the hub has no such file", &place, result, "cannot fetch `model.bin` of timm/resnet18 at `main`: the repository has no file `model.bin` \
     at this revision; http://hub/timm/resnet18/tree/main lists its files \
     (http://hub/timm/resnet18/resolve/main/model.bin)");

    // As Python leaves a file where there are no links.
    let place = Place::new();
    let snapshot = place.repo().join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::write(snapshot.join(MODEL), &place.model).unwrap();
    let pinned = Request {
        revision: Some(COMMIT),
        ..request()
    };
    let result = fetch(&place.hub().with_offline(true), &pinned);
    let error = result.unwrap_err();
    let message = place.message(&error);
    assert_eq!(
        message,
        "cannot fetch `model.safetensors` of timm/resnet18 at \
     `0123456789abcdef0123456789abcdef01234567`: the cached \
     CACHE/models--timm--resnet18/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors \
     cannot be checked: expected a checksum from the manifest, the name of its blob or an earlier \
     check, found none; go online once, or add its SHA-256 to the manifest \
     (http://hub/timm/resnet18/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors)"
    );
    table.row(
        "offline, cached without a checksum",
        &message,
        "it is not used",
    );
    let fetched = fetch(&place.hub(), &pinned).unwrap();
    place.assert_sound(&fetched);
    assert!(fetched.from_cache);
    assert!(place.server.seen().iter().all(|seen| seen.method == "HEAD"));
    table.row(
        "cached without a checksum",
        "none",
        "checked against what the hub announces; nothing is fetched",
    );
}

fn requests(table: &mut Table) {
    for (fault, wanted, expected) in [
        (
            "`..` in the repository",
            Request {
                repository: "../evil",
                ..request()
            },
            "hub request: repository \"../evil\" is not usable; expected owner/name, of letters, \
             digits, `-`, `_` and `.`",
        ),
        (
            "no owner in the repository",
            Request {
                repository: "resnet18",
                ..request()
            },
            "hub request: repository \"resnet18\" is not usable; expected owner/name, of letters, \
             digits, `-`, `_` and `.`",
        ),
        (
            "`..` in the file",
            Request {
                file: "../../../../evil",
                ..request()
            },
            "hub request: file \"../../../../evil\" is not usable; expected a path below the \
             repository, without `..`, `\\` and `:`",
        ),
        (
            "an absolute path as the file",
            Request {
                file: "/etc/passwd",
                ..request()
            },
            "hub request: file \"/etc/passwd\" is not usable; expected a path below the \
             repository, without `..`, `\\` and `:`",
        ),
        (
            "`..` in the revision",
            Request {
                revision: Some("../../evil"),
                ..request()
            },
            "hub request: revision \"../../evil\" is not usable; expected a branch, a tag or a \
             commit of 40 hexadecimal digits",
        ),
        (
            "a line break in the file",
            Request {
                file: "a\r\nX-Evil: 1",
                ..request()
            },
            "hub request: file \"a\\r\\nX-Evil: 1\" is not usable; expected a path below the \
             repository, without `..`, `\\` and `:`",
        ),
        (
            "no SHA-256 in the pin",
            Request {
                pin: Pin {
                    sha256: Some("ABCD"),
                    bytes: None,
                },
                ..request()
            },
            "hub request: SHA-256 \"ABCD\" is not usable; expected 64 lower-case hexadecimal \
             digits",
        ),
    ] {
        let place = Place::new();
        let result = fetch(&place.hub(), &wanted);
        assert!(place.server.seen().is_empty());
        table.fails(fault, &place, result, expected);
    }
}
