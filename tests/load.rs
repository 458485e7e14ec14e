//! Strict loading: what agrees loads, what differs is one error that lists all of it.

mod common;
#[path = "common/state_dict.rs"]
mod state_dict;

use std::path::{Path, PathBuf};

use burn_zoo::prelude::*;
use burn_zoo::{Error, Spec};
use common::rule_model;
use half::{bf16, f16};
use safetensors::{Dtype, tensor::TensorView};
use state_dict::{State, checkpoint, doubled, f32_bytes, prefixed, renamed, state};

fn write(dir: &Path, state: &State) -> PathBuf {
    let path = dir.join("weights.safetensors");
    let views = state.iter().map(|(name, (dtype, shape, bytes))| {
        (
            name.as_str(),
            TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
        )
    });
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

fn spec(path: &Path) -> Spec {
    Zoo::test_resnet().weights(path)
}

fn build(spec: Spec) -> burn_zoo::Result<Classifier> {
    spec.build(&Device::default())
}

/// The error's text, without the path.
fn refusal(state: &State, adapt: impl FnOnce(Spec) -> Spec) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), state);
    let error = build(adapt(spec(&path))).unwrap_err();
    assert!(matches!(error, Error::WeightsMismatch(_)), "{error}");
    let text = error.to_string();
    text.strip_prefix(&format!("{}: ", path.display()))
        .unwrap()
        .to_owned()
}

#[test]
fn a_sound_file_loads_with_and_without_the_counts_of_batches() {
    let dir = tempfile::tempdir().unwrap();
    let expected = rule_model(Zoo::test_resnet().num_classes(7), &Device::default());
    let expected = expected.state_dict().unwrap();
    let with = build(spec(&write(dir.path(), &state()))).unwrap();
    assert_eq!(with.state_dict().unwrap(), expected);
    let mut without = state();
    without.retain(|name, _| !name.ends_with("num_batches_tracked"));
    let without = build(spec(&write(dir.path(), &without))).unwrap();
    assert_eq!(without.state_dict().unwrap(), expected);
}

#[test]
fn half_precision_loads_as_f32() {
    let dir = tempfile::tempdir().unwrap();
    type Half = (Dtype, fn(f32) -> [u8; 2], fn(f32) -> f32);
    let halves: [Half; 2] = [
        (
            Dtype::F16,
            |v| f16::from_f32(v).to_le_bytes(),
            |v| f16::from_f32(v).to_f32(),
        ),
        (
            Dtype::BF16,
            |v| bf16::from_f32(v).to_le_bytes(),
            |v| bf16::from_f32(v).to_f32(),
        ),
    ];
    let model = rule_model(Zoo::test_resnet().num_classes(7), &Device::default());
    let original = model.state_dict().unwrap();
    for (dtype, encode, round) in halves {
        let state = original
            .iter()
            .map(|(name, tensor)| {
                let bytes = tensor.data.iter().flat_map(|v| encode(*v)).collect();
                (name.clone(), (dtype, tensor.shape.clone(), bytes))
            })
            .collect();
        let loaded = build(spec(&write(dir.path(), &state))).unwrap();
        for (name, tensor) in loaded.state_dict().unwrap() {
            let expected: Vec<f32> = original[&name].data.iter().map(|v| round(*v)).collect();
            assert_eq!(tensor.data, expected, "{name}");
        }
    }
}

