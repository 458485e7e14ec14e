//! `finetune` and `lr-find`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use burn_zoo::InputSize;
use burn_zoo::data::Sampler;
use burn_zoo::prelude::*;
use burn_zoo::preprocess::augment::Mixing;
use burn_zoo::train::{
    BatchSearch, Checkpoints, ClassWeights, Clip, EarlyStopping, EmaConfig, FeatureCache,
    FitOptions, Metric, Monitor, Per, Precision, RateScaling, Run, RunConfig, Sweep, TensorBoard,
    Warmup,
};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::progress::{Stop, Watch};
use super::{
    ModelArgs, count, fetch, names_weights, positive, print, print_json, probability, progress,
    source,
};

#[derive(Args)]
pub struct FinetuneArgs {
    /// An architecture (see `burn-zoo list`), arch.tag, hf-hub:OWNER/REPO or local-dir:DIR
    #[arg(required_unless_present = "resume")]
    model: Option<String>,
    /// Go on with the run in this folder, from its last whole checkpoint; nothing else is needed
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "model", "out", "overwrite", "memory_budget", "weights", "limit_train", "ImageArgs", "DataArgs", "StartArgs",
        "ModelArgs", "RecipeArgs",
    ])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The run folder [default: runs/MODEL-DATA-1, or the next number that is free]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace an old run in the same folder
    #[arg(long, requires = "out")]
    overwrite: bool,
    /// Where TensorBoard's event files go: a folder, or off [default: in the run folder]
    #[arg(long, value_name = "DIR|off")]
    tensorboard: Option<String>,
    /// Memory that --batch-size auto may take, in GiB [default: four fifths of what is free]
    #[arg(long, value_name = "GIB")]
    memory_budget: Option<f64>,
    /// Show burn's dashboard in place of bars and a table
    #[cfg(feature = "tui")]
    #[arg(long, conflicts_with = "json")]
    tui: bool,
    /// Train once more from these weights, with the same recipe and seed, into OUT-against, and show
    /// both: what a backbone is worth
    #[arg(
        long,
        value_name = "bundled|hub[:TAG]|random|FILE",
        conflicts_with = "resume"
    )]
    against: Option<String>,
    /// Write no report.html at the end
    #[arg(long)]
    no_report: bool,
    /// End with one JSON document on standard output, and print nothing else there
    #[arg(long)]
    json: bool,
}

/// Which images; kept in the run folder, so that a run can be resumed.
#[derive(Args, Serialize, Deserialize)]
pub struct ImageArgs {
    #[command(flatten)]
    pub data: source::DataArgs,
    /// Train on N images only: the first, or of a folder N spread over its classes
    #[arg(long, value_name = "N", value_parser = positive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_train: Option<usize>,
}

impl ImageArgs {
    /// Those that a run began with.
    pub fn of_run(dir: &Path, config: &RunConfig) -> Result<Self> {
        let arguments = config.data.arguments.clone();
        let images = arguments.try_into();
        images.with_context(|| format!("{}: the images are not named in it", dir.display()))
    }

    pub fn open(&self) -> Result<source::Data> {
        self.data.open(self.limit_train)
    }
}

/// What the model starts from.
#[derive(Args)]
struct StartArgs {
    /// hub (the default tag), hub:TAG, original[:TAG] (upstream's own file), random, or a file:
    /// .safetensors, .pth, .pt, .bin [default: those that the model's name says, else random]
    #[arg(long, value_name = "bundled|hub[:TAG]|random|FILE")]
    weights: Option<String>,
    #[command(flatten)]
    options: ModelArgs,
}

