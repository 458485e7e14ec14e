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
use super::simd::uninitialized;
use super::weight_forms::WeightForms;
use super::window::Window;
use super::winograd::{self, Purpose, Transformed};
use dense::Factor;
use layouts::FEW_CHANNELS;
use partition::joined_rows;

pub use backward::{input_gradient, kernel_gradient};

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