#[test]
fn every_difference_is_listed_in_one_error() {
    let mut wrong = state();
    wrong.remove("layer1.0.bn1.bias");
    wrong.remove("layer2.0.conv1.weight");
    wrong.insert("ema.decay".to_owned(), (Dtype::F32, vec![1], vec![0; 4]));
    // A count for a normalisation that the model does not have is left over, too.
    let count = (Dtype::I64, vec![], vec![0; 8]);
    wrong.insert("layer9.0.bn1.num_batches_tracked".to_owned(), count);
    wrong.insert(
        "layer3.0.bn1.weight".to_owned(),
        (Dtype::F32, vec![47], vec![0; 188]),
    );
    wrong.insert(
        "layer4.0.bn1.weight".to_owned(),
        (Dtype::I64, vec![96], vec![0; 768]),
    );
    assert_eq!(
        refusal(&wrong, |spec| spec),
        "the weights are not those of test_resnet with 3 input channels and 7 classes (73 tensors \
         agree)\n  \
         missing (2): layer1.0.bn1.bias, layer2.0.conv1.weight\n  \
         not in the model (2): ema.decay, layer9.0.bn1.num_batches_tracked\n  \
         wrong shape (1): layer3.0.bn1.weight (expected [48], found [47])\n  \
         wrong type (1): layer4.0.bn1.weight (expected f32, f16, bf16 or f64, found i64)"
    );
}

#[test]
fn long_lists_are_shortened() {
    let mut wrong = state();
    wrong.retain(|name, _| !name.starts_with("layer"));
    let text = refusal(&wrong, |spec| spec);
    assert!(
        text.contains("\n  missing (") && text.ends_with(" more"),
        "{text}"
    );
    assert!(text.len() < 600, "{text}");
}

#[test]
fn an_adaptation_excuses_only_what_it_declares() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &state());
    // Another head and another stem are declared ..
    let adapted = build(spec(&path).adapt(1, 3)).unwrap();
    assert_eq!((adapted.in_channels(), adapted.num_classes()), (1, 3));
    // .. anything else is not.
    let mut wrong = state();
    wrong.remove("layer1.0.bn1.bias");
    let text = refusal(&wrong, |spec| spec.adapt(1, 3));
    assert!(
        text.ends_with("\n  missing (1): layer1.0.bn1.bias"),
        "{text}"
    );

    // A file without a head is fine for a new one, but not for the old one.
    let mut headless = state();
    headless.retain(|name, _| !name.starts_with("fc."));
    let text = refusal(&headless, |spec| spec);
    for named in [
        "missing (2)",
        "fc.bias",
        "num_classes(N)",
        "--num-classes N",
    ] {
        assert!(text.contains(named), "{text}");
    }
    let path = write(dir.path(), &headless);
    assert_eq!(build(spec(&path).num_classes(3)).unwrap().num_classes(), 3);
    assert_eq!(build(spec(&path).num_classes(0)).unwrap().num_classes(), 0);
    // A head whose weight and bias do not belong together is an error.
    let mut torn = state();
    torn.insert("fc.bias".to_owned(), (Dtype::F32, vec![9], vec![0; 36]));
    let text = refusal(&torn, |spec| spec);
    assert!(
        text.ends_with("\n  wrong shape (1): fc.bias (expected [7], found [9])"),
        "{text}"
    );
}

#[test]
fn the_wrong_architecture_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &state());
    let error = build(Zoo::resnet18().weights(path.as_path()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("not those of resnet18 with 3 input channels and 7 classes"),
        "{error}"
    );
    let error = build(Zoo::test_vit().weights(path.as_path()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("missing (80)") && error.contains("not in the model (92)"),
        "{error}"
    );
}

#[test]
fn odd_shapes_of_the_first_and_last_layer_are_refused() {
    for (name, shape) in [
        ("conv1.0.weight", vec![16, 3, 3]),
        ("conv1.0.weight", vec![16, 5000, 1, 1]),
        ("conv1.0.weight", vec![16, 0, 3, 3]),
        ("conv1.0.weight", vec![3]),
        ("fc.weight", vec![96]),
        ("fc.weight", vec![0, 96]),
        ("fc.weight", vec![]),
        ("bn1.weight", vec![32, 1]),
    ] {
        let mut wrong = state();
        let bytes = vec![0; 4 * shape.iter().product::<usize>()];
        wrong.insert(name.to_owned(), (Dtype::F32, shape.clone(), bytes));
        let text = refusal(&wrong, |spec| spec);
        assert!(
            text.contains(&format!("{name} (expected [")),
            "{shape:?}: {text}"
        );
        let text = refusal(&wrong, |spec| spec.in_channels(1));
        assert!(
            text.contains(&format!("{name} (expected [")),
            "{shape:?}: {text}"
        );
    }
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = state();
    let (_, _, bytes) = wrong.get_mut("layer2.0.bn2.weight").unwrap();
    bytes[40..44].copy_from_slice(&f32::NAN.to_le_bytes());
    let path = write(dir.path(), &wrong);
    assert_eq!(
        build(spec(&path)).unwrap_err().to_string(),
        format!(
            "{}: tensor `layer2.0.bn2.weight` holds NaN at element 10; values must be finite",
            path.display()
        )
    );
    let absent = dir.path().join("absent.safetensors");
    let error = build(spec(&absent)).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot read {}: ", absent.display())),
        "{error}"
    );
}

