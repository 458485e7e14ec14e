//! One step of the optimiser: freezing, gradients, update.

use std::collections::HashSet;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::batch_norm_check::{single_value_error, single_value_norms};
use super::cache::inputs::{Inputs, ModelInput};
use super::gradients::{Clip, accumulate, clip_gradients, gradient_norm, scale};
use super::growth::Growth;
use super::model_optimizer::ModelOptimizer;
use super::monitor::{Backward, StepRecord};
use super::out_of_memory::catch_out_of_memory;
use super::parallel::{LocalStep, Reduction, StepReport, with_gradient};
use super::pipeline::Pipeline;
use super::plan::StepRates;
use super::segments::{self, HandOver, Segments};
use super::setup::Setup;
use super::state::TrainTotals;
use super::training::Training;
use crate::data::{Batch, Targets, Task};
use crate::error::Result;
use crate::infer::{best, scalar};
use crate::memory;
use crate::model::{Classifier, Freeze, host_vec};
use crate::nn::{Precision, noise, norm_sync};

/// The mean over the batches of a step.
pub(super) struct StepGradients {
    gradients: GradientsParams,
    loss: f64,
    rates: StepRates,
    /// The norm of all gradients, if somebody asks for it: it is read from the device.
    norm: Option<f64>,
}

/// The sums over a rank's batches of a step.
#[derive(Default)]
struct StepBatches<'a> {
    gradients: GradientsParams,
    loss: f64,
    batches: usize,
    /// Gradients that are on their way to their sums over all ranks, and the parameters of which they are.
    handed_over: Option<Reduction<'a>>,
    present: HashSet<ParamId>,
}

impl<'a> Training<'a> {
    /// What is frozen from the next step on, if that is not what is frozen now.
    pub fn next_freeze(&mut self) -> Result<Option<Freeze>> {
        let (setup, state) = (self.setup, &self.progress.state);
        let freeze = setup.freeze_at(setup.plan_step(state), state)?;
        if self.frozen.as_ref() == Some(&freeze) {
            return Ok(None);
        }
        // A run that goes on begins with what was frozen before: that is no change.
        self.freeze_changed |=
            self.frozen.is_some() || setup.freeze_at(setup.last_plan_step(state), state)? != freeze;
        Ok(Some(freeze))
    }

    /// Freezes and frees, and computes the features of what does not train any more.
    pub fn freeze(&mut self, freeze: Freeze) -> Result<()> {
        let setup = self.setup;
        // Of what is frozen now all ranks keep the same statistics.
        self.take_statistics()?;
        self.progress.freeze(&freeze, &setup.recipe)?;
        self.frozen = Some(freeze);
        self.single_image_sizes.clear();
        let prefix = std::mem::take(&mut self.prefix);
        // What the phase before held goes back to the device.
        setup.device.memory_cleanup();
        let dir = self.folder.path();
        match prefix.update(setup, &mut self.progress, dir, self.monitor) {
            Ok(Some(mut prefix)) => {
                // Where one cannot keep its features, all go by the order of all images.
                let kept = setup.group.exchange("features", prefix.keeps_train())?;
                if kept.contains(&false) {
                    prefix.forget_train();
                }
                self.prefix = prefix;
                Ok(())
            }
            Ok(None) => Err(self.interrupted()),
            Err(error) => Err(self.checkpoint_if_unreadable(error)),
        }
    }

