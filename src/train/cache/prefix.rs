//! The groups at the input that do not train: computed without a graph, and if possible once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module as _;
use sha2::{Digest as _, Sha256};

use super::features::{CacheRequest, CachedFeatures, Outcome};
use super::inputs::{Cast, Inputs, Source, forward_to};
use crate::data::{Loader, Shard};
use crate::error::{Error, Result};
use crate::files::{folder_of, hex};
use crate::infer::Fused;
use crate::memory;
use crate::model::{Classifier, params};
use crate::nn::Precision;
use crate::train::ema::Ema;
use crate::train::feature_cache::CachePlace;
use crate::train::monitor::Monitor;
use crate::train::out_of_memory::catch_out_of_memory;
use crate::train::progress::Progress;
use crate::train::recipe::Recipe;
use crate::train::setup::{Setup, num_frozen_groups};
use crate::train::state::PrefixState;

/// The groups from the input on that do not train, and the features that are kept of them.
#[derive(Default)]
pub(in crate::train) struct FrozenPrefix {
    groups: usize,
    /// Without a graph, and with nothing but those groups.
    model: Option<Fused>,
    train: Option<Arc<CachedFeatures>>,
    valid: Option<Arc<CachedFeatures>>,
    /// Whether the averaged weights are the same in those groups.
    average_is_equal: bool,
    min_batch: usize,
}

/// A part of the data whose features may be kept.
struct Part<'a> {
    name: &'a str,
    loader: &'a Loader,
    augmented: bool,
    /// Views of each image.
    views: usize,
    /// Whether the features are used at least a second time: else they are not worth their memory.
    is_reused: bool,
}

