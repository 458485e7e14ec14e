//! The blocks of a MetaFormer.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::model::MapLayer;
use crate::nn::{
    Act, Conv2d, DropPath, Epilogue, LayerScale, Norm, Pointwise, SelfAttention, StarRelu,
    local_means, map_of_tokens, tokens_of_map,
};

/// A mixer of positions and an MLP of channels, each on what is normalised, and added to it. There may be
/// a scale of the branch or of what it is added to.
#[derive(Module, Debug)]
pub(super) struct Block {
    pub norm1: Norm,
    pub token_mixer: Option<Mixer>,
    pub layer_scale1: Option<LayerScale>,
    pub res_scale1: Option<LayerScale>,
    pub norm2: Norm,
    pub mlp: Mlp,
    pub layer_scale2: Option<LayerScale>,
    pub res_scale2: Option<LayerScale>,
    pub drop_path: DropPath,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mix = |x, end: Epilogue<'_, 4>| {
            let x = self.norm1.forward(x);
            match &self.token_mixer {
                Some(mixer) => mixer.forward_with(x, end),
                None => end.apply(local_means(x.clone(), 3) - x),
            }
        };
        let x = self.branch(x, &self.layer_scale1, &self.res_scale1, mix);
        let mlp = |x, end: Epilogue<'_, 4>| self.mlp.forward_with(self.norm2.forward(x), end);
        self.branch(x, &self.layer_scale2, &self.res_scale2, mlp)
    }
}

impl Block {
    fn branch(
        &self,
        x: Tensor<4>,
        layer_scale: &Option<LayerScale>,
        res_scale: &Option<LayerScale>,
        layer: impl FnOnce(Tensor<4>, Epilogue<'_, 4>) -> Tensor<4>,
    ) -> Tensor<4> {
        let shortcut = |x| res_scale.iter().fold(x, |x, scale| scale.forward_map(x));
        self.drop_path
            .residual(x, Act::None, shortcut, |x, end| match layer_scale {
                Some(scale) => end.apply(scale.forward_map(layer(x, Epilogue::default()))),
                None => layer(x, end),
            })
    }
}

#[derive(Module, Debug)]
pub(super) enum Mixer {
    Separable(SepConv),
    Attention(SelfAttention),
}

impl Mixer {
    fn forward_with(&self, x: Tensor<4>, end: Epilogue<'_, 4>) -> Tensor<4> {
        match self {
            Self::Separable(SepConv {
                pwconv1,
                act1,
                dwconv,
                pwconv2,
            }) => {
                let x = act1.forward(pwconv1.forward(x, Act::None));
                pwconv2.forward_with(dwconv.forward(x), end)
            }
            Self::Attention(attention) => {
                let [.., height, width] = x.dims();
                let mixed = attention.forward_with(tokens_of_map(x), Epilogue::default());
                end.apply(map_of_tokens(mixed, [height, width]))
            }
        }
    }
}

/// An inverted separable convolution.
#[derive(Module, Debug)]
pub(super) struct SepConv {
    pub pwconv1: Pointwise,
    pub act1: StarRelu,
    pub dwconv: Conv2d,
    pub pwconv2: Pointwise,
}

#[derive(Module, Debug)]
pub(super) struct Mlp {
    pub fc1: Pointwise,
    /// GELU, if there is none of its own.
    pub act: Option<StarRelu>,
    pub fc2: Pointwise,
}

impl Mlp {
    fn forward_with(&self, x: Tensor<4>, end: Epilogue<'_, 4>) -> Tensor<4> {
        let hidden = match &self.act {
            Some(act) => act.forward(self.fc1.forward(x, Act::None)),
            None => self.fc1.forward(x, Act::Gelu),
        };
        self.fc2.forward_with(hidden, end)
    }
}
