//! A model that is cut over devices computes and trains as a whole one does.

#![cfg(feature = "fashion-mnist-mini")]

mod common;

use std::path::Path;
use std::sync::Arc;

use burn_zoo::data::{FashionMnist, ImageData};
use burn_zoo::prelude::*;
use burn_zoo::train::{Control, FitOptions, Monitor, Optimizer, Place, Run, StepRecord, resume};
use common::{Losses, distance, rule_model};

fn images() -> [Arc<dyn ImageData>; 2] {
    let data = FashionMnist::bundled().unwrap();
    [
        Arc::new(data.train().take_first(480)),
        Arc::new(data.test().take_first(60)),
    ]
}

fn trained(spec: Spec) -> Classifier {
    rule_model(spec.adapt(1, 10), &Device::default().autodiff())
}

fn vit() -> Classifier {
    trained(Zoo::test_vit().image_size(28))
}

fn recipe() -> Recipe {
    let sgd = Optimizer::Sgd {
        momentum: 0.9,
        nesterov: false,
    };
    let recipe = Recipe::full().epochs(1).batch_size(24);
    recipe.learning_rate(0.01).with_optimizer(sgd)
}

fn place(parts: &[(&str, Device)], micro_batches: usize) -> FitOptions {
    let parts = parts
        .iter()
        .map(|(groups, device)| ((*groups).to_owned(), device.clone()));
    FitOptions {
        place: Place {
            parts: parts.collect(),
            micro_batches,
        },
        ..FitOptions::default()
    }
}

fn fit(model: Classifier, recipe: &Recipe, dir: &Path, options: FitOptions) -> (Run, Vec<f64>) {
    let [train, valid] = images();
    let mut losses = Losses::default();
    let run = recipe.fit_with(model, train, valid, dir, options, &mut losses);
    (run.unwrap(), losses.0)
}

#[test]
fn parts_on_one_device_change_no_bit() {
    let here = Device::default();
    let dir = tempfile::tempdir().unwrap();
    let halves = [("stem..stage2", here.clone()), ("stage3..head", here)];
    let model = trained(Zoo::test_resnet());
    let (whole, losses) = fit(
        model.clone(),
        &recipe(),
        &dir.path().join("whole"),
        FitOptions::default(),
    );
    let (cut, of_cut) = fit(
        model.clone(),
        &recipe(),
        &dir.path().join("cut"),
        place(&halves, 1),
    );
    assert_eq!(losses, of_cut);
    assert_eq!(distance(whole.model(), cut.model()), 0.0);

    let [_, valid] = images();
    let batch = burn_zoo::data::Loader::new(
        valid,
        model.preprocess(None),
        burn_zoo::data::LoaderConfig::default(),
        &Device::default(),
    );
    let images = batch.unwrap().epoch(0).next().unwrap().unwrap().images;
    let expected = whole.model().forward(images.clone()).unwrap().into_data();
    let placed = whole.model().clone().place(&halves).unwrap();
    assert_eq!(placed.forward(images).unwrap().into_data(), expected);
}

