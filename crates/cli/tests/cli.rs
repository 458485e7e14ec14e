//! The command: what it prints, where, and with which exit code.

#[path = "../../../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::{Command, Output};

use burn_zoo::prelude::*;
use burn_zoo::train::RunConfig;
use common::{Fixture, relative_error, rule, rule_model};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;

fn burn_zoo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
        .args(arguments)
        .env("BURN_DEVICE", "flex")
        .output()
        .unwrap()
}

/// Runs and expects success; standard output.
fn run(arguments: &[&str]) -> String {
    let output = burn_zoo(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs with `--json`: standard output must be one JSON document and nothing else.
fn json(arguments: &[&str]) -> Value {
    let text = run(arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs and expects failure with this exit code; standard error. Nothing is on standard output.
fn fail(code: i32, arguments: &[&str]) -> String {
    let output = burn_zoo(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    errors
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

fn write_tensor(path: &str, name: &str, shape: &[usize], values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).unwrap();
    let file = safetensors::serialize([(name, view)], None).unwrap();
    std::fs::write(path, file).unwrap();
}

#[test]
fn list_shows_what_a_pattern_matches() {
    let text = run(&["list", "resnet1?"]);
    assert!(
        text.contains("resnet18") && text.contains("11.7 M"),
        "{text}"
    );
    assert!(
        !text.contains("resnet34") && !text.contains("resnet18d"),
        "{text}"
    );
    let all = json(&["list", "--json"]);
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), burn_zoo::zoo::architectures().count());
    assert_eq!(all[0]["name"], "resnet18");
    assert_eq!(all[0]["parameters"], 11_689_512);
    assert_eq!(
        fail(1, &["list", "no_such*"]),
        "error: no model matches `no_such*`; `burn-zoo list` names them all\n"
    );
}

#[test]
fn info_describes_a_model() {
    let text = run(&[
        "info",
        "resnet18",
        "--in-channels",
        "1",
        "--num-classes",
        "10",
    ]);
    assert!(
        text.starts_with("resnet18 for an image of [1, 224, 224]\n"),
        "{text}"
    );
    let info = json(&[
        "info",
        "test_vit",
        "--image-size",
        "32",
        "--num-classes",
        "3",
        "--json",
    ]);
    assert_eq!(info["input"], serde_json::json!([3, 32, 32]));
    assert!(
        info["layers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|l| l["name"] == "stem.pos_embed")
    );
    let error = fail(1, &["info", "resnet20"]);
    assert!(
        error.starts_with("error: unknown model `resnet20`; did you mean "),
        "{error}"
    );
}

/// The whole life of a model, through the command alone.
#[test]
fn a_model_is_tuned_judged_exported_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| path(dir.path(), name);
    let (out, exported) = (at("run"), at("exported"));
    let tune = [
        "finetune",
        "test_resnet",
        "--data",
        "fashion-mnist-mini",
        "--recipe",
        "full",
        "--weights",
        "random",
        "--epochs",
        "2",
        "--batch-size",
        "32",
        "--lr",
        "3e-3",
        "--optimizer",
        "adam",
        "--schedule",
        "cosine",
        "--image-size",
        "28",
        "--freeze",
        "nothing",
        "--seed",
        "5",
        "--limit-train",
        "320",
        "--limit-test",
        "100",
        "--out",
        &out,
    ];
    let result = json(&[&tune[..], &["--json"]].concat());
    assert_eq!(result["run"], out.as_str());
    let best = result["best_epoch"].as_u64().unwrap();
    assert!((1..=2).contains(&best) && result["seconds"].as_f64().unwrap() > 0.0);
    let accuracy = result["valid_accuracy"].as_f64().unwrap();

    // Unasked it is not overwritten; asked, it is.
    let error = fail(1, &tune);
    assert!(
        error.contains(" exists already; choose another folder with --out"),
        "{error}"
    );
    let text = run(&[&tune[..], &["--overwrite"]].concat());
    assert!(
        text.contains("\nbest: epoch ") && text.contains("model: "),
        "{text}"
    );

    let eval = json(&["eval", &out, "--limit-test", "100", "--json"]);
    assert_eq!(eval["accuracy"].as_f64().unwrap(), accuracy);
    assert_eq!(eval["confusion"].as_array().unwrap().len(), 10);
    assert_eq!(eval["per_class"][1]["name"], "Trouser");
    let text = run(&["eval", &out, "--limit-test", "100"]);
    assert!(
        text.starts_with("accuracy ") && text.contains("9 Ankle boot"),
        "{text}"
    );

    run(&["export", &out, &exported]);
    assert!(fail(1, &["export", &out, &exported]).contains(" exists already; pass --overwrite"));
    run(&["export", &out, &exported, "--overwrite"]);

    let (file, folder) = (at("model.onnx"), at("for-onnx"));
    assert!(run(&["export", &out, &file]).contains("onnxruntime"));
    assert!(Path::new(&file).is_file());
    assert!(fail(1, &["export", &out, &file]).contains(" exists already; pass --overwrite"));
    run(&[
        "export",
        &out,
        &file,
        "--overwrite",
        "--image-size",
        "32x24",
    ]);
    run(&[
        "export",
        &exported,
        &folder,
        "--format",
        "onnx",
        "--dynamic-size",
    ]);
    let written: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert_eq!(written.len(), 1);
    assert!(Path::new(&folder).join("model.onnx").is_file());
    let other = at("other");
    for (arguments, flag) in [
        (&[&*file, "--half"][..], "--half"),
        (&[&*file, "--format", "folder"], "--format"),
        (&[&*other, "--dynamic-size"], "--dynamic-size"),
        (&[&*other, "--image-size", "32"], "--image-size"),
    ] {
        let error = fail(1, &[&["export", &out][..], arguments].concat());
        assert!(
            error.contains(&format!("{flag}: ")) || error.contains(&format!("{flag} ")),
            "{error}"
        );
    }
    assert!(!Path::new(&other).exists());

    // An exported model has no images of its own: it is judged by the test images.
    let test = ["--part", "test", "--limit-test", "100", "--json"];
    let own = json(&[&["eval", &out][..], &test].concat());
    let again = json(&["eval", &exported, "--limit-test", "100", "--json"]);
    assert_eq!(again["accuracy"], own["accuracy"]);
    assert_eq!(again["loss"], own["loss"]);

    let image = at("boot.png");
    let data = FashionMnist::bundled().unwrap();
    let pixels = data.test().pixels(0).unwrap().to_vec();
    image::GrayImage::from_raw(28, 28, pixels)
        .unwrap()
        .save(&image)
        .unwrap();
    let found = json(&["predict", &exported, &image, "--top-k", "3", "--json"]);
    let found = &found["images"][0];
    let predictions = found["predictions"].as_array().unwrap();
    assert_eq!(
        (found["image"].as_str().unwrap(), predictions.len()),
        (image.as_str(), 3)
    );
    let text = run(&["predict", &out, &image, &image]);
    assert_eq!(text.lines().count(), 1 + 2, "{text}");

    // The run's model computes the same from either folder.
    let (input, one, two) = (
        at("in.safetensors"),
        at("1.safetensors"),
        at("2.safetensors"),
    );
    write_tensor(
        &input,
        "input",
        &[2, 1, 28, 28],
        &rule("input", &[2, 1, 28, 28]),
    );
    run(&["logits", &out, "--input", &input, "--output", &one]);
    run(&["logits", &exported, "--input", &input, "--output", &two]);
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
}

#[test]
fn logits_are_timms() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| path(dir.path(), name);
    let expected = Fixture::open("parity/resnet18.safetensors");
    let device = Device::default();
    rule_model(Zoo::resnet18(), &device)
        .export(dir.path())
        .unwrap();
    let weights = at("model.safetensors");
    let (input, output) = (at("in.safetensors"), at("out.safetensors"));
    write_tensor(
        &input,
        "input",
        &[1, 3, 64, 64],
        &rule("input", &[1, 3, 64, 64]),
    );
    run(&[
        "logits",
        "resnet18",
        "--weights",
        &weights,
        "--input",
        &input,
        "--output",
        &output,
    ]);
    let found = Fixture::open(&output);
    let names: Vec<&str> = found.tensors.keys().map(String::as_str).collect();
    let groups = [
        "logits",
        "pre_logits",
        "stage1",
        "stage2",
        "stage3",
        "stage4",
        "stem",
    ];
    assert_eq!(names, groups);
    for name in groups {
        let sample = common::sample(found.get(name), 64);
        let error = relative_error(&sample, expected.get(&format!("c3.s64.{name}")));
        assert!(error < 2e-5, "{name}: off by {error:e}");
    }
    assert_eq!(found.tensors["stage4"].0, [1, 512, 2, 2]);

    // Layers between pooling and classifier are no feature map.
    let atto = Fixture::open("parity/convnext_atto.safetensors");
    rule_model(Zoo::convnext_atto(), &device)
        .export(dir.path())
        .unwrap();
    let files = [
        "--weights",
        &weights,
        "--input",
        &input,
        "--output",
        &output,
        "--overwrite",
    ];
    run(&[&["logits", "convnext_atto"][..], &files].concat());
    let found = Fixture::open(&output);
    for name in ["stage4", "pre_logits", "logits"] {
        let sample = common::sample(found.get(name), 64);
        let error = relative_error(&sample, atto.get(&format!("c3.s64.{name}")));
        assert!(error < 2e-5, "{name}: off by {error:e}");
    }
    rule_model(Zoo::resnet18(), &device)
        .export(dir.path())
        .unwrap();

    // With other channels and classes it adapts, as the library does.
    write_tensor(
        &input,
        "input",
        &[1, 1, 64, 64],
        &rule("input", &[1, 1, 64, 64]),
    );
    let adapted = ["--in-channels", "1", "--num-classes", "4"];
    run(&[&["logits", "resnet18"][..], &files, &adapted].concat());
    let model = Zoo::resnet18()
        .weights(Path::new(&weights))
        .adapt(1, 4)
        .build(&device)
        .unwrap();
    let logits = model
        .forward(common::rule_input([1, 1, 64, 64], &device))
        .unwrap();
    assert_eq!(
        Fixture::open(&output).get("logits"),
        common::values(&logits)
    );

    // What does not fit is named, and an old output stays.
    let before = std::fs::read(&output).unwrap();
    let error = fail(1, &[&["logits", "resnet18"][..], &files].concat());
    assert_eq!(
        error,
        "error: resnet18: input expected as [batch, 3, height, width] with height and width of at \
         least 1, found [1, 1, 64, 64]\n"
    );
    assert_eq!(std::fs::read(&output).unwrap(), before);
}

#[test]
fn bench_measures() {
    for mode in ["train", "infer"] {
        let result = json(&[
            "bench",
            "test_resnet",
            "--mode",
            mode,
            "--image-size",
            "28",
            "--in-channels",
            "1",
            "--batch-size",
            "4",
            "--steps",
            "3",
            "--json",
        ]);
        assert!(result["images_per_second"].as_f64().unwrap() > 0.0);
        #[cfg(target_os = "linux")]
        assert!(result["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);
    }
    let text = run(&["bench", "test_resnet", "--image-size", "28", "--steps", "2"]);
    assert!(text.starts_with("images_per_second "), "{text}");
}

#[test]
fn mistakes_are_named_with_what_would_have_been_right() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| path(dir.path(), name);
    let out = at("run");
    let tune = |more: &[&str]| {
        let base = ["finetune", "test_resnet", "--limit-train", "64", "--out"];
        [&base[..], &[out.as_str()], more]
            .concat()
            .iter()
            .map(|s| s.to_string())
            .collect()
    };
    let tuned = |code: i32, more: &[&str]| -> String {
        let arguments: Vec<String> = tune(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let text = fail(code, &arguments);
        assert!(!Path::new(&out).exists(), "{text}");
        text
    };
    // clap's own help.
    assert!(
        tuned(2, &["--recipe", "slow"])
            .contains("[possible values: full, features, gradual, fine-tune, backbone-finetuning]")
    );
    let error = tuned(2, &["--optimizer", "sdg"]);
    assert!(
        error.contains("[possible values: sgd, nesterov, adam, adamw"),
        "{error}"
    );
    let error = tuned(2, &["--optimizer", "sgd:momentum=x"]);
    assert!(error.contains("optimizer sgd momentum: "), "{error}");
    for (flag, values) in [
        ("--precision", "f32, bf16, f16"),
        ("--per", "step, epoch"),
        ("--sampler", "shuffle, balanced"),
        ("--frozen-norm", "frozen, train-affine"),
        (
            "--metric",
            "valid_accuracy, valid_loss, valid_top5_accuracy",
        ),
    ] {
        let error = tuned(2, &[flag, "some"]);
        assert!(
            error.contains(&format!("[possible values: {values}")),
            "{error}"
        );
    }
    assert!(tuned(2, &["--schedule", "stair"]).contains("expected constant, step:EPOCHS:GAMMA"));
    assert!(tuned(2, &["--freeze", "some"]).contains("expected nothing, backbone, up-to:GROUP"));
    assert!(tuned(2, &["--lr", "fast"]).contains("invalid value 'fast' for '--lr"));
    assert!(tuned(2, &["--epochs=-1"]).contains("--epochs"));
    assert!(tuned(2, &["--mean", "0.5"]).contains("--std"));
    // Ours.
    let error = tuned(2, &["--data", "cifar"]);
    assert!(
        error.contains(
            "expected fashion-mnist, fashion-mnist-mini, fractals[:KEY=VALUE,..], a folder"
        ),
        "{error}"
    );
    for (flag, value) in [
        ("--limit-test", "N"),
        ("--batch-size", "N|auto"),
        ("--epochs", "N"),
    ] {
        let error = tuned(2, &[flag, "0"]);
        assert!(error.contains(&format!(
            "invalid value '0' for '{flag} <{value}>': expected at least 1"
        )));
    }
    let error = tuned(2, &["--device", "tpu"]);
    assert!(
        error.contains("expected auto, cpu, cuda, cuda:N, wgpu or ndarray"),
        "{error}"
    );
    let error = tuned(1, &["--memory-budget", "1"]);
    assert!(error.contains("only with --batch-size auto"), "{error}");
    let error = tuned(1, &["--num-classes", "3"]);
    assert!(
        error.contains("num_classes: expected at least the 10 classes"),
        "{error}"
    );
    let error = tuned(1, &["--weights", &at("none.pth")]);
    assert!(
        error.contains(&format!("error: cannot read {}: ", at("none.pth"))),
        "{error}"
    );
    let error = tuned(1, &["--data", dir.path().to_str().unwrap()]);
    assert!(
        error.starts_with("error: ") && error.contains("a folder for each class"),
        "{error}"
    );
    #[cfg(not(feature = "cuda"))]
    assert_eq!(
        tuned(1, &["--device", "cuda:0"]),
        "error: device `cuda:0`: this build lacks it; build with `--features cuda`\n"
    );

    let error = fail(1, &["eval", dir.path().to_str().unwrap()]);
    assert!(
        error.contains("is no run and no exported model: "),
        "{error}"
    );
    let error = fail(
        1,
        &[
            "logits",
            "resnet18",
            "--input",
            &at("no"),
            "--output",
            &at("out"),
        ],
    );
    assert!(
        error.starts_with(&format!("error: cannot read {}", at("no"))),
        "{error}"
    );
    write_tensor(&at("in"), "x", &[1], &[0.0]);
    let error = fail(
        1,
        &[
            "logits",
            "resnet18",
            "--input",
            &at("in"),
            "--output",
            &at("out"),
        ],
    );
    assert_eq!(
        error,
        format!("error: {}: tensor `input`: expected, found `x`\n", at("in"))
    );
    write_tensor(&at("in"), "input", &[1, 2], &[0.0, 0.0]);
    let error = fail(
        1,
        &[
            "logits",
            "resnet18",
            "--input",
            &at("in"),
            "--output",
            &at("out"),
        ],
    );
    assert!(
        error.ends_with("tensor `input`: expected [N, C, H, W], found [1, 2]\n"),
        "{error}"
    );
    write_tensor(&at("in"), "input", &[1, 3, 1, 1], &[0.0; 3]);
    let error = fail(
        1,
        &[
            "logits",
            "resnet18",
            "--input",
            &at("in"),
            "--output",
            &at("out"),
        ],
    );
    assert!(
        error.starts_with("error: --weights: expected hub, hub:TAG, random or a file"),
        "{error}"
    );

    // A folder that holds a model, and an image that is none.
    let device = Device::default();
    let model = rule_model(Zoo::test_resnet().adapt(1, 3), &device);
    model.export(dir.path().join("model")).unwrap();
    std::fs::write(at("image.png"), "no image").unwrap();
    let error = fail(
        2,
        &["predict", &at("model"), &at("image.png"), "--top-k", "0"],
    );
    assert!(
        error.contains("invalid value '0' for '--top-k <K>': expected at least 1"),
        "{error}"
    );
}

/// A stem for small images is that of the run to its end, and `export` says what timm makes of it.
#[test]
fn a_stem_for_small_images_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let few = ["--limit-train", "60", "--limit-test", "20", "--epochs", "1"];
    for (model, stride, side, python) in [("test_resnet", 1, 28, false), ("test_vit", 4, 28, true)]
    {
        let (run_dir, out) = (
            path(dir.path(), model),
            path(dir.path(), &format!("{model}-out")),
        );
        run(&[
            &["finetune", model, "--small-images", "--out", &run_dir],
            &few[..],
        ]
        .concat());
        run(&["finetune", "--resume", &run_dir, "--epochs", "2"]);
        let info = json(&["info", &run_dir, "--json"]);
        assert_eq!(info["stem"]["stride"], stride, "{info}");
        assert_eq!(
            info["input"].as_array().unwrap()[1..],
            [side, side],
            "{info}"
        );
        let told = run(&["export", &run_dir, &out]);
        assert_eq!(told.contains("timm.create_model"), python, "{told}");
        assert_eq!(
            told.contains("does not compute the same"),
            !python,
            "{told}"
        );
        let images = [
            "--data",
            "fashion-mnist-mini",
            "--limit-test",
            "50",
            "--json",
        ];
        let loss = |folder: &str| json(&[&["eval", folder], &images[..]].concat())["loss"].clone();
        assert_eq!(loss(&format!("{run_dir}/best")), loss(&out));
    }
    // Sizes that a family does not take, and that nobody knows.
    let error = fail(
        1,
        &[
            "finetune",
            "test_maxvit",
            "--small-images",
            "--out",
            &path(dir.path(), "a"),
        ],
    );
    assert!(
        error.contains("test_maxvit cannot be built for the images' own size, 28"),
        "{error}"
    );
    let photos = dir.path().join("photos");
    for class in ["a", "b"] {
        std::fs::create_dir_all(photos.join(class)).unwrap();
        for number in 0..4 {
            let file = photos.join(class).join(format!("{number}.png"));
            image::GrayImage::new(20, 20).save(file).unwrap();
        }
    }
    let photos = photos.to_str().unwrap();
    let error = fail(
        1,
        &[
            "finetune",
            "test_resnet",
            "--data",
            photos,
            "--small-images",
        ],
    );
    assert!(
        error.contains("--small-images: expected --image-size N beside it"),
        "{error}"
    );
    let error = fail(1, &["info", "vgg11", "--small-images"]);
    assert!(
        error.contains("vgg11 has no stem that can be changed"),
        "{error}"
    );
    let error = fail(1, &["info", "resnet18", "--stem-stride", "5"]);
    assert!(
        error.contains("stem_stride: expected one that the stem can have: 1, 2, found 5"),
        "{error}"
    );
    let text = run(&["info", "resnet18", "--image-size", "28", "--no-stem-pool"]);
    assert!(text.contains("; stem: stride 2, no pooling"), "{text}");
}

/// The first Ctrl-C or SIGTERM ends the run with a checkpoint that can be used.
#[cfg(unix)]
#[test]
fn a_signal_leaves_a_checkpoint_and_says_where() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        leaves_a_checkpoint_and_says_where(signal, code);
    }
}

#[cfg(unix)]
fn leaves_a_checkpoint_and_says_where(signal: &str, code: i32) {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    let dir = tempfile::tempdir().unwrap();
    let out = path(dir.path(), "run");
    let child = Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
        .args([
            "finetune",
            "test_resnet",
            "--epochs",
            "1000",
            "--limit-test",
            "10",
            "--out",
            &out,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It is training once the first checkpoint is there.
    let deadline = Instant::now() + Duration::from_secs(120);
    while !Path::new(&out).join("best/README.md").exists() {
        assert!(Instant::now() < deadline, "no checkpoint in two minutes");
        std::thread::sleep(Duration::from_millis(50));
    }
    let killed = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    let last = RunConfig::newest_checkpoint(&out).unwrap().unwrap();
    let last = last.display();
    let expected = format!(
        "error: interrupted; the run stands at {last}; `burn-zoo finetune --resume {out}` goes on \
         from there\n"
    );
    assert!(errors.ends_with(&expected), "{errors}");
    let last = last.to_string();
    let found = json(&["eval", &last, "--limit-test", "50", "--json"]);
    assert!(found["accuracy"].as_f64().is_some());
}

/// A recipe from a file, changed by flags; what is wrong in it is named with its line.
#[test]
fn a_recipe_comes_from_a_file_and_flags_override_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| path(dir.path(), name);
    let file = at("recipe.toml");
    let text =
        "recipe = \"gradual\"\nepochs = 3\nbatch_size = 16\n\n[optimizer]\nkind = \"adamw\"\n";
    std::fs::write(&file, text).unwrap();
    let out = at("run");
    let images = ["--limit-train", "64", "--limit-test", "20", "--out", &out];
    let tune = [
        "finetune",
        "test_resnet",
        "--config",
        &file,
        "--epochs",
        "1",
    ];
    run(&[&tune[..], &images].concat());
    let config = RunConfig::open(&out).unwrap();
    let expected = Recipe::gradual()
        .epochs(1)
        .batch_size(16)
        .with_optimizer(Optimizer::adamw());
    assert_eq!(config.recipe, expected);

    // What the file says of adapters goes with them.
    let text = "adapt = 'lora:rank=2'\nadapt_matching = 'conv2$'\n";
    std::fs::write(&file, text).unwrap();
    let biases = at("biases");
    let images = [
        "--limit-train",
        "64",
        "--limit-test",
        "20",
        "--out",
        &biases,
    ];
    let flags = ["--adapt", "bias-only"];
    run(&[&tune[..], &flags, &images].concat());
    let config = RunConfig::open(&biases).unwrap();
    assert_eq!(config.recipe.adapt, Adapt::BiasOnly);
    assert_eq!(config.recipe.adapt_matching, None);
    let flags = ["info", "test_resnet", "--adapt-matching", "conv2$"];
    let error = fail(1, &flags);
    assert!(error.contains("adapt_matching"), "{error}");

    std::fs::write(&file, "epochs = 3\nlr = 0.1\n").unwrap();
    let other = at("other");
    let images = ["--limit-train", "64", "--out", &other];
    let error = fail(1, &[&tune[..], &images].concat());
    assert!(
        error.starts_with(&format!("error: {file}: ")) && error.contains("line 2"),
        "{error}"
    );
    std::fs::remove_file(&file).unwrap();
    let error = fail(1, &[&tune[..], &images].concat());
    assert!(
        error.starts_with(&format!("error: cannot read {file}: ")),
        "{error}"
    );
    assert!(!Path::new(&other).exists());
}

#[test]
fn a_batch_size_is_found_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(dir.path(), "run");
    let tune = [
        "finetune",
        "test_resnet",
        "--limit-train",
        "100",
        "--limit-test",
        "20",
    ];
    let auto = ["--epochs", "1", "--batch-size", "auto", "--out", &out];
    let output = burn_zoo(&[&tune[..], &auto].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // Everything fits: as many as there are images.
    assert!(errors.contains("\nbatch size: 100\n"), "{errors}");
    assert_eq!(RunConfig::open(&out).unwrap().recipe.batch_size, 100);
    let error = fail(
        1,
        &[&tune[..], &auto, &["--overwrite", "--memory-budget", "0"]].concat(),
    );
    assert_eq!(
        error,
        "error: --memory-budget: expected a number above 0, found 0\n"
    );
    let error = fail(
        1,
        &[
            &tune[..],
            &auto,
            &["--overwrite", "--memory-budget", "0.001"],
        ]
        .concat(),
    );
    assert!(
        error.contains("not enough memory for a training step"),
        "{error}"
    );
    // What is frozen at the start is no hindrance, neither here nor where less memory is looked for.
    for more in [
        &["--recipe", "features", "--batch-size", "auto"][..],
        &["--adapt", "lora:rank=2", "--batch-size", "auto"],
        &[
            "--freeze",
            "up-to:stage2",
            "--memory",
            "--gradient-checkpointing",
        ],
    ] {
        let rest = ["--epochs", "1", "--overwrite", "--no-report", "--out", &out];
        run(&[&tune[..], more, &rest].concat());
    }
    // Features that are not kept take no room.
    for (place, kept) in [("off", false), ("memory", true)] {
        let frozen = ["--recipe", "features", "--feature-cache", place, "--memory"];
        let rest = ["--epochs", "1", "--overwrite", "--no-report", "--out", &out];
        let text = run(&[&tune[..], &frozen, &rest].concat());
        assert_eq!(text.contains("features kept"), kept, "{text}");
    }
}

#[test]
fn learning_rates_are_tried() {
    let dir = tempfile::tempdir().unwrap();
    let plot = path(dir.path(), "curve.svg");
    let find = [
        "lr-find",
        "test_resnet",
        "--limit-train",
        "320",
        "--batch-size",
        "32",
        "--steps",
        "60",
        "--plot",
        &plot,
    ];
    let text = run(&find);
    assert!(
        text.contains("valley") && text.contains(&format!("curve: {plot}")),
        "{text}"
    );
    assert!(std::fs::read_to_string(&plot).unwrap().starts_with("<svg"));
    let error = fail(1, &find);
    assert!(
        error.contains(&format!("--plot: {plot} exists already; pass --overwrite")),
        "{error}"
    );
    let found = json(&[&find[..], &["--overwrite", "--json"]].concat());
    assert!(found["suggestions"]["valley"].as_f64().unwrap() > 0.0);
    assert_eq!(
        found["rates"].as_array().unwrap().len(),
        found["losses"].as_array().unwrap().len()
    );
    let nowhere = path(dir.path(), "none/curve.svg");
    let error = fail(1, &["lr-find", "test_resnet", "--plot", &nowhere]);
    assert!(
        error.contains("--plot: expected a file in a folder that exists"),
        "{error}"
    );
    let error = fail(1, &["lr-find", "test_resnet", "--from", "1", "--to", "0.1"]);
    assert!(error.contains("error: "), "{error}");
}

/// A run's report, and judgements from several views.
#[test]
fn a_run_is_shown_and_judged_from_several_sides() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| path(dir.path(), name);
    let out = at("run");
    run(&[
        "finetune",
        "test_resnet",
        "--limit-train",
        "320",
        "--limit-test",
        "50",
        "--epochs",
        "1",
        "--lr",
        "3e-3",
        "--no-report",
        "--out",
        &out,
    ]);
    let page = at("run/report.html");
    assert!(!Path::new(&page).exists());
    assert_eq!(run(&["report", &out]), format!("{page}\n"));
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("test_resnet on fashion-mnist-mini") && html.contains("Ankle boot"));
    let error = fail(1, &["report", dir.path().to_str().unwrap()]);
    assert!(error.contains("expected a run folder"), "{error}");

    let eval = ["eval", &out, "--limit-test", "50", "--json"];
    let plain = json(&eval);
    // Unasked, a run is judged by the images that it was validated on.
    assert_eq!(json(&["eval", &out, "--json"]), plain);
    for views in ["flip", "flip-shift", "five-crop", "ten-crop"] {
        let judged = json(&[&eval[..], &["--tta", views]].concat());
        assert_ne!(judged["loss"], plain["loss"], "{views}");
        assert_eq!(judged["images"], 50);
    }
    let error = fail(2, &["eval", &out, "--tta", "many"]);
    assert!(
        error.contains("[possible values: one, flip, flip-shift, five-crop, ten-crop]"),
        "{error}"
    );
}

