//! Images that several paths of a folder lead to.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;

use super::file_id::FileId;
use super::listing::ListedPart;
use super::warning::FolderWarning;
use crate::data::target::Task;
use crate::error::{Error, Result};

/// Where an image was first found.
struct Place {
    part: usize,
    label: u32,
    path: PathBuf,
}

/// Says so where links lead to the same images in two parts.
///
/// # Errors
/// If an image of one class is in the folders of two.
pub(super) fn check(parts: &[ListedPart], task: Task) -> Result<Option<FolderWarning>> {
    let mut known: HashMap<FileId, Place> = HashMap::new();
    let mut shared = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        for sample in &part.samples {
            let path = part.base.join(&sample.path);
            let Some(id) = FileId::of(&path) else {
                continue;
            };
            let first = match known.entry(id) {
                Entry::Vacant(place) => {
                    let (part, label) = (index, sample.label);
                    place.insert(Place { part, label, path });
                    continue;
                }
                Entry::Occupied(first) => first.into_mut(),
            };
            if first.part != index {
                shared.push((path, first.path.clone()));
            } else if first.label != sample.label && task == Task::SingleLabel {
                let found = format!(
                    "the same image as {}; with --task multi-label an image has several",
                    first.path.display()
                );
                return Err(Error::data(path, "an image of one class", found));
            }
        }
    }
    let count = shared.len();
    let first = shared.into_iter().next();
    Ok(first.map(|(path, other)| FolderWarning::SharedFiles { path, other, count }))
}
