//! Pooling over windows.

use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn_zoo_cpu::MaxPool2d;

use super::trace;

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
