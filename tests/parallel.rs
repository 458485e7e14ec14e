//! Training by several ranks: it equals training by one, and no rank is left waiting.

#![cfg(feature = "fashion-mnist-mini")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn_zoo::Error;
use burn_zoo::data::{FashionMnist, ImageData, ImageSet, Loader, LoaderConfig, Shard};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::Image;
use burn_zoo::train::{
    Control, EarlyStopping, EmaConfig, EpochEnd, EpochRecord, EpochStart, FitOptions, Metric,
    Monitor, Optimizer, Parallel, Plateau, Run, StepRecord, resume,
};
use common::{Losses, distance, rule_model};

fn images(train: usize, valid: usize) -> [Arc<dyn ImageData>; 2] {
    let data = FashionMnist::bundled().unwrap();
    [
        Arc::new(data.train().take_first(train)),
        Arc::new(data.test().take_first(valid)),
    ]
}

fn resnet() -> Classifier {
    let spec = Zoo::test_resnet().weights(Weights::Random(7)).adapt(1, 10);
    spec.build(&Device::default().autodiff()).unwrap()
}

#[cfg(feature = "bundled-weights")]
fn resnet18() -> Classifier {
    let spec = Zoo::resnet18().weights(Weights::Bundled).adapt(1, 10);
    spec.build(&Device::default().autodiff()).unwrap()
}

fn vit() -> Classifier {
    let spec = Zoo::test_vit().image_size(28);
    let spec = spec.weights(Weights::Random(7)).adapt(1, 10);
    spec.build(&Device::default().autodiff()).unwrap()
}

/// SGD with momentum 0.9 and a rate of 0.01.
fn recipe(batch_size: usize) -> Recipe {
    let sgd = Optimizer::Sgd {
        momentum: 0.9,
        nesterov: false,
    };
    let recipe = Recipe::full().epochs(1).batch_size(batch_size);
    recipe
        .learning_rate(0.01)
        .with_optimizer(sgd)
        .sync_batch_norm(true)
}

fn on(ranks: usize) -> FitOptions {
    FitOptions {
        parallel: Parallel {
            devices: vec![Device::default(); ranks],
            ..Parallel::default()
        },
        ..FitOptions::default()
    }
}

fn fit(
    model: Classifier,
    recipe: &Recipe,
    [train, valid]: [Arc<dyn ImageData>; 2],
    dir: &Path,
    options: FitOptions,
) -> (Run, Vec<f64>) {
    let mut losses = Losses::default();
    let run = recipe.fit_with(model, train, valid, dir, options, &mut losses);
    (run.unwrap(), losses.0)
}

/// A ReLU that flips by the last bit of a sum makes another network of it: in PyTorch, too, other orders of
/// the images in a batch drive a ResNet-18 apart, by 5e-5 and more after three steps of this rate. So a
/// network with ReLUs is compared after one step, smooth ones after twenty.
#[test]
fn ranks_train_as_one_device_with_the_batch_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let trained = |spec: Spec| rule_model(spec.adapt(1, 10), &Device::default().autodiff());
    for (name, model, steps) in [
        ("vit", trained(Zoo::test_vit().image_size(28)), 20),
        ("efficientnet", trained(Zoo::test_efficientnet()), 20),
        ("resnet", trained(Zoo::test_resnet()), 1),
        #[cfg(feature = "bundled-weights")]
        ("resnet18", resnet18(), 1),
    ] {
        let one = |ranks: usize| {
            let dir = dir.path().join(format!("{name}-{ranks}"));
            let data = images(24 * steps, 90);
            fit(model.clone(), &recipe(24 / ranks), data, &dir, on(ranks))
        };
        let (alone, losses) = one(1);
        assert_eq!(losses.len(), steps);
        for ranks in [2, 3] {
            let (together, of_ranks) = one(ranks);
            for (step, (a, b)) in losses.iter().zip(&of_ranks).enumerate() {
                assert!((a - b).abs() < 1e-5 * a, "{name}, {ranks}, {step}: {a} {b}");
            }
            let distance = distance(alone.model(), together.model());
            eprintln!("{name} on {ranks} ranks: {distance:.1e}");
            assert!(distance < 1e-5, "{name} on {ranks} ranks: {distance}");
            let (a, b) = (alone.best(), together.best());
            assert_eq!(a.valid_accuracy, b.valid_accuracy);
            assert_eq!(
                (a.train_images, a.valid_images),
                (b.train_images, b.valid_images)
            );
            assert!((a.valid_loss - b.valid_loss).abs() < 1e-5 * a.valid_loss);
            assert!((a.train_loss - b.train_loss).abs() < 1e-5 * a.train_loss);
            assert_eq!(a.train_accuracy, b.train_accuracy);
        }
    }
}

