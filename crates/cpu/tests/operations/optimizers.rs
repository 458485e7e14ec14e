//! Steps of optimisers, and what goes with them.

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, AdjustLrFn, MuonConfig, Optimizer};
use burn::tensor::Tensor;
use burn_zoo_cpu::{Adam, Muon, Sgd, adam_step, add, lerp, muon_step, sgd_step, sum_of_squares};

use crate::common::{device, random, relative_difference, values};

/// Steps of Adam and AdamW against burn's, for gradients that lie otherwise than the parameter.
#[test]
fn adam_is_burns() {
    let plain = device().without_autodiff();
    let on = |t: Tensor<4>| Tensor::<4>::from_data(t.into_data(), &plain);
    let gradient = |step: usize| {
        let values = on(random([3, 3, 5, 70], &format!("g{step}")));
        // As a convolution's gradients lie: out, in, k, k over k, k, in, out.
        values.permute([3, 2, 0, 1])
    };
    let start: Tensor<4> = on(random([70, 5, 3, 3], "p"));
    for decoupled in [false, true] {
        let (mut ours, mut theirs) = (start.clone(), start.clone());
        let mut moments = None;
        let (mut adam, mut adamw) = (None, None);
        for time in 1..=5 {
            let rule = Adam {
                learning_rate: 0.01,
                betas: [0.9, 0.99],
                epsilon: 1e-6,
                weight_decay: 0.1,
                decoupled,
                step: time,
            };
            assert!(adam_step(rule, &mut ours, &gradient(time), &mut moments));
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
            let off = relative_difference(ours.clone(), theirs.clone());
            assert!(off < 1e-6, "step {time}, decoupled {decoupled}: {off}");
        }
        // The parameter that was passed at first is somebody else's, and stays.
        assert_eq!(
            values(start.clone()),
            values(on(random([70, 5, 3, 3], "p")))
        );
    }
}

/// Steps of Muon against burn's, for kernels whose gradients lie in each order that there is.
#[test]
fn muon_is_burns() {
    let plain = device().without_autodiff();
    let on = |t: Tensor<4>| Tensor::<4>::from_data(t.into_data(), &plain);
    // What lies `[out, in, k, k]`, and the order that brings it back from where it lies.
    let cases = [
        ([70, 5, 3, 3], [0, 1, 2, 3], [70, 5, 3, 3]),
        ([70, 5, 3, 3], [3, 2, 0, 1], [3, 3, 5, 70]),
        // More inputs than outputs, over more than one task's rows and columns.
        ([70, 90, 3, 3], [3, 2, 0, 1], [3, 3, 90, 70]),
        // The first axis amid the others.
        ([6, 5, 3, 3], [1, 0, 2, 3], [5, 6, 3, 3]),
        ([300, 70, 1, 1], [0, 1, 2, 3], [300, 70, 1, 1]),
        ([1, 40, 1, 1], [0, 1, 2, 3], [1, 40, 1, 1]),
        ([40, 1, 1, 1], [0, 1, 2, 3], [40, 1, 1, 1]),
    ];
    for (shape, order, lies) in cases {
        let start: Tensor<4> = on(random(shape, "p"));
        let rows = shape[0];
        let matrix = [rows, shape[1] * shape[2] * shape[3]];
        let (mut ours, mut theirs) = (start.clone(), start.clone().reshape(matrix));
        let (mut velocity, mut state) = (None, None);
        for step in 0..4 {
            // The last gradient is of low rank but for a ten-thousandth.
            let gradient = match step {
                3 => {
                    start.clone().slice([0..rows, 0..1]).expand(shape)
                        + on(random(lies, "small").mul_scalar(1e-4)).permute(order)
                }
                _ => on(random(lies, &format!("g{step}"))).permute(order),
            };
            let rule = Muon {
                learning_rate: 0.02,
                momentum: 0.9,
                weight_decay: 0.1,
            };
            assert!(muon_step(rule, &mut ours, &gradient, &mut velocity));
            let decay = burn::optim::decay::WeightDecayConfig::new(0.1);
            let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
            let config = MuonConfig::new()
                .with_momentum(momentum.with_nesterov(true))
                .with_weight_decay(Some(decay))
                .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW)
                .build();
            (theirs, state) = config.step(0.02, theirs, gradient.reshape(matrix), state);
            let off = relative_difference(ours.clone(), theirs.clone().reshape(shape));
            assert!(off < 2e-5, "{shape:?} in {order:?}, step {step}: {off}");
        }
        // The parameter that was passed at first is somebody else's, and stays.
        assert_eq!(values(start), values(on(random(shape, "p"))));
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
        let rule = Sgd {
            learning_rate: 0.1,
            momentum,
            nesterov,
            weight_decay: 0.01,
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
            assert!(sgd_step(rule, &mut ours, &gradient, &mut velocity));
        }
        assert_eq!(velocity.is_some(), momentum > 0.0);
        for (actual, expected) in values(ours).iter().zip(&expected) {
            assert!(
                (f64::from(*actual) - expected).abs() < 1e-6,
                "{actual} {expected}"
            );
        }
    }
}

