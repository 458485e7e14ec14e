//! Convolution, batch normalisation and max pooling, over shapes, strides and paddings.

use std::ops::Range;
use std::sync::{Arc, Barrier, Mutex};

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d as burn_max_pool2d;
use burn::tensor::module::{
    batch_norm as burn_batch_norm, batch_norm_train as burn_batch_norm_train, conv2d as burn_conv2d,
};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn_zoo_cpu::{
    Act, BatchNorm, BatchNormTrain, Conv2d, Epilogue, MaxPool2d, StatisticsSync, WeightCache,
    batch_norm, batch_norm_train, conv2d, fork, kernel_layout, max_pool2d, row_major,
};
use proptest::prelude::*;

use crate::common::{SLACK, compare, compare_sums, difference, random, run, values};

/// A window as the tests draw it.
#[derive(Debug, Clone, Copy)]
struct Window {
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Window {
    fn fits(&self, side: usize) -> bool {
        side + 2 * self.padding >= self.kernel
    }

    fn output(&self, side: usize) -> usize {
        (side + 2 * self.padding - self.kernel) / self.stride + 1
    }

    fn options(&self, groups: usize) -> ConvOptions<2> {
        ConvOptions::new([self.stride; 2], [self.padding; 2], [1; 2], groups)
    }

    fn conv<'a>(&self, weight: &'a Tensor<4>) -> Conv2d<'a> {
        Conv2d {
            stride: self.stride,
            padding: self.padding,
            ..Conv2d::new(weight)
        }
    }

    fn convolve(&self, x: &Tensor<4>, weight: &Tensor<4>) -> Tensor<4> {
        conv2d(x, self.conv(weight), Epilogue::default()).unwrap()
    }

    fn pool(&self, x: &Tensor<4>) -> Tensor<4> {
        let Self {
            kernel,
            stride,
            padding,
        } = *self;
        let pool = MaxPool2d {
            kernel,
            stride,
            padding,
        };
        max_pool2d(x, pool).unwrap()
    }
}

fn act(relu: bool) -> Act {
    if relu { Act::Relu } else { Act::None }
}

