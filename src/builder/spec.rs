//! What to build, as plain data.

use super::stem::StemRule;
use crate::init::Init;
use crate::model::{Outputs, Pool, StemOptions};
use crate::preprocess::{ImageSize, Normalization, Resizing};
use crate::weights::Weights;

/// The models by name: `Zoo::resnet18()`, `Zoo::get("resnet18")`.
#[derive(Debug, Clone, Copy)]
pub struct Zoo;

/// What to build: an architecture, its weights, and how they are adapted. It holds no tensors, and
/// making one reads nothing.
///
/// ```
/// use burn_zoo::prelude::*;
///
/// # fn main() -> burn_zoo::Result<()> {
/// let spec = Zoo::resnet18().weights(Weights::Random(42)).adapt(1, 10);
/// let model = spec.build(&Device::default())?;
/// assert_eq!((model.in_channels(), model.num_classes()), (1, 10));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub(crate) architecture: &'static str,
    pub(crate) weights: Weights,
    /// The key of a weights file, and the prefix of its names, that count.
    pub(crate) weights_key: Option<String>,
    pub(crate) weights_prefix: Option<String>,
    /// Channels and classes of the weights, where something beside the file says so; the file must
    /// then agree.
    pub(crate) declared: Option<(usize, usize)>,
    /// The image size of the weights, where something beside the file says so.
    pub(crate) declared_size: Option<ImageSize>,
    /// The stem of the weights, where something beside the file says that it was changed.
    pub(crate) declared_stem: Option<StemOptions>,
    /// Where the weights come from, in words, once that is known better than the path of a file.
    pub(crate) origin: Option<String>,
    /// The licence that the weights' entry, or the configuration of their repository or folder, names.
    pub(crate) licence: Option<String>,
    /// Where that was read, if upstream does not state it for these weights.
    pub(crate) licence_source: Option<String>,
    /// The names of the weights' classes, if that configuration has them.
    pub(crate) classes: Vec<String>,
    /// What the outputs of the weights mean.
    pub(crate) outputs: Outputs,
    /// What its configuration leaves open, and what it is taken to be.
    pub(crate) assumed: Vec<String>,
    pub(crate) in_channels: Option<usize>,
    pub(crate) num_classes: Option<usize>,
    pub(crate) image_size: Option<ImageSize>,
    pub(crate) stem_rule: StemRule,
    pub(crate) stem: StemOptions,
    pub(crate) head_init: Option<Init>,
    pub(crate) pool: Option<Pool>,
    pub(crate) drop_rate: f64,
    pub(crate) drop_path_rate: f64,
    /// ImageNet's, or that of the weights' entry, if it was not said.
    pub(crate) normalization: Option<Normalization>,
    /// That of the weights' entry, if it was not said.
    pub(crate) resizing: Option<Resizing>,
    pub(crate) seed: u64,
}

/// Classes of an ImageNet model, which a random one has unless told otherwise.
pub(crate) const IMAGENET_CLASSES: usize = 1000;

impl Spec {
    pub(crate) fn of(architecture: &'static str) -> Self {
        Self {
            architecture,
            weights: Weights::Default,
            weights_key: None,
            weights_prefix: None,
            declared: None,
            declared_size: None,
            declared_stem: None,
            origin: None,
            licence: None,
            licence_source: None,
            classes: Vec::new(),
            outputs: Outputs::default(),
            assumed: Vec::new(),
            in_channels: None,
            num_classes: None,
            image_size: None,
            stem_rule: StemRule::Fold,
            stem: StemOptions::default(),
            head_init: None,
            pool: None,
            drop_rate: 0.0,
            drop_path_rate: 0.0,
            normalization: None,
            resizing: None,
            seed: 0,
        }
    }

    /// Weights of which something beside the file says how many channels and classes they have.
    pub(crate) fn declared_weights(
        mut self,
        weights: Weights,
        in_channels: usize,
        num_classes: usize,
        image_size: ImageSize,
    ) -> Self {
        self.weights = weights;
        self.declared = Some((in_channels, num_classes));
        self.declared_size = Some(image_size);
        self
    }

    /// Where the weights come from, in words.
    pub fn weights_in_words(&self) -> String {
        self.weights.to_string()
    }

    /// What the configuration of a model from a folder or the hub leaves open, and what it is taken
    /// to be, in words.
    pub fn assumed(&self) -> &[String] {
        &self.assumed
    }

