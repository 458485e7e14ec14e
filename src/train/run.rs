//! The folder a run leaves behind.

use std::collections::BTreeMap;
#[cfg(feature = "plots")]
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
#[cfg(feature = "plots")]
use std::sync::Arc;

use burn::tensor::Device;
use csv::{QuoteStyle, StringRecord};
use serde::{Deserialize, Serialize};

use super::checkpoint::{self, State};
use super::{Extended, Plan, Recipe, StepRecord};
use crate::data::BrokenImage;
#[cfg(feature = "plots")]
use crate::data::{ImageData, Subset};
use crate::device::device_name;
use crate::error::{Error, Result};
use crate::files::{TEMPORARY, write_file};
use crate::memory::Memory;
use crate::model::Classifier;
use crate::preprocess::Normalization;

/// One line of `log.jsonl` and of `log.csv`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean loss over the training images, as they were seen.
    pub train_loss: f64,
    /// Share of training images that were recognised as they were seen, in 0..1.
    pub train_accuracy: f64,
    /// Mean cross-entropy over the validation images, of the averaged weights if there are.
    pub valid_loss: f64,
    /// Share of validation images that were recognised, in 0..1, by the averaged weights if there
    /// are.
    pub valid_accuracy: f64,
    /// Share of validation images whose class was among the best five, in 0..1.
    pub valid_top5_accuracy: f64,
    /// Mean over the classes of the share that was recognised, in 0..1.
    pub valid_balanced_accuracy: f64,
    /// With averaged weights: the accuracy of those that were not averaged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub raw_valid_accuracy: Option<f64>,
    /// The learning rate of the head at the last step.
    pub learning_rate: f64,
    /// The learning rate of each group at the last step, 0 where it is frozen.
    pub rates: BTreeMap<String, f64>,
    /// What is frozen.
    pub frozen: String,
    /// Training images a second.
    pub images_per_second: f64,
    /// Memory at the end of the epoch.
    pub memory: Memory,
    /// Seconds for training and validation.
    pub seconds: f64,
    /// Images that were trained on; 0 in logs from before this was noted, as the next two.
    #[serde(default)]
    pub train_images: usize,
    /// Images that were validated on.
    #[serde(default)]
    pub valid_images: usize,
    /// Images for training and validation that were left out because they could not be read.
    #[serde(default)]
    pub skipped_images: usize,
}

/// An image that was left out of a run because it could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedImage {
    /// `train` or `valid`.
    pub part: String,
    /// Which, and why.
    #[serde(flatten)]
    pub image: BrokenImage,
}

impl fmt::Display for EpochRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "epoch {}: accuracy {:.1} %, loss {:.3}",
            self.epoch,
            100.0 * self.valid_accuracy,
            self.valid_loss
        )
    }
}

/// A finished run, and the folder it wrote:
///
/// | name | what |
/// |---|---|
/// | `config.toml` | model, data and recipe, everything resolved |
/// | `log.jsonl`, `log.csv` | a line for each epoch: [`EpochRecord`] |
/// | `steps.csv` | a line for every tenth step, the first of each epoch, and those after a change of what is frozen: loss, rates, norm of the gradients |
/// | `classes.txt` | the classes' names |
/// | `skipped.jsonl` | the images that were left out because they could not be read: [`SkippedImage`] |
/// | `best/` | the model after the best epoch, as [`Classifier::export`] writes it |
/// | `checkpoints/` | what the run needs to go on |
#[derive(Debug)]
pub struct Run {
    dir: PathBuf,
    epochs: Vec<EpochRecord>,
    best: usize,
    model: Classifier,
    skipped: Vec<SkippedImage>,
}

impl Run {
    /// The run folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether a run may be written into a folder, for those who want to know before a model is
    /// fetched and built: [`Recipe::fit`] asks the same.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is something that has to stay, [`Error::Folder`] if another
    /// process writes a run there.
    pub fn check_folder(dir: impl AsRef<Path>, overwrite: bool) -> Result<()> {
        Hold::of(dir.as_ref())?;
        check_free(dir.as_ref(), overwrite).map(drop)
    }

    /// Every epoch, in order.
    pub fn epochs(&self) -> &[EpochRecord] {
        &self.epochs
    }

