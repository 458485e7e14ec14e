//! Files in the names of other libraries load, and compute there what they compute here.
//!
//! `tests/fixtures/other_names.py` made the list of their tensors and the scores.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_zoo::prelude::*;
use common::{fixture, relative_error, rule, rule_input, sample, values};
use safetensors::{Dtype, tensor::TensorView};

const TOLERANCE: f64 = 5e-6;
/// transformers adds less to the variance (1e-12) than timm and this crate (1e-6), which is that far
/// away, in any precision.
const OTHER_EPSILON: f64 = 2e-5;

#[derive(serde::Deserialize)]
struct Case {
    source: String,
    model: String,
    image_size: usize,
    classes: usize,
    whose: String,
    gain: f32,
    tensors: Vec<(String, Vec<usize>, String)>,
    ignored: Vec<String>,
    logits: Vec<f32>,
}

type State = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

impl Case {
    fn all() -> Vec<Self> {
        let text = std::fs::read_to_string(fixture("other_names.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn named(source: &str) -> Self {
        let mut all = Self::all().into_iter();
        all.find(|case| case.source == source).unwrap()
    }

    /// The rule's values by the names of the library.
    fn state(&self) -> State {
        let tensor = |(name, shape, dtype): &(String, Vec<usize>, String)| {
            let gain = if shape.len() > 1 { self.gain } else { 1.0 };
            let (dtype, bytes) = match dtype.as_str() {
                "I64" => (Dtype::I64, vec![0; 8 * shape.iter().product::<usize>()]),
                _ => {
                    let values = rule(name, shape).into_iter();
                    let bytes = values.flat_map(|v| (v * gain).to_le_bytes());
                    (Dtype::F32, bytes.collect())
                }
            };
            (name.clone(), (dtype, shape.clone(), bytes))
        };
        self.tensors.iter().map(tensor).collect()
    }

    fn spec(&self, path: &Path) -> Spec {
        let spec = Zoo::get(&self.model).unwrap();
        let spec = spec.image_size(self.image_size).weights(path);
        match self.classes {
            0 => spec.num_classes(0),
            _ => spec,
        }
    }
}

fn write(dir: &Path, state: &State) -> PathBuf {
    let path = dir.join("weights.safetensors");
    let views = state.iter().map(|(name, (dtype, shape, bytes))| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name.as_str(), view.unwrap())
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path
}

fn check(part: impl Fn(&Case) -> bool) {
    let device = Device::default();
    for case in Case::all().into_iter().filter(part) {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &case.state());
        let model = case.spec(&path).build(&device).unwrap();
        assert_eq!(
            (model.in_channels(), model.num_classes()),
            (3, case.classes)
        );
        let images = rule_input([1, 3, case.image_size, case.image_size], &device);
        let found = sample(&values(&model.forward(images).unwrap()), 64);
        let error = relative_error(&found, &case.logits);
        println!("{}: off by {error:.1e}", case.source);
        let is_other = case.source.ends_with("epsilon 1e-12");
        let tolerance = if is_other { OTHER_EPSILON } else { TOLERANCE };
        assert!(error < tolerance, "{}: off by {error:e}", case.source);

        let report = model.load_report().unwrap();
        assert_eq!(report.naming, Some(case.whose.as_str()), "{}", case.source);
        assert_eq!(report.left_out, case.ignored, "{}", case.source);
        let summary = report.summary().unwrap();
        assert!(summary.contains(&case.whose), "{summary}");
        for name in case.ignored.iter().take(1) {
            assert!(summary.contains(name), "{summary}");
        }
    }
}

#[test]
fn vggs_of_torchvision_compute_the_same() {
    check(|case| case.model.starts_with("vgg"));
}

#[test]
fn files_of_other_libraries_compute_the_same() {
    check(|case| !case.model.starts_with("vgg"));
}

/// Behind a prefix, and with another stem and head, which are those that the loaded model would get.
#[test]
fn they_are_adapted_as_any_file() {
    let device = Device::default();
    for (source, head) in [
        (
            "transformers ViTForImageClassification, epsilon 1e-06",
            "classifier",
        ),
        ("authors convnextv2_atto", "head"),
    ] {
        let case = Case::named(source);
        let dir = tempfile::tempdir().unwrap();
        let state = case.state().into_iter();
        let state = state.map(|(name, tensor)| (format!("module.{name}"), tensor));
        let path = write(dir.path(), &state.collect());
        let spec = case.spec(&path);
        let model = spec.build(&device).unwrap();
        assert_eq!(model.load_report().unwrap().prefix, "module.");
        let adapted = spec
            .adapt(1, 3)
            .head_init(Init::Course)
            .seed(5)
            .build(&device);
        let adapted = adapted.unwrap();
        let left_out = ["bias", "weight"].map(|part| format!("module.{head}.{part}"));
        assert_eq!(adapted.load_report().unwrap().left_out, left_out);
        let model = model.reset_stem(1, &StemRule::Fold, 5).unwrap();
        let model = model.reset_head(3, &Init::Course, 5).unwrap();
        assert_eq!(adapted.state_dict().unwrap(), model.state_dict().unwrap());
    }
}

/// Another shape is read where it is the same values in the same order, and nowhere else.
#[test]
fn what_is_transposed_is_refused() {
    let case = Case::named("authors convnext_atto");
    let transposed = |name: &str, shape: &[usize]| {
        let mut state = case.state();
        state.get_mut(name).unwrap().1 = shape.to_vec();
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &state);
        let model = case.spec(&path).build(&Device::default());
        model.map(|_| ()).map_err(|error| error.to_string())
    };
    for (name, shape) in [
        ("stages.0.0.pwconv1.weight", &[160, 40, 1, 1][..]),
        ("stages.0.0.gamma", &[40, 1, 1]),
        ("stages.0.0.gamma", &[1, 40]),
    ] {
        transposed(name, shape).unwrap();
    }
    for (name, upstream, shape) in [
        (
            "stages.0.0.pwconv1.weight",
            "mlp.fc1.weight",
            &[40, 160][..],
        ),
        (
            "stages.0.0.pwconv2.weight",
            "mlp.fc2.weight",
            &[160, 40, 1, 1],
        ),
        ("stages.0.0.dwconv.weight", "conv_dw.weight", &[7, 7, 1, 40]),
        ("stages.0.0.gamma", "gamma", &[5, 8]),
        ("stages.0.0.norm.bias", "norm.bias", &[2, 20]),
    ] {
        let error = transposed(name, shape).unwrap_err();
        let named = format!("wrong shape (1): stages.0.blocks.0.{upstream} (expected ");
        assert!(error.contains(&named), "{error}");
    }
}

