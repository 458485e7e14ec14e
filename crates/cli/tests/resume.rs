//! Runs that end before their time: stopped, killed, out of disk; and how they go on.

#![cfg(unix)]

#[path = "../../../tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burn_zoo::Error;
use burn_zoo::data::ImageSet;
use burn_zoo::prelude::*;
use burn_zoo::preprocess::Image;
use burn_zoo::preprocess::augment::Mixing;
use burn_zoo::train::{
    Checkpoints, Control, EarlyStopping, EmaConfig, EpochEnd, EpochRecord, EpochStart, Extension,
    FitOptions, Metric, Monitor, Run, RunConfig, StepRecord, resume,
};

fn images() -> (Arc<ImageSet>, Arc<ImageSet>) {
    let data = FashionMnist::bundled().unwrap();
    let parts = (data.train().take_first(320), data.test().take_first(100));
    (Arc::new(parts.0), Arc::new(parts.1))
}

fn device() -> Device {
    Device::default().autodiff()
}

fn model() -> Classifier {
    let spec = Zoo::test_resnet().weights(Weights::Random(7)).adapt(1, 10);
    spec.build(&device()).unwrap()
}

/// Images of which one cannot be read at a certain moment.
struct Faulty {
    data: Arc<ImageSet>,
    /// Images that are read before.
    left: AtomicUsize,
}

impl Faulty {
    fn new(data: Arc<ImageSet>) -> Arc<Self> {
        let left = AtomicUsize::new(usize::MAX / 2);
        Arc::new(Self { data, left })
    }
    fn break_after(&self, images: usize) {
        self.left.store(images, Ordering::SeqCst);
    }
}

impl ImageData for Faulty {
    fn len(&self) -> usize {
        self.data.len()
    }
    fn get(&self, index: usize) -> burn_zoo::Result<(Image, burn_zoo::data::Target)> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left == 0 {
            return Err(Error::Image {
                path: "photo.jpg".into(),
                reason: "cut short".to_owned(),
            });
        }
        ImageData::get(&*self.data, index)
    }
    fn target(&self, index: usize) -> burn_zoo::Result<burn_zoo::data::Target> {
        ImageData::target(&*self.data, index)
    }
    fn classes(&self) -> &[String] {
        self.data.classes()
    }
    fn fingerprint(&self) -> burn_zoo::Result<[u8; 32]> {
        ImageData::fingerprint(&*self.data)
    }
}

/// Breaks an image so many reads after a step.
struct BreakAt<'a> {
    data: &'a Faulty,
    step: usize,
    reads: usize,
}

impl Monitor for BreakAt<'_> {
    fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
        if step.global_step == self.step {
            self.data.break_after(self.reads);
        }
        Ok(())
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

fn quiet() -> FitOptions {
    FitOptions::default()
}

/// Everything that has a state: momentum, an average, a plateau, freed groups, random images, mixed
/// labels, dropout, stochastic depth, accumulation.
fn everything() -> Recipe {
    let mut recipe = Recipe::gradual()
        .epochs(4)
        .batch_size(16)
        .learning_rate(3e-3)
        .weight_decay(0.01)
        .with_optimizer(Optimizer::adamw())
        .schedule("plateau".parse().unwrap())
        .ema(EmaConfig::new(0.9))
        .augment("flip-crop".parse().unwrap())
        .mixing(Mixing {
            mixup_alpha: 0.2,
            ..Mixing::default()
        })
        .drop_rate(0.2)
        .drop_path_rate(0.1)
        .early_stopping(EarlyStopping::new(100));
    recipe.accumulate = 2;
    recipe
}

fn fit(recipe: &Recipe, dir: &Path, monitor: &mut dyn Monitor) -> burn_zoo::Result<Run> {
    let (train, valid) = images();
    recipe.fit_with(model(), train, valid, dir, quiet(), monitor)
}

fn go_on(dir: &Path) -> burn_zoo::Result<Run> {
    let (train, valid) = images();
    resume(dir, &device(), train, valid, quiet(), &mut ())
}

/// What has to be the same, however often a run was interrupted.
fn figures(epochs: &[EpochRecord]) -> Vec<[f64; 7]> {
    let of = |e: &EpochRecord| {
        [
            e.epoch as f64,
            e.train_loss,
            e.train_accuracy,
            e.valid_loss,
            e.valid_accuracy,
            e.raw_valid_accuracy.unwrap_or(-1.0),
            e.learning_rate,
        ]
    };
    epochs.iter().map(of).collect()
}

