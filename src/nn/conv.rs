//! Two-dimensional convolution.

use burn::module::{Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use burn_zoo_cpu::Epilogue;

use super::{parameter, trace};

/// What a [`Conv2d`] looks like; kernels are square, as all of them in these families are.
#[derive(Debug, Clone, Copy)]
pub struct Conv2dConfig {
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    stride: usize,
    padding: usize,
    groups: usize,
    bias: bool,
}

impl Conv2dConfig {
    /// A convolution of stride 1, without padding, groups or bias.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel_size,
            stride: 1,
            padding: 0,
            groups: 1,
            bias: false,
        }
    }

    /// Sets the stride.
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Sets the zero padding on each side.
    pub fn padding(mut self, padding: usize) -> Self {
        self.padding = padding;
        self
    }

    /// Sets the number of groups; both channel counts must divide by it.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Adds a bias.
    pub fn bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// Makes the layer; its parameters are lazy zeros.
    pub fn init(&self, device: &Device) -> Conv2d {
        let k = self.kernel_size;
        let weight = [self.out_channels, self.in_channels / self.groups, k, k];
        Conv2d {
            weight: parameter(weight, device),
            bias: self.bias.then(|| parameter([self.out_channels], device)),
            stride: self.stride,
            padding: self.padding,
            groups: self.groups,
        }
    }
}

/// `torch.nn.Conv2d`.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// Kernels, `[out_channels, in_channels / groups, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    /// Bias, `[out_channels]`.
    pub bias: Option<Param<Tensor<1>>>,
    stride: usize,
    padding: usize,
    groups: usize,
}

impl Conv2d {
    /// Convolves.
    ///
    /// # Shapes
    /// - input: `[batch, in_channels, height, width]`
    /// - output: `[batch, out_channels, height', width']`, where each side is
    ///   `(side + 2 * padding - kernel) / stride + 1`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let bias = self.bias.as_ref().map(Param::val);
        let output = self.convolve(input, self.weight.val(), bias);
        if trace::active() {
            let [_, _, h, w] = output.dims();
            let macs = self.weight.lazy_shape().num_elements() * h * w;
            trace::layer("Conv2d", self.weight.id, &output, macs);
        }
        output
    }

    /// Convolves with these kernels and this bias in place of the layer's own.
    pub(super) fn convolve(
        &self,
        input: Tensor<4>,
        weight: Tensor<4>,
        bias: Option<Tensor<1>>,
    ) -> Tensor<4> {
        let dtype = input.dtype();
        let weight = weight.cast(dtype);
        let bias = bias.map(|bias| bias.cast(dtype));
        let conv = burn_zoo_cpu::Conv2d {
            bias: bias.as_ref(),
            ..self.on_cpu(&weight)
        };
        burn_zoo_cpu::conv2d(&input, conv, Epilogue::default()).unwrap_or_else(|| {
            let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
            let options = ConvOptions::new(stride, padding, [1, 1], self.groups);
            conv2d(input, weight, bias, options)
        })
    }

    /// The convolution for the operations on a CPU, with these kernels and without bias.
    pub(super) fn on_cpu<'a>(&self, weight: &'a Tensor<4>) -> burn_zoo_cpu::Conv2d<'a> {
        burn_zoo_cpu::Conv2d {
            stride: self.stride,
            padding: self.padding,
            ..burn_zoo_cpu::Conv2d::new(weight)
        }
    }
}
