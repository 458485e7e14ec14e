//! Recipes as data, and what each of their parts does to a run.

#![cfg(all(feature = "fashion-mnist-mini", feature = "plots"))]

mod common;

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn_zoo::Error;
use burn_zoo::data::{ImageSet, Loader, LoaderConfig, Sampler};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::Image;
use burn_zoo::preprocess::augment::{Mixing, Views};
use burn_zoo::train::{
    BatchSearch, ClassWeights, Clip, EmaConfig, FitOptions, Monitor, Precision, ProgressiveSizes,
    Run, Sweep, Trial,
};

use common::Losses;

fn images() -> (Arc<ImageSet>, Arc<ImageSet>) {
    let data = FashionMnist::bundled().unwrap();
    let parts = (data.train().take_first(320), data.test().take_first(100));
    (Arc::new(parts.0), Arc::new(parts.1))
}

fn model() -> Classifier {
    let spec = Zoo::test_resnet().weights(Weights::Random(7)).adapt(1, 10);
    spec.build(&Device::default().autodiff()).unwrap()
}

fn recipe() -> Recipe {
    Recipe::full().epochs(2).batch_size(32).learning_rate(3e-3)
}

fn fit(recipe: &Recipe, dir: &Path) -> burn_zoo::Result<Run> {
    fit_watched(recipe, dir, &mut ())
}

fn fit_watched(recipe: &Recipe, dir: &Path, monitor: &mut dyn Monitor) -> burn_zoo::Result<Run> {
    let (train, valid) = images();
    let options = FitOptions::default();
    recipe.fit_with(model(), train, valid, dir, options, monitor)
}

#[test]
fn a_recipe_survives_toml() {
    for name in Recipe::NAMES {
        let recipe = Recipe::named(name).unwrap();
        let text = recipe.to_toml().unwrap();
        assert_eq!(Recipe::from_toml(&text).unwrap(), recipe, "{text}");
        let short = format!("recipe = \"{name}\"");
        assert_eq!(Recipe::from_toml(&short).unwrap(), recipe);
    }
    // One with everything that has a form of its own.
    let mut recipe = Recipe::gradual()
        .schedule("cosine:cycles=2".parse().unwrap())
        .warmup(0.5)
        .rates(Rates::LayerDecay {
            decay: 0.75,
            min_scale: 0.01,
        })
        .with_optimizer("lamb".parse().unwrap())
        .unfreeze(Unfreeze::at([
            (1.0, Freeze::up_to("stage2")),
            (2.5, Freeze::Nothing),
        ]))
        .augment("random-crop:padding=2,horizontal-flip".parse().unwrap())
        .mixing(Mixing {
            cutmix_alpha: 1.0,
            ..Mixing::default()
        })
        .class_weights(ClassWeights::Given(vec![1.0, 2.0]))
        .sampler(Sampler::Balanced)
        .clip(Clip::Norm { max: 1.0 })
        .ema(EmaConfig::new(0.999))
        .precision(Precision::Bf16)
        .drop_rate(0.1);
    recipe.accumulate = 3;
    let text = recipe.to_toml().unwrap();
    assert_eq!(Recipe::from_toml(&text).unwrap(), recipe, "{text}");
}

