//! Several labels for an image, and numbers, from a CSV file to predictions.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-zoo"));
    command
        .current_dir(dir)
        .args(arguments)
        .env("BURN_DEVICE", "flex");
    command
}

fn succeed(dir: &Path, arguments: &[&str]) -> String {
    let output = command(dir, arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fail(dir: &Path, arguments: &[&str]) -> String {
    let output = command(dir, arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Images with a bright left half, a bright top, both or nothing, and a file that says so, with the share
/// that is bright in each half.
fn images(dir: &Path) {
    let mut csv = "image,labels,left,top\n".to_owned();
    for index in 0..96u32 {
        let (left, top) = (index % 2 == 0, index % 3 == 0);
        let noise = |x: u32, y: u32| (x * 7 + y * 13 + index * 31) % 60;
        let image = image::GrayImage::from_fn(24, 24, |x, y| {
            let bright = (left && x < 8) || (top && y < 8);
            let level = if bright {
                150 + noise(x, y)
            } else {
                noise(x, y)
            };
            image::Luma([level as u8])
        });
        image.save(dir.join(format!("{index}.png"))).unwrap();
        let labels = match (left, top) {
            (true, true) => "left|top",
            (true, false) => "left",
            (false, true) => "top",
            (false, false) => "",
        };
        let numbers = [left, top].map(|is| if is { 12.5 } else { -3.0 });
        writeln!(csv, "{index}.png,{labels},{},{}", numbers[0], numbers[1]).unwrap();
    }
    fs::write(dir.join("list.csv"), csv).unwrap();
}

const SMALL: [&str; 9] = [
    "--weights=random",
    "--image-size=24",
    "--epochs=6",
    "--batch-size=8",
    "--lr=3e-3",
    "--csv-path-column=image",
    "--data=list.csv",
    "--tensorboard=off",
    "--json",
];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn labels_are_tuned_judged_told_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    images(dir);
    let flags = [
        "finetune",
        "test_resnet",
        "--task=multi-label",
        "--csv-label-column=labels",
    ];
    let tune = [&flags[..], &SMALL, &["--out=run"]].concat();
    let document = json(&succeed(dir, &tune));
    let map = document["metrics"]["valid_map"].as_f64().unwrap();
    assert!(map > 0.95, "{document}");
    assert!(document["valid_accuracy"].is_null());
    let config = fs::read_to_string(dir.join("run/config.toml")).unwrap();
    for line in [
        "task = \"multi-label\"",
        "metric = \"valid_map\"",
        "kind = \"bce\"",
    ] {
        assert!(config.contains(line), "{line}: {config}");
    }
    let page = fs::read_to_string(dir.join("run/report.html")).unwrap();
    assert!(page.contains("precision-recall") && !page.contains("id=\"confusion\""));
    assert!(dir.join("run/report/precision_recall.svg").is_file());

    let judged = json(&succeed(dir, &["eval", "run", "--json"]));
    assert!((judged["map"].as_f64().unwrap() - map).abs() < 1e-6);
    assert_eq!(
        judged["multi_label"]["per_class"].as_array().unwrap().len(),
        2
    );
    let shown = succeed(dir, &["eval", "run"]);
    assert!(shown.contains("mAP") && shown.contains("threshold") && shown.contains("left"));

    let told = json(&succeed(
        dir,
        &["predict", "run", "0.png", "1.png", "--json"],
    ));
    let names = |index: usize| -> Vec<String> {
        let labels = told["images"][index]["predictions"]
            .as_array()
            .unwrap()
            .iter();
        let mut names: Vec<_> = labels
            .map(|label| label["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        (names(0), names(1)),
        (vec!["left".to_owned(), "top".to_owned()], Vec::new())
    );
    let shown = succeed(dir, &["predict", "run", "1.png"]);
    assert!(shown.contains("1.png  none"), "{shown}");
    succeed(
        dir,
        &["predict", "run", "0.png", "1.png", "--output=told.csv"],
    );
    let told = fs::read_to_string(dir.join("told.csv")).unwrap();
    assert_eq!(told.lines().next(), Some("path,labels,probabilities,error"));
    assert!(
        told.contains("left|top") || told.contains("top|left"),
        "{told}"
    );

    // The exported model says what it tells, and goes on.
    succeed(dir, &["export", "run", "exported"]);
    let config = json(&fs::read_to_string(dir.join("exported/config.json")).unwrap());
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(config["thresholds"].as_array().unwrap().len(), 2);
    let card = fs::read_to_string(dir.join("exported/README.md")).unwrap();
    assert!(
        card.contains("mean_average_precision") && !card.contains("accuracy"),
        "{card}"
    );
    let again = ["finetune", "--resume", "run", "--epochs=7", "--json"];
    let document = json(&succeed(dir, &again));
    assert_eq!(document["epochs"], 7);

    let error = fail(
        dir,
        &[&tune[..], &["--overwrite", "--metric=valid_accuracy"]].concat(),
    );
    assert!(
        error.contains("metric") && error.contains("valid_map"),
        "{error}"
    );
    let error = fail(dir, &[&tune[..], &["--overwrite", "--loss=mse"]].concat());
    assert!(error.contains("loss") && error.contains("bce"), "{error}");
}

#[test]
fn numbers_are_tuned_judged_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    images(dir);
    let flags = [
        "finetune",
        "test_resnet",
        "--task=regression",
        "--csv-label-columns=left,top",
    ];
    let tune = [&flags[..], &SMALL, &["--out=run", "--loss=huber"]].concat();
    let document = json(&succeed(dir, &tune));
    assert!(
        document["metrics"]["valid_r2"].as_f64().unwrap() > 0.8,
        "{document}"
    );
    assert!(dir.join("run/report/predicted.svg").is_file());
    let judged = json(&succeed(dir, &["eval", "run", "--json"]));
    assert_eq!(
        judged["regression"]["per_output"].as_array().unwrap().len(),
        2
    );
    // Fused, the last bits are others.
    let [rmse, logged] =
        [&judged["rmse"], &document["metrics"]["valid_rmse"]].map(|value| value.as_f64().unwrap());
    assert!((rmse - logged).abs() < 1e-5 * logged, "{rmse} {logged}");
    let told = json(&succeed(dir, &["predict", "run", "0.png", "--json"]));
    let values = told["images"][0]["predictions"].as_array().unwrap();
    assert_eq!(
        (values[0]["name"].as_str(), values.len()),
        (Some("left"), 2)
    );
    assert!(values[0]["value"].as_f64().unwrap() > 5.0 && values[0]["probability"].is_null());
    succeed(dir, &["predict", "run", "0.png", "--output=told.csv"]);
    let told = fs::read_to_string(dir.join("told.csv")).unwrap();
    assert_eq!(told.lines().next(), Some("path,left,top,error"));
    succeed(dir, &["export", "run", "exported"]);
    let config = json(&fs::read_to_string(dir.join("exported/config.json")).unwrap());
    assert_eq!(config["target_mean"].as_array().unwrap().len(), 2);
    let error = fail(
        dir,
        &[&tune[..], &["--overwrite", "--label-smoothing=0.1"]].concat(),
    );
    assert!(error.contains("label_smoothing"), "{error}");
}
