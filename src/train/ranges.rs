//! Checks of the numbers of a recipe; each error names the number, its range, and what was found.

use crate::error::{Error, Result};

fn check(is_good: bool, name: &str, expected: &str, value: f64) -> Result<()> {
    if is_good {
        return Ok(());
    }
    Err(Error::argument(name, expected, value))
}

/// [`check`] of a number that is computed with in 32 bits: what it is rounded to is in the range as well.
fn check_rounded(
    is_good: impl Fn(f64) -> bool,
    name: &str,
    expected: &str,
    value: f64,
) -> Result<()> {
    check(is_good(value), name, expected, value)?;
    let rounded = f64::from(value as f32);
    let expected = format!("{expected}, rounded to 32 bits");
    check(is_good(rounded), name, &expected, value)
}

/// Above 0.
pub(super) fn positive(name: &str, value: f64) -> Result<()> {
    let is_good = |value: f64| value > 0.0 && value.is_finite();
    check_rounded(is_good, name, "a number above 0", value)
}

/// 0 or above.
pub(super) fn not_negative(name: &str, value: f64) -> Result<()> {
    let is_good = |value: f64| value >= 0.0 && value.is_finite();
    check_rounded(is_good, name, "a number of at least 0", value)
}

/// 0 or above, and below 1.
pub(super) fn below_one(name: &str, value: f64) -> Result<()> {
    let is_good = |value: f64| (0.0..1.0).contains(&value);
    check_rounded(is_good, name, "at least 0 and below 1", value)
}

/// 0 to 1.
pub(super) fn share(name: &str, value: f64) -> Result<()> {
    check((0.0..=1.0).contains(&value), name, "0 to 1", value)
}

/// Above 0, up to 1.
pub(super) fn positive_share(name: &str, value: f64) -> Result<()> {
    let is_good = value > 0.0 && value <= 1.0;
    check(is_good, name, "above 0 and up to 1", value)
}

/// A count of 1 or more.
pub(super) fn at_least_one(name: &str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::argument(name, "at least 1", value))
}
