//! Sines and cosines of places.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use super::{Conv2d, Conv2dConfig, ParamBuilder};
use crate::init::Init;

/// Numbers for each place of a map: sines and cosines of its row and column, of 16 frequencies each, and
/// a layer that makes features of them. timm's `PositionalEncodingFourier`.
#[derive(Module, Debug)]
pub struct FourierPositions {
    token_projection: Conv2d,
}

/// Frequencies of rows, and of columns.
const FREQUENCIES: usize = 16;

impl FourierPositions {
    /// For maps of so many channels.
    pub fn new(channels: usize, weights: &Init, params: &ParamBuilder) -> Self {
        let conv = Conv2dConfig::new(4 * FREQUENCIES, channels, 1).bias();
        Self {
            token_projection: conv.weights(weights.clone()).init(params),
        }
    }

    /// Adds the numbers of its place to each position.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let [rows, columns] = [height, width].map(waves);
        let mut values = Vec::with_capacity(4 * FREQUENCIES * height * width);
        for row in rows {
            values.extend(
                row.iter()
                    .flat_map(|value| std::iter::repeat_n(*value, width)),
            );
        }
        for column in columns {
            values.extend((0..height).flat_map(|_| column.iter().copied()));
        }
        let data = TensorData::new(values, [1, 4 * FREQUENCIES, height, width]);
        let places = Tensor::<4>::from_data(data, &x.device()).cast(x.dtype());
        x + self.token_projection.forward(places)
    }
}

/// For each frequency the sines and then the cosines of so many places from above 0 to 2π.
fn waves(count: usize) -> Vec<Vec<f32>> {
    let place = |index: usize| {
        let whole = count as f32 + 1e-6;
        (index + 1) as f32 / whole * std::f32::consts::TAU
    };
    (0..2 * FREQUENCIES)
        .map(|wave| {
            let period = 10000f32.powf((wave / 2) as f32 / FREQUENCIES as f32);
            let of: fn(f32) -> f32 = if wave % 2 == 0 { f32::sin } else { f32::cos };
            (0..count).map(|index| of(place(index) / period)).collect()
        })
        .collect()
}
