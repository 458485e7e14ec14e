//! The files of a push, and what the hub wants to know of them before it gets them.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Body;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{Content, PushFile};
use crate::error::{Error, Result};
use crate::files::{hex, read_in_pieces};

/// The beginning of a file by which the hub tells text from binary data.
const SAMPLE: usize = 512;
/// What is read of a file at once while it is sent.
const PIECE: usize = 1 << 18;

/// A file that has been read once.
pub(super) struct Prepared<'a> {
    pub file: &'a PushFile,
    pub bytes: u64,
    pub sha256: String,
    /// What Git calls it.
    pub git: String,
    pub sample: String,
}

impl<'a> Prepared<'a> {
    pub fn new(file: &'a PushFile) -> Result<Self> {
        let bytes = file.bytes()?;
        let mut sha256 = Sha256::new();
        let mut git = Sha1::new();
        git.update(format!("blob {bytes}\0"));
        let mut sample = Vec::new();
        let mut counted = 0;
        let each = |piece: &[u8]| {
            sha256.update(piece);
            git.update(piece);
            sample.extend(piece.iter().take(SAMPLE - sample.len()));
            counted += piece.len() as u64;
        };
        match &file.content {
            Content::Bytes(bytes) => [bytes.as_slice()].into_iter().for_each(each),
            Content::File(path) => {
                read_in_pieces(path, each).map_err(Error::io("read", path))?;
                if counted != bytes {
                    let changed = io::Error::other("it changes while it is read");
                    return Err(Error::io("read", path)(changed));
                }
            }
        }
        Ok(Prepared {
            file,
            bytes,
            sha256: hex(&sha256.finalize()),
            git: hex(&git.finalize()),
            sample: STANDARD.encode(sample),
        })
    }

    /// The whole file as text, for a commit.
    pub fn base64(&self) -> io::Result<String> {
        Ok(match &self.file.content {
            Content::Bytes(bytes) => STANDARD.encode(bytes),
            Content::File(path) => STANDARD.encode(std::fs::read(path)?),
        })
    }

    /// `length` bytes from `from` on as the body of a request. What was handed over is added to
    /// `moved`, and told.
    pub fn body(
        &self,
        from: u64,
        length: u64,
        moved: Arc<AtomicU64>,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Body> {
        Ok(match &self.file.content {
            Content::Bytes(bytes) => {
                let end = usize::try_from(from + length).unwrap_or(usize::MAX);
                let begin = usize::try_from(from).unwrap_or(usize::MAX);
                let part = bytes.get(begin..end.min(bytes.len())).unwrap_or_default();
                counted(Cursor::new(part.to_vec()), moved, tell)
            }
            Content::File(path) => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(from))?;
                counted(file.take(length), moved, tell)
            }
        })
    }
}

/// The body of a request. What of it was handed over is added to `moved`, and told.
pub(super) fn counted(
    source: impl Read + Send + 'static,
    moved: Arc<AtomicU64>,
    tell: impl Fn(u64) + Send + 'static,
) -> Body {
    let state = (source, moved, tell);
    let pieces = futures_util::stream::try_unfold(state, |(mut source, moved, tell)| async move {
        let mut piece = vec![0; PIECE];
        let count = source.read(&mut piece)?;
        if count == 0 {
            return Ok::<_, io::Error>(None);
        }
        piece.truncate(count);
        let before = moved.fetch_add(count as u64, Ordering::Relaxed);
        tell(before + count as u64);
        Ok(Some((piece, (source, moved, tell))))
    });
    Body::wrap_stream(pieces)
}
