//! From what is written on the command line to files.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, bail};
use burn_zoo::data::{FolderOptions, ImageFiles};
use burn_zoo::preprocess::Image;
use glob::Pattern;

use crate::notice;

/// A file to classify, or something that led to none.
pub struct Input {
    pub path: PathBuf,
    /// Why there is nothing to read.
    pub fault: Option<String>,
}

impl Input {
    fn file(path: PathBuf) -> Self {
        Self { path, fault: None }
    }

    fn fault(path: &Path, reason: impl Into<String>) -> Self {
        Self {
            path: path.to_path_buf(),
            fault: Some(reason.into()),
        }
    }
}

/// What the arguments lead to, in their order and sorted within each folder: files as they are,
/// folders with those below, and patterns that the shell has left alone.
pub fn gather(arguments: &[PathBuf]) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for argument in arguments {
        let text = argument.to_string_lossy();
        if argument.exists() || !text.contains(['*', '?', '[']) {
            take(argument, &mut inputs)?;
        } else {
            matching(argument, &text, &mut inputs)?;
        }
    }
    if inputs.iter().all(|input| input.fault.is_some()) {
        bail!("no image to classify: {}", faults(&inputs));
    }
    tell_of_repeated(&inputs);
    tell_of_frames(&inputs);
    Ok(inputs)
}

/// What a pattern matches, as a shell would have it.
fn matching(argument: &Path, pattern: &str, inputs: &mut Vec<Input>) -> Result<()> {
    let paths = match glob::glob(pattern) {
        Ok(paths) => paths,
        Err(error) => {
            let reason = format!("no such file, and no pattern: {error}");
            inputs.push(Input::fault(argument, reason));
            return Ok(());
        }
    };
    let before = inputs.len();
    // The crate's own way to leave out hidden files panics at names that are not UTF-8.
    let asked: Vec<Pattern> = hidden(argument)
        .filter_map(|name| Pattern::new(&name).ok())
        .collect();
    let is_asked = |name: String| asked.iter().any(|pattern| pattern.matches(&name));
    for path in paths {
        match path {
            Ok(path) if hidden(&path).all(is_asked) => take(&path, inputs)?,
            Err(error) if hidden(error.path()).all(is_asked) => {
                inputs.push(Input::fault(error.path(), error.error().to_string()))
            }
            _ => {}
        }
    }
    for path in not_utf8(argument) {
        take(&path, inputs)?;
    }
    if inputs.len() == before {
        inputs.push(Input::fault(argument, "no file matches this pattern"));
    }
    Ok(())
}

/// The names on a path that begin with a point.
fn hidden(path: &Path) -> impl Iterator<Item = String> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    names.filter(|name| name.starts_with('.'))
}

/// What a pattern behind the name of a folder matches whose name is not UTF-8: the crate passes it over.
fn not_utf8(argument: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(last)) = (argument.parent(), argument.file_name()) else {
        return Vec::new();
    };
    let Ok(pattern) = Pattern::new(&last.to_string_lossy()) else {
        return Vec::new();
    };
    let here = folder.as_os_str().is_empty();
    let entries = if here { Path::new(".") } else { folder }.read_dir();
    let names = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    let mut found: Vec<PathBuf> = names
        .filter(|name| name.to_str().is_none() && pattern.matches(&name.to_string_lossy()))
        .filter(|name| !name.to_string_lossy().starts_with('.'))
        .map(|name| folder.join(name))
        .collect();
    found.sort();
    found
}

fn take(path: &Path, inputs: &mut Vec<Input>) -> Result<()> {
    if path.is_dir() {
        return folder(path, inputs);
    }
    inputs.push(match path.metadata() {
        Ok(_) => Input::file(path.to_path_buf()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Input::fault(path, "no such file or folder")
        }
        Err(error) => Input::fault(path, error.to_string()),
    });
    Ok(())
}

/// The images below a folder; what else is there is told.
fn folder(path: &Path, inputs: &mut Vec<Input>) -> Result<()> {
    let found = match ImageFiles::below(path, &FolderOptions::default()) {
        Ok(found) => found,
        Err(error) => {
            inputs.push(Input::fault(path, error.without_path()));
            return Ok(());
        }
    };
    for warning in found.warnings() {
        notice::tell(format!("warning: {warning}"));
    }
    if found.files.is_empty() && found.broken.is_empty() {
        let left_out = found.left_out();
        let reason = if left_out.is_empty() {
            "the folder is empty".to_owned()
        } else {
            format!("no image in this folder; {}", left_out.join("; "))
        };
        inputs.push(Input::fault(path, reason));
        return Ok(());
    }
    for line in found.left_out() {
        notice::tell(format!("{}: {line}", path.display()));
    }
    let broken = found.broken.into_iter().map(|skipped| Input {
        path: skipped.path,
        fault: Some(skipped.reason),
    });
    let mut all: Vec<Input> = found.files.into_iter().map(Input::file).collect();
    all.extend(broken);
    all.sort_by(|a, b| a.path.cmp(&b.path));
    inputs.extend(all);
    Ok(())
}

/// Why there is nothing, for an error: the first few of the faults.
fn faults(inputs: &[Input]) -> String {
    const SHOWN: usize = 5;
    let line = |input: &Input| {
        let reason = input.fault.as_deref().unwrap_or_default();
        format!("{}: {reason}", input.path.display())
    };
    let mut text = inputs
        .iter()
        .take(SHOWN)
        .map(line)
        .collect::<Vec<_>>()
        .join("; ");
    if inputs.len() > SHOWN {
        text.push_str(&format!("; and {} more", inputs.len() - SHOWN));
    }
    text
}

fn tell_of_frames(inputs: &[Input]) {
    let files = inputs.iter().filter(|input| input.fault.is_none());
    let mut several = files.filter(|input| Image::has_more_frames(&input.path));
    if let Some(first) = several.next() {
        notice::tell(format!(
            "{}: several frames or pages, of which the first is taken; images of several: {}",
            first.path.display(),
            1 + several.count()
        ));
    }
}

fn tell_of_repeated(inputs: &[Input]) {
    let mut seen = HashSet::new();
    let files = inputs.iter().filter(|input| input.fault.is_none());
    let repeated = files
        .filter(|input| {
            let path = input.path.canonicalize();
            !seen.insert(path.unwrap_or_else(|_| input.path.clone()))
        })
        .count();
    if repeated > 0 {
        notice::tell(format!(
            "{repeated} of the images were given before; each is classified as often as it is given"
        ));
    }
}
