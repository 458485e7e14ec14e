//! Telling the parts of a data set and its classes by the names of folders.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::found::{Candidates, Found, LeftOut};
use super::report::{Division, FolderWarning, Part, first_few};
use super::walk::{Kind, Tree, Walk, broken_link, count, is_set_aside, list};
use super::whole::{Given, Listed};
use super::{FolderOptions, Sample};
use crate::error::{Error, Result};

/// The classes and images of a folder to train on.
pub(super) fn find(root: &Path, options: &FolderOptions) -> Result<Found> {
    let (mut walk, places) = enter(root, options)?;
    let [train, valid, test] = match places {
        Places::Whole(level) => [Some(level), None, None],
        Places::Parts(parts) => parts,
    };
    let Some(train) = train else {
        let names: Vec<OsString> = [valid, test]
            .iter()
            .flatten()
            .filter_map(|level| level.base.file_name().map(OsStr::to_owned))
            .collect();
        return Err(Error::Data {
            path: root.to_path_buf(),
            expected: "a folder `train`".to_owned(),
            found: format!("{} alone", quoted(names.iter())),
        });
    };
    let mut train = walk.classes(train)?;
    let named = train.names();
    walk.without_empty(&mut train, |_| options.allow_empty);
    train.not_too_high()?;
    train.no_parts_within()?;
    let mut found = Found {
        place: train.base.clone(),
        wanted: walk.wanted(),
        classes: train.names(),
        beside: train.classes.iter().map(|c| c.beside.clone()).collect(),
        train: Candidates::new(train, Some)?,
        valid: None,
        test: None,
        division: Division::Folders,
        left_out: LeftOut::default(),
    };
    if let Some(place) = valid {
        let tree = walk.classes(place)?;
        found.valid = Some(found.other(tree, &named, &mut walk)?);
    }
    if let Some(place) = test {
        if place.folders.is_empty() {
            let path = place.base;
            walk.left_out
                .warnings
                .push(FolderWarning::NoLabels { path });
        } else {
            let tree = walk.tree(place)?;
            found.test = Some(found.other(tree, &named, &mut walk)?);
        }
    }
    found.left_out = walk.left_out;
    Ok(found)
}

/// The classes and images of a folder to evaluate on, in their parts if there are some. The model's
/// classes may be without images.
pub(super) fn given(root: &Path, options: &FolderOptions, known: &[String]) -> Result<Given> {
    let (mut walk, places) = enter(root, options)?;
    let (levels, division) = match places {
        Places::Whole(level) => (vec![(None, level)], Division::Whole),
        Places::Parts(parts) => {
            let named = Part::ALL.into_iter().map(Some).zip(parts);
            let levels = named.filter_map(|(part, level)| Some((part, level?)));
            (levels.collect(), Division::Folders)
        }
    };
    let mut parts = Vec::new();
    for (part, level) in levels {
        // Parts that were not asked for may well have no labels.
        if part.is_some() && level.folders.is_empty() {
            let path = level.base;
            let warning = FolderWarning::NoLabels { path };
            walk.left_out.warnings.push(warning);
            continue;
        }
        let mut tree = walk.classes(level)?;
        let is_known = |name: &str| known.iter().any(|known| known == name);
        walk.without_empty(&mut tree, is_known);
        if !tree.names().iter().any(|name| is_known(name)) {
            tree.not_too_high()?;
        }
        if part.is_none() {
            tree.no_parts_within()?;
        }
        parts.push(Listed {
            part,
            names: tree.names(),
            images: Candidates::new(tree, Some)?,
        });
    }
    Ok(Given {
        place: root.to_path_buf(),
        wanted: walk.wanted(),
        parts,
        division,
        left_out: walk.left_out,
    })
}

/// What lies where in a folder.
fn enter(root: &Path, options: &FolderOptions) -> Result<(Walk, Places)> {
    let mut walk = Walk {
        extensions: options.checked_extensions()?,
        broken: options.broken,
        left_out: LeftOut::default(),
        folders: HashMap::new(),
    };
    is_folder(root)?;
    let top = walk.level(root)?;
    let places = walk.places(root, top)?;
    Ok((walk, places))
}

fn is_folder(root: &Path) -> Result<()> {
    let found = match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => "a file",
        Err(error) if error.kind() == ErrorKind::NotFound => "no such folder",
        Err(error) => return Err(Error::io("read", root)(error)),
    };
    Err(Error::Data {
        path: root.to_path_buf(),
        expected: "a folder of images".to_owned(),
        found: found.to_owned(),
    })
}

impl Found {
    /// The images of another part than the training part, whose classes hold for it too. `named` are
    /// those that the training part has folders of.
    fn other(&self, mut tree: Tree, named: &[String], walk: &mut Walk) -> Result<Candidates> {
        let known = |name: &str| self.classes.iter().any(|class| class == name);
        walk.without_empty(&mut tree, known);
        let unknown: Vec<String> = tree
            .classes
            .iter()
            .filter(|class| self.classes.binary_search(&class.name).is_err())
            .map(|class| match named.contains(&class.name) {
                true => format!("`{}`, which has no training images", class.name),
                false => format!("`{}`", class.name),
            })
            .collect();
        if !unknown.is_empty() {
            return Err(Error::Data {
                path: tree.base,
                expected: format!("the classes of {} alone", self.place.display()),
                found: format!(
                    "{}; add training images of them, or take these folders away",
                    first_few(&unknown)
                ),
            });
        }
        let names = tree.names();
        Candidates::new(tree, |index| self.classes.binary_search(&names[index]).ok())
    }
}

