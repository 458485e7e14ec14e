//! The groups that do not train: computed without a graph, and if possible once.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use burn::backend::GradientCheckpointingStrategy;
use burn::module::Module as _;
use burn::tensor::{Int, Tensor, TensorData};
use sha2::{Digest as _, Sha256};

use super::CachePlace;
use super::kept::{Filled, Kept, Request};
use crate::data::{Batch, Batches, EpochBatch, Loader};
use crate::error::Result;
use crate::files::hex;
use crate::infer::Fused;
use crate::model::Features;
use crate::model::params;
use crate::model::{Classifier, GroupOutput, TensorFn};
use crate::train::memory_advice::catch_out_of_memory;
use crate::train::monitor::Monitor;
use crate::train::{Plan, Precision, Recipe};

/// What goes into the part of a model that trains.
pub(in crate::train) struct Input {
    output: GroupOutput,
    groups: usize,
    pub labels: Tensor<1, Int>,
    pub targets: Vec<usize>,
    pub soft: Option<Tensor<2>>,
    /// Height and width of the images, where they are known.
    pub size: Option<[usize; 2]>,
}

/// A batch of an epoch, and what was left out of it.
pub(in crate::train) struct Portion {
    /// `None` if no image of it could be read.
    pub input: Option<Input>,
    /// The indices of images that could not be read.
    pub skipped: Vec<usize>,
}

impl From<Batch> for Input {
    fn from(batch: Batch) -> Self {
        let [_, _, height, width] = batch.images.dims();
        Self {
            size: Some([height, width]),
            output: GroupOutput::Features(Features::Map(batch.images)),
            groups: 0,
            labels: batch.labels,
            targets: batch.targets,
            soft: batch.soft,
        }
    }
}

impl Input {
    /// The scores.
    pub fn forward(self, model: &Classifier, recipe: &Recipe) -> Result<Tensor<2>> {
        if let (0, GroupOutput::Features(Features::Map(images))) = (self.groups, &self.output) {
            return model.forward(images.clone().cast(recipe.precision.dtype()));
        }
        Ok(model.forward_from(self.groups, self.output.map(&OntoGraph(recipe))))
    }
}

impl Input {
    /// The scores of a model that does not train.
    pub fn score(self, model: &Classifier, recipe: &Recipe) -> Result<Tensor<2>> {
        let output = self.output.map(&Cast(recipe.precision));
        Ok(model.forward_from(self.groups, output))
    }
}

/// Features become the input of what is recorded for a backward pass.
struct OntoGraph<'a>(&'a Recipe);

impl TensorFn for OntoGraph<'_> {
    fn apply<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        let tensor = tensor.cast(self.0.precision.dtype()).autodiff();
        match self.0.gradient_checkpointing {
            false => tensor,
            true => {
                tensor.with_gradient_checkpointing_strategy(GradientCheckpointingStrategy::Balanced)
            }
        }
    }
}

struct Cast(Precision);

impl TensorFn for Cast {
    fn apply<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        tensor.cast(self.0.dtype())
    }
}

/// The groups from the input on that do not train, and what is known of what they compute.
#[derive(Default)]
pub(in crate::train) struct Frozen {
    groups: usize,
    /// Without a graph, and with nothing but those groups.
    model: Option<Fused>,
    train: Option<Arc<Kept>>,
    valid: Option<Arc<Kept>>,
    /// Whether the averaged weights are the same in those groups.
    average_shares: bool,
    /// The smallest batch that trains.
    least: usize,
}

/// What is known when something was frozen or freed.
pub(in crate::train) struct Moment<'a> {
    pub recipe: &'a Recipe,
    pub plan: &'a Plan,
    pub dir: &'a Path,
    pub train: &'a Loader,
    pub valid: &'a Loader,
    /// With its parts frozen and freed.
    pub model: &'a Classifier,
    pub average: Option<&'a Classifier>,
    /// Steps of the optimiser so far.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Whether the plan no longer holds, because a monitor said what is frozen.
    pub own: bool,
    /// The smallest batch that trains.
    pub least: usize,
}

