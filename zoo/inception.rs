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

use std::str::FromStr;

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::{Error, Result};
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, InputSize, KeyTable, MapLayer, Pool, Stages, key_table,
};
use crate::nn::{
    Act, BatchNorm2dConfig, Conv2d, Conv2dConfig, ConvNorm, ParamBuilder, local_means, max_pool2d,
    padded_avg_pool2d,
};

variants! {
    family: Inception, manifest: "inception.toml", paper: "https://arxiv.org/abs/1602.07261",
    pool: Pool::Avg;
    inception_v3 (299): "V3, 11 blocks" => Config::v3();
    inception_v4 (299): "V4, 17 blocks" => Config::v4();
    inception_resnet_v2 (299): "Inception-ResNet V2, 43 blocks" => Config::resnet_v2();
}

/// A block in words, by upstream's name.
///
/// Branches are separated by `;`. A branch is a row of layers, separated by `,`: each by upstream's name
/// within the block (`-` where it is the block's), its channels and its kernel. `3v` is a kernel of 3x3
/// without padding, `3s` the same at stride 2. `|` stands before two layers that lie side by side at
/// the end. The first word may be a pooling: `max`, `means` (of what is inside), `padded_means`.
#[derive(Debug, Clone)]
struct BlockConfig {
    name: String,
    words: String,
    /// A convolution of what the branches give, times this, is added to the block's input.
    residual: Option<(f64, Act)>,
}

