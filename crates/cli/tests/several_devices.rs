//! `finetune` on several devices and in several processes, a model that is cut, and what memory goes for.

use std::path::Path;
use std::process::{Command, Output};

use burn_zoo::train::RunFiles;
use serde_json::Value;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-zoo"));
    command.args(arguments).env("BURN_DEVICE", "flex");
    for launcher in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"] {
        command.env_remove(launcher);
    }
    command
}

fn succeed(arguments: &[&str]) -> (String, String) {
    let output = command(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    (String::from_utf8(output.stdout).unwrap(), errors)
}

fn fail(command: &mut Command) -> String {
    let output: Output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn finetune<'a>(model: &'a str, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let images = [
        "--data=fashion-mnist-mini",
        "--limit-train=200",
        "--limit-test=60",
        "--epochs=2",
        "--weights=random",
        "--no-report",
        "--out",
        out.to_str().unwrap(),
    ];
    ["finetune", model]
        .into_iter()
        .chain(images)
        .chain(more.iter().copied())
        .collect()
}

#[test]
fn replicas_train_together_and_go_on_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("two");
    let flags = ["--devices=cpu:2", "--batch-size=16", "--sync-batch-norm"];
    let (_, told) = succeed(&finetune("test_resnet", &out, &flags));
    assert!(
        told.contains("2 ranks on ") && told.contains("batches of 16 on each, 32 images a step"),
        "{told}"
    );
    let files = RunFiles::open(&out).unwrap();
    assert_eq!(files.epochs.len(), 2);
    assert_eq!(files.epochs[1].train_images, 200);
    assert_eq!(files.epochs[1].valid_images, 60);
    let config = std::fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(config.contains("sync_batch_norm = true"));

    let folder = out.to_str().unwrap();
    let (text, _) = succeed(&["finetune", "--resume", folder, "--epochs=3", "--no-report"]);
    assert!(text.contains("\n    3  "), "{text}");
    let again = [
        "finetune",
        "--resume",
        folder,
        "--epochs=4",
        "--no-report",
        "--devices=cpu:3",
    ];
    let (text, _) = succeed(&again);
    assert!(text.contains("\n    4  "), "{text}");
}

#[test]
fn a_process_that_cannot_know_the_others_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = finetune("test_resnet", dir.path(), &[]);
    if cfg!(not(feature = "mpi")) {
        for launcher in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] {
            let error = fail(command(&arguments).env(launcher, "2"));
            assert!(
                error.contains(launcher) && error.contains("--features mpi"),
                "{error}"
            );
        }
    }
    // A launcher of one process changes nothing.
    let mut one = command(&arguments);
    assert!(
        one.env("OMPI_COMM_WORLD_SIZE", "1")
            .output()
            .unwrap()
            .status
            .success()
    );

    let error = fail(&mut command(&finetune(
        "test_resnet",
        dir.path(),
        &["--parallel-timeout=5"],
    )));
    assert!(error.contains("--parallel-timeout"), "{error}");
    for wrong in ["cpu:0", "cuda:x", "gpu"] {
        let devices = format!("--devices={wrong}");
        let error = fail(&mut command(&finetune(
            "test_resnet",
            dir.path(),
            &[&devices],
        )));
        assert!(
            error.contains("--devices") && error.contains(wrong),
            "{error}"
        );
    }
}

#[test]
fn a_model_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("cut");
    let cut = "--place=stem..stage2=cpu,stage3..head=cpu";
    succeed(&finetune("test_resnet", &out, &[cut, "--micro-batches=4"]));
    assert_eq!(RunFiles::open(&out).unwrap().epochs.len(), 2);

    for (cut, named) in [
        (
            "--place=stem..stage2=cpu",
            "nothing for stage3, stage4, head",
        ),
        (
            "--place=stem..stage3=cpu,stage3..head=cpu",
            "`stage3` twice",
        ),
        ("--place=stem..head", "GROUPS=DEVICE"),
        ("--place=stem..head=moon", "cuda:N"),
        ("--place=auto:0", "at least 1"),
    ] {
        let out = dir.path().join("wrong");
        let error = fail(&mut command(&finetune("test_resnet", &out, &[cut])));
        assert!(error.contains(named), "{cut}: {error}");
        assert!(!out.exists(), "{cut}");
    }
    let out = dir.path().join("wrong");
    let error = fail(&mut command(&finetune(
        "test_resnet",
        &out,
        &["--micro-batches=2"],
    )));
    assert!(error.contains("--place"), "{error}");
}

#[test]
fn memory_is_told_by_use_and_by_part() {
    let arguments = [
        "info",
        "resnet18",
        "--image-size=96",
        "--num-classes=10",
        "--memory",
        "--batch-size=48",
        "--optimizer=sgd",
        "--place=auto:2",
        "--json",
    ];
    let (text, _) = succeed(&arguments);
    let document: Value = serde_json::from_str(&text).unwrap();
    let memory = &document["memory"];
    let parameters = document["parameters"].as_u64().unwrap();
    assert_eq!(memory["batch_size"], 48);
    assert_eq!(memory["gradients"].as_u64(), Some(4 * parameters));
    // Momentum.
    assert_eq!(memory["optimizer"], memory["gradients"]);
    assert!(memory["parameters"].as_u64().unwrap() > 4 * parameters);
    let bytes = |name: &str| memory[name].as_u64().unwrap() as f64;
    assert!(bytes("activations") > 0.0 && bytes("measured") > 0.0);
    let parts = document["place"].as_array().unwrap();
    assert_eq!(parts.len(), 2);
    let sum = |name: &str| {
        parts
            .iter()
            .map(|part| part[name].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(sum("parameters"), memory["parameters"].as_u64().unwrap());
    assert_eq!(sum("gradients"), memory["gradients"].as_u64().unwrap());
    let activations = memory["activations"].as_u64().unwrap();
    assert!(sum("activations").abs_diff(activations) < 16);

    let plain = [
        "info",
        "test_resnet",
        "--place=stem..stage3=cuda:0,stage4..head=cuda:1",
    ];
    let (text, _) = succeed(&plain);
    assert!(
        text.contains("cuda:1") && text.contains("stage4..head"),
        "{text}"
    );
    let error = fail(&mut command(&[
        "info",
        "test_resnet",
        "--place=stem=cuda:0",
    ]));
    assert!(error.contains("nothing for stage1"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let (text, _) = succeed(&finetune("test_resnet", &out, &["--memory"]));
    let [before, after] = ["memory of cpu", "measured peak"].map(|words| text.find(words).unwrap());
    assert_eq!(text.matches("predicted peak").count(), 2, "{text}");
    assert!(before < text.find("train loss").unwrap() && after > text.find("\n    2  ").unwrap());
    let flags = ["--memory", "--json", "--overwrite"];
    let (text, _) = succeed(&finetune("test_resnet", &out, &flags));
    let document: Value = serde_json::from_str(&text).unwrap();
    assert!(document["memory"]["measured"].as_u64() > document["memory"]["parameters"].as_u64());
}
