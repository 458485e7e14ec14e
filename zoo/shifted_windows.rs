//! What the Swin transformers share: all but their blocks, and what makes one position of four.

use std::fmt::Debug;

use burn::module::Module;
use burn::tensor::Tensor;
use serde_json::{Map, Value, json};

use super::{BackboneOptions, Built};
use crate::error::Result;
use crate::init::Init;
use crate::model::{
    Backbone, Description, Features, Group, InputSize, MapLayer, OtherNames, Pool, Stages,
    key_table,
};
use crate::nn::{
    Conv2d, Conv2dConfig, LayerNorm, Linear, LinearConfig, ParamBuilder, Windows, drop_path_rates,
    merge_neighbours,
};

/// Pixels on a side of a patch upstream.
const PATCH: usize = 4;
/// Pixels on a side of an image, at most.
const LARGEST: usize = 2048;
/// Features of a head.
const HEAD: usize = 32;
pub(super) const EPSILON: f64 = 1e-5;

/// The sizes of a Swin transformer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Channels of the first stage; each further one has twice as many.
    width: usize,
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Pixels on a side of the images that upstream trained with.
    image_size: usize,
}

impl Sizes {
    pub(super) fn tiny(image_size: usize) -> Self {
        Self {
            width: 96,
            depths: [2, 2, 6, 2],
            image_size,
        }
    }

    pub(super) fn small(image_size: usize) -> Self {
        Self {
            depths: [2, 2, 18, 2],
            ..Self::tiny(image_size)
        }
    }

    pub(super) fn base(image_size: usize) -> Self {
        Self {
            width: 128,
            ..Self::small(image_size)
        }
    }

    /// The network, and a description that says nothing of names, of what starts otherwise than
    /// PyTorch has it, and of weight decay. `merging` makes what merges patches to so many channels,
    /// `block` a block; a normalisation may follow the last stage.
    pub(super) fn init<M: PositionLayer, B: PositionLayer>(
        &self,
        options: &BackboneOptions,
        merging: impl Fn(usize) -> M,
        mut block: impl FnMut(&Place) -> B,
        has_norm: bool,
        params: &ParamBuilder,
    ) -> Built<Swin<M, B>> {
        let stem = options.stem.patches(PATCH)?.timm_arg("patch_size");
        let patch = stem.stride();
        let expected = format!("a multiple of {patch} up to {LARGEST}");
        let image_size = options.fixed_size(self.image_size, expected, |side| {
            side.is_multiple_of(patch) && (patch..=LARGEST).contains(&side)
        })?;
        let mut rates = drop_path_rates(options.drop_path_rate, self.depths.iter().sum());
        let mut stages = Vec::new();
        for (stage, depth) in self.depths.into_iter().enumerate() {
            let width = self.width << stage;
            let places = rates.by_ref().take(depth).enumerate();
            let places = places.map(|(index, drop_path)| Place {
                patches: image_size.map(|side| side / patch),
                stage,
                index,
                is_last: index + 1 == depth,
                width,
                drop_path,
            });
            stages.push(Stage {
                downsample: (stage > 0).then(|| merging(width)),
                blocks: places.map(|place| block(&place)).collect(),
            });
        }
        let stages = Stages::new(stages);
        let mut groups = stages.groups_with_stem();
        if has_norm {
            groups.push(Group::named("norm"));
        }
        let last = self.width << 3;
        let description = Description {
            input_size: InputSize::Exactly(image_size),
            stem: Some(stem),
            classifier: "head.fc",
            ..Description::new(groups, options.in_channels, last, "stem.proj")
        };
        let proj = Conv2dConfig::new(options.in_channels, self.width, patch).stride(patch);
        let backbone = Swin {
            stem: Stem {
                proj: proj.bias().init(params),
                norm: LayerNorm::new(self.width, EPSILON, params),
            },
            stages,
            norm: has_norm.then(|| LayerNorm::new(last, EPSILON, params)),
        };
        Ok((backbone, description))
    }
}

/// Where a block stands.
pub(super) struct Place {
    /// Rows and columns of patches.
    pub(super) patches: [usize; 2],
    /// The stage, counted from 0.
    pub(super) stage: usize,
    /// The block within the stage, counted from 0.
    index: usize,
    /// Whether no other follows in the stage.
    pub(super) is_last: bool,
    /// Channels.
    pub(super) width: usize,
    /// The rate of stochastic depth.
    pub(super) drop_path: f64,
}

impl Place {
    /// Heads of attention.
    pub(super) fn heads(&self) -> usize {
        self.width / HEAD
    }

