//! The initialisation rules against torch (`fixtures/init.json`, made by `fixtures/init.py`) and
//! against the distributions that they are of.
//!
//! The samples have fixed seeds, so a distribution that has passed passes again; the tolerances are
//! those of the sample size, at about five standard deviations.

use std::collections::HashSet;

use burn_zoo::init::{FanMode, Init, Nonlinearity, Rng, calculate_gain, fans};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    torch: String,
    gains: Vec<Gain>,
    fans: Vec<Fans>,
    streams: Vec<Stream>,
    weights: Vec<Values>,
    biases: Vec<Values>,
    distributions: Vec<Distribution>,
}

#[derive(Deserialize)]
struct Gain {
    nonlinearity: String,
    a: Option<String>,
    gain: String,
}

#[derive(Deserialize)]
struct Fans {
    shape: Vec<usize>,
    fan_in: usize,
    fan_out: usize,
}

#[derive(Deserialize)]
struct Stream {
    seed: u64,
    name: String,
    words: Vec<u64>,
    words_at: Vec<(usize, u64)>,
    normal: Vec<f64>,
    normal_at: Vec<(usize, f64)>,
}

#[derive(Deserialize)]
struct Values {
    rule: Init,
    #[serde(default)]
    weight_shape: Vec<usize>,
    shape: Vec<usize>,
    seed: u64,
    name: String,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct Distribution {
    rule: Init,
    shape: Vec<usize>,
    uniform: Option<(f64, f64)>,
    normal: Option<(f64, f64)>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("fixtures/init.json")).unwrap()
}

/// The stem of a ResNet, a classifier, and a grouped convolution.
const SHAPES: [&[usize]; 3] = [&[64, 3, 7, 7], &[10, 512], &[256, 8, 3, 3]];

fn parse(text: &str) -> Init {
    text.parse().unwrap()
}

fn weight(rule: &Init, shape: &[usize]) -> Vec<f32> {
    rule.weight(shape, &mut Rng::new(1, &format!("{rule} {shape:?}")))
        .unwrap()
}

fn weight_error(rule: Init, shape: &[usize]) -> String {
    rule.weight(shape, &mut Rng::new(0, ""))
        .unwrap_err()
        .to_string()
}

// Against torch.

#[test]
fn golden_values_are_of_the_pinned_torch() {
    assert_eq!(golden().torch, "2.15.0");
}

#[test]
fn gains_equal_torch() {
    for case in golden().gains {
        let slope = case.a.as_ref().map(|a| a.parse().unwrap());
        let nonlinearity = match (case.nonlinearity.as_str(), slope) {
            ("leaky_relu", None) => Nonlinearity::default(),
            ("leaky_relu", Some(slope)) => Nonlinearity::LeakyRelu(slope),
            (name, _) => match parse(&format!("kaiming_normal(nonlinearity={name})")) {
                Init::KaimingNormal { nonlinearity, .. } => nonlinearity,
                other => panic!("{other}"),
            },
        };
        let gain: f64 = case.gain.parse().unwrap();
        assert_eq!(calculate_gain(nonlinearity), gain, "{nonlinearity:?}");
    }
}

#[test]
fn fans_equal_torch() {
    for case in golden().fans {
        assert_eq!(
            fans(&case.shape).unwrap(),
            (case.fan_in, case.fan_out),
            "{:?}",
            case.shape
        );
    }
}

#[test]
fn streams_follow_the_written_rule() {
    for case in golden().streams {
        let start = Rng::new(case.seed, &case.name);
        let mut rng = start.clone();
        let uniform: Vec<f64> = (0..1001).map(|_| rng.uniform(0.0, 1.0)).collect();
        let words = case.words.iter().copied().enumerate();
        for (index, word) in words.chain(case.words_at) {
            assert_eq!(uniform[index] * 2f64.powi(53), word as f64, "{index}");
        }
        let mut rng = start.clone();
        let normal: Vec<f64> = (0..101).map(|_| rng.normal()).collect();
        for (index, value) in case.normal.into_iter().enumerate().chain(case.normal_at) {
            assert!(
                (normal[index] - value).abs() < 1e-14,
                "{index}: {} {value}",
                normal[index]
            );
        }
        // Two words for a normal number, one for a uniform one.
        let mut rng = start;
        rng.normal();
        assert_eq!(rng.uniform(0.0, 1.0), uniform[2]);
    }
}

/// Equal to the last bit where only arithmetic is involved; where a logarithm, a cosine or a matrix
/// decomposition is, within rounding.
fn assert_values(case: &Values, values: &[f32]) {
    assert_eq!(values.len(), case.values.len());
    let (relative, absolute) = match case.rule {
        Init::Normal { .. }
        | Init::XavierNormal { .. }
        | Init::KaimingNormal { .. }
        | Init::Sparse { .. } => (2e-7, 0.0),
        Init::Orthogonal { .. } => (0.0, 5e-7),
        _ => (0.0, 0.0),
    };
    for (index, (value, expected)) in values.iter().zip(&case.values).enumerate() {
        assert!(
            (value - expected).abs() <= absolute + relative * expected.abs(),
            "{} {:?} at {index}: {value}, torch {expected}",
            case.rule,
            case.shape
        );
    }
}