    /// The best epoch by the recipe's metric; the earlier of equals.
    pub fn best(&self) -> &EpochRecord {
        // There is at least one epoch, and `best` is an index into them: see `Log::finish`.
        &self.epochs[self.best]
    }

    /// The images that were left out because they could not be read.
    pub fn skipped_images(&self) -> &[SkippedImage] {
        &self.skipped
    }

    /// The model as it was after the best epoch, ready for inference.
    pub fn model(&self) -> &Classifier {
        &self.model
    }
}

/// What `config.toml` holds: everything resolved.
#[derive(Serialize)]
struct Config<'a> {
    burn_zoo: &'static str,
    model: Model<'a>,
    data: Data<'a>,
    recipe: &'a Recipe,
}

#[derive(Serialize)]
struct Model<'a> {
    architecture: &'a str,
    weights: &'a str,
    in_channels: usize,
    num_classes: usize,
    global_pool: &'a str,
    drop_rate: f64,
    drop_path_rate: f64,
    parameters: usize,
    trainable: usize,
    device: String,
    threads: usize,
    normalization: &'a Normalization,
}

#[derive(Serialize)]
struct Data<'a> {
    source: &'a str,
    train_images: usize,
    valid_images: usize,
    classes: &'a [String],
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    arguments: &'a toml::Table,
}

/// What a run folder's `config.toml` says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunConfig {
    /// The version that made it.
    pub burn_zoo: String,
    /// The recipe, with everything resolved.
    pub recipe: Recipe,
    /// The images.
    pub data: RunData,
    /// The model: architecture, weights, device and more.
    pub model: toml::Table,
    /// Epochs that were added after the run had ended, in order.
    #[serde(default)]
    pub extended: Vec<Extended>,
}

/// The images of a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunData {
    /// Where they came from, in words.
    pub source: String,
    /// Images for training.
    pub train_images: usize,
    /// Images for validation.
    pub valid_images: usize,
    /// The classes' names.
    pub classes: Vec<String>,
    /// What [`FitOptions::arguments`](super::FitOptions) held.
    #[serde(default)]
    pub arguments: toml::Table,
}

impl RunConfig {
    /// The newest whole checkpoint in a run folder, which [`Classifier::open`] reads.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read.
    pub fn newest_checkpoint(dir: impl AsRef<Path>) -> Result<Option<PathBuf>> {
        checkpoint::newest(dir.as_ref())
    }

    /// A value of the table of the model as text, `-` if it is not there.
    #[cfg(feature = "plots")]
    pub(crate) fn model_text(&self, key: &str) -> String {
        match self.model.get(key) {
            None => "-".to_owned(),
            Some(toml::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// Reads a run folder's configuration.
    ///
    /// # Errors
    /// [`Error::Folder`] if the folder is no run's.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let path = dir.join(CONFIG);
        if !is_run(dir) {
            return Err(Error::Folder {
                path: dir.to_path_buf(),
                reason: "expected a run folder, found no config.toml of a run in it".to_owned(),
            });
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        toml::from_str(&text).map_err(|error| Error::Folder {
            path,
            reason: error.to_string().trim_end().to_owned(),
        })
    }
}

/// What a run folder's text files say.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFiles {
    /// `config.toml`.
    pub config: RunConfig,
    /// The same as it stands there.
    pub text: String,
    /// `log.jsonl`.
    pub epochs: Vec<EpochRecord>,
    /// The groups of parameters that have a rate of their own, from the input to the head.
    pub groups: Vec<String>,
    /// `steps.csv`.
    pub steps: Vec<LoggedStep>,
    /// `skipped.jsonl`.
    pub skipped: Vec<SkippedImage>,
}

/// A line of `steps.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedStep {
    /// Epochs that have passed, with a fraction.
    pub epoch: f64,
    /// Steps of the optimiser that have been made.
    pub step: usize,
    /// Mean loss of its images.
    pub loss: f64,
    /// Norm of all gradients before clipping, where it was looked at.
    pub gradient_norm: Option<f64>,
    /// One for each of [`RunFiles::groups`], 0 where it is frozen.
    pub rates: Vec<f64>,
}

impl RunFiles {
    /// Reads a run folder.
    ///
    /// # Errors
    /// [`Error::Folder`] if the folder is no run's or one of the files is not what a run writes.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let config = RunConfig::open(dir)?;
        let read = |name: &str| -> Result<String> {
            let path = dir.join(name);
            match std::fs::read_to_string(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
                other => other.map_err(Error::io("read", &path)),
            }
        };
        let bad = |name: &str, line: usize, reason: String| Error::Folder {
            path: dir.join(name),
            reason: format!("line {line}: {reason}"),
        };
        let log = read(LOG)?;
        let epochs = log.lines().enumerate().map(|(line, text)| {
            serde_json::from_str(text).map_err(|error| bad(LOG, line + 1, error.to_string()))
        });
        let epochs = epochs.collect::<Result<_>>()?;
        let left_out = read(SKIPPED)?;
        let skipped = left_out.lines().enumerate().map(|(line, text)| {
            serde_json::from_str(text).map_err(|error| bad(SKIPPED, line + 1, error.to_string()))
        });
        let table = read(STEPS)?;
        let mut lines = table.lines().enumerate();
        let header = lines.next().map_or("", |(_, header)| header);
        let groups: Vec<String> = header
            .split(',')
            .filter_map(|name| name.strip_prefix("rate "))
            .map(str::to_owned)
            .collect();
        let steps = lines.map(|(line, text)| {
            LoggedStep::parse(text, groups.len()).ok_or_else(|| {
                let expected = format!("expected the numbers of `{header}`, found `{text}`");
                bad(STEPS, line + 1, expected)
            })
        });
        Ok(Self {
            steps: steps.collect::<Result<_>>()?,
            skipped: skipped.collect::<Result<_>>()?,
            text: read(CONFIG)?,
            config,
            epochs,
            groups,
        })
    }
}

