//! Runs: what they write, that they repeat, and how they end when something is wrong.

#![cfg(all(feature = "fashion-mnist-mini", feature = "plots"))]

mod common;

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn_zoo::data::{FashionMnist, ImageSet, Loader, LoaderConfig};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::augment::Mixing;
use burn_zoo::report::CurvesMonitor;
use burn_zoo::train::{
    Control, EarlyStopping, EpochRecord, Extension, FitOptions, Monitor, Run, RunConfig, RunFiles,
    StepRecord, resume,
};
use burn_zoo::{Error, preprocess::Image};

fn images() -> (ImageSet, ImageSet) {
    let data = FashionMnist::bundled().unwrap();
    (data.train().take_first(320), data.test().take_first(128))
}

fn model() -> Classifier {
    let spec = Zoo::test_resnet().weights(Weights::Random(7)).adapt(1, 10);
    spec.build(&Device::default().autodiff()).unwrap()
}

fn recipe() -> Recipe {
    Recipe::full().epochs(2).batch_size(32).learning_rate(3e-3)
}

fn fit(recipe: &Recipe, dir: &Path) -> Run {
    let (train, test) = images();
    recipe.fit(model(), train, test, dir).unwrap()
}

fn log(dir: &Path) -> Vec<EpochRecord> {
    let text = std::fs::read_to_string(dir.join("log.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_run_learns_and_leaves_everything_behind() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("runs/one");
    let recipe = recipe().epochs(6).schedule(Schedule::cosine()).warmup(0.5);
    let (train, test) = images();
    let (train, test) = (Arc::new(train), Arc::new(test));
    let curves = &mut CurvesMonitor::default();
    let run = recipe.fit_with(model(), train, test, &dir, FitOptions::default(), curves);
    let run = run.unwrap();

    let epochs = log(&dir);
    assert_eq!(epochs, run.epochs());
    assert_eq!(epochs.len(), 6);
    for (index, epoch) in epochs.iter().enumerate() {
        assert_eq!(epoch.epoch, index + 1);
        assert!(epoch.seconds > 0.0 && epoch.train_loss > 0.0 && epoch.valid_loss > 0.0);
        assert!((0.0..=1.0).contains(&epoch.valid_accuracy));
        assert!(epoch.valid_top5_accuracy >= epoch.valid_accuracy);
    }
    assert!(epochs[5].train_loss < 0.7 * epochs[0].train_loss);
    let best = epochs.iter().map(|e| e.valid_accuracy).fold(0.0, f64::max);
    assert!(best > 0.4, "{best}");
    assert_eq!(run.best().valid_accuracy, best);

    let config = std::fs::read_to_string(dir.join("config.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    assert_eq!(
        config["model"]["architecture"].as_str(),
        Some("test_resnet")
    );
    assert_eq!(config["model"]["weights"].as_str(), Some("random (seed 7)"));
    assert_eq!(config["data"]["train_images"].as_integer(), Some(320));
    assert_eq!(config["model"]["image_size"].as_integer(), Some(28));
    let kept: Recipe = config["recipe"].clone().try_into().unwrap();
    assert_eq!(kept, recipe);
    let classes = std::fs::read_to_string(dir.join("classes.txt")).unwrap();
    assert_eq!(classes.lines().collect::<Vec<_>>(), FashionMnist::CLASSES);
    let curves = std::fs::read_to_string(dir.join("curves.svg")).unwrap();
    assert!(curves.starts_with("<svg") && curves.contains("validation"));

    // The checkpoints are what they say they are.
    let best = Classifier::open(dir.join("best"), &Device::default()).unwrap();
    assert_eq!(
        best.state_dict().unwrap(),
        run.model().state_dict().unwrap()
    );
    assert_eq!(best.info().classes, FashionMnist::CLASSES);
    assert_eq!(best.info().image_size, Some(28.into()));
    let (_, test) = images();
    let loader = Loader::new(
        Arc::new(test),
        Preprocess::new(None, best.info().normalization.clone()),
        LoaderConfig::default(),
        &Device::default(),
    );
    let again = best.evaluate(&loader.unwrap()).unwrap();
    assert_eq!(again.accuracy, run.best().valid_accuracy);
    assert!((again.loss - run.best().valid_loss).abs() < 1e-5);
    assert!(
        dir.join("checkpoints/epoch-0006/model.safetensors")
            .is_file()
    );
}

/// The chosen model is judged by the test set, and nothing else of the run changes.
#[test]
fn a_test_set_judges_the_chosen_model() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    let run = fit(&recipe(), &dir);
    let data = FashionMnist::bundled().unwrap();
    let test = Arc::new(data.train().split(0.02, 1).unwrap().1);
    let before = log(&dir);
    assert_eq!(RunFiles::open(&dir).unwrap().test, None);
    let found = run.test(test.clone(), false).unwrap();
    assert_eq!((found.test_images, found.skipped_images), (120, 0));
    assert_eq!(found.epoch, run.best().epoch);
    let loader = Loader::new(
        test.clone(),
        run.model().preprocess(Some(28.into())),
        LoaderConfig::default(),
        &Device::default(),
    );
    let expected = run.model().evaluate(&loader.unwrap()).unwrap();
    assert_eq!(found.test_accuracy, expected.accuracy);
    assert_eq!(found.test_top5_accuracy, expected.top5_accuracy);
    assert_eq!(found.test_balanced_accuracy, expected.balanced_accuracy());
    assert!((found.test_loss - expected.loss).abs() < 1e-5);
    let text = found.to_string();
    assert!(
        text.starts_with("test accuracy ") && text.ends_with(" over 120 images"),
        "{text}"
    );
    assert_eq!(log(&dir), before);

    // The report names both, and the other figures of the run folder's files stay.
    assert_eq!(RunFiles::open(&dir).unwrap().test.as_ref(), Some(&found));
    let page = run.write_report(Arc::new(images().1)).unwrap();
    let page = std::fs::read_to_string(page).unwrap();
    for name in ["validation accuracy", "test accuracy", "test images"] {
        assert!(page.contains(&format!("<bdi>{name}</bdi>")), "{name}");
    }

    // What is no test set of this run.
    let error = run.test(Arc::new(test.take_first(0)), false).unwrap_err();
    assert!(error.to_string().contains("at least one image"), "{error}");
    let pixels = (0..test.len()).flat_map(|i| test.pixels(i).unwrap().to_vec());
    let mut classes = test.classes().to_vec();
    classes.swap(0, 1);
    let labels = test.labels().to_vec();
    let other = ImageSet::new(pixels.collect(), labels, (28, 28), 1, classes).unwrap();
    let error = run.test(Arc::new(other), false).unwrap_err().to_string();
    assert!(error.starts_with("test data: "), "{error}");

    // Of another epoch than the best, it says nothing of the model that is there now.
    let path = dir.join("test.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let later = text.replace(
        &format!("\"epoch\":{}", found.epoch),
        &format!("\"epoch\":{}", found.epoch + 1),
    );
    assert_ne!(later, text);
    std::fs::write(&path, later).unwrap();
    assert_eq!(RunFiles::open(&dir).unwrap().test, None);

    // A run in its place begins without.
    let (train, valid) = images();
    let options = FitOptions {
        overwrite: true,
        ..FitOptions::default()
    };
    let (train, valid) = (Arc::new(train), Arc::new(valid));
    let recipe = recipe().epochs(1);
    recipe
        .fit_with(model(), train, valid, &dir, options, &mut ())
        .unwrap();
    assert!(!path.exists());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let dir = tempfile::tempdir().unwrap();
    let with = |seed: u64, workers: usize, name: &str| {
        let run = fit(
            &recipe().seed(seed).workers(workers),
            &dir.path().join(name),
        );
        let metrics: Vec<_> = run
            .epochs()
            .iter()
            .map(|e| {
                (
                    e.train_loss,
                    e.train_accuracy,
                    e.valid_loss,
                    e.valid_accuracy,
                )
            })
            .collect();
        (metrics, run.model().state_dict().unwrap())
    };
    let one = with(1, 1, "a");
    assert_eq!(one, with(1, 1, "b"));
    // The order of the batches does not depend on who prepares them.
    assert_eq!(one, with(1, 3, "c"));
    assert_eq!(one, with(1, 0, "d"));
    assert_ne!(one, with(2, 1, "e"));
}

#[test]
fn evaluation_never_trains() {
    let device = Device::default().autodiff();
    let model = model();
    let (train, test) = images();
    let loader = |images: ImageSet, batch_size| {
        let preprocess = Preprocess::new(None, model.info().normalization.clone());
        let config = LoaderConfig {
            batch_size,
            ..LoaderConfig::default()
        };
        Loader::new(Arc::new(images), preprocess, config, &device).unwrap()
    };
    // A pass in training mode moves the statistics ..
    let before = model.state_dict().unwrap();
    let batch = loader(train, 64).epoch(0).next().unwrap().unwrap();
    model.forward(batch.images).unwrap();
    let moved = model.state_dict().unwrap();
    assert_ne!(before, moved);
    // .. an evaluation of the same model, still in training mode, does not, and what it says does
    // not depend on which images share a batch.
    let all = model.evaluate(&loader(test.clone(), 64)).unwrap();
    assert_eq!(model.state_dict().unwrap(), moved);
    let alone = model.evaluate(&loader(test, 1)).unwrap();
    assert_eq!(all.confusion, alone.confusion);
    assert!((all.loss - alone.loss).abs() < 1e-5);

    // A saved model holds the newest statistics, those of the very last step.
    let dir = tempfile::tempdir().unwrap();
    model.export(dir.path()).unwrap();
    let saved = Classifier::open(dir.path(), &device).unwrap();
    assert_eq!(saved.state_dict().unwrap(), moved);
    assert_ne!(moved["bn1.running_mean"], before["bn1.running_mean"]);
}

#[test]
fn scores_and_confusion_agree_with_each_other() {
    let model = model();
    let (_, test) = images();
    let preprocess = Preprocess::new(None, model.info().normalization.clone());
    let config = LoaderConfig::default();
    let loader = Loader::new(Arc::new(test.clone()), preprocess, config, &model.device());
    let result = model.evaluate(&loader.unwrap()).unwrap();
    assert_eq!(result.images, 128);
    let total: usize = result.confusion.iter().flatten().sum();
    assert_eq!(total, 128);
    let right: usize = (0..10).map(|c| result.confusion[c][c]).sum();
    assert_eq!(result.accuracy, right as f64 / 128.0);
    for (class, score) in result.per_class.iter().enumerate() {
        assert_eq!(score.images, result.confusion[class].iter().sum::<usize>());
        assert_eq!(
            score.images,
            test.labels().iter().filter(|l| **l == class).count()
        );
    }
    // A prediction by itself says what the evaluation said.
    let image = Image::new(28, 28, 1, test.pixels(0).unwrap().to_vec()).unwrap();
    let predictions = model.predict(&image, None, 10).unwrap();
    let sum: f64 = predictions.iter().map(|p| p.probability).sum();
    assert!((sum - 1.0).abs() < 1e-5);
    assert!(predictions.is_sorted_by(|a, b| a.probability >= b.probability));
    assert!(result.confusion[test.labels()[0]][predictions[0].class] > 0);
}

#[test]
fn an_old_run_is_not_overwritten_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let short = recipe().epochs(1);
    fit(&short, &run);
    let before = std::fs::read(run.join("log.jsonl")).unwrap();
    let (train, test) = images();
    let error = short
        .fit(model(), train.clone(), test.clone(), &run)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} exists already; choose another folder, remove this one, or have an old run replaced \
             (`FitOptions::overwrite`)",
            run.display()
        )
    );
    assert_eq!(std::fs::read(run.join("log.jsonl")).unwrap(), before);

    let overwrite = |dir: &Path| {
        let options = FitOptions {
            overwrite: true,
            ..FitOptions::default()
        };
        let data = (Arc::new(train.clone()), Arc::new(test.clone()));
        let recipe = recipe().epochs(2);
        recipe.fit_with(model(), data.0, data.1, dir, options, &mut ())
    };
    // What is no run is never overwritten.
    let other = dir.path().join("thesis");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("chapter1.txt"), "years of work").unwrap();
    assert_eq!(
        overwrite(&other).unwrap_err().to_string(),
        format!(
            "{} exists already; it is no run folder, so it is not overwritten",
            other.display()
        )
    );
    assert_eq!(
        std::fs::read_to_string(other.join("chapter1.txt")).unwrap(),
        "years of work"
    );
    overwrite(&run).unwrap();
    assert_eq!(log(&run).len(), 2);
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_says_when() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = images();
    let wild = recipe()
        .with_optimizer(Optimizer::sgd())
        .learning_rate(1e30);
    let error = wild
        .fit(model(), train, test, dir.path().join("run"))
        .unwrap_err();
    let Error::Diverged { epoch, step, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*epoch, 1);
    assert!((2..=4).contains(step), "{step}");
    let text = error.to_string();
    assert!(
        text.starts_with("the loss became ")
            && text.contains("in epoch 1, step ")
            && text.contains("at learning rate 1e30; try a lower learning rate or clipping; ")
            && text.ends_with("no checkpoint was written yet"),
        "{text}"
    );
}

