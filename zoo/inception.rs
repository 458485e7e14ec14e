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
use crate::model::{Backbone, Description, Features, InputSize, Pool, Stages, key_table};
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
        let stem = builder.blocks("stem", &self.stem)?;
        let mut stages = Vec::new();
        for (stage, blocks) in (1..).zip(&self.stages) {
            stages.push(builder.blocks(&format!("stage{stage}"), blocks)?);
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let first = "stem.0.branches.0.layers.0.conv";
        let description = Description {
            // Nothing is padded where the size is halved.
            input_size: InputSize::AtLeast(75),
            classifier: self.classifier,
            classifier_init: self.weights.clone(),
            key_table: builder.table,
            unread: &["AuxLogits."],
            layer_of: Some(layer_of),
            ..Description::new(groups, options.in_channels, builder.channels, first)
        };
        Ok((Inception { stem, stages }, description))
    }
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