impl RunFiles {
    /// The validation images but for those that the run left out.
    #[cfg(feature = "plots")]
    pub(crate) fn validated(&self, valid: Arc<dyn ImageData>) -> Arc<dyn ImageData> {
        let skipped = self
            .skipped
            .iter()
            .filter(|skipped| skipped.part == "valid");
        let skipped: BTreeSet<usize> = skipped.map(|skipped| skipped.image.index).collect();
        if skipped.is_empty() {
            return valid;
        }
        Arc::new(Subset::without(valid, &skipped))
    }
}

impl LoggedStep {
    fn parse(line: &str, groups: usize) -> Option<Self> {
        let mut values = line.split(',');
        let mut next = || values.next();
        let epoch = next()?.parse().ok()?;
        let step = next()?.parse().ok()?;
        let loss = next()?.parse().ok()?;
        // The head's rate is among the groups' rates.
        let _: f64 = next()?.parse().ok()?;
        let gradient_norm = match next()? {
            "" => None,
            norm => Some(norm.parse().ok()?),
        };
        let rates: Vec<f64> = values.map(|v| v.parse().ok()).collect::<Option<_>>()?;
        (rates.len() == groups).then_some(Self {
            epoch,
            step,
            loss,
            gradient_norm,
            rates,
        })
    }
}

/// A run folder that no other process writes into, for as long as the value lives.
///
/// The folder itself is locked, so that nothing is left of the lock however a process ends. Where
/// folders cannot be locked (on Windows, in some network file systems) it keeps nobody out.
pub(crate) struct Hold {
    _folder: Option<File>,
}

impl Hold {
    /// Takes a folder; one that is not there is nobody's.
    pub fn of(dir: &Path) -> Result<Self> {
        let Ok(folder) = File::open(dir) else {
            return Ok(Self { _folder: None });
        };
        match folder.try_lock() {
            Ok(()) => Ok(Self {
                _folder: Some(folder),
            }),
            Err(TryLockError::WouldBlock) => Err(Error::Folder {
                path: dir.to_path_buf(),
                reason: "another process is writing a run into this folder; wait until it has \
                         ended, or choose another folder"
                    .to_owned(),
            }),
            Err(TryLockError::Error(_)) => Ok(Self { _folder: None }),
        }
    }
}

/// Writes a run folder while the run goes on.
pub(crate) struct Log {
    dir: PathBuf,
    /// Keeps other processes out.
    _hold: Hold,
    /// The first line of the log of steps, and all others.
    header: StringRecord,
    steps: Vec<StringRecord>,
}

