//! What a recipe's values have to be.

use super::loss::ClassWeights;
use super::loss_function::LossFunction;
use super::progressive::ProgressiveSizes;
use super::ranges::{at_least_one, below_one, not_negative};
use super::rates::Rates;
use super::recipe::Recipe;
use super::schedule::Schedule;
use super::stopping::Metric;
use super::unfreeze::Unfreeze;
use crate::data::{Sampler, Task};
use crate::error::{Error, Result};
use crate::model::{Adapt, Classifier, Freeze};
use crate::preprocess::ImageSize;

impl Recipe {
    /// Some ways of unfreezing bring their own rates or their own beginning. What they would not
    /// look at is refused rather than ignored.
    fn check_together(&self) -> Result<()> {
        let own_start = match &self.unfreeze {
            Unfreeze::Never | Unfreeze::At { .. } => return Ok(()),
            own => own,
        };
        if !matches!(self.freeze, Freeze::Nothing | Freeze::Backbone) {
            let expected = format!(
                "backbone, with which unfreeze `{}` begins",
                own_start.kind()
            );
            return Err(Error::argument("freeze", expected, &self.freeze));
        }
        if let Unfreeze::FineTune { .. } = own_start {
            let brings = "nothing of its own, since unfreeze `fine_tune` brings one";
            if self.schedule != Schedule::Constant {
                return Err(Error::argument("schedule", brings, &self.schedule));
            }
            if self.rates != Rates::Same {
                return Err(Error::argument("rates", brings, self.rates));
            }
            if self.warmup.epochs != 0.0 {
                return Err(Error::argument("warmup", brings, self.warmup.epochs));
            }
        }
        if let (Unfreeze::Backbone(_), false) = (own_start, self.rates == Rates::Same) {
            let expected = "same, since unfreeze `backbone` has a rule of its own";
            return Err(Error::argument("rates", expected, self.rates));
        }
        Ok(())
    }

    /// What does not go with the task is refused rather than ignored.
    fn check_task(&self) -> Result<()> {
        let task = self.task;
        let of_task = |own: Task| own == task;
        if !of_task(self.loss.task()) {
            let expected = format!("a loss of {task} data, such as {}", LossFunction::of(task));
            return Err(Error::argument("loss", expected, self.loss));
        }
        let watched = self.early_stopping.and_then(|rule| rule.metric);
        for metric in [Some(self.metric), watched].into_iter().flatten() {
            if metric.task().is_some_and(|own| !of_task(own)) {
                let expected =
                    format!("a metric of {task} data, such as {}", Metric::of_task(task));
                return Err(Error::argument("metric", expected, metric));
            }
        }
        if task != Task::SingleLabel && self.sampler == Sampler::Balanced {
            let expected = "shuffle, where an image has not one class";
            return Err(Error::argument("sampler", expected, self.sampler));
        }
        if task == Task::Regression {
            if self.label_smoothing != 0.0 {
                let expected = "0, as there are no labels";
                return Err(Error::argument(
                    "label_smoothing",
                    expected,
                    self.label_smoothing,
                ));
            }
            if self.class_weights != ClassWeights::Equal {
                let expected = "equal, as there are no classes";
                return Err(Error::argument("class_weights", expected, "others"));
            }
            if self.mixing.is_some_and(|mixing| mixing.cutmix_alpha > 0.0) {
                let expected = "no CutMix, which takes numbers for shares of the area";
                return Err(Error::argument(
                    "mixing.cutmix_alpha",
                    expected,
                    "one above 0",
                ));
            }
        }
        let is_asymmetric = matches!(self.loss, LossFunction::Asymmetric { .. });
        if is_asymmetric && self.class_weights != ClassWeights::Equal {
            let expected = "equal, beside the asymmetric loss, which weighs by itself";
            return Err(Error::argument("class_weights", expected, "others"));
        }
        Ok(())
    }

    fn check_progressive_sizes(&self) -> Result<()> {
        let sizes = &self.progressive_sizes;
        if sizes.sizes().len() > self.epochs {
            let expected = format!("at most {}, one for each epoch", self.epochs);
            return Err(ProgressiveSizes::wrong(expected, sizes));
        }
        for pair in sizes.sizes().windows(2) {
            let [before, after] = [pair[0].sides(), pair[1].sides()];
            if before[0] > after[0] || before[1] > after[1] {
                let expected = "sizes of which none is smaller than the one before";
                return Err(ProgressiveSizes::wrong(expected, sizes));
            }
        }
        if sizes.sizes().iter().any(|size| size.check().is_err()) {
            return Err(ProgressiveSizes::wrong("sides of 1 to 16384 pixels", sizes));
        }
        if sizes.is_none() {
            return Ok(());
        }
        if self.feature_cache.views > 0 {
            let expected = "no views, where training images change their size";
            let found = self.feature_cache;
            return Err(Error::argument("feature_cache", expected, found));
        }
        let watched = self.early_stopping.and_then(|rule| rule.metric);
        for metric in [Some(self.metric), watched].into_iter().flatten() {
            if metric == Metric::TrainLoss {
                let expected = "a metric of validation, where training images change their size";
                return Err(Error::argument("metric", expected, metric));
            }
        }
        Ok(())
    }