fn same_run(a: &Run, b: &Run) {
    assert_eq!(figures(a.epochs()), figures(b.epochs()));
    assert_eq!(a.best().epoch, b.best().epoch);
    let (a, b) = (
        a.model().state_dict().unwrap(),
        b.model().state_dict().unwrap(),
    );
    for (name, tensor) in &a {
        let pairs = tensor.data.iter().zip(&b[name].data);
        let apart = pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(apart <= 1e-6, "{name}: {apart}");
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Asks to stop after so many steps.
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

/// Stopped in the middle of epochs, at their end and during validation, a run ends as if it had not
/// been.
#[test]
fn an_interrupted_run_equals_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let whole = fit(&everything(), &at("whole"), &mut ()).unwrap();
    assert_eq!(whole.epochs().len(), 4);

    // Ten steps an epoch. The tenth is the last of its epoch: what stops is the validation.
    for first in [1, 4, 10, 13, 33] {
        let broken = at(&format!("broken-{first}"));
        let error = fit(&everything(), &broken, &mut StopAfter(first)).unwrap_err();
        let Error::Interrupted { checkpoint, run } = &error else {
            panic!("{error}");
        };
        assert_eq!(run, &broken);
        assert_eq!(&RunConfig::newest_checkpoint(&broken).unwrap(), checkpoint);
        // A second time, somewhat later.
        let (train, valid) = images();
        let again = resume(&broken, &device(), train, valid, quiet(), &mut StopAfter(3));
        assert!(matches!(again, Err(Error::Interrupted { .. })), "{first}");
        let run = go_on(&broken).unwrap();
        same_run(&whole, &run);
        for name in ["steps.csv", "classes.txt"] {
            assert_eq!(
                read(&broken.join(name)),
                read(&at("whole").join(name)),
                "{name}"
            );
        }
        let lines = |dir: &Path| read(&dir.join("log.jsonl")).lines().count();
        assert_eq!(lines(&broken), 4);
    }

    // A finished run is read, not repeated.
    let again = go_on(&at("whole")).unwrap();
    same_run(&whole, &again);
}

/// An image that breaks under way costs the step it was in, also one of which a part is done; on
/// mended images the run ends as if nothing had been.
#[test]
fn a_broken_image_costs_no_more_than_its_step() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let recipe = everything().epochs(2).workers(0);
    let whole = fit(&recipe, &at("whole"), &mut ()).unwrap();
    let (train, valid) = images();
    // In the first and in the second batch of step 14; two epochs have 20 steps.
    for reads in [5, 20] {
        let run = at(&format!("train-{reads}"));
        let train = Faulty::new(train.clone());
        let mut watch = BreakAt {
            data: &train,
            step: 13,
            reads,
        };
        let data = (train.clone(), valid.clone());
        let error = recipe.fit_with(model(), data.0, data.1, &run, quiet(), &mut watch);
        let error = error.unwrap_err();
        let Error::BrokenImage { checkpoint, .. } = &error else {
            panic!("{error}");
        };
        assert!(checkpoint.ends_with("epoch-0001-batch-0000006"), "{error}");
        let text = error.to_string();
        for part in [
            "photo.jpg",
            "cut short",
            "finetune --resume ",
            "--skip-broken",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        same_run(&whole, &go_on(&run).unwrap());
        assert_eq!(
            read(&run.join("steps.csv")),
            read(&at("whole").join("steps.csv"))
        );
    }
    // In validation, after the last step of an epoch.
    let run = at("valid");
    let valid = Faulty::new(valid);
    let mut watch = BreakAt {
        data: &valid,
        step: 10,
        reads: 50,
    };
    let data = (train, valid.clone());
    let error = recipe.fit_with(model(), data.0, data.1, &run, quiet(), &mut watch);
    let error = error.unwrap_err();
    let Error::BrokenImage { checkpoint, .. } = &error else {
        panic!("{error}");
    };
    assert!(checkpoint.ends_with("epoch-0000-batch-0000020"), "{error}");
    same_run(&whole, &go_on(&run).unwrap());
}

/// Left out, it is told of and counted, and the run goes on; also one that goes on so after it
/// ended for this.
#[test]
fn broken_images_are_left_out_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let recipe = everything().epochs(2).workers(0);
    let (train, valid) = images();
    let train = Faulty::new(train);
    let mut watch = BreakAt {
        data: &train,
        step: 3,
        reads: 20,
    };
    let data = (train.clone(), valid.clone());
    let error = recipe.fit_with(model(), data.0, data.1, &run, quiet(), &mut watch);
    assert!(matches!(error, Err(Error::BrokenImage { .. })));
    // Broken still: first the images that a monitor is shown, then a whole batch.
    struct Twice<'a>(&'a Faulty, Notices);
    impl Monitor for Twice<'_> {
        fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
            if step.global_step == 4 || step.global_step == 15 {
                self.0.break_after(3);
            }
            Ok(())
        }
        fn notice(&mut self, text: &str) {
            self.1.notice(text);
        }
    }
    let options = FitOptions {
        skip_broken: true,
        ..quiet()
    };
    let mut watch = Twice(&train, Notices::default());
    let data = (train.clone(), valid);
    let run = resume(&run, &device(), data.0, data.1, options, &mut watch).unwrap();
    let counts: Vec<_> = run
        .epochs()
        .iter()
        .map(|e| (e.train_images, e.valid_images, e.skipped_images))
        .collect();
    assert_eq!(counts, [(319, 100, 1), (319, 100, 1)]);
    assert_eq!(run.skipped_images().len(), 2);
    let told = watch
        .1
        .0
        .iter()
        .filter(|n| n.starts_with("left out of training: "));
    assert_eq!(told.count(), 2, "{:?}", watch.1.0);
    assert_eq!(read(&run.dir().join("skipped.jsonl")).lines().count(), 2);
}

