//! What is directly in a folder.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::extensions::Extensions;
use super::left_out::{LeftOut, count};
use crate::error::{Error, Result};

/// What is directly in a folder, in the order of the names' bytes, which does not depend on the
/// file system.
#[derive(Default)]
pub(super) struct Directory {
    pub(super) folders: Vec<Subfolder>,
    /// By their names, images.
    pub(super) images: Vec<OsString>,
    pub(super) broken: Vec<BrokenEntry>,
    /// The number of other files, by their extension.
    pub(super) others: BTreeMap<String, usize>,
}

pub(super) struct Subfolder {
    pub(super) name: OsString,
    pub(super) is_link: bool,
}

/// A link to nothing, or what has the name of an image but is no regular file: a pipe, a socket or a
/// device, which may keep whoever opens it waiting for ever.
pub(super) struct BrokenEntry {
    pub(super) path: PathBuf,
    pub(super) is_link: bool,
    pub(super) error: Error,
}

impl Directory {
    /// Reads a folder, and counts in `left_out` what its name leaves out.
    pub(super) fn read(
        folder: &Path,
        extensions: &Extensions,
        left_out: &mut LeftOut,
    ) -> Result<Self> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
            let entry = entry.map_err(Error::io("read", folder))?;
            let kind = entry.file_type();
            let kind = kind.map_err(|error| Error::io("read", entry.path())(error))?;
            entries.push((entry.file_name(), kind));
        }
        entries.sort_by(|a, b| a.0.as_encoded_bytes().cmp(b.0.as_encoded_bytes()));
        let mut directory = Self::default();
        for (name, mut kind) in entries {
            if left_out.takes(&name) {
                continue;
            }
            let path = folder.join(&name);
            let is_link = kind.is_symlink();
            if is_link {
                kind = match fs::metadata(&path) {
                    Ok(target) => target.file_type(),
                    Err(error) => {
                        let error = broken_link(&path, error);
                        directory.broken.push(BrokenEntry {
                            path,
                            is_link,
                            error,
                        });
                        continue;
                    }
                };
            }
            if kind.is_dir() {
                directory.folders.push(Subfolder { name, is_link });
            } else if !extensions.is_image(&name) {
                count(&mut directory.others, &name);
                count(&mut left_out.others, &name);
            } else if kind.is_file() {
                directory.images.push(name);
            } else {
                directory.broken.push(BrokenEntry {
                    error: Error::data(&path, "an image", "no regular file"),
                    path,
                    is_link: false,
                });
            }
        }
        Ok(directory)
    }
}

fn broken_link(path: &Path, error: io::Error) -> Error {
    match fs::read_link(path) {
        Ok(target) if error.kind() == ErrorKind::NotFound => {
            let found = format!("a link to {}, which is not there", target.display());
            Error::data(path, "a file or a folder", found)
        }
        _ => Error::io("read", path)(error),
    }
}
