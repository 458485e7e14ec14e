//! Writes a run folder while the run goes on.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use csv::StringRecord;
use serde::Serialize;

use super::config::RunData;
use super::finished::Run;
use super::layout::{BEST, CONFIG, LOG, PREVIOUS, SKIPPED, STEPS, TEST, is_run};
use super::lock::FolderLock;
use super::scratch::Scratch;
use super::tables::{self, step_columns, step_row, step_rows_until};
use crate::device::device_name;
use crate::error::{Error, Result};
use crate::files::{TEMPORARY, link_or_copy, write_file};
use crate::model::{Classifier, StemShape, params};
use crate::preprocess::{ImageSize, Normalization};
use crate::train::checkpoint;
use crate::train::epoch_record::{EpochRecord, SkippedImage};
use crate::train::extend::AddedEpochs;
use crate::train::monitor::StepRecord;
use crate::train::plan::Plan;
use crate::train::recipe::Recipe;
use crate::train::state::RunState;
use crate::weights::{ADAPTER_FILES, EXPORTED};

/// Of so many steps one is logged.
const LOGGED_EVERY: usize = 10;

/// Everything a run writes, its configuration last: without that a folder is no run's.
const OWN_FILES: [&str; 13] = [
    LOG,
    TEST,
    SKIPPED,
    "log.csv",
    STEPS,
    "classes.txt",
    "curves.svg",
    "report.html",
    "report",
    "tensorboard",
    BEST,
    checkpoint::FOLDER,
    CONFIG,
];

/// What a new run's `config.toml` holds: everything resolved.
#[derive(Serialize)]
struct Config<'a> {
    burn_zoo: &'static str,
    model: ModelConfig<'a>,
    data: &'a RunData,
    recipe: &'a Recipe,
}

#[derive(Serialize)]
struct ModelConfig<'a> {
    architecture: &'a str,
    weights: &'a str,
    in_channels: usize,
    num_classes: usize,
    /// Of the images that the model sees, if they have one size.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_size: Option<ImageSize>,
    global_pool: &'a str,
    drop_rate: f64,
    drop_path_rate: f64,
    /// In words, if it is not upstream's.
    #[serde(skip_serializing_if = "Option::is_none")]
    stem: Option<String>,
    parameters: usize,
    trainable: usize,
    device: String,
    threads: usize,
    normalization: &'a Normalization,
}

impl<'a> ModelConfig<'a> {
    fn of(model: &'a Classifier) -> Self {
        let info = model.info();
        let trainable = model.trainable_parameters();
        let params = params::list(model).into_iter();
        let trainable = params.filter(|param| trainable.contains(&param.path));
        Self {
            architecture: &info.architecture,
            weights: &info.origin,
            in_channels: model.in_channels(),
            num_classes: model.num_classes(),
            image_size: info.image_size,
            global_pool: model.head.pool().timm_name(),
            drop_rate: info.drop_rate,
            drop_path_rate: info.drop_path_rate,
            stem: model
                .backbone
                .describe()
                .changed_stem()
                .map(StemShape::to_string),
            parameters: model.num_parameters(),
            trainable: trainable.map(|param| param.num_elements()).sum(),
            device: device_name(&model.device()),
            threads: rayon::current_num_threads(),
            normalization: &info.normalization,
        }
    }
}

impl Run {
    /// Whether a run may be written into a folder, for those who want to know before a model is
    /// fetched and built: [`Recipe::fit`] asks the same.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is something that has to stay, [`Error::Folder`] if another
    /// process writes a run there.
    pub fn check_folder(dir: impl AsRef<Path>, overwrite: bool) -> Result<()> {
        FolderLock::take(dir.as_ref())?;
        has_previous_run(dir.as_ref(), overwrite).map(drop)
    }
}

/// Whether an old run is to be replaced; an error if what is there has to stay.
fn has_previous_run(dir: &Path, overwrite: bool) -> Result<bool> {
    let entries = dir.read_dir().into_iter().flatten().flatten();
    if entries.filter(|entry| !is_temporary(entry)).count() == 0 {
        return Ok(false);
    }
    let hint = match (overwrite, is_run(dir)) {
        (true, true) => return Ok(true),
        (true, false) => "it is no run folder, so it is not overwritten",
        _ => {
            "choose another folder, remove this one, or have an old run replaced (`FitOptions::overwrite`)"
        }
    };
    Err(Error::Exists {
        path: dir.to_path_buf(),
        hint: hint.to_owned(),
    })
}

/// Whether this is what is left of a file that was being written when a process ended.
fn is_temporary(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with(TEMPORARY)
}

/// Removes what is left of files that were being written when an earlier process ended.
fn remove_temporary_files(dir: &Path) -> Result<()> {
    let entries = dir.read_dir().map_err(Error::io("read", dir))?.flatten();
    for entry in entries.filter(is_temporary) {
        remove(&entry.path())?;
    }
    Ok(())
}

