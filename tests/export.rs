//! What we export, timm's form has, and we open again, exactly.
//!
//! That the real timm and torchvision open such a folder is checked with
//! `tests/fixtures/check_export.py`; here the same names, shapes and configuration are held fast.

mod common;

use std::path::Path;

use burn_zoo::prelude::*;
use burn_zoo::zoo;
use common::{Fixture, fixture, relative_error, rule_input, rule_model, sample, values};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

fn device() -> Device {
    Device::default()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_weights_file_has_timms_names_shapes_and_types() {
    let dir = tempfile::tempdir().unwrap();
    let expected = Fixture::open("parity/resnet18.safetensors");
    rule_model(Zoo::resnet18().adapt(1, 10), &device())
        .export(dir.path())
        .unwrap();
    let bytes = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = Vec::new();
    for (name, view) in file.iter() {
        let expected = match name.ends_with("num_batches_tracked") {
            true => Dtype::I64,
            false => Dtype::F32,
        };
        assert_eq!(view.dtype(), expected, "{name}");
        names.push(format!("{name} {:?}", view.shape()));
    }
    names.sort();
    let hash = Sha256::digest(names.join("\n"));
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, expected.metadata["names_sha256_c1_n10"]);
}

#[test]
fn the_configuration_is_the_one_that_timm_was_seen_to_open() {
    let dir = tempfile::tempdir().unwrap();
    let names = FashionMnist::CLASSES.map(str::to_owned).to_vec();
    let export = |spec: Spec, name: &str| {
        let model = rule_model(spec, &device())
            .with_classes(names.clone())
            .unwrap();
        model.export(dir.path().join(name)).unwrap();
        json(&dir.path().join(name).join("config.json"))
    };
    let resnet = export(Zoo::resnet18().adapt(1, 10).image_size(28), "resnet18");
    assert_eq!(resnet, json(&fixture("export/resnet18_config.json")));
    let vit = Zoo::test_vit().adapt(1, 10).image_size(32).pool(Pool::Avg);
    let vit = export(vit.normalization(Normalization::inception()), "test_vit");
    assert_eq!(vit, json(&fixture("export/test_vit_config.json")));

    let card = std::fs::read_to_string(dir.path().join("resnet18/README.md")).unwrap();
    assert!(card.contains("# resnet18") && card.contains("Ankle boot"));
    assert!(card.contains("11175370"));
}

/// timm's constructors of these drop something by themselves, the models here only what they are asked for.
#[test]
fn timm_is_told_that_nothing_is_dropped() {
    for (spec, rate) in [
        (Zoo::ghostnet_050(), "drop_rate"),
        (Zoo::swin_tiny_patch4_window7_224(), "drop_path_rate"),
        (Zoo::swinv2_tiny_window8_256(), "drop_path_rate"),
        (Zoo::tiny_vit_11m_224(), "drop_path_rate"),
    ] {
        let model = spec.build_zeros(&device()).unwrap();
        let args = model.backbone.timm_args(Pool::Avg);
        assert_eq!(args[rate], 0.0, "{}", spec.architecture());
    }
    let dir = tempfile::tempdir().unwrap();
    let model = rule_model(Zoo::ghostnet_050().drop_rate(0.3), &device());
    model.export(dir.path()).unwrap();
    let config = json(&dir.path().join("config.json"));
    assert_eq!(config["model_args"]["drop_rate"], 0.3);
}

