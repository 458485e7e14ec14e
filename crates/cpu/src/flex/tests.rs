//! Against burn's own operations, forward and backward, over shapes, strides and paddings.

use burn::module::{Param, ParamId};
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d as burn_max_pool2d;
use burn::tensor::module::{
    batch_norm as burn_batch_norm, batch_norm_train, conv2d as burn_conv2d,
};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;

use super::{Given, Take, Window, batch_norm, conv2d, conv2d_norm, fork, max_pool2d};

pub(super) fn device() -> Device {
    Device::flex().autodiff()
}

pub(super) fn random<const D: usize>(shape: [usize; D], name: &str) -> Tensor<D> {
    let mut state = name
        .bytes()
        .fold(11, |state, byte| mixed(state ^ u64::from(byte)));
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = mixed(state);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &device())
}

/// A step of SplitMix64 (Steele et al., 2014): numbers that are the same in every run.
fn mixed(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The largest difference relative to the largest value.
pub(super) fn apart<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> f32 {
    assert_eq!(found.dims(), expected.dims());
    let (found, expected) = (values(found), values(expected));
    let scale = expected.iter().fold(1e-6f32, |most, v| most.max(v.abs()));
    let pairs = found.iter().zip(&expected);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

/// Runs a function of tensors and gives its output and the gradients of all of them, for an output
/// gradient that differs from place to place.
fn run<const N: usize, const D: usize>(
    inputs: [Tensor<D>; N],
    function: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
) -> (Tensor<D>, Vec<Tensor<D>>) {
    let inputs = inputs.map(|input| Param::initialized(ParamId::new(), input.require_grad()).val());
    let output = function(inputs.clone());
    let weights = random(output.dims(), "gradient");
    let gradients = (output.clone() * weights).sum().backward();
    let found = inputs
        .iter()
        .map(|input| Tensor::from_inner(input.grad(&gradients).unwrap()));
    (output.detach(), found.collect())
}

pub(super) const SLACK: f32 = 1e-5;

fn compare<const N: usize>(
    inputs: [Tensor<4>; N],
    ours: impl FnOnce([Tensor<4>; N]) -> Tensor<4>,
    theirs: impl FnOnce([Tensor<4>; N]) -> Tensor<4>,
) -> Result<(), TestCaseError> {
    compare_any(inputs, ours, theirs)
}

pub(super) fn compare_any<const N: usize, const D: usize>(
    inputs: [Tensor<D>; N],
    ours: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
    theirs: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
) -> Result<(), TestCaseError> {
    let (output, gradients) = run(inputs.clone(), ours);
    let (expected, expected_gradients) = run(inputs, theirs);
    let off = apart(output, expected);
    prop_assert!(off < SLACK, "output: {off}");
    for (index, (found, expected)) in gradients.into_iter().zip(expected_gradients).enumerate() {
        let off = apart(found, expected);
        prop_assert!(off < SLACK, "gradient {index}: {off}");
    }
    Ok(())
}

fn fused_is_burns(
    [batch, input, height, width]: [usize; 4],
    output: usize,
    window: Window,
    [relus, adds, prepares]: [bool; 3],
    groups: usize,
) -> Result<(), TestCaseError> {
    let Window {
        kernel,
        stride,
        padding,
    } = window;
    let fits = |side: usize| side + 2 * padding >= kernel;
    prop_assume!(fits(height) && fits(width));
    let x = random([batch, input, height, width], "x").without_autodiff();
    let kernels = random([output, input / groups, kernel, kernel], "weight").without_autodiff();
    let shape = [batch, output, window.output(height), window.output(width)];
    let residual = random(shape, "residual").without_autodiff();
    let one = |name: &str| random([output], name).without_autodiff();
    let statistics = [one("mean"), one("variance").abs().add_scalar(0.1)];
    let given = Given {
        affine: [one("w"), one("b")],
        statistics: statistics.clone(),
        epsilon: 1e-5,
    };
    let other = adds.then_some(&residual);
    let prepared = prepares.then(Default::default);
    let found = conv2d_norm(&x, &kernels, window, given, other, relus, prepared);
    let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups);
    let y = burn_conv2d(x, kernels, None, options);
    let [mean, variance] = statistics;
    let y = burn_batch_norm(y, one("w"), one("b"), mean, variance, 1e-5);
    let y = if adds { y + residual } else { y };
    let y = if relus { relu(y) } else { y };
    let off = apart(found.unwrap(), y);
    prop_assert!(off < SLACK, "{off}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_are_burns(
        batch in 1usize..4,
        input in prop::sample::select(vec![1usize, 2, 3, 8, 9, 16, 70]),
        output in prop::sample::select(vec![1usize, 3, 16, 65, 130]),
        side in (1usize..9, 1usize..9),
        kernel in prop::sample::select(vec![1usize, 2, 3, 5, 7]),
        stride in 1usize..4,
        padding in 0usize..4,
    ) {
        let (height, width) = side;
        let fits = |side: usize| side + 2 * padding >= kernel;
        prop_assume!(fits(height) && fits(width));
        let window = Window { kernel, stride, padding };
        let x = random([batch, input, height, width], "x");
        let weight = random([output, input, kernel, kernel], "weight");
        compare(
            [x, weight],
            |[x, w]| conv2d(&x, &w, window).unwrap(),
            |[x, w]| burn_conv2d(x, w, None, ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1)),
        )?;
    }

    // Large enough for Winograd's products, of either tile.
    #[test]
    fn larger_convolutions_are_burns(
        batch in 1usize..4,
        input in prop::sample::select(vec![16usize, 48]),
        output in prop::sample::select(vec![16usize, 64]),
        side in (4usize..24, 4usize..24),
        padding in 0usize..3,
    ) {
        let (height, width) = side;
        let window = Window { kernel: 3, stride: 1, padding };
        let x = random([batch, input, height, width], "x");
        let weight = random([output, input, 3, 3], "weight");
        compare(
            [x, weight],
            |[x, w]| conv2d(&x, &w, window).unwrap(),
            |[x, w]| burn_conv2d(x, w, None, ConvOptions::new([1; 2], [padding; 2], [1; 2], 1)),
        )?;
    }

    #[test]
    fn grouped_convolutions_are_burns(
        batch in 1usize..4,
        groups in prop::sample::select(vec![2usize, 3, 8, 32]),
        per_group in prop::sample::select(vec![[1usize, 1], [1, 2], [2, 1], [4, 4], [3, 5], [20, 40]]),
        side in (1usize..9, 1usize..9),
        kernel in prop::sample::select(vec![1usize, 2, 3, 5, 7]),
        stride in 1usize..4,
        padding in 0usize..4,
    ) {
        let (height, width) = side;
        let fits = |side: usize| side + 2 * padding >= kernel;
        prop_assume!(fits(height) && fits(width));
        let window = Window { kernel, stride, padding };
        let [input, output] = per_group;
        let x = random([batch, groups * input, height, width], "x");
        let weight = random([groups * output, input, kernel, kernel], "weight");
        compare(
            [x, weight],
            |[x, w]| conv2d(&x, &w, window).unwrap(),
            |[x, w]| {
                let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups);
                burn_conv2d(x, w, None, options)
            },
        )?;
        for prepares in [false, true] {
            let x = [batch, groups * input, height, width];
            fused_is_burns(x, groups * output, window, [true, true, prepares], groups)?;
        }
    }

    #[test]
    fn branches_add_their_gradients(
        batch in 1usize..4,
        channels in prop::sample::select(vec![1usize, 3, 16]),
        side in (1usize..7, 1usize..7),
        turned in any::<bool>(),
    ) {
        let x = random([batch, channels, side.0, side.1], "x");
        let both = |a: Tensor<4>, b: Tensor<4>| {
            let window = Window { kernel: 1, stride: 1, padding: 0 };
            // One branch whose gradient lies as this room has it, and one as burn has it.
            let pooled = max_pool2d(&a, window).unwrap();
            match turned {
                true => b.clone() * b + pooled,
                false => pooled + b.clone() * b,
            }
        };
        compare(
            [x],
            |[x]| {
                let [a, b] = fork(x);
                both(a, b)
            },
            |[x]| both(x.clone(), x),
        )?;
    }

    #[test]
    fn normalisations_are_burns(
        batch in 1usize..5,
        channels in prop::sample::select(vec![1usize, 3, 16, 65]),
        side in (1usize..7, 1usize..7),
        relus in any::<bool>(),
        adds in any::<bool>(),
        own in any::<bool>(),
        offset in prop::sample::select(vec![0.0f64, 3.0]),
    ) {
        let (height, width) = side;
        // Of a single value nothing is left but rounding.
        prop_assume!(batch * height * width > 3);
        let shape = [batch, channels, height, width];
        let x = random(shape, "x").add_scalar(offset);
        let residual = random(shape, "residual");
        let weight = random([1, channels, 1, 1], "weight");
        let bias = random([1, channels, 1, 1], "bias");
        let mean = random([channels], "mean");
        let variance = random([channels], "variance").abs().add_scalar(0.1);
        let flat = |t: Tensor<4>| t.reshape([channels]);
        let finish = |y: Tensor<4>, r: Tensor<4>| {
            // The stand-in takes part so that it has a gradient in both.
            let y = if adds { y + r } else { y + r.mul_scalar(0.0) };
            if relus { relu(y) } else { y }
        };
        compare(
            [x, residual, weight, bias],
            |[x, r, w, b]| {
                let take = match own {
                    true => Take::Batch,
                    false => Take::Given([mean.clone(), variance.clone()]),
                };
                let found = batch_norm(&x, [flat(w), flat(b)], take, adds.then_some(&r), relus, 1e-5);
                let output = found.unwrap().output;
                if adds { output } else { output + r.mul_scalar(0.0) }
            },
            |[x, r, w, b]| {
                let y = match own {
                    true => batch_norm_train(x, flat(w), flat(b), 1e-5).output,
                    false => burn_batch_norm(x, flat(w), flat(b), mean.clone(), variance.clone(), 1e-5),
                };
                finish(y, r)
            },
        )?;
    }

    #[test]
    fn fused_convolutions_are_burns(
        batch in 1usize..4,
        input in prop::sample::select(vec![1usize, 3, 16, 70]),
        output in prop::sample::select(vec![1usize, 16, 65, 130]),
        side in (1usize..9, 1usize..20),
        kernel in prop::sample::select(vec![1usize, 3, 7]),
        stride in 1usize..3,
        padding in 0usize..4,
        relus in any::<bool>(),
        adds in any::<bool>(),
    ) {
        let window = Window { kernel, stride, padding };
        fused_is_burns([batch, input, side.0, side.1], output, window, [relus, adds, false], 1)?;
    }

    // Prepared kernels are Winograd's from some size on, of either tile.
    #[test]
    fn prepared_convolutions_are_burns(
        batch in 1usize..4,
        input in prop::sample::select(vec![16usize, 48, 70]),
        output in prop::sample::select(vec![16usize, 64, 65]),
        side in (1usize..24, 1usize..24),
        stride in 1usize..3,
        padding in 0usize..4,
        relus in any::<bool>(),
        adds in any::<bool>(),
    ) {
        let window = Window { kernel: 3, stride, padding };
        fused_is_burns([batch, input, side.0, side.1], output, window, [relus, adds, true], 1)?;
    }

    #[test]
    fn poolings_are_burns(
        batch in 1usize..4,
        channels in 1usize..20,
        side in (1usize..9, 1usize..9),
        kernel in 1usize..4,
        stride in 1usize..4,
        pad in any::<bool>(),
    ) {
        let (height, width) = side;
        let padding = if pad { kernel / 2 } else { 0 };
        prop_assume!(height + 2 * padding >= kernel && width + 2 * padding >= kernel);
        let window = Window { kernel, stride, padding };
        let options = MaxPoolOptions {
            kernel_size: [kernel; 2],
            stride: [stride; 2],
            padding: [(padding, padding); 2],
            dilation: [1; 2],
            ceil_mode: false,
        };
        compare(
            [random([batch, channels, height, width], "x")],
            |[x]| max_pool2d(&x, window).unwrap(),
            |[x]| burn_max_pool2d(x, options),
        )?;
    }
}