/// The only step of an epoch spoils the weights, which the validation images are the first to show.
#[test]
fn a_validation_loss_that_is_no_number_is_told_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let (train, valid) = images();
    let wild = recipe()
        .with_optimizer(Optimizer::sgd())
        .learning_rate(1e30);
    let train = train.take_first(wild.batch_size);
    let error = wild
        .fit(model(), train, valid, dir.path().join("run"))
        .unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Diverged {
                epoch: 1,
                step: 1,
                batch: None,
                ..
            }
        ),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.starts_with("the loss on the validation images was ")
            && text.contains(" after step 1, in epoch 1, at learning rate 1e30; try "),
        "{text}"
    );
}

struct StopAfter(usize);

impl Monitor for StopAfter {
    fn step(&mut self, _: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
        self.0 = self.0.saturating_sub(1);
        Ok(())
    }
    fn should_stop(&mut self) -> bool {
        self.0 == 0
    }
}

/// Damage in files that going on does not need stops nothing, and the curves show every epoch.
#[test]
fn a_run_goes_on_in_spite_of_damaged_tables() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fit(&recipe().epochs(1), &run);
    let damaged = "0.9,9,2.0,\"1e";
    let steps = std::fs::read_to_string(run.join("steps.csv")).unwrap();
    std::fs::write(run.join("steps.csv"), format!("{steps}{damaged}\n")).unwrap();
    std::fs::write(run.join("skipped.jsonl"), "{\"part\"\n").unwrap();

    let (train, test) = images();
    let (train, test) = (Arc::new(train), Arc::new(test));
    let options = FitOptions {
        extend: Some(Extension {
            epochs: 2,
            schedule: None,
            learning_rate: None,
        }),
        ..FitOptions::default()
    };
    let (device, curves) = (Device::default(), &mut CurvesMonitor::default());
    let finished = resume(&run, &device, train, test, options, curves).unwrap();
    assert_eq!(finished.epochs().len(), 2);
    let text = std::fs::read_to_string(run.join("steps.csv")).unwrap();
    assert!(text.lines().any(|line| line == damaged), "{text}");
    let drawn = std::fs::read_to_string(run.join("curves.svg")).unwrap();
    finished.write_curves().unwrap();
    let both = std::fs::read_to_string(run.join("curves.svg")).unwrap();
    assert_eq!(drawn, both);
}

