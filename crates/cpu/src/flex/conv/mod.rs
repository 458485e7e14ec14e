//! Convolutions as sums of matrix products, one for each tap of the kernel.

mod backward;
mod dense;
mod depthwise;
mod grouped;
mod layouts;
mod partition;

use burn::backend::flex::FlexTensor;

use super::epilogue::ChannelEpilogue;
use super::feature_map::{self, MapShape};
use super::group_blocks::GroupBlocks;
use super::kernels::Kernels;
use super::packed::PANEL;
use super::simd::{allocatable, uninitialized};
use super::weight_forms::WeightForms;
use super::window::Window;
use super::winograd::{self, Purpose, Transformed};
use dense::Factor;
use layouts::FEW_CHANNELS;
use partition::joined_rows;

pub use backward::{input_gradient, kernel_gradient};

/// Whether all that a convolution computes with can be in memory, forward and backward, for a window
/// that fits.
pub fn is_allocatable(input: MapShape, output: MapShape, window: Window, groups: usize) -> bool {
    let Window { kernel, stride, .. } = window;
    let of_group = output.channels / groups;
    let Some(columns) = of_group.checked_next_multiple_of(PANEL) else {
        return false;
    };
    let (batch, channels) = (input.batch, input.channels);
    let tiles = winograd::TILES_AT_ONCE.saturating_add(batch);
    let sizes = [
        // The input, its columns sorted by their remainder modulo the stride.
        &[batch, channels, input.height, input.width + stride - 1][..],
        &[batch, output.channels, output.height, output.width],
        // Kernels in whole panels, of the larger tile where they are Winograd's.
        &[channels, kernel + 3, kernel + 3, columns],
        &[6, 6, tiles, channels.max(output.channels)],
        // Patches.
        &[kernel, kernel, channels, dense::GATHERED],
        &[
            kernel,
            kernel,
            channels.min(FEW_CHANNELS),
            output.width,
            batch,
        ],
    ];
    sizes.into_iter().all(allocatable)
}

/// The output, and the kernels in the form that the gradients need as well. `forms` belong to these
/// kernels.
pub fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    window: Window,
    epilogue: Option<&ChannelEpilogue<'_>>,
    forms: Option<&WeightForms>,
) -> (FlexTensor, Kernels) {
    let kernels = Kernels::new(weight);
    let input = MapShape::of(x);
    let output = MapShape {
        height: window.output(input.height),
        width: window.output(input.width),
        batch: input.batch,
        channels: kernels.output,
    };
    let x = feature_map::values(x);
    let mut values = uninitialized(output.len());
    let out = &mut values;
    if kernels.input < input.channels {
        if kernels.is_depthwise(input) {
            depthwise::forward(&x, input, kernels.values(), window, output, epilogue, out);
        } else {
            let once;
            let blocks = match forms {
                Some(forms) => forms.group_blocks(&kernels, input.channels),
                None => {
                    once = GroupBlocks::new(&kernels, input.channels, false);
                    &once
                }
            };
            grouped::forward(&x, input, blocks, window, output, epilogue, out);
        }
        return (feature_map::tensor(values, output), kernels);
    }
    let shape = output;
    let (input, output) = joined_rows(window, input, output);
    let once;
    let transformed = match forms {
        Some(forms) => forms.transformed(&kernels, window, input, output),
        None => {
            once = Transformed::new(&kernels, Purpose::Once, window, input, output);
            once.as_ref()
        }
    };
    let packed = || forms.and_then(|forms| forms.packed_kernels(&kernels));
    if let Some(transformed) = transformed {
        let padding = window.padding;
        winograd::forward(&x, input, transformed, padding, output, epilogue, out);
    } else if input.channels <= FEW_CHANNELS && kernels.taps > 1 {
        let factor = Factor::new(&kernels, packed());
        dense::patches(&x, input, factor, window, output, epilogue, out);
    } else if output.width * output.batch < dense::FEW_POSITIONS {
        let factor = Factor::new(&kernels, packed());
        dense::gathered(&x, input, factor, window, output, epilogue, out);
    } else {
        // Of several taps each is a matrix of its own.
        let packed = if kernels.taps == 1 { packed() } else { None };
        let factor = Factor::new(&kernels, packed);
        dense::taps(&x, input, factor, window, output, epilogue, out);
    }
    (feature_map::tensor(values, shape), kernels)
}
