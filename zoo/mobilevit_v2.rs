//! MobileViT V2: Mehta & Rastegari, "Separable Self-attention for Mobile Vision Transformers", 2022,
//! <https://arxiv.org/abs/2206.02680>.
//!
//! A [MobileViT](super::mobilevit) whose attention is linear in the number of positions. The structure
//! is timm's `mobilevit.py`. The weights are under a licence of Apple's own and want images that are
//! not normalised. Parameters are those of a model for 1000 classes; accuracies are those timm
//! publishes at 256 pixels for the tag `cvnets_in1k`.
//!
//! | variant | parameters | ImageNet top-1 |
//! |---|---|---|
//! | `mobilevitv2_050` | 1 370 593 | 70.2 % |
//! | `mobilevitv2_075` | 2 866 009 | 75.6 % |
//! | `mobilevitv2_100` | 4 901 841 | 78.1 % |

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::{relu, softmax};

use super::mobilevit::{Config, MobileVit, conv, from_places, to_places, whole_patches};
use crate::model::Pool;
use crate::nn::{
    Act, Conv2d, ConvNorm, DropPath, Epilogue, GroupNorm, GroupNormConfig, ParamBuilder, Resize,
    resize,
};

type MobileVitV2 = MobileVit;

variants! {
    family: MobileVitV2, manifest: "mobilevit_v2.toml", paper: "https://arxiv.org/abs/2206.02680",
    pool: Pool::Avg;
    mobilevitv2_050 (256): "half as wide" => Config::v2([32, 64, 128, 192, 256], 16);
    mobilevitv2_075 (256): "three quarters as wide" => Config::v2([48, 96, 192, 288, 384], 24);
    mobilevitv2_100 (256): "the widest" => Config::v2([64, 128, 256, 384, 512], 32);
}

/// Convolutions for what is near, and a transformer of linear cost for what is far.
#[derive(Module, Debug)]
pub(super) struct SeparableVit {
    conv_kxk: ConvNorm,
    conv_1x1: Conv2d,
    transformer: Vec<Separable>,
    norm: GroupNorm,
    conv_proj: ConvNorm,
}

impl SeparableVit {
    pub(super) fn new(
        width: usize,
        features: usize,
        depth: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Self {
        let layer = |conv, act| ConvNorm::new(conv, act, params);
        let block = |_| Separable::new(features, drop_path, params);
        Self {
            conv_kxk: layer(conv(width, width, 3, width), Act::Silu),
            conv_1x1: conv(width, features, 1, 1).init(params),
            transformer: (0..depth).map(block).collect(),
            norm: GroupNormConfig::new(features, 1).init(params),
            conv_proj: layer(conv(features, width, 1, 1), Act::None),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let sides = whole_patches([height, width]);
        let how = Resize::Bilinear {
            align_corners: true,
        };
        let near = self.conv_kxk.forward(resize(x, sides, how));
        let places = to_places(self.conv_1x1.forward(near));
        let places = self.transformer.iter().fold(places, |x, it| it.forward(x));
        let places = self.norm.forward_with(places, Epilogue::default());
        self.conv_proj.forward(from_places(places, sides))
    }
}

/// Separable attention and an MLP, each on normalised positions and added to them.
#[derive(Module, Debug)]
struct Separable {
    norm1: GroupNorm,
    attn: SeparableAttention,
    norm2: GroupNorm,
    mlp: ConvMlp,
    drop_path: DropPath,
}

#[derive(Module, Debug)]
struct SeparableAttention {
    qkv_proj: Conv2d,
    out_proj: Conv2d,
}

#[derive(Module, Debug)]
struct ConvMlp {
    fc1: Conv2d,
    fc2: Conv2d,
}

impl Separable {
    fn new(features: usize, drop_path: f64, params: &ParamBuilder) -> Self {
        let norm = || GroupNormConfig::new(features, 1).init(params);
        let layer = |from, to| conv(from, to, 1, 1).bias().init(params);
        Self {
            norm1: norm(),
            attn: SeparableAttention {
                qkv_proj: layer(features, 1 + 2 * features),
                out_proj: layer(features, features),
            },
            norm2: norm(),
            mlp: ConvMlp {
                fc1: layer(features, 2 * features),
                fc2: layer(2 * features, features),
            },
            drop_path: DropPath::new(drop_path),
        }
    }

    /// # Shapes
    /// - input and output: `[batch, features, places, patches]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let attend = |x, end: Epilogue<'_, 4>| {
            let x = self.norm1.forward_with(x, Epilogue::default());
            self.attn.forward_with(x, end)
        };
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let mlp = |x, end: Epilogue<'_, 4>| {
            let x = self.norm2.forward_with(x, Epilogue::default());
            let hidden = self.mlp.fc1.forward_with(x, Epilogue::act(Act::Silu));
            self.mlp.fc2.forward_with(hidden, end)
        };
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}

impl SeparableAttention {
    /// Every position sees one mean of all keys, which one query weighs.
    fn forward_with(&self, x: Tensor<4>, end: Epilogue<'_, 4>) -> Tensor<4> {
        let features = x.dims()[1];
        let qkv = self.qkv_proj.forward(x);
        let part = |start, length| qkv.clone().narrow(1, start, length);
        let weights = softmax(part(0, 1), 3);
        let context = (part(1, features) * weights).sum_dim(3);
        let mixed = relu(part(1 + features, features)) * context;
        self.out_proj.forward_with(mixed, end)
    }
}
