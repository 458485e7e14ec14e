//! What stands in an ONNX file. That ONNX Runtime computes the same from it is checked with
//! `tests/fixtures/check_onnx.py`, which the last test runs: `BURN_ZOO_PYTHON` names a Python with onnx, onnxruntime
//! and safetensors.
//!
//! `BURN_ZOO_PYTHON=python cargo test --release --test onnx -- --ignored --nocapture`

#![cfg(feature = "onnx")]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::process::Command;

use burn_zoo::prelude::*;
use burn_zoo::{Error, OnnxSize, zoo};
use common::{Fixture, fixture, is_chosen, rule_input, rule_model, rule_model_with_gain, values};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

fn device() -> Device {
    Device::default()
}

/// A number in the wire format, and what is behind it.
fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// The values of a field of a message: bytes, which are little-endian for numbers.
fn field(mut message: &[u8], number: u64) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let value = match key & 7 {
            0 => varint(&mut message).to_le_bytes().to_vec(),
            wire => {
                let length = match wire {
                    1 => 8,
                    2 => varint(&mut message) as usize,
                    5 => 4,
                    other => panic!("wire type {other}"),
                };
                let (value, rest) = message.split_at(length);
                message = rest;
                value.to_vec()
            }
        };
        if key >> 3 == number {
            found.push(value);
        }
    }
    found
}

fn one(message: &[u8], path: &[u64]) -> Vec<u8> {
    path.iter().fold(message.to_vec(), |message, number| {
        let mut found = field(&message, *number);
        assert_eq!(found.len(), 1, "{path:?}");
        found.remove(0)
    })
}

fn number(message: &[u8], path: &[u64]) -> u64 {
    u64::from_le_bytes(one(message, path).try_into().unwrap())
}

fn texts(message: &[u8], number: u64) -> Vec<String> {
    let texts = field(message, number).into_iter();
    texts.map(|text| String::from_utf8(text).unwrap()).collect()
}

/// What is read of a file: field numbers are those of `onnx.proto`.
struct File {
    bytes: Vec<u8>,
    graph: Vec<u8>,
}

impl File {
    fn of(model: &Classifier, size: OnnxSize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.onnx");
        model.export_onnx(&path, size).unwrap();
        let bytes = std::fs::read(path).unwrap();
        Self {
            graph: one(&bytes, &[7]),
            bytes,
        }
    }

    fn operators(&self) -> Vec<String> {
        let nodes = field(&self.graph, 1).into_iter();
        nodes.map(|node| texts(&node, 4).remove(0)).collect()
    }

    fn constants(&self) -> Vec<Vec<u8>> {
        field(&self.graph, 5)
    }

    /// The name of an input (11) or an output (12), and its sides: numbers or names.
    fn ends(&self, number_of: u64) -> (String, Vec<String>) {
        let end = one(&self.graph, &[number_of]);
        let sides = field(&one(&end, &[2, 1, 2]), 1).into_iter();
        let sides = sides.map(|side| match texts(&side, 2).pop() {
            Some(name) => name,
            None => number(&side, &[1]).to_string(),
        });
        (texts(&end, 1).remove(0), sides.collect())
    }

    fn properties(&self) -> BTreeMap<String, String> {
        let entries = field(&self.bytes, 14).into_iter();
        let text = |entry: &[u8], field| texts(entry, field).remove(0);
        entries.map(|it| (text(&it, 1), text(&it, 2))).collect()
    }