#[test]
fn weights_equal_torch() {
    let cases = golden().weights;
    for case in &cases {
        let mut rng = Rng::new(case.seed, &case.name);
        assert_values(case, &case.rule.weight(&case.shape, &mut rng).unwrap());
    }
    let covered: HashSet<_> = cases.iter().map(|case| name(&case.rule)).collect();
    let missing: Vec<_> = Init::names()
        .iter()
        .filter(|name| !covered.contains(**name))
        .collect();
    // Torch's rejection takes its random numbers in another order.
    assert_eq!(missing, [&"trunc_normal"]);
}

/// The name of a rule, without its arguments.
fn name(rule: &Init) -> String {
    rule.to_string().split('(').next().unwrap().to_owned()
}

#[test]
fn biases_equal_torch() {
    for case in golden().biases {
        let mut rng = Rng::new(case.seed, &case.name);
        let bias = case.rule.bias(&case.weight_shape, case.shape[0], &mut rng);
        assert_values(&case, &bias.unwrap());
    }
}

#[test]
fn every_other_rule_has_zero_bias() {
    for rule in one_of_each() {
        if matches!(rule, Init::PyTorch | Init::Course) {
            continue;
        }
        let mut rng = Rng::new(0, "");
        assert_eq!(rule.bias(&[3, 2], 3, &mut rng).unwrap(), [0.0; 3], "{rule}");
        assert_eq!(rule.bias(&[], 2, &mut rng).unwrap(), [0.0; 2], "{rule}");
        assert_eq!(
            rng.uniform(0.0, 1.0),
            Rng::new(0, "").uniform(0.0, 1.0),
            "{rule} drew numbers"
        );
    }
}

// Distributions.

struct Moments {
    mean: f64,
    variance: f64,
    least: f64,
    greatest: f64,
}

