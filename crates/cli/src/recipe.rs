//! The flags that make a recipe.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use burn_zoo::ImageSize;
use burn_zoo::data::{Sampler, Task};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::augment::Mixing;
use burn_zoo::train::{
    Checkpoints, ClassWeights, Clip, EarlyStopping, EmaConfig, FeatureCache, LossFunction, Metric,
    Per, Precision, ProgressiveSizes, RateScaling, Warmup,
};
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::flags::{Choice, count, positive, probability};
use crate::notice;

/// The recipe, and what is changed in it.
#[derive(Args)]
pub struct RecipeArgs {
    /// What trains when: full, features, gradual, fine-tune or backbone-finetuning [default: full]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Recipe::NAMES))]
    pub recipe: Option<String>,
    /// Read the recipe from a TOML file; every flag overrides it
    #[arg(long, value_name = "FILE", conflicts_with = "recipe")]
    pub config: Option<PathBuf>,
    /// Dropout before the head, in 0..1
    #[arg(long, value_name = "P", value_parser = probability)]
    pub drop_rate: Option<f64>,
    /// Stochastic depth, in 0..1
    #[arg(long, value_name = "P", value_parser = probability)]
    pub drop_path_rate: Option<f64>,
    /// Passes over the training images; with --resume, those of a finished run and those that are
    /// added in all
    #[arg(long, value_name = "N", value_parser = positive)]
    pub epochs: Option<usize>,
    /// Images that go through the model at once, or auto for the most that fit
    #[arg(long, value_name = "N|auto", value_parser = batch_size)]
    pub batch_size: Option<BatchSizeArg>,
    /// Batches whose gradients are averaged for one step
    #[arg(long, value_name = "N", value_parser = count::<65_536>)]
    pub accumulate: Option<usize>,
    /// Learning rate of the head, before the schedule
    #[arg(long, value_name = "X")]
    pub lr: Option<f64>,
    /// How rates fall from the head to the input: same, geometric:LOWEST, factor:DIVIDE, slice or
    /// layer_decay:DECAY
    #[arg(long, value_name = "RULE")]
    pub rates: Option<Rates>,
    /// Scale the rate by the images in a step: none, linear:BASE or sqrt:BASE
    #[arg(long, value_name = "RULE")]
    pub rate_scaling: Option<RateScaling>,
    /// The optimiser, with values such as sgd:momentum=0.8 or adamw:betas=0.9,0.99
    #[arg(long, value_name = "NAME", value_parser = Choice::<Optimizer>::of(&Optimizer::names()))]
    pub optimizer: Option<Optimizer>,
    /// Weight decay of weights; biases and normalisations have none
    #[arg(long, value_name = "X")]
    pub weight_decay: Option<f64>,
    /// constant, cosine, one_cycle, linear, polynomial, step:EPOCHS:GAMMA, multi_step, exponential
    /// or plateau, with values such as cosine:cycles=3
    #[arg(long, value_name = "SCHEDULE")]
    pub schedule: Option<Schedule>,
    /// Whether the rate changes with each step or each epoch
    #[arg(long, value_name = "step|epoch", value_parser = Choice::<Per>::of(Per::names()))]
    pub per: Option<Per>,
    /// Epochs of linear warm-up
    #[arg(long, value_name = "EPOCHS")]
    pub warmup: Option<f64>,
    /// What is frozen at the start: nothing, backbone, up-to:GROUP, only:GROUP,.. or
    /// matching:REGEX; the recipe's choice by default
    #[arg(long)]
    pub freeze: Option<Freeze>,
    /// How frozen parts join: never, gradual, gradual:EPOCHS, fine-tune, backbone, backbone:EPOCH,
    /// or EPOCH=FREEZE;EPOCH=FREEZE..
    #[arg(long, value_name = "RULE")]
    pub unfreeze: Option<Unfreeze>,
    /// What becomes of frozen batch normalisations; with train-affine, scale and shift train and
    /// statistics stay
    #[arg(long, value_name = "CHOICE",
        value_parser = Choice::<FrozenNorm>::of(FrozenNorm::names()))]
    pub frozen_norm: Option<FrozenNorm>,
    /// What trains of what is not frozen: none, lora:rank=R,alpha=A, bias-only or norm-only; the head in any
    /// case
    #[arg(long, value_name = "RULE")]
    pub adapt: Option<Adapt>,
    /// The layers that get adapters, by their names in timm; by default all affine layers and convolutions
    /// but those with groups and those of the first group
    #[arg(long, value_name = "REGEX")]
    pub adapt_matching: Option<String>,
    /// Clip gradients: none, norm:MAX or value:MAX
    #[arg(long, value_name = "RULE")]
    pub clip: Option<Clip>,
    /// Average the weights with this decay, and evaluate and export the average
    #[arg(long, value_name = "DECAY", value_parser = probability)]
    pub ema: Option<f64>,
    /// What training makes smaller: cross_entropy; of several labels bce or
    /// asymmetric:gamma_neg=4:gamma_pos=1:clip=0.05; of numbers mse, l1 or huber:delta=1 [default: the
    /// first of the task]
    #[arg(long, value_name = "LOSS")]
    pub loss: Option<LossFunction>,
    /// Spread this share of each target over all classes, in 0..1
    #[arg(long, value_name = "X", value_parser = probability)]
    pub label_smoothing: Option<f64>,
    /// How classes weigh in the loss: equal, balanced, or a number for each
    #[arg(long, value_name = "RULE")]
    pub class_weights: Option<ClassWeights>,
    /// Which images an epoch draws; balanced: each class as often as any other
    #[arg(long, value_name = "RULE", value_parser = Choice::<Sampler>::of(Sampler::names()))]
    pub sampler: Option<Sampler>,
    /// Random changes of the training images: none, flip-crop (small images), imagenet, trivial,
    /// rand, or a list such as random-crop:padding=2,horizontal-flip
    #[arg(long, value_name = "LIST")]
    pub augment: Option<Augment>,
    /// Mix images by mixup with this alpha
    #[arg(long, value_name = "ALPHA")]
    pub mixup: Option<f64>,
    /// Mix images by CutMix with this alpha
    #[arg(long, value_name = "ALPHA")]
    pub cutmix: Option<f64>,
    /// Sizes of the training images, each for an equal share of the epochs, such as 20,24,28: small ones at
    /// first take less time; the last is the size of the model's images
    #[arg(long, value_name = "SIZES|none")]
    pub progressive_sizes: Option<ProgressiveSizes>,
    /// Numbers that the network computes in
    #[arg(long, value_name = "TYPE", value_parser = Choice::<Precision>::of(Precision::names()))]
    pub precision: Option<Precision>,
    /// Where the output of frozen layers is kept from epoch to epoch: auto, memory, disk or off,
    /// with :f16 for half the room, and :views=N to keep N augmented views of each image
    #[arg(long, value_name = "PLACE")]
    pub feature_cache: Option<FeatureCache>,
    /// Keep fewer activations for the backward pass, and compute them twice
    #[arg(long)]
    pub gradient_checkpointing: bool,
    /// Of several ranks: batch normalisations normalise by the images of all, and not each by its own
    #[arg(long)]
    pub sync_batch_norm: bool,
    /// Stop after N epochs without improvement
    #[arg(long, value_name = "N", value_parser = positive)]
    pub early_stopping: Option<usize>,
    /// What does not count as an improvement
    #[arg(long, value_name = "X")]
    pub min_delta: Option<f64>,
    /// What makes an epoch the best
    #[arg(long, value_name = "NAME", value_parser = Choice::<Metric>::of(Metric::names()))]
    pub metric: Option<Metric>,
    /// Checkpoints that are kept: the newest N
    #[arg(long, value_name = "N", value_parser = positive)]
    pub keep_last: Option<usize>,
    /// Checkpoints that are kept beside them: those of the N best epochs
    #[arg(long, value_name = "N")]
    pub keep_best: Option<usize>,
    /// Write a checkpoint every N steps, too
    #[arg(long, value_name = "N", value_parser = positive)]
    pub checkpoint_steps: Option<usize>,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads that prepare batches
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Leave out a last training batch that is not full
    #[arg(long)]
    pub drop_last: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BatchSizeArg {
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
    /// The recipe for images of which `task` is to be told; that of the file unless it is given.
    pub fn recipe(&self, image_size: Option<ImageSize>, task: Option<Task>) -> Result<Recipe> {
        let mut recipe = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let recipe =
                    Recipe::from_toml(&text).with_context(|| path.display().to_string())?;
                let file: toml::Table = text.parse()?;
                if file.contains_key("extended") {
                    notice::tell(format!(
                        "--config {}: the epochs that were added later ([[extended]]) are left out",
                        path.display()
                    ));
                }
                recipe
            }
            None => Recipe::named(self.recipe.as_deref().unwrap_or("full"))?,
        };
        if let Some(task) = task {
            recipe = of_task(recipe, task)?;
        }
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
        let begins_free = matches!(recipe.unfreeze, Unfreeze::Never | Unfreeze::At { .. });
        if self.freeze == Some(Freeze::Nothing) && !begins_free {
            bail!(
                "--freeze: expected backbone, with which unfreeze `{}` begins, found nothing",
                recipe.unfreeze
            );
        }
        set(&mut recipe.frozen_norm, &self.frozen_norm);
        set(&mut recipe.adapt, &self.adapt);
        if self.adapt.is_some() && !matches!(recipe.adapt, Adapt::Lora(_)) {
            // A file's pattern is for the adapters that the flag replaces.
            recipe.adapt_matching = None;
        }
        recipe.adapt_matching = self.adapt_matching.clone().or(recipe.adapt_matching);
        set(&mut recipe.clip, &self.clip);
        set(&mut recipe.loss, &self.loss);
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
        set(&mut recipe.progressive_sizes, &self.progressive_sizes);
        recipe.drop_last |= self.drop_last;
        recipe.gradient_checkpointing |= self.gradient_checkpointing;
        recipe.sync_batch_norm |= self.sync_batch_norm;
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
            recipe.early_stopping = Some(EarlyStopping { patience, ..rule });
        }
        match (&mut recipe.early_stopping, self.min_delta) {
            (Some(rule), Some(least)) => rule.min_delta = least,
            (None, Some(_)) => {
                bail!("--min-delta: only with --early-stopping or a file that has it")
            }
            (_, None) => {}
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

/// A recipe for another task. What it says of loss and metric stays where it goes with the task.
fn of_task(recipe: Recipe, task: Task) -> Result<Recipe> {
    if recipe.task == task {
        return Ok(recipe);
    }
    // Unless it says so, a recipe is one of single labels.
    if recipe.task != Task::SingleLabel {
        bail!(
            "--task: expected {}, as the recipe says, found {task}",
            recipe.task
        );
    }
    let (loss, metric) = (recipe.loss, recipe.metric);
    let mut recipe = recipe.task(task);
    if loss.task() == task {
        recipe.loss = loss;
    }
    if metric.task().is_none_or(|own| own == task) {
        recipe.metric = metric;
    }
    Ok(recipe)
}