/// The recipe, and what is changed in it.
#[derive(Args)]
struct RecipeArgs {
    /// What trains when: full, features, gradual, fine-tune or backbone-finetuning [default: full]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Recipe::NAMES))]
    recipe: Option<String>,
    /// Read the recipe from a TOML file; every flag overrides it
    #[arg(long, value_name = "FILE", conflicts_with = "recipe")]
    config: Option<PathBuf>,
    /// Dropout before the head, in 0..1
    #[arg(long, value_name = "P", value_parser = probability)]
    drop_rate: Option<f64>,
    /// Stochastic depth, in 0..1
    #[arg(long, value_name = "P", value_parser = probability)]
    drop_path_rate: Option<f64>,
    /// Passes over the training images
    #[arg(long, value_name = "N", value_parser = positive)]
    epochs: Option<usize>,
    /// Images that go through the model at once, or auto for the most that fit
    #[arg(long, value_name = "N|auto", value_parser = batch_size)]
    batch_size: Option<BatchSizeArg>,
    /// Batches whose gradients are averaged for one step
    #[arg(long, value_name = "N", value_parser = count::<65_536>)]
    accumulate: Option<usize>,
    /// Learning rate of the head, before the schedule
    #[arg(long, value_name = "X")]
    lr: Option<f64>,
    /// How rates fall from the head to the input: same, geometric:LOWEST, factor:DIVIDE, slice or
    /// layer_decay:DECAY
    #[arg(long, value_name = "RULE")]
    rates: Option<Rates>,
    /// Scale the rate by the images in a step: none, linear:BASE or sqrt:BASE
    #[arg(long, value_name = "RULE")]
    rate_scaling: Option<RateScaling>,
    /// The optimiser
    #[arg(long, value_name = "NAME", value_parser = optimizers())]
    optimizer: Option<Optimizer>,
    /// Weight decay of weights; biases and normalisations have none
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,
    /// constant, cosine, one_cycle, linear, polynomial, step:EPOCHS:GAMMA, multi_step, exponential
    /// or plateau, with values such as cosine:cycles=3
    #[arg(long, value_name = "SCHEDULE")]
    schedule: Option<Schedule>,
    /// Whether the rate changes with each step or each epoch
    #[arg(long, value_name = "step|epoch", value_parser = per)]
    per: Option<Per>,
    /// Epochs of linear warm-up
    #[arg(long, value_name = "EPOCHS")]
    warmup: Option<f64>,
    /// What is frozen at the start: nothing, backbone, up-to:GROUP, only:GROUP,.. or
    /// matching:REGEX; the recipe's choice by default
    #[arg(long)]
    freeze: Option<Freeze>,
    /// How frozen parts join: never, gradual, gradual:EPOCHS, fine-tune, backbone, backbone:EPOCH,
    /// or EPOCH=FREEZE;EPOCH=FREEZE..
    #[arg(long, value_name = "RULE")]
    unfreeze: Option<Unfreeze>,
    /// What becomes of frozen batch normalisations: frozen, or train-affine (scale and shift train,
    /// statistics stay)
    #[arg(long, value_name = "CHOICE")]
    frozen_norm: Option<FrozenNorm>,
    /// Clip gradients: none, norm:MAX or value:MAX
    #[arg(long, value_name = "RULE")]
    clip: Option<Clip>,
    /// Average the weights with this decay, and evaluate and export the average
    #[arg(long, value_name = "DECAY", value_parser = probability)]
    ema: Option<f64>,
    /// Spread this share of each target over all classes, in 0..1
    #[arg(long, value_name = "X", value_parser = probability)]
    label_smoothing: Option<f64>,
    /// How classes weigh in the loss: equal, balanced, or a number for each
    #[arg(long, value_name = "RULE")]
    class_weights: Option<ClassWeights>,
    /// shuffle, or balanced: each class as often as any other
    #[arg(long, value_name = "RULE")]
    sampler: Option<Sampler>,
    /// Random changes of the training images: none, flip-crop (small images), imagenet, trivial,
    /// rand, or a list such as random-crop:padding=2,horizontal-flip
    #[arg(long, value_name = "LIST")]
    augment: Option<Augment>,
    /// Mix images by mixup with this alpha
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f64>,
    /// Mix images by CutMix with this alpha
    #[arg(long, value_name = "ALPHA")]
    cutmix: Option<f64>,
    /// Numbers that the network computes in: f32, bf16 or f16
    #[arg(long, value_name = "TYPE")]
    precision: Option<Precision>,
    /// Where the output of frozen layers is kept from epoch to epoch: auto, memory, disk or off,
    /// with :f16 for half the room, and :views=N to keep N augmented views of each image
    #[arg(long, value_name = "PLACE")]
    feature_cache: Option<FeatureCache>,
    /// Keep fewer activations for the backward pass, and compute them twice
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Stop after N epochs without improvement
    #[arg(long, value_name = "N", value_parser = positive)]
    early_stopping: Option<usize>,
    /// What does not count as an improvement
    #[arg(long, value_name = "X", requires = "early_stopping")]
    min_delta: Option<f64>,
    /// What makes an epoch the best: valid_accuracy, valid_loss, valid_top5_accuracy,
    /// valid_balanced_accuracy or train_loss
    #[arg(long, value_name = "NAME")]
    metric: Option<Metric>,
    /// Checkpoints that are kept: the newest N
    #[arg(long, value_name = "N", value_parser = positive)]
    keep_last: Option<usize>,
    /// Checkpoints that are kept beside them: those of the N best epochs
    #[arg(long, value_name = "N")]
    keep_best: Option<usize>,
    /// Write a checkpoint every N steps, too
    #[arg(long, value_name = "N", value_parser = positive)]
    checkpoint_steps: Option<usize>,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Threads that prepare batches
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Leave out a last training batch that is not full
    #[arg(long)]
    drop_last: bool,
}

