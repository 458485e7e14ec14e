//! Several labels for an image, and numbers, from training to a file that opens again.

#![cfg(feature = "fashion-mnist-mini")]

mod common;

use std::sync::Arc;

use burn_zoo::data::{ImageSet, Loader, LoaderConfig};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::Image;
use burn_zoo::train::{
    Control, EpochEnd, EpochRecord, FitOptions, LossFunction, Monitor, Parallel, Run, RunFiles,
    resume,
};
use burn_zoo::{Outputs, TargetScaling};

/// FashionMNIST with other targets: what an image is worn on, or two numbers.
struct Other {
    images: ImageSet,
    task: Task,
    names: Vec<String>,
}

/// The part of the body, and whether it has sleeves.
const WORN: [&[usize]; 10] = [
    &[0],
    &[1],
    &[0, 3],
    &[0, 1],
    &[0, 3],
    &[2],
    &[0, 3],
    &[2],
    &[],
    &[2],
];

impl Other {
    fn parts(task: Task, train: usize, valid: usize) -> [Arc<dyn ImageData>; 2] {
        let data = burn_zoo::data::FashionMnist::bundled().unwrap();
        let names = match task {
            Task::Regression => &["brightness", "height"][..],
            _ => &["upper", "lower", "feet", "sleeves"],
        };
        [
            data.train().take_first(train),
            data.test().take_first(valid),
        ]
        .map(|images| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let data: Arc<dyn ImageData> = Arc::new(Self {
                images,
                task,
                names,
            });
            data
        })
    }
}

impl ImageData for Other {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn get(&self, index: usize) -> burn_zoo::Result<(Image, Target)> {
        let (image, class) = self.images.get(index)?;
        let target = match self.task {
            Task::Regression => {
                let pixels = image.pixels();
                let sum: u32 = pixels.iter().map(|pixel| u32::from(*pixel)).sum();
                let rows = pixels.chunks_exact(28);
                let height = rows
                    .filter(|row| row.iter().any(|pixel| *pixel > 60))
                    .count();
                Target::Values(vec![sum as f32 / 784.0, height as f32])
            }
            _ => Target::Classes(WORN[class.class()?].to_vec()),
        };
        Ok((image, target))
    }

    fn classes(&self) -> &[String] {
        &self.names
    }

    fn task(&self) -> Task {
        self.task
    }
}

fn model(outputs: usize) -> Classifier {
    let spec = Zoo::test_resnet().weights(Weights::Random(1));
    let spec = spec.adapt(1, outputs);
    spec.build(&Device::default().autodiff()).unwrap()
}

fn recipe(task: Task) -> Recipe {
    Recipe::full()
        .task(task)
        .epochs(4)
        .batch_size(32)
        .learning_rate(3e-3)
}

fn fit(recipe: &Recipe, task: Task, dir: &std::path::Path, options: FitOptions) -> Run {
    let [train, valid] = Other::parts(task, 600, 200);
    let outputs = train.classes().len();
    recipe
        .fit_with(model(outputs), train, valid, dir, options, &mut ())
        .unwrap()
}

