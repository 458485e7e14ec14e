//! The residual blocks of timm's `byobnet.py`, of which several networks are made.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{
    Act, BatchNorm2dConfig, Conv2dConfig, ConvNorm, DropPath, Epilogue, ParamBuilder,
    SqueezeExcite, avg_pool2d, divisible_by_8, fan_out_normal,
};

/// Which convolutions a [`Residual`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResidualKind {
    /// Two of 3x3.
    Basic,
    /// 1x1, 3x3, 1x1.
    Bottleneck,
    /// 1x1, 3x3.
    Dark,
    /// 3x3, 1x1.
    Edge,
}

/// What goes around a [`Residual`] that changes the shape. One that does not is added to its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortcut {
    /// A convolution of 1x1 with the block's stride.
    Conv,
    /// A pooling over 2x2 where the block strides, and a convolution of 1x1.
    Pooled,
    /// Nothing: the block's output is what its convolutions give.
    Nothing,
}

/// What a [`Residual`] looks like.
#[derive(Debug, Clone, Copy)]
pub struct ResidualConfig {
    /// Which convolutions.
    pub kind: ResidualKind,
    /// Channels within.
    pub inner: usize,
    /// Channels of the output.
    pub channels: usize,
    /// Stride of the first 3x3 convolution.
    pub stride: usize,
    /// Groups of the last 3x3 convolution.
    pub groups: usize,
    /// The shortcut where the shape changes.
    pub shortcut: Shortcut,
    /// Channels of the squeeze-excite, as a part of those it weighs.
    pub se: Option<f64>,
    /// The activation.
    pub act: Act,
    /// The activation behind the sum.
    pub last_act: Act,
}

/// A residual block with up to three convolutions; what its kind lacks is `None`.
#[derive(Module, Debug)]
pub struct Residual {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: Option<ConvNorm>,
    /// Before the last convolution, if that is one of 1x1, else behind it.
    se: Option<SqueezeExcite>,
    se_is_last: bool,
    downsample: Option<Downsample>,
    is_residual: bool,
    drop_path: DropPath,
    #[module(skip)]
    last_act: Act,
}

/// The shortcut of a block that changes the shape.
#[derive(Module, Debug)]
struct Downsample {
    /// Window and stride of the pooling before the convolution.
    pool: Option<usize>,
    conv: ConvNorm,
}

