//! `trial`: a run for a program that searches, which reads a line for each epoch.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use burn_zoo::prelude::*;
use burn_zoo::report::tensorboard::TensorBoardMonitor;
use burn_zoo::train::{
    Control, EpochEnd, EpochRecord, FitOptions, Monitor, Monitors, RunConfig, RunFiles,
    has_checkpoint, resume,
};
use burn_zoo::tune::{Decision, Params};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::fields::Choice;
use crate::model::with_image_size;
use crate::notice;
use crate::progress::Stop;
use crate::recipe::RecipeArgs;
use crate::task::{ImageArgs, StartArgs, Task, task};

#[derive(Args)]
pub struct TrialArgs {
    /// An architecture (see `burn-zoo list`), arch.tag, hf-hub:OWNER/REPO or local-dir:DIR
    model: String,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Values that take the place of those of the flags, as a JSON object: its keys are fields of the
    /// recipe as they stand in TOML (learning_rate, optimizer.momentum), or model, weights, tag,
    /// stem_rule, small_images, stem_stride, stem_pool, head_init, pool, in_channels. With - it is read
    /// from standard input
    #[arg(long, value_name = "FILE|-")]
    params_json: Option<PathBuf>,
    /// A name for the trial, in each line
    #[arg(long, value_name = "ID")]
    trial_id: Option<String>,
    /// The run folder
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Go on from the last checkpoint in the folder; begin if there is none
    #[arg(long)]
    resume: bool,
    /// What is printed after each epoch: a JSON object, or NAME=VALUE for each figure
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "json")]
    metrics_format: MetricsFormat,
    /// Wait for an answer on standard input after each epoch: a line with continue, stop or pause.
    /// When standard input ends, a checkpoint is written and the trial ends
    #[arg(long)]
    wait_for_answer: bool,
    /// Keep features of frozen layers here, for other trials that have the same [default: in the run
    /// folder]
    #[arg(long, value_name = "DIR")]
    feature_folder: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum MetricsFormat {
    Json,
    #[value(name = "name=value")]
    NameValue,
}

impl TrialArgs {
    pub fn run(self, device: Device) -> Result<()> {
        let params = self.params()?;
        let kind = self.images.data.task;
        let choice = Choice::new(&self.model, &self.start, &self.recipe, kind, &params)?;
        let mut lines = Lines::new(&self)?;
        let mut options = FitOptions {
            overwrite: self.resume,
            skip_broken: self.images.data.skip_broken,
            feature_folder: self.feature_folder.clone(),
            ..FitOptions::default()
        };
        let _turn = match self.wait_for_answer {
            true => match wait_for_turn(&self.dir, || lines.is_stopped())? {
                Some(turn) => Some(turn),
                None => bail!(
                    "--dir {}: stopped while another process ran this trial",
                    self.dir.display()
                ),
            },
            false => None,
        };
        lines.check_not_alone()?;
        let started = choice.start();
        let goes_on = self.resume && has_checkpoint(&self.dir);
        if goes_on {
            let run = RunConfig::open(&self.dir)?;
            let mut differing = differing_fields(&run.recipe, &choice.recipe)?;
            // A run of a version that did not write it down has none.
            if let Some(toml::Value::Table(start)) = run.data.arguments.get(TRIAL) {
                differing.extend(differing_keys(start, &started));
            }
            if !differing.is_empty() {
                bail!(
                    "--resume: expected the values with which the run in {} began, found others of {}; \
                     another --dir begins anew",
                    self.dir.display(),
                    differing.join(", ")
                );
            }
        }
        let run = if goes_on {
            let data = self.images.open_for(choice.recipe.task)?;
            options.arguments = self.images.kept(&data.left_out)?;
            options.arguments.insert(TRIAL.to_owned(), started.into());
            let mut monitors = lines.monitors(params);
            let monitors = &mut monitors;
            resume(
                &self.dir, &device, data.train, data.valid, options, monitors,
            )
        } else {
            let Choice {
                model,
                start,
                recipe,
            } = choice;
            let Task {
                model,
                data,
                recipe,
            } = task(
                &model,
                &self.images,
                &start.options,
                start.weights.as_deref(),
                &start.choice,
                recipe,
                device,
            )?;
            options.data = data.source.clone();
            options.arguments = self.images.kept(&data.left_out)?;
            options.arguments.insert(TRIAL.to_owned(), started.into());
            let mut monitors = lines.monitors(params);
            let monitors = &mut monitors;
            recipe.fit_with(model, data.train, data.valid, &self.dir, options, monitors)
        };
        match run {
            Ok(run) => {
                // A run that was finished before has nothing to train, and its last line may be lost.
                if goes_on
                    && !lines.has_printed()
                    && let Some(last) = run.epochs().last()
                {
                    lines.print(last, true)?;
                }
                Ok(())
            }
            Err(burn_zoo::Error::Interrupted { .. }) if lines.is_paused() => Ok(()),
            Err(burn_zoo::Error::Exists { path, .. }) if !self.resume => bail!(
                "--dir {}: expected a new folder, or --resume to go on with the run in it, found one that is there",
                path.display()
            ),
            Err(error) => Err(with_image_size(error)),
        }
    }

