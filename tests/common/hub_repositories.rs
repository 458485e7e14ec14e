//! The routes of the hub by which a repository is created and filled: create, branch, preupload, LFS
//! and commit.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, Seen, git_sha1, missing, sha256};

/// What was pushed.
#[derive(Default)]
pub struct Written {
    pub repositories: BTreeMap<String, Repository>,
    /// What lies in the storage, by its SHA-256.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// Commits that were made.
    pub commits: usize,
    /// The size of the parts in which large files are taken; whole, if it is `None`.
    pub part_size: Option<usize>,
    /// Whether answers leave out what the repository has, as those of an old server.
    pub no_oids: bool,
    parts: BTreeMap<(String, usize), Vec<u8>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Repository {
    pub private: bool,
    pub branches: BTreeMap<String, Branch>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Branch {
    pub commit: String,
    pub files: BTreeMap<String, Vec<u8>>,
    /// Of the newest commit.
    pub message: String,
}

impl Written {
    /// A repository as it is after it was created.
    pub fn create(&mut self, name: &str, private: bool) {
        let branch = Branch {
            commit: git_sha1(name.as_bytes()),
            files: BTreeMap::from([(".gitattributes".to_owned(), b"*.safetensors".to_vec())]),
            message: "initial commit".to_owned(),
        };
        let branches = BTreeMap::from([("main".to_owned(), branch)]);
        let repository = Repository { private, branches };
        self.repositories.insert(name.to_owned(), repository);
    }

    /// The answer to a request of these routes. `storage` is the address that large files go to.
    pub fn answer(&mut self, storage: &str, seen: &Seen) -> Option<Answer> {
        let path = seen.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let parts = parts.as_slice();
        let writes = seen.method == "POST" && !matches!(parts, ["complete", _]);
        if writes && !seen.headers.contains_key("authorization") {
            return Some(Answer::new(
                401,
                r#"{"error": "Invalid username or password."}"#,
            ));
        }
        Some(match (seen.method.as_str(), parts) {
            ("POST", ["api", "repos", "create"]) => {
                let body = json_of(seen);
                let text = |key: &str| body[key].as_str().unwrap().to_owned();
                let name = format!("{}/{}", text("organization"), text("name"));
                if self.repositories.contains_key(&name) {
                    return Some(Answer::new(
                        409,
                        r#"{"error": "You already created this model repo"}"#,
                    ));
                }
                self.create(&name, body["private"] == true);
                answer(&json!({ "name": name, "url": "http://hub" }))
            }
            ("GET", ["api", "models", owner, name, rest @ ..]) => {
                let repository = self.repositories.get(&format!("{owner}/{name}"))?;
                let revision = match rest {
                    [] => "main".to_owned(),
                    ["revision", revision] => revision.replace("%2F", "/"),
                    _ => return None,
                };
                match repository.branches.get(&revision) {
                    Some(branch) => {
                        answer(&json!({ "private": repository.private, "sha": branch.commit }))
                    }
                    None => missing("RevisionNotFound"),
                }
            }
            ("POST", ["api", "models", owner, name, route, revision]) => {
                let revision = revision.replace("%2F", "/");
                let name = format!("{owner}/{name}");
                match *route {
                    "branch" => self.branch(&name, &revision),
                    "preupload" => self.preupload(&name, &revision, seen),
                    "commit" => self.commit(&name, &revision, seen),
                    _ => return None,
                }
            }
            ("POST", [_, _, "info", "lfs", "objects", "batch"]) => self.batch(storage, seen),
            ("PUT", ["storage", oid]) => self.store((*oid).to_owned(), seen.body.clone()),
            ("PUT", ["storage", oid, part]) => {
                let part: usize = part.parse().unwrap();
                let place = ((*oid).to_owned(), part);
                self.parts.insert(place, seen.body.clone());
                Answer::new(200, "").with("etag", &format!("\"{oid}-{part}\""))
            }
            ("POST", ["complete", oid]) => {
                let body = json_of(seen);
                let mut whole = Vec::new();
                for (place, part) in (1..).zip(body["parts"].as_array().unwrap()) {
                    assert_eq!(part["partNumber"], place);
                    assert_eq!(part["etag"], format!("\"{oid}-{place}\""));
                    whole.extend(&self.parts[&((*oid).to_owned(), place)]);
                }
                self.store((*oid).to_owned(), whole)
            }
            ("POST", ["verify", oid]) => {
                let size = self.objects.get(*oid).map(Vec::len);
                match size {
                    Some(size) if json_of(seen)["size"] == size => answer(&json!({})),
                    _ => Answer::new(404, r#"{"message": "no such object"}"#),
                }
            }
            _ => return None,
        })
    }

    fn store(&mut self, oid: String, bytes: Vec<u8>) -> Answer {
        if sha256(&bytes) != oid {
            return Answer::new(400, "other bytes than announced");
        }
        self.objects.insert(oid, bytes);
        Answer::new(200, "").with("etag", "\"whole\"")
    }

    fn branch(&mut self, name: &str, revision: &str) -> Answer {
        let Some(repository) = self.repositories.get_mut(name) else {
            return missing("RepoNotFound");
        };
        if repository.branches.contains_key(revision) {
            return Answer::new(409, "it exists");
        }
        let main = repository.branches["main"].clone();
        repository.branches.insert(revision.to_owned(), main);
        answer(&json!({}))
    }

    fn preupload(&self, name: &str, revision: &str, seen: &Seen) -> Answer {
        let Some(branch) = self.find(name, revision) else {
            return missing("RevisionNotFound");
        };
        let body = json_of(seen);
        let files = body["files"].as_array().unwrap().iter().map(|file| {
            let path = file["path"].as_str().unwrap();
            let large = path.ends_with(".safetensors");
            let known = branch.files.get(path).filter(|_| !self.no_oids);
            let oid = known.map(|bytes| {
                if large {
                    sha256(bytes)
                } else {
                    git_sha1(bytes)
                }
            });
            json!({
                "path": path,
                "uploadMode": if large { "lfs" } else { "regular" },
                "shouldIgnore": false,
                "oid": oid,
            })
        });
        answer(&json!({ "files": files.collect::<Vec<_>>() }))
    }

    fn batch(&self, storage: &str, seen: &Seen) -> Answer {
        let body = json_of(seen);
        assert_eq!(body["operation"], "upload");
        assert_eq!(body["hash_algo"], "sha256");
        let hub = format!("http://{}", seen.headers["host"]);
        let objects = body["objects"].as_array().unwrap().iter().map(|object| {
            let oid = object["oid"].as_str().unwrap();
            let size = object["size"].as_u64().unwrap() as usize;
            if self.objects.contains_key(oid) {
                return json!({ "oid": oid, "size": size });
            }
            let upload = match self.part_size {
                None => json!({ "href": format!("{storage}/storage/{oid}?signature=secret") }),
                Some(part) => {
                    let mut header = json!({ "chunk_size": part.to_string() });
                    for number in 1..=size.div_ceil(part) {
                        let href = format!("{storage}/storage/{oid}/{number}?signature=secret");
                        header[format!("{number:05}")] = json!(href);
                    }
                    let href = format!("{hub}/complete/{oid}?signature=secret");
                    json!({ "href": href, "header": header })
                }
            };
            let verify = json!({ "href": format!("{hub}/verify/{oid}") });
            json!({ "oid": oid, "size": size, "actions": { "upload": upload, "verify": verify } })
        });
        let transfer = self.part_size.map_or("basic", |_| "multipart");
        answer(&json!({ "transfer": transfer, "objects": objects.collect::<Vec<_>>() }))
    }

    fn commit(&mut self, name: &str, revision: &str, seen: &Seen) -> Answer {
        let Some(branch) = self.find(name, revision) else {
            return missing("RevisionNotFound");
        };
        // All of it or nothing.
        let mut branch = branch.clone();
        for line in String::from_utf8(seen.body.clone()).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let value = &line["value"];
            let path = || value["path"].as_str().unwrap().to_owned();
            match line["key"].as_str().unwrap() {
                "header" => {
                    let parent = value["parentCommit"].as_str();
                    if parent.is_some_and(|parent| parent != branch.commit) {
                        return Answer::new(412, r#"{"error": "A commit has happened since."}"#);
                    }
                    branch.message = value["summary"].as_str().unwrap().to_owned();
                }
                "lfsFile" => {
                    let oid = value["oid"].as_str().unwrap();
                    match self.objects.get(oid) {
                        Some(bytes) if value["size"] == bytes.len() => {
                            branch.files.insert(path(), bytes.clone());
                        }
                        _ => return Answer::new(400, r#"{"error": "no such LFS object"}"#),
                    }
                }
                "file" => {
                    assert_eq!(value["encoding"], "base64");
                    let content = value["content"].as_str().unwrap();
                    branch.files.insert(path(), of_base64(content));
                }
                key => panic!("{key}"),
            }
        }
        self.commits += 1;
        branch.commit = git_sha1(format!("{}{}", branch.commit, self.commits).as_bytes());
        let commit = branch.commit.clone();
        let repository = self.repositories.get_mut(name).unwrap();
        repository.branches.insert(revision.to_owned(), branch);
        answer(&json!({ "success": true, "commitOid": commit, "commitUrl": "http://hub" }))
    }

    fn find(&self, name: &str, revision: &str) -> Option<&Branch> {
        self.repositories.get(name)?.branches.get(revision)
    }
}

fn answer(value: &Value) -> Answer {
    Answer::new(200, value.to_string()).with("content-type", "application/json")
}

fn json_of(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

fn of_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut value, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let digit = DIGITS.iter().position(|known| *known == digit).unwrap();
        value = value << 6 | digit as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((value >> bits) as u8);
            value &= (1 << bits) - 1;
        }
    }
    bytes
}
