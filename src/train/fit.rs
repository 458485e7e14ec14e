//! The training loop.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Device;

use super::cache::{self, CachePlace, Frozen, Input, Moment, frozen_groups};
use super::checkpoint::{self, Loaded, Seen, State};
use super::gradients::{accumulate, clip_gradients, gradient_norm, scale};
use super::loss::{Loss, Targets};
use super::memory_advice::catch_out_of_memory;
use super::monitor::{Backward, Control, EpochEnd, EpochStart, Monitor, RunStart, StepRecord};
use super::run::{Hold, Log, RunConfig, SkippedImage};
use super::single_value::{single_value_error, single_value_norms};
use super::{Clip, Ema, EpochRecord, Extension, Plan, Precision, Recipe, Run, Schedule, Warmup};
use crate::data;
use crate::data::{Batch, BrokenImage, ImageData, Loader, LoaderConfig};
use crate::error::{Error, Result};
use crate::infer::{BatchScores, best, check_labels, scalar};
use crate::memory::Memory;
use crate::model::Freeze;
use crate::model::host_vec;
use crate::model::{Classifier, InputSize, params};
use crate::nn::noise;

/// What a run may do beside training.
#[derive(Debug, Clone, Default)]
pub struct FitOptions {
    /// Where the images come from, in words; written into `config.toml`.
    pub data: String,
    /// Replaces an old run in the same folder.
    pub overwrite: bool,
    /// Kept in `config.toml` for whoever resumes the run: see [`RunData::arguments`](super::RunData).
    pub arguments: toml::Table,
    /// Leaves out images that cannot be read, in training and in validation: the monitor is told of
    /// each, and [`Run::skipped_images`] lists them. Without it the first of them ends the run with
    /// [`Error::BrokenImage`].
    pub skip_broken: bool,
    /// For [`resume`]: trains on with a finished run.
    pub extend: Option<Extension>,
}

/// Everything that stays the same from step to step.
pub(super) struct Setup {
    recipe: Recipe,
    pub(super) plan: Plan,
    pub(super) train: Loader,
    valid: Loader,
    loss: Loss,
    device: Device,
    /// Steps of the optimiser in an epoch.
    steps: usize,
    /// Epochs of the run.
    epochs: usize,
    /// The schedule of the run's last stretch.
    schedule: Schedule,
    /// Epochs of the run's last stretch, if they were added to it.
    added: Option<usize>,
    /// Epochs after which a plateau is looked for.
    plateau_from: f64,
    /// Height and width of the first image.
    size: [usize; 2],
    /// The smallest batch that trains.
    pub(super) least: usize,
    /// The layers for whose sake the last image of an epoch is left out.
    single: Vec<String>,
}

/// A new run.
pub(super) fn start(
    recipe: &Recipe,
    model: Classifier,
    train: Arc<dyn ImageData>,
    valid: Arc<dyn ImageData>,
    dir: &Path,
    options: FitOptions,
    monitor: &mut dyn Monitor,
) -> Result<Run> {
    recipe.validate()?;
    if options.extend.is_some() {
        let expected = "nothing where a run begins: its recipe says how many epochs it has";
        return Err(Error::argument("extend", expected, "an extension"));
    }
    let images = [train.len(), valid.len()];
    let classes = train.classes().to_vec();
    let (model, setup) = prepare(recipe, model, train, valid, options.skip_broken)?;
    let (names, unused) = class_names(&classes, model.num_classes());
    let mut model = model.with_classes(names)?;
    // What the model was tuned at goes with it, so that it is used at the same size.
    model.set_image_size(setup.recipe.image_size);
    let any_size = matches!(model.backbone.input_size(), InputSize::AtLeast(_));
    if recipe.image_size.is_none() && any_size {
        // The images were taken as they are: nothing is to be cut off when they are used again.
        model.set_crop_pct(1.0);
    }

    let log = Log::create(dir, options.overwrite, &setup.plan)?;
    log.start(&setup.recipe, &model, &options, images, &classes)?;
    if let Some(unused) = unused {
        monitor.notice(&unused);
    }
    let optimizer = setup.recipe.optimizer(&model)?;
    let ema = setup.recipe.ema.map(|ema| Ema::new(ema, &model));
    let progress = Progress {
        model,
        optimizer,
        ema,
        state: State::default(),
    };
    self::train(&setup, progress, log, monitor)
}

