//! Limits of what a spec may ask for.

use crate::error::{Error, Result};
use crate::model::Pool;

/// A first convolution sees at least one channel.
pub(crate) fn check_channels(in_channels: usize) -> Result<()> {
    // More is surely a mistake, and would ask for a very large first layer.
    if (1..=1024).contains(&in_channels) {
        return Ok(());
    }
    Err(Error::argument("in_channels", "1 to 1024", in_channels))
}

/// A head needs one vector per image.
pub(crate) fn check_pool(pool: Pool, num_classes: usize) -> Result<()> {
    if pool != Pool::None || num_classes == 0 {
        return Ok(());
    }
    Err(Error::argument(
        "pool",
        "a pooling, or num_classes 0: a head needs one vector per image",
        format!("none with {num_classes} classes"),
    ))
}

/// More classes than any data set has are surely a mistake, and would ask for a very large head.
pub(crate) fn check_classes(classes: usize) -> Result<()> {
    match classes {
        0..=200_000 => Ok(()),
        _ => Err(Error::argument("num_classes", "0 to 200000", classes)),
    }
}
