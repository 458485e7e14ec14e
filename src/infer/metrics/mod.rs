//! How good predictions are, where an image has any number of classes or values of its own.
//!
//! Host code on slices: scores and targets of a whole set, row-major, a row for each image. The
//! figures are those of scikit-learn 1.9 of the same names; `tests/fixtures/metrics.json` holds its
//! answers.

mod multi_label;
mod regression;
#[cfg(test)]
mod tests;

pub use multi_label::{
    ClassMetrics, MultiLabelMetrics, PrecisionRecall, average_precision, best_threshold,
    best_thresholds, precision_recall,
};
pub use regression::{OutputMetrics, RegressionMetrics};

use crate::error::{Error, Result};

/// The number of rows of two row-major tables of the same shape.
///
/// # Errors
/// [`Error::InvalidArgument`] for no columns, no rows, a row that is cut short, and tables that
/// differ in length.
fn rows(
    name: &str,
    values: usize,
    targets: usize,
    (kind, columns): (&str, usize),
) -> Result<usize> {
    if columns == 0 {
        return Err(Error::argument(kind, "at least one", 0));
    }
    if values == 0 || !values.is_multiple_of(columns) {
        let expected = format!("rows of {columns} values, at least one");
        return Err(Error::argument(name, expected, format!("{values} values")));
    }
    if values != targets {
        let expected = format!("{values} values, as many as {name}");
        return Err(Error::argument("targets", expected, targets));
    }
    Ok(values / columns)
}

/// # Errors
/// [`Error::InvalidArgument`] for NaN and infinity.
fn finite(name: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(place) => Err(Error::argument(
            name,
            "finite numbers",
            format!("{} at {place}", values[place]),
        )),
    }
}
