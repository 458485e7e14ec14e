//! The parts of a data set and its classes, told by the names of folders.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::class_folders::{ClassFolders, PartFolder, Walk};
use super::directory::Directory;
use super::extensions::Extensions;
use super::left_out::LeftOut;
use super::linked_images::LinkedImages;
use super::listing::{ListedPart, Listing, Purpose};
use super::options::FolderOptions;
use super::part::Part;
use super::report::Division;
use super::same_files;
use super::sample::Sample;
use super::target_table::TargetTable;
use super::warning::FolderWarning;
use crate::data::message::first_names;
use crate::data::target::Task;
use crate::error::{Error, Result};

/// What helps where images lie in no class's folder.
const ONE_CLASS: &str = "the folders' names are the labels: give the folder that holds them; \
     images without labels are for `predict`";

/// The classes and images of a folder, in its parts if it has some.
pub(super) fn list(root: &Path, options: &FolderOptions, purpose: Purpose) -> Result<Listing> {
    let extensions = Extensions::new(&options.extensions)?;
    let mut walk = Walk::new(extensions, options);
    check_is_folder(root)?;
    if options.task == Task::Regression {
        let expected = "a CSV file with columns of paths and numbers, which regression needs";
        return Err(Error::data(root, expected, "a folder"));
    }
    let top = walk.part_folder(root)?;
    let folders = part_folders(&mut walk, root, top)?;
    let is_training = matches!(purpose, Purpose::Training);
    let mut parts: Vec<ListedPart> = Vec::new();
    if let Some((Some(first), _)) = folders.first() {
        walk.report.division = Division::Folders;
        if is_training && *first != Part::Train {
            let names = folders.iter().filter_map(|(_, f)| f.base.file_name());
            let names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
            let found = format!("{} alone", first_names(&names));
            return Err(Error::data(root, "a folder `train`", found));
        }
    }
    for (part, folder) in folders {
        // Parts that are not needed may well have no labels.
        let is_optional = if is_training {
            part == Some(Part::Test)
        } else {
            part.is_some()
        };
        if folder.folders.is_empty() {
            if !is_optional {
                return Err(no_classes(&folder));
            }
            walk.warn(FolderWarning::NoLabels(folder.base));
            continue;
        }
        let mut found = walk.class_folders(folder)?;
        let known = match (purpose, parts.first()) {
            (Purpose::Evaluation { classes }, _) => classes,
            (Purpose::Training, Some(train)) => &train.classes,
            (Purpose::Training, None) => &[],
        };
        let keep_all = is_training && parts.is_empty() && options.allow_empty;
        walk.drop_empty(&mut found, |name| {
            keep_all || known.iter().any(|known| known == name)
        });
        let is_first = is_training && parts.is_empty();
        let has_known = found
            .classes
            .iter()
            .any(|class| known.contains(&class.name));
        if is_first || (!is_training && !has_known) {
            found.not_too_high()?;
            let same = found.same_folders_within()?;
            walk.report.warnings.extend(same);
        }
        if is_first || part.is_none() {
            found.no_parts_within()?;
        }
        parts.push(listed_part(&mut walk, part, found, options.task));
    }
    walk.report
        .warnings
        .extend(same_files::check(&parts, options.task)?);
    let source = match parts.first() {
        Some(train) if is_training => train.place.clone(),
        _ => root.to_path_buf(),
    };
    Ok(Listing {
        source,
        expected: walk.extensions.to_string(),
        parts,
        report: walk.report,
    })
}

fn check_is_folder(root: &Path) -> Result<()> {
    let found = match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => "a file",
        Err(error) if error.kind() == ErrorKind::NotFound => "no such folder",
        Err(error) => return Err(Error::io("read", root)(error)),
    };
    Err(Error::data(root, "a folder of images", found))
}

fn no_classes(folder: &PartFolder) -> Error {
    let found = match folder.images {
        0 => "none".to_owned(),
        1 => format!("none, but an image; {ONE_CLASS}"),
        images => format!("none, but {images} images; {ONE_CLASS}"),
    };
    Error::data(&folder.base, "a folder for each class", found)
}

fn listed_part(walk: &mut Walk, part: Option<Part>, found: ClassFolders, task: Task) -> ListedPart {
    let classes = found.names();
    let beside = found.classes.iter().map(|c| c.beside.clone()).collect();
    let files = found.classes.into_iter().zip(0..);
    let files = files.flat_map(|(class, label)| class.files.into_iter().map(move |f| (f, label)));
    let (samples, targets) = if task == Task::MultiLabel {
        let linked = LinkedImages::new(&found.base, files);
        walk.report.warnings.extend(linked.warnings);
        (linked.samples, linked.targets)
    } else {
        let sample = |(path, label)| Sample {
            path,
            label,
            line: 0,
        };
        (files.map(sample).collect(), TargetTable::Classes)
    };
    ListedPart {
        part,
        samples,
        targets,
        place: found.base.clone(),
        base: found.base,
        classes,
        beside,
    }
}

/// The folders that hold those of the classes: one for each part, in the order of [`Part::ALL`], or
/// the folder itself.
fn part_folders(
    walk: &mut Walk,
    root: &Path,
    top: PartFolder,
) -> Result<Vec<(Option<Part>, PartFolder)>> {
    let named = |part: Part| -> Vec<&OsString> {
        let of = |part_of: fn(&str) -> Option<Part>| {
            let names = top.folders.iter().map(|folder| &folder.name);
            let named = names.filter(move |name| name.to_str().and_then(part_of) == Some(part));
            named.collect::<Vec<_>>()
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
    let are_classes = match train.first() {
        // `valid` may well be a class, beside `broken`; parts alone are no classes.
        None => others == 0 || others < top.folders.len(),
        // Trains may be a class too, beside cars: then there are images directly in the folder.
        Some(first) => others == 0 && has_images(walk, &root.join(first))?,
    };
    if are_classes {
        return Ok(vec![(None, top)]);
    }
    for (part, names) in Part::ALL.into_iter().zip(&parts) {
        if names.len() > 1 {
            let names: Vec<String> = names.iter().map(|n| n.to_string_lossy().into()).collect();
            let expected = format!("one folder of {part} images");
            return Err(Error::data(root, expected, first_names(&names)));
        }
    }
    for folder in &top.folders {
        if !parts.iter().flatten().any(|part| **part == folder.name) {
            walk.warn(FolderWarning::IgnoredFolder(root.join(&folder.name)));
        }
    }
    walk.warn_of_stray_images(&top);
    let mut folders = Vec::new();
    for (part, names) in Part::ALL.into_iter().zip(&parts) {
        if let Some(name) = names.first() {
            folders.push((Some(part), walk.part_folder(&root.join(name))?));
        }
    }
    Ok(folders)
}

/// Whether there are images directly in a folder.
fn has_images(walk: &Walk, folder: &Path) -> Result<bool> {
    let directory = Directory::read(folder, &walk.extensions, &mut LeftOut::default())?;
    Ok(!directory.images.is_empty())
}