#[test]
fn what_was_exported_opens_exactly() {
    for spec in [
        Zoo::resnet18().adapt(1, 10).image_size(28),
        Zoo::test_resnet().adapt(4, 3).pool(Pool::CatAvgMax),
        Zoo::resnet10t().adapt(3, 0).pool(Pool::None),
        Zoo::test_vit()
            .adapt(1, 10)
            .image_size(32)
            .pool(Pool::AvgMax),
        Zoo::vit_tiny_patch16_224().num_classes(5),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let model = rule_model(spec, &device());
        model.export(dir.path()).unwrap();
        let again = Classifier::open(dir.path(), &device()).unwrap();
        assert_eq!(again.state_dict().unwrap(), model.state_dict().unwrap());
        assert_eq!(again.info().normalization, model.info().normalization);
        assert_eq!(again.head.pool(), model.head.pool());
        let (size, channels) = (
            model.info().image_size.unwrap_or(224.into()),
            model.in_channels(),
        );
        let [height, width] = size.sides();
        let images = rule_input([1, channels, height, width], &device());
        let score = |m: &Classifier| values(&m.forward(images.clone()).unwrap());
        assert_eq!(score(&again), score(&model));

        // Exported once more, the files are the same, byte for byte.
        let twice = tempfile::tempdir().unwrap();
        again.export(twice.path()).unwrap();
        for name in ["model.safetensors", "config.json"] {
            let read = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
            assert!(read(dir.path()) == read(twice.path()), "{name}");
        }
    }
}

#[test]
fn a_folder_that_timm_wrote_opens() {
    let dir = tempfile::tempdir().unwrap();
    // timm's configuration, and weights by the rule under timm's names.
    rule_model(Zoo::test_resnet().adapt(1, 3), &device())
        .export(dir.path())
        .unwrap();
    std::fs::copy(
        fixture("export/timm_config.json"),
        dir.path().join("config.json"),
    )
    .unwrap();
    let model = Classifier::open(dir.path(), &device()).unwrap();
    assert_eq!((model.in_channels(), model.num_classes()), (1, 3));
    assert_eq!(model.info().classes, ["cat", "dog", "eel"]);
    assert_eq!(model.info().normalization.mean(), [0.5]);
    assert_eq!(model.info().image_size, Some(160.into()));
    // As timm calls the file unless it is asked for safetensors; the content tells which it is.
    let at = |name: &str| dir.path().join(name);
    std::fs::rename(at("model.safetensors"), at("pytorch_model.bin")).unwrap();
    let again = Classifier::open(dir.path(), &device()).unwrap();
    assert_eq!(again.state_dict().unwrap(), model.state_dict().unwrap());
}

/// The adapted model that timm builds for one channel computes the same from the same weights.
#[test]
fn an_opened_folder_computes_what_timm_computes() {
    let dir = tempfile::tempdir().unwrap();
    let expected = Fixture::open("parity/resnet18.safetensors");
    rule_model(Zoo::resnet18().in_channels(1), &device())
        .export(dir.path())
        .unwrap();
    let model = Classifier::open(dir.path(), &device()).unwrap();
    let logits = model
        .forward(rule_input([1, 1, 28, 28], &device()))
        .unwrap();
    let error = relative_error(&sample(&values(&logits), 64), expected.get("c1.s28.logits"));
    assert!(error < 2e-5, "off by {error:e}");
}

#[test]
fn an_old_export_is_whole_or_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let old = rule_model(Zoo::test_resnet().num_classes(3), &device());
    old.export(dir.path()).unwrap();
    old.reset_head(4, &Init::Zeros, 0)
        .unwrap()
        .export(dir.path())
        .unwrap();
    let again = Classifier::open(dir.path(), &device()).unwrap();
    assert_eq!(again.num_classes(), 4);
    // Nothing temporary is left.
    let mut files: Vec<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["README.md", "config.json", "model.safetensors"]);

    // The card does not name the folder that the model was opened from.
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("README.md");
    let card = || std::fs::read_to_string(&path).unwrap();
    again.export(copy.path()).unwrap();
    let written = card();
    assert!(
        written.contains("started from: model.safetensors"),
        "{written}"
    );
    assert!(!written.contains(dir.path().to_str().unwrap()), "{written}");
    // One that somebody changed stays, be it by a line of its front matter.
    let changed = written.replacen("---\n", "---\nlanguage: en\n", 1);
    for changed in [
        changed,
        written.replace("tags:\n", "tags:\n- mine\n"),
        written.clone() + "More.\n",
    ] {
        std::fs::write(&path, &changed).unwrap();
        again.export(copy.path()).unwrap();
        assert_eq!(card(), changed);
    }
}