/// The names of the optimisers, so that a wrong one is answered with the right ones.
pub fn optimizers() -> impl TypedValueParser<Value = Optimizer> {
    PossibleValuesParser::new(Optimizer::NAMES).try_map(|name| name.parse::<Optimizer>())
}

fn per(text: &str) -> Result<Per, String> {
    match text {
        "step" => Ok(Per::Step),
        "epoch" => Ok(Per::Epoch),
        _ => Err("expected step or epoch".to_owned()),
    }
}

#[derive(Debug, Clone, Copy)]
enum BatchSizeArg {
    Images(usize),
    Auto,
}

fn batch_size(text: &str) -> Result<BatchSizeArg, String> {
    match text {
        "auto" => Ok(BatchSizeArg::Auto),
        _ => count::<65_536>(text)
            .map(BatchSizeArg::Images)
            .map_err(|error| format!("{error}, or auto")),
    }
}

impl RecipeArgs {
    fn recipe(&self, image_size: Option<usize>) -> Result<Recipe> {
        let mut recipe = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Recipe::from_toml(&text).with_context(|| path.display().to_string())?
            }
            None => Recipe::named(self.recipe.as_deref().unwrap_or("full"))?,
        };
        fn set<T: Clone>(field: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                *field = value.clone();
            }
        }
        set(&mut recipe.epochs, &self.epochs);
        if let Some(BatchSizeArg::Images(size)) = self.batch_size {
            recipe.batch_size = size;
        }
        set(&mut recipe.accumulate, &self.accumulate);
        set(&mut recipe.workers, &self.workers);
        set(&mut recipe.learning_rate, &self.lr);
        set(&mut recipe.rates, &self.rates);
        set(&mut recipe.rate_scaling, &self.rate_scaling);
        set(&mut recipe.weight_decay, &self.weight_decay);
        set(&mut recipe.optimizer, &self.optimizer);
        set(&mut recipe.schedule, &self.schedule);
        set(&mut recipe.per, &self.per);
        if let Some(epochs) = self.warmup {
            recipe.warmup = Warmup {
                epochs,
                ..recipe.warmup
            };
        }
        set(&mut recipe.freeze, &self.freeze);
        set(&mut recipe.unfreeze, &self.unfreeze);
        set(&mut recipe.frozen_norm, &self.frozen_norm);
        set(&mut recipe.clip, &self.clip);
        set(&mut recipe.label_smoothing, &self.label_smoothing);
        set(&mut recipe.class_weights, &self.class_weights);
        set(&mut recipe.sampler, &self.sampler);
        set(&mut recipe.augment, &self.augment);
        set(&mut recipe.precision, &self.precision);
        set(&mut recipe.metric, &self.metric);
        set(&mut recipe.seed, &self.seed);
        set(&mut recipe.feature_cache, &self.feature_cache);
        recipe.drop_rate = self.drop_rate.or(recipe.drop_rate);
        recipe.drop_path_rate = self.drop_path_rate.or(recipe.drop_path_rate);
        recipe.image_size = image_size.or(recipe.image_size);
        recipe.drop_last |= self.drop_last;
        recipe.gradient_checkpointing |= self.gradient_checkpointing;
        if let Some(decay) = self.ema {
            let ema = recipe.ema.unwrap_or(EmaConfig::new(decay));
            recipe.ema = Some(EmaConfig { decay, ..ema });
        }
        if self.mixup.is_some() || self.cutmix.is_some() {
            let mixing = recipe.mixing.unwrap_or(Mixing {
                mixup_alpha: 0.0,
                cutmix_alpha: 0.0,
                ..Mixing::default()
            });
            recipe.mixing = Some(Mixing {
                mixup_alpha: self.mixup.unwrap_or(mixing.mixup_alpha),
                cutmix_alpha: self.cutmix.unwrap_or(mixing.cutmix_alpha),
                ..mixing
            });
        }
        if let Some(patience) = self.early_stopping {
            let rule = recipe
                .early_stopping
                .unwrap_or(EarlyStopping::new(patience));
            recipe.early_stopping = Some(EarlyStopping {
                patience,
                min_delta: self.min_delta.unwrap_or(rule.min_delta),
                ..rule
            });
        }
        let keep = recipe.checkpoints;
        recipe.checkpoints = Checkpoints {
            last: self.keep_last.unwrap_or(keep.last),
            best: self.keep_best.unwrap_or(keep.best),
            every_steps: self.checkpoint_steps.or(keep.every_steps),
        };
        Ok(recipe)
    }
}

