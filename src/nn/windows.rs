//! Feature maps in windows, as attention within windows takes them (Liu et al., "Swin Transformer",
//! 2021, <https://arxiv.org/abs/2103.14030>).

use std::sync::Arc;

use burn::tensor::ops::PadMode;
use burn::tensor::{Int, Tensor, TensorData};

/// How a map is divided into windows.
///
/// Sides are `[height, width]` throughout, and maps have their channels last.
#[derive(Debug, Clone)]
pub struct Windows {
    /// Positions on the sides of a window.
    sides: [usize; 2],
    shift: [usize; 2],
    is_spread: bool,
    /// For each position of each window the part of the map that it comes from; nothing where nothing
    /// is shifted.
    parts: Arc<[f32]>,
}

impl Windows {
    /// Windows of these sides on a map of any size. Where they are not whole, there are zeros below
    /// and to the right.
    pub fn new(sides: [usize; 2]) -> Self {
        Self {
            sides,
            shift: [0; 2],
            is_spread: false,
            parts: Arc::default(),
        }
    }

    /// The same, but a window consists of positions as far apart from each other as there are windows
    /// on a side: it sees the whole map (Tu et al., "MaxViT", 2022, <https://arxiv.org/abs/2204.01697>).
    pub fn spread(sides: [usize; 2]) -> Self {
        Self {
            is_spread: true,
            ..Self::new(sides)
        }
    }

    /// Windows on a map that has the sides `grid`, moved down and to the right by `shift`; what hangs
    /// over begins anew on the other side. A side of the map that is no longer than that of a window
    /// is the window's, and is not shifted.
    pub fn shifted(grid: [usize; 2], sides: [usize; 2], shift: [usize; 2]) -> Self {
        let shift = [0, 1].map(|dim| {
            if grid[dim] > sides[dim] {
                shift[dim]
            } else {
                0
            }
        });
        let sides = [0, 1].map(|dim| grid[dim].min(sides[dim]));
        let windows = Self {
            shift,
            ..Self::new(sides)
        };
        let parts = match shift {
            [0, 0] => Vec::new(),
            _ => windows.parts(grid),
        };
        Self {
            parts: parts.into(),
            ..windows
        }
    }

    /// Positions on the sides of a window.
    pub fn sides(&self) -> [usize; 2] {
        self.sides
    }

    /// Rows of a table with a row for each offset between two positions of a window.
    pub fn num_offsets(&self) -> usize {
        let [height, width] = self.sides;
        (2 * height - 1) * (2 * width - 1)
    }

    /// Entries of a table with one for each distance between two positions of a window: the offset
    /// without its signs.
    pub fn num_distances(&self) -> usize {
        self.sides.iter().product()
    }

    /// Cuts maps into windows.
    ///
    /// # Shapes
    /// - maps: `[batch, height, width, channels]`
    /// - output: `[batch * windows, positions, channels]`
    pub fn split(&self, maps: Tensor<4>) -> Tensor<3> {
        let [batch, height, width, channels] = maps.dims();
        let [side_y, side_x] = self.sides;
        let padded = self.padded([height, width]);
        let mut maps = maps;
        if self.shift != [0; 2] {
            maps = maps.roll(&self.shift.map(|shift| -(shift as i64)), &[1, 2]);
        }
        // The zeros are not shifted; timm's order.
        if padded != [height, width] {
            let zeros = [(0, padded[0] - height), (0, padded[1] - width), (0, 0)];
            maps = maps.pad(zeros, PadMode::Constant(0.0));
        }
        let [rows, columns] = [padded[0] / side_y, padded[1] / side_x];
        let windows = if self.is_spread {
            let maps = maps.reshape([batch, side_y, rows, side_x, columns, channels]);
            maps.permute([0, 2, 4, 1, 3, 5])
        } else {
            let maps = maps.reshape([batch, rows, side_y, columns, side_x, channels]);
            maps.permute([0, 1, 3, 2, 4, 5])
        };
        windows.reshape([batch * rows * columns, side_y * side_x, channels])
    }

    /// Puts maps of these sides together that [`split`](Self::split) cut.
    ///
    /// # Shapes
    /// - windows: `[batch * windows, positions, channels]`
    /// - output: `[batch, height, width, channels]`
    pub fn join(&self, windows: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
        let [all, _, channels] = windows.dims();
        let [side_y, side_x] = self.sides;
        let padded = self.padded([height, width]);
        let [rows, columns] = [padded[0] / side_y, padded[1] / side_x];
        let batch = all / (rows * columns);
        let maps = windows.reshape([batch, rows, columns, side_y, side_x, channels]);
        let maps = if self.is_spread {
            maps.permute([0, 3, 1, 4, 2, 5])
        } else {
            maps.permute([0, 1, 3, 2, 4, 5])
        };
        let mut maps = maps.reshape([batch, padded[0], padded[1], channels]);
        if padded != [height, width] {
            maps = maps.slice([0..batch, 0..height, 0..width]);
        }
        if self.shift != [0; 2] {
            maps = maps.roll(&self.shift.map(|shift| shift as i64), &[1, 2]);
        }
        maps
    }