// ---- Files as other tools write them ------------------------------------------------------------

/// One tensor that no model knows.
fn stranger() -> (Dtype, Vec<usize>, Vec<u8>) {
    (Dtype::F32, vec![1], vec![0; 4])
}

/// Builds, and asserts that the backbone is that of the rule (with all values doubled or not).
#[track_caller]
fn assert_backbone(spec: Spec, factor: f32) -> Classifier {
    let model = build(spec).unwrap();
    let expected = rule_model(Zoo::test_resnet().num_classes(7), &Device::default());
    let found = model.state_dict().unwrap();
    for (name, tensor) in expected.state_dict().unwrap() {
        if !name.starts_with("fc.") {
            let values: Vec<f32> = tensor.data.iter().map(|v| factor * v).collect();
            assert_eq!(found[&name].data, values, "{name}");
        }
    }
    model
}

#[test]
fn prefixes_are_taken_off_and_said() {
    let dir = tempfile::tempdir().unwrap();
    for prefix in [
        "module.",
        "_orig_mod.",
        "model.",
        "backbone.",
        "encoder_q.",
        "0.",
        "module.encoder_q.",
        "model.module._orig_mod.backbone.",
    ] {
        let path = write(dir.path(), &prefixed(&state(), prefix));
        let model = assert_backbone(spec(&path), 1.0);
        assert_eq!(model.num_classes(), 7);
        let report = model.load_report().unwrap();
        assert_eq!((report.prefix.as_str(), report.matched), (prefix, 77));
        assert!(report.left_out.is_empty(), "{report:?}");
        let summary = report.summary().unwrap();
        assert!(summary.contains(&format!("`{prefix}`")), "{summary}");
    }
    let plain = build(spec(&write(dir.path(), &state()))).unwrap();
    assert_eq!(plain.load_report().unwrap().summary(), None);
    assert_eq!(
        build(Zoo::test_resnet().weights(Weights::Random(0)))
            .unwrap()
            .load_report(),
        None
    );
}

#[test]
fn names_beside_the_prefix_are_left_out_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut lightning = prefixed(&state(), "model.");
    lightning.insert("criterion.weight".to_owned(), stranger());
    lightning.insert("train_acc.total".to_owned(), stranger());
    let model = assert_backbone(spec(&write(dir.path(), &lightning)), 1.0);
    let report = model.load_report().unwrap();
    assert_eq!(report.left_out, ["criterion.weight", "train_acc.total"]);
    let summary = report.summary().unwrap();
    assert!(summary.contains("train_acc.total"), "{summary}");

    for counted in [prefixed(&state(), "module."), state()] {
        let mut averaged = counted;
        averaged.insert("n_averaged".to_owned(), (Dtype::I64, vec![], vec![0; 8]));
        let model = assert_backbone(spec(&write(dir.path(), &averaged)), 1.0);
        assert_eq!(model.load_report().unwrap().left_out, ["n_averaged"]);
    }

    // What is behind the prefix must fit, as ever.
    let mut wrong = lightning.clone();
    wrong.insert("model.extra.weight".to_owned(), stranger());
    wrong.remove("model.layer1.0.bn1.bias");
    let text = refusal(&wrong, |spec| spec);
    for named in ["(1): extra.weight", "(1): layer1.0.bn1.bias", "`model.`"] {
        assert!(text.contains(named), "{text}");
    }
}

