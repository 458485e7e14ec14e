//! Images that have values: how far off the predicted ones are.

use serde::{Deserialize, Serialize};

use super::{finite, rows};
use crate::error::Result;

/// How well values of images are predicted, as means over the outputs (scikit-learn's
/// `multioutput="uniform_average"`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegressionMetrics {
    /// Images that were looked at.
    pub images: usize,
    /// Mean absolute error, in the unit of the targets.
    pub mae: f64,
    /// Root of the mean squared error, in the unit of the targets.
    pub rmse: f64,
    /// Coefficient of determination R²; see [`OutputMetrics::r2`].
    pub r2: f64,
    /// Each output by itself.
    pub per_output: Vec<OutputMetrics>,
}

/// How well one value of images is predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputMetrics {
    /// Mean absolute error, in the unit of the targets.
    pub mae: f64,
    /// Root of the mean squared error, in the unit of the targets.
    pub rmse: f64,
    /// Coefficient of determination R², at most 1: the part of the targets' variance that is
    /// predicted. 0 is as good as their mean for each image, less is worse. Where all targets are
    /// the same it is 1 if every prediction is right and 0 otherwise, as scikit-learn has it; so it
    /// is for a single image, where scikit-learn gives none.
    pub r2: f64,
    /// Mean of the targets.
    pub mean_target: f64,
    /// Standard deviation of the targets: the [`rmse`](Self::rmse) of predicting their mean.
    pub deviation_target: f64,
}

impl RegressionMetrics {
    /// Compares predicted values with the targets.
    ///
    /// # Shapes
    /// - predicted, targets: `[images, outputs]`, row-major
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for no images or outputs, lengths
    /// that do not fit, and values that are not finite.
    pub fn of(predicted: &[f32], targets: &[f32], outputs: usize) -> Result<Self> {
        let columns = ("outputs", outputs);
        let images = rows("predicted", predicted.len(), targets.len(), columns)?;
        finite("predicted", predicted)?;
        finite("targets", targets)?;
        let per_output = (0..outputs).map(|output| {
            let column = |values: &'_ [f32]| {
                let values = values.iter().skip(output).step_by(outputs);
                values.map(|value| f64::from(*value)).collect::<Vec<_>>()
            };
            OutputMetrics::of(&column(predicted), &column(targets))
        });
        let per_output: Vec<OutputMetrics> = per_output.collect();
        let mean = |figure: fn(&OutputMetrics) -> f64| {
            per_output.iter().map(figure).sum::<f64>() / outputs as f64
        };
        Ok(Self {
            images,
            mae: mean(|output| output.mae),
            rmse: mean(|output| output.rmse),
            r2: mean(|output| output.r2),
            per_output,
        })
    }
}

impl OutputMetrics {
    fn of(predicted: &[f64], targets: &[f64]) -> Self {
        let images = targets.len() as f64;
        let errors = predicted.iter().zip(targets).map(|(a, b)| a - b);
        let squares: f64 = errors.clone().map(|error| error * error).sum();
        let mean_target = targets.iter().sum::<f64>() / images;
        let deviations = targets.iter().map(|target| target - mean_target);
        let variation: f64 = deviations.map(|deviation| deviation * deviation).sum();
        let r2 = if variation > 0.0 {
            1.0 - squares / variation
        } else if squares > 0.0 {
            0.0
        } else {
            1.0
        };
        Self {
            mae: errors.map(f64::abs).sum::<f64>() / images,
            rmse: (squares / images).sqrt(),
            r2,
            mean_target,
            deviation_target: (variation / images).sqrt(),
        }
    }
}
