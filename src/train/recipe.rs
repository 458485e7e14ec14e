//! How a model is fine-tuned, as plain data.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ema::EmaConfig;
use super::feature_cache::FeatureCache;
use super::gradients::Clip;
use super::loss::ClassWeights;
use super::loss_function::LossFunction;
use super::optimizer::Optimizer;
use super::progressive::ProgressiveSizes;
use super::rates::{RateScaling, Rates};
use super::schedule::{Per, Schedule, Warmup};
use super::stopping::{EarlyStopping, Metric};
use super::unfreeze::Unfreeze;
use crate::data::{Sampler, Task};
use crate::error::{Error, Result};
use crate::model::{Adapt, Classifier, Freeze, FrozenNorm, freeze, in_head, low_rank, params};
use crate::nn::Precision;
use crate::preprocess::ImageSize;
use crate::preprocess::augment::{Augment, Mixing};
use crate::text;

/// A recipe: what trains, for how long, and how fast.
///
/// ```
/// use burn_zoo::prelude::*;
///
/// let recipe = Recipe::full().epochs(9).learning_rate(9.3e-4).batch_size(32);
/// assert_eq!(recipe.epochs, 9);
/// ```
///
/// Every field is public, and every recipe can be written to and read from TOML
/// ([`to_toml`](Recipe::to_toml), [`from_toml`](Recipe::from_toml)).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Recipe {
    /// What is frozen when the run starts.
    pub freeze: Freeze,
    /// What becomes of frozen batch normalisations.
    pub frozen_norm: FrozenNorm,
    /// The layers that get adapters, by a regular expression for their names in timm; `None` for all
    /// that [`Classifier::with_lora`](crate::Classifier::with_lora) takes by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapt_matching: Option<String>,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images that go through the model at once.
    pub batch_size: usize,
    /// Batches whose gradients are averaged for one step of the optimiser.
    pub accumulate: usize,
    /// The learning rate of the head before the schedule.
    pub learning_rate: f64,
    /// Weight decay, for weights of rank two and more.
    pub weight_decay: f64,
    /// Height and width of the images; `None` leaves them as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<ImageSize>,
    /// Sizes of the training images over the run; the last is [`image_size`](Self::image_size). Small images
    /// at first make a run shorter, which is known as progressive resizing. Batches are brought to the size
    /// after augmentation. Validation always sees the last size, and so do epochs that are added to the
    /// run.
    #[serde(skip_serializing_if = "ProgressiveSizes::is_none")]
    pub progressive_sizes: ProgressiveSizes,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Leaves out a last training batch that is not full. A last batch of a single image is left
    /// out in any case where a batch normalisation that trains would get one value per channel from
    /// it (see [`Error::SingleValue`]).
    pub drop_last: bool,
    /// Seed of the order of the images and of everything random in training.
    pub seed: u64,
    /// Whether the rate changes at each step or at each epoch.
    pub per: Per,
    /// In which order, and how often, images are seen.
    pub sampler: Sampler,
    /// How much of each target is spread over all classes, in 0..1.
    pub label_smoothing: f64,
    /// How classes weigh in the loss.
    #[serde(deserialize_with = "text::deserialize::<_, ClassWeights, _>")]
    pub class_weights: ClassWeights,
    /// Dropout before the head; `None` leaves the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_rate: Option<f64>,
    /// Stochastic depth, its rate at the last block; `None` leaves the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_path_rate: Option<f64>,
    /// In which numbers the network computes.
    pub precision: Precision,
    /// Computes activations that need much memory and little time a second time in the backward
    /// pass instead of keeping them.
    pub gradient_checkpointing: bool,
    /// Of several ranks that train together: batch normalisations normalise by the images of all of
    /// them, as PyTorch's `SyncBatchNorm`, and not each by its own. On the CPU only.
    #[serde(skip_serializing_if = "is_false")]
    pub sync_batch_norm: bool,
    /// Whether and where the output of frozen layers is kept from epoch to epoch.
    #[serde(serialize_with = "text::serialize")]
    #[serde(deserialize_with = "text::deserialize::<_, FeatureCache, _>")]
    pub feature_cache: FeatureCache,
    /// What is to be told of images; the data has to be of that kind.
    #[serde(skip_serializing_if = "is_default")]
    pub task: Task,
    /// What training makes smaller; one of the task.
    #[serde(skip_serializing_if = "is_default")]
    #[serde(deserialize_with = "text::deserialize::<_, LossFunction, _>")]
    pub loss: LossFunction,
    /// What makes an epoch the best.
    pub metric: Metric,
    /// Random changes of the training images.
    pub augment: Augment,
    /// Mixing of training images with each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixing: Option<Mixing>,
    /// Which parameters train of what is not frozen.
    #[serde(skip_serializing_if = "Adapt::is_none")]
    #[serde(deserialize_with = "text::deserialize::<_, Adapt, _>")]
    pub adapt: Adapt,
    /// How frozen parts join, and at which rate.
    #[serde(deserialize_with = "text::deserialize::<_, Unfreeze, _>")]
    pub unfreeze: Unfreeze,
    /// How the rate falls from the head to the input.
    #[serde(deserialize_with = "text::deserialize::<_, Rates, _>")]
    pub rates: Rates,
    /// The optimiser.
    #[serde(deserialize_with = "text::deserialize::<_, Optimizer, _>")]
    pub optimizer: Optimizer,
    /// The schedule of the learning rate.
    #[serde(deserialize_with = "text::deserialize::<_, Schedule, _>")]
    pub schedule: Schedule,
    /// The linear rise of the learning rate at the beginning.
    pub warmup: Warmup,
    /// Scaling of the rate by the number of images in a step.
    #[serde(deserialize_with = "text::deserialize::<_, RateScaling, _>")]
    pub rate_scaling: RateScaling,
    /// How large gradients are kept from doing harm.
    #[serde(deserialize_with = "text::deserialize::<_, Clip, _>")]
    pub clip: Clip,
    /// An average of the weights, which is evaluated and exported in their place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaConfig>,
    /// When the run ends before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Which checkpoints are kept.
    pub checkpoints: Checkpoints,
}