/// A run that goes on from its newest whole checkpoint; a finished one is only read.
///
/// `device` is one with autodiff. The images have to be those that the run began with.
///
/// # Errors
/// [`Error::Folder`] if the folder is no run's, has no checkpoint yet, or another process writes
/// into it,
/// [`Error::InvalidArgument`] for other images, and as [`Recipe::fit`].
pub fn resume(
    dir: impl AsRef<Path>,
    device: &Device,
    train: Arc<dyn ImageData>,
    valid: Arc<dyn ImageData>,
    mut options: FitOptions,
    monitor: &mut dyn Monitor,
) -> Result<Run> {
    let dir = dir.as_ref();
    let mut config = RunConfig::open(dir)?;
    let hold = Hold::of(dir)?;
    check_same_images(&config, train.as_ref(), valid.as_ref())?;
    let Some(path) = checkpoint::newest(dir)? else {
        return Err(Error::Folder {
            path: dir.to_path_buf(),
            reason: "the run has no checkpoint yet; start it again with overwriting allowed"
                .to_owned(),
        });
    };
    let device = device.clone().autodiff();
    let mut loaded = checkpoint::read(&path, &device)?;
    let state = &loaded.state;
    // Epochs that were added, of which there is no checkpoint yet, are still to be begun.
    let begun = state.extended == config.extended.len();
    let finished = begun && (state.epoch >= config.epochs() || state.stopped);
    // Checkpoints of before do not say where the plan is: there it is where the steps are.
    let done = [state.epoch, state.ended.unwrap_or(state.steps)];
    // A command that is given once more asks for what is there.
    let is_there = |asked: &mut Extension| asked.epochs <= done[0] && config.goes_with(asked);
    if finished {
        options.extend.take_if(is_there);
    }
    let mut added = None;
    match &options.extend {
        None if finished => return read_finished(dir, hold, &config, loaded, &device, monitor),
        Some(asked) if finished => added = Some(config.extended_by(asked, done)?),
        Some(asked) if !config.goes_with(asked) => {
            return Err(unfinished(&config, done[0], asked));
        }
        _ => {}
    }
    config.extended.extend(added.clone());

    let recipe = config.recipe.clone();
    let model = loaded.model.clone();
    let prepared = prepare(&recipe, model, train, valid, options.skip_broken);
    let (model, mut setup) = prepared.map_err(|error| match error {
        error if options.skip_broken || !is_of_image(&error) => error,
        error => Error::BrokenImage {
            image: Box::new(error),
            checkpoint: path.clone(),
            run: dir.to_path_buf(),
        },
    })?;
    setup.extend(&config);
    let mut optimizer = recipe.optimizer(&model)?;
    loaded.restore(&mut optimizer)?;
    let Loaded { mut state, ema, .. } = loaded;
    if state.extended < config.extended.len() {
        state.extend(config.extended.len());
    }
    let ema = match (recipe.ema, ema) {
        (Some(config), Some(average)) => Some(Ema::new(config, &average)),
        _ => None,
    };
    let mut log = Log::resume(dir, hold, &state, &setup.plan)?;
    log.write_epochs(&state.epochs)?;
    log.change_config(&options.arguments, added.as_ref())?;
    if let Some(added) = added {
        let frozen = state.freeze.clone();
        let frozen =
            frozen.unwrap_or_else(|| setup.plan.freeze_at(setup.place(&state)).to_string());
        let again = match recipe.early_stopping {
            Some(_) => "; early stopping waits anew",
            None => "",
        };
        monitor.notice(&format!("{added}; frozen: {frozen}{again}"));
    }
    if wants_best(&state) {
        log.write_best(ema.as_ref().map_or(&model, Ema::model))?;
    }
    let progress = Progress {
        model,
        optimizer,
        ema,
        state,
    };
    self::train(&setup, progress, log, monitor)
}

/// Refuses images that are not those of the run, and says in what they differ.
fn check_same_images(
    config: &RunConfig,
    train: &dyn ImageData,
    valid: &dyn ImageData,
) -> Result<()> {
    let found = [train.len(), valid.len()];
    let expected = [config.data.train_images, config.data.valid_images];
    let known = &config.data.classes;
    // Runs of a model with more classes than the data had did not keep their names.
    if !known.is_empty()
        && let Some([expected, found]) = class_difference(known, train.classes())
    {
        return Err(Error::argument("data", expected, found));
    }
    if found == expected {
        return Ok(());
    }
    let classes = train.classes().len();
    let describe = |[train, valid]: [usize; 2]| {
        format!("{train} training and {valid} validation images of {classes} classes")
    };
    Err(Error::argument("data", describe(expected), describe(found)))
}

/// In what two lists of classes differ: what was expected, and what was found.
fn class_difference(expected: &[String], found: &[String]) -> Option<[String; 2]> {
    if expected == found {
        return None;
    }
    let only = |these: &[String], others: &[String]| -> Vec<String> {
        let only = these.iter().filter(|name| !others.contains(name));
        only.cloned().collect()
    };
    let (gone, new) = (only(expected, found), only(found, expected));
    if gone.is_empty() && new.is_empty() {
        let differs = expected.iter().zip(found).position(|(a, b)| a != b);
        let at = differs.unwrap_or(expected.len().min(found.len()));
        let name = |names: &[String]| match names.get(at) {
            Some(name) => format!("`{name}`"),
            None => "none".to_owned(),
        };
        return Some([
            format!(
                "the classes in their order, class {at} being {}",
                name(expected)
            ),
            format!(
                "the same names in another order, class {at} being {}",
                name(found)
            ),
        ]);
    }
    let listed = |names: &[String]| match names {
        [] => "none".to_owned(),
        names if names.len() > SHOWN_CLASSES => {
            let shown = names[..SHOWN_CLASSES].join("`, `");
            format!("`{shown}` and {} more", names.len() - SHOWN_CLASSES)
        }
        names => format!("`{}`", names.join("`, `")),
    };
    Some([
        format!("the {} classes of before", expected.len()),
        format!(
            "{}: gone {}; new {}",
            found.len(),
            listed(&gone),
            listed(&new)
        ),
    ])
}

/// Names of classes that a message lists.
const SHOWN_CLASSES: usize = 8;

/// The names of a model's classes: those of the data, and for the classes that the model has beside
/// them, names that say so; and what to tell of these.
fn class_names(data: &[String], num_classes: usize) -> (Vec<String>, Option<String>) {
    let mut names = data.to_vec();
    for class in data.len()..num_classes {
        let mut name = format!("unused_{class}");
        while names.contains(&name) {
            name.push('_');
        }
        names.push(name);
    }
    let unused = &names[data.len()..];
    let told = match unused {
        [] => None,
        [first, .., last] => Some(format!("{} classes, `{first}` to `{last}`", unused.len())),
        [one] => Some(format!("one class, `{one}`")),
    };
    let told = told.map(|unused| {
        format!(
            "num_classes is {num_classes}, and the data has {} classes: nothing is learnt of {unused}",
            data.len()
        )
    });
    (names, told)
}

