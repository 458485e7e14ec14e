//! The maps that timm offers to other tasks with `features_only`, and what is known of them.

mod common;

use burn_zoo::prelude::*;
use common::{fixture, rule_input, rule_model_with_gain, values};

#[derive(serde::Deserialize)]
struct Case {
    size: [usize; 2],
    gain: f32,
    maps: Vec<Map>,
}

#[derive(serde::Deserialize)]
struct Map {
    channels: usize,
    stride: usize,
    norm: f64,
}

/// Families of which timm takes a map inside a group, or behind the last one.
const ELSEWHERE: [&str; 7] = [
    "vgg",
    "xception41p",
    "nf_regnet",
    "test_nfnet",
    "hrnet",
    "ghostnet",
    "repghostnet",
];

/// Each of timm's maps is the output of a group, with its channels and stride, but for those before the
/// first group ends.
#[test]
fn maps_are_timms() {
    let text = std::fs::read_to_string(fixture("features.json")).unwrap();
    let cases: std::collections::BTreeMap<String, Case> = serde_json::from_str(&text).unwrap();
    let device = Device::default();
    for (name, case) in cases.iter().filter(|(name, _)| common::is_chosen(name)) {
        if ELSEWHERE.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let spec = Zoo::get(name).unwrap().image_size(case.size);
        let model = rule_model_with_gain(spec, &device, case.gain);
        let info = model.feature_info().unwrap();
        let names: Vec<&str> = info.iter().map(|info| info.group.as_str()).collect();
        let [height, width] = case.size;
        let images = rule_input([1, 3, height, width], &device);
        let maps = model.forward_maps(images, &names).unwrap();
        for expected in case.maps.iter().filter(|map| map.stride >= info[0].stride) {
            let found = info.iter().zip(&maps).any(|(info, (_, map))| {
                let norm = values(map)
                    .iter()
                    .map(|v| f64::from(*v).powi(2))
                    .sum::<f64>()
                    .sqrt();
                (info.channels, info.stride) == (expected.channels, expected.stride)
                    && map.dims()[1] == expected.channels
                    && (norm / expected.norm - 1.0).abs() < 2e-5
            });
            let map = (expected.channels, expected.stride, expected.norm);
            assert!(found, "{name}: {map:?} is none of {info:?}");
        }
    }
}