/// Whether a folder holds a run: another program's `config.toml` does not say what ours says.
fn is_run(dir: &Path) -> bool {
    let text = std::fs::read_to_string(dir.join(CONFIG)).unwrap_or_default();
    let config: Option<toml::Table> = text.parse().ok();
    config.is_some_and(|config| config.contains_key("burn_zoo"))
}

/// Whether a folder is empty or not there; an error if what is there has to stay.
fn check_free(dir: &Path, overwrite: bool) -> Result<bool> {
    let entries = dir.read_dir().into_iter().flatten().flatten();
    if entries.filter(|entry| !is_temporary(entry)).count() == 0 {
        return Ok(true);
    }
    let hint = match (overwrite, is_run(dir)) {
        (true, true) => return Ok(false),
        (true, false) => "it is no run folder, so it is not overwritten",
        _ => "choose another folder, or ask for it to be overwritten",
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

/// Takes away what is left of files that were being written when an earlier process ended.
fn sweep(dir: &Path) -> Result<()> {
    let entries = dir.read_dir().map_err(Error::io("read", dir))?.flatten();
    for entry in entries.filter(is_temporary) {
        remove(&entry.path())?;
    }
    Ok(())
}

/// Moves what a run writes into a folder of its own.
fn set_aside(dir: &Path) -> Result<()> {
    let aside = dir.join(ASIDE);
    // If the run there never had a checkpoint, the one before it is still aside, and stays.
    let keep = aside.exists() && !dir.join(LOG).exists();
    if !keep {
        remove(&aside)?;
        std::fs::create_dir(&aside).map_err(Error::io("create", &aside))?;
    }
    for name in OURS {
        let path = dir.join(name);
        if keep {
            remove(&path)?;
        } else if path.exists() {
            std::fs::rename(&path, aside.join(name)).map_err(Error::io("move", &path))?;
        }
    }
    Ok(())
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> Result<()> {
    let removed = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false if path.exists() => std::fs::remove_file(path),
        false => Ok(()),
    };
    removed.map_err(Error::io("remove", path))
}

/// Where an old run waits until the new one has a checkpoint.
const ASIDE: &str = ".previous";
/// Name of a run's log.
const LOG: &str = "log.jsonl";
/// Everything a run writes, its configuration last: without that a folder is no run's.
const OURS: [&str; 12] = [
    LOG,
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
/// Name of the best model's folder.
pub(super) const BEST: &str = "best";
/// Name of the list of images that were left out.
const SKIPPED: &str = "skipped.jsonl";
/// Name of the log of steps.
const STEPS: &str = "steps.csv";
/// Name of a run's configuration.
const CONFIG: &str = "config.toml";

impl Log {
    /// Makes the folder. An old run in its place is only replaced when asked for: what a run
    /// writes is set aside, and taken away once the new run has a checkpoint.
    pub fn create(dir: &Path, overwrite: bool, plan: &Plan) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let hold = Hold::of(dir)?;
        if !check_free(dir, overwrite)? {
            set_aside(dir)?;
        }
        sweep(dir)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            _hold: hold,
            header: header(plan),
            steps: Vec::new(),
        })
    }

    /// The log of a run that goes on: what was written after its last checkpoint is taken back.
    pub fn resume(dir: &Path, hold: Hold, state: &State, plan: &Plan) -> Result<Self> {
        sweep(dir)?;
        checkpoint::sweep(dir)?;
        let path = dir.join(STEPS);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let done = |line: &&str| {
            let step = line.split(',').nth(1).and_then(|s| s.parse::<usize>().ok());
            step.is_some_and(|step| step <= state.steps)
        };
        // A last line without its end was being written.
        let lines = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
        let lines = lines.map(str::trim_end).filter(done);
        let mut log = Self {
            dir: dir.to_path_buf(),
            _hold: hold,
            header: header(plan),
            steps: lines.map(|line| line.split(',').collect()).collect(),
        };
        log.write_steps()?;
        log.write_epochs(&state.epochs)?;
        Ok(log)
    }

    /// The log of a finished run, which is only read.
    pub fn read(dir: &Path, hold: Hold) -> Result<Self> {
        checkpoint::sweep(dir)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            _hold: hold,
            header: StringRecord::new(),
            steps: Vec::new(),
        })
    }

    /// Notes in `config.toml` where the images are now (nothing, if that was not said), and epochs
    /// that are added.
    pub fn change_config(&self, arguments: &toml::Table, added: Option<&Extended>) -> Result<()> {
        let path = self.dir.join(CONFIG);
        let bad = |reason: String| Error::Folder {
            path: path.clone(),
            reason,
        };
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let mut config: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| bad(e.to_string()))?;
        let before = config.clone();
        if let (false, Some(toml::Value::Table(data))) =
            (arguments.is_empty(), config.get_mut("data"))
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

    /// Writes the list of images that were left out, if there are any.
    pub fn write_skipped(&self, skipped: &[SkippedImage]) -> Result<()> {
        if skipped.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for image in skipped {
            let line = serde_json::to_string(image)
                .map_err(|error| Error::argument("skipped", "values that JSON can hold", error))?;
            text.push_str(&line);
            text.push('\n');
        }
        write_file(&self.dir.join(SKIPPED), text.as_bytes())
    }

    /// Writes `config.toml` and `classes.txt`.
    pub fn start(
        &self,
        recipe: &Recipe,
        model: &Classifier,
        options: &super::FitOptions,
        images: [usize; 2],
        classes: &[String],
    ) -> Result<()> {
        let info = model.info();
        let trainable = model.trainable_parameters();
        let all = crate::model::params::list(model);
        let config = Config {
            burn_zoo: env!("CARGO_PKG_VERSION"),
            model: Model {
                architecture: &info.architecture,
                weights: &info.origin,
                in_channels: model.in_channels(),
                num_classes: model.num_classes(),
                global_pool: model.head.pool().timm_name(),
                drop_rate: info.drop_rate,
                drop_path_rate: info.drop_path_rate,
                parameters: model.num_parameters(),
                trainable: all
                    .iter()
                    .filter(|p| trainable.contains(&p.path))
                    .map(crate::model::params::ParamInfo::num_elements)
                    .sum(),
                device: device_name(&model.device()),
                threads: std::thread::available_parallelism().map_or(1, usize::from),
                normalization: &info.normalization,
            },
            data: Data {
                source: &options.data,
                train_images: images[0],
                valid_images: images[1],
                classes,
                arguments: &options.arguments,
            },
            recipe,
        };
        let text = toml::to_string(&config)
            .map_err(|error| Error::argument("recipe", "values that TOML can hold", error))?;
        write_file(&self.dir.join(CONFIG), text.as_bytes())?;
        let mut classes = info.classes.join("\n");
        classes.push('\n');
        write_file(&self.dir.join("classes.txt"), classes.as_bytes())
    }

    /// Notes a step; the first of each epoch, every tenth, and those are kept that are `special`.
    pub fn step(&mut self, step: &StepRecord, special: bool) {
        if !step.global_step.is_multiple_of(EVERY) && step.step != 1 && !special {
            return;
        }
        let epoch = (step.epoch - 1) as f64 + step.step as f64 / step.steps as f64;
        let norm = step
            .gradient_norm
            .map_or(String::new(), |n| format!("{n:.6e}"));
        let mut record = StringRecord::from(vec![
            format!("{epoch:.5}"),
            step.global_step.to_string(),
            format!("{:.6}", step.loss),
            format!("{:.6e}", step.learning_rate),
            norm,
        ]);
        record.extend(step.rates.iter().map(|rate| format!("{rate:.6e}")));
        self.steps.push(record);
    }

    /// Writes the figures of every epoch so far.
    pub fn write_epochs(&mut self, epochs: &[EpochRecord]) -> Result<()> {
        let mut json = String::new();
        let mut rows = Vec::new();
        for e in epochs {
            let line = serde_json::to_string(e)
                .map_err(|error| Error::argument("log", "values that JSON can hold", error))?;
            json.push_str(&line);
            json.push('\n');
            rows.push(StringRecord::from(vec![
                e.epoch.to_string(),
                e.train_loss.to_string(),
                e.train_accuracy.to_string(),
                e.valid_loss.to_string(),
                e.valid_accuracy.to_string(),
                e.valid_top5_accuracy.to_string(),
                e.valid_balanced_accuracy.to_string(),
                e.learning_rate.to_string(),
                format!("{:.2}", e.images_per_second),
                format!("{:.3}", e.seconds),
                e.frozen.clone(),
            ]));
        }
        write_file(&self.dir.join(LOG), json.as_bytes())?;
        let header = StringRecord::from(EPOCH_COLUMNS.to_vec());
        let path = self.dir.join("log.csv");
        write_csv(&path, &header, &rows, QuoteStyle::NonNumeric)
    }

    /// Writes the steps so far.
    pub fn write_steps(&mut self) -> Result<()> {
        let path = self.dir.join(STEPS);
        write_csv(&path, &self.header, &self.steps, QuoteStyle::Necessary)
    }

    /// Replaces the best model: there is a whole one at any time but for the moment between two
    /// renames, after which resuming the run writes it again.
    pub fn write_best(&self, model: &Classifier) -> Result<()> {
        let best = self.dir.join(BEST);
        let new = self.dir.join(".best-new");
        let old = self.dir.join(".best-old");
        remove(&new)?;
        remove(&old)?;
        model.export(&new)?;
        if best.exists() {
            std::fs::rename(&best, &old).map_err(Error::io("write", &best))?;
        }
        std::fs::rename(&new, &best).map_err(Error::io("write", &best))?;
        remove(&old)
    }

    /// The old run that this one replaces is no longer needed.
    pub fn forget_old(&self) -> Result<()> {
        remove(&self.dir.join(ASIDE))
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The finished run; an error if there was no epoch at all.
    pub fn finish(self, state: State, device: &Device, last: &Classifier) -> Result<Run> {
        let best = state
            .best
            .ok_or_else(|| Error::argument("epochs", "at least 1", 0))?;
        let mut model = Classifier::open(self.dir.join(BEST), &device.clone().without_autodiff())?;
        model.set_origin(last.info().origin.clone());
        Ok(Run {
            dir: self.dir,
            epochs: state.epochs,
            best,
            model,
            skipped: state.skipped,
        })
    }
}

