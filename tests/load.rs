//! Strict loading: what agrees loads, what differs is one error that lists all of it.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_zoo::prelude::*;
use burn_zoo::weights::HostTensor;
use burn_zoo::{Error, Spec};
use common::rule_model;
use half::{bf16, f16};
use safetensors::{Dtype, tensor::TensorView};

type State = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn f32_bytes(tensor: &HostTensor) -> Vec<u8> {
    tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A sound state dict of test_resnet with seven classes, `num_batches_tracked` included.
fn state() -> State {
    let model = rule_model(Zoo::test_resnet().num_classes(7), &Device::default());
    let mut state = State::new();
    for (name, tensor) in model.state_dict().unwrap() {
        if let Some(norm) = name.strip_suffix("running_mean") {
            let count = (Dtype::I64, vec![], 5i64.to_le_bytes().to_vec());
            state.insert(format!("{norm}num_batches_tracked"), count);
        }
        let bytes = f32_bytes(&tensor);
        state.insert(name, (Dtype::F32, tensor.shape, bytes));
    }
    state
}

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
        (Dtype::F64, vec![96], vec![0; 768]),
    );
    assert_eq!(
        refusal(&wrong, |spec| spec),
        "the weights are not those of test_resnet with 3 input channels and 7 classes (73 tensors \
         agree)\n  \
         missing (2): layer1.0.bn1.bias, layer2.0.conv1.weight\n  \
         not in the model (2): ema.decay, layer9.0.bn1.num_batches_tracked\n  \
         wrong shape (1): layer3.0.bn1.weight (expected [48], found [47])\n  \
         wrong type (1): layer4.0.bn1.weight (expected f32, f16 or bf16, found f64)"
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
    assert!(
        text.ends_with("\n  missing (2): fc.bias, fc.weight")
            || text.ends_with("\n  missing (2): fc.weight, fc.bias"),
        "{text}"
    );
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
