//! Every example runs, on the bundled sample, and prints what it says it prints.
#![cfg(all(feature = "flex", feature = "fashion-mnist-mini"))]

use std::path::PathBuf;
use std::process::{Command, Output};

/// `cargo test` builds the examples beside the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    test.ancestors().nth(2).unwrap().join("examples").join(name)
}

/// Runs an example in a folder of its own.
fn start(name: &str, arguments: &[&str]) -> (Output, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(example(name))
        .args(arguments)
        .current_dir(dir.path())
        .env("BURN_DEVICE", "flex")
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    (output, dir)
}

/// What an example printed, and the folder in which it ran.
fn run(name: &str, arguments: &[&str]) -> (String, tempfile::TempDir) {
    let (output, dir) = start(name, arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {text}{errors}");
    (text, dir)
}

#[test]
fn quick_start() {
    let (text, dir) = run("quick_start", &["256", "1"]);
    assert!(text.starts_with("epoch 1: validation accuracy "), "{text}");
    assert!(text.contains("\ntest accuracy ") && text.contains(" over 1000 images\n"));
    assert!(text.ends_with("timm opens quick-start-model\n"), "{text}");
    assert!(
        dir.path()
            .join("quick-start-model/model.safetensors")
            .is_file()
    );
    assert!(dir.path().join("runs/quick-start/log.jsonl").is_file());
}

#[test]
fn a_word_that_is_not_used_is_an_error() {
    let whole = "a whole number";
    for (name, arguments, expected) in [
        (
            "quick_start",
            &["54oo"][..],
            ["TRAINING_IMAGES", whole, "54oo"],
        ),
        ("quick_start", &["64", "1.5"], ["EPOCHS", whole, "1.5"]),
        (
            "quick_start",
            &["64", "1", "x"],
            ["arguments", "TRAINING_IMAGES EPOCHS", "x"],
        ),
        (
            "lora",
            &["hub"],
            [
                "WEIGHTS",
                "random, or bundled with the feature bundled-weights",
                "hub",
            ],
        ),
        (
            "speedrun_fashion_mnist",
            &["1", "fast", "mini", "x"],
            ["EPOCHS", whole, "x"],
        ),
    ] {
        let (output, dir) = start(name, arguments);
        let [argument, accepted, found] = expected;
        let message = format!("Error: {argument}: expected {accepted}, found {found}\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), message);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn feature_extraction() {
    let (text, _dir) = run("feature_extraction", &["random", "256"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "what trains: head.fc.weight, head.fc.bias");
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines[3].starts_with("epoch 3: validation accuracy "),
        "{text}"
    );
    assert!(lines[4].starts_with("test accuracy "), "{text}");
}

#[test]
fn multi_label() {
    let (text, dir) = run("multi_label", &["random", "256"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3 + 1 + 4 + 5, "{text}");
    assert!(lines[2].starts_with("epoch 3: validation mAP "), "{text}");
    assert!(
        lines[3].starts_with("test mAP ") && lines[3].contains("macro F1 "),
        "{text}"
    );
    assert!(lines[4].starts_with("upper body: from 0."), "{text}");
    assert!(
        dir.path()
            .join("runs/multi-label/best/config.json")
            .is_file()
    );
}

#[test]
fn lora() {
    let (text, dir) = run("lora", &["random", "256"]);
    assert!(text.starts_with("epoch 1: validation accuracy "), "{text}");
    assert!(text.contains("\nlora:rank=4,alpha=8: "), "{text}");
    assert!(text.ends_with("timm opens lora-model\n"), "{text}");
    let exported = |name: &str| dir.path().join("lora-model").join(name).is_file();
    assert!(exported("model.safetensors") && !exported("adapter_config.json"));
    let best = dir.path().join("runs/lora/best");
    assert!(best.join("adapter_model.safetensors").is_file());
}

#[test]
fn model_parallel() {
    let (output, dir) = start("model_parallel", &["cpu", "cpu", "64"]);
    let [text, progress] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{text}{progress}");
    assert!(text.starts_with("groups: stem, stage1, "), "{text}");
    let lines: Vec<&str> = progress.lines().collect();
    assert!(
        lines[1].starts_with("epoch 2: validation accuracy "),
        "{progress}"
    );
    assert!(lines[1].ends_with(" s") && lines.len() == 2, "{progress}");
    assert!(dir.path().join("runs/model-parallel/log.jsonl").is_file());
}

#[test]
fn fine_tune_fashion_mnist() {
    let arguments = ["test_resnet", "2", "mini", "256"];
    let (text, dir) = run("fine_tune_fashion_mnist", &arguments);
    assert!(text.starts_with("images from "), "{text}");
    assert!(text.contains("\nbest: epoch "), "{text}");
    assert!(text.contains("\ntest accuracy "), "{text}");
    assert!(
        dir.path()
            .join("runs/fine-tune-fashion-mnist/best/config.json")
            .is_file()
    );
}

#[test]
fn speedrun_fashion_mnist() {
    let (text, dir) = run("speedrun_fashion_mnist", &["7", "fast", "mini", "2"]);
    assert!(text.contains("\nbest: epoch "), "{text}");
    let last = text.lines().last().unwrap_or_default();
    let start = "seed 7, fast: test accuracy ";
    assert!(
        last.starts_with(start) && last.ends_with(" s from the start"),
        "{text}"
    );
    let accuracy = last[start.len()..].split(' ').next().unwrap();
    assert!(accuracy.parse::<f64>().unwrap() > 50.0, "{text}");
    let best = dir.path().join("runs/speedrun-7-fast/best");
    assert!(best.join("config.json").is_file());
}

#[test]
fn export_and_reload() {
    let (text, dir) = run("export_and_reload", &["folder"]);
    assert_eq!(
        text,
        "folder holds 102 tensors, all the same\nscores [1, 5]\n"
    );
    assert!(dir.path().join("folder/config.json").is_file());
}

#[test]
fn own_images() {
    let (text, _dir) = run("own_images", &["shapes", "30", "2"]);
    let lines: Vec<&str> = text.lines().collect();
    let counts = "3 classes, 72 training and 18 validation images, 20 % for validation by seed 42";
    assert_eq!(lines[0], counts);
    assert!(lines[1].starts_with("best: epoch "), "{text}");
    assert!(lines[2].starts_with("shapes/circle/"), "{text}");
}

#[test]
fn own_loop() {
    let (text, _dir) = run("own_loop", &["256"]);
    let lines: Vec<&str> = text.lines().collect();
    let line = |epoch: usize| format!("epoch {epoch}: validation accuracy 0.");
    assert!(lines[0].starts_with(&line(1)) && lines[0].ends_with("frozen: backbone"));
    assert!(lines[1].starts_with(&line(2)) && lines[1].ends_with("frozen: nothing"));
    assert!(lines[2].starts_with("test accuracy 0."), "{text}");
    assert_eq!(lines[3], "4927186 parameters");
}