    /// What is added to the scores of attention, by a table with a row for each offset between two
    /// positions, masked where windows are shifted.
    ///
    /// # Shapes
    /// - table: `[num_offsets, heads]`, the rows in the order of [`offsets`](Self::offsets)
    /// - output: `[windows, heads, positions, positions]`; 1 in place of the windows where nothing is
    ///   shifted
    pub fn bias(&self, table: Tensor<2>) -> Tensor<4> {
        let [height, width] = self.sides.map(|side| side as i64);
        let row = |[y, x]: [i64; 2]| (y + height - 1) * (2 * width - 1) + x + width - 1;
        let rows = self.pairs().map(row).collect();
        self.bias_of_pairs(select(table, 0, rows))
    }

    /// The same by what is to be added for each two positions.
    ///
    /// # Shapes
    /// - biases: `[positions * positions, heads]`, in the order of [`pairs`](Self::pairs)
    /// - output: as that of [`bias`](Self::bias)
    pub fn bias_of_pairs(&self, biases: Tensor<2>) -> Tensor<4> {
        let (length, heads) = (self.num_distances(), biases.dims()[1]);
        let bias = biases
            .reshape([length, length, heads])
            .permute([2, 0, 1])
            .reshape([1, heads, length, length]);
        self.masked(bias)
    }

    /// The same by a table with an entry for each distance between two positions.
    ///
    /// # Shapes
    /// - table: `[heads, num_distances]`, rows of a window changing slower than columns
    /// - output: as that of [`bias`](Self::bias)
    pub fn bias_of_distances(&self, table: Tensor<2>) -> Tensor<4> {
        let (length, heads) = (self.num_distances(), table.dims()[0]);
        let width = self.sides[1] as i64;
        let entries = self.pairs().map(|[y, x]| y.abs() * width + x.abs());
        let bias = select(table, 1, entries.collect());
        self.masked(bias.reshape([1, heads, length, length]))
    }

    /// -100 more between positions that come from opposite sides of the map.
    fn masked(&self, bias: Tensor<4>) -> Tensor<4> {
        if self.parts.is_empty() {
            return bias;
        }
        let length = self.num_distances();
        let shape = [self.parts.len() / length, 1, 1, length];
        let parts = TensorData::new(self.parts.to_vec(), shape);
        let parts = Tensor::<4>::from_data(parts, &bias.device());
        let is_apart = (parts.clone().swap_dims(2, 3) - parts).abs().clamp_max(1.0);
        bias - is_apart * 100.0
    }

    /// Every offset between two positions of a window, the rows before the columns.
    pub fn offsets(&self) -> impl Iterator<Item = [i64; 2]> + use<> {
        let [height, width] = self.sides.map(|side| side as i64);
        (1 - height..height).flat_map(move |y| (1 - width..width).map(move |x| [y, x]))
    }

    /// For each two positions of a window the offset to the first from the second, which changes
    /// faster.
    pub fn pairs(&self) -> impl Iterator<Item = [i64; 2]> + use<> {
        let (length, width) = (self.num_distances(), self.sides[1]);
        let positions =
            move || (0..length).map(move |at| [at / width, at % width].map(|at| at as i64));
        positions().flat_map(move |[y, x]| {
            positions().map(move |[other_y, other_x]| [y - other_y, x - other_x])
        })
    }

    /// Sides of a map of these sides whose windows are whole.
    fn padded(&self, map: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|dim| map[dim].next_multiple_of(self.sides[dim]))
    }

    /// For each position of each window the number of the part that it comes from of a map of these sides.
    /// What began anew on the other side is another part than what it came to lie beside.
    fn parts(&self, grid: [usize; 2]) -> Vec<f32> {
        let padded = self.padded(grid);
        let [side_y, side_x] = self.sides;
        let part = |dim: usize, at: usize| {
            let end = padded[dim];
            let is_shifted = self.shift[dim] > 0;
            let parts = [at >= end - self.sides[dim], at >= end - self.shift[dim]];
            parts.into_iter().filter(|is| *is && is_shifted).count()
        };
        let mut parts = Vec::with_capacity(padded[0] * padded[1]);
        for top in (0..padded[0]).step_by(side_y) {
            for left in (0..padded[1]).step_by(side_x) {
                parts.extend((0..side_y * side_x).map(|i| {
                    let [y, x] = [part(0, top + i / side_x), part(1, left + i % side_x)];
                    (3 * y + x) as f32
                }));
            }
        }
        parts
    }
}

/// Each 2 x 2 neighbours as one position, their channels one behind the other: those above each other
/// first. A side that is odd gets zeros.
///
/// # Shapes
/// - maps: `[batch, height, width, channels]`
/// - output: `[batch, height / 2, width / 2, 4 * channels]`, rounded up
pub fn merge_neighbours(maps: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = maps.dims();
    let mut maps = maps;
    if height % 2 + width % 2 > 0 {
        let zeros = [(0, height % 2), (0, width % 2), (0, 0)];
        maps = maps.pad(zeros, PadMode::Constant(0.0));
    }
    let [rows, columns] = [height.div_ceil(2), width.div_ceil(2)];
    maps.reshape([batch, rows, 2, columns, 2, channels])
        .permute([0, 1, 3, 4, 2, 5])
        .reshape([batch, rows, columns, 4 * channels])
}

/// Rows or columns of a table.
fn select(table: Tensor<2>, dim: usize, indices: Vec<i64>) -> Tensor<2> {
    let length = indices.len();
    let indices = TensorData::new(indices, [length]);
    let indices = Tensor::<1, Int>::from_data(indices, &table.device());
    table.select(dim, indices)
}