/// Every mistake in a file is answered with its line, or the name and what is allowed.
#[test]
fn mistakes_in_a_recipe_are_named() {
    let cases: [(&str, &[&str]); 15] = [
        (
            "epochs = 3\nlearnig_rate = 1e-3",
            &["line 2", "learnig_rate", "expected one of", "learning_rate"],
        ),
        ("epochs = 3\nepochs = 4", &["line 2", "duplicate key"]),
        (
            "recipe = \"fast\"",
            &[
                "full, features, gradual, fine-tune, backbone-finetuning",
                "`fast`",
            ],
        ),
        ("recipe = 3", &["expected a name", "3"]),
        ("epochs = \"many\"", &["line 1", "expected usize"]),
        ("epochs = 0", &["epochs: expected 1 to 1000000, found 0"]),
        (
            "epochs = 9223372036854775807\nunfreeze = { kind = \"backbone\", joins_at = 4611686018427387904 }",
            &["epochs: expected 1 to 1000000"],
        ),
        ("\n\nepochs = -1", &["line 3"]),
        ("[optimizer]\nkind = \"sdg\"", &["line 2", "sdg", "sgd"]),
        (
            "[optimizer]\nkind = \"sgd\"\nmomentun = 0.9",
            &["momentun", "momentum"],
        ),
        (
            "[schedule]\nkind = \"cosine\"\ncycles = 0",
            &["cycles", "0"],
        ),
        ("[early_stopping]\npatience = 0", &["patience", "0"]),
        ("freeze = \"some\"", &["line 1", "nothing, backbone"]),
        ("precision = \"int8\"", &["line 1", "int8", "f32"]),
        ("epochs 3", &["line 1"]),
    ];
    for (text, expected) in cases {
        let error = Recipe::from_toml(text).unwrap_err().to_string();
        for part in expected {
            assert!(
                error.contains(part),
                "`{text}` gave: {error}\nwithout: {part}"
            );
        }
    }
    // The line stays right below a line that names the recipe.
    let error = Recipe::from_toml("recipe = \"gradual\"\n\nepoch = 3").unwrap_err();
    assert!(error.to_string().contains("line 3"), "{error}");
}

/// Whatever is written instead of a number is refused, and never a panic.
#[test]
fn values_out_of_range_are_refused() {
    for line in [
        "batch_size = 0",
        "batch_size = 70000",
        "accumulate = 0",
        "learning_rate = nan",
        "learning_rate = -1.0",
        "learning_rate = inf",
        "weight_decay = -0.1",
        "label_smoothing = 1.0",
        "label_smoothing = nan",
        "drop_rate = 1.0",
        "drop_path_rate = -0.5",
        "workers = 1000",
        "image_size = 0",
        "progressive_sizes = [0, 28]",
        "epochs = 1\nprogressive_sizes = [20, 28]",
        "progressive_sizes = [20, 28]\naugment = \"horizontal_flip\"\nfeature_cache = \"auto:views=2\"",
        "class_weights = { given = [] }",
        "class_weights = { given = [0.0, 0.0] }",
        "clip = { kind = \"norm\", max = 0.0 }",
        "clip = { kind = \"value\", max = nan }",
        "ema = { decay = 1.0 }",
        "mixing = { mixup_alpha = -1.0 }",
        "mixing = { prob = 2.0 }",
        "warmup = { epochs = 100.0 }",
        "warmup = { epochs = nan }",
        "checkpoints = { last = 0 }",
        "checkpoints = { every_steps = 0 }",
        "unfreeze = { kind = \"gradual\", every = 0.0 }",
        "unfreeze = { kind = \"fine_tune\", freeze_epochs = 9 }",
        "unfreeze = { kind = \"at\", steps = [{ epoch = 2.0, freeze = \"nothing\" }, { epoch = 1.0, freeze = \"backbone\" }] }",
        "rates = { kind = \"layer_decay\", decay = 0.0 }",
        "rates = { kind = \"geometric\", lowest = -1.0 }",
        "rate_scaling = { kind = \"linear\", base = 0 }",
        "recipe = \"backbone-finetuning\"\nepochs = 10",
        "recipe = \"gradual\"\nfreeze = \"up-to:stage2\"",
        "recipe = \"fine-tune\"\nschedule = { kind = \"cosine\" }",
        "recipe = \"fine-tune\"\nrates = { kind = \"slice\" }",
        "recipe = \"fine-tune\"\nwarmup = { epochs = 1.0 }",
        "recipe = \"backbone-finetuning\"\nrates = { kind = \"slice\" }",
        "optimizer = { kind = \"adam\", betas = [1.0, 0.9] }",
        "schedule = { kind = \"polynomial\", power = nan }",
    ] {
        let error = Recipe::from_toml(line);
        assert!(
            matches!(error, Err(Error::InvalidArgument { .. })),
            "{line}: {error:?}"
        );
    }
}