impl Moment<'_> {
    /// At which step the groups that are frozen now may be others.
    fn end(&self, groups: usize) -> Result<usize> {
        let end = self.recipe.epochs * self.steps;
        if self.own {
            return Ok(end);
        }
        for (step, freeze) in self.plan.changes() {
            if *step > self.step {
                let next = self.model.clone();
                let next = next.freeze_with(freeze, self.recipe.frozen_norm)?;
                if frozen_groups(&next) != groups {
                    return Ok((*step).min(end));
                }
            }
        }
        Ok(end)
    }
}

/// How many groups from the input on do not train at all.
pub(in crate::train) fn frozen_groups(model: &Classifier) -> usize {
    let training = params::training_state(model);
    let rests = |prefix: &str| {
        let mut own = training.iter().filter(|(path, _)| path.starts_with(prefix));
        own.all(|(_, trains)| !trains)
    };
    let groups = model.backbone.groups();
    groups.iter().take_while(|g| rests(&g.prefix)).count()
}

impl Frozen {
    /// What comes after this, now that something was frozen or freed. `None` if somebody asked for a stop while features were computed.
    pub fn next(self, moment: &Moment<'_>, monitor: &mut dyn Monitor) -> Result<Option<Self>> {
        let Moment { recipe, model, .. } = moment;
        let groups = frozen_groups(model);
        if groups == self.groups {
            // What was frozen has not changed since.
            return Ok(Some(self));
        }
        // Frees memory before more is taken.
        drop(self);
        let folder = moment.dir.join("features");
        let mut frozen = Self {
            groups,
            least: moment.least,
            ..Self::default()
        };
        if groups == 0 {
            remove(&folder);
            return Ok(Some(frozen));
        }
        let names = model.backbone.groups();
        let prefixes = names[..groups].iter().map(|g| g.prefix.clone()).collect();
        let own = params::only(model.valid(), prefixes);
        let values = match moment.average {
            None => None,
            Some(average) => {
                let prefixes = names[..groups].iter().map(|g| g.prefix.clone()).collect();
                Some(params::read(&params::only(average.clone(), prefixes))?)
            }
        };
        if let Some(average) = values {
            let own = params::read(&own)?;
            let mut both = own.iter().zip(&average);
            frozen.average_shares = both.all(|((_, a), (_, b))| a.data == b.data);
        }
        let own = own.fuse();
        frozen.model = Some(own.clone());

        let cache = recipe.feature_cache;
        let (now, end) = (moment.step, moment.end(groups)?);
        let lasts = end.saturating_sub(now) as f64 / moment.steps as f64;
        let validations = (end / moment.steps).saturating_sub(now / moment.steps);
        let varies = !recipe.augment.is_none() || recipe.mixing.is_some();
        let views = match (varies, cache.views) {
            (false, _) => 1,
            (true, views) => views,
        };
        // Whatever is not used at least a second time is not worth its memory.
        let wanted = [
            (
                moment.train,
                views,
                views > 0 && lasts > 0.25 + views as f64,
                "train",
            ),
            (moment.valid, 1, validations > 1, "valid"),
        ];
        let of_all = [&mut frozen.train, &mut frozen.valid];
        let mut files = Vec::new();
        for ((loader, views, worth, part), kept) in wanted.into_iter().zip(of_all) {
            if !worth || cache.place == CachePlace::Off {
                continue;
            }
            let loader = loader.in_order(varies && part == "train");
            let path = || {
                let key = key(moment, &loader, own.model(), groups, views)?;
                Ok(folder.join(format!("{part}-{}", &key[..16])))
            };
            let device = own.model().device();
            let request = Request {
                cache,
                loader: &loader,
                views,
                device: &device,
                dir: moment.dir,
                path: &path,
            };
            let batches = loader.num_batches() * views;
            let watch = RefCell::new(&mut *monitor);
            let filled = catch_out_of_memory(recipe, moment.least, || {
                Kept::fill(
                    &request,
                    |images| {
                        let output = forward(&own, groups, images, recipe.precision)?;
                        Ok(output.map(&Cast(Precision::F32)))
                    },
                    |done| {
                        let mut monitor = watch.borrow_mut();
                        monitor.features(done, batches);
                        !monitor.should_stop()
                    },
                )
            })?;
            match filled {
                Filled::Kept(features) => {
                    files.extend(features.path().map(Path::to_path_buf));
                    *kept = Some(Arc::new(features));
                }
                Filled::Stopped => return Ok(None),
                Filled::Not(reason) => {
                    monitor.notice(&format!("features of frozen layers are not kept: {reason}"))
                }
            }
        }
        // Of earlier boundaries, and of weights and images that have changed.
        clean(&folder, &files);
        frozen.announce(&names[..groups], monitor);
        Ok(Some(frozen))
    }

