//! GENet: Lin et al., "Neural Architecture Design for GPU-Efficient Networks", 2020,
//! <https://arxiv.org/abs/2006.14090>; timm calls it GER-Net.
//!
//! Full convolutions of 3x3 where the maps are large, bottlenecks where they are small, the last ones
//! depthwise and wider within than without. The structure is timm's `byobnet.py`; `test_byobnet` is a
//! tiny network of that file with a block of each kind. Parameters are those of a model for 1000
//! classes; accuracies are those timm publishes at the size in the table.
//!
//! | variant | blocks | pixels | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `gernet_s` | 1 3 7 2 1 | 224 | 8 173 761 | 76.9 % (`idstcv_in1k`) |
//! | `gernet_m` | 1 2 6 4 1 | 224 | 21 142 920 | 80.7 % (`idstcv_in1k`) |
//! | `gernet_l` | 1 2 6 5 4 | 256 | 31 078 280 | 81.4 % (`idstcv_in1k`) |
//! | `test_byobnet` | 1 1 1 1 | 160 | 456 856 | 45.9 % (`r160_in1k`) |

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{Backbone, Description, Features, MapLayer, Pool, Stages, key_table};
use crate::nn::{
    Act, Conv2dConfig, ConvLayer, ConvNorm, ParamBuilder, Residual, ResidualConfig, ResidualKind,
    Shortcut, divisible_by_8, drop_path_rates, fan_out_normal,
};

use ResidualKind::{Basic, Bottleneck, Dark, Edge};

variants! {
    family: GerNet, manifest: "gernet.toml", paper: "https://arxiv.org/abs/2006.14090",
    pool: Pool::Avg;
    gernet_s (224): "14 blocks"
        => Config::new(&[
            (Basic, 1, 48, 2, 1.0),
            (Basic, 3, 48, 2, 1.0),
            (Bottleneck, 7, 384, 2, 0.25),
            (Bottleneck, 2, 560, 2, 3.0),
            (Bottleneck, 1, 256, 1, 3.0),
        ], 13, Some(1920));
    gernet_m (224): "14 blocks, wider"
        => Config::new(&[
            (Basic, 1, 128, 2, 1.0),
            (Basic, 2, 192, 2, 1.0),
            (Bottleneck, 6, 640, 2, 0.25),
            (Bottleneck, 4, 640, 2, 3.0),
            (Bottleneck, 1, 640, 1, 3.0),
        ], 32, Some(2560));
    gernet_l (256): "18 blocks, wider"
        => Config::new(&[
            (Basic, 1, 128, 2, 1.0),
            (Basic, 2, 192, 2, 1.0),
            (Bottleneck, 6, 640, 2, 0.25),
            (Bottleneck, 5, 640, 2, 3.0),
            (Bottleneck, 4, 640, 1, 3.0),
        ], 32, Some(2560));
    test_byobnet (160): "a tiny one of mixed blocks, for tests"
        => Config {
            shortcut: Shortcut::Pooled,
            se: Some(0.25),
            ..Config::new(&[
                (Edge, 1, 32, 2, 0.5),
                (Dark, 1, 64, 2, 0.5),
                (Basic, 1, 128, 2, 0.25),
                (Bottleneck, 1, 256, 2, 0.25),
            ], 24, None)
        };
}

/// Kind of the blocks, their number, channels, stride of the first, and channels within as a part of
/// those of the output.
type Stage = (ResidualKind, usize, usize, usize, f64);

/// The shape of a GENet.
#[derive(Debug, Clone)]
struct Config {
    stages: &'static [Stage],
    stem_channels: usize,
    /// Channels of the convolution behind the last block.
    final_channels: Option<usize>,
    shortcut: Shortcut,
    se: Option<f64>,
}

impl Config {
    fn new(stages: &'static [Stage], stem_channels: usize, final_channels: Option<usize>) -> Self {
        Self {
            stages,
            stem_channels,
            final_channels,
            shortcut: Shortcut::Conv,
            se: None,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<GerNet> {
        let total = self.stages.iter().map(|(_, depth, ..)| depth).sum();
        let mut rates = drop_path_rates(options.drop_path_rate, total);
        let mut channels = self.stem_channels;
        let shape = options.stem.convolutions(&[2], false)?;
        let stem = Conv2dConfig::new(options.in_channels, channels, 3)
            .padding(1)
            .stride(shape.stride())
            .weights(fan_out_normal(9 * channels));
        let stem = ConvLayer::new(stem, Act::Relu, params);
        let mut table = key_table![
            "stem.conv" => "stem.conv", "stem.bn" => "stem.bn",
            "stage*.*.final_conv" => "final_conv.conv", "stage*.*.final_conv_bn" => "final_conv.bn",
        ];
        let mut stages = Vec::new();
        for (index, &(kind, depth, width, stride, ratio)) in self.stages.iter().enumerate() {
            let inner = divisible_by_8(width as f64 * ratio);
            let mut blocks = Vec::new();
            for (block, rate) in rates.by_ref().take(depth).enumerate() {
                let config = ResidualConfig {
                    kind,
                    inner,
                    channels: width,
                    stride: if block == 0 { stride } else { 1 },
                    // What is wider within is depthwise.
                    groups: if ratio > 1.0 { inner } else { 1 },
                    shortcut: self.shortcut,
                    se: self.se,
                    act: Act::Relu,
                    last_act: Act::Relu,
                };
                blocks.push(Block {
                    residual: Residual::new(&config, channels, rate, params),
                    final_conv: None,
                });
                channels = width;
            }
            for (ours, theirs) in Residual::names(kind, self.shortcut) {
                let ours = format!("stage{}.*.residual.{ours}", index + 1);
                table.push(&ours, &format!("stages.{index}.*.{theirs}"));
            }
            stages.push(blocks);
        }
        if let Some(width) = self.final_channels
            && let Some(last) = stages.last_mut().and_then(|blocks| blocks.last_mut())
        {
            let conv = Conv2dConfig::new(channels, width, 1).weights(fan_out_normal(width));
            last.final_conv = Some(ConvNorm::new(conv, Act::Relu, params));
            channels = width;
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let description = Description {
            stem: Some(shape),
            classifier: "head.fc",
            classifier_init: Init::normal(0.01),
            key_table: table,
            ..Description::new(groups, options.in_channels, channels, "stem.conv")
        };
        Ok((GerNet { stem, stages }, description))
    }
}

#[derive(Module, Debug)]
struct GerNet {
    stem: ConvLayer,
    stages: Stages<Vec<Block>>,
}

impl Backbone for GerNet {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}

/// A residual block; behind the very last one comes a convolution that widens.
#[derive(Module, Debug)]
struct Block {
    residual: Residual,
    final_conv: Option<ConvNorm>,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.final_conv.forward(self.residual.forward(x))
    }
}
