//! Convolutions that are branches in training and one convolution in a fused model.

use burn::module::Module;
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Tensor, TensorData};
use burn_zoo_cpu::{Act, Epilogue};

use super::fused::{self, Folded};
use super::{
    BatchNorm2d, BatchNorm2dConfig, Conv2dConfig, ConvNorm, DropPath, ParamBuilder, SqueezeExcite,
};
use crate::init::Init;

/// What a [`RepConv`] looks like.
#[derive(Debug, Clone)]
pub struct RepConvConfig {
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
    branches: usize,
    small: Option<usize>,
    has_identity: bool,
    norm: BatchNorm2dConfig,
    weights: fn(usize) -> Init,
    drop_path: f64,
    act: Act,
}

impl RepConvConfig {
    /// One branch of this kernel, one of 1x1 if that is another, and the input itself if it has the
    /// output's shape; stride 1, no groups, no activation, and PyTorch's values. The kernel is odd.
    pub fn new(from: usize, to: usize, kernel: usize) -> Self {
        Self {
            channels: [from, to],
            kernel,
            stride: 1,
            groups: 1,
            branches: 1,
            small: (kernel > 1).then_some(1),
            has_identity: true,
            norm: BatchNorm2dConfig::new(to),
            weights: |_| Init::PyTorch,
            drop_path: 0.0,
            act: Act::None,
        }
    }

    /// Sets the stride.
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Sets the number of groups; both channel counts must divide by it.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// One group for each channel of the input.
    pub fn depthwise(self) -> Self {
        let groups = self.channels[0];
        self.groups(groups)
    }

    /// Sets how many branches there are of the large kernel, one or more.
    pub fn branches(mut self, branches: usize) -> Self {
        self.branches = branches.max(1);
        self
    }

    /// Sets the kernel of the smaller branch, an odd one; `None` takes it away.
    pub fn small(mut self, kernel: Option<usize>) -> Self {
        self.small = kernel;
        self
    }

    /// Takes the branch away that is the input itself.
    pub fn without_identity(mut self) -> Self {
        self.has_identity = false;
        self
    }

    /// Sets the normalisations behind all branches.
    pub fn norm(mut self, norm: BatchNorm2dConfig) -> Self {
        self.norm = norm;
        self
    }

    /// Sets how kernels start, by their fan out.
    pub fn weights(mut self, weights: fn(usize) -> Init) -> Self {
        self.weights = weights;
        self
    }

    /// Drops all branches but the input itself at this rate; nothing if that is no branch.
    pub fn drop_path(mut self, rate: f64) -> Self {
        self.drop_path = rate;
        self
    }

    /// Sets the activation.
    pub fn act(mut self, act: Act) -> Self {
        self.act = act;
        self
    }

    /// Makes the layer.
    pub fn init(&self, params: &ParamBuilder) -> RepConv {
        let [from, to] = self.channels;
        let branch = |kernel: usize| {
            let conv = Conv2dConfig::new(from, to, kernel)
                .padding(kernel / 2)
                .stride(self.stride)
                .groups(self.groups)
                .weights((self.weights)(kernel * kernel * to / self.groups));
            Branch {
                conv: ConvNorm::with_norm(conv, self.norm, Act::None, params),
            }
        };
        let has_identity = self.has_identity && from == to && self.stride == 1;
        RepConv {
            conv_kxk: (0..self.branches).map(|_| branch(self.kernel)).collect(),
            conv_scale: self.small.map(branch),
            identity: has_identity.then(|| self.norm.init(params)),
            se: None,
            drop_path: DropPath::new(self.drop_path),
            act: self.act,
        }
    }
}

/// A convolution as the sum of branches, each with a normalisation of its own: several of the same
/// kernel, one of a smaller kernel, and the input itself (Ding et al., "RepVGG", 2021,
/// <https://arxiv.org/abs/2101.03697>; Vasu et al., "MobileOne", 2023,
/// <https://arxiv.org/abs/2206.04040>). In a [fused](crate::Fused) model it is one convolution.
///
/// The paths of its parameters are those of timm's `MobileOneBlock`: `conv_kxk.0.conv.weight`,
/// `conv_kxk.0.bn.weight`, `conv_scale.conv.weight`, `identity.weight`.
#[derive(Module, Debug)]
pub struct RepConv {
    conv_kxk: Vec<Branch>,
    conv_scale: Option<Branch>,
    identity: Option<BatchNorm2d>,
    se: Option<SqueezeExcite>,
    drop_path: DropPath,
    #[module(skip)]
    act: Act,
}

/// A convolution with its normalisation, as levels of a path.
#[derive(Module, Debug)]
struct Branch {
    conv: ConvNorm,
}

impl RepConv {
    /// Puts a squeeze-excite between the sum and the activation.
    pub fn with_se(mut self, se: Option<SqueezeExcite>) -> Self {
        self.se = se;
        self
    }

