//! Rotary position embeddings (Su et al., "RoFormer", 2021, <https://arxiv.org/abs/2104.09864>) of
//! places in a grid.

use std::sync::Arc;

use burn::tensor::{FloatDType, Tensor, TensorData};

/// How the places of a grid become angles, and which features turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotaryKind {
    /// Rows and columns are counted from 0 in steps of `side / count`, as if the grid had so many of
    /// each; the slowest turn is 10000 times slower than the fastest. A feature turns with its
    /// neighbour. timm's `RotaryEmbeddingCat`.
    Counted {
        /// Rows, and columns, of the grid that the network was trained with.
        side: usize,
    },
    /// Rows and columns, each in its middle, lie between -2π and 2π; the slowest turn is 100 times
    /// slower than the fastest. A feature turns with that which is half a head further. timm's
    /// `RotaryEmbeddingDinoV3`.
    Centred,
}

impl RotaryKind {
    /// Where along the grid a row or a column is.
    fn place(self, index: usize, count: usize) -> f32 {
        let (index, count) = (index as f32, count as f32);
        match self {
            Self::Counted { side } => index / count * side as f32,
            Self::Centred => (2.0 * ((index + 0.5) / count) - 1.0) * std::f32::consts::TAU,
        }
    }

    fn slowest(self) -> f32 {
        match self {
            Self::Counted { .. } => 10000.0,
            Self::Centred => 100.0,
        }
    }
}

/// Turns the features of queries and keys in pairs, by angles that say where in a grid a token is:
/// half of the pairs of a head by its row, and half by its column. How well a query and a key fit
/// then depends on where they are to each other.
#[derive(Debug, Clone)]
pub struct Rotary {
    kind: RotaryKind,
    /// Cosines and sines, each `[tokens, pairs]`.
    tables: [Arc<[f32]>; 2],
    pairs: usize,
}

impl Rotary {
    /// For `[rows, columns]` tokens, before which there are `prefix` that do not turn, and for heads
    /// of so many features, a multiple of four.
    pub fn new(kind: RotaryKind, [rows, columns]: [usize; 2], head: usize, prefix: usize) -> Self {
        let speeds = head / 4;
        let speed = |index| 1.0 / kind.slowest().powf(index as f32 / speeds as f32);
        let speeds: Vec<f32> = (0..speeds).map(speed).collect();
        let turns = |place: f32| speeds.iter().map(move |speed| place * speed);
        let mut angles = vec![0.0; prefix * 2 * speeds.len()];
        for row in 0..rows {
            for column in 0..columns {
                angles.extend(turns(kind.place(row, rows)));
                angles.extend(turns(kind.place(column, columns)));
            }
        }
        let table = |of: fn(f32) -> f32| angles.iter().copied().map(of).collect();
        Self {
            kind,
            tables: [table(f32::cos), table(f32::sin)],
            pairs: 2 * speeds.len(),
        }
    }

    /// Features of a head.
    pub fn head(&self) -> usize {
        2 * self.pairs
    }

    /// Turns the features of all heads.
    ///
    /// # Shapes
    /// - x and output: `[batch, tokens, heads * head]`, of any number of heads
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, width] = x.dims();
        let (pairs, heads) = (self.pairs, width / (2 * self.pairs));
        // A pair is in this dimension.
        let (dim, split, table) = match self.kind {
            RotaryKind::Counted { .. } => (
                4,
                [batch, tokens, heads, pairs, 2],
                [1, tokens, 1, pairs, 1],
            ),
            RotaryKind::Centred => (
                3,
                [batch, tokens, heads, 2, pairs],
                [1, tokens, 1, 1, pairs],
            ),
        };
        let [cos, sin] = self.tables.each_ref().map(|values| {
            Tensor::<5>::from_data(TensorData::new(values.to_vec(), table), &x.device())
        });
        // The angles have 32 bits, and so has the turn.
        let dtype = x.dtype();
        let x = x.cast(FloatDType::F32).reshape(split);
        let [a, b] = [0, 1].map(|half| x.clone().narrow(dim, half, 1));
        let turned = vec![
            a.clone() * cos.clone() - b.clone() * sin.clone(),
            b * cos + a * sin,
        ];
        Tensor::cat(turned, dim)
            .reshape([batch, tokens, width])
            .cast(dtype)
    }
}