#[test]
fn several_labels_are_learnt_kept_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    let run = fit(
        &recipe(Task::MultiLabel),
        Task::MultiLabel,
        &dir,
        FitOptions::default(),
    );
    let best = run.best();
    assert!(best.metrics["valid_map"] > 0.9, "{best}");
    assert!(best.metrics["valid_micro_f1"] > 0.8, "{best}");
    assert!(best.valid_accuracy.is_nan() && best.train_accuracy.is_nan());
    // The log has what there is, and nothing else.
    let files = RunFiles::open(&dir).unwrap();
    assert_eq!(files.epochs.len(), 4);
    assert_eq!(files.epochs[3].metrics, run.epochs()[3].metrics);
    let log = std::fs::read_to_string(dir.join("log.csv")).unwrap();
    assert!(
        log.lines()
            .next()
            .unwrap()
            .ends_with("valid_macro_f1,valid_map,valid_micro_f1")
    );

    // Thresholds go with the model, and its file says what it tells.
    let config = std::fs::read_to_string(dir.join("best/config.json")).unwrap();
    assert!(config.contains("multi_label_classification"));
    let model = Classifier::open(dir.join("best"), &Device::default()).unwrap();
    let outputs = &model.info().outputs;
    assert_eq!(
        (outputs.task, outputs.thresholds.len()),
        (Task::MultiLabel, 4)
    );
    let [_, valid] = Other::parts(Task::MultiLabel, 600, 200);
    let config = LoaderConfig::default();
    let loader = Loader::new(
        valid.clone(),
        model.preprocess(None),
        config,
        &Device::default(),
    );
    let judged = model.evaluate(&loader.unwrap()).unwrap();
    let found = judged.multi_label.as_ref().unwrap();
    assert!((found.mean_average_precision - best.metrics["valid_map"]).abs() < 1e-6);
    // They were tuned on these images.
    assert!(found.macro_f1 >= best.metrics["valid_macro_f1"] - 1e-9);
    let test = run.test(valid.clone(), false).unwrap();
    assert_eq!(test.metrics["test_macro_f1"], found.macro_f1);

    // A prediction is every label above its threshold, the surest first.
    let mut empty = 0;
    for index in 0..40 {
        let (image, _) = valid.get(index).unwrap();
        let told = model.predict(&image, None, 5).unwrap();
        empty += usize::from(told.is_empty());
        for pair in told.windows(2) {
            assert!(pair[0].probability >= pair[1].probability);
        }
        for label in &told {
            assert!(label.probability >= f64::from(outputs.threshold(label.class)));
        }
    }
    assert!(empty > 0, "bags have none of these labels");

    // Single labels are another task.
    let data = burn_zoo::data::FashionMnist::bundled().unwrap();
    let single: Arc<dyn ImageData> = Arc::new(data.test().take_first(20));
    let loader = Loader::new(
        single,
        model.preprocess(None),
        LoaderConfig::default(),
        &Device::default(),
    );
    let error = model.evaluate(&loader.unwrap()).unwrap_err().to_string();
    assert!(error.contains("multi-label data"), "{error}");
}

#[test]
fn the_asymmetric_loss_and_mixed_images_learn_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(Task::MultiLabel).loss("asymmetric".parse().unwrap());
    recipe.mixing = Some(burn_zoo::preprocess::augment::Mixing {
        mixup_alpha: 0.2,
        ..Default::default()
    });
    let run = fit(
        &recipe,
        Task::MultiLabel,
        &folder.path().join("run"),
        FitOptions::default(),
    );
    assert!(run.best().metrics["valid_map"] > 0.85, "{}", run.best());
}

#[test]
fn numbers_are_learnt_in_their_own_units() {
    let folder = tempfile::tempdir().unwrap();
    for loss in ["mse", "l1", "huber"] {
        let dir = folder.path().join(loss);
        let recipe = recipe(Task::Regression).loss(loss.parse::<LossFunction>().unwrap());
        let run = fit(&recipe, Task::Regression, &dir, FitOptions::default());
        assert!(
            run.best().metrics["valid_r2"] > 0.7,
            "{loss}: {}",
            run.best()
        );
        let model = Classifier::open(dir.join("best"), &Device::default()).unwrap();
        let scaling = model.info().outputs.scaling.as_ref().unwrap();
        assert!((40.0..110.0).contains(&scaling.mean[0]), "{scaling:?}");
        let [_, valid] = Other::parts(Task::Regression, 600, 200);
        let mut off = 0.0;
        for index in 0..200 {
            let (image, target) = valid.get(index).unwrap();
            let told = model.predict(&image, None, 1).unwrap();
            assert_eq!((told.len(), &*told[0].name), (2, "brightness"));
            let Target::Values(values) = target else {
                unreachable!()
            };
            off += (told[0].value.unwrap() - f64::from(values[0])).abs();
            off += (told[1].value.unwrap() - f64::from(values[1])).abs();
        }
        // Predictions are fused and one by one, otherwise they are those of the log.
        let (mae, logged) = (off / 400.0, run.best().metrics["valid_mae"]);
        assert!((mae - logged).abs() < 1e-3 * logged, "{mae} {logged}");
    }
}

/// What a run told.
struct Told(Vec<String>);

