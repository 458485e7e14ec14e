//! The modules of a vision transformer: stem, blocks, and what stands before the classifier.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{Config, WEIGHTS};
use crate::nn::{
    Act, AttentionPool, Conv2d, DropPath, Epilogue, LayerNorm, LayerScale, Mlp, ParamBuilder,
    RmsNorm, SelfAttention, prepend_tokens, scaled, tokens_of_map,
};

/// Patches as tokens, with those before them and their positions.
#[derive(Module, Debug)]
pub(super) struct Stem {
    pub proj: Conv2d,
    pub cls_token: Option<Param<Tensor<3>>>,
    pub dist_token: Option<Param<Tensor<3>>>,
    pub reg_token: Option<Param<Tensor<3>>>,
    pub pos_embed: Param<Tensor<3>>,
    pub norm: Option<Norm>,
    pub embeds_prefix: bool,
}

impl Stem {
    pub(super) fn forward(&self, image: Tensor<4>) -> Tensor<3> {
        let patches = tokens_of_map(self.proj.forward(image));
        let positions = self.pos_embed.val().cast(patches.dtype());
        let prefix = [&self.cls_token, &self.dist_token, &self.reg_token];
        let prefix = prefix.into_iter().flatten();
        let x = if self.embeds_prefix {
            prepend_tokens(prefix, patches) + positions
        } else {
            prepend_tokens(prefix, patches + positions)
        };
        match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}

/// What stands between the last group and the classifier.
#[derive(Module, Debug)]
pub(super) enum PreLogits {
    Norm(Norm),
    Pool(AttentionPool),
}

#[derive(Module, Debug)]
pub(super) enum Norm {
    Layer(LayerNorm),
    Rms(RmsNorm),
}

impl Norm {
    pub(super) fn new(config: &Config, params: &ParamBuilder) -> Self {
        if config.is_rms {
            Self::Rms(RmsNorm::new(config.width, config.epsilon, params))
        } else {
            Self::Layer(LayerNorm::new(config.width, config.epsilon, params))
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::Rms(norm) => norm.forward(x),
        }
    }
}

/// Attention and an MLP, each on normalised tokens and added to them.
#[derive(Module, Debug)]
pub(super) struct Block {
    norm1: Norm,
    attn: SelfAttention,
    ls1: Option<LayerScale>,
    norm2: Norm,
    mlp: Mlp,
    ls2: Option<LayerScale>,
    drop_path: DropPath,
}

impl Block {
    pub(super) fn new(config: &Config, drop_path: f64, params: &ParamBuilder) -> Self {
        let width = config.width;
        let attn = SelfAttention::new(width, config.heads, &WEIGHTS, params);
        let scale = || {
            let start = config.layer_scale;
            start.map(|start| LayerScale::new(width, start, params))
        };
        Self {
            norm1: Norm::new(config, params),
            attn: if config.qkv_bias {
                attn
            } else {
                attn.without_qkv_bias()
            },
            ls1: scale(),
            norm2: Norm::new(config, params),
            mlp: Mlp::new(width, config.hidden(), &WEIGHTS, params).act(config.act),
            ls2: scale(),
            drop_path: DropPath::new(drop_path),
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attend = |x, end: Epilogue<'_, 3>| {
            let x = self.norm1.forward(x);
            scaled(self.ls1.as_ref(), end, |end| self.attn.forward_with(x, end))
        };
        let x = self.drop_path.residual(x, Act::None, |x| x, attend);
        let mlp = |x, end: Epilogue<'_, 3>| {
            let x = self.norm2.forward(x);
            scaled(self.ls2.as_ref(), end, |end| self.mlp.forward_with(x, end))
        };
        self.drop_path.residual(x, Act::None, |x| x, mlp)
    }
}
