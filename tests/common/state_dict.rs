//! State dicts of test_resnet, and files of them as `torch.save` writes them.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use burn_zoo::prelude::*;
use burn_zoo::weights::HostTensor;
use safetensors::Dtype;

use super::common::rule_model;

pub type State = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

pub fn f32_bytes(tensor: &HostTensor) -> Vec<u8> {
    tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A sound state dict of test_resnet with seven classes, `num_batches_tracked` included.
pub fn state() -> State {
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

/// The same tensors by other names.
pub fn renamed(state: &State, name: impl Fn(&str) -> String) -> State {
    let rename =
        |(old, tensor): (&String, &(Dtype, Vec<usize>, Vec<u8>))| (name(old), tensor.clone());
    state.iter().map(rename).collect()
}

pub fn prefixed(state: &State, prefix: &str) -> State {
    renamed(state, |name| format!("{prefix}{name}"))
}

/// The same tensors with all values doubled.
pub fn doubled(state: &State) -> State {
    let mut state = state.clone();
    for (dtype, _, bytes) in state.values_mut() {
        if *dtype == Dtype::F32 {
            let (values, _) = bytes.as_chunks();
            let twice = |value: &[u8; 4]| (2.0 * f32::from_le_bytes(*value)).to_le_bytes();
            *bytes = values.iter().flat_map(twice).collect();
        }
    }
    state
}

/// A checkpoint as `torch.save` writes it: a dictionary of state dicts, whose keys may be in each
/// other (`model.state_dict`), and an object that is no tensor beside them.
pub fn checkpoint(dir: &Path, sections: &[(&str, &State)]) -> PathBuf {
    fn text(value: &str) -> Vec<u8> {
        let length = (value.len() as u32).to_le_bytes();
        [b"X".as_slice(), &length, value.as_bytes()].concat()
    }
    fn numbers(values: &[usize]) -> Vec<u8> {
        let number = |value: &usize| [b"J".as_slice(), &(*value as u32).to_le_bytes()].concat();
        let numbers: Vec<u8> = values.iter().flat_map(number).collect();
        [b"(".as_slice(), &numbers, b"t"].concat()
    }
    let mut storages: Vec<&[u8]> = Vec::new();
    let mut pickle = b"\x80\x02}(".to_vec();
    pickle.extend(text("args"));
    // What argparse leaves behind; no part of the weights.
    pickle.extend(b"cargparse\nNamespace\n)\x81}b");
    for (key, state) in sections {
        let keys: Vec<&str> = key.split('.').collect();
        pickle.extend(
            keys.iter()
                .flat_map(|key| [text(key), b"}(".to_vec()].concat()),
        );
        for (name, (dtype, shape, bytes)) in *state {
            let storage = match dtype {
                Dtype::I64 => "LongStorage",
                Dtype::F64 => "DoubleStorage",
                _ => "FloatStorage",
            };
            let mut strides = vec![1; shape.len()];
            for index in (1..shape.len()).rev() {
                strides[index - 1] = strides[index] * shape[index];
            }
            pickle.extend(text(name));
            pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            pickle.extend(text("storage"));
            pickle.extend(format!("ctorch\n{storage}\n").bytes());
            pickle.extend(text(&storages.len().to_string()));
            pickle.extend(text("cpu"));
            let count = shape.iter().product::<usize>() as u32;
            pickle.extend([b"J".as_slice(), &count.to_le_bytes()].concat());
            pickle.extend(b"tQK\x00");
            pickle.extend(numbers(shape));
            pickle.extend(numbers(&strides));
            pickle.extend(b"\x89NtR");
            storages.push(bytes);
        }
        pickle.extend(keys.iter().map(|_| b'u'));
    }
    pickle.extend(b"u.");
    let path = dir.join("checkpoint.pth");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    archive.start_file("archive/data.pkl", options).unwrap();
    archive.write_all(&pickle).unwrap();
    for (index, bytes) in storages.iter().enumerate() {
        archive
            .start_file(format!("archive/data/{index}"), options)
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    path
}
