//! Activations, forward and backward, against the formulas in 64 bits.

use burn::tensor::{Device, Tensor, TensorData};
use burn_zoo_cpu::{Act, activation};

use super::common::{random, run, values};

/// The function and its derivative.
fn exact(act: Act, x: f64) -> [f64; 2] {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let gated = |u: f64, slope: f64| {
        let s = sigmoid(u);
        [x * s, s + x * slope * s * (1.0 - s)]
    };
    let inside = |low: f64, high: f64, slope: f64| if x > low && x < high { slope } else { 0.0 };
    match act {
        Act::Relu6 => [x.clamp(0.0, 6.0), inside(0.0, 6.0, 1.0)],
        Act::Silu => gated(x, 1.0),
        Act::QuickGelu => gated(1.702 * x, 1.702),
        Act::GeluTanh => {
            let factor = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
            let slope = factor * (1.0 + 3.0 * 0.044715 * x * x);
            gated(factor * (x + 0.044715 * x.powi(3)), slope)
        }
        Act::Sigmoid => [sigmoid(x), sigmoid(x) * (1.0 - sigmoid(x))],
        Act::HardSigmoid => [
            (x / 6.0 + 0.5).clamp(0.0, 1.0),
            inside(-3.0, 3.0, 1.0 / 6.0),
        ],
        Act::HardSwish => {
            let slope = if x > 3.0 {
                1.0
            } else {
                inside(-3.0, 3.1, x / 3.0 + 0.5)
            };
            [x * (x / 6.0 + 0.5).clamp(0.0, 1.0), slope]
        }
        other => panic!("{other:?}"),
    }
}

const FAST: [Act; 7] = [
    Act::Relu6,
    Act::Silu,
    Act::HardSwish,
    Act::HardSigmoid,
    Act::GeluTanh,
    Act::QuickGelu,
    Act::Sigmoid,
];

#[test]
fn values_and_slopes_are_those_of_the_formulas() {
    // Far beyond what any network has, and no corner of a function.
    let points: Vec<f32> = (-40_000..40_000)
        .map(|i| i as f32 * 0.00251 + 1e-4)
        .collect();
    let count = points.len();
    for act in FAST {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_data(TensorData::new(points.clone(), [count]), &device);
        let (y, gradients) = run([x], |[x]| activation(x, act).unwrap());
        let weights = values(random::<1>([count], "gradient"));
        let (found, slopes) = (values(y), values(gradients.into_iter().next().unwrap()));
        for (at, x) in points.iter().enumerate() {
            let [value, slope] = exact(act, f64::from(*x));
            let off = (f64::from(found[at]) - value).abs();
            assert!(
                off <= 4e-7 * value.abs().max(0.3),
                "{act:?}({x}): {} for {value}",
                found[at]
            );
            let wanted = slope * f64::from(weights[at]);
            let off = (f64::from(slopes[at]) - wanted).abs();
            assert!(off < 2e-6, "{act:?}'({x}): {} for {wanted}", slopes[at]);
        }
    }
}

/// Whatever order the numbers have in memory, and whether or not all of them are the tensor's.
#[test]
fn any_layout_is_taken() {
    let wide = || random::<4>([3, 5, 6, 4], "x");
    type Relaid = fn(Tensor<4>) -> Tensor<4>;
    let layouts: [(&str, Relaid); 4] = [
        ("contiguous", |x| x),
        ("channels last", |x| x.permute([0, 2, 3, 1])),
        ("a part", |x| x.narrow(1, 1, 3)),
        ("one row", |x| x.narrow(2, 3, 1)),
    ];
    for act in FAST {
        for (name, layout) in layouts {
            for has_graph in [false, true] {
                let x = if has_graph { wide() } else { wide().inner() };
                let expected: Vec<f32> = values(layout(x.clone()))
                    .into_iter()
                    .map(|x| exact(act, f64::from(x))[0] as f32)
                    .collect();
                let kept = x.clone();
                let found = activation(layout(x), act).unwrap();
                for (found, expected) in values(found).into_iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-6, "{act:?}, {name}");
                }
                // Who else has the numbers keeps them.
                assert_eq!(values(kept), values(wide()), "{act:?}, {name}");
            }
        }
        let (_, gradients) = run([wide()], |[x]| {
            let x = activation(x.permute([0, 2, 3, 1]), act).unwrap();
            x.permute([0, 3, 1, 2])
        });
        let (_, expected) = run([wide()], |[x]| activation(x, act).unwrap());
        for (found, expected) in gradients.into_iter().zip(expected) {
            assert_eq!(values(found), values(expected), "{act:?}");
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let x = Tensor::<1>::from_floats([f32::NAN, -1e30, 1e30, 0.0], &Device::flex());
    for act in FAST {
        let found = values(activation(x.clone(), act).unwrap());
        assert!(found[0].is_nan(), "{act:?}: {found:?}");
        assert!(
            found[1..].iter().all(|y| y.is_finite()),
            "{act:?}: {found:?}"
        );
    }
}

#[test]
fn burn_computes_what_is_not_here() {
    let device = Device::flex();
    for act in [Act::None, Act::Relu, Act::Tanh] {
        assert!(activation(Tensor::<2>::ones([2, 3], &device), act).is_err());
    }
    assert!(activation(Tensor::<2>::ones([0, 3], &device), Act::Silu).is_err());
}
