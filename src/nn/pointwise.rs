//! Affine layers at each position of a map.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{
    Act, Conv2d, Conv2dConfig, Epilogue, Linear, LinearConfig, ParamBuilder, channels_last,
    from_channels_last, trace,
};
use crate::init::Init;

/// An affine layer at each position of a map, its weight a matrix or kernels of 1x1: the same
/// function under two shapes, both of which published weights have.
#[derive(Module, Debug)]
pub enum Pointwise {
    /// `torch.nn.Conv2d` with kernels of 1x1, `[out, in, 1, 1]`.
    Conv(Conv2d),
    /// `torch.nn.Linear`, `[out, in]`.
    Linear(Linear),
}

impl Pointwise {
    /// With bias; kernels of 1x1 if it `is_conv`, else a matrix.
    pub fn new(
        is_conv: bool,
        from: usize,
        to: usize,
        weights: &Init,
        params: &ParamBuilder,
    ) -> Self {
        if is_conv {
            let config = Conv2dConfig::new(from, to, 1).bias();
            Self::Conv(config.weights(weights.clone()).init(params))
        } else {
            let config = LinearConfig::new(from, to);
            Self::Linear(config.weights(weights.clone()).init(params))
        }
    }

    /// Takes the bias away.
    pub fn without_bias(mut self) -> Self {
        match &mut self {
            Self::Conv(conv) => conv.bias = None,
            Self::Linear(linear) => linear.bias = None,
        }
        self
    }

    /// The layer, and an activation.
    ///
    /// # Shapes
    /// - input: `[batch, in, height, width]`
    /// - output: `[batch, out, height, width]`
    pub fn forward(&self, x: Tensor<4>, act: Act) -> Tensor<4> {
        self.forward_with(x, Epilogue::act(act))
    }

    /// The layer, and what follows in the same pass where there is an operation for it.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); the residual is of the output's shape.
    pub fn forward_with(&self, x: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward_with(x, epilogue),
            Self::Linear(linear) => {
                let residual = epilogue.residual.map(|map| channels_last(map.clone()));
                let epilogue = Epilogue {
                    residual: residual.as_ref(),
                    act: epilogue.act,
                };
                let x = linear.forward_with(channels_last(x), epilogue);
                let output = from_channels_last(x);
                trace::shape_of_last(&output);
                output
            }
        }
    }
}

/// Two such layers with an activation between them.
#[derive(Module, Debug)]
pub struct PointwiseMlp {
    fc1: Pointwise,
    fc2: Pointwise,
    #[module(skip)]
    act: Act,
}

impl PointwiseMlp {
    /// Of these two layers.
    pub fn new([fc1, fc2]: [Pointwise; 2], act: Act) -> Self {
        Self { fc1, fc2, act }
    }

    /// Both layers, and what follows.
    ///
    /// # Shapes
    /// - x, residual and output: `[batch, channels, height, width]`
    pub fn forward_with(&self, x: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        self.fc2
            .forward_with(self.fc1.forward(x, self.act), epilogue)
    }
}
