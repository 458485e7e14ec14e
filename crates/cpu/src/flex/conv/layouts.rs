//! Maps as the taps of a window meet them.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::flex::feature_map::MapShape;
use crate::flex::simd::uninitialized;
use crate::flex::window::Window;

/// With so few input channels a product for each tap is too thin; then patches are copied.
pub const FEW_CHANNELS: usize = 8;

/// A map whose columns are sorted by their remainder modulo the stride, so that the columns under a
/// tap of all windows of a row are neighbours: `[height][remainder][column][batch][channels]`.
pub struct Columns<'a> {
    pub values: Cow<'a, [f32]>,
    stride: usize,
    /// Columns of a remainder, those that are missing at the end included.
    columns: usize,
    position: usize,
}

impl<'a> Columns<'a> {
    pub fn new(values: &'a [f32], shape: MapShape, window: Window) -> Self {
        let stride = window.stride;
        let columns = shape.width.div_ceil(stride);
        let position = shape.position();
        let values = match stride {
            1 => Cow::Borrowed(values),
            _ => {
                let mut sorted = uninitialized(shape.height * stride * columns * position);
                // A kernel smaller than the stride steps over rows and columns.
                let needed = |place: usize| {
                    let taps = 0..window.kernel as isize;
                    let stride = stride as isize;
                    taps.map(|tap| tap - window.padding as isize)
                        .any(|offset| offset.rem_euclid(stride) == place as isize % stride)
                };
                sorted
                    .par_chunks_mut((stride * columns * position).max(1))
                    .zip(values.par_chunks((shape.width * position).max(1)))
                    .enumerate()
                    .filter(|(y, _)| needed(*y))
                    .for_each(|(_, (out, row))| {
                        for (place, out) in out.chunks_exact_mut(position).enumerate() {
                            if !needed(place / columns) {
                                continue;
                            }
                            let column = place % columns * stride + place / columns;
                            match row.get(column * position..(column + 1) * position) {
                                Some(from) => out.copy_from_slice(from),
                                None => out.fill(0.0),
                            }
                        }
                    });
                Cow::Owned(sorted)
            }
        };
        Self {
            values,
            stride,
            columns,
            position,
        }
    }

    /// Where the columns under a tap begin, at an offset from the first window's first tap.
    pub fn start(&self, y: usize, offset: isize, window: usize) -> usize {
        let stride = self.stride as isize;
        let remainder = offset.rem_euclid(stride) as usize;
        let column = (window as isize + offset.div_euclid(stride)) as usize;
        ((y * self.stride + remainder) * self.columns + column) * self.position
    }
}

/// A map of few channels whose channels are apart and whose columns are sorted by their remainder
/// modulo the stride, `[height][channel][remainder][column][batch]`: what a tap meets in one channel
/// under all windows of a row lies side by side.
pub struct Planes {
    values: Vec<f32>,
    input: MapShape,
    window: Window,
    /// Columns of a remainder, those that are missing at the end included.
    columns: usize,
}

impl Planes {
    pub fn new(x: &[f32], input: MapShape, window: Window) -> Self {
        let columns = input.width.div_ceil(window.stride);
        let (batch, channels) = (input.batch, input.channels);
        let plane = window.stride * columns * batch;
        let mut values = uninitialized(input.height * channels * plane);
        values
            .par_chunks_mut((channels * plane).max(1))
            .zip(x.par_chunks(input.row().max(1)))
            .for_each(|(out, row)| {
                for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
                    for (place, out) in out.chunks_exact_mut(batch).enumerate() {
                        let column = place % columns * window.stride + place / columns;
                        match row.get(column * batch * channels..(column + 1) * batch * channels) {
                            None => out.fill(0.0),
                            Some(from) => {
                                let from = from[channel..].iter().step_by(channels);
                                out.iter_mut()
                                    .zip(from)
                                    .for_each(|(out, from)| *out = *from);
                            }
                        }
                    }
                }
            });
        Self {
            values,
            input,
            window,
            columns,
        }
    }

    /// The patches under the windows of one row, `[tap][in][window][batch]`.
    pub fn patches(&self, y: usize, width: usize, out: &mut [f32]) {
        let (window, input) = (self.window, self.input);
        let rows = width * input.batch;
        let stride = window.stride as isize;
        for tap in 0..window.taps() {
            let (ky, kx) = (tap / window.kernel, tap % window.kernel);
            let out = &mut out[tap * input.channels * rows..(tap + 1) * input.channels * rows];
            let row = window.place(y, ky);
            let (from, to) = if (0..input.height as isize).contains(&row) {
                window.inside(kx, input.width)
            } else {
                (0, 0)
            };
            if from == to {
                out.fill(0.0);
                continue;
            }
            let offset = window.offset(kx);
            let remainder = offset.rem_euclid(stride) as usize;
            let column = (from as isize + offset.div_euclid(stride)) as usize;
            for (channel, out) in out.chunks_exact_mut(rows).enumerate() {
                let plane = row as usize * input.channels + channel;
                let line = plane * window.stride + remainder;
                let start = (line * self.columns + column) * input.batch;
                let len = (to - from) * input.batch;
                let (left, rest) = out.split_at_mut(from * input.batch);
                left.fill(0.0);
                rest[..len].copy_from_slice(&self.values[start..start + len]);
                rest[len..].fill(0.0);
            }
        }
    }
}
