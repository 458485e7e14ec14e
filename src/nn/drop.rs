//! Layers that drop something at random, in training only.

use burn::module::{Flag, Module, Param};
use burn::tensor::Tensor;
use burn_zoo_cpu::{Act, Epilogue, fork};

use super::noise::bernoulli;

/// Dropout (Srivastava et al., 2014): zeroes elements with probability `rate` and scales the others
/// by `1 / (1 - rate)`.
///
/// Active on an autodiff device while its `training` flag is set; freezing clears the flag.
#[derive(Module, Debug)]
pub struct Dropout {
    rate: f64,
    training: Param<Flag>,
}

impl Dropout {
    /// Drops with probability `rate`, in `[0, 1)`; the caller has checked the range.
    pub fn new(rate: f64) -> Self {
        Self {
            rate,
            training: Param::from_bool(true),
        }
    }

    /// Drops elements. Shapes: input and output are the same.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        if self.rate == 0.0 || !self.training.is_enabled() || !input.device().is_autodiff() {
            return input;
        }
        let keep = 1.0 - self.rate;
        let mask = bernoulli(keep, input.dims(), &input.device());
        let mask = mask.cast(input.dtype());
        input * mask.div_scalar(keep)
    }
}

/// Stochastic depth (Huang et al., 2016, <https://arxiv.org/abs/1603.09382>): drops the whole
/// residual branch of a sample with probability `rate` and scales the others by `1 / (1 - rate)`,
/// as timm's `DropPath`.
#[derive(Module, Debug)]
pub struct DropPath {
    rate: f64,
    training: Param<Flag>,
}

impl DropPath {
    /// Drops a sample's branch with probability `rate`, in `[0, 1)`; the caller has checked the
    /// range.
    pub fn new(rate: f64) -> Self {
        Self {
            rate,
            training: Param::from_bool(true),
        }
    }

    /// `act(shortcut(x) + branch(x))`, where the branch is dropped now and then.
    ///
    /// The branch is told what it has to end with, so that its last layer adds and activates in the
    /// pass in which it computes; where a branch may be dropped, it ends with nothing, and that is
    /// done afterwards. It has to hand this to its last layer.
    ///
    /// # Shapes
    /// - x: what branch and shortcut take; their outputs and this one's are the same
    pub fn residual<const D: usize>(
        &self,
        x: Tensor<D>,
        act: Act,
        shortcut: impl FnOnce(Tensor<D>) -> Tensor<D>,
        branch: impl FnOnce(Tensor<D>, Epilogue<'_, D>) -> Tensor<D>,
    ) -> Tensor<D> {
        // The gradients of both ways are added in one go.
        let [x, around] = fork(x);
        let shortcut = shortcut(around);
        if self.is_active(&x) {
            return act.forward(self.forward(branch(x, Epilogue::default())) + shortcut);
        }
        let end = Epilogue {
            residual: Some(&shortcut),
            act,
        };
        branch(x, end)
    }

    /// Whether anything is dropped from such an input.
    fn is_active<const D: usize>(&self, input: &Tensor<D>) -> bool {
        self.rate > 0.0 && self.training.is_enabled() && input.device().is_autodiff()
    }

    /// Drops branches. Shapes: input and output are the same; the first dimension counts samples.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        if !self.is_active(&input) {
            return input;
        }
        let keep = 1.0 - self.rate;
        let mut shape = [1; D];
        shape[0] = input.dims()[0];
        let mask = bernoulli(keep, shape, &input.device()).cast(input.dtype());
        input * mask.div_scalar(keep)
    }
}

/// timm's rule for stochastic depth over a network: the rate grows linearly from 0 at the first of
/// `blocks` blocks to `rate` at the last.
pub fn drop_path_rates(rate: f64, blocks: usize) -> impl Iterator<Item = f64> {
    let last = blocks.saturating_sub(1).max(1) as f64;
    (0..blocks).map(move |index| rate * index as f64 / last)
}
