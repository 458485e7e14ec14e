//! Backbone and head: what a model is, whatever its family.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::backbone::{Group, InputSize};
use super::features::Features;
use super::group_output::GroupOutput;
use super::head::{HEAD, Head};
use crate::error::{Error, LoadReport, Result};
use crate::preprocess::{Normalization, Preprocess, Resizing};
use crate::zoo::AnyBackbone;

/// Everything about a model that is not a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// The architecture's name in the zoo and in timm.
    pub architecture: String,
    /// Image size the model was built for, if it was said.
    pub image_size: Option<usize>,
    /// Mean and standard deviation that images are normalised with.
    pub normalization: Normalization,
    /// How images were brought to their size.
    pub resizing: Resizing,
    /// The classes' names, or nothing.
    pub classes: Vec<String>,
    /// Dropout before the head.
    pub drop_rate: f64,
    /// Stochastic depth.
    pub drop_path_rate: f64,
    /// Where the weights came from, in words, for the model card.
    pub origin: String,
    /// What was taken from their file; see [`Classifier::load_report`].
    pub(crate) loaded: Option<Arc<LoadReport>>,
}

/// A backbone and a head: a model that turns images into class scores.
#[derive(Module, Debug)]
pub struct Classifier {
    /// The feature extractor.
    pub backbone: AnyBackbone,
    /// Pooling, dropout and the last layer.
    pub head: Head,
    #[module(skip)]
    pub(crate) info: Arc<ModelInfo>,
}