/// Why an unfinished run does not take other epochs.
fn unfinished(config: &RunConfig, done: usize, asked: &Extension) -> Error {
    let all = config.epochs();
    let changes = [
        (asked.schedule.is_some(), "another schedule"),
        (asked.learning_rate.is_some(), "another rate"),
    ];
    let changes = changes
        .iter()
        .filter(|(given, _)| *given)
        .map(|(_, what)| *what);
    let mut found = vec![asked.epochs.to_string()];
    found.extend(changes.map(str::to_owned));
    Error::argument(
        "epochs",
        format!(
            "the run's own {all}, of which {done} are done, and no other schedule or rate, which \
             would change what is under way; `burn-zoo finetune --resume` without these flags \
             finishes the run, then `--epochs` adds to it"
        ),
        found.join(" with "),
    )
}

/// A finished run: nothing is trained.
fn read_finished(
    dir: &Path,
    hold: Hold,
    config: &RunConfig,
    loaded: Loaded,
    device: &Device,
    monitor: &mut dyn Monitor,
) -> Result<Run> {
    let Loaded {
        state, model, ema, ..
    } = loaded;
    let mut log = Log::read(dir, hold)?;
    log.write_epochs(&state.epochs)?;
    if wants_best(&state) {
        log.write_best(ema.as_ref().unwrap_or(&model))?;
    }
    let (done, all) = (state.epoch, config.epochs());
    let run = log.finish(state, device, &model.valid())?;
    monitor.notice(&format!(
        "the run is finished after {done} of {all} epochs{}, and nothing is trained; best: {}; \
         `burn-zoo finetune --resume {} --epochs N` trains on to N epochs in all, N above {done}",
        if done < all { ", stopped early" } else { "" },
        run.best(),
        dir.display()
    ));
    Ok(run)
}

/// The best model is written after its checkpoint: whether it may not have come to that.
fn wants_best(state: &State) -> bool {
    state.batches == 0 && state.best.is_some_and(|best| best + 1 == state.epoch)
}

impl Setup {
    /// The place in the plan of a step that begins with the next batch.
    ///
    /// It follows from the batches, as fewer steps are made where batches have no image that can be
    /// read: the schedule and what is frozen would lag behind the epochs.
    fn place(&self, state: &State) -> usize {
        state.epoch * self.steps + state.batches / self.recipe.accumulate
    }

    /// The place in the plan of the last batch so far.
    fn last_place(&self, state: &State) -> usize {
        let before = state.epoch * self.steps;
        match state.batches.checked_sub(1) {
            Some(last) => before + last / self.recipe.accumulate,
            None => before.saturating_sub(1),
        }
    }

    /// What of its schedule the run's last stretch never comes to, in words.
    fn unused_schedule(&self) -> Option<String> {
        let recipe = &self.recipe;
        let Some(added) = self.added else {
            return recipe.schedule.unused(&recipe.warmup, recipe.epochs);
        };
        let text = self.schedule.unused(&Warmup::default(), added)?;
        Some(format!("the added epochs, as a run of their own: {text}"))
    }

    /// The rates of a step, after what a plateau has made of them.
    fn rates(&self, step: usize, state: &State) -> super::StepRates {
        let mut rates = self.plan.at(step);
        if let Schedule::Plateau(_) = self.schedule {
            let factor = state.plateau.factor;
            rates.rates.iter_mut().for_each(|rate| *rate *= factor);
        }
        rates
    }

    /// Appends the epochs that were added to the run.
    fn extend(&mut self, config: &RunConfig) {
        let scaling = self
            .recipe
            .rate_scaling
            .factor(self.recipe.effective_batch());
        for added in &config.extended {
            self.plan.extend(added, scaling);
            self.schedule = added.schedule.clone();
            self.added = Some(added.epochs);
            self.plateau_from = 0.0;
        }
        self.epochs = config.epochs();
        self.recipe.epochs = self.epochs;
    }
}

