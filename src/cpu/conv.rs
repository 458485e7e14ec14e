//! Convolutions as sums of matrix products, one for each tap of the kernel.

use std::borrow::Cow;
use std::sync::OnceLock;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};
use rayon::prelude::*;

use super::map::{self, Sides};
use super::norm::at_least;
use super::simd::{Matrix, PANEL, Packed, Shared, product, room, vectorised};
use super::winograd::{self, Transformed, Use};

/// A square window that moves over a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
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

/// Kernels as `[tap][in][out]`.
#[derive(Debug, Clone)]
pub(super) struct Kernels {
    values: Memory,
    pub input: usize,
    pub output: usize,
    pub taps: usize,
}

/// Numbers of our own, or a tensor that lies right already.
#[derive(Debug, Clone)]
enum Memory {
    Own(Vec<f32>),
    Tensor(FlexTensor),
}

/// Channels of a block that is turned around at once.
const BLOCK: usize = 16;

impl Kernels {
    /// From `[out, in, k, k]` in any layout.
    pub fn new(weight: &FlexTensor) -> Self {
        let shape = weight.layout().shape();
        let (output, input, taps) = (shape[0], shape[1], shape[2] * shape[3]);
        let ours = strides([output, input, shape[2]]);
        let lies_right =
            (0..4).all(|axis| shape[axis] == 1 || weight.layout().strides()[axis] == ours[axis]);
        let values = match lies_right {
            true => Memory::Tensor(weight.clone()),
            false => {
                let weight: Cow<'_, FlexTensor> = match weight.is_contiguous() {
                    true => Cow::Borrowed(weight),
                    false => Cow::Owned(weight.to_contiguous()),
                };
                let start = weight.layout().start_offset();
                let from = &weight.storage::<f32>()[start..];
                Memory::Own(turned(from, [output, input, taps]))
            }
        };
        Self {
            values,
            input,
            output,
            taps,
        }
    }

    pub fn values(&self) -> &[f32] {
        let len = self.input * self.output * self.taps;
        match &self.values {
            Memory::Own(values) => values,
            Memory::Tensor(tensor) => {
                let start = tensor.layout().start_offset();
                &tensor.storage::<f32>()[start..start + len]
            }
        }
    }
}

/// Kernels `[out, in, k, k]` that lie as `[k][k][in][out]`.
pub(super) fn settled(weight: &FlexTensor) -> FlexTensor {
    let shape = weight.layout().shape();
    if shape[2] != shape[3] || shape.num_elements() == 0 {
        return weight.clone();
    }
    let shape = [shape[0], shape[1], shape[2]];
    match Kernels::new(weight).values {
        Memory::Own(values) => kernels(values, shape),
        Memory::Tensor(tensor) => tensor,
    }
}

/// `[out][in][tap]` as `[tap][in][out]`.
fn turned(from: &[f32], [output, input, taps]: [usize; 3]) -> Vec<f32> {
    let mut values = room(output * input * taps);
    let to = Shared::new(&mut values);
    // A block reads whole runs of kernels, and writes runs of outputs.
    (0..input.div_ceil(BLOCK))
        .into_par_iter()
        .for_each(|block| {
            let ins = block * BLOCK..((block + 1) * BLOCK).min(input);
            for outs in (0..output).step_by(BLOCK) {
                let outs = outs..(outs + BLOCK).min(output);
                for tap in 0..taps {
                    for i in ins.clone() {
                        for o in outs.clone() {
                            // SAFETY: inside, and each block of inputs belongs to one thread.
                            unsafe {
                                *to.at((tap * input + i) * output + o) =
                                    *from.get_unchecked((o * input + i) * taps + tap);
                            }
                        }
                    }
                }
            }
        });
    values
}

/// The strides of `[out, in, k, k]` over `[k][k][in][out]`.
fn strides([output, input, kernel]: [usize; 3]) -> [isize; 4] {
    let tap = input * output;
    [1, output, kernel * tap, tap].map(|stride| stride as isize)
}

