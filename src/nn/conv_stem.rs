//! A stem of convolutions.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{Act, Conv2dConfig, ConvNorm, ParamBuilder};

/// Convolutions of 3x3, each of twice the channels of the one before and half the size, in place of
/// patches (Xiao et al., "Early Convolutions Help Transformers See Better", 2021,
/// <https://arxiv.org/abs/2106.14881>).
#[derive(Module, Debug)]
pub struct ConvStem {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: Option<ConvNorm>,
    conv4: Option<ConvNorm>,
}

impl ConvStem {
    /// Two to four convolutions of these strides, of which the last gives so many channels. It has no
    /// activation behind it, the others have this one.
    pub fn new(
        in_channels: usize,
        channels: usize,
        strides: &[usize],
        act: Act,
        params: &ParamBuilder,
    ) -> Self {
        let count = strides.len();
        let out = |number: usize| channels >> count.saturating_sub(number);
        let conv = |number: usize| {
            let from = match number {
                1 => in_channels,
                _ => out(number - 1),
            };
            let conv = Conv2dConfig::new(from, out(number), 3);
            let act = if number < count { act } else { Act::None };
            ConvNorm::new(conv.stride(strides[number - 1]).padding(1), act, params)
        };
        Self {
            conv1: conv(1),
            conv2: conv(2),
            conv3: (count >= 3).then(|| conv(3)),
            conv4: (count >= 4).then(|| conv(4)),
        }
    }

    /// The convolutions.
    ///
    /// # Shapes
    /// - input: `[batch, in_channels, height, width]`
    /// - output: `[batch, channels, height / stride, width / stride]`, rounded up; the stride is
    ///   the product of all
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv2.forward(self.conv1.forward(x));
        let more = self.conv3.iter().chain(&self.conv4);
        more.fold(x, |x, conv| conv.forward(x))
    }
}
