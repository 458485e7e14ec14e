//! Images that are in the folders of several classes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use super::file_id::FileId;
use super::sample::Sample;
use super::target_table::{SetsOfClasses, TargetTable};
use super::warning::FolderWarning;

/// Images with all of their classes.
pub(super) struct LinkedImages {
    pub(super) samples: Vec<Sample>,
    pub(super) targets: TargetTable,
    pub(super) warnings: Vec<FolderWarning>,
}

/// An image, and where it was first found.
struct Image {
    path: Box<Path>,
    classes: BTreeSet<u32>,
}

impl LinkedImages {
    /// Joins the files that are one image by symbolic or hard links. It keeps its first path, and has
    /// the classes of all.
    pub(super) fn new(base: &Path, files: impl Iterator<Item = (Box<Path>, u32)>) -> Self {
        let mut images: Vec<Image> = Vec::new();
        let mut known: HashMap<FileId, usize> = HashMap::new();
        let mut twice = Vec::new();
        for (path, class) in files {
            let file = base.join(&path);
            let image = match FileId::of(&file).map(|id| known.entry(id)) {
                Some(Entry::Occupied(image)) => images.get_mut(*image.get()),
                Some(Entry::Vacant(place)) => {
                    place.insert(images.len());
                    None
                }
                None => None,
            };
            match image {
                Some(image) => {
                    if !image.classes.insert(class) {
                        twice.push(file);
                    }
                }
                None => images.push(Image {
                    path,
                    classes: BTreeSet::from([class]),
                }),
            }
        }
        let mut warnings = Vec::new();
        let count = twice.len();
        let first = twice.into_iter().next();
        warnings.extend(first.map(|path| FolderWarning::SameImage { path, count }));
        warnings.extend(first_copy(base, &images));
        let mut sets = SetsOfClasses::default();
        let samples = images.into_iter().map(|image| {
            let classes: Vec<u32> = image.classes.into_iter().collect();
            Sample {
                path: image.path,
                label: sets.label(&classes),
                line: 0,
            }
        });
        Self {
            samples: samples.collect(),
            targets: sets.into_table(),
            warnings,
        }
    }
}

/// The first image that is a copy of one with other classes. A copy may be meant to be one image, but
/// nothing says so.
fn first_copy(base: &Path, images: &[Image]) -> Option<FolderWarning> {
    let mut before: HashMap<(&OsStr, u64), &Image> = HashMap::new();
    for image in images {
        let Some(length) = fs::metadata(base.join(&image.path)).ok().map(|f| f.len()) else {
            continue;
        };
        let key = (image.path.file_name()?, length);
        // With the first alone, so that many files of one name and length are read once each.
        let other = *before.entry(key).or_insert(image);
        let [path, other_path] = [image, other].map(|image| base.join(&image.path));
        let differ = length > 0 && other.classes != image.classes;
        if differ && same_bytes(&path, &other_path).unwrap_or(false) {
            return Some(FolderWarning::CopiedImage {
                path,
                other: other_path,
            });
        }
    }
    None
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let open = |path| File::open(path).map(BufReader::new);
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        let [a, b] = [one.fill_buf()?, other.fill_buf()?];
        let length = a.len().min(b.len());
        if a[..length] != b[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(a.len() == b.len());
        }
        one.consume(length);
        other.consume(length);
    }
}