#[test]
fn two_prefixes_that_fit_are_to_be_chosen_from() {
    let dir = tempfile::tempdir().unwrap();
    let mut both = prefixed(&state(), "model.");
    both.extend(prefixed(&doubled(&state()), "backbone."));
    let path = write(dir.path(), &both);
    let error = build(spec(&path)).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    let text = error.to_string();
    for named in ["--weights-prefix", "`backbone.`", "`model.`"] {
        assert!(text.contains(named), "{text}");
    }
    assert_backbone(spec(&path).weights_prefix("model."), 1.0);
    let model = assert_backbone(spec(&path).weights_prefix("backbone"), 2.0);
    assert_eq!(model.load_report().unwrap().left_out.len(), 92);
}

#[test]
fn prefixes_that_are_not_usual_are_named_and_can_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let student = prefixed(&state(), "student.");
    let text = refusal(&student, |spec| spec);
    assert!(text.contains("all names begin with `student.`"), "{text}");
    assert!(text.contains("--weights-prefix student."), "{text}");

    let mut both = student;
    both.extend(prefixed(&doubled(&state()), "teacher.module.backbone."));
    let text = refusal(&both, |spec| spec);
    for named in [
        "`student.`",
        "`teacher.module.backbone.`",
        "--weights-prefix",
    ] {
        assert!(text.contains(named), "{text}");
    }
    let path = write(dir.path(), &both);
    assert_backbone(spec(&path).weights_prefix("student."), 1.0);
    // The usual prefixes behind the one that was asked for are found.
    let model = assert_backbone(spec(&path).weights_prefix("teacher."), 2.0);
    let report = model.load_report().unwrap();
    assert_eq!(report.prefix, "teacher.module.backbone.");
    assert!(model.info().origin.contains("teacher."));

    let error = build(spec(&path).weights_prefix("tutor.")).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("`student.`, `teacher.`"), "{text}");
}

#[test]
fn a_key_and_a_prefix_are_those_of_a_file() {
    for spec in [
        Zoo::test_resnet().weights(Weights::Random(0)),
        Zoo::resnet18().weights(Weights::Bundled),
        Zoo::test_resnet(),
    ] {
        for (spec, flag) in [
            (spec.clone().weights_key("model"), "--weights-key"),
            (spec.clone().weights_prefix("model."), "--weights-prefix"),
        ] {
            let error = build(spec).unwrap_err();
            assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(flag) && text.contains("a file"), "{text}");
        }
    }
}

#[test]
fn plain_weights_are_taken_before_averages() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, mut ema) = (state(), prefixed(&doubled(&state()), "module."));
    ema.insert("n_averaged".to_owned(), (Dtype::I64, vec![], vec![0; 8]));
    for (key, average) in [
        ("state_dict", "state_dict_ema"),
        ("model", "model_ema"),
        ("net", "ema"),
        ("model_state", "ema"),
        ("weights", "ema"),
        ("model.state_dict", "ema"),
    ] {
        // The average first, which is not what decides.
        let path = checkpoint(dir.path(), &[(average, &ema), (key, &plain)]);
        let model = assert_backbone(spec(&path), 1.0);
        let report = model.load_report().unwrap();
        assert_eq!(report.key.as_deref(), Some(key));
        assert_eq!(report.other_keys, [average]);
        let summary = report.summary().unwrap();
        for named in [
            &format!("`{key}`"),
            &format!("`{average}`"),
            "--weights-key",
        ] {
            assert!(summary.contains(named), "{summary}");
        }
        let model = assert_backbone(spec(&path).weights_key(average), 2.0);
        assert_eq!(model.load_report().unwrap().key.as_deref(), Some(average));
    }
    // Alone, the average is what there is.
    let path = checkpoint(dir.path(), &[("model_ema", &ema)]);
    let model = assert_backbone(spec(&path), 2.0);
    let summary = model.load_report().unwrap().summary().unwrap();
    assert!(summary.contains("an average"), "{summary}");

    let error = build(spec(&path).weights_key("ema")).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    assert!(error.to_string().contains("`model_ema`"), "{error}");
}

