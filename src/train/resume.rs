//! A run that goes on: from its newest checkpoint, or with epochs that are added to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module as _;
use burn::tensor::Device;

use super::checkpoint::{self, Checkpoint};
use super::classes::check_same_classes;
use super::ema::Ema;
use super::epoch::run_epochs;
use super::extend::{AddedEpochs, Extension};
use super::fit::{FitOptions, only_rank_0};
use super::monitor::Monitor;
use super::parallel::{Group, run_replicas};
use super::progress::Progress;
use super::run::config::RunConfig;
use super::run::finished::Run;
use super::run::folder::RunFolder;
use super::run::lock::FolderLock;
use super::setup::prepare;
use super::unreadable::is_unreadable_image;
use crate::data::ImageData;
use crate::error::{Error, Result};

/// A run that goes on from its newest whole checkpoint; a finished one is only read.
///
/// `device` is one with autodiff. The images have to be those that the run began with.
///
/// # Errors
/// [`Error::Folder`] if the folder is no run's, has no checkpoint yet, or another process writes
/// into it,
/// [`Error::InvalidArgument`] for other images, and as [`Recipe::fit`](super::Recipe::fit).
pub fn resume(
    dir: impl AsRef<Path>,
    device: &Device,
    train: Arc<dyn ImageData>,
    valid: Arc<dyn ImageData>,
    options: FitOptions,
    monitor: &mut dyn Monitor,
) -> Result<Run> {
    let run = resume_rank(dir, device, train, valid, options, monitor)?;
    run.ok_or_else(only_rank_0)
}

/// [`resume`] where this process may be any of several ranks, of which there may be more or fewer than
/// before: only rank 0 reads and writes the run folder and has the run, the others have nothing.
///
/// # Errors
/// As [`resume`].
pub fn resume_rank(
    dir: impl AsRef<Path>,
    device: &Device,
    train: Arc<dyn ImageData>,
    valid: Arc<dyn ImageData>,
    options: FitOptions,
    monitor: &mut dyn Monitor,
) -> Result<Option<Run>> {
    let dir = dir.as_ref();
    let devices = match &options.parallel.devices[..] {
        [] => vec![device.clone()],
        devices => devices.to_vec(),
    };
    let is_placed = !options.place.parts.is_empty();
    run_replicas(
        &options.parallel,
        devices,
        is_placed,
        monitor,
        |group, device, monitor| {
            let group = Arc::new(group);
            let images = [train.clone(), valid.clone()];
            let options = options.clone();
            let run = resume_in(group.clone(), dir, &device, images, options, monitor);
            run.inspect_err(|error| group.fail(error))
        },
    )
}

/// A rank's part of a run that goes on.
fn resume_in(
    group: Arc<Group>,
    dir: &Path,
    device: &Device,
    [train, valid]: [Arc<dyn ImageData>; 2],
    mut options: FitOptions,
    monitor: &mut dyn Monitor,
) -> Result<Option<Run>> {
    let newest = |dir: &Path| {
        checkpoint::newest(dir)?.ok_or_else(|| Error::Folder {
            path: dir.to_path_buf(),
            reason: "the run has no checkpoint yet; start it again with overwriting allowed"
                .to_owned(),
        })
    };
    // The folder need not be on the other ranks' machines.
    let lock = if group.leads() {
        // Whether it is a run's folder, before it is locked.
        RunConfig::open(dir)?;
        Some(FolderLock::take(dir)?)
    } else {
        None
    };
    let own = if group.leads() {
        Some(newest(dir)?)
    } else {
        None
    };
    let copy = group.broadcast_run(dir, own.as_deref())?;
    let source = copy.as_ref().map_or(dir, |copy| copy.path());
    let mut config = RunConfig::open(source)?;
    check_same_images(&config, train.as_ref(), valid.as_ref())?;
    let path = newest(source)?;
    let device = device.clone().autodiff();
    let checkpoint = checkpoint::read(&path, &device)?;
    let added = match next_step(&config, &checkpoint, options.extend.take())? {
        NextStep::Nothing => {
            group.end()?;
            let Some(lock) = lock else {
                return Ok(None);
            };
            return read_finished(dir, lock, &config, checkpoint, &device, monitor).map(Some);
        }
        NextStep::Finish => None,
        NextStep::Extend(added) => Some(added),
    };
    config.extended.extend(added.clone());

    let recipe = config.recipe.clone();
    let model = options.place.apply(checkpoint.model.clone())?;
    let skip_broken = options.skip_broken;
    let (model, mut setup) = prepare(&recipe, model, train, valid, skip_broken, group.clone())
        .map_err(|error| unreadable_image(error, skip_broken, &path, dir))?;
    config.extended.iter().for_each(|added| setup.extend(added));
    setup.feature_folder = options.feature_folder.take();
    options.place.prepare(&mut setup)?;
    let mut optimizer = recipe.optimizer(&model)?;
    checkpoint.restore_optimizer(&mut optimizer)?;
    let Checkpoint { mut state, ema, .. } = checkpoint;
    if state.extended < config.extended.len() {
        state.extend(config.extended.len());
    }
    let before = state.ranks.max(1);
    if group.leads() && before != group.size() {
        let images = recipe.batch_size * recipe.accumulate;
        let of = |ranks: usize| match ranks {
            1 => format!("one rank, {images} images a step"),
            _ => format!("{ranks} ranks, {} images a step", ranks * images),
        };
        monitor.notice(&format!(
            "the run had {}; it goes on with {}: steps are others than without the interruption",
            of(before),
            of(group.size())
        ));
    }
    state.continue_with(group.size(), setup.train.num_batches());
    let ema = ema.map(|ema| options.place.apply(recipe.adapted(ema)?));
    let ema = ema.transpose()?;
    let ema = recipe.ema.zip(ema);
    let ema = ema.map(|(config, average)| Ema::new(config, &average));
    let folder = match lock {
        Some(lock) => {
            let folder = RunFolder::resume(dir, lock, &state, &setup.plan)?;
            folder.update_config(&options.arguments, added.as_ref())?;
            folder
        }
        None => RunFolder::none()?,
    };
    if let Some(added) = added {
        let frozen = setup.freeze_at(setup.plan_step(&state), &state)?;
        let again = match recipe.early_stopping {
            Some(_) => "; early stopping waits anew",
            None => "",
        };
        monitor.notice(&format!("{added}; frozen: {frozen}{again}"));
    }
    let progress = Progress {
        model,
        optimizer,
        ema,
        state,
    };
    if progress.state.may_lack_best() && folder.is_written() {
        folder.write_best(progress.result())?;
    }
    run_epochs(&setup, progress, folder, monitor)
}