#[test]
fn buckets_and_overlap_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = |bucket_bytes: usize, overlap: bool| {
        let mut options = on(2);
        options.parallel.bucket_bytes = bucket_bytes;
        options.parallel.overlap = overlap;
        let dir = dir.path().join(format!("{bucket_bytes}-{overlap}"));
        fit(resnet(), &recipe(16), images(128, 40), &dir, options)
    };
    let (first, losses) = run(8 << 20, true);
    for (bytes, overlap) in [(8 << 20, false), (4, true), (10_000, true), (10_000, false)] {
        let (other, of_other) = run(bytes, overlap);
        assert_eq!(losses, of_other);
        assert_eq!(distance(first.model(), other.model()), 0.0);
    }
}

/// Batches that are not full on one rank weigh by their images.
#[test]
fn images_weigh_alike_in_unequal_batches() {
    struct Gaps(ImageSet);
    impl ImageData for Gaps {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn classes(&self) -> &[String] {
            self.0.classes()
        }
        fn get(&self, index: usize) -> burn_zoo::Result<(Image, burn_zoo::data::Target)> {
            if index.is_multiple_of(5) {
                return Err(Error::Image {
                    path: self.name(index).into(),
                    reason: "a gap".to_owned(),
                });
            }
            self.0.get(index)
        }
        fn target(&self, index: usize) -> burn_zoo::Result<burn_zoo::data::Target> {
            ImageData::target(&self.0, index)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let data = || -> [Arc<dyn ImageData>; 2] {
        let data = FashionMnist::bundled().unwrap();
        let [train, valid] = [data.train().take_first(120), data.test().take_first(41)];
        [Arc::new(Gaps(train)), Arc::new(Gaps(valid))]
    };
    for (name, model) in [("resnet", resnet()), ("vit", vit())] {
        let one = |ranks: usize| {
            let dir = dir.path().join(format!("{name}-{ranks}"));
            let mut options = on(ranks);
            options.skip_broken = true;
            fit(model.clone(), &recipe(24 / ranks), data(), &dir, options)
        };
        let ((alone, losses), (together, of_ranks)) = (one(1), one(2));
        for (a, b) in losses.iter().zip(&of_ranks) {
            assert!((a - b).abs() < 1e-5 * a, "{name}: {a} {b}");
        }
        let distance = distance(alone.model(), together.model());
        assert!(distance < 1e-5, "{name}: {distance}");
        let record = |run: &Run| {
            let best = run.best();
            (best.train_images, best.valid_images, best.skipped_images)
        };
        assert_eq!(record(&alone), (96, 32, 24 + 9));
        assert_eq!(record(&together), record(&alone));
        // What it took to sum the gradients is noted where there was something to sum.
        assert_eq!(alone.best().all_reduce, None);
        let time = together.best().all_reduce.unwrap();
        assert!(time.seconds > 0.0 && time.waited_seconds > 0.0, "{time:?}");
        // No image is named twice, whichever rank met it.
        let names = |run: &Run| {
            let skipped = run.skipped_images().iter();
            let mut names: Vec<_> = skipped.map(|s| (s.part.clone(), s.image.index)).collect();
            names.sort();
            names
        };
        assert_eq!(names(&together), names(&alone));
    }
}

/// A step that is cut between groups has the gradients of one that is not, whatever the graph keeps and
/// whatever a group shares with another.
#[test]
fn checkpointing_and_shared_parameters_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let trained = |spec: Spec| rule_model(spec.adapt(1, 10), &Device::default().autodiff());
    let xcit = Zoo::xcit_nano_12_p16_224().image_size(32);
    for (name, model, checkpointing, images) in [
        ("vit", vit(), true, images(96, 24)),
        ("resnet", resnet(), true, images(48, 24)),
        ("xcit", trained(xcit), false, larger_images(16)),
    ] {
        let one = |ranks: usize| {
            let recipe = recipe(8 / ranks).gradient_checkpointing(checkpointing);
            let recipe = recipe.sync_batch_norm(false);
            let dir = dir.path().join(format!("{name}-{ranks}"));
            let mut options = on(ranks);
            options.parallel.overlap = true;
            fit(model.clone(), &recipe, images.clone(), &dir, options)
        };
        let ((alone, losses), (together, of_ranks)) = (one(1), one(2));
        // Each normalises by its own images.
        if name != "resnet" && name != "xcit" {
            for (a, b) in losses.iter().zip(&of_ranks) {
                assert!((a - b).abs() < 1e-5 * a, "{name}: {a} {b}");
            }
            let distance = distance(alone.model(), together.model());
            assert!(distance < 1e-5, "{name}: {distance}");
        }
        let mut whole = on(2);
        whole.parallel.overlap = false;
        let recipe = recipe(4).gradient_checkpointing(checkpointing);
        let recipe = recipe.sync_batch_norm(false);
        let dir = dir.path().join(format!("{name}-whole"));
        let (whole, _) = fit(model, &recipe, images, &dir, whole);
        let distance = distance(whole.model(), together.model());
        assert!(distance < 1e-6, "{name}, cut and whole: {distance}");
    }
}

/// Images of 32 pixels.
fn larger_images(count: usize) -> [Arc<dyn ImageData>; 2] {
    struct Padded(ImageSet);
    impl ImageData for Padded {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn classes(&self) -> &[String] {
            self.0.classes()
        }
        fn get(&self, index: usize) -> burn_zoo::Result<(Image, burn_zoo::data::Target)> {
            let (image, label) = self.0.get(index)?;
            let mut pixels = vec![0; 32 * 32];
            for (row, of_row) in image.pixels().chunks_exact(28).enumerate() {
                pixels[(row + 2) * 32 + 2..][..28].copy_from_slice(of_row);
            }
            Ok((Image::new(32, 32, 1, pixels)?, label))
        }
    }
    let data = FashionMnist::bundled().unwrap();
    [
        Arc::new(Padded(data.train().take_first(count))),
        Arc::new(Padded(data.test().take_first(8))),
    ]
}

#[test]
fn each_rank_keeps_the_features_of_its_share() {
    let dir = tempfile::tempdir().unwrap();
    let (train, valid) = (97, 31);
    struct Count(ImageSet, AtomicUsize);
    impl ImageData for Count {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn classes(&self) -> &[String] {
            self.0.classes()
        }
        fn get(&self, index: usize) -> burn_zoo::Result<(Image, burn_zoo::data::Target)> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.get(index)
        }
    }
    let data = FashionMnist::bundled().unwrap();
    let data = Arc::new(Count(data.train().take_first(train), AtomicUsize::new(0)));
    let [_, valid] = images(1, valid);
    let recipe = Recipe::feature_extraction().epochs(6).batch_size(8);
    let run = recipe.fit_with(resnet(), data.clone(), valid, dir.path(), on(3), &mut ());
    let run = run.unwrap();
    // Once for the features, and a few for checks and previews.
    let read = data.1.load(Ordering::Relaxed);
    // (prefetched batches of an epoch that then begins with features).
    assert!((97..97 + 3 * 60).contains(&read), "{read}");
    assert_eq!(run.best().valid_images, 31);
    assert_eq!(run.epochs()[0].train_images, 99);
    assert!(run.epochs()[5].train_loss < run.epochs()[0].train_loss);
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    struct Stop(usize);
    impl Monitor for Stop {
        fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
            self.0 = step.global_step;
            Ok(())
        }
        fn should_stop(&mut self) -> bool {
            self.0 == 13
        }
    }
    let [train, valid] = images(240, 40);
    let recipe = |batch| recipe(batch).epochs(3);
    let whole = dir.path().join("whole");
    let (whole, _) = fit(resnet(), &recipe(12), images(240, 40), &whole, on(2));
    let log = |run: &Run| -> Vec<(usize, f64, f64)> {
        let of = |e: &EpochRecord| (e.train_images, e.train_loss, e.valid_accuracy);
        run.epochs().iter().map(of).collect()
    };
    for ranks in [2, 1, 3] {
        let part = dir.path().join(format!("{ranks}"));
        let (train, valid) = (train.clone(), valid.clone());
        let images = (train.clone(), valid.clone());
        let stopped = recipe(12).fit_with(resnet(), images.0, images.1, &part, on(2), &mut Stop(0));
        assert!(matches!(
            stopped,
            Err(Error::Interrupted {
                checkpoint: Some(_),
                ..
            })
        ));
        let device = Device::default();
        let mut told = Told::default();
        let run = resume(&part, &device, train, valid, on(ranks), &mut told).unwrap();
        assert_eq!(run.epochs().len(), 3);
        let changed = told
            .0
            .iter()
            .filter(|told| told.contains("the run had 2 ranks, 24 images a step"));
        assert_eq!(changed.count(), usize::from(ranks != 2), "{:?}", told.0);
        if ranks == 2 {
            // As if it had never stopped, but for what batch normalisation has seen: within an epoch the
            // statistics of each rank are its own.
            assert_eq!(log(&run), log(&whole));
            assert_eq!(distance(run.model(), whole.model()), 0.0);
        } else {
            // The first epoch is the one before it stopped.
            assert_eq!(log(&run)[0], log(&whole)[0]);
        }
    }
}

