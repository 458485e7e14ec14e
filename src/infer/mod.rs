//! Models at work: evaluation, prediction, and a form for inference alone.

mod evaluate;
mod fused;
mod metrics;
mod predict;
mod probe;

#[cfg(feature = "plots")]
pub(crate) use evaluate::LARGEST_CONFUSION;
pub(crate) use evaluate::{Answers, BatchLogits, BatchScores, Counts, best, is_nan, scalar};
pub use evaluate::{ClassScore, Evaluation};
pub use fused::Fused;
pub use metrics::{
    ClassMetrics, MultiLabelMetrics, OutputMetrics, PrecisionRecall, RegressionMetrics,
    average_precision, best_threshold, best_thresholds, precision_recall,
};
pub use predict::{FilePrediction, FilePredictions, PredictOptions, Prediction};
pub use probe::{Embeddings, LinearProbe, Strength, nearest_neighbors};

use crate::error::Error;

/// What a model is told whose output is no number.
pub(crate) fn no_numbers(what: &str) -> Error {
    let expected =
        format!("finite {what}; weights of a run that diverged, or damaged ones, give none");
    Error::argument("model", expected, format!("{what} that are not numbers"))
}
