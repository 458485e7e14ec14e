//! Pooling over windows.

use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Tensor, TensorData, module};
use burn_zoo_cpu::{Epilogue, MaxPool2d};

use super::{channels_last, from_channels_last, trace};

/// `torch.nn.MaxPool2d(kernel, stride, padding)`.
///
/// # Shapes
/// - input: `[batch, channels, height, width]`
/// - output: each side is `(side + 2 * padding - kernel) / stride + 1`
pub fn max_pool2d(input: Tensor<4>, kernel: usize, stride: usize, padding: usize) -> Tensor<4> {
    let pool = MaxPool2d {
        kernel,
        stride,
        padding,
    };
    let output = burn_zoo_cpu::max_pool2d(&input, pool).unwrap_or_else(|| {
        let options = MaxPoolOptions {
            kernel_size: [kernel; 2],
            stride: [stride; 2],
            padding: [(padding, padding); 2],
            dilation: [1; 2],
            ceil_mode: false,
        };
        module::max_pool2d(input, options)
    });
    trace::pool("MaxPool2d", &output);
    output
}

/// `torch.nn.AvgPool2d(kernel, stride, ceil_mode=True, count_include_pad=False)`: a window that
/// hangs over the edge averages what is inside.
///
/// # Shapes
/// - input: `[batch, channels, height, width]`
/// - output: each side is `ceil((side - kernel) / stride) + 1`
pub fn avg_pool2d(input: Tensor<4>, kernel: usize, stride: usize) -> Tensor<4> {
    let options = AvgPoolOptions {
        kernel_size: [kernel; 2],
        stride: [stride; 2],
        padding: [(0, 0); 2],
        count_include_pad: false,
        ceil_mode: true,
    };
    let output = module::avg_pool2d(input, options);
    trace::pool("AvgPool2d", &output);
    output
}

/// `torch.nn.AvgPool2d(kernel, stride, padding)`: windows inside the padded map alone, in which the
/// zeros count.
///
/// # Shapes
/// As [`max_pool2d`].
pub fn padded_avg_pool2d(
    input: Tensor<4>,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Tensor<4> {
    let options = AvgPoolOptions {
        kernel_size: [kernel; 2],
        stride: [stride; 2],
        padding: [(padding, padding); 2],
        count_include_pad: true,
        ceil_mode: false,
    };
    let output = module::avg_pool2d(input, options);
    trace::pool("AvgPool2d", &output);
    output
}

/// timm's `BlurPool2d` (Zhang, 2019, <https://arxiv.org/abs/1904.11486>): every second position of a
/// map blurred by 1 2 1 in both directions, with its border reflected.
///
/// # Shapes
/// - input: `[batch, channels, height, width]`, of at least two positions on a side
/// - output: `[batch, channels, height / 2, width / 2]`, rounded up
pub fn blur_pool2d(input: Tensor<4>) -> Tensor<4> {
    blur(input.pad([(1, 1), (1, 1)], PadMode::Reflect), 0)
}

/// As [`blur_pool2d`], with zeros around the map: timm's `BlurPool2d(pad_mode="constant")`.
///
/// # Shapes
/// - input: `[batch, channels, height, width]`
/// - output: `[batch, channels, height / 2, width / 2]`, rounded up
pub fn blur_pool2d_zeros(input: Tensor<4>) -> Tensor<4> {
    blur(input, 1)
}

fn blur(input: Tensor<4>, padding: usize) -> Tensor<4> {
    let channels = input.dims()[1];
    let rows = [1.0, 2.0, 1.0].map(|row: f32| [1.0, 2.0, 1.0].map(|column| row * column / 16.0));
    let kernel = TensorData::new(rows.concat(), [1, 1, 3, 3]);
    let kernel = Tensor::<4>::from_data(kernel, &input.device()).cast(input.dtype());
    let kernels = kernel.repeat_dim(0, channels);
    let conv = burn_zoo_cpu::Conv2d {
        stride: 2,
        padding,
        ..burn_zoo_cpu::Conv2d::new(&kernels)
    };
    let output = burn_zoo_cpu::conv2d(&input, conv, Epilogue::default()).unwrap_or_else(|| {
        let options = ConvOptions::new([2; 2], [padding; 2], [1; 2], channels);
        module::conv2d(input.clone(), kernels.clone(), None, options)
    });
    let [_, _, height, width] = output.dims();
    trace::product("BlurPool2d", &output, 9 * channels * height * width);
    output
}

/// `torch.nn.Upsample(scale_factor=factor)`: each position `factor` times in both directions.
///
/// # Shapes
/// - input: `[batch, channels, height, width]`
/// - output: `[batch, channels, height * factor, width * factor]`
pub fn upsample_nearest2d(input: Tensor<4>, factor: usize) -> Tensor<4> {
    let [batch, channels, height, width] = input.dims();
    let positions = channels_last(input).reshape([height, 1, width, 1, batch, channels]);
    let positions = positions.expand([height, factor, width, factor, batch, channels]);
    let shape = [height * factor, width * factor, batch, channels];
    from_channels_last(positions.reshape(shape))
}

/// The mean of each channel over all positions.
///
/// # Shapes
/// - input: `[batch, channels, height, width]`
/// - output: `[batch, channels, 1, 1]`
pub(super) fn position_means(input: &Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = input.dims();
    let flat = input.clone().reshape([batch, channels, height * width]);
    let means = flat.mean_dim(2).reshape([batch, channels, 1, 1]);
    trace::pool("Mean", &means);
    means
}

/// `torch.nn.AdaptiveAvgPool2d`: the mean over windows that cover the map, as many as asked for.
///
/// # Shapes
/// - input: `[batch, channels, height, width]`
/// - output: `[batch, channels, sides[0], sides[1]]`
pub fn adaptive_avg_pool2d(input: Tensor<4>, sides: [usize; 2]) -> Tensor<4> {
    let output = module::adaptive_avg_pool2d(input, sides);
    trace::pool("AdaptiveAvgPool2d", &output);
    output
}

/// `torch.nn.MaxPool2d(kernel, stride, ceil_mode=True)`: a window that hangs over the edge sees what is
/// inside.
///
/// # Shapes
/// - input: `[batch, channels, height, width]`
/// - output: each side is `ceil((side - kernel) / stride) + 1`, less a window that would begin behind
///   the edge
pub fn max_pool2d_ceil(input: Tensor<4>, kernel: usize, stride: usize) -> Tensor<4> {
    let [_, _, height, width] = input.dims();
    let is_inside = |side: usize| side >= kernel && (side - kernel).is_multiple_of(stride);
    if is_inside(height) && is_inside(width) {
        return max_pool2d(input, kernel, stride, 0);
    }
    let options = MaxPoolOptions {
        kernel_size: [kernel; 2],
        stride: [stride; 2],
        padding: [(0, 0); 2],
        dilation: [1; 2],
        ceil_mode: true,
    };
    let output = module::max_pool2d(input, options);
    trace::pool("MaxPool2d", &output);
    output
}

/// `torch.nn.AvgPool2d(kernel, 1, kernel // 2, count_include_pad=False)` with an odd kernel: the mean
/// around each position, of what is inside.
///
/// # Shapes
/// - input and output: `[batch, channels, height, width]`
pub fn local_means(input: Tensor<4>, kernel: usize) -> Tensor<4> {
    let options = AvgPoolOptions {
        kernel_size: [kernel; 2],
        stride: [1; 2],
        padding: [(kernel / 2, kernel / 2); 2],
        count_include_pad: false,
        ceil_mode: false,
    };
    let output = module::avg_pool2d(input, options);
    trace::pool("AvgPool2d", &output);
    output
}