    fn announce(&self, groups: &[crate::Group], monitor: &mut dyn Monitor) {
        let kept: Vec<&Arc<Kept>> = self.train.iter().chain(&self.valid).collect();
        let bytes: u64 = kept.iter().map(|kept| kept.size().0).sum();
        let images: usize = kept.iter().map(|kept| kept.num_images()).sum();
        let (Some(first), Some(last), Some(one)) = (groups.first(), groups.last(), kept.first())
        else {
            return;
        };
        let names = match groups.len() {
            1 => first.name.clone(),
            _ => format!("{} to {}", first.name, last.name),
        };
        monitor.notice(&format!(
            "{names}: features of {images} images are kept {}, {}",
            if one.size().1 { "in memory" } else { "on disk" },
            crate::memory::human(bytes)
        ));
    }

    /// The inputs of an epoch, counted from 1, from a batch on, counted from 0.
    pub fn epoch<'a>(
        &self,
        loader: &Loader,
        recipe: &'a Recipe,
        epoch: u64,
        from: usize,
    ) -> Inputs<'a> {
        let origin = match &self.train {
            None => Origin::Images(Box::new(loader.epoch_from(epoch, from))),
            Some(kept) => Origin::Kept {
                kept: kept.clone(),
                order: loader.order(epoch),
                next: from,
                total: loader.num_batches(),
                size: loader.config().batch_size,
            },
        };
        Inputs {
            from: origin,
            epoch,
            groups: self.groups,
            model: self.model.clone(),
            recipe,
            least: self.least,
        }
    }

    /// The inputs for validation, if they are kept; `average` says for which weights.
    pub fn validation<'a>(
        &self,
        loader: &Loader,
        recipe: &'a Recipe,
        average: bool,
    ) -> Option<Inputs<'a>> {
        let kept = self
            .valid
            .as_ref()
            .filter(|_| !average || self.average_shares)?;
        Some(Inputs {
            from: Origin::Kept {
                kept: kept.clone(),
                order: loader.order(0),
                next: 0,
                total: loader.num_batches(),
                size: loader.config().batch_size,
            },
            epoch: 1,
            groups: self.groups,
            model: None,
            recipe,
            least: self.least,
        })
    }
}

fn forward(
    model: &Fused,
    groups: usize,
    images: Tensor<4>,
    precision: Precision,
) -> Result<GroupOutput> {
    let images = images.without_autodiff().cast(precision.dtype());
    model.forward_to(images, groups)
}

/// Inputs of the part of a model that trains, in the order of an epoch.
pub(in crate::train) struct Inputs<'a> {
    from: Origin,
    epoch: u64,
    groups: usize,
    model: Option<Fused>,
    recipe: &'a Recipe,
    least: usize,
}

enum Origin {
    Images(Box<Batches>),
    Kept {
        kept: Arc<Kept>,
        order: Vec<usize>,
        next: usize,
        total: usize,
        size: usize,
    },
}

