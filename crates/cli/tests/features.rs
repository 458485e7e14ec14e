//! `embed` and `probe`: features of images, and what they are worth.

#[path = "../../../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::{Command, Output};

use burn_zoo::prelude::*;
use safetensors::SafeTensors;
use serde_json::Value;

fn burn_zoo(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
        .args(arguments)
        .env("BURN_DEVICE", "flex")
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HUB_CACHE", dir.join("hub"))
        .current_dir(dir)
        .output()
        .unwrap()
}

fn run(dir: &Path, arguments: &[&str]) -> (String, String) {
    let output = burn_zoo(dir, arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    (String::from_utf8(output.stdout).unwrap(), errors)
}

fn json(dir: &Path, arguments: &[&str]) -> Value {
    let (text, _) = run(dir, arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn fail(dir: &Path, code: i32, arguments: &[&str]) -> String {
    let output = burn_zoo(dir, arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    errors
}

/// Folders of two classes, with a test part beside the other two.
fn photos(dir: &Path) {
    for (part, count) in [("train", 6), ("val", 3), ("test", 2)] {
        for (class, name) in ["dark", "light"].into_iter().enumerate() {
            let folder = dir.join("photos").join(part).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for index in 0..count {
                let value = (40 + 150 * class + 5 * index) as u8;
                let image = image::RgbImage::from_fn(24, 20, |x, y| {
                    image::Rgb([value, value.wrapping_add((x % 7) as u8), (y % 5) as u8])
                });
                image.save(folder.join(format!("{index}.png"))).unwrap();
            }
        }
    }
}

#[test]
fn features_are_written_with_the_names_of_their_images() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    photos(dir);
    let base = [
        "embed",
        "photos",
        "--model",
        "test_resnet",
        "--weights",
        "random",
        "--image-size",
        "32",
        "--out",
    ];
    let result = json(dir, &[&base[..], &["x.safetensors", "--json"]].concat());
    assert_eq!(result["images"], 22);
    assert_eq!(result["features"], 96);
    assert_eq!(
        result["parts"],
        serde_json::json!({ "train": 12, "val": 6, "test": 4 })
    );
    let bytes = std::fs::read(dir.join("x.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (features, labels) = (
        tensors.tensor("features").unwrap(),
        tensors.tensor("labels").unwrap(),
    );
    assert_eq!(
        (features.shape(), labels.shape()),
        (&[22, 96][..], &[22][..])
    );
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    assert_eq!(metadata["classes"], r#"["dark","light"]"#);
    assert_eq!(metadata["model"], "test_resnet");

    let mut rows = csv::Reader::from_path(dir.join("x.safetensors.csv")).unwrap();
    assert_eq!(
        rows.headers().unwrap(),
        vec!["path", "label", "class", "part"]
    );
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 22);
    let labels = labels
        .data()
        .as_chunks::<8>()
        .0
        .iter()
        .map(|b| i64::from_le_bytes(*b));
    for (row, label) in rows.iter().zip(labels) {
        assert_eq!(row[1], label.to_string());
        assert_eq!(row[2], *["dark", "light"][label as usize]);
        assert!(dir.join(&row[0]).exists() && row[0].contains(&format!("/{}/", &row[3])));
    }

    // A name that names weights, and others that are asked for.
    let other = [
        "embed",
        "photos",
        "--model",
        "resnet18.fractal",
        "--image-size",
        "32",
    ];
    let more = ["--weights", "random", "--out", "other.npy", "--json"];
    let other = json(dir, &[&other[..], &more].concat());
    assert_eq!(other["weights"], "random (seed 0)");
    let warnings = other["warnings"].as_array().unwrap();
    let told = "--weights random: in place of those that resnet18.fractal names";
    assert!(warnings.contains(&told.into()), "{warnings:?}");

    // The same vectors as a matrix of NumPy's, and as the library computes them.
    let (text, _) = run(dir, &[&base[..], &["x.npy"]].concat());
    assert!(
        text.starts_with(
            "22 images (12 train, 6 val, 4 test) at 32 pixels, 96 features each -> x.npy\n"
        ),
        "{text}"
    );
    let npy = std::fs::read(dir.join("x.npy")).unwrap();
    assert!(npy.starts_with(b"\x93NUMPY\x01\x00") && npy.ends_with(features.data()));
    assert_eq!(npy.len() % 64, features.data().len() % 64);
    let device = burn_zoo::device("cpu").unwrap();
    let spec = Zoo::test_resnet()
        .weights(Weights::Random(0))
        .num_classes(0);
    let model = spec.build(&device).unwrap();
    let image = burn_zoo::preprocess::Image::open(dir.join(&rows[21][0])).unwrap();
    let values = model.preprocess(Some(32.into())).apply(&image);
    let data = burn::tensor::TensorData::new(values, [1, 3, 32, 32]);
    let vector = model.forward(Tensor::from_data(data, &device)).unwrap();
    let last: Vec<f32> = features.data()[21 * 96 * 4..]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    assert!(common::relative_error(&last, &common::values(&vector)) < 1e-5);
}

#[test]
fn what_cannot_be_embedded_is_named_before_anything_is_computed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    photos(dir);
    let embed = |code: i32, more: &[&str]| fail(dir, code, &[&["embed", "photos"], more].concat());
    let random = ["--model", "test_resnet", "--weights", "random", "--out"];
    assert!(
        embed(1, &[&random[..], &["x.pt"]].concat())
            .contains("--out: expected a file that ends in .safetensors or .npy, found x.pt")
    );
    assert!(
        embed(1, &[&random[..], &["no/x.npy"]].concat())
            .contains("--out: expected a folder that exists, found no")
    );
    std::fs::create_dir(dir.join("folder.npy")).unwrap();
    assert!(
        embed(1, &[&random[..], &["folder.npy", "--overwrite"]].concat())
            .contains("--out: expected a file, found the folder folder.npy")
    );
    assert!(!dir.join("folder.npy.csv").exists());
    std::fs::write(dir.join("x.npy.csv"), "mine").unwrap();
    assert!(
        embed(1, &[&random[..], &["x.npy"]].concat())
            .contains("--out: x.npy.csv exists already; pass --overwrite")
    );
    assert_eq!(
        std::fs::read_to_string(dir.join("x.npy.csv")).unwrap(),
        "mine"
    );
    run(
        dir,
        &[&["embed", "photos"], &random[..], &["x.npy", "--overwrite"]].concat(),
    );
    assert!(
        embed(1, &["--model", "test_resnet", "--out", "y.npy"]).contains(
            "--weights: expected bundled, hub, hub:TAG, original[:TAG], random or a file"
        )
    );
    let misspelt = [
        "--model",
        "test_resnet",
        "--weights",
        "bundle",
        "--out",
        "y.npy",
    ];
    assert!(embed(1, &misspelt).contains("or a file that exists, found `bundle`"));
    assert!(
        embed(1, &["--model", "resnet20", "--out", "y.npy"]).contains("unknown model `resnet20`")
    );
    assert!(
        embed(1, &[&random[..], &["y.npy", "--num-classes", "3"]].concat())
            .contains("--num-classes: has no effect")
    );
    let error = fail(
        dir,
        2,
        &["embed", "cifar", "--model", "resnet18", "--out", "y.npy"],
    );
    assert!(
        error.contains("'cifar' for '<DATA>': expected fashion-mnist"),
        "{error}"
    );
    let small = [
        "embed",
        "fashion-mnist-mini",
        "--limit-train",
        "10",
        "--limit-test",
        "10",
        "--model",
        "convnext_atto",
        "--weights",
        "random",
        "--out",
        "y.npy",
    ];
    assert!(fail(dir, 1, &small).contains("--image-size N brings images to N pixels"));
    let hint = "found [1, 3, 20, 20]; --image-size N brings images to N pixels";
    let small = [
        "--weights",
        "random",
        "--image-size",
        "20",
        "--data",
        "photos",
    ];
    assert!(
        fail(
            dir,
            1,
            &[&["finetune", "convnext_atto"], &small[..]].concat()
        )
        .contains(hint)
    );
    assert!(
        fail(
            dir,
            1,
            &[&["lr-find", "convnext_atto"], &small[..]].concat()
        )
        .contains(hint)
    );
    std::fs::write(dir.join("photos/train/dark/broken.png"), "no image").unwrap();
    let error = embed(1, &[&random[..], &["y.npy"]].concat());
    assert!(
        error.contains("broken.png") && error.contains("--skip-broken"),
        "{error}"
    );
    assert!(!dir.join("y.npy").exists());
    let (text, errors) = run(
        dir,
        &[
            &["embed", "photos", "--skip-broken"],
            &random[..],
            &["y.npy"],
        ]
        .concat(),
    );
    assert!(
        text.starts_with("22 images") && errors.contains("broken.png"),
        "{errors}"
    );
}

/// An image that shows its damage only when it is decoded.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let start = bytes.windows(4).position(|name| name == b"IDAT").unwrap() + 4;
    bytes[start..start + 8].fill(0xff);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_was_read_is_what_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    photos(dir);
    damage(&dir.join("photos/train/dark/1.png"));
    damage(&dir.join("photos/val/light/2.png"));
    let base = ["probe", "photos", "--weights", "random", "--skip-broken"];
    let more = ["--model", "test_resnet,test_vit", "--neighbors", "1,12"];
    let (text, errors) = run(dir, &[&base[..], &more].concat());
    assert!(
        text.ends_with("\naccuracy on 5 validation images, after 11 to learn from\n"),
        "{text}"
    );
    assert!(
        errors.contains("--neighbors 12: left out, as there are 11 training images"),
        "{errors}"
    );
    // Each model at the size that it was trained at, which shows.
    for row in ["test_resnet", "test_vit"] {
        let row = text.lines().find(|line| line.contains(row)).unwrap();
        assert!(row.contains("   160   "), "{row}");
    }
    let more = ["--model", "test_resnet", "--image-size", "32x48", "--json"];
    let found = json(dir, &[&base[..], &more].concat());
    assert_eq!(found["models"][0]["image_size"], "32x48");
    let twice = ["--model", "test_resnet", "--neighbors", "5,1,5"];
    assert_eq!(
        fail(dir, 1, &[&base[..], &twice].concat()),
        "error: --neighbors: expected each number once, found 5 twice\n"
    );
}

/// A size that nobody asked for is told.
#[test]
fn photographs_are_brought_to_a_size_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    photos(dir);
    let base = [
        "finetune",
        "resnet18.fractal",
        "--data",
        "photos",
        "--epochs",
        "1",
    ];
    let quick = ["--batch-size", "4", "--no-report", "--tensorboard", "off"];
    let told = "images are brought to 28 x 28 pixels\n";
    let (_, errors) = run(dir, &[&base[..], &quick].concat());
    assert!(errors.contains(told), "{errors}");
    let (_, errors) = run(dir, &[&base[..], &quick, &["--image-size", "28"]].concat());
    assert!(!errors.contains("brought to"), "{errors}");
}

/// From training to a folder, its use and its features.
#[test]
fn images_that_are_not_square_go_through_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    photos(dir);
    let size = ["--image-size", "48x32", "--data", "photos", "--epochs", "1"];
    for (model, run_dir) in [("test_vit", "vit"), ("test_resnet", "resnet")] {
        let start = ["finetune", model, "--weights", "random", "--out", run_dir];
        run(dir, &[&start[..], &size, &["--batch-size", "4"]].concat());
        assert!(dir.join(run_dir).join("report.html").exists());
        let folder = format!("{run_dir}-exported");
        run(dir, &["export", run_dir, &folder]);
        let config = std::fs::read_to_string(dir.join(&folder).join("config.json")).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(
            config["pretrained_cfg"]["input_size"],
            serde_json::json!([3, 48, 32])
        );
        for model in [run_dir, &folder] {
            let result = json(dir, &["eval", model, "--data", "photos/val", "--json"]);
            assert_eq!(result["images"], 6);
            // At another size, too.
            let eval = [
                "eval",
                model,
                "--data",
                "photos/val",
                "--image-size",
                "32x64",
            ];
            assert!(run(dir, &eval).0.contains("over 6 images"));
            let (text, _) = run(dir, &["predict", model, "photos/test"]);
            assert_eq!(text.lines().count(), 5, "{text}");
            let info = json(dir, &["info", model, "--json"]);
            assert_eq!(info["input"], serde_json::json!([3, 48, 32]));
            let out = format!("{model}.npy");
            let found = json(
                dir,
                &["embed", "photos", "--model", model, "--out", &out, "--json"],
            );
            assert_eq!(found["image_size"], "48x32");
        }
    }
}

