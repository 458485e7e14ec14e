//! The modules of an NFNet: stem and blocks.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::model::MapLayer;
use crate::nn::{Act, ChannelAttention, Conv2d, DropPath, Epilogue, avg_pool2d, max_pool2d};

/// What a block adds is scaled by this.
pub(super) const ALPHA: f64 = 0.2;
/// An attention halves what it weighs, on average.
const ATTENTION_GAIN: f64 = 2.0;

/// An activation, and a factor behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScaledAct {
    pub act: Act,
    pub scale: f64,
}

impl ScaledAct {
    fn forward(self, x: Tensor<4>) -> Tensor<4> {
        self.scaled(self.act.forward(x))
    }

    /// A convolution and the activation.
    fn after(self, conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
        self.scaled(conv.forward_with(x, Epilogue::act(self.act)))
    }

    fn scaled(self, x: Tensor<4>) -> Tensor<4> {
        if self.scale == 1.0 { x } else { x * self.scale }
    }
}

#[derive(Module, Debug)]
pub(super) struct Stem {
    pub convs: Vec<Conv2d>,
    #[module(skip)]
    pub act: ScaledAct,
    pub pools: bool,
}

impl MapLayer for Stem {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let Some((last, before)) = self.convs.split_last() else {
            return x;
        };
        let x = before.iter().fold(x, |x, conv| self.act.after(conv, x));
        let x = last.forward(x);
        if self.pools {
            max_pool2d(x, 3, 2, 1)
        } else {
            x
        }
    }
}

#[derive(Module, Debug)]
pub(super) struct Block {
    pub conv1: Conv2d,
    pub conv2: Conv2d,
    pub conv2b: Option<Conv2d>,
    pub conv3: Conv2d,
    /// Before the last convolution.
    pub attn: Option<ChannelAttention>,
    /// Behind it.
    pub attn_last: Option<ChannelAttention>,
    pub downsample: Option<Downsample>,
    pub skipinit_gain: Option<Param<Tensor<1>>>,
    /// Behind the last block of the network.
    pub conv_final: Option<Conv2d>,
    pub is_last: bool,
    #[module(skip)]
    pub act: ScaledAct,
    pub beta: f64,
    pub drop_path: DropPath,
}

impl Block {
    fn branch(&self, x: Tensor<4>, end: Epilogue<'_, 4>) -> Tensor<4> {
        let x = self.act.after(&self.conv1, x);
        let (x, middle) = match &self.conv2b {
            Some(conv2b) => (self.act.after(&self.conv2, x), conv2b),
            None => (x, &self.conv2),
        };
        let x = match &self.attn {
            Some(attn) => self
                .act
                .forward(attn.forward(middle.forward(x)) * ATTENTION_GAIN),
            None => self.act.after(middle, x),
        };
        let mut x = self.conv3.forward(x);
        let mut scale = ALPHA;
        if let Some(attn) = &self.attn_last {
            x = attn.forward(x);
            scale *= ATTENTION_GAIN;
        }
        if let Some(gain) = &self.skipinit_gain {
            let gain = gain.val().cast(x.dtype()).reshape([1, 1, 1, 1]);
            x = x * gain;
        }
        end.apply(x * scale)
    }
}

impl MapLayer for Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let begin = |x| self.act.forward(x) * self.beta;
        let drop = &self.drop_path;
        let x = match &self.downsample {
            // Both ways begin with the activation.
            Some(downsample) => {
                let shortcut = |x| downsample.forward(x);
                drop.residual(begin(x), Act::None, shortcut, |x, end| self.branch(x, end))
            }
            None => drop.residual(x, Act::None, |x| x, |x, end| self.branch(begin(x), end)),
        };
        match &self.conv_final {
            Some(conv) => self.act.after(conv, x),
            None if self.is_last => self.act.forward(x),
            None => x,
        }
    }
}

/// The shortcut of a block that changes the shape.
#[derive(Module, Debug)]
pub(super) struct Downsample {
    pub pools: bool,
    pub conv: Conv2d,
}

impl MapLayer for Downsample {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = if self.pools { avg_pool2d(x, 2, 2) } else { x };
        self.conv.forward(x)
    }
}
