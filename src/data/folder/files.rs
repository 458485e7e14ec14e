//! Images without labels: the files of a folder, in folders below it too.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::FolderOptions;
use super::report::{FolderWarning, Skipped, left_out};
use super::walk::{Kind, broken_link, count, list, set_aside};
use crate::error::{Error, Result};

/// The images in a folder and in the folders below it, for a prediction: no classes are looked for.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ImageFiles {
    /// The images, in the order of their paths.
    pub files: Vec<PathBuf>,
    /// Images by their name that are no files, and folders that cannot be read.
    pub broken: Vec<Skipped>,
    /// How many files and folders have names that begin with a dot.
    pub hidden: usize,
    /// How many files and folders are what systems and tools leave behind, by name.
    pub junk: BTreeMap<String, usize>,
    /// How many files are no images, by their extension in lower case without the dot.
    pub others: BTreeMap<String, usize>,
    /// Links that lead to a folder twice.
    pub warnings: Vec<FolderWarning>,
}

impl ImageFiles {
    /// Looks for files with the [extensions](FolderOptions::extensions) of images. None of them is
    /// opened.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read, [`Error::InvalidArgument`] for an extension that
    /// is none.
    pub fn below(folder: impl AsRef<Path>, options: &FolderOptions) -> Result<Self> {
        let folder = folder.as_ref();
        let extensions = options.checked_extensions()?;
        let mut found = Self::default();
        let mut seen = HashSet::new();
        let mut pending = vec![folder.to_path_buf()];
        while let Some(path) = pending.pop() {
            match found.look_into(&path, &extensions, &mut seen, &mut pending) {
                Ok(()) => {}
                Err(error) if path == folder => return Err(error),
                Err(error) => found.broken.push(Skipped::new(&path, &error)),
            }
        }
        found.files.sort();
        found.broken.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Takes the images of one folder; the folders in it become pending.
    fn look_into(
        &mut self,
        folder: &Path,
        extensions: &BTreeSet<String>,
        seen: &mut HashSet<PathBuf>,
        pending: &mut Vec<PathBuf>,
    ) -> Result<()> {
        let canonical = fs::canonicalize(folder).map_err(Error::io("read", folder))?;
        if !seen.insert(canonical) {
            let path = folder.to_path_buf();
            self.warnings.push(FolderWarning::SameFolder { path });
            return Ok(());
        }
        let is_image = |name: &OsStr| {
            let extension = Path::new(name).extension().and_then(OsStr::to_str);
            extension.is_some_and(|e| extensions.contains(&e.to_ascii_lowercase()))
        };
        for (name, kind) in list(folder)? {
            let path = folder.join(&name);
            match kind {
                _ if set_aside(&name, &mut self.hidden, &mut self.junk) => {}
                Kind::Folder { .. } => pending.push(path),
                Kind::File if is_image(&name) => self.files.push(path),
                Kind::Special if is_image(&name) => self.broken.push(Skipped {
                    path,
                    reason: "expected an image, found no regular file".to_owned(),
                }),
                Kind::File | Kind::Special => count(&mut self.others, &name),
                Kind::BrokenLink(error) => {
                    let error = broken_link(&path, error);
                    self.broken.push(Skipped::new(&path, &error));
                }
            }
        }
        Ok(())
    }

    /// What was left out because of its name, in lines for a person, as
    /// [`FolderReport::left_out`](super::FolderReport::left_out) has them.
    pub fn left_out(&self) -> Vec<String> {
        left_out(&self.others, self.hidden, &self.junk)
    }
}
