//! The training loop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Device;

use super::cache::{self, CachePlace, Frozen, Input, Moment, frozen_groups};
use super::checkpoint::{self, Loaded, Seen, State};
use super::evaluate::{Judged, best, check_labels, scalar};
use super::gradients::{accumulate, clip_gradients, gradient_norm, scale};
use super::loss::{Loss, Targets};
use super::memory_advice::catch_out_of_memory;
use super::monitor::{All, Backward, Control, EpochEnd, EpochStart, Monitor, RunStart, StepRecord};
use super::run::{Hold, Log, RunConfig};
use super::{Clip, Ema, EpochRecord, Plan, Precision, Recipe, Run, Schedule};
use crate::data::{Batch, ImageData, Loader, LoaderConfig};
use crate::error::{Error, Result};
use crate::features::host_vec;
use crate::freeze::Freeze;
use crate::memory::Memory;
use crate::model::{Classifier, InputSize};
use crate::nn::noise;
use crate::{data, params};

/// What a run may do beside training.
#[derive(Debug, Clone, Default)]
pub struct FitOptions {
    /// Where the images come from, in words; written into `config.toml`.
    pub data: String,
    /// Replaces an old run in the same folder.
    pub overwrite: bool,
    /// Kept in `config.toml` for whoever resumes the run: see [`RunData::arguments`](super::RunData).
    pub arguments: toml::Table,
    /// Where TensorBoard's event files go.
    pub tensorboard: TensorBoard,
}

/// Where TensorBoard's event files go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TensorBoard {
    /// Into `tensorboard/` in the run folder.
    #[default]
    RunFolder,
    /// Into this folder.
    Folder(PathBuf),
    /// None are written.
    Off,
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
    let images = [train.len(), valid.len()];
    let classes = train.classes().to_vec();
    let (model, setup) = prepare(recipe, model, train, valid)?;
    let mut model = match model.num_classes() == classes.len() {
        true => model.with_classes(classes)?,
        false => model,
    };
    // What the model was tuned at goes with it, so that it is used at the same size.
    model.set_image_size(setup.recipe.image_size);
    let any_size = matches!(model.backbone.input_size(), InputSize::AtLeast(_));
    if recipe.image_size.is_none() && any_size {
        // The images were taken as they are: nothing is to be cut off when they are used again.
        model.set_crop_pct(1.0);
    }

    let log = Log::create(dir, options.overwrite, &setup.plan)?;
    log.start(&setup.recipe, &model, &options, images)?;
    let optimizer = setup.recipe.optimizer(&model)?;
    let ema = setup.recipe.ema.map(|ema| Ema::new(ema, &model));
    let progress = Progress {
        model,
        optimizer,
        ema,
        state: State::default(),
    };
    watched(&setup, progress, log, &options, monitor)
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
    options: FitOptions,
    monitor: &mut dyn Monitor,
) -> Result<Run> {
    let dir = dir.as_ref();
    let config = RunConfig::open(dir)?;
    let hold = Hold::of(dir)?;
    let found = [train.len(), valid.len()];
    let expected = [config.data.train_images, config.data.valid_images];
    if found != expected || train.classes() != config.data.classes {
        let describe = |[train, valid]: [usize; 2], classes: usize| {
            format!("{train} training and {valid} validation images of {classes} classes")
        };
        return Err(Error::argument(
            "data",
            describe(expected, config.data.classes.len()),
            describe(found, train.classes().len()),
        ));
    }
    let Some(path) = checkpoint::newest(dir)? else {
        return Err(Error::Folder {
            path: dir.to_path_buf(),
            reason: "the run has no checkpoint yet; start it again with overwriting allowed"
                .to_owned(),
        });
    };
    let device = device.clone().autodiff();
    let mut loaded = checkpoint::read(&path, &device)?;
    let recipe = config.recipe;
    let (model, setup) = prepare(&recipe, loaded.model.clone(), train, valid)?;
    let mut optimizer = setup.recipe.optimizer(&model)?;
    loaded.restore(&mut optimizer)?;
    let Loaded { state, ema, .. } = loaded;
    let ema = match (recipe.ema, ema) {
        (Some(config), Some(average)) => Some(Ema::new(config, &average)),
        _ => None,
    };
    let mut log = Log::resume(dir, hold, &state, &setup.plan)?;
    log.write_epochs(&state.epochs)?;
    // The best model is written after its checkpoint; it may not have come to that.
    if state.batches == 0 && state.best.is_some_and(|best| best + 1 == state.epoch) {
        log.write_best(ema.as_ref().map_or(&model, Ema::model))?;
    }
    let progress = Progress {
        model,
        optimizer,
        ema,
        state,
    };
    watched(&setup, progress, log, &options, monitor)
}

