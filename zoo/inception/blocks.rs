//! The blocks of an Inception network: words, and the modules that they become.

use std::str::FromStr;

use burn::module::Module;
use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::init::Init;
use crate::model::{KeyTable, MapLayer};
use crate::nn::{
    Act, BatchNorm2dConfig, Conv2d, Conv2dConfig, ConvLayer, ConvNorm, ParamBuilder, local_means,
    max_pool2d, padded_avg_pool2d,
};

/// A block in words, by upstream's name.
///
/// Branches are separated by `;`. A branch is a row of layers, separated by `,`: each by upstream's name
/// within the block (`-` where it is the block's), its channels and its kernel. `3v` is a kernel of 3x3
/// without padding, `3s` the same at stride 2. `|` stands before two layers that lie side by side at
/// the end. The first word may be a pooling: `max`, `dense_max` (at stride 1), `means` (of what is
/// inside), `padded_means`.
#[derive(Debug, Clone)]
pub(super) struct BlockConfig {
    pub name: String,
    pub words: String,
    /// A convolution of what the branches give, times this, is added to the block's input.
    pub residual: Option<(f64, Act)>,
}

impl BlockConfig {
    /// Whether it is a pooling and nothing else.
    pub fn is_pooling(&self) -> bool {
        self.words == "max"
    }

    /// Whether it has a convolution that strides.
    pub fn strides(&self) -> bool {
        self.words.contains("3s")
    }
}

pub(super) fn block(name: impl ToString, words: impl ToString) -> BlockConfig {
    BlockConfig {
        name: name.to_string(),
        words: words.to_string(),
        residual: None,
    }
}

/// Makes the modules, and writes down upstream's names for them.
pub(super) struct Builder<'a> {
    pub table: KeyTable,
    /// Channels of what the next block gets.
    pub channels: usize,
    pub weights: &'a Init,
    pub params: &'a ParamBuilder,
}

impl Builder<'_> {
    pub fn blocks(&mut self, path: &str, configs: &[BlockConfig]) -> Result<Vec<Block>> {
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
    ) -> Result<(Vec<ConvLayer>, Vec<usize>)> {
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
            layers.push(ConvLayer {
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
    /// The maxima of windows of 3x3, at this stride.
    Max(usize),
}

impl Before {
    /// By the first of a branch's words, and the words behind it.
    fn of(words: &str) -> (Self, &str) {
        let (first, rest) = words.split_once(',').unwrap_or((words, ""));
        match first.trim() {
            "means" => (Self::Means, rest),
            "padded_means" => (Self::PaddedMeans, rest),
            "max" => (Self::Max(2), rest),
            "dense_max" => (Self::Max(1), rest),
            _ => (Self::Nothing, words),
        }
    }
}

#[derive(Module, Debug)]
pub(super) struct Block {
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
    layers: Vec<ConvLayer>,
    fork: Vec<ConvLayer>,
}

impl MapLayer for Branch {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.layers.forward(match self.before {
            Before::Nothing => x,
            Before::Means => local_means(x, 3),
            Before::PaddedMeans => padded_avg_pool2d(x, 3, 1, 1),
            Before::Max(stride) => max_pool2d(x, 3, stride, 0),
        });
        if self.fork.is_empty() {
            return x;
        }
        let ends = self.fork.iter().map(|layer| layer.forward(x.clone()));
        joined(ends.collect())
    }
}
