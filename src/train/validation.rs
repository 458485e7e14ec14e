//! The end of an epoch: validation, its record, and what follows from it.

use super::checkpoint;
use super::epoch_record::{EpochRecord, named};
use super::monitor::EpochEnd;
use super::schedule::Schedule;
use super::state::TrainTotals;
use super::training::Training;
use super::unreadable::VALID;
use crate::data::Task;
use crate::error::{Error, Result};
use crate::infer::{BatchScores, Evaluation, best_thresholds};
use crate::memory::Memory;
use crate::nn::Precision;

/// What a validation found.
pub(super) struct Validation {
    /// Of the averaged weights, if there are any.
    evaluation: Evaluation,
    /// With averaged weights: the accuracy of the others.
    raw_accuracy: Option<f64>,
}

impl Training<'_> {
    /// An epoch without a step has no result.
    pub fn check_trained(&self) -> Result<()> {
        let (setup, state) = (self.setup, &self.progress.state);
        let epoch = self.epoch_number();
        if state.totals.images == 0 {
            let example = match setup.train.broken().first() {
                Some(image) => format!(", such as {}: {}", image.name, image.reason),
                None => String::new(),
            };
            let found = format!(
                "none in epoch {epoch}: {} of {} could not be read{example}",
                state.unreadable_in_epoch.len(),
                setup.train.num_images()
            );
            let expected = "images to learn from";
            return Err(Error::argument("training data", expected, found));
        }
        let is_decided = epoch == setup.recipe.epochs || state.loss_scale.factor() < 1.0;
        let all_overflowed = state.steps == state.overflowed;
        if setup.recipe.precision == Precision::F16 && all_overflowed && is_decided {
            let found = format!(
                "f16, in which the gradients of all {} steps overflowed: nothing was trained",
                state.steps
            );
            return Err(Error::argument("precision", "f32 or bf16", found));
        }
        Ok(())
    }

    /// Evaluates the model, and the averaged one if there is one.
    pub fn validate(&mut self) -> Result<Validation> {
        let setup = self.setup;
        let plan_step = setup.last_plan_step(&self.progress.state);
        if self.frozen.is_none() {
            // A run that goes on with a validation has not come to its first step.
            let freeze = setup.freeze_at(plan_step, &self.progress.state)?;
            self.progress.freeze(&freeze, &setup.recipe)?;
        }
        let has_average = self.progress.ema.is_some();
        let raw_accuracy = if has_average && setup.recipe.task == Task::SingleLabel {
            Some(self.evaluate(false)?.accuracy)
        } else {
            None
        };
        let evaluation = self.evaluate(has_average)?;
        self.share_unreadable(&evaluation)?;
        let state = &self.progress.state;
        if !evaluation.loss.is_finite() {
            let rates = setup.rates_at(plan_step, state);
            return Err(self.diverged(evaluation.loss, None, &rates));
        }
        Ok(Validation {
            evaluation,
            raw_accuracy,
        })
    }

    fn evaluate(&mut self, averaged: bool) -> Result<Evaluation> {
        let valid = &self.setup.valid;
        let recipe = &self.setup.recipe;
        let progress = &self.progress;
        let model = if averaged {
            progress.result()
        } else {
            &progress.model
        };
        let watch = |scores: &BatchScores<'_>| {
            self.monitor.validated(scores.batch, valid.num_batches());
            // Of several ranks, all have to hear of it first.
            !self.monitor.should_stop() || !self.setup.group.is_alone()
        };
        let counts = match self.prefix.validation(valid, recipe, averaged) {
            Some(inputs) => inputs.evaluate(model, watch),
            None => model.count_while(valid, recipe.precision, watch),
        };
        let counts = match counts {
            Ok(Some(counts)) => counts,
            Ok(None) => return Err(self.interrupted()),
            Err(error) => return Err(self.checkpoint_if_unreadable(error)),
        };
        let (state, group) = (&mut self.progress.state, &self.setup.group);
        let part = group.shard();
        self.reported
            .in_validation(valid, part, counts.images, state, self.monitor);
        let counts = counts.over_ranks(group)?;
        // By thresholds of 0.5: what is tuned on these images says less of others.
        self.progress.model.evaluation(counts, &[])
    }

    /// Tells the other ranks which images could not be read: whether there are new ones for validation.
    pub fn exchange_unreadable(&mut self) -> Result<bool> {
        let state = &mut self.progress.state;
        let new = self.reported.take_new();
        let mut is_new = new.iter().any(|image| image.part == VALID);
        let own = (new, state.unreadable_in_epoch.clone());
        for (skipped, unreadable) in self.setup.group.exchange("unreadable", own)? {
            is_new |= skipped.iter().any(|image| image.part == VALID);
            self.reported.of_others(skipped, state, self.monitor);
            state.unreadable_in_epoch.extend(unreadable);
        }
        Ok(is_new)
    }

    /// Tells the other ranks which images could not be read, and a person how many there were.
    fn share_unreadable(&mut self, evaluation: &Evaluation) -> Result<()> {
        let [_, all] = self.setup.num_images;
        let is_new = self.exchange_unreadable()?;
        let images = evaluation.images;
        if is_new && images < all {
            self.monitor
                .notice(&format!("validation looks at {images} of {all} images"));
        }
        Ok(())
    }

    /// Records the epoch, decides whether the run goes on, and writes the checkpoint, the best model
    /// and the logs. `complete` says whether all batches of the epoch were trained on.
    pub fn finish_epoch(&mut self, validation: Validation, complete: bool) -> Result<()> {
        let setup = self.setup;
        let record = self.epoch_record(&validation)?;
        if complete {
            self.report_missing_steps();
        }
        self.close_epoch();
        // Training and validation need other blocks of memory.
        setup.device.memory_cleanup();
        self.tune_thresholds(&validation.evaluation)?;
        self.update_plateau(&record);
        let early_stop = self.early_stop(&record);
        self.wait_anew_where_images_grow(record.epoch);
        let is_best = self.push_record(&record);
        self.monitor.epoch_finished(
            &EpochEnd {
                record: &record,
                evaluation: &validation.evaluation,
                model: self.progress.result(),
                best: is_best,
                last: self.is_finished(),
                global_step: self.progress.state.steps,
            },
            &mut self.control,
        )?;
        self.decide_together()?;
        self.apply_control()?;
        self.progress.state.stopped |= self.control.stop;
        let checkpoint = self.checkpoint()?;
        if !self.folder.is_written() {
            return Ok(());
        }
        if is_best {
            let exported = checkpoint::result(&checkpoint, &self.progress);
            self.folder.link_best(&exported)?;
        }
        self.folder.write_epochs(&self.progress.state.epochs)?;
        self.folder.remove_previous_run()?;
        if let (Some(reason), Some(best)) = (early_stop, self.progress.state.best_epoch()) {
            let (epoch, epochs) = (record.epoch, setup.recipe.epochs);
            self.monitor.notice(&format!(
                "early stopping after epoch {epoch} of {epochs}: {reason}; the model is that of {best}"
            ));
        }
        Ok(())
    }

    /// Of several labels: the thresholds with the best F1 go with the model.
    fn tune_thresholds(&mut self, evaluation: &Evaluation) -> Result<()> {
        if evaluation.multi_label.is_none() {
            return Ok(());
        }
        let (answers, classes) = (&evaluation.answers, self.progress.model.num_classes());
        let thresholds = best_thresholds(&answers.scores, &answers.present(), classes)?;
        self.progress.set_thresholds(&thresholds);
        Ok(())
    }

    fn epoch_record(&self, validation: &Validation) -> Result<EpochRecord> {
        let (setup, state) = (self.setup, &self.progress.state);
        let Validation {
            evaluation,
            raw_accuracy,
        } = validation;
        let plan_step = setup.last_plan_step(state);
        let rates = setup.rates_at(plan_step, state);
        let names = setup.plan.groups().map(str::to_owned);
        let frozen = match &self.frozen {
            Some(freeze) => freeze.to_string(),
            None => setup.freeze_at(plan_step, state)?.to_string(),
        };
        let [_, valid_images] = setup.num_images;
        Ok(EpochRecord {
            epoch: self.epoch_number(),
            train_loss: state.totals.mean_loss(),
            train_accuracy: match setup.recipe.task {
                Task::SingleLabel => state.totals.accuracy(),
                Task::MultiLabel | Task::Regression => f64::NAN,
            },
            valid_loss: evaluation.loss,
            valid_accuracy: evaluation.accuracy,
            valid_top5_accuracy: evaluation.top5_accuracy,
            valid_balanced_accuracy: evaluation.balanced_accuracy(),
            metrics: named(evaluation.metrics(), "valid"),
            raw_valid_accuracy: *raw_accuracy,
            learning_rate: rates.head(),
            rates: names.zip(self.active_rates(&rates)).collect(),
            frozen,
            images_per_second: state.totals.images_per_second(),
            memory: Memory::now(&setup.device),
            seconds: self.clock.seconds(),
            train_images: state.totals.images,
            valid_images: evaluation.images,
            skipped_images: state.unreadable_in_epoch.len()
                + valid_images.saturating_sub(evaluation.images),
            all_reduce: setup.group.take_all_reduce_time(),
        })
    }

    /// Tells of steps that could not be made for want of images.
    fn report_missing_steps(&mut self) {
        let (planned, state) = (self.setup.steps_per_epoch, &self.progress.state);
        let unreadable = state.unreadable_in_epoch.len();
        let Some(start) = state.steps_at_epoch_start.filter(|_| unreadable > 0) else {
            return;
        };
        let steps = state.steps - start;
        if steps < planned {
            self.monitor.notice(&format!(
                "epoch {}: {steps} steps were made and {planned} planned, as {unreadable} images \
                 could not be read",
                self.epoch_number()
            ));
        }
    }

    /// From here on the state is that of the next epoch.
    fn close_epoch(&mut self) {
        let state = &mut self.progress.state;
        state.plan_end = Some(self.setup.last_plan_step(state) + 1);
        state.steps_at_epoch_start = None;
        state.epoch += 1;
        state.batches = 0;
        state.totals = TrainTotals::default();
        state.unreadable_in_epoch.clear();
    }

    /// Where the next epoch has larger images, waiting for something better begins anew.
    fn wait_anew_where_images_grow(&mut self, epoch: usize) {
        let [now, next] = [epoch, epoch + 1].map(|epoch| self.setup.train_size(epoch));
        if now != next && epoch < self.setup.recipe.epochs {
            self.progress.state.wait_anew();
        }
    }

    fn update_plateau(&mut self, record: &EpochRecord) {
        // A warm-up says nothing about what the rate has come to.
        let from = match self.setup.added_epochs {
            Some(_) => 0.0,
            None => self.setup.recipe.warmup.epochs,
        };
        if let Schedule::Plateau(plateau) = self.setup.schedule
            && record.epoch as f64 > from
        {
            let metric = self.setup.recipe.metric;
            let (value, larger) = (metric.of(record), metric.larger_is_better());
            self.progress.state.plateau.update(&plateau, value, larger);
        }
    }

    /// Whether early stopping ends the run, and why, if that is before its last epoch.
    fn early_stop(&mut self, record: &EpochRecord) -> Option<String> {
        let recipe = &self.setup.recipe;
        let rule = recipe.early_stopping.as_ref()?;
        let state = &mut self.progress.state;
        let is_exhausted = state.patience.exhausted(rule, recipe.metric, record);
        // A model is not given up before it has seen images of its size.
        if !is_exhausted || self.setup.grows_after(record.epoch) {
            return None;
        }
        state.stopped = true;
        (record.epoch < recipe.epochs).then(|| rule.in_words(recipe.metric))
    }

    /// Appends to the epochs; whether this one is the best.
    fn push_record(&mut self, record: &EpochRecord) -> bool {
        let metric = self.setup.recipe.metric;
        let state = &mut self.progress.state;
        let is_best = state
            .best_epoch()
            .is_none_or(|best| metric.better(metric.of(record), metric.of(best), 0.0));
        if is_best {
            state.best = Some(state.epochs.len());
        }
        state.epochs.push(record.clone());
        is_best
    }
}
