//! What happens around a step of training, against PyTorch's and timm's figures: averages of
//! weights, clipping, losses, and what trains when. The figures are in
//! `tests/fixtures/training.json` and `schedules.json`, with the scripts that made them.

#[path = "../../../tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;

use crate::prelude::*;
use crate::train::{
    BackboneRate, ClassWeights, Clip, Ema, EmaConfig, Loss, RateScaling, clip_gradients,
    gradient_norm,
};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Int, TensorData};
use common::{fixture, rule_model};
use serde_json::Value;

fn read(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    let values = value.as_array().unwrap().iter();
    values.map(|v| v.as_f64().unwrap() as f32).collect()
}

fn close(found: &[f32], expected: &[f32], slack: f32, place: &str) {
    assert_eq!(found.len(), expected.len(), "{place}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= slack * expected.abs().max(1.0),
            "{place}: {found}, expected {expected}"
        );
    }
}

fn model() -> Classifier {
    rule_model(
        Zoo::test_resnet().num_classes(4),
        &Device::default().autodiff(),
    )
}

/// Where the fixture's small tensors lie in our model: at the beginning of these.
const HOSTS: [(&str, &str); 6] = [
    ("weight", "conv1.0.weight"),
    ("scale", "fc.bias"),
    ("bn.weight", "bn1.weight"),
    ("bn.bias", "bn1.bias"),
    ("bn.running_mean", "bn1.running_mean"),
    ("bn.running_var", "bn1.running_var"),
];

/// The model with the fixture's values at the beginning of its tensors.
fn hosting(model: &Classifier, tensors: &Value) -> Classifier {
    let state = model.state_dict().unwrap();
    model
        .clone()
        .map_state_dict(|name, _| {
            let mut values = state[name].data.clone();
            if let Some((theirs, _)) = HOSTS.iter().find(|(_, ours)| *ours == name) {
                let new = floats(&tensors[theirs]);
                values[..new.len()].copy_from_slice(&new);
            }
            Some(values)
        })
        .unwrap()
}

#[test]
fn averaged_weights_are_timms() {
    for run in read("training.json")["ema"].as_array().unwrap() {
        let config = EmaConfig {
            decay: run["decay"].as_f64().unwrap(),
            warmup: run["warmup"].as_bool().unwrap(),
        };
        let start = hosting(&model(), &run["initial"]);
        let mut ema = Ema::new(config, &start);
        let models = run["models"].as_array().unwrap();
        for (step, tensors) in models.iter().enumerate() {
            ema.update(&hosting(&start, tensors), step + 1);
            let state = ema.model().state_dict().unwrap();
            for (theirs, ours) in HOSTS {
                let expected = floats(&run["averages"][step][theirs]);
                let found = state[ours].data.clone();
                let place = format!("{config:?}, step {step}, {theirs}");
                close(&found[..expected.len()], &expected, 1e-6, &place);
            }
        }
    }
}

/// What does not change stays what it is to the last bit.
#[test]
fn averages_of_frozen_weights_do_not_drift() {
    let model = model();
    let mut ema = Ema::new(EmaConfig::new(0.9), &model);
    for step in 1..50 {
        ema.update(&model, step);
    }
    assert_eq!(
        ema.model().state_dict().unwrap(),
        model.state_dict().unwrap()
    );
}

/// The parameters' ids and shapes, in the model's order.
fn parameters(model: &Classifier) -> Vec<(ParamId, Vec<usize>)> {
    struct List(Vec<(ParamId, Vec<usize>)>);
    impl ModuleVisitor for List {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let shape: [usize; D] = param.val().dims();
            self.0.push((param.id, shape.to_vec()));
        }
    }
    let mut list = List(Vec::new());
    model.visit(&mut list);
    list.0
}

/// Gradients of which the first numbers are these, and all others 0: the first lists go to tensors
/// of rank four, the last to one of rank one.
fn gradients(model: &Classifier, lists: &[Vec<f32>]) -> (GradientsParams, Vec<ParamId>) {
    let parameters = parameters(model);
    let mut gradients = GradientsParams::new();
    let mut used = Vec::new();
    let device = model.device().without_autodiff();
    for (index, list) in lists.iter().enumerate() {
        let rank = if index + 1 == lists.len() { 1 } else { 4 };
        let (id, shape) = parameters
            .iter()
            .filter(|(id, shape)| shape.len() == rank && !used.contains(id))
            .find(|(_, shape)| shape.iter().product::<usize>() >= list.len())
            .unwrap();
        let mut values = vec![0.0; shape.iter().product()];
        values[..list.len()].copy_from_slice(list);
        let data = TensorData::new(values, shape.clone());
        match rank {
            1 => gradients.register(*id, Tensor::<1>::from_data(data, &device)),
            _ => gradients.register(*id, Tensor::<4>::from_data(data, &device)),
        }
        used.push(*id);
    }
    (gradients, used)
}

