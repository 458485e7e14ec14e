//! Batch normalisation (Ioffe & Szegedy, 2015, <https://arxiv.org/abs/1502.03167>).

use burn::module::{Flag, Module, Param};
use burn::tensor::module::{batch_norm, batch_norm_train};
use burn::tensor::{FloatDType, Tensor};
use burn_zoo_cpu::Epilogue;

use super::fused::Folded;
use super::{Buffer, ParamBuilder, norm_sync, trace};

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
    #[module(skip)]
    config: BatchNorm2dConfig,
}

/// What a [`BatchNorm2d`] looks like.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm2dConfig {
    channels: usize,
    epsilon: f64,
    momentum: f64,
    scale: f32,
    spread: f32,
}

impl BatchNorm2dConfig {
    /// PyTorch's defaults: an epsilon of 1e-5, a momentum of 0.1, and a scale that starts at 1.
    pub fn new(channels: usize) -> Self {
        Self {
            channels,
            epsilon: 1e-5,
            momentum: 0.1,
            scale: 1.0,
            spread: 0.0,
        }
    }

    /// Sets what is added to the variance.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets how far the running statistics go towards those of a batch.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// The scale starts at 0, so that a residual branch that ends here begins as nothing (timm's
    /// `zero_init_last`).
    pub fn zero_init(mut self) -> Self {
        self.scale = 0.0;
        self
    }

    /// Scale and shift start at random: N(scale, spread²) and N(0, spread²).
    pub fn normal_init(mut self, scale: f32, spread: f32) -> Self {
        (self.scale, self.spread) = (scale, spread);
        self
    }

    /// Makes the layer; the running statistics are 0 and 1.
    pub fn init(&self, params: &ParamBuilder) -> BatchNorm2d {
        let (channels, device) = (self.channels, params.device());
        let random = |mean: f32, neutral| params.norm(channels, mean, self.spread, neutral);
        let (weight, bias) = if self.spread > 0.0 {
            (random(self.scale, 1.0), random(0.0, 0.0))
        } else {
            let bias = params.constant([channels], 0.0);
            (params.scale(channels, self.scale), bias)
        };
        BatchNorm2d {
            weight,
            bias,
            running_mean: Buffer::new(Tensor::zeros([channels], device)),
            running_var: Buffer::new(Tensor::ones([channels], device)),
            training: Param::from_bool(true),
            config: *self,
        }
    }
}

impl BatchNorm2d {
    /// Normalises each channel.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.forward_with(input, Epilogue::default())
    }

    /// Normalises each channel, and does what follows in the same pass where there is an operation
    /// for it.
    ///
    /// # Shapes
    /// - input, residual and output: `[batch, channels, height, width]`
    pub fn forward_with(&self, input: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
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

    /// What is added to the variance.
    pub(super) fn epsilon(&self) -> f64 {
        self.config.epsilon
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
            epsilon: self.config.epsilon,
        };
        burn_zoo_cpu::batch_norm(&input, norm, epilogue).unwrap_or_else(|| {
            epilogue.apply(batch_norm(
                input,
                weight,
                bias,
                mean,
                variance,
                self.config.epsilon,
            ))
        })
    }

    /// Normalises by the batch's statistics and moves the running ones.
    fn normalize_by_batch(&self, input: Tensor<4>, epilogue: Epilogue<'_, 4>) -> Tensor<4> {
        let [n, _, h, w] = input.dims();
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let sync = norm_sync::current();
        let norm = burn_zoo_cpu::BatchNormTrain {
            weight: &weight,
            bias: &bias,
            epsilon: self.config.epsilon,
            sync: sync.as_ref(),
        };
        let (output, statistics) = match burn_zoo_cpu::batch_norm_train(&input, norm, epilogue) {
            Some(result) => (result.output, [result.mean, result.unbiased_variance]),
            None => {
                let result = batch_norm_train(input, weight, bias, self.config.epsilon);
                // Over a single value there is no unbiased variance; PyTorch refuses such a batch, here
                // its variance (zero) is taken as it is so that nothing becomes NaN.
                let count = (n * h * w) as f64;
                let unbiased = result.variance.mul_scalar(count / (count - 1.0).max(1.0));
                (epilogue.apply(result.output), [result.mean, unbiased])
            }
        };
        self.follow(statistics);
        output
    }

    /// Moves the running statistics towards a batch's mean and unbiased variance.
    fn follow(&self, [mean, variance]: [Tensor<1>; 2]) {
        let blend = |running: &Buffer<1>, batch: Tensor<1>| {
            let kept = running.value().mul_scalar(1.0 - self.config.momentum);
            running.set(kept + batch.detach().mul_scalar(self.config.momentum));
        };
        blend(&self.running_mean, mean);
        blend(&self.running_var, variance);
    }

    /// The kernels of a convolution before this layer, multiplied with what it multiplies with, and
    /// what is added then; `bias` is the convolution's own.
    pub(crate) fn fold(&self, kernels: Tensor<4>, bias: Option<Tensor<1>>) -> Folded {
        let deviation = (self.running_var.value() + self.config.epsilon).sqrt();
        let scale = self.weight.val() / deviation;
        let mut shift = self.bias.val() - self.running_mean.value() * scale.clone();
        if let Some(bias) = bias {
            shift = shift + bias * scale.clone();
        }
        (kernels * scale.reshape([-1, 1, 1, 1]), shift)
    }
}
