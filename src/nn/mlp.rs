//! Two affine layers with an activation between them.

use burn::module::Module;
use burn::tensor::Tensor;
use burn_zoo_cpu::{Act, Epilogue};

use super::{Linear, LinearConfig, ParamBuilder};
use crate::init::Init;

/// The MLP of a transformer's block, timm's `Mlp`.
#[derive(Module, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    act: Act,
}

impl Mlp {
    /// Through `hidden` features and back, with GELU between.
    pub fn new(features: usize, hidden: usize, weights: &Init, params: &ParamBuilder) -> Self {
        Self::with_rules(features, hidden, [weights, weights], params)
    }

    /// The same with a rule for the weights of each layer.
    pub fn with_rules(
        features: usize,
        hidden: usize,
        [first, second]: [&Init; 2],
        params: &ParamBuilder,
    ) -> Self {
        let layer = |from, to, weights: &Init| {
            let config = LinearConfig::new(from, to);
            config.weights(weights.clone()).init(params)
        };
        Self {
            fc1: layer(features, hidden, first),
            fc2: layer(hidden, features, second),
            act: Act::Gelu,
        }
    }

    /// Sets the activation.
    pub fn act(mut self, act: Act) -> Self {
        self.act = act;
        self
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
        let hidden = self.fc1.forward_with(x, Epilogue::act(self.act));
        self.fc2.forward_with(hidden, epilogue)
    }
}