#[test]
fn clipping_is_pytorchs() {
    let model = model();
    let clip = &read("training.json")["clip"];
    let lists: Vec<Vec<f32>> = clip["gradients"]
        .as_array()
        .unwrap()
        .iter()
        .map(floats)
        .collect();
    let check = |rule: Clip, case: &Value| {
        let (mut gradients, ids) = gradients(&model, &lists);
        let norm = gradient_norm(&model, &gradients).unwrap();
        if let Some(expected) = case["norm"].as_f64() {
            assert!((norm / expected - 1.0).abs() < 1e-6, "{norm}, {expected}");
        }
        clip_gradients(&model, &mut gradients, rule, norm);
        for (index, (id, list)) in ids.iter().zip(&lists).enumerate() {
            let data = match index + 1 == ids.len() {
                true => gradients.get::<1>(*id).unwrap().into_data(),
                false => gradients.get::<4>(*id).unwrap().into_data(),
            };
            let found = data.try_to_vec::<f32>().unwrap();
            let expected = floats(&case["clipped"][index]);
            close(&found[..list.len()], &expected, 1e-6, &format!("{rule:?}"));
            assert!(found[list.len()..].iter().all(|v| *v == 0.0));
        }
    };
    for case in clip["norms"].as_array().unwrap() {
        let max = case["max"].as_f64().unwrap();
        check(Clip::Norm { max }, case);
    }
    for case in clip["values"].as_array().unwrap() {
        let max = case["max"].as_f64().unwrap();
        check(Clip::Value { max }, case);
    }
}

#[test]
fn losses_and_their_gradients_are_pytorchs() {
    let device = Device::default().autodiff();
    let all = &read("training.json")["loss"];
    let weights = floats(&all["class_weights"]);
    let labels: Vec<i64> = all["labels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_i64().unwrap())
        .collect();
    for case in all["cases"].as_array().unwrap() {
        let weighted = case["weighted"].as_bool().unwrap();
        let loss = Loss::new(
            case["smoothing"].as_f64().unwrap(),
            weighted.then_some(weights.as_slice()),
            &device,
        )
        .unwrap();
        let logits = TensorData::new(floats(&all["logits"]), [4, 5]);
        let logits = Tensor::<2>::from_data(logits, &device).require_grad();
        let value = match case["targets"].as_str().unwrap() {
            "labels" => {
                let labels = TensorData::new(labels.clone(), [4]);
                loss.forward(logits.clone(), Tensor::<1, Int>::from_data(labels, &device))
            }
            _ => {
                let soft = TensorData::new(floats(&all["soft"]), [4, 5]);
                loss.forward_soft(logits.clone(), Tensor::from_data(soft, &device))
            }
        };
        let gradients = value.backward();
        let found = value.into_data().try_to_vec::<f32>().unwrap();
        let place = format!("{} {weighted} {}", case["targets"], case["smoothing"]);
        close(
            &found,
            &[case["loss"].as_f64().unwrap() as f32],
            1e-6,
            &place,
        );
        let found = logits.grad(&gradients).unwrap().into_data();
        let expected = floats(&case["gradient"]);
        close(&found.try_to_vec::<f32>().unwrap(), &expected, 1e-6, &place);
    }
}

/// Where all labels of a batch weigh nothing there is nothing to learn, with label smoothing either.
#[test]
fn a_batch_that_weighs_nothing_has_no_loss() {
    let device = Device::default().autodiff();
    for smoothing in [0.0, 0.1] {
        let loss = Loss::new(smoothing, Some(&[0.0, 1.0, 2.0]), &device).unwrap();
        let logits = Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [3.0, 0.0, -9.0]], &device);
        let logits = logits.require_grad();
        let labels = Tensor::<1, Int>::from_ints([0, 0], &device);
        let value = loss.forward(logits.clone(), labels);
        let gradients = value.backward();
        let numbers = |data: TensorData| data.try_to_vec::<f32>().unwrap();
        assert_eq!(numbers(value.into_data()), [0.0], "{smoothing}");
        let found = numbers(logits.grad(&gradients).unwrap().into_data());
        assert_eq!(found, [0.0; 6], "{smoothing}");
    }
}