/// Sizes that grow are a text or an array.
#[test]
fn sizes_are_text_or_an_array() {
    let read = |text: &str| Recipe::from_toml(&format!("progressive_sizes = {text}"));
    let sizes = ProgressiveSizes::from([[20, 16], [28, 28]]);
    for text in ["\"20x16, 28\"", "[\"20x16\", 28]"] {
        let recipe = read(text).unwrap();
        assert_eq!(recipe.progressive_sizes, sizes, "{text}");
        let again = Recipe::from_toml(&recipe.to_toml().unwrap()).unwrap();
        assert_eq!(again, recipe);
    }
    assert!(read("\"none\"").unwrap().progressive_sizes.is_none());
    assert_eq!(sizes.to_string(), "20x16,28");
    for text in [
        "[28, 20]",
        "[0, 28]",
        "\"20,big\"",
        "\"\"",
        "[\"30x20\", 28]",
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains("progressive_sizes: expected"), "{error}");
    }
}

/// A run's configuration is a recipe's file as well.
#[test]
fn a_run_can_be_repeated_from_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Recipe::gradual().epochs(1).batch_size(64).seed(9);
    let run = fit(&recipe, &dir.path().join("run")).unwrap();
    let text = std::fs::read_to_string(run.dir().join("config.toml")).unwrap();
    assert_eq!(Recipe::from_toml(&text).unwrap(), recipe);
    // What stands beside the recipe would have no effect.
    let error = Recipe::from_toml(&format!("epochs = 5\n{text}")).unwrap_err();
    assert!(error.to_string().ends_with("found `epochs`"), "{error}");
    assert_eq!(
        Recipe::from_toml("\"recipe\" = \"gradual\"\nepochs = 2").unwrap(),
        Recipe::gradual().epochs(2)
    );
}

/// Two batches of 16 accumulated are a batch of 32, but for normalisations, which see each batch by
/// itself; a transformer has none of those.
#[test]
fn accumulated_batches_equal_a_larger_one() {
    let dir = tempfile::tempdir().unwrap();
    let vit = || {
        let spec = Zoo::test_vit()
            .weights(Weights::Random(3))
            .adapt(1, 10)
            .image_size(32);
        spec.build(&Device::default().autodiff()).unwrap()
    };
    let tuned = |recipe: &Recipe, name: &str| {
        let (train, valid) = images();
        let mut losses = Losses::default();
        let options = FitOptions::default();
        let dir = dir.path().join(name);
        let run = recipe
            .fit_with(vit(), train, valid, dir, options, &mut losses)
            .unwrap();
        (losses.0, run)
    };
    let large = Recipe::full().epochs(1).batch_size(32).learning_rate(1e-3);
    let large = large.with_optimizer(Optimizer::sgd());
    let small = large.clone().batch_size(16).accumulate(2);
    let (a, first) = tuned(&large, "large");
    let (b, second) = tuned(&small, "small");
    assert_eq!(a.len(), 10);
    assert_eq!(b.len(), 10);
    for (a, b) in a.iter().zip(&b) {
        assert!((a / b - 1.0).abs() < 1e-4, "{a} {b}");
    }
    let (a, b) = (
        first.model().state_dict().unwrap(),
        second.model().state_dict().unwrap(),
    );
    for (name, tensor) in &a {
        let apart = tensor
            .data
            .iter()
            .zip(&b[name].data)
            .map(|(x, y)| (x - y).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-5, "{name}");
    }
}

/// Memory for time: the figures stay the same.
#[test]
fn gradient_checkpointing_changes_no_figure() {
    let dir = tempfile::tempdir().unwrap();
    let run = |recipe: Recipe, name: &str| {
        let mut losses = Losses::default();
        fit_watched(&recipe.epochs(1), &dir.path().join(name), &mut losses).unwrap();
        losses.0
    };
    let (plain, kept) = (
        run(recipe(), "a"),
        run(recipe().gradient_checkpointing(true), "b"),
    );
    for (a, b) in plain.iter().zip(&kept) {
        assert!((a / b - 1.0).abs() < 1e-4, "{a} {b}");
    }
    assert_eq!(plain.len(), kept.len());
}

