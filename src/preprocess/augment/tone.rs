//! Operations that change values, with Pillow's arithmetic (`ImageEnhance`, `ImageOps`, `Blend.c`,
//! `Convert.c`).

use super::geometry::like;
use crate::preprocess::image::Image;

/// What becomes of each value.
type Curve = [u8; 256];

fn curve(value: impl Fn(u8) -> u8) -> Curve {
    std::array::from_fn(|i| value(i as u8))
}

/// The same curve for all channels.
fn map(image: &Image, curve: &Curve) -> Image {
    let pixels = image.pixels().iter().map(|v| curve[usize::from(*v)]);
    like(image, pixels.collect())
}

/// A curve for each channel, made from how often each of its values occurs.
fn map_by_histogram(image: &Image, curve: impl Fn(&[usize; 256]) -> Curve) -> Image {
    let channels = image.channels();
    let mut histograms = vec![[0; 256]; channels];
    for pixel in image.pixels().chunks_exact(channels) {
        for (value, histogram) in pixel.iter().zip(&mut histograms) {
            histogram[usize::from(*value)] += 1;
        }
    }
    let curves: Vec<Curve> = histograms.iter().map(curve).collect();
    let mut pixels = image.pixels().to_vec();
    for pixel in pixels.chunks_exact_mut(channels) {
        for (value, curve) in pixel.iter_mut().zip(&curves) {
            *value = curve[usize::from(*value)];
        }
    }
    like(image, pixels)
}

/// From one value through another, in single precision; what is after the point is cut off, and so
/// is what is outside 0..255.
fn blend(from: u8, through: u8, factor: f32) -> u8 {
    let way = f32::from(i16::from(through) - i16::from(from));
    (f32::from(from) + factor * way) as u8
}

pub(super) fn brightness(image: &Image, factor: f64) -> Image {
    map(image, &curve(|value| blend(0, value, factor as f32)))
}

pub(super) fn contrast(image: &Image, factor: f64) -> Image {
    let sum = |pixels: &[u8]| pixels.iter().map(|v| u64::from(*v)).sum::<u64>();
    let (sum, number) = match image.channels() {
        3 => (sum(image.luma().pixels()), image.pixels().len() / 3),
        _ => (sum(image.pixels()), image.pixels().len()),
    };
    let mean = (sum as f64 / number as f64 + 0.5) as u8;
    map(image, &curve(|value| blend(mean, value, factor as f32)))
}

pub(super) fn saturation(image: &Image, factor: f64) -> Image {
    if image.channels() != 3 {
        return image.clone();
    }
    let grey = image.luma();
    let mut pixels = image.pixels().to_vec();
    for (pixel, grey) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(grey.pixels()) {
        *pixel = pixel.map(|value| blend(*grey, value, factor as f32));
    }
    like(image, pixels)
}

pub(super) fn hue(image: &Image, turn: f64) -> Image {
    if image.channels() != 3 {
        return image.clone();
    }
    let turn = (turn * 255.0) as i32 as u8;
    let hues: [Hue; 256] = std::array::from_fn(|hue| Hue::new((hue as u8).wrapping_add(turn)));
    let mut pixels = image.pixels().to_vec();
    for pixel in pixels.as_chunks_mut::<3>().0 {
        let [hue, saturation, value] = to_hsv(*pixel);
        *pixel = hues[usize::from(hue)].color(saturation, value);
    }
    like(image, pixels)
}

