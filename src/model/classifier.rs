//! Backbone and head: what a model is, whatever its family.

use std::ops::Range;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::adapt::Lora;
use super::any_backbone::AnyBackbone;
use super::backbone::{Group, InputSize};
use super::features::{Features, Pooling};
use super::group_output::GroupOutput;
use super::head::{HEAD, Head};
use super::outputs::Outputs;
use super::placement::Placement;
use crate::error::{Error, LoadReport, Result};
use crate::nn::{Epilogue, channels_last, from_channels_last};
use crate::preprocess::{ImageSize, Normalization, Preprocess, Resizing};

/// Everything about a model that is not a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// The architecture's name in the zoo and in timm.
    pub architecture: String,
    /// Image size the model was built for, if it was said.
    pub image_size: Option<ImageSize>,
    /// Mean and standard deviation that images are normalised with.
    pub normalization: Normalization,
    /// How images were brought to their size.
    pub resizing: Resizing,
    /// The classes' names, or nothing.
    pub classes: Vec<String>,
    /// What the outputs mean.
    pub outputs: Outputs,
    /// Dropout before the head.
    pub drop_rate: f64,
    /// Stochastic depth.
    pub drop_path_rate: f64,
    /// Where the weights came from, in words, for the model card.
    pub origin: String,
    /// The licence of the weights that it started from, as far as it is known: those of a tuned model
    /// are derived from them.
    pub licence: Option<String>,
    /// Where that licence was read, if upstream does not state it for these weights themselves.
    pub licence_source: Option<String>,
    /// What was taken from their file; see [`Classifier::load_report`].
    pub(crate) loaded: Option<Arc<LoadReport>>,
    /// The adapters that weights have.
    pub(crate) lora: Option<Lora>,
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
    /// Where the groups are, if they are on several devices.
    pub(crate) placement: Placement,
}

