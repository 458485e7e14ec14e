//! Resampling with Pillow's filter rule: antialiased when shrinking, weights normalised at the
//! borders. PyTorch's `interpolate(mode="bicubic", antialias=True)` follows the same rule.
//!
//! Images of 8 bits follow Pillow's arithmetic too (`Resample.c`): weights in fixed point with 22
//! bits after the point, one pass across and one down, rounded to 8 bits after each. The result has
//! Pillow's bytes.

use std::f64::consts::PI;
use std::ops::Range;

use super::image::Image;

/// A resampling filter, by Pillow's and timm's names. All but `Nearest` are antialiased: they
/// widen with the factor by which an image shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The pixel that lies at the position; no filter.
    Nearest,
    /// The mean of the pixels that fall into one.
    Box,
    /// A triangle of one pixel to each side.
    Bilinear,
    /// A raised cosine of one pixel to each side.
    Hamming,
    /// Keys' cubic convolution with a = -0.5, two pixels to each side.
    #[default]
    Bicubic,
    /// A windowed sinc of three pixels to each side.
    Lanczos,
}

impl Interpolation {
    /// How far the filter reaches, in pixels of the coarser image.
    fn support(self) -> f64 {
        match self {
            Interpolation::Nearest | Interpolation::Box => 0.5,
            Interpolation::Bilinear | Interpolation::Hamming => 1.0,
            Interpolation::Bicubic => 2.0,
            Interpolation::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let sinc = |x: f64| {
            if x == 0.0 {
                1.0
            } else {
                (x * PI).sin() / (x * PI)
            }
        };
        let distance = x.abs();
        match self {
            Interpolation::Nearest | Interpolation::Box => f64::from(x > -0.5 && x <= 0.5),
            Interpolation::Bilinear => (1.0 - distance).max(0.0),
            Interpolation::Hamming if distance >= 1.0 => 0.0,
            // Pillow's constants are single precision.
            Interpolation::Hamming => {
                let cosine = (distance * PI).cos();
                sinc(distance) * (f64::from(0.54_f32) + f64::from(0.46_f32) * cosine)
            }
            Interpolation::Bicubic if distance < 1.0 => {
                ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
            }
            Interpolation::Bicubic if distance < 2.0 => {
                (((distance - 5.0) * distance + 8.0) * distance - 4.0) * A
            }
            Interpolation::Bicubic => 0.0,
            Interpolation::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Interpolation::Lanczos => 0.0,
        }
    }
}

/// Which input positions make an output position of an axis, and with which weights.
struct Axis<T> {
    windows: Vec<Window>,
    weights: Vec<T>,
}

/// The first input position, and where the weights from there on lie.
struct Window {
    start: usize,
    weights: Range<usize>,
}

impl<T: Copy> Axis<T> {
    /// For these of the `to` output positions. The sums are ordered as Pillow's, since their
    /// last bits decide how some pixels are rounded.
    fn new(
        from: usize,
        to: u64,
        positions: Range<u64>,
        filter: Interpolation,
        convert: impl Fn(f64) -> T,
    ) -> Self {
        let scale = from as f64 / to as f64;
        // Shrinking stretches the filter over all the pixels that fall into one; enlarging does not.
        let stretch = scale.max(1.0);
        let (reach, inverse) = (filter.support() * stretch, 1.0 / stretch);
        let mut axis = Axis {
            windows: Vec::new(),
            weights: Vec::new(),
        };
        let mut exact = Vec::new();
        for position in positions {
            let center = scale * (position as f64 + 0.5);
            let start = (center - reach + 0.5).max(0.0) as usize;
            let end = ((center + reach + 0.5) as usize).min(from);
            exact.clear();
            exact.extend(
                (start..end).map(|index| filter.weight((index as f64 - center + 0.5) * inverse)),
            );
            let sum: f64 = exact.iter().sum();
            let first = axis.weights.len();
            axis.weights
                .extend(exact.iter().map(|weight| convert(weight / sum)));
            axis.windows.push(Window {
                start,
                weights: first..axis.weights.len(),
            });
        }
        axis
    }

