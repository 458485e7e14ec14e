//! MobileViT: Mehta & Rastegari, "MobileViT: Light-weight, General-purpose, and Mobile-friendly Vision
//! Transformer", ICLR 2022, <https://arxiv.org/abs/2110.02178>.
//!
//! Inverted residuals, and in the last three stages transformers in which the positions at the same
//! place of their 2x2 patches see each other. The structure is timm's `mobilevit.py`. The weights are
//! under a licence of Apple's own and want images that are not normalised. Parameters are those of a
//! model for 1000 classes; accuracies are those timm publishes at 256 pixels for the tag `cvnets_in1k`.
//!
//! | variant | parameters | ImageNet top-1 |
//! |---|---|---|
//! | `mobilevit_xxs` | 1 272 024 | 68.9 % |
//! | `mobilevit_xs` | 2 317 848 | 74.6 % |
//! | `mobilevit_s` | 5 578 632 | 78.3 % |

use burn::module::Module;
use burn::tensor::Tensor;

use super::mobilevit_v2::SeparableVit;
use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{Backbone, Description, Features, KeyTable, MapLayer, Pool, Stages, key_table};
use crate::nn::{
    Act, Conv2d, Conv2dConfig, ConvLayer, ConvNorm, DropPath, Epilogue, LayerNorm, Mlp,
    ParamBuilder, Residual, ResidualConfig, ResidualKind, Resize, SelfAttention, Shortcut,
    divisible_by_8, drop_path_rates, fan_out_normal, resize,
};

variants! {
    family: MobileVit, manifest: "mobilevit.toml", paper: "https://arxiv.org/abs/2110.02178",
    pool: Pool::Avg;
    mobilevit_xxs (256): "the narrowest"
        => Config::v1([16, 24, 48, 64, 80], 2.0, [64, 80, 96], 320);
    mobilevit_xs (256): "narrow" => Config::v1([32, 48, 64, 80, 96], 4.0, [96, 120, 144], 384);
    mobilevit_s (256): "the widest"
        => Config::v1([32, 64, 96, 128, 160], 4.0, [144, 192, 240], 640);
}

/// Blocks of each transformer.
const DEPTHS: [usize; 3] = [2, 4, 3];
/// A side of the patches.
const PATCH: usize = 2;
const EPSILON: f64 = 1e-5;
const LINEAR: Init = Init::normal(0.01);

/// The shape of a MobileViT.
#[derive(Debug, Clone)]
pub(super) struct Config {
    is_v2: bool,
    stem_channels: usize,
    widths: [usize; 5],
    /// Inverted residuals of the second stage.
    residuals: usize,
    /// Channels within the inverted residuals, as a multiple of the input's.
    expansion: f64,
    /// Features of each transformer's tokens.
    features: [usize; 3],
    /// Channels of the convolution behind the last block.
    final_channels: Option<usize>,
}

impl Config {
    fn v1(widths: [usize; 5], expansion: f64, features: [usize; 3], last: usize) -> Self {
        Self {
            is_v2: false,
            stem_channels: 16,
            widths,
            residuals: 3,
            expansion,
            features,
            final_channels: Some(last),
        }
    }

    pub(super) fn v2(widths: [usize; 5], stem_channels: usize) -> Self {
        let [_, _, a, b, c] = widths;
        Self {
            is_v2: true,
            stem_channels,
            widths,
            residuals: 2,
            expansion: 2.0,
            features: [a, b, c].map(|width| divisible_by_8(0.5 * width as f64)),
            final_channels: None,
        }
    }