fn moments(values: &[f32]) -> Moments {
    let n = values.len() as f64;
    let values = || values.iter().map(|value| f64::from(*value));
    let mean = values().sum::<f64>() / n;
    Moments {
        mean,
        variance: values().map(|value| (value - mean).powi(2)).sum::<f64>() / n,
        least: values().fold(f64::INFINITY, f64::min),
        greatest: values().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// The error of a variance over n samples is σ² √((κ − 1) / n), with the kurtosis κ = 1.8.
fn assert_uniform(values: &[f32], low: f64, high: f64, context: &str) {
    let n = values.len() as f64;
    let width = high - low;
    let variance = width * width / 12.0;
    let found = moments(values);
    assert!(found.least >= f64::from(low as f32), "{context}");
    assert!(found.greatest <= f64::from(high as f32), "{context}");
    // Missed by a part of exp(-20) of all samples.
    assert!(found.least < low + 20.0 * width / n, "{context}");
    assert!(found.greatest > high - 20.0 * width / n, "{context}");
    let mean_error = (found.mean - 0.5 * (low + high)).abs();
    assert!(mean_error < 5.0 * (variance / n).sqrt(), "{context}");
    let variance_error = (found.variance - variance).abs();
    assert!(
        variance_error < 5.0 * variance * (0.8 / n).sqrt(),
        "{context}"
    );
}

/// As for the uniform distribution, with the kurtosis 3.
fn assert_normal(values: &[f32], mean: f64, std: f64, context: &str) {
    let n = values.len() as f64;
    let found = moments(values);
    let mean_error = (found.mean - mean).abs();
    assert!(mean_error < 5.0 * std / n.sqrt(), "{context}");
    let variance_error = (found.variance - std * std).abs();
    assert!(
        variance_error < 5.0 * std * std * (2.0 / n).sqrt(),
        "{context}"
    );
    assert!(found.least > mean - 6.0 * std, "{context}");
    assert!(found.greatest < mean + 6.0 * std, "{context}");
    assert!(found.greatest - found.least > 4.0 * std, "{context}");
}

#[test]
fn xavier_and_kaiming_have_the_distributions_of_torch() {
    let cases = golden().distributions;
    assert_eq!(cases.len(), 26 * SHAPES.len());
    for case in cases {
        let context = format!("{} {:?}", case.rule, case.shape);
        let values = weight(&case.rule, &case.shape);
        match (case.uniform, case.normal) {
            (Some((low, high)), None) => assert_uniform(&values, low, high, &context),
            (None, Some((mean, std))) => assert_normal(&values, mean, std, &context),
            _ => panic!("{context}"),
        }
    }
}

#[test]
fn uniform_and_normal_have_their_arguments() {
    for shape in SHAPES {
        for (low, high) in [(0.0, 1.0), (-0.1, 0.1), (3.0, 3.5), (-1e-3, 0.0)] {
            let rule = Init::Uniform { low, high };
            assert_uniform(&weight(&rule, shape), low, high, &rule.to_string());
        }
        for (mean, std) in [(0.0, 1.0), (0.0, 0.01), (-2.0, 0.5), (1.0, 3.0)] {
            let rule = Init::Normal { mean, std };
            assert_normal(&weight(&rule, shape), mean, std, &rule.to_string());
        }
        let constant = Init::Normal {
            mean: 0.25,
            std: 0.0,
        };
        assert!(weight(&constant, shape).iter().all(|value| *value == 0.25));
    }
}

#[test]
fn recipes_have_their_bounds() {
    for shape in SHAPES {
        let (fan_in, fan_out) = fans(shape).unwrap();
        let bound = 1.0 / (fan_in as f64).sqrt();
        assert_uniform(&weight(&Init::PyTorch, shape), -bound, bound, "pytorch");
        for rule in [Init::PyTorch, Init::Course] {
            let bias = rule.bias(shape, 4096, &mut Rng::new(3, "bias")).unwrap();
            assert_uniform(&bias, -bound, bound, &format!("{rule} bias"));
        }
        let bound = (6.0 / (fan_in + fan_out) as f64).sqrt();
        assert_uniform(&weight(&Init::Course, shape), -bound, bound, "course");
        let same = [Init::Course, Init::xavier_uniform()]
            .map(|rule| rule.weight(shape, &mut Rng::new(4, "")).unwrap());
        assert_eq!(same[0], same[1]);
    }
}

/// The density of N(0, 1).
fn phi(z: f64) -> f64 {
    (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt()
}

/// The probability of a value between `low` and `high` under N(0, 1).
fn normal_between(low: f64, high: f64) -> f64 {
    // Beyond 3, the continued fraction of the upper tail, which cancels nothing there.
    let tail = |z: f64| phi(z) / (1..300).rev().fold(z, |rest, k| z + f64::from(k) / rest);
    // Within, the series z + z³/3 + z⁵/(3·5) + ...
    let from_zero = |z: f64| {
        let (mut term, mut sum) = (z, z);
        for k in 1..200 {
            term *= z * z / f64::from(2 * k + 1);
            sum += term;
        }
        phi(z) * sum
    };
    if low > 3.0 {
        tail(low) - tail(high)
    } else if high < -3.0 {
        tail(-high) - tail(-low)
    } else {
        let below = |z: f64| match z {
            z if z > 3.0 => 0.5 - tail(z),
            z if z < -3.0 => tail(-z) - 0.5,
            z => from_zero(z),
        };
        below(high) - below(low)
    }
}

#[test]
fn the_normal_probabilities_of_these_tests_are_right() {
    for (low, high, expected) in [
        (-1.0, 1.0, 0.682_689_492_137_085_9),
        (-1.96, 1.96, 0.950_004_209_703_559),
        (0.0, 4.0, 0.499_968_328_758_166_9),
        (5.0, f64::INFINITY, 2.866_515_718_791_939e-7),
        (-5.0, -4.0, 3.138_459_026_124_073e-5),
    ] {
        let found = if high.is_infinite() {
            normal_between(low, 40.0)
        } else {
            normal_between(low, high)
        };
        assert!(
            (found / expected - 1.0).abs() < 1e-9,
            "{low} {high}: {found}"
        );
    }
}

/// √n times the Kolmogorov–Smirnov statistic; above 2 in 7 of 10 000 samples of the distribution.
fn kolmogorov_smirnov(values: &[f32], cdf: impl Fn(f64) -> f64) -> f64 {
    let mut values: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let distance = values.iter().enumerate().map(|(index, value)| {
        let expected = cdf(*value);
        let index = index as f64;
        (expected - index / n)
            .abs()
            .max((expected - (index + 1.0) / n).abs())
    });
    distance.fold(0.0, f64::max) * n.sqrt()
}

#[test]
fn uniform_and_normal_pass_kolmogorov_smirnov() {
    for shape in SHAPES {
        let values = weight(
            &Init::Uniform {
                low: -2.0,
                high: 3.0,
            },
            shape,
        );
        let statistic = kolmogorov_smirnov(&values, |x| (x + 2.0) / 5.0);
        assert!(statistic < 2.0, "uniform {shape:?}: {statistic}");
        // A wrong distribution is seen.
        assert!(kolmogorov_smirnov(&values, |x| (x + 2.0) / 5.3) > 2.0);

        let values = weight(&Init::normal(0.1), shape);
        let cdf = |x: f64| normal_between(-30.0, x / 0.1);
        let statistic = kolmogorov_smirnov(&values, cdf);
        assert!(statistic < 2.0, "normal {shape:?}: {statistic}");
    }
}

/// One case for each way of drawing: both bounds around the peak and far apart, or close; a tail,
/// wide or narrow, upper or lower, up to 30 standard deviations out.
#[test]
fn truncated_normal_passes_kolmogorov_smirnov() {
    for (mean, std, low, high) in [
        (0.0, 1.0, -2.0, 2.0),
        (0.0, 0.02, -0.04, 0.04),
        (0.3, 0.5, -2.0, 0.4),
        (0.0, 1.0, 0.0, 100.0),
        (0.0, 1.0, -0.5, 0.7),
        (0.1, 1.0, 0.1, 2.0),
        (-0.05, 1.0, 0.0, 3.0),
        (-0.05, 1.0, 0.0, 0.5),
        (-4.0, 2.0, 0.0, 100.0),
        (-10.0, 1.0, 0.0, 0.05),
        (-30.0, 1.0, 0.0, 1.0),
        (30.0, 1.0, -0.02, 0.0),
        (5.0, 1.0, -3.0, 0.0),
    ] {
        let rule = Init::TruncNormal {
            mean,
            std,
            low,
            high,
        };
        let values = weight(&rule, &[100, 200]);
        let within = f64::from(low as f32)..=f64::from(high as f32);
        assert!(
            values.iter().all(|value| within.contains(&(*value).into())),
            "{rule}"
        );
        let standard = |x: f64| ((x - mean) / std).clamp(-37.0, 37.0);
        let all = normal_between(standard(low), standard(high));
        let cdf = |x: f64| normal_between(standard(low), standard(x)) / all;
        let statistic = kolmogorov_smirnov(&values, cdf);
        assert!(statistic < 2.0, "{rule}: {statistic}");
    }
}

#[test]
fn truncated_normal_of_torch_has_its_moments() {
    // Variance of N(0, 1) between -2 and 2: 1 - 4 φ(2) / (Φ(2) - Φ(-2)).
    let variance = 1.0 - 4.0 * phi(2.0) / normal_between(-2.0, 2.0);
    for shape in SHAPES {
        let values = weight(&Init::trunc_normal(1.0), shape);
        let n = values.len() as f64;
        let found = moments(&values);
        assert!(found.mean.abs() < 5.0 * (variance / n).sqrt());
        assert!((found.variance - variance).abs() < 5.0 * variance * (2.0 / n).sqrt());
        assert!(found.least >= -2.0 && found.greatest <= 2.0);
        // At std 0.02 the bounds cut nothing.
        assert_normal(&weight(&Init::trunc_normal(0.02), shape), 0.0, 0.02, "cut");
    }
}

#[test]
fn truncated_normal_ends_for_extreme_arguments() {
    let (huge, tiny) = (f64::MAX, f64::from_bits(1));
    for (mean, std, low, high) in [
        (0.0, 1.0, 5.0, 5.0),
        (0.0, 1.0, 0.0, 0.0),
        (0.0, 1.0, -5.0, -5.0),
        (0.0, tiny, -1.0, 1.0),
        (0.0, tiny, 0.0, 1.0),
        (0.0, huge, -1.0, 1.0),
        (-9.9e7, 1.0, 0.0, 1.0),
        (-1e8, 1.0, 0.0, 1e-12),
        (0.0, 1.0, 1e-320, huge),
    ] {
        let rule = Init::TruncNormal {
            mean,
            std,
            low,
            high,
        };
        for value in weight(&rule, &[100]) {
            assert!((low as f32..=high as f32).contains(&value), "{rule}");
        }
    }
    // Far from the mean, the bound that is closer to it.
    for (mean, std, low, high, bound) in [
        (0.0, 1e-300, 1.0, 2.0, 1.0),
        (0.0, 1e-300, 1e10, 2e10, 1e10),
        (0.0, tiny, -2.0, -1.0, -1.0),
        (huge, 1.0, -1.0, 1.0, 1.0),
        (-huge, 1e-300, -1.0, 1.0, -1.0),
        (-1e9, 1.0, 0.5, huge, 0.5),
        (1e9, 1.0, -huge, 0.5, 0.5),
    ] {
        let rule = Init::TruncNormal {
            mean,
            std,
            low,
            high,
        };
        assert_eq!(weight(&rule, &[3]), [bound; 3], "{rule}");
    }
}

// Matrices.

#[test]
fn orthogonal_is_orthogonal() {
    let shapes: [&[usize]; 6] = [
        &[64, 3, 7, 7],
        &[10, 512],
        &[256, 8, 3, 3],
        &[512, 10],
        &[128, 128],
        &[96, 7, 2],
    ];
    for shape in shapes {
        for gain in [1.0, 2f64.sqrt(), -0.5] {
            let values = weight(&Init::Orthogonal { gain }, shape);
            let rows = shape[0];
            let cols = values.len() / rows;
            let (count, dim) = (rows.min(cols), rows.max(cols));
            let at = |vector: usize, place: usize| {
                f64::from(if rows <= cols {
                    values[vector * cols + place]
                } else {
                    values[place * cols + vector]
                })
            };
            for a in 0..count {
                for b in a..count {
                    let product: f64 = (0..dim).map(|place| at(a, place) * at(b, place)).sum();
                    let expected = if a == b { gain * gain } else { 0.0 };
                    assert!(
                        (product - expected).abs() < 1e-5,
                        "{shape:?} gain {gain}, {a} {b}: {product}"
                    );
                }
            }
        }
    }
}

/// With signs left to the decomposition, the diagonal would be of one sign.
#[test]
fn orthogonal_is_uniformly_distributed() {
    let mut positive = 0;
    for seed in 0..1000 {
        let values = Init::orthogonal()
            .weight(&[4, 4], &mut Rng::new(seed, "q"))
            .unwrap();
        positive += values
            .iter()
            .step_by(5)
            .filter(|value| **value > 0.0)
            .count();
    }
    // 4000 signs, standard deviation 32.
    assert!((positive as f64 - 2000.0).abs() < 5.0 * 32.0, "{positive}");
}

#[test]
fn sparse_has_its_zeros_anywhere() {
    let (rows, cols) = (50, 1000);
    let rule = Init::Sparse {
        sparsity: 0.25,
        std: 0.3,
    };
    let values = weight(&rule, &[rows, cols]);
    for col in 0..cols {
        let zeros = (0..rows).filter(|row| values[row * cols + col] == 0.0);
        assert_eq!(zeros.count(), 13);
    }
    // In each row a binomial number, 260 with standard deviation 13.9.
    for row in values.chunks_exact(cols) {
        let zeros = row.iter().filter(|value| **value == 0.0).count() as f64;
        assert!((zeros - 260.0).abs() < 5.0 * 13.9, "{zeros}");
    }
    let others: Vec<f32> = values.into_iter().filter(|value| *value != 0.0).collect();
    assert_normal(&others, 0.0, 0.3, "sparse");
}

// The stream.

#[test]
fn the_same_seed_and_name_give_the_same_values() {
    for rule in one_of_each() {
        let shape: &[usize] = match rule {
            Init::Eye | Init::Sparse { .. } => &[6, 5],
            _ => &[6, 2, 3, 3],
        };
        let make = |seed, name| rule.weight(shape, &mut Rng::new(seed, name)).unwrap();
        let first = make(5, "layer1.0.conv1.weight");
        assert_eq!(first, make(5, "layer1.0.conv1.weight"), "{rule}");
        let fixed = matches!(
            rule,
            Init::Zeros | Init::Ones | Init::Constant { .. } | Init::Dirac { .. } | Init::Eye
        );
        assert_eq!(
            first == make(6, "layer1.0.conv1.weight"),
            fixed,
            "{rule} seed"
        );
        assert_eq!(
            first == make(5, "layer1.0.conv2.weight"),
            fixed,
            "{rule} name"
        );
    }
}

/// Long ones are drawn by several threads.
#[test]
fn long_weights_are_drawn_in_the_order_of_the_stream() {
    const LEN: usize = 100_001;
    let (mut all, mut one) = (Rng::new(3, "fc.weight"), Rng::new(3, "fc.weight"));
    // Neither begins at the beginning.
    assert_eq!(all.normal(), one.normal());
    for (rule, draw) in [
        (
            parse("normal:mean=1:std=2"),
            (|rng| 1.0 + 2.0 * rng.normal()) as fn(&mut Rng) -> f64,
        ),
        (parse("uniform:low=-1:high=2"), |rng| rng.uniform(-1.0, 2.0)),
    ] {
        let values = rule.weight(&[LEN], &mut all).unwrap();
        let expected: Vec<f32> = (0..LEN).map(|_| draw(&mut one) as f32).collect();
        assert!(values == expected, "{rule}");
        assert_eq!(all.normal(), one.normal(), "after {rule}");
    }
}

#[test]
fn a_clone_goes_on_from_the_same_place() {
    let mut rng = Rng::new(9, "fc.weight");
    rng.normal();
    let mut copy = rng.clone();
    for _ in 0..100 {
        assert_eq!(rng.normal(), copy.normal());
    }
}

// Constructors, text and serde.

/// Every variant, with arguments that are not the defaults.
fn one_of_each() -> Vec<Init> {
    let rules = vec![
        Init::Zeros,
        Init::Ones,
        Init::Constant { value: -0.25 },
        Init::Uniform {
            low: -0.1,
            high: 0.3,
        },
        Init::Normal {
            mean: 0.1,
            std: 0.01,
        },
        Init::TruncNormal {
            mean: 0.1,
            std: 0.02,
            low: -1.5,
            high: 0.5,
        },
        Init::XavierUniform { gain: 2.0 },
        Init::XavierNormal { gain: 0.5 },
        Init::KaimingUniform {
            mode: FanMode::FanOut,
            nonlinearity: Nonlinearity::LeakyRelu(0.1),
        },
        Init::KaimingNormal {
            mode: FanMode::FanIn,
            nonlinearity: Nonlinearity::Tanh,
        },
        Init::Orthogonal { gain: 1.5 },
        Init::Dirac { groups: 2 },
        Init::Eye,
        Init::Sparse {
            sparsity: 0.1,
            std: 0.02,
        },
        Init::PyTorch,
        Init::Course,
    ];
    let names: Vec<_> = rules.iter().map(name).collect();
    assert_eq!(names, Init::names());
    rules
}

#[test]
fn constructors_have_the_defaults_of_torch() {
    for (rule, text) in [
        (Init::xavier_uniform(), "xavier_uniform"),
        (Init::xavier_normal(), "xavier_normal"),
        (Init::kaiming_uniform(), "kaiming_uniform"),
        (Init::kaiming_normal(), "kaiming_normal"),
        (
            Init::kaiming_normal_fan_out(),
            "kaiming_normal(mode=fan_out,nonlinearity=relu)",
        ),
        (Init::trunc_normal(0.02), "trunc_normal(std=0.02)"),
        (Init::trunc_normal(1.0), "trunc_normal"),
        (Init::normal(0.01), "normal(std=0.01)"),
        (Init::normal(1.0), "normal"),
        (Init::orthogonal(), "orthogonal"),
        (Init::dirac(), "dirac"),
    ] {
        assert_eq!(rule.to_string(), text);
        assert_eq!(parse(text), rule);
    }
    assert_eq!(FanMode::default(), FanMode::FanIn);
    assert_eq!(Nonlinearity::default(), Nonlinearity::LeakyRelu(0.01));
}

#[test]
fn every_variant_reads_back_what_it_writes() {
    let written: Vec<_> = one_of_each().iter().map(Init::to_string).collect();
    assert_eq!(
        written,
        [
            "zeros",
            "ones",
            "constant(-0.25)",
            "uniform(low=-0.1,high=0.3)",
            "normal(mean=0.1,std=0.01)",
            "trunc_normal(mean=0.1,std=0.02,low=-1.5,high=0.5)",
            "xavier_uniform(gain=2)",
            "xavier_normal(gain=0.5)",
            "kaiming_uniform(mode=fan_out,nonlinearity=leaky_relu,a=0.1)",
            "kaiming_normal(nonlinearity=tanh)",
            "orthogonal(gain=1.5)",
            "dirac(groups=2)",
            "eye",
            "sparse(sparsity=0.1,std=0.02)",
            "pytorch",
            "course",
        ]
    );
    for (rule, text) in one_of_each().into_iter().zip(written) {
        assert_eq!(parse(&text), rule);
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(json, format!("{text:?}"));
        assert_eq!(serde_json::from_str::<Init>(&json).unwrap(), rule);
    }
}

#[test]
fn other_spellings_are_read() {
    for (text, same) in [
        ("xavier_uniform(gain=1)", "xavier_uniform"),
        ("xavier_uniform()", "xavier_uniform"),
        ("  xavier_uniform ( gain = 2.0 ) ", "xavier_uniform(gain=2)"),
        ("constant(value=0.5)", "constant(0.5)"),
        ("constant(5e-1)", "constant(0.5)"),
        ("normal(mean=0,std=0.01)", "normal(std=0.01)"),
        ("normal(std=0.01,mean=-0)", "normal(std=0.01)"),
        (
            "kaiming_normal(mode=fan_in,nonlinearity=leaky_relu)",
            "kaiming_normal",
        ),
        (
            "kaiming_uniform(a=0.1)",
            "kaiming_uniform(nonlinearity=leaky_relu,a=0.1)",
        ),
        (
            "kaiming_uniform(nonlinearity=conv_transpose3d)",
            "kaiming_uniform(nonlinearity=conv2d)",
        ),
        ("dirac(groups=1)", "dirac"),
        ("sparse(sparsity=0.5,std=0.01)", "sparse(sparsity=0.5)"),
        ("zeros( )", "zeros"),
        ("constant(1e300)", "constant(1e300)"),
        ("constant(-2.5e-7)", "constant(-2.5e-7)"),
    ] {
        assert_eq!(parse(text).to_string(), same);
    }
}

#[test]
fn numbers_that_are_not_finite_are_written_as_they_are() {
    let low = f64::NEG_INFINITY;
    let high = f64::INFINITY;
    assert_eq!(
        Init::Uniform { low, high }.to_string(),
        "uniform(low=-inf,high=inf)"
    );
    let value = f64::NAN;
    assert_eq!(Init::Constant { value }.to_string(), "constant(NaN)");
}

fn number() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    NEGATIVE | NORMAL | POSITIVE | SUBNORMAL | ZERO
}

fn nonlinearity() -> impl Strategy<Value = Nonlinearity> {
    prop_oneof![
        Just(Nonlinearity::Linear),
        Just(Nonlinearity::Conv),
        Just(Nonlinearity::Sigmoid),
        Just(Nonlinearity::Tanh),
        Just(Nonlinearity::Relu),
        number().prop_map(Nonlinearity::LeakyRelu),
        Just(Nonlinearity::Selu),
    ]
}

fn mode() -> impl Strategy<Value = FanMode> {
    prop_oneof![Just(FanMode::FanIn), Just(FanMode::FanOut)]
}

/// Any rule within its limits.
fn rule() -> impl Strategy<Value = Init> {
    let positive = || number().prop_map(f64::abs);
    let bounds = || (number(), number()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        prop::sample::select(one_of_each()),
        number().prop_map(|value| Init::Constant { value }),
        bounds().prop_map(|(low, high)| Init::Uniform { low, high }),
        (number(), positive()).prop_map(|(mean, std)| Init::Normal { mean, std }),
        (number(), positive(), bounds()).prop_map(|(mean, std, (low, high))| Init::TruncNormal {
            mean,
            std: std.max(f64::from_bits(1)),
            low,
            high,
        }),
        positive().prop_map(|gain| Init::XavierUniform { gain }),
        positive().prop_map(|gain| Init::XavierNormal { gain }),
        (mode(), nonlinearity())
            .prop_map(|(mode, nonlinearity)| Init::KaimingUniform { mode, nonlinearity }),
        (mode(), nonlinearity())
            .prop_map(|(mode, nonlinearity)| Init::KaimingNormal { mode, nonlinearity }),
        number().prop_map(|gain| Init::Orthogonal { gain }),
        (1..usize::MAX).prop_map(|groups| Init::Dirac { groups }),
        (0.0..=1.0, positive()).prop_map(|(sparsity, std)| Init::Sparse { sparsity, std }),
    ]
}

proptest! {
    #[test]
    fn any_rule_reads_back_what_it_writes(rule in rule()) {
        prop_assert_eq!(parse(&rule.to_string()), rule);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*", list in "[a-z0-9=,.() -]*", rule in rule()) {
        let _ = text.parse::<Init>();
        for name in Init::names() {
            let _ = format!("{name}({list})").parse::<Init>();
        }
        let _ = format!("{rule}{list}").parse::<Init>();
    }

    /// Values or an error, for any rule and shape, and never a value that is not finite.
    #[test]
    fn any_shape_is_filled_or_refused(
        rule in rule(),
        shape in prop::collection::vec(0usize..5, 0..7),
        seed: u64,
    ) {
        let mut rng = Rng::new(seed, "any");
        if let Ok(values) = rule.weight(&shape, &mut rng) {
            prop_assert_eq!(values.len(), shape.iter().product::<usize>());
            prop_assert!(values.iter().all(|value| value.is_finite()));
        }
        if let Ok(values) = rule.bias(&shape, 3, &mut rng) {
            prop_assert_eq!(values.len(), 3);
            prop_assert!(values.iter().all(|value| value.is_finite()));
        }
    }
}

// Shapes at the edge, and errors.

#[test]
fn an_empty_shape_gives_no_values() {
    for rule in one_of_each() {
        let shape: &[usize] = match rule {
            Init::Eye | Init::Sparse { .. } => &[0, 5],
            _ => &[2, 0, 3],
        };
        assert_eq!(
            rule.weight(shape, &mut Rng::new(0, "")).unwrap(),
            [0f32; 0],
            "{rule}"
        );
        assert_eq!(
            rule.bias(&[2, 3], 0, &mut Rng::new(0, "")).unwrap(),
            [0f32; 0],
            "{rule}"
        );
    }
}

#[test]
fn rules_without_fans_take_any_rank() {
    for rule in one_of_each().into_iter().take(6) {
        assert_eq!(weight(&rule, &[]).len(), 1, "{rule}");
        assert_eq!(weight(&rule, &[7]).len(), 7, "{rule}");
    }
}

#[test]
fn ranks_are_checked() {
    assert_eq!(
        fans(&[3]).unwrap_err().to_string(),
        "shape: expected 2 dimensions or more, found [3]"
    );
    for rule in [
        Init::xavier_uniform(),
        Init::xavier_normal(),
        Init::kaiming_uniform(),
        Init::kaiming_normal(),
        Init::orthogonal(),
        Init::PyTorch,
        Init::Course,
    ] {
        for shape in [&[][..], &[3], &[0]] {
            assert_eq!(
                weight_error(rule.clone(), shape),
                format!("{rule} weight shape: expected 2 dimensions or more, found {shape:?}")
            );
        }
    }
    for shape in [&[2, 2][..], &[2, 2, 1, 1, 1, 1]] {
        assert_eq!(
            weight_error(Init::dirac(), shape),
            format!("dirac weight shape: expected 3, 4 or 5 dimensions, found {shape:?}")
        );
    }
    assert_eq!(
        weight_error(Init::Dirac { groups: 4 }, &[6, 2, 3, 3]),
        "dirac(groups=4) weight shape: expected a first dimension divisible by 4, \
         found [6, 2, 3, 3]"
    );
    for shape in [&[2][..], &[2, 2, 2]] {
        assert_eq!(
            weight_error(Init::Eye, shape),
            format!("eye weight shape: expected 2 dimensions, found {shape:?}")
        );
        assert_eq!(
            weight_error(parse("sparse(sparsity=0.1)"), shape),
            format!("sparse(sparsity=0.1) weight shape: expected 2 dimensions, found {shape:?}")
        );
    }
}

#[test]
fn the_bias_of_a_recipe_needs_a_fan() {
    for rule in [Init::PyTorch, Init::Course] {
        let bias = |shape: &[usize]| {
            rule.bias(shape, 3, &mut Rng::new(0, ""))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            bias(&[3]),
            format!("{rule} weight shape: expected 2 dimensions or more, found [3]")
        );
        assert_eq!(
            bias(&[3, 0]),
            format!("{rule} weight shape: expected a fan_in of 1 or more, found [3, 0]")
        );
    }
}

#[test]
fn sizes_beyond_memory_are_refused() {
    let most = usize::MAX;
    let expected = "shape: expected a tensor that fits into memory, found";
    assert_eq!(
        fans(&[2, most, 2]).unwrap_err().to_string(),
        format!("{expected} [2, {most}, 2]")
    );
    assert_eq!(
        fans(&[2, 2, most, 2]).unwrap_err().to_string(),
        format!("{expected} [{most}, 2]")
    );
    for rule in [Init::Zeros, Init::orthogonal(), Init::PyTorch] {
        assert_eq!(
            weight_error(rule.clone(), &[most, 2]),
            format!("{expected} [{most}, 2]")
        );
        assert_eq!(
            weight_error(rule, &[most, 1]),
            format!("{expected} {most} elements")
        );
    }
    // No element, whatever the product of the others.
    assert_eq!(weight(&Init::Zeros, &[most, most, 0]), [0f32; 0]);
    let bias = Init::Zeros.bias(&[], most, &mut Rng::new(0, ""));
    assert_eq!(
        bias.unwrap_err().to_string(),
        format!("{expected} {most} elements")
    );
}

#[test]
fn arguments_are_checked() {
    for (rule, error) in [
        (
            Init::Constant { value: f64::NAN },
            "constant(value): expected a finite number, found NaN",
        ),
        (
            Init::Uniform {
                low: f64::NEG_INFINITY,
                high: 0.0,
            },
            "uniform(low): expected a finite number, found -inf",
        ),
        (
            Init::Uniform {
                low: 0.0,
                high: f64::NAN,
            },
            "uniform(high): expected a finite number, found NaN",
        ),
        (
            Init::Uniform {
                low: 1.0,
                high: 0.5,
            },
            "uniform(low, high): expected low <= high, found low=1, high=0.5",
        ),
        (
            Init::Normal {
                mean: f64::INFINITY,
                std: 1.0,
            },
            "normal(mean): expected a finite number, found inf",
        ),
        (
            Init::normal(-0.01),
            "normal(std): expected a finite number, 0 or more, found -0.01",
        ),
        (
            Init::TruncNormal {
                mean: f64::NAN,
                std: 1.0,
                low: -2.0,
                high: 2.0,
            },
            "trunc_normal(mean): expected a finite number, found NaN",
        ),
        (
            Init::trunc_normal(0.0),
            "trunc_normal(std): expected a finite number above 0, found 0",
        ),
        (
            Init::TruncNormal {
                mean: 0.0,
                std: 1.0,
                low: 2.0,
                high: -2.0,
            },
            "trunc_normal(low, high): expected low <= high, found low=2, high=-2",
        ),
        (
            Init::XavierUniform { gain: f64::NAN },
            "xavier_uniform(gain): expected a finite number, 0 or more, found NaN",
        ),
        (
            Init::XavierNormal { gain: -1.0 },
            "xavier_normal(gain): expected a finite number, 0 or more, found -1",
        ),
        (
            Init::KaimingUniform {
                mode: FanMode::FanIn,
                nonlinearity: Nonlinearity::LeakyRelu(f64::NAN),
            },
            "kaiming_uniform(a): expected a finite number, found NaN",
        ),
        (
            Init::KaimingNormal {
                mode: FanMode::FanIn,
                nonlinearity: Nonlinearity::LeakyRelu(f64::INFINITY),
            },
            "kaiming_normal(a): expected a finite number, found inf",
        ),
        (
            Init::Orthogonal { gain: f64::NAN },
            "orthogonal(gain): expected a finite number, found NaN",
        ),
        (
            Init::Dirac { groups: 0 },
            "dirac(groups): expected a whole number, 1 or more, found 0",
        ),
        (
            Init::Sparse {
                sparsity: 1.5,
                std: 0.01,
            },
            "sparse(sparsity): expected a number from 0 to 1, found 1.5",
        ),
        (
            Init::Sparse {
                sparsity: 0.5,
                std: -1.0,
            },
            "sparse(std): expected a finite number, 0 or more, found -1",
        ),
    ] {
        let text = rule.to_string();
        let bias = rule.bias(&[2, 2], 2, &mut Rng::new(0, "")).unwrap_err();
        assert_eq!(bias.to_string(), error);
        assert_eq!(weight_error(rule, &[2, 2]), error);
        // The same arguments are refused when they are read.
        let found = text.parse::<Init>().unwrap_err().to_string();
        let (argument, _) = error.split_once("): ").unwrap();
        assert_names(&found, &argument.replace('(', " .. "));
    }
}

#[test]
fn values_beyond_single_precision_are_refused() {
    assert_eq!(
        weight_error(Init::Constant { value: 1e39 }, &[2]),
        "constant(1e39): expected values within the range of f32, found inf"
    );
    assert_eq!(
        weight_error(Init::Constant { value: -1e39 }, &[2]),
        "constant(-1e39): expected values within the range of f32, found -inf"
    );
    let rule = Init::Uniform {
        low: -f64::MAX,
        high: f64::MAX,
    };
    assert_eq!(
        weight_error(rule.clone(), &[2]),
        format!("{rule}: expected values within the range of f32, found inf")
    );
}

/// The message has these parts, with ` .. ` between them, in this order.
#[track_caller]
fn assert_names(message: &str, parts: &str) {
    let mut rest = message;
    for part in parts.split(" .. ") {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("`{message}` does not name `{part}`"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn text_that_is_no_rule_is_refused() {
    let names = "init: .. zeros, ones, constant .. uniform, normal, trunc_normal, xavier_uniform, \
                 xavier_normal, kaiming_uniform, kaiming_normal, orthogonal, dirac, eye, sparse, \
                 pytorch .. course";
    for (text, parts) in [
        ("", "init: .. zeros .. ``"),
        ("xavier", &format!("{names} .. `xavier`")),
        (
            "Xavier_uniform(gain=2)",
            &format!("{names} .. `Xavier_uniform`"),
        ),
        ("normal(", "init: .. `normal(`"),
        ("normal(std=1) x", "init: .. `normal(std=1) x`"),
        ("normal(0.5)", "normal: .. mean .. std .. `0.5`"),
        ("normal(std=1,)", "normal: .. mean .. std .. ``"),
        ("normal(std=1,std=2)", "normal: .. one value of std .. two"),
        (
            "constant(1,value=2)",
            "constant: .. one value of value .. two",
        ),
        (
            "normal(standard=1)",
            "normal: .. mean .. std .. `standard=1`",
        ),
        (
            "xavier_uniform(gian=2)",
            "xavier_uniform: .. gain .. `gian=2`",
        ),
        ("eye(n=2)", "eye: .. nothing after it .. `n=2`"),
        ("normal(std=wide)", "normal std: .. number .. `wide`"),
        ("constant", "constant value: .. a number .. found nothing"),
        (
            "sparse(std=1)",
            "sparse sparsity: .. a number .. found nothing",
        ),
        ("sparse", "sparse sparsity: .. a number .. found nothing"),
        ("sparse(std=wide)", "sparse std: .. a number .. `wide`"),
        (
            "dirac(groups=1.5)",
            "dirac groups: .. whole number .. `1.5`",
        ),
        (
            "kaiming_normal(mode=fan)",
            "kaiming_normal mode: .. fan_in or fan_out .. `fan`",
        ),
        (
            "kaiming_normal(nonlinearity=gelu)",
            "kaiming_normal nonlinearity: .. linear .. conv2d .. conv_transpose3d .. sigmoid .. tanh \
             .. relu .. leaky_relu .. selu .. `gelu`",
        ),
        (
            "kaiming_normal(nonlinearity=relu,a=0.1)",
            "kaiming_normal: .. `a` .. leaky_relu .. nonlinearity=relu",
        ),
    ] {
        assert_names(&text.parse::<Init>().unwrap_err().to_string(), parts);
    }
    let json = serde_json::from_str::<Init>("\"xavier\"").unwrap_err();
    assert_names(&json.to_string(), &format!("{names} .. `xavier`"));
}
