//! One change of an image, with all its numbers given.

use serde::{Deserialize, Serialize};

use super::checks::{check_finite, check_in, check_interpolation};
use super::padding::PaddingMode;
use super::rectangle::Rectangle;
use super::{geometry, tone, warp};
use crate::error::{Error, Result};
use crate::preprocess::image::Image;
use crate::preprocess::resample::Interpolation;

/// One change of an image, with nothing left to chance. The bytes are those that
/// `torchvision.transforms.v2.functional` and Pillow make of a Pillow image of the mode `L` or
/// `RGB`.
///
/// [`Op::Affine`] and [`Op::Rotate`] depend on the platform's sine and cosine: where a position
/// lies exactly between two pixels, their last bits decide.
///
/// ```
/// use burn_zoo::preprocess::Image;
/// use burn_zoo::preprocess::augment::Op;
///
/// # fn main() -> burn_zoo::error::Result<()> {
/// let image = Image::new(1, 3, 1, vec![10, 20, 30])?;
/// assert_eq!(Op::HorizontalFlip.apply(&image)?.pixels(), [30, 20, 10]);
/// assert_eq!(Op::Brightness(0.5).apply(&image)?.pixels(), [5, 10, 15]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Op {
    /// Left and right are exchanged (`hflip`).
    HorizontalFlip,
    /// Top and bottom are exchanged (`vflip`).
    VerticalFlip,
    /// A part is cut out, of an image that goes on beyond its edges (`pad` and `crop`).
    Crop {
        /// The first row; may be outside the image.
        top: i64,
        /// The first column; may be outside the image.
        left: i64,
        /// Rows, 1 to 16384.
        height: usize,
        /// Columns, 1 to 16384.
        width: usize,
        /// What lies beyond the edges.
        padding_mode: PaddingMode,
        /// The value of all channels where that is constant.
        fill: u8,
    },
    /// A part is cut out and resized (`resized_crop`). The pixels around it have no part in it.
    ResizedCrop {
        /// The first row.
        top: usize,
        /// The first column.
        left: usize,
        /// Rows; all must be in the image.
        height: usize,
        /// Columns; all must be in the image.
        width: usize,
        /// `[height, width]` of the result, 1 to 16384 each.
        to: [usize; 2],
        /// The filter.
        interpolation: Interpolation,
    },
    /// The image is sheared, scaled and rotated about a point, and shifted (`affine`).
    Affine {
        /// The angle in degrees, clockwise.
        angle: f64,
        /// By how many pixels the image moves to the right and down.
        translate: [f64; 2],
        /// The factor of the size; above 0.
        scale: f64,
        /// The angles in degrees along the rows and along the columns.
        shear: [f64; 2],
        /// The point that stays in its place but for the shift, `[x, y]`; the middle if `None`.
        center: Option<[f64; 2]>,
        /// Nearest, bilinear or bicubic; not antialiased.
        interpolation: Interpolation,
        /// The value of all channels where there is nothing to show.
        fill: u8,
    },
    /// The image is rotated about its middle (`rotate`).
    Rotate {
        /// The angle in degrees, *counter*-clockwise.
        angle: f64,
        /// Nearest, bilinear or bicubic; not antialiased.
        interpolation: Interpolation,
        /// The value of all channels where there is nothing to show.
        fill: u8,
    },
    /// Away from black by this factor (`adjust_brightness`).
    Brightness(f64),
    /// Away from the mean grey by this factor (`adjust_contrast`).
    Contrast(f64),
    /// Away from the grey image by this factor (`adjust_saturation`).
    Saturation(f64),
    /// The hue is turned by this part of a turn, −0.5 to 0.5 (`adjust_hue`). In steps of 1/255, as
    /// Pillow's hue has 8 bits.
    Hue(f64),
    /// Away from a blurred image by this factor (`adjust_sharpness`).
    Sharpness(f64),
    /// The upper bits are kept, 1 to 8 (`posterize`).
    Posterize(u32),
    /// Values from this one up are inverted (`solarize`).
    Solarize(f64),
    /// The values of each channel are stretched to 0..255 (`autocontrast`).
    AutoContrast,
    /// The values of each channel are spread until all are as frequent (`equalize`).
    Equalize,
    /// Each value is taken from 255 (`invert`).
    Invert,
}

/// Larger images are surely a mistake, and would ask for all of a machine's memory.
const MOST_PIXELS: usize = 16_384;

