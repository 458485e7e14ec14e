//! Against burn's own operations, forward and backward.

use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Tensor, module};
use proptest::prelude::*;

use super::super::tests::{SLACK, apart, compare_any, device, random};
use super::{Prepared, attention, layer_norm, linear};

/// Rows, inputs, outputs.
fn linear_is_burns(
    [rows, inputs, outputs]: [usize; 3],
    [gelus, adds]: [bool; 2],
) -> Result<(), TestCaseError> {
    let x = random([1, rows, inputs], "x");
    let weight = random([1, outputs, inputs], "weight");
    let bias = random([1, 1, outputs], "bias");
    let residual = random([1, rows, outputs], "residual");
    let ours = |[x, weight, bias, residual]: [Tensor<3>; 4]| {
        let parts = (weight.reshape([outputs, inputs]), bias.reshape([outputs]));
        let output = linear(&x, parts, adds.then_some(&residual), gelus, None).unwrap();
        // All inputs need a gradient.
        output + residual * 0.5
    };
    let theirs = |[x, weight, bias, residual]: [Tensor<3>; 4]| {
        let output = x.matmul(weight.swap_dims(1, 2)) + bias;
        let output = if gelus { gelu(output) } else { output };
        let output = if adds {
            output + residual.clone()
        } else {
            output
        };
        output + residual * 0.5
    };
    compare_any(
        [x.clone(), weight.clone(), bias.clone(), residual.clone()],
        ours,
        theirs,
    )?;

    // Without a graph, and with a weight that is prepared once and used twice.
    let [x, weight, bias, residual] = [x, weight, bias, residual].map(Tensor::inner);
    let expected = theirs([x.clone(), weight.clone(), bias.clone(), residual.clone()]);
    let prepared = std::sync::Arc::new(Prepared::default());
    for _ in 0..2 {
        let weight = weight.clone().reshape([outputs, inputs]);
        let parts = (weight, bias.clone().reshape([outputs]));
        let kept = Some(prepared.clone());
        let output = linear(&x, parts, adds.then_some(&residual), gelus, kept).unwrap();
        let off = apart(output + residual.clone() * 0.5, expected.clone());
        prop_assert!(off < SLACK, "prepared: {off}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_affine_layer_is_burns(
        rows in 1usize..130,
        inputs in 1usize..70,
        outputs in 1usize..300,
        gelus: bool,
        adds: bool,
    ) {
        linear_is_burns([rows, inputs, outputs], [gelus, adds])?;
    }

    #[test]
    fn layer_normalisation_is_burns(
        batch in 1usize..6,
        length in 1usize..60,
        // Of very few features hardly anything but rounding is left of the gradient.
        features in 12usize..200,
    ) {
        let x = random([batch, length, features], "x") * 3.0 + 1.0;
        let affine = ["weight", "bias"].map(|name| random([1, 1, features], name));
        let [weight, bias] = affine;
        compare_any(
            [x, weight, bias],
            |[x, weight, bias]| {
                let affine = [weight, bias].map(|part| part.reshape([features]));
                layer_norm(&x, affine, 1e-6).unwrap()
            },
            |[x, weight, bias]| {
                let [weight, bias] = [weight, bias].map(|part| part.reshape([features]));
                module::layer_norm(x, weight, Some(bias), 1e-6)
            },
        )?;
    }

    #[test]
    fn attention_is_burns(
        batch in 1usize..7,
        length in 1usize..150,
        heads in 1usize..5,
        size in 1usize..40,
    ) {
        let qkv = random([batch, length, 3 * heads * size], "qkv") * 2.0;
        compare_any(
            [qkv.clone()],
            |[qkv]| attention(&qkv, heads).unwrap(),
            |[qkv]| plain_attention(qkv, heads),
        )?;
        let output = attention(&qkv.clone().inner(), heads).unwrap();
        let off = apart(output, plain_attention(qkv.inner(), heads));
        prop_assert!(off < SLACK, "without a graph: {off}");
    }
}

fn plain_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [batch, length, width] = qkv.dims();
    let size = width / 3 / heads;
    let qkv = qkv
        .reshape([batch, length, 3 * heads, size])
        .swap_dims(1, 2);
    let part = |index: usize| qkv.clone().narrow(1, index * heads, heads);
    let scores = part(0).matmul(part(1).swap_dims(2, 3)) * (size as f64).powf(-0.5);
    let mixed = softmax(scores, 3).matmul(part(2));
    mixed.swap_dims(1, 2).reshape([batch, length, heads * size])
}

/// Something that is not a number must not be lost on the way, or a diverging run would not be seen.
#[test]
fn what_is_not_a_number_stays_so() {
    let x = random([1, 3, 8], "x") * f32::NAN;
    let parts = (random([5, 8], "weight"), random([5], "bias"));
    let outputs = [
        linear(&x, parts, None, true, None).unwrap(),
        layer_norm(&x, [random([8], "weight"), random([8], "bias")], 1e-6).unwrap(),
        attention(&(random([1, 3, 12], "x") * f32::NAN), 2).unwrap(),
    ];
    for output in outputs {
        assert!(output.into_data().iter::<f32>().all(f32::is_nan));
    }
}

#[test]
fn what_does_not_fit_is_left_to_burn() {
    let x = Tensor::<3>::zeros([1, 2, 8], &device());
    let parts = || (random([5, 7], "weight"), random([5], "bias"));
    assert!(linear(&x, parts(), None, false, None).is_none());
    assert!(layer_norm(&x, [random([7], "w"), random([7], "b")], 1e-6).is_none());
    assert!(attention(&x, 3).is_none());
    let nothing = Tensor::<3>::zeros([1, 0, 24], &device());
    assert!(attention(&nothing, 2).is_none());
}
