//! Recipe, model and data brought together: what stays the same from step to step.

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;

use burn::module::Module as _;
use burn::tensor::Device;

use super::batch_norm_check::{single_value_error, single_value_norms};
use super::classes::check_same_classes;
use super::extend::AddedEpochs;
use super::feature_cache::CachePlace;
use super::loss::{ClassWeights, Loss};
use super::loss_function::{TaskLoss, positive_weights};
use super::parallel::Group;
use super::plan::{Plan, StepRates};
use super::recipe::Recipe;
use super::schedule::{Schedule, Warmup};
use super::state::RunState;
use crate::data::{self, ImageData, Loader, LoaderConfig, Shard, Subset, Task};
use crate::device::device_name;
use crate::error::{Error, Result};
use crate::model::{
    Adapt, Classifier, Freeze, InputSize, Outputs, TargetScaling, in_head, low_rank, params,
};
use crate::nn::StatisticsSync;
use crate::preprocess::ImageSize;

/// Everything that stays the same from step to step.
pub(super) struct Setup {
    /// With everything resolved, and with the epochs that were added.
    pub recipe: Recipe,
    pub plan: Plan,
    pub train: Loader,
    pub valid: Loader,
    pub loss: TaskLoss,
    pub device: Device,
    /// Steps of the optimiser in an epoch.
    pub steps_per_epoch: usize,
    /// The schedule of the last phase: the recipe's, or that of the last epochs that were added.
    pub schedule: Schedule,
    /// Epochs of the recipe, without those that were added.
    pub own_epochs: usize,
    /// The first epoch that was added, counted from 1.
    pub first_added: Option<usize>,
    /// Epochs of the last phase, if they were added to a finished run.
    pub added_epochs: Option<usize>,
    /// Height and width of the first image.
    pub image_size: [usize; 2],
    /// The smallest batch that trains.
    pub min_batch: usize,
    /// A folder of features that the run shares with others.
    pub feature_folder: Option<PathBuf>,
    /// The layers for whose sake the last image of an epoch is left out.
    pub single_value_layers: Vec<String>,
    /// Those who train with this one.
    pub group: Arc<Group>,
    /// Of several ranks: images of this rank's own, the same in each epoch, whose features can be kept.
    pub own_train: Option<Loader>,
    /// Parts of a batch that go through a model on several devices one after the other.
    pub micro_batches: usize,
    /// Images for training and validation, those of all ranks.
    pub num_images: [usize; 2],
    /// What trains of a model that is trained by few of its parameters, in words.
    pub adapted: Option<String>,
}

