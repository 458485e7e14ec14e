//! Watching a run, and having a say in it.

use std::io::Write as _;
use std::path::Path;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::epoch_record::EpochRecord;
use super::plan::Plan;
use super::recipe::Recipe;
use crate::data::Targets;
use crate::error::Result;
use crate::infer::Evaluation;
use crate::model::{Classifier, Freeze, params};

/// Watches a run. It may change what is frozen and end the run; what it returns as an error ends it
/// at once. All methods do nothing by default.
///
/// They are called in this order: [`run_started`](Monitor::run_started), then for each epoch
/// [`epoch_started`](Monitor::epoch_started), for each step of the optimiser
/// [`backward`](Monitor::backward) and [`step`](Monitor::step), for each batch of validation
/// [`validated`](Monitor::validated), and [`epoch_finished`](Monitor::epoch_finished), at last
/// [`run_finished`](Monitor::run_finished).
pub trait Monitor: Send {
    /// A run begins, or goes on.
    fn run_started(&mut self, run: &RunStart<'_>) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// An epoch begins.
    fn epoch_started(&mut self, epoch: &EpochStart<'_>, control: &mut Control) -> Result<()> {
        let _ = (epoch, control);
        Ok(())
    }

    /// The gradients of a step are there, clipped, and the weights not yet changed.
    fn backward(&mut self, step: &Backward<'_>) -> Result<()> {
        let _ = step;
        Ok(())
    }

    /// A step of the optimiser is done.
    fn step(&mut self, step: &StepRecord, control: &mut Control) -> Result<()> {
        let _ = (step, control);
        Ok(())
    }

    /// A batch of validation is done.
    fn validated(&mut self, batch: usize, batches: usize) {
        let _ = (batch, batches);
    }

    /// A batch of images went through the frozen part of the model, and what came out of it is
    /// kept for the epochs to come (see [`FeatureCache`](super::FeatureCache)).
    fn features(&mut self, batch: usize, batches: usize) {
        let _ = (batch, batches);
    }

    /// An epoch is done.
    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<()> {
        let _ = (epoch, control);
        Ok(())
    }

    /// The run is done.
    fn run_finished(&mut self, best: &EpochRecord) -> Result<()> {
        let _ = best;
        Ok(())
    }

    /// Something that a person should know, such as a step that was left out.
    fn notice(&mut self, text: &str) {
        let _ = text;
    }

    /// Asked after each step, each batch of validation and each batch whose features are kept:
    /// whether to write a checkpoint and stop.
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// Watches nothing.
impl Monitor for () {}

/// Writes a line for each epoch, and what a person should know.
impl Monitor for std::io::Stderr {
    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, _: &mut Control) -> Result<()> {
        let record = epoch.record;
        self.notice(&format!("{record}, {:.1} s", record.seconds));
        Ok(())
    }

    fn notice(&mut self, text: &str) {
        // A run does not end because nobody reads any more.
        let _ = writeln!(self, "{text}");
    }
}

/// What a monitor may ask for.
#[derive(Debug, Clone, Default)]
pub struct Control {
    pub(super) stop: bool,
    pub(super) freeze: Option<Freeze>,
}

impl Control {
    /// Ends the run after this step or epoch, as if it had been its last.
    pub fn stop(&mut self) {
        self.stop = true;
    }

    /// From the next step on this is frozen, whatever the recipe's schedule says.
    pub fn freeze(&mut self, freeze: Freeze) {
        self.freeze = Some(freeze);
    }
}

/// A run that begins.
pub struct RunStart<'a> {
    /// The run folder.
    pub dir: &'a Path,
    /// The recipe, with everything resolved.
    pub recipe: &'a Recipe,
    /// What trains when.
    pub plan: &'a Plan,
    /// The model.
    pub model: &'a Classifier,
    /// The first images that are trained on, as the model sees them, at most 24.
    pub images: &'a Tensor<4>,
    /// Some images for validation, at most 24.
    pub valid_images: &'a Tensor<4>,
    /// What is to be told of them.
    pub valid_targets: &'a Targets,
    /// Images for training and for validation.
    pub num_images: [usize; 2],
    /// Steps of the optimiser in an epoch.
    pub steps: usize,
    /// Epochs that were done before, if the run goes on.
    pub epochs_done: usize,
    /// Steps of the optimiser that were done before.
    pub steps_done: usize,
}