/// Statistics of a batch whose mean is a thousand times its spread.
#[test]
fn a_far_mean_does_not_cost_the_variance_its_digits() {
    let x = random([8, 4, 5, 5], "x").add_scalar(1000.0);
    let ones = [
        random([4], "w").mul_scalar(0.0).add_scalar(1.0),
        random([4], "b"),
    ];
    let found = batch_norm(&x, ones, Take::Batch, None, false, 1e-5).unwrap();
    let [mean, variance] = found.statistics.map(values);
    let all = values(x);
    for c in 0..4 {
        let of: Vec<f64> = (0..8)
            .flat_map(|n| all[(n * 4 + c) * 25..][..25].iter().map(|v| f64::from(*v)))
            .collect();
        let expected = of.iter().sum::<f64>() / 200.0;
        let spread = of.iter().map(|v| (v - expected).powi(2)).sum::<f64>() / 200.0;
        assert!((f64::from(mean[c]) / expected - 1.0).abs() < 1e-6);
        assert!(
            (f64::from(variance[c]) / spread - 1.0).abs() < 1e-4,
            "{} {spread}",
            variance[c]
        );
    }
}

/// The number of threads changes no bit.
#[test]
fn threads_change_nothing() {
    let x = random([6, 64, 9, 7], "x");
    let weight = random([130, 64, 3, 3], "weight");
    let window = Window {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let (output, gradients) = run([x.clone(), weight.clone()], |[x, w]| {
                let y = conv2d(&x, &w, window).unwrap();
                let affine = [random([130], "w"), random([130], "b")];
                let y = batch_norm(&y, affine, Take::Batch, None, true, 1e-5)
                    .unwrap()
                    .output;
                max_pool2d(
                    &y,
                    Window {
                        kernel: 3,
                        stride: 2,
                        padding: 1,
                    },
                )
                .unwrap()
            });
            let mut all = values(output);
            gradients.into_iter().for_each(|g| all.extend(values(g)));
            all
        })
    };
    let one = with(1);
    assert_eq!(one, with(2));
    assert_eq!(one, with(5));
}

