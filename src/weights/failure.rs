//! What goes wrong with a weights file, before it is told which file that is.

use std::io;
use std::path::Path;

use crate::error::Error;

/// An error without the file's path.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    Format(String),
    NonFinite {
        tensor: String,
        index: usize,
        value: f32,
    },
}

impl Failure {
    pub(super) fn format(reason: &str) -> Self {
        Failure::Format(reason.to_owned())
    }

    pub(super) fn at(self, path: &Path) -> Error {
        match self {
            Failure::Io(source) => Error::io("read", path)(source),
            Failure::Format(reason) => Error::WeightsFormat {
                path: path.to_path_buf(),
                reason,
            },
            Failure::NonFinite {
                tensor,
                index,
                value,
            } => Error::NonFinite {
                path: path.to_path_buf(),
                tensor,
                index,
                value,
            },
        }
    }
}

impl From<io::Error> for Failure {
    /// Readers report damage as an I/O error of one of these two kinds; any other is the operating
    /// system's.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Failure::Format(format!("it is damaged: {}", shown(&error.to_string())))
            }
            _ => Failure::Io(error),
        }
    }
}

/// Text from a file as it may stand in a message: on one line, without control characters, and
/// short.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