impl Monitor for Told {
    fn notice(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

/// The same images with numbers of another unit.
struct Times(Arc<dyn ImageData>, f32);

impl ImageData for Times {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> burn_zoo::Result<(Image, Target)> {
        let (image, target) = self.0.get(index)?;
        let Target::Values(values) = target else {
            unreachable!()
        };
        let values = values.into_iter().map(|value| value * self.1).collect();
        Ok((image, Target::Values(values)))
    }

    fn classes(&self) -> &[String] {
        self.0.classes()
    }

    fn task(&self) -> Task {
        self.0.task()
    }
}

/// A new run scales numbers by its own images, whatever the model was trained with.
#[test]
fn numbers_of_the_same_name_are_scaled_anew() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(Task::Regression).epochs(1);
    let first = folder.path().join("first");
    fit(&recipe, Task::Regression, &first, FitOptions::default());
    let model = Classifier::open(first.join("best"), &Device::default().autodiff()).unwrap();
    let old = model.info().outputs.scaling.clone().unwrap();
    for (factor, notices) in [(1.0, 0), (1000.0, 1)] {
        let parts = Other::parts(Task::Regression, 600, 200);
        let [train, valid] =
            parts.map(|part| -> Arc<dyn ImageData> { Arc::new(Times(part, factor)) });
        let (mut told, dir) = (Told(Vec::new()), folder.path().join(format!("{factor}")));
        let run = recipe
            .fit_with(
                model.clone(),
                train,
                valid,
                dir,
                FitOptions::default(),
                &mut told,
            )
            .unwrap();
        let new = run.model().info().outputs.scaling.clone().unwrap();
        for (new, old) in new
            .mean
            .iter()
            .zip(&old.mean)
            .chain(new.std.iter().zip(&old.std))
        {
            assert!((new / (factor * old) - 1.0).abs() < 1e-4, "{new} {old}");
        }
        told.0
            .retain(|notice| notice.starts_with("numbers are scaled by"));
        assert_eq!(told.0.len(), notices, "{:?}", told.0);
        assert!(run.best().metrics["valid_rmse"] < 100.0 * f64::from(factor));
    }
}

#[test]
fn what_told_numbers_can_tell_classes() {
    let folder = tempfile::tempdir().unwrap();
    let scaling = TargetScaling {
        mean: vec![3.0; 10],
        std: vec![2.0; 10],
    };
    let outputs = Outputs {
        task: Task::Regression,
        thresholds: Vec::new(),
        scaling: Some(scaling),
    };
    let model = model(10).with_outputs(outputs).unwrap();
    let images = burn_zoo::data::FashionMnist::bundled().unwrap();
    let [train, valid] = [64, 32].map(|count| images.train().take_first(count));
    let recipe = Recipe::full().epochs(1);
    let run = recipe.fit(model.clone(), train, valid, folder.path().join("run"));
    assert_eq!(run.unwrap().model().info().outputs.scaling, None);
}

/// The rows of a head that is kept belong to labels and not to places.
#[test]
fn a_head_that_is_kept_follows_its_labels() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let recipe = recipe(Task::MultiLabel).epochs(1);
    fit(&recipe, Task::MultiLabel, &first, FitOptions::default());
    let spec = Spec::of_folder(first.join("best")).unwrap();
    let model = spec.build(&Device::default().autodiff()).unwrap();
    let head = |model: &Classifier| {
        let state = model.state_dict().unwrap();
        ["fc.weight", "fc.bias"].map(|name| state[name].data.clone())
    };
    let old = head(&model);
    for (names, rows) in [
        (["upper", "lower", "feet", "sleeves"], Some([0, 1, 2, 3])),
        (["feet", "upper", "lower", "sleeves"], Some([2, 0, 1, 3])),
        (["a", "b", "c", "d"], None),
    ] {
        let [train, valid] = [64, 32].map(|count| -> Arc<dyn ImageData> {
            let images = burn_zoo::data::FashionMnist::bundled().unwrap();
            Arc::new(Other {
                images: images.train().take_first(count),
                task: Task::MultiLabel,
                names: names.map(str::to_owned).to_vec(),
            })
        });
        let (mut told, dir) = (Told(Vec::new()), folder.path().join(names.join("-")));
        let run = recipe
            .clone()
            .learning_rate(0.0)
            .fit_with(
                model.clone(),
                train,
                valid,
                dir,
                FitOptions::default(),
                &mut told,
            )
            .unwrap();
        assert_eq!(run.model().info().classes, names);
        for (new, old) in head(run.model()).iter().zip(&old) {
            let width = old.len() / 4;
            let of_row = |row: usize| old[row * width..(row + 1) * width].to_vec();
            let rows = rows.unwrap_or([0, 1, 2, 3]);
            assert_eq!(*new, rows.map(of_row).concat(), "{names:?}");
        }
        told.0
            .retain(|notice| notice.starts_with("the head of `upper`, `lower`"));
        assert_eq!(
            told.0.len(),
            usize::from(rows.is_none()),
            "{names:?}: {:?}",
            told.0
        );
    }
    // Unless a new one is asked for.
    let fresh = spec.num_classes(4).head_init(Init::Zeros);
    let fresh = fresh.build(&Device::default()).unwrap();
    assert!(head(&fresh).concat().iter().all(|value| *value == 0.0));
    assert!(fresh.info().classes.is_empty());
}

