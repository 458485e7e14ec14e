//! What a run writes for TensorBoard, read by TensorBoard: `BURN_ZOO_PYTHON` names a Python with
//! tensorboard and Pillow.
//!
//! `BURN_ZOO_PYTHON=python cargo test --release --test run_events -- --ignored`

#![cfg(all(feature = "fashion-mnist-mini", feature = "tensorboard"))]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use burn_zoo::data::ImageSet;
use burn_zoo::prelude::*;
use burn_zoo::report::tensorboard::TensorBoardMonitor;
use burn_zoo::train::{Control, EmaConfig, FitOptions, Monitor, Monitors, Run, StepRecord, resume};
use serde_json::{Value, json};

fn images() -> (Arc<ImageSet>, Arc<ImageSet>) {
    let data = FashionMnist::bundled().unwrap();
    let parts = (data.train().take_first(320), data.test().take_first(100));
    (Arc::new(parts.0), Arc::new(parts.1))
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

/// A run of three epochs of ten steps, interrupted in the second.
fn interrupted_run(dir: &Path, events: impl Fn() -> TensorBoardMonitor) -> Run {
    let device = Device::default().autodiff();
    let spec = Zoo::test_resnet().weights(Weights::Random(7)).adapt(1, 10);
    let recipe = Recipe::gradual()
        .epochs(3)
        .batch_size(32)
        .learning_rate(3e-3)
        .ema(EmaConfig::new(0.9));
    let (train, valid) = images();
    let model = spec.build(&device).unwrap();
    let options = FitOptions::default();
    let mut monitors = Monitors(vec![Box::new(events()), Box::new(StopAfter(14))]);
    let stopped = recipe.fit_with(model, train, valid, dir, options.clone(), &mut monitors);
    stopped.unwrap_err();
    let (train, valid) = images();
    resume(dir, &device, train, valid, options, &mut events()).unwrap()
}

fn files(dir: &Path) -> usize {
    match std::fs::read_dir(dir) {
        Err(_) => 0,
        Ok(entries) => entries
            .filter(|e| {
                e.as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .contains("tfevents")
            })
            .count(),
    }
}

#[test]
fn event_files_go_where_they_are_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // One when the run began, one when it went on.
    interrupted_run(&at("own"), TensorBoardMonitor::default);
    assert_eq!(files(&at("own/tensorboard")), 2);
    interrupted_run(&at("other"), || TensorBoardMonitor::new(at("boards/a")));
    assert_eq!(
        (files(&at("boards/a")), files(&at("other/tensorboard"))),
        (2, 0)
    );
}

#[test]
#[ignore = "takes a Python with tensorboard in BURN_ZOO_PYTHON"]
fn tensorboard_shows_a_whole_run() {
    let python = std::env::var_os("BURN_ZOO_PYTHON").expect("BURN_ZOO_PYTHON is not set");
    let dir = tempfile::tempdir().unwrap();
    let run = interrupted_run(&dir.path().join("run"), TensorBoardMonitor::default);
    let script = common::fixture("tensorboard_check.py");
    let output = Command::new(python)
        .arg(script)
        .arg(run.dir().join("tensorboard"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let scalars = &found["accumulator"]["scalars"];

    let groups = ["stem", "stage1", "stage2", "stage3", "stage4", "head"];
    let mut tags = vec![
        "loss/train",
        "loss/valid",
        "loss/step",
        "accuracy/train",
        "accuracy/valid",
        "accuracy/valid_top5",
        "accuracy/valid_balanced",
        "accuracy/valid_not_averaged",
        "speed/images_per_second",
        "speed/epoch_seconds",
        "gradient_norm",
        "epoch",
        "hparam/accuracy",
        "hparam/loss",
        "memory/resident_bytes",
        "memory/peak_bytes",
    ];
    let rates: Vec<String> = groups.iter().map(|group| format!("rate/{group}")).collect();
    tags.extend(rates.iter().map(String::as_str));
    tags.sort();
    let mut listed: Vec<&str> = scalars
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    listed.sort();
    assert_eq!(listed, tags);

    // The values are those of the log, each once, at the steps where the epochs ended.
    let of_epochs = |value: fn(&burn_zoo::train::EpochRecord) -> f64| -> Value {
        let points = run
            .epochs()
            .iter()
            .map(|e| json!([10 * e.epoch, f64::from(value(e) as f32)]));
        points.collect()
    };
    assert_eq!(scalars["loss/train"], of_epochs(|e| e.train_loss));
    assert_eq!(scalars["loss/valid"], of_epochs(|e| e.valid_loss));
    assert_eq!(scalars["accuracy/valid"], of_epochs(|e| e.valid_accuracy));
    assert_eq!(
        scalars["accuracy/valid_not_averaged"],
        of_epochs(|e| e.raw_valid_accuracy.unwrap())
    );
    assert_eq!(scalars["epoch"], of_epochs(|e| e.epoch as f64));
    assert_eq!(
        scalars["memory/peak_bytes"],
        of_epochs(|e| e.memory.peak.unwrap() as f64)
    );
    let last: Vec<f64> = groups
        .iter()
        .map(|group| scalars[format!("rate/{group}")][2][1].as_f64().unwrap())
        .collect();
    let rates = &run.epochs()[2].rates;
    for (group, rate) in groups.iter().zip(last) {
        assert!((rate / rates[*group] - 1.0).abs() < 1e-6, "{group}");
    }
    let steps: Vec<i64> = scalars["loss/step"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p[0].as_i64().unwrap())
        .collect();
    assert_eq!(steps, [10, 20, 30]);

    // Weights of all groups, gradients of those that train, pictures, the model and the recipe.
    let histograms = &found["accumulator"]["histograms"];
    for group in groups {
        assert_eq!(
            histograms[format!("weights/{group}")]
                .as_array()
                .unwrap()
                .len(),
            3,
            "{group}"
        );
    }
    assert_eq!(histograms["gradients/head"].as_array().unwrap().len(), 3);
    assert_eq!(histograms["gradients/stem"].as_array().unwrap().len(), 1);
    let images = &found["accumulator"]["images"];
    assert_eq!(images["images/predictions"].as_array().unwrap().len(), 3);
    assert!(!images["images/input"].as_array().unwrap().is_empty());
    let nodes = found["accumulator"]["graph"].as_array().unwrap();
    assert!(
        nodes.contains(&json!("input")) && nodes.contains(&json!("head/fc")),
        "{nodes:?}"
    );
    for board in ["multiplexer", "data_server"] {
        let board = &found[board];
        if board.is_null() {
            continue;
        }
        assert_eq!(board["scalars"]["./loss/valid"], scalars["loss/valid"]);
        let session = &board["hparams"]["sessions"][0];
        assert_eq!(session["status"], "STATUS_SUCCESS", "{board}");
        assert_eq!(session["hparams"]["batch_size"], 32.0);
        assert_eq!(session["hparams"]["architecture"], "test_resnet");
        let best = run.best();
        let accuracy = json!([10 * best.epoch, f64::from(best.valid_accuracy as f32)]);
        assert_eq!(session["metrics"]["hparam/accuracy"], accuracy);
    }
}