#[test]
fn of_two_plain_keys_the_one_that_fits_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let other: State = renamed(&state(), |name| name.replace("layer1", "stage1"));
    let sections: [(&str, &State); 2] = [("state_dict", &other), ("net", &doubled(&state()))];
    let path = checkpoint(dir.path(), &sections);
    let model = assert_backbone(spec(&path), 2.0);
    let report = model.load_report().unwrap();
    assert_eq!(report.key.as_deref(), Some("net"));
    assert_eq!(report.other_keys, ["state_dict"]);

    // The same names, but not all of the shapes.
    let mut wider = state();
    wider.insert(
        "layer3.0.bn1.weight".to_owned(),
        (Dtype::F32, vec![47], vec![0; 188]),
    );
    let sections: [(&str, &State); 2] = [("state_dict", &wider), ("net", &state())];
    let path = checkpoint(dir.path(), &sections);
    let model = assert_backbone(spec(&path), 1.0);
    assert_eq!(model.load_report().unwrap().key.as_deref(), Some("net"));

    let twice = doubled(&state());
    let sections: [(&str, &State); 2] = [("state_dict", &state()), ("net", &twice)];
    let path = checkpoint(dir.path(), &sections);
    let error = build(spec(&path)).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    let text = error.to_string();
    for named in ["--weights-key", "`state_dict`, `net`", "checkpoint.pth"] {
        assert!(text.contains(named), "{text}");
    }
    assert_backbone(spec(&path).weights_key("net"), 2.0);
}

#[test]
fn a_head_that_is_replaced_may_be_built_in_any_way() {
    let dir = tempfile::tempdir().unwrap();
    let built = |head: &str| renamed(&state(), |name| name.replace("fc.", head));
    let heads = [
        "fc.1.",
        "fc.0.",
        "head.",
        "classifier.2.",
        "last_linear.",
        "heads.head.",
    ];
    for head in heads {
        let state = built(head);
        let path = write(dir.path(), &state);
        let model = assert_backbone(spec(&path).num_classes(7), 1.0);
        let names = ["bias", "weight"].map(|part| format!("{head}{part}"));
        assert_eq!(model.load_report().unwrap().left_out, names);
        let summary = model.load_report().unwrap().summary().unwrap();
        assert!(summary.contains(&names[0]), "{summary}");
        assert_eq!(
            assert_backbone(spec(&path).num_classes(0), 1.0).num_classes(),
            0
        );

        let text = refusal(&state, |spec| spec);
        for named in [
            "missing (2)",
            &names[0],
            "num_classes(N)",
            "--num-classes N",
        ] {
            assert!(text.contains(named), "{text}");
        }
    }
    // The head that is kept is read, and what is replaced is told.
    let path = write(dir.path(), &state());
    let kept = build(spec(&path).num_classes(7)).unwrap();
    assert!(kept.load_report().unwrap().left_out.is_empty());
    let replaced = build(spec(&path).num_classes(3)).unwrap();
    assert_eq!(
        replaced.load_report().unwrap().left_out,
        ["fc.bias", "fc.weight"]
    );

    // Anything that is no head is still an error, whatever it is called.
    let mut wrong = built("fc.1.");
    wrong.insert("header.weight".to_owned(), stranger());
    let text = refusal(&wrong, |spec| spec.num_classes(3));
    assert!(text.contains("(1): header.weight"), "{text}");
}

