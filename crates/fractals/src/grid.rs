//! A sheet of instances to look at.

use super::set::Fractals;
use burn_zoo::error::{Error, Result};
use burn_zoo::preprocess::Image;

/// Pixels between two cells.
const GAP: usize = 2;
/// Pixels of a sheet's longer side.
const LONGEST: usize = 16_384;
/// The grey between the cells.
const BETWEEN: u8 = 96;

impl Fractals {
    /// A sheet with the first `categories` categories as rows and their first `instances` instances
    /// as columns, each `cell` pixels a side: drawn at the set's own size and enlarged, or made
    /// smaller, by taking the nearest pixel. There are 2 pixels between the cells and none around
    /// them. `[height, width, 3]`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more categories than there are, for a zero, and for a sheet
    /// that is longer than 16384 pixels.
    pub fn grid(&self, categories: usize, instances: usize, cell: usize) -> Result<Image> {
        let most = self.options().categories;
        if !(1..=most).contains(&categories) {
            let expected = format!("from 1 to {most}");
            return Err(Error::argument("categories", expected, categories));
        }
        let height = side("categories", categories, cell)?;
        let width = side("instances", instances, cell)?;
        let mut sheet = vec![BETWEEN; height * width * 3];
        for row in 0..categories {
            for column in 0..instances {
                let first = self.options().first;
                let image = self.render(row, first.wrapping_add(column as u64))?;
                let corner = (row * (cell + GAP) * width + column * (cell + GAP)) * 3;
                put(
                    &image,
                    cell,
                    width,
                    sheet.get_mut(corner..).unwrap_or_default(),
                );
            }
        }
        Image::new(height, width, 3, sheet)
    }
}

/// The length of `count` cells and the gaps between them.
fn side(name: &str, count: usize, cell: usize) -> Result<usize> {
    if cell == 0 {
        return Err(Error::argument("cell", "at least 1", cell));
    }
    let length = cell
        .checked_add(GAP)
        .and_then(|step| step.checked_mul(count))
        .filter(|length| (1..=LONGEST).contains(length));
    length.map(|length| length - GAP).ok_or_else(|| {
        let most = LONGEST / cell.saturating_add(GAP);
        Error::argument(
            name,
            format!("from 1 to {most} cells of {cell} pixels"),
            count,
        )
    })
}

/// Puts an image into a sheet that begins at the cell's first pixel.
fn put(image: &Image, cell: usize, width: usize, sheet: &mut [u8]) {
    let channels = image.channels();
    for (y, line) in sheet.chunks_mut(width * 3).take(cell).enumerate() {
        let row = y * image.height() / cell * image.width();
        for (x, rgb) in line.chunks_mut(3).take(cell).enumerate() {
            let pixel = (row + x * image.width() / cell) * channels;
            for (channel, value) in rgb.iter_mut().enumerate() {
                let at = pixel + channel.min(channels - 1);
                *value = image.pixels().get(at).copied().unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::{Colour, FractalOptions};
    use super::*;

    #[test]
    fn a_grid_has_every_instance_at_its_place() {
        let options = FractalOptions {
            categories: 5,
            size: 28,
            colour: Colour::Grey,
            ..Default::default()
        };
        let data = Fractals::new(options).unwrap();
        let sheet = data.grid(3, 4, 56).unwrap();
        assert_eq!(
            (sheet.height(), sheet.width(), sheet.channels()),
            (172, 230, 3)
        );
        let image = data.render(2, 3).unwrap();
        let at = |y: usize, x: usize| sheet.pixels()[(y * 230 + x) * 3 + 1];
        for (y, x) in [(0, 0), (13, 14), (27, 27), (20, 5)] {
            let value = image.pixels()[y * 28 + x];
            assert_eq!(at(116 + 2 * y, 174 + 2 * x), value);
            assert_eq!(at(117 + 2 * y, 175 + 2 * x), value);
        }
        assert_eq!((at(56, 3), at(3, 57)), (96, 96));
        let refused = |rows, columns, cell| data.grid(rows, columns, cell).unwrap_err().to_string();
        assert_eq!(
            refused(6, 1, 28),
            "categories: expected from 1 to 5, found 6"
        );
        assert_eq!(
            refused(5, 0, 28),
            "instances: expected from 1 to 546 cells of 28 pixels, found 0"
        );
        assert_eq!(refused(5, 1, 0), "cell: expected at least 1, found 0");
        assert!(refused(5, usize::MAX, 28).starts_with("instances: "));
        assert!(refused(5, 2, usize::MAX).starts_with("categories: "));
    }
}
