//! Telling the parts of a data set and its classes by the names of folders.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::found::{Candidates, Found, LeftOut};
use super::report::{Division, FolderWarning, Part, first_few};
use super::walk::{Kind, Tree, Walk, broken_link, count, is_hidden, list};
use super::{FolderOptions, Sample};
use crate::error::{Error, Result};

/// The classes and images of a folder.
pub(super) fn find(root: &Path, options: &FolderOptions) -> Result<Found> {
    let mut walk = Walk {
        extensions: options.checked_extensions()?,
        broken: options.broken,
        left_out: LeftOut::default(),
    };
    is_folder(root)?;
    let top = walk.level(root)?;
    let places = walk.places(root, top)?;

    let train = match places.train.folders.is_empty() {
        true => return Err(places.train.no_classes()),
        false => walk.tree(places.train)?,
    };
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
    if let Some(place) = places.valid {
        if place.folders.is_empty() {
            return Err(place.no_classes());
        }
        found.valid = Some(found.other(walk.tree(place)?)?);
    }
    if let Some(place) = places.test {
        if place.folders.is_empty() {
            let path = place.base;
            walk.left_out
                .warnings
                .push(FolderWarning::NoLabels { path });
        } else {
            found.test = Some(found.other(walk.tree(place)?)?);
        }
    }
    if found.valid.is_none() {
        found.valid = found.test.take();
    }
    found.left_out = walk.left_out;
    Ok(found)
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
    /// The images of another part than the training part, whose classes hold for it too.
    fn other(&self, tree: Tree) -> Result<Candidates> {
        let unknown: Vec<String> = tree
            .classes
            .iter()
            .filter(|class| self.classes.binary_search(&class.name).is_err())
            .map(|class| format!("`{}`", class.name))
            .collect();
        if !unknown.is_empty() {
            return Err(Error::Data {
                path: tree.base,
                expected: format!("the classes of {} alone", self.place.display()),
                found: first_few(&unknown),
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
                1 => "none, but an image".to_owned(),
                images => format!("none, but {images} images"),
            },
        }
    }
}

/// Where the parts are.
struct Places {
    train: Level,
    valid: Option<Level>,
    test: Option<Level>,
}

impl Places {
    /// Classes alone, which are split later.
    fn classes(top: Level) -> Self {
        Self {
            train: top,
            valid: None,
            test: None,
        }
    }
}

impl Walk {
    fn level(&mut self, base: &Path) -> Result<Level> {
        let mut level = Level {
            base: base.to_path_buf(),
            folders: Vec::new(),
            images: 0,
        };
        for (name, kind) in list(base)? {
            match kind {
                _ if is_hidden(&name) => self.left_out.hidden += 1,
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
            let names = top.folders.iter().map(|(name, _)| name);
            let named = names.filter(|name| role(name) == Some(part));
            named.cloned().collect()
        };
        let [train, valid, test] = [Part::Train, Part::Valid, Part::Test].map(named);
        let others = valid.len() + test.len();
        let Some(first) = train.first() else {
            // `valid` may well be a class, beside `broken`; parts alone are no classes.
            return match others > 0 && others == top.folders.len() {
                true => Err(Error::Data {
                    path: root.to_path_buf(),
                    expected: "a folder `train`".to_owned(),
                    found: format!("{} alone", quoted(valid.iter().chain(&test))),
                }),
                false => Ok(Places::classes(top)),
            };
        };
        // Trains may be a class too, beside cars: then there are images directly in the folder.
        if others == 0 {
            let inside = list(&root.join(first))?;
            let image = |(name, kind): &(OsString, Kind)| {
                matches!(kind, Kind::File) && !is_hidden(name) && self.is_image(name)
            };
            if inside.iter().any(image) {
                return Ok(Places::classes(top));
            }
        }
        for (part, names) in [
            (Part::Train, &train),
            (Part::Valid, &valid),
            (Part::Test, &test),
        ] {
            if names.len() > 1 {
                return Err(Error::Data {
                    path: root.to_path_buf(),
                    expected: format!("one folder of {part} images"),
                    found: quoted(names.iter()),
                });
            }
        }
        for (name, _) in &top.folders {
            if role(name).is_none() {
                let path = root.join(name);
                let warning = FolderWarning::IgnoredFolder { path };
                self.left_out.warnings.push(warning);
            }
        }
        self.stray(&top);
        let mut place = |names: &[OsString]| match names.first() {
            Some(name) => self.level(&root.join(name)).map(Some),
            None => Ok(None),
        };
        let (valid, test) = (place(&valid)?, place(&test)?);
        Ok(Places {
            train: self.level(&root.join(first))?,
            valid,
            test,
        })
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

fn role(name: &OsStr) -> Option<Part> {
    name.to_str().and_then(Part::named)
}

fn quoted<'a>(names: impl Iterator<Item = &'a OsString>) -> String {
    let names: Vec<String> = names
        .map(|name| format!("`{}`", name.to_string_lossy()))
        .collect();
    first_few(&names)
}
