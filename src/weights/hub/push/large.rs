//! Large files on their way to the hub's storage, by the protocol of Git LFS.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use reqwest::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::PushProgress;
use super::files::Prepared;
use super::reply::{Server, answer, read};
use super::session::{Session, unreadable};
use crate::weights::hub::push_error::PushError;
use crate::weights::hub::transfer::refuse_redirect;

const ASKING: &str = "asking where large files go";
const LFS: &str = "application/vnd.git-lfs+json";
const EXPECTED: &str = "an LFS batch with an address for each file";

#[derive(Deserialize)]
struct Batch {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    /// Nothing is to be done for what is there.
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    #[serde(default)]
    upload: Option<Action>,
    #[serde(default)]
    verify: Option<Action>,
}

/// An address, which may be signed.
#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: Option<BTreeMap<String, Value>>,
}

impl Action {
    fn headers(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.header.iter().flatten()
    }

    /// The bytes of each part, if the storage wants the file in parts.
    fn part_size(&self) -> Option<Result<u64, PushError>> {
        let (_, size) = self.headers().find(|(name, _)| *name == "chunk_size")?;
        let number = match size {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        let number = number.filter(|size| *size > 0);
        Some(number.ok_or_else(|| answer(ASKING, EXPECTED, "parts of no size".to_owned())))
    }

    /// The addresses of the parts, in order.
    fn parts(&self) -> Vec<&str> {
        let part = |(name, address): (&String, _)| {
            let number = name.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.then(|| name.parse::<u64>().ok())??;
            Some((number, Value::as_str(address)?))
        };
        let parts: BTreeMap<u64, &str> = self.headers().filter_map(part).collect();
        parts.into_values().collect()
    }

    /// A request with the headers that the hub asks for.
    fn with_headers(&self, request: RequestBuilder) -> RequestBuilder {
        let mut request = request;
        for (name, value) in self.headers() {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = value.as_str().map(HeaderValue::from_str);
            if let (Ok(name), Some(Ok(value))) = (name, value) {
                request = request.header(name, value);
            }
        }
        request
    }
}

/// How much of all large files was sent.
struct Sent {
    before: u64,
    total: u64,
}

impl Session<'_> {
    /// Sends those large files that the storage does not have yet. Returns the SHA-256 of each that
    /// was sent.
    pub async fn send_large(&self, files: &[&Prepared<'_>]) -> Result<Vec<String>, PushError> {
        let mut objects: BTreeMap<&str, &Prepared<'_>> = BTreeMap::new();
        objects.extend(files.iter().map(|file| (file.sha256.as_str(), *file)));
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        self.step(ASKING);
        let mut batch = self.batch(&objects).await?;
        let mut missing = Vec::new();
        for (oid, file) in objects {
            let place = batch.objects.iter().position(|object| object.oid == oid);
            let Some(place) = place else {
                return Err(answer(
                    ASKING,
                    EXPECTED,
                    format!("nothing of {}", file.file.path),
                ));
            };
            let object = batch.objects.swap_remove(place);
            if let Some(Refused { code, message }) = object.error {
                let file = file.file.path.clone();
                let said = self.hub.presentable(&message);
                return Err(PushError::Object { file, code, said });
            }
            if let Some(actions) = object.actions {
                missing.push((file, actions));
            }
        }
        let sending = missing
            .iter()
            .filter(|(_, actions)| actions.upload.is_some());
        let mut sent = Sent {
            before: 0,
            total: sending.map(|(file, _)| file.bytes).sum(),
        };
        let mut done = Vec::new();
        for (file, actions) in &missing {
            if let Some(upload) = &actions.upload {
                let step = format!("sending {}", file.file.path);
                self.step(&step);
                match upload.part_size() {
                    None => self.send_whole(&step, file, upload, &sent).await?,
                    Some(size) => self.send_parts(&step, file, upload, size?, &sent).await?,
                }
                sent.before += file.bytes;
                done.push(file.sha256.clone());
            }
            if let Some(verify) = &actions.verify {
                self.verify(file, verify).await?;
            }
        }
        Ok(done)
    }

    async fn batch(&self, objects: &BTreeMap<&str, &Prepared<'_>>) -> Result<Batch, PushError> {
        let objects = objects.iter();
        let objects = objects.map(|(oid, file)| json!({ "oid": oid, "size": file.bytes }));
        let body = json!({
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "objects": objects.collect::<Vec<_>>(),
            "hash_algo": "sha256",
            "ref": self.reference(),
        });
        let make = || Ok(lfs(self.lfs_batch(), &body));
        let reply = self.call(ASKING, Server::Hub, &[], make).await?;
        read(ASKING, EXPECTED, &reply)
    }

    async fn send_whole(
        &self,
        step: &str,
        file: &Prepared<'_>,
        action: &Action,
        sent: &Sent,
    ) -> Result<(), PushError> {
        let url = self.address(step, &action.href)?;
        let put = |request| action.with_headers(request);
        self.put(step, file, 0..file.bytes, url, sent, put).await?;
        Ok(())
    }

    async fn send_parts(
        &self,
        step: &str,
        file: &Prepared<'_>,
        action: &Action,
        size: u64,
        sent: &Sent,
    ) -> Result<(), PushError> {
        let addresses = action.parts();
        let expected = file.bytes.div_ceil(size);
        if addresses.len() as u64 != expected {
            let found = format!("{} addresses for {expected} parts", addresses.len());
            return Err(answer(step, EXPECTED, found));
        }
        let mut parts = Vec::new();
        for (number, address) in (1..).zip(addresses) {
            let begin = (number - 1) * size;
            let range = begin..(begin + size).min(file.bytes);
            let url = self.address(step, address)?;
            let etag = self
                .put(step, file, range, url, sent, |request| request)
                .await?;
            let Some(etag) = etag else {
                let found = format!("part {number} without an ETag");
                return Err(answer(step, "an ETag for each part", found));
            };
            parts.push(json!({ "partNumber": number, "etag": etag }));
        }
        let body = json!({ "oid": file.sha256, "parts": parts });
        let url = self.address(step, &action.href)?;
        // The address is signed; nobody but the hub's own routes gets the token.
        let make = || Ok(lfs(self.client.request(Method::POST, url.clone()), &body));
        self.call(step, Server::Storage, &[], make).await?;
        Ok(())
    }

    /// Sends a part of a file, and gives the ETag that it got.
    async fn put(
        &self,
        step: &str,
        file: &Prepared<'_>,
        range: std::ops::Range<u64>,
        url: Url,
        sent: &Sent,
        dress: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Option<String>, PushError> {
        let moved = Arc::new(AtomicU64::new(0));
        let length = range.end - range.start;
        let (before, total) = (sent.before + range.start, sent.total);
        let make = || {
            let events = self.events.clone();
            let tell = move |count| {
                let sent = before + count;
                // Nobody listening is no reason to stop.
                let _ = events.send(PushProgress::Sent { sent, total });
            };
            let body = file.body(range.start, length, Arc::clone(&moved), tell);
            let body = body.map_err(|error| unreadable(file, &error))?;
            let request = dress(self.client.request(Method::PUT, url.clone()));
            // Storage takes no body of unknown length.
            Ok(request.header(CONTENT_LENGTH, length).body(body))
        };
        let reply = self
            .call_moving(step, Server::Storage, &[], &moved, make)
            .await?;
        let etag = reply
            .headers
            .get("etag")
            .and_then(|etag| etag.to_str().ok());
        Ok(etag.filter(|etag| !etag.is_empty()).map(str::to_owned))
    }

    async fn verify(&self, file: &Prepared<'_>, action: &Action) -> Result<(), PushError> {
        let step = format!("verifying {}", file.file.path);
        let url = self.address(&step, &action.href)?;
        let body = json!({ "oid": file.sha256, "size": file.bytes });
        let server = if self.is_hub(&url) {
            Server::Hub
        } else {
            Server::Storage
        };
        let make = || {
            let request = self.client.request(Method::POST, url.clone());
            let request = match server {
                Server::Hub => self.with_token(request),
                Server::Storage => action.with_headers(request),
            };
            Ok(lfs(request, &body))
        };
        self.call(&step, server, &[], make).await?;
        Ok(())
    }

    /// An address that the hub gave.
    fn address(&self, step: &str, href: &str) -> Result<Url, PushError> {
        let Ok(url) = self.hub.endpoint.join(href) else {
            return Err(answer(step, "an address", "something else".to_owned()));
        };
        match refuse_redirect(1, Some(&self.hub.endpoint), &url) {
            None => Ok(url),
            Some(reason) => Err(PushError::Redirect {
                step: step.to_owned(),
                reason,
            }),
        }
    }
}

/// A request in the form of Git LFS.
fn lfs(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request
        .header("accept", LFS)
        .header("content-type", LFS)
        .body(body.to_string())
}
