//! Layers that scale: by a number for each channel, and by how strong a channel is.

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};
use burn_zoo_cpu::Epilogue;

use super::{ParamBuilder, trace};

/// A factor for each channel of a residual branch, small at first (Touvron et al., "Going deeper
/// with image transformers", 2021, <https://arxiv.org/abs/2103.17239>).
#[derive(Module, Debug)]
pub struct LayerScale {
    /// The factors, `[channels]`.
    pub gamma: Param<Tensor<1>>,
}

impl LayerScale {
    /// Factors that start with this value.
    pub fn new(channels: usize, start: f32, params: &ParamBuilder) -> Self {
        Self {
            gamma: params.constant([channels], start),
        }
    }

    /// Scales the last dimension.
    ///
    /// # Shapes
    /// - input and output: `[.., channels]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let gamma = self.gamma.val().cast(x.dtype());
        let mut shape = [1; D];
        shape[D - 1] = gamma.dims()[0];
        let x = x * gamma.reshape(shape);
        trace::layer("LayerScale", self.gamma.id, &x, 0);
        x
    }

    /// Scales the channels of a map.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward_map(&self, x: Tensor<4>) -> Tensor<4> {
        let gamma = self.gamma.val().cast(x.dtype());
        let x = x * gamma.reshape([1, -1, 1, 1]);
        trace::layer("LayerScale", self.gamma.id, &x, 0);
        x
    }
}

/// A residual branch, its scale if it has one, and how it ends. Without a scale the branch's last layer
/// is told the end.
///
/// # Shapes
/// - output: the branch's, `[.., channels]`
pub fn scaled<const D: usize>(
    scale: Option<&LayerScale>,
    end: Epilogue<'_, D>,
    branch: impl FnOnce(Epilogue<'_, D>) -> Tensor<D>,
) -> Tensor<D> {
    match scale {
        Some(scale) => end.apply(scale.forward(branch(Epilogue::default()))),
        None => branch(end),
    }
}

/// Global response normalisation (Woo et al., "ConvNeXt V2", 2023,
/// <https://arxiv.org/abs/2301.00808>): `x + bias + weight * x * n`, where n is the strength of a
/// channel of an image (its L2 norm over the positions) beside the mean strength of all channels.
#[derive(Module, Debug)]
pub struct GlobalResponseNorm {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<1>>,
}

impl GlobalResponseNorm {
    /// A layer for this many channels, which starts as the identity.
    pub fn new(channels: usize, params: &ParamBuilder) -> Self {
        Self {
            weight: params.constant([channels], 0.0),
            bias: params.constant([channels], 0.0),
        }
    }

    /// Normalises each channel of each image.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        // In 32 bits whatever the activations are in, as in PyTorch's autocast: the sum of squares
        // does not fit into 16.
        let dtype = x.dtype();
        let x = x.cast(FloatDType::F32);
        let [batch, channels, height, width] = x.dims();
        let flat = x.clone().reshape([batch, channels, height * width]);
        // The root has no derivative at 0: a channel without any strength gets no gradient by it.
        let squares = (flat.clone() * flat).sum_dim(2);
        let is_nothing = squares.clone().equal_elem(0.0);
        let strength = squares.mask_fill(is_nothing.clone(), 1.0).sqrt();
        let strength = strength.mask_fill(is_nothing, 0.0);
        let mean = strength.clone().mean_dim(1) + 1e-6;
        let relative = (strength / mean).reshape([batch, channels, 1, 1]);
        let [weight, bias] =
            [&self.weight, &self.bias].map(|param| param.val().reshape([1, -1, 1, 1]));
        let output = (x.clone() + bias + weight * x * relative).cast(dtype);
        trace::layer("GlobalResponseNorm", self.weight.id, &output, 0);
        output
    }
}