/// Checks that recipe, model and data fit each other, and makes of them what a run needs.
pub(super) fn prepare(
    recipe: &Recipe,
    model: Classifier,
    train: Arc<dyn ImageData>,
    valid: Arc<dyn ImageData>,
    skip_broken: bool,
    group: Arc<Group>,
) -> Result<(Classifier, Setup)> {
    let num_images = [train.len(), valid.len()];
    check_data(recipe, &model, train.as_ref(), valid.as_ref())?;
    let model = training_model(recipe, model)?;
    let model = with_task(recipe, model, train.as_ref())?;
    let mut device = model.device();
    if recipe.gradient_checkpointing {
        device = device.gradient_checkpointing();
    }
    recipe.precision.check(&device)?;
    if recipe.sync_batch_norm && !group.is_alone() && !on_cpu(&device) {
        let expected = "false, on devices other than the CPU (flex)";
        return Err(Error::argument("sync_batch_norm", expected, true));
    }
    if recipe.sync_batch_norm && recipe.gradient_checkpointing && !group.is_alone() {
        let expected = "false, with gradient checkpointing";
        return Err(Error::argument("sync_batch_norm", expected, true));
    }
    let loss = loss(recipe, &model, train.as_ref(), &device)?;
    let parts = [train, valid];
    let Loaders {
        mut train,
        valid,
        mut own_train,
    } = loaders(recipe, &model, parts, skip_broken, &device, &group)?;
    let image_size = check_first_image(&model, &train)?;
    check_first_image(&model, &valid)?;
    recipe.check_sizes_of(&model, image_size)?;

    let recipe = recipe.clone();
    let steps = |train: &Loader| train.num_batches().div_ceil(recipe.accumulate);
    let ranks = group.size();
    let mut plan = recipe.plan_of_ranks(&model, steps(&train), ranks)?;
    let mut sizes = vec![image_size];
    sizes.extend(recipe.progressive_sizes.sizes().iter().map(|s| s.sides()));
    let checked = check_plan(&recipe, &model, &plan, steps(&train), &sizes)?;
    let mut single_value_layers = checked.single_value_layers;
    let min_batch = if single_value_layers.is_empty() { 1 } else { 2 };
    let images = train.num_images();
    if min_batch > recipe.batch_size || min_batch > images {
        let situation = match images {
            1 => "a single training image".to_owned(),
            _ => format!("batch_size {}", recipe.batch_size),
        };
        let size = checked.single_value_size;
        let error = single_value_error(&model, &single_value_layers, size, situation);
        return Err(error);
    }
    if recipe.drop_last || images % recipe.batch_size != 1 {
        single_value_layers.clear();
    } else if !single_value_layers.is_empty() {
        train.drop_single();
        own_train.iter_mut().for_each(Loader::drop_single);
        plan = recipe.plan_of_ranks(&model, steps(&train), ranks)?;
    }
    let must_cache = matches!(
        recipe.feature_cache.place,
        CachePlace::Memory | CachePlace::Disk
    );
    if must_cache && !checked.freezes_first_groups {
        let expected = "auto or off, where the first groups of the model are never frozen";
        let found = recipe.feature_cache;
        return Err(Error::argument("feature_cache", expected, found));
    }
    let adapted = adapted_in_words(&recipe, &model)?;
    let setup = Setup {
        steps_per_epoch: steps(&train),
        schedule: recipe.schedule.clone(),
        own_epochs: recipe.epochs,
        first_added: None,
        added_epochs: None,
        image_size,
        min_batch,
        single_value_layers,
        feature_folder: None,
        recipe,
        plan,
        train,
        valid,
        loss,
        device,
        group,
        own_train,
        micro_batches: 1,
        num_images,
        adapted,
    };
    Ok((model, setup))
}

/// Whether the fast operations are there, of which the shared normalisation is one.
fn on_cpu(device: &Device) -> bool {
    cfg!(feature = "flex") && device_name(&device.clone().without_autodiff()) == "cpu"
}

fn check_data(
    recipe: &Recipe,
    model: &Classifier,
    train: &dyn ImageData,
    valid: &dyn ImageData,
) -> Result<()> {
    for (part, data) in [("training data", train), ("validation data", valid)] {
        if data.task() != recipe.task {
            let expected = format!("{} data, as the recipe's task says", recipe.task);
            return Err(Error::argument(part, expected, data.task()));
        }
    }
    if valid.is_empty() {
        let expected = "at least one image";
        return Err(Error::argument("validation data", expected, "none"));
    }
    check_same_classes("validation data", train.classes(), valid.classes())?;
    let classes = train.classes().len();
    if model.num_classes() < classes {
        let expected = format!("at least the {classes} classes of the data");
        let found = model.num_classes();
        return Err(Error::argument("num_classes", expected, found));
    }
    Ok(())
}

/// The model in training mode, with the recipe's dropout and gradient checkpointing.
fn training_model(recipe: &Recipe, mut model: Classifier) -> Result<Classifier> {
    let info = model.info();
    let own = [info.drop_rate, info.drop_path_rate];
    let rates = [
        recipe.drop_rate.unwrap_or(own[0]),
        recipe.drop_path_rate.unwrap_or(own[1]),
    ];
    if rates != own {
        model = model.with_drop_rates(rates[0], rates[1])?;
    }
    let model = recipe.adapted(model)?.train();
    if recipe.gradient_checkpointing {
        return Ok(params::with_gradient_checkpointing(model));
    }
    Ok(model)
}

/// The model that says for what it is trained. Numbers are scaled by those of the training images.
fn with_task(recipe: &Recipe, model: Classifier, train: &dyn ImageData) -> Result<Classifier> {
    let own = &model.info().outputs;
    // Numbers of the same names are those that the head tells already; a run that goes on has them.
    let goes_on = own.task == Task::Regression && model.info().classes == train.classes();
    let scaling = match (recipe.task, &own.scaling) {
        (Task::Regression, Some(own)) if goes_on => Some(own.clone()),
        (Task::Regression, _) => Some(TargetScaling::of(&data::targets(train)?)?),
        _ => None,
    };
    let outputs = Outputs {
        task: recipe.task,
        thresholds: Vec::new(),
        scaling,
    };
    model.with_outputs(outputs)
}

