//! What follows an operation: the addition of a residual, then an activation.

use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::Tensor;
use burn::tensor::activation;

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Act {
    /// The values as they are.
    #[default]
    None,
    /// max(0, x)
    Relu,
    /// min(max(0, x), 6)
    Relu6,
    /// x σ(x), also known as swish (<https://arxiv.org/abs/1606.08415>).
    Silu,
    /// x min(max(0, x / 6 + 1/2), 1) (<https://arxiv.org/abs/1905.02244>).
    HardSwish,
    /// min(max(0, x / 6 + 1/2), 1)
    HardSigmoid,
    /// x Φ(x), with the error function (<https://arxiv.org/abs/1606.08415>).
    Gelu,
    /// x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, an approximation of [`Gelu`](Self::Gelu).
    GeluTanh,
    /// x σ(1.702 x), an approximation of [`Gelu`](Self::Gelu).
    QuickGelu,
    /// σ(x) = 1 / (1 + exp(-x))
    Sigmoid,
    /// tanh(x)
    Tanh,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::None,
        Self::Relu,
        Self::Relu6,
        Self::Silu,
        Self::HardSwish,
        Self::HardSigmoid,
        Self::Gelu,
        Self::GeluTanh,
        Self::QuickGelu,
        Self::Sigmoid,
        Self::Tanh,
    ];

    /// The function of each element: an [operation](crate::activation) where there is one, else burn's.
    ///
    /// # Shapes
    /// Input and output are the same.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        let x = match crate::activation(x, self) {
            Ok(activated) => return activated,
            Err(x) => x,
        };
        match self {
            Self::None => x,
            Self::Relu => activation::relu(x),
            Self::Relu6 => activation::relu6(x),
            Self::Silu => activation::silu(x),
            Self::HardSwish => activation::hard_swish(x),
            Self::HardSigmoid => activation::hard_sigmoid(x, 1.0 / 6.0, 0.5),
            // burn's own has the gradient of the form with tanh.
            Self::Gelu => x.clone() * ((x * FRAC_1_SQRT_2).erf() + 1.0) * 0.5,
            Self::GeluTanh => activation::gelu_approximate(x),
            Self::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Tanh => activation::tanh(x),
        }
    }
}

/// What is done with an operation's output y: `act(y + residual)`.
///
/// Operations do it while y is in the cache, where they have a fast path for the activation, and
/// leave the activation to [`Act::forward`] elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a, const D: usize> {
    /// Added first; of the output's shape.
    pub residual: Option<&'a Tensor<D>>,
    /// Applied then.
    pub act: Act,
}

impl<'a, const D: usize> Epilogue<'a, D> {
    /// An epilogue that is an activation alone.
    pub fn act(act: Act) -> Self {
        Self {
            residual: None,
            act,
        }
    }

    /// An epilogue that adds this, and nothing else.
    pub fn adding(residual: &'a Tensor<D>) -> Self {
        Self {
            residual: Some(residual),
            act: Act::None,
        }
    }

    /// The epilogue as operations of its own, on any backend.
    ///
    /// # Shapes
    /// - y, residual and output: the same
    pub fn apply(self, y: Tensor<D>) -> Tensor<D> {
        self.act.forward(match self.residual {
            Some(residual) => y + residual.clone(),
            None => y,
        })
    }
}