    /// The start and the weights of each window.
    fn iter(&self) -> impl Iterator<Item = (usize, &[T])> {
        let windows = self.windows.iter();
        windows.map(|window| (window.start, &self.weights[window.weights.clone()]))
    }
}

/// Weighted sums along one axis of an `[outer, from, inner]` array: `[outer, windows, inner]`.
fn convolve<A: Copy + Into<f64>>(
    values: &[A],
    from: usize,
    inner: usize,
    axis: &Axis<f64>,
) -> Vec<f64> {
    let mut result = Vec::with_capacity(values.len() / from * axis.windows.len());
    for row in values.chunks_exact(from * inner) {
        for (start, weights) in axis.iter() {
            for position in 0..inner {
                let taps = row[start * inner + position..].iter().step_by(inner);
                result.push(weights.iter().zip(taps).map(|(w, v)| w * (*v).into()).sum());
            }
        }
    }
    result
}

/// Resamples a `[height, width, channels]` grid bicubically, in floating point throughout.
///
/// All sides must be at least 1, and `grid` must have as many values as its shape says.
pub(crate) fn bicubic(
    grid: &[f32],
    [height, width]: [usize; 2],
    [to_height, to_width]: [usize; 2],
    channels: usize,
) -> Vec<f32> {
    let axis = |from, to: usize| {
        let to = to as u64;
        Axis::new(from, to, 0..to, Interpolation::Bicubic, |weight| weight)
    };
    let wide = convolve(grid, width, channels, &axis(width, to_width));
    let down = convolve(&wide, height, to_width * channels, &axis(height, to_height));
    down.into_iter().map(|value| value as f32).collect()
}

/// Bits after the point: 32 less 8 for the result and 2 for sums below 0 and above 255.
const PRECISION: u32 = 22;
/// One half, which the shift at the end turns into rounding.
const HALF: i32 = 1 << (PRECISION - 1);

/// A weight in fixed point, rounded half away from zero.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << PRECISION) + 0.5_f64.copysign(weight)) as i32
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Resizes an image to `[height, width]` as Pillow does and cuts a part out, given by its rows and
/// columns in the resized image. Only what the part needs is computed; its rows are handed to
/// `emit` from top to bottom.
///
/// The part must be inside the resized image and not empty.
pub(crate) fn resize_part(
    image: &Image,
    [height, width]: [u64; 2],
    rows: Range<u64>,
    columns: Range<u64>,
    filter: Interpolation,
    mut emit: impl FnMut(&[u8]),
) {
    let (source, channels) = (image.pixels(), image.channels());
    let stride = image.width() * channels;
    let across = Pass::new(image.width(), width, columns, filter);
    let down = Pass::new(image.height(), height, rows, filter);
    let mut result = vec![0; across.len() * channels];

    // Pillow 13's choice of the first pass. Older ones always go across first; the other order
    // changes some pixels by 1.
    let shrinks = |from: usize, to: u64| from as i128 - i128::from(to);
    let shorter = shrinks(image.height(), height);
    if shorter > 0 && shorter > 2 * shrinks(image.width(), width) {
        let needed = across.reads(0).start..across.reads(across.len() - 1).end;
        let bytes = needed.start * channels..needed.end * channels;
        let mut short = vec![0; bytes.len()];
        for index in 0..down.len() {
            down.down(index, source, stride, bytes.clone(), &mut short);
            across.across(&short, channels, needed.start, &mut result);
            emit(&result);
        }
        return;
    }

    // The rows that went across, from `first` on. Those that no later row needs are dropped now and
    // then, so that the others stay in the processor's cache.
    let mut wide: Vec<u8> = Vec::new();
    let mut first = down.reads(0).start;
    for index in 0..down.len() {
        let needed = down.reads(index);
        let (held, spent) = (wide.len() / result.len(), needed.start - first);
        if 2 * spent > held {
            wide.drain(..spent.min(held) * result.len());
            first = needed.start;
        }
        for row in first + wide.len() / result.len()..needed.end {
            let start = wide.len();
            wide.resize(start + result.len(), 0);
            let row = &source[row * stride..][..stride];
            across.across(row, channels, 0, &mut wide[start..]);
        }
        let held = &wide[(needed.start - first) * result.len()..];
        let stride = result.len();
        down.down_from(index, held, stride, 0..stride, &mut result);
        emit(&result);
    }
}

/// What is done along one axis.
enum Pass {
    /// These positions are taken as they are.
    Pick(Vec<usize>),
    Filter(Axis<i32>),
}

impl Pass {
    fn new(from: usize, to: u64, positions: Range<u64>, filter: Interpolation) -> Self {
        match filter {
            // Pillow skips a pass that changes nothing, whatever the filter.
            _ if from as u64 == to => Pass::Pick(positions.map(|p| p as usize).collect()),
            Interpolation::Nearest => Pass::Pick(nearest(from, to, positions)),
            _ => Pass::Filter(Axis::new(from, to, positions, filter, fixed)),
        }
    }

    /// How many positions come out.
    fn len(&self) -> usize {
        match self {
            Pass::Pick(positions) => positions.len(),
            Pass::Filter(axis) => axis.windows.len(),
        }
    }