fn loss(
    recipe: &Recipe,
    model: &Classifier,
    train: &dyn ImageData,
    device: &Device,
) -> Result<TaskLoss> {
    let (smoothing, function) = (recipe.label_smoothing, recipe.loss);
    let classes = model.num_classes();
    Ok(match recipe.task {
        Task::SingleLabel => {
            let weights = match &recipe.class_weights {
                ClassWeights::Equal => None,
                weights => weights.of(&data::labels(train)?, classes)?,
            };
            TaskLoss::Classes(Loss::new(smoothing, weights.as_deref(), device)?)
        }
        Task::MultiLabel => {
            let weights = match &recipe.class_weights {
                ClassWeights::Equal => None,
                weights => positive_weights(weights, &data::targets(train)?, classes)?,
            };
            TaskLoss::labels(function, smoothing, weights, device)
        }
        Task::Regression => TaskLoss::Values {
            function,
            scaling: model.info().outputs.scaling.clone().unwrap_or_default(),
        },
    })
}

/// How much trains of a model that is trained by few of its parameters, and which layers cannot have an
/// adapter.
fn adapted_in_words(recipe: &Recipe, model: &Classifier) -> Result<Option<String>> {
    const SHOWN: usize = 3;
    if recipe.adapt.is_none() {
        return Ok(None);
    }
    let trains = model.trainable_parameters();
    let all = params::list(model).into_iter();
    let trained = all.filter(|param| trains.contains(&param.path));
    let numbers: usize = trained.map(|param| param.num_elements()).sum();
    let of = model.num_parameters();
    let mut text = format!("{}: {numbers} of {of} parameters train", recipe.adapt);
    if let Adapt::Lora(_) = recipe.adapt {
        let layers = low_rank::adapted(model).len();
        text.push_str(&format!(", adapters of {layers} layers and the head"));
        let skipped = model.lora_layers(recipe.adapt_matching.as_deref())?.skipped;
        if !skipped.is_empty() {
            let names = skipped.iter().take(SHOWN);
            let names: Vec<String> = names.map(|(n, why)| format!("{n} ({why})")).collect();
            let more = match skipped.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let count = skipped.len();
            text.push_str(&format!("; {count} have none: {}{more}", names.join(", ")));
        }
    }
    Ok(Some(text))
}

struct Loaders {
    train: Loader,
    valid: Loader,
    own_train: Option<Loader>,
}

/// The loaders for training and validation; of several ranks, those of this one's share.
fn loaders(
    recipe: &Recipe,
    model: &Classifier,
    [train, valid]: [Arc<dyn ImageData>; 2],
    skip_broken: bool,
    device: &Device,
    group: &Group,
) -> Result<Loaders> {
    let size = match model.backbone.describe().input_size {
        InputSize::Exactly(size) => Some(recipe.image_size.unwrap_or(size.into())),
        _ => recipe.image_size,
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
        shard: group.shard(),
        ..config.clone()
    };
    let Some(Shard { rank, size }) = group.shard() else {
        return Ok(Loaders {
            train: Loader::new(train, preprocess.clone(), training, device)?,
            valid: Loader::new(valid, preprocess, config, device)?,
            own_train: None,
        });
    };
    if train.len().min(valid.len()) < size {
        let expected = format!("at least {size} training and validation images, one for each rank");
        let found = format!("{} and {}", train.len(), valid.len());
        return Err(Error::argument("data", expected, found));
    }
    let part = |data: &Arc<dyn ImageData>| Arc::new(Subset::every(data.clone(), rank, size));
    let own = LoaderConfig {
        shard: None,
        ..training.clone()
    };
    let valid = Loader::new(part(&valid), preprocess.clone(), config, device)?;
    let own_train = Loader::new(part(&train), preprocess.clone(), own, device)?;
    let train = Loader::new(train, preprocess, training, device)?;
    Ok(Loaders {
        own_train: Some(own_train.repeated_to(train.num_images())),
        train,
        valid,
    })
}

/// Takes one image through the model's checks, so that a size that does not fit is an error before
/// anything is written: its height and width.
fn check_first_image(model: &Classifier, loader: &Loader) -> Result<[usize; 2]> {
    let batch = loader.first()?;
    batch.targets.check(model.num_classes())?;
    model.check_input(&batch.images)?;
    let [_, _, height, width] = batch.images.dims();
    Ok([height, width])
}

