//! Inception V3: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR
//! 2016, <https://arxiv.org/abs/1512.00567>; V4 and Inception-ResNet V2: Szegedy et al.,
//! "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", AAAI 2017,
//! <https://arxiv.org/abs/1602.07261>.
//!
//! Blocks of branches that lie side by side, with large kernels split into 1xN and Nx1; those of
//! Inception-ResNet add a part of what they compute to their input. The structure is timm's
//! `inception_v3.py`, `inception_v4.py` and `inception_resnet_v2.py`; V3 is torchvision's too. The
//! auxiliary classifier that some files of V3 hold, and that only training used, is left out.
//! Parameters are those of a model for 1000 classes, accuracies timm's at 299 pixels.
//!
//! | variant | parameters | ImageNet top-1 (weights) |
//! |---|---|---|
//! | `inception_v3` | 23 834 568 | 77.5 % (`tv_in1k`) |
//! | `inception_v4` | 42 679 816 | 80.1 % (`tf_in1k`) |
//! | `inception_resnet_v2` | 55 843 464 | 80.4 % (`tf_in1k`) |

mod blocks;
mod networks;

use burn::module::Module;

use self::blocks::{Block, BlockConfig, Builder};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, InputSize, Pool, Stages, StemShape, key_table,
};
use crate::nn::ParamBuilder;

variants! {
    family: Inception, manifest: "inception.toml", paper: "https://arxiv.org/abs/1602.07261",
    pool: Pool::Avg;
    inception_v3 (299): "V3, 11 blocks" => Config::v3();
    inception_v4 (299): "V4, 17 blocks" => Config::v4();
    inception_resnet_v2 (299): "Inception-ResNet V2, 43 blocks" => Config::resnet_v2();
}

/// The shape of an Inception network.
#[derive(Debug, Clone)]
struct Config {
    stem: Vec<BlockConfig>,
    stages: [Vec<BlockConfig>; 3],
    weights: Init,
    classifier: &'static str,
}

impl Config {
    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<Inception> {
        options.check_no_drop_path()?;
        let mut builder = Builder {
            table: key_table![],
            channels: options.in_channels,
            weights: &self.weights,
            params,
        };
        let shape = self.stem_shape(options)?;
        let stem_blocks = self.stem_blocks(&shape);
        let stem = builder.blocks("stem", &stem_blocks)?;
        let mut stages = Vec::new();
        for (stage, blocks) in (1..).zip(&self.stages) {
            stages.push(builder.blocks(&format!("stage{stage}"), blocks)?);
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let first = "stem.0.branches.0.layers.0.conv";
        let description = Description {
            input_size: InputSize::AtLeast(least_size(&stem_blocks)),
            stem: Some(shape),
            classifier: self.classifier,
            classifier_init: self.weights.clone(),
            key_table: builder.table,
            unread: &["AuxLogits."],
            layer_of: Some(layer_of),
            ..Description::new(groups, options.in_channels, builder.channels, first)
        };
        Ok((Inception { stem, stages }, description))
    }

    /// V4 pools beside convolutions that stride, as they do; the others have two poolings of their own.
    fn stem_shape(&self, options: &BackboneOptions) -> Result<StemShape> {
        let strided = self.stem.iter().filter(|block| block.strides()).count();
        let pools = self.stem.iter().any(BlockConfig::is_pooling);
        options.stem.convolutions(&vec![2; strided], pools)
    }

    /// The stem's blocks in that shape. A pooling that is left out leaves an empty one.
    fn stem_blocks(&self, shape: &StemShape) -> Vec<BlockConfig> {
        let mut strides = shape.strides().iter();
        let mut blocks = self.stem.clone();
        for block in &mut blocks {
            if block.is_pooling() && shape.pools() == Some(false) {
                block.words.clear();
            } else if block.strides() && strides.next() == Some(&1) {
                block.words = block.words.replace("3s", "3v").replace("max", "dense_max");
            }
        }
        blocks
    }
}

/// The smallest side that leaves the last stage a position. Nothing is padded where the size is halved.
fn least_size(stem: &[BlockConfig]) -> usize {
    // Two stages halve what the stem gives.
    stem.iter().rev().fold(7, |side, block| {
        if block.is_pooling() || block.strides() {
            2 * side + 1
        } else if block.words.contains("3v") {
            side + 2
        } else {
            side
        }
    })
}

/// timm counts the first three convolutions, the two behind them and the blocks, and in
/// Inception-ResNet what stands behind `repeat_2` as one.
fn layer_of(name: &str) -> Option<usize> {
    let (first, rest) = name.split_once('.')?;
    let number = || rest.split('.').next()?.parse::<usize>().ok();
    let first = first.to_ascii_lowercase();
    Some(match first.as_str() {
        "features" => number()?.max(2),
        "repeat" => 150 + number()?,
        "repeat_1" => 250 + number()?,
        "repeat_2" => 350 + number()?,
        "block8" | "conv2d_7b" => 400,
        _ => {
            if let Some(place) = first.strip_prefix("conv2d_") {
                return Some(usize::from(place > "3"));
            }
            let [digit, letter] = *first.strip_prefix("mixed_")?.as_bytes() else {
                return None;
            };
            100 * usize::from(digit.checked_sub(b'4')?) + usize::from(letter.checked_sub(b'a')?)
        }
    })
}

#[derive(Module, Debug)]
struct Inception {
    stem: Vec<Block>,
    stages: Stages<Vec<Block>>,
}

impl Backbone for Inception {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}
