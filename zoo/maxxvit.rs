//! MaxViT: Tu et al., "MaxViT: Multi-Axis Vision Transformer", ECCV 2022,
//! <https://arxiv.org/abs/2204.01697>, and CoAtNet: Dai et al., "CoAtNet: Marrying Convolution and
//! Attention for All Data Sizes", NeurIPS 2021, <https://arxiv.org/abs/2106.04803>.
//!
//! A block of a MaxViT is an inverted residual, attention within windows, and attention between
//! positions that are as far apart. A CoAtNet has two stages of inverted residuals and two of attention
//! over the whole map. The structure is timm's `maxxvit.py`: `tf` is the authors' network, `rw` are
//! timm's own, `rmlp` computes the biases of attention by a small network. Parameters are those of a
//! model for 1000 classes; accuracies are those timm publishes at the size in the variant's name.
//!
//! | variant | widths | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|
//! | `maxvit_pico_rw_256` | 32 to 256 | 2 2 5 2 | 7 457 996 | |
//! | `maxvit_nano_rw_256` | 64 to 512 | 1 2 3 1 | 15 451 148 | 82.9 % (`sw_in1k`) |
//! | `maxvit_tiny_rw_224` | 64 to 512 | 2 2 5 2 | 29 057 312 | 83.5 % (`sw_in1k`) |
//! | `maxvit_rmlp_pico_rw_256` | 32 to 256 | 2 2 5 2 | 7 515 980 | 80.5 % (`sw_in1k`) |
//! | `maxvit_rmlp_nano_rw_256` | 64 to 512 | 1 2 3 1 | 15 501 452 | 83.0 % (`sw_in1k`) |
//! | `maxvit_tiny_tf_224` | 64 to 512 | 2 2 5 2 | 30 916 528 | 83.4 % (`in1k`) |
//! | `coatnet_nano_rw_224` | 64 to 512 | 3 4 6 3 | 15 141 244 | 81.7 % (`sw_in1k`) |
//! | `coatnet_0_rw_224` | 96 to 768 | 2 3 7 2 | 27 435 562 | 82.4 % (`sw_in1k`) |
//! | `coatnet_rmlp_nano_rw_224` | 64 to 512 | 3 4 6 3 | 15 145 116 | 82.1 % (`sw_in1k`) |
//! | `coatnet_bn_0_rw_224` | 96 to 768 | 2 3 7 2 | 27 435 562 | 82.4 % (`sw_in1k`) |
//! | `test_maxvit` | 32 to 128 | 1 1 1 1 | 1 093 252 | |
//! | `test_coatnet` | 32 to 128 | 1 1 2 1 | 575 480 | |

mod blocks;
mod style;

use burn::module::Module;
use burn::tensor::Tensor;

use self::blocks::{MbConv, Transformer};
use self::style::{COAT, COAT_0, MAX, Style, TF};
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::model::{
    Backbone, Description, Features, Group, InputSize, MapLayer, Pool, Pooling, Stages, key_table,
};
use crate::nn::{
    Act, Conv2d, ConvNorm, Epilogue, LayerNorm, Linear, LinearConfig, Norm, ParamBuilder, Windows,
    drop_path_rates,
};

