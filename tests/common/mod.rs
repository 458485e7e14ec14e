//! What several test programs share.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn_zoo::prelude::*;
use burn_zoo::train::{Control, Monitor, StepRecord};
use safetensors::{Dtype, SafeTensors};

/// A file of `tests/fixtures`, which the packages of the workspace share.
pub fn fixture(name: &str) -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folders = package.ancestors().map(|dir| dir.join("tests/fixtures"));
    let fixtures = folders.into_iter().find(|dir| dir.is_dir()).unwrap();
    fixtures.join(name)
}

/// The written rule by which both sides generate values; see `tests/fixtures/rule.py`.
pub fn rule(name: &str, shape: &[usize]) -> Vec<f32> {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let fan_in: usize = shape.iter().skip(1).product();
    // Found once, not for each of some ten million numbers: the middle of the values, and half their width.
    let (middle, half_width) = match name {
        "input" => (0.0, 3f64.sqrt()),
        _ if name.ends_with("running_var") => (1.0, 0.25),
        _ if name.ends_with("running_mean") => (0.0, 0.1),
        _ if shape.len() == 1 && name.ends_with("weight") => (1.0, 0.25),
        _ if shape.len() == 1 => (0.0, 0.1),
        "cls_token" | "pos_embed" => (0.0, 0.1),
        _ => (0.0, (3.0 / fan_in as f64).sqrt()),
    };
    (0..shape.iter().product::<usize>() as u64)
        .map(|index| {
            let mut z = hash.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            let u = (z >> 40) as f64 / f64::from(1 << 24);
            (middle + half_width * (2.0 * u - 1.0)) as f32
        })
        .collect()
}

/// A model whose values follow the rule, by upstream's names.
pub fn rule_model(spec: Spec, device: &Device) -> Classifier {
    rule_model_with_gain(spec, device, 1.0)
}

/// The rule with tensors of two and more dimensions times a factor.
pub fn rule_with_gain(name: &str, shape: &[usize], gain: f32) -> Vec<f32> {
    let gain = if shape.len() > 1 { gain } else { 1.0 };
    let mut values = rule(name, shape);
    values.iter_mut().for_each(|value| *value *= gain);
    values
}

pub fn rule_model_with_gain(spec: Spec, device: &Device, gain: f32) -> Classifier {
    spec.build_zeros(device)
        .unwrap()
        .map_state_dict(|name, shape| Some(rule_with_gain(name, shape, gain)))
        .unwrap()
}

pub fn rule_input(shape: [usize; 4], device: &Device) -> Tensor<4> {
    let values = rule("input", &shape);
    Tensor::from_data(burn::tensor::TensorData::new(values, shape), device)
}

/// The f32 tensors and the metadata of a fixture.
pub struct Fixture {
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub metadata: BTreeMap<String, String>,
}

impl Fixture {
    pub fn open(name: &str) -> Self {
        Self::read(&fixture(name))
    }

    pub fn read(path: &std::path::Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header
            .metadata()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file
            .iter()
            .filter(|(_, view)| view.dtype() == Dtype::F32)
            .map(|(name, view)| {
                let values = view
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                    .collect();
                (name.to_owned(), (view.shape().to_vec(), values))
            })
            .collect();
        Self { tensors, metadata }
    }

    pub fn get(&self, key: &str) -> &[f32] {
        match self.tensors.get(key) {
            Some((_, values)) => values,
            None => panic!("the fixture has no `{key}`"),
        }
    }
}

/// Every (n / k)-th value, k at most; the rule of the fixtures.
pub fn sample(values: &[f32], most: usize) -> Vec<f32> {
    let k = values.len().min(most);
    (0..k).map(|j| values[j * values.len() / k]).collect()
}

/// The largest difference relative to the largest expected value.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected
        .iter()
        .fold(0f32, |m, v| m.max(v.abs()))
        .max(f32::MIN_POSITIVE);
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| {
            assert!(a.is_finite(), "{a} where {b} was expected");
            f64::from((a - b).abs() / scale)
        })
        .fold(0.0, f64::max)
}

/// The f32 values of a tensor.
pub fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_into_vec::<f32>().unwrap()
}

/// Whether the environment variable `MODELS`, names or beginnings with a star, leaves this one in.
/// Without it all are.
pub fn is_chosen(name: &str) -> bool {
    let Ok(chosen) = std::env::var("MODELS") else {
        return true;
    };
    chosen.split(',').any(|word| match word.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == word,
    })
}

/// The losses of all steps.
#[derive(Default)]
pub struct Losses(pub Vec<f64>);

impl Monitor for Losses {
    fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
        self.0.push(step.loss);
        Ok(())
    }
}

/// The largest relative L2 distance of a tensor.
pub fn distance(a: &Classifier, b: &Classifier) -> f64 {
    let (a, b) = (a.state_dict().unwrap(), b.state_dict().unwrap());
    let of = |name: &String| {
        let (a, b) = (&a[name].data, &b[name].data);
        let square = |x: f32| f64::from(x) * f64::from(x);
        let difference: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
        let norm: f64 = a.iter().map(|a| square(*a)).sum();
        (difference / norm.max(1e-12)).sqrt()
    };
    a.keys().map(of).fold(0.0, f64::max)
}
