//! What frozen layers compute is kept, and nothing else changes by it.

#![cfg(feature = "fashion-mnist-mini")]

use std::path::Path;
use std::sync::Arc;

use burn_zoo::data::ImageSet;
use burn_zoo::prelude::*;
use burn_zoo::train::{
    Control, EmaConfig, EpochStart, FeatureCache, FitOptions, Monitor, Parallel, Run, resume,
};

fn images() -> (Arc<ImageSet>, Arc<ImageSet>) {
    let data = FashionMnist::bundled().unwrap();
    let parts = (data.train().take_first(320), data.test().take_first(100));
    (Arc::new(parts.0), Arc::new(parts.1))
}

fn device() -> Device {
    Device::default().autodiff()
}

fn model(spec: Spec) -> Classifier {
    let spec = spec.weights(Weights::Random(7)).adapt(1, 10);
    spec.build(&device()).unwrap()
}

fn quiet() -> FitOptions {
    FitOptions::default()
}

/// What a run said, and how many batches went through the frozen part to be kept.
#[derive(Default)]
struct Watch {
    notices: Vec<String>,
    features: usize,
    stop_at: Option<usize>,
    files: Vec<String>,
    dir: Option<std::path::PathBuf>,
}

impl Monitor for Watch {
    fn epoch_started(&mut self, epoch: &EpochStart<'_>, _: &mut Control) -> burn_zoo::Result<()> {
        if let (2, Some(dir)) = (epoch.epoch, &self.dir) {
            self.files = files(&dir.join("features"));
        }
        Ok(())
    }
    fn notice(&mut self, text: &str) {
        self.notices.push(text.to_owned());
    }
    fn features(&mut self, batch: usize, batches: usize) {
        assert!(batch <= batches);
        self.features += 1;
    }
    fn should_stop(&mut self) -> bool {
        self.stop_at.is_some_and(|batch| self.features >= batch)
    }
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn fit(spec: Spec, recipe: &Recipe, cache: &str, watch: &mut Watch) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    watch.dir = Some(dir.clone());
    let recipe = recipe
        .clone()
        .feature_cache(cache.parse::<FeatureCache>().unwrap());
    let (train, valid) = images();
    let run = recipe.fit_with(model(spec), train, valid, &dir, quiet(), watch);
    let run = run.unwrap();
    assert!(!dir.join("features").exists(), "nothing is left of them");
    run
}

