//! Evaluation from what the frozen part of a model gave.

use burn::module::Module;

use super::cache::Inputs;
use super::recipe::Recipe;
use crate::error::Result;
use crate::infer::{BatchLogits, BatchScores, Evaluation};
use crate::model::Classifier;
use crate::nn::Precision;

impl Classifier {
    /// [`evaluate_while`](Self::evaluate_while) from what the frozen part of the model gave.
    pub(super) fn evaluate_inputs(
        &self,
        inputs: Inputs<'_>,
        recipe: &Recipe,
        look: impl FnMut(&BatchScores<'_>) -> bool,
    ) -> Result<Option<Evaluation>> {
        let model = self.valid();
        let batches = inputs.map(|input| {
            let mut input = input?;
            let targets = std::mem::take(&mut input.targets);
            let labels = input.labels.clone();
            let logits = input.score(&model, recipe)?;
            Ok(BatchLogits {
                logits: logits.cast(Precision::F32.dtype()),
                labels,
                targets,
            })
        });
        self.compare_with_labels(batches, look)
    }
}