#[test]
fn a_run_that_is_stopped_leaves_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = images();
    let (train, test) = (Arc::new(train), Arc::new(test));
    let run = dir.path().join("run");
    let error = recipe()
        .fit_with(
            model(),
            train,
            test,
            &run,
            FitOptions::default(),
            &mut StopAfter(3),
        )
        .unwrap_err();
    let last = run.join("checkpoints/epoch-0000-batch-0000003");
    assert_eq!(
        RunConfig::newest_checkpoint(&run).unwrap().as_ref(),
        Some(&last)
    );
    assert_eq!(
        error.to_string(),
        format!(
            "interrupted; the run stands at {}; `burn-zoo finetune --resume {}` goes on from there",
            last.display(),
            run.display()
        )
    );
    let stopped = Classifier::open(&last, &Device::default())
        .unwrap()
        .state_dict()
        .unwrap();
    assert_ne!(stopped, model().state_dict().unwrap());
}

/// What an optimiser remembers of a parameter is in the checkpoint, whatever the parameter's shape.
#[test]
fn with_every_optimizer_a_run_goes_on_to_the_same_weights() {
    let (train, test) = images();
    let (train, test) = (Arc::new(train), Arc::new(test));
    let kinds = [
        "sgd",
        "adam",
        "adamw",
        "rmsprop",
        "lamb",
        "lion",
        "muon",
        "adagrad",
        "adan",
        "adafactor",
    ];
    for (kind, architecture) in kinds
        .map(|kind| (kind, "test_resnet"))
        .into_iter()
        // Embeddings of rank 3 beside matrices.
        .chain([("muon", "test_vit"), ("adamw", "test_vit")])
    {
        let spec = Zoo::get(architecture)
            .unwrap()
            .weights(Weights::Random(7))
            .adapt(1, 10)
            .image_size(32);
        let recipe = recipe()
            .epochs(1)
            .image_size(32)
            .with_optimizer(kind.parse().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let fit = |name: &str, monitor: &mut dyn Monitor| {
            let model = spec.build(&Device::default().autodiff()).unwrap();
            let (train, test) = (train.clone(), test.clone());
            let dir = dir.path().join(name);
            recipe.fit_with(model, train, test, dir, FitOptions::default(), monitor)
        };
        let whole = fit("whole", &mut ()).unwrap();
        fit("stopped", &mut StopAfter(4)).unwrap_err();
        let stopped = dir.path().join("stopped");
        let (train, test) = (train.clone(), test.clone());
        let device = Device::default();
        let options = FitOptions::default();
        let again = resume(&stopped, &device, train, test, options, &mut ()).unwrap();
        let values = |run: &Run| run.model().state_dict().unwrap();
        assert_eq!(values(&again), values(&whole), "{kind}, {architecture}");
    }
}

/// As in timm: a bias is not held back by its own norm, which begins at nothing.
#[test]
fn lamb_scales_the_steps_of_what_decays() {
    let device = Device::default().autodiff();
    let spec = Zoo::test_resnet().weights(Weights::Random(7)).adapt(1, 10);
    let mut model = spec.build(&device).unwrap();
    let lamb = recipe().with_optimizer("lamb".parse().unwrap());
    let mut optimizer = lamb.optimizer(&model).unwrap();
    let images = Tensor::<4>::ones([2, 1, 28, 28], &device);
    let bias = |model: &Classifier| model.state_dict().unwrap()["fc.bias"].data[0];
    let before = bias(&model);
    for _ in 0..5 {
        // The first bias has the same gradient in each step, and so moves by the whole rate.
        let loss = model
            .forward(images.clone())
            .unwrap()
            .narrow(1, 0, 1)
            .mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.01, model, gradients);
    }
    let moved = before - bias(&model);
    assert!((moved - 0.05).abs() < 1e-4, "{moved}");
}