/// A loss that is no number ends the run, and says where it can go on from.
#[test]
fn a_run_that_diverges_says_what_it_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(dir.path(), "run");
    let error = {
        let output = burn_zoo(&[
            "finetune",
            "test_resnet",
            "--limit-train",
            "320",
            "--limit-test",
            "20",
            "--epochs",
            "9",
            "--optimizer",
            "sgd",
            "--schedule",
            "step:1:1e20",
            "--lr",
            "1e-3",
            "--out",
            &out,
        ]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let checkpoint = RunConfig::newest_checkpoint(&out).unwrap().unwrap();
    assert!(
        error.contains("the loss became ")
            && error.contains("in epoch 2, step ")
            && error.contains("at learning rate 1e17")
            && error.ends_with(&format!(
                "the last good checkpoint is {}\n",
                checkpoint.display()
            )),
        "{error}"
    );
    assert!(checkpoint.ends_with("checkpoints/epoch-0001"));
}

/// Eight images of two classes for each part.
fn folder(dir: &Path) {
    let data = FashionMnist::bundled().unwrap().train();
    for part in ["train", "val"] {
        for class in ["left", "right"] {
            let folder = dir.join(part).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            for index in 0..8 {
                let pixels = data.pixels(index + 8 * part.len()).unwrap().to_vec();
                let image = image::GrayImage::from_raw(28, 28, pixels).unwrap();
                image.save(folder.join(format!("{index}.png"))).unwrap();
            }
        }
    }
}

fn burn_zoo_in(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap()
}

/// The images of a run are found again from any folder, and elsewhere once that is said.
#[test]
fn the_images_of_a_run_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let (here, away) = (dir.path().join("here"), dir.path().join("away"));
    std::fs::create_dir_all(&away).unwrap();
    folder(&here.join("pets"));
    let tune = [
        "finetune",
        "test_resnet",
        "--data",
        "pets",
        "--image-size",
        "28",
        "--epochs",
        "1",
        "--batch-size",
        "4",
        "--tensorboard",
        "off",
        "--no-report",
        "--out",
        "run",
    ];
    let ok = |output: Output| {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        errors
    };
    ok(burn_zoo_in(&here, &tune));
    let out = path(&here, "run");
    assert!(!here.join("run/tensorboard").exists());
    let curves = here.join("run/curves.svg");
    let drawn = std::fs::read_to_string(&curves).unwrap();
    assert!(drawn.starts_with("<svg"), "{drawn}");
    std::fs::remove_file(&curves).unwrap();
    let config = RunConfig::open(&out).unwrap();
    assert_eq!(config.model["device"].as_str(), Some("cpu"));
    let kept = config.data.arguments["data"]["data"].as_str().unwrap();
    assert_eq!(Path::new(kept), here.join("pets"));
    ok(burn_zoo_in(&away, &["eval", &out]));
    let errors = ok(burn_zoo_in(
        &away,
        &["finetune", "--no-report", "--resume", &out],
    ));
    assert!(
        errors.contains("the run is finished after 1 of 1 epochs"),
        "{errors}"
    );
    assert_eq!(std::fs::read_to_string(&curves).unwrap(), drawn);

    // A run from before, with a path that counts from where it began.
    let file = here.join("run/config.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(kept, "pets")).unwrap();
    for command in [&["eval", &out][..], &["finetune", "--resume", &out]] {
        let output = burn_zoo_in(&away, command);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        for part in ["`pets`", "the folder that the run was started in", "--data"] {
            assert!(errors.contains(part), "{part}: {errors}");
        }
    }
    // Moved images are found where they are said to be, from then on.
    std::fs::rename(here.join("pets"), away.join("animals")).unwrap();
    let more = [
        "finetune",
        "--no-report",
        "--resume",
        &out,
        "--epochs",
        "2",
        "--data",
        "animals",
    ];
    let errors = ok(burn_zoo_in(&away, &more));
    assert!(
        errors.contains("epochs: 1 done, 1 added, 2 in all"),
        "{errors}"
    );
    let config = RunConfig::open(&out).unwrap();
    let kept = config.data.arguments["data"]["data"].as_str().unwrap();
    assert_eq!(Path::new(kept), away.join("animals"));

    // An image that breaks later ends the run where it stands; or is left out.
    let image = away.join("animals/train/left/3.png");
    let bytes = std::fs::read(&image).unwrap();
    std::fs::write(&image, &bytes[..60]).unwrap();
    let more = [
        "finetune",
        "--no-report",
        "--json",
        "--resume",
        &out,
        "--epochs",
        "3",
    ];
    let output = burn_zoo_in(&here, &more);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("left/3.png") && errors.contains("--skip-broken"),
        "{errors}"
    );
    let output = burn_zoo_in(&here, &[&more[..], &["--skip-broken"]].concat());
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&result["skipped_images"], &result["epochs"]),
        (&1.into(), &3.into())
    );
    let warnings = result["warnings"].to_string();
    assert!(warnings.contains("left/3.png"), "{warnings}");

    // Another one, after a run that began without the first.
    let begin = ["--skip-broken", "--json", "--out", "second"];
    let tune: Vec<&str> = tune[..tune.len() - 2]
        .iter()
        .map(|text| if *text == "pets" { "animals" } else { text })
        .collect();
    ok(burn_zoo_in(&away, &[&tune[..], &begin].concat()));
    let image = away.join("animals/train/left/2.png");
    let bytes = std::fs::read(&image).unwrap();
    std::fs::write(&image, &bytes[..60]).unwrap();
    let second = path(&away, "second");
    let more = [
        "finetune",
        "--no-report",
        "--json",
        "--resume",
        &second,
        "--epochs",
        "2",
    ];
    let output = burn_zoo_in(&here, &more);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let warnings = result["warnings"].to_string();
    assert_eq!(result["skipped_images"], 1, "{warnings}");
    for told in ["left out as when the run began: 1", "left/2.png"] {
        assert!(warnings.contains(told), "{told}: {warnings}");
    }
}

