//! Two-dimensional convolution.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::conv2d;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn_zoo_cpu::{Epilogue, WeightCache};

use super::fused::{self, Folded, Prepared};
use super::{ParamBuilder, trace};
use crate::init::Init;

/// A number for height and width: `3`, or `[1, 7]` where they differ.
pub trait Sides {
    /// `[height, width]`.
    fn sides(self) -> [usize; 2];
}

impl Sides for usize {
    fn sides(self) -> [usize; 2] {
        [self; 2]
    }
}

impl Sides for [usize; 2] {
    fn sides(self) -> [usize; 2] {
        self
    }
}

/// What a [`Conv2d`] looks like.
#[derive(Debug, Clone)]
pub struct Conv2dConfig {
    in_channels: usize,
    out_channels: usize,
    window: Window,
    bias: bool,
    weights: Init,
    biases: Option<Init>,
    standard: Option<Standard>,
    gain: Option<f32>,
}

/// How kernels are standardised before they are used.
#[derive(Debug, Clone, Copy)]
struct Standard {
    /// Added to the variance.
    epsilon: f64,
    /// What all kernels are multiplied with.
    scale: f64,
    /// Group normalisations behind such kernels multiply in each stage what rounding does.
    is_direct: bool,
}

/// What a convolution sees at a time, `[height, width]`.
#[derive(Debug, Clone, Copy)]
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    dilation: [usize; 2],
    groups: usize,
}

/// Zeros around the input.
#[derive(Debug, Clone, Copy)]
enum Padding {
    /// So many on both sides of the height, and of the width.
    Sides([usize; 2]),
    /// As many as the output needs to have `ceil(side / stride)` positions; the odd one goes below
    /// and to the right. TensorFlow's `SAME`.
    Same,
}

impl Conv2dConfig {
    /// A convolution of stride 1, without padding, dilation, groups or bias, with
    /// [`Init::PyTorch`]'s values.
    pub fn new(in_channels: usize, out_channels: usize, kernel: impl Sides) -> Self {
        Self {
            in_channels,
            out_channels,
            window: Window {
                kernel: kernel.sides(),
                stride: [1; 2],
                padding: Padding::Sides([0; 2]),
                dilation: [1; 2],
                groups: 1,
            },
            bias: false,
            weights: Init::PyTorch,
            biases: None,
            standard: None,
            gain: None,
        }
    }

    /// Sets the stride.
    pub fn stride(mut self, stride: impl Sides) -> Self {
        self.window.stride = stride.sides();
        self
    }

    /// Sets the zero padding on each side.
    pub fn padding(mut self, padding: impl Sides) -> Self {
        self.window.padding = Padding::Sides(padding.sides());
        self
    }

    /// Pads so that a side of the output has `ceil(side / stride)` positions, TensorFlow's `SAME`:
    /// found from each input, with the odd zero below and to the right.
    pub fn same(mut self) -> Self {
        self.window.padding = Padding::Same;
        self
    }

    /// Sets the distance between the elements that a kernel sees.
    pub fn dilation(mut self, dilation: impl Sides) -> Self {
        self.window.dilation = dilation.sides();
        self
    }

    /// Sets the number of groups; both channel counts must divide by it.
    pub fn groups(mut self, groups: usize) -> Self {
        self.window.groups = groups;
        self
    }

    /// One group for each channel.
    pub fn depthwise(self) -> Self {
        let channels = self.in_channels;
        self.groups(channels)
    }

    /// Adds a bias.
    pub fn bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// Sets how the weights start, and with them the bias.
    pub fn weights(mut self, init: Init) -> Self {
        self.weights = init;
        self
    }

    /// Sets how the bias starts, where that is not by the rule of the weights.
    pub fn biases(mut self, init: Init) -> Self {
        self.biases = Some(init);
        self
    }

    /// Convolves with standardised kernels: of each filter the mean is taken away, and it is divided
    /// by its standard deviation (Qiao et al., 2019, <https://arxiv.org/abs/1903.10520>). timm's
    /// `StdConv2d`.
    pub fn standardized(mut self, epsilon: f64) -> Self {
        self.standard = Some(Standard {
            epsilon,
            scale: 1.0,
            is_direct: true,
        });
        self
    }

