//! The parts of an Xception: stem and blocks.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::model::MapLayer;
use crate::nn::{Act, BatchNorm2d, ConvNorm, DropPath, Epilogue, max_pool2d};

#[derive(Module, Debug)]
pub(super) struct Stem {
    pub conv1: ConvNorm,
    pub conv2: ConvNorm,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv2.forward(self.conv1.forward(x))
    }
}

/// Separable convolutions, which activate what they give to the next one.
#[derive(Module, Debug)]
pub(super) struct Block {
    pub norm: Option<BatchNorm2d>,
    pub units: Vec<Separable>,
    /// The stride of the pooling behind them.
    pub pool: Option<usize>,
    pub shortcut: Option<ConvNorm>,
    pub has_shortcut: bool,
    /// Whether ReLU stands before the first of them; the shortcut goes around it.
    pub activates: bool,
    pub drop_path: DropPath,
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let relu = Epilogue::act(Act::Relu);
        let x = match &self.norm {
            Some(norm) => norm.forward_with(x, relu),
            None => x,
        };
        if !self.has_shortcut {
            return self.units.forward(x);
        }
        let shortcut = |x| self.shortcut.forward(x);
        self.drop_path.residual(x, Act::None, shortcut, |x, end| {
            let x = if self.activates { relu.apply(x) } else { x };
            match (&self.units[..], self.pool) {
                ([first @ .., last], None) => {
                    let x = first.iter().fold(x, |x, unit| unit.forward(x));
                    last.conv_pw.forward_with(last.conv_dw.forward(x), end)
                }
                (units, pool) => {
                    let x = units.iter().fold(x, |x, unit| unit.forward(x));
                    end.apply(
                        pool.iter()
                            .fold(x, |x, &stride| max_pool2d(x, 3, stride, 1)),
                    )
                }
            }
        })
    }
}

/// A depthwise and a pointwise convolution.
#[derive(Module, Debug)]
pub(super) struct Separable {
    pub conv_dw: ConvNorm,
    pub conv_pw: ConvNorm,
}

impl MapLayer for Separable {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv_pw.forward(self.conv_dw.forward(x))
    }
}
