//! A push from its first request to its last.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Sender;
use std::time::Duration;

use reqwest::header::CONTENT_LENGTH;
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::files::{Prepared, counted};
use super::reply::{Attempt, Server, answer, read};
use super::{Push, PushProgress, Pushed, PushedFile};
use crate::http::{cause, client};
use crate::weights::hub::checksum::is_commit;
use crate::weights::hub::push_error::{Left, PushError};
use crate::weights::hub::repetition::Repetitions;
use crate::weights::hub::settings::Hub;

/// Silence is watched by the session itself.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const LOOKING: &str = "looking for the repository";
const COMMITTING: &str = "committing";
/// The message of a commit that has no other.
const MESSAGE: &str = concat!("Push with burn-zoo ", env!("CARGO_PKG_VERSION"));

pub(super) struct Session<'a> {
    pub hub: &'a Hub,
    pub left: Left,
    push: &'a Push,
    files: &'a [Prepared<'a>],
    revision: &'a str,
    token: &'a str,
    pub client: Client,
    pub events: Sender<PushProgress>,
}

/// What the hub says of a branch.
#[derive(Deserialize)]
struct Info {
    private: Option<bool>,
    sha: Option<String>,
}

#[derive(Deserialize)]
struct Preupload {
    files: Vec<Mode>,
}

/// How a file is kept, and what is there now.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mode {
    path: String,
    upload_mode: String,
    #[serde(default)]
    should_ignore: bool,
    #[serde(default)]
    oid: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    commit_oid: String,
}

/// A file beside what the branch has.
pub(super) struct Compared<'a> {
    pub file: &'a Prepared<'a>,
    pub large: bool,
    pub changed: bool,
}

