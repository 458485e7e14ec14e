//! How the work of a convolution is divided, by its shapes alone.

use crate::flex::feature_map::MapShape;
use crate::flex::packed::PANEL;
use crate::flex::window::Window;

/// Into how many blocks channels are cut so that there is work for many threads. It depends on the
/// shape alone.
pub fn channel_blocks(tasks: usize, channels: usize) -> usize {
    const ENOUGH: usize = 32;
    const NARROWEST: usize = 64;
    let most = (channels / NARROWEST).max(1);
    ENOUGH.div_ceil(tasks.max(1)).clamp(1, most)
}

/// The channels of a block.
pub fn channel_block(index: usize, blocks: usize, channels: usize) -> (usize, usize) {
    // In whole panels of packed kernels.
    let size = channels.div_ceil(blocks).next_multiple_of(PANEL);
    (
        (index * size).min(channels),
        ((index + 1) * size).min(channels),
    )
}

/// Positions that are worth a product of their own.
const MANY_POSITIONS: usize = 256;

/// Where each position is a window of its own, rows are no more than a way to divide the work:
/// several short ones become a long one.
pub fn joined_rows(window: Window, input: MapShape, output: MapShape) -> (MapShape, MapShape) {
    let single = Window {
        kernel: 1,
        stride: 1,
        padding: 0,
        ..window
    };
    if window != single {
        return (input, output);
    }
    let row = input.width * input.batch;
    let divides = |lines: &usize| input.height.is_multiple_of(*lines);
    let mut enough = (1..=input.height)
        .filter(divides)
        .filter(|lines| lines * row >= MANY_POSITIONS);
    let lines = enough.next().unwrap_or(input.height).max(1);
    let join = |shape: MapShape| MapShape {
        height: shape.height / lines,
        width: shape.width * lines,
        ..shape
    };
    (join(input), join(output))
}

/// The sum of what tasks have computed, in their order.
pub fn sum_of_parts(parts: Vec<Vec<f32>>) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_default();
    for part in parts {
        for (sum, value) in sum.iter_mut().zip(part) {
            *sum += value;
        }
    }
    sum
}
