//! The images of classes, each in a folder of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::directory::{Directory, Subfolder};
use super::extensions::Extensions;
use super::left_out::{by_extension, unread_format};
use super::options::{Broken, FolderOptions};
use super::part::Part;
use super::report::{Division, FolderReport};
use super::warning::FolderWarning;
use crate::data::message::{first_names, quoted};
use crate::data::target::Task;
use crate::error::{Error, Result};

/// A folder that holds a folder for each class.
pub(super) struct PartFolder {
    pub(super) base: PathBuf,
    pub(super) folders: Vec<Subfolder>,
    /// How many images are directly in it.
    pub(super) images: usize,
}

/// The classes in a [`PartFolder`].
pub(super) struct ClassFolders {
    pub(super) base: PathBuf,
    pub(super) classes: Vec<ClassFolder>,
}

pub(super) struct ClassFolder {
    pub(super) name: String,
    /// The images, relative to the base.
    pub(super) files: Vec<Box<Path>>,
    pub(super) beside: Beside,
}

/// What a class's folder has beside images.
#[derive(Clone, Default)]
pub(super) struct Beside {
    /// Files with other extensions.
    others: BTreeMap<String, usize>,
    /// Images that were skipped.
    pub(super) broken: usize,
}

impl Beside {
    /// Whether there are images that cannot be read.
    fn has_images(&self) -> bool {
        let unread = |extension: &String| unread_format(extension).is_some();
        self.broken > 0 || self.others.keys().any(unread)
    }
}

impl fmt::Display for Beside {
    /// ` (2 .txt, 1 broken)`, or nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = by_extension(&self.others);
        if self.broken > 0 {
            parts.push(format!("{} broken", self.broken));
        }
        if parts.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", parts.join(", "))
    }
}

impl ClassFolders {
    pub(super) fn names(&self) -> Vec<String> {
        self.classes.iter().map(|c| c.name.clone()).collect()
    }

    /// Refuses a single class with folders of its own: a folder too high was given, perhaps.
    pub(super) fn not_too_high(&self) -> Result<()> {
        let [class] = self.classes.as_slice() else {
            return Ok(());
        };
        let Some(inner) = class.inner_folder() else {
            return Ok(());
        };
        let found = format!(
            "one folder, `{}`, that holds folders itself; give {} if that is the data set",
            class.name,
            self.base.join(inner).display()
        );
        Err(Error::data(&self.base, "a folder for each class", found))
    }

    /// Says so where all classes hold the same folders and nothing else, and refuses it where one is called
    /// as a part may be, such as `train_v2`: the classes are those folders then.
    pub(super) fn same_folders_within(&self) -> Result<Option<FolderWarning>> {
        let mut within = self.classes.iter().map(ClassFolder::folders_within);
        let Some(Some(folders)) = within.next() else {
            return Ok(None);
        };
        let are_same = within.all(|other| other.as_ref() == Some(&folders));
        if !are_same || folders.len() < 2 || self.classes.len() < 2 {
            return Ok(None);
        }
        let names = self.names();
        let like_part = names.iter().find(|name| {
            let mut words = name.split(|c: char| !c.is_alphanumeric());
            words.any(|word| Part::of_folder(word).is_some())
        });
        let folders: Vec<String> = folders.into_iter().collect();
        let [classes, folders] = [&names, &folders].map(|names| first_names(names));
        let Some(part) = like_part else {
            let path = self.base.clone();
            return Ok(Some(FolderWarning::SameFoldersWithin {
                path,
                classes,
                folders,
            }));
        };
        let found = format!(
            "{classes}, which all hold the folders {folders}; if `{part}` is a part of the images and no class, \
             call the parts `train`, `val` and `test`"
        );
        Err(Error::data(&self.base, "a folder for each class", found))
    }

    /// Refuses parts within a class, which would be mixed.
    pub(super) fn no_parts_within(&self) -> Result<()> {
        for class in &self.classes {
            let parts = class.part_folders();
            if parts.len() < 2 || !parts.values().any(|part| *part == Part::Train) {
                continue;
            }
            let names: Vec<String> = parts.keys().map(|name| format!("`{name}`")).collect();
            let found = format!(
                "the parts {}; put the parts above the classes (train/CLASS, val/CLASS), or give \
                 this folder if it is the data set",
                names.join(", ")
            );
            let path = self.base.join(&class.name);
            return Err(Error::data(path, "the images of one class", found));
        }
        Ok(())
    }
}

