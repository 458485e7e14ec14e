//! The share of each class that is set aside for validation.

use crate::error::{Error, Result};

/// Refuses a share that leaves one of the two parts without images.
pub(super) fn check(share: f64) -> Result<()> {
    // Also refuses what is not a number.
    if share > 0.0 && share < 1.0 {
        return Ok(());
    }
    let expected = "a number above 0 and below 1";
    Err(Error::argument("valid_share", expected, share))
}

/// How many of a class's images are for validation: the share, rounded; at least one and not all of
/// two or more, and none of one.
pub(super) fn count(images: usize, share: f64) -> usize {
    match images {
        0 | 1 => 0,
        n => ((share * n as f64).round() as usize).clamp(1, n - 1),
    }
}
