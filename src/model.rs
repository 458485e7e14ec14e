//! Backbone and classifier: what a model is, whatever its family.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::error::{Error, Result};
use crate::features::{Features, Pool};
use crate::init::Init;
use crate::nn::{Dropout, Linear};
use crate::preprocess::{Normalization, Preprocess, Resizing};
use crate::weights::{HostTensor, KeyTable, LoadReport};
use crate::zoo::AnyBackbone;

/// One step of a backbone, the unit in which it freezes: a stem, a stage, a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name users write: `stem`, `stage1`, `block12`.
    pub name: String,
    /// Every parameter of the group has a path that starts with this.
    pub prefix: String,
}

impl Group {
    /// A group whose parameters' paths start with `prefix`.
    pub fn new(name: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            prefix: prefix.into(),
        }
    }
}

/// Which image sizes a backbone takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputSize {
    /// Any height and width of at least this many pixels.
    AtLeast(usize),
    /// Exactly this height and width, fixed when the model was built.
    Exactly(usize),
}

/// The layers that an adaptation of the input touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstConv {
    /// Path of the first convolution.
    pub conv: String,
    /// Path of the batch normalisation that follows it directly, if one does. A constant that the
    /// convolution gains goes into its running mean; without one it goes into the bias.
    pub norm: Option<String>,
}

/// A feature extractor: a sequence of [groups](Group), each a function from features to features.
///
/// Everything that freezing, surgery, loading, export and the summary need to know about a family
/// is said here; nothing outside `zoo` knows a family by name.
pub trait Backbone {
    /// The groups, from the input to the output.
    fn groups(&self) -> Vec<Group>;

    /// Runs one group on the output of the group before it; the first takes the image.
    ///
    /// The input has passed [`Classifier`]'s checks.
    fn forward_group(&self, index: usize, x: Features) -> Features;

    /// Channels of the image.
    fn in_channels(&self) -> usize;

    /// Sizes of the image.
    fn input_size(&self) -> InputSize;

    /// Rows at the lower edge of the image, and columns at the right one, that are not seen: what
    /// is no whole patch any more.
    fn unseen_edge(&self) -> usize {
        0
    }

    /// Channels of the features.
    fn num_features(&self) -> usize;

    /// Whether the features can be pooled in this way.
    fn supports(&self, pool: Pool) -> bool;

    /// Turns features into one vector per image, `[batch, num_features * pool.multiplier()]`.
    fn pool(&self, features: Features, pool: Pool) -> Tensor<2>;

    /// Upstream's name for every parameter.
    fn key_table(&self) -> KeyTable;

    /// The layers that an adaptation of the input touches.
    fn first_conv(&self) -> FirstConv;

    /// How upstream initialises the weight with this path and shape (PyTorch's layout). Biases
    /// follow their weight's rule.
    fn init_rule(&self, path: &str, shape: &[usize]) -> Init;

    /// What timm's constructor must be told beside channels, classes and pooling to build the same
    /// model.
    fn timm_args(&self, pool: Pool) -> serde_json::Map<String, serde_json::Value> {
        let _ = pool;
        serde_json::Map::new()
    }

    /// Whether the family has a rule that brings this parameter from one shape to another, such as
    /// position embeddings at another image size.
    fn resamples(&self, path: &str, from: &[usize], to: &[usize]) -> bool {
        let _ = (path, from, to);
        false
    }

    /// The values of a tensor at the shape that this model needs. Only called where
    /// [`resamples`](Backbone::resamples) says that there is a rule.
    fn resample(&self, path: &str, tensor: &HostTensor, shape: &[usize]) -> Vec<f32> {
        let _ = (path, shape);
        tensor.data.clone()
    }

    /// Paths of parameters of rank two and more that weight decay leaves alone; upstream's
    /// `no_weight_decay`.
    fn no_weight_decay(&self) -> &[&str] {
        &[]
    }
}

/// The layers behind the backbone: pooling, dropout and the last affine layer.
#[derive(Module, Debug)]
pub struct Head {
    /// The classifier; `None` if the model has no classes.
    pub fc: Option<Linear>,
    dropout: Dropout,
    #[module(skip)]
    pool: Pool,
}

