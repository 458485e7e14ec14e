//! The blocks of a RegNet.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::model::MapLayer;
use crate::nn::{
    Act, BatchNorm2d, Conv2d, ConvLayer, ConvNorm, DropPath, Epilogue, Residual, SqueezeExcite,
};

#[derive(Module, Debug)]
pub(super) enum Block {
    /// Of X or Y.
    Post(PostBlock),
    /// Of V.
    Pre(PreBlock),
    /// Of Z.
    Wide(Residual),
    /// What stands behind the last block of Z.
    Final(ConvLayer),
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Post(block) => block.forward(x),
            Self::Pre(block) => block.forward(x),
            Self::Wide(block) => block.forward(x),
            Self::Final(conv) => conv.forward(x),
        }
    }
}

/// A block whose norms stand behind its convolutions.
#[derive(Module, Debug)]
pub(super) struct PostBlock {
    pub conv1: ConvNorm,
    pub conv2: ConvNorm,
    pub se: Option<SqueezeExcite>,
    pub conv3: ConvNorm,
    pub downsample: Option<ConvNorm>,
    pub drop_path: DropPath,
}

impl PostBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = |x| self.downsample.forward(x);
        self.drop_path.residual(x, Act::Relu, shortcut, |x, end| {
            let x = self.conv2.forward(self.conv1.forward(x));
            self.conv3.forward_with(self.se.forward(x), end)
        })
    }
}

/// A block whose norms stand before its convolutions. The first norm is the shortcut's too.
#[derive(Module, Debug)]
pub(super) struct PreBlock {
    pub norm1: BatchNorm2d,
    pub conv1: ConvNorm,
    pub conv2: Conv2d,
    pub se: SqueezeExcite,
    pub norm3: BatchNorm2d,
    pub conv3: Conv2d,
    pub downsample: Option<Conv2d>,
    pub drop_path: DropPath,
    /// The activation behind the sum.
    #[module(skip)]
    pub end: Act,
}

impl PreBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = |x| self.downsample.forward(x);
        let act = Epilogue::act(Act::Silu);
        let x = self.norm1.forward_with(x, act);
        self.drop_path.residual(x, self.end, shortcut, |x, end| {
            let x = self.conv2.forward(self.conv1.forward(x));
            let x = self.norm3.forward_with(self.se.forward(x), act);
            self.conv3.forward_with(x, end)
        })
    }
}
