//! Stems for small images: loading, leaving and coming back. `parity.rs` and `train_step.rs` compare the
//! values with PyTorch's.

mod common;

use std::path::Path;

use burn_zoo::InputSize;
use burn_zoo::prelude::*;
use common::{Fixture, relative_error, rule_input, rule_model, sample, values};

fn device() -> Device {
    Device::default()
}

/// The model of a spec with the rule's weights, in a folder.
fn exported(spec: Spec) -> (Classifier, tempfile::TempDir) {
    let model = rule_model(spec, &device());
    let dir = tempfile::tempdir().unwrap();
    model.export(dir.path()).unwrap();
    (model, dir)
}

fn config(dir: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(dir.join("config.json")).unwrap()).unwrap()
}

fn stem(model: &Classifier) -> String {
    model.backbone.describe().stem.as_ref().unwrap().to_string()
}

#[test]
fn kernels_of_patches_are_resampled_as_in_timm() {
    let expected = Fixture::open("patches.safetensors");
    for (spec, name, key, sides) in [
        (
            Zoo::test_vit().image_size(32),
            "test_vit",
            "patch_embed.proj.weight",
            &[4, 8, 7, 1][..],
        ),
        (
            Zoo::test_convnext(),
            "test_convnext",
            "stem.0.weight",
            &[2, 1, 3],
        ),
    ] {
        let (_, dir) = exported(spec.clone());
        let file = Weights::File(dir.path().join("model.safetensors"));
        for side in sides {
            let spec = spec.clone().weights(file.clone()).stem_stride(*side);
            let model = spec.build(&device()).unwrap();
            let kernels = &model.state_dict().unwrap()[key];
            assert_eq!(kernels.shape[2..], [*side; 2]);
            let error = relative_error(
                &sample(&kernels.data, 256),
                expected.get(&format!("{name}.{side}")),
            );
            assert!(error < 1e-5, "{name}, {side}: off by {error:e}");
        }
    }
}

/// Other channels and another side at once are one after the other.
#[test]
fn patches_of_other_channels_are_resampled_first() {
    let spec = Zoo::test_vit().image_size(32).num_classes(10);
    let (_, dir) = exported(spec.clone());
    let file = Weights::File(dir.path().join("model.safetensors"));
    let spec = spec.weights(file).stem_stride(4);
    let grey = spec.clone().in_channels(1).build(&device()).unwrap();
    let after = spec.build(&device()).unwrap();
    let after = after.reset_stem(1, &StemRule::Fold, 0).unwrap();
    let image = rule_input([2, 1, 32, 32], &device());
    let [grey, after] = [grey, after].map(|model| values(&model.forward(image.clone()).unwrap()));
    assert_eq!(grey, after);
}

#[test]
fn a_stem_goes_where_the_model_goes() {
    for (spec, words, in_config) in [
        (
            Zoo::test_resnet().small_images(),
            "stride 1, no pooling",
            r#"{"pool":false,"stride":1}"#,
        ),
        (
            Zoo::test_resnet().stem_pool(false),
            "stride 2, no pooling",
            r#"{"pool":false}"#,
        ),
        (
            Zoo::test_resnet().stem_stride(1),
            "stride 1, pooling",
            r#"{"stride":1}"#,
        ),
        (
            Zoo::lcnet_035().small_images(),
            "stride 1",
            r#"{"stride":1}"#,
        ),
        (
            Zoo::test_vit().image_size(32).small_images(),
            "patches of 4 pixels",
            r#"{"stride":4}"#,
        ),
    ] {
        let (model, dir) = exported(spec.num_classes(10));
        let name = &model.info().architecture;
        assert_eq!(stem(&model), words, "{name}");
        assert_eq!(config(dir.path())["stem"].to_string(), in_config, "{name}");
        let image = rule_input([2, 3, 32, 32], &device());
        let wanted = values(&model.forward(image.clone()).unwrap());
        let opened = Classifier::open(dir.path(), &device()).unwrap();
        assert_eq!(
            values(&opened.forward(image.clone()).unwrap()),
            wanted,
            "{name}"
        );
        // Surgery on a model that stands leaves its stem alone.
        let same = opened.with_drop_rates(0.1, 0.0).unwrap();
        assert_eq!(stem(&same), words, "{name}");
        assert_eq!(values(&same.forward(image).unwrap()), wanted, "{name}");
        let grey = same.reset_stem(1, &StemRule::Fold, 0).unwrap();
        assert_eq!(stem(&grey), words, "{name}");
        assert_eq!(
            grey.reset_head(3, &Init::PyTorch, 0).unwrap().num_classes(),
            3
        );

        let card = std::fs::read_to_string(dir.path().join("README.md")).unwrap();
        assert!(card.contains(&format!("- stem: {words}")), "{card}");
        let patch = &config(dir.path())["model_args"]["patch_size"];
        if model.unknown_to_timm().is_some() {
            assert!(card.contains("does not compute the same") && !card.contains("import timm"));
            assert!(patch.is_null(), "{name}");
        } else {
            assert!(card.contains("import timm"), "{card}");
            assert_eq!(*patch, 4, "{name}");
        }
        let summary = opened_summary(dir.path());
        assert!(summary.contains(&format!("; stem: {words}\n")), "{summary}");
    }
    // Upstream's stem is not worth a word.
    let (model, dir) = exported(Zoo::test_resnet());
    assert!(config(dir.path())["stem"].is_null());
    assert_eq!(model.unknown_to_timm(), None);
}

