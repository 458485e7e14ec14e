//! Surgery on a model that stands: other input channels, another head, other values.

use std::collections::HashMap;
use std::sync::Arc;

use burn::module::{Module, ParamId};

use super::checks::{check_channels, check_classes, check_pool};
use super::initial::fresh_head;
use super::spec::Spec;
use super::stem::{AdaptedStem, StemRule};
use crate::error::{Error, Result};
use crate::init::Init;
use crate::model::{Classifier, Head, HostTensor, InputSize, ModelInfo, Outputs, freeze, params};
use crate::nn::ParamBuilder;

impl Classifier {
    /// Replaces the convolutions that see the image (mostly one) by such for `in_channels` channels,
    /// made from the present ones by `rule`. The normalisation of the images changes with it. What was frozen stays frozen; an
    /// optimiser made before starts anew.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for zero channels, for a rule that does not apply, or where the model has
    /// adapters.
    pub fn reset_stem(mut self, in_channels: usize, rule: &StemRule, seed: u64) -> Result<Self> {
        check_channels(in_channels)?;
        self.refuse_adapters()?;
        let values = params::read(&self)?;
        let find = |path: &str| values.iter().find(|(p, _)| p == path).map(|(_, t)| t);
        let stem = AdaptedStem::new(
            self.backbone.describe(),
            in_channels,
            rule,
            &self.info.normalization,
            seed,
            |path| {
                find(path).cloned().ok_or_else(|| Error::Pattern {
                    pattern: path.to_owned(),
                    reason: "the model has no such parameter".to_owned(),
                })
            },
        )?;

        let spec = Spec::like(&self).in_channels(in_channels);
        let device = self.device();
        let mut rebuilt = spec.skeleton(in_channels, self.num_classes(), &device)?;
        rebuilt = params::write(rebuilt, |path, shape| {
            let kernels = stem.kernels(path);
            if kernels.is_some() {
                return Ok(kernels);
            }
            let value = find(path).filter(|tensor| tensor.shape == shape);
            Ok(value.map(|tensor| stem.shifted(path, tensor.data.clone())))
        })?;
        rebuilt = freeze_like(&self, rebuilt);
        let info = Arc::make_mut(&mut self.info);
        info.normalization = info.normalization.for_channels(in_channels);
        rebuilt.info = self.info;
        Ok(rebuilt)
    }

    /// Replaces the head by a fresh one for `num_classes` classes, which trains; 0 takes it away.
    /// The classes' names are forgotten. An optimiser made before knows nothing of the new head.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for too many classes, for classes without a pooling, or for a rule
    /// that does not apply.
    pub fn reset_head(mut self, num_classes: usize, init: &Init, seed: u64) -> Result<Self> {
        check_classes(num_classes)?;
        check_pool(self.head.pool(), num_classes)?;
        let info = Arc::make_mut(&mut self.info);
        info.classes.clear();
        info.outputs = Outputs::default();
        let device = self.device();
        self.head = Head::new(
            self.backbone.describe(),
            num_classes,
            self.head.pool(),
            self.info.drop_rate,
            &ParamBuilder::new(&device),
        );
        let mut values = fresh_head(&self, init, seed)?;
        params::write(self, |path, _| Ok(values.remove(path)))
    }

    /// Gives the parameters of a group new values: weights by `init`, biases by the rule's own way
    /// with biases, normalisations their neutral values (scale 1, shift 0, mean 0, variance 1), and
    /// what else there is, such as a layer scale, the value with which it starts in a new model.
    ///
    /// # Errors
    /// [`Error::UnknownGroup`], or [`Error::InvalidArgument`] for a rule that does not apply, or where the
    /// model has adapters.
    pub fn init_group(self, group: &str, init: &Init, seed: u64) -> Result<Self> {
        self.refuse_adapters()?;
        let groups = self.all_groups();
        let Some(found) = groups.iter().find(|g| g.name == group) else {
            return Err(self.unknown_group(group, groups));
        };
        let prefix = found.prefix.clone();
        self.init_where(|path| path.starts_with(&prefix), init, seed)
    }

    /// As [`init_group`](Self::init_group), for the parameters whose path matches a regular
    /// expression (unanchored).
    ///
    /// # Errors
    /// [`Error::Pattern`] for a pattern that is no regular expression or matches nothing,
    /// [`Error::InvalidArgument`] for a rule that does not apply, or where the model has adapters.
    pub fn init_matching(self, pattern: &str, init: &Init, seed: u64) -> Result<Self> {
        self.refuse_adapters()?;
        let regex = freeze::compile(pattern)?;
        let paths: Vec<String> = params::list(&self).into_iter().map(|p| p.path).collect();
        if !paths.iter().any(|path| regex.is_match(path)) {
            return Err(freeze::no_match(pattern, &paths));
        }
        self.init_where(|path| regex.is_match(path), init, seed)
    }

    fn init_where(self, wanted: impl Fn(&str) -> bool, init: &Init, seed: u64) -> Result<Self> {
        let spec = Spec::like(&self);
        let device = crate::device("cpu")?;
        let (channels, classes) = (self.in_channels(), self.num_classes());
        let (_, starts) = spec.skeleton_with_starts(channels, classes, &device)?;
        params::write(self, |path, shape| {
            if !wanted(path) {
                return Ok(None);
            }
            match starts.get(path) {
                Some(start) => start.with_rule(init).values(path, shape, seed),
                None => Ok(neutral_statistics(path, shape)),
            }
            .map(Some)
        })
    }

    /// The same model with other rates of dropout (before the head) and of stochastic depth (at the
    /// last block), both at least 0 and below 1. What was frozen stays frozen.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a rate out of range.
    pub fn with_drop_rates(self, drop_rate: f64, drop_path_rate: f64) -> Result<Self> {
        let mut spec = Spec::like(&self)
            .drop_rate(drop_rate)
            .drop_path_rate(drop_path_rate);
        spec.image_size = match self.backbone.describe().input_size {
            InputSize::Exactly(size) => Some(size.into()),
            _ => self.info.image_size,
        };
        spec.validate()?;
        // The rates are part of the structure, so the values move into another one.
        let device = self.device();
        let model = spec.skeleton(self.in_channels(), self.num_classes(), &device)?;
        let mut model = model.attach_like(&self);
        let mut values: HashMap<String, HostTensor> =
            params::read(&self.valid())?.into_iter().collect();
        model = params::write(model, |path, _| {
            Ok(values.remove(path).map(|tensor| tensor.data))
        })?;
        let info = ModelInfo {
            drop_rate,
            drop_path_rate,
            ..ModelInfo::clone(&self.info)
        };
        model.info = Arc::new(info);
        let ids: HashMap<String, ParamId> = params::list(&self)
            .into_iter()
            .map(|p| (p.path, p.id))
            .collect();
        let model = freeze_like(&self, model);
        params::with_ids(model, |path| ids.get(path).copied())
            .ok_or_else(|| Error::argument("model", "the same parameters", "others"))
    }
}

/// Freezes in the rebuilt model what is frozen in the other.
fn freeze_like(model: &Classifier, rebuilt: Classifier) -> Classifier {
    let training = params::training_state(model);
    params::set_training(rebuilt, |path| {
        let trains = training.get(path).copied().unwrap_or(true);
        params::Training {
            gradient: trains,
            flag: trains,
        }
    })
}

/// Running statistics of nothing yet: a mean of 0, a variance of 1.
fn neutral_statistics(path: &str, shape: &[usize]) -> Vec<f32> {
    let value = if path.ends_with("running_var") {
        1.0
    } else {
        0.0
    };
    vec![value; shape.iter().product()]
}