    /// The gradients of the next step, averaged over its batches and over all ranks. `None` if there is
    /// nothing to learn from in its first batch: the step then begins with a later one, for which the
    /// plan is asked anew.
    pub fn accumulate_gradients(
        &mut self,
        inputs: &mut Inputs<'_>,
    ) -> Result<Option<StepGradients>> {
        let setup = self.setup;
        let recipe = &setup.recipe;
        let state = &self.progress.state;
        let rates = setup.rates_at(setup.plan_step(state), state);
        let loss_scale = match recipe.precision {
            Precision::F16 => state.loss_scale.factor(),
            _ => 1.0,
        };
        let before = state.totals;
        let Some(batches) = self.accumulate_batches(inputs, loss_scale)? else {
            return Ok(None);
        };
        let StepBatches {
            mut gradients,
            loss,
            batches,
            handed_over,
            present,
        } = batches;
        let divisor = batches as f64 * loss_scale;
        if divisor != 1.0 && batches > 0 {
            scale(&self.progress.model, &mut gradients, 1.0 / divisor);
        }
        let mut loss = loss / batches as f64;
        if !setup.group.is_alone() {
            let local = LocalStep {
                gradients,
                handed_over,
                present,
                is_weighted: setup.statistics_sync().is_some(),
            };
            match self.average_over_ranks(local, loss, before)? {
                Some(mean) => (loss, gradients) = mean,
                None => return Ok(None),
            }
        }
        if !loss.is_finite() {
            return Err(self.diverged(loss, Some(self.progress.state.batches), &rates));
        }
        let is_shown = (self.progress.state.steps + 1).is_multiple_of(10);
        let is_needed =
            matches!(recipe.clip, Clip::Norm { .. }) || recipe.precision == Precision::F16;
        let norm = (is_shown || is_needed)
            .then(|| gradient_norm(&self.progress.model, &gradients))
            .transpose()?;
        Ok(Some(StepGradients {
            gradients,
            loss,
            rates,
            norm,
        }))
    }

