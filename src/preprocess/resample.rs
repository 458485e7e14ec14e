//! Resampling with Pillow's filter rule: antialiased when shrinking, weights normalised at the
//! borders. PyTorch's `interpolate(mode="bicubic", antialias=True)` follows the same rule.

use std::ops::Range;

use super::Image;

/// A resampling filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// A triangle of one pixel to each side.
    Bilinear,
    /// Keys' cubic convolution with a = -0.5, two pixels to each side.
    #[default]
    Bicubic,
}

impl Interpolation {
    /// How far the filter reaches, in pixels of the coarser image.
    fn support(self) -> f64 {
        match self {
            Interpolation::Bilinear => 1.0,
            Interpolation::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Interpolation::Bilinear => (1.0 - x).max(0.0),
            Interpolation::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Interpolation::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Interpolation::Bicubic => 0.0,
        }
    }
}

/// For one output position: the first input position and the weights from there on.
struct Window {
    start: usize,
    weights: Vec<f64>,
}

/// The windows of some of the `to` output positions of an axis.
fn windows(from: usize, to: usize, wanted: Range<usize>, filter: Interpolation) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    // Shrinking stretches the filter over all the pixels that fall into one; enlarging does not.
    let stretch = scale.max(1.0);
    let reach = filter.support() * stretch;
    wanted
        .map(|position| {
            let center = scale * (position as f64 + 0.5);
            let start = (center - reach + 0.5).max(0.0) as usize;
            let end = ((center + reach + 0.5) as usize).min(from);
            let mut weights: Vec<f64> = (start..end)
                .map(|index| filter.weight((index as f64 - center + 0.5) / stretch))
                .collect();
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
            Window { start, weights }
        })
        .collect()
}

/// A value that can be resampled.
trait Sample: Copy {
    fn read(self) -> f64;
    fn write(value: f64) -> Self;
}

impl Sample for f32 {
    fn read(self) -> f64 {
        f64::from(self)
    }
    fn write(value: f64) -> Self {
        value as f32
    }
}

impl Sample for f64 {
    fn read(self) -> f64 {
        self
    }
    fn write(value: f64) -> Self {
        value
    }
}

impl Sample for u8 {
    fn read(self) -> f64 {
        f64::from(self)
    }
    fn write(value: f64) -> Self {
        // The cast saturates.
        value.round() as u8
    }
}

/// Weighted sums along one axis of an `[outer, from, inner]` array: `[outer, windows, inner]`.
fn convolve<A: Sample, B: Sample>(
    values: &[A],
    from: usize,
    inner: usize,
    windows: &[Window],
) -> Vec<B> {
    let mut result = Vec::with_capacity(values.len() / from * windows.len());
    for row in values.chunks_exact(from * inner) {
        for window in windows {
            for position in 0..inner {
                let taps = row[window.start * inner + position..].iter().step_by(inner);
                let sum = window
                    .weights
                    .iter()
                    .zip(taps)
                    .map(|(w, v)| w * v.read())
                    .sum();
                result.push(B::write(sum));
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
    let columns = windows(width, to_width, 0..to_width, Interpolation::Bicubic);
    let wide: Vec<f64> = convolve(grid, width, channels, &columns);
    let rows = windows(height, to_height, 0..to_height, Interpolation::Bicubic);
    convolve(&wide, height, to_width * channels, &rows)
}

/// Resizes an image as Pillow does (first across, then down, rounded to 8 bits after each pass) and
/// cuts the middle out. Only what is inside the cut is computed.
///
/// No side of the cut may be longer than that of the resized image.
pub(crate) fn resize_and_crop(
    image: &Image,
    [height, width]: [usize; 2],
    [crop_height, crop_width]: [usize; 2],
    filter: Interpolation,
) -> Image {
    let middle = |side: usize, crop: usize| {
        let start = (side - crop) / 2;
        start..start + crop
    };
    let (columns, rows) = (middle(width, crop_width), middle(height, crop_height));
    // Pillow skips a pass that changes nothing; a window of one pixel does the same.
    let axis = |from: usize, to: usize, wanted: Range<usize>| match from == to {
        true => wanted
            .map(|start| Window {
                start,
                weights: vec![1.0],
            })
            .collect(),
        false => windows(from, to, wanted, filter),
    };
    let columns = axis(image.width(), width, columns);
    let wide: Vec<u8> = convolve(image.pixels(), image.width(), image.channels(), &columns);
    let rows = axis(image.height(), height, rows);
    let pixels = convolve(&wide, image.height(), crop_width * image.channels(), &rows);
    Image::from_parts(crop_height, crop_width, image.channels(), pixels)
}