    fn params(&self) -> Result<Params> {
        let Some(path) = &self.params_json else {
            return Ok(Params::new());
        };
        let expected = || {
            format!(
                "--params-json {}: expected a JSON object such as {{\"learning_rate\": 0.001}}",
                path.display()
            )
        };
        if path.as_os_str() == "-" {
            // The first value, and no more: answers may follow.
            let mut values =
                serde_json::Deserializer::from_reader(std::io::stdin().lock()).into_iter();
            let Some(value) = values.next() else {
                bail!("{}, found nothing", expected());
            };
            return value.with_context(expected);
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--params-json: cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(expected)
    }
}

/// Waits until no other process runs a trial: one whose search was killed may not have seen that yet, nor
/// have come to its run folder, so that a file beside that is locked. `None` if it is to stop. Where files
/// cannot be locked nobody is waited for.
pub fn wait_for_turn(dir: &Path, should_stop: impl Fn() -> bool) -> burn_zoo::Result<Option<File>> {
    let path = beside(dir, "lock");
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|source| burn_zoo::Error::Io {
            action: "create",
            path: parent.to_path_buf(),
            source,
        })?;
    }
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(|source| burn_zoo::Error::Io {
        action: "write",
        path,
        source,
    })?;
    while let Err(TryLockError::WouldBlock) = file.try_lock() {
        if should_stop() {
            return Ok(None);
        }
        std::thread::sleep(ASKED_EVERY);
    }
    Ok(Some(file))
}

/// A file beside a folder, whose name may have points in it.
pub fn beside(dir: &Path, extension: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// How often a process that waits looks whether it is to stop.
const ASKED_EVERY: Duration = Duration::from_millis(100);

/// The fields in which a run differs from what it is to go on with.
fn differing_fields(run: &Recipe, asked: &Recipe) -> Result<Vec<String>> {
    let (run, asked) = (toml::Table::try_from(run)?, toml::Table::try_from(asked)?);
    // That of photographs is chosen when a run begins; the one that was asked for is beside the model.
    let differing = differing_keys(&run, &asked).into_iter();
    Ok(differing.filter(|name| name != "image_size").collect())
}

/// Where a run of a trial keeps what its model was built from, beside its images.
pub const TRIAL: &str = "trial";

fn differing_keys(a: &toml::Table, b: &toml::Table) -> Vec<String> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differ = |name: &&String| a.get(*name) != b.get(*name);
    names.into_iter().filter(differ).cloned().collect()
}

/// What is printed and asked after each epoch.
#[derive(Clone)]
struct Lines {
    format: MetricsFormat,
    trial_id: Option<String>,
    stop: Stop,
    /// Standard input has ended.
    is_alone: Arc<AtomicBool>,
    answers: Option<Arc<Mutex<Receiver<String>>>>,
    is_paused: Arc<AtomicBool>,
    has_printed: Arc<AtomicBool>,
}

impl Lines {
    fn new(args: &TrialArgs) -> Result<Self> {
        let is_alone = Arc::new(AtomicBool::new(false));
        let answers = args.wait_for_answer.then(|| {
            let (sender, receiver) = channel();
            let is_alone = is_alone.clone();
            // It waits for lines as long as the process lives.
            std::thread::spawn(move || {
                for line in std::io::stdin().lines() {
                    let Ok(line) = line else { break };
                    // Such as the rest of the line with the values.
                    if line.trim().is_empty() {
                        continue;
                    }
                    if sender.send(line).is_err() {
                        break;
                    }
                }
                is_alone.store(true, Ordering::Relaxed);
            });
            Arc::new(Mutex::new(receiver))
        });
        Ok(Self {
            format: args.metrics_format,
            trial_id: args.trial_id.clone(),
            stop: Stop::on_signal()?,
            is_alone,
            answers,
            is_paused: Arc::default(),
            has_printed: Arc::default(),
        })
    }

