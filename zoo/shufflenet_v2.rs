//! ShuffleNetV2: Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture
//! Design", ECCV 2018, <https://arxiv.org/abs/1807.11164>.
//!
//! Half of the channels go around a unit, the other half through it, and the halves are shuffled
//! together. The structure is torchvision's `shufflenetv2.py`; timm has no such network. Parameters
//! are those of a model for 1000 classes, accuracies those torchvision publishes at 224 pixels.
//!
//! | variant | parameters | ImageNet top-1 (`tv_in1k`) |
//! |---|---|---|
//! | `shufflenet_v2_x0_5` | 1 366 792 | 60.6 % |
//! | `shufflenet_v2_x1_0` | 2 278 604 | 69.4 % |
//! | `shufflenet_v2_x1_5` | 3 503 624 | 73.0 % (`tv2_in1k`) |
//! | `shufflenet_v2_x2_0` | 7 393 996 | 76.2 % (`tv2_in1k`) |

use burn::module::Module;
use burn::tensor::Tensor;

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::model::{Backbone, Description, Features, Group, MapLayer, Pool, Stages, key_table};
use crate::nn::{Act, Conv2dConfig, ConvLayer, ConvNorm, ParamBuilder, max_pool2d};

variants! {
    family: ShuffleNetV2, manifest: "shufflenet_v2.toml", paper: "https://arxiv.org/abs/1807.11164",
    pool: Pool::Avg, library: "torchvision";
    shufflenet_v2_x0_5 (224): "half as wide" => Config::new([48, 96, 192], 1024);
    shufflenet_v2_x1_0 (224): "the width of the paper" => Config::new([116, 232, 464], 1024);
    shufflenet_v2_x1_5 (224): "one and a half times as wide"
        => Config::new([176, 352, 704], 1024);
    shufflenet_v2_x2_0 (224): "twice as wide" => Config::new([244, 488, 976], 2048);
}

/// Channels of the stem.
const STEM: usize = 24;
/// Units of each stage.
const DEPTHS: [usize; 3] = [4, 8, 4];

/// The shape of a ShuffleNetV2.
#[derive(Debug, Clone)]
struct Config {
    /// Channels of each stage.
    widths: [usize; 3],
    /// Channels of the last convolution.
    features: usize,
}

impl Config {
    fn new(widths: [usize; 3], features: usize) -> Self {
        Self { widths, features }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<ShuffleNetV2> {
        options.check_no_drop_path()?;
        let shape = options.stem.convolutions(&[2], true)?;
        let mut channels = STEM;
        let mut stages = Vec::new();
        for (depth, width) in DEPTHS.into_iter().zip(self.widths) {
            let first = unit(channels, width, 2, params);
            let rest = (1..depth).map(|_| unit(width, width, 1, params));
            stages.push(std::iter::once(first).chain(rest).collect());
            channels = width;
        }
        let stages = Stages::new(stages);
        let mut groups = stages.groups_with_stem();
        groups.push(Group::named("last"));
        let stem = Conv2dConfig::new(options.in_channels, STEM, 3)
            .stride(shape.stride())
            .padding(1);
        let stem = Stem {
            conv: ConvNorm::new(stem, Act::Relu, params),
            pools: shape.pools() != Some(false),
        };
        let description = Description {
            stem: Some(shape),
            key_table: key_table![
                "stem.conv" => "conv1.0", "stem.bn" => "conv1.1",
                "last.conv" => "conv5.0", "last.bn" => "conv5.1",
                "stage*.*.branch1.conv_dw" => "stage*+1.*.branch1.0",
                "stage*.*.branch1.bn_dw" => "stage*+1.*.branch1.1",
                "stage*.*.branch1.conv_pw" => "stage*+1.*.branch1.2",
                "stage*.*.branch1.bn_pw" => "stage*+1.*.branch1.3",
                "stage*.*.branch2.conv1" => "stage*+1.*.branch2.0",
                "stage*.*.branch2.bn1" => "stage*+1.*.branch2.1",
                "stage*.*.branch2.conv_dw" => "stage*+1.*.branch2.3",
                "stage*.*.branch2.bn_dw" => "stage*+1.*.branch2.4",
                "stage*.*.branch2.conv_pw" => "stage*+1.*.branch2.5",
                "stage*.*.branch2.bn_pw" => "stage*+1.*.branch2.6",
            ],
            ..Description::new(groups, options.in_channels, self.features, "stem.conv")
        };
        let last = Conv2dConfig::new(channels, self.features, 1);
        let backbone = ShuffleNetV2 {
            stem,
            stages,
            last: ConvLayer::new(last, Act::Relu, params),
        };
        Ok((backbone, description))
    }
}

/// A unit that halves the sides at stride 2: then the whole map goes through both branches.
fn unit(from: usize, to: usize, stride: usize, params: &ParamBuilder) -> Unit {
    let half = to / 2;
    let pointwise = |from| ConvNorm::new(Conv2dConfig::new(from, half, 1), Act::Relu, params);
    let depthwise = |channels| {
        let conv = Conv2dConfig::new(channels, channels, 3).depthwise();
        ConvNorm::new(conv.stride(stride).padding(1), Act::None, params)
    };
    let inner = if stride == 1 { half } else { from };
    Unit {
        branch1: (stride != 1).then(|| Branch {
            conv1: None,
            conv_dw: depthwise(from),
            conv_pw: pointwise(from),
        }),
        branch2: Branch {
            conv1: Some(pointwise(inner)),
            conv_dw: depthwise(half),
            conv_pw: pointwise(half),
        },
    }
}

#[derive(Module, Debug)]
struct ShuffleNetV2 {
    stem: Stem,
    stages: Stages<Vec<Unit>>,
    /// The convolution behind the stages.
    last: ConvLayer,
}

impl Backbone for ShuffleNetV2 {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        match index {
            4 => Ok(Features::Map(self.last.forward(x.into_map()?))),
            _ => self.stages.forward_group(&self.stem, index, x),
        }
    }
}

#[derive(Module, Debug)]
struct Stem {
    conv: ConvNorm,
    pools: bool,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward(x);
        if self.pools {
            max_pool2d(x, 3, 2, 1)
        } else {
            x
        }
    }
}

#[derive(Module, Debug)]
struct Unit {
    branch1: Option<Branch>,
    branch2: Branch,
}

impl MapLayer for Unit {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let halves = match &self.branch1 {
            Some(branch1) => vec![branch1.forward(x.clone()), self.branch2.forward(x)],
            None => {
                let half = x.dims()[1] / 2;
                let around = x.clone().narrow(1, 0, half);
                vec![around, self.branch2.forward(x.narrow(1, half, half))]
            }
        };
        // Shuffled together: one channel of each half after the other.
        let [batch, half, height, width] = halves[0].dims();
        Tensor::stack::<5>(halves, 2).reshape([batch, 2 * half, height, width])
    }
}

#[derive(Module, Debug)]
struct Branch {
    conv1: Option<ConvNorm>,
    conv_dw: ConvNorm,
    conv_pw: ConvNorm,
}

impl MapLayer for Branch {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv1.iter().fold(x, |x, conv| conv.forward(x));
        self.conv_pw.forward(self.conv_dw.forward(x))
    }
}
