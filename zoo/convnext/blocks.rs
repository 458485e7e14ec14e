//! The parts of a ConvNeXt: stem, what stands between stages, blocks, and their normalisation.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::model::MapLayer;
use crate::nn::{
    Act, Conv2d, DropPath, GlobalResponseNorm, LayerNorm, LayerScale, Pointwise, RmsNorm,
};

#[derive(Module, Debug)]
pub(super) enum Norm {
    Layer(LayerNorm),
    Rms(RmsNorm),
}

impl MapLayer for Norm {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Layer(norm) => norm.forward_map(x),
            Self::Rms(norm) => norm.forward_map(x),
        }
    }
}

/// Patches, or what two overlapping convolutions see, become positions.
#[derive(Module, Debug)]
pub(super) struct Stem {
    pub first: Option<Conv2d>,
    pub conv: Conv2d,
    pub norm: Norm,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(self.first.forward(x)))
    }
}

/// Patches, normalised, become positions.
#[derive(Module, Debug)]
pub(super) struct Patches {
    pub norm: Norm,
    pub conv: Conv2d,
}

impl MapLayer for Patches {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(self.norm.forward(x))
    }
}

#[derive(Module, Debug)]
pub(super) struct Block {
    pub conv_dw: Conv2d,
    pub norm: Norm,
    pub mlp: Mlp,
    pub scale: Option<LayerScale>,
    pub drop_path: DropPath,
}

#[derive(Module, Debug)]
pub(super) struct Mlp {
    pub fc1: Pointwise,
    pub grn: Option<GlobalResponseNorm>,
    pub fc2: Pointwise,
    #[module(skip)]
    pub act: Act,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.drop_path.residual(
            x,
            Act::None,
            |x| x,
            |x, end| {
                let x = self.norm.forward(self.conv_dw.forward(x));
                let mut x = self.mlp.fc1.forward(x, self.mlp.act);
                if let Some(grn) = &self.mlp.grn {
                    x = grn.forward(x);
                }
                match &self.scale {
                    Some(scale) => end.apply(scale.forward_map(self.mlp.fc2.forward(x, Act::None))),
                    None => self.mlp.fc2.forward_with(x, end),
                }
            },
        )
    }
}