/// Whether a folder has a checkpoint from which [`resume`] goes on.
pub fn has_checkpoint(dir: impl AsRef<Path>) -> bool {
    let dir = dir.as_ref();
    RunConfig::open(dir).is_ok() && checkpoint::newest(dir).is_ok_and(|path| path.is_some())
}

/// What is left to do of a run.
enum NextStep {
    /// It is finished.
    Nothing,
    /// Its own epochs.
    Finish,
    /// It is finished, and these are added.
    Extend(AddedEpochs),
}

fn next_step(
    config: &RunConfig,
    checkpoint: &Checkpoint,
    extension: Option<Extension>,
) -> Result<NextStep> {
    let state = &checkpoint.state;
    // Epochs that were added, of which there is no checkpoint yet, are still to be begun.
    let begun = state.extended == config.extended.len();
    let finished = begun && (state.epoch >= config.epochs() || state.stopped);
    match extension {
        None if finished => Ok(NextStep::Nothing),
        None => Ok(NextStep::Finish),
        // A command that is given once more asks for what is there.
        Some(asked) if finished && asked.epochs <= state.epoch && config.includes(&asked) => {
            Ok(NextStep::Nothing)
        }
        Some(asked) if finished => {
            // Older checkpoints do not say where the plan is: there it is where the steps are.
            let plan_step = state.plan_end.unwrap_or(state.steps);
            let added = config.add_epochs(&asked, state.epoch, plan_step, state.ranks)?;
            Ok(NextStep::Extend(added))
        }
        Some(asked) if config.includes(&asked) => Ok(NextStep::Finish),
        Some(asked) => Err(unfinished(config, state.epoch, &asked)),
    }
}

/// Why an unfinished run does not take other epochs.
fn unfinished(config: &RunConfig, done: usize, asked: &Extension) -> Error {
    let mut found = asked.epochs.to_string();
    if asked.schedule.is_some() {
        found.push_str(" with another schedule");
    }
    if asked.learning_rate.is_some() {
        found.push_str(" with another rate");
    }
    let expected = format!(
        "the run's own {}, of which {done} are done, and no other schedule or rate, which would \
         change what is under way; `burn-zoo finetune --resume` without these flags finishes the \
         run, then `--epochs` adds to it",
        config.epochs()
    );
    Error::argument("epochs", expected, found)
}

/// Refuses images that are not those of the run, and says in what they differ.
fn check_same_images(
    config: &RunConfig,
    train: &dyn ImageData,
    valid: &dyn ImageData,
) -> Result<()> {
    // Runs of a model with more classes than the data had did not record their names.
    if !config.data.classes.is_empty() {
        check_same_classes("data", &config.data.classes, train.classes())?;
    }
    let expected = [config.data.train_images, config.data.valid_images];
    let found = [train.len(), valid.len()];
    if found == expected {
        return Ok(());
    }
    let classes = train.classes().len();
    let describe = |[train, valid]: [usize; 2]| {
        format!("{train} training and {valid} validation images of {classes} classes")
    };
    Err(Error::argument("data", describe(expected), describe(found)))
}

/// An image that cannot be read is told with the checkpoint from which the run can go on.
fn unreadable_image(error: Error, skip_broken: bool, checkpoint: &Path, dir: &Path) -> Error {
    if skip_broken || !is_unreadable_image(&error) {
        return error;
    }
    Error::BrokenImage {
        image: Box::new(error),
        checkpoint: PathBuf::from(checkpoint),
        run: dir.to_path_buf(),
    }
}

/// A finished run: nothing is trained.
fn read_finished(
    dir: &Path,
    lock: FolderLock,
    config: &RunConfig,
    checkpoint: Checkpoint,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Result<Run> {
    let state = &checkpoint.state;
    let folder = RunFolder::open_finished(dir, lock)?;
    folder.write_epochs(&state.epochs)?;
    if state.may_lack_best() {
        folder.write_best(checkpoint.ema.as_ref().unwrap_or(&checkpoint.model))?;
    }
    let (done, all) = (state.epoch, config.epochs());
    let run = folder.finish(checkpoint.state, device, &checkpoint.model.valid())?;
    monitor.notice(&format!(
        "the run is finished after {done} of {all} epochs{}, and nothing is trained; best: {}; \
         `burn-zoo finetune --resume {} --epochs N` trains on to N epochs in all, N above {done}",
        if done < all { ", stopped early" } else { "" },
        run.best(),
        dir.display()
    ));
    Ok(run)
}
