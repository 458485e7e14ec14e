//! The plain losses of classifications.

use burn::tensor::activation::{log_sigmoid, log_softmax};
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

/// Mean binary cross-entropy of class scores, each class by itself: `torch.nn.BCEWithLogitsLoss`.
///
/// # Shapes
/// - logits: `[batch, classes]`, before the sigmoid
/// - targets: `[batch, classes]`, 0 to 1
/// - positive: `[1, classes]`, how much a class that is there counts; 1 without it
/// - output: `[1]`
pub fn binary_cross_entropy(
    logits: Tensor<2>,
    targets: Tensor<2>,
    positive: Option<&Tensor<2>>,
) -> Tensor<1> {
    let there = log_sigmoid(logits.clone()) * targets.clone();
    let there = match positive {
        Some(weights) => there * weights.clone(),
        None => there,
    };
    let absent = log_sigmoid(logits.neg()) * targets.neg().add_scalar(1.0);
    (there + absent).mean().neg()
}
