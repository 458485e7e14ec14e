//! Convolutions as sums of matrix products, one for each tap of the kernel.

mod backward;
mod depthwise;
mod forward;
mod grouped;
mod kernels;
mod layouts;

use burn::backend::flex::FlexTensor;

use super::map::{self, Sides};
use super::norm::at_least;
use super::simd::{PANEL, Shared, room, vectorised};
use super::winograd::{self, Use};
use grouped::Blocks;
use kernels::{Factor, transformed};

pub(super) use backward::{input_gradient, kernel_gradient};
pub use kernels::Prepared;
pub(super) use kernels::{Kernels, settled};

/// A square window that moves over a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Window {
    pub fn output(&self, side: usize) -> usize {
        (side + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Where tap `tap` of the first window lies, relative to the map's edge.
    fn offset(&self, tap: usize) -> isize {
        tap as isize - self.padding as isize
    }

    /// The windows, from and to, whose tap `tap` lies inside of a side of `side`.
    pub fn inside(&self, tap: usize, side: usize) -> (usize, usize) {
        let (offset, stride) = (self.offset(tap), self.stride as isize);
        let from = (-offset).div_euclid(stride) + isize::from((-offset).rem_euclid(stride) > 0);
        let to = (side as isize - 1 - offset).div_euclid(stride) + 1;
        let windows = self.output(side);
        let to = to.clamp(0, windows as isize) as usize;
        ((from.max(0) as usize).min(to), to)
    }

    /// The row or column that a window's tap lies on.
    fn place(&self, window: usize, tap: usize) -> isize {
        (window * self.stride) as isize + self.offset(tap)
    }

    /// The window whose tap `tap` lies on this row or column, if there is one among so many.
    fn of(&self, place: usize, tap: usize, windows: usize) -> Option<usize> {
        let above = usize::try_from(place as isize - self.offset(tap)).ok()?;
        let window = above / self.stride;
        (above.is_multiple_of(self.stride) && window < windows).then_some(window)
    }

    fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// Products of each pair of channels over a map, without those with padding.
    fn products(&self, input: Sides) -> usize {
        let inside = |side: usize| -> usize {
            let taps = (0..self.kernel).map(|tap| self.inside(tap, side));
            taps.map(|(from, to)| to - from).sum()
        };
        inside(input.height) * inside(input.width) * input.batch
    }
}

/// Into how many blocks channels are cut so that there is work for many threads. It depends on the
/// shape alone.
fn blocks(tasks: usize, channels: usize) -> usize {
    const ENOUGH: usize = 32;
    const NARROWEST: usize = 64;
    let most = (channels / NARROWEST).max(1);
    ENOUGH.div_ceil(tasks.max(1)).clamp(1, most)
}

/// The channels of a block.
fn block(index: usize, blocks: usize, channels: usize) -> (usize, usize) {
    // In whole panels of packed kernels.
    let size = channels.div_ceil(blocks).next_multiple_of(PANEL);
    (
        (index * size).min(channels),
        ((index + 1) * size).min(channels),
    )
}

/// So few input channels make a product for each tap too thin; then patches are copied.
const FEW: usize = 8;

/// What becomes of each output while it is at hand: `x * scale + shift`, plus the residual, cut off
/// below zero.
pub(super) struct Finish<'a> {
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    /// A map of the output's sides.
    pub residual: Option<&'a [f32]>,
    pub relu: bool,
}