#[test]
fn models_are_compared_on_the_same_images() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let tuned = Zoo::test_resnet().weights(Weights::Random(3)).adapt(1, 10);
    let device = burn_zoo::device("cpu").unwrap();
    tuned
        .build(&device)
        .unwrap()
        .export(dir.join("tuned"))
        .unwrap();
    let base = [
        "probe",
        "fashion-mnist-mini",
        "--limit-train",
        "400",
        "--limit-test",
        "200",
    ];
    let found = json(
        dir,
        &[
            &base[..],
            &["--model", "./tuned,resnet18.fractal", "--json"],
        ]
        .concat(),
    );
    assert_eq!(
        (&found["train_images"], &found["test_images"]),
        (&400.into(), &200.into())
    );
    // Models are chosen by images that are no test images.
    assert_eq!(found["part"], "val");
    let models = found["models"].as_array().unwrap();
    // Best first: pretrained weights tell more than random ones.
    assert_eq!(models[0]["model"], "resnet18.fractal");
    let accuracy = |model: &Value| model["linear"]["accuracy"].as_f64().unwrap();
    assert!(accuracy(&models[0]) > 0.7 && accuracy(&models[0]) >= accuracy(&models[1]));
    for model in models {
        let of_k = model["nearest_neighbors"].as_array().unwrap();
        assert!(
            of_k.iter()
                .map(|k| k["neighbors"].as_u64().unwrap())
                .eq([1, 5, 20])
        );
        assert!(of_k.iter().all(|k| k["accuracy"].as_f64().unwrap() > 0.3));
        assert_eq!(model["linear"]["tried"].as_array().unwrap().len(), 7);
        assert!(model["feature_seconds"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(models[0]["terms"], "commercial");

    // What one model meets is told, and the others are looked at all the same.
    let list = "resnet18.fractal,convnext_atto";
    let output = burn_zoo(
        dir,
        &[&base[..], &["--model", list, "--weights", "bundled"]].concat(),
    );
    let (text, errors) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("resnet18.fractal") && text.contains("20-NN") && text.contains("11.2 M"),
        "{text}"
    );
    assert!(
        text.ends_with("accuracy on 200 validation images, after 400 to learn from\n"),
        "{text}"
    );
    assert!(
        errors.contains("error: convnext_atto: ")
            && errors.ends_with("error: 1 of 2 models could not be probed\n"),
        "{errors}"
    );

    let output = burn_zoo(
        dir,
        &[&base[..], &["--model", "hf-hub:nobody/nothing,./tuned"]].concat(),
    );
    let (text, errors) = (output.stdout, String::from_utf8(output.stderr).unwrap());
    assert!(String::from_utf8(text).unwrap().contains("./tuned"));
    assert!(
        errors.contains("error: hf-hub:nobody/nothing: cannot fetch `config.json`")
            && errors.ends_with("error: 1 of 2 models could not be probed\n"),
        "{errors}"
    );

    let few = [
        "probe",
        "fashion-mnist-mini",
        "--limit-train",
        "8",
        "--limit-test",
        "20",
        "--model",
        "./tuned",
    ];
    let (text, errors) = run(dir, &few);
    assert!(
        !text.contains("20-NN")
            && errors.contains("--neighbors 20: left out, as there are 8 training images"),
        "{text}{errors}"
    );
    let twice = fail(
        dir,
        1,
        &[&base[..], &["--model", "./tuned,./tuned"]].concat(),
    );
    assert!(
        twice.contains("--model: expected each model once, found ./tuned twice"),
        "{twice}"
    );
    let unknown = fail(
        dir,
        1,
        &[
            &base[..],
            &["--model", "./tuned,resnet20", "--weights", "random"],
        ]
        .concat(),
    );
    assert!(unknown.contains("unknown model `resnet20`"), "{unknown}");
}