#[test]
fn configurations_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    rule_model(Zoo::test_resnet().num_classes(3), &device())
        .export(dir.path())
        .unwrap();
    let path = dir.path().join("config.json");
    let sound = json(&path);
    let refuse = |text: String| {
        std::fs::write(&path, text).unwrap();
        let error = Classifier::open(dir.path(), &device())
            .unwrap_err()
            .to_string();
        error.replace(&path.display().to_string(), "CONFIG")
    };
    let changed = |at: &str, value: serde_json::Value| {
        let mut config = sound.clone();
        *config.pointer_mut(at).unwrap() = value;
        refuse(config.to_string())
    };
    use serde_json::json;
    assert!(refuse("{".to_owned()).starts_with("CONFIG: not a model configuration: EOF"));
    assert_eq!(
        refuse("[]".to_owned()),
        "CONFIG: expected a JSON object, found []"
    );
    let channels = "model_args.in_chans: expected 1 to 1024 channels, found";
    for (at, value, expected) in [
        (
            "/architecture",
            json!("resnet19"),
            "unknown model `resnet19`; did you mean resnet18, resnet101, resnet10t?".to_owned(),
        ),
        (
            "/model_args/in_chans",
            json!("three"),
            format!("{channels} \"three\""),
        ),
        ("/model_args/in_chans", json!(-1), format!("{channels} -1")),
        (
            "/model_args/in_chans",
            json!(1_000_000_000_000u64),
            format!("{channels} 1000000000000"),
        ),
        (
            "/model_args/num_classes",
            json!(1_000_000_000_000u64),
            "model_args.num_classes: expected 0 to 200000 classes, found 1000000000000".to_owned(),
        ),
        (
            "/model_args/global_pool",
            json!("median"),
            "global_pool: expected avg, max, avgmax, catavgmax, token, map or none, found `median`"
                .to_owned(),
        ),
        (
            "/pretrained_cfg/std",
            json!([0.0, 1.0, 1.0]),
            "pretrained_cfg.std: expected a list of numbers above 0, found [0.0,1.0,1.0]"
                .to_owned(),
        ),
        (
            "/pretrained_cfg/mean",
            json!("grey"),
            "pretrained_cfg.mean: expected a list of numbers, found \"grey\"".to_owned(),
        ),
        (
            "/model_args",
            json!({"act_layer": "silu", "num_classes": 3}),
            "model_args.act_layer: expected no argument that changes the architecture, found \
             \"silu\""
                .to_owned(),
        ),
    ] {
        assert_eq!(changed(at, value), format!("CONFIG: {expected}"));
    }
    // A configuration of another make than the weights: the file must agree, nothing is adapted.
    for (at, value) in [
        ("/model_args/num_classes", json!(4)),
        ("/model_args/num_classes", json!(0)),
        ("/model_args/in_chans", json!(1)),
        ("/architecture", json!("resnet18")),
    ] {
        let error = changed(at, value.clone());
        assert!(
            error.contains("the weights are not those of "),
            "{at} {value}: {error}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    let error = Classifier::open(dir.path(), &device())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!("cannot read {}: ", path.display())),
        "{error}"
    );
}

