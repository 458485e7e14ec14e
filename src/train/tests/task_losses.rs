//! Losses of several labels and of numbers are PyTorch's and timm's: `tests/fixtures/task_losses.json`.

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use crate::data::{Sampler, Targets, Task};
use crate::model::TargetScaling;
use crate::train::loss_function::{LossFunction, TaskLoss, positive_weights};
use crate::train::{ClassWeights, Metric, Recipe};

#[derive(Deserialize)]
struct Entry {
    loss: String,
    smoothing: f64,
    positive: Option<Vec<f32>>,
    scaling: Option<TargetScaling>,
    logits: Vec<f32>,
    targets: Vec<f32>,
    value: f32,
    gradient: Vec<f32>,
}

#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    let text = include_str!("../../../tests/fixtures/task_losses.json");
    let entries: Vec<Entry> = serde_json::from_str(text).unwrap();
    let device = Device::default();
    for entry in entries {
        let function: LossFunction = entry.loss.parse().unwrap();
        assert_eq!(
            function.to_string().parse::<LossFunction>().unwrap(),
            function
        );
        let loss = match entry.scaling {
            Some(scaling) => TaskLoss::Values { function, scaling },
            None => TaskLoss::labels(function, entry.smoothing, entry.positive, &device),
        };
        let logits = TensorData::new(entry.logits, [4, 3]);
        let logits = Tensor::<2>::from_data(logits, &device.clone().autodiff()).require_grad();
        let targets = Targets::Rows {
            values: entry.targets,
            width: 3,
        };
        let value = loss.forward(logits.clone(), &targets, None).unwrap();
        let found = value.clone().into_data().try_into_vec::<f32>().unwrap()[0];
        let close = |a: f32, b: f32| (a - b).abs() < 2e-6 * b.abs().max(1.0);
        assert!(
            close(found, entry.value),
            "{}: {found}, {}",
            entry.loss,
            entry.value
        );
        let gradient = logits.grad(&value.backward()).unwrap();
        let gradient = gradient.into_data().try_into_vec::<f32>().unwrap();
        for (found, expected) in gradient.iter().zip(&entry.gradient) {
            assert!(
                close(*found, *expected),
                "{}: {found}, {expected}",
                entry.loss
            );
        }
    }
}

/// Images that were mixed have mixed numbers.
#[test]
fn mixed_numbers_are_scaled_as_others() {
    let device = Device::default();
    let scaling = TargetScaling {
        mean: vec![2.0],
        std: vec![4.0],
    };
    let loss = TaskLoss::Values {
        function: LossFunction::Mse,
        scaling,
    };
    let row = |values: [f32; 2]| {
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 1]), &device)
    };
    let targets = Targets::Rows {
        values: vec![100.0, -100.0],
        width: 1,
    };
    let value = loss
        .forward(row([0.0, 0.0]), &targets, Some(row([6.0, 10.0])))
        .unwrap();
    // (6 - 2) / 4 and (10 - 2) / 4, squared.
    let value = value.into_data().try_into_vec::<f32>().unwrap();
    assert!((value[0] - 2.5).abs() < 1e-6, "{value:?}");
}

#[test]
fn present_classes_weigh_as_absent_ones() {
    let targets = Targets::Rows {
        values: [
            [1.0, 0.0, 1.0],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, 1.0],
            [1.0, 0.0, 1.0],
        ]
        .concat(),
        width: 3,
    };
    let weights = positive_weights(&ClassWeights::Balanced, &targets, 3).unwrap();
    // No image has the second, all have the third.
    assert_eq!(weights.unwrap(), [1.0, 1.0, 1.0]);
    let three = Targets::Rows {
        values: vec![1.0, 0.0, 0.0, 0.0],
        width: 1,
    };
    let weights = positive_weights(&ClassWeights::Balanced, &three, 1).unwrap();
    assert_eq!(weights.unwrap(), [3.0]);
}

#[test]
fn numbers_are_brought_to_one_scale_and_back() {
    let values = vec![1.0, 7.0, 3.0, 7.0, 5.0, 7.0];
    let targets = Targets::Rows { values, width: 2 };
    let scaling = TargetScaling::of(&targets).unwrap();
    assert_eq!(scaling.mean, [3.0, 7.0]);
    assert!((scaling.std[0] - (8.0f32 / 3.0).sqrt()).abs() < 1e-6);
    // One that is the same in all images has no deviation.
    assert_eq!(scaling.std[1], 1.0);
    let rows = scaling.normalized(targets.rows(&Device::default()).unwrap());
    let mut rows = rows.into_data().try_into_vec::<f32>().unwrap();
    scaling.restore(&mut rows);
    let Targets::Rows { values, .. } = targets else {
        unreachable!()
    };
    for (a, b) in rows.iter().zip(values) {
        assert!((a - b).abs() < 1e-5);
    }
}

#[test]
fn what_is_of_another_task_is_refused() {
    let error = |recipe: Recipe| recipe.validate().unwrap_err().to_string();
    let labels = || Recipe::full().task(Task::MultiLabel);
    let numbers = || Recipe::full().task(Task::Regression);
    assert_eq!(labels().metric, Metric::ValidMap);
    assert_eq!(numbers().metric, Metric::ValidRmse);
    labels().validate().unwrap();
    numbers().validate().unwrap();
    for (recipe, named) in [
        (
            labels().loss(LossFunction::Mse),
            "loss: expected a loss of multi-label",
        ),
        (
            labels().metric(Metric::ValidAccuracy),
            "metric: expected a metric of multi-label",
        ),
        (labels().sampler(Sampler::Balanced), "sampler"),
        (numbers().label_smoothing(0.1), "label_smoothing"),
        (
            numbers().class_weights(ClassWeights::Balanced),
            "class_weights",
        ),
        (
            Recipe::full().loss(LossFunction::Bce),
            "loss: expected a loss of single-label",
        ),
    ] {
        let error = error(recipe);
        assert!(error.contains(named), "{error}");
    }
    // What was written before there were tasks is read as it was.
    let text = labels().to_toml().unwrap();
    assert!(text.contains("task = \"multi-label\""), "{text}");
    assert_eq!(Recipe::from_toml(&text).unwrap(), labels());
    assert!(!Recipe::full().to_toml().unwrap().contains("task"));
    // A task alone brings the rest.
    let short = Recipe::from_toml("task = 'regression'\nepochs = 9").unwrap();
    assert_eq!(short, numbers().epochs(9));
    assert!(
        Recipe::from_toml("task = 'several'")
            .unwrap_err()
            .to_string()
            .contains("task")
    );
}
