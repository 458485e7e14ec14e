//! What goes into the part of a model that trains: images, or what frozen groups made of them.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::GradientCheckpointingStrategy;
use burn::module::Module as _;
use burn::tensor::Tensor;

use super::features::CachedFeatures;
use crate::data::{Batch, Batches, EpochBatch, Loader, Targets};
use crate::error::Result;
use crate::infer::{BatchLogits, BatchScores, Counts, Fused};
use crate::model::{Classifier, Features, GroupOutput, TensorFn};
use crate::nn::Precision;
use crate::preprocess::ImageSize;
use crate::train::out_of_memory::catch_out_of_memory;
use crate::train::recipe::Recipe;
use crate::train::setup::Setup;

/// A batch for the part of a model that trains.
pub(in crate::train) struct ModelInput {
    features: GroupOutput,
    /// Groups that the features have gone through.
    groups: usize,
    pub targets: Targets,
    pub soft: Option<Tensor<2>>,
    /// Height and width of the images, where they are known.
    pub size: Option<[usize; 2]>,
}

/// A batch of an epoch, and what was left out of it.
pub(in crate::train) struct InputBatch {
    /// `None` if no image of it could be read.
    pub input: Option<ModelInput>,
    /// The indices of images that could not be read.
    pub skipped: Vec<usize>,
}

impl From<Batch> for ModelInput {
    fn from(batch: Batch) -> Self {
        let [_, _, height, width] = batch.images.dims();
        Self {
            size: Some([height, width]),
            features: GroupOutput::Features(Features::Map(batch.images)),
            groups: 0,
            targets: batch.targets,
            soft: batch.soft,
        }
    }
}

impl ModelInput {
    /// The groups of the parts of a model that the input goes through in micro-batches; `None` where
    /// there is nothing to cut.
    pub fn pipeline_parts(&self, setup: &Setup, model: &Classifier) -> Option<Vec<Range<usize>>> {
        let parts = model.parts_from(self.groups);
        let has_parts = setup.micro_batches > 1 && parts.len() > 1;
        let is_cut = has_parts && matches!(self.features, GroupOutput::Features(_));
        is_cut.then_some(parts)
    }

    /// The features as the input of what is recorded for a backward pass.
    pub fn onto_graph(self, recipe: &Recipe) -> GroupOutput {
        self.features.map(&OntoGraph(recipe))
    }

    /// Groups that the features have gone through.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The scores.
    pub fn forward(self, model: &Classifier, recipe: &Recipe) -> Result<Tensor<2>> {
        if let (0, GroupOutput::Features(Features::Map(images))) = (self.groups, &self.features) {
            return model.forward(images.clone().cast(recipe.precision.dtype()));
        }
        model.forward_from(self.groups, self.features.map(&OntoGraph(recipe)))
    }
}

/// Features become the input of what is recorded for a backward pass.
struct OntoGraph<'a>(&'a Recipe);

impl TensorFn for OntoGraph<'_> {
    fn apply<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        let tensor = tensor.cast(self.0.precision.dtype()).autodiff();
        if self.0.gradient_checkpointing {
            tensor.with_gradient_checkpointing_strategy(GradientCheckpointingStrategy::Balanced)
        } else {
            tensor
        }
    }
}

pub(super) struct Cast(pub Precision);

impl TensorFn for Cast {
    fn apply<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        tensor.cast(self.0.dtype())
    }
}

/// Runs images through the first groups of a model.
pub(super) fn forward_to(
    model: &Fused,
    groups: usize,
    images: Tensor<4>,
    precision: Precision,
) -> Result<GroupOutput> {
    let images = images.without_autodiff().cast(precision.dtype());
    model.forward_to(images, groups)
}

/// The inputs of an epoch, in order.
pub(in crate::train) struct Inputs<'a> {
    pub(super) source: Source,
    /// Counted from 1.
    pub(super) epoch: u64,
    pub(super) groups: usize,
    /// Those groups, where images go through them.
    pub(super) model: Option<Fused>,
    pub(super) recipe: &'a Recipe,
    pub(super) min_batch: usize,
    /// What images are brought to.
    pub(super) size: Option<ImageSize>,
}