/// For `check_export.py --all`, which opens them in timm and torchvision: one of each family, and its scores.
#[test]
#[ignore = "writes exports of every family into the folder that EXPORTS names"]
fn exports_for_the_real_timm() {
    let folder = std::env::var("EXPORTS").expect("EXPORTS names a folder");
    let mut families = std::collections::BTreeSet::new();
    for architecture in zoo::architectures() {
        let fixture = fixture(&format!("parity/{}.safetensors", architecture.name));
        if !fixture.exists() || !families.insert(architecture.family) {
            continue;
        }
        let spec = Zoo::get(architecture.name).unwrap().adapt(1, 10);
        let fixture = Fixture::read(&fixture);
        let gain = fixture.metadata.get("gain");
        let gain = gain.map_or(1.0, |gain| gain.parse().unwrap());
        let model = common::rule_model_with_gain(spec, &device(), gain);
        let size = model.info().image_size;
        let size = size.unwrap_or(architecture.image_size.into());
        let images = rule_input([2, 1, size.height, size.width], &device());
        let scores = values(&model.forward(images).unwrap());
        let folder = Path::new(&folder).join(architecture.name);
        model.export(&folder).unwrap();
        let bytes: Vec<u8> = scores
            .iter()
            .flat_map(|score| score.to_le_bytes())
            .collect();
        let scores = TensorView::new(Dtype::F32, vec![2, 10], &bytes).unwrap();
        let file = folder.join("logits.safetensors");
        safetensors::serialize_to_file([("logits", scores)], None, &file).unwrap();
    }
}

/// What Python cannot build is said, and not shown as lines that give something else.
#[test]
fn what_torchvision_has_no_argument_for_is_told() {
    let device = Device::default();
    let built = |spec: Spec| spec.build_zeros(&device).unwrap();
    let squeezenet = || Zoo::get("squeezenet1_1").unwrap();
    let told = built(squeezenet().pool(Pool::Max)).unknown_to_timm();
    assert!(
        told.unwrap()
            .starts_with("the pooling was changed to max: torchvision has no")
    );
    let told = built(squeezenet().in_channels(1)).unknown_to_timm();
    assert!(
        told.unwrap()
            .starts_with("it has 1 input channels: torchvision has no")
    );
    let model = built(squeezenet());
    assert_eq!(
        (model.unknown_to_timm(), model.library()),
        (None, "torchvision")
    );
    assert_eq!(
        built(Zoo::test_resnet().pool(Pool::Max)).unknown_to_timm(),
        None
    );
    // timm drops more than the classifier of some.
    let headless = |name: &str| built(Zoo::get(name).unwrap().num_classes(0)).unknown_to_timm();
    assert_eq!(headless("test_resnet"), None);
    for name in ["repvit_m0_9", "efficientvit_m0"] {
        let told = headless(name).unwrap();
        assert!(
            told.starts_with("it has no classes, but the layers before the classifier: timm"),
            "{told}"
        );
    }
}

#[test]
fn names_of_classes_are_no_markdown() {
    let dir = tempfile::tempdir().unwrap();
    let names = [
        "<script>alert(1)</script>",
        "a, b|c`code`",
        "golden_retriever",
        "\u{202e}turned",
    ];
    let model = Zoo::test_resnet()
        .num_classes(4)
        .build_zeros(&Device::default())
        .unwrap();
    let model = model
        .with_classes(names.map(str::to_owned).to_vec())
        .unwrap();
    model.export(dir.path()).unwrap();
    let card = std::fs::read_to_string(dir.path().join("README.md")).unwrap();
    let expected = "4 classes: \\<script\\>alert(1)\\</script\\>, \"a, b\\|c\\`code\\`\", golden\\_retriever, \
                    \\u{202e}turned.";
    assert!(card.contains(expected), "{card}");
}

/// Weights never lie beside the configuration of others.
#[test]
fn a_folder_that_cannot_be_written_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let model = |seed| {
        let spec = Zoo::test_resnet()
            .weights(Weights::Random(seed))
            .num_classes(3);
        spec.build(&Device::default()).unwrap()
    };
    model(1).export(dir.path()).unwrap();
    let weights = || std::fs::read(dir.path().join("model.safetensors")).unwrap();
    let old = weights();
    let config = dir.path().join("config.json");
    std::fs::remove_file(&config).unwrap();
    std::fs::create_dir(&config).unwrap();
    let error = model(2).export(dir.path()).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
    assert!(weights() == old);
    std::fs::remove_dir(&config).unwrap();
    model(2).export(dir.path()).unwrap();
    assert!(weights() != old && config.is_file());
}