    /// The sum of the branches, weighed, and the activation.
    ///
    /// # Shapes
    /// - input: `[batch, from, height, width]`
    /// - output: `[batch, to, height / stride, width / stride]`, rounded up
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.se {
            Some(se) => self.act.forward(se.forward(self.sum(x, Act::None))),
            None => self.sum(x, self.act),
        }
    }

    fn sum(&self, x: Tensor<4>, act: Act) -> Tensor<4> {
        let end = Epilogue::act(act);
        if let Some(prepared) = fused::for_input(&x) {
            let conv = &self.first().conv;
            return conv.forward_folded(&prepared, x, end, || self.fold());
        }
        match &self.identity {
            Some(norm) => self.drop_path.residual(
                x,
                act,
                |x| norm.forward(x),
                |x, end| self.convolutions(x, end),
            ),
            None => self.convolutions(x, end),
        }
    }

    /// The sum of all branches but the input itself. Each adds what came before it.
    fn convolutions(&self, x: Tensor<4>, end: Epilogue<'_, 4>) -> Tensor<4> {
        let branches = self.conv_scale.iter().chain(&self.conv_kxk);
        let count = branches.clone().count();
        let mut sum = end.residual.cloned();
        for (index, branch) in branches.enumerate() {
            let is_last = index + 1 == count;
            let epilogue = Epilogue {
                residual: sum.as_ref(),
                act: if is_last { end.act } else { Act::None },
            };
            sum = Some(branch.conv.forward_with(x.clone(), epilogue));
        }
        sum.unwrap_or(x)
    }

    /// The kernels of the one convolution that computes what the branches do, and what is added.
    pub(crate) fn fold(&self) -> Folded {
        let (mut kernels, mut shift) = self.first().fold();
        let (shape, device) = (kernels.dims(), kernels.device());
        let others = self.conv_kxk[1..].iter().chain(&self.conv_scale);
        let others = others.map(|branch| branch.conv.fold());
        let identity = self.identity.iter();
        let identity = identity.map(|norm| norm.fold(identity_kernels(shape, &device), None));
        for (more, by) in others.chain(identity) {
            kernels = kernels + padded(more, shape);
            shift = shift + by;
        }
        (kernels, shift)
    }

    /// The first branch, whose window is that of all of them together. There always is one.
    pub(crate) fn first(&self) -> &ConvNorm {
        &self.conv_kxk[0].conv
    }
}

/// Kernels that hand the input on: 1 in the middle, for the channel that has the output's number.
///
/// # Shapes
/// - output: `[channels, channels / groups, height, width]`, the sides odd
pub(crate) fn identity_kernels(shape: [usize; 4], device: &Device) -> Tensor<4> {
    let [channels, of_group, height, width] = shape;
    let mut values = vec![0.0f32; shape.iter().product()];
    for channel in 0..channels {
        let row = (channel * of_group + channel % of_group) * height + height / 2;
        values[row * width + width / 2] = 1.0;
    }
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Kernels with zeros around them, of the sides of this shape; both are odd.
pub(crate) fn padded(kernels: Tensor<4>, [_, _, height, width]: [usize; 4]) -> Tensor<4> {
    let [_, _, small_height, small_width] = kernels.dims();
    if (small_height, small_width) == (height, width) {
        return kernels;
    }
    let [above, left] = [(height - small_height) / 2, (width - small_width) / 2];
    kernels.pad([(above, above), (left, left)], PadMode::Constant(0.0))
}

#[cfg(test)]
mod tests {
    use crate::nn::Norm;
    use std::sync::Arc;

    use burn::module::Param;

    use super::*;
    use crate::nn::fused::Prepared;

    /// Numbers between -1 and 1 that do not repeat.
    fn numbers<const D: usize>(shape: [usize; D], seed: f32) -> Tensor<D> {
        let values = (0..shape.iter().product()).map(|i: usize| (seed + 1.7 * i as f32).sin());
        let data = TensorData::new(values.collect::<Vec<_>>(), shape);
        Tensor::from_data(data, &Device::default())
    }

    fn fill(norm: &mut BatchNorm2d, seed: f32) {
        let channels = norm.weight.dims();
        norm.weight = Param::from_tensor(numbers(channels, seed));
        norm.bias = Param::from_tensor(numbers(channels, seed + 0.1));
        norm.running_mean.set(numbers(channels, seed + 0.2));
        norm.running_var.set(numbers(channels, seed + 0.3) + 1.5);
    }

    #[test]
    fn branches_are_one_convolution() {
        let params = ParamBuilder::new(&Device::default());
        let x = numbers([2, 6, 7, 8], 0.5);
        for config in [
            RepConvConfig::new(6, 6, 3).act(Act::Relu),
            RepConvConfig::new(6, 6, 3).depthwise().branches(4),
            RepConvConfig::new(6, 6, 1).branches(2),
            RepConvConfig::new(6, 4, 3).groups(2).stride(2),
            RepConvConfig::new(6, 12, 7)
                .small(Some(3))
                .depthwise()
                .stride(2),
            RepConvConfig::new(6, 6, 3).groups(3).small(None),
        ] {
            let mut layer = config.init(&params);
            let branches = layer.conv_kxk.iter_mut().chain(&mut layer.conv_scale);
            let mut seed = 1.0;
            for Branch { conv } in branches {
                conv.conv.weight = Param::from_tensor(numbers(conv.conv.weight.dims(), seed));
                if let Some(Norm::Batch(norm)) = &mut conv.norm {
                    fill(norm, seed);
                }
                seed += 0.7;
            }
            layer.identity.iter_mut().for_each(|norm| fill(norm, seed));
            let expected = layer.forward(x.clone());
            let prepared = Arc::new(Prepared::default());
            for _ in 0..2 {
                let found = fused::with(&prepared, || layer.forward(x.clone()));
                let off = (found - expected.clone()).abs().max().into_scalar::<f32>();
                assert!(off < 2e-5, "{config:?}: off by {off:e}");
            }
        }
    }
}