/// Nothing that was computed is no result.
#[test]
fn an_epoch_without_an_image_is_an_error() {
    struct Gone(Arc<ImageSet>, AtomicUsize);
    impl ImageData for Gone {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn get(&self, index: usize) -> burn_zoo::Result<(Image, burn_zoo::data::Target)> {
            // Images are there until somebody has looked at the first ones.
            if self.1.fetch_add(1, Ordering::SeqCst) > 24 {
                return Err(Error::Io {
                    action: "read",
                    path: "nfs/photo.jpg".into(),
                    source: std::io::ErrorKind::NotFound.into(),
                });
            }
            ImageData::get(&*self.0, index)
        }
        fn target(&self, index: usize) -> burn_zoo::Result<burn_zoo::data::Target> {
            ImageData::target(&*self.0, index)
        }
        fn classes(&self) -> &[String] {
            self.0.classes()
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (train, valid) = images();
    let fit = |name: &str, train: Arc<dyn ImageData>, valid: Arc<dyn ImageData>| {
        let options = FitOptions {
            skip_broken: true,
            ..quiet()
        };
        let recipe = Recipe::full().epochs(1);
        let run = dir.path().join(name);
        let run = recipe.fit_with(model(), train, valid, run, options, &mut ());
        run.unwrap_err().to_string()
    };
    let gone = |data: &Arc<ImageSet>| Arc::new(Gone(data.clone(), AtomicUsize::new(0)));
    let error = fit("train", gone(&train), valid.clone());
    assert!(
        error.contains("320 of 320 could not be read") && error.contains("image 0"),
        "{error}"
    );
    let error = fit("valid", train, gone(&valid));
    assert!(
        error.contains("at least one image that can be read"),
        "{error}"
    );
}

fn extended(epochs: usize) -> FitOptions {
    FitOptions {
        extend: Some(Extension {
            epochs,
            schedule: None,
            learning_rate: None,
        }),
        ..quiet()
    }
}

fn extend(dir: &Path, options: FitOptions, monitor: &mut dyn Monitor) -> burn_zoo::Result<Run> {
    let (train, valid) = images();
    resume(dir, &device(), train, valid, options, monitor)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A finished run trains on: a new schedule over what is added, told before, kept in the
/// configuration, the same to the bit if it is interrupted, and as often as wanted.
#[test]
fn a_finished_run_is_extended() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let recipe = everything()
        .epochs(2)
        .schedule(Schedule::cosine())
        .warmup(0.5);
    let first = fit(&recipe, &at("whole"), &mut ()).unwrap();
    for stops in [1, 10, 13] {
        copy(&at("whole"), &at(&format!("stopped-{stops}")));
    }

    let mut notices = Notices::default();
    let whole = extend(&at("whole"), extended(4), &mut notices).unwrap();
    let told = &notices.0[0];
    for part in [
        "epochs: 2 done, 2 added, 4 in all",
        "cosine",
        "3e-3",
        "frozen: ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(figures(&whole.epochs()[..2]), figures(first.epochs()));
    assert_eq!(whole.epochs().len(), 4);
    // The last of ten steps an epoch: no warm-up, and the cosine over twenty steps.
    for (epoch, step) in [(2, 9), (3, 19)] {
        let expected = 3e-3 * (1.0 + (std::f64::consts::PI * step as f64 / 20.0).cos()) / 2.0;
        let found = whole.epochs()[epoch].learning_rate;
        assert!(
            (found - expected).abs() < 1e-12,
            "{found}, expected {expected}"
        );
    }
    assert_eq!(read(&at("whole/log.jsonl")).lines().count(), 4);
    let config = RunConfig::open(at("whole")).unwrap();
    assert_eq!((config.recipe.epochs, config.epochs()), (2, 4));
    assert_eq!(config.extended.len(), 1);
    let added = &config.extended[0];
    assert_eq!(
        (added.from_epoch, added.from_step, added.epochs),
        (2, 20, 2)
    );
    assert_eq!(
        (&added.schedule, added.learning_rate),
        (&Schedule::cosine(), 3e-3)
    );
    let best = whole
        .epochs()
        .iter()
        .map(|e| e.valid_accuracy)
        .fold(0.0, f64::max);
    assert_eq!(whole.best().valid_accuracy, best);

    for stops in [1, 10, 13] {
        let run = at(&format!("stopped-{stops}"));
        let stopped = extend(&run, extended(4), &mut StopAfter(stops));
        assert!(matches!(stopped, Err(Error::Interrupted { .. })));
        // With or without saying it again.
        let again = if stops == 1 { extended(4) } else { quiet() };
        same_run(&whole, &extend(&run, again, &mut ()).unwrap());
        assert_eq!(RunConfig::open(&run).unwrap().extended.len(), 1);
        assert_eq!(read(&run.join("steps.csv")), read(&at("whole/steps.csv")));
    }

    // A second time, with another schedule and rate.
    let options = FitOptions {
        extend: Some(Extension {
            epochs: 5,
            schedule: Some(Schedule::Constant),
            learning_rate: Some(1e-4),
        }),
        ..quiet()
    };
    let run = extend(&at("whole"), options, &mut ()).unwrap();
    assert_eq!(run.epochs().len(), 5);
    assert_eq!(run.epochs()[4].learning_rate, 1e-4);
    assert_eq!(RunConfig::open(at("whole")).unwrap().extended.len(), 2);

    // It counts all epochs.
    let error = extend(&at("whole"), extended(5), &mut ()).map(|_| ());
    assert!(
        error.is_ok(),
        "what is asked for is there already: {error:?}"
    );
    let error = extend(&at("whole"), extended(3), &mut ()).unwrap_err();
    assert!(
        error.to_string().contains("more than the 5 that are done"),
        "{error}"
    );
}

/// Images of which some cannot be read, ever.
struct Holes(Arc<ImageSet>, &'static [usize]);

impl ImageData for Holes {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn get(&self, index: usize) -> burn_zoo::Result<(Image, burn_zoo::data::Target)> {
        if self.1.contains(&index) {
            return Err(Error::Image {
                path: "photo.jpg".into(),
                reason: "cut short".to_owned(),
            });
        }
        ImageData::get(&*self.0, index)
    }
    fn target(&self, index: usize) -> burn_zoo::Result<burn_zoo::data::Target> {
        ImageData::target(&*self.0, index)
    }
    fn classes(&self) -> &[String] {
        self.0.classes()
    }
}

/// Steps that are not made leave schedule, freezing and added epochs where they are.
#[test]
fn broken_images_do_not_delay_the_plan() {
    let dir = tempfile::tempdir().unwrap();
    let data = FashionMnist::bundled().unwrap();
    let vit = || {
        let spec = Zoo::test_vit().weights(Weights::Random(3)).adapt(1, 10);
        spec.image_size(32).build(&device()).unwrap()
    };
    let sets = |holes: &'static [usize]| {
        let train = Holes(Arc::new(data.train().take_first(12)), holes);
        (Arc::new(train), Arc::new(data.test().take_first(20)))
    };
    let options = |extend: Option<usize>| FitOptions {
        skip_broken: true,
        ..extend.map_or_else(quiet, extended)
    };
    let unfreeze = Unfreeze::at([(0.0, Freeze::Backbone), (1.0, Freeze::Nothing)]);
    for accumulate in [1, 2] {
        let recipe = Recipe::full()
            .epochs(3)
            .batch_size(1)
            .learning_rate(1e-3)
            .schedule(Schedule::linear())
            .unfreeze(unfreeze.clone())
            .feature_cache("off".parse().unwrap())
            .accumulate(accumulate);
        let run = |name: &str, holes: &'static [usize], monitor: &mut dyn Monitor| {
            let (train, valid) = sets(holes);
            let dir = dir.path().join(format!("{name}-{accumulate}"));
            recipe.fit_with(vit(), train, valid, dir, options(None), monitor)
        };
        let go_on = |name: &str, holes: &'static [usize], extend: Option<usize>| {
            let (train, valid) = sets(holes);
            let dir = dir.path().join(format!("{name}-{accumulate}"));
            resume(dir, &device(), train, valid, options(extend), &mut ())
        };
        let plan = |run: &Run| -> Vec<_> {
            let epochs = run.epochs().iter();
            epochs
                .map(|e| (e.frozen.clone(), e.learning_rate, e.rates.clone()))
                .collect()
        };

        /// The rates of each epoch's first step.
        #[derive(Default)]
        struct Firsts(Vec<(usize, Vec<f64>)>, Notices);
        impl Monitor for Firsts {
            fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
                if self.0.last().is_none_or(|(epoch, _)| *epoch != step.epoch) {
                    self.0.push((step.epoch, step.rates.clone()));
                }
                Ok(())
            }
            fn notice(&mut self, text: &str) {
                self.1.notice(text);
            }
        }
        let holes = &[1, 4, 5, 8, 10];
        let (mut whole_watch, mut watch) = (Firsts::default(), Firsts::default());
        let whole = run("whole", &[], &mut whole_watch).unwrap();
        let broken = run("broken", holes, &mut watch).unwrap();
        assert_eq!(plan(&broken), plan(&whole), "{accumulate}");
        let frees = |watch: &Firsts| -> Vec<bool> {
            let firsts = watch.0.iter();
            firsts.map(|(_, rates)| rates[0] > 0.0).collect()
        };
        assert_eq!(frees(&watch), [false, true, true]);
        assert_eq!(frees(&whole_watch), frees(&watch));
        let few = |watch: &Firsts| -> Vec<String> {
            let notices = watch.1.0.iter();
            notices.filter(|n| n.contains("planned")).cloned().collect()
        };
        assert_eq!(few(&whole_watch), Vec::<String>::new());
        assert_eq!(few(&watch).len(), 3, "{:?}", watch.1.0);
        if accumulate == 1 {
            let expected =
                "epoch 1: 7 steps were made and 12 planned, as 5 images could not be read";
            assert_eq!(few(&watch)[0], expected);
        }
        let told = watch.1.0.iter();
        let told = told.filter(|n| n.starts_with("left out of training: "));
        assert_eq!(told.count(), holes.len());

        // Interrupted in the middle of the second epoch.
        let stopped = run("stopped", holes, &mut StopAfter(9));
        assert!(matches!(stopped, Err(Error::Interrupted { .. })));
        same_run(&broken, &go_on("stopped", holes, None).unwrap());

        let whole = go_on("whole", &[], Some(5)).unwrap();
        let broken = go_on("broken", holes, Some(5)).unwrap();
        assert_eq!(plan(&broken), plan(&whole), "{accumulate}");
        let config = RunConfig::open(broken.dir()).unwrap();
        assert_eq!(config.extended[0].from_step, 3 * 12 / accumulate);
    }
}

