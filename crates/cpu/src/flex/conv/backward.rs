//! The gradients of a convolution.

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::depthwise;
use super::grouped;
use super::layouts::{Columns, FEW_CHANNELS, Planes};
use super::partition::{channel_block, channel_blocks, joined_rows, sum_of_parts};
use crate::flex::feature_map::{self, MapShape};
use crate::flex::group_blocks::GroupBlocks;
use crate::flex::kernels::{self, Kernels};
use crate::flex::matmul::{Matrix, product};
use crate::flex::simd::{Shared, uninitialized};
use crate::flex::window::Window;
use crate::flex::winograd::{self, Purpose, Transformed};

/// The gradient of the input.
pub fn input_gradient(
    gradient: &FlexTensor,
    kernels: &Kernels,
    window: Window,
    input: MapShape,
) -> FlexTensor {
    let output = MapShape::of(gradient);
    let gradient = feature_map::values(gradient);
    if kernels.input < input.channels {
        let values = if kernels.is_depthwise(input) {
            depthwise::input_gradient(&gradient, output, kernels.values(), window, input)
        } else {
            let blocks = GroupBlocks::new(kernels, input.channels, true);
            grouped::input_gradient(&gradient, output, &blocks, window, input)
        };
        return feature_map::tensor(values, input);
    }
    let purpose = Purpose::InputGradient;
    if let Some(kernels) = Transformed::new(kernels, purpose, window, input, output) {
        let mut values = uninitialized(input.len());
        let padding = window.kernel - 1 - window.padding;
        winograd::forward(
            &gradient,
            output,
            &kernels,
            padding,
            input,
            None,
            &mut values,
        );
        return feature_map::tensor(values, input);
    }
    let shape = input;
    let (input, output) = joined_rows(window, input, output);
    let (stride, to) = (window.stride, input.channels);
    let columns = input.width.div_ceil(stride);
    // Sorted by remainder, as the forward pass reads it.
    let line = columns * input.position();
    let mut sorted = uninitialized(input.height * stride * line);
    let count = channel_blocks(input.height * stride, to);
    let shared = Shared::new(&mut sorted);
    (0..input.height * stride * count)
        .into_par_iter()
        .for_each(|task| {
            let (line_index, (first, last)) =
                (task / count, channel_block(task % count, count, to));
            let (y, remainder) = (line_index / stride, line_index % stride);
            let there = (input.width + stride - 1 - remainder) / stride;
            let mut taps = Vec::with_capacity(window.taps());
            for ky in 0..window.kernel {
                let above = y as isize - window.offset(ky);
                let row = above.div_euclid(stride as isize);
                let hits = above.rem_euclid(stride as isize) == 0;
                if !hits || row < 0 || row >= output.height as isize {
                    continue;
                }
                for kx in 0..window.kernel {
                    let offset = window.offset(kx);
                    let (from, until) = window.inside(kx, input.width);
                    if offset.rem_euclid(stride as isize) as usize == remainder && from < until {
                        let shift = offset.div_euclid(stride as isize);
                        taps.push((ky * window.kernel + kx, row as usize, shift, from, until));
                    }
                }
            }
            taps.sort_by_key(|(_, _, _, from, until)| until - from != there);
            let mut written = false;
            if !taps
                .iter()
                .any(|(_, _, _, from, until)| until - from == there)
            {
                let positions = columns * input.batch;
                // SAFETY: this block of this line is this task's alone.
                unsafe { shared.clear(line_index * line + first, positions, to, last - first) };
                written = true;
            }
            for (tap, row, shift, from, until) in taps {
                let column = (from as isize + shift) as usize;
                // SAFETY: all ranges are inside; this block of this line is this task's.
                unsafe {
                    product(
                        [(until - from) * input.batch, last - first, output.channels],
                        shared.at(line_index * line + column * input.position() + first),
                        to,
                        written,
                        Matrix::new(
                            &gradient,
                            row * output.row() + from * output.position(),
                            output.channels,
                        ),
                        Matrix::new(
                            kernels.values(),
                            (tap * to + first) * output.channels,
                            output.channels,
                        )
                        .transposed(),
                    );
                }
                written = true;
            }
        });
    if stride == 1 {
        return feature_map::tensor(sorted, shape);
    }
    let mut values = uninitialized(input.len());
    let position = input.position();
    values
        .par_chunks_mut(input.row().max(1))
        .zip(sorted.par_chunks((stride * line).max(1)))
        .for_each(|(out, sorted)| {
            for (column, out) in out.chunks_exact_mut(position.max(1)).enumerate() {
                let place = column % stride * columns + column / stride;
                out.copy_from_slice(&sorted[place * position..(place + 1) * position]);
            }
        });
    feature_map::tensor(values, input)
}