impl ClassFolder {
    /// The first folder within that holds more than one folder, if every image lies in these.
    fn inner_folder(&self) -> Option<PathBuf> {
        let mut inner = PathBuf::from(&self.name);
        loop {
            let mut names = BTreeSet::new();
            for file in &self.files {
                let mut below = file.strip_prefix(&inner).ok()?.components();
                let first = below.next()?;
                // An image directly in it.
                below.next()?;
                names.insert(first.as_os_str());
            }
            if names.len() > 1 {
                return Some(inner);
            }
            let only = names.first()?.to_owned();
            inner.push(only);
        }
    }

    /// The names of the folders directly in it, if every image lies in these.
    fn folders_within(&self) -> Option<BTreeSet<String>> {
        let folder = |file: &Path| {
            let mut below = file.components().skip(1);
            let first = below.next()?;
            below.next()?;
            Some(first.as_os_str().to_string_lossy().into_owned())
        };
        self.files.iter().map(|file| folder(file)).collect()
    }

    /// The folders directly in it that hold images and have the names of parts.
    fn part_folders(&self) -> BTreeMap<String, Part> {
        let mut parts = BTreeMap::new();
        for file in &self.files {
            let mut below = file.components().skip(1);
            if let (Some(folder), Some(_)) = (below.next(), below.next())
                && let Some(name) = folder.as_os_str().to_str()
                && let Some(part) = Part::named(name)
            {
                parts.insert(name.to_owned(), part);
            }
        }
        parts
    }
}

/// Finds the images of classes, folder by folder.
pub(super) struct Walk {
    pub(super) extensions: Extensions,
    pub(super) broken: Broken,
    pub(super) report: FolderReport,
    /// Whether a link may make a folder one of several classes.
    several_labels: bool,
}

/// A folder that is still to be read.
struct Pending {
    /// Relative to the base.
    path: PathBuf,
    is_link: bool,
    /// How many folders are above it, from the base on.
    depth: usize,
}

impl Walk {
    pub(super) fn new(extensions: Extensions, options: &FolderOptions) -> Self {
        Self {
            extensions,
            broken: options.broken,
            report: FolderReport::new(Division::Undivided),
            several_labels: options.task == Task::MultiLabel,
        }
    }

    pub(super) fn warn(&mut self, warning: FolderWarning) {
        self.report.warnings.push(warning);
    }

    fn read(&mut self, folder: &Path) -> Result<Directory> {
        Directory::read(folder, &self.extensions, &mut self.report.left_out)
    }

    pub(super) fn part_folder(&mut self, base: &Path) -> Result<PartFolder> {
        let directory = self.read(base)?;
        let mut images = directory.images.len();
        for entry in directory.broken {
            if entry.is_link {
                self.report.broken(&entry.path, entry.error, self.broken)?;
            } else {
                images += 1;
            }
        }
        Ok(PartFolder {
            base: base.to_path_buf(),
            folders: directory.folders,
            images,
        })
    }

    /// Says so where images are beside the folders of the classes.
    pub(super) fn warn_of_stray_images(&mut self, folder: &PartFolder) {
        if folder.images > 0 {
            self.warn(FolderWarning::StrayImages {
                path: folder.base.clone(),
                count: folder.images,
            });
        }
    }

    /// Takes away the classes whose folders have no images, and says so. A folder with images that
    /// cannot be read was meant to be a class, and stays.
    pub(super) fn drop_empty(&mut self, folders: &mut ClassFolders, stays: impl Fn(&str) -> bool) {
        folders.classes.retain(|class| {
            if !class.files.is_empty() || class.beside.has_images() || stays(&class.name) {
                return true;
            }
            self.report.warnings.push(FolderWarning::EmptyClass {
                path: folders.base.join(&class.name),
                beside: class.beside.to_string(),
            });
            false
        });
    }

