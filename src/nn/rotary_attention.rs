//! Attention that knows where in a grid a token is.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn_zoo_cpu::Epilogue;

use super::{LayerNorm, Linear, LinearConfig, ParamBuilder, Rotary, attention};
use crate::init::Init;

/// The layers that queries, keys and values come from. Keys have no bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkvKind {
    /// One; queries and values may have a bias.
    Fused {
        /// Whether they have.
        is_biased: bool,
    },
    /// Three; queries and values have a bias.
    Split,
}

/// Attention of the tokens of an image to each other, with queries and keys that are [turned by their
/// places](Rotary): timm's `EvaAttention`.
#[derive(Module, Debug)]
pub struct RotaryAttention {
    input: Qkv,
    norm: Option<LayerNorm>,
    proj: Linear,
    #[module(skip)]
    rotary: Rotary,
}

#[derive(Module, Debug)]
enum Qkv {
    Fused(FusedQkv),
    Split(SplitQkv),
}

#[derive(Module, Debug)]
struct FusedQkv {
    qkv: Linear,
    q_bias: Option<Param<Tensor<1>>>,
    v_bias: Option<Param<Tensor<1>>>,
}

#[derive(Module, Debug)]
struct SplitQkv {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
}

impl RotaryAttention {
    /// For tokens of so many features, which those of a head divide; the rules are those of the first
    /// layers and of the last.
    pub fn new(
        features: usize,
        qkv: QkvKind,
        [first, last]: [&Init; 2],
        rotary: Rotary,
        params: &ParamBuilder,
    ) -> Self {
        let layer = |to, rule: &Init| LinearConfig::new(features, to).weights(rule.clone());
        let input = match qkv {
            QkvKind::Fused { is_biased } => {
                let bias = || params.constant([features], 0.0);
                Qkv::Fused(FusedQkv {
                    qkv: layer(3 * features, first).without_bias().init(params),
                    q_bias: is_biased.then(bias),
                    v_bias: is_biased.then(bias),
                })
            }
            QkvKind::Split => Qkv::Split(SplitQkv {
                q_proj: layer(features, first).init(params),
                k_proj: layer(features, first).without_bias().init(params),
                v_proj: layer(features, first).init(params),
            }),
        };
        Self {
            input,
            norm: None,
            proj: layer(features, last).init(params),
            rotary,
        }
    }

    /// Sets what normalises the input of the last layer.
    pub fn norm(mut self, norm: Option<LayerNorm>) -> Self {
        self.norm = norm;
        self
    }

    /// Attends, and does what follows.
    ///
    /// # Shapes
    /// - x, residual and output: `[batch, length, features]`
    pub fn forward_with(&self, x: Tensor<3>, epilogue: Epilogue<'_, 3>) -> Tensor<3> {
        let width = x.dims()[2];
        let qkv = match &self.input {
            Qkv::Fused(fused) => {
                let qkv = fused.forward(x);
                let turned = self.rotary.forward(qkv.clone().narrow(2, 0, 2 * width));
                vec![turned, qkv.narrow(2, 2 * width, width)]
            }
            Qkv::Split(split) => vec![
                self.rotary.forward(split.q_proj.forward(x.clone())),
                self.rotary.forward(split.k_proj.forward(x.clone())),
                split.v_proj.forward(x),
            ],
        };
        let mut mixed = attention(Tensor::cat(qkv, 2), width / self.rotary.head());
        if let Some(norm) = &self.norm {
            mixed = norm.forward(mixed);
        }
        self.proj.forward_with(mixed, epilogue)
    }
}

impl FusedQkv {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let biases = self.q_bias.as_ref().zip(self.v_bias.as_ref());
        let bias = biases.map(|(query, value)| {
            let (query, value) = (query.val(), value.val());
            let key = Tensor::zeros(query.dims(), &query.device());
            Tensor::cat(vec![query, key, value], 0)
        });
        match bias {
            Some(bias) => self.qkv.forward_biased(x, bias),
            None => self.qkv.forward(x),
        }
    }
}
