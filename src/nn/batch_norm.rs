//! Batch normalisation (Ioffe & Szegedy, 2015, <https://arxiv.org/abs/1502.03167>).

use burn::module::{Flag, Module, Param};
use burn::tensor::module::{batch_norm, batch_norm_train};
use burn::tensor::{Device, FloatDType, Tensor};
use burn_zoo_cpu::{Act, Epilogue};

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
        self.apply(input, Epilogue::default())
    }

    fn apply(&self, input: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        // In 32 bits whatever the activations are in, as in PyTorch's autocast.
        let dtype = input.dtype();
        let input = input.cast(FloatDType::F32);
        let residual = epilogue
            .residual
            .map(|residual| residual.clone().cast(FloatDType::F32));
        let epilogue = Epilogue {
            residual: residual.as_ref(),
            act: epilogue.act,
        };
        let output = if input.device().is_autodiff() && self.training.is_enabled() {
            self.normalize_by_batch(input, epilogue)
        } else {
            self.normalize(input, epilogue)
        };
        let output = output.cast(dtype);
        trace::layer("BatchNorm2d", self.weight.id, &output, 0);
        output
    }

    /// Normalises by the running statistics.
    fn normalize(&self, input: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let (mean, variance) = (self.running_mean.value(), self.running_var.value());
        let norm = burn_zoo_cpu::BatchNorm {
            weight: &weight,
            bias: &bias,
            mean: &mean,
            variance: &variance,
            epsilon: EPSILON,
        };
        burn_zoo_cpu::batch_norm(&input, norm, epilogue).unwrap_or_else(|| {
            epilogue.apply(batch_norm(input, weight, bias, mean, variance, EPSILON))
        })
    }

    /// Normalises by the batch's statistics and moves the running ones.
    fn normalize_by_batch(&self, input: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        let [n, _, h, w] = input.dims();
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let norm = burn_zoo_cpu::BatchNormTrain {
            weight: &weight,
            bias: &bias,
            epsilon: EPSILON,
        };
        let (output, statistics) = match burn_zoo_cpu::batch_norm_train(&input, norm, epilogue) {
            Some(result) => (result.output, [result.mean, result.variance]),
            None => {
                let result = batch_norm_train(input, weight, bias, EPSILON);
                (
                    epilogue.apply(result.output),
                    [result.mean, result.variance],
                )
            }
        };
        self.follow(statistics, n * h * w);
        output
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
    let epilogue = Epilogue {
        residual: residual.as_ref(),
        act: if activate { Act::Relu } else { Act::None },
    };
    if trace::active() || input.device().is_autodiff() {
        return norm.apply(conv.forward(input), epilogue);
    }
    let prepared = fused::current();
    let cache = prepared
        .as_ref()
        .map(|prepared| prepared.weight_cache(conv.weight.id));
    let bias = conv.bias.as_ref().map(Param::val);
    let kernels = conv.weight.val();
    let on_cpu = burn_zoo_cpu::Conv2d {
        bias: bias.as_ref(),
        norm: Some(burn_zoo_cpu::BatchNorm {
            weight: &norm.weight.val(),
            bias: &norm.bias.val(),
            mean: &norm.running_mean.value(),
            variance: &norm.running_var.value(),
            epsilon: EPSILON,
        }),
        cache: cache.as_deref(),
        ..conv.on_cpu(&kernels)
    };
    if let Some(output) = burn_zoo_cpu::conv2d(&input, on_cpu, epilogue) {
        return output;
    }
    let Some(prepared) = prepared else {
        return norm.apply(conv.forward(input), epilogue);
    };
    let (kernels, shift) = prepared.folded(conv.weight.id, || norm.fold(conv));
    epilogue.apply(conv.convolve(input, kernels, Some(shift)))
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