fn block(name: impl ToString, words: impl ToString) -> BlockConfig {
    BlockConfig {
        name: name.to_string(),
        words: words.to_string(),
        residual: None,
    }
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
    fn v3() -> Self {
        let a = |name, pool: usize| {
            let words = "branch1x1 64 1; branch5x5_1 48 1, branch5x5_2 64 5; \
                         branch3x3dbl_1 64 1, branch3x3dbl_2 96 3, branch3x3dbl_3 96 3; \
                         padded_means, branch_pool";
            block(name, format!("{words} {pool} 1"))
        };
        let to_c = "branch3x3 384 3s; \
                    branch3x3dbl_1 64 1, branch3x3dbl_2 96 3, branch3x3dbl_3 96 3s; max";
        let c = |name, width: usize| {
            let words = format!(
                "branch1x1 192 1; \
                 branch7x7_1 {width} 1, branch7x7_2 {width} 1x7, branch7x7_3 192 7x1; \
                 branch7x7dbl_1 {width} 1, branch7x7dbl_2 {width} 7x1, branch7x7dbl_3 {width} 1x7, \
                 branch7x7dbl_4 {width} 7x1, branch7x7dbl_5 192 1x7; \
                 padded_means, branch_pool 192 1"
            );
            block(name, words)
        };
        let to_e = "branch3x3_1 192 1, branch3x3_2 320 3s; branch7x7x3_1 192 1, \
                    branch7x7x3_2 192 1x7, branch7x7x3_3 192 7x1, branch7x7x3_4 192 3s; max";
        let e = "branch1x1 320 1; branch3x3_1 384 1 | branch3x3_2a 384 1x3, branch3x3_2b 384 3x1; \
                 branch3x3dbl_1 448 1, branch3x3dbl_2 384 3 \
                 | branch3x3dbl_3a 384 1x3, branch3x3dbl_3b 384 3x1; \
                 padded_means, branch_pool 192 1";
        let stem = [
            "Conv2d_1a_3x3",
            "Conv2d_2a_3x3",
            "Conv2d_2b_3x3",
            "Conv2d_3b_1x1",
            "Conv2d_4a_3x3",
        ];
        Self {
            stem: stem_of(stem),
            stages: [
                vec![a("Mixed_5b", 32), a("Mixed_5c", 64), a("Mixed_5d", 64)],
                vec![
                    block("Mixed_6a", to_c),
                    c("Mixed_6b", 128),
                    c("Mixed_6c", 160),
                    c("Mixed_6d", 160),
                    c("Mixed_6e", 192),
                ],
                vec![
                    block("Mixed_7a", to_e),
                    block("Mixed_7b", e),
                    block("Mixed_7c", e),
                ],
            ],
            weights: Init::trunc_normal(0.1),
            classifier: "fc",
        }
    }

    fn v4() -> Self {
        let stem = [
            "- 32 3s",
            "- 32 3v",
            "- 64 3",
            "max; conv 96 3s",
            "branch0.0 64 1, branch0.1 96 3v; \
             branch1.0 64 1, branch1.1 64 1x7, branch1.2 64 7x1, branch1.3 96 3v",
            "conv 192 3s; max",
        ];
        let a = "branch0 96 1; branch1.0 64 1, branch1.1 96 3; \
                 branch2.0 64 1, branch2.1 96 3, branch2.2 96 3; means, branch3.1 96 1";
        let to_b = "branch0 384 3s; branch1.0 192 1, branch1.1 224 3, branch1.2 256 3s; max";
        let b = "branch0 384 1; branch1.0 192 1, branch1.1 224 1x7, branch1.2 256 7x1; \
                 branch2.0 192 1, branch2.1 192 7x1, branch2.2 224 1x7, branch2.3 224 7x1, \
                 branch2.4 256 1x7; means, branch3.1 128 1";
        let to_c = "branch0.0 192 1, branch0.1 192 3s; \
                    branch1.0 256 1, branch1.1 256 1x7, branch1.2 320 7x1, branch1.3 320 3s; max";
        let c = "branch0 256 1; branch1_0 384 1 | branch1_1a 256 1x3, branch1_1b 256 3x1; \
                 branch2_0 384 1, branch2_1 448 3x1, branch2_2 512 1x3 \
                 | branch2_3a 256 1x3, branch2_3b 256 3x1; means, branch3.1 256 1";
        // Upstream numbers all of them.
        let mut number = 0;
        let mut next = |words: &str| {
            number += 1;
            block(format!("features.{}", number - 1), words)
        };
        Self {
            stem: stem.map(&mut next).to_vec(),
            stages: [
                [a; 4].map(&mut next).to_vec(),
                [to_b, b, b, b, b, b, b, b].map(&mut next).to_vec(),
                [to_c, c, c, c].map(&mut next).to_vec(),
            ],
            weights: Init::PyTorch,
            classifier: "last_linear",
        }
    }

    fn resnet_v2() -> Self {
        let first = "branch0 96 1; branch1.0 48 1, branch1.1 64 5; \
                     branch2.0 64 1, branch2.1 96 3, branch2.2 96 3; means, branch3.1 64 1";
        let a = "branch0 32 1; branch1.0 32 1, branch1.1 32 3; \
                 branch2.0 32 1, branch2.1 48 3, branch2.2 64 3";
        let to_b = "branch0 384 3s; branch1.0 256 1, branch1.1 256 3, branch1.2 384 3s; max";
        let b = "branch0 192 1; branch1.0 128 1, branch1.1 160 1x7, branch1.2 192 7x1";
        let to_c = "branch0.0 256 1, branch0.1 384 3s; branch1.0 256 1, branch1.1 288 3s; \
                    branch2.0 256 1, branch2.1 288 3, branch2.2 320 3s; max";
        let c = "branch0 192 1; branch1.0 192 1, branch1.1 224 1x3, branch1.2 256 3x1";
        let residual = |name: String, words, factor, act| BlockConfig {
            residual: Some((factor, act)),
            ..block(name, words)
        };
        let stage = |first, name, words, count: usize, factor| {
            let repeat = |index| residual(format!("{name}.{index}"), words, factor, Act::Relu);
            std::iter::once(first)
                .chain((0..count).map(repeat))
                .collect()
        };
        let mut last: Vec<_> = stage(block("mixed_7a", to_c), "repeat_2", c, 9, 0.2);
        last.push(residual("block8".to_owned(), c, 1.0, Act::None));
        last.push(block("conv2d_7b", "- 1536 1"));
        Self {
            stem: stem_of([
                "conv2d_1a",
                "conv2d_2a",
                "conv2d_2b",
                "conv2d_3b",
                "conv2d_4a",
            ]),
            stages: [
                stage(block("mixed_5b", first), "repeat", a, 10, 0.17),
                stage(block("mixed_6a", to_b), "repeat_1", b, 20, 0.1),
                last,
            ],
            weights: Init::PyTorch,
            classifier: "classif",
        }
    }

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

/// The stem of V3 and of Inception-ResNet, whose convolutions have other names in each.
fn stem_of([first, second, third, fourth, fifth]: [&'static str; 5]) -> Vec<BlockConfig> {
    vec![
        block(first, "- 32 3s"),
        block(second, "- 32 3v"),
        block(third, "- 64 3"),
        block("pool", "max"),
        block(fourth, "- 80 1"),
        block(fifth, "- 192 3v"),
        block("pool", "max"),
    ]
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

/// Makes the modules, and writes down upstream's names for them.
struct Builder<'a> {
    table: KeyTable,
    /// Channels of what the next block gets.
    channels: usize,
    weights: &'a Init,
    params: &'a ParamBuilder,
}

impl Builder<'_> {
    fn blocks(&mut self, path: &str, configs: &[BlockConfig]) -> Result<Vec<Block>> {
        let configs = configs.iter().enumerate();
        configs
            .map(|(index, config)| self.block(&format!("{path}.{index}"), config))
            .collect()
    }

    fn block(&mut self, path: &str, config: &BlockConfig) -> Result<Block> {
        let from = self.channels;
        let mut all = 0;
        let mut branches = Vec::new();
        for (index, words) in config.words.split(';').enumerate() {
            let path = format!("{path}.branches.{index}");
            let (layers, fork) = words.split_once('|').unwrap_or((words, ""));
            let (before, layers) = Before::of(layers);
            let (layers, widths) =
                self.layers(&format!("{path}.layers"), config, layers, from, true)?;
            let channels = widths.last().copied().unwrap_or(from);
            let (fork, widths) =
                self.layers(&format!("{path}.fork"), config, fork, channels, false)?;
            all += match &widths[..] {
                [] => channels,
                widths => widths.iter().sum(),
            };
            branches.push(Branch {
                before,
                layers,
                fork,
            });
        }
        self.channels = all;
        let residual = config.residual.map(|(factor, act)| {
            let name = format!("{}.conv2d", config.name);
            self.table.push(&format!("{path}.residual.conv"), &name);
            self.channels = from;
            let conv = Conv2dConfig::new(all, from, 1).bias();
            Residual {
                conv: conv.weights(self.weights.clone()).init(self.params),
                factor,
                act,
            }
        });
        Ok(Block { branches, residual })
    }

    /// Layers one after the other, or side by side, and their channels.
    fn layers(
        &mut self,
        path: &str,
        block: &BlockConfig,
        words: &str,
        mut from: usize,
        is_chain: bool,
    ) -> Result<(Vec<Layer>, Vec<usize>)> {
        let (mut layers, mut widths) = (Vec::new(), Vec::new());
        let words = words.split(',').filter(|words| !words.trim().is_empty());
        for (index, words) in words.enumerate() {
            let config: LayerConfig = words.parse()?;
            let name = match &config.name[..] {
                "-" => block.name.clone(),
                name => format!("{}.{name}", block.name),
            };
            self.table.push(&format!("{path}.{index}"), &name);
            let norm = BatchNorm2dConfig::new(config.channels).epsilon(1e-3);
            let conv = Conv2dConfig::new(from, config.channels, config.kernel)
                .stride(config.stride)
                .padding(config.padding)
                .weights(self.weights.clone());
            layers.push(Layer {
                conv: ConvNorm::with_norm(conv, norm, Act::Relu, self.params),
            });
            widths.push(config.channels);
            if is_chain {
                from = config.channels;
            }
        }
        Ok((layers, widths))
    }
}

/// A layer of a branch.
struct LayerConfig {
    name: String,
    channels: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: [usize; 2],
}

impl FromStr for LayerConfig {
    type Err = Error;

    fn from_str(words: &str) -> Result<Self> {
        let bad = || {
            let expected = "a layer in words, such as `branch5x5_2 64 5`";
            Error::argument("blocks", expected, format!("`{words}`"))
        };
        let number = |text: &str| text.parse::<usize>().map_err(|_| bad());
        let [name, channels, kernel] = words.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(bad());
        };
        let sides = kernel.trim_end_matches(['v', 's']);
        let (height, width) = sides.split_once('x').unwrap_or((sides, sides));
        let kernel_sides = [number(height)?, number(width)?];
        Ok(Self {
            name: name.to_owned(),
            channels: number(channels)?,
            kernel: kernel_sides,
            stride: if kernel.ends_with('s') { 2 } else { 1 },
            padding: if sides == kernel {
                kernel_sides.map(|side| side / 2)
            } else {
                [0; 2]
            },
        })
    }
}

