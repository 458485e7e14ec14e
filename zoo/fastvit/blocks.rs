//! The stages of a FastViT: what makes the map smaller, and the blocks.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::WEIGHTS;
use crate::model::MapLayer;
use crate::nn::fused::{self, Folded};
use crate::nn::rep_conv::identity_kernels;
use crate::nn::{
    Act, BatchNorm2d, Conv2d, Conv2dConfig, ConvNorm, DropPath, Epilogue, ParamBuilder, RepConv,
    SelfAttention, map_of_tokens, tokens_of_map, trace,
};

#[derive(Module, Debug)]
pub(super) struct Stage {
    pub downsample: Option<Downsample>,
    /// What tells the positions apart, added to them.
    pub pos_emb: Option<Conv2d>,
    pub blocks: Vec<Block>,
}

#[derive(Module, Debug)]
pub(super) struct Downsample {
    pub large: RepConv,
    pub pointwise: RepConv,
}

impl MapLayer for Downsample {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.pointwise.forward(self.large.forward(x))
    }
}

impl MapLayer for Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut x = self.downsample.forward(x);
        if let Some(conv) = &self.pos_emb {
            x = conv.forward_with(x.clone(), Epilogue::adding(&x));
        }
        self.blocks.forward(x)
    }
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub(super) enum Block {
    Mixer(MixerBlock),
    Attention(AttentionBlock),
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Mixer(block) => block.forward(x),
            Self::Attention(block) => block.forward(x),
        }
    }
}

#[derive(Module, Debug)]
pub(super) struct MixerBlock {
    pub token_mixer: RepMixer,
    pub mlp: ConvMlp,
    pub layer_scale: Scale,
    pub drop_path: DropPath,
}

impl MixerBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.token_mixer.forward(x);
        let mlp = |x, end: Epilogue<'_, 4>| self.mlp.forward_scaled(x, &self.layer_scale, end);
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}

/// What a depthwise convolution has over its normalised input, scaled and added to the input.
#[derive(Module, Debug)]
pub(super) struct RepMixer {
    pub norm: BatchNorm2d,
    pub mixer: RepConv,
    pub layer_scale: Scale,
}

impl RepMixer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if let Some(prepared) = fused::for_input(&x) {
            let conv = &self.mixer.first().conv;
            return conv.forward_folded(&prepared, x, Epilogue::default(), || self.fold());
        }
        let mixed = self.mixer.forward(x.clone()) - self.norm.forward(x.clone());
        self.layer_scale.forward(mixed) + x
    }

    /// The convolution that it is.
    fn fold(&self) -> Folded {
        let (kernels, shift) = self.mixer.fold();
        let identity = identity_kernels(kernels.dims(), &kernels.device());
        let (less, by) = self.norm.fold(identity.clone(), None);
        let (kernels, shift) = self.layer_scale.fold((kernels - less, shift - by));
        (identity + kernels, shift)
    }
}

#[derive(Module, Debug)]
pub(super) struct AttentionBlock {
    pub norm: BatchNorm2d,
    pub token_mixer: SelfAttention,
    pub layer_scale_1: Scale,
    pub mlp: ConvMlp,
    pub layer_scale_2: Scale,
    pub drop_path: DropPath,
}

impl AttentionBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let attend = |x: Tensor<4>, end: Epilogue<'_, 4>| {
            let [.., height, width] = x.dims();
            let tokens = tokens_of_map(self.norm.forward(x));
            let mixed = self.token_mixer.forward_with(tokens, Epilogue::default());
            let mixed = map_of_tokens(mixed, [height, width]);
            end.apply(self.layer_scale_1.forward(mixed))
        };
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let mlp = |x, end: Epilogue<'_, 4>| self.mlp.forward_scaled(x, &self.layer_scale_2, end);
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}

/// A depthwise convolution, and two layers that see one position at a time.
#[derive(Module, Debug)]
pub(super) struct ConvMlp {
    conv: ConvNorm,
    fc1: Conv2d,
    fc2: Conv2d,
}

impl ConvMlp {
    pub fn new(width: usize, hidden: usize, params: &ParamBuilder) -> Self {
        let conv = Conv2dConfig::new(width, width, 7).padding(3).depthwise();
        let layer = |from, to| {
            let conv = Conv2dConfig::new(from, to, 1).bias();
            conv.weights(WEIGHTS).init(params)
        };
        Self {
            conv: ConvNorm::new(conv.weights(WEIGHTS), Act::None, params),
            fc1: layer(width, hidden),
            fc2: layer(hidden, width),
        }
    }

    fn forward_scaled(&self, x: Tensor<4>, scale: &Scale, end: Epilogue<'_, 4>) -> Tensor<4> {
        let x = self.conv.forward(x);
        let hidden = self.fc1.forward_with(x, Epilogue::act(Act::Gelu));
        if let (Some(prepared), Some(bias)) = (fused::for_input(&hidden), &self.fc2.bias) {
            let fold = || scale.fold((self.fc2.weight.val(), bias.val()));
            return self.fc2.forward_folded(&prepared, hidden, end, fold);
        }
        end.apply(scale.forward(self.fc2.forward(hidden)))
    }
}

/// A factor for each channel of a map, small at first: timm's `LayerScale2d`.
#[derive(Module, Debug)]
pub(super) struct Scale {
    gamma: Param<Tensor<3>>,
}

impl Scale {
    pub fn new(channels: usize, params: &ParamBuilder) -> Self {
        Self {
            gamma: params.constant([channels, 1, 1], 1e-5),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let gamma = self.gamma.val().cast(x.dtype());
        let x = x * gamma.unsqueeze();
        trace::layer("LayerScale", self.gamma.id, &x, 0);
        x
    }

    /// A folded convolution with the factors behind it.
    fn fold(&self, (kernels, shift): Folded) -> Folded {
        let gamma = self.gamma.val();
        let kernels = kernels * gamma.clone().reshape([-1, 1, 1, 1]);
        (kernels, shift * gamma.reshape([-1]))
    }
}