/// Added epochs are asked for their own schedule over their own length.
#[test]
fn added_epochs_tell_of_a_schedule_that_is_too_long_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let step: Schedule = "step:30".parse().unwrap();
    let told = |notices: &Notices| {
        let notices = notices.0.iter();
        notices.filter(|n| n.contains("the rate falls")).count()
    };
    let mut notices = Notices::default();
    let recipe = Recipe::feature_extraction()
        .epochs(1)
        .batch_size(32)
        .schedule(step.clone());
    let first = dir.path().join("step");
    fit(&recipe, &first, &mut notices).unwrap();
    assert_eq!(told(&notices), 1);
    copy(&first, &dir.path().join("cosine"));
    for (name, schedule, expected) in [("cosine", Schedule::cosine(), 0), ("step", step, 1)] {
        let options = FitOptions {
            extend: Some(Extension {
                epochs: 2,
                schedule: Some(schedule),
                learning_rate: None,
            }),
            ..quiet()
        };
        let mut notices = Notices::default();
        extend(&dir.path().join(name), options, &mut notices).unwrap();
        assert_eq!(told(&notices), expected, "{name}: {:?}", notices.0);
    }
}

/// What a run is doing is not changed under way, and a run that has ended says so.
#[test]
fn only_a_finished_run_is_extended() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let recipe = everything().epochs(2);
    fit(&recipe, &run, &mut StopAfter(4)).unwrap_err();
    let error = extend(&run, extended(4), &mut ()).unwrap_err().to_string();
    assert!(
        error.starts_with("epochs: expected the run's own 2") && error.ends_with("found 4"),
        "{error}"
    );
    assert_eq!(
        extend(&run, extended(2), &mut ()).unwrap().epochs().len(),
        2
    );

    let mut notices = Notices::default();
    let again = extend(&run, quiet(), &mut notices).unwrap();
    assert_eq!(again.epochs().len(), 2);
    let told = &notices.0[..];
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["finished after 2 of 2 epochs", "best: epoch ", "--epochs N"] {
        assert!(told[0].contains(part), "{told:?}");
    }
    let (train, valid) = images();
    let new = dir.path().join("new");
    let error = recipe.fit_with(model(), train, valid, &new, extended(4), &mut ());
    assert!(error.unwrap_err().to_string().starts_with("extend: "));
    assert!(!new.exists());
}

