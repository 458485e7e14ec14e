//! `predict`: what it takes, what it prints, and what it refuses.

#[path = "../../../tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn_zoo::prelude::*;
use common::{fixture, rule_model};
use serde_json::Value;

/// The beginning of a JPEG.
fn cut_jpeg(path: &Path) {
    let bytes = std::fs::read(fixture("pixels/photo.jpg")).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// A folder to work in, with a model of three named classes in `model`.
struct World {
    dir: tempfile::TempDir,
}

struct Ran {
    code: i32,
    out: String,
    errors: String,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spec = Zoo::test_resnet().num_classes(3).image_size(32);
        let names = ["cat", "dog", "eel"].map(str::to_owned).to_vec();
        let model = rule_model(spec, &Device::default());
        let model = model.with_classes(names).unwrap();
        model.export(dir.path().join("model")).unwrap();
        Self { dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Four images in `photos`, two of which are none, and a file that is not meant to be one.
    fn photos(&self) {
        std::fs::create_dir_all(self.at("photos/more")).unwrap();
        for (name, side) in [("photos/a.png", 40), ("photos/more/d.jpg", 50)] {
            let image = image::RgbImage::from_fn(side, 30, |x, y| {
                image::Rgb([(5 * x) as u8, (8 * y) as u8, side as u8])
            });
            image.save(self.at(name)).unwrap();
        }
        cut_jpeg(&self.at("photos/b.jpg"));
        std::fs::write(self.at("photos/c.png"), "").unwrap();
        std::fs::write(self.at("photos/notes.txt"), "").unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
            .args(arguments)
            .current_dir(self.dir.path())
            .env("BURN_DEVICE", "flex")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            errors: text(output.stderr),
        }
    }

    /// Expects an error, and nothing on standard output.
    fn fail(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_ne!(ran.code, 0, "{arguments:?}: {}", ran.out);
        assert_eq!(ran.out, "", "{arguments:?}");
        ran.errors
    }
}

#[test]
fn a_broken_file_is_a_row_beside_the_others() {
    let world = World::new();
    world.photos();
    let ran = world.run(&["predict", "model", "photos", "photos/a.png"]);
    assert_eq!(ran.code, 1, "{}", ran.errors);
    let rows: Vec<&str> = ran.out.lines().collect();
    let starts = ["image", "photos/a.png", "photos/b.jpg", "photos/c.png"];
    let starts = starts.iter().chain(&["photos/more/d.jpg", "photos/a.png"]);
    assert_eq!(rows.len(), 6, "{}", ran.out);
    for (row, start) in rows.iter().zip(starts) {
        assert!(row.starts_with(start), "{}", ran.out);
    }
    assert_eq!(rows[1], rows[5]);
    assert!(
        rows[2].contains("error: the data ends before"),
        "{}",
        rows[2]
    );
    assert!(rows[3].contains("error: the file is empty"), "{}", rows[3]);
    // Aligned: each class begins where the heading does.
    let column = rows[0].find("class").unwrap();
    for row in [rows[1], rows[4]] {
        assert!(["cat", "dog", "eel"].contains(&&row[column..column + 3]));
    }
    for told in [
        "photos: other files left out: 1 .txt",
        "1 of the images were given before",
    ] {
        assert!(ran.errors.contains(told), "{}", ran.errors);
    }
    let last = ran.errors.lines().last().unwrap();
    assert_eq!(
        last,
        "error: 2 of 5 images have no prediction; their rows say why"
    );
}

/// It is the flag that is wrong, and no image.
#[test]
fn a_size_that_the_model_does_not_take_is_one_error() {
    let world = World::new();
    world.photos();
    let spec = Zoo::get("convnext_atto").unwrap().num_classes(2);
    let model = spec.weights(Weights::Random(0)).build(&Device::default());
    model.unwrap().export(world.at("convnext")).unwrap();
    let error = world.fail(&[
        "predict",
        "./convnext",
        "photos/a.png",
        "--image-size",
        "20",
    ]);
    assert_eq!(
        error.lines().last().unwrap(),
        "error: convnext_atto: input expected as [batch, 3, height, width] with height and width of at \
         least 32, found [1, 3, 20, 20]; --image-size N brings images to N pixels"
    );
}

#[test]
fn one_json_document_has_images_errors_and_warnings() {
    let world = World::new();
    world.photos();
    let ran = world.run(&["predict", "model", "photos", "--json", "--top-k", "9"]);
    assert_eq!(ran.code, 1);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["images_read"], 2);
    assert_eq!(found["images_broken"], 2);
    assert_eq!(found["classes"], serde_json::json!(["cat", "dog", "eel"]));
    let images = found["images"].as_array().unwrap();
    assert_eq!(images[0]["image"], "photos/a.png");
    assert_eq!(images[0]["predictions"].as_array().unwrap().len(), 3);
    assert_eq!(images[1]["error"], "the data ends before the image does");
    let warnings = found["warnings"].to_string();
    assert!(warnings.contains("1 .txt"), "{warnings}");
    assert!(
        warnings.contains("--top-k 9: the model has 3 classes"),
        "{warnings}"
    );
}

