//! `eval`: which images it judges, and what it says about them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder with images, and a run that learnt them.
struct Room {
    path: PathBuf,
    _temporary: tempfile::TempDir,
}

impl Room {
    /// Images `CLASS/0.png`, .. below `folder`, this many of each class.
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        Self {
            path: fs::canonicalize(temporary.path()).unwrap(),
            _temporary: temporary,
        }
    }

    fn at(&self, path: &str) -> String {
        self.path.join(path).to_str().unwrap().to_owned()
    }

    fn images(&self, folder: &str, classes: &[(&str, u32)]) {
        for (class, count) in classes {
            let folder = self.path.join(folder).join(class);
            fs::create_dir_all(&folder).unwrap();
            for index in 0..*count {
                let shade = (index * 37 % 256) as u8;
                let image = image::RgbImage::from_pixel(16, 16, image::Rgb([shade, 90, 200]));
                image.save(folder.join(format!("{index}.png"))).unwrap();
            }
        }
    }

    /// Trains on a folder into `run`.
    fn train(&self, data: &str, more: &[&str]) -> Output {
        let (data, out) = (self.at(data), self.at("run"));
        let tune = [
            "finetune",
            "test_resnet",
            "--data",
            &data,
            "--image-size",
            "32",
        ];
        let rest = ["--epochs", "1", "--no-report", "--json", "--out", &out];
        let output = self.command(&[&tune[..], &rest, more].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        output
    }

    fn command(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
            .args(arguments)
            .current_dir(&self.path)
            .env("BURN_DEVICE", "flex")
            .output()
            .unwrap()
    }

    /// The JSON document of `eval`, of which the matrix and the classes must agree with the count.
    fn eval(&self, arguments: &[&str]) -> Value {
        let output = self.command(&[&["eval"], arguments, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = found["confusion"].as_array().unwrap();
        let sum = |row: &Value| -> u64 {
            let counts = row.as_array().unwrap().iter();
            counts.map(|n| n.as_u64().unwrap()).sum()
        };
        assert_eq!(Some(rows.iter().map(sum).sum()), found["images"].as_u64());
        found
    }

    /// What `report` says of the run.
    fn report(&self, code: i32, more: &[&str]) -> String {
        let output = self.command(&[&["report", "run"], more].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{errors}");
        errors
    }

    /// Overwrites every image of a class: with no image at all, or its data alone, which only
    /// decoding shows.
    fn damage(&self, class: &str, data_alone: bool) {
        for entry in fs::read_dir(self.path.join(class)).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            if data_alone {
                let start = bytes.windows(4).position(|name| name == b"IDAT").unwrap() + 4;
                bytes[start..start + 8].fill(0xff);
            } else {
                bytes = b"no image".to_vec();
            }
            fs::write(&path, bytes).unwrap();
        }
    }

    fn fail(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.command(&[&["eval"], arguments].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        errors
    }
}

fn warnings(found: &Value) -> String {
    let warnings = found["warnings"].as_array().unwrap().iter();
    let warnings: Vec<&str> = warnings.map(|text| text.as_str().unwrap()).collect();
    warnings.join("\n")
}

/// How many images of how many, and of which part.
fn counts(found: &Value) -> (u64, u64, Option<&str>) {
    let number = |key: &str| found[key].as_u64().unwrap();
    (number("images"), number("of"), found["part"].as_str())
}

#[test]
fn all_that_is_given_is_judged_and_only_the_runs_own_images_are_divided() {
    let room = Room::new();
    room.images("flat", &[("cat", 10), ("dog", 10), ("fish", 10)]);
    room.images("other", &[("fish", 4), ("cat", 3)]);
    room.train("flat", &[]);

    // The run's own, as it divided them.
    let own = room.eval(&["run"]);
    assert_eq!(counts(&own), (6, 6, Some("val")));
    assert_eq!(own["data"], room.at("flat"));
    assert_eq!(
        counts(&room.eval(&["run", "--part", "train"])),
        (24, 24, Some("train"))
    );
    // The best model and a checkpoint are of the run.
    assert_eq!(room.eval(&["run/best"])["accuracy"], own["accuracy"]);
    let error = room.fail(1, &["run", "--part", "test"]);
    assert!(
        error.contains("--part: expected train or val") && error.contains("found test"),
        "{error}"
    );

    // A flat folder, whole; that it was trained on is said.
    let all = room.eval(&["run", "--data", "flat"]);
    assert_eq!(counts(&all), (30, 30, None));
    assert!(
        warnings(&all).contains("was trained on images of flat"),
        "{all}"
    );
    // A set that lacks a class: by name, and the class counts nowhere.
    let other = room.eval(&["run", "--data", "other"]);
    assert_eq!(counts(&other), (7, 7, None));
    assert_eq!(other["missing_classes"], serde_json::json!(["dog"]));
    assert!(warnings(&other).contains("`dog`"), "{other}");
    let classes = &other["per_class"];
    assert_eq!(
        (&classes[0]["images"], &classes[2]["images"]),
        (&3.into(), &4.into())
    );
    assert_eq!(classes[1]["accuracy"], Value::Null);
    let accuracy = |class: usize| classes[class]["accuracy"].as_f64().unwrap();
    let mean = (accuracy(0) + accuracy(2)) / 2.0;
    assert!((other["balanced_accuracy"].as_f64().unwrap() - mean).abs() < 1e-9);
    // For a person, too.
    let output = room.command(&["eval", "run", "--data", "other"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("over 7 images\nimages: everything in other: all 7\n"),
        "{text}"
    );

    // A CSV file, whole.
    let rows = (0..4).map(|index| format!("other/fish/{index}.png,fish\n"));
    fs::write(
        room.path.join("list.csv"),
        format!("path,label\n{}", rows.collect::<String>()),
    )
    .unwrap();
    let listed = room.eval(&["run", "--data", "list.csv"]);
    assert_eq!(counts(&listed), (4, 4, None));
    assert_eq!(listed["missing_classes"], serde_json::json!(["cat", "dog"]));

    // Fewer, because that was asked for.
    let some = room.eval(&["run", "--data", "other", "--limit-test", "5"]);
    assert_eq!(counts(&some), (5, 7, None));
    assert!(warnings(&some).contains("5 of 7 images"), "{some}");

    // What has no meaning is an error.
    for flags in [
        &["--valid-share", "0.5"][..],
        &["--split-seed", "3"],
        &["--data", "flat", "--valid-share", "0.2"],
        &["--data", "flat", "--split-seed", "42"],
    ] {
        let error = room.fail(1, &[&["run"], flags].concat());
        assert!(error.contains("`eval` divides nothing"), "{error}");
    }
    let error = room.fail(1, &["run", "--data", "flat", "--part", "test"]);
    assert!(
        error.contains("expected labelled images of the part `test`"),
        "{error}"
    );
    let error = room.fail(1, &["run", "--data", "other/fish"]);
    assert!(
        error.contains("none, but 4 images") && error.contains("`predict`"),
        "{error}"
    );
    let error = room.fail(2, &["run", "--data", "other/fish/0.png"]);
    assert!(error.contains("single images are for `predict`"), "{error}");
    let error = room.fail(2, &["run", "--data", "nowhere"]);
    assert!(error.contains("there is no such file or folder"), "{error}");
    room.images("other", &[("cow", 1)]);
    let error = room.fail(1, &["run", "--data", "other"]);
    assert!(
        error.contains("expected the model's classes alone (`cat`, `dog`, `fish`), found `cow`"),
        "{error}"
    );
    let error = room.fail(1, &["run", "--data", "fashion-mnist-mini"]);
    assert!(
        error.contains("expected the model's classes alone (`cat`"),
        "{error}"
    );
    // The run's own images moved away.
    fs::rename(room.path.join("flat"), room.path.join("moved")).unwrap();
    let error = room.fail(1, &["run"]);
    assert!(
        error.contains(&room.at("flat")) && error.contains("is not there"),
        "{error}"
    );
}

#[test]
fn parts_are_chosen_and_the_others_named() {
    let room = Room::new();
    room.images("set/train", &[("a", 5), ("b", 5)]);
    room.images("set/val", &[("a", 2), ("b", 1)]);
    room.images("set/test", &[("a", 3), ("b", 4)]);
    room.train("set", &["--limit-train", "8"]);
    for (part, expected) in [("train", (8, 10)), ("val", (3, 3)), ("test", (7, 7))] {
        let found = room.eval(&["run", "--part", part]);
        assert_eq!(counts(&found), (expected.0, expected.1, Some(part)));
        let given = room.eval(&["run", "--data", "set", "--part", part]);
        assert_eq!(counts(&given), (expected.1, expected.1, Some(part)));
        // Only that which was trained on is no test.
        let seen = warnings(&given).contains("was trained on");
        assert_eq!(seen, part == "train", "{given}");
    }
    let found = room.eval(&["run", "--data", "set"]);
    assert_eq!(counts(&found), (7, 7, Some("test")));
    let text = warnings(&found);
    assert!(
        text.contains("10 training images (--part train), 3 validation images (--part val)"),
        "{text}"
    );
    // The folder of a part is a set.
    let found = room.eval(&["run", "--data", "set/test"]);
    assert_eq!(counts(&found), (7, 7, None));
    assert!(!warnings(&found).contains("was trained on"), "{found}");
    let found = room.eval(&["run", "--data", "set/train"]);
    assert!(warnings(&found).contains("was trained on"), "{found}");
    // Broken images are left out when that is asked for, and counted.
    fs::write(room.path.join("set/test/a/0.png"), "no image").unwrap();
    let error = room.fail(1, &["run", "--data", "set"]);
    assert!(
        error.contains("set/test/a/0.png") && error.contains("--skip-broken"),
        "{error}"
    );
    let found = room.eval(&["run", "--data", "set", "--skip-broken"]);
    assert_eq!(counts(&found), (6, 7, Some("test")));
    assert!(warnings(&found).contains("6 of 7 images"), "{found}");
    let error = room.fail(2, &["run", "--part", "all"]);
    assert!(error.contains("`train`, `val` or `test`"), "{error}");
}

#[test]
fn broken_images_of_a_run_move_no_others() {
    let room = Room::new();
    room.images("flat", &[("cat", 10), ("dog", 10), ("fish", 10)]);
    room.train("flat", &[]);
    let config = fs::read_to_string(room.path.join("run/config.toml")).unwrap();
    assert!(config.contains("left_out = []"), "{config}");
    let whole = room.eval(&["run"]);
    // Two of the ten are for validation.
    room.damage("flat/cat", false);
    let error = room.fail(1, &["run"]);
    assert!(error.contains("--skip-broken"), "{error}");
    for more in [&[][..], &["--verify"]] {
        let found = room.eval(&[&["run", "--skip-broken"], more].concat());
        assert_eq!(counts(&found), (4, 6, Some("val")));
        let text = warnings(&found);
        assert!(text.contains("4 of 6 images are judged"), "{text}");
        assert_eq!(text.matches("left out of the evaluation").count(), 2);
        assert!(text.contains("flat/cat/"), "{text}");
        assert_eq!(text.contains("--verify"), !more.is_empty(), "{text}");
        // The others are the same as before.
        for class in [1, 2] {
            assert_eq!(found["confusion"][class], whole["confusion"][class]);
        }
    }
    let found = room.eval(&["run", "--skip-broken", "--part", "train"]);
    assert_eq!(counts(&found), (16, 24, Some("train")));
    let errors = room.report(1, &[]);
    assert!(errors.contains("--skip-broken"), "{errors}");
    let errors = room.report(0, &["--skip-broken"]);
    assert!(errors.contains("4 of 6 images are judged"), "{errors}");
    let page = fs::read_to_string(room.path.join("run/report.html")).unwrap();
    assert!(page.contains("4 of 6 for validation could be read"));
    room.damage("flat/dog", true);
    room.damage("flat/fish", true);
    let error = room.fail(1, &["run", "--skip-broken"]);
    assert!(
        error.contains("at least one image that can be read"),
        "{error}"
    );
    // Without an image the division is another one.
    fs::remove_file(room.path.join("flat/cat/0.png")).unwrap();
    let error = room.fail(1, &["run", "--skip-broken"]);
    assert!(
        error.contains("24 for training and 6 for validation, found 23 and 6"),
        "{error}"
    );
}

#[test]
fn damage_that_only_decoding_shows_is_left_out() {
    let room = Room::new();
    room.images("flat", &[("cat", 10), ("dog", 10), ("fish", 10)]);
    room.damage("flat/dog", true);
    room.train("flat", &["--skip-broken"]);
    // The run keeps that they are left out.
    let found = room.eval(&["run"]);
    assert_eq!(counts(&found), (4, 6, Some("val")));
    assert!(warnings(&found).contains("flat/dog/"), "{found}");
    let errors = room.report(0, &[]);
    assert!(errors.contains("4 of 6 images are judged"), "{errors}");
    assert_eq!(errors.matches("left out of the report").count(), 2);
    // Of other images, too.
    let error = room.fail(1, &["run", "--data", "flat"]);
    assert!(
        error.contains("flat/dog/") && error.contains("--skip-broken"),
        "{error}"
    );
    let found = room.eval(&["run", "--data", "flat", "--skip-broken"]);
    assert_eq!(counts(&found), (20, 30, None));
}

#[test]
fn fashion_mnist_is_validated_on_some_of_its_training_images() {
    let room = Room::new();
    let out = room.at("run");
    let tune = [
        "finetune",
        "test_resnet",
        "--epochs",
        "1",
        "--no-report",
        "--out",
        &out,
    ];
    let limits = ["--limit-train", "64", "--limit-test", "30"];
    let output = room.command(&[&tune[..], &limits].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // What was taken unasked is said.
    assert!(
        errors.contains("fashion-mnist-mini, unless --data names others"),
        "{errors}"
    );
    assert!(
        errors.contains(
            "images: fashion-mnist-mini: the first 64 training and 30 validation images of the bundled \
             sample, 10 % for validation by seed 42\n"
        ),
        "{errors}"
    );
    assert!(
        errors.contains("the 30 test images are not looked at; --test judges"),
        "{errors}"
    );
    let found = room.eval(&["run"]);
    assert_eq!(counts(&found), (30, 600, Some("val")));
    // The run's images are not chosen anew.
    let errors = room.report(0, &[]);
    assert!(!errors.contains("unless --data"), "{errors}");
    assert_eq!(
        counts(&room.eval(&["run", "--part", "test"])),
        (30, 1000, Some("test"))
    );
    assert_eq!(
        counts(&room.eval(&["run", "--part", "train"])),
        (64, 5400, Some("train"))
    );
    let all = ["run", "--data", "fashion-mnist-mini"];
    assert_eq!(counts(&room.eval(&all)), (1000, 1000, Some("test")));
    let error = room.fail(1, &[&all[..], &["--part", "val"]].concat());
    assert!(
        error
            .contains("--part: expected train or test, the parts of fashion-mnist-mini, found val"),
        "{error}"
    );
    let ten = [&all[..], &["--part", "train", "--limit-test", "10"]].concat();
    let found = room.eval(&ten);
    assert_eq!(counts(&found), (10, 6000, Some("train")));
    assert!(warnings(&found).contains("was trained on"), "{found}");
}

/// With and without `--test` a run is the same to the bit: test images have no say in it. They are judged
/// once, at the end, also of a run that goes on.
#[test]
fn test_images_choose_nothing_and_are_judged_once() {
    let room = Room::new();
    room.images("set/train", &[("a", 12), ("b", 12)]);
    room.images("set/val", &[("a", 4), ("b", 4)]);
    room.images("set/test", &[("a", 5), ("b", 6)]);
    let run = |data: &str, out: &str, more: &[&str]| -> Value {
        let tune = ["--threads", "1", "finetune", "test_resnet", "--data", data];
        let recipe = ["--epochs", "3", "--lr", "3e-3", "--batch-size", "8"];
        let rest = ["--image-size", "28", "--limit-train", "160", "--json"];
        let rest = [&rest[..], &["--limit-test", "60", "--out", out], more].concat();
        let output = room.command(&[&tune[..], &recipe, &rest].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let resume = |out: &str, more: &[&str]| -> Value {
        let resume = ["--threads", "1", "finetune", "--resume", out];
        let rest = ["--no-report", "--json"];
        let output = room.command(&[&resume[..], &rest, more].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let file = |path: &str| fs::read(room.path.join(path)).unwrap();
    let set = room.at("set");
    for (data, images) in [("fashion-mnist-mini", 60), (set.as_str(), 11)] {
        let with = run(data, "with", &["--test"]);
        let without = run(data, "without", &["--no-report"]);
        for name in ["best_epoch", "valid_accuracy", "valid_loss"] {
            assert_eq!(with[name], without[name], "{data}: {name}");
        }
        for part in ["best", "checkpoints/epoch-0003"] {
            let weights = |run: &str| file(&format!("{run}/{part}/model.safetensors"));
            assert_eq!(weights("with"), weights("without"), "{data}: {part}");
        }
        assert_eq!(without["test_accuracy"], Value::Null);
        assert!(!room.path.join("without/test.json").exists());

        // The figure is that of the test part, and is shown beside the other.
        assert_eq!(with["test_images"], images);
        let judged = room.eval(&["with", "--part", "test"]);
        assert_eq!(with["test_accuracy"], judged["accuracy"]);
        let page = fs::read_to_string(room.path.join("with/report.html")).unwrap();
        for name in ["validation accuracy", "test accuracy"] {
            assert!(page.contains(&format!("<bdi>{name}</bdi>")), "{name}");
        }

        // Not judged yet, whether the run was ended before or is only asked for it now.
        fs::remove_file(room.path.join("with/test.json")).unwrap();
        assert_eq!(resume("with", &[])["test_accuracy"], with["test_accuracy"]);
        let asked = resume("without", &["--test"]);
        assert_eq!(asked["test_accuracy"], with["test_accuracy"]);
        // Once it is judged, it is not judged again.
        let known = fs::read_to_string(room.path.join("with/test.json")).unwrap();
        let mut known: Value = serde_json::from_str(&known).unwrap();
        known["test_accuracy"] = serde_json::json!(0.125);
        fs::write(room.path.join("with/test.json"), format!("{known}\n")).unwrap();
        assert_eq!(resume("with", &["--test"])["test_accuracy"], 0.125);

        for out in ["with", "without"] {
            fs::remove_dir_all(room.path.join(out)).unwrap();
        }
    }
}

/// Where there are no test images, `--test` says so before anything trains.
#[test]
fn a_test_needs_test_images() {
    let room = Room::new();
    room.images("flat", &[("a", 6), ("b", 6)]);
    room.images("two/train", &[("a", 6), ("b", 6)]);
    room.images("two/test", &[("a", 2), ("b", 2)]);
    for (data, expected) in [
        ("flat", "--test: expected a data set with test images"),
        (
            "two",
            "--test: expected test images by which nothing is chosen",
        ),
    ] {
        let tune = [
            "finetune",
            "test_resnet",
            "--image-size",
            "32",
            "--out",
            "run",
        ];
        let output = room.command(&[&tune[..], &["--test", "--data", data]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(expected), "{errors}");
        assert!(!room.path.join("run").exists());
    }
}

/// Both sides of a comparison are judged.
#[test]
fn a_comparison_shows_both_accuracies() {
    let room = Room::new();
    let tune = ["finetune", "test_resnet", "--epochs", "1", "--no-report"];
    let images = ["--limit-train", "64", "--limit-test", "40", "--test"];
    let weights = ["--weights", "random", "--against", "random", "--out", "run"];
    let output = room.command(&[&tune[..], &images, &weights].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("validation accuracy") && text.contains("\ntest accuracy "),
        "{text}"
    );
    let gain = text.lines().find(|line| line.trim().starts_with("gain"));
    assert_eq!(gain.unwrap().matches("points").count(), 2, "{text}");
    for run in ["run", "run-against"] {
        assert!(room.path.join(run).join("test.json").is_file());
    }
}

/// A run that takes a moment.
const QUICK: [&str; 7] = [
    "--epochs",
    "1",
    "--limit-train",
    "64",
    "--limit-test",
    "40",
    "--no-report",
];

/// But for the weights: the second model is like the first, wherever that came from.
#[test]
fn a_comparison_is_of_weights_alone() {
    let room = Room::new();
    let tune = |arguments: &[&str]| {
        let output = room.command(&[&["finetune"], arguments, &QUICK].concat());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
    };
    tune(&[
        "test_resnet",
        "--stem-stride",
        "1",
        "--pool",
        "max",
        "--out",
        "first",
    ]);
    tune(&["first/best", "--against", "random", "--out", "run"]);
    let [one, other] = ["run", "run-against"].map(|run| {
        let text = fs::read_to_string(room.path.join(run).join("config.toml")).unwrap();
        let config: toml::Table = text.parse().unwrap();
        (
            config["model"].as_table().unwrap().clone(),
            config["recipe"].clone(),
        )
    });
    for name in ["stem", "global_pool", "image_size", "parameters"] {
        assert_eq!(one.0[name], other.0[name], "{name}");
    }
    assert_eq!(one.1, other.1);
}

/// A file's values are those of flags.
#[test]
fn a_recipe_file_takes_the_place_of_flags() {
    let room = Room::new();
    let file = "image_size = 32\n[early_stopping]\npatience = 3\n";
    fs::write(room.path.join("recipe.toml"), file).unwrap();
    let tune = |arguments: &[&str]| {
        let output = room.command(&[&["finetune", "test_vit"], arguments, &QUICK].concat());
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let flags = [
        "--config",
        "recipe.toml",
        "--min-delta",
        "0.25",
        "--out",
        "run",
    ];
    let (ok, errors) = tune(&flags);
    assert!(ok, "{errors}");
    let text = fs::read_to_string(room.path.join("run/config.toml")).unwrap();
    let config: toml::Table = text.parse().unwrap();
    assert_eq!(config["model"]["image_size"].as_integer(), Some(32));
    let least = &config["recipe"]["early_stopping"]["min_delta"];
    assert_eq!(least.as_float(), Some(0.25));
    for (flags, expected) in [
        (
            &["--min-delta", "0.25"][..],
            "--min-delta: only with --early-stopping",
        ),
        (
            &["--recipe", "gradual", "--freeze", "nothing"],
            "--freeze: expected backbone",
        ),
        (
            &["--devices", "cpu:2", "--batch-size", "auto"],
            "--batch-size: expected a number",
        ),
        (
            &["--place", "auto:2", "--batch-size", "auto"],
            "--batch-size: expected a number beside --place",
        ),
    ] {
        let (ok, errors) = tune(&[flags, &["--out", "other"]].concat());
        assert!(!ok && errors.contains(expected), "{errors}");
    }
}

#[test]
fn what_is_left_out_and_chosen_is_said_when_training() {
    let room = Room::new();
    for class in ["a", "b"] {
        let folder = room.path.join("grey").join(class);
        fs::create_dir_all(&folder).unwrap();
        for index in 0..4 {
            let image = image::GrayImage::from_pixel(8, 8, image::Luma([index * 40]));
            image.save(folder.join(format!("{index}.png"))).unwrap();
        }
        fs::write(folder.join("x.heic"), "").unwrap();
    }
    fs::create_dir_all(room.path.join("grey/__MACOSX")).unwrap();
    fs::create_dir_all(room.path.join("grey/empty")).unwrap();
    let output = room.train("grey", &[]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = warnings(&found);
    for part in [
        "2 .heic (HEIC is not read)",
        "1 __MACOSX",
        "grey/empty: no images in it, so it is no class",
        "the model gets one input channel; --in-channels 3",
    ] {
        assert!(text.contains(part), "{part}: {text}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(part));
    }
    assert_eq!(channels(&room.path), 1);
    fs::remove_dir_all(room.path.join("run")).unwrap();
    let output = room.train("grey", &["--in-channels", "3"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("one input channel"));
    assert_eq!(channels(&room.path), 3);
}

/// Channels that a run's model takes.
fn channels(folder: &Path) -> usize {
    let device = burn_zoo::device("cpu").unwrap();
    let model = burn_zoo::prelude::Classifier::open(folder.join("run/best"), &device).unwrap();
    model.in_channels()
}

/// Fewer images than were given are no result, and neither are scores that are no numbers.
#[test]
fn the_library_refuses_to_leave_images_out() {
    use burn_zoo::data::{FashionMnist, Loader, LoaderConfig};
    use burn_zoo::prelude::*;
    use std::sync::Arc;

    let device = burn_zoo::device("cpu").unwrap();
    let model = Zoo::test_resnet().adapt(1, 10).weights(Weights::Random(1));
    let model = model.build(&device).unwrap();
    let images = FashionMnist::bundled().unwrap().test().take_first(10);
    let loader = |drop_last| {
        let config = LoaderConfig {
            batch_size: 4,
            drop_last,
            ..LoaderConfig::default()
        };
        let preprocess = model.preprocess(Some(28.into()));
        Loader::new(Arc::new(images.clone()), preprocess, config, &device).unwrap()
    };
    assert_eq!(model.evaluate(&loader(false)).unwrap().images, 10);
    let error = model.evaluate(&loader(true)).unwrap_err().to_string();
    assert!(
        error.starts_with("drop_last: expected a loader of all 10 images"),
        "{error}"
    );

    let broken = model.clone().map_state_dict(|name, shape| {
        let bias = name == "fc.bias";
        bias.then(|| vec![f32::NAN; shape.iter().product()])
    });
    let error = broken
        .unwrap()
        .evaluate(&loader(false))
        .unwrap_err()
        .to_string();
    assert!(error.contains("scores that are not numbers"), "{error}");
}