/// In bfloat16 a model learns about as in f32, its weights stay in f32, and the numbers differ,
/// since otherwise nothing was computed in bfloat16.
#[test]
fn half_precision_learns_with_weights_in_full() {
    let dir = tempfile::tempdir().unwrap();
    let run = |precision: Precision| {
        let mut losses = Losses::default();
        let recipe = recipe().epochs(3).precision(precision);
        let dir = dir.path().join(precision.to_string());
        let run = fit_watched(&recipe, &dir, &mut losses).unwrap();
        (losses.0, run)
    };
    let (full, _) = run(Precision::F32);
    for precision in [Precision::Bf16, Precision::F16] {
        let (half, tuned) = run(precision);
        assert!(
            (full[0] / half[0] - 1.0).abs() < 0.02,
            "{} {}",
            full[0],
            half[0]
        );
        assert_ne!(full, half, "{precision}");
        let (start, end) = (half[0], half[half.len() - 1]);
        assert!(end < 0.75 * start, "{precision}: {start} to {end}");
        assert!(tuned.epochs()[2].valid_loss.is_finite());
        let again = Classifier::open(tuned.dir().join("best"), &Device::default()).unwrap();
        assert_eq!(
            again.state_dict().unwrap(),
            tuned.model().state_dict().unwrap()
        );
    }
}

/// The average is what is judged and exported; the raw weights' accuracy is noted beside it.
#[test]
fn averaged_weights_are_judged_and_exported() {
    let dir = tempfile::tempdir().unwrap();
    let mut recipe = recipe().epochs(3).ema(EmaConfig::new(0.9));
    recipe.checkpoints.last = 3;
    let run = fit(&recipe, dir.path().join("run").as_path()).unwrap();
    let last = &run.epochs()[2];
    assert!(last.raw_valid_accuracy.is_some());
    // The best model is the average in the checkpoint of its epoch.
    let checkpoint = format!("checkpoints/epoch-{:04}/ema", run.best().epoch);
    for name in ["model.safetensors", "config.json", "README.md"] {
        let read = |folder: &str| std::fs::read(run.dir().join(folder).join(name)).unwrap();
        assert!(read("best") == read(&checkpoint), "{name}");
    }
    let (_, valid) = images();
    let model = Classifier::open(run.dir().join("best"), &Device::default()).unwrap();
    let preprocess = model.preprocess(Some(28.into()));
    let loader = Loader::new(valid, preprocess, LoaderConfig::default(), &model.device()).unwrap();
    let judged = model.evaluate(&loader).unwrap();
    assert_eq!(judged.accuracy, run.best().valid_accuracy);
}

/// Each class as often as any other, whatever the data; the same with any number of workers.
#[test]
fn a_balanced_sampler_evens_classes_out() {
    let labels: Vec<u8> = (0..400).map(|i| u8::from(i % 20 == 0)).collect();
    let pixels: Vec<u8> = (0..400).map(|i| (i % 251) as u8).collect();
    let names = vec!["many".to_owned(), "few".to_owned()];
    let labels: Vec<usize> = labels.into_iter().map(usize::from).collect();
    let set = Arc::new(ImageSet::new(pixels, labels, (1, 1), 1, names).unwrap());
    let epoch = |workers: usize, epoch: u64| -> Vec<usize> {
        let config = LoaderConfig {
            shuffle: Some(5),
            sampler: Sampler::Balanced,
            workers,
            ..LoaderConfig::default()
        };
        let preprocess = Preprocess::new(None, Normalization::new(vec![0.0], vec![1.0]).unwrap());
        let loader = Loader::new(set.clone(), preprocess, config, &Device::default()).unwrap();
        loader
            .epoch(epoch)
            .flat_map(|batch| batch.unwrap().targets.classes().unwrap().to_vec())
            .collect()
    };
    let first = epoch(1, 0);
    assert_eq!(first.len(), 400);
    let few: usize = (0..10).map(|e| epoch(1, e).iter().sum::<usize>()).sum();
    // 4000 draws of one half: 2000, give or take five standard deviations of 31.6.
    assert!((1842..2158).contains(&few), "{few}");
    assert_eq!(first, epoch(3, 0));
    assert_ne!(first, epoch(1, 1));
}