fn opened_summary(dir: &Path) -> String {
    let model = Classifier::open(dir, &device()).unwrap();
    model.summary(Some(32.into())).unwrap().to_string()
}

/// What a folder says of its stem holds until something else is asked.
#[test]
fn a_stem_can_be_changed_back() {
    let (_, dir) = exported(Zoo::test_resnet().num_classes(10).small_images());
    let spec = || Spec::of_folder(dir.path()).unwrap();
    let back = spec()
        .stem_stride(2)
        .stem_pool(true)
        .build(&device())
        .unwrap();
    assert_eq!(stem(&back), "stride 2, pooling");
    assert_eq!(config(dir.path())["stem"]["stride"], 1);

    let (_, dir) = exported(
        Zoo::test_vit()
            .image_size(32)
            .num_classes(10)
            .stem_stride(4),
    );
    let finer = Spec::of_folder(dir.path()).unwrap().stem_stride(2);
    let finer = finer.build(&device()).unwrap();
    assert_eq!(stem(&finer), "patches of 2 pixels");
    let finest = Spec::of_folder(dir.path()).unwrap().small_images();
    assert_eq!(
        stem(&finest.build(&device()).unwrap()),
        "patches of 4 pixels"
    );
}

#[test]
fn weights_of_another_stem_are_refused() {
    let spec = || Zoo::test_resnet().num_classes(10);
    let (_, dir) = exported(spec().small_images());
    let file = || Weights::File(dir.path().join("model.safetensors"));
    let error = spec()
        .weights(file())
        .build(&device())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("trained behind a stem of stride 1, no pooling")
            && error.contains("the model has one of stride 2, pooling"),
        "{error}"
    );
    spec()
        .small_images()
        .weights(file())
        .build(&device())
        .unwrap();

    // Patches have shapes, and those of another architecture are not brought to this one's in silence.
    let vit = || Zoo::test_vit().image_size(32).num_classes(10);
    let (_, dir) = exported(vit().stem_stride(4));
    let file = Weights::File(dir.path().join("model.safetensors"));
    for spec in [vit(), vit().stem_stride(8)] {
        let error = spec
            .weights(file.clone())
            .build(&device())
            .unwrap_err()
            .to_string();
        assert!(error.contains("patch_embed.proj.weight"), "{error}");
    }
    vit().stem_stride(4).weights(file).build(&device()).unwrap();
}

#[test]
fn what_a_stem_cannot_be_is_said() {
    let refused = |spec: Spec| spec.build_zeros(&device()).unwrap_err().to_string();
    for (spec, expected) in [
        (
            Zoo::resnet18().stem_stride(3),
            "stem_stride: expected one that the stem can have: 1, 2, found 3",
        ),
        (
            Zoo::resnet18().stem_stride(0),
            "stem_stride: expected one that the stem can have: 1, 2, found 0",
        ),
        (
            Zoo::resnetrs50().stem_stride(usize::MAX),
            "stem_stride: expected one that the stem can have: 1, 2, 4, found 18446744073709551615",
        ),
        (
            Zoo::lcnet_035().stem_pool(false),
            "stem_pool: expected nothing: the stem of this architecture has no pooling, found false",
        ),
        (
            Zoo::test_vit().stem_stride(17),
            "stem_stride: expected 1 to 16, the side of a patch, found 17",
        ),
        (
            Zoo::test_vit().stem_stride(0),
            "stem_stride: expected 1 to 16, the side of a patch, found 0",
        ),
        (
            Zoo::test_vit().stem_pool(false),
            "stem_pool: expected nothing: patches are not pooled, found false",
        ),
        (
            Zoo::vgg11().stem_pool(false),
            "stem_pool: expected nothing: vgg11 has no stem that can be changed, found false",
        ),
    ] {
        assert_eq!(refused(spec), expected);
    }
}