impl FrozenPrefix {
    /// The prefix after something was frozen or freed. `None` if the monitor asked for a stop while
    /// features were computed.
    pub fn update(
        self,
        setup: &Setup,
        progress: &mut Progress,
        dir: &Path,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<Self>> {
        let groups = num_frozen_groups(&progress.model);
        if groups == self.groups {
            // What was frozen has not changed since.
            return Ok(Some(self));
        }
        // A run that goes on keeps what it would have kept without a break.
        let now = setup.plan_step(&progress.state);
        let state = &mut progress.state;
        let known = state.prefix.filter(|prefix| prefix.groups == groups);
        let began = known.map_or(now, |prefix| prefix.began);
        state.prefix = Some(PrefixState { groups, began });
        let progress = &*progress;
        let model = &progress.model;
        // Frees memory before more is taken.
        drop(self);
        let mut prefix = Self {
            groups,
            min_batch: setup.min_batch,
            ..Self::default()
        };
        if groups == 0 {
            remove(dir);
            return Ok(Some(prefix));
        }
        let names = &model.backbone.describe().all_groups()[..groups];
        let prefixes: Vec<String> = names.iter().map(|g| g.prefix.clone()).collect();
        let own = params::only(model.valid().merge_adapters(), prefixes.clone());
        if let Some(average) = progress.ema.as_ref().map(Ema::model) {
            let average = average.clone().merge_adapters();
            let average = params::read(&params::only(average, prefixes))?;
            let own = params::read(&own)?;
            let mut both = own.iter().zip(&average);
            prefix.average_is_equal = both.all(|((_, a), (_, b))| a.data == b.data);
        }
        let own = own.fuse();
        prefix.model = Some(own.clone());

        let mut files = Vec::new();
        for (part, place) in parts(setup, progress, groups, [began, now])?
            .into_iter()
            .zip([&mut prefix.train, &mut prefix.valid])
        {
            let grows = setup.grows_after(began / setup.steps_per_epoch + 1);
            if grows && part.is_reused && part.name == "train" {
                monitor.notice(
                    "features of training images are not kept, as the images grow (progressive_sizes)",
                );
                continue;
            }
            if setup.recipe.feature_cache.place == CachePlace::Off {
                continue;
            }
            if !part.is_reused {
                if part.augmented && part.views > 0 {
                    monitor.notice(&format!(
                        "features of training images are not kept: {} views of each (feature_cache) would be used \
                         too seldom",
                        part.views
                    ));
                }
                continue;
            }
            match compute(&part, setup, &own, groups, dir, monitor)? {
                Outcome::Cached(features) => {
                    files.extend(features.path().map(Path::to_path_buf));
                    *place = Some(features);
                }
                Outcome::Stopped => return Ok(None),
                Outcome::NotCached(reason) => {
                    monitor.notice(&format!("features of frozen layers are not kept: {reason}"))
                }
            }
        }
        // Of earlier boundaries, and of weights and images that have changed.
        if files.is_empty() {
            remove(dir);
        } else if setup.feature_folder.is_none() {
            remove_others(&folder(setup, dir), &files);
        }
        prefix.announce(names, monitor);
        Ok(Some(prefix))
    }

    fn announce(&self, groups: &[crate::Group], monitor: &mut dyn Monitor) {
        let cached: Vec<&Arc<CachedFeatures>> = self.train.iter().chain(&self.valid).collect();
        let bytes: u64 = cached.iter().map(|features| features.size()).sum();
        let images: usize = cached.iter().map(|features| features.num_images()).sum();
        let (Some(first), Some(last), Some(one)) = (groups.first(), groups.last(), cached.first())
        else {
            return;
        };
        let names = match groups.len() {
            1 => first.name.clone(),
            _ => format!("{} to {}", first.name, last.name),
        };
        let place = match one.path() {
            Some(_) => "on disk",
            None => "in memory",
        };
        monitor.notice(&format!(
            "{names}: features of {images} images are kept {place}, {}",
            memory::human(bytes)
        ));
    }

    /// Whether the features of training images are kept.
    pub fn keeps_train(&self) -> bool {
        self.train.is_some()
    }

    /// Keeps them no longer.
    pub fn forget_train(&mut self) {
        self.train = None;
    }

    /// How many groups do not train.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// What gives the training images, or says in which order their features come. Of several ranks
    /// each keeps the features of images of its own: those of an epoch's share are others each time.
    pub fn loader<'a>(&self, setup: &'a Setup) -> &'a Loader {
        let own = setup.own_train.as_ref().filter(|_| self.train.is_some());
        own.unwrap_or(&setup.train)
    }

    /// Which part of the training images the loader's are.
    pub fn part(&self, setup: &Setup) -> Option<Shard> {
        let is_own = setup.own_train.is_some() && self.train.is_some();
        setup.group.shard().filter(|_| is_own)
    }

    /// The inputs of an epoch, counted from 1, from a batch on, counted from 0.
    pub fn epoch<'a>(&self, setup: &'a Setup, epoch: u64, from: usize) -> Inputs<'a> {
        let recipe = &setup.recipe;
        let source = match &self.train {
            None => Source::Images(Box::new(setup.train.epoch_from(epoch, from))),
            Some(features) => Source::cached(features, self.loader(setup), epoch, from),
        };
        Inputs {
            source,
            epoch,
            groups: self.groups,
            model: self.model.clone(),
            recipe,
            min_batch: self.min_batch,
            size: setup.train_size(epoch as usize),
        }
    }

    /// The inputs for validation, if they are kept; `averaged` says for which weights.
    pub fn validation<'a>(
        &self,
        loader: &Loader,
        recipe: &'a Recipe,
        averaged: bool,
    ) -> Option<Inputs<'a>> {
        let features = self.valid.as_ref()?;
        if averaged && !self.average_is_equal {
            return None;
        }
        Some(Inputs {
            source: Source::cached(features, loader, 0, 0),
            epoch: 1,
            groups: self.groups,
            model: None,
            recipe,
            min_batch: self.min_batch,
            size: None,
        })
    }
}

/// The parts of the data, and how often their features would be used of a prefix that began at a step.
fn parts<'a>(
    setup: &'a Setup,
    progress: &Progress,
    groups: usize,
    [began, now]: [usize; 2],
) -> Result<[Part<'a>; 2]> {
    let recipe = &setup.recipe;
    let steps = setup.steps_per_epoch;
    let end = end_of_prefix(setup, progress, now, groups)?;
    let epochs = end.saturating_sub(began) as f64 / steps as f64;
    let validations = (end / steps).saturating_sub(began / steps);
    let augmented = recipe.has_new_images();
    let views = recipe.views_to_keep();
    Ok([
        Part {
            name: "train",
            loader: setup.own_train.as_ref().unwrap_or(&setup.train),
            augmented,
            views,
            is_reused: views > 0 && epochs > 0.25 + views as f64,
        },
        Part {
            name: "valid",
            loader: &setup.valid,
            augmented: false,
            views: 1,
            is_reused: validations > 1,
        },
    ])
}

