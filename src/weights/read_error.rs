//! What goes wrong with a weights file, before it is told which file that is.

use std::io;
use std::path::Path;

use super::quote::{quoted, shown};
use crate::error::Error;

/// An error without the file's path.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    Format(String),
    NonFinite {
        tensor: String,
        index: usize,
        value: f32,
    },
    /// What a caller asked for and the file does not have, or did not ask for and must.
    Choice {
        argument: &'static str,
        expected: String,
        found: String,
    },
}

const KEY: &str = "weights_key (--weights-key)";
const PREFIX: &str = "weights_prefix (--weights-prefix)";

impl ReadError {
    pub(super) fn format(reason: &str) -> Self {
        ReadError::Format(reason.to_owned())
    }

    /// A key that the file does not have; `available` are those it has.
    pub(super) fn unknown_key(key: &str, available: &[String]) -> Self {
        let expected = if available.is_empty() {
            "no key, since the file has none; weights_prefix (--weights-prefix) chooses by names"
                .to_owned()
        } else {
            format!("a key that holds tensors: {}", quoted(available))
        };
        ReadError::Choice {
            argument: KEY,
            expected,
            found: format!("`{}`", shown(key)),
        }
    }

    /// A prefix that no name has; `available` are first segments of the names.
    pub(super) fn unknown_prefix(prefix: &str, available: &[String]) -> Self {
        let expected = if available.is_empty() {
            "no prefix, since the names have no points".to_owned()
        } else {
            format!("what names begin with, such as {}", quoted(available))
        };
        ReadError::Choice {
            argument: PREFIX,
            expected,
            found: format!("`{}`", shown(prefix)),
        }
    }

    /// Several keys whose tensors are those of the model.
    pub(super) fn ambiguous_key(keys: &[&str]) -> Self {
        ReadError::Choice {
            argument: KEY,
            expected: format!("one of {}, which all fit", quoted(keys)),
            found: "nothing".to_owned(),
        }
    }

    /// Several prefixes behind which the names are those of the model.
    pub(super) fn ambiguous_prefix(prefixes: &[&str]) -> Self {
        let mut named: Vec<&str> = prefixes.to_vec();
        named.retain(|prefix| !prefix.is_empty());
        let none = if named.len() < prefixes.len() {
            " (the names without it fit, too, and can be had from a file of their own)"
        } else {
            ""
        };
        ReadError::Choice {
            argument: PREFIX,
            expected: format!("one of {}{none}", quoted(&named)),
            found: "nothing".to_owned(),
        }
    }

    pub(super) fn at(self, path: &Path) -> Error {
        match self {
            ReadError::Choice {
                argument,
                expected,
                found,
            } => Error::argument(format!("{}: {argument}", path.display()), expected, found),
            ReadError::Io(source) => Error::io("read", path)(source),
            ReadError::Format(reason) => Error::WeightsFormat {
                path: path.to_path_buf(),
                reason,
            },
            ReadError::NonFinite {
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

impl From<io::Error> for ReadError {
    /// Readers report damage as an I/O error of one of these two kinds; any other is the operating
    /// system's.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                ReadError::Format(format!("it is damaged: {}", shown(&error.to_string())))
            }
            _ => ReadError::Io(error),
        }
    }
}
