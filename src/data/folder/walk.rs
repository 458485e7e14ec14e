//! Finding the images of classes, folder by folder.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Broken;
use super::found::{Beside, LeftOut};
use super::layout::Level;
use super::report::{FolderWarning, Part, shortened};
use crate::error::{Error, Result};

/// What a directory entry is.
pub(super) enum Kind {
    Folder {
        link: bool,
    },
    File,
    /// A pipe, a socket, a device: opening it may wait for ever.
    Special,
    BrokenLink(io::Error),
}

/// The entries of a folder in the order of their names' bytes, which does not depend on the file
/// system.
pub(super) fn list(folder: &Path) -> Result<Vec<(OsString, Kind)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let kind = entry.file_type();
        let kind = kind.map_err(|error| Error::io("read", entry.path())(error))?;
        let kind = if kind.is_symlink() {
            match fs::metadata(entry.path()) {
                Ok(target) if target.is_dir() => Kind::Folder { link: true },
                Ok(target) if target.is_file() => Kind::File,
                Ok(_) => Kind::Special,
                Err(error) => Kind::BrokenLink(error),
            }
        } else if kind.is_dir() {
            Kind::Folder { link: false }
        } else if kind.is_file() {
            Kind::File
        } else {
            Kind::Special
        };
        entries.push((entry.file_name(), kind));
    }
    entries.sort_by(|a, b| a.0.as_encoded_bytes().cmp(b.0.as_encoded_bytes()));
    Ok(entries)
}

pub(super) fn broken_link(path: &Path, error: io::Error) -> Error {
    match fs::read_link(path) {
        Ok(target) if error.kind() == ErrorKind::NotFound => Error::Data {
            path: path.to_path_buf(),
            expected: "a file or a folder".to_owned(),
            found: format!("a link to {}, which is not there", target.display()),
        },
        _ => Error::io("read", path)(error),
    }
}

/// What was found below a [`Level`].
pub(super) struct Tree {
    pub(super) base: PathBuf,
    pub(super) classes: Vec<ClassFolder>,
}

impl Tree {
    pub(super) fn names(&self) -> Vec<String> {
        self.classes
            .iter()
            .map(|class| class.name.clone())
            .collect()
    }

    /// A folder that is perhaps meant, where there is one class and no image directly in its folder.
    pub(super) fn meant(&self) -> Option<PathBuf> {
        match self.classes.as_slice() {
            [class] => class.inner().map(|folder| self.base.join(folder)),
            _ => None,
        }
    }

    /// Parts within a class would be mixed.
    pub(super) fn no_parts_within(&self) -> Result<()> {
        let found = self.classes.iter().find_map(|class| {
            let parts = class.parts();
            let mixed = parts.values().any(|part| *part == Part::Train) && parts.len() > 1;
            mixed.then_some((class, parts))
        });
        let Some((class, parts)) = found else {
            return Ok(());
        };
        let names: Vec<String> = parts.keys().map(|name| format!("`{name}`")).collect();
        Err(Error::Data {
            path: self.base.join(&class.name),
            expected: "the images of one class".to_owned(),
            found: format!(
                "the parts {}; put the parts above the classes (train/CLASS, val/CLASS), or give \
                 this folder if it is the data set",
                names.join(", ")
            ),
        })
    }
}

pub(super) struct ClassFolder {
    pub(super) name: String,
    /// The images, relative to the base.
    pub(super) files: Vec<Box<Path>>,
    pub(super) beside: Beside,
}

