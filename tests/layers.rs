//! Layers that only act in training.

mod common;

use burn::module::Module;
use burn::tensor::Tensor;
use burn_zoo::nn::{DropPath, Dropout, avg_pool2d};
use burn_zoo::prelude::*;
use common::{rule_input, rule_model, values};

#[test]
fn dropout_keeps_the_mean_and_only_acts_in_training() {
    let device = Device::default().autodiff();
    device.seed(1);
    let dropout = Dropout::new(0.25);
    let ones = Tensor::<2>::ones([100, 1000], &device);
    let out = values(&dropout.forward(ones.clone()));
    let kept = out.iter().filter(|v| **v != 0.0).count() as f64 / out.len() as f64;
    // Five standard deviations of a share over 100 000 draws.
    assert!(
        (kept - 0.75).abs() < 5.0 * (0.75f64 * 0.25 / 1e5).sqrt(),
        "{kept}"
    );
    assert!(
        out.iter()
            .all(|v| *v == 0.0 || (v - 1.0 / 0.75).abs() < 1e-6)
    );
    assert_eq!(
        values(&dropout.valid().forward(ones.clone())),
        values(&ones)
    );
    let plain = Tensor::<2>::ones([10, 10], &Device::default());
    assert_eq!(values(&dropout.forward(plain.clone())), values(&plain));
}

#[test]
fn stochastic_depth_drops_whole_samples() {
    let device = Device::default().autodiff();
    device.seed(2);
    let drop = DropPath::new(0.2);
    let out = drop.forward(Tensor::<4>::ones([2000, 3, 2, 2], &device));
    let out = values(&out);
    let mut kept = 0;
    for sample in out.chunks_exact(12) {
        assert!(sample.iter().all(|v| *v == sample[0]));
        assert!(sample[0] == 0.0 || (sample[0] - 1.25).abs() < 1e-6);
        kept += usize::from(sample[0] != 0.0);
    }
    let share = kept as f64 / 2000.0;
    assert!(
        (share - 0.8).abs() < 5.0 * (0.8f64 * 0.2 / 2000.0).sqrt(),
        "{share}"
    );
    let ones = Tensor::<4>::ones([4, 1, 1, 1], &device);
    assert_eq!(values(&drop.valid().forward(ones)), [1.0; 4]);
}

#[test]
fn a_models_drop_rates_act_in_training_alone() {
    let device = Device::default().autodiff();
    device.seed(3);
    for spec in [
        Zoo::test_resnet().num_classes(5).drop_rate(0.5),
        Zoo::test_resnet().num_classes(5).drop_path_rate(0.5),
        Zoo::test_vit()
            .image_size(32)
            .num_classes(5)
            .drop_path_rate(0.5),
    ] {
        let model = rule_model(spec, &device);
        let images = rule_input([4, 3, 32, 32], &device);
        let score = |m: &Classifier, x: Tensor<4>| values(&m.forward(x).unwrap());
        assert_ne!(score(&model, images.clone()), score(&model, images.clone()));
        let (model, images) = (model.valid(), images.without_autodiff());
        assert_eq!(score(&model, images.clone()), score(&model, images));
    }
}

/// `torch.nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)` on an odd size.
#[test]
fn a_window_over_the_edge_averages_what_is_inside() {
    let device = Device::default();
    let x = Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], &device);
    let out = avg_pool2d(x.reshape([1, 1, 3, 3]), 2, 2);
    assert_eq!(values(&out), [3.0, 4.5, 7.5, 9.0]);
    let one = avg_pool2d(Tensor::<4>::ones([1, 1, 1, 1], &device), 2, 2);
    assert_eq!(one.dims(), [1, 1, 1, 1]);
}