    /// The sums over this rank's batches of a step.
    fn accumulate_batches(
        &mut self,
        inputs: &mut Inputs<'_>,
        loss_scale: f64,
    ) -> Result<Option<StepBatches<'a>>> {
        let setup = self.setup;
        let recipe = &setup.recipe;
        let is_alone = setup.group.is_alone();
        let mut start = (recipe.accumulate > 1).then(|| self.progress.step_start());
        let mut step = StepBatches::default();
        let mut taken = 0;
        while taken < recipe.accumulate
            && let Some(batch) = inputs.next_batch()
        {
            let batch = batch.map_err(|error| {
                if let Some(start) = start.take() {
                    self.progress.restore(start);
                }
                self.checkpoint_if_unreadable(error)
            })?;
            let loader = self.prefix.loader(setup);
            let state = &mut self.progress.state;
            state.batches += 1;
            let part = self.prefix.part(setup);
            self.reported
                .in_batch(loader, part, batch.skipped, state, self.monitor);
            let input = match batch.input {
                Some(input) if self.can_train_on(&input)? => Some(input),
                _ => None,
            };
            if self.overlaps() {
                taken += 1;
                step = self.backward_and_sum(input, loss_scale)?;
                continue;
            }
            let Some((input, weight)) = self.with_all_ranks(input)? else {
                if is_alone && step.batches == 0 {
                    return Ok(None);
                }
                // Ranks stay in step, whatever they have.
                taken += usize::from(!is_alone);
                continue;
            };
            taken += 1;
            let (batch_loss, batch_gradients) = self.backward(input, weight * loss_scale, None)?;
            if is_alone && !batch_loss.is_finite() {
                step.loss = batch_loss;
                step.batches = 1;
                return Ok(Some(step));
            }
            accumulate(&self.progress.model, &mut step.gradients, batch_gradients);
            step.loss += batch_loss;
            step.batches += 1;
        }
        drop(start);
        Ok((step.batches > 0 || !is_alone).then_some(step))
    }

    /// Whether a batch is not one image from which a batch normalisation would get one value per
    /// channel; PyTorch refuses such a batch.
    fn can_train_on(&mut self, input: &ModelInput) -> Result<bool> {
        let size = input.size.unwrap_or(self.setup.image_size);
        if input.targets.len() != 1 || self.single_image_sizes.contains(&size) {
            return Ok(true);
        }
        let model = &self.progress.model;
        let layers = single_value_norms(model, size)?;
        let Some(layer) = layers.first() else {
            self.single_image_sizes.insert(size);
            return Ok(true);
        };
        let batch = self.progress.state.batches;
        if self.setup.recipe.batch_size == 1 {
            let situation = format!("batch_size 1, batch {batch}");
            return Err(single_value_error(model, &layers, size, situation));
        }
        if !self.reported_single_image {
            self.monitor.notice(&format!(
                "batch {batch} of epoch {} is left out: it has one image, which would give \
                 `{layer}` one value per channel; further ones are left out likewise",
                self.epoch_number()
            ));
            self.reported_single_image = true;
        }
        Ok(false)
    }

    /// One batch: its loss, and the gradients of the loss times `loss_scale`, unless they are handed over
    /// group by group.
    fn backward(
        &mut self,
        input: ModelInput,
        loss_scale: f64,
        hand_over: Option<HandOver<'_>>,
    ) -> Result<(f64, GradientsParams)> {
        let (setup, epoch) = (self.setup, self.epoch_number());
        input.targets.check(self.progress.model.num_classes())?;
        // Dropout is the same whether or not the run was interrupted before.
        let mut stream = format!("noise {epoch} {}", self.progress.state.batches);
        if !setup.group.leads() {
            stream += &format!(" rank {}", setup.group.rank());
        }
        let model = &self.progress.model;
        let totals = &mut self.progress.state.totals;
        noise::with(setup.recipe.seed, &stream, || {
            norm_sync::with(setup.statistics_sync(), || {
                catch_out_of_memory(&setup.recipe, setup.min_batch, || {
                    forward_backward(setup, model, loss_scale, totals, input, &stream, hand_over)
                })
            })
        })
    }

    /// Whether gradients are summed over the ranks while the backward pass goes on: not those of several
    /// batches, which are summed once.
    fn overlaps(&self) -> bool {
        self.setup.group.overlaps() && self.setup.recipe.accumulate == 1
    }

    /// A step's one batch, whose gradients go to their sums group by group. A rank that can learn from none
    /// of its images hands over zeros.
    fn backward_and_sum(
        &mut self,
        input: Option<ModelInput>,
        loss_scale: f64,
    ) -> Result<StepBatches<'a>> {
        let setup = self.setup;
        let own = input.as_ref().map_or(0, |input| input.targets.len());
        let all = setup.group.exchange("batch", own)?;
        let mut step = StepBatches::default();
        let images: usize = all.iter().sum();
        if images == 0 || self.is_left_out(&all) {
            return Ok(step);
        }
        let weight = own as f64 / images as f64;
        let model = self.progress.model.clone();
        let mut reduction = setup.group.reduction();
        let mut present = HashSet::new();
        let mut hand_over = |ids: HashSet<ParamId>, gradients: GradientsParams| {
            present.extend(with_gradient(&model, &gradients));
            match &mut reduction {
                Some(reduction) => reduction.add(&model, ids, gradients, 1.0),
                None => Ok(()),
            }
        };
        match input {
            Some(input) => {
                let loss_weight = weight * loss_scale;
                // What was scaled up is scaled down before it is summed.
                let mut sink = |ids, mut gradients| {
                    if loss_scale != 1.0 {
                        scale(&model, &mut gradients, 1.0 / loss_scale);
                    }
                    hand_over(ids, gradients)
                };
                let (loss, _) = self.backward(input, loss_weight, Some(&mut sink))?;
                (step.loss, step.batches) = (loss, 1);
            }
            None => {
                for ids in segments::ids(&model, self.prefix.groups()) {
                    hand_over(ids, GradientsParams::new())?;
                }
            }
        }
        step.handed_over = reduction;
        step.present = present;
        Ok(step)
    }

    /// A batch, and the weight of its loss. Where batch normalisations are of all ranks, none can go on
    /// without the others, so that all have a batch or none; and what flows back through them is the
    /// gradient of the loss over all images, in which each rank weighs by those that it has.
    fn with_all_ranks(&mut self, input: Option<ModelInput>) -> Result<Option<(ModelInput, f64)>> {
        let group = &self.setup.group;
        if self.setup.statistics_sync().is_none() {
            return Ok(input.map(|input| (input, 1.0)));
        }
        let own = input.as_ref().map_or(0, |input| input.targets.len());
        let all = group.exchange("batch", own)?;
        if self.is_left_out(&all) {
            return Ok(None);
        }
        let mean = all.iter().sum::<usize>() as f64 / all.len() as f64;
        Ok(input.map(|input| (input, own as f64 / mean)))
    }

    /// Whether all ranks leave a batch out, of which each has so many images: where one has none and batch
    /// normalisations are of all.
    fn is_left_out(&mut self, images: &[usize]) -> bool {
        let is_shared = self.setup.statistics_sync().is_some();
        let Some(rank) = images.iter().position(|images| *images == 0 && is_shared) else {
            return false;
        };
        self.monitor.notice(&format!(
            "batch {} of epoch {} is left out on all ranks: rank {rank} can learn from none of its images",
            self.progress.state.batches,
            self.epoch_number()
        ));
        true
    }

    /// Averages a step's gradients over the images of all ranks: the mean loss, and the gradients. `None` if
    /// no rank had an image. `before` is what was counted before the step.
    fn average_over_ranks(
        &mut self,
        local: LocalStep<'_>,
        loss: f64,
        before: TrainTotals,
    ) -> Result<Option<(f64, GradientsParams)>> {
        let (epoch, state) = (self.epoch_number(), &mut self.progress.state);
        let own = state.totals;
        let report = StepReport {
            epoch,
            batches: state.batches,
            steps: state.steps,
            images: own.images - before.images,
            correct: own.correct - before.correct,
            loss_sum: (own.loss - before.loss).to_bits(),
            loss: loss.to_bits(),
            present: Vec::new(),
            lengths: Vec::new(),
        };
        state.totals = TrainTotals {
            seconds: own.seconds,
            ..before
        };
        let totals = &mut state.totals;
        let model = &self.progress.model;
        let mean = self.setup.group.average(model, report, local, totals)?;
        Ok((totals.images > before.images).then_some(mean))
    }

    /// In f16: whether gradients overflowed, so that the step is skipped.
    pub fn skip_overflow(&mut self, step: &StepGradients) -> Result<bool> {
        if self.setup.recipe.precision != Precision::F16 {
            return Ok(false);
        }
        let state = &mut self.progress.state;
        if state
            .loss_scale
            .update(step.norm.is_some_and(f64::is_finite))
        {
            return Ok(false);
        }
        state.steps += 1;
        state.overflowed += 1;
        self.freeze_changed = false;
        self.monitor.notice(&format!(
            "step {}: gradients overflowed in f16; the step is left out",
            state.steps
        ));
        if self.should_stop() {
            return Err(self.interrupted());
        }
        Ok(true)
    }

    /// Clips the gradients, changes the weights by them, and reports the step.
    pub fn optimizer_step(mut self, mut step: StepGradients, is_last: bool) -> Result<Self> {
        let Setup { recipe, plan, .. } = self.setup;
        let norm = step.norm.unwrap_or(0.0);
        let model = &self.progress.model;
        clip_gradients(model, &mut step.gradients, recipe.clip, norm);
        self.monitor.backward(&Backward {
            epoch: self.epoch_number(),
            global_step: self.progress.state.steps,
            last: is_last,
            model,
            gradients: &step.gradients,
        })?;
        self.progress = self.progress.update(plan, &step.rates, step.gradients);

        let state = &mut self.progress.state;
        state.totals.seconds = self.clock.seconds();
        let state = &self.progress.state;
        let record = StepRecord {
            epoch: self.epoch_number(),
            step: state.batches.div_ceil(recipe.accumulate),
            steps: self.setup.steps_per_epoch,
            global_step: state.steps,
            loss: step.loss,
            learning_rate: step.rates.head(),
            rates: self.active_rates(&step.rates),
            gradient_norm: step.norm,
            images_per_second: state.totals.images_per_second(),
            accuracy: match recipe.task {
                Task::SingleLabel => state.totals.accuracy(),
                Task::MultiLabel | Task::Regression => f64::NAN,
            },
        };
        if record.global_step.is_multiple_of(Growth::EVERY) {
            let pool = self.setup.device.memory_pool_usage();
            let held = pool.map(|pool| pool.bytes_in_use).or_else(memory::resident);
            if let Some(text) = self.growth.look(held) {
                self.monitor.notice(&text);
            }
        }
        let is_special = std::mem::take(&mut self.freeze_changed);
        self.folder.log_step(&record, is_special);
        self.monitor.step(&record, &mut self.control)?;
        if self.should_stop() {
            return Err(self.interrupted());
        }
        Ok(self)
    }
}