/// Stops after an epoch.
struct StopAfter(usize);

impl Monitor for StopAfter {
    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, _: &mut Control) -> burn_zoo::Result<()> {
        self.0 -= usize::from(epoch.record.epoch > 0 && self.0 > 0);
        Ok(())
    }

    fn should_stop(&mut self) -> bool {
        self.0 == 0
    }
}

#[test]
fn runs_go_on_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    for task in [Task::MultiLabel, Task::Regression] {
        let recipe = recipe(task).epochs(3);
        let (whole, broken) = (
            folder.path().join(format!("{task}")),
            folder.path().join("broken"),
        );
        let whole = fit(&recipe, task, &whole, FitOptions::default());
        let [train, valid] = Other::parts(task, 600, 200);
        let outputs = train.classes().len();
        let (options, mut stop) = (FitOptions::default(), StopAfter(1));
        let stopped = recipe.fit_with(
            model(outputs),
            train.clone(),
            valid.clone(),
            &broken,
            options,
            &mut stop,
        );
        assert!(matches!(stopped, Err(burn_zoo::Error::Interrupted { .. })));
        let device = Device::default();
        let run = resume(
            &broken,
            &device,
            train,
            valid,
            FitOptions::default(),
            &mut (),
        )
        .unwrap();
        let figures = |run: &Run| -> Vec<_> {
            let epochs = run.epochs().iter();
            epochs
                .map(|e: &EpochRecord| (e.train_loss, e.valid_loss, e.metrics.clone()))
                .collect()
        };
        assert_eq!(figures(&run), figures(&whole), "{task}");
        assert_eq!(common::distance(run.model(), whole.model()), 0.0, "{task}");
        std::fs::remove_dir_all(&broken).unwrap();
    }
}

#[test]
fn frozen_features_and_ranks_know_the_targets() {
    let folder = tempfile::tempdir().unwrap();
    for task in [Task::MultiLabel, Task::Regression] {
        let run = |name: &str, cache: &str, ranks: usize| {
            let mut recipe = recipe(task)
                .freeze(Freeze::Backbone)
                .epochs(2)
                .batch_size(32 / ranks);
            recipe.feature_cache = cache.parse().unwrap();
            let options = FitOptions {
                parallel: Parallel {
                    devices: vec![Device::default(); ranks],
                    ..Parallel::default()
                },
                ..FitOptions::default()
            };
            let dir = folder.path().join(format!("{task}-{name}"));
            let [train, valid] = Other::parts(task, 320, 200);
            let model = model(train.classes().len());
            recipe
                .fit_with(model, train, valid, dir, options, &mut ())
                .unwrap()
        };
        let (plain, kept, ranks) = (
            run("off", "off", 1),
            run("memory", "memory", 1),
            run("two", "off", 2),
        );
        let losses = |run: &Run| {
            run.epochs()
                .iter()
                .map(|e| e.train_loss)
                .collect::<Vec<_>>()
        };
        assert_eq!(losses(&plain), losses(&kept), "{task}");
        for (a, b) in losses(&plain).iter().zip(losses(&ranks)) {
            assert!((a - b).abs() < 1e-4 * a, "{task}: {a} {b}");
        }
        let [a, b] = [&plain, &ranks].map(|run| run.best().metrics.clone());
        for (name, value) in a {
            assert!(
                (value - b[&name]).abs() < 1e-2 * value.abs().max(1.0),
                "{task}: {name}"
            );
        }
    }
}

#[test]
fn data_of_another_task_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [train, valid] = Other::parts(Task::MultiLabel, 40, 20);
    let recipe = Recipe::full().epochs(1);
    let error = recipe.fit_with(
        model(4),
        train.clone(),
        valid.clone(),
        folder.path().join("run"),
        FitOptions::default(),
        &mut (),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("single-label") && error.contains("multi-label"),
        "{error}"
    );
    let recipe = Recipe::full().task(Task::MultiLabel).epochs(1);
    let dir = folder.path().join("run");
    let error = recipe.fit_with(model(3), train, valid, dir, FitOptions::default(), &mut ());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("num_classes"), "{error}");
}
