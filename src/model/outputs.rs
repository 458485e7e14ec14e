//! What the outputs of a model mean.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::data::{Targets, Task};
use crate::error::{Error, Result};

/// What the outputs of a model mean, and how its answers are read from them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outputs {
    /// What they tell of an image.
    pub task: Task,
    /// Of several labels: the probability from which on an image has a class, for each; 0.5 if there are
    /// none.
    pub thresholds: Vec<f32>,
    /// Of numbers: how they were scaled in training.
    pub scaling: Option<TargetScaling>,
}

impl Outputs {
    /// The probability from which on an image has a class.
    pub fn threshold(&self, class: usize) -> f32 {
        self.thresholds.get(class).copied().unwrap_or(0.5)
    }
}

/// Mean and standard deviation of each number in the training images: a model is trained on numbers
/// of mean 0 and deviation 1, and its outputs are brought back.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TargetScaling {
    /// The mean of each number.
    pub mean: Vec<f32>,
    /// Its standard deviation; 1 for a number that is the same in all images.
    pub std: Vec<f32>,
}

impl TargetScaling {
    /// That of some numbers.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for classes.
    pub fn of(targets: &Targets) -> Result<Self> {
        let Targets::Rows { values, width } = targets else {
            return Err(Error::argument("targets", "numbers", "classes"));
        };
        let count = targets.len().max(1) as f64;
        let column = |column: usize| values.iter().skip(column).step_by((*width).max(1));
        let figures = (0..*width).map(|index| {
            let mean = column(index).map(|value| f64::from(*value)).sum::<f64>() / count;
            let square = |value: &f32| (f64::from(*value) - mean).powi(2);
            let deviation = (column(index).map(square).sum::<f64>() / count).sqrt();
            let is_constant = deviation <= 1e-7 * mean.abs() || deviation == 0.0;
            (
                mean as f32,
                if is_constant { 1.0 } else { deviation as f32 },
            )
        });
        let (mean, std) = figures.unzip();
        Ok(Self { mean, std })
    }

    /// Numbers as a model is trained on them.
    ///
    /// # Shapes
    /// - targets and output: `[images, numbers]`
    pub(crate) fn normalized(&self, targets: Tensor<2>) -> Tensor<2> {
        let row = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [1, values.len()]);
            Tensor::<2>::from_data(data, &targets.device())
        };
        let (mean, std) = (row(&self.mean), row(&self.std));
        (targets - mean) / std
    }

    /// Outputs of a model, rows of numbers, in their own units.
    pub fn restore(&self, outputs: &mut [f32]) {
        let scales = self.mean.iter().zip(&self.std);
        for (value, (mean, std)) in outputs.iter_mut().zip(scales.cycle()) {
            *value = *value * std + mean;
        }
    }
}
