//! Feature maps in square windows, as attention within windows takes them (Liu et al., "Swin
//! Transformer", 2021, <https://arxiv.org/abs/2103.14030>).

use std::sync::Arc;

use burn::tensor::ops::PadMode;
use burn::tensor::{Int, Tensor, TensorData};

/// How a square grid is divided into windows.
#[derive(Debug, Clone)]
pub struct Windows {
    grid: usize,
    side: usize,
    shift: usize,
    /// For each two positions of a window, the row of a table that has their offset.
    offsets: Arc<[i64]>,
    /// For each window and each two of its positions, what is added to their score; nothing where
    /// nothing is shifted.
    mask: Arc<[f32]>,
}

impl Windows {
    /// Windows of `side` positions, moved to the right and down by `shift`; what hangs over begins
    /// anew on the other side. A grid that is no larger than a window is a window itself, and
    /// nothing is shifted then.
    pub fn new(grid: usize, side: usize, shift: usize) -> Self {
        let shift = if grid > side { shift } else { 0 };
        let side = grid.min(side);
        let mask = if shift > 0 {
            mask(grid, side, shift)
        } else {
            Vec::new()
        };
        Self {
            grid,
            side,
            shift,
            offsets: offsets(side).into(),
            mask: mask.into(),
        }
    }

    /// Rows of a table with a row for each offset between two positions of a window.
    pub fn num_offsets(&self) -> usize {
        (2 * self.side - 1).pow(2)
    }

    /// Cuts maps into windows, with zeros to the right and below where they are not whole.
    ///
    /// # Shapes
    /// - maps: `[batch, grid, grid, channels]`
    /// - output: `[batch * windows, side * side, channels]`
    pub fn split(&self, maps: Tensor<4>) -> Tensor<3> {
        let [batch, height, width, channels] = maps.dims();
        let (padded, side) = (self.padded(), self.side);
        let mut maps = maps;
        if self.shift > 0 {
            maps = maps.roll(&[-(self.shift as i64); 2], &[1, 2]);
        }
        // The zeros are not shifted; timm's order.
        if padded > self.grid {
            let zeros = [(0, padded - height), (0, padded - width), (0, 0)];
            maps = maps.pad(zeros, PadMode::Constant(0.0));
        }
        let n = padded / side;
        let windows = maps.reshape([batch, n, side, n, side, channels]);
        let windows = windows.permute([0, 1, 3, 2, 4, 5]);
        windows.reshape([batch * n * n, side * side, channels])
    }

    /// Puts together what [`split`](Self::split) cut.
    ///
    /// # Shapes
    /// - windows: `[batch * windows, side * side, channels]`
    /// - output: `[batch, grid, grid, channels]`
    pub fn join(&self, windows: Tensor<3>) -> Tensor<4> {
        let (padded, side) = (self.padded(), self.side);
        let n = padded / side;
        let [all, _, channels] = windows.dims();
        let maps = windows.reshape([all / (n * n), n, n, side, side, channels]);
        let maps = maps.permute([0, 1, 3, 2, 4, 5]);
        let maps = maps.reshape([all / (n * n), padded, padded, channels]);
        let maps = maps.slice([0..all / (n * n), 0..self.grid, 0..self.grid]);
        if self.shift > 0 {
            maps.roll(&[self.shift as i64; 2], &[1, 2])
        } else {
            maps
        }
    }

    /// What is added to the scores of attention: a bias for each offset, and -100 between positions
    /// that come from opposite sides of the grid.
    ///
    /// # Shapes
    /// - table: `[num_offsets, heads]`
    /// - output: `[windows, heads, side * side, side * side]`; 1 in place of the windows where
    ///   nothing is shifted
    pub fn bias(&self, table: Tensor<2>) -> Tensor<4> {
        let heads = table.dims()[1];
        let length = self.side.pow(2);
        let device = table.device();
        let rows = TensorData::new(self.offsets.to_vec(), [length * length]);
        let bias = table.select(0, Tensor::<1, Int>::from_data(rows, &device));
        let bias = bias.reshape([length, length, heads]).permute([2, 0, 1]);
        let bias = bias.reshape([1, heads, length, length]);
        if self.shift == 0 {
            return bias;
        }
        let mask = self.mask.to_vec();
        let shape = [mask.len() / (length * length), 1, length, length];
        let mask = Tensor::<4>::from_data(TensorData::new(mask, shape), &device);
        bias + mask
    }

    /// Positions on a side of the windows together.
    fn padded(&self) -> usize {
        self.grid.next_multiple_of(self.side)
    }
}

/// For each two positions of a window, the row of the table that has their offset.
fn offsets(side: usize) -> Vec<i64> {
    let positions = || (0..side * side).map(|i| [i / side, i % side]);
    let row = |[y, x]: [usize; 2], [other_y, other_x]: [usize; 2]| {
        (y + side - 1 - other_y) * (2 * side - 1) + (x + side - 1 - other_x)
    };
    positions()
        .flat_map(|a| positions().map(move |b| row(a, b) as i64))
        .collect()
}

/// For each window and each two of its positions 0, or -100 where they come from opposite sides of
/// the grid.
fn mask(grid: usize, side: usize, shift: usize) -> Vec<f32> {
    let padded = grid.next_multiple_of(side);
    // Which of the parts that belong together a row or a column of the shifted grid is in.
    let part = |at: usize| usize::from(at >= padded - side) + usize::from(at >= padded - shift);
    let n = padded / side;
    let mut mask = Vec::with_capacity(n * n * side.pow(4));
    for window in 0..n * n {
        let (top, left) = (window / n * side, window % n * side);
        let parts: Vec<[usize; 2]> = (0..side * side)
            .map(|i| [part(top + i / side), part(left + i % side)])
            .collect();
        for a in &parts {
            mask.extend(parts.iter().map(|b| if a == b { 0.0 } else { -100.0 }));
        }
    }
    mask
}