impl Finish<'_> {
    /// Finishes channels `first..` of a row of positions; `start` is where the row begins in the map
    /// and `row` its memory, positions `width` apart.
    fn row(&self, row: Shared, start: usize, rows: usize, width: usize, channels: (usize, usize)) {
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

/// The output, and the kernels in the form that the gradients need as well.
pub(super) fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    window: Window,
    finish: Option<&Finish<'_>>,
    prepared: Option<&Prepared>,
) -> (FlexTensor, Kernels) {
    let kernels = Kernels::new(weight);
    let input = Sides::of(x);
    let output = Sides {
        height: window.output(input.height),
        width: window.output(input.width),
        batch: input.batch,
        channels: kernels.output,
    };
    let values = map::values(x);
    let mut out = room(output.len());
    if kernels.input < input.channels {
        let (x, to) = (&values, &mut out);
        if kernels.is_depthwise(input) {
            depthwise::forward(x, input, kernels.values(), window, output, finish, to);
        } else {
            let once;
            let blocks = match prepared {
                Some(prepared) => prepared.blocks(&kernels, input.channels),
                None => {
                    once = Blocks::new(&kernels, input.channels, false);
                    &once
                }
            };
            grouped::forward(x, input, blocks, window, output, finish, to);
        }
        return (map::tensor(out, output), kernels);
    }
    let whole = output;
    let (input, output) = joined(window, input, output);
    let once;
    let transformed = match prepared {
        Some(prepared) => prepared.transformed(&kernels, window, input, output),
        None => {
            once = transformed(&kernels, Use::Forward, window, input, output);
            once.as_ref()
        }
    };
    if let Some(transformed) = transformed {
        let (x, padding) = (&values, window.padding);
        winograd::forward(x, input, transformed, padding, output, finish, &mut out);
    } else if input.channels <= FEW && kernels.taps > 1 {
        let packed = prepared.and_then(|prepared| prepared.packed(&kernels));
        let factor = Factor::new(&kernels, packed);
        forward::patches(&values, input, factor, window, output, finish, &mut out);
    } else if output.width * output.batch < forward::THIN {
        let packed = prepared.and_then(|prepared| prepared.packed(&kernels));
        let factor = Factor::new(&kernels, packed);
        forward::gathered(&values, input, factor, window, output, finish, &mut out);
    } else {
        // Of several taps each is a matrix of its own.
        let single = prepared.filter(|_| kernels.taps == 1);
        let packed = single.and_then(|prepared| prepared.packed(&kernels));
        let factor = Factor::new(&kernels, packed);
        forward::taps(&values, input, factor, window, output, finish, &mut out);
    }
    (map::tensor(out, whole), kernels)
}

/// Positions that are worth a product of their own.
const LONG: usize = 256;

/// Where each position is a window of its own, rows are no more than a way to divide the work:
/// several short ones become a long one.
fn joined(window: Window, input: Sides, output: Sides) -> (Sides, Sides) {
    let single = Window {
        kernel: 1,
        stride: 1,
        padding: 0,
    };
    if window != single {
        return (input, output);
    }
    let row = input.width * input.batch;
    let divides = |lines: &usize| input.height.is_multiple_of(*lines);
    let mut enough = (1..=input.height)
        .filter(divides)
        .filter(|lines| lines * row >= LONG);
    let lines = enough.next().unwrap_or(input.height).max(1);
    let join = |sides: Sides| Sides {
        height: sides.height / lines,
        width: sides.width * lines,
        ..sides
    };
    (join(input), join(output))
}

/// A tap that lies inside of the map for some windows of a row.
struct Tap {
    /// Its number.
    tap: usize,
    /// The row of the input it lies on.
    y: usize,
    /// Its column in the first window.
    offset: isize,
    /// The windows, from and to, for which it lies inside.
    from: usize,
    to: usize,
}

/// The taps of the windows of one row of the output, first those that all windows have.
fn taps_of_row(window: &Window, y: usize, input: Sides, width: usize) -> Vec<Tap> {
    let mut taps = Vec::with_capacity(window.taps());
    for ky in 0..window.kernel {
        let place = window.place(y, ky);
        if place < 0 || place >= input.height as isize {
            continue;
        }
        for kx in 0..window.kernel {
            let (from, to) = window.inside(kx, input.width);
            if from < to {
                taps.push(Tap {
                    tap: ky * window.kernel + kx,
                    y: place as usize,
                    offset: window.offset(kx),
                    from,
                    to,
                });
            }
        }
    }
    taps.sort_by_key(|tap| tap.to - tap.from != width);
    taps
}

/// The sum of what tasks have found, in their order.
fn sum(parts: Vec<Vec<f32>>) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_default();
    for part in parts {
        for (sum, value) in sum.iter_mut().zip(part) {
            *sum += value;
        }
    }
    sum
}
