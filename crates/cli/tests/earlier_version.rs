//! Folders that an earlier version of the command wrote: a run that was stopped within its second
//! epoch, and an exported model. `tests/fixtures/run-0.1` has them as they were written, by
//!
//! ```text
//! burn-zoo --threads 2 finetune test_vit --recipe gradual --image-size 160 --limit-train 240 \
//!     --limit-test 40 --epochs 5 --batch-size 16 --in-channels 1 --seed 3 --no-report \
//!     --tensorboard off --out interrupted
//! burn-zoo export full exported
//! ```
//!
//! and the log of the same run when it was not stopped. Another machine rounds differently, so that
//! values are compared within a tolerance here; `tests/campaigns/hashes.sh` compares them to the bit.

#[path = "../../../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;

use common::fixture;
use serde_json::Value;

/// Runs and expects success; standard output.
fn run(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
        .args(arguments)
        .env("BURN_DEVICE", "flex")
        .current_dir(dir)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// The values of a log by column, but for the two that tell how fast the machine is.
fn rows(log: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(log).unwrap();
    let row = |line: &str| {
        let values = line.split(',').enumerate();
        let values = values.filter(|(column, _)| ![8, 9].contains(column));
        values.map(|(_, value)| value.to_owned()).collect()
    };
    text.lines().map(row).collect()
}

#[test]
fn a_run_of_before_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let resumed = dir.path().join("run");
    copy(&fixture("run-0.1/interrupted"), &resumed);
    let before = rows(&resumed.join("log.csv"));
    run(
        dir.path(),
        &["--threads", "2", "finetune", "--resume", "run"],
    );

    let (found, expected) = (
        rows(&resumed.join("log.csv")),
        rows(&fixture("run-0.1/finished_log.csv")),
    );
    assert_eq!(found.len(), expected.len());
    assert_eq!(found[..before.len()], before);
    for (found, expected) in found.iter().zip(&expected) {
        for (column, (found, expected)) in found.iter().zip(expected).enumerate() {
            match (found.parse::<f64>(), expected.parse::<f64>()) {
                // Losses and the rate; another rounding may move one of the 40 images, too.
                (Ok(found), Ok(expected)) => {
                    let tolerance = if [1, 3, 7].contains(&column) {
                        1e-3
                    } else {
                        0.051
                    };
                    assert!((found - expected).abs() <= tolerance, "{found} {expected}");
                }
                _ => assert_eq!(found, expected),
            }
        }
    }

    // It was validated on test images, and stays what it was.
    let config = std::fs::read_to_string(resumed.join("config.toml")).unwrap();
    assert!(config.contains("splits_fashion_mnist = false"), "{config}");
    for part in ["val", "test"] {
        let found = run(dir.path(), &["eval", "run", "--part", part, "--json"]);
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(
            (&found["images"], &found["of"], &found["part"]),
            (&40.into(), &1000.into(), &"test".into())
        );
    }
    let output = Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
        .args(["finetune", "--resume", "run", "--test"])
        .env("BURN_DEVICE", "flex")
        .current_dir(dir.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("--test: expected test images by which nothing is chosen"),
        "{errors}"
    );
}

#[test]
fn an_export_of_before_opens() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixture("run-0.1/exported");
    let arguments = [
        "eval",
        model.to_str().unwrap(),
        "--data",
        "fashion-mnist-mini",
    ];
    let rest = ["--limit-test", "40", "--json"];
    let found: Value =
        serde_json::from_str(&run(dir.path(), &[&arguments[..], &rest].concat())).unwrap();
    assert_eq!(found["images"], 40);
    let loss = found["loss"].as_f64().unwrap();
    // As the log of the run that it was exported from has it.
    assert!((loss - 2.104923057556152).abs() < 1e-4, "{loss}");
}