/// What is no number is not hidden by a ReLU or a maximum.
#[test]
fn what_is_no_number_stays_visible() {
    let x = random([1, 1, 4, 4], "x").mul_scalar(f64::NAN);
    let pooled = max_pool2d(
        &x,
        Window {
            kernel: 3,
            stride: 2,
            padding: 1,
        },
    )
    .unwrap();
    assert!(values(pooled).iter().all(|v| v.is_nan()));
    let affine = [random([1], "w"), random([1], "b")];
    let y = batch_norm(&x, affine, Take::Batch, None, true, 1e-5)
        .unwrap()
        .output;
    assert!(values(y).iter().all(|v| v.is_nan()));
}

/// Steps of Adam and AdamW against burn's, for gradients that lie otherwise than the parameter.
#[test]
fn adam_is_burns() {
    use burn::optim::{AdamConfig, AdamWConfig, Optimizer};

    let plain = device().without_autodiff();
    let on = |t: Tensor<4>| Tensor::<4>::from_data(t.into_data(), &plain);
    let gradient = |step: usize| {
        let values = on(random([3, 3, 5, 70], &format!("g{step}")));
        // As a convolution's gradients lie: out, in, k, k over k, k, in, out.
        values.permute([3, 2, 0, 1])
    };
    let start = on(random([70, 5, 3, 3], "p"));
    for decoupled in [false, true] {
        let (mut ours, mut theirs) = (start.clone(), start.clone());
        let mut moments = None;
        let (mut adam, mut adamw) = (None, None);
        for time in 1..=5 {
            let rule = super::AdamRule {
                rate: 0.01,
                betas: [0.9, 0.99],
                epsilon: 1e-6,
                decay: if decoupled { 0.0 } else { 0.1 },
                decoupled: if decoupled { 0.1 } else { 0.0 },
                time,
            };
            let (next, state) = super::adam(ours, gradient(time), moments, rule);
            (ours, moments) = (next, Some(state));
            let g = gradient(time);
            if decoupled {
                let config = AdamWConfig::new().with_beta_2(0.99).with_epsilon(1e-6);
                let config = config.with_weight_decay(0.1).build();
                (theirs, adamw) = config.step(0.01, theirs, g, adamw);
            } else {
                let decay = burn::optim::decay::WeightDecayConfig::new(0.1);
                let config = AdamConfig::new().with_beta_2(0.99).with_epsilon(1e-6);
                let config = config.with_weight_decay(Some(decay)).build();
                (theirs, adam) = config.step(0.01, theirs, g, adam);
            }
            let off = apart(ours.clone(), theirs.clone());
            assert!(off < 1e-6, "step {time}, decoupled {decoupled}: {off}");
        }
        // The parameter that was passed at first is somebody else's, and stays.
        assert_eq!(
            values(start.clone()),
            values(on(random([70, 5, 3, 3], "p")))
        );
    }
}