variants! {
    family: MaxxVit, manifest: "maxxvit.toml", paper: "https://arxiv.org/abs/2204.01697",
    pool: Pool::Avg;
    maxvit_pico_rw_256 (256): "MaxViT, widths 32 to 256"
        => Config { stem: [24, 32], ..Config::new(256, [32, 64, 128, 256], [2, 2, 5, 2], MAX) };
    maxvit_nano_rw_256 (256): "MaxViT, widths 64 to 512"
        => Config::new(256, [64, 128, 256, 512], [1, 2, 3, 1], MAX);
    maxvit_tiny_rw_224 (224): "MaxViT, widths 64 to 512, deeper"
        => Config::new(224, [64, 128, 256, 512], [2, 2, 5, 2], MAX);
    maxvit_rmlp_pico_rw_256 (256): "MaxViT, widths 32 to 256, biases by a small network"
        => Config {
            stem: [24, 32], ..Config::new(256, [32, 64, 128, 256], [2, 2, 5, 2], MAX.rmlp(512))
        };
    maxvit_rmlp_nano_rw_256 (256): "MaxViT, widths 64 to 512, biases by a small network"
        => Config::new(256, [64, 128, 256, 512], [1, 2, 3, 1], MAX.rmlp(512));
    maxvit_tiny_tf_224 (224): "MaxViT of its authors, widths 64 to 512"
        => Config { stem: [64; 2], ..Config::new(224, [64, 128, 256, 512], [2, 2, 5, 2], TF) };
    coatnet_nano_rw_224 (224): "CoAtNet, widths 64 to 512"
        => Config::new(224, [64, 128, 256, 512], [3, 4, 6, 3], COAT);
    coatnet_0_rw_224 (224): "CoAtNet, widths 96 to 768"
        => Config::new(224, [96, 192, 384, 768], [2, 3, 7, 2], COAT_0);
    coatnet_rmlp_nano_rw_224 (224): "CoAtNet, widths 64 to 512, biases by a small network"
        => Config::new(
            224, [64, 128, 256, 512], [3, 4, 6, 3], Style { pools: false, ..COAT.rmlp(384) },
        );
    coatnet_bn_0_rw_224 (224): "CoAtNet, widths 96 to 768, batch normalisation throughout"
        => Config::new(
            224, [96, 192, 384, 768], [2, 3, 7, 2], Style { pools: false, batch_norm: true, ..COAT_0 },
        );
    test_maxvit (160): "MaxViT, a tiny one, for tests"
        => Config { stem: [16, 32], ..Config::new(160, [32, 64, 96, 128], [1; 4], MAX) };
    test_coatnet (160): "CoAtNet, a tiny one, for tests"
        => Config { stem: [16, 32], ..Config::new(160, [32, 64, 96, 128], [1, 1, 2, 1], COAT) };
}

/// A side of the image is a multiple of this upstream, which becomes one position of the last stage. As many as
/// there are, so many positions are on the side of a window in every stage.
const MULTIPLE: usize = 32;
/// Pixels on a side of an image, at most.
const LARGEST: usize = 1024;

/// The shape of a MaxViT or CoAtNet.
#[derive(Debug, Clone)]
struct Config {
    image_size: usize,
    stem: [usize; 2],
    widths: [usize; 4],
    depths: [usize; 4],
    style: Style,
}

impl Config {
    fn new(image_size: usize, widths: [usize; 4], depths: [usize; 4], style: Style) -> Self {
        Self {
            image_size,
            stem: [32, 64],
            widths,
            depths,
            style,
        }
    }

    fn init(&self, options: &BackboneOptions, params: &ParamBuilder) -> Built<MaxxVit> {
        let shape = options.stem.convolutions(&[2], false)?;
        let multiple = shape.scale(MULTIPLE);
        let expected = format!("a multiple of {multiple} up to {LARGEST}");
        let image_size = options.fixed_size(self.image_size, expected, |side| {
            side.is_multiple_of(multiple) && (1..=LARGEST).contains(&side)
        })?;
        let style = self.style;
        let stem = Stem::new(
            options.in_channels,
            self.stem,
            shape.stride(),
            style,
            params,
        );
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let mut table = key_table![
            "stem.bn1" => "stem.norm1",
            "pre_logits.norm" => "head.norm", "pre_logits.fc" => "head.pre_logits.fc",
        ];
        // Of each attention, where the biases for positions are, and the sides of its windows.
        let mut positions = Vec::new();
        let mut before = self.stem[1];
        let mut stages = Vec::new();
        for (index, (depth, width)) in self.depths.into_iter().zip(self.widths).enumerate() {
            // The first block of each stage halves the map.
            let grid = image_size.map(|side| (side / shape.stride() / 2) >> index);
            let mut blocks = Vec::new();
            for (block, rate) in rates.by_ref().take(depth).enumerate() {
                let ends = [before, width];
                before = width;
                let stride = if block == 0 { 2 } else { 1 };
                let path = format!("stage{}.{block}", index + 1);
                let convs = || MbConv::new(ends, stride, style, rate, params);
                let mut attention = |part: &str, ends, stride, windows: Windows| {
                    positions.push((format!("{path}{part}.attn.rel_pos"), windows.sides()));
                    Transformer::new(ends, stride, windows, style, rate, params)
                };
                blocks.push(if style.is_max {
                    let window = image_size.map(|side| side / multiple);
                    let ends = [width; 2];
                    Block::Max(MaxBlock {
                        conv: convs(),
                        attn_block: attention(".attn_block", ends, 1, Windows::new(window)),
                        attn_grid: attention(".attn_grid", ends, 1, Windows::spread(window)),
                    })
                } else if index < 2 {
                    Block::Convs(convs())
                } else {
                    Block::Attention(attention("", ends, stride, Windows::new(grid)))
                });
            }
            if !style.is_max && index >= 2 {
                let theirs = format!("stages.{index}.blocks.0.norm1.norm");
                table.push(&format!("stage{}.0.norm1", index + 1), &theirs);
            }
            stages.push(blocks);
        }
        style.name_parts(&mut table);
        let stages = Stages::new(stages);
        let mut groups = stages.groups_with_stem();
        let pre_logits = style.is_tf.then(|| PreLogits {
            norm: LayerNorm::new(before, 1e-5, params),
            fc: LinearConfig::new(before, before).init(params),
        });
        let norm = (!style.is_tf).then(|| style.norm(before, params));
        if norm.is_some() {
            groups.push(Group::named("norm"));
        }
        let (position_tables, no_weight_decay) = style.position_tables(positions);
        let mut description = Description {
            has_pre_logits: style.is_tf,
            input_size: InputSize::Exactly(image_size),
            stem: Some(shape),
            classifier: "head.fc",
            key_table: table,
            no_weight_decay,
            position_tables,
            layer_of: Some(layer_of),
            ..Description::new(groups, options.in_channels, before, "stem.conv1")
        };
        if style.is_tf {
            // The normalisation behind the pooling has as many channels as the features, and the
            // affine layer takes one vector.
            description.pools = &[Pool::Avg, Pool::Max, Pool::AvgMax];
        }
        let backbone = MaxxVit {
            stem,
            stages,
            norm,
            pre_logits,
        };
        Ok((backbone, description))
    }
}

