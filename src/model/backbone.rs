//! What every backbone can do, whatever its family.

use burn::tensor::Tensor;

use super::features::{Features, Pool};
use super::host_tensor::HostTensor;
use super::key_table::{KeyTable, OtherNames};
use crate::init::Init;

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
    /// The input has passed [`Classifier`](crate::Classifier)'s checks.
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

    /// Other names that files may have for the tensors.
    fn other_names(&self) -> Vec<OtherNames> {
        Vec::new()
    }

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