/// The recipes that bring their own rates go on with those of their last stretch.
#[test]
fn recipes_with_their_own_rates_are_extended() {
    let dir = tempfile::tempdir().unwrap();
    for (name, recipe, rate) in [
        ("fine-tune", Recipe::fine_tune(), 1e-3),
        (
            "backbone",
            Recipe::backbone_finetuning().unfreeze("backbone:1".parse().unwrap()),
            1e-3,
        ),
    ] {
        let run = dir.path().join(name);
        fit(&recipe.epochs(2).batch_size(64), &run, &mut ()).unwrap();
        let more = extend(&run, extended(3), &mut ()).unwrap();
        let added = &RunConfig::open(&run).unwrap().extended[0];
        assert_eq!(added.learning_rate, rate, "{name}");
        let last = &more.epochs()[2];
        assert!(
            last.rates["stage1"] > 0.0 && last.rates["head"] > last.rates["stage1"],
            "{name}"
        );
        assert_eq!(last.frozen, "nothing", "{name}");
    }
}

#[test]
fn other_images_are_no_resumption() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fit(&everything(), &run, &mut StopAfter(4)).unwrap_err();
    let data = FashionMnist::bundled().unwrap();
    let (train, valid) = (Arc::new(data.train()), Arc::new(data.test()));
    let error = resume(&run, &device(), train, valid, quiet(), &mut ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "data: expected 320 training and 100 validation images of 10 classes, found 6000 training \
         and 1000 validation images of 10 classes"
    );
    let error = go_on(dir.path()).unwrap_err().to_string();
    assert!(error.contains("expected a run folder"), "{error}");

    // Classes that are new and gone, or in another order, are named.
    let (train, valid) = images();
    let renamed = |data: &ImageSet, classes: Vec<String>| {
        let pixels = (0..data.len()).flat_map(|i| data.pixels(i).unwrap().to_vec());
        let labels = data.labels().to_vec();
        Arc::new(ImageSet::new(pixels.collect(), labels, (28, 28), 1, classes).unwrap())
    };
    let refused = |classes: Vec<String>| {
        let data = (renamed(&train, classes.clone()), renamed(&valid, classes));
        let error = resume(&run, &device(), data.0, data.1, quiet(), &mut ());
        error.unwrap_err().to_string()
    };
    let mut classes: Vec<String> = FashionMnist::CLASSES.map(str::to_owned).to_vec();
    let old = std::mem::replace(&mut classes[3], "Gown".to_owned());
    let error = refused(classes.clone());
    assert!(
        error.contains(&format!("gone `{old}`; new `Gown`")),
        "{error}"
    );
    classes[3] = classes[4].clone();
    classes[4] = old.clone();
    let error = refused(classes);
    assert!(
        error.contains("another order, class 3 being `Coat`"),
        "{error}"
    );
}

/// Damage is named, with its file.
#[test]
fn a_damaged_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fit(&everything(), &run, &mut StopAfter(4)).unwrap_err();
    let checkpoint = RunConfig::newest_checkpoint(&run).unwrap().unwrap();
    for name in ["state.json", "optimizer.bpk", "model.safetensors"] {
        let path = checkpoint.join(name);
        let bytes = std::fs::read(&path).unwrap();
        for damaged in [&bytes[..bytes.len() / 2], &[], b"\xff\x00nonsense"] {
            std::fs::write(&path, damaged).unwrap();
            let error = go_on(&run).unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
        }
        std::fs::write(&path, bytes).unwrap();
    }
    // One bit of the optimiser's state, wherever it is: burn would leave out what it does not know.
    let path = checkpoint.join("optimizer.bpk");
    let bytes = std::fs::read(&path).unwrap();
    for at in [40, bytes.len() / 3, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        std::fs::write(&path, damaged).unwrap();
        let error = go_on(&run).unwrap_err().to_string();
        assert!(
            error.contains("optimizer.bpk") && error.contains("damaged"),
            "{error}"
        );
    }
    std::fs::write(&path, bytes).unwrap();
    go_on(&run).unwrap();
}