/// Checks that recipe, model and data fit each other, and makes of them what a run needs.
pub(super) fn prepare(
    recipe: &Recipe,
    model: Classifier,
    train: Arc<dyn ImageData>,
    valid: Arc<dyn ImageData>,
    skip_broken: bool,
) -> Result<(Classifier, Setup)> {
    if valid.is_empty() {
        let expected = "at least one image";
        return Err(Error::argument("validation data", expected, "none"));
    }
    if let Some([expected, found]) = class_difference(train.classes(), valid.classes()) {
        return Err(Error::argument("validation data", expected, found));
    }
    if model.num_classes() < train.classes().len() {
        return Err(Error::argument(
            "num_classes",
            format!("at least the {} classes of the data", train.classes().len()),
            model.num_classes(),
        ));
    }

    // What trains.
    let info = model.info();
    let rates = [
        recipe.drop_rate.unwrap_or(info.drop_rate),
        recipe.drop_path_rate.unwrap_or(info.drop_path_rate),
    ];
    let mut model = match rates == [info.drop_rate, info.drop_path_rate] {
        true => model,
        false => model.with_drop_rates(rates[0], rates[1])?,
    }
    .train();
    if recipe.gradient_checkpointing {
        model = params::with_gradient_checkpointing(model);
    }
    let mut device = model.device();
    if recipe.gradient_checkpointing {
        device = device.gradient_checkpointing();
    }
    recipe.precision.check(&device)?;

    // What it sees.
    let size = match model.backbone.input_size() {
        InputSize::Exactly(size) => Some(recipe.image_size.unwrap_or(size)),
        InputSize::AtLeast(_) => recipe.image_size,
    };
    let preprocess = model.preprocess(size);
    let config = LoaderConfig {
        batch_size: recipe.batch_size,
        workers: recipe.workers,
        seed: recipe.seed,
        skip_broken,
        ..LoaderConfig::default()
    };
    let training = LoaderConfig {
        shuffle: Some(recipe.seed),
        drop_last: recipe.drop_last,
        sampler: recipe.sampler,
        augment: recipe.augment.clone(),
        mixing: recipe.mixing,
        ..config.clone()
    };
    let classes = model.num_classes();
    let weights = match recipe.class_weights {
        super::ClassWeights::Equal => None,
        _ => recipe
            .class_weights
            .of(&data::labels(train.as_ref())?, classes)?,
    };
    let loss = Loss::new(recipe.label_smoothing, weights.as_deref(), &device)?;
    let mut train = Loader::new(train, preprocess.clone(), training, &device)?;
    let valid = Loader::new(valid, preprocess, config, &device)?;
    let size = check_fit(&model, &train)?;
    check_fit(&model, &valid)?;
    let [height, width] = size;
    let recipe = Recipe {
        image_size: (height == width).then_some(height),
        ..recipe.clone()
    };

    // What trains when, and whether it can learn from a batch of one image.
    let steps = |train: &Loader| train.num_batches().div_ceil(recipe.accumulate);
    let mut plan = recipe.plan(&model, steps(&train))?;
    let mut rests = false;
    let mut single = Vec::new();
    for freeze in plan.freezes(recipe.epochs * steps(&train)) {
        let frozen = model.clone().freeze_with(freeze, recipe.frozen_norm)?;
        check_trains(&frozen, freeze)?;
        rests |= frozen_groups(&frozen) > 0;
        let norms = single_value_norms(&frozen, size)?;
        single = if single.is_empty() { norms } else { single };
    }
    let least = if single.is_empty() { 1 } else { 2 };
    let images = train.num_images();
    if least > recipe.batch_size || least > images {
        let situation = match images {
            1 => "a single training image".to_owned(),
            _ => format!("batch_size {}", recipe.batch_size),
        };
        return Err(single_value_error(&model, &single, size, situation));
    }
    if recipe.drop_last || images % recipe.batch_size != 1 {
        single.clear();
    } else if !single.is_empty() {
        train.drop_single();
        plan = recipe.plan(&model, steps(&train))?;
    }
    let steps = steps(&train);
    if let (CachePlace::Memory | CachePlace::Disk, false) = (recipe.feature_cache.place, rests) {
        let expected = "auto or off, where the first groups of the model are never frozen";
        return Err(Error::argument(
            "feature_cache",
            expected,
            recipe.feature_cache,
        ));
    }
    Ok((
        model,
        Setup {
            epochs: recipe.epochs,
            schedule: recipe.schedule.clone(),
            added: None,
            plateau_from: recipe.warmup.epochs,
            size,
            least,
            single,
            recipe,
            plan,
            train,
            valid,
            loss,
            device,
            steps,
        },
    ))
}

fn check_trains(frozen: &Classifier, freeze: &Freeze) -> Result<()> {
    match frozen.trainable_parameters().is_empty() {
        false => Ok(()),
        true => Err(Error::argument(
            "freeze",
            "something that is left to train",
            freeze.to_string(),
        )),
    }
}

/// What changes from step to step.
struct Progress {
    model: Classifier,
    optimizer: super::ModelOptimizer,
    ema: Option<Ema>,
    state: State,
}

impl Progress {
    /// The model that is evaluated and exported.
    fn result(&self) -> &Classifier {
        self.ema.as_ref().map_or(&self.model, Ema::model)
    }

    fn checkpoint(&self, setup: &Setup, log: &mut Log) -> Result<PathBuf> {
        // First, so that a checkpoint never knows of more steps than the log.
        log.write_steps()?;
        log.write_skipped(&self.state.skipped)?;
        checkpoint::write(
            log.dir(),
            self.state.clone(),
            &self.model,
            &self.optimizer,
            self.ema.as_ref(),
            setup.recipe.checkpoints,
            setup.recipe.metric,
        )
    }
}

/// What the first batches of a step change before there is a step.
struct Before {
    model: Classifier,
    batches: usize,
    seen: Seen,
}

impl Progress {
    fn before(&self) -> Before {
        Before {
            model: self.model.clone(),
            batches: self.state.batches,
            seen: self.state.seen,
        }
    }

    fn take_back(&mut self, before: Before) {
        self.model = before.model;
        self.state.batches = before.batches;
        self.state.seen = before.seen;
    }
}

/// Images that a monitor is shown.
const PREVIEW: usize = 24;