/// A model, the images it shall learn, and how.
struct Task {
    model: Classifier,
    data: source::Data,
    recipe: Recipe,
}

/// Builds the model for the images.
fn task(
    name: &str,
    images: &ImageArgs,
    options: &ModelArgs,
    weights: Option<&str>,
    recipe: Recipe,
    device: Device,
) -> Result<Task> {
    let mut recipe = recipe;
    let data = images.open()?;
    let mut spec = options
        .spec(name, weights, recipe.seed)?
        .seed(recipe.seed)
        .drop_rate(recipe.drop_rate.unwrap_or(0.0))
        .drop_path_rate(recipe.drop_path_rate.unwrap_or(0.0));
    if options.in_channels.is_none() {
        spec = spec.in_channels(data.channels);
    }
    if options.num_classes.is_none() {
        spec = spec.num_classes(data.train.classes().len());
    }
    if weights.is_none() && !names_weights(name) {
        eprintln!("weights: random; --weights bundled, hub or FILE starts from pretrained ones");
    }
    let model = fetch(&spec)?.build(&device.autodiff())?;
    // Photographs differ in size; they are brought to the one the model was trained at.
    if data.any_size && recipe.image_size.is_none() {
        let architecture = model.info().architecture.clone();
        let trained = Zoo::list(&architecture).first().map(|a| a.image_size);
        recipe.image_size = model.info().image_size.or(trained);
    }
    if let InputSize::Exactly(size) = model.backbone.input_size() {
        eprintln!("images are brought to {size} x {size} pixels");
    }
    Ok(Task {
        model,
        data,
        recipe,
    })
}

impl FinetuneArgs {
    pub fn run(self, device: Device) -> Result<()> {
        let started = Instant::now();
        if let Some(gib) = self.memory_budget
            && !(gib > 0.0 && gib.is_finite())
        {
            bail!("--memory-budget: expected a number above 0, found {gib}");
        }
        let tensorboard = match self.tensorboard.as_deref() {
            None => TensorBoard::RunFolder,
            Some("off") => TensorBoard::Off,
            Some(folder) => TensorBoard::Folder(folder.into()),
        };
        let mut options = FitOptions {
            overwrite: self.overwrite,
            tensorboard,
            ..FitOptions::default()
        };
        let mut against = None;
        let (run, valid) = match &self.resume {
            Some(dir) => self.go_on(dir, device, options)?,
            None => {
                let name = self.model.as_deref().unwrap_or_default();
                let recipe = self.recipe.recipe(self.start.options.image_size)?;
                let folders = self.out.as_deref().map(|out| {
                    let other = self.against.as_ref().map(|_| Self::folder_against(out));
                    std::iter::once(out.to_path_buf()).chain(other)
                });
                for out in folders.into_iter().flatten() {
                    // The library speaks of choosing; here that has a flag.
                    Run::check_folder(&out, self.overwrite).map_err(|error| match error {
                        burn_zoo::Error::Exists { path, .. } if !self.overwrite => anyhow!(
                            "{} exists already; choose another folder with --out, or replace an \
                             old run with --overwrite",
                            path.display()
                        ),
                        error => error.into(),
                    })?;
                }
                let weights = self.start.weights.as_deref();
                let mut task = self.task(name, weights, recipe, device.clone())?;
                if let Some(BatchSizeArg::Auto) = self.recipe.batch_size {
                    self.find_batch_size(&mut task)?;
                }
                let Task {
                    model,
                    data,
                    recipe,
                } = task;
                let out = self
                    .out
                    .clone()
                    .unwrap_or_else(|| self.default_folder(name));
                // Before anything trains, so that a mistake in them shows at once.
                let other = match &self.against {
                    Some(weights) => Some(self.task_against(&model, weights, device)?),
                    None => None,
                };
                options.data = data.source.clone();
                options.arguments = toml::Table::try_from(&self.images)?;
                let mut watch = self.watch()?;
                let valid = data.test.clone();
                let watch = watch.as_mut();
                let run = recipe.fit_with(model, data.train, data.test, &out, options, watch)?;
                against = match other {
                    Some(task) => Some(self.fit_against(task, &out)?),
                    None => None,
                };
                (run, valid)
            }
        };
        #[cfg(feature = "plots")]
        let report = match self.no_report {
            true => None,
            false => Some(progress::report(|| run.write_report(valid))?),
        };
        #[cfg(not(feature = "plots"))]
        let report: Option<PathBuf> = None;
        let best = run.best();
        if self.json {
            return print_json(&json!({
                "run": run.dir(),
                "best_epoch": best.epoch,
                "valid_accuracy": best.valid_accuracy,
                "valid_loss": best.valid_loss,
                "seconds": started.elapsed().as_secs_f64(),
                "report": report,
                "against": against.as_ref().map(|other| json!({
                    "run": other.dir(),
                    "weights": self.against,
                    "best_epoch": other.best().epoch,
                    "valid_accuracy": other.best().valid_accuracy,
                    "valid_loss": other.best().valid_loss,
                })),
            }));
        }
        if let Some(other) = &against {
            print(format!("\n{}", self.comparison(&run, other)))?;
        }
        print(format!(
            "\nbest: {best}\nmodel: {}\ncurves and log: {}",
            run.dir().join("best").display(),
            run.dir().display()
        ))?;
        match report {
            Some(path) => print(format!("report: {}", path.display())),
            None => Ok(()),
        }
    }

