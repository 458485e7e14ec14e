//! GoogLeNet: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015,
//! <https://arxiv.org/abs/1409.4842>.
//!
//! Blocks of four branches, which see the map through windows of several sizes. The structure is
//! torchvision's `googlenet.py`, with batch normalisation, and with windows of 3x3 where the paper has
//! 5x5; timm has no such network. The two auxiliary classifiers that its files hold, and that only
//! training used, are left out. torchvision's model turns ImageNet's normalisation of its input into
//! one by 0.5 and 0.5; the weights' entry states the latter. Parameters are those of a model for 1000
//! classes, the accuracy is the one torchvision publishes at 224 pixels.
//!
//! | variant | parameters | ImageNet top-1 (`tv_in1k`) |
//! |---|---|---|
//! | `googlenet` | 6 624 904 | 69.8 % |

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, InputSize, KeyTable, MapLayer, Pool, Stages, key_table,
};
use crate::nn::{
    Act, BatchNorm2dConfig, Conv2dConfig, ConvNorm, ParamBuilder, max_pool2d, max_pool2d_ceil,
};

variants! {
    family: GoogLeNet, manifest: "googlenet.toml", paper: "https://arxiv.org/abs/1409.4842",
    pool: Pool::Avg, library: "torchvision";
    googlenet (224): "9 blocks of four branches" => Config;
}

const WEIGHTS: Init = Init::trunc_normal(0.01);

/// The shape of a GoogLeNet; there is one.
#[derive(Debug, Clone)]
struct Config;

/// Of each stage the side of the pooling at its end, and of its blocks the channels: those of the first
/// branch, of the two layers of the second and of the third, and those behind the pooling.
const STAGES: [(Option<usize>, &[[usize; 6]]); 3] = [
    (
        Some(3),
        &[[64, 96, 128, 16, 32, 32], [128, 128, 192, 32, 96, 64]],
    ),
    (
        Some(2),
        &[
            [192, 96, 208, 16, 48, 64],
            [160, 112, 224, 24, 64, 64],
            [128, 128, 256, 24, 64, 64],
            [112, 144, 288, 32, 64, 64],
            [256, 160, 320, 32, 128, 128],
        ],
    ),
    (
        None,
        &[[256, 160, 320, 32, 128, 128], [384, 192, 384, 48, 128, 128]],
    ),
];