    pub(super) fn init(
        &self,
        options: &BackboneOptions,
        params: &ParamBuilder,
    ) -> Built<MobileVit> {
        // One inverted residual, some, and three stages with one and a transformer each.
        let total = 1 + self.residuals + 3 * 2;
        let mut rates = drop_path_rates(options.drop_path_rate, total);
        let mut rate = || rates.next().unwrap_or_default();
        let mut channels = self.stem_channels;
        let shape = options.stem.convolutions(&[2], false)?;
        let stem = conv(options.in_channels, channels, 3, 1).stride(shape.stride());
        let stem = ConvLayer::new(stem, Act::Silu, params);
        let mut stages = Vec::new();
        for (stage, width) in self.widths.into_iter().enumerate() {
            let mut blocks = Vec::new();
            for index in 0..if stage == 1 { self.residuals } else { 1 } {
                let inner = divisible_by_8(channels as f64 * self.expansion);
                let config = ResidualConfig {
                    kind: ResidualKind::Bottleneck,
                    inner,
                    channels: width,
                    stride: if stage > 0 && index == 0 { 2 } else { 1 },
                    groups: inner,
                    shortcut: Shortcut::Nothing,
                    se: None,
                    act: Act::Silu,
                    last_act: Act::None,
                };
                let block = Residual::new(&config, channels, rate(), params);
                blocks.push(Layer::Residual(block));
                channels = width;
            }
            if let Some(index) = stage.checked_sub(2) {
                blocks.push(self.transformer(index, width, rate(), params));
            }
            let block = |layer| Block {
                layer,
                final_conv: None,
            };
            stages.push(blocks.into_iter().map(block).collect::<Vec<_>>());
        }
        if let Some(width) = self.final_channels
            && let Some(last) = stages.last_mut().and_then(|blocks| blocks.last_mut())
        {
            let conv = conv(channels, width, 1, 1);
            last.final_conv = Some(ConvNorm::new(conv, Act::Silu, params));
            channels = width;
        }
        let stages = Stages::new(stages);
        let groups = stages.groups_with_stem();
        let description = Description {
            stem: Some(shape),
            classifier: "head.fc",
            classifier_init: LINEAR,
            key_table: key_table(),
            ..Description::new(groups, options.in_channels, channels, "stem.conv")
        };
        Ok((MobileVit { stem, stages }, description))
    }

    /// The block that ends one of the last three stages.
    fn transformer(
        &self,
        index: usize,
        width: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Layer {
        let (features, depth) = (self.features[index], DEPTHS[index]);
        if self.is_v2 {
            let block = SeparableVit::new(width, features, depth, drop_path, params);
            Layer::V2(block)
        } else {
            Layer::V1(Vit::new(width, features, depth, drop_path, params))
        }
    }
}

/// A convolution that keeps the size at stride 1.
pub(super) fn conv(from: usize, to: usize, kernel: usize, groups: usize) -> Conv2dConfig {
    Conv2dConfig::new(from, to, kernel)
        .padding(kernel / 2)
        .groups(groups)
        .weights(fan_out_normal(kernel * kernel * to / groups))
}

fn key_table() -> KeyTable {
    let mut table = key_table![
        "stem.conv" => "stem.conv", "stem.bn" => "stem.bn",
        "stage*.*.final_conv" => "final_conv.conv", "stage*.*.final_conv_bn" => "final_conv.bn",
    ];
    let residual = Residual::names(ResidualKind::Bottleneck, Shortcut::Nothing);
    let vit = ["kxk", "proj", "fusion"].into_iter().flat_map(|part| {
        ["conv", "bn"].map(|kind| (format!("{kind}_{part}"), format!("conv_{part}.{kind}")))
    });
    let residual = residual
        .into_iter()
        .map(|(ours, theirs)| (ours.to_owned(), theirs));
    for (ours, theirs) in residual.chain(vit) {
        table.push(
            &format!("stage*.*.layer.{ours}"),
            &format!("stages.*-1.*.{theirs}"),
        );
    }
    table.push("stage*.*.layer", "stages.*-1.*");
    table
}

#[derive(Module, Debug)]
pub(super) struct MobileVit {
    stem: ConvLayer,
    stages: Stages<Vec<Block>>,
}

impl Backbone for MobileVit {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        self.stages.forward_group(&self.stem, index, x)
    }
}

/// An inverted residual or a transformer; behind the very last one comes a convolution that widens.
#[derive(Module, Debug)]
struct Block {
    layer: Layer,
    final_conv: Option<ConvNorm>,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Layer {
    Residual(Residual),
    V1(Vit),
    V2(SeparableVit),
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.final_conv.forward(match &self.layer {
            Layer::Residual(block) => block.forward(x),
            Layer::V1(block) => block.forward(x),
            Layer::V2(block) => block.forward(x),
        })
    }
}

