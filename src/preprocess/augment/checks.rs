//! Whether settings and shapes are in range.

use std::fmt::Display;
use std::ops::RangeBounds;

use crate::error::{Error, Result};
use crate::preprocess::resample::Interpolation;

/// A number in a range, which `expected` describes.
pub(super) fn check_in<T: PartialOrd + Display>(
    name: &str,
    value: T,
    range: impl RangeBounds<T>,
    expected: impl Into<String>,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::argument(name, expected, value))
}

pub(super) fn check_probability(name: &str, p: f64) -> Result<()> {
    check_in(name, p, 0.0..=1.0, "0 to 1")
}

/// Two numbers in `bounds`, the first no more than the second.
pub(super) fn check_range(
    name: &str,
    [low, high]: [f64; 2],
    bounds: impl RangeBounds<f64>,
    expected: &str,
) -> Result<()> {
    if bounds.contains(&low) && bounds.contains(&high) && low <= high {
        return Ok(());
    }
    let expected = format!("{expected}, the lower one first");
    Err(Error::argument(name, expected, format!("{low}..{high}")))
}

/// The least and the largest part of an area.
pub(super) fn check_area(name: &str, scale: [f64; 2]) -> Result<()> {
    check_range(name, scale, f64::MIN_POSITIVE..=1.0, "above 0 and up to 1")
}

/// The least and the largest proportions.
pub(super) fn check_ratio(name: &str, ratio: [f64; 2]) -> Result<()> {
    check_range(name, ratio, 1e-3..=1e3, "0.001 to 1000")
}

/// Steps of a strength.
pub(super) fn check_bins(name: &str, bins: usize) -> Result<()> {
    check_in(name, bins, 2..=1000, "2 to 1000")
}

/// A filter that is not antialiased.
pub(super) fn check_interpolation(name: &str, interpolation: Interpolation) -> Result<()> {
    match interpolation {
        Interpolation::Nearest | Interpolation::Bilinear | Interpolation::Bicubic => Ok(()),
        other => Err(Error::argument(
            name,
            "nearest, bilinear or bicubic",
            format!("{other:?}").to_lowercase(),
        )),
    }
}

/// As many values as a shape says.
pub(super) fn check_length(name: &str, length: usize, shape: &[usize]) -> Result<()> {
    let expected = shape.iter().try_fold(1_usize, |n, s| n.checked_mul(*s));
    if expected == Some(length) {
        return Ok(());
    }
    Err(Error::argument(
        name,
        format!("as many as {shape:?} has"),
        length,
    ))
}
