//! The text files of a run folder, read.

#[cfg(feature = "plots")]
use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
#[cfg(feature = "plots")]
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::config::RunConfig;
use super::layout::{CONFIG, LOG, SKIPPED, STEPS, TEST};
use super::tested::TestRecord;
#[cfg(feature = "plots")]
use crate::data::{ImageData, Subset};
use crate::error::{Error, Result};
use crate::train::epoch_record::{EpochRecord, SkippedImage};

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
    /// `test.json`, if it tells of the best epoch: a run that trained on may have a better one since.
    pub test: Option<TestRecord>,
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
        let table = read(dir, STEPS)?;
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
                bad_line(dir, STEPS, line, expected)
            })
        });
        let epochs: Vec<EpochRecord> = read_json_lines(dir, LOG)?;
        let best = config.recipe.metric.best(&epochs);
        let best = best.map(|index| epochs[index].epoch);
        let test = read_json_lines(dir, TEST)?.pop();
        Ok(Self {
            test: test.filter(|test: &TestRecord| Some(test.epoch) == best),
            steps: steps.collect::<Result<_>>()?,
            skipped: read_json_lines(dir, SKIPPED)?,
            text: read(dir, CONFIG)?,
            epochs,
            config,
            groups,
        })
    }

    /// The epochs of `log.jsonl` alone.
    #[cfg(feature = "plots")]
    pub(crate) fn read_epochs(dir: &Path) -> Result<Vec<EpochRecord>> {
        read_json_lines(dir, LOG)
    }

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

/// The text of a file, empty if there is none.
fn read(dir: &Path, name: &str) -> Result<String> {
    let path = dir.join(name);
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        other => other.map_err(Error::io("read", &path)),
    }
}

/// A value from each line of a file.
fn read_json_lines<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Vec<T>> {
    let text = read(dir, name)?;
    let lines = text.lines().enumerate();
    lines
        .map(|(line, text)| {
            serde_json::from_str(text).map_err(|error| bad_line(dir, name, line, error))
        })
        .collect()
}

/// The error of a line, counted from 0.
fn bad_line(dir: &Path, name: &str, line: usize, reason: impl Display) -> Error {
    Error::Folder {
        path: dir.join(name),
        reason: format!("line {}: {reason}", line + 1),
    }
}