    /// Each node sees what stands before it, each name is given once, and the output is one of them.
    fn check(&self, name: &str) {
        let constants = self.constants();
        let mut known: HashSet<String> =
            constants.iter().map(|it| texts(it, 8).remove(0)).collect();
        assert_eq!(known.len(), constants.len(), "{name}");
        for constant in &constants {
            let count: u64 = field(constant, 1)
                .into_iter()
                .map(|side| u64::from_le_bytes(side.try_into().unwrap()))
                .product();
            let width = match number(constant, &[2]) {
                1 | 6 => 4,
                7 => 8,
                2 | 9 => 1,
                other => panic!("{name}: type {other}"),
            };
            // Nothing is written for a constant without elements.
            let bytes = field(constant, 9).first().map_or(0, Vec::len);
            assert_eq!(bytes as u64, count * width, "{name}");
        }
        known.insert(self.ends(11).0);
        let mut used = HashSet::new();
        for node in field(&self.graph, 1) {
            let operator = texts(&node, 4).remove(0);
            for input in texts(&node, 1) {
                assert!(known.contains(&input), "{name}: {operator} sees {input}");
                used.insert(input);
            }
            for output in texts(&node, 2) {
                assert!(known.insert(output.clone()), "{name}: {output} twice");
            }
        }
        assert!(known.contains(&self.ends(12).0), "{name}");
        for constant in &constants {
            let constant = texts(constant, 8).remove(0);
            assert!(used.contains(&constant), "{name}: {constant} is not used");
        }
    }
}

#[test]
fn a_file_says_what_it_is() {
    let names = FashionMnist::CLASSES.map(str::to_owned).to_vec();
    let model = rule_model(Zoo::resnet18().adapt(1, 10).image_size([32, 24]), &device());
    let model = model.with_classes(names.clone()).unwrap();
    let file = File::of(&model, OnnxSize::Own);
    file.check("resnet18");

    assert_eq!(number(&file.bytes, &[1]), 8);
    assert_eq!(texts(&file.bytes, 2), ["burn-zoo"]);
    assert_eq!(texts(&file.bytes, 3), [env!("CARGO_PKG_VERSION")]);
    let opset = one(&file.bytes, &[8]);
    assert!(field(&opset, 1).is_empty());
    assert_eq!(number(&opset, &[2]), 18);
    assert_eq!(texts(&file.graph, 2), ["resnet18"]);

    let sides = |sides: [&str; 4]| sides.map(str::to_owned).to_vec();
    let images = ("images".to_owned(), sides(["batch", "1", "32", "24"]));
    assert_eq!(file.ends(11), images);
    let logits = (
        "logits".to_owned(),
        vec!["batch".to_owned(), "10".to_owned()],
    );
    assert_eq!(file.ends(12), logits);

    let properties = file.properties();
    assert_eq!(properties["architecture"], "resnet18");
    assert_eq!(properties["input_size"], "[1,32,24]");
    assert_eq!(properties["num_classes"], "10");
    let labels: Vec<String> = serde_json::from_str(&properties["label_names"]).unwrap();
    assert_eq!(labels, names);
    let mean: Vec<f64> = serde_json::from_str(&properties["mean"]).unwrap();
    assert_eq!(mean, model.info().normalization.mean());
    for name in ["std", "interpolation", "crop_pct", "crop_mode", "origin"] {
        assert!(properties.contains_key(name), "{name}");
    }
    // It is not known, and not made up.
    assert!(!properties.contains_key("license"));
}

/// What follows from the weights alone is computed beforehand: kernels have the normalisation in
/// them, and nothing is a constant that the network does not use.
#[test]
fn normalisations_are_in_the_kernels() {
    let model = rule_model(Zoo::resnet18().adapt(1, 10).image_size(32), &device());
    let operators = File::of(&model, OnnxSize::Own).operators();
    let kinds: BTreeSet<&str> = operators.iter().map(String::as_str).collect();
    assert!(!kinds.contains("BatchNormalization"), "{kinds:?}");
    assert!(!kinds.contains("Sqrt"), "{kinds:?}");
    let count = |operator: &str| operators.iter().filter(|it| *it == operator).count();
    assert_eq!(
        (count("Conv"), count("Relu"), count("MaxPool")),
        (20, 17, 1)
    );
}