/// The loop.
fn train(
    setup: &Setup,
    mut progress: Progress,
    mut log: Log,
    monitor: &mut dyn Monitor,
) -> Result<Run> {
    let Setup { recipe, plan, .. } = setup;
    let shown = setup
        .train
        .preview(progress.state.epoch as u64 + 1, PREVIEW);
    let judged = setup.valid.preview(0, PREVIEW);
    let (shown, judged) = match (shown, judged) {
        (Ok(shown), Ok(judged)) => (shown, judged),
        (Err(error), _) | (_, Err(error)) => return Err(left(error, setup, &progress, &mut log)),
    };
    monitor.run_started(&RunStart {
        dir: log.dir(),
        recipe,
        plan,
        model: &progress.model,
        images: &shown.images,
        valid_images: &judged.images,
        valid_labels: &judged.targets,
        num_images: [setup.train.num_images(), setup.valid.num_images()],
        steps: setup.steps,
        epochs_done: progress.state.epoch,
        steps_done: progress.state.steps,
    })?;
    if let Some(text) = setup.unused_schedule() {
        monitor.notice(&text);
    }
    let late = plan.changes().iter();
    for (from, freeze) in late.filter(|(from, _)| *from >= setup.epochs * setup.steps) {
        monitor.notice(&format!(
            "freezing `{freeze}` would begin at step {}, and the run ends before",
            from + 1
        ));
    }
    if let [layer, ..] = &setup.single[..] {
        monitor.notice(&format!(
            "1 of {} training images is left out of each epoch, another one each time: the last \
             would be alone in its batch, and give `{layer}` one value per channel",
            setup.train.num_images()
        ));
    }
    let mut frozen: Option<Freeze> = None;
    let mut rest = Frozen::default();
    let mut told_single = false;
    // Sizes at which one image alone is a batch that everything now free can learn from.
    let mut sound = HashSet::new();
    let mut told = Told::of(&progress.state);
    // A change of what is frozen, in whose place in the plan no step was made.
    let mut changed_before = false;

    while progress.state.epoch < setup.epochs && !progress.state.stopped {
        let epoch = progress.state.epoch + 1;
        let mut control = Control::default();
        monitor.epoch_started(
            &EpochStart {
                epoch,
                epochs: setup.epochs,
                steps: setup.steps,
                steps_done: progress.state.batches.div_ceil(recipe.accumulate),
                model: &progress.model,
            },
            &mut control,
        )?;
        let began = Instant::now();
        let before = progress.state.seen.seconds;
        if progress.state.batches == 0 {
            progress.state.began = Some(progress.state.steps);
        }

        // Training: each turn is one step of the optimiser.
        let inputs =
            |rest: &Frozen, batches: usize| rest.epoch(&setup.train, recipe, epoch as u64, batches);
        let mut images = inputs(&rest, progress.state.batches);
        'steps: while !images.is_empty() {
            obey(&mut control, &mut progress)?;
            let at = |step: usize| -> Result<Freeze> {
                match &progress.state.freeze {
                    Some(text) => text.parse(),
                    None => Ok(plan.freeze_at(step).clone()),
                }
            };
            let place = setup.place(&progress.state);
            let freeze = at(place)?;
            // A run that goes on does not say again what it began with.
            let differs = match &frozen {
                Some(before) => *before != freeze,
                None => at(setup.last_place(&progress.state))? != freeze,
            };
            let changed = std::mem::take(&mut changed_before) || differs;
            if frozen.as_ref() != Some(&freeze) {
                set_frozen(&mut progress, &freeze, recipe)?;
                frozen = Some(freeze);
                sound.clear();
                drop(images);
                rest = match rest.next(&moment(setup, &progress, &log), monitor) {
                    Ok(Some(rest)) => rest,
                    Ok(None) => return Err(interrupted(setup, &progress, &mut log)),
                    Err(error) => return Err(left(error, setup, &progress, &mut log)),
                };
                images = inputs(&rest, progress.state.batches);
            }
            let rates = setup.rates(place, &progress.state);

            let in_loss = match recipe.precision {
                Precision::F16 => progress.state.scale.factor(),
                _ => 1.0,
            };
            let mut sum = GradientsParams::new();
            let mut step_loss = 0.0;
            let mut step_batches = 0;
            let untouched = (recipe.accumulate > 1).then(|| progress.before());
            while step_batches < recipe.accumulate {
                let portion = match images.portion() {
                    None => break,
                    Some(Ok(portion)) => portion,
                    Some(Err(error)) => {
                        if let Some(before) = untouched {
                            progress.take_back(before);
                        }
                        return Err(left(error, setup, &progress, &mut log));
                    }
                };
                progress.state.batches += 1;
                let skipped = portion.skipped;
                note_skipped(
                    &setup.train,
                    skipped,
                    &mut told,
                    &mut progress.state,
                    monitor,
                );
                let Some(batch) = portion.input else {
                    if step_batches == 0 {
                        // The step begins with a later batch, whose place the plan is asked for.
                        changed_before = changed;
                        continue 'steps;
                    }
                    continue;
                };
                // Where one image is alone in its batch, a normalisation may have nothing to learn
                // from; PyTorch refuses such a batch.
                let size = batch.size.unwrap_or(setup.size);
                if batch.targets.len() == 1 && !sound.contains(&size) {
                    let norms = single_value_norms(&progress.model, size)?;
                    if let (Some(_), 1) = (norms.first(), recipe.batch_size) {
                        let situation = format!("batch_size 1, batch {}", progress.state.batches);
                        return Err(single_value_error(&progress.model, &norms, size, situation));
                    }
                    if let Some(layer) = norms.first() {
                        if !told_single {
                            monitor.notice(&format!(
                                "batch {} of epoch {epoch} is left out: it has one image, which \
                                 would give `{layer}` one value per channel; further ones are \
                                 left out likewise",
                                progress.state.batches
                            ));
                        }
                        told_single = true;
                        if step_batches == 0 {
                            changed_before = changed;
                            continue 'steps;
                        }
                        continue;
                    }
                    sound.insert(size);
                }
                check_labels(&batch.targets, progress.model.num_classes())?;
                // Dropout is the same whether or not the run was interrupted before.
                let stream = format!("noise {epoch} {}", progress.state.batches);
                let Progress { model, state, .. } = &mut progress;
                let (loss, gradients) = noise::with(recipe.seed, &stream, || {
                    catch_out_of_memory(recipe, setup.least, || {
                        forward_backward(setup, model, in_loss, &mut state.seen, batch)
                    })
                })?;
                if !loss.is_finite() {
                    return Err(diverged(&log, loss, epoch, &progress.state, rates.head()));
                }
                accumulate(&progress.model, &mut sum, gradients);
                step_loss += loss;
                step_batches += 1;
            }
            drop(untouched);
            if step_batches == 0 {
                break;
            }
            step_loss /= step_batches as f64;
            let divisor = step_batches as f64 * in_loss;
            if divisor != 1.0 {
                scale(&progress.model, &mut sum, 1.0 / divisor);
            }
            // Read from the device only where it is needed or shown.
            let shown = (progress.state.steps + 1).is_multiple_of(10);
            let needed =
                matches!(recipe.clip, Clip::Norm { .. }) || recipe.precision == Precision::F16;
            let norm = match shown || needed {
                true => Some(gradient_norm(&progress.model, &sum)?),
                false => None,
            };
            if recipe.precision == Precision::F16 {
                let finite = norm.is_some_and(f64::is_finite);
                if !progress.state.scale.update(finite) {
                    monitor.notice(&format!(
                        "step {}: gradients overflowed in f16; the step is left out",
                        progress.state.steps + 1
                    ));
                    progress.state.steps += 1;
                    progress.state.overflowed += 1;
                    if monitor.should_stop() {
                        return Err(interrupted(setup, &progress, &mut log));
                    }
                    continue;
                }
            }
            clip_gradients(&progress.model, &mut sum, recipe.clip, norm.unwrap_or(0.0));
            let step = progress.state.steps + 1;
            monitor.backward(&Backward {
                epoch,
                global_step: progress.state.steps,
                last: images.is_empty(),
                model: &progress.model,
                gradients: &sum,
            })?;
            progress.optimizer.set_momentum(rates.momentum);
            // Moved, not cloned: what nobody else holds is updated in place.
            let model = progress.model;
            progress.model = progress
                .optimizer
                .step(plan.learning_rate(&rates), model, sum);
            progress.state.steps = step;
            if let Some(ema) = &mut progress.ema {
                ema.update(&progress.model, step);
            }

            progress.state.seen.seconds = before + began.elapsed().as_secs_f64();
            let record = StepRecord {
                epoch,
                step: progress.state.batches.div_ceil(recipe.accumulate),
                steps: setup.steps,
                global_step: step,
                loss: step_loss,
                learning_rate: rates.head(),
                rates: shown_rates(plan, &progress.model, &rates.rates),
                gradient_norm: norm,
                images_per_second: progress.state.seen.images_per_second(),
                accuracy: progress.state.seen.accuracy(),
            };
            log.step(&record, changed);
            monitor.step(&record, &mut control)?;
            if monitor.should_stop() {
                return Err(interrupted(setup, &progress, &mut log));
            }
            if control.stop {
                break;
            }
            let every = recipe.checkpoints.every_steps;
            if every.is_some_and(|every| step.is_multiple_of(every)) && !images.is_empty() {
                progress.checkpoint(setup, &mut log)?;
            }
        }
        let whole = images.is_empty();
        drop(images);
        // Also those of a run that goes on with the validation.
        let rates = setup.rates(setup.last_place(&progress.state), &progress.state);
        check_trained(setup, &progress.state, epoch)?;
        let resting = match &frozen {
            Some(freeze) => freeze.clone(),
            // A run that goes on with the validation has not looked yet.
            None => {
                let freeze = match &progress.state.freeze {
                    Some(text) => text.parse()?,
                    None => plan.freeze_at(setup.last_place(&progress.state)).clone(),
                };
                set_frozen(&mut progress, &freeze, recipe)?;
                freeze
            }
        };

        // Validation.
        let valid_batches = setup.valid.num_batches();
        let mut judge = |model: &Classifier, average: bool| {
            let look = |judged: &BatchScores<'_>| {
                monitor.validated(judged.batch, valid_batches);
                !monitor.should_stop()
            };
            match rest.validation(&setup.valid, recipe, average) {
                Some(inputs) => model.evaluate_inputs(inputs, recipe, look),
                None => model.evaluate_while(&setup.valid, recipe.precision, look),
            }
        };
        let raw = match &progress.ema {
            None => None,
            Some(_) => match judge(&progress.model, false) {
                Ok(Some(result)) => Some(result.accuracy),
                Ok(None) => return Err(interrupted(setup, &progress, &mut log)),
                Err(error) => return Err(left(error, setup, &progress, &mut log)),
            },
        };
        let result = match judge(progress.result(), progress.ema.is_some()) {
            Ok(Some(result)) => result,
            Ok(None) => return Err(interrupted(setup, &progress, &mut log)),
            Err(error) => return Err(left(error, setup, &progress, &mut log)),
        };
        note_skipped_in_validation(
            &setup.valid,
            result.images,
            &mut told,
            &mut progress.state,
            monitor,
        );
        if !result.loss.is_finite() {
            let rate = rates.head();
            return Err(diverged(&log, result.loss, epoch, &progress.state, rate));
        }

        // The epoch's end.
        let seen = progress.state.seen;
        let names = plan.groups().iter().map(|group| group.name.clone());
        let shown = shown_rates(plan, &progress.model, &rates.rates);
        let record = EpochRecord {
            epoch,
            train_loss: seen.mean_loss(),
            train_accuracy: seen.accuracy(),
            valid_loss: result.loss,
            valid_accuracy: result.accuracy,
            valid_top5_accuracy: result.top5_accuracy,
            valid_balanced_accuracy: result.balanced_accuracy(),
            raw_valid_accuracy: raw,
            learning_rate: rates.head(),
            rates: names.zip(shown).collect(),
            frozen: resting.to_string(),
            images_per_second: seen.images_per_second(),
            memory: Memory::now(&setup.device),
            seconds: before + began.elapsed().as_secs_f64(),
            train_images: seen.images,
            valid_images: result.images,
            skipped_images: progress.state.left_out.len()
                + setup.valid.num_images().saturating_sub(result.images),
        };
        let state = &mut progress.state;
        if let (Some(began), true, images @ 1..) = (state.began, whole, state.left_out.len())
            && state.steps - began < setup.steps
        {
            monitor.notice(&format!(
                "epoch {epoch}: {} steps were made and {} planned, as {images} images could not be \
                 read",
                state.steps - began,
                setup.steps
            ));
        }
        state.ended = Some(setup.last_place(state) + 1);
        state.began = None;
        state.epoch = epoch;
        state.batches = 0;
        state.seen = Seen::default();
        state.left_out.clear();
        // A warm-up says nothing about what the rate has come to.
        if let Schedule::Plateau(plateau) = setup.schedule
            && epoch as f64 > setup.plateau_from
        {
            let value = recipe.metric.of(&record);
            let larger = recipe.metric.larger_is_better();
            state.plateau.update(&plateau, value, larger);
        }
        let mut ended = None;
        if let Some(rule) = &recipe.early_stopping
            && state.patience.exhausted(rule, recipe.metric, &record)
        {
            state.stopped = true;
            ended = Some(rule.in_words(recipe.metric)).filter(|_| epoch < setup.epochs);
        }
        let metric = recipe.metric;
        let is_best = state.best.is_none_or(|best| {
            metric.better(metric.of(&record), metric.of(&state.epochs[best]), 0.0)
        });
        if is_best {
            state.best = Some(state.epochs.len());
        }
        state.epochs.push(record.clone());
        let end = EpochEnd {
            record: &record,
            evaluation: &result,
            model: progress.result(),
            best: is_best,
            global_step: progress.state.steps,
        };
        monitor.epoch_finished(&end, &mut control)?;
        obey(&mut control, &mut progress)?;
        progress.state.stopped |= control.stop;
        progress.checkpoint(setup, &mut log)?;
        if is_best {
            log.write_best(progress.result())?;
        }
        log.write_epochs(&progress.state.epochs)?;
        log.forget_old()?;
        let best = progress
            .state
            .best
            .and_then(|best| progress.state.epochs.get(best));
        if let (Some(reason), Some(best)) = (ended, best) {
            monitor.notice(&format!(
                "early stopping after epoch {epoch} of {}: {reason}; the model is that of {best}",
                setup.epochs
            ));
        }
    }
    cache::remove(&log.dir().join("features"));
    let model = progress.model.valid();
    let run = log.finish(progress.state, &setup.device, &model)?;
    monitor.run_finished(run.best())?;
    Ok(run)
}

