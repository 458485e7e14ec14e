//! From an image file to the probabilities that timm gives, and from many files to a table.

mod common;

use std::path::{Path, PathBuf};

use burn_zoo::data::{FolderOptions, FolderWarning, ImageFiles};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::augment::Views;
use burn_zoo::preprocess::{CropMode, Image, Interpolation, Resizing};
use burn_zoo::train::PredictOptions;
use common::{fixture, rule_model};

#[derive(serde::Deserialize)]
struct Case {
    image: String,
    interpolation: Interpolation,
    crop_pct: f64,
    crop_mode: CropMode,
    probabilities: Vec<f64>,
}

#[test]
fn the_whole_way_gives_timms_probabilities() {
    let text = std::fs::read_to_string(fixture("predict.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() > 50, "{}", cases.len());
    let mut worst = [0f64; 2];
    for case in cases {
        let spec = Zoo::test_resnet().num_classes(10).resizing(Resizing {
            interpolation: case.interpolation,
            crop_pct: case.crop_pct,
            crop_mode: case.crop_mode,
        });
        let model = rule_model(spec, &Device::default());
        let image = Image::open(fixture("pixels").join(&case.image)).unwrap();
        let mut found = [0.0; 10];
        for prediction in model.predict(&image, Some(64), 10).unwrap() {
            found[prediction.class] = prediction.probability;
        }
        let pairs = found.iter().zip(&case.probabilities);
        let error = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let jpeg = case.image.ends_with(".jpg");
        worst[usize::from(jpeg)] = worst[usize::from(jpeg)].max(error);
        assert!(
            error < 1e-3,
            "{} {:?}: {error}",
            case.image,
            case.interpolation
        );
    }
    println!(
        "largest difference: lossless {:.1e}, JPEG {:.1e}",
        worst[0], worst[1]
    );
}

/// The images of the fixtures, of many sizes and kinds.
fn images() -> Vec<PathBuf> {
    let found = ImageFiles::below(fixture("pixels"), &FolderOptions::default()).unwrap();
    assert!(found.files.len() > 20, "{}", found.files.len());
    found.files
}

/// The beginning of a JPEG.
fn cut_jpeg(path: &Path) {
    let jpeg = images()
        .into_iter()
        .find(|f| f.extension().unwrap() == "jpg");
    let bytes = std::fs::read(jpeg.unwrap()).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn many_files_are_predicted_as_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = images();
    cut_jpeg(&dir.path().join("cut.jpg"));
    files.insert(3, dir.path().join("cut.jpg"));
    files.insert(7, dir.path().join("none.png"));
    let model = rule_model(Zoo::test_resnet().num_classes(4), &Device::default());
    for (image_size, views) in [
        (Some(64), Views::One),
        (Some(64), Views::Flip),
        (None, Views::One),
    ] {
        let alone = files.iter().map(|file| {
            let image = Image::open(file)?;
            model.predict_views(&image, image_size, 3, views)
        });
        let alone: Vec<_> = alone.collect();
        for (batch_size, workers) in [(1, 0), (5, 1), (8, 3), (1000, 2)] {
            let options = PredictOptions {
                image_size,
                top_k: 3,
                views,
                batch_size,
                workers,
                ..PredictOptions::default()
            };
            let found: Vec<_> = model
                .predict_files(files.clone(), options)
                .unwrap()
                .collect();
            assert_eq!(found.len(), files.len());
            for ((found, alone), file) in found.iter().zip(&alone).zip(&files) {
                assert_eq!(&found.path, file);
                match (&found.result, alone) {
                    (Ok(found), Ok(alone)) => {
                        assert_eq!(found.len(), 3);
                        for (a, b) in found.iter().zip(alone) {
                            assert!((a.probability - b.probability).abs() < 1e-4, "{file:?}");
                        }
                    }
                    (Err(found), Err(alone)) => {
                        assert_eq!(found.to_string(), alone.to_string());
                    }
                    (found, alone) => panic!("{}: {found:?} / {alone:?}", file.display()),
                }
            }
            let failed = found.iter().filter(|f| f.result.is_err()).count();
            assert_eq!(failed, 2, "the two that were put in");
        }
    }
}

#[test]
fn an_image_that_the_model_does_not_take_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for side in [32, 16, 32] {
        let path = dir.path().join(format!("{}.png", files.len()));
        image::RgbImage::new(side, side).save(&path).unwrap();
        files.push(path);
    }
    let spec = Zoo::get("test_vit").unwrap().image_size(32).num_classes(2);
    let model = rule_model(spec, &Device::default());
    let found = model
        .predict_files(files, PredictOptions::default())
        .unwrap();
    let failed: Vec<bool> = found.map(|file| file.result.is_err()).collect();
    assert_eq!(failed, [false, true, false]);
}

#[test]
fn options_out_of_range_are_refused() {
    let model = rule_model(Zoo::test_resnet().num_classes(2), &Device::default());
    let refuses = |options: PredictOptions, what: &str| {
        let error = model.predict_files(Vec::new(), options).err().unwrap();
        assert!(error.to_string().starts_with(what), "{error}");
    };
    let batch_size = 0;
    let options = PredictOptions::default;
    refuses(
        PredictOptions {
            batch_size,
            ..options()
        },
        "batch_size: ",
    );
    let workers = 1000;
    refuses(
        PredictOptions {
            workers,
            ..options()
        },
        "workers: ",
    );
    let image_size = Some(0);
    refuses(
        PredictOptions {
            image_size,
            ..options()
        },
        "image_size: ",
    );
    let headless = rule_model(Zoo::test_resnet().num_classes(0), &Device::default());
    let error = headless.predict_files(Vec::new(), options()).err().unwrap();
    assert!(error.to_string().contains("without a head"), "{error}");
}

#[test]
fn a_folder_without_classes_is_its_images() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("b/c")).unwrap();
    std::fs::create_dir_all(at(".git")).unwrap();
    for name in [
        "z.jpg",
        "a.PNG",
        "b/c/1.webp",
        "b/2.gif",
        ".git/x.png",
        ".y.png",
    ] {
        std::fs::write(at(name), "").unwrap();
    }
    for name in ["notes.txt", "b/more.txt", "LICENSE"] {
        std::fs::write(at(name), "").unwrap();
    }
    let options = FolderOptions::default();
    let found = ImageFiles::below(dir.path(), &options).unwrap();
    let names = ["a.PNG", "b/2.gif", "b/c/1.webp", "z.jpg"].map(at);
    assert_eq!(found.files, names);
    assert_eq!(found.hidden, 1);
    assert_eq!(found.junk[".git"], 1);
    assert_eq!(found.others["txt"], 2);
    assert_eq!(found.others[""], 1);
    assert!(found.broken.is_empty());
    let left_out = found.left_out().join("\n");
    for named in ["2 .txt", "1 without extension", "hidden", "1 .git"] {
        assert!(left_out.contains(named), "{named} in {left_out}");
    }

    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("nowhere", at("gone.png")).unwrap();
        symlink(dir.path(), at("b/loop")).unwrap();
        let found = ImageFiles::below(dir.path(), &options).unwrap();
        assert_eq!(found.files, names, "each once");
        assert_eq!(found.broken.len(), 1);
        assert_eq!(found.broken[0].path, at("gone.png"));
        let path = at("b/loop");
        assert_eq!(found.warnings, [FolderWarning::SameFolder { path }]);
    }
    assert!(ImageFiles::below(at("none"), &options).is_err());
}

/// The command.
#[cfg(all(feature = "cli", feature = "flex", feature = "fashion-mnist-mini"))]
mod command {
    use std::process::{Command, Output};

    use serde_json::Value;

    use super::*;

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
        assert_eq!(last, "error: 2 of 5 images could not be read");
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
        let (first, second): (f64, f64) =
            (rows[0][2].parse().unwrap(), rows[0][4].parse().unwrap());
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
}