impl Op {
    /// The changed image.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a number out of range, or a part outside the image.
    pub fn apply(&self, image: &Image) -> Result<Image> {
        self.check(image)?;
        Ok(self.apply_unchecked(image))
    }

    /// The same for numbers that are known to be in range. With others the result is not
    /// described, but there is one.
    pub(super) fn apply_unchecked(&self, image: &Image) -> Image {
        match *self {
            Op::HorizontalFlip => geometry::flip_horizontally(image),
            Op::VerticalFlip => geometry::flip_vertically(image),
            Op::Crop {
                top,
                left,
                height,
                width,
                padding_mode,
                fill,
            } => geometry::crop(image, [top, left], [height, width], padding_mode, fill),
            Op::ResizedCrop {
                top,
                left,
                height,
                width,
                to,
                interpolation,
            } => geometry::resized_crop(image, [top, left], [height, width], to, interpolation),
            Op::Affine {
                angle,
                translate,
                scale,
                shear,
                center,
                interpolation,
                fill,
            } => {
                let middle = [image.width(), image.height()].map(|side| side as f64 * 0.5);
                let center = center.unwrap_or(middle);
                let matrix = warp::affine_matrix(center, angle, translate, scale, shear);
                warp::affine(image, matrix, interpolation, fill)
            }
            Op::Rotate {
                angle,
                interpolation,
                fill,
            } => warp::rotate(image, angle, interpolation, fill),
            Op::Brightness(factor) => tone::brightness(image, factor),
            Op::Contrast(factor) => tone::contrast(image, factor),
            Op::Saturation(factor) => tone::saturation(image, factor),
            Op::Hue(turn) => tone::hue(image, turn),
            Op::Sharpness(factor) => tone::sharpness(image, factor),
            Op::Posterize(bits) => tone::posterize(image, bits),
            Op::Solarize(threshold) => tone::solarize(image, threshold),
            Op::AutoContrast => tone::autocontrast(image),
            Op::Equalize => tone::equalize(image),
            Op::Invert => tone::invert(image),
        }
    }

    fn check(&self, image: &Image) -> Result<()> {
        let finite = |name: &str, value: f64| check_finite(name, &[value]);
        let sides = |name: &str, sides: [usize; 2]| {
            let expected = format!("1 to {MOST_PIXELS}");
            let check = |side: &usize| check_in(name, *side, 1..=MOST_PIXELS, expected.clone());
            sides.iter().try_for_each(check)
        };
        match *self {
            Op::HorizontalFlip
            | Op::VerticalFlip
            | Op::AutoContrast
            | Op::Equalize
            | Op::Invert => Ok(()),
            Op::Crop { height, width, .. } => sides("crop height and width", [height, width]),
            Op::ResizedCrop {
                top,
                left,
                height,
                width,
                to,
                ..
            } => {
                let part = Rectangle {
                    top,
                    left,
                    height,
                    width,
                };
                let (rows, columns) = (image.height(), image.width());
                if height == 0 || width == 0 || !part.is_inside([rows, columns]) {
                    let expected = format!("a part of {rows} x {columns} pixels");
                    return Err(Error::argument("resized crop", expected, part));
                }
                sides("resized crop to", to)
            }
            Op::Affine {
                angle,
                translate,
                scale,
                shear,
                center,
                interpolation,
                ..
            } => {
                finite("affine angle", angle)?;
                check_finite("affine translate", &translate)?;
                check_finite("affine shear", &shear)?;
                check_finite("affine center", &center.unwrap_or_default())?;
                if !(scale > 0.0 && scale.is_finite()) {
                    return Err(Error::argument("affine scale", "a positive number", scale));
                }
                check_interpolation("affine interpolation", interpolation)
            }
            Op::Rotate {
                angle,
                interpolation,
                ..
            } => {
                finite("rotate angle", angle)?;
                check_interpolation("rotate interpolation", interpolation)
            }
            Op::Brightness(factor) => finite("brightness", factor),
            Op::Contrast(factor) => finite("contrast", factor),
            Op::Saturation(factor) => finite("saturation", factor),
            Op::Sharpness(factor) => finite("sharpness", factor),
            Op::Solarize(threshold) => finite("solarize", threshold),
            Op::Hue(turn) => check_in("hue", turn, -0.5..=0.5, "-0.5 to 0.5"),
            Op::Posterize(bits) => check_in("posterize", bits, 1..=8, "1 to 8 bits"),
        }
    }
}
