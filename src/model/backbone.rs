//! What every backbone can do, whatever its family.

use std::fmt::Debug;

use burn::tensor::Tensor;

use super::features::{Features, Pool, Pooling};
use super::host_tensor::HostTensor;
use super::key_table::{KeyTable, OtherNames};
use super::patch_kernels::resample_kernels;
use super::pos_embed::PosEmbed;
use super::position_table::PositionTable;
use super::stem::{StemShape, Trained};
use crate::error::Result;
use crate::init::Init;
use crate::nn::Act;

/// One step of a model, the unit in which it freezes: a stem, a stage, a block.
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

    /// A group whose parameters' paths start with its name.
    pub fn named(name: &str) -> Self {
        Self::new(name, format!("{name}."))
    }

    /// A stem and so many blocks, `block1` and so on, which are the list `blocks` in parameters' paths.
    pub fn stem_and_blocks(blocks: usize) -> Vec<Self> {
        let blocks = (0..blocks)
            .map(|index| Self::new(format!("block{}", index + 1), format!("blocks.{index}.")));
        std::iter::once(Self::named("stem")).chain(blocks).collect()
    }
}

/// Which image sizes a backbone takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputSize {
    /// Any height and width of at least this many pixels.
    AtLeast(usize),
    /// Any height and width that are multiples of this many pixels.
    MultipleOf(usize),
    /// Exactly this height and width, fixed when the model was built.
    Exactly([usize; 2]),
}

/// A convolution that sees the image, and what follows it: an adaptation of the input touches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstConv {
    /// Path of the convolution.
    pub conv: String,
    /// Path of the batch normalisation that follows it directly, if one does. A constant that the
    /// convolution gains goes into its running mean; without one it goes into the bias.
    pub norm: Option<String>,
    /// Whether its kernels are standardised before they are used: they have neither scale nor mean
    /// then, and a constant has nowhere to go.
    pub is_standardized: bool,
    /// Whether the constant goes into the position embeddings, as the convolution has no bias.
    pub into_positions: bool,
}

impl FirstConv {
    fn at(conv: &str) -> Self {
        Self {
            conv: conv.to_owned(),
            norm: None,
            is_standardized: false,
            into_positions: false,
        }
    }

    /// Path of the kernels.
    pub(crate) fn weight(&self) -> String {
        format!("{}.weight", self.conv)
    }
}

/// The name of the group between pooling and classifier.
pub(crate) const PRE_LOGITS: &str = "pre_logits";

/// What is known of a backbone beside its parameters, said once when it is built.
///
/// Everything that freezing, surgery, loading, export and the summary need to know about a family
/// is here; nothing outside `zoo` knows a family by name.
#[derive(Debug, Clone)]
pub struct Description {
    /// The groups that run one after the other, from the input on.
    pub groups: Vec<Group>,
    /// Whether there are layers with parameters between the groups and the classifier: a group
    /// `pre_logits` then follows, with that for a prefix.
    pub has_pre_logits: bool,
    /// Channels of the image.
    pub in_channels: usize,
    /// Sizes of the image.
    pub input_size: InputSize,
    /// The stem, of families in which it can be made finer for small images.
    pub stem: Option<StemShape>,
    /// Rows at the lower edge of the image, and columns at the right one, that are not seen: what
    /// is no whole patch any more.
    pub unseen_edge: [usize; 2],
    /// Channels of what is pooled: of the last group's output, unless layers before the pooling
    /// change it.
    pub num_features: usize,
    /// Length of the vector that a classifier gets, if the layers before it change that of the
    /// pooled features.
    pub head_features: Option<usize>,
    /// The ways in which the features can be pooled.
    pub pools: &'static [Pool],
    /// Tokens before those of the patches, such as a class token.
    pub prefix_tokens: usize,
    /// Whether these are pooled with those of the patches.
    pub pools_prefix: bool,
    /// The convolutions that see the image: one, or the branches of a stem whose sum goes on.
    pub first_convs: Vec<FirstConv>,
    /// Upstream's name of the classifier.
    pub classifier: &'static str,
    /// Upstream's name of a second classifier, where there are two. The backbone then gives a vector for
    /// each, one behind the other, and the mean of their scores is the model's.
    pub second_classifier: Option<&'static str>,
    /// Where the classifier sees every position of the last map: what activates its scores, which are
    /// pooled then. Without classes the features are pooled.
    pub score_act: Option<Act>,
    /// Whether upstream has the layers before the classifier only where there are classes.
    pub pre_logits_for_classes: bool,
    /// How upstream's classifiers start.
    pub classifier_init: Init,
    /// Upstream's name for every parameter but the classifier's.
    pub key_table: KeyTable,
    /// Other names that files may have for the tensors.
    pub other_names: Vec<OtherNames>,
    /// What of a file is left out: tensors whose upstream names begin so, which this model does not use.
    pub unread: &'static [&'static str],
    /// A learnt embedding for each place of a grid, which another image size resamples.
    pub pos_embed: Option<PosEmbed>,
    /// Tables of what attention within windows adds to its scores, which windows of another size
    /// resample.
    pub position_tables: Vec<PositionTable>,
    /// Paths of parameters of rank two and more that weight decay leaves alone; upstream's
    /// `no_weight_decay`.
    pub no_weight_decay: Vec<String>,
    /// The layer of a parameter by its upstream name, counted from 0 at the input, where upstream
    /// counts otherwise than by the blocks of a group.
    pub layer_of: Option<fn(&str) -> Option<usize>>,
}

