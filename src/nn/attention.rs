//! Attention of several heads.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use super::trace;

/// Scaled dot-product attention within each image (Vaswani et al., 2017,
/// <https://arxiv.org/abs/1706.03762>).
///
/// # Shapes
/// - qkv: `[batch, length, 3 * width]`: of each token its queries, then keys, then values, of `heads`
///   heads each, which divide `width`
/// - output: `[batch, length, width]`
pub fn attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    if let Some(output) = on_cpu(&qkv, heads) {
        return output;
    }
    let [batch, length, width] = qkv.dims();
    let width = width / 3;
    let head = width / heads;
    // [batch, length, 3 * heads * head] -> three of [batch, heads, length, head]
    let qkv = qkv
        .reshape([batch, length, 3 * heads, head])
        .swap_dims(1, 2);
    let part = |index: usize| qkv.clone().narrow(1, index * heads, heads);

    let query = part(0) * (head as f64).powf(-0.5);
    let scores = softmax(query.matmul(part(1).swap_dims(2, 3)), 3);
    let macs = heads * length * length * head;
    trace::product("AttentionScores", &scores, macs);
    let mixed = scores.matmul(part(2));
    trace::product("AttentionValues", &mixed, macs);
    mixed.swap_dims(1, 2).reshape([batch, length, width])
}

#[cfg(feature = "flex")]
fn on_cpu(qkv: &Tensor<3>, heads: usize) -> Option<Tensor<3>> {
    if trace::active() {
        return None;
    }
    burn_zoo_cpu::tokens::attention(qkv, heads)
}

#[cfg(not(feature = "flex"))]
fn on_cpu(_qkv: &Tensor<3>, _heads: usize) -> Option<Tensor<3>> {
    None
}
