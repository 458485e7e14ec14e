//! One change of an image, with all its numbers given.

use serde::{Deserialize, Serialize};

use super::padding::PaddingMode;
use super::{geometry, tone, warp};
use crate::preprocess::image::Image;
use crate::preprocess::resample::Interpolation;

/// One change of an image, with nothing left to chance. The bytes are those that
/// `torchvision.transforms.v2.functional` and Pillow make of a Pillow image of the mode `L` or
/// `RGB`.
///
/// [`Op::Affine`] and [`Op::Rotate`] depend on the platform's sine and cosine: where a position
/// lies exactly between two pixels, their last bits decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Op {
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

impl Op {
    /// The changed image, for numbers in range. With others the result is not described, but there
    /// is one.
    pub(super) fn apply(&self, image: &Image) -> Image {
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
}
