//! CSV files of labels, given to the command.

#[path = "../../../tests/common/labelled_folder.rs"]
mod labelled_folder;

use std::fs;
use std::process::Command;

use labelled_folder::{Dir, comma, contains, first, table};

/// Standard output and standard error of the command, and whether it succeeded.
fn burn_zoo(dir: &Dir, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
        .args(arguments)
        .env("BURN_DEVICE", "flex")
        .current_dir(&dir.path)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn error(dir: &Dir, arguments: &[&str]) -> String {
    let (success, _, errors) = burn_zoo(dir, arguments);
    assert!(!success, "{arguments:?}: {errors}");
    errors
}

const TRAIN: [&str; 9] = [
    "finetune",
    "test_resnet",
    "--image-size",
    "32",
    "--epochs",
    "1",
    "--batch-size",
    "4",
    "--no-report",
];

fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&TRAIN[..], more].concat()
}

/// The flags reach the file, are kept for the evaluation of the run, and what was chosen is in
/// the document.
#[test]
fn columns_are_given_kept_and_told() {
    let dir = Dir::new();
    let content = table("photo#kind#where#note", |p, l| {
        let part = if first(p) { "val" } else { "train" };
        format!("{p}#{l}#{part}#{l}")
    });
    fs::write(dir.path.join("l.tsv"), content).unwrap();
    let (success, out, errors) = burn_zoo(
        &dir,
        &train(&[
            "--data",
            "l.tsv",
            "--csv-delimiter",
            "#",
            "--csv-path-column",
            "photo",
            "--csv-label-column",
            "1",
            "--csv-split-column",
            "where",
            "--out",
            "run",
            "--json",
        ]),
    );
    assert!(success, "{errors}");
    contains(&errors, &["`photo`", "`kind`", "`where`"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    contains(
        &document["warnings"].to_string(),
        &["`photo`", "`kind`", "`where`"],
    );
    let config = fs::read_to_string(dir.path.join("run/config.toml")).unwrap();
    contains(
        &config,
        &["csv_label_column = \"1\"", "csv_split_column = \"where\""],
    );
    let (success, _, errors) = burn_zoo(&dir, &["eval", "run"]);
    assert!(success, "{errors}");
    contains(&errors, &["`photo`", "`kind`", "`where`"]);

    let content = table("path,label,split", |p, l| format!("{p},{l},train"));
    fs::write(dir.path.join("l.csv"), content).unwrap();
    let (success, _, errors) = burn_zoo(
        &dir,
        &train(&[
            "--data",
            "l.csv",
            "--csv-split-column",
            "none",
            "--out",
            "none",
        ]),
    );
    assert!(success, "{errors}");
    contains(&errors, &["`split` is left aside"]);
    let config = fs::read_to_string(dir.path.join("none/config.toml")).unwrap();
    assert!(!config.contains("csv_label_column"), "{config}");
}

#[test]
fn flags_that_cannot_be_followed() {
    let dir = Dir::new();
    fs::write(dir.path.join("l.csv"), table("path,label", comma)).unwrap();
    fs::write(dir.path.join("l.txt"), table("path,label", comma)).unwrap();
    for flag in [
        ["--csv-path-column", "a"],
        ["--csv-label-column", "a"],
        ["--csv-split-column", "a"],
        ["--csv-delimiter", ";"],
    ] {
        let arguments = train(&["--data", ".", flag[0], flag[1]]);
        contains(
            &error(&dir, &arguments),
            &[flag[0], "--data", ".csv or .tsv", "`.`"],
        );
        // Without --data there is nothing that it could mean.
        contains(&error(&dir, &train(&flag)), &["--data"]);
    }
    let arguments = train(&["--data", "l.csv", "--csv-delimiter", "ab"]);
    contains(
        &error(&dir, &arguments),
        &["--csv-delimiter", "one character", "tab"],
    );
    let arguments = train(&["--data", "l.csv", "--csv-label-column", "breed"]);
    contains(
        &error(&dir, &arguments),
        &["--csv-label-column", "l.csv", "\"breed\""],
    );
    let arguments = train(&["--data", "l.txt"]);
    contains(&error(&dir, &arguments), &["l.txt", ".csv or .tsv"]);
}

/// Several labels and numbers are in files, and a recipe is of one task.
#[test]
fn other_tasks_are_refused_where_they_cannot_be() {
    let dir = Dir::new();
    fs::write(dir.path.join("l.csv"), table("path,label", comma)).unwrap();
    let recipe = "task = 'regression'\nloss = 'mse'\nmetric = 'valid_rmse'\n";
    fs::write(dir.path.join("r.toml"), recipe).unwrap();
    let built_in = ["--data", "fashion-mnist-mini", "--task", "multi-label"];
    let text = error(&dir, &train(&built_in));
    contains(&text, &["--task multi-label", "`fashion-mnist-mini`"]);
    let alone = ["--data", "l.csv", "--csv-label-columns", "a,b"];
    let text = error(&dir, &train(&alone));
    contains(&text, &["--csv-label-columns", "--task multi-label"]);
    let both = [
        "--data",
        "l.csv",
        "--task",
        "multi-label",
        "--config",
        "r.toml",
    ];
    let text = error(&dir, &train(&both));
    contains(&text, &["--task", "regression", "multi-label"]);
}