#[test]
fn the_body_of_a_fastai_learner_loads() {
    let dir = tempfile::tempdir().unwrap();
    let child = |name: &str| {
        let (first, rest) = name.split_once('.').unwrap();
        match first {
            "conv1" => format!("0.{rest}"),
            "bn1" => format!("1.{rest}"),
            "fc" => format!("fc.{rest}"),
            layer => format!("{}.{rest}", 3 + layer[5..].parse::<usize>().unwrap()),
        }
    };
    let mut body = renamed(&state(), child);
    body.retain(|name, _| !name.starts_with("fc."));
    let mut learner = prefixed(&body, "0.");
    learner.insert("1.8.weight".to_owned(), stranger());
    let path = checkpoint(dir.path(), &[("model", &learner)]);
    let model = assert_backbone(spec(&path).num_classes(3), 1.0);
    let report = model.load_report().unwrap();
    assert_eq!(report.left_out, ["1.8.weight"]);
    let summary = report.summary().unwrap();
    assert!(summary.contains("fastai"), "{summary}");
    // The body by itself.
    assert_backbone(spec(&write(dir.path(), &body)).num_classes(3), 1.0);
    // Its head is another one.
    let text = build(spec(&path)).unwrap_err().to_string();
    for named in ["--num-classes", "fastai", "fc.weight"] {
        assert!(text.contains(named), "{text}");
    }
}

#[test]
fn doubles_are_rounded_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let wide = |state: &State| {
        let mut state = state.clone();
        for (dtype, _, bytes) in state
            .values_mut()
            .filter(|(dtype, ..)| *dtype == Dtype::F32)
        {
            let (values, _) = bytes.as_chunks();
            let widen = |value: &[u8; 4]| f64::from(f32::from_le_bytes(*value)).to_le_bytes();
            *bytes = values.iter().flat_map(widen).collect();
            *dtype = Dtype::F64;
        }
        state
    };
    let state = wide(&state());
    for path in [
        write(dir.path(), &state),
        checkpoint(dir.path(), &[("model", &state)]),
    ] {
        let model = assert_backbone(spec(&path), 1.0);
        let report = model.load_report().unwrap();
        assert_eq!(report.converted, [("f64".to_owned(), 77)].into());
        let summary = report.summary().unwrap();
        assert!(
            summary.contains("77") && summary.contains("f64"),
            "{summary}"
        );
    }
    let mut large = state;
    let (_, _, bytes) = large.get_mut("layer2.0.bn2.weight").unwrap();
    bytes[8..16].copy_from_slice(&1e39_f64.to_le_bytes());
    let error = build(spec(&write(dir.path(), &large))).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`layer2.0.bn2.weight` holds 1e39"), "{text}");
}

#[test]
fn the_counts_of_batches_may_be_of_any_type() {
    let dir = tempfile::tempdir().unwrap();
    for (dtype, size) in [(Dtype::F32, 4), (Dtype::I32, 4), (Dtype::U8, 1)] {
        let mut counted = state();
        for (name, tensor) in &mut counted {
            if name.ends_with("num_batches_tracked") {
                *tensor = (dtype, vec![], vec![0; size]);
            }
        }
        let model = assert_backbone(spec(&write(dir.path(), &counted)), 1.0);
        assert!(model.load_report().unwrap().left_out.is_empty());
    }
}