/// The step of the plan at which the groups that are frozen now may be others.
fn end_of_prefix(setup: &Setup, progress: &Progress, now: usize, groups: usize) -> Result<usize> {
    let recipe = &setup.recipe;
    let end = recipe.epochs * setup.steps_per_epoch;
    // Where a monitor said what is frozen, the plan no longer holds.
    if progress.state.freeze.is_some() {
        return Ok(end);
    }
    for (step, freeze) in setup.plan.changes() {
        if *step > now {
            let next = recipe.frozen(progress.model.clone(), freeze)?;
            if num_frozen_groups(&next) != groups {
                return Ok((*step).min(end));
            }
        }
    }
    Ok(end)
}

/// Images that go through the frozen groups at once where several runs share what comes out.
const SHARED_BATCH: usize = 64;

/// Computes the features of a part of the data.
fn compute(
    part: &Part<'_>,
    setup: &Setup,
    model: &Fused,
    groups: usize,
    dir: &Path,
    monitor: &mut dyn Monitor,
) -> Result<Outcome> {
    let recipe = &setup.recipe;
    let mut loader = part.loader.in_order(part.augmented);
    let is_shared = setup.feature_folder.is_some();
    if is_shared {
        // Whoever computes them, they are the same to the last bit, which depends on the batch.
        loader = loader.with_batch_size(SHARED_BATCH);
    }
    let path = || {
        let key = key(recipe, &loader, model.model(), groups, part.views)?;
        Ok(folder(setup, dir).join(format!("{}-{}", part.name, &key[..16])))
    };
    // Of several runs that begin at once, one computes and the others wait for it.
    let is_file = !matches!(
        recipe.feature_cache.place,
        CachePlace::Memory | CachePlace::Off
    );
    let _turn = match is_shared && is_file {
        true => match path() {
            Ok(path) => Some(take_turn(&path)?),
            // The name follows from all images: where some cannot be read, nothing is shared.
            Err(_) if setup.train.config().skip_broken => None,
            Err(error) => return Err(error),
        },
        false => None,
    };
    let device = model.model().device();
    let request = CacheRequest {
        cache: recipe.feature_cache,
        is_shared,
        loader: &loader,
        views: part.views,
        device: &device,
        ranks: setup.group.size(),
        dir,
        path: &path,
    };
    let batches = loader.num_batches() * part.views;
    catch_out_of_memory(recipe, setup.min_batch, || {
        CachedFeatures::compute(
            &request,
            |images| {
                let features = forward_to(model, groups, images, recipe.precision)?;
                Ok(features.map(&Cast(Precision::F32)))
            },
            |done| {
                monitor.features(done, batches);
                // Of several ranks, all have to hear of it first.
                !monitor.should_stop() || !setup.group.is_alone()
            },
        )
    })
}

/// What features follow from: weights, images, what is done to them, and up to where.
fn key(
    recipe: &Recipe,
    loader: &Loader,
    model: &Classifier,
    groups: usize,
    views: usize,
) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(loader.data().fingerprint()?);
    let (config, info) = (loader.config(), model.info());
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
    // Of the whole backbone it is the vector that the head gets.
    if groups == model.backbone.describe().all_groups().len() {
        hash.update(model.head.pool().timm_name());
    }
    // The same weights give something else behind another stem.
    if let Some(stem) = model.backbone.describe().changed_stem() {
        hash.update(stem.to_string());
    }
    for (path, tensor) in params::read(model)? {
        hash.update(path);
        for value in tensor.data {
            hash.update(value.to_le_bytes());
        }
    }
    Ok(hex(&hash.finalize()))
}

/// The folder of features: one that runs share, or that in a run folder.
fn folder(setup: &Setup, dir: &Path) -> PathBuf {
    match &setup.feature_folder {
        Some(shared) => shared.clone(),
        None => own_folder(dir),
    }
}

fn own_folder(dir: &Path) -> PathBuf {
    dir.join("features")
}

/// Waits until no other run computes these features. Where files cannot be locked, each computes them.
fn take_turn(features: &Path) -> Result<File> {
    let folder = folder_of(features);
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let path = features.with_extension("lock");
    let open = File::options().create(true).append(true).open(&path);
    let file = open.map_err(Error::io("write", &path))?;
    let _ = file.lock();
    Ok(file)
}

/// Removes the features in a run folder. They cost room and nothing else if they stay.
pub(in crate::train) fn remove(dir: &Path) {
    let _ = std::fs::remove_dir_all(own_folder(dir));
}

/// Removes what is in the folder of features, but for these files.
fn remove_others(folder: &Path, keep: &[PathBuf]) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if !keep.contains(&entry.path()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