struct CheckedPlan {
    /// Whether groups at the input are frozen at some time.
    freezes_first_groups: bool,
    /// Batch normalisations that cannot learn from one image, at the first time that there are any.
    single_value_layers: Vec<String>,
    /// The size of the images from which they cannot.
    single_value_size: [usize; 2],
}

/// Checks that something trains at every time of the plan, and of a model that is trained by few of its
/// parameters at some time more than the head.
fn check_plan(
    recipe: &Recipe,
    model: &Classifier,
    plan: &Plan,
    steps_per_epoch: usize,
    sizes: &[[usize; 2]],
) -> Result<CheckedPlan> {
    let mut checked = CheckedPlan {
        freezes_first_groups: false,
        single_value_layers: Vec::new(),
        single_value_size: [0; 2],
    };
    let mut trains_backbone = false;
    for freeze in plan.freezes(recipe.epochs * steps_per_epoch) {
        let frozen = recipe.frozen(model.clone(), freeze)?;
        let trainable = frozen.trainable_parameters();
        if trainable.is_empty() {
            let expected = "something that is left to train";
            return Err(Error::argument("freeze", expected, freeze));
        }
        trains_backbone |= trainable.iter().any(|path| !in_head(path));
        checked.freezes_first_groups |= num_frozen_groups(&frozen) > 0;
        for size in sizes {
            if checked.single_value_layers.is_empty() {
                checked.single_value_layers = single_value_norms(&frozen, *size)?;
                checked.single_value_size = *size;
            }
        }
    }
    if !recipe.adapt.is_none() && !trains_backbone {
        let expected = format!("something that {} can train beside the head", recipe.adapt);
        return Err(Error::argument("freeze", expected, &recipe.freeze));
    }
    Ok(checked)
}

/// How many groups from the input on do not train at all.
pub(super) fn num_frozen_groups(model: &Classifier) -> usize {
    let training = params::training_state(model);
    let is_frozen = |prefix: &str| {
        let mut own = training.iter().filter(|(path, _)| path.starts_with(prefix));
        own.all(|(_, trains)| !trains)
    };
    let groups = model.backbone.describe().all_groups();
    groups.iter().take_while(|g| is_frozen(&g.prefix)).count()
}

impl Setup {
    /// The step of the plan that begins with the next batch.
    ///
    /// It follows from the batches: fewer steps are made where batches have no image that can be
    /// read, and the schedule and what is frozen would lag behind the epochs.
    pub fn plan_step(&self, state: &RunState) -> usize {
        state.epoch * self.steps_per_epoch + state.batches / self.recipe.accumulate
    }

    /// The step of the plan to which the last batch belongs.
    pub fn last_plan_step(&self, state: &RunState) -> usize {
        let before = state.epoch * self.steps_per_epoch;
        match state.batches.checked_sub(1) {
            Some(last) => before + last / self.recipe.accumulate,
            None => before.saturating_sub(1),
        }
    }

    /// What is frozen at a step of the plan, unless a monitor said otherwise.
    pub fn freeze_at(&self, plan_step: usize, state: &RunState) -> Result<Freeze> {
        match &state.freeze {
            Some(text) => text.parse(),
            None => Ok(self.plan.freeze_at(plan_step).clone()),
        }
    }

    /// The rates at a step of the plan, lowered by as much as the plateaus so far ask for.
    pub fn rates_at(&self, plan_step: usize, state: &RunState) -> StepRates {
        let mut rates = self.plan.at(plan_step);
        if let Schedule::Plateau(_) = self.schedule {
            let factor = state.plateau.factor;
            rates.rates.iter_mut().for_each(|rate| *rate *= factor);
        }
        rates
    }

    /// The size that training images are brought to in an epoch, counted from 1, where they change it.
    pub fn train_size(&self, epoch: usize) -> Option<ImageSize> {
        let sizes = &self.recipe.progressive_sizes;
        match self.first_added {
            Some(first) if epoch >= first => sizes.last(),
            _ => sizes.at(epoch.saturating_sub(1), self.own_epochs),
        }
    }

    /// Whether training images have another size some time after an epoch, counted from 1.
    pub fn grows_after(&self, epoch: usize) -> bool {
        self.train_size(epoch) != self.train_size(self.recipe.epochs)
    }