/// What is known now that something was frozen or freed.
fn moment<'a>(setup: &'a Setup, progress: &'a Progress, log: &'a Log) -> Moment<'a> {
    Moment {
        recipe: &setup.recipe,
        plan: &setup.plan,
        dir: log.dir(),
        train: &setup.train,
        valid: &setup.valid,
        model: &progress.model,
        average: progress.ema.as_ref().map(Ema::model),
        step: setup.place(&progress.state),
        steps: setup.steps,
        own: progress.state.freeze.is_some(),
        least: setup.least,
    }
}

/// The images that could not be read and were told of, by their index: what a state has in a list,
/// which would be searched for each batch.
struct Told {
    train: HashSet<usize>,
    valid: HashSet<usize>,
}

impl Told {
    fn of(state: &State) -> Self {
        let of = |part: &str| {
            let skipped = state.skipped.iter().filter(|known| known.part == part);
            skipped.map(|known| known.image.index).collect()
        };
        Self {
            train: of(TRAIN),
            valid: of(VALID),
        }
    }
}

/// Remembers the training images of a batch that could not be read, and tells of those that are new.
fn note_skipped(
    loader: &Loader,
    mut skipped: Vec<usize>,
    told: &mut Told,
    state: &mut State,
    monitor: &mut dyn Monitor,
) {
    state.left_out.extend(&skipped);
    skipped.sort_unstable();
    skipped.retain(|index| told.train.insert(*index));
    let images = skipped.into_iter().filter_map(|i| loader.broken_at(i));
    tell_skipped(images, TRAIN, "training", state, monitor);
}

