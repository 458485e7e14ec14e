//! The modules of a ResNet: stem, block and shortcut.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::model::MapLayer;
use crate::nn::{
    Act, ChannelAttention, ConvNorm, DropPath, Epilogue, avg_pool2d, blur_pool2d, max_pool2d,
    padded_avg_pool2d,
};

/// What comes before a stride, in place of a convolution that strides itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::zoo) enum Smoothing {
    /// The mean of 2x2.
    Average,
    Blur,
}

impl Smoothing {
    fn forward(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Average => padded_avg_pool2d(x, 2, 2, 0),
            Self::Blur => blur_pool2d(x),
        }
    }
}

#[derive(Module, Debug)]
pub(in crate::zoo) struct Stem {
    pub(super) deep: Option<DeepStem>,
    pub(super) conv: ConvNorm,
    /// In place of the pooling.
    pub(super) conv_pool: Option<ConvNorm>,
    #[module(skip)]
    pub(super) smoothing: Option<Smoothing>,
    #[module(skip)]
    pub(super) pools: bool,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let deep = |x, deep: &DeepStem| deep.conv2.forward(deep.conv1.forward(x));
        let x = self.conv.forward(self.deep.iter().fold(x, deep));
        match (&self.conv_pool, self.smoothing) {
            (Some(conv), _) => conv.forward(x),
            _ if !self.pools => x,
            (None, None) => max_pool2d(x, 3, 2, 1),
            (None, Some(Smoothing::Average)) => Smoothing::Average.forward(x),
            (None, Some(Smoothing::Blur)) => Smoothing::Blur.forward(max_pool2d(x, 3, 1, 1)),
        }
    }
}

#[derive(Module, Debug)]
pub(super) struct DeepStem {
    pub(super) conv1: ConvNorm,
    pub(super) conv2: ConvNorm,
}

/// A residual block of either kind: a bottleneck has the third convolution.
#[derive(Module, Debug)]
pub(in crate::zoo) struct Block {
    pub(super) conv1: ConvNorm,
    pub(super) conv2: ConvNorm,
    pub(super) conv3: Option<ConvNorm>,
    pub(super) attention: Option<ChannelAttention>,
    pub(super) downsample: Option<Downsample>,
    pub(super) drop_path: DropPath,
    #[module(skip)]
    pub(super) smoothing: Option<Smoothing>,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = |x| self.downsample.forward(x);
        self.drop_path.residual(x, Act::Relu, shortcut, |x, end| {
            let x = self.conv1.forward(x);
            let (x, last) = match &self.conv3 {
                Some(conv3) => (self.conv2.forward(x), conv3),
                None => (x, &self.conv2),
            };
            let x = match self.smoothing {
                Some(smoothing) => smoothing.forward(x),
                None => x,
            };
            match &self.attention {
                Some(attention) => {
                    let x = last.forward_with(x, Epilogue::default());
                    end.apply(attention.forward(x))
                }
                None => last.forward_with(x, end),
            }
        })
    }
}

/// The shortcut of a block that changes the shape.
#[derive(Module, Debug)]
pub(in crate::zoo) struct Downsample {
    /// Window and stride of the average pooling before the convolution, in the `d` variants.
    pub(super) pool: Option<usize>,
    pub(super) conv: ConvNorm,
}

impl MapLayer for Downsample {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self
            .pool
            .iter()
            .fold(x, |x, &side| avg_pool2d(x, side, side));
        self.conv.forward(x)
    }
}