/// What stands before the layers of a branch.
#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    /// The mean around each position, of what is inside the map.
    Means,
    /// The same, with the zeros around it.
    PaddedMeans,
    /// The maxima of windows of 3x3, at stride 2.
    Max,
}

impl Before {
    /// By the first of a branch's words, and the words behind it.
    fn of(words: &str) -> (Self, &str) {
        let (first, rest) = words.split_once(',').unwrap_or((words, ""));
        match first.trim() {
            "means" => (Self::Means, rest),
            "padded_means" => (Self::PaddedMeans, rest),
            "max" => (Self::Max, rest),
            _ => (Self::Nothing, words),
        }
    }
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

#[derive(Module, Debug)]
struct Block {
    branches: Vec<Branch>,
    residual: Option<Residual>,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let branches = self.branches.iter().map(|branch| branch.forward(x.clone()));
        let output = joined(branches.collect());
        match &self.residual {
            Some(Residual { conv, factor, act }) => {
                act.forward(conv.forward(output).mul_scalar(*factor) + x)
            }
            None => output,
        }
    }
}

/// Maps behind each other, by channels.
fn joined(maps: Vec<Tensor<4>>) -> Tensor<4> {
    match <[_; 1]>::try_from(maps) {
        Ok([one]) => one,
        Err(maps) => Tensor::cat(maps, 1),
    }
}

#[derive(Module, Debug)]
struct Residual {
    conv: Conv2d,
    factor: f64,
    #[module(skip)]
    act: Act,
}

#[derive(Module, Debug)]
struct Branch {
    #[module(skip)]
    before: Before,
    layers: Vec<Layer>,
    fork: Vec<Layer>,
}

impl MapLayer for Branch {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.layers.forward(match self.before {
            Before::Nothing => x,
            Before::Means => local_means(x, 3),
            Before::PaddedMeans => padded_avg_pool2d(x, 3, 1, 1),
            Before::Max => max_pool2d(x, 3, 2, 0),
        });
        if self.fork.is_empty() {
            return x;
        }
        joined(
            self.fork
                .iter()
                .map(|layer| layer.forward(x.clone()))
                .collect(),
        )
    }
}

#[derive(Module, Debug)]
struct Layer {
    conv: ConvNorm,
}

impl MapLayer for Layer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }
}