#[test]
fn the_children_of_a_resnet_are_counted() {
    let model = Zoo::test_resnet().build_zeros(&Device::default()).unwrap();
    let names = &model.backbone.describe().other_names;
    let names = names.iter().find(|n| n.whose.contains("fastai")).unwrap();
    for (upstream, child) in [
        ("conv1.weight", "0.weight"),
        ("bn1.running_mean", "1.running_mean"),
        ("layer1.0.conv1.weight", "4.0.conv1.weight"),
        ("layer4.1.bn2.bias", "7.1.bn2.bias"),
        ("layer4.1.downsample.0.weight", "7.1.downsample.0.weight"),
    ] {
        assert_eq!(names.table.upstream(upstream).as_deref(), Some(child));
    }
    // What is no child of a ResNet has no number.
    for other in [
        "patch_embed.proj.weight",
        "layer99999999999999999999.0.weight",
        "layer10.0.conv1.weight",
        "layer0.0.weight",
        "layer-1.0.weight",
        "layer.0.weight",
        "layer4x.0.weight",
        "layeré.0.weight",
        "conv1x.weight",
        "conv.1.weight",
        "fc.weight",
        ".conv1.weight",
        ".",
        "",
    ] {
        assert_eq!(names.table.upstream(other), None, "{other}");
    }
}