    /// The architecture's name.
    pub fn architecture(&self) -> &'static str {
        self.architecture
    }

    /// Chooses the weights.
    pub fn weights(mut self, weights: impl Into<Weights>) -> Self {
        self.weights = weights.into();
        // What was known of other weights does not hold for these.
        self.declared = None;
        self.declared_size = None;
        self.declared_stem = None;
        self.origin = None;
        self.licence = None;
        self.licence_source = None;
        self.classes.clear();
        self.outputs = Outputs::default();
        self.assumed.clear();
        self
    }

    /// Takes the tensors under this key of a weights file: `state_dict_ema`, or `model.ema` for one
    /// inside of another. Unasked, the key is found, as [`WeightsFile`](crate::weights::WeightsFile) says;
    /// of several that fit, one must be named here. Only for weights that are a file.
    pub fn weights_key(mut self, key: impl Into<String>) -> Self {
        self.weights_key = Some(key.into());
        self
    }

    /// Takes the tensors of a weights file whose names begin with this: `student.`. Unasked, the
    /// usual prefixes are found. Only for weights that are a file.
    pub fn weights_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.weights_prefix = Some(prefix.into());
        self
    }

    /// The same weights from their second source: the file that upstream itself published, such as
    /// torchvision's. Of no effect on weights that the manifest does not name.
    pub fn original(mut self) -> Self {
        self.weights = match self.weights {
            Weights::Default => Weights::Original(None),
            Weights::Tag(tag) => Weights::Original(Some(tag)),
            other => other,
        };
        self
    }

    /// Asks for this many input channels and classes; see [`in_channels`](Self::in_channels) and
    /// [`num_classes`](Self::num_classes).
    pub fn adapt(self, in_channels: usize, num_classes: usize) -> Self {
        self.in_channels(in_channels).num_classes(num_classes)
    }

    /// Asks for this many input channels; unasked, a model has those of its weights (3, if they are
    /// random). The first convolution is adapted by [`stem_rule`](Self::stem_rule).
    pub fn in_channels(mut self, channels: usize) -> Self {
        self.in_channels = Some(channels);
        self
    }

    /// Asks for this many classes, 0 for no head; unasked, a model has those of its weights (1000,
    /// if they are random). If the weights have another number the head is made afresh; if they have the same it is
    /// kept, unless [`head_init`](Self::head_init) asks for a new one.
    pub fn num_classes(mut self, classes: usize) -> Self {
        self.num_classes = Some(classes);
        self
    }

    /// The image size to build for, a side or `[height, width]`. Convolutional families ignore it; a vision transformer's
    /// position embeddings are resampled to it. A Swin transformer below 224 pixels has smaller windows
    /// than any published weights. Unasked, it is upstream's.
    pub fn image_size(mut self, size: impl Into<ImageSize>) -> Self {
        self.image_size = Some(size.into());
        self
    }

    /// How the first convolution is brought to other input channels; [`StemRule::Fold`] by default.
    pub fn stem_rule(mut self, rule: StemRule) -> Self {
        self.stem_rule = rule;
        self
    }

    /// Makes the stem as fine as it can be, for images of some 32 pixels: convolutions of stride 1, no
    /// pooling behind them; patches of a quarter of their side, of two pixels at least. Of a ResNet, whose first stage sees 7 x 7
    /// positions of an image of 28 pixels, it then sees 28 x 28, at sixteen times the cost.
    /// Kernels that were trained stay; those of patches are resampled (Beyer et al., "FlexiViT", CVPR
    /// 2023, <https://arxiv.org/abs/2212.08013>).
    ///
    /// What was asked of the stem before is forgotten; [`stem_stride`](Self::stem_stride) and
    /// [`stem_pool`](Self::stem_pool) behind it say otherwise. [`build`](Self::build) gives an error for an
    /// architecture whose stem cannot be changed.
    pub fn small_images(mut self) -> Self {
        self.stem = StemOptions {
            small_images: true,
            ..StemOptions::default()
        };
        self
    }

    /// Pixels, down and across, for each position that the convolutions of the stem give: 1 or 2 in a
    /// ResNet; in a vision transformer the side of a patch. A stem of several convolutions that stride
    /// keeps the strides of the first ones. Upstream's by default.
    pub fn stem_stride(mut self, stride: usize) -> Self {
        self.stem.stride = Some(stride);
        self
    }

    /// Whether the stem pools behind its convolutions; as upstream's by default.
    pub fn stem_pool(mut self, pool: bool) -> Self {
        self.stem.pool = Some(pool);
        self
    }

    /// A new head that starts by this rule, whatever the weights have. Unasked, a head that has to be made starts by
    /// upstream's rule ([`Init::PyTorch`] in a ResNet).
    pub fn head_init(mut self, init: Init) -> Self {
        self.head_init = Some(init);
        self
    }

    /// How features become one vector; upstream's way by default.
    pub fn pool(mut self, pool: Pool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Dropout before the last layer, in `[0, 1)`; 0 by default.
    pub fn drop_rate(mut self, rate: f64) -> Self {
        self.drop_rate = rate;
        self
    }

    /// Stochastic depth: the rate of the last block, in `[0, 1)`; 0 by default. In a MobileNet the
    /// last block stays a little below it, as in timm.
    pub fn drop_path_rate(mut self, rate: f64) -> Self {
        self.drop_path_rate = rate;
        self
    }

    /// Mean and standard deviation of the images that the weights were trained on; by default those
    /// that the weights' entry in the manifest says, else ImageNet's.
    pub fn normalization(mut self, normalization: Normalization) -> Self {
        self.normalization = Some(normalization);
        self
    }

    /// How images of any size were brought to the size that the weights were trained on; by default
    /// what the weights' entry in the manifest says, else bicubic without a cut.
    pub fn resizing(mut self, resizing: Resizing) -> Self {
        self.resizing = Some(resizing);
        self
    }

    /// The seed of everything that is made afresh (a new head, a new first convolution); 0 by
    /// default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}