pub(super) enum Source {
    Images(Box<Batches>),
    Cached {
        features: Arc<CachedFeatures>,
        order: Vec<usize>,
        next: usize,
        num_batches: usize,
        batch_size: usize,
    },
}

impl Source {
    /// The features of an epoch from a batch on, counted from 0.
    pub fn cached(
        features: &Arc<CachedFeatures>,
        loader: &Loader,
        epoch: u64,
        from: usize,
    ) -> Self {
        Source::Cached {
            features: features.clone(),
            order: loader.order(epoch),
            next: from,
            num_batches: loader.num_batches(),
            batch_size: loader.config().batch_size,
        }
    }
}

impl Inputs<'_> {
    /// Whether there are no more.
    pub fn is_empty(&self) -> bool {
        match &self.source {
            Source::Images(images) => images.is_done(),
            Source::Cached {
                next, num_batches, ..
            } => next >= num_batches,
        }
    }

    /// The next batch with what was left out of it, even if that is all of it.
    pub fn next_batch(&mut self) -> Option<Result<InputBatch>> {
        let (features, indices) = match &mut self.source {
            Source::Images(images) => {
                let part = images.next_with_skipped()?;
                return Some(part.and_then(|part| self.forward(part)));
            }
            Source::Cached {
                features,
                order,
                next,
                num_batches,
                batch_size,
            } => {
                if next >= num_batches {
                    return None;
                }
                let start = *next * *batch_size;
                *next += 1;
                (
                    features,
                    &order[start..(start + *batch_size).min(order.len())],
                )
            }
        };
        let (skipped, indices): (Vec<usize>, Vec<usize>) =
            indices.iter().partition(|index| features.lacks(**index));
        if indices.is_empty() {
            let input = None;
            return Some(Ok(InputBatch { input, skipped }));
        }
        let (epoch, groups) = (self.epoch, self.groups);
        Some(features.batch(&indices, epoch).map(|(values, targets)| {
            let input = Some(ModelInput {
                features: values,
                groups,
                targets,
                soft: None,
                size: None,
            });
            InputBatch { input, skipped }
        }))
    }

    /// Runs a batch of images through the groups that do not train.
    fn forward(&self, part: EpochBatch) -> Result<InputBatch> {
        let skipped = part.skipped;
        let batch = part.batch.map(|batch| batch.resized(self.size));
        let input = match (batch, &self.model) {
            (None, _) => None,
            (Some(batch), None) => Some(batch.into()),
            (Some(batch), Some(model)) => {
                let [_, _, height, width] = batch.images.dims();
                let features = catch_out_of_memory(self.recipe, self.min_batch, || {
                    forward_to(model, self.groups, batch.images, self.recipe.precision)
                })?;
                Some(ModelInput {
                    features,
                    groups: self.groups,
                    targets: batch.targets,
                    soft: batch.soft,
                    size: Some([height, width]),
                })
            }
        };
        Ok(InputBatch { input, skipped })
    }
}

impl Inputs<'_> {
    /// Compares what a model makes of all inputs with the labels. `watch` is shown each batch; if it
    /// says no, there is no result.
    pub fn evaluate(
        mut self,
        model: &Classifier,
        watch: impl FnMut(&BatchScores<'_>) -> bool,
    ) -> Result<Option<Counts>> {
        let model = model.valid();
        let precision = self.recipe.precision;
        let inputs = std::iter::from_fn(|| self.next_batch());
        let inputs = inputs.filter_map(|batch| batch.map(|batch| batch.input).transpose());
        let batches = inputs.map(|input| {
            let input = input?;
            let features = input.features.map(&Cast(precision));
            let logits = model.forward_from(input.groups, features)?;
            Ok(BatchLogits {
                logits: logits.cast(Precision::F32.dtype()),
                targets: input.targets,
            })
        });
        model.compare_with_labels(batches, watch)
    }
}
