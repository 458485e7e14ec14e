//! Batch normalisation (Ioffe & Szegedy, 2015, <https://arxiv.org/abs/1502.03167>).

use burn::module::{Flag, Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm, batch_norm_train};
use burn::tensor::{Device, FloatDType, Tensor};

use super::{Buffer, Conv2d, fused, parameter, trace};

/// `torch.nn.BatchNorm2d`.
///
/// It normalises with the batch's own statistics when the input is on an autodiff device *and* the
/// layer's `training` flag is set, and moves its running statistics then; else it uses the running
/// statistics and leaves them alone. Freezing a group clears the flag (see [`crate::freeze`]).
///
/// The running variance takes the unbiased variance of the batch, as PyTorch does; burn's own
/// layer takes the biased one.
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// Running mean, `[channels]`.
    pub running_mean: Buffer<1>,
    /// Running variance, `[channels]`.
    pub running_var: Buffer<1>,
    training: Param<Flag>,
}

/// PyTorch's defaults, which every timm ResNet keeps.
const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

impl BatchNorm2d {
    /// A layer for this many channels. Scale and shift are zero until they are initialised or
    /// loaded; the running statistics are 0 and 1.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: parameter([channels], device),
            bias: parameter([channels], device),
            running_mean: Buffer::new(Tensor::zeros([channels], device)),
            running_var: Buffer::new(Tensor::ones([channels], device)),
            training: Param::from_bool(true),
        }
    }

    /// Normalises each channel.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.apply(input, None, false)
    }

    fn apply(&self, input: Tensor<4>, residual: Option<Tensor<4>>, activate: bool) -> Tensor<4> {
        // In 32 bits whatever the activations are in, as in PyTorch's autocast.
        let dtype = input.dtype();
        let input = input.cast(FloatDType::F32);
        let residual = residual.map(|residual| residual.cast(FloatDType::F32));
        let trains = input.device().is_autodiff() && self.training.is_enabled();
        let output = match self.on_cpu(&input, residual.as_ref(), activate, trains) {
            Some(output) => output,
            None => {
                let output = match trains {
                    true => self.forward_train(input),
                    false => batch_norm(
                        input,
                        self.weight.val(),
                        self.bias.val(),
                        self.running_mean.value(),
                        self.running_var.value(),
                        EPSILON,
                    ),
                };
                let output = match residual {
                    Some(residual) => output + residual,
                    None => output,
                };
                match activate {
                    true => relu(output),
                    false => output,
                }
            }
        };
        let output = output.cast(dtype);
        trace::layer("BatchNorm2d", self.weight.id, &output, 0);
        output
    }

    /// The same in one pass, where this crate has its own operation for it.
    #[cfg(feature = "flex")]
    fn on_cpu(
        &self,
        input: &Tensor<4>,
        residual: Option<&Tensor<4>>,
        activate: bool,
        trains: bool,
    ) -> Option<Tensor<4>> {
        use burn_zoo_cpu::{self as cpu, Take};

        let take = match trains {
            true => Take::Batch,
            false => Take::Given([self.running_mean.value(), self.running_var.value()]),
        };
        let affine = [self.weight.val(), self.bias.val()];
        let result = cpu::batch_norm(input, affine, take, residual, activate, EPSILON)?;
        if trains {
            let [n, _, h, w] = input.dims();
            self.follow(result.statistics, n * h * w);
        }
        Some(result.output)
    }

    #[cfg(not(feature = "flex"))]
    fn on_cpu(
        &self,
        _input: &Tensor<4>,
        _residual: Option<&Tensor<4>>,
        _activate: bool,
        _trains: bool,
    ) -> Option<Tensor<4>> {
        None
    }

    fn forward_train(&self, input: Tensor<4>) -> Tensor<4> {
        let [n, _, h, w] = input.dims();
        let result = batch_norm_train(input, self.weight.val(), self.bias.val(), EPSILON);
        self.follow([result.mean, result.variance], n * h * w);
        result.output
    }

    /// Moves the running statistics towards a batch's mean and biased variance over so many values.
    fn follow(&self, [mean, variance]: [Tensor<1>; 2], count: usize) {
        // Over a single value there is no unbiased variance; PyTorch refuses such a batch, here its
        // variance (zero) is taken as it is so that nothing becomes NaN.
        let count = count as f64;
        let unbiased = if count > 1.0 {
            count / (count - 1.0)
        } else {
            1.0
        };
        let blend = |running: &Buffer<1>, batch: Tensor<1>| {
            let kept = running.value().mul_scalar(1.0 - MOMENTUM);
            running.set(kept + batch.detach().mul_scalar(MOMENTUM));
        };
        blend(&self.running_mean, mean);
        blend(&self.running_var, variance.mul_scalar(unbiased));
    }
}

/// A convolution and the normalisation behind it, then an optional addition and an optional ReLU. It
/// is what the layers give one after the other; where nothing is learnt it is computed as one, and
/// in a [fused](crate::Fused) model from kernels that are prepared once.
///
/// # Shapes
/// - input: `[batch, in_channels, height, width]`
/// - residual and output: `[batch, out_channels, height', width']`
pub fn conv_norm(
    conv: &Conv2d,
    norm: &BatchNorm2d,
    input: Tensor<4>,
    residual: Option<Tensor<4>>,
    activate: bool,
) -> Tensor<4> {
    if trace::active() {
        return norm.apply(conv.forward(input), residual, activate);
    }
    let prepared = fused::current();
    #[cfg(feature = "flex")]
    if conv.bias.is_none() {
        let window = conv.window();
        let given = burn_zoo_cpu::Given {
            affine: [norm.weight.val(), norm.bias.val()],
            statistics: [norm.running_mean.value(), norm.running_var.value()],
            epsilon: EPSILON,
        };
        let (kernels, other) = (conv.weight.val(), residual.as_ref());
        let own = prepared.as_ref().map(|known| known.own(conv.weight.id));
        let output =
            burn_zoo_cpu::conv2d_norm(&input, &kernels, window, given, other, activate, own);
        if let Some(output) = output {
            return output;
        }
    }
    let Some(prepared) = prepared.filter(|_| !input.device().is_autodiff()) else {
        return norm.apply(conv.forward(input), residual, activate);
    };
    let (kernels, shift) = prepared.folded(conv.weight.id, || norm.fold(conv));
    let output = conv.convolve(input, kernels, Some(shift));
    let output = match residual {
        Some(residual) => output + residual,
        None => output,
    };
    match activate {
        true => relu(output),
        false => output,
    }
}

impl BatchNorm2d {
    /// The kernels of the convolution before this layer, multiplied with what it multiplies with,
    /// and what is added then.
    fn fold(&self, conv: &Conv2d) -> (Tensor<4>, Tensor<1>) {
        let deviation = (self.running_var.value() + EPSILON).sqrt();
        let scale = self.weight.val() / deviation;
        let mut shift = self.bias.val() - self.running_mean.value() * scale.clone();
        if let Some(bias) = &conv.bias {
            shift = shift + bias.val() * scale.clone();
        }
        (conv.weight.val() * scale.reshape([-1, 1, 1, 1]), shift)
    }
}
