//! Resampling with Pillow's filter rule: antialiased when shrinking, weights normalised at the
//! borders. PyTorch's `interpolate(mode="bicubic", antialias=True)` follows the same rule.

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

fn windows(from: usize, to: usize, filter: Interpolation) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    // Shrinking stretches the filter over all the pixels that fall into one; enlarging does not.
    let stretch = scale.max(1.0);
    let reach = filter.support() * stretch;
    (0..to)
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

/// Weighted sums along one axis of an `[outer, from, inner]` array: `[outer, windows, inner]`.
fn convolve(values: &[f64], from: usize, inner: usize, windows: &[Window]) -> Vec<f64> {
    let mut result = Vec::with_capacity(values.len() / from * windows.len());
    for row in values.chunks_exact(from * inner) {
        for window in windows {
            for position in 0..inner {
                let taps = row[window.start * inner + position..].iter().step_by(inner);
                result.push(window.weights.iter().zip(taps).map(|(w, v)| w * v).sum());
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
    let values: Vec<f64> = grid.iter().map(|v| f64::from(*v)).collect();
    let columns = windows(width, to_width, Interpolation::Bicubic);
    let wide = convolve(&values, width, channels, &columns);
    let rows = windows(height, to_height, Interpolation::Bicubic);
    let resampled = convolve(&wide, height, to_width * channels, &rows);
    resampled.into_iter().map(|v| v as f32).collect()
}

/// Resizes an image as Pillow does: first across, then down, rounded to 8 bits after each pass.
pub(crate) fn resize(image: &Image, height: usize, width: usize, filter: Interpolation) -> Image {
    let round = |values: Vec<f64>| -> Vec<f64> {
        let clip = |v: f64| v.round().clamp(0.0, 255.0);
        values.into_iter().map(clip).collect()
    };
    let mut values: Vec<f64> = image.pixels().iter().map(|v| f64::from(*v)).collect();
    // Pillow skips a pass that changes nothing, and so keeps such an image bit for bit.
    if width != image.width() {
        let columns = windows(image.width(), width, filter);
        values = round(convolve(&values, image.width(), image.channels(), &columns));
    }
    if height != image.height() {
        let rows = windows(image.height(), height, filter);
        let inner = width * image.channels();
        values = round(convolve(&values, image.height(), inner, &rows));
    }
    let pixels = values.into_iter().map(|v| v as u8).collect();
    Image::from_parts(height, width, image.channels(), pixels)
}