impl<'a> Session<'a> {
    pub fn new(
        hub: &'a Hub,
        token: &'a str,
        push: &'a Push,
        files: &'a [Prepared<'a>],
        events: Sender<PushProgress>,
    ) -> Result<Self, PushError> {
        // A redirect could lead anywhere, with the token and the files.
        let client = client(&hub.endpoint, hub.limits.connect, NEVER)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| PushError::Other(cause(&error)))?;
        Ok(Session {
            hub,
            left: Left::Nothing,
            push,
            files,
            revision: push.revision.as_deref().unwrap_or("main"),
            token,
            client,
            events,
        })
    }

    /// An event for a caller, who may be gone.
    pub fn tell(&self, event: PushProgress) {
        let _ = self.events.send(event);
    }

    pub fn owner(&self) -> &str {
        self.push.repository.split('/').next().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.push.repository.split('/').nth(1).unwrap_or_default()
    }

    pub async fn push(&mut self) -> Result<Pushed, PushError> {
        let (private, created) = self.repository().await?;
        self.left = if created {
            Left::Empty
        } else {
            Left::Unchanged
        };
        if self.push.private && private == Some(false) {
            return Err(PushError::Public);
        }
        let (mut head, created_branch) = self.branch().await?;
        let mut pushed = Pushed {
            url: self.hub.page(&self.push.repository),
            revision: self.revision.to_owned(),
            created,
            created_branch,
            private,
            commit: None,
            files: Vec::new(),
        };
        let mut repetitions = Repetitions::default();
        let mut sent = Vec::new();
        loop {
            let files = self.compare().await?;
            if files.iter().all(|file| !file.changed) {
                if self.left == Left::Unknown {
                    // The commit whose answer was lost has been made.
                    pushed.commit = head;
                } else {
                    pushed.files = self.results(&files, &sent);
                }
                return Ok(pushed);
            }
            let large = files.iter().filter(|file| file.changed && file.large);
            let large: Vec<&Prepared<'_>> = large.map(|file| file.file).collect();
            sent.extend(self.send_large(&large).await?);
            pushed.files = self.results(&files, &sent);
            self.step(COMMITTING);
            let attempt = match self.commit(&files, head.as_deref()).await {
                Ok(commit) => {
                    pushed.commit = Some(commit);
                    return Ok(pushed);
                }
                Err(attempt) => attempt,
            };
            if attempt.may_have_been_heard() {
                // For good: a commit that is not there yet may still come.
                self.left = Left::Unknown;
            }
            self.wait_for_next(COMMITTING, &mut repetitions, attempt)
                .await?;
            head = self.branch_info().await?.and_then(|info| info.sha);
        }
    }

    fn results(&self, files: &[Compared<'_>], sent: &[String]) -> Vec<PushedFile> {
        let result = |file: &Compared<'_>| PushedFile {
            path: file.file.file.path.clone(),
            bytes: file.file.bytes,
            large: file.large,
            changed: file.changed,
            sent: file.changed && (!file.large || sent.contains(&file.file.sha256)),
        };
        files.iter().map(result).collect()
    }

    /// A request to the hub itself.
    pub fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.hub.endpoint.clone();
        // Every http and https address has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.with_token(self.client.request(method, url))
    }

    pub fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(self.token)
    }

    /// The path of a route about the repository.
    fn route<'b>(&'b self, rest: &[&'b str]) -> Vec<&'b str> {
        let mut path = vec!["api", "models", self.owner(), self.name()];
        path.extend(rest);
        path
    }

    /// The repository's `.git` address, as LFS wants it.
    pub fn lfs_batch(&self) -> RequestBuilder {
        let git = format!("{}.git", self.name());
        let path = [self.owner(), &git, "info", "lfs", "objects", "batch"];
        self.request(Method::POST, &path)
    }

    pub fn reference(&self) -> Value {
        json!({ "name": self.revision })
    }

    fn json(&self, request: RequestBuilder, body: &Value) -> RequestBuilder {
        let request = request.header("content-type", "application/json");
        request.body(body.to_string())
    }

    pub fn step(&self, step: &str) {
        self.tell(PushProgress::Step(step.to_owned()));
    }

    /// What the hub says of the repository, or of a revision; nothing if there is none.
    async fn info(&self, rest: &[&str]) -> Result<Option<Info>, PushError> {
        let path = self.route(rest);
        let make = || Ok(self.request(Method::GET, &path));
        let reply = self.call(LOOKING, Server::Hub, &[404], make).await?;
        match reply.status {
            404 => Ok(None),
            _ => read(LOOKING, "what a hub knows of a repository", &reply).map(Some),
        }
    }

    async fn branch_info(&self) -> Result<Option<Info>, PushError> {
        match self.revision {
            "main" => self.info(&[]).await,
            revision => self.info(&["revision", revision]).await,
        }
    }

    /// Sees to it that there is a repository: whether it is private, and whether it was created.
    async fn repository(&mut self) -> Result<(Option<bool>, bool), PushError> {
        const STEP: &str = "creating the repository";
        self.step(LOOKING);
        if let Some(info) = self.info(&[]).await? {
            return Ok((info.private, false));
        }
        self.step(STEP);
        let mut body = json!({
            "type": "model",
            "organization": self.owner(),
            "name": self.name(),
        });
        // Without it the owner's default counts, which may be private, too.
        if self.push.private {
            body["private"] = json!(true);
        }
        let path = ["api", "repos", "create"];
        let make = || Ok(self.json(self.request(Method::POST, &path), &body));
        // Somebody may have been faster, or the answer to the first attempt was lost.
        let reply = self.call(STEP, Server::Hub, &[409], make).await?;
        let created = reply.status != 409;
        self.left = if created {
            Left::Empty
        } else {
            Left::Unchanged
        };
        match self.info(&[]).await? {
            Some(info) => Ok((info.private, created)),
            None => {
                let found = "none after it was created".to_owned();
                Err(answer(STEP, "a repository", found))
            }
        }
    }

    /// Sees to it that there is a branch: its commit, and whether it was created.
    async fn branch(&self) -> Result<(Option<String>, bool), PushError> {
        const STEP: &str = "creating the branch";
        if let Some(info) = self.branch_info().await? {
            return Ok((info.sha, false));
        }
        self.step(STEP);
        let path = self.route(&["branch", self.revision]);
        let make = || Ok(self.json(self.request(Method::POST, &path), &json!({})));
        let reply = self.call(STEP, Server::Hub, &[409], make).await?;
        match self.branch_info().await? {
            Some(info) => Ok((info.sha, reply.status != 409)),
            None => {
                let found = "none after it was created".to_owned();
                Err(answer(STEP, "a branch", found))
            }
        }
    }

    /// How the hub keeps each file, and whether the branch has it as it is.
    async fn compare(&self) -> Result<Vec<Compared<'a>>, PushError> {
        const STEP: &str = "comparing the files";
        const EXPECTED: &str = "how each file is kept";
        self.step(STEP);
        let files = self.files.iter().map(
            |file| json!({ "path": file.file.path, "size": file.bytes, "sample": file.sample }),
        );
        let body = json!({ "files": files.collect::<Vec<_>>() });
        let path = self.route(&["preupload", self.revision]);
        let make = || Ok(self.json(self.request(Method::POST, &path), &body));
        let reply = self.call(STEP, Server::Hub, &[], make).await?;
        let answered: Preupload = read(STEP, EXPECTED, &reply)?;
        let compare = |file: &'a Prepared<'a>| {
            let path = &file.file.path;
            let mode = answered.files.iter().find(|mode| mode.path == *path);
            let mode = mode.ok_or_else(|| answer(STEP, EXPECTED, format!("nothing of {path}")))?;
            if mode.should_ignore {
                return Err(PushError::Ignored { file: path.clone() });
            }
            // Storage takes no empty objects.
            let large = mode.upload_mode == "lfs" && file.bytes > 0;
            let own = if large { &file.sha256 } else { &file.git };
            Ok(Compared {
                file,
                large,
                changed: mode.oid.as_ref() != Some(own),
            })
        };
        self.files.iter().map(compare).collect()
    }

    /// Makes one commit of all files that are new or changed, on top of `head`.
    async fn commit(&self, files: &[Compared<'_>], head: Option<&str>) -> Result<String, Attempt> {
        let message = self.push.message.as_deref().unwrap_or(MESSAGE);
        let mut header = json!({ "summary": message, "description": "" });
        // A commit that came in between is not overwritten.
        if let Some(head) = head {
            header["parentCommit"] = json!(head);
        }
        let mut lines = vec![json!({ "key": "header", "value": header })];
        for file in files.iter().filter(|file| file.changed) {
            let Compared { file, large, .. } = *file;
            let path = &file.file.path;
            lines.push(if large {
                let (oid, size) = (&file.sha256, file.bytes);
                let value = json!({ "path": path, "algo": "sha256", "oid": oid, "size": size });
                json!({ "key": "lfsFile", "value": value })
            } else {
                let content = file.base64().map_err(|error| unreadable(file, &error))?;
                let value = json!({ "path": path, "encoding": "base64", "content": content });
                json!({ "key": "file", "value": value })
            });
        }
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let path = self.route(&["commit", self.revision]);
        let request = self
            .request(Method::POST, &path)
            .header("content-type", "application/x-ndjson")
            .header(CONTENT_LENGTH, body.len());
        let moved = Arc::new(AtomicU64::new(0));
        let request = request.body(counted(Cursor::new(body), Arc::clone(&moved), |_| ()));
        let reply = self
            .attempt(COMMITTING, Server::Hub, &[], &moved, request)
            .await?;
        let expected = "a commit of 40 hexadecimal digits";
        let made: Committed = read(COMMITTING, expected, &reply)?;
        if !is_commit(&made.commit_oid) {
            let found = format!("{:?}", self.hub.presentable(&made.commit_oid));
            return Err(answer(COMMITTING, expected, found).into());
        }
        Ok(made.commit_oid)
    }
}

/// The error of a file on the disk.
pub(super) fn unreadable(file: &Prepared<'_>, error: &std::io::Error) -> PushError {
    PushError::File {
        file: file.file.path.clone(),
        reason: error.to_string(),
    }
}