    /// Finds the images of all classes.
    pub(super) fn class_folders(&mut self, folder: PartFolder) -> Result<ClassFolders> {
        self.warn_of_stray_images(&folder);
        let base = folder.base;
        // The canonical paths of the base and of the folders on the way to the one that is read.
        let mut above = vec![canonical(&base)?];
        // Every folder by its canonical path: the class, and the path that led there.
        let mut seen: HashMap<PathBuf, (usize, PathBuf)> = HashMap::new();
        let mut classes = Vec::with_capacity(folder.folders.len());
        for (index, Subfolder { name, is_link }) in folder.folders.into_iter().enumerate() {
            let mut class = ClassFolder {
                name: class_name(&base, &name)?,
                files: Vec::new(),
                beside: Beside::default(),
            };
            let mut groups: Vec<(PathBuf, Vec<Box<Path>>)> = Vec::new();
            let mut pending = vec![Pending {
                path: PathBuf::from(name),
                is_link,
                depth: 1,
            }];
            while let Some(folder) = pending.pop() {
                let path = base.join(&folder.path);
                above.truncate(folder.depth);
                let canonical = enter(&path, folder.is_link, &above)?;
                match seen.get(&canonical) {
                    Some((first, _)) if *first == index => {
                        self.warn(FolderWarning::SameFolder(path));
                        continue;
                    }
                    Some((_, before)) if !self.several_labels => {
                        let found = format!("the same folder as {}", base.join(before).display());
                        return Err(Error::data(path, "a folder of one class", found));
                    }
                    // Classes come one by one, so the last one that has a folder is remembered.
                    _ => {}
                }
                seen.insert(canonical.clone(), (index, folder.path.clone()));
                above.push(canonical);
                let files = self.files(&path, &folder, &mut class.beside, &mut pending)?;
                groups.push((folder.path, files));
            }
            // As torchvision sorts them: by the folder's path as text.
            groups.sort_by_cached_key(|(folder, _)| with_slashes(folder));
            class.files = groups.into_iter().flat_map(|(_, files)| files).collect();
            classes.push(class);
        }
        Ok(ClassFolders { base, classes })
    }

    /// The images in one folder; the folders in it become pending.
    fn files(
        &mut self,
        path: &Path,
        folder: &Pending,
        beside: &mut Beside,
        pending: &mut Vec<Pending>,
    ) -> Result<Vec<Box<Path>>> {
        let directory = self.read(path)?;
        for entry in directory.broken {
            self.report.broken(&entry.path, entry.error, self.broken)?;
            beside.broken += 1;
        }
        for (extension, count) in directory.others {
            *beside.others.entry(extension).or_default() += count;
        }
        // The first one is read first, so that of two faults the same one is always named.
        let subfolders = directory.folders.into_iter().rev();
        pending.extend(subfolders.map(|subfolder| Pending {
            path: folder.path.join(&subfolder.name),
            is_link: subfolder.is_link,
            depth: folder.depth + 1,
        }));
        let images = directory.images.iter();
        Ok(images
            .map(|name| folder.path.join(name).into_boxed_path())
            .collect())
    }
}

/// The canonical path of a folder, unless a link leads back into one of those above it.
fn enter(path: &Path, is_link: bool, above: &[PathBuf]) -> Result<PathBuf> {
    if let (false, Some(parent)) = (is_link, above.last()) {
        // A folder that is no link cannot hold itself; this saves asking the system.
        return Ok(parent.join(path.file_name().unwrap_or_default()));
    }
    let canonical = canonical(path)?;
    if above.iter().any(|above| above.starts_with(&canonical)) {
        let place = canonical.display();
        let found = format!("a link back to {place}, which holds it: a loop");
        return Err(Error::data(path, "a folder", found));
    }
    Ok(canonical)
}

/// A path as bytes with `/` between its parts, on every system.
fn with_slashes(path: &Path) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.iter().map(|part| part.as_encoded_bytes()).collect();
    parts.join(&b'/')
}

/// The class that a folder's name says, which becomes a line of `classes.txt`.
fn class_name(base: &Path, folder: &OsStr) -> Result<String> {
    let (expected, found) = match folder.to_str() {
        Some(name) if !name.contains(['\n', '\r']) => return Ok(name.to_owned()),
        Some(name) => ("a class's name on one line", quoted(name)),
        None => ("a class's name in UTF-8", "other bytes".to_owned()),
    };
    Err(Error::data(base.join(folder), expected, found))
}

fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(Error::io("read", path))
}
