//! The folder a run leaves behind.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Recipe;
use crate::error::{Error, Result};
use crate::export::write_file;
use crate::model::Classifier;
use crate::preprocess::Normalization;

/// One line of `log.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean cross-entropy over the training images, as they were seen.
    pub train_loss: f64,
    /// Share of training images that were recognised as they were seen, in 0..1.
    pub train_accuracy: f64,
    /// Mean cross-entropy over the validation images.
    pub valid_loss: f64,
    /// Share of validation images that were recognised, in 0..1.
    pub valid_accuracy: f64,
    /// Share of validation images whose class was among the best five, in 0..1.
    pub valid_top5_accuracy: f64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Seconds for training and validation.
    pub seconds: f64,
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

/// A finished run.
#[derive(Debug)]
pub struct Run {
    dir: PathBuf,
    epochs: Vec<EpochRecord>,
    best: usize,
    model: Classifier,
}

impl Run {
    /// The run folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every epoch, in order.
    pub fn epochs(&self) -> &[EpochRecord] {
        &self.epochs
    }

    /// The epoch with the best validation accuracy; the earlier of equals.
    pub fn best(&self) -> &EpochRecord {
        // There is at least one epoch, and `best` is an index into them: see `Log::finish`.
        &self.epochs[self.best]
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
}

/// Writes a run folder while the run goes on.
pub(crate) struct Log {
    dir: PathBuf,
    epochs: Vec<EpochRecord>,
    best: Option<(usize, Classifier)>,
}

/// Whether a folder holds a run: another program's `config.toml` does not say what ours says.
fn is_run(dir: &Path) -> bool {
    let text = std::fs::read_to_string(dir.join(CONFIG)).unwrap_or_default();
    let config: Option<toml::Table> = text.parse().ok();
    config.is_some_and(|config| config.contains_key("burn_zoo"))
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
    for name in [LOG, "classes.txt", "curves.svg", "best", "last", CONFIG] {
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
/// Name of a run's configuration.
const CONFIG: &str = "config.toml";

impl Log {
    /// Makes the folder. An old run in its place is only replaced when asked for: what a run
    /// writes is set aside, and taken away once the new run has a checkpoint.
    pub fn create(dir: &Path, overwrite: bool) -> Result<Self> {
        if dir
            .read_dir()
            .is_ok_and(|mut entries| entries.next().is_some())
        {
            let is_run = is_run(dir);
            if !(overwrite && is_run) {
                let hint = match (overwrite, is_run) {
                    (true, false) => "it is no run folder, so it is not overwritten",
                    _ => "choose another folder, or ask for it to be overwritten",
                };
                return Err(Error::Exists {
                    path: dir.to_path_buf(),
                    hint: hint.to_owned(),
                });
            }
            set_aside(dir)?;
        }
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            epochs: Vec::new(),
            best: None,
        })
    }

    /// Writes `config.toml` and `classes.txt`.
    pub fn start(
        &self,
        recipe: &Recipe,
        model: &Classifier,
        data: &str,
        images: [usize; 2],
    ) -> Result<()> {
        let info = model.info();
        let trainable = model.trainable_parameters();
        let all = crate::params::list(model);
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
                    .map(crate::params::ParamInfo::num_elements)
                    .sum(),
                device: format!("{:?}", model.device()),
                threads: std::thread::available_parallelism().map_or(1, usize::from),
                normalization: &info.normalization,
            },
            data: Data {
                source: data,
                train_images: images[0],
                valid_images: images[1],
                classes: &info.classes,
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

    /// Records an epoch and writes its checkpoints.
    pub fn epoch(&mut self, record: EpochRecord, model: &Classifier) -> Result<()> {
        model.export(self.last())?;
        let best = self.best.as_ref().map(|(index, _)| &self.epochs[*index]);
        if best.is_none_or(|best| record.valid_accuracy > best.valid_accuracy) {
            model.export(self.dir.join("best"))?;
            self.best = Some((self.epochs.len(), model.clone()));
        }
        let path = self.dir.join(LOG);
        let mut line = serde_json::to_string(&record)
            .map_err(|error| Error::argument("log", "values that JSON can hold", error))?;
        line.push('\n');
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(Error::io("write", &path))?;
        if self.epochs.is_empty() {
            remove(&self.dir.join(ASIDE))?;
        }
        self.epochs.push(record);
        #[cfg(feature = "plots")]
        super::curves::write(&self.dir.join("curves.svg"), &self.epochs)?;
        Ok(())
    }

    /// The newest checkpoint's folder.
    pub fn last(&self) -> PathBuf {
        self.dir.join("last")
    }

    /// The finished run; an error if there was no epoch at all.
    pub fn finish(self) -> Result<Run> {
        let (best, model) = self
            .best
            .ok_or_else(|| Error::argument("epochs", "at least 1", 0))?;
        Ok(Run {
            dir: self.dir,
            epochs: self.epochs,
            best,
            model,
        })
    }
}