#[test]
fn a_file_that_does_not_fit_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let of = |names: &[&str]| -> State {
        let named = names.iter().map(|name| ((*name).to_owned(), stranger()));
        named.collect()
    };
    let transformers = of(&[
        "vit.embeddings.patch_embeddings.projection.weight",
        "vit.encoder.layer.0.attention.attention.query.weight",
        "classifier.weight",
    ]);
    let torchvision = of(&[
        "class_token",
        "conv_proj.weight",
        "encoder.layers.encoder_layer_0.ln_1.weight",
        "heads.head.weight",
    ]);
    let detector = of(&[
        "backbone.body.bn1.weight",
        "rpn.head.cls_logits.weight",
        "roi_heads.box_predictor.cls_score.weight",
    ]);
    let mobilenet = of(&[
        "features.0.0.weight",
        "features.1.block.0.0.weight",
        "classifier.0.weight",
    ]);
    for (state, words) in [
        (&transformers, "transformers' ViT"),
        (&torchvision, "torchvision's vit_b_16"),
        (&detector, "a detector"),
        (&mobilenet, "torchvision's MobileNetV3"),
    ] {
        let path = write(dir.path(), state);
        let error = build(Zoo::test_vit().weights(path.as_path())).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(words), "{text}");
        assert!(!text.contains("--num-classes"), "{text}");
        assert!(!text.contains("not read"), "{text}");
    }
    let distilled = {
        let model = rule_model(Zoo::test_vit().num_classes(7), &Device::default());
        let mut state = State::new();
        for (name, tensor) in model.state_dict().unwrap() {
            let bytes = f32_bytes(&tensor);
            state.insert(name, (Dtype::F32, tensor.shape, bytes));
        }
        state.extend(of(&["dist_token", "head_dist.weight", "head_dist.bias"]));
        state
    };
    let path = write(dir.path(), &distilled);
    let error = build(Zoo::test_vit().weights(path.as_path()).num_classes(3)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("distilled DeiT"), "{text}");

    // Another architecture of the zoo.
    let path = write(dir.path(), &prefixed(&state(), "module."));
    let error = build(Zoo::resnet18().weights(path.as_path())).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("the file fits test_resnet"), "{text}");
    // Keys that are not usual.
    let (student, teacher) = (state(), state());
    let path = checkpoint(dir.path(), &[("student", &student), ("teacher", &teacher)]);
    let text = build(spec(&path)).unwrap_err().to_string();
    for named in ["`student`, `teacher`", "--weights-key"] {
        assert!(text.contains(named), "{text}");
    }
    assert_backbone(spec(&path).weights_key("teacher"), 1.0);
}

/// Two architectures with the same tensors that compute different things.
#[test]
fn a_file_of_a_twin_is_refused_where_something_says_so_and_told_otherwise() {
    let (own, twin) = ("mobilenetv3_small_075", "tf_mobilenetv3_small_075");
    let dir = tempfile::tempdir().unwrap();
    let exported = dir.path().join("exported");
    let model = rule_model(Zoo::get(own).unwrap().num_classes(4), &Device::default());
    model.export(&exported).unwrap();
    let exported = exported.join("model.safetensors");
    let load = |name: &str, path: &Path| build(Zoo::get(name).unwrap().weights(path));

    // The configuration beside the file says whose it is.
    let loaded = load(own, &exported).unwrap();
    assert_eq!(loaded.load_report().unwrap().summary(), None);
    let refused = load(twin, &exported).unwrap_err().to_string();
    for part in ["model.safetensors", "config.json", own, twin] {
        assert!(refused.contains(part), "{part}: {refused}");
    }

    // Nothing says it.
    let silent = dir.path().join("silent.safetensors");
    std::fs::copy(&exported, &silent).unwrap();
    for (name, other) in [(own, twin), (twin, own)] {
        let loaded = load(name, &silent).unwrap();
        let report = loaded.load_report().unwrap();
        assert_eq!(report.twins, [other]);
        let summary = report.summary().unwrap();
        assert!(
            summary.contains("warning") && summary.contains(other),
            "{summary}"
        );
    }

    // The file's own metadata says it.
    let bytes = std::fs::read(&exported).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let path = dir.path().join("stated.safetensors");
    let state = |name: &str| {
        let stated =
            std::collections::HashMap::from([("architecture".to_owned(), name.to_owned())]);
        safetensors::serialize_to_file(file.tensors(), Some(stated), &path).unwrap();
    };
    for name in [twin.to_owned(), format!("{twin}.in1k")] {
        state(&name);
        assert_eq!(
            load(twin, &path).unwrap().load_report().unwrap().summary(),
            None
        );
        let refused = load(own, &path).unwrap_err().to_string();
        assert!(
            refused.contains("metadata") && refused.contains(twin),
            "{refused}"
        );
    }

    // What it says is no name of the zoo's.
    state("my_net");
    let loaded = load(own, &path).unwrap();
    assert_eq!(loaded.load_report().unwrap().twins, [twin]);
}