/// Which checkpoints are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table such as { last = 1, best = 1 }"
)]
pub struct Checkpoints {
    /// The newest so many.
    pub last: usize,
    /// Beside them, those of the so many best epochs.
    pub best: usize,
    /// Also within an epoch, after every so many steps of the optimiser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_steps: Option<usize>,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self {
            last: 1,
            best: 0,
            every_steps: None,
        }
    }
}

impl Default for Recipe {
    fn default() -> Self {
        Self::full()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks
fn is_false(value: &bool) -> bool {
    !value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A setter for each field that is set most often.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($field:ident: $type:ty);)+) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $field: $type) -> Self {
            self.$field = $field.into();
            self
        }
    )+};
}

impl Recipe {
    fn new(freeze: Freeze) -> Self {
        Self {
            freeze,
            frozen_norm: FrozenNorm::default(),
            adapt_matching: None,
            epochs: 9,
            batch_size: 64,
            accumulate: 1,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            image_size: None,
            progressive_sizes: ProgressiveSizes::default(),
            workers: 1,
            drop_last: false,
            seed: 42,
            per: Per::default(),
            sampler: Sampler::default(),
            label_smoothing: 0.0,
            class_weights: ClassWeights::default(),
            drop_rate: None,
            drop_path_rate: None,
            precision: Precision::default(),
            gradient_checkpointing: false,
            sync_batch_norm: false,
            feature_cache: FeatureCache::default(),
            task: Task::default(),
            loss: LossFunction::default(),
            metric: Metric::default(),
            augment: Augment::default(),
            mixing: None,
            adapt: Adapt::None,
            unfreeze: Unfreeze::default(),
            rates: Rates::default(),
            optimizer: Optimizer::adam(),
            schedule: Schedule::Constant,
            warmup: Warmup::default(),
            rate_scaling: RateScaling::default(),
            clip: Clip::default(),
            ema: None,
            early_stopping: None,
            checkpoints: Checkpoints::default(),
        }
    }

    /// Everything trains: nine epochs of Adam at 1e-3 in batches of 64.
    pub fn full() -> Self {
        Self::new(Freeze::Nothing)
    }

    /// The backbone is frozen, its normalisations included, and the head trains: nine epochs of
    /// Adam at 1e-3 in batches of 64.
    pub fn feature_extraction() -> Self {
        Self::new(Freeze::Backbone)
    }

    /// Gradual unfreezing (Howard & Ruder, "ULMFiT", 2018, <https://arxiv.org/abs/1801.06146>): the
    /// head trains first, then one group more joins from the top, spread evenly over the run, each
    /// with a rate 2.6 times smaller than that of the group above it, under one cosine.
    pub fn gradual() -> Self {
        Self {
            unfreeze: Unfreeze::Gradual { every: None },
            rates: Rates::Factor { divide: 2.6 },
            schedule: Schedule::cosine(),
            ..Self::new(Freeze::Backbone)
        }
    }