/// Moves what an old run wrote into a folder of its own.
fn set_aside(dir: &Path) -> Result<()> {
    let previous = dir.join(PREVIOUS);
    // If the run there never finished an epoch, the one before it is still aside, and stays.
    let keep = previous.exists() && !dir.join(BEST).exists();
    if !keep {
        remove(&previous)?;
        std::fs::create_dir(&previous).map_err(Error::io("create", &previous))?;
    }
    for name in OWN_FILES {
        let path = dir.join(name);
        if keep {
            remove(&path)?;
        } else if path.exists() {
            std::fs::rename(&path, previous.join(name)).map_err(Error::io("move", &path))?;
        }
    }
    Ok(())
}

/// Moves back what was set aside, where the new run could not begin.
fn put_back(dir: &Path) -> Result<()> {
    let previous = dir.join(PREVIOUS);
    for name in OWN_FILES {
        let (from, to) = (previous.join(name), dir.join(name));
        if from.exists() {
            remove(&to)?;
            std::fs::rename(&from, &to).map_err(Error::io("move", &from))?;
        }
    }
    remove(&previous)
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else if path.exists() {
        std::fs::remove_file(path)
    } else {
        Ok(())
    };
    removed.map_err(Error::io("remove", path))
}

/// A run folder that is being written.
pub(in crate::train) struct RunFolder {
    path: PathBuf,
    /// Keeps other processes out.
    _lock: Option<FolderLock>,
    /// The rows of the log of steps, the first of which names the columns.
    steps: Vec<StringRecord>,
    /// A place for a rank that writes no run: what it needs for itself, until it ends.
    scratch: Option<Scratch>,
}