fn fused_is_burns(
    [batch, input, height, width]: [usize; 4],
    output: usize,
    window: Window,
    [relus, adds, caches, biased]: [bool; 4],
    groups: usize,
) -> Result<(), TestCaseError> {
    let kernel = window.kernel;
    prop_assume!(window.fits(height) && window.fits(width));
    let x = random([batch, input, height, width], "x").without_autodiff();
    let kernels = random([output, input / groups, kernel, kernel], "weight").without_autodiff();
    let shape = [batch, output, window.output(height), window.output(width)];
    let residual = random(shape, "residual").without_autodiff();
    let one = |name: &str| random([output], name).without_autodiff();
    let [mean, variance] = [one("mean"), one("variance").abs().add_scalar(0.1)];
    let [weight, bias, conv_bias] = ["w", "b", "conv bias"].map(one);
    let cache = caches.then(WeightCache::default);
    let conv = Conv2d {
        bias: biased.then_some(&conv_bias),
        norm: Some(BatchNorm {
            weight: &weight,
            bias: &bias,
            mean: &mean,
            variance: &variance,
            epsilon: 1e-5,
        }),
        cache: cache.as_ref(),
        ..window.conv(&kernels)
    };
    let epilogue = Epilogue {
        residual: adds.then_some(&residual),
        act: act(relus),
    };
    let actual = conv2d(&x, conv, epilogue).unwrap();
    let bias_of_conv = biased.then(|| conv_bias.clone());
    let y = burn_conv2d(
        x.clone(),
        kernels.clone(),
        bias_of_conv,
        window.options(groups),
    );
    let y = burn_batch_norm(
        y,
        weight.clone(),
        bias.clone(),
        mean.clone(),
        variance.clone(),
        1e-5,
    );
    let y = if adds { y + residual.clone() } else { y };
    let y = if relus { relu(y) } else { y };
    // An output is a sum, which is normalised; its rounding is that of the terms.
    let terms = (input / groups * kernel * kernel) as f32;
    let factor = values(weight.abs() / (variance + 1e-5).sqrt());
    let usual = factor.into_iter().fold(0.0, f32::max) * terms.sqrt() / 3.0;
    let off = difference(actual, y, usual.max(1e-6));
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
        let window = Window { kernel, stride, padding };
        prop_assume!(window.fits(height) && window.fits(width));
        let x = random([batch, input, height, width], "x");
        let weight = random([output, input, kernel, kernel], "weight");
        compare(
            [x, weight],
            |[x, w]| window.convolve(&x, &w),
            |[x, w]| burn_conv2d(x, w, None, window.options(1)),
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
            |[x, w]| window.convolve(&x, &w),
            |[x, w]| burn_conv2d(x, w, None, window.options(1)),
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
        let window = Window { kernel, stride, padding };
        prop_assume!(window.fits(height) && window.fits(width));
        let [input, output] = per_group;
        let x = random([batch, groups * input, height, width], "x");
        let weight = random([groups * output, input, kernel, kernel], "weight");
        compare(
            [x, weight],
            |[x, w]| window.convolve(&x, &w),
            |[x, w]| burn_conv2d(x, w, None, window.options(groups)),
        )?;
        for caches in [false, true] {
            let x = [batch, groups * input, height, width];
            let options = [true, true, caches, false];
            fused_is_burns(x, groups * output, window, options, groups)?;
        }
    }

    #[test]
    fn branches_add_their_gradients(
        batch in 1usize..4,
        channels in prop::sample::select(vec![1usize, 3, 16]),
        side in (1usize..7, 1usize..7),
        pooled_last in any::<bool>(),
    ) {
        let x = random([batch, channels, side.0, side.1], "x");
        let both = |a: Tensor<4>, b: Tensor<4>| {
            let window = Window { kernel: 1, stride: 1, padding: 0 };
            // One branch whose gradient lies as these operations have it, and one as burn has it.
            let pooled = window.pool(&a);
            if pooled_last {
                b.clone() * b + pooled
            } else {
                pooled + b.clone() * b
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
        of_batch in any::<bool>(),
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
        // Sums over the positions, of as many signs.
        let terms = ((batch * height * width) as f32).sqrt();
        let usual = [1e-6, 1e-6, terms * (1.0 + offset as f32), terms];
        compare_sums(
            [x, residual, weight, bias],
            usual,
            |[x, r, w, b]| {
                let (weight, bias, epsilon) = (&flat(w), &flat(b), 1e-5);
                let epilogue = Epilogue { residual: adds.then_some(&r), act: act(relus) };
                let output = if of_batch {
                    let norm = BatchNormTrain { weight, bias, epsilon, sync: None };
                    batch_norm_train(&x, norm, epilogue).unwrap().output
                } else {
                    let norm = BatchNorm { weight, bias, mean: &mean, variance: &variance, epsilon };
                    batch_norm(&x, norm, epilogue).unwrap()
                };
                if adds { output } else { output + r.mul_scalar(0.0) }
            },
            |[x, r, w, b]| {
                let y = if of_batch {
                    burn_batch_norm_train(x, flat(w), flat(b), 1e-5).output
                } else {
                    burn_batch_norm(x, flat(w), flat(b), mean.clone(), variance.clone(), 1e-5)
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
        biased in any::<bool>(),
    ) {
        let window = Window { kernel, stride, padding };
        fused_is_burns([batch, input, side.0, side.1], output, window, [relus, adds, false, biased], 1)?;
    }

    // Cached kernels are Winograd's from some size on, of either tile.
    #[test]
    fn convolutions_with_a_cache_are_burns(
        batch in 1usize..4,
        input in prop::sample::select(vec![16usize, 48, 70]),
        output in prop::sample::select(vec![16usize, 64, 65]),
        side in (1usize..24, 1usize..24),
        stride in 1usize..3,
        padding in 0usize..4,
        relus in any::<bool>(),
        adds in any::<bool>(),
        biased in any::<bool>(),
    ) {
        let window = Window { kernel: 3, stride, padding };
        fused_is_burns([batch, input, side.0, side.1], output, window, [relus, adds, true, biased], 1)?;
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
        let window = Window { kernel, stride, padding };
        prop_assume!(window.fits(height) && window.fits(width));
        let options = MaxPoolOptions {
            kernel_size: [kernel; 2],
            stride: [stride; 2],
            padding: [(padding, padding); 2],
            dilation: [1; 2],
            ceil_mode: false,
        };
        compare(
            [random([batch, channels, height, width], "x")],
            |[x]| window.pool(&x),
            |[x]| burn_max_pool2d(x, options),
        )?;
    }
}

/// Replicas in threads, which hand each other what they have.
#[derive(Debug)]
struct Replicas {
    places: Mutex<Vec<Vec<f64>>>,
    meet: Barrier,
}

#[derive(Debug)]
struct Replica(usize, Arc<Replicas>);

impl StatisticsSync for Replica {
    fn all(&self, values: &[f64]) -> Vec<Vec<f64>> {
        let Self(rank, replicas) = self;
        replicas.places.lock().unwrap()[*rank] = values.to_vec();
        replicas.meet.wait();
        let all = replicas.places.lock().unwrap().clone();
        replicas.meet.wait();
        all
    }
}

/// Three replicas with parts of a batch, unequal ones, normalise it and find its gradients as one does that
/// has all of it; also where the mean is a thousand times the spread.
#[test]
fn replicas_normalise_as_one() {
    let parts = [0..3, 3..4, 4..9];
    for far in [0.0, 1000.0] {
        let x = random([9, 5, 4, 3], "x").without_autodiff().add_scalar(far);
        let residual = random([9, 5, 4, 3], "r").without_autodiff();
        let wanted = random([9, 5, 4, 3], "g").without_autodiff();
        // The output, the statistics, and the gradients of x, scale and shift.
        let run = |rows: Range<usize>, sync: Option<&Arc<dyn StatisticsSync>>| {
            let part = |t: &Tensor<4>| t.clone().narrow(0, rows.start, rows.len());
            // Each has leaves of its own: burn locks a graph for the time of its backward pass.
            let x = part(&x).autodiff().require_grad();
            let [weight, bias] = ["w", "b"].map(|name| random([5], name).autodiff().require_grad());
            let norm = BatchNormTrain {
                weight: &weight,
                bias: &bias,
                epsilon: 1e-5,
                sync,
            };
            let residual = part(&residual).autodiff();
            let epilogue = Epilogue {
                residual: Some(&residual),
                act: Act::Relu,
            };
            let result = batch_norm_train(&x, norm, epilogue).unwrap();
            let loss = result.output.clone() * part(&wanted).autodiff();
            let gradients = loss.sum().backward();
            (
                values(result.output),
                [result.mean, result.unbiased_variance].map(values),
                values(x.grad(&gradients).unwrap()),
                [weight, bias].map(|t| values(t.grad(&gradients).unwrap())),
            )
        };
        let one = run(0..9, None);
        let replicas = Arc::new(Replicas {
            places: Mutex::new(vec![Vec::new(); 3]),
            meet: Barrier::new(3),
        });
        let several: Vec<_> = std::thread::scope(|scope| {
            let start = |(rank, rows): (usize, &Range<usize>)| {
                let (run, rows) = (&run, rows.clone());
                let sync: Arc<dyn StatisticsSync> = Arc::new(Replica(rank, replicas.clone()));
                scope.spawn(move || run(rows, Some(&sync)))
            };
            let threads: Vec<_> = parts.iter().enumerate().map(start).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        // A mean of 1000 in 32 bits is known to 6e-5, which is what outputs then differ by.
        let slack = if far > 0.0 { 5e-4 } else { 1e-5 };
        let close = |a: &[f32], b: &[f32], what: &str| {
            assert_eq!(a.len(), b.len());
            for (a, b) in a.iter().zip(b) {
                let difference = (a - b).abs();
                assert!(
                    difference < slack * b.abs().max(1.0),
                    "{what}, {far}: {a} {b}"
                );
            }
        };
        let outputs: Vec<f32> = several.iter().flat_map(|of| of.0.clone()).collect();
        close(&outputs, &one.0, "output");
        let gradients: Vec<f32> = several.iter().flat_map(|of| of.2.clone()).collect();
        close(&gradients, &one.2, "gradient");
        for (_, statistics, _, _) in &several {
            close(&statistics[0], &one.1[0], "mean");
            let variances = statistics[1].iter().zip(&one.1[1]);
            for (a, b) in variances {
                assert!((a / b - 1.0).abs() < 1e-5, "variance, {far}: {a} {b}");
            }
        }
        for index in 0..2 {
            let sum = |c: usize| several.iter().map(|of| of.3[index][c]).sum();
            let sums: Vec<f32> = (0..5).map(sum).collect();
            close(&sums, &one.3[index], "scale and shift");
        }
    }
}

/// Statistics of a batch whose mean is a thousand times its spread.
#[test]
fn a_far_mean_does_not_cost_the_variance_its_digits() {
    let x = random([8, 4, 5, 5], "x").add_scalar(1000.0);
    let norm = BatchNormTrain {
        weight: &random([4], "w").mul_scalar(0.0).add_scalar(1.0),
        bias: &random([4], "b"),
        epsilon: 1e-5,
        sync: None,
    };
    let result = batch_norm_train(&x, norm, Epilogue::default()).unwrap();
    let [mean, variance] = [result.mean, result.unbiased_variance].map(values);
    let all = values(x);
    for c in 0..4 {
        let of: Vec<f64> = (0..8)
            .flat_map(|n| all[(n * 4 + c) * 25..][..25].iter().map(|v| f64::from(*v)))
            .collect();
        let expected = of.iter().sum::<f64>() / 200.0;
        let spread = of.iter().map(|v| (v - expected).powi(2)).sum::<f64>() / 199.0;
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
                let y = window.convolve(&x, &w);
                let norm = BatchNormTrain {
                    weight: &random([130], "w"),
                    bias: &random([130], "b"),
                    epsilon: 1e-5,
                    sync: None,
                };
                let y = batch_norm_train(&y, norm, Epilogue::act(Act::Relu)).unwrap();
                window.pool(&y.output)
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

/// NaN is not hidden by a ReLU or a maximum.
#[test]
fn nan_stays_visible() {
    let x = random([1, 1, 4, 4], "x").mul_scalar(f64::NAN);
    let window = Window {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    assert!(values(window.pool(&x)).iter().all(|v| v.is_nan()));
    let norm = BatchNormTrain {
        weight: &random([1], "w"),
        bias: &random([1], "b"),
        epsilon: 1e-5,
        sync: None,
    };
    let y = batch_norm_train(&x, norm, Epilogue::act(Act::Relu)).unwrap();
    assert!(values(y.output).iter().all(|v| v.is_nan()));
}

/// A cache that belongs to a layer of another shape is not used.
#[test]
fn the_cache_of_another_layer_changes_nothing() {
    let x = random([2, 32, 12, 12], "x").inner();
    let cache = WeightCache::default();
    let convolve = |groups: usize, stride: usize, cache| {
        let weight = random([32, 32 / groups, 3, 3], "weight").inner();
        let conv = Conv2d {
            stride,
            padding: 1,
            cache,
            ..Conv2d::new(&weight)
        };
        values(conv2d(&x, conv, Epilogue::default()).unwrap())
    };
    convolve(1, 1, Some(&cache));
    for (groups, stride) in [(1, 2), (4, 1), (8, 1), (32, 1)] {
        let expected = convolve(groups, stride, None);
        assert_eq!(convolve(groups, stride, Some(&cache)), expected);
    }
}

/// What does not fit together is left to burn, whose errors name it.
#[test]
fn shapes_that_do_not_fit_are_left_to_burn() {
    let none = Epilogue::default();
    let x = random([2, 4, 5, 5], "x");
    let weight = random([6, 4, 3, 3], "weight");
    let vector = |len| random([len], "vector");
    assert!(conv2d(&x, Conv2d::new(&weight), none).is_some());
    assert!(conv2d(&x, Conv2d::new(&random([6, 3, 3, 3], "w")), none).is_none());
    assert!(conv2d(&x, Conv2d::new(&random([6, 4, 3, 2], "w")), none).is_none());
    assert!(conv2d(&x, Conv2d::new(&random([6, 4, 7, 7], "w")), none).is_none());
    let conv = Conv2d {
        stride: 0,
        ..Conv2d::new(&weight)
    };
    assert!(conv2d(&x, conv, none).is_none());
    let (short, right) = (vector(4), vector(6));
    let conv = Conv2d {
        bias: Some(&short),
        ..Conv2d::new(&weight)
    };
    assert!(conv2d(&x, conv, none).is_none());
    let norm = BatchNorm {
        weight: &right,
        bias: &right,
        mean: &right,
        variance: &short,
        epsilon: 1e-5,
    };
    let conv = Conv2d {
        norm: Some(norm),
        ..Conv2d::new(&weight)
    };
    assert!(conv2d(&x, conv, none).is_none());
    let residual = Epilogue {
        residual: Some(&x),
        act: Act::None,
    };
    assert!(conv2d(&x, Conv2d::new(&weight), residual).is_none());
    assert!(batch_norm(&x, norm, none).is_none());
    let norm = BatchNormTrain {
        weight: &short,
        bias: &right,
        epsilon: 1e-5,
        sync: None,
    };
    assert!(batch_norm_train(&x, norm, none).is_none());
    let pool = |kernel, stride, padding| MaxPool2d {
        kernel,
        stride,
        padding,
    };
    assert!(max_pool2d(&x, pool(2, 1, 1)).is_some());
    for pool in [pool(2, 0, 1), pool(0, 1, 0), pool(2, 1, 2), pool(6, 1, 0)] {
        assert!(max_pool2d(&x, pool).is_none(), "{pool:?}");
    }
}

/// Sizes whose product overflows, by padding or by tensors that are expanded without memory, are not
/// computed with.
#[test]
fn sizes_beyond_any_memory_are_left_to_burn() {
    let none = Epilogue::default();
    // Its square is 0 where it overflows.
    let huge = 1usize << (usize::BITS / 2);
    for of_graph in [true, false] {
        let of = |shape: [usize; 4]| {
            let tensor = random([1, 1, 1, 1], "expanded").expand(shape);
            if of_graph { tensor } else { tensor.inner() }
        };
        let (one, two) = (of([1, 1, 1, 1]), of([1, 1, 2, 2]));
        let [wide, many] = [[1, 1, huge, huge], [huge, 1, 1, 1]].map(of);
        let window = |weight, stride, padding| Conv2d {
            stride,
            padding,
            ..Conv2d::new(weight)
        };
        assert!(conv2d(&one, window(&two, 1, 1), none).is_some());
        assert!(conv2d(&one, window(&two, 1, huge / 2), none).is_none());
        assert!(conv2d(&one, window(&wide, 1, huge / 2), none).is_none());
        assert!(conv2d(&one, window(&many, 1, huge / 2), none).is_none());
        // Strides that are negative as signed numbers, or a map as wide as them.
        for stride in [
            usize::MAX,
            1 << (usize::BITS - 1),
            isize::MAX as usize,
            huge,
        ] {
            assert!(conv2d(&two, window(&one, stride, 0), none).is_none());
        }
        for shape in [[huge, 1, huge, 1], [1, 1, huge, huge], [huge, huge, 1, 1]] {
            let map = of(shape);
            let vector = random([1], "vector").expand([shape[1]]);
            assert!(conv2d(&map, Conv2d::new(&one), none).is_none());
            assert!(conv2d(&map, Conv2d::new(&of([1, shape[1], 1, 1])), none).is_none());
            let (weight, bias, epsilon) = (&vector, &vector, 1e-5);
            let norm = BatchNormTrain {
                weight,
                bias,
                epsilon,
                sync: None,
            };
            assert!(batch_norm_train(&map, norm, none).is_none());
            let (mean, variance) = (bias, weight);
            let norm = BatchNorm {
                weight,
                bias,
                mean,
                variance,
                epsilon,
            };
            assert!(batch_norm(&map, norm, none).is_none());
            let pool = MaxPool2d {
                kernel: 2,
                stride: 1,
                padding: 1,
            };
            assert!(max_pool2d(&map, pool).is_none());
            assert_eq!(kernel_layout(map.clone()).dims(), shape);
            assert_eq!(row_major(map.clone()).dims(), shape);
            assert_eq!(fork(map).map(|branch| branch.dims()), [shape; 2]);
        }
    }
}

/// Values stay where they are, whatever the layout, and both layouts have them all.
#[test]
fn layouts_change_no_value() {
    for shape in [
        [3, 5, 3, 3],
        [40, 17, 3, 3],
        [16, 33, 1, 1],
        [1, 4, 7, 7],
        [5, 1, 3, 3],
        [4, 3, 2, 5],
    ] {
        let weight = random(shape, "weight");
        let expected = values(weight.clone());
        let own = kernel_layout(weight.clone());
        assert_eq!(values(own.clone()), expected, "{shape:?}");
        assert_eq!(values(row_major(own)), expected, "{shape:?}");
        assert_eq!(values(row_major(weight.clone())), expected, "{shape:?}");
        let narrow = kernel_layout(weight).narrow(0, 1.min(shape[0] - 1), 1);
        assert_eq!(
            values(row_major(narrow.clone())),
            values(narrow),
            "{shape:?}"
        );
    }
}

/// The largest stride that may lie beyond a map.
#[test]
fn strides_may_reach_beyond_the_map() {
    let (x, weight) = (random([2, 3, 2, 2], "x"), random([4, 3, 1, 1], "weight"));
    let window = Window {
        kernel: 1,
        stride: 64,
        padding: 0,
    };
    compare(
        [x, weight],
        |[x, w]| window.convolve(&x, &w),
        |[x, w]| burn_conv2d(x, w, None, window.options(1)),
    )
    .unwrap();
}
