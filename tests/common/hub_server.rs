//! A server on 127.0.0.1 that speaks the routes of the Hugging Face hub which a download and a push
//! need, and fails as it is told to.

mod hub_repositories;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha1::Digest;

#[allow(unused_imports)]
pub use hub_repositories::{Branch, Repository, Written};

/// The commit that `main` means.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `HEAD`, `GET`, `POST` or `PUT`.
    pub method: String,
    /// The path and the query.
    pub path: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// What was sent; nothing for a hook that is asked before.
    pub body: Vec<u8>,
}

/// What is sent back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, without the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The length that is announced for the body, if it is not its own.
    pub length: Option<usize>,
    /// Whether a length is announced at all.
    pub no_length: bool,
    /// After how many bytes of the body to be silent for a while, and then to close the connection.
    pub silent_after: Option<usize>,
    /// Whether the connection is closed without a word.
    pub cut: bool,
}

impl Answer {
    /// An answer with a body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            body: body.into(),
            length: None,
            no_length: false,
            silent_after: None,
            cut: false,
        }
    }

    /// A connection that is closed without a word.
    pub fn cut() -> Answer {
        Answer {
            cut: true,
            ..Answer::new(500, "")
        }
    }

    /// The same with another value for a header.
    pub fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same without a header.
    pub fn without(mut self, name: &str) -> Answer {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }
}

type Hook = Box<dyn FnMut(&Seen, Answer) -> Answer + Send>;
type Refusal = Box<dyn FnMut(&Seen) -> Option<Answer> + Send>;

/// How long a silent answer is silent.
pub const SILENCE: Duration = Duration::from_millis(2500);

struct State {
    repositories: BTreeMap<String, BTreeMap<String, (Vec<u8>, bool)>>,
    storage: String,
    hook: Hook,
    refusal: Refusal,
    seen: Vec<Seen>,
    written: Written,
}