#[test]
fn class_weights_are_those_of_scikit_learn() {
    // compute_class_weight("balanced", classes=[0, 1, 2], y=[0, 0, 0, 1, 2, 2])
    let balanced: ClassWeights = "balanced".parse().unwrap();
    let weights = balanced.of(&[0, 0, 0, 1, 2, 2], 3).unwrap().unwrap();
    close(&weights, &[2.0 / 3.0, 2.0, 1.0], 1e-6, "balanced");
    // A class that never comes weighs nothing, and divides by nothing.
    assert_eq!(balanced.of(&[0, 0], 2).unwrap().unwrap(), [0.5, 0.0]);
    assert_eq!(ClassWeights::Equal.of(&[0, 1], 2).unwrap(), None);
    let given: ClassWeights = "1,2.5".parse().unwrap();
    assert_eq!(
        given.of(&[0], 3).unwrap_err().to_string(),
        "class_weights: expected a number for each of the 3 classes, found 2 numbers"
    );
    assert!("some".parse::<ClassWeights>().is_err());
    assert!("1,-1".parse::<ClassWeights>().is_err());
}

fn plan(recipe: &Recipe, model: &Classifier) -> crate::train::Plan {
    recipe.plan(model, 10).unwrap()
}

/// timm's scales of a ResNet-18 with a decay of 0.75 for each block.
#[test]
fn layer_decay_counts_blocks() {
    let device = Device::default().autodiff();
    let spec = Zoo::resnet18().weights(Weights::Random(0)).adapt(3, 10);
    let model = spec.build(&device).unwrap();
    let recipe = Recipe::full().learning_rate(1.0).rates(Rates::LayerDecay {
        decay: 0.75,
        min_scale: 0.0,
    });
    let plan = plan(&recipe, &model);
    let rates = plan.at(0).rates;
    let found: BTreeMap<&str, f64> = plan.groups().zip(rates).collect();
    let expected = [
        ("stem", 9),
        ("stage1.0", 8),
        ("stage1.1", 7),
        ("stage2.0", 6),
        ("stage2.1", 5),
        ("stage3.0", 4),
        ("stage3.1", 3),
        ("stage4.0", 2),
        ("stage4.1", 1),
        ("head", 0),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (name, power) in expected {
        let scale = 0.75f64.powi(power);
        assert!(
            (found[name] - scale).abs() < 1e-12,
            "{name}: {}",
            found[name]
        );
    }
    assert!((found["stem"] - 0.0751).abs() < 1e-4 && (found["stage1.0"] - 0.1001).abs() < 1e-4);
    // Each parameter is in one group, and the optimiser gets the group's rate for it.
    let counted: usize = plan.rate_groups().iter().map(|group| group.ids.len()).sum();
    assert_eq!(counted, model.trainable_parameters().len());
}

/// The head first, then one group more from the top, spread over the run.
#[test]
fn gradual_unfreezing_goes_down_the_groups() {
    let model = model();
    let recipe = Recipe::gradual().epochs(6);
    let evenly = plan(&recipe, &model);
    let changes: Vec<(usize, String)> = evenly
        .changes()
        .iter()
        .map(|(step, freeze)| (*step, freeze.to_string()))
        .collect();
    let expected = [
        (0, "up-to:stage4"),
        (10, "up-to:stage3"),
        (20, "up-to:stage2"),
        (30, "up-to:stage1"),
        (40, "up-to:stem"),
        (50, "nothing"),
    ];
    assert_eq!(
        changes,
        expected.map(|(step, text)| (step, text.to_owned()))
    );
    assert_eq!(evenly.freeze_at(29).to_string(), "up-to:stage2");

    // ULMFiT's rates: each group 2.6 times slower than the one above it.
    let rates = evenly.at(0).rates;
    for pair in rates.windows(2) {
        assert!((pair[1] / pair[0] - 2.6).abs() < 1e-9);
    }
    // Every so many epochs, with fractions.
    let half = recipe.clone().unfreeze("gradual:0.5".parse().unwrap());
    let steps: Vec<usize> = plan(&half, &model).changes().iter().map(|c| c.0).collect();
    assert_eq!(steps, [0, 5, 10, 15, 20, 25]);
    // A schedule of one's own.
    let own = [(1.5, Freeze::up_to("stage2")), (4.0, Freeze::Nothing)];
    let own = recipe.unfreeze(Unfreeze::at(own));
    let own = plan(&own, &model);
    let at: Vec<String> = [0, 14, 15, 39, 40]
        .map(|s| own.freeze_at(s).to_string())
        .into();
    assert_eq!(
        at,
        [
            "backbone",
            "backbone",
            "up-to:stage2",
            "up-to:stage2",
            "nothing"
        ]
    );
}

#[test]
fn fine_tune_is_fastais_over_a_whole_run() {
    let case = &read("schedules.json")["fine_tune"][0];
    let steps = case["steps_per_epoch"].as_u64().unwrap() as usize;
    let whole = |name: &str| case[name].as_u64().unwrap() as usize;
    let model = model();
    let recipe = Recipe::fine_tune()
        .epochs(whole("freeze_epochs") + whole("epochs"))
        .unfreeze(Unfreeze::FineTune {
            freeze_epochs: whole("freeze_epochs"),
            lr_mult: 100.0,
            pct_start: 0.3,
            div: 5.0,
        });
    let recipe = recipe.learning_rate(case["base_rate"].as_f64().unwrap());
    let plan = recipe.plan(&model, steps).unwrap();
    // The groups that fastai's three are made of: stem to stage2, stage3 and 4, the head.
    let third = ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
        .iter()
        .zip([0, 0, 0, 1, 1, 2])
        .collect::<BTreeMap<_, _>>();
    let mut step = 0;
    for phase in case["phases"].as_array().unwrap() {
        let rates = phase["rates"].as_array().unwrap();
        for (row, momentum) in rates.iter().zip(phase["momentum"].as_array().unwrap()) {
            let found = plan.at(step);
            for (group, rate) in plan.rate_groups().iter().zip(&found.rates) {
                let expected = row[third[&group.name.as_str()]].as_f64().unwrap();
                assert!(
                    (rate / expected - 1.0).abs() < 1e-6,
                    "step {step}, {}: {rate}, {expected}",
                    group.name
                );
            }
            assert!((found.momentum.unwrap() - momentum.as_f64().unwrap()).abs() < 1e-6);
            step += 1;
        }
    }
    assert_eq!(step, recipe.epochs * steps);
    assert_eq!(plan.changes()[1].0, whole("freeze_epochs") * steps);
}

#[test]
fn a_backbone_joins_at_its_epoch_and_grows_to_the_heads_rate() {
    let model = model();
    let recipe = Recipe::backbone_finetuning()
        .epochs(8)
        .learning_rate(1.0)
        .unfreeze(Unfreeze::Backbone(BackboneRate {
            joins_at: 2,
            ratio: 0.1,
            growth: 2.0,
            align: true,
        }));
    let plan = plan(&recipe, &model);
    let of_backbone: Vec<f64> = (0..8).map(|epoch| plan.at(epoch * 10).rates[0]).collect();
    let expected = [0.0, 0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0];
    for (found, expected) in of_backbone.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{of_backbone:?}");
    }
    assert_eq!(plan.freeze_at(19), &Freeze::Backbone);
    assert_eq!(plan.freeze_at(20), &Freeze::Nothing);
}

