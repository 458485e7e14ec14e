//! Which models there are, and what is known of them.

use std::process::{Command, Output};

use serde_json::Value;

fn burn_zoo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
        .args(arguments)
        .env("BURN_DEVICE", "flex")
        .env_remove("BURN_ZOO_MANIFEST")
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap()
}

fn run(arguments: &[&str]) -> (String, String) {
    let output = burn_zoo(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    (String::from_utf8(output.stdout).unwrap(), errors)
}

fn json(arguments: &[&str]) -> Value {
    let (text, _) = run(arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn fail(code: i32, arguments: &[&str]) -> String {
    let output = burn_zoo(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    errors
}

fn list(arguments: &[&str]) -> Vec<Value> {
    let found = json(&[&["list", "--json"], arguments].concat());
    found.as_array().unwrap().clone()
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap()
}

#[test]
fn a_list_is_narrowed_and_sorted() {
    let all = list(&[]);
    let small = list(&["--params", "<6M", "--macs", "<1G", "--sort", "macs"]);
    let is_small = |row: &&Value| number(row, "parameters") < 6e6 && number(row, "macs") < 1e9;
    assert_eq!(small.len(), all.iter().filter(is_small).count());
    assert!(small.is_sorted_by_key(|row| row["macs"].as_u64()));
    let good = list(&["--top1", ">=80,<83", "--sort", "top1"]);
    assert!(
        good.iter()
            .all(|row| (80.0..83.0).contains(&number(row, "top1")))
    );
    assert!(good.is_sorted_by(|a, b| number(a, "top1") >= number(b, "top1")));
    let by_name = list(&["resnet*", "--family", "res-net", "--sort", "name"]);
    assert!(by_name.iter().all(|row| row["family"] == "ResNet"));
    assert!(by_name.is_sorted_by_key(|row| row["name"].as_str().unwrap().to_owned()));
    let tags = list(&["resnet*", "--tags", "--sort", "name"]);
    assert!(tags.is_sorted_by_key(|row| row["name"].as_str().unwrap().to_owned()));
    let by_size = list(&["--sort", "params"]);
    assert!(by_size.is_sorted_by_key(|row| row["parameters"].as_u64()));
    assert_eq!(by_size.len(), all.len());

    let (text, errors) = run(&["list", "resnet18"]);
    let row = text.lines().find(|line| line.contains("resnet18")).unwrap();
    for cell in ["11.7 M", "1.8 G", "224", "% at 288", "apache-2.0 ~"] {
        assert!(row.contains(cell), "{row}: {cell}");
    }
    assert!(errors.is_empty(), "{errors}");
    // A tag of which no accuracy is known does not speak for others of which one is.
    let name = "tiny_vit_5m_224";
    assert_eq!(list(&[name])[0]["weights"], format!("{name}.dist_in22k"));
    let rows = list(&[name, "--top1", ">80"]);
    assert_eq!(rows[0]["weights"], format!("{name}.dist_in22k_ft_in1k"));
    // What has no accuracy is not passed over in silence.
    let (_, errors) = run(&["list", "--tags", "resnet18", "--top1", ">0"]);
    assert!(
        errors.contains(" weights without a published accuracy are left out"),
        "{errors}"
    );
}

#[test]
fn licences_choose_among_tags() {
    let free = list(&["--license", "commercial"]);
    assert!(free.iter().all(|row| row["terms"] == "commercial"));
    assert!(!free.iter().any(|row| row["name"] == "convnextv2_atto"));
    let tags = list(&["convnextv2_atto.*"]);
    assert!(tags.iter().all(|row| row["terms"] == "non_commercial"));
    assert_eq!(list(&["--license", "Commercial"]), free);
    let error = fail(1, &["list", "--license", "apache"]);
    assert!(
        error.starts_with("error: --license: expected commercial or one of ")
            && error.contains("apache-2.0, ")
            && error.ends_with(", found `apache`\n"),
        "{error}"
    );
    // Of an architecture whose default tag is another, the tag is named.
    let (text, _) = run(&["list", "resnet18", "--license", "CC-BY-NC-4.0"]);
    assert!(text.contains("resnet18.fb_") && text.contains("cc-by-nc-4.0, no commercial use"));
    let inherited = &list(&["resnet18.a1_in1k"])[0];
    assert!(
        inherited["licence_source"]
            .as_str()
            .unwrap()
            .starts_with("default of")
    );
}

#[test]
fn what_cannot_be_listed_is_named() {
    let error = fail(1, &["list", "--family", "resnett"]);
    assert!(
        error.starts_with("error: --family: expected one of ")
            && error.ends_with("found `resnett`\n")
            && error.contains("ResNet"),
        "{error}"
    );
    let error = fail(1, &["list", "--params", "<1K", "--license", "commercial"]);
    assert!(
        error.starts_with("error: --params '<1K' --license 'commercial': expected some of ")
            && error.ends_with("found none; leave one out, or widen it\n"),
        "{error}"
    );
    let error = fail(2, &["list", "--macs", "1G"]);
    assert!(
        error.contains("'--macs <BOUNDS>': expected <, <=, > or >= and a number"),
        "{error}"
    );
    let error = fail(2, &["list", "--sort", "size"]);
    assert!(
        error.contains("[possible values: params, macs, top1, name]"),
        "{error}"
    );
    assert_eq!(
        fail(2, &["list", "--check", "--json"])
            .lines()
            .next()
            .unwrap(),
        "error: the argument '--check' cannot be used with '--json'"
    );
}

#[test]
fn a_model_is_described() {
    let (text, errors) = run(&["info", "convnextv2_atto", "--image-size", "32"]);
    for line in [
        "family    ConvNeXt: ",
        "groups    stem, stage1, stage2, stage3, stage4, pre_logits, head",
        "poolings  avg (upstream's), max, ",
        "images    of 32 pixels and more on both sides; upstream's size is 224",
        "licence   cc-by-nc-4.0, no commercial use, of convnextv2_atto.fcmae_ft_in1k",
        "cite      https://arxiv.org/abs/",
    ] {
        assert!(text.contains(&format!("\n{line}")), "{line}: {text}");
    }
    assert!(text.contains("convnextv2_atto.fcmae_ft_in1k *"), "{text}");
    assert!(
        errors.contains(
            "licence cc-by-nc-4.0, which forbids commercial use (default of timm's _cfgv2; upstream \
             does not state it"
        ),
        "{errors}"
    );
    let (_, errors) = run(&["info", "test_vit", "--image-size", "50x30"]);
    assert!(
        errors.contains("test_vit: 2 rows at the lower edge and 14 columns at the right edge"),
        "{errors}"
    );

    let info = json(&["info", "test_vit", "--json"]);
    assert_eq!(
        (&info["least_image_size"], info["family"].as_str()),
        (&Value::Null, Some("VisionTransformer"))
    );
    assert_eq!(info["groups"].as_array().unwrap().last().unwrap(), "head");
    assert!(
        info["tags"]
            .as_array()
            .unwrap()
            .iter()
            .any(|tag| tag["default"] == true)
    );
}

#[test]
fn models_are_recommended_by_measured_speed() {
    let base = [
        "recommend",
        "--images",
        "150",
        "--classes",
        "10",
        "--size",
        "32",
        "--json",
    ];
    let found = json(
        &[
            &base[..],
            &["--budget", "1 core, 20 seconds", "--commercial"],
        ]
        .concat(),
    );
    assert_eq!(
        (found["recipe"].as_str(), &found["threads"]),
        (Some("features"), &1.into())
    );
    let candidates = found["candidates"].as_array().unwrap();
    assert!((1..=3).contains(&candidates.len()));
    for candidate in candidates {
        assert_eq!(
            (&candidate["fits"], &candidate["terms"]),
            (&true.into(), &"commercial".into())
        );
        let seconds = number(candidate, "seconds");
        // Each image goes through the backbone once.
        assert!(
            seconds <= 20.0
                && (seconds * number(candidate, "images_per_second") - 150.0).abs() < 1e-6
        );
        let command = candidate["command"].as_str().unwrap();
        let name = candidate["model"].as_str().unwrap();
        assert!(command.starts_with(&format!(
            "burn-zoo finetune {name} --data DATA --recipe features"
        )));
    }

    // Too little for anything is said, with what would do.
    let (text, errors) = run(&[
        "recommend",
        "--images",
        "100000",
        "--classes",
        "10",
        "--size",
        "64",
        "--budget",
        "1 s",
    ]);
    assert!(text.contains("above the budget"), "{text}");
    assert!(
        text.starts_with(
            "recipe: features, 20 epochs, for 100000 images of 10 classes: 1 s is too little for the \
             recipe full\n"
        ) && text.contains("\n~ is a licence that upstream states for a group of weights\n"),
        "{text}"
    );
    assert!(
        errors.contains("--budget: 1 s is too little for the recipe full; features is taken"),
        "{errors}"
    );
    assert!(
        errors.contains("--budget: no model fits 1 s: the fastest that is found, "),
        "{errors}"
    );
}

#[test]
fn a_budget_that_means_nothing_is_named() {
    let base = [
        "recommend",
        "--images",
        "9",
        "--classes",
        "3",
        "--size",
        "32",
        "--budget",
    ];
    let error = fail(2, &[&base[..], &["fast"]].concat());
    assert!(
        error.contains(
            "'fast' for '--budget <BUDGET>': expected a time and, if wanted, cores, such as"
        ),
        "{error}"
    );
    let error = fail(
        1,
        &[&base[..], &["2 cores, 1 min", "--threads", "1"]].concat(),
    );
    assert_eq!(
        error,
        "error: --threads: expected 2, the cores of --budget, found 1\n"
    );
    let error = fail(
        2,
        &[
            "recommend",
            "--images",
            "0",
            "--classes",
            "3",
            "--size",
            "32",
            "--budget",
            "1 h",
        ],
    );
    assert!(
        error.contains("--images <N>': expected at least 1"),
        "{error}"
    );
    for classes in ["1", "10"] {
        let classes = ["--classes", classes, "--images", "9", "--size", "32"];
        let error = fail(
            1,
            &[&["recommend", "--budget", "1 h"][..], &classes].concat(),
        );
        assert_eq!(
            error,
            format!(
                "error: --classes: expected 2 and more, and an image of each among the 9 of \
                 --images, found {}\n",
                classes[1]
            )
        );
    }
}