/// What a configuration says of a stem is read or refused, in the folder and beside a file of weights.
#[test]
fn a_malformed_stem_is_named() {
    let (_, dir) = exported(Zoo::test_resnet().num_classes(10));
    let path = dir.path().join("config.json");
    let sound = config(dir.path());
    for (stem, expected) in [
        (
            serde_json::json!("deep"),
            "expected an object of `stride` and `pool`",
        ),
        (
            serde_json::json!([1, false]),
            "expected an object of `stride` and `pool`",
        ),
        (serde_json::json!({"stride": 0}), "16384"),
        (serde_json::json!({"stride": 1, "pol": false}), "pol"),
        (
            serde_json::json!({"stride": 3}),
            "stem_stride: expected one that the stem can have: 1, 2",
        ),
    ] {
        let mut changed = sound.clone();
        changed["stem"] = stem.clone();
        std::fs::write(&path, changed.to_string()).unwrap();
        let of_folder = Spec::of_folder(dir.path()).unwrap_err().to_string();
        assert!(
            of_folder.contains("config.json") && of_folder.contains(expected),
            "{of_folder}"
        );
        let file = Weights::File(dir.path().join("model.safetensors"));
        let spec = Zoo::test_resnet().num_classes(10).weights(file);
        let beside = spec.build(&device()).unwrap_err().to_string();
        assert!(
            beside.contains("config.json") && beside.contains(expected),
            "{stem}: {beside}"
        );
    }
    // That of an architecture which is not ours says nothing of the weights.
    let mut foreign = sound.clone();
    foreign["architecture"] = "TheirsForImageClassification".into();
    foreign["stem"] = "deep".into();
    std::fs::write(&path, foreign.to_string()).unwrap();
    let file = Weights::File(dir.path().join("model.safetensors"));
    Zoo::test_resnet()
        .num_classes(10)
        .weights(file)
        .build(&device())
        .unwrap();
}

/// Kernels of another number of channels are a mismatch, whatever their side.
#[test]
fn patches_of_other_channels_than_stated_are_refused() {
    let (_, dir) = exported(Zoo::test_vit().image_size(32).num_classes(10));
    let (_, four) = exported(Zoo::test_vit().image_size(32).adapt(4, 10));
    let weights = "model.safetensors";
    std::fs::copy(four.path().join(weights), dir.path().join(weights)).unwrap();
    let spec = Spec::of_folder(dir.path()).unwrap().stem_stride(8);
    let error = spec.build(&device()).unwrap_err().to_string();
    assert!(error.contains("patch_embed.proj.weight"), "{error}");
}

/// timm's own argument says the side of a patch, also where it is upstream's.
#[test]
fn timms_patch_size_is_read() {
    let (_, dir) = exported(Zoo::test_vit().image_size(32).num_classes(10));
    let path = dir.path().join("config.json");
    let mut changed = config(dir.path());
    changed["model_args"]["patch_size"] = 16.into();
    std::fs::write(&path, changed.to_string()).unwrap();
    Classifier::open(dir.path(), &device()).unwrap();

    let (model, dir) = exported(
        Zoo::test_vit()
            .image_size(32)
            .num_classes(10)
            .stem_stride(4),
    );
    let path = dir.path().join("config.json");
    let mut changed = config(dir.path());
    changed.as_object_mut().unwrap().remove("stem");
    std::fs::write(&path, changed.to_string()).unwrap();
    let opened = Classifier::open(dir.path(), &device()).unwrap();
    assert_eq!(stem(&opened), stem(&model));
}

/// The least size that a model says it takes is one that it takes.
#[test]
fn the_least_size_is_right() {
    for path in common::fixture("stems").read_dir().unwrap() {
        let path = path.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if !common::is_chosen(name) {
            continue;
        }
        let upstream = Zoo::get(name).unwrap().num_classes(2);
        let stem = upstream.build_zeros(&device()).unwrap();
        let stem = stem.backbone.describe().stem.clone().unwrap();
        let mut specs = vec![upstream.clone().small_images()];
        if !stem.is_patch() {
            specs.extend(
                (1..stem.stride())
                    .filter(|n| stem.stride().is_multiple_of(*n))
                    .map(|n| upstream.clone().stem_stride(n)),
            );
        }
        specs.extend(stem.pools().map(|_| upstream.stem_pool(false)));
        for spec in specs {
            let model = spec.build_zeros(&device()).unwrap();
            let least = match model.backbone.describe().input_size {
                InputSize::AtLeast(least) | InputSize::MultipleOf(least) => least,
                InputSize::Exactly(_) => continue,
            };
            for side in [least, least + least] {
                let image = rule_input([1, 3, side, side], &device());
                let scores = model.forward(image).unwrap();
                assert_eq!(scores.dims(), [1, 2], "{name}, {side} pixels");
            }
        }
    }
}
