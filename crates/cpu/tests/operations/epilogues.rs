//! Every activation and the residual behind every operation: values and gradients.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use burn::tensor::Tensor;
use burn::tensor::module::{
    batch_norm as burn_batch_norm, batch_norm_train as burn_batch_norm_train,
    conv2d as burn_conv2d, linear as burn_linear,
};
use burn::tensor::ops::ConvOptions;
use burn_zoo_cpu::{
    Act, BatchNorm, BatchNormTrain, Conv2d, Epilogue, Linear, batch_norm, batch_norm_train, conv2d,
    linear,
};

use crate::common::{SLACK, compare, device, random, relative_difference, values};

/// The error function by its series.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * FRAC_2_SQRT_PI
}

/// Each function in 64 bits.
fn definition(act: Act, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let hard_sigmoid = |x: f64| (x / 6.0 + 0.5).clamp(0.0, 1.0);
    match act {
        Act::None => x,
        Act::Relu => x.max(0.0),
        Act::Relu6 => x.clamp(0.0, 6.0),
        Act::Silu => x * sigmoid(x),
        Act::HardSwish => x * hard_sigmoid(x),
        Act::HardSigmoid => hard_sigmoid(x),
        Act::Gelu => 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2)),
        Act::GeluTanh => {
            let inner = FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Act::QuickGelu => x * sigmoid(1.702 * x),
        Act::Sigmoid => sigmoid(x),
        Act::Tanh => x.tanh(),
        other => panic!("{other:?} has no definition here"),
    }
}

#[test]
fn activations_are_their_definitions() {
    // Beside the corners of the piecewise ones.
    let inputs: Vec<f32> = (-80..=80).map(|step| step as f32 / 10.0 + 0.03).collect();
    for act in Act::ALL {
        let x = Tensor::<1>::from_floats(inputs.as_slice(), &device()).require_grad();
        let y = act.forward(x.clone());
        let gradients = y.clone().sum().backward();
        let slopes = values(x.grad(&gradients).unwrap());
        for ((x, y), slope) in inputs.iter().zip(values(y)).zip(slopes) {
            let x = f64::from(*x);
            let expected = definition(act, x);
            assert!(
                (f64::from(y) - expected).abs() < 3e-6,
                "{act:?}({x}): {y} {expected}"
            );
            let by = 1e-5;
            let expected = (definition(act, x + by) - definition(act, x - by)) / (2.0 * by);
            let off = (f64::from(slope) - expected).abs();
            assert!(off < 1e-5, "{act:?}'({x}): {slope} {expected}");
        }
    }
}

