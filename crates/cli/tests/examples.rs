//! The long examples run, made short, and print what they say they print.

use std::path::PathBuf;
use std::process::Command;

/// `cargo test` builds the examples beside the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    test.ancestors().nth(2).unwrap().join("examples").join(name)
}

/// Runs an example in a folder of its own; what it printed, and the folder.
fn run(name: &str, arguments: &[&str]) -> (String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(example(name))
        .args(arguments)
        .current_dir(dir.path())
        .env("BURN_DEVICE", "flex")
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {text}{errors}");
    (text, dir)
}

#[test]
fn pretrain_fractals() {
    let arguments =
        "--model test_resnet --categories 4 --per-category 60 --size 16 --epochs 3 --out run";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let (text, dir) = run("pretrain_fractals", &arguments);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "4 categories, 240 images an epoch");
    assert_eq!(
        lines.last(),
        Some(&"weights: run/bundled/model.safetensors")
    );
    let written = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
    let half = written("run/bundled/model.safetensors") as f64;
    // Matrices take half the room.
    let share = half / written("run/best/model.safetensors") as f64;
    assert!((0.5..0.56).contains(&share), "{share}");
}

#[test]
fn bundled_against_random() {
    let arguments = "--data mini --per-class 5 --recipes features --seeds 1,2 --out results.csv";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let (text, dir) = run("bundled_against_random", &arguments);
    let row = text
        .lines()
        .find(|line| line.starts_with("| 5 | features | "));
    let gain = row
        .and_then(|row| row.rsplit('|').nth(1))
        .expect(&text)
        .trim();
    assert!(gain.parse::<f64>().unwrap() > 5.0, "{text}");
    let results = std::fs::read_to_string(dir.path().join("results.csv")).unwrap();
    assert_eq!(results.lines().count(), 5);
    assert!(
        results.contains("\nresnet18,5,features,random,2,0."),
        "{results}"
    );
}