    /// Convolves with standardised kernels that are multiplied with `gamma / sqrt(fan_in)`, and each
    /// filter with a gain that is learnt and starts at this value (Brock et al., 2021,
    /// <https://arxiv.org/abs/2101.08692>). timm's `ScaledStdConv2d`.
    pub fn scaled_standardized(mut self, epsilon: f64, gamma: f64, gain: f32) -> Self {
        let [height, width] = self.window.kernel;
        let fan_in = self.in_channels / self.window.groups * height * width;
        self.standard = Some(Standard {
            epsilon,
            scale: gamma / (fan_in as f64).sqrt(),
            is_direct: false,
        });
        self.gain = Some(gain);
        self
    }

    /// Channels of the output.
    pub(crate) fn out_channels(&self) -> usize {
        self.out_channels
    }

    /// Makes the layer.
    pub fn init(&self, params: &ParamBuilder) -> Conv2d {
        let [height, width] = self.window.kernel;
        let of_group = self.in_channels / self.window.groups;
        let shape = [self.out_channels, of_group, height, width];
        let bias = || match &self.biases {
            Some(init) => params.own_bias(self.out_channels, &shape, init),
            None => params.bias(self.out_channels, &shape, &self.weights),
        };
        let gain = |value| params.constant([self.out_channels, 1, 1, 1], value);
        let weight = params.weight(shape, &self.weights);
        if self.window.groups > 1 {
            params.note_groups(weight.id);
        }
        Conv2d {
            weight,
            bias: self.bias.then(bias),
            gain: self.gain.map(gain),
            standard: self.standard,
            window: self.window,
        }
    }
}

/// `torch.nn.Conv2d`, and with [`same`](Conv2dConfig::same) timm's `Conv2dSame`. Kernels that are
/// [standardised](Conv2dConfig::standardized) are computed from the weight in each pass; a fused model
/// keeps them.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// Kernels, `[out_channels, in_channels / groups, height, width]`.
    pub weight: Param<Tensor<4>>,
    /// Bias, `[out_channels]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// Factor of each standardised filter, `[out_channels, 1, 1, 1]`.
    pub gain: Option<Param<Tensor<4>>>,
    #[module(skip)]
    standard: Option<Standard>,
    #[module(skip)]
    window: Window,
}