/// Steps of SGD against PyTorch's rule, written out.
#[test]
fn sgd_is_pytorchs() {
    let plain = device().without_autodiff();
    let at = |name: &str| {
        let data = random([40_000], name).into_data();
        Tensor::<1>::from_data(data, &plain)
    };
    for (momentum, nesterov) in [(0.0f32, false), (0.9, false), (0.9, true)] {
        let rule = super::SgdRule {
            rate: 0.1,
            momentum,
            nesterov,
            decay: 0.01,
        };
        let mut expected: Vec<f64> = values(at("p")).into_iter().map(f64::from).collect();
        let mut buffer = vec![0.0f64; expected.len()];
        let (mut ours, mut velocity) = (at("p"), None);
        for step in 0..4 {
            let gradient = at(&format!("g{step}"));
            for ((p, v), g) in expected
                .iter_mut()
                .zip(&mut buffer)
                .zip(values(gradient.clone()))
            {
                let g = f64::from(g) + 0.01 * *p;
                *v = f64::from(momentum) * *v + g;
                *p -= 0.1
                    * if nesterov {
                        g + f64::from(momentum) * *v
                    } else {
                        *v
                    };
            }
            (ours, velocity) = super::sgd(ours, gradient, velocity, rule);
        }
        assert_eq!(velocity.is_some(), momentum > 0.0);
        for (found, expected) in values(ours).iter().zip(&expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-6,
                "{found} {expected}"
            );
        }
    }
}