/// The same for validation, which looked at so many images.
fn note_skipped_in_validation(
    loader: &Loader,
    images: usize,
    told: &mut Told,
    state: &mut State,
    monitor: &mut dyn Monitor,
) {
    if images >= loader.num_images() {
        return;
    }
    let new = loader.broken_beside(&told.valid);
    if new.is_empty() {
        return;
    }
    told.valid.extend(new.iter().map(|image| image.index));
    tell_skipped(new, VALID, "validation", state, monitor);
    monitor.notice(&format!(
        "validation looks at {images} of {} images",
        loader.num_images()
    ));
}

/// The parts of the data, as [`SkippedImage::part`] has them.
const TRAIN: &str = "train";
const VALID: &str = "valid";

/// Tells of images that could not be read.
fn tell_skipped(
    images: impl IntoIterator<Item = BrokenImage>,
    part: &str,
    what: &str,
    state: &mut State,
    monitor: &mut dyn Monitor,
) {
    for image in images {
        monitor.notice(&format!(
            "left out of {what}: {}: {}",
            image.name, image.reason
        ));
        state.skipped.push(SkippedImage {
            part: part.to_owned(),
            image,
        });
    }
}

/// An epoch without a step has no result.
fn check_trained(setup: &Setup, state: &State, epoch: usize) -> Result<()> {
    if state.seen.images == 0 {
        let images = setup.train.num_images();
        let found = format!(
            "none in epoch {epoch}: {} of {images} could not be read{}",
            state.left_out.len(),
            match setup.train.broken().first() {
                Some(image) => format!(", such as {}: {}", image.name, image.reason),
                None => String::new(),
            }
        );
        return Err(Error::argument(
            "training data",
            "images to learn from",
            found,
        ));
    }
    let last = epoch == setup.epochs || state.scale.factor() < 1.0;
    if setup.recipe.precision == Precision::F16 && state.steps == state.overflowed && last {
        let found = format!(
            "f16, in which the gradients of all {} steps overflowed: nothing was trained",
            state.steps
        );
        return Err(Error::argument("precision", "f32 or bf16", found));
    }
    Ok(())
}