impl ClassFolder {
    /// The first folder within that holds more than one folder, if every image lies in these.
    fn inner(&self) -> Option<PathBuf> {
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

    /// The folders directly in it that hold images and have the names of parts.
    fn parts(&self) -> BTreeMap<String, Part> {
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

/// A folder on the way to an image, and those above it.
struct Node {
    canonical: PathBuf,
    above: Option<Rc<Node>>,
}

/// A folder that is still to be read.
struct Pending {
    /// Relative to the base.
    path: PathBuf,
    /// The path below the class's folder as torchvision sorts it, with `/` between the parts.
    key: Vec<u8>,
    link: bool,
    above: Rc<Node>,
}

pub(super) struct Walk {
    pub(super) extensions: BTreeSet<String>,
    pub(super) broken: Broken,
    pub(super) left_out: LeftOut,
    /// The folders of the parts before, by their canonical paths.
    pub(super) folders: HashMap<PathBuf, PathBuf>,
}

/// What systems and tools leave in folders, in lower case.
const JUNK: [&str; 20] = [
    "$recycle.bin",
    ".appledouble",
    ".directory",
    ".ds_store",
    ".fseventsd",
    ".git",
    ".gitattributes",
    ".gitignore",
    ".gitkeep",
    ".ipynb_checkpoints",
    ".localized",
    ".spotlight-v100",
    ".trashes",
    "@eadir",
    "__macosx",
    "__pycache__",
    "desktop.ini",
    "lost+found",
    "system volume information",
    "thumbs.db",
];

/// The start of the names of files in which macOS keeps what other file systems have no place for.
const APPLE_DOUBLE: &str = "._";

/// The name by which junk is counted, if that is what it is.
fn junk(name: &OsStr) -> Option<String> {
    let name = name.to_string_lossy();
    if name.starts_with(APPLE_DOUBLE) {
        return Some(format!("{APPLE_DOUBLE}*"));
    }
    let lower = name.to_lowercase();
    JUNK.contains(&lower.as_str()).then(|| name.into_owned())
}

/// Counts what is left out because of its name alone, file or folder: the rule of every layout.
pub(super) fn set_aside(
    name: &OsStr,
    hidden: &mut usize,
    junks: &mut BTreeMap<String, usize>,
) -> bool {
    if let Some(name) = junk(name) {
        *junks.entry(name).or_default() += 1;
        return true;
    }
    *hidden += usize::from(is_hidden(name));
    is_hidden(name)
}

impl Walk {
    /// Counts what is left out because of its name alone, file or folder.
    pub(super) fn sets_aside(&mut self, name: &OsStr) -> bool {
        set_aside(name, &mut self.left_out.hidden, &mut self.left_out.junk)
    }

    /// Takes away the classes whose folders have no images, and says so. A folder with images that
    /// cannot be read was meant to be a class, and stays.
    pub(super) fn without_empty(&mut self, tree: &mut Tree, stays: impl Fn(&str) -> bool) {
        tree.classes.retain(|class| {
            if !class.files.is_empty() || class.beside.has_images() || stays(&class.name) {
                return true;
            }
            self.left_out.warnings.push(FolderWarning::EmptyClass {
                path: tree.base.join(&class.name),
                beside: class.beside.to_string(),
            });
            false
        });
    }

    /// `images (.jpg, .png)`
    pub(super) fn wanted(&self) -> String {
        let dotted: Vec<String> = self.extensions.iter().map(|e| format!(".{e}")).collect();
        format!("images ({})", dotted.join(", "))
    }

    pub(super) fn is_image(&self, name: &OsStr) -> bool {
        let extension = Path::new(name).extension().and_then(OsStr::to_str);
        extension.is_some_and(|e| self.extensions.contains(&e.to_ascii_lowercase()))
    }

    /// Finds the images of all classes.
    pub(super) fn tree(&mut self, level: Level) -> Result<Tree> {
        self.stray(&level);
        let base = level.base;
        let top = Rc::new(Node {
            canonical: canonical(&base)?,
            above: None,
        });
        // Every folder by its canonical path: the class, and the path that led there.
        let mut seen: HashMap<PathBuf, (usize, PathBuf)> = HashMap::new();
        let mut classes = Vec::with_capacity(level.folders.len());
        for (index, (folder, link)) in level.folders.into_iter().enumerate() {
            let mut class = ClassFolder {
                name: class_name(&base, &folder)?,
                files: Vec::new(),
                beside: Beside::default(),
            };
            let mut groups: Vec<(Vec<u8>, Vec<Box<Path>>)> = Vec::new();
            let mut pending = vec![Pending {
                path: PathBuf::from(folder),
                key: Vec::new(),
                link,
                above: top.clone(),
            }];
            while let Some(folder) = pending.pop() {
                let path = base.join(&folder.path);
                let canonical = enter(&path, &folder)?;
                if let Some((first, before)) = seen.get(&canonical) {
                    if *first == index {
                        let warning = FolderWarning::SameFolder { path };
                        self.left_out.warnings.push(warning);
                        continue;
                    }
                    return Err(Error::Data {
                        path,
                        expected: "a folder of one class".to_owned(),
                        found: format!("the same folder as {}", base.join(before).display()),
                    });
                }
                seen.insert(canonical.clone(), (index, folder.path.clone()));
                let node = Rc::new(Node {
                    canonical,
                    above: Some(folder.above.clone()),
                });
                let files = self.files(&path, &folder, &node, &mut class.beside, &mut pending)?;
                groups.push((folder.key, files));
            }
            groups.sort_by(|a, b| a.0.cmp(&b.0));
            class.files = groups.into_iter().flat_map(|(_, files)| files).collect();
            classes.push(class);
        }
        self.tell_of_shared(&base, seen);
        Ok(Tree { base, classes })
    }

    /// Says so where a link makes folders of an earlier part a part once more.
    fn tell_of_shared(&mut self, base: &Path, seen: HashMap<PathBuf, (usize, PathBuf)>) {
        let mut shared = Vec::new();
        for (canonical, (_, path)) in seen {
            let path = base.join(path);
            match self.folders.get(&canonical) {
                Some(other) => shared.push((path, other.clone())),
                None => drop(self.folders.insert(canonical, path)),
            }
        }
        let count = shared.len();
        if let Some((path, other)) = shared.into_iter().min() {
            self.left_out
                .warnings
                .push(FolderWarning::SharedFolders { path, other, count });
        }
    }

    /// The images in one folder; the folders in it become pending.
    fn files(
        &mut self,
        path: &Path,
        folder: &Pending,
        node: &Rc<Node>,
        beside: &mut Beside,
        pending: &mut Vec<Pending>,
    ) -> Result<Vec<Box<Path>>> {
        let mut files = Vec::new();
        let before = pending.len();
        for (name, kind) in list(path)? {
            match kind {
                _ if self.sets_aside(&name) => {}
                Kind::Folder { link } => pending.push(Pending {
                    path: folder.path.join(&name),
                    key: [&folder.key, b"/".as_slice(), name.as_encoded_bytes()].concat(),
                    link,
                    above: node.clone(),
                }),
                Kind::File if self.is_image(&name) => {
                    files.push(folder.path.join(&name).into_boxed_path());
                }
                Kind::Special if self.is_image(&name) => {
                    let path = path.join(name);
                    let error = Error::Data {
                        path: path.clone(),
                        expected: "an image".to_owned(),
                        found: "no regular file".to_owned(),
                    };
                    self.left_out.broken(&path, error, self.broken)?;
                    beside.broken += 1;
                }
                Kind::File | Kind::Special => {
                    count(&mut self.left_out.others, &name);
                    count(&mut beside.others, &name);
                }
                Kind::BrokenLink(error) => {
                    let path = path.join(name);
                    let error = broken_link(&path, error);
                    self.left_out.broken(&path, error, self.broken)?;
                    beside.broken += 1;
                }
            }
        }
        // The first one is read first, so that of two faults the same one is always named.
        pending[before..].reverse();
        Ok(files)
    }
}

/// The canonical path of a folder, unless a link leads back into a folder that one is in.
fn enter(path: &Path, folder: &Pending) -> Result<PathBuf> {
    if !folder.link {
        // A folder that is no link cannot hold itself; this saves asking the system.
        let name = path.file_name().unwrap_or_default();
        return Ok(folder.above.canonical.join(name));
    }
    let canonical = canonical(path)?;
    let mut above = Some(&folder.above);
    while let Some(node) = above {
        if node.canonical.starts_with(&canonical) {
            return Err(Error::Data {
                path: path.to_path_buf(),
                expected: "a folder".to_owned(),
                found: format!(
                    "a link back to {}, which holds it: a loop",
                    canonical.display()
                ),
            });
        }
        above = node.above.as_ref();
    }
    Ok(canonical)
}

/// The class that a folder's name says, which becomes a line of `classes.txt`.
fn class_name(base: &Path, folder: &OsStr) -> Result<String> {
    let (expected, found) = match folder.to_str() {
        Some(name) if !name.contains(['\n', '\r']) => return Ok(name.to_owned()),
        Some(name) => ("a class's name on one line", shortened(name)),
        None => ("a class's name in UTF-8", "other bytes".to_owned()),
    };
    Err(Error::Data {
        path: base.join(folder),
        expected: expected.to_owned(),
        found,
    })
}

fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(Error::io("read", path))
}

/// Whether something is left out because of its name alone.
pub(super) fn is_set_aside(name: &OsStr) -> bool {
    is_hidden(name) || junk(name).is_some()
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

pub(super) fn count(counts: &mut BTreeMap<String, usize>, name: &OsStr) {
    let extension = Path::new(name).extension().unwrap_or_default();
    let extension = extension.to_string_lossy().to_lowercase();
    *counts.entry(extension).or_default() += 1;
}