/// A run is worth more than its table: nobody has to read it to the end.
#[test]
fn a_run_goes_on_when_nobody_reads_its_table() {
    let dir = tempfile::tempdir().unwrap();
    folder(&dir.path().join("pets"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
        .args(["finetune", "test_resnet", "--data", "pets", "--epochs", "3"])
        .args(["--image-size", "28", "--batch-size", "4", "--no-report"])
        .args(["--tensorboard", "off", "--out", "run"])
        .current_dir(dir.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("standard output takes no more"), "{errors}");
    let log = std::fs::read_to_string(dir.path().join("run/log.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 3);
}

#[test]
fn what_was_trained_is_exported_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| path(dir.path(), name);
    let tune = |adapt: &str, out: &str| {
        run(&[
            "finetune",
            "test_resnet",
            "--data",
            "fashion-mnist-mini",
            "--weights",
            "random",
            "--limit-train",
            "64",
            "--limit-test",
            "32",
            "--epochs",
            "1",
            "--batch-size",
            "32",
            "--image-size",
            "28",
            "--adapt",
            adapt,
            "--no-report",
            "--out",
            out,
        ]);
    };
    for (adapt, kind) in [("lora:rank=2,alpha=4", "LORA"), ("bias-only", "BIAS_ONLY")] {
        let (out, adapter) = (at(adapt), at(&format!("{adapt}-adapter")));
        tune(adapt, &out);
        let said = run(&["export", &out, &adapter, "--format", "adapter"]);
        assert!(said.contains(adapt), "{said}");
        let config = std::fs::read_to_string(dir.path().join(&adapter).join("adapter_config.json"));
        let config: Value = serde_json::from_str(&config.unwrap()).unwrap();
        assert_eq!(config["peft_type"], kind);
        let size = |folder: &str, name: &str| {
            let path = dir.path().join(folder).join(name);
            std::fs::metadata(path).unwrap().len()
        };
        let whole = size(&format!("{out}/best"), "model.safetensors");
        assert!(size(&adapter, "adapter_model.safetensors") < whole / 2);
    }
    tune("none", &at("whole"));
    let error = fail(
        1,
        &["export", &at("whole"), &at("x"), "--format", "adapter"],
    );
    assert!(error.contains("--adapt"), "{error}");
}

/// What a class is called is its owner's business; a terminal is left alone all the same.
#[cfg(unix)]
#[test]
fn classes_may_have_odd_names() {
    let dir = tempfile::tempdir().unwrap();
    let pets = dir.path().join("pets");
    folder(&pets);
    let odd = "le\u{1b}[31mft";
    let long = "right".repeat(40);
    for part in ["train", "val"] {
        let part = pets.join(part);
        std::fs::rename(part.join("left"), part.join(odd)).unwrap();
        std::fs::rename(part.join("right"), part.join(&long)).unwrap();
    }
    let run = |arguments: &[&str]| {
        let output = burn_zoo_in(dir.path(), arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        text
    };
    run(&[
        "finetune",
        "test_resnet",
        "--data",
        "pets",
        "--epochs",
        "1",
        "--image-size",
        "28",
        "--batch-size",
        "4",
        "--no-report",
        "--tensorboard",
        "off",
        "--out",
        "run",
    ]);
    run(&["eval", "run"]);
    let image = format!("pets/val/{odd}/0.png");
    let table = run(&["predict", "run", &image]);
    assert!(table.contains(r"\u{1b}"), "{table}");
    let json = run(&["predict", "run", &image, "--json"]);
    let json: Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(json["classes"][0], odd);
}
