//! From what a field says to a file.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::data::folder::extensions::Extensions;

/// Finds the files that fields mean.
pub(super) struct ImagePaths<'a> {
    /// What relative paths start from.
    base: &'a Path,
    /// The same, as absolute paths have it.
    absolute: Option<PathBuf>,
    extensions: &'a Extensions,
    /// The images of the folders that were listed, by their names without the extension.
    folders: HashMap<PathBuf, HashMap<OsString, Vec<OsString>>>,
    /// How many paths were given without the extension.
    pub(super) completed: usize,
    /// How many had backslashes.
    pub(super) turned: usize,
}

impl<'a> ImagePaths<'a> {
    pub(super) fn new(base: &'a Path, extensions: &'a Extensions) -> Self {
        Self {
            base,
            absolute: fs::canonicalize(here(base)).ok(),
            extensions,
            folders: HashMap::new(),
            completed: 0,
            turned: 0,
        }
    }

    /// Whether a field ends as the name of an image does.
    pub(super) fn looks_like_image(&self, field: &str) -> bool {
        self.extensions.is_image(field)
    }

    /// Whether a field names an image that is there.
    pub(super) fn is_there(&mut self, field: &str) -> bool {
        let (completed, turned) = (self.completed, self.turned);
        let found = match self.find(field) {
            Ok(path) => self.base.join(path).is_file(),
            Err(_) => true,
        };
        (self.completed, self.turned) = (completed, turned);
        found && !field.is_empty()
    }

    /// The path that a field means: relative to the base, or absolute. A file that is not there is
    /// left to the check of the images.
    ///
    /// # Errors
    /// The names of the images, if there are several that fit a name without extension.
    pub(super) fn find(&mut self, field: &str) -> Result<PathBuf, Vec<String>> {
        // `./a.png` and `a.png` are the same file.
        let given = without_dots(field);
        if cfg!(not(windows)) && field.contains('\\') && !self.exists(&given) {
            let turned = without_dots(&field.replace('\\', "/"));
            let path = self.with_extension(&turned)?;
            if self.exists(&path) {
                self.turned += 1;
                return Ok(path);
            }
        }
        self.with_extension(&given)
    }

    fn exists(&self, path: &Path) -> bool {
        fs::symlink_metadata(self.base.join(path)).is_ok()
    }

    /// Ids stand for the images that are called so.
    fn with_extension(&mut self, path: &Path) -> Result<PathBuf, Vec<String>> {
        let given = || Ok(path.to_path_buf());
        if self.extensions.is_image(path) || self.exists(path) {
            return given();
        }
        let Some(name) = path.file_name() else {
            return given();
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        if !self.folders.contains_key(folder) {
            let images = images(&self.base.join(folder), self.extensions);
            self.folders.insert(folder.to_path_buf(), images);
        }
        let images = self.folders.get(folder).and_then(|names| names.get(name));
        match images.map(Vec::as_slice) {
            None | Some([]) => given(),
            Some([image]) => {
                self.completed += 1;
                Ok(folder.join(image))
            }
            Some(images) => {
                let mut names: Vec<String> = images
                    .iter()
                    .map(|name| name.to_string_lossy().into_owned())
                    .collect();
                names.sort_unstable();
                Err(names)
            }
        }
    }

    /// The path from here on.
    pub(super) fn full(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// What is the same for all ways to name a file below the base.
    pub(super) fn key<'p>(&self, path: &'p Path) -> &'p Path {
        let absolute = self.absolute.as_deref();
        let bases = [absolute, path.is_absolute().then_some(self.base)];
        let below = |base: &Path| path.strip_prefix(base).ok();
        bases.into_iter().flatten().find_map(below).unwrap_or(path)
    }
}

/// An empty path is the folder one is in.
fn here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        return Path::new(".");
    }
    folder
}

fn without_dots(field: &str) -> PathBuf {
    Path::new(field)
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect()
}

/// The images of a folder by their names without the extension; none if it cannot be read.
fn images(folder: &Path, extensions: &Extensions) -> HashMap<OsString, Vec<OsString>> {
    let mut images: HashMap<OsString, Vec<OsString>> = HashMap::new();
    for entry in fs::read_dir(here(folder)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let path = Path::new(&name);
        if let Some(stem) = path.file_stem().filter(|_| extensions.is_image(path)) {
            images.entry(stem.to_owned()).or_default().push(name);
        }
    }
    images
}