    /// fastai's `fine_tune(8, base_lr=2e-3, freeze_epochs=1, lr_mult=100, pct_start=0.3, div=5)`:
    /// one epoch of a one-cycle schedule with a frozen body (the scales and shifts
    /// of its normalisations train on, as fastai's do), then eight of another one at half the rate
    /// with everything free, whose rates fall geometrically to a hundredth over three groups of
    /// layers; Adam with decoupled weight decay 0.01, as in fastai. `epochs` counts both phases.
    ///
    /// Rates, momentum and what trains are fastai's to the last digit. Two things differ: the running
    /// statistics of frozen normalisations do not move here, and the head is the model's own, where
    /// fastai builds a larger one.
    pub fn fine_tune() -> Self {
        Self {
            learning_rate: 2e-3,
            weight_decay: 0.01,
            frozen_norm: FrozenNorm::TrainAffine,
            unfreeze: Unfreeze::fine_tune(),
            optimizer: Optimizer::AdamW {
                betas: [0.9, 0.99],
                epsilon: 1e-5,
            },
            ..Self::new(Freeze::Backbone)
        }
    }

    /// Lightning's `BackboneFinetuning`: the head trains alone until the backbone joins at the
    /// tenth epoch (counted from 0) at a tenth of the head's rate, which doubles each epoch until
    /// it has reached the head's. Twenty epochs; a run has to be longer than the backbone waits.
    /// Lightning trains frozen batch normalisations on by default; here
    /// [`FrozenNorm::TrainAffine`] asks for that.
    pub fn backbone_finetuning() -> Self {
        Self {
            unfreeze: Unfreeze::backbone_finetuning(),
            epochs: 20,
            ..Self::new(Freeze::Backbone)
        }
    }