    /// The path of a part of the block.
    pub(super) fn path(&self, part: &str) -> String {
        format!("stage{}.blocks.{}.{part}", self.stage + 1, self.index)
    }

    /// The windows of these sides: every second block has them shifted by half a side.
    pub(super) fn windows(&self, sides: [usize; 2]) -> Windows {
        let grid = self.patches.map(|side| side.div_ceil(1 << self.stage));
        let shift = sides.map(|side| if self.index % 2 == 1 { side / 2 } else { 0 });
        Windows::shifted(grid, sides, shift)
    }
}

/// Tables that other libraries write beside the weights; they follow from the size of a window.
pub(super) const TABLES: &[&str] = &[
    "relative_position_index",
    "relative_coords_table",
    "attn_mask",
];

/// torchvision's names, which count a merging of patches as a stage of its own. In V2 the bias of the
/// keys, in the middle of the first layer's, is not used there either.
pub(super) fn torchvision_names(whose: &'static str) -> OtherNames {
    let table = key_table![
        "patch_embed.proj" => "features.0.0", "patch_embed.norm" => "features.0.2",
        "layers.*.downsample" => "features.*x2",
        "layers.*.blocks.*.attn.q_bias" => "features.*x2+1.*.attn.qkv.bias[0/3]",
        "layers.*.blocks.*.attn.v_bias" => "features.*x2+1.*.attn.qkv.bias[2/3]",
        "layers.*.blocks.*.mlp.fc1" => "features.*x2+1.*.mlp.0",
        "layers.*.blocks.*.mlp.fc2" => "features.*x2+1.*.mlp.3",
        "layers.*.blocks" => "features.*x2+1", "head.fc" => "head",
    ];
    OtherNames::new(whose, table).ignores(TABLES)
}

/// The names of the authors' own files, where a merging of patches ends the stage before.
pub(super) fn microsoft_names(whose: &'static str) -> OtherNames {
    let table = key_table![
        "layers.*.downsample" => "layers.*-1.downsample", "head.fc" => "head",
    ];
    OtherNames::new(whose, table).ignores(TABLES)
}

/// From positions to positions.
pub(super) trait PositionLayer: Debug + Send + Sync {
    /// # Shapes
    /// - input: `[batch, height, width, channels]`
    /// - output: `[batch, height', width', channels']`
    fn forward(&self, x: Tensor<4>) -> Tensor<4>;
}

/// A Swin transformer of these mergings of patches and blocks.
#[derive(Module, Debug)]
pub(super) struct Swin<M, B> {
    stem: Stem,
    stages: Stages<Stage<M, B>>,
    norm: Option<LayerNorm>,
}

impl<M: PositionLayer, B: PositionLayer> Backbone for Swin<M, B> {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        match &self.norm {
            Some(norm) if index == 5 => Ok(Features::Map(norm.forward_map(x.into_map()?))),
            _ => self.stages.forward_group(&self.stem, index, x),
        }
    }

    fn timm_args(&self, _: Pool) -> Map<String, Value> {
        // timm's own is 0.1, but of the V2 CR.
        Map::from_iter([("drop_path_rate".to_owned(), json!(0.0))])
    }
}

/// Patches become positions.
#[derive(Module, Debug)]
struct Stem {
    proj: Conv2d,
    norm: LayerNorm,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward_map(self.proj.forward(x))
    }
}

#[derive(Module, Debug)]
struct Stage<M, B> {
    downsample: Option<M>,
    blocks: Vec<B>,
}

impl<M: PositionLayer, B: PositionLayer> MapLayer for Stage<M, B> {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        // [batch, channels, height, width] -> [batch, height, width, channels]
        let x = x.permute([0, 2, 3, 1]);
        let x = self.downsample.iter().fold(x, |x, it| it.forward(x));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        x.permute([0, 3, 1, 2])
    }
}

/// Each four neighbours, normalised, become one position of twice the channels.
#[derive(Module, Debug)]
pub(super) struct Merging {
    norm: LayerNorm,
    reduction: Linear,
}

impl Merging {
    /// To so many channels.
    pub(super) fn new(width: usize, weights: Init, params: &ParamBuilder) -> Self {
        let reduction = LinearConfig::new(2 * width, width).without_bias();
        Self {
            norm: LayerNorm::new(2 * width, EPSILON, params),
            reduction: reduction.weights(weights).init(params),
        }
    }
}

impl PositionLayer for Merging {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norm.forward(merge_neighbours(x));
        self.reduction.forward(x)
    }
}