/// V1: convolutions for what is near, a transformer for what is far, and both put together.
#[derive(Module, Debug)]
struct Vit {
    conv_kxk: ConvNorm,
    conv_1x1: Conv2d,
    transformer: Vec<Attentive>,
    norm: LayerNorm,
    conv_proj: ConvNorm,
    conv_fusion: ConvNorm,
}

impl Vit {
    fn new(
        width: usize,
        features: usize,
        depth: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Self {
        let layer = |from, to, kernel| ConvNorm::new(conv(from, to, kernel, 1), Act::Silu, params);
        let block = |_| Attentive::new(features, drop_path, params);
        Self {
            conv_kxk: layer(width, width, 3),
            conv_1x1: conv(width, features, 1, 1).init(params),
            transformer: (0..depth).map(block).collect(),
            norm: LayerNorm::new(features, EPSILON, params),
            conv_proj: layer(features, width, 1),
            conv_fusion: layer(2 * width, width, 3),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let near = self.conv_1x1.forward(self.conv_kxk.forward(x.clone()));
        let [batch, features, height, width] = near.dims();
        let how = Resize::Bilinear {
            align_corners: false,
        };
        let sides = whole_patches([height, width]);
        // [batch, features, places, patches] -> [batch * places, patches, features]
        let places = to_places(resize(near, sides, how));
        let [_, _, area, patches] = places.dims();
        let tokens = places.permute([0, 2, 3, 1]);
        let tokens = tokens.reshape([batch * area, patches, features]);
        let tokens = self.transformer.iter().fold(tokens, |x, it| it.forward(x));
        let tokens = self.norm.forward(tokens);
        let places = tokens.reshape([batch, area, patches, features]);
        let map = from_places(places.permute([0, 3, 1, 2]), sides);
        let far = self.conv_proj.forward(resize(map, [height, width], how));
        self.conv_fusion.forward(Tensor::cat(vec![x, far], 1))
    }
}

/// Sides of the smallest map of whole patches that is no smaller.
pub(super) fn whole_patches(sides: [usize; 2]) -> [usize; 2] {
    sides.map(|side| side.next_multiple_of(PATCH))
}

/// The positions of a map by their place within a patch.
///
/// # Shapes
/// - map: `[batch, channels, height, width]`, of whole patches
/// - output: `[batch, channels, places, patches]`
pub(super) fn to_places(map: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = map.dims();
    let [rows, columns] = [height / PATCH, width / PATCH];
    let map = map.reshape([batch, channels, rows, PATCH, columns, PATCH]);
    let places = map.permute([0, 1, 3, 5, 2, 4]);
    places.reshape([batch, channels, PATCH * PATCH, rows * columns])
}

/// The map of these sides that [`to_places`] took apart.
pub(super) fn from_places(places: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [batch, channels, _, _] = places.dims();
    let [rows, columns] = [height / PATCH, width / PATCH];
    let places = places.reshape([batch, channels, PATCH, PATCH, rows, columns]);
    let map = places.permute([0, 1, 4, 2, 5, 3]);
    map.reshape([batch, channels, height, width])
}

/// Attention and an MLP, each on normalised tokens and added to them.
#[derive(Module, Debug)]
struct Attentive {
    norm1: LayerNorm,
    attn: SelfAttention,
    norm2: LayerNorm,
    mlp: Mlp,
    drop_path: DropPath,
}

impl Attentive {
    fn new(features: usize, drop_path: f64, params: &ParamBuilder) -> Self {
        Self {
            norm1: LayerNorm::new(features, EPSILON, params),
            attn: SelfAttention::new(features, 4, &LINEAR, params),
            norm2: LayerNorm::new(features, EPSILON, params),
            mlp: Mlp::new(features, 2 * features, &LINEAR, params).act(Act::Silu),
            drop_path: DropPath::new(drop_path),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attend = |x, end: Epilogue<'_, 3>| self.attn.forward_with(self.norm1.forward(x), end);
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let mlp = |x, end: Epilogue<'_, 3>| self.mlp.forward_with(self.norm2.forward(x), end);
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}