impl Classifier {
    /// Class scores before softmax; what the last layer would get if the model has no
    /// classes.
    ///
    /// # Shapes
    /// - input: `[batch, in_channels, height, width]`, normalised
    /// - output: `[batch, num_classes]`
    ///
    /// # Errors
    /// [`Error::InputShape`] if the images do not fit.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tensor<2>> {
        let features = self.forward_features(images)?;
        self.forward_head(features, false)
    }

    /// The output of the last group.
    ///
    /// # Errors
    /// [`Error::InputShape`] if the images do not fit.
    pub fn forward_features(&self, images: Tensor<4>) -> Result<Features> {
        self.check_input(&images)?;
        let groups = self.backbone.describe().groups.len();
        self.forward_groups(0..groups, Features::Map(images))
    }

    pub(super) fn forward_groups(&self, mut groups: Range<usize>, x: Features) -> Result<Features> {
        groups.try_fold(x, |x, index| {
            let x = self.placement.at_group(index, x);
            self.backbone.forward_group(index, x)
        })
    }

    /// From the features of the last group to scores, or, with `pre_logits`, to the vector before
    /// dropout and the last layer.
    ///
    /// # Shapes
    /// - output: `[batch, num_classes]`, or `[batch, num_features]`
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for features that are not this backbone's.
    pub fn forward_head(&self, features: Features, pre_logits: bool) -> Result<Tensor<2>> {
        self.check_features(&features)?;
        if let (false, Some(act)) = (pre_logits, self.backbone.describe().score_act)
            && let Some(fc) = &self.head.fc
        {
            let map = self.placement.at_head(features.into_map()?);
            let positions = self.head.dropout.forward(map);
            let scores = fc.forward_with(channels_last(positions), Epilogue::act(act));
            let scores = Features::Map(from_channels_last(scores));
            return Ok(self.placement.at_start(self.pooling().vector(scores)));
        }
        let vector = self.head_input(features)?;
        let output = if pre_logits {
            self.head.vector(vector)
        } else {
            self.head.score(self.placement.at_head(vector))
        };
        Ok(self.placement.at_start(output))
    }

    /// Whether the features are as long as the last group's, and there is something to pool.
    fn check_features(&self, features: &Features) -> Result<()> {
        let description = self.backbone.describe();
        let channels = description.num_features;
        let (fits, expected) = match features {
            Features::Map(map) => (
                map.dims()[1] == channels && map.dims().iter().all(|&side| side > 0),
                format!("[batch, {channels}, height, width]"),
            ),
            Features::Tokens(tokens) => {
                let least = description.prefix_tokens + 1;
                let [batch, length, width] = tokens.dims();
                (
                    width == channels && length >= least && batch > 0,
                    format!("[batch, {least} or more, {channels}]"),
                )
            }
            // Each is of a length of its own.
            Features::Maps(_) => return Ok(()),
        };
        if fits {
            return Ok(());
        }
        let found = format!("{:?}", features.dims());
        Err(Error::argument("features", expected, found))
    }

    /// What the head gets: a vector for each classifier.
    fn head_input(&self, features: Features) -> Result<Tensor<2>> {
        let description = self.backbone.describe();
        let group = description.all_groups().len().saturating_sub(1);
        let features = self.placement.at_group(group, features);
        self.backbone.pre_logits(features, self.pooling())
    }

    fn pooling(&self) -> Pooling {
        let description = self.backbone.describe();
        Pooling {
            pool: self.head.pool,
            first_token: if description.pools_prefix {
                0
            } else {
                description.prefix_tokens
            },
        }
    }

    /// The output of the first `groups` groups; of all but the head, the vector that it gets, if it
    /// gets one.
    pub(crate) fn forward_to(&self, images: Tensor<4>, groups: usize) -> Result<GroupOutput> {
        self.check_input(&images)?;
        let description = self.backbone.describe();
        let run = groups.min(description.groups.len());
        let x = self.forward_groups(0..run, Features::Map(images))?;
        let is_all = groups == description.all_groups().len();
        Ok(if is_all && description.score_act.is_none() {
            GroupOutput::Vector(self.head_input(x)?)
        } else {
            GroupOutput::Features(x)
        })
    }

    /// From the output of the first `groups` groups to scores.
    pub(crate) fn forward_from(&self, groups: usize, output: GroupOutput) -> Result<Tensor<2>> {
        match output {
            GroupOutput::Features(x) => {
                let rest = groups..self.backbone.describe().groups.len();
                self.forward_head(self.forward_groups(rest, x)?, false)
            }
            GroupOutput::Vector(vector) => {
                let scores = self.head.score(self.placement.at_head(vector));
                Ok(self.placement.at_start(scores))
            }
        }
    }

    /// The outputs of the named groups, in the order of the network. What the layers before the
    /// classifier give (`pre_logits`) is no map and no tokens; [`forward_head`](Self::forward_head)
    /// gives it.
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
        let all = self.backbone.describe().groups.clone();
        for name in groups {
            if !all.iter().any(|group| group.name == *name) {
                return Err(self.unknown_group(name, all));
            }
        }
        let mut x = Features::Map(images);
        let mut outputs = Vec::with_capacity(groups.len());
        for (index, group) in all.into_iter().enumerate() {
            x = self
                .backbone
                .forward_group(index, self.placement.at_group(index, x))?;
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
        self.backbone.describe().in_channels
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
        self.backbone.describe().head_features(self.head.pool)
    }

    /// Everything about the model that is not a tensor.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The model with other words for where its weights came from: one from a folder knows its file alone.
    pub fn with_origin(mut self, origin: impl Into<String>) -> Self {
        self.set_origin(origin.into());
        self
    }

    /// What images go through before this model sees them, brought to `image_size` or left at their
    /// own size.
    pub fn preprocess(&self, image_size: Option<ImageSize>) -> Preprocess {
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

    /// Says what the outputs mean.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are not as many thresholds or scales as outputs.
    pub fn with_outputs(mut self, outputs: Outputs) -> Result<Self> {
        let count = self.num_classes();
        let scales = outputs
            .scaling
            .iter()
            .flat_map(|own| [own.mean.len(), own.std.len()]);
        let thresholds = Some(outputs.thresholds.len()).filter(|own| *own > 0);
        if let Some(own) = scales.chain(thresholds).find(|own| *own != count) {
            let expected = format!("{count} numbers, one for each output");
            return Err(Error::argument("outputs", expected, own));
        }
        Arc::make_mut(&mut self.info).outputs = outputs;
        Ok(self)
    }

    pub(crate) fn set_thresholds(&mut self, thresholds: &[f32]) {
        let info = Arc::make_mut(&mut self.info);
        info.outputs.thresholds = thresholds.to_vec();
    }

    pub(crate) fn set_image_size(&mut self, size: Option<ImageSize>) {
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
        let mut groups = self.backbone.describe().all_groups();
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

    /// Whether the model takes images of this size.
    ///
    /// # Errors
    /// [`Error::InputShape`] if it does not.
    pub fn check_image_size(&self, size: ImageSize) -> Result<()> {
        self.check_shape([1, self.in_channels(), size.height, size.width])
    }

    pub(crate) fn check_input(&self, images: &Tensor<4>) -> Result<()> {
        self.check_shape(images.dims())
    }

    fn check_shape(&self, [batch, channels, height, width]: [usize; 4]) -> Result<()> {
        let in_channels = self.in_channels();
        let (fits, size) = match self.backbone.describe().input_size {
            InputSize::AtLeast(least) => (
                height >= least && width >= least,
                format!("height, width] with height and width of at least {least}"),
            ),
            InputSize::MultipleOf(side) => (
                height > 0 && height % side == 0 && width > 0 && width % side == 0,
                format!("height, width] with height and width multiples of {side}"),
            ),
            InputSize::Exactly(size) => (
                [height, width] == size,
                format!("{}, {}]", size[0], size[1]),
            ),
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
