//! The forms of a weight that does not change.

use std::sync::OnceLock;

use super::feature_map::MapShape;
use super::group_blocks::GroupBlocks;
use super::kernels::Kernels;
use super::packed::Packed;
use super::window::Window;
use super::winograd::{Purpose, Transformed};

/// A weight in the forms that are multiplied with, each made when it is first needed. Of most weights
/// one is needed.
#[derive(Debug, Default)]
pub struct WeightForms {
    layer: OnceLock<LayerShape>,
    packed: OnceLock<Option<Packed>>,
    transformed: OnceLock<Option<Transformed>>,
    group_blocks: OnceLock<GroupBlocks>,
}

/// What the forms depend on beside the weight's values: window, outputs, inputs of a group, inputs.
pub type LayerShape = (Window, [usize; 3]);

impl WeightForms {
    /// Whether these are the forms of such a layer; the first that asks makes them its own.
    pub fn belong_to(&self, layer: LayerShape) -> bool {
        *self.layer.get_or_init(|| layer) == layer
    }

    /// Rows `[out, in]` as a matrix `[in, out]`, if this CPU multiplies with packed ones.
    pub fn packed_rows(&self, weight: &[f32], [outputs, inputs]: [usize; 2]) -> Option<&Packed> {
        let make = || Packed::transposed(weight, inputs, outputs);
        self.packed.get_or_init(make).as_ref()
    }

    /// Kernels as one matrix `[tap * in, out]`, if this CPU multiplies with packed ones.
    pub fn packed_kernels(&self, kernels: &Kernels) -> Option<&Packed> {
        let depth = kernels.taps * kernels.input;
        let make = || Packed::new(kernels.values(), depth, kernels.output);
        self.packed.get_or_init(make).as_ref()
    }

    /// Kernels for Winograd's products, if that pays: decided when they are first needed.
    pub fn transformed(
        &self,
        kernels: &Kernels,
        window: Window,
        input: MapShape,
        output: MapShape,
    ) -> Option<&Transformed> {
        let make = || Transformed::new(kernels, Purpose::Repeated, window, input, output);
        self.transformed.get_or_init(make).as_ref()
    }

    /// Kernels of groups.
    pub fn group_blocks(&self, kernels: &Kernels, channels: usize) -> &GroupBlocks {
        let make = || GroupBlocks::new(kernels, channels, false);
        self.group_blocks.get_or_init(make)
    }
}