#[test]
fn the_newest_and_the_best_checkpoints_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    let recipe = Recipe::full()
        .epochs(6)
        .batch_size(64)
        .metric(Metric::ValidLoss)
        .checkpoints(Checkpoints {
            last: 2,
            best: 2,
            every_steps: Some(2),
        });
    let run = fit(&recipe, &dir, &mut ()).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(dir.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    // Five steps an epoch, every second of all steps, and the end of each epoch.
    let mut order: Vec<&EpochRecord> = run.epochs().iter().collect();
    order.sort_by(|a, b| a.valid_loss.total_cmp(&b.valid_loss));
    let mut expected = vec![
        format!("epoch-{:04}", order[0].epoch),
        format!("epoch-{:04}", order[1].epoch),
        "epoch-0005-batch-0000003".to_owned(),
        "epoch-0006".to_owned(),
    ];
    assert_eq!(order[0].epoch, run.best().epoch);
    expected.sort();
    expected.dedup();
    assert_eq!(names, expected);
}

#[test]
fn early_stopping_waits_and_gives_the_best_back() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    // Nothing counts as an improvement after the first epoch.
    let recipe = Recipe::full()
        .epochs(20)
        .batch_size(64)
        .early_stopping(EarlyStopping {
            min_delta: 1.0,
            ..EarlyStopping::new(2)
        });
    let mut notices = Notices::default();
    let run = fit(&recipe, &dir, &mut notices).unwrap();
    assert_eq!(run.epochs().len(), 3);
    let told = notices.0.last().unwrap();
    let best = format!("the model is that of epoch {}", run.best().epoch);
    for part in [
        "early stopping after epoch 3 of 20",
        "valid_accuracy",
        "2 epochs",
        &best,
    ] {
        assert!(told.contains(part), "{told}");
    }
    let best = run
        .epochs()
        .iter()
        .map(|e| e.valid_accuracy)
        .fold(0.0, f64::max);
    assert_eq!(run.best().valid_accuracy, best);
    // A run that stopped early has nothing to go on with.
    assert_eq!(go_on(&dir).unwrap().epochs().len(), 3);
    // Asked to train on, it waits anew.
    let mut notices = Notices::default();
    let run = extend(&dir, extended(12), &mut notices).unwrap();
    assert_eq!(run.epochs().len(), 6);
    assert!(
        notices.0[0].contains("epochs: 3 done, 9 added"),
        "{:?}",
        notices.0
    );
    assert!(notices.0[0].contains("waits anew"), "{:?}", notices.0);
}