impl Inputs<'_> {
    /// Whether this was the last.
    pub fn is_empty(&self) -> bool {
        match &self.from {
            Origin::Images(images) => images.is_done(),
            Origin::Kept { next, total, .. } => next >= total,
        }
    }

    /// The next batch with what was left out of it; one without an image is not left out here.
    pub fn portion(&mut self) -> Option<Result<Portion>> {
        match &mut self.from {
            Origin::Images(images) => {
                let part = images.next_with_skipped()?;
                Some(part.and_then(|part| self.through(part)))
            }
            Origin::Kept {
                kept,
                order,
                next,
                total,
                size,
            } => {
                if next >= total {
                    return None;
                }
                let start = *next * *size;
                let indices = &order[start..(start + *size).min(order.len())];
                *next += 1;
                let (skipped, indices): (Vec<usize>, Vec<usize>) =
                    indices.iter().partition(|index| kept.lacks(**index));
                if indices.is_empty() {
                    return Some(Ok(Portion {
                        input: None,
                        skipped,
                    }));
                }
                Some(kept.batch(&indices, self.epoch).map(|(output, targets)| {
                    let labels: Vec<i64> = targets.iter().map(|label| *label as i64).collect();
                    let labels = TensorData::new(labels, [targets.len()]);
                    let input = Input {
                        output,
                        groups: self.groups,
                        labels: Tensor::from_data(labels, kept.device()),
                        targets,
                        soft: None,
                        size: None,
                    };
                    Portion {
                        input: Some(input),
                        skipped,
                    }
                }))
            }
        }
    }

    /// Runs a batch of images through the groups that do not train.
    fn through(&self, part: EpochBatch) -> Result<Portion> {
        let skipped = part.skipped;
        let input = match (part.batch, &self.model) {
            (None, _) => None,
            (Some(batch), None) => Some(batch.into()),
            (Some(batch), Some(model)) => {
                let (groups, recipe) = (self.groups, self.recipe);
                let [_, _, height, width] = batch.images.dims();
                let output = catch_out_of_memory(recipe, self.least, || {
                    forward(model, groups, batch.images, recipe.precision)
                })?;
                Some(Input {
                    output,
                    groups,
                    labels: batch.labels,
                    targets: batch.targets,
                    soft: batch.soft,
                    size: Some([height, width]),
                })
            }
        };
        Ok(Portion { input, skipped })
    }
}

impl Iterator for Inputs<'_> {
    type Item = Result<Input>;

    fn next(&mut self) -> Option<Result<Input>> {
        loop {
            match self.portion()? {
                Err(error) => return Some(Err(error)),
                Ok(portion) => {
                    if let Some(input) = portion.input {
                        return Some(Ok(input));
                    }
                }
            }
        }
    }
}

/// What features follow from: weights, images, what is done to them, and up to where.
fn key(
    moment: &Moment<'_>,
    loader: &Loader,
    model: &Classifier,
    groups: usize,
    views: usize,
) -> Result<String> {
    let recipe = moment.recipe;
    let mut hash = Sha256::new();
    hash.update(loader.data().fingerprint()?);
    let (config, info) = (loader.config(), moment.model.info());
    // The size as the run resolved it: a run that goes on knows it from the beginning.
    hash.update(format!(
        "{} {} {groups} {views} {:?} {:?} {:?} {:?} {:?} {} {}",
        env!("CARGO_PKG_VERSION"),
        info.architecture,
        recipe.image_size,
        info.resizing,
        info.normalization,
        config.augment,
        recipe.precision,
        config.seed,
        recipe.feature_cache.half,
    ));
    for (path, tensor) in params::read(model)? {
        hash.update(path);
        for value in tensor.data {
            hash.update(value.to_le_bytes());
        }
    }
    Ok(hex(&hash.finalize()))
}

/// Removes what is in the folder of features, but for these files.
fn clean(folder: &Path, keep: &[std::path::PathBuf]) {
    if keep.is_empty() {
        return remove(folder);
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if !keep.contains(&entry.path()) {
            // It costs room and nothing else if it stays.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Removes the folder of features.
pub(in crate::train) fn remove(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
}