    fn task(
        &self,
        name: &str,
        weights: Option<&str>,
        recipe: Recipe,
        device: Device,
    ) -> Result<Task> {
        task(
            name,
            &self.images,
            &self.start.options,
            weights,
            recipe,
            device,
        )
    }

    /// The folder of the run from the other weights.
    fn folder_against(out: &Path) -> PathBuf {
        let mut name = out.as_os_str().to_owned();
        name.push("-against");
        name.into()
    }

    /// The same architecture with other weights, everything else being equal.
    fn task_against(&self, model: &Classifier, weights: &str, device: Device) -> Result<Task> {
        let recipe = self.recipe.recipe(self.start.options.image_size)?;
        let architecture = &model.info().architecture;
        let mut task = self.task(architecture, Some(weights), recipe, device)?;
        if let Some(BatchSizeArg::Auto) = self.recipe.batch_size {
            self.find_batch_size(&mut task)?;
        }
        Ok(task)
    }

    fn fit_against(&self, task: Task, out: &Path) -> Result<Run> {
        if let (Some(weights), false) = (&self.against, self.json) {
            print(format!("\nThe same from weights: {weights}"))?;
        }
        let (model, data) = (task.model, task.data);
        let options = FitOptions {
            overwrite: self.overwrite,
            data: data.source.clone(),
            arguments: toml::Table::try_from(&self.images)?,
            tensorboard: TensorBoard::Off,
        };
        let out = Self::folder_against(out);
        let mut watch = self.watch()?;
        let watch = watch.as_mut();
        let run = task
            .recipe
            .fit_with(model, data.train, data.test, &out, options, watch)?;
        Ok(run)
    }