#[test]
fn an_error_of_one_rank_ends_all_and_names_it() {
    /// An image that only rank 1 can meet in the first epoch, since rank 0 fails a little later.
    struct Broken(ImageSet, usize);
    impl ImageData for Broken {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn classes(&self) -> &[String] {
            self.0.classes()
        }
        fn get(&self, index: usize) -> burn_zoo::Result<(Image, burn_zoo::data::Target)> {
            if index == self.1 {
                return Err(Error::Image {
                    path: "seventeen.png".into(),
                    reason: "torn".to_owned(),
                });
            }
            self.0.get(index)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let data = FashionMnist::bundled().unwrap();
    let [_, valid] = images(1, 40);
    for (rank, place) in [(0, 100), (1, 101), (2, 102)] {
        // Where the image is, the loader says.
        let set = data.train().take_first(240);
        let config = LoaderConfig {
            shuffle: Some(42),
            batch_size: 1,
            shard: Some(Shard { rank, size: 3 }),
            ..LoaderConfig::default()
        };
        let preprocess = resnet().preprocess(None);
        let order = Loader::new(
            Arc::new(set.clone()),
            preprocess,
            config,
            &Device::default(),
        );
        let own = order.unwrap();
        assert_eq!(own.num_images(), 80);
        let broken = {
            let shown = own.epoch(1).nth(place / 3).unwrap().unwrap();
            let values = shown.images.into_data();
            let same = |index: &usize| {
                let config = LoaderConfig {
                    batch_size: 1,
                    ..LoaderConfig::default()
                };
                let one: Arc<dyn ImageData> = Arc::new(set.clone());
                let all = Loader::new(one, resnet().preprocess(None), config, &Device::default());
                all.unwrap()
                    .epoch(0)
                    .nth(*index)
                    .unwrap()
                    .unwrap()
                    .images
                    .into_data()
                    == values
            };
            (1..240).find(same).unwrap()
        };
        for sync in [false, true] {
            let dir = dir.path().join(format!("{rank}-{sync}"));
            let train = Arc::new(Broken(set.clone(), broken));
            let recipe = recipe(8).epochs(2).sync_batch_norm(sync);
            let fit = recipe.fit_with(resnet(), train, valid.clone(), &dir, on(3), &mut ());
            match fit.unwrap_err() {
                Error::Rank {
                    rank: named,
                    host,
                    reason,
                } => {
                    assert_eq!(named, rank, "{reason}");
                    assert!(!host.is_empty());
                    assert!(
                        reason.contains("seventeen.png") && reason.contains("torn"),
                        "{reason}"
                    );
                }
                Error::BrokenImage { .. } if rank == 0 => {}
                error => panic!("{rank}: {error}"),
            }
        }
    }
}

/// Leaves nobody waiting: a monitor that fails, one that panics, and one that stops.
#[test]
fn whatever_ends_rank_0_ends_all() {
    struct Fails;
    impl Monitor for Fails {
        fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
            match step.global_step {
                3 => Err(Error::Device {
                    device: "monitor".to_owned(),
                    reason: "full".to_owned(),
                }),
                _ => Ok(()),
            }
        }
    }
    struct Panics;
    impl Monitor for Panics {
        fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
            assert!(step.global_step < 3, "the monitor's own fault");
            Ok(())
        }
    }
    struct Ends;
    impl Monitor for Ends {
        fn step(&mut self, step: &StepRecord, control: &mut Control) -> burn_zoo::Result<()> {
            if step.global_step == 3 {
                control.stop();
            }
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let fit = |name: &str, monitor: &mut dyn Monitor| {
        let [train, valid] = images(120, 40);
        let recipe = recipe(8).epochs(2);
        recipe.fit_with(
            resnet(),
            train,
            valid,
            dir.path().join(name),
            on(2),
            monitor,
        )
    };
    let failed = fit("fails", &mut Fails).unwrap_err();
    assert!(failed.to_string().contains("full"), "{failed}");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fit("panics", &mut Panics).map(drop)
    }));
    assert!(panicked.is_err());
    let run = fit("ends", &mut Ends).unwrap();
    assert_eq!(run.epochs().len(), 1);
    assert_eq!(run.epochs()[0].train_images, 3 * 16);
}