    /// By what batch normalisations share their statistics, if they do.
    pub fn statistics_sync(&self) -> Option<Arc<dyn StatisticsSync>> {
        let sync = self.group.statistics_sync();
        sync.filter(|_| self.recipe.sync_batch_norm)
    }

    /// What a person should know before the run begins.
    pub fn notices(&self) -> Vec<String> {
        let mut notices: Vec<String> = self.adapted.iter().cloned().collect();
        notices.extend(self.sizes_in_words());
        notices.extend(self.unused_schedule());
        notices.extend(self.ranks_in_words());
        if self.group.is_alone() && self.recipe.sync_batch_norm {
            notices.push("sync_batch_norm: one device alone has nothing to share".to_owned());
        }
        let divides = self.recipe.task == Task::SingleLabel;
        let weighs = divides && self.recipe.class_weights != ClassWeights::Equal;
        if !self.group.is_alone() && weighs {
            notices.push(
                "class_weights: each rank divides by the weights of its own images, so that a step is \
                 not quite that of one device with all of them"
                    .to_owned(),
            );
        }
        let end = self.recipe.epochs * self.steps_per_epoch;
        for (step, freeze) in self.plan.changes().iter().filter(|(step, _)| *step >= end) {
            notices.push(format!(
                "freezing `{freeze}` would begin at step {}, and the run ends before",
                step + 1
            ));
        }
        if let [layer, ..] = &self.single_value_layers[..] {
            notices.push(format!(
                "1 of {} training images is left out of each epoch, another one each time: the \
                 last would be alone in its batch, and give `{layer}` one value per channel",
                self.num_images[0]
            ));
        }
        notices
    }

    /// In which epochs training images have which size, where they change it.
    fn sizes_in_words(&self) -> Option<String> {
        let mut parts: Vec<(ImageSize, [usize; 2])> = Vec::new();
        for epoch in 1..=self.recipe.epochs {
            let size = self.train_size(epoch)?;
            match parts.last_mut() {
                Some((last, epochs)) if *last == size => epochs[1] = epoch,
                _ => parts.push((size, [epoch; 2])),
            }
        }
        let parts: Vec<String> = parts
            .into_iter()
            .map(|(size, [first, last])| match first == last {
                true => format!("{size} pixels in epoch {first}"),
                false => format!("{size} pixels in epochs {first} to {last}"),
            })
            .collect();
        Some(format!("training images: {}", parts.join(", ")))
    }

    /// What several ranks make of the recipe.
    fn ranks_in_words(&self) -> Option<String> {
        let ranks = self.group.in_words()?;
        let (recipe, size) = (&self.recipe, self.group.size());
        let [train, _] = self.num_images;
        let own = self.train.num_images();
        let images = match (size * own).cmp(&train) {
            Ordering::Greater => format!("; {} images come twice in an epoch", size * own - train),
            Ordering::Less => format!("; {} images are left out of each epoch", train - size * own),
            Ordering::Equal => String::new(),
        };
        let norm = match recipe.sync_batch_norm {
            true => "; batch normalisations over all ranks",
            false => "",
        };
        Some(format!(
            "{ranks}{norm}; batches of {} on each, {} images a step{images}",
            recipe.batch_size.min(own),
            size * recipe.effective_batch().min(own)
        ))
    }

    /// What of its schedule the last phase never comes to, in words.
    fn unused_schedule(&self) -> Option<String> {
        let recipe = &self.recipe;
        let Some(added) = self.added_epochs else {
            return recipe.schedule.unused(&recipe.warmup, recipe.epochs);
        };
        let text = self.schedule.unused(&Warmup::default(), added)?;
        Some(format!("the added epochs, as a run of their own: {text}"))
    }

    /// Appends epochs that were added to the finished run.
    pub fn extend(&mut self, added: &AddedEpochs) {
        let images = self.recipe.effective_batch() * self.group.size();
        let scaling = self.recipe.rate_scaling.factor(images);
        let mut added = added.clone();
        if added.ranks != self.group.size() {
            // Another number of ranks made other steps; epochs are the same.
            added.from_step = added.from_epoch * self.steps_per_epoch;
        }
        self.plan.extend(&added, scaling);
        self.schedule = added.schedule.clone();
        self.added_epochs = Some(added.epochs);
        self.first_added.get_or_insert(added.from_epoch + 1);
        self.recipe.epochs = added.from_epoch + added.epochs;
    }
}