/// Hue, saturation and value of 8 bits each. The numbers are rounded to single precision where
/// Pillow keeps them in a `float`.
fn to_hsv([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let most = red.max(green).max(blue);
    let least = red.min(green).min(blue);
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let saturation = range / f32::from(most);
    let part = |value: u8| f32::from(most - value) / range;
    // Sixths of a turn from red.
    let hue = if red == most {
        part(blue) - part(green)
    } else if green == most {
        (2.0 + f64::from(part(red)) - f64::from(part(blue))) as f32
    } else {
        (4.0 + f64::from(part(green)) - f64::from(part(red))) as f32
    };
    // The sum is between 0.8 and 1.9, so that this is the exact remainder.
    let turns = f64::from(hue) / 6.0 + 1.0;
    let hue = (turns - f64::from(u8::from(turns >= 1.0))) as f32;
    let byte = |part: f32| (f64::from(part) * 255.0) as u8;
    [byte(hue), byte(saturation), most]
}

/// A hue of 8 bits as a sixth of the circle, and how far it is along that.
#[derive(Clone, Copy)]
struct Hue {
    sixth: u8,
    rest: f32,
}

impl Hue {
    fn new(hue: u8) -> Self {
        let sixths = f64::from(hue) * 6.0 / 255.0;
        Self {
            sixth: sixths as u8,
            rest: (sixths - sixths.floor()) as f32,
        }
    }

    fn color(self, saturation: u8, value: u8) -> [u8; 3] {
        if saturation == 0 {
            return [value; 3];
        }
        let saturation = (f64::from(saturation) / 255.0) as f32;
        // For all that occurs here, the same as rounding halves up.
        let byte = |less: f64| (f64::from(value) * (1.0 - less) + 0.5) as u8;
        let least = byte(f64::from(saturation));
        let falling = || byte(f64::from(saturation * self.rest));
        let rising = || byte(f64::from(saturation) * (1.0 - f64::from(self.rest)));
        match self.sixth {
            1 => [falling(), value, least],
            2 => [least, value, rising()],
            3 => [least, falling(), value],
            4 => [rising(), least, value],
            5 => [value, least, falling()],
            _ => [value, rising(), least],
        }
    }
}

/// The pixels of the outermost rows and columns have no full neighbourhood and stay as they are.
pub(super) fn sharpness(image: &Image, factor: f64) -> Image {
    let (channels, factor) = (image.channels(), factor as f32);
    let length = image.width() * channels;
    let source = image.pixels();
    let mut pixels = source.to_vec();
    if image.height() < 3 || image.width() < 3 {
        return like(image, pixels);
    }
    for (row, result) in pixels.chunks_exact_mut(length).enumerate() {
        if row == 0 || row == image.height() - 1 {
            continue;
        }
        // Three neighbours side by side, one window for each value but the outermost.
        let triples = |row: usize| {
            let row = &source[row * length..][..length];
            let sums = row.iter().zip(&row[channels..]).zip(&row[2 * channels..]);
            sums.map(|((a, b), c)| u32::from(*a) + u32::from(*b) + u32::from(*c))
        };
        let sums = triples(row - 1).zip(triples(row)).zip(triples(row + 1));
        let inner = &mut result[channels..length - channels];
        for (value, ((above, here), below)) in inner.iter_mut().zip(sums) {
            let sum = above + here + below + 4 * u32::from(*value);
            // Pillow's sum in single precision rounds to the same: thirteenths are never halves.
            let smooth = ((2 * sum + 13) / 26) as u8;
            *value = blend(smooth, *value, factor);
        }
    }
    like(image, pixels)
}

pub(super) fn posterize(image: &Image, bits: u32) -> Image {
    let mask = 0xff_u8 << (8 - bits.clamp(1, 8));
    map(image, &curve(|value| value & mask))
}

pub(super) fn solarize(image: &Image, threshold: f64) -> Image {
    map(
        image,
        &curve(|value| {
            if f64::from(value) < threshold {
                value
            } else {
                255 - value
            }
        }),
    )
}

pub(super) fn invert(image: &Image) -> Image {
    map(image, &curve(|value| 255 - value))
}

pub(super) fn autocontrast(image: &Image) -> Image {
    map_by_histogram(image, |histogram| {
        let low = histogram.iter().position(|n| *n > 0).unwrap_or(0);
        let high = histogram.iter().rposition(|n| *n > 0).unwrap_or(0);
        if high <= low {
            return curve(|value| value);
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        curve(|value| (f64::from(value) * scale + offset) as u8)
    })
}

pub(super) fn equalize(image: &Image) -> Image {
    map_by_histogram(image, |histogram| {
        let total: usize = histogram.iter().sum();
        let last = histogram.iter().rfind(|n| **n > 0).unwrap_or(&0);
        // A single value gives no step either.
        let step = (total - last) / 255;
        if step == 0 {
            return curve(|value| value);
        }
        let mut below = step / 2;
        histogram.map(|number| {
            let level = below / step;
            below += number;
            level.min(255) as u8
        })
    })
}