#[test]
fn sums_and_blends_are_burns_whatever_the_layout() {
    let plain = device().without_autodiff();
    let on = |name| Tensor::<4>::from_data(random([3, 5, 7, 2], name).into_data(), &plain);
    let (a, b) = (on("a").permute([1, 0, 3, 2]), on("b").permute([1, 0, 3, 2]));
    for (a, b) in [
        (a.clone(), b.clone()),
        (a.clone(), on("c").reshape([5, 3, 2, 7])),
    ] {
        let sum = add(&a, &b).unwrap();
        assert!(relative_difference(sum, a.clone() + b.clone()) < 1e-6);
        let blend = lerp(&a, &b, 0.25).unwrap();
        let expected = a.clone() * 0.75 + b.clone() * 0.25;
        assert!(relative_difference(blend, expected) < 1e-6);
        let squares: f64 = values(b.clone())
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum();
        assert!((sum_of_squares(&b).unwrap() / squares - 1.0).abs() < 1e-5);
    }
    assert_eq!(values(lerp(&a, &a, 0.3).unwrap()), values(a));
}

/// A step that is refused changes nothing.
#[test]
fn tensors_that_do_not_fit_are_left_to_burn() {
    let plain = device().without_autodiff();
    let at = |len: usize| Tensor::<1>::ones([len], &plain);
    let sgd = Sgd {
        learning_rate: 0.1,
        momentum: 0.9,
        nesterov: false,
        weight_decay: 0.0,
    };
    let (mut parameter, mut velocity) = (at(3), Some(at(4)));
    assert!(!sgd_step(sgd, &mut parameter, &at(3), &mut velocity));
    assert!(!sgd_step(sgd, &mut parameter, &at(4), &mut None));
    assert_eq!(values(parameter), [1.0; 3]);
    assert_eq!(values(velocity.unwrap()), [1.0; 4]);
    // In a graph.
    let mut parameter = Tensor::<1>::ones([3], &device());
    assert!(!sgd_step(sgd, &mut parameter, &at(3), &mut None));
    assert!(add(&at(3), &at(4)).is_none());
    assert!(lerp(&at(3), &at(1), 0.5).is_none());
}

/// Steps of Adam count from 1, as far as they may.
#[test]
fn adam_counts_from_1() {
    let plain = device().without_autodiff();
    let one = Tensor::<1>::ones([3], &plain);
    let rule = |step| Adam {
        learning_rate: 0.5,
        betas: [0.9, 0.999],
        epsilon: 0.0,
        weight_decay: 0.0,
        decoupled: false,
        step,
    };
    let (mut parameter, mut moments) = (one.clone(), Some([one.clone(), one.clone()]));
    assert!(!adam_step(rule(0), &mut parameter, &one, &mut moments));
    assert_eq!(values(parameter.clone()), [1.0; 3]);
    for moment in moments.clone().unwrap() {
        assert_eq!(values(moment), [1.0; 3]);
    }
    // So late that nothing is left to correct: averages of ones are as they are.
    for step in [i32::MAX as usize, i32::MAX as usize + 1, usize::MAX] {
        let (mut parameter, mut moments) = (parameter.clone(), moments.clone());
        assert!(adam_step(rule(step), &mut parameter, &one, &mut moments));
        assert!(values(parameter).iter().all(|p| (p - 0.5).abs() < 1e-6));
    }
}

/// A shape whose product overflows, of tensors that are expanded without memory.
#[test]
fn sizes_beyond_any_memory_are_left_to_burn() {
    let plain = device().without_autodiff();
    let huge = 1usize << (usize::BITS / 2);
    let tensor = Tensor::<2>::ones([1, 1], &plain).expand([huge, huge]);
    assert!(add(&tensor, &tensor).is_none());
    assert!(lerp(&tensor, &tensor, 0.5).is_none());
    assert!(sum_of_squares(&tensor).is_none());
    let sgd = Sgd {
        learning_rate: 0.1,
        momentum: 0.0,
        nesterov: false,
        weight_decay: 0.0,
    };
    assert!(!sgd_step(sgd, &mut tensor.clone(), &tensor, &mut None));
}
