//! Rectangles in images.

use std::fmt;

use crate::init::Rng;

/// A part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rectangle {
    /// The first row.
    pub top: usize,
    /// The first column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl fmt::Display for Rectangle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            top,
            left,
            height,
            width,
        } = self;
        write!(f, "{height} x {width} from row {top} and column {left}")
    }
}

impl Rectangle {
    /// Whether all of it is in an image of this `[height, width]`.
    pub(super) fn is_inside(&self, [height, width]: [usize; 2]) -> bool {
        let inside = |start: usize, length: usize, side| {
            start.checked_add(length).is_some_and(|end| end <= side)
        };
        inside(self.top, self.height, height) && inside(self.left, self.width, width)
    }
}

/// Height and width of a rectangle of random area, a part of `area`, and random width in heights.
pub(super) fn random_sides(
    area: f64,
    scale: [f64; 2],
    ratio: [f64; 2],
    rng: &mut Rng,
) -> (usize, usize) {
    let area = area * rng.uniform(scale[0], scale[1]);
    let ratio = rng.uniform(ratio[0].ln(), ratio[1].ln()).exp();
    let round = |square: f64| square.sqrt().round_ties_even() as usize;
    (round(area / ratio), round(area * ratio))
}
