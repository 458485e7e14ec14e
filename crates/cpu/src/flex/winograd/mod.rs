//! Winograd's minimal filtering for 3x3 kernels of stride 1: Lavin & Gray, "Fast Algorithms for
//! Convolutional Neural Networks", CVPR 2016, <https://arxiv.org/abs/1509.09308>.
//!
//! A tile of 2x2 outputs takes 16 products in place of 36, one of 4x4 takes 36 in place of 144; the
//! transforms around them are additions. Each place of a transformed tile is one matrix product over
//! all tiles.
mod filter;
mod forward;
mod gradient;
mod kernels;

use super::map::Sides;
use super::simd::Shared;
use filter::{Filter, LANES, Lanes};

pub(super) use forward::forward;
pub(super) use gradient::kernel_gradient;
pub(super) use kernels::{Transformed, Use};

/// Whether channels come in whole lanes.
fn whole(channels: usize) -> bool {
    channels.is_multiple_of(LANES)
}

/// What transformed kernels cost, in products of a tile: those that are only read, and those that are
/// made for one use.
const READ: usize = 12;
const MADE: usize = 44;

/// The tiles that are trained with. The larger one rounds ten times as coarsely as a plain product
/// (1e-6 to 1e-5 of the largest value); where activations lie next to a ReLU's edge that is enough to
/// move single gradients by some thousandths.
const TRAINING: &[usize] = &[2];

/// The tile with the fewest products, if they are clearly fewer than the `direct` ones. The kernels
/// themselves count as products, too: as many as take the time to write or read them.
fn best_tile(of: &[usize], kernels: usize, direct: usize, output: Sides) -> Option<usize> {
    let tiles = |m: usize| output.height.div_ceil(m) * output.width.div_ceil(m) * output.batch;
    // Products of each pair of channels, those for outputs beyond the edge included.
    let products = |m: &usize| (tiles(*m) + kernels) * (m + 2) * (m + 2);
    let pays = |m: &usize| products(m) * 4 < direct * 3;
    of.iter().copied().filter(pays).min_by_key(products)
}

/// Tiles that are transformed, multiplied and transformed back together.
const TOGETHER: usize = 512;

/// A map whose tiles overlap.
struct View<'a> {
    x: &'a [f32],
    sides: Sides,
    padding: usize,
}

impl View<'_> {
    /// Transforms a tile for all images.
    #[inline(always)]
    fn transform<F: Filter<M, T>, const M: usize, const T: usize>(
        &self,
        (ty, tx): (usize, usize),
        to: Shared,
        row: usize,
        rows: usize,
    ) {
        let Sides { height, width, .. } = self.sides;
        let (batch, channels) = (self.sides.batch, self.sides.channels);
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