    /// The recipe of a name: `full`, `features`, `gradual`, `fine-tune` or `backbone-finetuning`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for another name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "full" => Ok(Self::full()),
            "features" => Ok(Self::feature_extraction()),
            "gradual" => Ok(Self::gradual()),
            "fine-tune" => Ok(Self::fine_tune()),
            "backbone-finetuning" => Ok(Self::backbone_finetuning()),
            _ => Err(Error::argument(
                "recipe",
                Self::NAMES.join(", "),
                format!("`{name}`"),
            )),
        }
    }

    /// What [`named`](Self::named) knows.
    pub const NAMES: [&str; 5] = [
        "full",
        "features",
        "gradual",
        "fine-tune",
        "backbone-finetuning",
    ];

    /// Says what is to be told of images, and takes the usual loss and metric for it: cross-entropy and
    /// accuracy, binary cross-entropy and mean average precision, the mean squared error and its root.
    #[must_use]
    pub fn task(mut self, task: Task) -> Self {
        self.task = task;
        self.loss = LossFunction::of(task);
        self.metric = Metric::of_task(task);
        self
    }

    /// Brings the images to this height and width, or to this many pixels on both sides.
    pub fn image_size(mut self, image_size: impl Into<ImageSize>) -> Self {
        self.image_size = Some(image_size.into());
        self
    }

    /// Sets the layers that get adapters, by a regular expression for their names in timm.
    pub fn adapt_matching(mut self, pattern: impl Into<String>) -> Self {
        self.adapt_matching = Some(pattern.into());
        self
    }

    setters! {
        /// Sets what training makes smaller.
        loss(loss: LossFunction);
        /// Sets what is frozen when the run starts.
        freeze(freeze: Freeze);
        /// Sets what becomes of frozen batch normalisations.
        frozen_norm(frozen_norm: FrozenNorm);
        /// Sets which parameters train of what is not frozen.
        adapt(adapt: Adapt);
        /// Sets the number of epochs.
        epochs(epochs: usize);
        /// Sets the images that go through the model at once.
        batch_size(batch_size: usize);
        /// Sets the batches whose gradients are averaged for one step.
        accumulate(accumulate: usize);
        /// Sets the learning rate before the schedule.
        learning_rate(learning_rate: f64);
        /// Sets the weight decay.
        weight_decay(weight_decay: f64);
        /// Sets the optimiser.
        with_optimizer(optimizer: Optimizer);
        /// Sets the schedule of the learning rate.
        schedule(schedule: Schedule);
        /// Sets the linear rise of the learning rate at the beginning.
        warmup(warmup: impl Into<Warmup>);
        /// Sets the threads that prepare batches.
        workers(workers: usize);
        /// Leaves out a last training batch that is not full.
        drop_last(drop_last: bool);
        /// Sets the seed.
        seed(seed: u64);
        /// Sets how frozen parts join.
        unfreeze(unfreeze: Unfreeze);
        /// Sets how the rate falls from the head to the input.
        rates(rates: Rates);
        /// Sets the random changes of the training images.
        augment(augment: Augment);
        /// Makes the training images grow over the run.
        progressive_sizes(progressive_sizes: impl Into<ProgressiveSizes>);
        /// Mixes training images with each other.
        mixing(mixing: Mixing);
        /// Sets how much of each target is spread over all classes.
        label_smoothing(label_smoothing: f64);
        /// Sets how classes weigh in the loss.
        class_weights(class_weights: ClassWeights);
        /// Sets the order of the images.
        sampler(sampler: Sampler);
        /// Sets how large gradients are kept from doing harm.
        clip(clip: Clip);
        /// Averages the weights.
        ema(ema: EmaConfig);
        /// Ends the run before its time.
        early_stopping(early_stopping: EarlyStopping);
        /// Sets what makes an epoch the best.
        metric(metric: Metric);
        /// Sets which checkpoints are kept.
        checkpoints(checkpoints: Checkpoints);
        /// Sets in which numbers the network computes.
        precision(precision: Precision);
        /// Keeps fewer activations for the backward pass.
        gradient_checkpointing(gradient_checkpointing: bool);
        /// Normalises by the images of all ranks.
        sync_batch_norm(sync_batch_norm: bool);
        /// Sets whether and where the output of frozen layers is kept.
        feature_cache(feature_cache: FeatureCache);
        /// Sets the dropout before the head.
        drop_rate(drop_rate: f64);
        /// Sets the rate of stochastic depth.
        drop_path_rate(drop_path_rate: f64);
    }

    /// Whether training images are ever mixed with each other.
    pub(super) fn mixes(&self) -> bool {
        self.mixing.as_ref().is_some_and(Mixing::is_active)
    }

    /// Whether training images differ from epoch to epoch.
    pub(super) fn has_new_images(&self) -> bool {
        !self.augment.is_none() || self.mixes()
    }

    /// Views of each training image of which features may be kept.
    pub(super) fn views_to_keep(&self) -> usize {
        if self.has_new_images() {
            self.feature_cache.views
        } else {
            1
        }
    }

    /// The model as this recipe trains it: with fresh adapters if the recipe asks for some and the model has
    /// none, and nothing else of the backbone free than what [`adapt`](Self::adapt) says. [`fit`](Self::fit)
    /// begins with it; a loop of your own does before it asks for [`plan`](Self::plan) and
    /// [`optimizer`](Self::optimizer).
    ///
    /// # Errors
    /// As [`Classifier::with_lora`](crate::Classifier::with_lora), and [`Error::InvalidArgument`] for a
    /// model with other adapters or a pattern that no adapters are made by.
    pub fn adapted(&self, model: Classifier) -> Result<Classifier> {
        self.check_adapt()?;
        let model = match (self.adapt, model.lora()) {
            (Adapt::None, None) => return Ok(model),
            (Adapt::Lora(lora), None) => {
                model.with_lora(lora, self.adapt_matching.as_deref(), self.seed)?
            }
            (Adapt::Lora(lora), Some(own)) if lora == own => {
                self.check_adapted_layers(&model)?;
                model
            }
            (_, None) => model,
            (adapt, Some(own)) => {
                let own = Adapt::Lora(own);
                let expected = format!(
                    "{own}, which the model has; merge_adapters() or without_adapters() gives one \
                     without adapters"
                );
                return Err(Error::argument("adapt", expected, adapt));
            }
        };
        let params = params::list(&model);
        let of_kind = freeze::of_kind(&model, &params, self.adapt);
        if of_kind.iter().all(|param| in_head(&param.path)) {
            let expected = format!(
                "something that {} has beside its head",
                model.info().architecture
            );
            return Err(Error::argument("adapt", expected, self.adapt));
        }
        self.frozen(model, &Freeze::Nothing)
    }

    /// Refuses a pattern for other layers than those of which the model has adapters.
    fn check_adapted_layers(&self, model: &Classifier) -> Result<()> {
        let Some(pattern) = &self.adapt_matching else {
            return Ok(());
        };
        let own = low_rank::adapted(model).into_iter().map(|p| p.path);
        let own: BTreeSet<String> = own.collect();
        let wanted = model.lora_layers(Some(pattern))?.weights;
        if own != wanted.into_iter().collect() {
            let expected = "one that matches the layers of the model that have adapters";
            return Err(Error::argument("adapt_matching", expected, pattern));
        }
        Ok(())
    }

    /// The model with what is frozen at some time of a run.
    pub(super) fn frozen(&self, model: Classifier, freeze: &Freeze) -> Result<Classifier> {
        model.freeze_for(freeze, self.frozen_norm, self.adapt)
    }

    /// Images in one step of the optimiser.
    pub fn effective_batch(&self) -> usize {
        self.batch_size * self.accumulate
    }
}
