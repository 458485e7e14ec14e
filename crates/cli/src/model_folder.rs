//! Models that are named by a folder: of a run, of an exported model.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use burn_zoo::prelude::*;
use burn_zoo::train::RunConfig;

use crate::notice;

/// The folder that a model's name leads to, unless it is the name of an architecture or of a
/// repository: `local-dir:DIR`, whatever is written as a path, and whatever is there and is no name
/// of the zoo's.
pub fn folder_of(model: &str) -> Option<&Path> {
    if let Some(dir) = model.strip_prefix("local-dir:") {
        return Some(Path::new(dir));
    }
    let path = Path::new(model);
    if model.starts_with("hf-hub:") {
        return None;
    }
    let written = model.starts_with('.') || model.contains(std::path::is_separator);
    (written || (path.exists() && Zoo::get(model).is_err())).then_some(path)
}

/// Says so where a name is both the zoo's and that of a model's folder.
pub fn tell_of_namesake(model: &str) {
    if folder_of(model).is_none() && holds_model(Path::new(model)) {
        notice::tell(format!(
            "{model}: the architecture is meant; ./{model} is the folder of the same name"
        ));
    }
}

/// The spec of the model in a folder: see [`model_folder`].
pub fn spec_of(dir: &Path) -> Result<Spec> {
    let folder = model_folder(dir)?;
    if folder.starts_with(dir.join("checkpoints")) {
        notice::tell(format!(
            "{}: the run has no best model yet; its newest checkpoint is used, {}",
            dir.display(),
            folder.display()
        ));
    }
    Ok(Spec::of_folder(folder)?)
}

/// Opens a run or an exported folder.
pub fn open(dir: &Path, device: &Device) -> Result<Classifier> {
    Ok(spec_of(dir)?.build(device)?)
}

/// The same, to give it to others: of a run's model, and of one that was exported, it is known what it started
/// from, not only in which file it lay.
pub fn open_to_share(dir: &Path, device: &Device) -> Result<Classifier> {
    let model = open(dir, device)?;
    // What is wrong with a run is told where more of it is wanted.
    let of_run = || {
        let config = RunConfig::open(dir).ok()?;
        Some(config.model.get("weights")?.as_str()?.to_owned())
    };
    let of_export = || {
        let card = std::fs::read_to_string(dir.join("README.md")).ok()?;
        let mut lines = card.lines();
        lines.find_map(|line| Some(line.strip_prefix("- started from: ")?.to_owned()))
    };
    Ok(match of_run().or_else(of_export) {
        Some(origin) => model.with_origin(origin),
        None => model,
    })
}

/// The folder of a trained model: a run's best (its newest checkpoint, if it was stopped before
/// there was a best), or an exported folder itself.
pub fn model_folder(dir: &Path) -> Result<PathBuf> {
    let shown = dir.display();
    if !dir.exists() {
        bail!(
            "{shown}: no such folder; expected that of a run or of an exported model{}",
            instead(dir)
        );
    }
    if !dir.is_dir() {
        bail!(
            "{shown}: expected the folder of a run or of an exported model, found a file; the \
             weights in a file are loaded with --weights {shown} and the name of an architecture"
        );
    }
    let best = dir.join("best");
    if best.is_dir() {
        return Ok(best);
    }
    if let Some(checkpoint) = RunConfig::newest_checkpoint(dir)? {
        return Ok(checkpoint);
    }
    if dir.join("config.json").exists() {
        return Ok(dir.to_path_buf());
    }
    if dir.join("config.toml").exists() {
        bail!("{shown}: the run has neither a best model nor a whole checkpoint yet");
    }
    bail!(
        "{shown}: is no run and no exported model: expected best/ or config.json in it, found \
         neither{}",
        instead(dir)
    )
}

/// What is no model of the zoo's may have been meant as a folder.
pub fn or_folder(error: burn_zoo::Error, model: &str) -> anyhow::Error {
    match error {
        burn_zoo::Error::UnknownModel { .. } => anyhow!(
            "{error}; nor is there a folder {model}{}",
            instead(Path::new(model))
        ),
        error => error.into(),
    }
}

/// Whether a folder looks like a run's or an exported model's.
fn holds_model(dir: &Path) -> bool {
    let config = dir.join("config.json").is_file() && dir.join("model.safetensors").is_file();
    config || dir.join("best").is_dir() || dir.join("config.toml").is_file()
}

/// What may have been meant by a path that leads to no model.
fn instead(dir: &Path) -> String {
    const SHOWN: usize = 4;
    let written = dir.to_string_lossy();
    let (within, like) = if dir.is_dir() {
        (dir, String::new())
    } else {
        (
            dir.parent().unwrap_or(dir),
            dir.file_name().unwrap_or_default().to_string_lossy().into(),
        )
    };
    let here = within.as_os_str().is_empty();
    let entries = std::fs::read_dir(if here { Path::new(".") } else { within });
    // Only to be helpful: what cannot be read is not named.
    let entries = entries.into_iter().flatten().flatten();
    let mut models: Vec<(usize, String)> = entries
        .filter(|entry| holds_model(&entry.path()))
        .map(|entry| {
            let name = entry.file_name();
            let alike = alike(&like, &name.to_string_lossy());
            (alike, within.join(name).display().to_string())
        })
        .collect();
    models.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let more = models.len().saturating_sub(SHOWN);
    let names: Vec<String> = models.into_iter().take(SHOWN).map(|(_, n)| n).collect();
    if !names.is_empty() {
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        return format!("; there are {}{more}", names.join(", "));
    }
    // `timm/resnet18.a1_in1k` is how a repository of the hub is written elsewhere.
    let is_repository = !written.starts_with(['.', '/']) && written.split('/').count() == 2;
    if is_repository && !dir.exists() {
        format!("; a repository of the hub is written hf-hub:{written}")
    } else {
        String::new()
    }
}

/// How many characters two names have in common at their beginnings and ends.
fn alike(a: &str, b: &str) -> usize {
    let same = |(a, b): &(char, char)| a == b;
    let beginning = a.chars().zip(b.chars()).take_while(same).count();
    let end = a.chars().rev().zip(b.chars().rev()).take_while(same);
    beginning + end.count()
}

/// A model's name for use in the name of a folder; a folder of a model goes by its own.
pub fn plain_name(model: &str) -> String {
    let folder = folder_of(model).and_then(Path::file_name);
    let name = folder.map_or(model.into(), |name| name.to_string_lossy());
    for_path(&name)
}

/// A text without the characters that mean something in a path or a name of a model.
pub fn for_path(text: &str) -> String {
    text.replace(['/', ':', '@', ',', '='], "-")
}