/// The columns of `log.csv`.
const EPOCH_COLUMNS: [&str; 11] = [
    "epoch",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
    "valid_top5_accuracy",
    "valid_balanced_accuracy",
    "learning_rate",
    "images_per_second",
    "seconds",
    "frozen",
];

/// The columns of `steps.csv`.
fn header(plan: &Plan) -> StringRecord {
    let mut header = StringRecord::from(STEP_COLUMNS.to_vec());
    header.extend(
        plan.groups()
            .iter()
            .map(|group| format!("rate {}", group.name)),
    );
    header
}

/// The columns of `steps.csv` before the rates of the groups.
const STEP_COLUMNS: [&str; 5] = ["epoch", "step", "loss", "learning_rate", "gradient_norm"];

/// Writes a table; `quotes` says which fields of its rows stand in quotes.
fn write_csv(
    path: &Path,
    header: &StringRecord,
    rows: &[StringRecord],
    quotes: QuoteStyle,
) -> Result<()> {
    let write = || -> csv::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(header)?;
        let header = writer
            .into_inner()
            .map_err(csv::IntoInnerError::into_error)?;
        let mut builder = csv::WriterBuilder::new();
        let mut writer = builder.quote_style(quotes).from_writer(header);
        rows.iter().try_for_each(|row| writer.write_record(row))?;
        Ok(writer
            .into_inner()
            .map_err(csv::IntoInnerError::into_error)?)
    };
    let expected = "values that CSV can hold";
    let bytes = write().map_err(|error| Error::argument("log", expected, error))?;
    write_file(path, &bytes)
}

/// Of so many steps one is logged.
const EVERY: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_quote_what_has_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.csv");
        let record = |fields: &[&str]| StringRecord::from(fields.to_vec());
        let header = record(&["epoch", "loss", "frozen"]);
        let rows = [
            record(&["1", "0.00001", "backbone"]),
            record(&["2", "1e21", "only:a,\"b\""]),
        ];
        write_csv(&path, &header, &rows, QuoteStyle::NonNumeric).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "epoch,loss,frozen\n1,0.00001,\"backbone\"\n2,1e21,\"only:a,\"\"b\"\"\"\n"
        );
        write_csv(
            &path,
            &header,
            &[record(&["0.5", "", "1e-3"])],
            QuoteStyle::Necessary,
        )
        .unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "epoch,loss,frozen\n0.5,,1e-3\n"
        );
    }
}
