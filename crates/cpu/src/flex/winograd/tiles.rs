//! Tiles of a map, and when they pay.

use super::filter::{Filter, LANES, Lanes};
use crate::flex::feature_map::MapShape;
use crate::flex::simd::Shared;

/// Whether channels come in whole lanes.
pub fn in_whole_lanes(channels: usize) -> bool {
    channels.is_multiple_of(LANES)
}

/// What transformed kernels cost, in products of a tile: to read them, and to make them for one use.
pub const READ_COST: usize = 12;
pub const MAKE_COST: usize = 44;

/// The tiles that are trained with. The larger one rounds ten times as coarsely as a plain product
/// (1e-6 to 1e-5 of the largest value); where activations lie next to a ReLU's edge that is enough to
/// move single gradients by some thousandths.
pub const TRAINING_TILES: &[usize] = &[2];

/// The tile with the fewest products, if they are clearly fewer than the `direct` ones. The kernels
/// themselves count as products, too: as many as take the time to write or read them.
pub fn best_tile(
    tiles: &[usize],
    kernels: usize,
    direct: usize,
    output: MapShape,
) -> Option<usize> {
    let count = |m: usize| output.height.div_ceil(m) * output.width.div_ceil(m) * output.batch;
    // Products of each pair of channels, those for outputs beyond the edge included.
    let products = |m: &usize| (count(*m) + kernels) * (m + 2) * (m + 2);
    let pays = |m: &usize| products(m) * 4 < direct * 3;
    tiles.iter().copied().filter(pays).min_by_key(products)
}

/// Tiles that are transformed, multiplied and transformed back together.
pub const TILES_AT_ONCE: usize = 512;

/// A map as overlapping tiles.
pub struct InputTiles<'a> {
    pub x: &'a [f32],
    pub shape: MapShape,
    pub padding: usize,
}

impl InputTiles<'_> {
    /// Transforms a tile for all images.
    #[inline(always)]
    pub fn transform<F: Filter<M, T>, const M: usize, const T: usize>(
        &self,
        (ty, tx): (usize, usize),
        to: Shared,
        row: usize,
        rows: usize,
    ) {
        let MapShape { height, width, .. } = self.shape;
        let (batch, channels) = (self.shape.batch, self.shape.channels);
        // Where the tile's places lie in the map, if they do.
        let at = |y: usize, x: usize| -> Option<usize> {
            let y = (ty * M + y).checked_sub(self.padding)?;
            let x = (tx * M + x).checked_sub(self.padding)?;
            (y < height && x < width).then(|| (y * width + x) * batch * channels)
        };
        let mut places = [[None; T]; T];
        for (y, row) in places.iter_mut().enumerate() {
            for (x, place) in row.iter_mut().enumerate() {
                *place = at(y, x);
            }
        }
        for n in 0..batch {
            for c in (0..channels).step_by(LANES) {
                let mut d = [[Lanes::ZERO; T]; T];
                for (row, places) in d.iter_mut().zip(&places) {
                    let mut line = [Lanes::ZERO; T];
                    for (value, place) in line.iter_mut().zip(places) {
                        if let Some(start) = place {
                            let from = start + n * channels + c;
                            // SAFETY: inside of the map.
                            *value = unsafe { Lanes::load(self.x.as_ptr().add(from)) };
                        }
                    }
                    *row = F::input(line);
                }
                for x in 0..T {
                    let mut column = [Lanes::ZERO; T];
                    for (value, row) in column.iter_mut().zip(&d) {
                        *value = row[x];
                    }
                    for (y, value) in F::input(column).into_iter().enumerate() {
                        let place = (y * T + x) * rows + row + n;
                        // SAFETY: inside, and these rows are this task's alone.
                        unsafe { value.store(to.at(place * channels + c)) };
                    }
                }
            }
        }
    }
}
