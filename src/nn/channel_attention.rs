//! Small networks that change the channels of a map by what is seen of all its positions.

use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};
use burn_zoo_cpu::Act;

use super::pool::position_means;
use super::{Conv2d, Conv2dConfig, LayerNorm, ParamBuilder, SqueezeExcite, trace};
use crate::init::{FanMode, Init, Nonlinearity};

/// Any of the attentions over channels.
#[derive(Module, Debug)]
pub enum ChannelAttention {
    /// Squeeze-and-excitation.
    Squeeze(SqueezeExcite),
    /// Efficient channel attention.
    Efficient(EfficientAttention),
    /// A global context.
    Context(GlobalContext),
}

impl ChannelAttention {
    /// The map with its channels changed.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Squeeze(attention) => attention.forward(x),
            Self::Efficient(attention) => attention.forward(x),
            Self::Context(attention) => attention.forward(x),
        }
    }
}

/// Efficient channel attention (Wang et al., 2020, <https://arxiv.org/abs/1910.03151>): weighs each
/// channel by the means of its neighbours. timm's `EcaModule`.
#[derive(Module, Debug)]
pub struct EfficientAttention {
    /// Kernel over the channels, `[1, 1, neighbours]`.
    pub weight: Param<Tensor<3>>,
}

impl EfficientAttention {
    /// For maps of so many channels, which say how many neighbours there are: about half their
    /// logarithm.
    pub fn new(channels: usize, params: &ParamBuilder) -> Self {
        let half = ((channels as f64).log2() + 1.0) as usize / 2;
        // Odd, so that there is a middle.
        let neighbours = (half | 1).max(3);
        Self {
            weight: params.weight([1, 1, neighbours], &Init::PyTorch),
        }
    }

    /// Weighs the channels.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, _, _] = x.dims();
        let weight = self.weight.val().cast(x.dtype());
        let [_, _, neighbours] = weight.dims();
        let means = position_means(&x).reshape([batch, 1, channels]);
        let options = ConvOptions::new([1], [neighbours / 2], [1], 1);
        let mixed = module::conv1d(means, weight, None, options);
        trace::layer("Conv1d", self.weight.id, &mixed, neighbours * channels);
        x * Act::Sigmoid.forward(mixed).reshape([batch, channels, 1, 1])
    }
}

/// The global context of a GCNet (Cao et al., 2019, <https://arxiv.org/abs/1904.11492>): a mean over
/// positions, each weighed by what is seen there, goes through a small network and is added
/// everywhere, or weighs the channels. timm's `GlobalContext`.
#[derive(Module, Debug)]
pub struct GlobalContext {
    attend: Conv2d,
    fc1: Conv2d,
    norm: LayerNorm,
    fc2: Conv2d,
    #[module(skip)]
    act: Act,
    is_added: bool,
}

impl GlobalContext {
    /// One that is added, for maps of so many channels, through `hidden` ones; it starts as nothing.
    /// `weights` is how the first layer of the network starts, a convolution of so many output channels.
    pub fn new(
        channels: usize,
        hidden: usize,
        weights: impl Fn(usize) -> Init,
        params: &ParamBuilder,
    ) -> Self {
        let attend = Init::KaimingNormal {
            mode: FanMode::FanIn,
            nonlinearity: Nonlinearity::Relu,
        };
        let starts = [attend, weights(hidden), Init::Zeros];
        Self::of([channels, hidden], Act::Relu, starts, true, params)
    }

    /// One that weighs the channels, with this activation within the network. `weights` is how a
    /// convolution of so many output channels starts.
    pub fn weighing(
        channels: usize,
        hidden: usize,
        act: Act,
        weights: impl Fn(usize) -> Init,
        params: &ParamBuilder,
    ) -> Self {
        let starts = [1, hidden, channels].map(weights);
        Self::of([channels, hidden], act, starts, false, params)
    }

    fn of(
        [channels, hidden]: [usize; 2],
        act: Act,
        [attend, first, second]: [Init; 3],
        is_added: bool,
        params: &ParamBuilder,
    ) -> Self {
        let layer = |from, to, init| {
            let config = Conv2dConfig::new(from, to, 1).bias();
            config.weights(init).init(params)
        };
        Self {
            attend: layer(channels, 1, attend),
            fc1: layer(channels, hidden, first),
            norm: LayerNorm::new(hidden, 1e-6, params),
            fc2: layer(hidden, channels, second),
            act,
            is_added,
        }
    }

    /// Adds the context, or weighs the channels by it.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let length = height * width;
        let scores = self.attend.forward(x.clone()).reshape([batch, length, 1]);
        let flat = x.clone().reshape([batch, channels, length]);
        let context = flat.matmul(softmax(scores, 1));
        let context = context.reshape([batch, channels, 1, 1]);
        trace::product("AttentionPool2d", &context, channels * length);
        let hidden = self.norm.forward_map(self.fc1.forward(context));
        let context = self.fc2.forward(self.act.forward(hidden));
        if self.is_added {
            x + context
        } else {
            x * Act::Sigmoid.forward(context)
        }
    }
}

/// The multiple of 8 that is nearest to a number of channels, and at least 8.
pub fn nearest_multiple_of_8(channels: f64) -> usize {
    ((channels + 4.0) as usize / 8 * 8).max(8)
}
