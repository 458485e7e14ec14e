//! The plain loss of a classification.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// Mean cross-entropy of class scores.
///
/// # Shapes
/// - logits: `[batch, classes]`, before softmax
/// - labels: `[batch]`, indices of classes
/// - output: `[1]`
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let batch = logits.dims()[0];
    let chosen = log_softmax(logits, 1).gather(1, labels.reshape([batch, 1]));
    chosen.mean().neg()
}