impl Candidates {
    /// `label` turns the index of a class in the tree into its label.
    fn new(tree: Tree, label: impl Fn(usize) -> Option<usize>) -> Result<Self> {
        let mut samples = Vec::with_capacity(tree.classes.iter().map(|c| c.files.len()).sum());
        for (index, class) in tree.classes.into_iter().enumerate() {
            let label = label(index).and_then(|label| u32::try_from(label).ok());
            let Some(label) = label else {
                let expected = "as many classes as can be counted with 32 bits";
                return Err(Error::argument("classes", expected, index));
            };
            samples.extend(class.files.into_iter().map(|path| Sample {
                path,
                label,
                line: 0,
            }));
        }
        Ok(Self {
            place: tree.base.clone(),
            base: tree.base,
            samples,
        })
    }
}

/// A folder that holds folders of classes.
pub(super) struct Level {
    pub(super) base: PathBuf,
    /// The folders, and whether they are links.
    pub(super) folders: Vec<(OsString, bool)>,
    /// How many images are directly in it.
    pub(super) images: usize,
}

impl Level {
    fn no_classes(&self) -> Error {
        Error::Data {
            path: self.base.clone(),
            expected: "a folder for each class".to_owned(),
            found: match self.images {
                0 => "none".to_owned(),
                1 => format!("none, but an image; {ONE_CLASS}"),
                images => format!("none, but {images} images; {ONE_CLASS}"),
            },
        }
    }
}

/// What helps where images lie in no class's folder.
const ONE_CLASS: &str = "the folders' names are the labels: give the folder that holds them; \
     images without labels are for `predict`";

/// Where the classes are.
enum Places {
    /// Directly in the folder.
    Whole(Level),
    /// In the parts, in the order of [`Part::ALL`].
    Parts([Option<Level>; 3]),
}

impl Tree {
    /// A folder too high was given, perhaps.
    fn not_too_high(&self) -> Result<()> {
        let (Some(class), Some(meant)) = (self.classes.first(), self.meant()) else {
            return Ok(());
        };
        Err(Error::Data {
            path: self.base.clone(),
            expected: "a folder for each class".to_owned(),
            found: format!(
                "one folder, `{}`, that holds folders itself; give {} if that is the data set",
                class.name,
                meant.display()
            ),
        })
    }
}

impl Walk {
    /// The classes and images of a folder that must have some.
    fn classes(&mut self, level: Level) -> Result<Tree> {
        if level.folders.is_empty() {
            return Err(level.no_classes());
        }
        self.tree(level)
    }

    fn level(&mut self, base: &Path) -> Result<Level> {
        let mut level = Level {
            base: base.to_path_buf(),
            folders: Vec::new(),
            images: 0,
        };
        for (name, kind) in list(base)? {
            match kind {
                _ if self.sets_aside(&name) => {}
                Kind::Folder { link } => level.folders.push((name, link)),
                Kind::File | Kind::Special if self.is_image(&name) => level.images += 1,
                Kind::File | Kind::Special => count(&mut self.left_out.others, &name),
                Kind::BrokenLink(error) => {
                    let path = base.join(name);
                    let error = broken_link(&path, error);
                    self.left_out.broken(&path, error, self.broken)?;
                }
            }
        }
        Ok(level)
    }

    /// Tells whether the folders are parts or classes.
    fn places(&mut self, root: &Path, top: Level) -> Result<Places> {
        let named = |part: Part| -> Vec<OsString> {
            let of = |role: fn(&str) -> Option<Part>| -> Vec<OsString> {
                let names = top.folders.iter().map(|(name, _)| name);
                let named = names.filter(|name| name.to_str().and_then(role) == Some(part));
                named.cloned().collect()
            };
            let exact = of(Part::named);
            if exact.is_empty() {
                return of(Part::of_folder);
            }
            exact
        };
        let parts = Part::ALL.map(named);
        let [train, valid, test] = &parts;
        let others = valid.len() + test.len();
        match train.first() {
            // `valid` may well be a class, beside `broken`; parts alone are no classes.
            None if others == 0 || others < top.folders.len() => return Ok(Places::Whole(top)),
            // Trains may be a class too, beside cars: then there are images directly in the folder.
            Some(first) if others == 0 && self.has_images(&root.join(first))? => {
                return Ok(Places::Whole(top));
            }
            _ => {}
        }
        for (part, names) in Part::ALL.into_iter().zip(&parts) {
            if names.len() > 1 {
                return Err(Error::Data {
                    path: root.to_path_buf(),
                    expected: format!("one folder of {part} images"),
                    found: quoted(names.iter()),
                });
            }
        }
        for (name, _) in &top.folders {
            if !parts.iter().flatten().any(|part| part == name) {
                let path = root.join(name);
                let warning = FolderWarning::IgnoredFolder { path };
                self.left_out.warnings.push(warning);
            }
        }
        self.stray(&top);
        let mut levels = [None, None, None];
        for (level, names) in levels.iter_mut().zip(&parts) {
            if let Some(name) = names.first() {
                *level = Some(self.level(&root.join(name))?);
            }
        }
        Ok(Places::Parts(levels))
    }

    /// Whether there are images directly in a folder.
    fn has_images(&self, folder: &Path) -> Result<bool> {
        let image = |(name, kind): &(OsString, Kind)| {
            matches!(kind, Kind::File) && !is_set_aside(name) && self.is_image(name)
        };
        Ok(list(folder)?.iter().any(image))
    }

    pub(super) fn stray(&mut self, level: &Level) {
        if level.images > 0 {
            self.left_out.warnings.push(FolderWarning::StrayImages {
                path: level.base.clone(),
                count: level.images,
            });
        }
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a OsString>) -> String {
    let names: Vec<String> = names
        .map(|name| format!("`{}`", name.to_string_lossy()))
        .collect();
    first_few(&names)
}