/// Hooks may freeze and stop.
#[test]
fn a_monitor_has_a_say() {
    struct Choose {
        frozen: Vec<String>,
    }
    impl Monitor for Choose {
        fn epoch_started(
            &mut self,
            epoch: &EpochStart<'_>,
            control: &mut Control,
        ) -> burn_zoo::Result<()> {
            if epoch.epoch == 2 {
                control.freeze(Freeze::up_to("stage3"));
            }
            Ok(())
        }
        fn epoch_finished(
            &mut self,
            epoch: &EpochEnd<'_>,
            control: &mut Control,
        ) -> burn_zoo::Result<()> {
            self.frozen.push(epoch.record.frozen.clone());
            if epoch.record.epoch == 3 {
                control.stop();
            }
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut choose = Choose { frozen: Vec::new() };
    let recipe = Recipe::full().epochs(9).batch_size(64);
    let run = fit(&recipe, &dir.path().join("run"), &mut choose).unwrap();
    assert_eq!(choose.frozen, ["nothing", "up-to:stage3", "up-to:stage3"]);
    assert_eq!(run.epochs().len(), 3);
    let rates = &run.epochs()[2].rates;
    assert!(rates["stage3"] == 0.0 && rates["stage4"] > 0.0 && rates["head"] > 0.0);

    // An unknown group is an error at once.
    struct Wrong;
    impl Monitor for Wrong {
        fn epoch_started(
            &mut self,
            _: &EpochStart<'_>,
            control: &mut Control,
        ) -> burn_zoo::Result<()> {
            control.freeze(Freeze::up_to("stage9"));
            Ok(())
        }
    }
    let error = fit(&recipe, &dir.path().join("wrong"), &mut Wrong).unwrap_err();
    assert!(error.to_string().contains("no group `stage9`"), "{error}");
}

/// A run that began again in the folder of an old one and never came to a checkpoint leaves the
/// old one to be found.
#[test]
fn what_an_overwriting_run_writes_never_mixes_with_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    let recipe = Recipe::full().epochs(1).batch_size(64);
    fit(&recipe, &dir, &mut ()).unwrap();
    let (train, valid) = images();
    let options = FitOptions {
        overwrite: true,
        ..quiet()
    };
    let recipe = recipe.epochs(2);
    let run = recipe.fit_with(model(), train, valid, &dir, options, &mut ());
    assert_eq!(run.unwrap().epochs().len(), 2);
    assert_eq!(read(&dir.join("log.jsonl")).lines().count(), 2);
    let names: Vec<PathBuf> = std::fs::read_dir(dir.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(names, [dir.join("checkpoints/epoch-0002")]);
    let hidden = std::fs::read_dir(&dir).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(hidden.count(), 0);
}

/// A finished run that is to be replaced stays aside until an epoch of the new one is over, however often
/// that begins, stops and goes on.
#[test]
fn a_replaced_run_stays_until_the_new_one_has_an_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    let recipe = Recipe::full().epochs(1).batch_size(16);
    fit(&recipe, &dir, &mut ()).unwrap();
    let finished = std::fs::read(dir.join("best/model.safetensors")).unwrap();
    let begin = || {
        let (train, valid) = images();
        let options = FitOptions {
            overwrite: true,
            ..quiet()
        };
        let stopped = recipe.fit_with(model(), train, valid, &dir, options, &mut StopAfter(2));
        assert!(matches!(stopped, Err(Error::Interrupted { .. })));
    };
    begin();
    let (train, valid) = images();
    let device = Device::default();
    let again = resume(&dir, &device, train, valid, quiet(), &mut StopAfter(1));
    assert!(matches!(again, Err(Error::Interrupted { .. })));
    begin();
    let aside = dir.join(".previous/best/model.safetensors");
    assert!(std::fs::read(aside).unwrap() == finished);
}

/// Who comes second into a run folder is refused, whether to replace the run or to go on with it,
/// and the first run does not notice.
#[test]
fn a_run_folder_has_one_writer() {
    struct Second {
        dir: PathBuf,
        refused: Vec<String>,
    }
    impl Monitor for Second {
        fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
            // Before the first checkpoint and after it.
            if step.step == 1 {
                let (train, valid) = images();
                let overwrite = FitOptions {
                    overwrite: true,
                    ..quiet()
                };
                let recipe = Recipe::full().epochs(1).batch_size(64);
                for result in [
                    recipe.fit_with(model(), train, valid, &self.dir, overwrite, &mut ()),
                    go_on(&self.dir),
                ] {
                    let error = result.unwrap_err();
                    assert!(matches!(error, Error::Folder { .. }), "{error:?}");
                    self.refused.push(error.to_string());
                }
                assert!(Run::check_folder(&self.dir, true).is_err());
            }
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let recipe = Recipe::full().epochs(2).batch_size(64);
    let alone = fit(&recipe, &dir.path().join("alone"), &mut ()).unwrap();
    let mut second = Second {
        dir: dir.path().join("run"),
        refused: Vec::new(),
    };
    let run = fit(&recipe, &dir.path().join("run"), &mut second).unwrap();
    assert_eq!(second.refused.len(), 4);
    for text in &second.refused {
        assert!(text.contains(second.dir.to_str().unwrap()), "{text}");
        assert!(text.contains("another process"), "{text}");
    }
    same_run(&alone, &run);
    // The folder is free again, though the run is still at hand.
    same_run(&run, &go_on(&second.dir).unwrap());
}

/// A file that was being written when a process was killed neither stands in the way nor stays.
#[test]
fn what_a_kill_left_of_a_file_goes_away() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let left = run.join(".burn-zoo-Xy12ab");
    let recipe = Recipe::full().epochs(2).batch_size(64);
    std::fs::create_dir(&run).unwrap();
    std::fs::write(&left, "half a li").unwrap();
    fit(&recipe, &run, &mut StopAfter(7)).unwrap_err();
    assert!(!left.exists());
    std::fs::write(&left, "half a li").unwrap();
    go_on(&run).unwrap();
    assert!(!left.exists());
}

const TUNE: [&str; 22] = [
    "finetune",
    "test_resnet",
    "--recipe",
    "gradual",
    "--epochs",
    "3",
    "--limit-train",
    "320",
    "--limit-test",
    "100",
    "--batch-size",
    "16",
    "--lr",
    "3e-3",
    "--ema",
    "0.9",
    "--augment",
    "flip-crop",
    "--checkpoint-steps",
    "3",
    "--no-report",
    "--out",
];

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-zoo"));
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn finish(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn epochs(dir: &Path) -> Vec<EpochRecord> {
    let text = read(&dir.join("log.jsonl"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Killed ten times at moments all over the run, among them many writes of checkpoints (there is
/// one every third step), the run goes on each time and ends as if nothing had been.
#[test]
fn a_run_survives_being_killed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let whole = at("whole");
    let began = Instant::now();
    let (code, errors) = finish(
        command(&[&TUNE[..], &[whole.as_str()]].concat())
            .spawn()
            .unwrap(),
    );
    assert_eq!(code, Some(0), "{errors}");
    let length = began.elapsed();

    let broken = at("broken");
    let mut kills = 0;
    // Odd parts of the run's length: each falls at another place of a step.
    for (turn, part) in [0.15, 0.31, 0.23, 0.37, 0.29, 0.41, 0.19, 0.33, 0.27, 0.43]
        .into_iter()
        .enumerate()
    {
        let resumable = RunConfig::newest_checkpoint(&broken).is_ok_and(|found| found.is_some());
        let mut child = match resumable {
            true => command(&["finetune", "--no-report", "--resume", &broken])
                .spawn()
                .unwrap(),
            // Killed before there was any checkpoint, it can only start again.
            false => {
                let _ = std::fs::remove_dir_all(&broken);
                command(&[&TUNE[..], &[broken.as_str()]].concat())
                    .spawn()
                    .unwrap()
            }
        };
        std::thread::sleep(length.mul_f64(part * (1.0 + turn as f64 / 100.0)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        let (code, errors) = finish(child);
        assert!(code.is_none() || code == Some(0), "{errors}");
        // Whatever there is at this moment can be read.
        if let Some(checkpoint) = RunConfig::newest_checkpoint(&broken).unwrap_or_default() {
            Classifier::open(&checkpoint, &Device::default()).unwrap();
        }
    }
    assert!(kills >= 3, "the run was too short to be killed: {kills}");
    let resumable = RunConfig::newest_checkpoint(&broken).is_ok_and(|found| found.is_some());
    let last = if resumable {
        command(&["finetune", "--no-report", "--resume", &broken])
    } else {
        command(&[&TUNE[..], &[broken.as_str(), "--overwrite"]].concat())
    };
    let (code, errors) = finish({ last }.spawn().unwrap());
    assert_eq!(code, Some(0), "{errors}");

    let (whole, broken) = (Path::new(&whole), Path::new(&broken));
    assert_eq!(figures(&epochs(whole)), figures(&epochs(broken)));
    assert_eq!(
        read(&whole.join("steps.csv")),
        read(&broken.join("steps.csv"))
    );
    for part in [
        "best",
        "checkpoints/epoch-0003",
        "checkpoints/epoch-0003/ema",
    ] {
        let open = |dir: &Path| {
            let model = Classifier::open(dir.join(part), &Device::default()).unwrap();
            model.state_dict().unwrap()
        };
        let (a, b) = (open(whole), open(broken));
        for (name, tensor) in &a {
            let pairs = tensor.data.iter().zip(&b[name].data);
            let apart = pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(apart <= 1e-6, "{part}, {name}: {apart}");
        }
    }
    let left: Vec<String> = std::fs::read_dir(broken.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, ["epoch-0003"]);
}

/// One Ctrl-C writes down where the run stands; the command that goes on from there is the one
/// that it names.
#[test]
fn ctrl_c_and_resume_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let run = out.to_str().unwrap();
    let child = command(&[&TUNE[..], &[run, "--overwrite"]].concat())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while RunConfig::newest_checkpoint(&out).is_ok_and(|found| found.is_none()) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let (code, errors) = finish(child);
    assert_eq!(code, Some(130), "{errors}");
    assert!(errors.contains(&format!(
        "`burn-zoo finetune --resume {run}` goes on from there"
    )));
    let (code, errors) = finish(command(&["finetune", "--resume", run]).spawn().unwrap());
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(epochs(&out).len(), 3);
    assert!(out.join("report.html").is_file());
    // It needs nothing else, and takes nothing else that would change the run.
    for more in [
        &["resnet18"][..],
        &["--batch-size", "9"],
        &["--limit-test", "5"],
        &["--weights", "random"],
        &["--stem", "sum"],
        &["--against", "random"],
        &["--out", "elsewhere"],
        &["--lr", "0.1"],
    ] {
        let resume = [&["finetune", "--resume", run][..], more].concat();
        let (code, errors) = finish(command(&resume).spawn().unwrap());
        assert_eq!(code, Some(2), "{more:?}: {errors}");
        let name = if more.len() == 1 { "MODEL" } else { more[0] };
        let expected = format!("error: {name} cannot be used with --resume");
        assert!(errors.starts_with(&expected), "{errors}");
    }
    let more = [
        "finetune",
        "--no-report",
        "--resume",
        run,
        "--epochs",
        "4",
        "--schedule",
        "linear",
    ];
    let (code, errors) = finish(command(&more).spawn().unwrap());
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        errors.contains("epochs: 3 done, 1 added, 4 in all; schedule linear"),
        "{errors}"
    );
    assert_eq!(epochs(&out).len(), 4);
}

/// Where files cannot grow beyond a limit, the run ends with an error that names the file, and the
/// checkpoint before it is whole.
#[test]
fn a_full_disk_leaves_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let run = out.to_str().unwrap();
    let tune = [
        "finetune",
        "test_resnet",
        "--epochs",
        "3",
        "--limit-train",
        "320",
        "--limit-test",
        "100",
        "--tensorboard",
        "off",
        "--no-report",
        "--out",
        run,
    ];
    // A whole run tells how large its files become.
    let (code, errors) = finish(command(&tune).spawn().unwrap());
    assert_eq!(code, Some(0), "{errors}");
    let state = out.join("checkpoints/epoch-0003/optimizer.bpk");
    let blocks = std::fs::metadata(&state).unwrap().len() / 1024 - 50;

    // Another one is killed after its first checkpoint; then the disk has no room for a second.
    std::fs::remove_dir_all(&out).unwrap();
    let mut child = command(&tune).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while RunConfig::newest_checkpoint(&out).is_ok_and(|found| found.is_none()) || !out.exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    finish(child);
    let checkpoint = RunConfig::newest_checkpoint(&out).unwrap().unwrap();
    let script = format!(
        "trap '' XFSZ; ulimit -f {blocks}; exec {} finetune --no-report --tensorboard off --resume {run}",
        env!("CARGO_BIN_EXE_burn-zoo")
    );
    let child = Command::new("bash")
        .args(["-c", &script])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (code, errors) = finish(child);
    assert_eq!(code, Some(1), "{errors}");
    assert!(
        errors.contains("optimizer.bpk") && errors.contains("File too large"),
        "{errors}"
    );
    assert_eq!(
        RunConfig::newest_checkpoint(&out).unwrap(),
        Some(checkpoint)
    );
    let (code, errors) = finish(
        command(&["finetune", "--no-report", "--resume", run])
            .spawn()
            .unwrap(),
    );
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(epochs(&out).len(), 3);
}