/// One batch: its loss, and the gradients of the loss times `loss_scale`, unless they are handed over.
/// `stream` names its random numbers.
fn forward_backward(
    setup: &Setup,
    model: &Classifier,
    loss_scale: f64,
    totals: &mut TrainTotals,
    mut input: ModelInput,
    stream: &str,
    hand_over: Option<HandOver<'_>>,
) -> Result<(f64, GradientsParams)> {
    let targets = std::mem::take(&mut input.targets);
    let soft = input.soft.take();
    let backward = |logits: Tensor<2>| {
        let logits = logits.cast(Precision::F32.dtype());
        let mut loss = setup.loss.forward(logits.clone(), &targets, soft)?;
        let value = scalar(loss.clone().detach())?;
        if loss_scale != 1.0 {
            loss = loss.mul_scalar(loss_scale);
        }
        Ok(((value, logits), loss.backward()))
    };
    let ((value, logits), gradients) = match (input.pipeline_parts(setup, model), hand_over) {
        (None, Some(hand_over)) => {
            let segments = Segments::forward(model, input, &setup.recipe)?;
            let (result, gradients) = backward(segments.scores())?;
            segments.backward(gradients, hand_over)?;
            (result, GradientsParams::new())
        }
        (Some(parts), _) => {
            let pipeline = Pipeline {
                setup,
                model,
                parts,
                stream,
            };
            pipeline.run(input.onto_graph(&setup.recipe), backward)?
        }
        (None, None) => {
            let (result, gradients) = backward(input.forward(model, &setup.recipe)?)?;
            (result, GradientsParams::from_grads(gradients, model))
        }
    };

    if let Targets::Classes(labels) = &targets {
        let scores = host_vec(logits.into_data())?;
        let classes = scores.len() / labels.len().max(1);
        let rows = scores.chunks_exact(classes.max(1)).zip(labels);
        totals.correct += rows.filter(|(row, label)| best(row) == **label).count();
    }
    totals.images += targets.len();
    totals.loss += value * targets.len() as f64;
    Ok((value, gradients))
}

/// A whole step on one batch, for the searches for a learning rate and for a batch size: its loss,
/// and the model after it.
pub(super) fn single_step(
    setup: &Setup,
    model: Classifier,
    optimizer: &mut ModelOptimizer,
    rates: ModuleLearningRate,
    batch: Batch,
) -> Result<(f64, Classifier)> {
    batch.targets.check(model.num_classes())?;
    catch_out_of_memory(&setup.recipe, setup.min_batch, || {
        let mut totals = TrainTotals::default();
        let (loss, gradients) = forward_backward(
            setup,
            &model,
            1.0,
            &mut totals,
            batch.into(),
            "search",
            None,
        )?;
        Ok((loss, optimizer.step(rates, model, gradients)))
    })
}