impl Config {
    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<GoogLeNet> {
        options.check_no_drop_path()?;
        // The poolings behind the first and the third convolution go together.
        let shape = options.stem.convolutions(&[2], true)?;
        let pools = shape.pools() != Some(false);
        let stem = Stem {
            conv1: conv(options.in_channels, 64, 7, shape.stride(), params),
            conv2: conv(64, 64, 1, 1, params),
            conv3: conv(64, 192, 3, 1, params),
            pools,
        };
        let mut channels = 192;
        let mut stages = Vec::new();
        for (pool, blocks) in STAGES {
            let blocks = blocks.iter().map(|widths| {
                let block = block(channels, widths, params);
                let [one, _, three, _, five, pool] = widths;
                channels = one + three + five + pool;
                block
            });
            let blocks = blocks.collect();
            stages.push(Stage { blocks, pool });
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let description = Description {
            // The third pooling needs two positions on a side, those before it eight of the first convolution.
            input_size: InputSize::AtLeast(if pools { 7 } else { 1 } * shape.stride() + 1),
            stem: Some(shape),
            classifier_init: WEIGHTS,
            key_table: key_table(),
            unread: &["aux1.", "aux2."],
            ..Description::new(groups, options.in_channels, channels, "stem.conv1")
        };
        Ok((GoogLeNet { stem, stages }, description))
    }
}

/// A convolution that keeps the size at stride 1, its norm and ReLU.
fn conv(from: usize, to: usize, kernel: usize, stride: usize, params: &ParamBuilder) -> ConvNorm {
    let config = Conv2dConfig::new(from, to, kernel)
        .stride(stride)
        .padding(kernel / 2)
        .weights(WEIGHTS);
    let norm = BatchNorm2dConfig::new(to).epsilon(1e-3);
    ConvNorm::with_norm(config, norm, Act::Relu, params)
}

fn block(from: usize, widths: &[usize; 6], params: &ParamBuilder) -> Block {
    let [one, three_in, three, five_in, five, pool] = *widths;
    let conv = |from, to, kernel| conv(from, to, kernel, 1, params);
    Block {
        conv1: conv(from, one, 1),
        conv2_1: conv(from, three_in, 1),
        conv2_2: conv(three_in, three, 3),
        conv3_1: conv(from, five_in, 1),
        conv3_2: conv(five_in, five, 3),
        conv4: conv(from, pool, 1),
    }
}

/// Upstream numbers stages from 3 on, and gives its blocks letters.
fn key_table() -> KeyTable {
    let mut table = key_table![];
    for number in 1..=3 {
        table.push(&format!("stem.conv{number}"), &format!("conv{number}.conv"));
        table.push(&format!("stem.bn{number}"), &format!("conv{number}.bn"));
    }
    for (stage, (_, blocks)) in (1..).zip(STAGES) {
        for (block, letter) in ('a'..).take(blocks.len()).enumerate() {
            let ours = format!("stage{stage}.blocks.{block}");
            let theirs = format!("inception{}{letter}", stage + 2);
            for (branch, name) in [
                ("1", "branch1"),
                ("2_1", "branch2.0"),
                ("2_2", "branch2.1"),
                ("3_1", "branch3.0"),
                ("3_2", "branch3.1"),
                // The pooling takes the first place.
                ("4", "branch4.1"),
            ] {
                table.push(
                    &format!("{ours}.conv{branch}"),
                    &format!("{theirs}.{name}.conv"),
                );
                table.push(
                    &format!("{ours}.bn{branch}"),
                    &format!("{theirs}.{name}.bn"),
                );
            }
        }
    }
    table
}

#[derive(Module, Debug)]
struct GoogLeNet {
    stem: Stem,
    stages: Stages<Stage>,
}

impl Backbone for GoogLeNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }

    fn timm_args(&self, _pool: Pool) -> serde_json::Map<String, serde_json::Value> {
        let args = [("aux_logits", false), ("init_weights", false)];
        let args = args.map(|(name, value)| (name.to_owned(), value.into()));
        args.into_iter().collect()
    }
}

#[derive(Module, Debug)]
struct Stem {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: ConvNorm,
    pools: bool,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let pool = |x| {
            if self.pools {
                max_pool2d_ceil(x, 3, 2)
            } else {
                x
            }
        };
        let x = pool(self.conv1.forward(x));
        pool(self.conv3.forward(self.conv2.forward(x)))
    }
}

/// Blocks, and a pooling behind them.
#[derive(Module, Debug)]
struct Stage {
    blocks: Vec<Block>,
    /// The side of its windows.
    pool: Option<usize>,
}

impl MapLayer for Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.blocks.forward(x);
        self.pool
            .iter()
            .fold(x, |x, &side| max_pool2d_ceil(x, side, 2))
    }
}

/// Four branches side by side: a window of 1x1, two of 3x3, and a pooling.
#[derive(Module, Debug)]
struct Block {
    conv1: ConvNorm,
    conv2_1: ConvNorm,
    conv2_2: ConvNorm,
    conv3_1: ConvNorm,
    conv3_2: ConvNorm,
    conv4: ConvNorm,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let branches = vec![
            self.conv1.forward(x.clone()),
            self.conv2_2.forward(self.conv2_1.forward(x.clone())),
            self.conv3_2.forward(self.conv3_1.forward(x.clone())),
            self.conv4.forward(max_pool2d(x, 3, 1, 1)),
        ];
        Tensor::cat(branches, 1)
    }
}