/// Mixing that is switched off is none: also not for a loss by class weights, nor for a batch of one.
#[test]
fn mixing_of_nothing_is_no_mixing() {
    let dir = tempfile::tempdir().unwrap();
    let weights = vec![3.0, 0.2, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5];
    let plain = recipe()
        .epochs(1)
        .class_weights(burn_zoo::train::ClassWeights::Given(weights));
    let off = plain.clone().mixing(Mixing {
        mixup_alpha: 0.0,
        cutmix_alpha: 0.0,
        ..Mixing::default()
    });
    let run = |recipe: &Recipe, name: &str| {
        let run = fit(recipe, &dir.path().join(name));
        run.model().state_dict().unwrap()
    };
    assert_eq!(run(&plain, "plain"), run(&off, "off"));
    off.batch_size(1).plan(&model(), 10).unwrap();
}

/// Small images first: each size has its share of the epochs, and a run that was stopped goes on to the
/// same weights.
#[test]
fn training_images_grow() {
    #[derive(Default)]
    struct Told(Vec<String>);
    impl Monitor for Told {
        fn notice(&mut self, text: &str) {
            self.0.push(text.to_owned());
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = images();
    let (train, test) = (Arc::new(train), Arc::new(test));
    let device = Device::default();
    let grown = |name: &str, recipe: &Recipe, monitor: &mut dyn Monitor| {
        let (train, test) = (train.clone(), test.clone());
        let dir = dir.path().join(name);
        recipe.fit_with(model(), train, test, dir, FitOptions::default(), monitor)
    };
    let mut told = Told::default();
    let recipe = recipe().epochs(3);
    let growing = recipe.clone().progressive_sizes([20, 28]);
    let run = grown("grown", &growing, &mut told).unwrap();
    let expected = "training images: 20 pixels in epochs 1 to 2, 28 pixels in epoch 3";
    assert!(told.0.iter().any(|text| text == expected), "{:?}", told.0);

    // The first epochs are those of a run on images of their size.
    let small = grown(
        "small",
        &recipe.clone().progressive_sizes([20, 20, 28]),
        &mut told,
    )
    .unwrap();
    let large = grown("large", &recipe, &mut told).unwrap();
    let losses = |run: &Run| -> Vec<f64> { run.epochs().iter().map(|e| e.train_loss).collect() };
    assert_eq!(losses(&run), losses(&small));
    assert!(
        losses(&run)
            .iter()
            .zip(losses(&large))
            .all(|(own, large)| *own != large)
    );

    grown("stopped", &growing, &mut StopAfter(13)).unwrap_err();
    let stopped = dir.path().join("stopped");
    let options = FitOptions::default();
    let (again_train, again_test) = (train.clone(), test.clone());
    let again = resume(
        &stopped,
        &device,
        again_train,
        again_test,
        options,
        &mut told,
    )
    .unwrap();
    let values = |run: &Run| run.model().state_dict().unwrap();
    assert_eq!(values(&again), values(&run));

    // Added epochs have the model's own size.
    let options = FitOptions {
        extend: Some(Extension {
            epochs: 4,
            schedule: None,
            learning_rate: None,
        }),
        ..FitOptions::default()
    };
    let added = &mut Told::default();
    resume(
        &stopped,
        &device,
        train.clone(),
        test.clone(),
        options,
        added,
    )
    .unwrap();
    let expected = "training images: 20 pixels in epochs 1 to 2, 28 pixels in epochs 3 to 4";
    assert!(added.0.iter().any(|text| text == expected), "{:?}", added.0);

    // No run ends before its model has seen images of its size, and waiting begins anew there.
    let patient = EarlyStopping {
        min_delta: 1.0,
        ..EarlyStopping::new(1)
    };
    let growing = recipe
        .epochs(6)
        .early_stopping(patient)
        .progressive_sizes([20, 28]);
    assert_eq!(
        grown("patient", &growing, &mut told)
            .unwrap()
            .epochs()
            .len(),
        5
    );

    // Features of frozen layers are those of one size.
    let features = Recipe::feature_extraction()
        .epochs(3)
        .progressive_sizes([20, 28]);
    grown("features", &features, &mut told).unwrap();
    let expected =
        "features of training images are not kept, as the images grow (progressive_sizes)";
    assert!(told.0.iter().any(|text| text == expected), "{:?}", told.0);
}

/// A head may have classes that the data lacks, also where images are mixed; and a batch may have labels alone that
/// weigh nothing.
#[test]
fn classes_without_images_have_no_share() {
    let dir = tempfile::tempdir().unwrap();
    let wide = || {
        let spec = Zoo::test_resnet().weights(Weights::Random(7)).adapt(1, 20);
        spec.build(&Device::default().autodiff()).unwrap()
    };
    let mixing = Mixing {
        mixup_alpha: 0.2,
        ..Mixing::default()
    };
    let recipe = recipe().epochs(1);
    let mut weights = vec![0.0; 20];
    weights[9] = 1.0;
    for (name, recipe) in [
        ("mixed", recipe.clone().mixing(mixing)),
        (
            "weighed",
            recipe
                .batch_size(4)
                .class_weights(burn_zoo::train::ClassWeights::Given(weights)),
        ),
    ] {
        let (train, test) = images();
        let run = recipe
            .fit(wide(), train, test, dir.path().join(name))
            .unwrap();
        assert!(run.best().train_loss.is_finite(), "{name}");
    }
}

#[test]
fn recipes_that_do_not_fit_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let refuse = |recipe: Recipe, model: Classifier| {
        let (train, test) = images();
        let error = recipe.fit(model, train, test, &run).unwrap_err();
        assert!(!run.exists(), "{error}");
        error.to_string()
    };
    let cases = [
        (recipe().epochs(0), "epochs: expected 1 to 1000000, found 0"),
        (
            recipe().seed(1 << 63),
            "seed: expected 0 to 9223372036854775807, found 9223372036854775808",
        ),
        (
            recipe().batch_size(1).mixing(Mixing {
                mixup_alpha: 0.2,
                ..Mixing::default()
            }),
            "batch_size: expected at least 2, since the images of a batch are mixed with each \
             other, found 1",
        ),
        (
            recipe().batch_size(0),
            "batch_size: expected 1 to 65536, found 0",
        ),
        (
            recipe().progressive_sizes([28, 24]),
            "progressive_sizes: expected sizes of which none is smaller than the one before, found 28,24",
        ),
        (
            recipe().progressive_sizes([20, 24]),
            "progressive_sizes: expected 28, the size of the images as they are, as the last one, or \
             image_size to be set, found 24",
        ),
        (
            recipe().progressive_sizes([20, 24]).image_size(28),
            "progressive_sizes: expected 28, the image size, as the last one, found 24",
        ),
        (
            recipe().learning_rate(f64::NAN),
            "learning_rate: expected a number of at least 0, found NaN",
        ),
        (
            recipe().warmup(3.0),
            "warmup_epochs: expected at most the 2 epochs of the run, found 3",
        ),
        (
            recipe().with_optimizer(Optimizer::Sgd {
                momentum: 1.0,
                nesterov: false,
            }),
            "momentum: expected at least 0 and below 1, found 1",
        ),
        (
            recipe().with_optimizer(Optimizer::Adam {
                betas: [0.9, 0.99999999],
                epsilon: 1e-8,
            }),
            "betas: expected at least 0 and below 1, rounded to 32 bits, found 0.99999999",
        ),
        (
            recipe().with_optimizer(Optimizer::Adam {
                betas: [0.9, 0.999],
                epsilon: 1e-60,
            }),
            "epsilon: expected a number above 0, rounded to 32 bits, found 0.00000000000000000000000000000000\
             0000000000000000000000000001",
        ),
        (
            recipe().drop_last(true).batch_size(1000),
            "drop_last: expected at least one full batch of 1000, found 320 images",
        ),
        (
            recipe().freeze(Freeze::matching(".")),
            "freeze: expected something that is left to train, found matching:.",
        ),
        (
            recipe().freeze(Freeze::up_to("stage9")),
            "test_resnet has no group `stage9`; its groups are stem, stage1, stage2, stage3, \
             stage4, head",
        ),
    ];
    for (recipe, expected) in cases {
        assert_eq!(refuse(recipe, model()), expected);
    }
    let few = Zoo::test_resnet().weights(Weights::Random(0)).adapt(1, 9);
    let few = few.build(&Device::default().autodiff()).unwrap();
    assert_eq!(
        refuse(recipe(), few),
        "num_classes: expected at least the 10 classes of the data, found 9"
    );
    let vit = Zoo::test_vit()
        .weights(Weights::Random(0))
        .adapt(1, 10)
        .image_size(32);
    let vit = vit.build(&Device::default().autodiff()).unwrap();
    assert_eq!(
        refuse(recipe().image_size(48), vit),
        "test_vit: input expected as [batch, 1, 32, 32], found [1, 1, 48, 48]"
    );
    let vit = Zoo::test_vit()
        .weights(Weights::Random(0))
        .adapt(1, 10)
        .image_size(32);
    let vit = vit.build(&Device::default().autodiff()).unwrap();
    assert_eq!(
        refuse(recipe().progressive_sizes([16, 32]), vit),
        "progressive_sizes: expected sizes that test_vit takes: [batch, 1, 32, 32], found 16"
    );
}

/// A transformer is tuned through the same code, at its own size.
#[test]
fn a_transformer_trains_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let vit = Zoo::test_vit()
        .weights(Weights::Random(3))
        .adapt(1, 10)
        .image_size(32);
    let vit = vit.drop_path_rate(0.1).drop_rate(0.1);
    let vit = vit.build(&Device::default().autodiff()).unwrap();
    let (train, test) = images();
    let recipe = Recipe::full()
        .epochs(2)
        .batch_size(32)
        .with_optimizer(Optimizer::adamw());
    let run = recipe
        .fit(vit, train, test, dir.path().join("run"))
        .unwrap();
    assert!(run.epochs()[1].train_loss < run.epochs()[0].train_loss);
    let again = Classifier::open(run.dir().join("best"), &Device::default()).unwrap();
    assert_eq!(
        again.state_dict().unwrap(),
        run.model().state_dict().unwrap()
    );
    assert_eq!(again.info().image_size, Some(32.into()));
}

