//! Affine layers, layer normalisation, attention.

use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Tensor, module};
use burn_zoo_cpu::{
    Act, Attention, Epilogue, LayerNorm, Linear, WeightCache, attention, layer_norm, linear,
};
use proptest::prelude::*;

use crate::common::{SLACK, compare, device, random, relative_difference};

/// Rows, inputs, outputs.
fn linear_is_burns(
    [rows, inputs, outputs]: [usize; 3],
    [gelus, adds, biased]: [bool; 3],
) -> Result<(), TestCaseError> {
    let x = random([1, rows, inputs], "x");
    let weight = random([1, outputs, inputs], "weight");
    let bias = random([1, 1, outputs], "bias");
    let residual = random([1, rows, outputs], "residual");
    let apply = |[x, weight, bias, residual]: [&Tensor<3>; 4], cache: Option<&WeightCache>| {
        let flat_bias = bias.clone().reshape([outputs]);
        let layer = Linear {
            weight: &weight.clone().reshape([outputs, inputs]),
            bias: biased.then_some(&flat_bias),
            cache,
        };
        let epilogue = Epilogue {
            residual: adds.then_some(residual),
            act: if gelus { Act::Gelu } else { Act::None },
        };
        let output = linear(x, layer, epilogue).unwrap();
        // All inputs need a gradient.
        output + residual.clone() * 0.5 + bias.clone() * 0.5
    };
    let theirs = |[x, weight, bias, residual]: [Tensor<3>; 4]| {
        let output = x.matmul(weight.swap_dims(1, 2));
        let output = if biased {
            output + bias.clone()
        } else {
            output
        };
        let output = if adds {
            output + residual.clone()
        } else {
            output
        };
        let output = if gelus { gelu(output) } else { output };
        output + residual * 0.5 + bias * 0.5
    };
    compare(
        [x.clone(), weight.clone(), bias.clone(), residual.clone()],
        |[x, weight, bias, residual]| apply([&x, &weight, &bias, &residual], None),
        theirs,
    )?;

    // Without a graph, and with a weight that is packed once and used twice.
    let inputs = [x, weight, bias, residual].map(Tensor::inner);
    let expected = theirs(inputs.clone());
    let cache = WeightCache::default();
    for _ in 0..2 {
        let output = apply(inputs.each_ref(), Some(&cache));
        let off = relative_difference(output, expected.clone());
        prop_assert!(off < SLACK, "with a cache: {off}");
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
        biased: bool,
    ) {
        linear_is_burns([rows, inputs, outputs], [gelus, adds, biased])?;
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
        compare(
            [x, weight, bias],
            |[x, weight, bias]| {
                let [weight, bias] = [weight, bias].map(|part| part.reshape([features]));
                normalize(&x, &weight, &bias).unwrap()
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
        compare(
            [qkv.clone()],
            |[qkv]| attention(&qkv, Attention { heads }).unwrap(),
            |[qkv]| plain_attention(qkv, heads),
        )?;
        let output = attention(&qkv.clone().inner(), Attention { heads }).unwrap();
        let off = relative_difference(output, plain_attention(qkv.inner(), heads));
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

fn normalize<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
) -> Option<Tensor<D>> {
    let norm = LayerNorm {
        weight,
        bias,
        epsilon: 1e-6,
    };
    layer_norm(x, norm)
}

fn affine<'a>(weight: &'a Tensor<2>, bias: &'a Tensor<1>) -> Linear<'a> {
    Linear {
        weight,
        bias: Some(bias),
        cache: None,
    }
}

/// NaN must not be lost on the way, or a diverging run would not be seen.
#[test]
fn nan_stays_visible() {
    let x = random([1, 3, 8], "x") * f32::NAN;
    let (weight, bias) = (random([5, 8], "weight"), random([5], "bias"));
    let outputs = [
        linear(&x, affine(&weight, &bias), Epilogue::act(Act::Gelu)).unwrap(),
        normalize(&x, &random([8], "weight"), &random([8], "bias")).unwrap(),
        attention(
            &(random([1, 3, 12], "x") * f32::NAN),
            Attention { heads: 2 },
        )
        .unwrap(),
    ];
    for output in outputs {
        assert!(output.into_data().iter::<f32>().all(f32::is_nan));
    }
}

#[test]
fn shapes_that_do_not_fit_are_left_to_burn() {
    let x = Tensor::<3>::zeros([1, 2, 8], &device());
    let (weight, bias) = (random([5, 7], "weight"), random([5], "bias"));
    let none = Epilogue::default();
    assert!(linear(&x, affine(&weight, &bias), none).is_none());
    let weight = random([5, 8], "weight");
    assert!(linear(&x, affine(&weight, &bias), none).is_some());
    assert!(linear(&x, affine(&weight, &random([4], "bias")), none).is_none());
    let residual = Epilogue {
        residual: Some(&x),
        act: Act::None,
    };
    assert!(linear(&x, affine(&weight, &bias), residual).is_none());
    assert!(normalize(&x, &random([7], "w"), &random([7], "b")).is_none());
    assert!(attention(&x, Attention { heads: 3 }).is_none());
    assert!(attention(&x, Attention { heads: 0 }).is_none());
    let nothing = Tensor::<3>::zeros([1, 0, 24], &device());
    assert!(attention(&nothing, Attention { heads: 2 }).is_none());
}

/// Sizes whose product overflows, of tensors that are expanded without memory, are not computed with.
#[test]
fn sizes_beyond_any_memory_are_left_to_burn() {
    // Its square is 0 where it overflows.
    let huge = 1usize << (usize::BITS / 2);
    let none = Epilogue::default();
    for of_graph in [true, false] {
        let of = |shape: [usize; 3]| {
            let tensor = random([1, 1, 1], "expanded").expand(shape);
            if of_graph { tensor } else { tensor.inner() }
        };
        let (vector, one) = (random([1], "vector"), random([1, 1], "weight"));
        for shape in [
            [huge, huge, 1],
            [huge, 1, huge],
            [isize::MAX as usize, 1, 1],
        ] {
            let weight = one.clone().expand([1, shape[2]]);
            assert!(linear(&of(shape), affine(&weight, &vector), none).is_none());
            let features = vector.clone().expand([shape[2]]);
            assert!(normalize(&of(shape), &features, &features).is_none());
        }
        // The output, and the weight.
        let (wide, bias) = (one.clone().expand([huge, 1]), vector.clone().expand([huge]));
        assert!(linear(&of([1, huge, 1]), affine(&wide, &bias), none).is_none());
        let square = one.expand([huge, huge]);
        assert!(linear(&of([1, 1, huge]), affine(&square, &bias), none).is_none());
        for shape in [[huge, huge, 3], [1, huge, 3]] {
            assert!(attention(&of(shape), Attention { heads: 1 }).is_none());
        }
    }
}
