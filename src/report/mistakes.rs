//! The mistakes a model was surest of, as pictures.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Mistake, Report};
use crate::error::Result;
use crate::preprocess::png::png;
use crate::preprocess::resample::resize_part;
use crate::preprocess::{Image, Interpolation};

/// Side of the largest picture, in pixels. A page shows it a little smaller.
const SIDE: usize = 160;
/// Pixels between two pictures of the sheet.
const GAP: usize = 8;
/// Pictures in a row of the sheet.
const COLUMNS: usize = 8;
/// The colour around pictures.
const GROUND: u8 = 0xf0;

/// The mistakes to show, the surest first; equals in their order.
pub(super) fn surest(report: &Report) -> Vec<&Mistake> {
    let mut mistakes: Vec<&Mistake> = report.mistakes.iter().collect();
    // A probability that is no number is not a sure one.
    let sure = |mistake: &Mistake| match mistake.probability {
        p if p.is_nan() => f64::NEG_INFINITY,
        p => p,
    };
    mistakes.sort_by(|a, b| sure(b).total_cmp(&sure(a)));
    mistakes.truncate(Report::MOST_MISTAKES);
    mistakes
}

/// An image in at most [`SIDE`] pixels, grey or RGB.
fn small(image: &Image) -> Cow<'_, Image> {
    let image = match image.channels() {
        1 | 3 => Cow::Borrowed(image),
        channels => {
            // Of images with further channels the first three, or the first, are shown.
            let shown = if channels > 3 { 3 } else { 1 };
            let pixels = image.pixels().chunks_exact(channels);
            let pixels = pixels.flat_map(|pixel| &pixel[..shown]).copied().collect();
            Cow::Owned(Image::from_parts(
                image.height(),
                image.width(),
                shown,
                pixels,
            ))
        }
    };
    let (height, width) = (image.height(), image.width());
    let longer = height.max(width);
    if longer <= SIDE {
        return image;
    }
    let [height, width] = [height, width].map(|side| (side * SIDE / longer).max(1));
    let mut pixels = Vec::with_capacity(height * width * image.channels());
    let size = [height as u64, width as u64];
    resize_part(
        &image,
        size,
        0..size[0],
        0..size[1],
        Interpolation::Bicubic,
        |row| {
            pixels.extend_from_slice(row);
        },
    );
    Cow::Owned(Image::from_parts(height, width, image.channels(), pixels))
}

/// A picture for a page: its address, and whether it is enlarged there.
pub(super) fn picture(image: &Image) -> Result<(String, bool)> {
    let image = small(image);
    let (height, width) = (image.height(), image.width());
    let bytes = image.to_png()?;
    Ok((data_uri(&bytes), height.max(width) <= SIDE / 2))
}

/// The pictures of mistakes side by side, the small ones enlarged by whole factors, as a PNG file.
/// None without mistakes.
pub(super) fn sheet(mistakes: &[&Mistake]) -> Result<Option<Vec<u8>>> {
    if mistakes.is_empty() {
        return Ok(None);
    }
    let columns = mistakes.len().min(COLUMNS);
    let rows = mistakes.len().div_ceil(columns);
    let [height, width] = [rows, columns].map(|number| GAP + number * (SIDE + GAP));
    let mut sheet = vec![GROUND; height * width * 3];
    for (index, mistake) in mistakes.iter().enumerate() {
        let image = small(&mistake.image);
        let factor = (SIDE / image.height().max(image.width())).max(1);
        let channels = image.channels();
        // In the middle of its place.
        let [top, left] = [
            (index / columns, image.height()),
            (index % columns, image.width()),
        ]
        .map(|(place, side)| GAP + place * (SIDE + GAP) + (SIDE - side * factor) / 2);
        for y in 0..image.height() * factor {
            for x in 0..image.width() * factor {
                let pixel = (y / factor * image.width() + x / factor) * channels;
                let target = ((top + y) * width + left + x) * 3;
                for color in 0..3 {
                    // Grey is the same in all three.
                    sheet[target + color] = image.pixels()[pixel + color.min(channels - 1)];
                }
            }
        }
    }
    png(&sheet, [height, width], 3).map(Some)
}

/// A picture as an address that holds all of it.
pub(super) fn data_uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_any_shape_become_small() {
        for (height, width, channels, expected) in [
            (28, 28, 1, (28, 28, 1)),
            (400, 300, 3, (160, 120, 3)),
            (1, 4000, 3, (1, 160, 3)),
            (20, 20, 4, (20, 20, 3)),
            (20, 20, 2, (20, 20, 1)),
        ] {
            let pixels = vec![7; height * width * channels];
            let image = Image::new(height, width, channels, pixels).unwrap();
            let small = small(&image);
            assert_eq!((small.height(), small.width(), small.channels()), expected);
            assert!(small.pixels().iter().all(|value| *value == 7));
        }
    }
}