impl Classifier {
    /// Class scores before softmax; the pooled features if the model has no classes.
    ///
    /// # Shapes
    /// - input: `[batch, in_channels, height, width]`, normalised
    /// - output: `[batch, num_classes]`
    ///
    /// # Errors
    /// [`Error::InputShape`] if the images do not fit.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tensor<2>> {
        let features = self.forward_features(images)?;
        Ok(self.forward_head(features, false))
    }

    /// The output of the last group.
    ///
    /// # Errors
    /// [`Error::InputShape`] if the images do not fit.
    pub fn forward_features(&self, images: Tensor<4>) -> Result<Features> {
        self.check_input(&images)?;
        Ok(
            (0..self.backbone.groups().len()).fold(Features::Map(images), |x, index| {
                self.backbone.forward_group(index, x)
            }),
        )
    }

    /// From features to scores, or, with `pre_logits`, to the pooled vector before dropout and the
    /// last layer.
    ///
    /// # Shapes
    /// - output: `[batch, num_classes]`, or `[batch, num_features * pool.multiplier()]`
    pub fn forward_head(&self, features: Features, pre_logits: bool) -> Tensor<2> {
        let pooled = self.backbone.pool(features, self.head.pool);
        if pre_logits {
            pooled
        } else {
            self.score(pooled)
        }
    }

    fn score(&self, pooled: Tensor<2>) -> Tensor<2> {
        match &self.head.fc {
            Some(fc) => fc.forward(self.head.dropout.forward(pooled)),
            None => pooled,
        }
    }

    /// The output of the first `groups` groups; of the whole backbone, pooled.
    pub(crate) fn forward_to(&self, images: Tensor<4>, groups: usize) -> Result<GroupOutput> {
        self.check_input(&images)?;
        let x = (0..groups).fold(Features::Map(images), |x, index| {
            self.backbone.forward_group(index, x)
        });
        Ok(if groups == self.backbone.groups().len() {
            GroupOutput::Pooled(self.forward_head(x, true))
        } else {
            GroupOutput::Features(x)
        })
    }

    /// From the output of the first `groups` groups to scores.
    pub(crate) fn forward_from(&self, groups: usize, output: GroupOutput) -> Tensor<2> {
        match output {
            GroupOutput::Features(x) => {
                let rest = groups..self.backbone.groups().len();
                let x = rest.fold(x, |x, index| self.backbone.forward_group(index, x));
                self.forward_head(x, false)
            }
            GroupOutput::Pooled(pooled) => self.score(pooled),
        }
    }

    /// The outputs of the named groups, in the order of the network.
    ///
    /// # Errors
    /// [`Error::UnknownGroup`] for a name the backbone does not have, [`Error::InputShape`] if the
    /// images do not fit.
    pub fn forward_intermediates(
        &self,
        images: Tensor<4>,
        groups: &[&str],
    ) -> Result<Vec<(String, Features)>> {
        self.check_input(&images)?;
        let all = self.backbone.groups();
        for name in groups {
            if !all.iter().any(|group| group.name == *name) {
                return Err(self.unknown_group(name, all));
            }
        }
        let mut x = Features::Map(images);
        let mut outputs = Vec::with_capacity(groups.len());
        for (index, group) in all.into_iter().enumerate() {
            x = self.backbone.forward_group(index, x);
            if groups.contains(&group.name.as_str()) {
                outputs.push((group.name, x.clone()));
            }
        }
        Ok(outputs)
    }

    /// The names of the groups from the input to the output; the last is `head`.
    pub fn groups(&self) -> Vec<String> {
        self.all_groups().into_iter().map(|g| g.name).collect()
    }

    /// Channels of the images.
    pub fn in_channels(&self) -> usize {
        self.backbone.in_channels()
    }

    /// Classes; 0 without a head.
    pub fn num_classes(&self) -> usize {
        self.head
            .fc
            .as_ref()
            .map_or(0, |fc| fc.weight.lazy_shape()[0])
    }

    /// Length of the vector before the last layer.
    pub fn num_features(&self) -> usize {
        self.backbone.num_features() * self.head.pool.multiplier()
    }

    /// Everything about the model that is not a tensor.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// What images go through before this model sees them, brought to `image_size` or left at their
    /// own size.
    pub fn preprocess(&self, image_size: Option<usize>) -> Preprocess {
        Preprocess::new(image_size, self.info.normalization.clone()).resizing(self.info.resizing)
    }

    /// Names the classes, in the order of the outputs.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are not as many names as classes.
    pub fn with_classes(mut self, classes: Vec<String>) -> Result<Self> {
        if !classes.is_empty() && classes.len() != self.num_classes() {
            return Err(Error::argument(
                "classes",
                format!("{} names", self.num_classes()),
                classes.len(),
            ));
        }
        Arc::make_mut(&mut self.info).classes = classes;
        Ok(self)
    }

    pub(crate) fn set_image_size(&mut self, size: Option<usize>) {
        Arc::make_mut(&mut self.info).image_size = size;
    }

    pub(crate) fn set_crop_pct(&mut self, crop_pct: f64) {
        Arc::make_mut(&mut self.info).resizing.crop_pct = crop_pct;
    }

    pub(crate) fn set_origin(&mut self, origin: String) {
        Arc::make_mut(&mut self.info).origin = origin;
    }

    /// Backbone groups and the head, with the prefixes of their parameters' paths.
    pub(crate) fn all_groups(&self) -> Vec<Group> {
        let mut groups = self.backbone.groups();
        groups.push(Group::new(HEAD, format!("{HEAD}.")));
        groups
    }

    pub(crate) fn unknown_group(&self, group: &str, known: Vec<Group>) -> Error {
        Error::UnknownGroup {
            model: self.info.architecture.clone(),
            group: group.to_owned(),
            known: known.into_iter().map(|g| g.name).collect(),
        }
    }

    pub(crate) fn check_input(&self, images: &Tensor<4>) -> Result<()> {
        let [batch, channels, height, width] = images.dims();
        let in_channels = self.in_channels();
        let (fits, size) = match self.backbone.input_size() {
            InputSize::AtLeast(least) => (
                height >= least && width >= least,
                format!("height, width] with height and width of at least {least}"),
            ),
            InputSize::Exactly(size) => {
                (height == size && width == size, format!("{size}, {size}]"))
            }
        };
        if batch > 0 && channels == in_channels && fits {
            return Ok(());
        }
        Err(Error::InputShape {
            model: self.info.architecture.clone(),
            expected: format!("[batch, {in_channels}, {size}"),
            found: format!("[{batch}, {channels}, {height}, {width}]"),
        })
    }

    /// What was taken from the weights file that the model was built from, and what was left out of
    /// it; `None` if there was no file.
    pub fn load_report(&self) -> Option<&LoadReport> {
        self.info.loaded.as_deref()
    }

    /// The device the model is on; with autodiff if it is ready to train.
    pub fn device(&self) -> Device {
        self.devices().into_iter().next().unwrap_or_default()
    }
}