/// What rank 0's monitor asks for at the start of an epoch, after a step and after an epoch, all do.
#[test]
fn a_monitor_freezes_on_all_ranks() {
    struct Freezes(usize);
    impl Monitor for Freezes {
        fn epoch_started(
            &mut self,
            epoch: &EpochStart<'_>,
            control: &mut Control,
        ) -> burn_zoo::Result<()> {
            if epoch.epoch == 2 {
                control.freeze(Freeze::Backbone);
            }
            Ok(())
        }
        fn step(&mut self, step: &StepRecord, control: &mut Control) -> burn_zoo::Result<()> {
            if step.epoch == 3 && step.step == 2 {
                control.freeze("up-to:stem".parse()?);
            }
            Ok(())
        }
        fn epoch_finished(
            &mut self,
            epoch: &EpochEnd<'_>,
            control: &mut Control,
        ) -> burn_zoo::Result<()> {
            if epoch.record.epoch == self.0 {
                control.stop();
            }
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let one = |ranks: usize| {
        let [train, valid] = images(96, 40);
        let recipe = recipe(24 / ranks).epochs(9);
        let dir = dir.path().join(format!("{ranks}"));
        let run = recipe.fit_with(vit(), train, valid, dir, on(ranks), &mut Freezes(4));
        run.unwrap()
    };
    let (alone, together) = (one(1), one(2));
    let frozen = |run: &Run| -> Vec<String> {
        run.epochs()
            .iter()
            .map(|epoch| epoch.frozen.clone())
            .collect()
    };
    assert_eq!(frozen(&alone).len(), 4);
    assert_eq!(frozen(&alone), frozen(&together));
}

#[test]
fn early_stopping_plateaus_and_averages_are_those_of_one_device() {
    let dir = tempfile::tempdir().unwrap();
    let one = |ranks: usize| {
        let recipe = recipe(24 / ranks)
            .metric(Metric::ValidLoss)
            .epochs(12)
            .learning_rate(0.3)
            .schedule(Schedule::Plateau(Plateau {
                factor: 0.5,
                patience: 0,
                ..Plateau::default()
            }))
            .early_stopping(EarlyStopping::new(2))
            .ema(EmaConfig::new(0.9));
        let dir = dir.path().join(format!("{ranks}"));
        fit(vit(), &recipe, images(96, 48), &dir, on(ranks)).0
    };
    let (alone, together) = (one(1), one(2));
    let rates = |run: &Run| -> Vec<(f64, f64)> {
        let of = |e: &EpochRecord| (e.learning_rate, e.valid_accuracy);
        run.epochs().iter().map(of).collect()
    };
    assert_eq!(rates(&alone), rates(&together));
}

#[derive(Default)]
struct Told(Vec<String>);

impl Monitor for Told {
    fn notice(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

/// What any rank has to say is heard once: what all say as one text, what one says with its name.
#[test]
fn notices_of_all_ranks_are_heard() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    let [train, valid] = images(97, 40);
    let mut recipe = Recipe::feature_extraction().epochs(3).batch_size(8);
    recipe.class_weights = "balanced".parse().unwrap();
    let fit = recipe.fit_with(resnet(), train, valid, dir.path(), on(2), &mut told);
    fit.unwrap();
    let count = |text: &str| told.0.iter().filter(|told| told.contains(text)).count();
    assert_eq!(count("2 ranks on "), 1);
    assert_eq!(count("class_weights"), 1);
    let kept: Vec<&String> = told
        .0
        .iter()
        .filter(|told| told.contains("are kept"))
        .collect();
    // Of 49 and 48 images for training and 20 for validation on each.
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(
        kept[1].starts_with("rank 1 on ") && kept[1].contains("68 images"),
        "{kept:?}"
    );
}

#[test]
fn the_rate_is_scaled_by_the_images_of_all_ranks_if_that_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    for (scaling, expected) in [("none", 0.01), ("linear:base=64", 0.01 * 48.0 / 64.0)] {
        let mut recipe = recipe(24);
        recipe.rate_scaling = scaling.parse().unwrap();
        let dir = dir.path().join(&scaling[..4]);
        let (run, _) = fit(vit(), &recipe, images(96, 20), &dir, on(2));
        assert!(
            (run.best().learning_rate - expected).abs() < 1e-12,
            "{scaling}"
        );
    }
}

#[test]
fn what_does_not_go_together_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let fit = |options: FitOptions, train: usize, valid: usize| {
        let [train, valid] = images(train, valid);
        let fit = recipe(4).fit_with(resnet(), train, valid, dir.path(), options, &mut ());
        fit.unwrap_err().to_string()
    };
    let error = fit(on(3), 20, 2);
    assert!(
        error.contains("at least 3 training and validation images"),
        "{error}"
    );
    let mut options = on(2);
    options.parallel.bucket_bytes = 0;
    let error = fit(options, 20, 20);
    assert!(error.contains("bucket_bytes"), "{error}");
}

/// PyTorch's `DistributedSampler`: `indices[rank:total:size]`, padded from the front.
#[test]
fn shards_are_those_of_the_distributed_sampler() {
    let data = FashionMnist::bundled().unwrap();
    let set = data.train().take_first(11);
    let labels = |shard: Option<Shard>, drop_last: bool| -> Vec<usize> {
        let config = LoaderConfig {
            batch_size: 2,
            drop_last,
            shard,
            ..LoaderConfig::default()
        };
        let set: Arc<dyn ImageData> = Arc::new(set.clone());
        let loader = Loader::new(set, resnet().preprocess(None), config, &Device::default());
        let batches = loader.unwrap().epoch(0);
        batches
            .flat_map(|batch| batch.unwrap().targets.classes().unwrap().to_vec())
            .collect()
    };
    let all = labels(None, false);
    for rank in 0..4 {
        let shard = Some(Shard { rank, size: 4 });
        let padded: Vec<usize> = (0..3).map(|i| all[(4 * i + rank) % 11]).collect();
        assert_eq!(labels(shard, false), padded);
        assert_eq!(labels(shard, true), &padded[..2]);
    }
}