impl Conv2d {
    /// Convolves.
    ///
    /// # Shapes
    /// - input: `[batch, in_channels, height, width]`
    /// - output: `[batch, out_channels, height', width']`, where each side is
    ///   `(side + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1`, or with `same`
    ///   `ceil(side / stride)`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.forward_with(input, Epilogue::default())
    }

    /// Convolves, and does what follows in the same pass where there is an operation for it.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); the residual is of the output's shape.
    pub fn forward_with(&self, input: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        let bias = self.bias.as_ref().map(Param::val);
        let (input, padding) = self.pad(input);
        let prepared = fused::current().filter(|_| !input.device().is_autodiff());
        let weight = self.kernels(prepared.as_deref());
        if !trace::active() {
            let cache = prepared.map(|prepared| prepared.weight_cache(self.weight.id));
            return self.convolve(input, padding, weight, bias, cache.as_deref(), epilogue);
        }
        let output = self.convolve(input, padding, weight, bias, None, Epilogue::default());
        // Windows of an image are a batch.
        let [windows, _, h, w] = output.dims();
        let macs = self.weight.lazy_shape().num_elements() * windows * h * w;
        trace::layer("Conv2d", self.weight.id, &output, macs);
        epilogue.apply(output)
    }

    /// Convolves in a fused model with kernels and a bias in place of the layer's own, which `fold`
    /// makes when they are first asked for. They stand for all that the layer is folded with.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); the kernels are of the layer's sides.
    pub(crate) fn forward_folded(
        &self,
        prepared: &Prepared,
        input: Tensor<4>,
        epilogue: Epilogue<'_, 4>,
        fold: impl FnOnce() -> Folded,
    ) -> Tensor<4> {
        let (kernels, shift) = prepared.folded(self.weight.id, fold);
        let cache = prepared.weight_cache(self.weight.id);
        let (input, padding) = self.pad(input);
        self.convolve(input, padding, kernels, Some(shift), Some(&cache), epilogue)
    }

    /// The kernels to convolve with: the weight, or what becomes of it by standardising.
    pub(super) fn kernels(&self, prepared: Option<&Prepared>) -> Tensor<4> {
        let weight = self.weight.val();
        let Some(standard) = self.standard else {
            return weight;
        };
        let gain = self.gain.as_ref().map(Param::val);
        let make = || standard.apply(weight, gain);
        match prepared {
            Some(prepared) => {
                prepared.kernels(self.weight.id, || burn_zoo_cpu::kernel_layout(make()))
            }
            None => make(),
        }
    }

    /// Convolves what [`pad`](Self::pad) gives with these kernels and this bias in place of the
    /// layer's own. `cache` is that of these kernels.
    pub(super) fn convolve(
        &self,
        input: Tensor<4>,
        padding: [usize; 2],
        weight: Tensor<4>,
        bias: Option<Tensor<1>>,
        cache: Option<&WeightCache>,
        epilogue: Epilogue<'_, 4>,
    ) -> Tensor<4> {
        let dtype = input.dtype();
        let weight = weight.cast(dtype);
        let bias = bias.map(|bias| bias.cast(dtype));
        let on_cpu = self
            .on_cpu(&weight, padding)
            .map(|on_cpu| burn_zoo_cpu::Conv2d {
                bias: bias.as_ref(),
                cache,
                ..on_cpu
            });
        if let Some(output) = on_cpu.and_then(|it| burn_zoo_cpu::conv2d(&input, it, epilogue)) {
            return output;
        }
        let window = &self.window;
        let options = ConvOptions::new(window.stride, padding, window.dilation, window.groups);
        epilogue.apply(conv2d(input, weight, bias, options))
    }

    /// The input, with zeros put around it where one side gets more than the other, and how many
    /// there are yet to be on both.
    pub(super) fn pad(&self, input: Tensor<4>) -> (Tensor<4>, [usize; 2]) {
        let [_, _, height, width] = input.dims();
        let [(top, bottom), (left, right)] = self.window.zeros([height, width]);
        if top == bottom && left == right {
            return (input, [top, left]);
        }
        let zeros = [(top, bottom), (left, right)];
        (input.pad(zeros, PadMode::Constant(0.0)), [0; 2])
    }

    /// The convolution for the operations on a CPU, with these kernels and without bias, if they
    /// have it.
    pub(super) fn on_cpu<'a>(
        &self,
        weight: &'a Tensor<4>,
        padding: [usize; 2],
    ) -> Option<burn_zoo_cpu::Conv2d<'a>> {
        let Window {
            stride, dilation, ..
        } = self.window;
        let is_square = |[height, width]: [usize; 2]| height == width;
        let fits = is_square(stride) && is_square(padding) && dilation == [1; 2];
        fits.then(|| burn_zoo_cpu::Conv2d {
            stride: stride[0],
            padding: padding[0],
            is_direct: self.standard.is_some_and(|standard| standard.is_direct),
            ..burn_zoo_cpu::Conv2d::new(weight)
        })
    }
}

impl Standard {
    fn apply(self, weight: Tensor<4>, gain: Option<Tensor<4>>) -> Tensor<4> {
        let mean = |x: Tensor<4>| x.mean_dim(3).mean_dim(2).mean_dim(1);
        let centred = weight.clone() - mean(weight);
        let variance = mean(centred.clone() * centred.clone());
        let scale = (variance + self.epsilon).sqrt().recip() * self.scale;
        centred * gain.map_or(scale.clone(), |gain| scale * gain)
    }
}

impl Window {
    /// Zeros before and behind an input with these sides.
    fn zeros(&self, sides: [usize; 2]) -> [(usize, usize); 2] {
        match self.padding {
            Padding::Sides(padding) => padding.map(|zeros| (zeros, zeros)),
            Padding::Same => [0, 1].map(|dim| {
                let (side, stride) = (sides[dim], self.stride[dim]);
                let last = side.div_ceil(stride).saturating_sub(1) * stride;
                let seen = last + (self.kernel[dim] - 1) * self.dilation[dim] + 1;
                let zeros = seen.saturating_sub(side);
                (zeros / 2, zeros - zeros / 2)
            }),
        }
    }
}