/// Checks that recipe, model and data fit each other, and makes of them what a run needs.
pub(super) fn prepare(
    recipe: &Recipe,
    model: Classifier,
    train: Arc<dyn ImageData>,
    valid: Arc<dyn ImageData>,
) -> Result<(Classifier, Setup)> {
    if valid.is_empty() {
        let expected = "at least one image";
        return Err(Error::argument("validation data", expected, "none"));
    }
    if train.classes() != valid.classes() {
        return Err(Error::argument(
            "validation data",
            format!("the classes of the training data, {:?}", train.classes()),
            format!("{:?}", valid.classes()),
        ));
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
    let train = Loader::new(train, preprocess.clone(), training, &device)?;
    let valid = Loader::new(valid, preprocess, config, &device)?;
    let image_size = check_fit(&model, &train)?;
    check_fit(&model, &valid)?;

    let steps = train.num_batches().div_ceil(recipe.accumulate);
    let recipe = Recipe {
        image_size,
        ..recipe.clone()
    };
    let plan = recipe.plan(&model, steps)?;
    let mut rests = false;
    for (_, freeze) in plan.changes() {
        let frozen = model.clone().freeze_with(freeze, recipe.frozen_norm)?;
        check_trains(&frozen, freeze)?;
        rests |= frozen_groups(&frozen) > 0;
    }
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

/// The loop, with TensorBoard among those who watch it if that was asked for.
fn watched(
    setup: &Setup,
    progress: Progress,
    log: Log,
    options: &FitOptions,
    monitor: &mut dyn Monitor,
) -> Result<Run> {
    #[cfg(feature = "tensorboard")]
    {
        let folder = match &options.tensorboard {
            TensorBoard::RunFolder => Some(log.dir().join("tensorboard")),
            TensorBoard::Folder(folder) => Some(folder.clone()),
            TensorBoard::Off => None,
        };
        if let Some(folder) = folder {
            let mut events = super::events::TensorBoardMonitor::new(folder);
            return train(setup, progress, log, &mut All(vec![&mut events, monitor]));
        }
    }
    let _ = options;
    train(setup, progress, log, &mut All(vec![monitor]))
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
    let batches = setup.train.num_batches();
    let shown = setup
        .train
        .preview(progress.state.epoch as u64 + 1, PREVIEW)?;
    let judged = setup.valid.preview(0, PREVIEW)?;
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
    if let Some(text) = recipe.schedule.unused(&recipe.warmup, recipe.epochs) {
        monitor.notice(&text);
    }
    let mut frozen: Option<Freeze> = None;
    let mut rest = Frozen::default();

    while progress.state.epoch < recipe.epochs && !progress.state.stopped {
        let epoch = progress.state.epoch + 1;
        let mut control = Control::default();
        monitor.epoch_started(
            &EpochStart {
                epoch,
                epochs: recipe.epochs,
                steps: setup.steps,
                steps_done: progress.state.batches.div_ceil(recipe.accumulate),
                model: &progress.model,
            },
            &mut control,
        )?;
        let began = Instant::now();
        let before = progress.state.seen.seconds;
        let mut rates = plan.at(progress.state.steps);

        // Training: each turn is one step of the optimiser.
        let inputs =
            |rest: &Frozen, batches: usize| rest.epoch(&setup.train, recipe, epoch as u64, batches);
        let mut images = inputs(&rest, progress.state.batches);
        while !images.is_empty() {
            obey(&mut control, &mut progress)?;
            let at = |step: usize| -> Result<Freeze> {
                match &progress.state.freeze {
                    Some(text) => text.parse(),
                    None => Ok(plan.freeze_at(step).clone()),
                }
            };
            let freeze = at(progress.state.steps)?;
            // A run that goes on does not say again what it began with.
            let changed = match &frozen {
                Some(before) => *before != freeze,
                None => at(progress.state.steps.saturating_sub(1))? != freeze,
            };
            if frozen.as_ref() != Some(&freeze) {
                set_frozen(&mut progress, &freeze, recipe)?;
                frozen = Some(freeze);
                drop(images);
                rest = match rest.next(&moment(setup, &progress, &log), monitor)? {
                    Some(rest) => rest,
                    None => return Err(interrupted(setup, &progress, &mut log)),
                };
                images = inputs(&rest, progress.state.batches);
            }
            rates = plan.at(progress.state.steps);
            if let Schedule::Plateau(_) = recipe.schedule {
                let factor = progress.state.plateau.factor;
                rates.rates.iter_mut().for_each(|rate| *rate *= factor);
            }

            let in_loss = match recipe.precision {
                Precision::F16 => progress.state.scale.factor(),
                _ => 1.0,
            };
            let mut sum = GradientsParams::new();
            let mut step_loss = 0.0;
            let mut step_batches = 0;
            while step_batches < recipe.accumulate {
                let Some(batch) = images.next() else { break };
                let batch = batch?;
                progress.state.batches += 1;
                // A normalisation has nothing to learn from one value, which is what a single
                // image of 28 pixels comes down to; PyTorch refuses such a batch.
                if batch.targets.len() == 1 && batches > 1 {
                    continue;
                }
                check_labels(&batch.targets, progress.model.num_classes())?;
                // Dropout is the same whether or not the run was interrupted before.
                let place = format!("noise {epoch} {}", progress.state.batches);
                let Progress { model, state, .. } = &mut progress;
                let (loss, gradients) = noise::with(recipe.seed, &place, || {
                    catch_out_of_memory(recipe, || {
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
        drop(images);

        // Validation.
        let valid_batches = setup.valid.num_batches();
        let mut judge = |model: &Classifier, average: bool| {
            let look = |judged: &Judged<'_>| {
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
            Some(_) => match judge(&progress.model, false)? {
                None => return Err(interrupted(setup, &progress, &mut log)),
                Some(result) => Some(result.accuracy),
            },
        };
        let Some(result) = judge(progress.result(), progress.ema.is_some())? else {
            return Err(interrupted(setup, &progress, &mut log));
        };
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
            frozen: frozen.as_ref().map_or(String::new(), Freeze::to_string),
            images_per_second: seen.images_per_second(),
            memory: Memory::now(&setup.device),
            seconds: before + began.elapsed().as_secs_f64(),
        };
        let state = &mut progress.state;
        state.epoch = epoch;
        state.batches = 0;
        state.seen = Seen::default();
        // A warm-up says nothing about what the rate has come to.
        if let Schedule::Plateau(plateau) = recipe.schedule
            && epoch as f64 > recipe.warmup.epochs
        {
            let value = recipe.metric.of(&record);
            let larger = recipe.metric.larger_is_better();
            state.plateau.update(&plateau, value, larger);
        }
        if let Some(rule) = &recipe.early_stopping {
            state.stopped |= state.patience.exhausted(rule, recipe.metric, &record);
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
        step: progress.state.steps,
        steps: setup.steps,
        own: progress.state.freeze.is_some(),
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
    let (loss, gradients) = catch_out_of_memory(&setup.recipe, || {
        forward_backward(setup, &model, 1.0, &mut Seen::default(), batch.into())
    })?;
    let model = catch_out_of_memory(
        &setup.recipe,
        || Ok(optimizer.step(rates, model, gradients)),
    )?;
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

/// A first look at one image, so that a size that does not fit is known before anything is written.
/// The side of the images, if they are square.
fn check_fit(model: &Classifier, loader: &Loader) -> Result<Option<usize>> {
    let one = loader.first()?;
    check_labels(&one.targets, model.num_classes())?;
    model.check_input(&one.images)?;
    let [_, _, height, width] = one.images.dims();
    Ok((height == width).then_some(height))
}