/// Whether an error can be that of an image that could not be read.
fn is_of_image(error: &Error) -> bool {
    matches!(
        error,
        Error::Image { .. } | Error::Io { .. } | Error::Data { .. }
    )
}

/// An image that could not be read ends the run with a checkpoint at the last whole step; any other
/// error is left as it is.
fn left(error: Error, setup: &Setup, progress: &Progress, log: &mut Log) -> Error {
    let loaders = [&setup.train, &setup.valid];
    let known = loaders.iter().any(|loader| !loader.broken().is_empty());
    if !is_of_image(&error) || !known || setup.train.config().skip_broken {
        return error;
    }
    match progress.checkpoint(setup, log) {
        Ok(checkpoint) => Error::BrokenImage {
            image: Box::new(error),
            checkpoint,
            run: log.dir().to_path_buf(),
        },
        Err(error) => error,
    }
}

/// One batch: its loss, and the gradients of the loss times `factor`.
fn forward_backward(
    setup: &Setup,
    model: &Classifier,
    factor: f64,
    seen: &mut Seen,
    mut batch: Input,
) -> Result<(f64, GradientsParams)> {
    let labels = std::mem::take(&mut batch.targets);
    let targets = match batch.soft.take() {
        Some(soft) => Targets::Soft(soft),
        None => Targets::Labels(batch.labels.clone()),
    };
    let logits = batch
        .forward(model, &setup.recipe)?
        .cast(Precision::F32.dtype());
    let loss = setup.loss.forward(logits.clone(), targets);
    let value = scalar(loss.clone().detach())?;
    let loss = match factor {
        1.0 => loss,
        factor => loss.mul_scalar(factor),
    };
    let gradients = GradientsParams::from_grads(loss.backward(), model);

    let scores = host_vec(logits.into_data())?;
    let classes = scores.len() / labels.len().max(1);
    let rows = scores.chunks_exact(classes.max(1)).zip(&labels);
    seen.right += rows.filter(|(row, label)| best(row) == **label).count();
    seen.images += labels.len();
    seen.loss += value * labels.len() as f64;
    Ok((value, gradients))
}

/// A whole step on one batch, for those who try something out.
pub(super) fn single_step(
    setup: &Setup,
    model: Classifier,
    optimizer: &mut super::ModelOptimizer,
    rates: ModuleLearningRate,
    batch: Batch,
) -> Result<(f64, Classifier)> {
    check_labels(&batch.targets, model.num_classes())?;
    let (loss, gradients) = catch_out_of_memory(&setup.recipe, setup.least, || {
        forward_backward(setup, &model, 1.0, &mut Seen::default(), batch.into())
    })?;
    let model = catch_out_of_memory(&setup.recipe, setup.least, || {
        Ok(optimizer.step(rates, model, gradients))
    })?;
    Ok((loss, model))
}

/// Does what a monitor asked for.
fn obey(control: &mut Control, progress: &mut Progress) -> Result<()> {
    if let Some(freeze) = control.freeze.take() {
        // A wrong name is an error now, and not at the next step.
        progress.model.clone().freeze(&freeze)?;
        progress.state.freeze = Some(freeze.to_string());
    }
    Ok(())
}

/// Freezes and frees. What trains already keeps the optimiser's state; what is freed starts without.
fn set_frozen(progress: &mut Progress, freeze: &Freeze, recipe: &Recipe) -> Result<()> {
    let model = progress
        .model
        .clone()
        .freeze_with(freeze, recipe.frozen_norm)?;
    let training = params::training_state(&model);
    let resting: Vec<ParamId> = params::list(&model)
        .into_iter()
        .filter(|p| training.get(&p.path) == Some(&false))
        .map(|p| p.id)
        .collect();
    progress.optimizer.forget(&resting);
    progress.model = model;
    Ok(())
}

/// The rates of those groups of which something trains, 0 for the others.
fn shown_rates(plan: &Plan, model: &Classifier, rates: &[f64]) -> Vec<f64> {
    let active = params::trainable_ids(model);
    let groups = plan.groups().iter().zip(rates);
    groups
        .map(
            |(group, rate)| match group.ids.iter().any(|id| active.contains(id)) {
                true => *rate,
                false => 0.0,
            },
        )
        .collect()
}

/// Keeps what there is, and says where.
fn interrupted(setup: &Setup, progress: &Progress, log: &mut Log) -> Error {
    match progress.checkpoint(setup, log) {
        Ok(path) => Error::Interrupted {
            checkpoint: Some(path),
            run: log.dir().to_path_buf(),
        },
        Err(error) => error,
    }
}

fn diverged(log: &Log, loss: f64, epoch: usize, state: &State, learning_rate: f64) -> Error {
    Error::Diverged {
        loss,
        epoch,
        step: state.steps + 1,
        batch: state.batches,
        learning_rate,
        checkpoint: checkpoint::newest(log.dir()).ok().flatten(),
    }
}

/// A first look at one image, so that a size that does not fit is known before anything is written:
/// its height and width.
fn check_fit(model: &Classifier, loader: &Loader) -> Result<[usize; 2]> {
    let one = loader.first()?;
    check_labels(&one.targets, model.num_classes())?;
    model.check_input(&one.images)?;
    let [_, _, height, width] = one.images.dims();
    Ok([height, width])
}