impl Head {
    pub(crate) fn new(
        num_features: usize,
        num_classes: usize,
        pool: Pool,
        drop_rate: f64,
        device: &Device,
    ) -> Self {
        let in_features = num_features * pool.multiplier();
        Self {
            fc: (num_classes > 0).then(|| Linear::new(in_features, num_classes, device)),
            dropout: Dropout::new(drop_rate),
            pool,
        }
    }

    /// How features become a vector.
    pub fn pool(&self) -> Pool {
        self.pool
    }
}

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
        match pre_logits {
            true => pooled,
            false => self.score(pooled),
        }
    }

    fn score(&self, pooled: Tensor<2>) -> Tensor<2> {
        match &self.head.fc {
            Some(fc) => fc.forward(self.head.dropout.forward(pooled)),
            None => pooled,
        }
    }

    /// The output of the first `groups` groups; of the whole backbone, pooled.
    pub(crate) fn forward_to(&self, images: Tensor<4>, groups: usize) -> Result<Between> {
        self.check_input(&images)?;
        let x = (0..groups).fold(Features::Map(images), |x, index| {
            self.backbone.forward_group(index, x)
        });
        Ok(match groups == self.backbone.groups().len() {
            true => Between::Pooled(self.forward_head(x, true)),
            false => Between::Features(x),
        })
    }

    /// From the output of the first `groups` groups to scores.
    pub(crate) fn forward_from(&self, groups: usize, between: Between) -> Tensor<2> {
        match between {
            Between::Features(x) => {
                let rest = groups..self.backbone.groups().len();
                let x = rest.fold(x, |x, index| self.backbone.forward_group(index, x));
                self.forward_head(x, false)
            }
            Between::Pooled(pooled) => self.score(pooled),
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
        let known = self.backbone.groups();
        for name in groups {
            if !known.iter().any(|group| group.name == *name) {
                return Err(self.unknown_group(name, known));
            }
        }
        let mut x = Features::Map(images);
        let mut outputs = Vec::with_capacity(groups.len());
        for (index, group) in known.into_iter().enumerate() {
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
        let wanted = self.in_channels();
        let (fits, size) = match self.backbone.input_size() {
            InputSize::AtLeast(least) => (
                height >= least && width >= least,
                format!("height, width] with height and width of at least {least}"),
            ),
            InputSize::Exactly(size) => {
                (height == size && width == size, format!("{size}, {size}]"))
            }
        };
        if batch > 0 && channels == wanted && fits {
            return Ok(());
        }
        Err(Error::InputShape {
            model: self.info.architecture.clone(),
            expected: format!("[batch, {wanted}, {size}"),
            found: format!("[{batch}, {channels}, {height}, {width}]"),
        })
    }
}

/// What lies between two groups of a model, or between its backbone and its last layer.
#[derive(Debug, Clone)]
pub(crate) enum Between {
    Features(Features),
    /// `[batch, num_features]`
    Pooled(Tensor<2>),
}

impl Between {
    /// Applies the same to the tensor, whatever its rank.
    pub fn map(self, map: &impl Map) -> Self {
        match self {
            Between::Features(Features::Map(x)) => Between::Features(Features::Map(map.map(x))),
            Between::Features(Features::Tokens(x)) => {
                Between::Features(Features::Tokens(map.map(x)))
            }
            Between::Pooled(x) => Between::Pooled(map.map(x)),
        }
    }

    /// The shape, batch first.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Between::Features(features) => features.dims(),
            Between::Pooled(x) => x.dims().to_vec(),
        }
    }

    /// The values in row-major order.
    pub fn into_data(self) -> TensorData {
        match self {
            Between::Features(Features::Map(x)) => x.into_data(),
            Between::Features(Features::Tokens(x)) => x.into_data(),
            Between::Pooled(x) => x.into_data(),
        }
    }
}

/// A function of tensors of any rank.
pub(crate) trait Map {
    fn map<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D>;
}

/// Name of the last group of every model.
pub(crate) const HEAD: &str = "head";