#[test]
fn files_are_tables_and_lines_of_json() {
    let world = World::new();
    world.photos();
    let predict = |more: &[&str]| {
        let base = ["predict", "model", "photos", "--top-k", "2", "--output"];
        world.run(&[&base[..], more].concat())
    };
    let ran = predict(&["out.csv"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "2 images -> out.csv\n"));
    let mut reader = csv::Reader::from_path(world.at("out.csv")).unwrap();
    let heading = "path,class,probability,class_2,probability_2,error";
    assert_eq!(
        reader
            .headers()
            .unwrap()
            .iter()
            .collect::<Vec<_>>()
            .join(","),
        heading
    );
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(&rows[0][0], "photos/a.png");
    let (first, second): (f64, f64) = (rows[0][2].parse().unwrap(), rows[0][4].parse().unwrap());
    assert!(first >= second && second > 0.0 && first + second < 1.0);
    assert_eq!(&rows[0][5], "");
    assert_eq!(&rows[1][1], "");
    assert_eq!(&rows[1][5], "the data ends before the image does");

    let ran = predict(&["out.jsonl", "--json"]);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&found["output"], &found["images_broken"]),
        (&"out.jsonl".into(), &2.into())
    );
    let text = std::fs::read_to_string(world.at("out.jsonl")).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["path"], "photos/a.png");
    assert_eq!(lines[0]["predictions"][0]["name"], rows[0][1]);
    assert_eq!(lines[1]["error"], "the data ends before the image does");

    // What is there is replaced only when asked.
    let before = std::fs::read(world.at("out.csv")).unwrap();
    let ran = predict(&["out.csv"]);
    assert!(
        ran.errors
            .contains("out.csv exists already; pass --overwrite"),
        "{}",
        ran.errors
    );
    assert_eq!(std::fs::read(world.at("out.csv")).unwrap(), before);
    assert_eq!(
        predict(&["out.csv", "--overwrite"]).out,
        "2 images -> out.csv\n"
    );
    let ran = predict(&["out.txt"]);
    assert!(
        ran.errors.contains(".csv or .jsonl, found out.txt"),
        "{}",
        ran.errors
    );
    let left: Vec<_> = std::fs::read_dir(world.dir.path())
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(left.len(), 4, "model, photos and two files: {left:?}");
}

