//! What follows a convolution, done while its output is in the cache.

use super::simd::{Shared, at_least, vectorised};

/// `max(0, x * scale + shift + residual)`, with numbers for each channel; without ReLU, there is no
/// maximum.
pub struct ChannelEpilogue<'a> {
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    /// A map of the output's shape.
    pub residual: Option<&'a [f32]>,
    pub relu: bool,
}

impl ChannelEpilogue<'_> {
    /// Applies it to channels `first..` of a row of positions; `start` is where the row begins in the map
    /// and `row` its memory, positions `width` apart.
    pub fn apply_to_row(
        &self,
        row: Shared,
        start: usize,
        rows: usize,
        width: usize,
        channels: (usize, usize),
    ) {
        let (first, last) = channels;
        let (scale, shift) = (&self.scale[first..last], &self.shift[first..last]);
        let floor = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        vectorised(
            #[inline(always)]
            || {
                for place in 0..rows {
                    let at = start + place * width + first;
                    // SAFETY: the caller alone writes these channels of these positions.
                    let out = unsafe { std::slice::from_raw_parts_mut(row.at(at), last - first) };
                    match self.residual {
                        None => {
                            for ((out, scale), shift) in out.iter_mut().zip(scale).zip(shift) {
                                *out = at_least(*out * scale + shift, floor);
                            }
                        }
                        Some(residual) => {
                            let residual = &residual[at..at + (last - first)];
                            let affine = scale.iter().zip(shift).zip(residual);
                            for (out, ((scale, shift), r)) in out.iter_mut().zip(affine) {
                                *out = at_least(*out * scale + shift + r, floor);
                            }
                        }
                    }
                }
            },
        );
    }
}
