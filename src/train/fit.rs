//! The training loop.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::optim::GradientsParams;

use super::evaluate::{best, check_labels, cross_entropy, scalar};
use super::run::Log;
use super::{EpochRecord, Recipe, Run};
use crate::data::{ImageData, Loader, LoaderConfig};
use crate::error::{Error, Result};
use crate::features::host_vec;
use crate::model::{Classifier, InputSize};

/// Watches a run, and may end it.
pub trait Observer {
    /// An epoch begins. `epoch` counts from 1.
    fn epoch_started(&mut self, epoch: usize, epochs: usize, steps: usize) {
        let _ = (epoch, epochs, steps);
    }

    /// A training step is done.
    fn step(&mut self, step: &StepRecord) {
        let _ = step;
    }

    /// A batch of validation is done.
    fn validated(&mut self, batch: usize, batches: usize) {
        let _ = (batch, batches);
    }

    /// An epoch is done, and its checkpoint written.
    fn epoch_finished(&mut self, record: &EpochRecord) {
        let _ = record;
    }

    /// Asked after each step: whether to write a checkpoint and stop.
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {}

/// One training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepRecord {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// The step within the epoch, counted from 1.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Cross-entropy of the batch.
    pub loss: f64,
    /// The learning rate.
    pub learning_rate: f64,
}

/// What a run may do beside training.
#[derive(Debug, Clone, Default)]
pub struct FitOptions {
    /// Where the images come from, in words; written into `config.toml`.
    pub data: String,
    /// Replaces an old run in the same folder.
    pub overwrite: bool,
}

pub(super) fn fit(
    recipe: &Recipe,
    model: Classifier,
    train: Arc<dyn ImageData>,
    valid: Arc<dyn ImageData>,
    dir: &Path,
    options: FitOptions,
    observer: &mut dyn Observer,
) -> Result<Run> {
    recipe.validate()?;
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
    let mut model = model
        .freeze_with(&recipe.freeze, recipe.frozen_norm)?
        .train();
    if model.num_classes() == train.classes().len() {
        model = model.with_classes(train.classes().to_vec())?;
    }
    if model.trainable_parameters().is_empty() {
        return Err(Error::argument(
            "freeze",
            "something that is left to train",
            recipe.freeze.to_string(),
        ));
    }
    let mut optimizer = recipe.optimizer(&model)?;
    let device = model.device();
    device.seed(recipe.seed);

    // What it sees.
    let size = match model.backbone.input_size() {
        InputSize::Exactly(size) => Some(recipe.image_size.unwrap_or(size)),
        InputSize::AtLeast(_) => recipe.image_size,
    };
    let preprocess = model.preprocess(size);
    let config = LoaderConfig {
        batch_size: recipe.batch_size,
        shuffle: None,
        drop_last: false,
        workers: recipe.workers,
    };
    let training = LoaderConfig {
        shuffle: Some(recipe.seed),
        drop_last: recipe.drop_last,
        ..config.clone()
    };
    let images = [train.len(), valid.len()];
    let train = Loader::new(train, preprocess.clone(), training, &device)?;
    let valid = Loader::new(valid, preprocess, config, &device)?;
    let model_size = check_fit(&model, &train)?;
    check_fit(&model, &valid)?;
    // What the model was tuned at goes with it, so that it is used at the same size.
    model.set_image_size(model_size);

    let mut log = Log::create(dir, options.overwrite)?;
    let resolved = Recipe {
        image_size: model_size,
        ..recipe.clone()
    };
    log.start(&resolved, &model, &options.data, images)?;
    let steps = train.num_batches();
    for epoch in 1..=recipe.epochs {
        let started = Instant::now();
        observer.epoch_started(epoch, recipe.epochs, steps);
        let mut seen = Seen::default();
        let mut learning_rate = recipe.learning_rate;

        for (index, batch) in train.epoch(epoch as u64).enumerate() {
            let batch = batch?;
            // A normalisation has nothing to learn from one value, which is what a single image of
            // 28 pixels comes down to; PyTorch refuses such a batch.
            if batch.targets.len() == 1 && steps > 1 {
                continue;
            }
            check_labels(&batch.targets, model.num_classes())?;
            learning_rate = recipe.rate_at((epoch - 1) * steps + index, steps);

            let logits = model.forward(batch.images)?;
            let loss = cross_entropy(logits.clone(), batch.labels);
            let value = scalar(loss.clone().detach())?;
            if !value.is_finite() {
                return Err(Error::Diverged {
                    loss: value,
                    epoch,
                    step: index + 1,
                    learning_rate,
                });
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(learning_rate, model, gradients);

            seen.add(value, &host_vec(logits.into_data())?, &batch.targets);
            observer.step(&StepRecord {
                epoch,
                step: index + 1,
                steps,
                loss: value,
                learning_rate,
            });
            if observer.should_stop() {
                return Err(interrupted(&log, &model));
            }
        }

        let batches = valid.num_batches();
        let result = model.evaluate_while(&valid, |batch| {
            observer.validated(batch, batches);
            !observer.should_stop()
        })?;
        let Some(result) = result else {
            return Err(interrupted(&log, &model));
        };
        if !result.loss.is_finite() {
            return Err(Error::Diverged {
                loss: result.loss,
                epoch,
                step: steps,
                learning_rate,
            });
        }
        let record = EpochRecord {
            epoch,
            train_loss: seen.loss(),
            train_accuracy: seen.accuracy(),
            valid_loss: result.loss,
            valid_accuracy: result.accuracy,
            valid_top5_accuracy: result.top5_accuracy,
            learning_rate,
            seconds: started.elapsed().as_secs_f64(),
        };
        log.epoch(record.clone(), &model.valid())?;
        observer.epoch_finished(&record);
    }
    log.finish()
}

/// Keeps what there is, and says where.
fn interrupted(log: &Log, model: &Classifier) -> Error {
    match model.export(log.last()) {
        Ok(()) => Error::Interrupted {
            checkpoint: Some(log.last()),
        },
        Err(error) => error,
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

/// What an epoch's training images gave.
#[derive(Default)]
struct Seen {
    images: usize,
    right: usize,
    loss: f64,
}

impl Seen {
    fn add(&mut self, loss: f64, scores: &[f32], labels: &[usize]) {
        let classes = scores.len() / labels.len().max(1);
        let rows = scores.chunks_exact(classes.max(1));
        self.right += rows
            .zip(labels)
            .filter(|(row, label)| best(row) == **label)
            .count();
        self.images += labels.len();
        self.loss += loss * labels.len() as f64;
    }

    fn loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }

    fn accuracy(&self) -> f64 {
        self.right as f64 / self.images.max(1) as f64
    }
}