    /// Both runs side by side.
    fn comparison(&self, run: &Run, other: &Run) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["weights", "accuracy", "loss", "best epoch"]);
        let named = self.model.as_deref().filter(|model| names_weights(model));
        let own = self.start.weights.as_deref().or(named);
        let rows = [(own, run), (self.against.as_deref(), other)];
        for (weights, run) in rows {
            let best = run.best();
            table.add_row([
                weights.unwrap_or("random").to_owned(),
                format!("{:.1} %", 100.0 * best.valid_accuracy),
                format!("{:.3}", best.valid_loss),
                best.epoch.to_string(),
            ]);
        }
        let gain = run.best().valid_accuracy - other.best().valid_accuracy;
        table.add_row(["gain".to_owned(), format!("{:+.1} points", 100.0 * gain)]);
        table
    }

    fn go_on(
        &self,
        dir: &Path,
        device: Device,
        options: FitOptions,
    ) -> Result<(Run, Arc<dyn ImageData>)> {
        let config = RunConfig::open(dir)?;
        let data = ImageArgs::of_run(dir, &config)?.open()?;
        let mut watch = self.watch()?;
        let valid = data.test.clone();
        let run =
            burn_zoo::train::resume(dir, &device, data.train, data.test, options, watch.as_mut())?;
        Ok((run, valid))
    }

    /// What a person sees meanwhile.
    fn watch(&self) -> Result<Box<dyn Monitor>> {
        let stop = Stop::on_ctrl_c()?;
        #[cfg(feature = "tui")]
        if self.tui {
            return Ok(Box::new(super::dashboard::Dashboard::new(stop)?));
        }
        Ok(Box::new(Watch::new(stop, !self.json)))
    }

    fn find_batch_size(&self, task: &mut Task) -> Result<()> {
        let budget = self
            .memory_budget
            .map(|gib| (gib * (1u64 << 30) as f64) as u64);
        let search = BatchSearch {
            budget,
            ..BatchSearch::default()
        };
        let found =
            task.recipe
                .find_batch_size(&task.model, task.data.train.clone(), search, |trial| {
                    // The next trial is measured without what this one held.
                    crate::allocator::give_back();
                    let peak = trial.peak.map_or("unknown".to_owned(), |bytes| {
                        format!("{:.2} GiB", bytes as f64 / (1u64 << 30) as f64)
                    });
                    let verdict = if trial.fits { "fits" } else { "too much" };
                    eprintln!("batch size {:>5}: {peak}, {verdict}", trial.batch_size);
                })?;
        eprintln!("batch size: {}", found.batch_size);
        task.recipe.batch_size = found.batch_size;
        Ok(())
    }

    /// The first free one of `runs/MODEL-DATA-1`, `-2`, ..
    fn default_folder(&self, model: &str) -> PathBuf {
        let data = Path::new(self.images.data.name())
            .file_name()
            .unwrap_or_default();
        let name = format!("{model}-{}", data.to_string_lossy());
        let name = name.replace(['/', ':', '@', ',', '='], "-");
        (1usize..)
            .map(|number| Path::new("runs").join(format!("{name}-{number}")))
            .find(|dir| !dir.exists() && !Self::folder_against(dir).exists())
            .unwrap_or_default()
    }
}

#[derive(Args)]
pub struct LrFindArgs {
    /// An architecture (see `burn-zoo list`), arch.tag, hf-hub:OWNER/REPO or local-dir:DIR
    model: String,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The first learning rate
    #[arg(long, value_name = "X", default_value_t = Sweep::default().start)]
    from: f64,
    /// The last learning rate
    #[arg(long, value_name = "X", default_value_t = Sweep::default().end)]
    to: f64,
    /// Steps in between
    #[arg(long, value_name = "N", default_value_t = Sweep::default().steps)]
    steps: usize,
    /// Where the curve is drawn
    #[cfg(feature = "plots")]
    #[arg(long, value_name = "FILE.svg", default_value = "lr-find.svg")]
    plot: PathBuf,
    /// Print one JSON document with every point
    #[arg(long)]
    json: bool,
}

impl LrFindArgs {
    pub fn run(self, device: Device) -> Result<()> {
        if let Some(BatchSizeArg::Auto) = self.recipe.batch_size {
            bail!("--batch-size: expected a number, since the rate depends on it; found auto");
        }
        let recipe = self.recipe.recipe(self.start.options.image_size)?;
        let weights = self.start.weights.as_deref();
        let options = &self.start.options;
        let task = task(&self.model, &self.images, options, weights, recipe, device)?;
        let sweep = Sweep {
            start: self.from,
            end: self.to,
            steps: self.steps,
        };
        let stop = Stop::on_ctrl_c()?;
        let bar = progress::bar(sweep.steps, "learning rates");
        let found =
            task.recipe
                .find_learning_rate(&task.model, task.data.train, sweep, |step| {
                    bar.set_position(step as u64);
                    !stop.asked()
                })?;
        bar.finish_and_clear();
        #[cfg(feature = "plots")]
        found.write_plot(&self.plot)?;
        if self.json {
            return print_json(&found);
        }
        let suggestions = found.suggestions;
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        for (name, rate, what) in [
            (
                "valley",
                suggestions.valley,
                "in the longest fall; the usual choice",
            ),
            (
                "steepest",
                suggestions.steepest,
                "where the loss falls fastest",
            ),
            ("minimum", suggestions.minimum, "a tenth of the best rate"),
            ("slide", suggestions.slide, "before the curve turns"),
        ] {
            let rate = rate.map_or("-".to_owned(), |rate| format!("{rate:.2e}"));
            table.add_row([name, &rate, what]);
        }
        print(table)?;
        #[cfg(feature = "plots")]
        print(format!("curve: {}", self.plot.display()))?;
        Ok(())
    }
}