/// A server. Its threads end with the process.
pub struct HubServer {
    /// Its address.
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl HubServer {
    /// A hub with the repository `timm/resnet18`: `model.safetensors` in LFS with the bytes
    /// `model`, and `config.json` in Git.
    pub fn start(model: &[u8]) -> HubServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let files = BTreeMap::from([
            ("model.safetensors".to_owned(), (model.to_vec(), true)),
            ("config.json".to_owned(), (CONFIG.to_vec(), false)),
            (
                "nested/deep/config.json".to_owned(),
                (CONFIG.to_vec(), false),
            ),
        ]);
        let state = Arc::new(Mutex::new(State {
            repositories: BTreeMap::from([("timm/resnet18".to_owned(), files)]),
            storage: url.clone(),
            hook: Box::new(|_, answer| answer),
            refusal: Box::new(|_| None),
            seen: Vec::new(),
            written: Written::default(),
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        HubServer { url, state }
    }

    /// Puts a file into a repository; a large one goes into LFS.
    pub fn put(&self, repository: &str, file: &str, bytes: &[u8], large: bool) {
        let mut state = self.state.lock().unwrap();
        let files = state.repositories.entry(repository.to_owned()).or_default();
        files.insert(file.to_owned(), (bytes.to_vec(), large));
    }

    /// Lets large files be stored at another server.
    pub fn store_at(&self, url: &str) {
        self.state.lock().unwrap().storage = url.to_owned();
    }

    /// Lets `hook` change every answer.
    pub fn on(&self, hook: impl FnMut(&Seen, Answer) -> Answer + Send + 'static) {
        self.state.lock().unwrap().hook = Box::new(hook);
    }

    /// Lets `refusal` answer before a request is read to its end and anything is done for it.
    pub fn before(&self, refusal: impl FnMut(&Seen) -> Option<Answer> + Send + 'static) {
        self.state.lock().unwrap().refusal = Box::new(refusal);
    }

    /// Lets every answer be the right one again.
    pub fn heal(&self) {
        self.on(|_, answer| answer);
        self.before(|_| None);
    }

    /// Looks at the repositories that were pushed to, or changes them.
    pub fn written<T>(&self, look: impl FnOnce(&mut Written) -> T) -> T {
        look(&mut self.state.lock().unwrap().written)
    }

    /// The requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    /// `host:port`.
    pub fn host(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}

/// The content of `config.json`.
pub const CONFIG: &[u8] = b"{\"architecture\": \"resnet18\"}\n";

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

/// What Git calls a file with some bytes.
pub fn git_sha1(bytes: &[u8]) -> String {
    let mut state = sha1::Sha1::new();
    state.update(format!("blob {}\0", bytes.len()));
    state.update(bytes);
    hex(&state.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let seen = Seen {
        method: first.next().unwrap_or_default().to_owned(),
        path: first.next().unwrap_or_default().to_owned(),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: Vec::new(),
    };
    let refusal = {
        let mut state = state.lock().unwrap();
        (state.refusal)(&seen)
    };
    if refusal.as_ref().is_some_and(|answer| answer.cut) {
        state.lock().unwrap().seen.push(seen);
        return;
    }
    let length = seen.headers.get("content-length");
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut seen = seen;
    seen.body = vec![0; length];
    if stream.read_exact(&mut seen.body).is_err() {
        return;
    }
    let answer = {
        let mut state = state.lock().unwrap();
        state.seen.push(seen.clone());
        match refusal {
            Some(answer) => answer,
            None => {
                let storage = state.storage.clone();
                let written = state.written.answer(&storage, &seen);
                let right = written.unwrap_or_else(|| state.answer(&seen));
                (state.hook)(&seen, right)
            }
        }
    };
    if answer.cut {
        return;
    }
    let _ = send(&mut stream, &seen, &answer);
}

fn send(stream: &mut TcpStream, seen: &Seen, answer: &Answer) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} -\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !answer.no_length {
        let length = answer.length.unwrap_or(answer.body.len());
        head.push_str(&format!("content-length: {length}\r\n"));
    }
    head.push_str("\r\n");
    // Silent from the start means that not even the head is sent.
    if answer.silent_after == Some(0) {
        std::thread::sleep(SILENCE);
        return Ok(());
    }
    stream.write_all(head.as_bytes())?;
    if seen.method == "HEAD" {
        return Ok(());
    }
    match answer.silent_after {
        Some(bytes) => {
            stream.write_all(&answer.body[..bytes])?;
            stream.flush()?;
            std::thread::sleep(SILENCE);
        }
        None => stream.write_all(&answer.body)?,
    }
    stream.flush()
}

impl State {
    fn answer(&self, seen: &Seen) -> Answer {
        let path = seen.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["lfs", sum] => self.store(sum, seen),
            ["api", "models", owner, name, ..] => {
                if self.repositories.contains_key(&format!("{owner}/{name}")) {
                    let json = format!("{{\"id\": \"{owner}/{name}\", \"sha\": \"{COMMIT}\"}}");
                    Answer::new(200, json).with("content-type", "application/json")
                } else {
                    missing("RepoNotFound")
                }
            }
            [owner, name, "resolve", revision, file @ ..] => {
                let Some(files) = self.repositories.get(&format!("{owner}/{name}")) else {
                    return missing("RepoNotFound");
                };
                if !["main", "v1", COMMIT].contains(revision) {
                    return missing("RevisionNotFound");
                }
                match files.get(&file.join("/")) {
                    None => missing("EntryNotFound").with("x-repo-commit", COMMIT),
                    Some((bytes, true)) => {
                        let sum = sha256(bytes);
                        // Signed, as the addresses of the storage are.
                        let storage = format!("{}/lfs/{sum}?signature=secret", self.storage);
                        Answer::new(302, "see there")
                            .with("location", &storage)
                            .with("x-repo-commit", COMMIT)
                            .with("x-linked-etag", &format!("\"{sum}\""))
                            .with("x-linked-size", &bytes.len().to_string())
                            .with("etag", "\"of-the-redirect\"")
                    }
                    Some((bytes, false)) => part(bytes, seen)
                        .with("x-repo-commit", COMMIT)
                        .with("etag", &format!("\"{}\"", git_sha1(bytes))),
                }
            }
            _ => Answer::new(404, "no such route"),
        }
    }

    fn store(&self, sum: &str, seen: &Seen) -> Answer {
        self.repositories
            .values()
            .flat_map(BTreeMap::values)
            .find(|(bytes, _)| sha256(bytes) == sum)
            .map_or_else(
                || Answer::new(404, "no such object"),
                |(bytes, _)| part(bytes, seen),
            )
    }
}

fn missing(code: &str) -> Answer {
    Answer::new(404, "not found")
        .with("x-error-code", code)
        .with("x-error-message", "not found")
}

/// The part of `bytes` that a request asks for.
fn part(bytes: &[u8], seen: &Seen) -> Answer {
    let range = seen
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
        .and_then(|(from, to)| Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?)));
    match range {
        None => Answer::new(200, bytes),
        Some((from, to)) if from <= to && to < bytes.len() => {
            let total = bytes.len();
            Answer::new(206, &bytes[from..=to])
                .with("content-range", &format!("bytes {from}-{to}/{total}"))
        }
        Some(_) => Answer::new(416, "no such range"),
    }
}
