//! Rotation and other affine maps, with Pillow's arithmetic (`Geometry.c`).

use super::geometry::{by_pixel, channel_by_channel, flip_horizontally, flip_vertically, like};
use crate::preprocess::image::Image;
use crate::preprocess::resample::Interpolation;

/// From a position in the result to one in the image, by rows, with the sums in the order of
/// `torchvision.transforms.v2`. That of the older `torchvision.transforms` differs in last bits,
/// which show where a position falls between two pixels.
pub(super) fn affine_matrix(
    [center_x, center_y]: [f64; 2],
    angle: f64,
    [shift_x, shift_y]: [f64; 2],
    scale: f64,
    shear: [f64; 2],
) -> [f64; 6] {
    let angle = angle.to_radians();
    let [shear_x, shear_y] = shear.map(f64::to_radians);
    let (middle_x, middle_y) = (center_x + shift_x, center_y + shift_y);
    // Rotation and shears, without the scale: a matrix of determinant 1.
    let a = (angle - shear_y).cos() / shear_y.cos();
    let b = -(a * shear_x.tan() + angle.sin());
    let c = (angle - shear_y).sin() / shear_y.cos();
    let d = angle.cos() - c * shear_x.tan();
    let [a, b, c, d] = [d / scale, -b / scale, -c / scale, a / scale];
    let x = center_x - a * middle_x - b * middle_y;
    let y = center_y - c * middle_x - d * middle_y;
    [a, b, x, c, d, y]
}

/// Rotated counter-clockwise by this many degrees, as Pillow's `rotate`.
pub(super) fn rotate(image: &Image, angle: f64, filter: Interpolation, fill: u8) -> Image {
    let angle = angle.rem_euclid(360.0);
    let square = image.height() == image.width();
    if angle == 0.0 {
        return image.clone();
    } else if angle == 180.0 {
        return flip_vertically(&flip_horizontally(image));
    } else if square && (angle == 90.0 || angle == 270.0) {
        return by_pixel!(image, quarter_turn(angle == 90.0));
    }
    let radians = -angle.to_radians();
    let (sine, cosine) = (fifteen_digits(radians.sin()), fifteen_digits(radians.cos()));
    let (x, y) = (image.width() as f64 / 2.0, image.height() as f64 / 2.0);
    let matrix = [
        cosine,
        sine,
        (cosine * -x + sine * -y) + x,
        -sine,
        cosine,
        (-sine * -x + cosine * -y) + y,
    ];
    affine(image, matrix, filter, fill)
}

/// Rounded to 15 digits after the point, as Python's `round`.
fn fifteen_digits(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}

/// A square image turned by 90 degrees.
fn quarter_turn<const C: usize>(image: &Image, counter_clockwise: bool) -> Image {
    let (side, source) = (image.width(), image.pixels().as_chunks::<C>().0);
    let mut pixels = Vec::with_capacity(source.len());
    for row in 0..side {
        for column in 0..side {
            pixels.push(if counter_clockwise {
                source[column * side + side - 1 - row]
            } else {
                source[(side - 1 - column) * side + row]
            });
        }
    }
    like(image, pixels.into_flattened())
}

/// The image seen through a matrix, as Pillow's `transform` with `AFFINE`. Other filters than
/// bilinear and bicubic are taken for nearest.
pub(super) fn affine(image: &Image, matrix: [f64; 6], filter: Interpolation, fill: u8) -> Image {
    by_pixel!(image, affine_pixels(matrix, filter, fill))
}

fn affine_pixels<const C: usize>(
    image: &Image,
    matrix: [f64; 6],
    filter: Interpolation,
    fill: u8,
) -> Image {
    let grid = Grid {
        pixels: image.pixels().as_chunks::<C>().0,
        width: image.width(),
        height: image.height(),
    };
    let mut result = vec![[fill; C]; grid.pixels.len()];
    match filter {
        Interpolation::Bilinear => grid.see(matrix, &mut result, Grid::bilinear),
        Interpolation::Bicubic => grid.see(matrix, &mut result, Grid::bicubic),
        _ if matrix[1] == 0.0 && matrix[3] == 0.0 => grid.scale(matrix, &mut result),
        _ if grid.fits_fixed(matrix) => grid.see_fixed(matrix, &mut result),
        _ => grid.see_nearest(matrix, &mut result),
    }
    like(image, result.into_flattened())
}

/// The pixels of an image, and how to take some of them. `x` is a column, `y` a row; the first
/// pixel reaches from 0 to 1.
struct Grid<'a, const C: usize> {
    pixels: &'a [[u8; C]],
    width: usize,
    height: usize,
}

