//! Attention of several heads.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use burn_zoo_cpu::Attention;

use super::trace;

/// Scaled dot-product attention within each image (Vaswani et al., 2017,
/// <https://arxiv.org/abs/1706.03762>).
///
/// # Shapes
/// - qkv: `[batch, length, 3 * width]`: of each token its queries, then keys, then values, of `heads`
///   heads each, which divide `width`
/// - output: `[batch, length, width]`
pub fn attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    if !trace::active()
        && let Some(output) = burn_zoo_cpu::attention(&qkv, Attention { heads })
    {
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
