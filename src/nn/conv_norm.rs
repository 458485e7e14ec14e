//! A convolution, what normalises its output, and an activation.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn_zoo_cpu::{Act, Epilogue};

use super::fused::{self, Folded};
use super::{BatchNorm2dConfig, Conv2d, Conv2dConfig, Norm, NormConfig, ParamBuilder, trace};

/// A convolution, the normalisation behind it, and an activation. It is what the layers give
/// one after the other; where nothing is learnt it is computed as one, and in a
/// [fused](crate::Fused) model from kernels that are prepared once.
///
/// In the paths of parameters it is no level of its own. A field whose name begins with `conv` has
/// its normalisation under the same name with `bn` for `conv` (`conv1.weight`, `bn1.weight`), any
/// other field `name` under `name_bn`.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// The convolution.
    pub conv: Conv2d,
    /// The normalisation; some networks have convolutions without one.
    pub norm: Option<Norm>,
    #[module(skip)]
    act: Act,
}

impl ConvNorm {
    /// A convolution with PyTorch's batch normalisation behind it.
    pub fn new(conv: Conv2dConfig, act: Act, params: &ParamBuilder) -> Self {
        let norm = BatchNorm2dConfig::new(conv.out_channels());
        Self::with_norm(conv, norm, act, params)
    }

    /// A convolution with this normalisation behind it.
    pub fn with_norm(
        conv: Conv2dConfig,
        norm: impl Into<NormConfig>,
        act: Act,
        params: &ParamBuilder,
    ) -> Self {
        let (norm, act) = norm.into().activated(act);
        Self {
            conv: conv.init(params),
            norm: Some(norm.init(params)),
            act,
        }
    }

    /// A convolution without a normalisation.
    pub fn without_norm(conv: Conv2dConfig, act: Act, params: &ParamBuilder) -> Self {
        Self {
            conv: conv.init(params),
            norm: None,
            act,
        }
    }

    /// The kernels with the batch normalisation in them, if there is one, and what is added.
    pub(crate) fn fold(&self) -> Folded {
        let kernels = self.conv.kernels(None);
        let bias = self.conv.bias.as_ref().map(Param::val);
        if let Some(Norm::Batch(norm)) = &self.norm {
            return norm.fold(kernels, bias);
        }
        let shift = bias.unwrap_or_else(|| Tensor::zeros([kernels.dims()[0]], &kernels.device()));
        (kernels, shift)
    }

    /// Convolves, normalises and activates.
    ///
    /// # Shapes
    /// - input: `[batch, in_channels, height, width]`
    /// - output: `[batch, out_channels, height', width']`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.forward_with(input, Epilogue::act(self.act))
    }

    /// Convolves, normalises, and ends with this in place of the activation.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); the residual is of the output's shape.
    pub fn forward_with(&self, input: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        let conv = &self.conv;
        let norm = match &self.norm {
            Some(Norm::Batch(norm)) => norm,
            Some(norm) => return norm.forward_with(conv.forward(input), epilogue),
            None => return conv.forward_with(input, epilogue),
        };
        if trace::active() || input.device().is_autodiff() {
            return norm.forward_with(conv.forward(input), epilogue);
        }
        let prepared = fused::current();
        let cache = prepared
            .as_ref()
            .map(|prepared| prepared.weight_cache(conv.weight.id));
        let bias = conv.bias.as_ref().map(Param::val);
        let kernels = conv.kernels(prepared.as_deref());
        let (input, padding) = conv.pad(input);
        let on_cpu = conv.on_cpu(&kernels, padding);
        let (weight, shift) = (norm.weight.val(), norm.bias.val());
        let (mean, variance) = (norm.running_mean.value(), norm.running_var.value());
        let on_cpu = on_cpu.map(|on_cpu| burn_zoo_cpu::Conv2d {
            bias: bias.as_ref(),
            norm: Some(burn_zoo_cpu::BatchNorm {
                weight: &weight,
                bias: &shift,
                mean: &mean,
                variance: &variance,
                epsilon: norm.epsilon(),
            }),
            cache: cache.as_deref(),
            ..on_cpu
        });
        if let Some(output) = on_cpu.and_then(|it| burn_zoo_cpu::conv2d(&input, it, epilogue)) {
            return output;
        }
        let Some(prepared) = prepared else {
            let output = conv.convolve(input, padding, kernels, bias, None, Epilogue::default());
            return norm.forward_with(output, epilogue);
        };
        let (kernels, shift) = prepared.folded(conv.weight.id, || norm.fold(kernels, bias));
        conv.convolve(input, padding, kernels, Some(shift), None, epilogue)
    }
}

/// A [`ConvNorm`] with a level of its own in the paths of parameters, `conv` and `bn` in it: for a stem,
/// which is one group, and for lists.
#[derive(Module, Debug)]
pub struct ConvLayer {
    /// The convolution and what follows it.
    pub conv: ConvNorm,
}

impl ConvLayer {
    /// A convolution with PyTorch's batch normalisation behind it.
    pub fn new(conv: Conv2dConfig, act: Act, params: &ParamBuilder) -> Self {
        Self {
            conv: ConvNorm::new(conv, act, params),
        }
    }

    /// Convolves, normalises and activates; shapes as [`ConvNorm::forward`].
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.conv.forward(input)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::nn::fused::Prepared;

    /// Numbers between -1 and 1 that do not repeat.
    fn numbers<const D: usize>(shape: [usize; D], seed: f32) -> Tensor<D> {
        let values = (0..shape.iter().product()).map(|i: usize| (seed + 1.7 * i as f32).sin());
        let data = TensorData::new(values.collect::<Vec<_>>(), shape);
        Tensor::from_data(data, &Device::default())
    }

    /// Windows that the operations on a CPU do not have: elsewhere all are folded.
    #[test]
    fn folded_kernels_compute_the_same() {
        let params = ParamBuilder::new(&Device::default());
        let conv = |kernel: [usize; 2]| Conv2dConfig::new(4, 6, kernel);
        let configs = [
            conv([3, 3]).padding(2).dilation(2),
            conv([1, 5]).padding([0, 2]),
            conv([5, 3]).stride([1, 2]).groups(2).same(),
        ];
        let x = numbers([2, 4, 9, 8], 0.5);
        for config in configs
            .iter()
            .flat_map(|it| [it.clone(), it.clone().bias()])
        {
            let mut layer = ConvNorm::new(config, Act::HardSwish, &params);
            let conv = &mut layer.conv;
            let Some(Norm::Batch(norm)) = &mut layer.norm else {
                unreachable!("a ConvNorm has a batch normalisation")
            };
            conv.weight = Param::from_tensor(numbers(conv.weight.dims(), 1.0));
            conv.bias = conv
                .bias
                .take()
                .map(|_| Param::from_tensor(numbers([6], 2.0)));
            norm.weight = Param::from_tensor(numbers([6], 3.0));
            norm.bias = Param::from_tensor(numbers([6], 4.0));
            norm.running_mean.set(numbers([6], 5.0));
            norm.running_var.set(numbers([6], 6.0) + 1.5);

            let expected = layer.forward(x.clone());
            let prepared = Arc::new(Prepared::default());
            for _ in 0..2 {
                let found = fused::with(&prepared, || layer.forward(x.clone()));
                let off = (found - expected.clone()).abs().max().into_scalar::<f32>();
                assert!(off < 1e-5, "{:?}: off by {off:e}", layer.conv);
            }
            prepared.folded(layer.conv.weight.id, || {
                panic!("not folded: {:?}", layer.conv)
            });
        }
    }
}
