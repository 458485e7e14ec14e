//! Gated MLPs (Shazeer, "GLU Variants Improve Transformer", 2020,
//! <https://arxiv.org/abs/2002.05202>).

use burn::module::Module;
use burn::tensor::Tensor;
use burn_zoo_cpu::{Act, Epilogue};

use super::{LayerNorm, Linear, LinearConfig, ParamBuilder};
use crate::init::Init;

/// An MLP whose hidden features are those of one layer times SiLU of those of another: timm's
/// `SwiGLU`.
#[derive(Module, Debug)]
pub struct SwiGlu {
    fc1_g: Linear,
    fc1_x: Linear,
    norm: Option<LayerNorm>,
    fc2: Linear,
}

impl SwiGlu {
    /// Through `hidden` features and back; the rules are those of the first two layers and of the
    /// last.
    pub fn new(
        features: usize,
        hidden: usize,
        [first, last]: [&Init; 2],
        params: &ParamBuilder,
    ) -> Self {
        Self {
            fc1_g: layer(features, hidden, first, params),
            fc1_x: layer(features, hidden, first, params),
            norm: None,
            fc2: layer(hidden, features, last, params),
        }
    }

    /// Sets what normalises the hidden features.
    pub fn norm(mut self, norm: Option<LayerNorm>) -> Self {
        self.norm = norm;
        self
    }

    /// All layers, and what follows.
    ///
    /// # Shapes
    /// - x, residual and output: `[.., features]`
    pub fn forward_with<const D: usize>(
        &self,
        x: Tensor<D>,
        epilogue: Epilogue<'_, D>,
    ) -> Tensor<D> {
        let gate = self.fc1_g.forward_with(x.clone(), Epilogue::act(Act::Silu));
        let mut hidden = gate * self.fc1_x.forward(x);
        if let Some(norm) = &self.norm {
            hidden = norm.forward(hidden);
        }
        self.fc2.forward_with(hidden, epilogue)
    }
}

/// The same with the first two layers in one weight, the gate's above: timm's `SwiGLUPacked`.
#[derive(Module, Debug)]
pub struct SwiGluPacked {
    fc1: Linear,
    fc2: Linear,
}

impl SwiGluPacked {
    /// Through `hidden` features and back; the rules are those of the first layer and of the last.
    pub fn new(
        features: usize,
        hidden: usize,
        [first, last]: [&Init; 2],
        params: &ParamBuilder,
    ) -> Self {
        Self {
            fc1: layer(features, 2 * hidden, first, params),
            fc2: layer(hidden, features, last, params),
        }
    }

    /// Both layers, and what follows.
    ///
    /// # Shapes
    /// - x, residual and output: `[.., features]`
    pub fn forward_with<const D: usize>(
        &self,
        x: Tensor<D>,
        epilogue: Epilogue<'_, D>,
    ) -> Tensor<D> {
        let both = self.fc1.forward(x);
        let hidden = both.dims()[D - 1] / 2;
        let gate = Act::Silu.forward(both.clone().narrow(D - 1, 0, hidden));
        let hidden = gate * both.narrow(D - 1, hidden, hidden);
        self.fc2.forward_with(hidden, epilogue)
    }
}

fn layer(from: usize, to: usize, weights: &Init, params: &ParamBuilder) -> Linear {
    LinearConfig::new(from, to)
        .weights(weights.clone())
        .init(params)
}