impl<const C: usize> Grid<'_, C> {
    /// The pixel at a position, if there is one.
    fn at(&self, x: i64, y: i64) -> Option<[u8; C]> {
        let (x, y) = (usize::try_from(x).ok()?, usize::try_from(y).ok()?);
        (x < self.width && y < self.height).then(|| self.pixels[y * self.width + x])
    }

    /// The nearest pixels where the matrix only scales and shifts. As Pillow, by adding up the
    /// steps.
    fn scale(&self, m: [f64; 6], result: &mut [[u8; C]]) {
        let mut columns = Vec::with_capacity(self.width);
        let mut x = m[2] + m[0] * 0.5;
        for _ in 0..self.width {
            columns.push(truncate(x));
            x += m[0];
        }
        let mut y = m[5] + m[4] * 0.5;
        for row in result.chunks_exact_mut(self.width) {
            for (result, x) in row.iter_mut().zip(&columns) {
                if let Some(pixel) = self.at(*x, truncate(y)) {
                    *result = pixel;
                }
            }
            y += m[4];
        }
    }

    /// Whether Pillow would count in fixed point: no corner is too far out.
    fn fits_fixed(&self, m: [f64; 6]) -> bool {
        let (width, height) = (self.width as f64, self.height as f64);
        let corners = [(0.0, 0.0), (width, height), (0.0, height), (width, 0.0)];
        corners.iter().all(|(x, y)| {
            (x * m[0] + y * m[1] + m[2]).abs() < 32_768.0
                && (x * m[3] + y * m[4] + m[5]).abs() < 32_768.0
        })
    }

    /// The nearest pixels, their positions with 16 bits after the point.
    fn see_fixed(&self, m: [f64; 6], result: &mut [[u8; C]]) {
        let fix = |value: f64| (value * 65_536.0 + 0.5).floor() as i64;
        let mut first_x = fix(m[2] + m[0] * 0.5 + m[1] * 0.5);
        let mut first_y = fix(m[5] + m[3] * 0.5 + m[4] * 0.5);
        let m = m.map(fix);
        for row in result.chunks_exact_mut(self.width) {
            let (mut x, mut y) = (first_x, first_y);
            for result in row {
                if let Some(pixel) = self.at(x >> 16, y >> 16) {
                    *result = pixel;
                }
                x += m[0];
                y += m[3];
            }
            first_x += m[1];
            first_y += m[4];
        }
    }

    /// The nearest pixels, their positions in floating point.
    fn see_nearest(&self, m: [f64; 6], result: &mut [[u8; C]]) {
        let mut first_x = m[2] + m[1] * 0.5 + m[0] * 0.5;
        let mut first_y = m[5] + m[4] * 0.5 + m[3] * 0.5;
        for row in result.chunks_exact_mut(self.width) {
            let (mut x, mut y) = (first_x, first_y);
            for result in row {
                if let Some(pixel) = self.at(truncate(x), truncate(y)) {
                    *result = pixel;
                }
                x += m[0];
                y += m[3];
            }
            first_x += m[1];
            first_y += m[4];
        }
    }

    /// What `take` makes of the pixels around each position that is in the image.
    fn see(&self, m: [f64; 6], result: &mut [[u8; C]], take: impl Fn(&Self, f64, f64) -> [u8; C]) {
        let (width, height) = (self.width as f64, self.height as f64);
        for (row, result) in result.chunks_exact_mut(self.width).enumerate() {
            let row = row as f64 + 0.5;
            for (column, result) in result.iter_mut().enumerate() {
                let column = column as f64 + 0.5;
                let x = m[0] * column + m[1] * row + m[2];
                let y = m[3] * column + m[4] * row + m[5];
                if (0.0..width).contains(&x) && (0.0..height).contains(&y) {
                    *result = take(self, x - 0.5, y - 0.5);
                }
            }
        }
    }

    /// The pixels of these columns in these rows; those beyond the edges repeat the edge.
    fn around<const N: usize>(&self, columns: [i64; N], rows: [i64; N]) -> [[[u8; C]; N]; N] {
        let columns = columns.map(|x| x.clamp(0, self.width as i64 - 1) as usize);
        rows.map(|y| {
            let y = y.clamp(0, self.height as i64 - 1) as usize;
            let row = &self.pixels[y * self.width..][..self.width];
            columns.map(|x| row[x])
        })
    }

    /// Pillow cuts off what is after the point; it does not round.
    fn bilinear(&self, x: f64, y: f64) -> [u8; C] {
        let ((left, right), (top, down)) = (split(x), split(y));
        let [upper, lower] = self.around([left, left + 1], [top, top + 1]);
        let between = |[a, b]: [[u8; C]; 2], channel: usize| {
            let (a, b) = (f64::from(a[channel]), f64::from(b[channel]));
            a + (b - a) * right
        };
        std::array::from_fn(|channel| {
            let (upper, lower) = (between(upper, channel), between(lower, channel));
            (upper + (lower - upper) * down) as u8
        })
    }

    /// Cubic convolution with a = -1.
    fn bicubic(&self, x: f64, y: f64) -> [u8; C] {
        let ((left, right), (top, down)) = (split(x), split(y));
        let near = |first: i64| [first - 1, first, first + 1, first + 2];
        let rows = self.around(near(left), near(top));
        std::array::from_fn(|channel| {
            let across = rows.map(|row| cubic(row.map(|pixel| f64::from(pixel[channel])), right));
            cubic(across, down) as u8
        })
    }
}

/// Between the second and the third of four values.
fn cubic([before, from, to, after]: [f64; 4], part: f64) -> f64 {
    let first = -before + to;
    let second = 2.0 * (before - from) + to - after;
    let third = -before + from - to + after;
    from + part * (first + part * (second + part * third))
}

/// The pixel before a position, which is above -1, and how far the position is from it.
fn split(at: f64) -> (i64, f64) {
    let before = truncate(at);
    (before, at - before as f64)
}

/// Towards zero, but outside for all below it.
fn truncate(at: f64) -> i64 {
    if at < 0.0 { -1 } else { at as i64 }
}