/// An epoch that begins.
pub struct EpochStart<'a> {
    /// Counted from 1.
    pub epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Steps of the optimiser in it.
    pub steps: usize,
    /// Steps of it that were done before, if the run goes on within an epoch.
    pub steps_done: usize,
    /// The model.
    pub model: &'a Classifier,
}

/// A step whose gradients are there.
pub struct Backward<'a> {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Steps of the optimiser before this one, over the whole run.
    pub global_step: usize,
    /// Whether it is the last of its epoch.
    pub last: bool,
    /// The model before the step.
    pub model: &'a Classifier,
    pub(super) gradients: &'a GradientsParams,
}

impl Backward<'_> {
    /// Every gradient: the parameter's path and the values. They cross from the device.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) if the device cannot hand them over.
    pub fn gradients(&self) -> Result<Vec<(String, Vec<f32>)>> {
        let tensors = params::gradients(self.model, self.gradients)?;
        Ok(tensors.into_iter().map(|(p, t)| (p, t.data)).collect())
    }

    /// Every parameter and running statistic: its path and the values.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) if the device cannot hand them over.
    pub fn weights(&self) -> Result<Vec<(String, Vec<f32>)>> {
        use burn::module::Module as _;
        let tensors = params::read(&self.model.valid())?;
        Ok(tensors.into_iter().map(|(p, t)| (p, t.data)).collect())
    }
}

/// An epoch that is done.
pub struct EpochEnd<'a> {
    /// Its figures.
    pub record: &'a EpochRecord,
    /// The validation, of the averaged weights if there are.
    pub evaluation: &'a Evaluation,
    /// The model that was evaluated.
    pub model: &'a Classifier,
    /// Whether it is the best so far.
    pub best: bool,
    /// Whether the run ends with it, unless the monitor ends it.
    pub last: bool,
    /// Steps of the optimiser so far.
    pub global_step: usize,
}

/// One training step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// The step of the optimiser within the epoch, counted from 1.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Steps of the optimiser over the whole run, this one included.
    pub global_step: usize,
    /// The loss of the batch.
    pub loss: f64,
    /// The learning rate of the head.
    pub learning_rate: f64,
    /// The learning rate of each group, 0 where it is frozen, in the order of [`Plan::groups`].
    pub rates: Vec<f64>,
    /// The norm of all gradients together, before clipping; `None` where nobody asked for it.
    pub gradient_norm: Option<f64>,
    /// Training images a second, since the epoch began.
    pub images_per_second: f64,
    /// Share of this epoch's images so far that were recognised, in 0..1.
    pub accuracy: f64,
}

/// Hands everything to several monitors, one after the other.
pub struct Monitors<'a>(pub Vec<Box<dyn Monitor + 'a>>);

impl Monitor for Monitors<'_> {
    fn run_started(&mut self, run: &RunStart<'_>) -> Result<()> {
        self.0.iter_mut().try_for_each(|m| m.run_started(run))
    }

    fn epoch_started(&mut self, epoch: &EpochStart<'_>, control: &mut Control) -> Result<()> {
        self.0
            .iter_mut()
            .try_for_each(|m| m.epoch_started(epoch, control))
    }

    fn backward(&mut self, step: &Backward<'_>) -> Result<()> {
        self.0.iter_mut().try_for_each(|m| m.backward(step))
    }

    fn step(&mut self, step: &StepRecord, control: &mut Control) -> Result<()> {
        self.0.iter_mut().try_for_each(|m| m.step(step, control))
    }

    fn validated(&mut self, batch: usize, batches: usize) {
        self.0.iter_mut().for_each(|m| m.validated(batch, batches));
    }

    fn features(&mut self, batch: usize, batches: usize) {
        self.0.iter_mut().for_each(|m| m.features(batch, batches));
    }

    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<()> {
        self.0
            .iter_mut()
            .try_for_each(|m| m.epoch_finished(epoch, control))
    }

    fn run_finished(&mut self, best: &EpochRecord) -> Result<()> {
        self.0.iter_mut().try_for_each(|m| m.run_finished(best))
    }

    fn notice(&mut self, text: &str) {
        self.0.iter_mut().for_each(|m| m.notice(text));
    }

    fn should_stop(&mut self) -> bool {
        // Each is asked, even when the first has decided.
        self.0
            .iter_mut()
            .fold(false, |stop, m| m.should_stop() | stop)
    }
}
