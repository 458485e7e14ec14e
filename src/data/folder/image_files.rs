//! Images without labels: the files of a folder, in folders below it too.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::directory::Directory;
use super::extensions::Extensions;
use super::left_out::LeftOut;
use super::options::FolderOptions;
use super::report::Skipped;
use super::warning::FolderWarning;
use crate::error::{Error, Result};

/// The images in a folder and in the folders below it, for a prediction: no classes are looked for.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ImageFiles {
    /// The images, in the order of their paths.
    pub files: Vec<PathBuf>,
    /// Images by their name that are no files, and folders that cannot be read.
    pub broken: Vec<Skipped>,
    /// What was left out because of its name.
    pub(crate) left_out: LeftOut,
    /// Links that lead to a folder twice.
    pub(crate) warnings: Vec<FolderWarning>,
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
        let extensions = Extensions::new(&options.extensions)?;
        let mut found = Self::default();
        let mut seen = HashSet::new();
        let mut pending = vec![folder.to_path_buf()];
        while let Some(path) = pending.pop() {
            match found.read(&path, &extensions, &mut seen) {
                Ok(folders) => pending.extend(folders),
                Err(error) if path == folder => return Err(error),
                Err(error) => found.broken.push(Skipped::new(&path, &error)),
            }
        }
        found.files.sort();
        found.broken.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Links that lead to a folder twice, in lines for a person.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(ToString::to_string)
    }

    /// What was left out because of its name, in lines for a person.
    pub fn left_out(&self) -> Vec<String> {
        self.left_out.lines()
    }

    /// Takes the images of one folder; what comes back are the folders in it.
    fn read(
        &mut self,
        folder: &Path,
        extensions: &Extensions,
        seen: &mut HashSet<PathBuf>,
    ) -> Result<Vec<PathBuf>> {
        let canonical = fs::canonicalize(folder).map_err(Error::io("read", folder))?;
        if !seen.insert(canonical) {
            self.warnings
                .push(FolderWarning::SameFolder(folder.to_path_buf()));
            return Ok(Vec::new());
        }
        let directory = Directory::read(folder, extensions, &mut self.left_out)?;
        let images = directory.images.iter().map(|name| folder.join(name));
        self.files.extend(images);
        let broken = directory.broken.iter();
        self.broken
            .extend(broken.map(|entry| Skipped::new(&entry.path, &entry.error)));
        let folders = directory.folders.iter();
        Ok(folders
            .map(|subfolder| folder.join(&subfolder.name))
            .collect())
    }
}