/// The gradient of the kernels of a convolution of `groups` groups.
pub fn kernel_gradient(
    x: &FlexTensor,
    gradient: &FlexTensor,
    window: Window,
    groups: usize,
) -> FlexTensor {
    let (input, output) = (MapShape::of(x), MapShape::of(gradient));
    let (x, gradient) = (feature_map::values(x), feature_map::values(gradient));
    let shape = [output.channels, input.channels / groups, window.kernel];
    if groups > 1 {
        let values = if [input.channels, output.channels] == [groups; 2] {
            depthwise::kernel_gradient(&x, input, &gradient, output, window)
        } else {
            grouped::kernel_gradient(&x, input, &gradient, output, window, groups)
        };
        return kernels::tensor(values, shape);
    }
    if window.kernel == 3 && window.stride == 1 {
        let (padding, direct) = (window.padding, window.products(input));
        let values = winograd::kernel_gradient(&x, input, &gradient, output, padding, direct);
        if let Some(values) = values {
            return kernels::tensor(values, shape);
        }
    }
    let values = if input.channels <= FEW_CHANNELS && window.taps() > 1 {
        kernel_gradient_patches(&x, input, &gradient, output, window)
    } else {
        let (input, output) = joined_rows(window, input, output);
        kernel_gradient_taps(&x, input, &gradient, output, window)
    };
    kernels::tensor(values, shape)
}

fn kernel_gradient_taps(
    x: &[f32],
    input: MapShape,
    gradient: &[f32],
    output: MapShape,
    window: Window,
) -> Vec<f32> {
    let columns = Columns::new(x, input, window);
    let (from, to) = (input.channels, output.channels);
    let mut values = uninitialized(window.taps() * from * to);
    let count = channel_blocks(window.taps(), to);
    let shared = Shared::new(&mut values);
    (0..window.taps() * count).into_par_iter().for_each(|task| {
        let (tap, (first, last)) = (task / count, channel_block(task % count, count, to));
        let (ky, kx) = (tap / window.kernel, tap % window.kernel);
        let (left, right) = window.inside(kx, input.width);
        let (top, bottom) = window.inside(ky, input.height);
        let mut written = false;
        if left < right {
            for y in top..bottom {
                let row = window.place(y, ky) as usize;
                let start = columns.start(row, window.offset(kx), left);
                // SAFETY: all ranges are inside; this block of this tap is this task's.
                unsafe {
                    product(
                        [from, last - first, (right - left) * input.batch],
                        shared.at(tap * from * to + first),
                        to,
                        written,
                        Matrix::new(&columns.values, start, from).transposed(),
                        Matrix::new(
                            gradient,
                            y * output.row() + left * output.position() + first,
                            to,
                        ),
                    );
                }
                written = true;
            }
        }
        if !written {
            // SAFETY: as above.
            unsafe { shared.clear(tap * from * to + first, from, to, last - first) };
        }
    });
    values
}

/// Rows of the output whose patches make one part of the sum.
const PARTS: usize = 8;

fn kernel_gradient_patches(
    x: &[f32],
    input: MapShape,
    gradient: &[f32],
    output: MapShape,
    window: Window,
) -> Vec<f32> {
    let rows = output.width * output.batch;
    let depth = window.taps() * input.channels;
    let size = output.height.div_ceil(PARTS).max(1);
    let planes = Planes::new(x, input, window);
    // Each part sums some rows; the parts are added in order.
    let parts: Vec<Vec<f32>> = (0..output.height.div_ceil(size))
        .into_par_iter()
        .map(|part| {
            let mut sum = uninitialized(depth * output.channels);
            let mut buffer = uninitialized(depth * rows);
            let lines = part * size..((part + 1) * size).min(output.height);
            for (index, y) in lines.enumerate() {
                planes.patches(y, output.width, &mut buffer);
                // SAFETY: all three are whole slices of these sizes.
                unsafe {
                    product(
                        [depth, output.channels, rows],
                        sum.as_mut_ptr(),
                        output.channels,
                        index > 0,
                        Matrix::new(&buffer, 0, rows),
                        Matrix::new(gradient, y * output.row(), output.channels),
                    );
                }
            }
            sum
        })
        .collect();
    sum_of_parts(parts)
}