/// Without batch normalisation a batch in parts is a batch: twenty steps, to 1e-5.
#[test]
fn micro_batches_train_as_the_whole_batch_does() {
    let here = Device::default();
    let dir = tempfile::tempdir().unwrap();
    let groups = vit().groups();
    let middle = groups.len() / 2;
    let halves = [
        format!("{}..{}", groups[0], groups[middle - 1]),
        format!("{}..{}", groups[middle], groups[groups.len() - 2]),
        "head".to_owned(),
    ];
    let parts: Vec<(&str, Device)> = halves
        .iter()
        .map(|part| (part.as_str(), here.clone()))
        .collect();
    for (name, recipe) in [
        ("full", recipe()),
        ("smooth", recipe().label_smoothing(0.1)),
        (
            "frozen",
            recipe().freeze(format!("up-to:{}", groups[0]).parse().unwrap()),
        ),
        ("head", recipe().freeze(Freeze::Backbone)),
        ("checkpointing", recipe().gradient_checkpointing(true)),
    ] {
        let one = |parts: FitOptions, kind: &str| {
            fit(
                vit(),
                &recipe,
                &dir.path().join(format!("{name}-{kind}")),
                parts,
            )
        };
        let (whole, losses) = one(FitOptions::default(), "whole");
        for micro_batches in [2, 5] {
            let kind = micro_batches.to_string();
            let (cut, of_cut) = one(place(&parts, micro_batches), &kind);
            for (a, b) in losses.iter().zip(&of_cut) {
                assert!((a - b).abs() < 1e-5 * a, "{name}: {a} {b}");
            }
            let distance = distance(whole.model(), cut.model());
            assert!(distance < 1e-5, "{name}, {micro_batches}: {distance}");
            assert_eq!(whole.best().train_accuracy, cut.best().train_accuracy);
        }
    }
}

#[test]
fn a_pipeline_repeats_to_the_bit_and_goes_on() {
    let here = Device::default();
    let dir = tempfile::tempdir().unwrap();
    let halves = [("stem..stage2", here.clone()), ("stage3..head", here)];
    let model = || {
        let spec = Zoo::test_resnet().weights(Weights::Random(3)).adapt(1, 10);
        spec.drop_rate(0.2)
            .drop_path_rate(0.1)
            .build(&Device::default().autodiff())
            .unwrap()
    };
    let recipe = recipe().epochs(2);
    let run = |name: &str| fit(model(), &recipe, &dir.path().join(name), place(&halves, 3));
    let ((first, losses), (second, again)) = (run("first"), run("second"));
    assert_eq!(losses, again);
    assert_eq!(distance(first.model(), second.model()), 0.0);

    struct Stop(usize);
    impl Monitor for Stop {
        fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
            self.0 = step.global_step;
            Ok(())
        }
        fn should_stop(&mut self) -> bool {
            self.0 == 27
        }
    }
    let part = dir.path().join("part");
    let [train, valid] = images();
    let options = place(&halves, 3);
    let (to_train, to_judge) = (train.clone(), valid.clone());
    recipe
        .fit_with(
            model(),
            to_train,
            to_judge,
            &part,
            options.clone(),
            &mut Stop(0),
        )
        .unwrap_err();
    let run = resume(&part, &Device::default(), train, valid, options, &mut ()).unwrap();
    assert_eq!(distance(first.model(), run.model()), 0.0);
}

#[test]
fn a_cut_names_each_group_once() {
    let here = Device::default;
    let model = || trained(Zoo::test_resnet());
    let error = |parts: &[(&str, Device)]| model().place(parts).unwrap_err().to_string();
    let missing = error(&[("stem..stage2", here()), ("stage4..head", here())]);
    assert!(missing.contains("nothing for stage3"), "{missing}");
    assert!(
        missing.contains("stem, stage1, stage2, stage3, stage4, head"),
        "{missing}"
    );
    let twice = error(&[("stem..stage3", here()), ("stage3..head", here())]);
    assert!(twice.contains("`stage3` twice"), "{twice}");
    let unknown = error(&[("stem..stage9", here()), ("stage3..head", here())]);
    assert!(unknown.contains("`stage9`"), "{unknown}");
    let order = error(&[("stage2..stem", here()), ("stage3..head", here())]);
    assert!(order.contains("another order"), "{order}");

    let dir = tempfile::tempdir().unwrap();
    let fit = |options: FitOptions| {
        let [train, valid] = images();
        let fit = recipe().fit_with(model(), train, valid, dir.path(), options, &mut ());
        fit.unwrap_err().to_string()
    };
    let error = fit(place(&[], 4));
    assert!(error.contains("micro_batches"), "{error}");
    let halves = [("stem..stage2", here()), ("stage3..head", here())];
    let error = fit(place(&halves, 25));
    assert!(
        error.contains("micro_batches") && error.contains("24"),
        "{error}"
    );
}