#[test]
fn a_batch_scales_the_rate_if_asked() {
    let model = model();
    let mut recipe = Recipe::full().batch_size(128).learning_rate(0.1);
    recipe.accumulate = 4;
    recipe.rate_scaling = RateScaling::Linear { base: 256 };
    assert!((plan(&recipe, &model).at(0).head() - 0.2).abs() < 1e-12);
    recipe.rate_scaling = RateScaling::Sqrt { base: 128 };
    assert!((plan(&recipe, &model).at(0).head() - 0.2).abs() < 1e-12);
}

/// A run's file holds whole numbers of 63 bits: others would be found when the run has ended.
#[test]
fn whole_numbers_that_no_file_holds_are_named() {
    let most = u64::MAX as usize;
    let schedule = "plateau:patience=18446744073709551615".parse().unwrap();
    let mut kept = Recipe::full();
    kept.checkpoints.best = most;
    for (recipe, name) in [
        (kept, "checkpoints.best"),
        (Recipe::full().schedule(schedule), "schedule.patience"),
        (Recipe::full().seed(u64::MAX), "seed"),
    ] {
        let error = recipe.validate().unwrap_err().to_string();
        let expected = format!("{name}: expected 0 to {}, found {most}", i64::MAX);
        assert_eq!(error, expected);
    }
}