/// What is random about an image follows from the seed, the epoch and the image: not from the
/// workers, and not from where in the epoch one begins.
#[test]
fn augmented_batches_repeat() {
    let (train, _) = images();
    let loader = |workers: usize, seed: u64| {
        let config = LoaderConfig {
            batch_size: 32,
            shuffle: Some(1),
            augment: "imagenet".parse().unwrap(),
            mixing: Some(Mixing {
                mixup_alpha: 0.4,
                cutmix_alpha: 1.0,
                ..Mixing::default()
            }),
            workers,
            seed,
            ..LoaderConfig::default()
        };
        let preprocess = Preprocess::new(
            Some(28.into()),
            Normalization::new(vec![0.5], vec![0.5]).unwrap(),
        );
        Loader::new(train.clone(), preprocess, config, &Device::default()).unwrap()
    };
    let all = |loader: &Loader, epoch: u64, first: usize| -> Vec<(Vec<f32>, Vec<f32>)> {
        loader
            .epoch_from(epoch, first)
            .map(|batch| {
                let batch = batch.unwrap();
                let values = |data: burn::tensor::TensorData| data.try_to_vec::<f32>().unwrap();
                let soft = values(batch.soft.unwrap().into_data());
                (values(batch.images.into_data()), soft)
            })
            .collect()
    };
    let one = all(&loader(1, 3), 0, 0);
    assert_eq!(one.len(), 10);
    for workers in [0, 2, 5] {
        assert_eq!(one, all(&loader(workers, 3), 0, 0), "{workers} workers");
    }
    assert_eq!(one[7..], all(&loader(2, 3), 0, 7)[..]);
    assert_ne!(one, all(&loader(1, 3), 1, 0));
    assert_ne!(one, all(&loader(1, 4), 0, 0));
    // Each row of mixed labels is a distribution.
    for (_, soft) in &one {
        for row in soft.chunks_exact(10) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn several_views_are_averaged() {
    let model = model().valid();
    let (_, valid) = images();
    let judged = |views: Views| {
        let config = LoaderConfig {
            views,
            batch_size: 7,
            ..LoaderConfig::default()
        };
        let loader = Loader::new(
            valid.clone(),
            model.preprocess(Some(28.into())),
            config,
            &model.device(),
        );
        model.evaluate(&loader.unwrap()).unwrap()
    };
    let image =
        |index: usize| Image::new(28, 28, 1, valid.pixels(index).unwrap().to_vec()).unwrap();
    for views in [
        Views::Flip,
        Views::FlipShift,
        Views::FiveCrop,
        Views::TenCrop,
    ] {
        let all = judged(views);
        assert_eq!(all.images, 100);
        // The mean negative logarithm of the averaged probabilities of the right classes.
        let mut loss = 0.0;
        for index in 0..100 {
            let found = model
                .predict_views(&image(index), Some(28.into()), 10, views)
                .unwrap();
            let label = valid.labels()[index];
            let right = found.iter().find(|p| p.class == label).unwrap();
            loss -= right.probability.ln() / 100.0;
        }
        assert!(
            (all.loss / loss - 1.0).abs() < 1e-5,
            "{views}: {} {loss}",
            all.loss
        );
        assert_ne!(all.loss, judged(Views::One).loss);
    }
    // A mirror image of a mirror image: a symmetric prediction.
    let plain = image(3);
    let mut pixels = valid.pixels(3).unwrap().to_vec();
    pixels.chunks_exact_mut(28).for_each(<[u8]>::reverse);
    let mirrored = Image::new(28, 28, 1, pixels).unwrap();
    let (a, b) = (
        model
            .predict_views(&plain, Some(28.into()), 10, Views::Flip)
            .unwrap(),
        model
            .predict_views(&mirrored, Some(28.into()), 10, Views::Flip)
            .unwrap(),
    );
    for (a, b) in a.iter().zip(&b) {
        assert!((a.probability - b.probability).abs() < 1e-6);
    }
    let config = LoaderConfig {
        views: Views::Flip,
        augment: "horizontal-flip".parse().unwrap(),
        ..LoaderConfig::default()
    };
    let error = Loader::new(
        valid.clone(),
        model.preprocess(Some(28.into())),
        config,
        &model.device(),
    );
    assert!(
        error
            .err()
            .unwrap()
            .to_string()
            .starts_with("views: expected one")
    );
}

#[test]
fn a_batch_size_is_found_within_a_budget() {
    let (train, _) = images();
    let find = |budget: Option<u64>, largest: usize| {
        let search = BatchSearch {
            budget,
            largest,
            ..BatchSearch::default()
        };
        let mut trials = Vec::new();
        let found = recipe()
            .find_batch_size(&model(), train.clone(), search, |trial| trials.push(trial))?;
        Ok::<_, Error>((found, trials))
    };
    let (found, trials) = find(None, 64).unwrap();
    assert_eq!(found, 64);
    assert!(trials.iter().all(|trial| trial.fits));
    // Not even one image fits into nothing.
    let error = find(Some(1), 64).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    assert!(
        error.to_string().contains("gradient checkpointing"),
        "{error}"
    );
    let bad = BatchSearch {
        margin: 1.0,
        ..BatchSearch::default()
    };
    let error = recipe()
        .find_batch_size(&model(), train.clone(), bad, |_| ())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "margin: expected at least 0 and below 1, found 1"
    );
}

/// Neither search proposes or tries a batch that does not train, and both end.
#[test]
fn searches_end_on_every_input() {
    let data = FashionMnist::bundled().unwrap().train();
    let few = |count: usize| Arc::new(data.take_first(count));
    let size = |recipe: &Recipe, count: usize| {
        let (search, mut first) = (BatchSearch::default(), None);
        let watch = |trial: Trial| {
            first.get_or_insert(trial.batch_size);
        };
        let found = recipe.find_batch_size(&model(), few(count), search, watch)?;
        Ok::<_, Error>((first.unwrap(), found))
    };
    let full = Recipe::full();
    let features = Recipe::feature_extraction();
    assert_eq!(size(&full, 5).unwrap(), (2, 5));
    assert_eq!(size(&features, 5).unwrap(), (1, 5));
    assert_eq!(size(&features, 1).unwrap(), (1, 1));
    assert!(matches!(size(&full, 1), Err(Error::SingleValue { .. })));
    let search = BatchSearch {
        largest: 1,
        ..BatchSearch::default()
    };
    let error = full.find_batch_size(&model(), few(5), search, |_| ());
    assert!(error.unwrap_err().to_string().starts_with("largest: "));

    let rates = |recipe: Recipe, count: usize| {
        let sweep = Sweep {
            end: 1e-4,
            steps: 12,
            ..Sweep::default()
        };
        recipe.find_learning_rate(&model(), few(count), sweep, |_| true)
    };
    assert!(matches!(
        rates(full.clone().batch_size(1), 9),
        Err(Error::SingleValue { .. })
    ));
    assert!(matches!(
        rates(full.clone(), 1),
        Err(Error::SingleValue { .. })
    ));
    for (recipe, count) in [
        (features.clone().batch_size(1), 3),
        (features.clone(), 1),
        (full.clone().batch_size(4), 9),
        (full.clone().batch_size(64), 3),
    ] {
        let found = rates(recipe, count).unwrap();
        assert_eq!(found.rates.len(), 12, "{count}");
    }
    let error = rates(full.batch_size(8).drop_last(true), 3).unwrap_err();
    assert!(error.to_string().starts_with("drop_last: "), "{error}");
}

/// The sweep leaves the model alone, repeats, and suggests something that trains.
#[test]
fn the_finder_suggests_a_rate_that_trains() {
    let dir = tempfile::tempdir().unwrap();
    let (train, _) = images();
    let model = model();
    let before = model.state_dict().unwrap();
    let sweep = Sweep {
        start: 1e-6,
        end: 10.0,
        steps: 80,
        ..Sweep::default()
    };
    let find = || {
        let mut steps = 0;
        let found = recipe().find_learning_rate(&model, train.clone(), sweep, |step| {
            steps = step;
            true
        });
        let found = found.unwrap();
        assert_eq!(found.rates.len(), steps);
        found
    };
    let found = find();
    assert_eq!(found, find());
    assert_eq!(model.state_dict().unwrap(), before);
    assert!(found.rates.is_sorted() && found.rates[0] == 1e-6);
    let valley = found.suggestions.valley.unwrap();
    assert!((1e-4..1.0).contains(&valley), "{valley}");
    let plot = dir.path().join("curve.svg");
    found.write_plot(&plot).unwrap();
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("valley"));

    let run = fit(
        &recipe().learning_rate(valley.min(0.01)),
        &dir.path().join("run"),
    )
    .unwrap();
    assert!(run.epochs()[1].train_loss < run.epochs()[0].train_loss);

    let stopped = recipe().find_learning_rate(&model, train, sweep, |step| step < 3);
    assert!(matches!(stopped, Err(Error::Interrupted { .. })));
}