/// The largest difference of two runs' figures and of their models' outputs.
fn apart(a: &Run, b: &Run) -> f64 {
    let figures = |run: &Run| -> Vec<f64> {
        let figures = run.epochs().iter().flat_map(|e| {
            let raw = e.raw_valid_accuracy.unwrap_or_default();
            let shown = [
                e.train_loss,
                e.train_accuracy,
                e.valid_loss,
                e.valid_accuracy,
            ];
            shown.into_iter().chain([e.valid_top5_accuracy, raw])
        });
        let [height, width] = run.model().info().image_size.unwrap().sides();
        let image = Tensor::<4>::ones([2, 1, height, width], &run.model().device());
        let logits = run.model().forward(image).unwrap().into_data();
        let logits = logits.try_into_vec::<f32>().unwrap();
        figures.chain(logits.into_iter().map(f64::from)).collect()
    };
    let (a, b) = (figures(a), figures(b));
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(&b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

fn recipes() -> Vec<(&'static str, Recipe)> {
    let gradual = Recipe::gradual()
        .epochs(9)
        .with_optimizer(Optimizer::adamw())
        .ema(EmaConfig::new(0.9))
        .drop_rate(0.2)
        .drop_path_rate(0.1);
    let small = |recipe: Recipe| recipe.batch_size(32).learning_rate(3e-3);
    vec![
        ("features", small(Recipe::feature_extraction().epochs(3))),
        ("gradual", small(gradual)),
        // The last batch of 320 images is not full, and classes are drawn with replacement.
        (
            "balanced",
            small(Recipe::feature_extraction().epochs(3))
                .batch_size(48)
                .sampler(burn_zoo::data::Sampler::Balanced),
        ),
        (
            "up to stage2",
            small(Recipe::full().epochs(3)).freeze(Freeze::up_to("stage2")),
        ),
    ]
}

#[test]
fn figures_and_weights_are_the_same_with_and_without() {
    for (name, recipe) in recipes() {
        let mut watch = Watch::default();
        let without = fit(Zoo::test_resnet(), &recipe, "off", &mut watch);
        assert_eq!(watch.features, 0, "{name}");
        for cache in ["auto", "memory", "disk"] {
            let mut watch = Watch::default();
            let with = fit(Zoo::test_resnet(), &recipe, cache, &mut watch);
            assert!(watch.features > 0, "{name} {cache}: nothing was kept");
            let places = if cache == "disk" {
                "on disk"
            } else {
                "in memory"
            };
            assert!(
                watch.notices.iter().any(|n| n.contains(places)),
                "{name} {cache}: {:?}",
                watch.notices
            );
            assert_eq!(watch.files.is_empty(), cache != "disk", "{name} {cache}");
            let off = apart(&with, &without);
            assert!(off < 1e-5, "{name} {cache}: {off}");
        }
    }
}

#[test]
fn tokens_are_kept_as_well() {
    let recipe = Recipe::full()
        .epochs(2)
        .batch_size(64)
        .image_size(160)
        .freeze(Freeze::up_to("block3"));
    let without = fit(Zoo::test_vit(), &recipe, "off", &mut Watch::default());
    let with = fit(Zoo::test_vit(), &recipe, "disk", &mut Watch::default());
    let off = apart(&with, &without);
    assert!(off < 1e-5, "{off}");
}

#[test]
fn sixteen_bits_are_near_and_half_as_large() {
    let recipe = Recipe::feature_extraction().epochs(3).batch_size(32);
    let without = fit(Zoo::test_resnet(), &recipe, "off", &mut Watch::default());
    for cache in ["memory:f16", "disk:f16"] {
        let with = fit(Zoo::test_resnet(), &recipe, cache, &mut Watch::default());
        let off = apart(&with, &without);
        assert!(off > 0.0, "{cache}: 16 bits were asked for");
        assert!(off < 0.02, "{cache}: {off}");
    }
}

#[test]
fn augmented_views_take_turns() {
    let recipe = Recipe::feature_extraction()
        .epochs(4)
        .batch_size(32)
        .augment("flip-crop".parse().unwrap());
    // With as many views as epochs, each epoch sees the images that it would have seen anyway.
    let mut watch = Watch::default();
    let without = fit(Zoo::test_resnet(), &recipe, "off", &mut watch);
    let few = fit(
        Zoo::test_resnet(),
        &recipe,
        "memory:views=2",
        &mut Watch::default(),
    );
    for epoch in 0..2 {
        let (a, b) = (&without.epochs()[epoch], &few.epochs()[epoch]);
        assert!((a.train_loss - b.train_loss).abs() < 1e-5, "epoch {epoch}");
    }
    let (a, b) = (&without.epochs()[2], &few.epochs()[2]);
    assert!(
        (a.train_loss - b.train_loss).abs() > 1e-4,
        "the third is the first again"
    );
    // Without views, only the images for validation are kept, four batches.
    let mut watch = Watch::default();
    let plain = fit(Zoo::test_resnet(), &recipe, "auto", &mut watch);
    assert_eq!(watch.features, 4);
    assert!(apart(&plain, &without) < 1e-5);
}

#[test]
fn an_interrupted_run_goes_on_with_what_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    let recipe = Recipe::feature_extraction()
        .epochs(4)
        .batch_size(32)
        .feature_cache("disk".parse::<FeatureCache>().unwrap());
    let (train, valid) = images();

    let fit = recipe.fit_with(
        model(Zoo::test_resnet()),
        train.clone(),
        valid.clone(),
        &dir,
        quiet(),
        &mut StopBefore(2, false),
    );
    assert!(matches!(fit, Err(burn_zoo::Error::Interrupted { .. })));
    let kept = files(&dir.join("features"));
    assert_eq!(kept.len(), 2, "{kept:?}");

    // As it was, nothing is computed again but the first batch, which tells the shape.
    let copy = folder.path().join("copy");
    copy_folder(&dir, &copy);
    let mut watch = Watch::default();
    let run = resume(
        &copy,
        &device(),
        train.clone(),
        valid.clone(),
        quiet(),
        &mut watch,
    )
    .unwrap();
    assert_eq!(run.epochs().len(), 4);
    assert_eq!(watch.features, 0);

    // Of other images, features are other ones.
    let mut pixels: Vec<u8> = Vec::new();
    for index in 0..train.len() {
        pixels.extend(train.pixels(index).unwrap().iter().map(|p| 255 - p));
    }
    let labels = (0..train.len()).map(|i| train.label(i).unwrap()).collect();
    let classes = train.classes().to_vec();
    let other = ImageSet::new(pixels, labels, (28, 28), 1, classes).unwrap();
    let mut watch = Watch::default();
    resume(&dir, &device(), Arc::new(other), valid, quiet(), &mut watch).unwrap();
    assert_eq!(
        watch.features, 10,
        "the training images' ten batches, and no other"
    );
}

/// Stops before an epoch.
struct StopBefore(usize, bool);

impl Monitor for StopBefore {
    fn epoch_started(&mut self, e: &EpochStart<'_>, _: &mut Control) -> burn_zoo::Result<()> {
        self.1 = e.epoch == self.0;
        Ok(())
    }
    fn should_stop(&mut self) -> bool {
        self.1
    }
}

/// What is kept follows from the whole time that layers are frozen, and not from what is left of it: features of
/// images in other batches, of other views, in 16 bits or of another rank's images are others.
#[test]
fn a_run_goes_on_in_its_last_epoch_with_what_it_would_have_kept() {
    let recipe = || Recipe::feature_extraction().epochs(4).batch_size(48);
    let moved = recipe().augment("flip-crop".parse().unwrap());
    let cases = [
        (recipe(), "auto", 1),
        (recipe(), "memory:f16", 1),
        (moved, "memory:views=2", 1),
        (recipe(), "auto", 2),
    ];
    for (recipe, cache, ranks) in cases {
        let options = || FitOptions {
            parallel: Parallel {
                devices: vec![Device::default(); if ranks == 1 { 0 } else { ranks }],
                ..Parallel::default()
            },
            ..quiet()
        };
        let recipe = recipe.feature_cache(cache.parse::<FeatureCache>().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
        let fit = |dir: &Path, monitor: &mut dyn Monitor| {
            let (train, valid) = images();
            let model = model(Zoo::test_resnet());
            recipe.fit_with(model, train, valid, dir, options(), monitor)
        };
        let whole = fit(&whole, &mut ()).unwrap();
        let stopped = fit(&parts, &mut StopBefore(4, false));
        assert!(matches!(stopped, Err(burn_zoo::Error::Interrupted { .. })));
        let (train, valid) = images();
        let run = resume(&parts, &device(), train, valid, options(), &mut ()).unwrap();
        assert_eq!(apart(&run, &whole), 0.0, "{cache}, {ranks} ranks");
    }
}

/// Runs that share features do not share those of another pooling.
#[test]
fn shared_features_are_those_of_the_pooling() {
    let shared = tempfile::tempdir().unwrap();
    let recipe = Recipe::feature_extraction().epochs(2).batch_size(64);
    for pool in [Pool::Avg, Pool::Max] {
        let run = |feature_folder| {
            let dir = tempfile::tempdir().unwrap();
            let options = FitOptions {
                feature_folder,
                ..quiet()
            };
            let (train, valid) = images();
            let model = model(Zoo::test_resnet().pool(pool));
            let dir = dir.path().join("run");
            recipe
                .fit_with(model, train, valid, dir, options, &mut ())
                .unwrap()
        };
        let (alone, together) = (run(None), run(Some(shared.path().to_path_buf())));
        assert!(apart(&alone, &together) < 1e-5, "{pool:?}");
    }
}

#[test]
fn a_stop_while_features_are_computed_leaves_a_run_that_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    let (train, valid) = images();
    let recipe = Recipe::feature_extraction().epochs(2).batch_size(32);
    let mut watch = Watch {
        stop_at: Some(3),
        ..Watch::default()
    };
    let stopped = recipe.fit_with(
        model(Zoo::test_resnet()),
        train.clone(),
        valid.clone(),
        &dir,
        quiet(),
        &mut watch,
    );
    assert!(matches!(stopped, Err(burn_zoo::Error::Interrupted { .. })));
    assert_eq!(watch.features, 3);
    let run = resume(&dir, &device(), train, valid, quiet(), &mut ()).unwrap();
    let whole = fit(Zoo::test_resnet(), &recipe, "auto", &mut Watch::default());
    assert_eq!(apart(&run, &whole), 0.0);
}

/// Images that cannot be read are left out of what is kept, too.
#[test]
fn broken_images_are_left_out_of_what_is_kept() {
    struct Faulty(Arc<ImageSet>);
    impl ImageData for Faulty {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn get(&self, index: usize) -> burn_zoo::Result<(burn_zoo::preprocess::Image, Target)> {
            // The first batch of what is kept has none, the second some, and so on.
            if index < 32 || index % 40 == 1 {
                return Err(burn_zoo::Error::Image {
                    path: format!("{index}.png").into(),
                    reason: "cut short".to_owned(),
                });
            }
            ImageData::get(&*self.0, index)
        }
        fn target(&self, index: usize) -> burn_zoo::Result<Target> {
            ImageData::target(&*self.0, index)
        }
        fn classes(&self) -> &[String] {
            self.0.classes()
        }
        fn fingerprint(&self) -> burn_zoo::Result<[u8; 32]> {
            ImageData::fingerprint(&*self.0)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe::feature_extraction().epochs(3).batch_size(32);
    let fit = |cache: &str, skip_broken: bool| {
        let (train, valid) = images();
        let recipe = recipe.clone().feature_cache(cache.parse().unwrap());
        let options = FitOptions {
            skip_broken,
            ..quiet()
        };
        let dir = folder.path().join(format!("{cache}-{skip_broken}"));
        let mut watch = Watch::default();
        let data = (Arc::new(Faulty(train)), Arc::new(Faulty(valid)));
        let model = model(Zoo::test_resnet());
        (
            recipe.fit_with(model, data.0, data.1, dir, options, &mut watch),
            watch,
        )
    };
    let (without, _) = fit("off", true);
    let without = without.unwrap();
    for cache in ["auto", "memory", "disk"] {
        let (run, watch) = fit(cache, true);
        let run = run.unwrap();
        let off = apart(&run, &without);
        assert!(off < 1e-5, "{cache}: {off}");
        assert!(
            watch
                .notices
                .iter()
                .any(|n| n.contains("features of 347 images"))
        );
        for epoch in run.epochs() {
            // The first 32 and one of every 40 behind them, of 320 and of 100 images.
            let counts = (epoch.train_images, epoch.valid_images, epoch.skipped_images);
            assert_eq!(counts, (281, 66, 39 + 34), "{cache}");
        }
        assert_eq!(run.skipped_images().len(), 73, "{cache}");
        let told = watch
            .notices
            .iter()
            .filter(|n| n.starts_with("left out of "));
        assert_eq!(told.count(), 73, "{cache}");
        assert!(run.dir().join("skipped.jsonl").is_file());
    }
    let (error, _) = fit("memory", false);
    assert!(error.unwrap_err().to_string().starts_with("0.png: "));
}

#[test]
fn what_would_have_no_effect_is_refused() {
    let (train, valid) = images();
    let refused = |recipe: Recipe, expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let model = model(Zoo::test_resnet());
        let run = recipe.fit_with(
            model,
            train.clone(),
            valid.clone(),
            dir.path().join("run"),
            quiet(),
            &mut (),
        );
        let message = run.unwrap_err().to_string();
        assert!(
            message.contains("feature_cache") && message.contains(expected),
            "{message}"
        );
    };
    let cache = |text: &str| text.parse::<FeatureCache>().unwrap();
    refused(
        Recipe::full().feature_cache(cache("memory")),
        "never frozen",
    );
    let features = Recipe::feature_extraction();
    refused(
        features.clone().feature_cache(cache("auto:views=2")),
        "not augmented",
    );
    refused(features.feature_cache(cache("off:f16")), "nothing is kept");
    for (text, expected) in [
        ("", "auto, memory, disk or off"),
        ("ram", "auto, memory, disk or off"),
        ("memory:f17", "f16 or views"),
        ("disk:views=x", "a whole number"),
        ("auto:", "f16 or views"),
    ] {
        let message = text.parse::<FeatureCache>().unwrap_err().to_string();
        assert!(message.contains("feature_cache"), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let toml = Recipe::feature_extraction().feature_cache(cache("disk:f16"));
    assert_eq!(Recipe::from_toml(&toml.to_toml().unwrap()).unwrap(), toml);
    let message = Recipe::from_toml("feature_cache = 'ram'")
        .unwrap_err()
        .to_string();
    assert!(message.contains("auto, memory, disk or off"), "{message}");
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}
