//! Models at work: evaluation, prediction, and a form for inference alone.

mod evaluate;
mod fused;
mod predict;

#[cfg(feature = "plots")]
pub(crate) use evaluate::LARGEST_CONFUSION;
pub use evaluate::{ClassScore, Evaluation};
pub(crate) use evaluate::{Judged, Scored, best, check_labels, scalar};
pub use fused::Fused;
pub use predict::{FilePrediction, FilePredictions, PredictOptions, Prediction};
