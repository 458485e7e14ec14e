//! Checksums, as the hub announces them and as blobs in the cache are called.

use std::fmt;
use std::io;
use std::path::Path;

use sha1::{Digest as _, Sha1};

use crate::files::{hex, read_in_pieces};

/// A checksum that the hub announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    /// Of a file in Git LFS or Xet: the SHA-256 of its bytes.
    Sha256(String),
    /// Of a file in Git itself: the name of its blob, which is a SHA-1 over its size and bytes.
    Git(String),
}

impl Checksum {
    /// What an ETag of the hub, or the name of a blob in the cache, says about the content.
    pub fn from_etag(etag: &str) -> Option<Checksum> {
        if is_hex(etag, 64) {
            Some(Checksum::Sha256(etag.to_owned()))
        } else if is_hex(etag, 40) {
            Some(Checksum::Git(etag.to_owned()))
        } else {
            None
        }
    }

    /// The checksum of a file, of the same kind as this one. `sha256` is that of the file.
    pub fn same_kind_of(&self, path: &Path, sha256: &str) -> io::Result<Checksum> {
        Ok(match self {
            Checksum::Sha256(_) => Checksum::Sha256(sha256.to_owned()),
            Checksum::Git(_) => Checksum::Git(git_sha1_of(path)?),
        })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checksum::Sha256(sum) => write!(f, "SHA-256 {sum}"),
            Checksum::Git(sum) => write!(f, "git blob SHA-1 {sum}"),
        }
    }
}

/// Whether `text` is `digits` lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == digits && text.bytes().all(is_digit)
}

/// Whether `text` is a commit, whole and in lower case.
pub(super) fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

fn git_sha1_of(path: &Path) -> io::Result<String> {
    let mut state = Sha1::new();
    let bytes = std::fs::metadata(path)?.len();
    state.update(format!("blob {bytes}\0"));
    read_in_pieces(path, |piece| state.update(piece))?;
    Ok(hex(&state.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::sha256_of;

    const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    const GIT: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    #[test]
    fn checksums_are_those_of_sha256sum_and_git() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "hello\n").unwrap();
        assert_eq!(sha256_of(&path).unwrap(), SHA256);
        // `echo hello | git hash-object --stdin`
        assert_eq!(git_sha1_of(&path).unwrap(), GIT);
    }

    #[test]
    fn etags_are_checksums_by_their_length() {
        let sha256 = Checksum::Sha256(SHA256.to_owned());
        assert_eq!(Checksum::from_etag(SHA256), Some(sha256));
        let git = Checksum::Git(GIT.to_owned());
        assert_eq!(Checksum::from_etag(GIT), Some(git));
        assert_eq!(Checksum::from_etag(&GIT.to_uppercase()), None);
        assert_eq!(Checksum::from_etag(&GIT[1..]), None);
        assert_eq!(Checksum::from_etag(""), None);
    }
}