#[test]
fn patterns_are_what_a_shell_would_make_of_them() {
    let world = World::new();
    world.photos();
    let images = |pattern: &str| {
        let ran = world.run(&["predict", "model", pattern, "--json"]);
        let found: Value = serde_json::from_str(&ran.out).unwrap();
        let images = found["images"].as_array().unwrap().clone();
        let names = images
            .iter()
            .map(|i| i["image"].as_str().unwrap().to_owned());
        (ran.code, names.collect::<Vec<_>>())
    };
    assert_eq!(
        images("photos/?.png"),
        (1, vec!["photos/a.png".into(), "photos/c.png".into()])
    );
    assert_eq!(
        images("photos/**/d.jpg"),
        (0, vec!["photos/more/d.jpg".into()])
    );
    // A folder that matches is taken with what is below it.
    assert_eq!(images("photos/mo*"), (0, vec!["photos/more/d.jpg".into()]));
    let ran = world.run(&["predict", "model", "photos/*.bmp", "photos/a.png"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out
            .contains("photos/*.bmp  error: no file matches this pattern"),
        "{}",
        ran.out
    );
}

/// Hidden files are for those who name them. A name that is not UTF-8 is one as any other.
#[cfg(unix)]
#[test]
fn patterns_meet_names_of_all_kinds() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::new();
    world.photos();
    let odd = std::ffi::OsStr::from_bytes(b"photos/odd\xff.png");
    for name in [odd, "photos/.hidden.png".as_ref()] {
        std::fs::copy(world.at("photos/a.png"), world.dir.path().join(name)).unwrap();
    }
    std::fs::create_dir(
        world
            .dir
            .path()
            .join(std::ffi::OsStr::from_bytes(b"photos/\xff")),
    )
    .unwrap();
    for (pattern, expected) in [
        ("photos/o*.png", "\"photos/odd\\xFF.png\""),
        ("photos/.h*", "photos/.hidden.png"),
        ("photos/*/d.jpg", "photos/more/d.jpg"),
    ] {
        let ran = world.run(&["predict", "model", pattern, "--json"]);
        assert_eq!(ran.code, 0, "{pattern}: {}", ran.errors);
        let found: Value = serde_json::from_str(&ran.out).unwrap();
        let images = found["images"].as_array().unwrap();
        assert_eq!(images.len(), 1, "{pattern}: {images:?}");
        assert_eq!(images[0]["image"], expected, "{pattern}");
    }
    let ran = world.run(&["predict", "model", "photos/[.]h*"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
}

#[test]
fn the_first_of_several_frames_is_taken_and_told() {
    let world = World::new();
    world.photos();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/pixels");
    for name in ["photos/frames.gif", "photos/frames.tiff"] {
        std::fs::copy(fixtures.join(&name[7..]), world.at(name)).unwrap();
    }
    let ran = world.run(&["predict", "model", "photos/a.png", "photos/frames.*"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    let told = "photos/frames.gif: several frames or pages, of which the first is taken; images of several: 2";
    assert!(ran.errors.contains(told), "{}", ran.errors);
}

#[test]
fn no_image_at_all_is_an_error() {
    let world = World::new();
    world.photos();
    std::fs::create_dir(world.at("empty")).unwrap();
    std::fs::create_dir(world.at("texts")).unwrap();
    std::fs::write(world.at("texts/a.txt"), "").unwrap();
    for (arguments, expected) in [
        (&["empty"][..], "empty: the folder is empty"),
        (
            &["texts"],
            "texts: no image in this folder; other files left out: 1 .txt",
        ),
        (&["*.gif"], "*.gif: no file matches this pattern"),
        (
            &["x.png", "y.png"],
            "x.png: no such file or folder; y.png: no such file or folder",
        ),
    ] {
        let error = world.fail(&[&["predict", "model"], arguments].concat());
        assert_eq!(error, format!("error: no image to classify: {expected}\n"));
    }
}

#[test]
fn a_path_that_leads_to_no_model_is_named_as_one() {
    let world = World::new();
    world.photos();
    std::fs::write(world.at("file"), "").unwrap();
    let image = "photos/a.png";
    for command in ["predict", "info", "finetune", "lr-find", "bench"] {
        let images = if command == "predict" {
            &[image][..]
        } else {
            &[]
        };
        let fail = |model: &str| world.fail(&[&[command, model], images].concat());
        for model in ["./modle", "./photos/../modle"] {
            let error = fail(model);
            assert!(
                error.contains(&format!("error: {model}: no such folder")),
                "{error}"
            );
            assert!(error.contains("there are ./"), "{error}");
        }
        let error = fail("photos");
        assert!(
            error.contains("photos: is no run and no exported model"),
            "{error}"
        );
        let error = fail("file");
        assert!(
            error.contains("found a file; the weights in a file"),
            "{error}"
        );
        // A single word may be either.
        let error = fail("modle");
        assert!(error.contains("unknown model `modle`"), "{error}");
        assert!(
            error.contains("nor is there a folder modle; there are model"),
            "{error}"
        );
        let error = fail("timm/resnet18.a1_in1k");
        assert!(error.contains("hf-hub:timm/resnet18.a1_in1k"), "{error}");
    }
    for command in ["eval", "report", "export"] {
        let more = if command == "export" {
            &["to"][..]
        } else {
            &[]
        };
        let error = world.fail(&[&[command, "modle"], more].concat());
        assert!(error.contains("modle"), "{error}");
    }
}

#[test]
fn training_starts_from_a_folder() {
    let world = World::new();
    let tune = |model: &str, more: &[&str]| {
        let few = [
            "--limit-train",
            "64",
            "--limit-test",
            "20",
            "--epochs",
            "1",
            "--no-report",
        ];
        world.run(&[&["finetune", model], &few[..], more].concat())
    };
    for (model, name) in [
        ("model", "model"),
        ("./model", "model"),
        ("local-dir:model", "model"),
    ] {
        let ran = tune(model, &["--json"]);
        assert_eq!(ran.code, 0, "{}", ran.errors);
        let found: Value = serde_json::from_str(&ran.out).unwrap();
        let told = found["warnings"].to_string();
        assert!(told.contains("weights: those of the model in "), "{told}");
        assert!(!told.contains("weights: random"), "{told}");
        let run = found["run"].as_str().unwrap();
        assert!(
            Path::new(run)
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(name),
            "{run}"
        );
    }
    // A run is a folder of a model, too.
    let ran = tune("runs/model-fashion-mnist-mini-1", &["--out", "second"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    let ran = tune("model", &["--weights", "random", "--out", "third"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    assert!(!ran.errors.contains("those of the model"), "{}", ran.errors);
    let error = world.fail(&["finetune", "model", "--weights", "hub"]);
    assert!(
        error.contains("--weights hub: model has weights of its own"),
        "{error}"
    );
}

#[test]
fn no_clause_of_an_error_is_said_twice() {
    let world = World::new();
    world.photos();
    for name in ["torn", "bare", "odd"] {
        std::fs::create_dir(world.at(name)).unwrap();
        let config = std::fs::read(world.at("model/config.json")).unwrap();
        std::fs::write(world.at(name).join("config.json"), config).unwrap();
    }
    std::fs::write(world.at("odd/config.json"), "{").unwrap();
    std::fs::write(world.at("torn/model.safetensors"), "torn").unwrap();
    let image = "photos/a.png";
    for arguments in [
        &["eval", "none"][..],
        &["eval", "photos"],
        &["eval", "bare"],
        &["eval", "odd"],
        &["eval", "torn"],
        &["predict", "bare", image],
        &["predict", "odd", image],
        &["predict", "./none", image],
        &["predict", "model", image, "--output", "none/out.csv"],
        &["predict", "resnet18", image, "--weights", "none.pth"],
        &["info", "odd"],
        &["export", "none", "to"],
        &["report", "none"],
        &["finetune", "--resume", "none"],
        &["finetune", "test_resnet", "--weights", "none.pth"],
        &["finetune", "test_resnet", "--data", "photos"],
        &[
            "logits",
            "test_resnet",
            "--weights",
            "random",
            "--input",
            "none",
            "--output",
            "to",
        ],
        &[
            "bench",
            "test_resnet",
            "--mode",
            "load",
            "--weights",
            "none.pth",
        ],
    ] {
        let error = world.run(arguments).errors;
        let line = error.lines().find(|line| line.starts_with("error: "));
        let line = line.unwrap_or_else(|| panic!("{arguments:?}: {error}"));
        let clauses: Vec<&str> = line.split(": ").flat_map(|part| part.split("; ")).collect();
        for (index, clause) in clauses.iter().enumerate() {
            assert!(!clauses[..index].contains(clause), "{arguments:?}: {line}");
        }
        assert!(line.matches("os error").count() < 2, "{line}");
    }
}

#[test]
fn what_has_no_effect_is_refused() {
    let world = World::new();
    for (arguments, flag) in [
        (
            &["bench", "test_resnet", "--optimizer", "adam"][..],
            "--optimizer: only with",
        ),
        (
            &["bench", "test_resnet", "--weights", "f.pth"],
            "--weights: only with",
        ),
        (&["list", "resnet*", "--check"], "cannot be used with"),
        (&["list", "--check", "--json"], "cannot be used with"),
    ] {
        let error = world.fail(arguments);
        assert!(error.contains(flag), "{error}");
    }
    // The classes of the weights that are named, not those of the architecture.
    let ran = world.run(&["info", "vit_tiny_patch16_224.augreg_in21k", "--json"]);
    let info: Value = serde_json::from_str(&ran.out).unwrap();
    let layers = info["layers"].as_array().unwrap();
    let head = layers.iter().find(|l| l["name"] == "head.fc").unwrap();
    assert_eq!(head["output"], serde_json::json!([21843]));
}