#[test]
fn a_network_of_any_size_says_so() {
    let model = rule_model(Zoo::resnet18().adapt(3, 10).image_size(64), &device());
    let file = File::of(&model, OnnxSize::Any);
    file.check("resnet18");
    let (_, sides) = file.ends(11);
    assert_eq!(sides, ["batch", "3", "height", "width"]);
    assert_eq!(file.properties()["fixed_input_size"], "false");

    let of_one_size = Zoo::test_vit().adapt(3, 10).image_size(32);
    let model = rule_model(of_one_size, &device());
    let path = Path::new("not-written.onnx");
    let error = model.export_onnx(path, OnnxSize::Any).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    assert!(error.to_string().contains("32 x 32"), "{error}");
    let size = OnnxSize::Fixed(64.into());
    let error = model.export_onnx(path, size).unwrap_err();
    assert!(matches!(error, Error::InputShape { .. }), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_model_without_classes_gives_features() {
    let model = rule_model(Zoo::test_resnet().adapt(3, 0), &device());
    let (name, sides) = File::of(&model, OnnxSize::Fixed(32.into())).ends(12);
    assert_eq!(name, "features");
    assert_eq!(
        sides,
        ["batch".to_owned(), model.num_features().to_string()]
    );
}

/// The smallest variant of each family that is chosen, and of those that compute with what it has not.
fn smallest() -> Vec<&'static str> {
    let mut smallest: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for architecture in zoo::architectures().filter(|it| is_chosen(it.name)) {
        let spec = Zoo::get(architecture.name).unwrap();
        let parameters = spec.build_zeros(&device()).unwrap().num_parameters();
        let entry = (parameters, architecture.name);
        let known = smallest.entry(architecture.family).or_insert(entry);
        *known = entry.min(*known);
    }
    let others = ["convnextv2_atto"].into_iter();
    let smallest = smallest.into_values().map(|(_, name)| name);
    smallest
        .chain(others.filter(|name| is_chosen(name)))
        .collect()
}

#[test]
fn every_family_has_a_graph() {
    let mut failed = Vec::new();
    for name in smallest() {
        let model = Zoo::get(name).unwrap().adapt(3, 10);
        let model = model.build_zeros(&device()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.onnx");
        match model.export_onnx(&path, OnnxSize::Own) {
            Ok(()) => {
                let bytes = std::fs::read(path).unwrap();
                let graph = one(&bytes, &[7]);
                File { bytes, graph }.check(name);
            }
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// `MODELS=resnet18,swin*` chooses some.
#[test]
#[ignore = "takes a Python with onnx, onnxruntime and safetensors in BURN_ZOO_PYTHON"]
fn onnx_runtime_computes_the_same() {
    let python = std::env::var_os("BURN_ZOO_PYTHON").expect("BURN_ZOO_PYTHON is not set");
    let dir = tempfile::tempdir().unwrap();
    for name in smallest() {
        // The parity test's gain keeps the scores of a deep network in sight.
        let fixture = fixture(&format!("parity/{name}.safetensors"));
        let gain = match fixture.exists() {
            true => Fixture::read(&fixture).metadata.get("gain").cloned(),
            false => None,
        };
        let gain = gain.map_or(1.0, |gain| gain.parse().unwrap());
        let spec = Zoo::get(name).unwrap().adapt(3, 10);
        let model = rule_model_with_gain(spec, &device(), gain);
        let size = model.info().image_size;
        let size = size.unwrap_or(zoo::find(name).unwrap().image_size.into());
        model
            .export_onnx(dir.path().join(format!("{name}.onnx")), OnnxSize::Own)
            .unwrap();
        // None of the batches that a graph is recorded with.
        let shape = [5, 3, size.height, size.width];
        let input = rule_input(shape, &device());
        let scores = values(&model.forward(input.clone()).unwrap());
        let bytes = |values: &[f32]| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
        let (input, scores) = (bytes(&values(&input)), bytes(&scores));
        let tensors = [
            ("input", TensorView::new(Dtype::F32, shape.to_vec(), &input)),
            ("logits", TensorView::new(Dtype::F32, vec![5, 10], &scores)),
        ];
        let tensors = tensors.map(|(name, view)| (name, view.unwrap()));
        let file = dir.path().join(format!("{name}.safetensors"));
        safetensors::serialize_to_file(tensors, None, &file).unwrap();
    }
    let output = Command::new(python)
        .arg(common::fixture("check_onnx.py"))
        .args(["--all".as_ref(), dir.path().as_os_str()])
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
