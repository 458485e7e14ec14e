//! What attention within windows adds to the score of two positions, by where they are to each other.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use burn_zoo_cpu::{Act, Epilogue};

use super::{Dropout, Linear, ParamBuilder, Windows, fused};
use crate::init::Init;

/// The rule by which a network has these biases.
#[derive(Module, Debug)]
pub enum PositionBias {
    /// A table with a row for each offset and a column for each head, as Swin's.
    Offsets(Param<Tensor<2>>),
    /// The same as `[heads, rows, columns]` of offsets, which are those to the second position from the
    /// first: MaxViT's in TensorFlow.
    Grid(Param<Tensor<3>>),
    /// A table `[heads, distances]` of offsets without their signs, as LeViT's.
    Distances(Param<Tensor<2>>),
    /// A network that sees offsets on a logarithmic scale.
    Mlp(OffsetMlp),
}

impl PositionBias {
    /// Those of each offset.
    pub fn offsets(windows: &Windows, heads: usize, init: &Init, params: &ParamBuilder) -> Self {
        Self::Offsets(params.weight([windows.num_offsets(), heads], init))
    }

    /// Those of each offset, as `[heads, rows, columns]`.
    pub fn grid(windows: &Windows, heads: usize, init: &Init, params: &ParamBuilder) -> Self {
        let [rows, columns] = windows.sides().map(|side| 2 * side - 1);
        Self::Grid(params.weight([heads, rows, columns], init))
    }

    /// Those of each distance; they start at 0.
    pub fn distances(windows: &Windows, heads: usize, params: &ParamBuilder) -> Self {
        Self::Distances(params.constant([heads, windows.num_distances()], 0.0))
    }

    /// What is added to the scores of attention.
    ///
    /// # Shapes
    /// - output: `[windows, heads, positions, positions]`; 1 in place of the windows where nothing is
    ///   shifted
    pub fn bias(&self, windows: &Windows) -> Tensor<4> {
        match self {
            Self::Offsets(table) => fused::bias(table.id, || windows.bias(table.val())),
            Self::Grid(table) => fused::bias(table.id, || {
                let table = table.val().flatten::<2>(1, 2).transpose();
                windows.bias(table).swap_dims(2, 3)
            }),
            Self::Distances(table) => {
                fused::bias(table.id, || windows.bias_of_distances(table.val()))
            }
            Self::Mlp(mlp) => fused::bias(mlp.fc1.weight.id, || {
                let offsets = windows.offsets().map(log_offset);
                windows.bias(mlp.forward(offsets))
            }),
        }
    }
}

/// A network that says what is added to the scores of attention, by the offset between two positions:
/// so that it is known for offsets that training has not seen (Liu et al., "Swin Transformer V2", 2022,
/// <https://arxiv.org/abs/2111.09883>).
#[derive(Module, Debug)]
pub struct OffsetMlp {
    /// From two numbers to hidden features.
    pub fc1: Linear,
    /// On the hidden features.
    pub dropout: Dropout,
    /// To a number for each head.
    pub fc2: Linear,
}

impl OffsetMlp {
    /// The numbers of each head, for offsets in whatever scale.
    ///
    /// # Shapes
    /// - output: `[offsets, heads]`
    pub fn forward(&self, offsets: impl Iterator<Item = [f64; 2]>) -> Tensor<2> {
        let offsets: Vec<f32> = offsets.flatten().map(|at| at as f32).collect();
        let shape = [offsets.len() / 2, 2];
        let device = self.fc1.weight.val().device();
        let offsets = Tensor::<2>::from_data(TensorData::new(offsets, shape), &device);
        let hidden = self.fc1.forward_with(offsets, Epilogue::act(Act::Relu));
        self.fc2.forward(self.dropout.forward(hidden))
    }
}

/// An offset with its lengths on a logarithmic scale: the sign times ln(1 + |length|).
pub fn log_offset(offset: [i64; 2]) -> [f64; 2] {
    offset.map(|length| log_length(length as f64))
}

/// A length on that scale.
pub fn log_length(length: f64) -> f64 {
    length.signum() * length.abs().ln_1p()
}
