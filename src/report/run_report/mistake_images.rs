//! The mistakes a model was surest of, as pictures.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::contents::{Mistake, Report};
use crate::error::Result;
use crate::preprocess::resample::resize_part;
use crate::preprocess::{Image, Interpolation};
use crate::report::image_grid::Grid;

/// Side of the largest picture, in pixels. A page shows it a little smaller.
const SIDE: usize = 160;

/// A mistake that is shown.
pub(super) struct Shown<'a> {
    pub mistake: &'a Mistake,
    /// The image in at most [`SIDE`] pixels, grey or RGB.
    pub image: Cow<'a, Image>,
}

/// The mistakes to show, the surest first; equals in their order.
pub(super) fn surest(report: &Report) -> Vec<Shown<'_>> {
    let mut mistakes: Vec<&Mistake> = report.mistakes.iter().collect();
    // A probability that is no number is not a sure one.
    let sure = |mistake: &Mistake| {
        let probability = mistake.probability;
        if probability.is_nan() {
            f64::NEG_INFINITY
        } else {
            probability
        }
    };
    mistakes.sort_by(|a, b| sure(b).total_cmp(&sure(a)));
    mistakes.truncate(Report::MOST_MISTAKES);
    let shown = mistakes.into_iter().map(|mistake| Shown {
        mistake,
        image: small(&mistake.image),
    });
    shown.collect()
}

fn small(image: &Image) -> Cow<'_, Image> {
    let mut image = Cow::Borrowed(image);
    if ![1, 3].contains(&image.channels()) {
        // Of images with further channels the first three, or the first, are shown.
        let channels = if image.channels() > 3 { 3 } else { 1 };
        let pixels = image.pixels().chunks_exact(image.channels());
        let pixels = pixels.flat_map(|pixel| &pixel[..channels]).copied();
        let pixels = pixels.collect();
        image = Cow::Owned(Image::from_parts(
            image.height(),
            image.width(),
            channels,
            pixels,
        ));
    }
    let sides = [image.height(), image.width()];
    let longer = sides[0].max(sides[1]);
    if longer <= SIDE {
        return image;
    }
    let [height, width] = sides.map(|side| (side * SIDE / longer).max(1));
    let (rows, columns) = (height as u64, width as u64);
    let mut pixels = Vec::with_capacity(height * width * image.channels());
    let emit = |row: &[u8]| pixels.extend_from_slice(row);
    let filter = Interpolation::Bicubic;
    resize_part(&image, [rows, columns], 0..rows, 0..columns, filter, emit);
    Cow::Owned(Image::from_parts(height, width, image.channels(), pixels))
}

impl Shown<'_> {
    /// Whether a page shows it larger than it is.
    pub fn is_enlarged(&self) -> bool {
        self.image.height().max(self.image.width()) <= SIDE / 2
    }
}

/// The pictures side by side, the small ones enlarged by whole factors, as a PNG file. None without
/// any.
pub(super) fn sheet(shown: &[Shown]) -> Result<Option<Vec<u8>>> {
    if shown.is_empty() {
        return Ok(None);
    }
    let images: Vec<&Image> = shown.iter().map(|shown| shown.image.as_ref()).collect();
    let grid = Grid {
        columns: 8,
        cell: [SIDE; 2],
        gap: 8,
        ground: [0xf0; 3],
    };
    grid.draw(&images, &[])?.to_png().map(Some)
}

impl Image {
    /// A PNG file as an address that holds all of it.
    pub(super) fn to_data_uri(&self) -> Result<String> {
        let png = STANDARD.encode(self.to_png()?);
        Ok(format!("data:image/png;base64,{png}"))
    }
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