    /// Refuses sizes that a model does not take, and a last one other than that of the images.
    pub(super) fn check_sizes_of(&self, model: &Classifier, images: [usize; 2]) -> Result<()> {
        let Some(last) = self.progressive_sizes.last() else {
            return Ok(());
        };
        let own = ImageSize::from(images);
        if last != own {
            let expected = match self.image_size {
                Some(_) => format!("{own}, the image size, as the last one"),
                None => format!(
                    "{own}, the size of the images as they are, as the last one, or image_size to be set"
                ),
            };
            return Err(ProgressiveSizes::wrong(expected, last));
        }
        for size in self.progressive_sizes.sizes() {
            if let Err(Error::InputShape { expected, .. }) = model.check_image_size(*size) {
                let architecture = &model.info().architecture;
                let expected = format!("sizes that {architecture} takes: {expected}");
                return Err(ProgressiveSizes::wrong(expected, size));
            }
        }
        Ok(())
    }

    /// What trains has to leave the adapters something to do.
    pub(super) fn check_adapt(&self) -> Result<()> {
        self.adapt.validate()?;
        if let (Some(pattern), false) = (&self.adapt_matching, matches!(self.adapt, Adapt::Lora(_)))
        {
            let expected = "nothing, where `adapt` is no lora";
            return Err(Error::argument("adapt_matching", expected, pattern));
        }
        let trains_head_alone = self.freeze == Freeze::Backbone && self.unfreeze == Unfreeze::Never;
        if !self.adapt.is_none() && trains_head_alone {
            let expected = format!(
                "nothing or some groups: with the backbone, all of {} is frozen",
                self.adapt
            );
            return Err(Error::argument("freeze", expected, &self.freeze));
        }
        Ok(())
    }

    /// TOML, in which a run keeps its recipe, has whole numbers of 63 bits.
    fn check_whole_numbers(&self) -> Result<()> {
        fn check(path: &str, value: &serde_json::Value) -> Result<()> {
            match value {
                serde_json::Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
                    let point = if path.is_empty() { "" } else { "." };
                    check(&format!("{path}{point}{name}"), field)
                }),
                serde_json::Value::Array(values) => {
                    values.iter().try_for_each(|value| check(path, value))
                }
                value if value.is_u64() && !value.is_i64() => {
                    Err(Error::argument(path, format!("0 to {}", i64::MAX), value))
                }
                _ => Ok(()),
            }
        }
        let fields = serde_json::to_value(self);
        let fields =
            fields.map_err(|e| Error::argument("recipe", "values that JSON can hold", e))?;
        check("", &fields)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        // Longer runs are surely a mistake, and their steps would have to be counted in more bits.
        if !(1..=1_000_000).contains(&self.epochs) {
            return Err(Error::argument("epochs", "1 to 1000000", self.epochs));
        }
        self.check_whole_numbers()?;
        if !(1..=65_536).contains(&self.accumulate) {
            return Err(Error::argument("accumulate", "1 to 65536", self.accumulate));
        }
        at_least_one("checkpoints.last", self.checkpoints.last)?;
        if let Some(steps) = self.checkpoints.every_steps {
            at_least_one("checkpoints.every_steps", steps)?;
        }
        crate::data::check_loading(self.batch_size, self.workers)?;
        if let Some(size) = self.image_size {
            size.check()?;
        }
        self.check_progressive_sizes()?;
        not_negative("learning_rate", self.learning_rate)?;
        not_negative("weight_decay", self.weight_decay)?;
        self.warmup.validate(&self.schedule, self.epochs as f64)?;
        below_one("drop_rate", self.drop_rate.unwrap_or(0.0))?;
        below_one("drop_path_rate", self.drop_path_rate.unwrap_or(0.0))?;
        below_one("label_smoothing", self.label_smoothing)?;
        self.class_weights.validate()?;
        self.loss.validate()?;
        self.check_task()?;
        self.augment.check()?;
        let augmented = !self.augment.is_none();
        self.feature_cache.check(augmented, self.mixes())?;
        if let Some(mixing) = &self.mixing {
            mixing.check()?;
        }
        if self.mixes() && self.batch_size == 1 {
            let expected = "at least 2, since the images of a batch are mixed with each other";
            return Err(Error::argument("batch_size", expected, 1));
        }
        if let Some(ema) = &self.ema {
            ema.validate()?;
        }
        if let Some(stopping) = &self.early_stopping {
            stopping.validate()?;
        }
        self.unfreeze.validate(self.epochs)?;
        self.check_adapt()?;
        self.check_together()?;
        self.rates.validate()?;
        self.rate_scaling.validate()?;
        self.clip.validate()?;
        self.optimizer.validate()?;
        self.schedule.validate()
    }
}