#[test]
fn a_model_keeps_its_head_if_the_backbone_is_frozen() {
    let dir = tempfile::tempdir().unwrap();
    let start = model();
    let before = start.valid().state_dict().unwrap();
    let (train, test) = images();
    let features = Recipe::feature_extraction().epochs(1).batch_size(32);
    let run = features
        .fit(start, train, test, dir.path().join("run"))
        .unwrap();
    for (name, tensor) in run.model().state_dict().unwrap() {
        assert_eq!(tensor == before[&name], !name.starts_with("fc"), "{name}");
    }
}

/// What a run said.
#[derive(Default)]
struct Notices(Vec<String>);

impl Monitor for Notices {
    fn notice(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

/// A run on the first so many images, without TensorBoard, and what it said.
fn small(
    model: Classifier,
    recipe: &Recipe,
    images: usize,
    dir: &Path,
) -> (burn_zoo::Result<Run>, Vec<String>) {
    let data = FashionMnist::bundled().unwrap();
    let train = Arc::new(data.train().take_first(images));
    let valid = Arc::new(data.test().take_first(20));
    let options = FitOptions::default();
    let mut notices = Notices::default();
    let run = recipe.fit_with(model, train, valid, dir, options, &mut notices);
    (run, notices.0)
}

fn vit() -> Classifier {
    let spec = Zoo::test_vit().weights(Weights::Random(3)).adapt(1, 10);
    let spec = spec.image_size(32);
    spec.build(&Device::default().autodiff()).unwrap()
}

/// Wherever no batch normalisation learns from a single value, one image is a batch like any other.
#[test]
fn batches_of_one_image_train_where_they_can() {
    let dir = tempfile::tempdir().unwrap();
    let one = Recipe::full().epochs(1).batch_size(1).learning_rate(1e-3);
    let features = Recipe::feature_extraction().epochs(2).batch_size(1);
    let cases = [
        ("transformer", vit(), one.clone(), 1),
        ("accumulated", vit(), one.clone().accumulate(4), 4),
        ("frozen", model(), features, 1),
        // Four positions in the last stage.
        ("large", model(), one.image_size(64), 1),
    ];
    for (name, start, recipe, accumulate) in cases {
        let before = start.valid().state_dict().unwrap();
        let (run, notices) = small(start, &recipe, 7, &dir.path().join(name));
        let run = run.unwrap();
        assert!(
            notices.iter().all(|n| !n.contains("left out")),
            "{name}: {notices:?}"
        );
        for epoch in run.epochs() {
            assert_eq!((epoch.train_images, epoch.valid_images), (7, 20), "{name}");
            assert!(epoch.train_loss > 0.0, "{name}");
        }
        assert_ne!(run.model().state_dict().unwrap(), before, "{name}");
        let state = RunConfig::newest_checkpoint(run.dir()).unwrap().unwrap();
        let state = std::fs::read_to_string(state.join("state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        let expected = run.epochs().len() * 7usize.div_ceil(accumulate);
        assert_eq!(state["steps"], expected, "{name}");
    }
}

/// Where one would, it is an error before anything is written, which names the layer.
#[test]
fn batches_of_one_image_are_refused_where_nothing_can_be_learnt() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let refused = |recipe: Recipe, images: usize| {
        let (result, _) = small(model(), &recipe, images, &run);
        let error = result.unwrap_err();
        assert!(!run.exists(), "{error}");
        let Error::SingleValue { layer, groups, .. } = &error else {
            panic!("{error}");
        };
        assert!(layer.starts_with("stage4.0."), "{layer}");
        assert_eq!(*groups, ["stage4"]);
        let text = error.to_string();
        for part in [
            layer.as_str(),
            "28 x 28",
            "--batch-size 2",
            "--freeze only:stage4",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    };
    let one = Recipe::full().epochs(1).batch_size(1);
    refused(one.clone(), 7);
    refused(one.clone().accumulate(8), 7);
    // The last stage is freed in the course of the run.
    refused(Recipe::gradual().epochs(6).batch_size(1), 7);
    refused(Recipe::full().epochs(1).batch_size(64), 1);
    // What the message says helps.
    let frozen = one.clone().freeze(Freeze::only(["stage4"]));
    small(model(), &frozen, 7, &dir.path().join("frozen"))
        .0
        .unwrap();
    small(model(), &one.batch_size(2), 6, &dir.path().join("two"))
        .0
        .unwrap();
}

/// A last batch of one image is left out where it would be refused, which is said once, and is no
/// step of the plan; elsewhere it trains.
#[test]
fn only_a_last_batch_of_one_image_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Recipe::full()
        .epochs(2)
        .batch_size(16)
        .schedule(Schedule::linear());
    let (run, notices) = small(model(), &recipe, 33, &dir.path().join("run"));
    let run = run.unwrap();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].starts_with("1 of 33 training images"),
        "{notices:?}"
    );
    assert!(notices[0].contains("`stage4.0."), "{notices:?}");
    let images: Vec<usize> = run.epochs().iter().map(|e| e.train_images).collect();
    assert_eq!(images, [32, 32]);
    // The last of four steps, and not the fifth of six.
    let last = run.epochs()[1].learning_rate;
    assert!((last - 1e-3 * 0.25).abs() < 1e-9, "{last}");
    // As if the last batch had been dropped.
    let dropped = recipe.clone().drop_last(true);
    let (same, notices) = small(model(), &dropped, 33, &dir.path().join("dropped"));
    assert_eq!(notices, [""; 0]);
    let losses = |run: &Run| -> Vec<f64> { run.epochs().iter().map(|e| e.train_loss).collect() };
    assert_eq!(losses(&run), losses(&same.unwrap()));

    let (run, notices) = small(vit(), &recipe, 33, &dir.path().join("vit"));
    assert_eq!(notices, [""; 0]);
    assert!(run.unwrap().epochs().iter().all(|e| e.train_images == 33));
}

/// A model may have more classes than the data: it keeps the data's names, and says what the others
/// are.
#[test]
fn classes_without_images_have_names() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    let wide = Zoo::test_resnet().weights(Weights::Random(7)).adapt(1, 12);
    let wide = wide.build(&Device::default().autodiff()).unwrap();
    let (run, notices) = small(wide, &Recipe::full().epochs(1), 64, &dir);
    let run = run.unwrap();
    let mut names: Vec<String> = FashionMnist::CLASSES.map(str::to_owned).to_vec();
    names.extend(["unused_10".to_owned(), "unused_11".to_owned()]);
    assert_eq!(run.model().info().classes, names);
    assert!(
        notices[0].contains("`unused_10` to `unused_11`"),
        "{notices:?}"
    );
    // Those of the data are what a run that goes on is compared with.
    assert_eq!(
        RunConfig::open(&dir).unwrap().data.classes,
        FashionMnist::CLASSES
    );
}

#[test]
fn the_device_is_named_as_the_command_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    small(model(), &Recipe::full().epochs(1), 64, &dir)
        .0
        .unwrap();
    let name = RunConfig::open(&dir).unwrap().model["device"].clone();
    let name = name.as_str().unwrap();
    assert_eq!(burn_zoo::device(name).unwrap(), Device::default());
}

/// Keeps what it was told.
#[derive(Default)]
struct Told(Vec<String>);

impl Monitor for Told {
    fn notice(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn freezing_that_would_begin_after_the_end_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = images();
    let mut told = Told::default();
    let late = [(0.0, Freeze::Nothing), (7.0, Freeze::up_to("stage2"))];
    recipe()
        .epochs(1)
        .unfreeze(Unfreeze::at(late))
        .fit_with(
            model(),
            Arc::new(train),
            Arc::new(test),
            dir.path().join("run"),
            FitOptions::default(),
            &mut told,
        )
        .unwrap();
    assert!(
        told.0
            .iter()
            .any(|text| text.contains("up-to:stage2") && text.contains("ends before")),
        "{:?}",
        told.0
    );
}