    /// The input positions that make one. Neither end ever goes back from one to the next.
    fn reads(&self, index: usize) -> Range<usize> {
        match self {
            Pass::Pick(positions) => positions[index]..positions[index] + 1,
            Pass::Filter(axis) => {
                let Window { start, weights } = &axis.windows[index];
                *start..start + weights.len()
            }
        }
    }

    /// The pass across for a row that begins at column `first`.
    fn across(&self, row: &[u8], channels: usize, first: usize, result: &mut [u8]) {
        let axis = match self {
            Pass::Filter(axis) => axis,
            Pass::Pick(columns) => {
                for (column, result) in columns.iter().zip(result.chunks_exact_mut(channels)) {
                    result.copy_from_slice(&row[(column - first) * channels..][..channels]);
                }
                return;
            }
        };
        match channels {
            1 => filter_across::<1>(row, first, axis, result),
            3 => filter_across::<3>(row, first, axis, result),
            _ => filter_across_any(row, channels, first, axis, result),
        }
    }

    /// The pass down to one row, for these bytes of each of the source's rows.
    fn down(
        &self,
        index: usize,
        source: &[u8],
        stride: usize,
        bytes: Range<usize>,
        result: &mut [u8],
    ) {
        let needed = &source[self.reads(index).start * stride..];
        self.down_from(index, needed, stride, bytes, result);
    }

    /// The same for a source that begins at the first row that is needed.
    fn down_from(
        &self,
        index: usize,
        source: &[u8],
        stride: usize,
        bytes: Range<usize>,
        result: &mut [u8],
    ) {
        match self {
            Pass::Pick(_) => result.copy_from_slice(&source[bytes]),
            Pass::Filter(axis) => {
                let weights = &axis.weights[axis.windows[index].weights.clone()];
                let source = &source[..weights.len() * stride];
                filter_down(source, stride, bytes, weights, result);
            }
        }
    }
}

/// The input position of each output position.
fn nearest(from: usize, to: u64, positions: Range<u64>) -> Vec<usize> {
    // Pillow adds up the steps, and at some positions the error of that sum shows. An axis that
    // Pillow could not hold is not worth the walk.
    const WALK: u64 = 1 << 24;
    let step = from as f64 / to as f64;
    let index = |at: f64| (at as usize).min(from - 1);
    if positions.end > WALK {
        return positions
            .map(|position| index((position as f64 + 0.5) * step))
            .collect();
    }
    let mut at = step * 0.5;
    let mut indices = Vec::with_capacity((positions.end - positions.start) as usize);
    for position in 0..positions.end {
        if position >= positions.start {
            indices.push(index(at));
        }
        at += step;
    }
    indices
}

fn filter_across<const C: usize>(row: &[u8], first: usize, axis: &Axis<i32>, result: &mut [u8]) {
    let row = row.as_chunks::<C>().0;
    for ((start, weights), result) in axis.iter().zip(result.as_chunks_mut::<C>().0) {
        let mut sums = [HALF; C];
        for (pixel, weight) in row[start - first..].iter().zip(weights) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(*value) * weight;
            }
        }
        *result = sums.map(clip);
    }
}

fn filter_across_any(
    row: &[u8],
    channels: usize,
    first: usize,
    axis: &Axis<i32>,
    result: &mut [u8],
) {
    for ((start, weights), result) in axis.iter().zip(result.chunks_exact_mut(channels)) {
        for (channel, result) in result.iter_mut().enumerate() {
            let values = row[(start - first) * channels + channel..].iter();
            let products = values.step_by(channels).zip(weights);
            let sum: i32 = products.map(|(v, w)| i32::from(*v) * w).sum();
            *result = clip(HALF + sum);
        }
    }
}

fn filter_down(
    rows: &[u8],
    stride: usize,
    bytes: Range<usize>,
    weights: &[i32],
    result: &mut [u8],
) {
    // As many sums as fit into the registers of a vector unit.
    const LANES: usize = 16;
    let (lanes, rest) = result.as_chunks_mut::<LANES>();
    let mut column = bytes.start;
    for result in lanes {
        let mut sums = [HALF; LANES];
        for (row, weight) in rows.chunks_exact(stride).zip(weights) {
            let values = &row[column..column + LANES];
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += i32::from(*value) * weight;
            }
        }
        *result = sums.map(clip);
        column += LANES;
    }
    for (result, column) in rest.iter_mut().zip(column..) {
        let products = rows[column..].iter().step_by(stride).zip(weights);
        let sum: i32 = products.map(|(v, w)| i32::from(*v) * w).sum();
        *result = clip(HALF + sum);
    }
}