/// Compares an operation with burn's for each activation, with and without a residual, in a graph
/// and without one. The last input is the residual.
fn every_epilogue<const N: usize>(
    inputs: [Tensor<4>; N],
    ours: impl Fn(&[Tensor<4>; N], Epilogue<'_, 4>) -> Tensor<4>,
    theirs: impl Fn(&[Tensor<4>; N]) -> Tensor<4>,
) {
    for act in Act::ALL {
        for adds in [false, true] {
            let actual = |inputs: [Tensor<4>; N]| {
                let residual = inputs.last().unwrap();
                let epilogue = Epilogue {
                    residual: adds.then_some(residual),
                    act,
                };
                // The residual takes part in any case, so that it has a gradient.
                ours(&inputs, epilogue) + residual.clone() * 0.5
            };
            let expected = |inputs: [Tensor<4>; N]| {
                let y = theirs(&inputs);
                let residual = inputs.last().unwrap().clone();
                let y = if adds { y + residual.clone() } else { y };
                act.forward(y) + residual * 0.5
            };
            compare(inputs.clone(), actual, expected)
                .unwrap_or_else(|error| panic!("{act:?}, residual {adds}: {error}"));
            let plain = inputs.clone().map(Tensor::inner);
            let off = relative_difference(actual(plain.clone()), expected(plain));
            assert!(
                off < SLACK,
                "{act:?}, residual {adds}, without a graph: {off}"
            );
        }
    }
}

/// `[1, n, 1, 1]` as `[n]`.
fn vector(tensor: &Tensor<4>) -> Tensor<1> {
    tensor.clone().flatten(0, 3)
}

fn vectors<const N: usize>(names: [&str; N], len: usize) -> [Tensor<4>; N] {
    names.map(|name| random([1, len, 1, 1], name))
}

#[test]
fn convolutions() {
    let [bias] = vectors(["bias"], 16);
    every_epilogue(
        [
            random([2, 16, 5, 6], "x") * 3.0,
            random([16, 16, 3, 3], "weight"),
            bias,
            random([2, 16, 5, 6], "residual"),
        ],
        |[x, weight, bias, _], epilogue| {
            let conv = Conv2d {
                bias: Some(&vector(bias)),
                padding: 1,
                ..Conv2d::new(weight)
            };
            conv2d(x, conv, epilogue).unwrap()
        },
        |[x, weight, bias, _]| {
            let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
            burn_conv2d(x.clone(), weight.clone(), Some(vector(bias)), options)
        },
    );
}

#[test]
fn convolutions_without_bias() {
    every_epilogue(
        [
            random([2, 4, 5, 6], "x") * 3.0,
            random([6, 2, 3, 3], "weight"),
            random([2, 6, 3, 3], "residual"),
        ],
        |[x, weight, _], epilogue| {
            let conv = Conv2d {
                stride: 2,
                padding: 1,
                ..Conv2d::new(weight)
            };
            conv2d(x, conv, epilogue).unwrap()
        },
        |[x, weight, _]| {
            let options = ConvOptions::new([2, 2], [1, 1], [1, 1], 2);
            burn_conv2d(x.clone(), weight.clone(), None, options)
        },
    );
}

#[test]
fn normalized_convolutions() {
    let [weight, bias, mean, variance] = vectors(["w", "b", "mean", "variance"], 6);
    let [mean, variance] = [mean, variance.abs() + 0.1].map(|tensor| vector(&tensor));
    every_epilogue(
        [
            random([2, 3, 5, 6], "x") * 3.0,
            random([6, 3, 3, 3], "kernels"),
            weight,
            bias,
            random([2, 6, 5, 6], "residual"),
        ],
        |[x, kernels, weight, bias, _], epilogue| {
            let [mean, variance] = on_device_of(x, [&mean, &variance]);
            let conv = Conv2d {
                norm: Some(BatchNorm {
                    weight: &vector(weight),
                    bias: &vector(bias),
                    mean: &mean,
                    variance: &variance,
                    epsilon: 1e-3,
                }),
                padding: 1,
                ..Conv2d::new(kernels)
            };
            conv2d(x, conv, epilogue).unwrap()
        },
        |[x, kernels, weight, bias, _]| {
            let [mean, variance] = on_device_of(x, [&mean, &variance]);
            let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
            let y = burn_conv2d(x.clone(), kernels.clone(), None, options);
            burn_batch_norm(y, vector(weight), vector(bias), mean, variance, 1e-3)
        },
    );
}

fn on_device_of<const N: usize>(x: &Tensor<4>, vectors: [&Tensor<1>; N]) -> [Tensor<1>; N] {
    vectors.map(|vector| {
        if x.device().is_autodiff() {
            vector.clone()
        } else {
            vector.clone().inner()
        }
    })
}

#[test]
fn batch_norms() {
    let [weight, bias, mean, variance] = vectors(["w", "b", "mean", "variance"], 5);
    let [mean, variance] = [mean, variance.abs() + 0.1].map(|tensor| vector(&tensor));
    every_epilogue(
        [
            random([3, 5, 4, 4], "x") * 3.0,
            weight,
            bias,
            random([3, 5, 4, 4], "residual"),
        ],
        |[x, weight, bias, _], epilogue| {
            let [mean, variance] = on_device_of(x, [&mean, &variance]);
            let norm = BatchNorm {
                weight: &vector(weight),
                bias: &vector(bias),
                mean: &mean,
                variance: &variance,
                epsilon: 1e-5,
            };
            batch_norm(x, norm, epilogue).unwrap()
        },
        |[x, weight, bias, _]| {
            let [mean, variance] = on_device_of(x, [&mean, &variance]);
            burn_batch_norm(
                x.clone(),
                vector(weight),
                vector(bias),
                mean,
                variance,
                1e-5,
            )
        },
    );
}

#[test]
fn batch_norms_of_the_batch() {
    let [weight, bias] = vectors(["w", "b"], 5);
    every_epilogue(
        [
            random([3, 5, 4, 4], "x") * 3.0,
            weight,
            bias,
            random([3, 5, 4, 4], "residual"),
        ],
        |[x, weight, bias, _], epilogue| {
            let norm = BatchNormTrain {
                weight: &vector(weight),
                bias: &vector(bias),
                epsilon: 1e-5,
                sync: None,
            };
            batch_norm_train(x, norm, epilogue).unwrap().output
        },
        |[x, weight, bias, _]| {
            burn_batch_norm_train(x.clone(), vector(weight), vector(bias), 1e-5).output
        },
    );
}

#[test]
fn affine_layers() {
    let [bias] = vectors(["bias"], 9);
    let matrix = |weight: &Tensor<4>| weight.clone().reshape([9, 7]);
    every_epilogue(
        [
            random([2, 3, 4, 7], "x") * 3.0,
            random([1, 1, 9, 7], "weight"),
            bias,
            random([2, 3, 4, 9], "residual"),
        ],
        |[x, weight, bias, _], epilogue| {
            let layer = Linear {
                weight: &matrix(weight),
                bias: Some(&vector(bias)),
                cache: None,
            };
            linear(x, layer, epilogue).unwrap()
        },
        |[x, weight, bias, _]| {
            burn_linear(x.clone(), matrix(weight).transpose(), Some(vector(bias)))
        },
    );
}
