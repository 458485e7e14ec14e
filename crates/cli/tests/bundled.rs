//! The weights that come with the crate, and the images they were trained on.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use burn_zoo::data::{Loader, LoaderConfig};
use burn_zoo::prelude::*;
use burn_zoo_fractals::{FractalOptions, Fractals, Jitter};
use sha2::{Digest as _, Sha256};

fn burn_zoo(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
        .args(arguments)
        .env("BURN_DEVICE", "flex")
        .current_dir(dir)
        .output()
        .unwrap()
}

/// Runs in a folder of its own, where nothing of the repository is in reach, and expects success.
fn run(dir: &Path, arguments: &[&str]) -> String {
    let output = burn_zoo(dir, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fail(dir: &Path, arguments: &[&str]) -> String {
    let output = burn_zoo(dir, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_entry_says_what_the_file_is() {
    let entry = Zoo::resnet18()
        .weights(Weights::Bundled)
        .entry()
        .unwrap()
        .unwrap();
    assert_eq!(entry.name, "resnet18.fractal");
    assert!(!entry.default && !entry.non_commercial() && entry.licence.is_some());
    let name = entry.bundled().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../bundled-weights")
        .join(name);
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(entry.bytes(), Some(bytes.len() as u64));
    let sum: String = Sha256::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert!(entry.is_sha256_confirmed());
    assert_eq!(entry.sha256(), Some(sum.as_str()));
}

#[test]
fn its_name_and_its_tag_are_the_same_weights() {
    let device = Device::flex();
    let models = [
        Zoo::resnet18().weights(Weights::Bundled),
        Zoo::resnet18().weights("fractal"),
        Zoo::get("resnet18.fractal").unwrap(),
    ]
    .map(|spec| {
        spec.adapt(1, 10)
            .build(&device)
            .unwrap()
            .state_dict()
            .unwrap()
    });
    assert_eq!(models[0], models[1]);
    assert_eq!(models[0], models[2]);
    let random = Zoo::resnet18().weights(Weights::Random(42)).adapt(1, 10);
    let random = random.build(&device).unwrap().state_dict().unwrap();
    assert_ne!(
        models[0]["layer1.0.conv1.weight"],
        random["layer1.0.conv1.weight"]
    );
}

/// The images are those of docs/bundled-weights.md, and none of them was trained on.
#[test]
fn the_model_knows_its_images() {
    let default = FractalOptions::default();
    let options = FractalOptions {
        categories: 1000,
        per_category: 1,
        first: 300,
        size: 28,
        seed: 1,
        black: 0.7,
        instance: Jitter {
            scale: (0.7, 1.0),
            ..default.instance
        },
        ..default
    };
    let spec = Zoo::resnet18().weights(Weights::Bundled);
    let model = spec.build(&Device::flex()).unwrap();
    let images = Arc::new(Fractals::new(options).unwrap());
    let preprocess = model.preprocess(Some(28.into()));
    let loader = Loader::new(images, preprocess, LoaderConfig::default(), &Device::flex());
    let accuracy = model.fuse().evaluate(&loader.unwrap()).unwrap().accuracy;
    assert!(accuracy > 0.6, "{accuracy}");
}

#[test]
fn an_architecture_without_is_refused() {
    let error = Zoo::resnet50()
        .weights(Weights::Bundled)
        .build(&Device::flex());
    assert_eq!(
        error.unwrap_err().to_string(),
        "weights: expected an architecture with bundled weights (resnet18), found bundled weights \
         of resnet50"
    );
    let dir = tempfile::tempdir().unwrap();
    let errors = fail(
        dir.path(),
        &["finetune", "resnet50", "--weights", "bundled"],
    );
    assert!(errors.contains("bundled weights of resnet50"), "{errors}");
    assert!(!dir.path().join("runs").exists());
}

#[test]
fn the_command_shows_what_they_are_worth() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = "finetune resnet18 --weights bundled --against random --recipe gradual --epochs 6 \
                     --limit-train 1000 --limit-test 500 --batch-size 32 --no-report --out run";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let text = run(dir.path(), &arguments);
    let table: Vec<Vec<&str>> = text
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    let accuracy = |name: &str| -> f64 {
        let is_row = |row: &&Vec<&str>| row.first() == Some(&name) && row.get(2) == Some(&"%");
        table.iter().find(is_row).expect(&text)[1].parse().unwrap()
    };
    let (bundled, random) = (accuracy("bundled"), accuracy("random"));
    assert!(bundled > random + 3.0, "{text}");
    let gain = table
        .iter()
        .find(|row| row.first() == Some(&"gain"))
        .expect(&text);
    let gain: f64 = gain[1].parse().unwrap();
    assert!((gain - (bundled - random)).abs() < 0.11, "{text}");
    for name in ["run", "run-against"] {
        assert!(
            dir.path()
                .join(name)
                .join("best/model.safetensors")
                .is_file()
        );
    }

    // A mistake shows before anything trains.
    let wrong = "finetune resnet18 --weights bundled --against none.pth --out other";
    let wrong: Vec<&str> = wrong.split_whitespace().collect();
    assert!(fail(dir.path(), &wrong).contains("none.pth"));
    assert!(!dir.path().join("other").exists());

    // Neither folder is written into a second time.
    std::fs::remove_dir_all(dir.path().join("run")).unwrap();
    let errors = fail(dir.path(), &arguments);
    assert!(errors.contains("run-against exists already"), "{errors}");
    assert!(!dir.path().join("run").exists());
}

#[test]
fn fractals_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let options = "categories=5,size=16,seed=3";
    let arguments = [
        "fractals",
        "--grid",
        "out.png",
        "--options",
        options,
        "--columns",
        "4",
    ];
    let text = run(dir.path(), &[&arguments[..], &["--cell", "32"]].concat());
    assert_eq!(
        text,
        "out.png: 5 of 5 categories, 4 of 100 instances each, drawn at 16 pixels\n"
    );
    let image = image::open(dir.path().join("out.png")).unwrap().into_rgb8();
    assert_eq!(image.dimensions(), (4 * 34 - 2, 5 * 34 - 2));
    let lit = image
        .pixels()
        .filter(|pixel| pixel.0.iter().any(|v| *v > 128))
        .count();
    assert!(lit > 1000, "{lit}");

    let before = std::fs::read(dir.path().join("out.png")).unwrap();
    assert!(fail(dir.path(), &arguments).contains("out.png exists; --overwrite replaces it"));
    assert_eq!(std::fs::read(dir.path().join("out.png")).unwrap(), before);
    run(dir.path(), &[&arguments[..], &["--overwrite"]].concat());
    // Of a set that is smaller than the picture only what it has, from its first instance on.
    let drawn = |name: &str, options: &str, columns: &str| {
        let options = format!("categories=2,size=16,{options}");
        let arguments = ["fractals", "--grid", name, "--options", &options];
        run(
            dir.path(),
            &[&arguments[..], &["--columns", columns]].concat(),
        )
    };
    let text = drawn("few.png", "per_category=3", "16");
    assert!(
        text.contains("2 of 2 categories, 3 of 3 instances"),
        "{text}"
    );
    drawn("first.png", "first=1", "1");
    drawn("both.png", "first=0", "2");
    let open = |name: &str| image::open(dir.path().join(name)).unwrap().into_rgb8();
    let (first, both) = (open("first.png"), open("both.png"));
    let second = image::imageops::crop_imm(&both, 66, 0, 64, first.height()).to_image();
    assert_eq!(first, second);
    for (more, expected) in [
        (
            ["--grid", "out.jpg"],
            "expected a name that ends in .png, found out.jpg",
        ),
        (["--grid", "none/out.png"], "none"),
    ] {
        let errors = fail(dir.path(), &[&["fractals"][..], &more].concat());
        assert!(errors.contains(expected), "{errors}");
    }
    for (options, expected) in [
        (
            "categories=0",
            "categories: expected from 1 to 1000000, found 0",
        ),
        ("shape=round", "expected one of the keys"),
    ] {
        let errors = fail(
            dir.path(),
            &["fractals", "--grid", "b.png", "--options", options],
        );
        assert!(errors.contains(expected), "{errors}");
    }
    let errors = fail(
        dir.path(),
        &["finetune", "resnet18", "--data", "fractals:size=4"],
    );
    assert!(
        errors.contains("size: expected from 8 to 1024, found 4"),
        "{errors}"
    );
}

#[test]
fn a_model_trains_on_fractals() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = "finetune test_resnet --data fractals:categories=4,per_category=40,size=16,black=1 \
                     --epochs 2 --batch-size 16 --no-report --json";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let found: serde_json::Value = serde_json::from_str(&run(dir.path(), &arguments)).unwrap();
    let folder = found["run"].as_str().unwrap();
    assert_eq!(
        folder,
        "runs/test_resnet-fractals-categories-4-per_category-40-size-16-black-1-1"
    );
    // What it was trained on is drawn again.
    let again: serde_json::Value =
        serde_json::from_str(&run(dir.path(), &["eval", folder, "--json"])).unwrap();
    assert_eq!(again["accuracy"], found["valid_accuracy"]);
}