impl Residual {
    /// The names of a block's parts in timm's files, ours first.
    pub fn names(kind: ResidualKind, shortcut: Shortcut) -> Vec<(&'static str, String)> {
        let (convs, se) = match kind {
            ResidualKind::Basic => (&["conv1_kxk", "conv2_kxk"][..], "attn_last"),
            ResidualKind::Dark => (&["conv1_1x1", "conv2_kxk"][..], "attn_last"),
            ResidualKind::Edge => (&["conv1_kxk", "conv2_1x1"][..], "attn"),
            ResidualKind::Bottleneck => (&["conv1_1x1", "conv2_kxk", "conv3_1x1"][..], "attn"),
        };
        let ours = [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")];
        let shortcut = match shortcut {
            Shortcut::Pooled => "shortcut.conv",
            Shortcut::Conv | Shortcut::Nothing => "shortcut",
        };
        let convs = ours.into_iter().zip(convs.iter().copied());
        let around = [(("downsample.conv", "downsample.bn"), shortcut)];
        let mut names: Vec<_> = convs
            .chain(around)
            .flat_map(|((conv, bn), theirs)| {
                [
                    (conv, format!("{theirs}.conv")),
                    (bn, format!("{theirs}.bn")),
                ]
            })
            .collect();
        names.push(("se.reduce", format!("{se}.fc1")));
        names.push(("se.expand", format!("{se}.fc2")));
        names
    }

    /// A block for maps of so many channels.
    pub fn new(
        config: &ResidualConfig,
        from: usize,
        drop_path: f64,
        params: &ParamBuilder,
    ) -> Self {
        let ResidualConfig {
            kind,
            inner,
            channels,
            stride,
            ..
        } = *config;
        let keeps_shape = stride == 1 && from == channels;
        let is_residual = keeps_shape || config.shortcut != Shortcut::Nothing;
        let conv = |from, to, kernel: usize, stride, groups| {
            Conv2dConfig::new(from, to, kernel)
                .padding(kernel / 2)
                .stride(stride)
                .groups(groups)
                .weights(fan_out_normal(kernel * kernel * to / groups))
        };
        let layer = |conv| ConvNorm::new(conv, config.act, params);
        // A block that is added to something begins as nothing.
        let last = |conv| {
            let norm = BatchNorm2dConfig::new(channels);
            let norm = if is_residual { norm.zero_init() } else { norm };
            ConvNorm::with_norm(conv, norm, Act::None, params)
        };
        let groups = config.groups;
        let (conv1, conv2, conv3) = match kind {
            ResidualKind::Basic => (
                layer(conv(from, inner, 3, stride, 1)),
                last(conv(inner, channels, 3, 1, groups)),
                None,
            ),
            ResidualKind::Bottleneck => (
                layer(conv(from, inner, 1, 1, 1)),
                layer(conv(inner, inner, 3, stride, groups)),
                Some(last(conv(inner, channels, 1, 1, 1))),
            ),
            ResidualKind::Dark => (
                layer(conv(from, inner, 1, 1, 1)),
                last(conv(inner, channels, 3, stride, groups)),
                None,
            ),
            ResidualKind::Edge => (
                layer(conv(from, inner, 3, stride, groups)),
                last(conv(inner, channels, 1, 1, 1)),
                None,
            ),
        };
        let se_is_last = matches!(kind, ResidualKind::Basic | ResidualKind::Dark);
        let weighed = if se_is_last { channels } else { inner };
        let se = |part: f64| {
            let hidden = divisible_by_8(part * weighed as f64);
            let acts = [Act::Relu, Act::Sigmoid];
            SqueezeExcite::new(weighed, hidden, acts, fan_out_normal, params)
        };
        let pool = (config.shortcut == Shortcut::Pooled && stride > 1).then_some(stride);
        let stride = if pool.is_some() { 1 } else { stride };
        let downsample = || Downsample {
            pool,
            conv: ConvNorm::new(conv(from, channels, 1, stride, 1), Act::None, params),
        };
        Self {
            conv1,
            conv2,
            conv3,
            se: config.se.map(se),
            se_is_last,
            downsample: (is_residual && !keeps_shape).then(downsample),
            is_residual,
            drop_path: DropPath::new(drop_path),
            last_act: config.last_act,
        }
    }

    /// The block.
    ///
    /// # Shapes
    /// - input: `[batch, from, height, width]`
    /// - output: `[batch, channels, height / stride, width / stride]`, rounded up
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if !self.is_residual {
            // timm drops what stands alone, too.
            let x = self.branch(x, Epilogue::default());
            return self.last_act.forward(self.drop_path.forward(x));
        }
        let shortcut = |x| match &self.downsample {
            Some(Downsample { pool, conv }) => {
                conv.forward(pool.iter().fold(x, |x, &side| avg_pool2d(x, side, side)))
            }
            None => x,
        };
        let branch = |x, end: Epilogue<'_, 4>| self.branch(x, end);
        self.drop_path.residual(x, self.last_act, shortcut, branch)
    }

    fn branch(&self, x: Tensor<4>, end: Epilogue<'_, 4>) -> Tensor<4> {
        let mut x = self.conv1.forward(x);
        let last = match &self.conv3 {
            Some(conv3) => {
                x = self.conv2.forward(x);
                conv3
            }
            None => &self.conv2,
        };
        match &self.se {
            Some(se) if self.se_is_last => {
                end.apply(se.forward(last.forward_with(x, Epilogue::default())))
            }
            Some(se) => last.forward_with(se.forward(x), end),
            None => last.forward_with(x, end),
        }
    }
}