impl RunFolder {
    /// Makes the folder. An old run in its place is only replaced when asked for: what a run
    /// writes is set aside, and removed once the new run has a checkpoint.
    pub fn create(path: &Path, overwrite: bool, plan: &Plan) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(Error::io("create", path))?;
        let lock = FolderLock::take(path)?;
        if has_previous_run(path, overwrite)? {
            set_aside(path)?;
        }
        remove_temporary_files(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            _lock: Some(lock),
            steps: vec![step_columns(plan)],
            scratch: None,
        })
    }

    /// What a rank has in place of a run folder: everything that it would write, rank 0 writes.
    pub fn none() -> Result<Self> {
        let scratch = Scratch::new()?;
        Ok(Self {
            path: scratch.path().to_path_buf(),
            _lock: None,
            steps: Vec::new(),
            scratch: Some(scratch),
        })
    }

    /// Whether a run is written here.
    pub fn is_written(&self) -> bool {
        self.scratch.is_none()
    }

    /// The folder of a run that goes on: what was written after its last checkpoint is undone.
    pub fn resume(path: &Path, lock: FolderLock, state: &RunState, plan: &Plan) -> Result<Self> {
        remove_temporary_files(path)?;
        checkpoint::remove_unfinished(path)?;
        let text = std::fs::read_to_string(path.join(STEPS)).unwrap_or_default();
        let rows = step_rows_until(&text, state.steps);
        let folder = Self {
            path: path.to_path_buf(),
            _lock: Some(lock),
            steps: std::iter::once(step_columns(plan)).chain(rows).collect(),
            scratch: None,
        };
        folder.write_steps()?;
        folder.write_epochs(&state.epochs)?;
        Ok(folder)
    }

    /// The folder of a finished run, whose steps are not written again.
    pub fn open_finished(path: &Path, lock: FolderLock) -> Result<Self> {
        checkpoint::remove_unfinished(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            _lock: Some(lock),
            steps: Vec::new(),
            scratch: None,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `config.toml` and `classes.txt`. Where that fails, an old run that was set aside is back.
    pub fn write_config(&self, recipe: &Recipe, model: &Classifier, data: &RunData) -> Result<()> {
        let written = self.try_write_config(recipe, model, data);
        if written.is_err() {
            // What cannot be moved is still in `.previous`; why the new run cannot begin is the error.
            let _ = put_back(&self.path);
        }
        written
    }

    fn try_write_config(&self, recipe: &Recipe, model: &Classifier, data: &RunData) -> Result<()> {
        let config = Config {
            burn_zoo: env!("CARGO_PKG_VERSION"),
            model: ModelConfig::of(model),
            data,
            recipe,
        };
        let text = toml::to_string(&config)
            .map_err(|error| Error::argument("recipe", "values that TOML can hold", error))?;
        write_file(&self.path.join(CONFIG), text.as_bytes())?;
        let mut classes = model.info().classes.join("\n");
        classes.push('\n');
        write_file(&self.path.join("classes.txt"), classes.as_bytes())
    }

    /// Notes in `config.toml` where the images are now (nothing, if that was not said), and epochs
    /// that are added.
    pub fn update_config(
        &self,
        arguments: &toml::Table,
        added: Option<&AddedEpochs>,
    ) -> Result<()> {
        let path = self.path.join(CONFIG);
        let bad = |reason: String| Error::Folder {
            path: path.clone(),
            reason,
        };
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let mut config: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| bad(e.to_string()))?;
        let before = config.clone();
        if let Some(toml::Value::Table(data)) = config.get_mut("data")
            && !arguments.is_empty()
        {
            data.insert("arguments".to_owned(), arguments.clone().into());
        }
        if let Some(added) = added {
            let added = toml::Value::try_from(added).map_err(|error| bad(error.to_string()))?;
            let all = config
                .entry("extended")
                .or_insert_with(|| toml::Value::Array(Vec::new()));
            let all = all.as_array_mut();
            let all = all.ok_or_else(|| bad("`extended`: expected tables".to_owned()))?;
            all.push(added);
        }
        if config == before {
            return Ok(());
        }
        let text = toml::to_string(&config).map_err(|error| bad(error.to_string()))?;
        write_file(&path, text.as_bytes())
    }

    /// Notes a step; the first of each epoch, every tenth, and those are kept that are `special`.
    pub fn log_step(&mut self, step: &StepRecord, special: bool) {
        if step.global_step.is_multiple_of(LOGGED_EVERY) || step.step == 1 || special {
            self.steps.push(step_row(step));
        }
    }

    /// Writes the steps so far.
    pub fn write_steps(&self) -> Result<()> {
        tables::write_steps(&self.path.join(STEPS), &self.steps)
    }

    /// Writes the list of images that were left out, if there are any.
    pub fn write_skipped(&self, skipped: &[SkippedImage]) -> Result<()> {
        if skipped.is_empty() {
            return Ok(());
        }
        self.write_json_lines(SKIPPED, skipped)
    }

    /// Writes the figures of every epoch so far.
    pub fn write_epochs(&self, epochs: &[EpochRecord]) -> Result<()> {
        self.write_json_lines(LOG, epochs)?;
        tables::write_epochs(&self.path.join("log.csv"), epochs)
    }

    fn write_json_lines<T: Serialize>(&self, name: &str, values: &[T]) -> Result<()> {
        let mut text = String::new();
        for value in values {
            let line = serde_json::to_string(value)
                .map_err(|error| Error::argument(name, "values that JSON can hold", error))?;
            text.push_str(&line);
            text.push('\n');
        }
        write_file(&self.path.join(name), text.as_bytes())
    }

    /// Replaces the best model.
    pub fn write_best(&self, model: &Classifier) -> Result<()> {
        self.replace_best(|new| model.export(new))
    }

    /// The same, from a folder that the model was exported to just now: its files get a second name, so
    /// that the weights are written once.
    pub fn link_best(&self, exported: &Path) -> Result<()> {
        self.replace_best(|new| {
            std::fs::create_dir_all(new).map_err(Error::io("create", new))?;
            let adapter = ADAPTER_FILES.into_iter();
            let adapter = adapter.filter(|name| exported.join(name).is_file());
            for name in EXPORTED.into_iter().chain(adapter) {
                link_or_copy(&exported.join(name), &new.join(name))?;
            }
            Ok(())
        })
    }

    /// There is a whole best model at any time but for the moment between two renames, after which
    /// resuming the run writes it again.
    fn replace_best(&self, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let best = self.path.join(BEST);
        let new = self.path.join(".best-new");
        let old = self.path.join(".best-old");
        remove(&new)?;
        remove(&old)?;
        if let Err(error) = write(&new) {
            // Nothing half-written stays; the first error is the one that matters.
            let _ = remove(&new);
            return Err(error);
        }
        if best.exists() {
            std::fs::rename(&best, &old).map_err(Error::io("write", &best))?;
        }
        std::fs::rename(&new, &best).map_err(Error::io("write", &best))?;
        remove(&old)
    }

    /// Removes the old run that this one replaces.
    pub fn remove_previous_run(&self) -> Result<()> {
        remove(&self.path.join(PREVIOUS))
    }

    /// The finished run; an error if there was no epoch at all.
    pub fn finish(self, state: RunState, device: &Device, last: &Classifier) -> Result<Run> {
        let best = state
            .best
            .ok_or_else(|| Error::argument("epochs", "at least 1", 0))?;
        let device = device.clone().without_autodiff();
        let mut model = Classifier::open(self.path.join(BEST), &device)?;
        model.set_origin(last.info().origin.clone());
        Ok(Run {
            dir: self.path,
            epochs: state.epochs,
            best,
            model,
            skipped: state.skipped,
        })
    }
}