/// Two backends in one process are two devices. They differ by rounding, and a ReLU that flips by the last bit of a
/// sum makes another network: after 20 steps at 0.01 a whole ResNet on the one is 14 % from a whole one on the other.
/// So its rate is one at which none flips.
#[cfg(feature = "ndarray")]
#[test]
fn two_devices_compute_and_train_as_one() {
    let [first, second] = ["cpu", "ndarray"].map(|name| burn_zoo::device(name).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let models = [
        (
            "resnet",
            trained(Zoo::test_resnet()),
            ["stem..stage2", "stage3..head"],
        ),
        ("vit", vit(), ["stem..block2", "block3..head"]),
    ];
    for (name, model, [front, back]) in models {
        let groups = model.groups();
        let (front, back) = if name == "vit" {
            let half = groups.len() / 2;
            (
                format!("{}..{}", groups[0], groups[half - 1]),
                format!("{}..{}", groups[half], groups[groups.len() - 1]),
            )
        } else {
            (front.to_owned(), back.to_owned())
        };
        let halves = [
            (front.as_str(), first.clone()),
            (back.as_str(), second.clone()),
        ];
        let images = common::rule_input([3, 1, 28, 28], &first);
        let placed = model.clone().place(&halves).unwrap();
        let values = |model: &Classifier| {
            use burn::module::Module as _;
            let scores = model.valid().forward(images.clone()).unwrap();
            scores.into_data().try_into_vec::<f32>().unwrap()
        };
        for (a, b) in values(&model).iter().zip(values(&placed)) {
            assert!((a - b).abs() < 1e-5 * a.abs().max(1.0), "{name}: {a} {b}");
        }
        for micro_batches in [1, 3] {
            // Normalised by parts of a batch, another network is trained.
            if micro_batches > 1 && name == "resnet" {
                continue;
            }
            let rate = if name == "resnet" { 1e-4 } else { 0.01 };
            let recipe = recipe().learning_rate(rate);
            let run = |kind: &str, options| {
                fit(
                    model.clone(),
                    &recipe,
                    &dir.path().join(format!("{name}-{kind}-{micro_batches}")),
                    options,
                )
            };
            let (whole, losses) = run("whole", FitOptions::default());
            let (cut, of_cut) = run("cut", place(&halves, micro_batches));
            // The second loss follows from the first gradients.
            for (a, b) in losses.iter().zip(&of_cut).take(2) {
                assert!((a - b).abs() < 1e-5 * a, "{name}: {a} {b}");
            }
            let distance = distance(whole.model(), cut.model());
            assert!(distance < 1e-4, "{name}: {distance}");
        }
    }
}

/// Values and gradients of activations are those of the exact functions on any backend.
#[cfg(feature = "ndarray")]
#[test]
fn activations_are_the_same_on_both() {
    use burn_zoo::nn::Act;
    let points: Vec<f32> = (0..600).map(|i| (i as f32 - 299.5) / 50.0).collect();
    for act in Act::ALL {
        let [cpu, ndarray] = ["cpu", "ndarray"].map(|name| {
            let device = burn_zoo::device(name).unwrap().autodiff();
            let x = Tensor::<1>::from_floats(points.as_slice(), &device).require_grad();
            let y = act.forward(x.clone());
            let gradients = y.clone().sum().backward();
            let slope = x.grad(&gradients).unwrap();
            [y.inner(), slope].map(|t| t.into_data().try_into_vec::<f32>().unwrap())
        });
        for (one, other) in cpu.iter().zip(&ndarray) {
            for ((a, b), x) in one.iter().zip(other).zip(&points) {
                assert!(
                    (a - b).abs() < 5e-6 * a.abs().max(1.0),
                    "{act:?} at {x}: {a} {b}"
                );
            }
        }
    }
}