/// timm counts a stage as one layer, and the last normalisation to the last stage.
fn layer_of(name: &str) -> Option<usize> {
    let mut parts = name.split('.');
    match parts.next()? {
        "stem" => Some(0),
        "stages" => Some(parts.next()?.parse::<usize>().ok()? + 1),
        "norm" => Some(4),
        _ => None,
    }
}

#[derive(Module, Debug)]
struct MaxxVit {
    stem: Stem,
    stages: Stages<Vec<Block>>,
    norm: Option<Norm>,
    pre_logits: Option<PreLogits>,
}

impl Backbone for MaxxVit {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        match &self.norm {
            Some(norm) if index == 5 => Ok(Features::Map(norm.forward(x.into_map()?))),
            _ => self.stages.forward_group(&self.stem, index, x),
        }
    }

    fn pre_logits(&self, features: Features, pooling: Pooling) -> Result<Tensor<2>> {
        let pooled = pooling.vector(features);
        Ok(match &self.pre_logits {
            Some(PreLogits { norm, fc }) => {
                fc.forward_with(norm.forward(pooled), Epilogue::act(Act::Tanh))
            }
            None => pooled,
        })
    }
}

#[derive(Module, Debug)]
struct PreLogits {
    norm: LayerNorm,
    fc: Linear,
}

#[derive(Module, Debug)]
struct Stem {
    conv1: ConvNorm,
    conv2: Conv2d,
}

impl Stem {
    fn new(
        in_channels: usize,
        [first, second]: [usize; 2],
        stride: usize,
        style: Style,
        params: &ParamBuilder,
    ) -> Self {
        let mut conv1 = style.conv(in_channels, first, 3, 1).stride(stride);
        let mut conv2 = style.conv(first, second, 3, 1);
        if style.is_tf {
            (conv1, conv2) = (conv1.bias(), conv2.bias());
        }
        let norm = style.conv_norm(first);
        Self {
            conv1: ConvNorm::with_norm(conv1, norm, style.conv_act(), params),
            conv2: conv2.init(params),
        }
    }
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv2.forward(self.conv1.forward(x))
    }
}

#[derive(Module, Debug)]
enum Block {
    Convs(MbConv),
    Attention(Transformer),
    Max(MaxBlock),
}

#[derive(Module, Debug)]
struct MaxBlock {
    conv: MbConv,
    attn_block: Transformer,
    attn_grid: Transformer,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Convs(convs) => convs.forward(x),
            Self::Attention(attention) => attention.forward(x),
            Self::Max(block) => {
                let x = block.attn_block.forward(block.conv.forward(x));
                block.attn_grid.forward(x)
            }
        }
    }
}
