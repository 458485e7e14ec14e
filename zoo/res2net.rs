//! Res2Net, a ResNet whose 3x3 convolutions see parts of the channels one after the other: Gao et al.,
//! "Res2Net: A New Multi-scale Backbone Architecture", TPAMI 2021,
//! <https://arxiv.org/abs/1904.01169>.
//!
//! The structure is timm's `res2net.py`. timm does not know the licence of the weights. Parameters are
//! those of a model for 1000 classes; accuracies are those timm publishes at 224 pixels.
//!
//! | variant | width of a part, parts | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `res2net50_26w_4s` | 26 x 4 | 25 699 120 | 78.0 % (`in1k`) |
//! | `res2net50_14w_8s` | 14 x 8 | 25 059 816 | 78.1 % (`in1k`) |
//! | `res2net50d` | 26 x 4 | 25 718 352 | 80.3 % (`in1k`) |

use burn::module::Module;
use burn::tensor::Tensor;

use super::residual::Kind::Bottleneck;
use super::residual::{self, Downsample, Place, Stem, conv};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::model::{Backbone, Features, KeyTable, MapLayer, Pool, Stages};
use crate::nn::{Act, BatchNorm2dConfig, ConvNorm, DropPath, ParamBuilder, padded_avg_pool2d};

variants! {
    family: Res2Net, manifest: "res2net.toml", paper: "https://arxiv.org/abs/1904.01169",
    pool: Pool::Avg;
    res2net50_26w_4s (224): "4 parts of width 26" => Config::new(26, 4);
    res2net50_14w_8s (224): "8 parts of width 14" => Config::new(14, 8);
    res2net50d (224): "4 parts of width 26, deep stem" => Config::new(26, 4).deep();
}

/// The shape of a Res2Net.
#[derive(Debug, Clone)]
struct Config {
    /// Stem, shortcuts and places of the blocks.
    net: residual::Config,
    /// Parts of the channels.
    parts: usize,
}

impl Config {
    fn new(width: usize, parts: usize) -> Self {
        let net = residual::Config::new(Bottleneck, [3, 4, 6, 3]);
        Self {
            net: net.groups(1, width),
            parts,
        }
    }

    fn deep(mut self) -> Self {
        self.net = self.net.deep([32, 32]);
        self
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<Res2Net> {
        let block = |place| self.block(&place, params);
        let stages = self.net.stages(options.drop_path_rate, block);
        let mut names = KeyTable::new(&[]);
        for index in 0..self.parts - 1 {
            let ours = format!("stage*.*.convs.{index}_bn");
            names.push(&ours, &format!("layer*.*.bns.{index}"));
        }
        let description = self.net.describe(options, &stages, names)?;
        let stem = self.net.stem(options, params)?;
        Ok((Res2Net { stem, stages }, description))
    }

    fn block(&self, place: &Place, params: &ParamBuilder) -> Block {
        let part = place.planes * self.net.base_width / 64;
        let (width, out_channels) = (part * self.parts, place.out_channels());
        let layer = |config| ConvNorm::new(config, Act::Relu, params);
        let convs = (1..self.parts).map(|_| layer(conv(part, part, 3).stride(place.stride)));
        let last = BatchNorm2dConfig::new(out_channels).zero_init();
        let downsample = self.net.downsample(place, params);
        Block {
            conv1: layer(conv(place.in_channels, width, 1)),
            convs: convs.collect(),
            conv3: ConvNorm::with_norm(conv(width, out_channels, 1), last, Act::Relu, params),
            pool: downsample.is_some().then_some(place.stride),
            downsample,
            drop_path: DropPath::new(place.drop_path),
        }
    }
}

#[derive(Module, Debug)]
struct Res2Net {
    stem: Stem,
    stages: Stages<Vec<Block>>,
}

impl Backbone for Res2Net {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}

#[derive(Module, Debug)]
struct Block {
    conv1: ConvNorm,
    /// Of all parts but the last.
    convs: Vec<ConvNorm>,
    conv3: ConvNorm,
    downsample: Option<Downsample>,
    /// Stride of the pooling of the last part, in a block that changes the shape.
    pool: Option<usize>,
    drop_path: DropPath,
}

impl Block {
    /// Each part, with what became of the one before it; in a block that changes the shape, each by
    /// itself.
    fn parts(&self, x: Tensor<4>) -> Tensor<4> {
        let part = x.dims()[1] / (self.convs.len() + 1);
        let narrow = |index| x.clone().narrow(1, index * part, part);
        let mut parts: Vec<Tensor<4>> = Vec::with_capacity(self.convs.len() + 1);
        for (index, conv) in self.convs.iter().enumerate() {
            let x = match parts.last() {
                Some(before) if self.pool.is_none() => before.clone() + narrow(index),
                _ => narrow(index),
            };
            parts.push(conv.forward(x));
        }
        let last = narrow(self.convs.len());
        parts.push(match self.pool {
            Some(stride) => padded_avg_pool2d(last, 3, stride, 1),
            None => last,
        });
        Tensor::cat(parts, 1)
    }
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = |x| self.downsample.forward(x);
        self.drop_path.residual(x, Act::Relu, shortcut, |x, end| {
            let x = self.parts(self.conv1.forward(x));
            self.conv3.forward_with(x, end)
        })
    }
}
