//! The configuration of a run: `config.toml`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::{CONFIG, is_run};
use crate::error::{Error, Result};
use crate::train::checkpoint;
use crate::train::extend::{AddedEpochs, Extension};
use crate::train::ranges::not_negative;
use crate::train::recipe::Recipe;
use crate::train::schedule::Schedule;
use crate::train::unfreeze::Unfreeze;

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
    pub extended: Vec<AddedEpochs>,
}

/// The images of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunData {
    /// Where they came from, in words.
    pub source: String,
    /// Images for training.
    pub train_images: usize,
    /// Images for validation.
    pub valid_images: usize,
    /// The classes' names.
    pub classes: Vec<String>,
    /// What [`FitOptions::arguments`](crate::train::FitOptions) held.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub arguments: toml::Table,
}

impl RunConfig {
    /// The newest whole checkpoint in a run folder, which
    /// [`Classifier::open`](crate::Classifier::open) reads.
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

    /// Epochs of the run, with those that were added.
    pub fn epochs(&self) -> usize {
        let last = self.extended.last();
        last.map_or(self.recipe.epochs, |last| last.from_epoch + last.epochs)
    }

    /// The schedule and the rate of the run's last epochs.
    fn last_schedule(&self) -> (Schedule, f64) {
        if let Some(last) = self.extended.last() {
            return (last.schedule.clone(), last.learning_rate);
        }
        let rate = self.recipe.learning_rate;
        match &self.recipe.unfreeze {
            Unfreeze::FineTune { pct_start, div, .. } => {
                (Schedule::of_fine_tune(*pct_start, *div), rate / 2.0)
            }
            _ => (self.recipe.schedule.clone(), rate),
        }
    }

    /// Whether what is asked for is what this run is doing anyway.
    pub(in crate::train) fn includes(&self, asked: &Extension) -> bool {
        let (schedule, rate) = self.last_schedule();
        asked.epochs == self.epochs()
            && asked.schedule.as_ref().is_none_or(|own| *own == schedule)
            && asked.learning_rate.is_none_or(|own| own == rate)
    }

    /// The epochs that are added to a run that has done `epochs` and has come to `plan_step`.
    pub(in crate::train) fn add_epochs(
        &self,
        asked: &Extension,
        epochs: usize,
        plan_step: usize,
        ranks: usize,
    ) -> Result<AddedEpochs> {
        let Some(added) = asked.epochs.checked_sub(epochs).filter(|added| *added > 0) else {
            let expected =
                format!("more than the {epochs} that are done: the epochs of the run in all");
            return Err(Error::argument("epochs", expected, asked.epochs));
        };
        let (schedule, rate) = self.last_schedule();
        let schedule = asked.schedule.clone().unwrap_or(schedule);
        schedule.validate()?;
        let learning_rate = asked.learning_rate.unwrap_or(rate);
        not_negative("learning_rate", learning_rate)?;
        Ok(AddedEpochs {
            from_epoch: epochs,
            from_step: plan_step,
            ranks: ranks.max(1),
            epochs: added,
            learning_rate,
            schedule,
        })
    }
}