/// Values `[tap][in][out]` as a tensor `[out, in, k, k]`.
fn kernels(values: Vec<f32>, [output, input, kernel]: [usize; 3]) -> FlexTensor {
    let shape = Shape::from([output, input, kernel, kernel]);
    let layout = Layout::new(shape, strides([output, input, kernel]).to_vec(), 0);
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// A map whose columns are sorted by their remainder modulo the stride, so that the columns under a
/// tap of all windows of a row are neighbours: `[height][remainder][column][batch][channels]`.
struct Columns<'a> {
    values: Cow<'a, [f32]>,
    stride: usize,
    /// Columns of a remainder, those that are missing at the end included.
    columns: usize,
    position: usize,
}

impl<'a> Columns<'a> {
    fn new(values: &'a [f32], sides: Sides, window: Window) -> Self {
        let stride = window.stride;
        let columns = sides.width.div_ceil(stride);
        let position = sides.position();
        let values = match stride {
            1 => Cow::Borrowed(values),
            _ => {
                let mut sorted = room(sides.height * stride * columns * position);
                // A kernel smaller than the stride steps over rows and columns.
                let needed = |place: usize| {
                    let taps = 0..window.kernel as isize;
                    let stride = stride as isize;
                    taps.map(|tap| tap - window.padding as isize)
                        .any(|offset| offset.rem_euclid(stride) == place as isize % stride)
                };
                sorted
                    .par_chunks_mut((stride * columns * position).max(1))
                    .zip(values.par_chunks((sides.width * position).max(1)))
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
    fn start(&self, y: usize, offset: isize, window: usize) -> usize {
        let stride = self.stride as isize;
        let remainder = offset.rem_euclid(stride) as usize;
        let column = (window as isize + offset.div_euclid(stride)) as usize;
        ((y * self.stride + remainder) * self.columns + column) * self.position
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
        forward_patches(&values, input, factor, window, output, finish, &mut out);
    } else if output.width * output.batch < THIN {
        let packed = prepared.and_then(|prepared| prepared.packed(&kernels));
        let factor = Factor::new(&kernels, packed);
        forward_gathered(&values, input, factor, window, output, finish, &mut out);
    } else {
        // Of several taps each is a matrix of its own.
        let single = prepared.filter(|_| kernels.taps == 1);
        let packed = single.and_then(|prepared| prepared.packed(&kernels));
        let factor = Factor::new(&kernels, packed);
        forward_taps(&values, input, factor, window, output, finish, &mut out);
    }
    (map::tensor(out, whole), kernels)
}

/// Kernels, packed or not.
#[derive(Clone, Copy)]
struct Factor<'a> {
    kernels: &'a Kernels,
    packed: Option<&'a Packed>,
}

impl<'a> Factor<'a> {
    fn new(kernels: &'a Kernels, packed: Option<&'a Packed>) -> Self {
        Self { kernels, packed }
    }

    /// The product of `m` rows of `a` with the kernels of all taps, or where `tap` says so of one,
    /// for some of the outputs; see [`product`].
    ///
    /// # Safety
    /// As [`product`].
    unsafe fn multiply(
        &self,
        m: usize,
        (first, last): (usize, usize),
        out: *mut f32,
        add: bool,
        a: Matrix,
        tap: Option<usize>,
    ) {
        let Kernels {
            input,
            output,
            taps,
            ..
        } = *self.kernels;
        // SAFETY: as above.
        unsafe {
            if let Some(packed) = self.packed {
                return packed.product(m, (first, last), out, output, add, a);
            }
            let (depth, start) = match tap {
                None => (taps * input, 0),
                Some(tap) => (input, tap * input * output),
            };
            let kernels = Matrix {
                start: self.kernels.values().as_ptr().add(start + first),
                row: output,
                column: 1,
            };
            product([m, last - first, depth], out, output, add, a, kernels);
        }
    }
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

/// Kernels in the form that is computed with, kept from one forward pass to the next. It belongs to
/// kernels that do not change.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    transformed: OnceLock<Option<Transformed>>,
    packed: OnceLock<Option<Packed>>,
}

impl Prepared {
    /// The kernels for [`winograd`], if that pays: decided when they are first needed.
    fn transformed(
        &self,
        kernels: &Kernels,
        window: Window,
        input: Sides,
        output: Sides,
    ) -> Option<&Transformed> {
        let make = || transformed(kernels, Use::Forwards, window, input, output);
        self.transformed.get_or_init(make).as_ref()
    }
}

impl Prepared {
    /// The kernels as one matrix `[tap * in, out]`, if this CPU multiplies with such.
    fn packed(&self, kernels: &Kernels) -> Option<&Packed> {
        let depth = kernels.taps * kernels.input;
        let make = || Packed::new(kernels.values(), depth, kernels.output);
        self.packed.get_or_init(make).as_ref()
    }
}

/// Kernels for [`winograd`], if that pays.
fn transformed(
    kernels: &Kernels,
    of: Use,
    window: Window,
    input: Sides,
    output: Sides,
) -> Option<Transformed> {
    if window.kernel != 3 || window.stride != 1 || window.padding > 2 {
        return None;
    }
    let direct = window.products(input);
    let computed = match of {
        Use::InputGradient => input,
        Use::Forward | Use::Forwards => output,
    };
    Transformed::new(kernels, of, direct, computed)
}

/// Where a row of positions is a product of fewer rows than this, several of them are gathered.
const THIN: usize = 48;

/// Rows of a product of gathered positions.
const GATHERED: usize = 256;

/// The patches under the windows of several rows side by side, `[position][tap][in]`: a copy, and in
/// exchange one large product in place of many thin ones.
fn forward_gathered(
    x: &[f32],
    input: Sides,
    factor: Factor<'_>,
    window: Window,
    output: Sides,
    finish: Option<&Finish<'_>>,
    out: &mut [f32],
) {
    let (from, to) = (input.channels, output.channels);
    let depth = window.taps() * from;
    let row = output.width * output.batch;
    let lines = (GATHERED / row.max(1)).clamp(1, output.height);
    let mut gathered = room(lines * row * depth);
    let shared = Shared::new(out);
    let count = blocks(1, to);
    for first in (0..output.height).step_by(lines) {
        let lines = lines.min(output.height - first);
        gathered[..lines * row * depth]
            .par_chunks_mut(depth * output.batch)
            .enumerate()
            .for_each(|(place, out)| {
                let (y, x_out) = (first + place / output.width, place % output.width);
                gather(x, input, window, (y, x_out), out);
            });
        (0..count).into_par_iter().for_each(|task| {
            let (begin, end) = block(task, count, to);
            let start = first * output.row();
            let patches = Matrix {
                start: gathered.as_ptr(),
                row: depth,
                column: 1,
            };
            // SAFETY: all ranges are inside; this block of channels is this task's.
            unsafe {
                let out = shared.at(start + begin);
                factor.multiply(lines * row, (begin, end), out, false, patches, None);
            }
            if let Some(finish) = finish {
                finish.row(shared, start, lines * row, to, (begin, end));
            }
        });
    }
}

/// The patch under one window, `[batch][tap][in]`.
fn gather(x: &[f32], input: Sides, window: Window, (y, x_out): (usize, usize), out: &mut [f32]) {
    let channels = input.channels;
    let depth = window.taps() * channels;
    for ky in 0..window.kernel {
        let row = window.place(y, ky);
        for kx in 0..window.kernel {
            let column = window.place(x_out, kx);
            let inside = (0..input.height as isize).contains(&row)
                && (0..input.width as isize).contains(&column);
            let tap = (ky * window.kernel + kx) * channels;
            let start = (row * input.width as isize + column).max(0) as usize * input.position();
            for (n, patch) in out.chunks_exact_mut(depth).enumerate() {
                let to = &mut patch[tap..tap + channels];
                match inside {
                    false => to.fill(0.0),
                    true => to.copy_from_slice(&x[start + n * channels..][..channels]),
                }
            }
        }
    }
}

fn forward_taps(
    x: &[f32],
    input: Sides,
    factor: Factor<'_>,
    window: Window,
    output: Sides,
    finish: Option<&Finish<'_>>,
    out: &mut [f32],
) {
    let columns = Columns::new(x, input, window);
    let (from, to) = (input.channels, output.channels);
    let count = blocks(output.height, to);
    let shared = Shared::new(out);
    (0..output.height * count).into_par_iter().for_each(|task| {
        let (y, (first, last)) = (task / count, block(task % count, count, to));
        let row = y * output.row();
        let mut written = false;
        let taps = taps_of_row(&window, y, input, output.width);
        if !taps.iter().any(|tap| tap.to - tap.from == output.width) {
            // No tap reaches all of the row: what none reaches is 0.
            for place in 0..output.width * output.batch {
                // SAFETY: this block of this row is this task's alone.
                unsafe {
                    let start = shared.at(row + place * to + first);
                    std::slice::from_raw_parts_mut(start, last - first).fill(0.0);
                }
            }
            written = true;
        }
        for tap in taps {
            let start = columns.start(tap.y, tap.offset, tap.from);
            let (m, add) = ((tap.to - tap.from) * input.batch, written);
            // SAFETY: all ranges are inside of their slices; this block of this row is this task's.
            unsafe {
                let out = shared.at(row + tap.from * output.position() + first);
                let positions = Matrix {
                    start: columns.values.as_ptr().add(start),
                    row: from,
                    column: 1,
                };
                factor.multiply(m, (first, last), out, add, positions, Some(tap.tap));
            }
            written = true;
        }
        if let Some(finish) = finish {
            let rows = output.width * output.batch;
            finish.row(shared, row, rows, to, (first, last));
        }
    });
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

/// A map of few channels whose channels are apart and whose columns are sorted by their remainder
/// modulo the stride, `[height][channel][remainder][column][batch]`: what a tap meets in one channel
/// under all windows of a row lies side by side.
struct Planes {
    values: Vec<f32>,
    input: Sides,
    window: Window,
    /// Columns of a remainder, those that are missing at the end included.
    columns: usize,
}

impl Planes {
    fn new(x: &[f32], input: Sides, window: Window) -> Self {
        let columns = input.width.div_ceil(window.stride);
        let (batch, channels) = (input.batch, input.channels);
        let plane = window.stride * columns * batch;
        let mut values = room(input.height * channels * plane);
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
    fn patches(&self, y: usize, width: usize, out: &mut [f32]) {
        let (window, input) = (self.window, self.input);
        let rows = width * input.batch;
        let stride = window.stride as isize;
        for tap in 0..window.taps() {
            let (ky, kx) = (tap / window.kernel, tap % window.kernel);
            let out = &mut out[tap * input.channels * rows..(tap + 1) * input.channels * rows];
            let row = window.place(y, ky);
            let (from, to) = match (0..input.height as isize).contains(&row) {
                false => (0, 0),
                true => window.inside(kx, input.width),
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

fn forward_patches(
    x: &[f32],
    input: Sides,
    factor: Factor<'_>,
    window: Window,
    output: Sides,
    finish: Option<&Finish<'_>>,
    out: &mut [f32],
) {
    let rows = output.width * output.batch;
    let depth = window.taps() * input.channels;
    let planes = Planes::new(x, input, window);
    let shared = Shared::new(out);
    (0..output.height).into_par_iter().for_each_init(
        || room(depth * rows),
        |buffer, y| {
            planes.patches(y, output.width, buffer);
            let patches = Matrix {
                start: buffer.as_ptr(),
                row: 1,
                column: rows,
            };
            // SAFETY: all three have these sizes, and this row is this task's alone.
            unsafe {
                let out = shared.at(y * output.row());
                factor.multiply(rows, (0, output.channels), out, false, patches, None);
            }
            if let Some(finish) = finish {
                let start = y * output.row();
                finish.row(shared, start, rows, output.channels, (0, output.channels));
            }
        },
    );
}

/// The gradient of the input.
pub(super) fn input_gradient(
    gradient: &FlexTensor,
    kernels: &Kernels,
    window: Window,
    input: Sides,
) -> FlexTensor {
    let output = Sides::of(gradient);
    let gradient = map::values(gradient);
    if let Some(turned) = transformed(kernels, Use::InputGradient, window, input, output) {
        let mut values = room(input.len());
        let padding = window.kernel - 1 - window.padding;
        winograd::forward(
            &gradient,
            output,
            &turned,
            padding,
            input,
            None,
            &mut values,
        );
        return map::tensor(values, input);
    }
    let whole = input;
    let (input, output) = joined(window, input, output);
    let (stride, to) = (window.stride, input.channels);
    let columns = input.width.div_ceil(stride);
    // Sorted by remainder, as the forward pass reads it.
    let line = columns * input.position();
    let mut sorted = room(input.height * stride * line);
    let count = blocks(input.height * stride, to);
    let shared = Shared::new(&mut sorted);
    (0..input.height * stride * count)
        .into_par_iter()
        .for_each(|task| {
            let (line_index, (first, last)) = (task / count, block(task % count, count, to));
            let (y, remainder) = (line_index / stride, line_index % stride);
            let there = (input.width + stride - 1 - remainder) / stride;
            let mut taps = Vec::with_capacity(window.taps());
            for ky in 0..window.kernel {
                let above = y as isize - window.offset(ky);
                let row = above.div_euclid(stride as isize);
                let hits = above.rem_euclid(stride as isize) == 0;
                if !hits || row < 0 || row >= output.height as isize {
                    continue;
                }
                for kx in 0..window.kernel {
                    let offset = window.offset(kx);
                    let (from, until) = window.inside(kx, input.width);
                    if offset.rem_euclid(stride as isize) as usize == remainder && from < until {
                        let shift = offset.div_euclid(stride as isize);
                        taps.push((ky * window.kernel + kx, row as usize, shift, from, until));
                    }
                }
            }
            taps.sort_by_key(|(_, _, _, from, until)| until - from != there);
            let mut written = false;
            if !taps
                .iter()
                .any(|(_, _, _, from, until)| until - from == there)
            {
                for place in 0..columns * input.batch {
                    // SAFETY: this block of this line is this task's alone.
                    unsafe {
                        let start = shared.at(line_index * line + place * to + first);
                        std::slice::from_raw_parts_mut(start, last - first).fill(0.0);
                    }
                }
                written = true;
            }
            for (tap, row, shift, from, until) in taps {
                let column = (from as isize + shift) as usize;
                // SAFETY: all ranges are inside; this block of this line is this task's.
                unsafe {
                    product(
                        [(until - from) * input.batch, last - first, output.channels],
                        shared.at(line_index * line + column * input.position() + first),
                        to,
                        written,
                        Matrix {
                            start: gradient
                                .as_ptr()
                                .add(row * output.row() + from * output.position()),
                            row: output.channels,
                            column: 1,
                        },
                        Matrix {
                            start: kernels
                                .values()
                                .as_ptr()
                                .add((tap * to + first) * output.channels),
                            row: 1,
                            column: output.channels,
                        },
                    );
                }
                written = true;
            }
        });
    if stride == 1 {
        return map::tensor(sorted, whole);
    }
    let mut values = room(input.len());
    let position = input.position();
    values
        .par_chunks_mut(input.row().max(1))
        .zip(sorted.par_chunks((stride * line).max(1)))
        .for_each(|(out, sorted)| {
            for (column, out) in out.chunks_exact_mut(position.max(1)).enumerate() {
                let place = column % stride * columns + column / stride;
                out.copy_from_slice(&sorted[place * position..(place + 1) * position]);
            }
        });
    map::tensor(values, input)
}

/// The gradient of the kernels.
pub(super) fn kernel_gradient(x: &FlexTensor, gradient: &FlexTensor, window: Window) -> FlexTensor {
    let (input, output) = (Sides::of(x), Sides::of(gradient));
    let (x, gradient) = (map::values(x), map::values(gradient));
    let shape = [output.channels, input.channels, window.kernel];
    if window.kernel == 3 && window.stride == 1 {
        let (padding, direct) = (window.padding, window.products(input));
        let found = winograd::kernel_gradient(&x, input, &gradient, output, padding, direct);
        if let Some(values) = found {
            return kernels(values, shape);
        }
    }
    let values = match input.channels <= FEW && window.taps() > 1 {
        true => kernel_gradient_patches(&x, input, &gradient, output, window),
        false => {
            let (input, output) = joined(window, input, output);
            kernel_gradient_taps(&x, input, &gradient, output, window)
        }
    };
    kernels(values, shape)
}

fn kernel_gradient_taps(
    x: &[f32],
    input: Sides,
    gradient: &[f32],
    output: Sides,
    window: Window,
) -> Vec<f32> {
    let columns = Columns::new(x, input, window);
    let (from, to) = (input.channels, output.channels);
    let mut values = room(window.taps() * from * to);
    let count = blocks(window.taps(), to);
    let shared = Shared::new(&mut values);
    (0..window.taps() * count).into_par_iter().for_each(|task| {
        let (tap, (first, last)) = (task / count, block(task % count, count, to));
        let (ky, kx) = (tap / window.kernel, tap % window.kernel);
        let (left, right) = window.inside(kx, input.width);
        let (top, bottom) = window.inside(ky, input.height);
        let mut written = false;
        if left < right {
            for y in top..bottom {
                let row = window.place(y, ky) as usize;
                let start = columns.start(row, window.offset(kx), left);
                // SAFETY: all ranges are inside; this block of this tap is this task's.
                unsafe {
                    product(
                        [from, last - first, (right - left) * input.batch],
                        shared.at(tap * from * to + first),
                        to,
                        written,
                        Matrix {
                            start: columns.values.as_ptr().add(start),
                            row: 1,
                            column: from,
                        },
                        Matrix {
                            start: gradient
                                .as_ptr()
                                .add(y * output.row() + left * output.position() + first),
                            row: to,
                            column: 1,
                        },
                    );
                }
                written = true;
            }
        }
        if !written {
            for i in 0..from {
                // SAFETY: as above.
                unsafe {
                    let start = shared.at((tap * from + i) * to + first);
                    std::slice::from_raw_parts_mut(start, last - first).fill(0.0);
                }
            }
        }
    });
    values
}

/// Rows of the output whose patches make one part of the sum.
const PARTS: usize = 8;

fn kernel_gradient_patches(
    x: &[f32],
    input: Sides,
    gradient: &[f32],
    output: Sides,
    window: Window,
) -> Vec<f32> {
    let rows = output.width * output.batch;
    let depth = window.taps() * input.channels;
    let size = output.height.div_ceil(PARTS).max(1);
    let planes = Planes::new(x, input, window);
    // Each part sums some rows; the parts are added in order.
    let parts: Vec<Vec<f32>> = (0..output.height.div_ceil(size))
        .into_par_iter()
        .map(|part| {
            let mut sum = room(depth * output.channels);
            let mut buffer = room(depth * rows);
            let lines = part * size..((part + 1) * size).min(output.height);
            for (index, y) in lines.enumerate() {
                planes.patches(y, output.width, &mut buffer);
                // SAFETY: all three are whole slices of these sizes.
                unsafe {
                    product(
                        [depth, output.channels, rows],
                        sum.as_mut_ptr(),
                        output.channels,
                        index > 0,
                        Matrix {
                            start: buffer.as_ptr(),
                            row: rows,
                            column: 1,
                        },
                        Matrix {
                            start: gradient.as_ptr().add(y * output.row()),
                            row: output.channels,
                            column: 1,
                        },
                    );
                }
            }
            sum
        })
        .collect();
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_default();
    for part in parts {
        for (sum, value) in sum.iter_mut().zip(part) {
            *sum += value;
        }
    }
    sum
}