    /// # Errors
    /// If standard input has ended, so that nobody waits for the trial.
    fn check_not_alone(&self) -> Result<()> {
        if self.is_alone.load(Ordering::Relaxed) {
            bail!("--wait-for-answer: standard input has ended before the trial began");
        }
        Ok(())
    }

    fn monitors(&mut self, params: Params) -> Monitors<'static> {
        let board = TensorBoardMonitor::default().with_figures();
        Monitors(vec![
            Box::new(board.with_parameters(params)),
            Box::new(self.clone()),
        ])
    }

    fn has_printed(&self) -> bool {
        self.has_printed.load(Ordering::Relaxed)
    }

    fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    /// Whether somebody asked it to stop, or nobody waits for it any more.
    fn is_stopped(&self) -> bool {
        self.stop.asked() || self.is_alone.load(Ordering::Relaxed)
    }

    fn print(&self, record: &EpochRecord, done: bool) -> Result<()> {
        self.has_printed.store(true, Ordering::Relaxed);
        let mut values: Map<String, Value> = Map::new();
        if let Some(id) = &self.trial_id {
            values.insert("trial_id".to_owned(), id.clone().into());
        }
        values.insert("training_iteration".to_owned(), record.epoch.into());
        let figures = record.figures().into_iter();
        values.extend(figures.map(|(name, value)| (name, value.into())));
        values.insert("done".to_owned(), done.into());
        let line = match self.format {
            MetricsFormat::Json => serde_json::to_string(&values)?,
            MetricsFormat::NameValue => {
                let numbers = values.iter().filter(|(_, value)| value.is_number());
                let pairs: Vec<String> = numbers
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                pairs.join(" ")
            }
        };
        let mut output = std::io::stdout();
        match writeln!(output, "{line}").and_then(|()| output.flush()) {
            // Nobody reads: it stops with a checkpoint.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.is_alone.store(true, Ordering::Relaxed);
                Ok(())
            }
            result => result.context("standard output"),
        }
    }

    fn answer(&self) -> Result<Decision> {
        let Some(answers) = &self.answers else {
            return Ok(Decision::Continue);
        };
        let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = loop {
            match answers.recv_timeout(ASKED_EVERY) {
                Ok(answer) => break answer,
                Err(RecvTimeoutError::Timeout) if !self.is_stopped() => {}
                // Nobody answers any more: it stops with a checkpoint.
                Err(_) => return Ok(Decision::Continue),
            }
        };
        match answer.trim() {
            "continue" => Ok(Decision::Continue),
            "stop" => Ok(Decision::Stop),
            "pause" => Ok(Decision::Pause),
            other => bail!(
                "standard input: expected continue, stop or pause after an epoch, found `{other}`"
            ),
        }
    }
}

impl Monitor for Lines {
    fn epoch_finished(
        &mut self,
        epoch: &EpochEnd<'_>,
        control: &mut Control,
    ) -> burn_zoo::Result<()> {
        let as_argument = |error: anyhow::Error| burn_zoo::Error::InvalidArgument {
            argument: "--wait-for-answer".to_owned(),
            expected: "an answer for each line".to_owned(),
            found: format!("{error:#}"),
        };
        self.print(epoch.record, epoch.last).map_err(as_argument)?;
        match self.answer().map_err(as_argument)? {
            Decision::Continue => {}
            Decision::Stop => control.stop(),
            Decision::Pause => self.is_paused.store(true, Ordering::Relaxed),
        }
        Ok(())
    }

    fn notice(&mut self, text: &str) {
        notice::tell(text);
    }

    fn should_stop(&mut self) -> bool {
        self.is_paused() || self.is_stopped()
    }
}

/// The epochs that a run folder tells of; none before its first checkpoint.
pub fn epochs_of(dir: &Path) -> burn_zoo::Result<Vec<EpochRecord>> {
    if !has_checkpoint(dir) {
        return Ok(Vec::new());
    }
    Ok(RunFiles::open(dir)?.epochs)
}