impl Description {
    /// A description of a convolutional network: any image of at least one pixel, pooled in any way
    /// but by a token, with a classifier `fc`, and with names that are upstream's.
    ///
    /// `num_features` are the channels of the last group's output, `first_conv` is the path of the
    /// first convolution; if it is that of a [`ConvNorm`](crate::nn::ConvNorm), the normalisation
    /// follows. [`also_first`](Self::also_first) adds others that see the image.
    pub fn new(
        groups: Vec<Group>,
        in_channels: usize,
        num_features: usize,
        first_conv: &str,
    ) -> Self {
        Self {
            groups,
            has_pre_logits: false,
            in_channels,
            input_size: InputSize::AtLeast(1),
            stem: None,
            unseen_edge: [0; 2],
            num_features,
            head_features: None,
            pools: &[
                Pool::Avg,
                Pool::Max,
                Pool::AvgMax,
                Pool::CatAvgMax,
                Pool::None,
            ],
            prefix_tokens: 0,
            pools_prefix: false,
            first_convs: vec![FirstConv::at(first_conv)],
            classifier: "fc",
            second_classifier: None,
            score_act: None,
            pre_logits_for_classes: false,
            classifier_init: Init::PyTorch,
            key_table: KeyTable::new(&[]),
            other_names: Vec::new(),
            unread: &[],
            pos_embed: None,
            position_tables: Vec::new(),
            no_weight_decay: Vec::new(),
            layer_of: None,
        }
    }

    /// Adds the path of another convolution that sees the image.
    pub fn also_first(mut self, conv: &str) -> Self {
        self.first_convs.push(FirstConv::at(conv));
        self
    }

    /// Whether a tensor of a file that has one shape can be brought to another, which that at this
    /// path has in the model.
    pub(crate) fn resamples(
        &self,
        trained: &Trained,
        path: &str,
        from: &[usize],
        to: &[usize],
    ) -> bool {
        let mut tables = self.position_tables.iter();
        let embed = self.pos_embed.as_ref().filter(|embed| embed.path == path);
        embed.is_some_and(|embed| embed.resamples(trained, from, to))
            || self.resamples_patches(trained, path, from, to)
            || tables.any(|table| table.path == path && table.resamples(trained, from, to))
    }

    /// The values of such a tensor at the shape that it has in the model.
    pub(crate) fn resample(
        &self,
        trained: &Trained,
        path: &str,
        tensor: HostTensor,
        shape: &[usize],
    ) -> Vec<f32> {
        if !self.resamples(trained, path, &tensor.shape, shape) {
            return tensor.data;
        }
        if let [_, _, height, width] = *shape {
            return resample_kernels(&tensor, [height, width]);
        }
        let mut tables = self.position_tables.iter();
        let table = tables.find(|table| table.path == path);
        match (table, &self.pos_embed) {
            (Some(table), _) => table.resample(trained, &tensor, shape),
            (None, Some(embed)) => embed.resample(trained, &tensor, shape),
            (None, None) => tensor.data,
        }
    }

    /// Whether these are the kernels of patches that were asked to have another side.
    fn resamples_patches(
        &self,
        trained: &Trained,
        path: &str,
        from: &[usize],
        to: &[usize],
    ) -> bool {
        let (Some(stem), [out, _, height, width], [wanted, _, new_height, new_width]) =
            (&self.stem, from, to)
        else {
            return false;
        };
        let side = trained.stem_stride.unwrap_or(stem.upstream_stride());
        let mut first = self.first_convs.iter();
        stem.is_patch()
            && first.any(|first| first.weight() == path)
            && out == wanted
            && from[1] == to[1]
            && [*height, *width] == [side; 2]
            && [*new_height, *new_width] == [stem.stride(); 2]
            && side != stem.stride()
    }

    /// The stem, if it is another than upstream's.
    pub fn changed_stem(&self) -> Option<&StemShape> {
        self.stem.as_ref().filter(|stem| stem.is_changed())
    }

    /// The groups, and the layers before the classifier if there are any.
    pub fn all_groups(&self) -> Vec<Group> {
        let pre_logits = self.has_pre_logits.then(|| Group::named(PRE_LOGITS));
        self.groups.iter().cloned().chain(pre_logits).collect()
    }

    /// Length of the vector that a classifier gets, with this pooling.
    pub fn head_features(&self, pool: Pool) -> usize {
        self.head_features
            .unwrap_or(self.num_features * pool.multiplier())
    }
}

/// The forward pass of a backbone: a sequence of [groups](Group), each a function from features to
/// features, and what turns the last features into one vector for each image.
pub trait Backbone: Debug + Send + Sync {
    /// Runs one group on the output of the group before it; the first takes the image.
    ///
    /// The input has passed [`Classifier`](crate::Classifier)'s checks.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for features that the group does
    /// not take, or a group that there is not.
    fn forward_group(&self, index: usize, x: Features) -> Result<Features>;

    /// Turns the features of the last group into the vector that the classifier gets. Families
    /// with layers between pooling and classifier run them here.
    ///
    /// # Errors
    /// As [`forward_group`](Self::forward_group).
    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        Ok(pooling.vector(features))
    }

    /// What timm's constructor, or that of the library that has the network, must be told to build the
    /// same model, beside channels, classes, pooling, a size of images that is fixed, and rates of
    /// dropout and stochastic depth above 0. Where its own rate is not 0, it is told 0 here.
    fn timm_args(&self, pool: Pool) -> serde_json::Map<String, serde_json::Value> {
        let _ = pool;
        serde_json::Map::new()
    }
}
