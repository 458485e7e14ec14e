//! The table of architectures beside what timm says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{architectures, find, twins};

/// Architectures of the same names and shapes compute something else, or are known to compute the same.
#[test]
fn what_fits_each_other_is_known() {
    let same = [
        ["beit_base_patch16_224", "beitv2_base_patch16_224"],
        ["deit_tiny_patch16_224", "vit_tiny_patch16_224"],
        ["deit_small_patch16_224", "vit_small_patch16_224"],
        ["deit_base_patch16_224", "vit_base_patch16_224"],
    ];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/architectures.json");
    let timm: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut fitting: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for architecture in architectures() {
        let hash = timm["models"][architecture.name]["names_sha256"].as_str();
        let hash = hash.unwrap_or_else(|| panic!("{}", architecture.name));
        let names = fitting.entry(hash.to_owned()).or_default();
        names.insert(architecture.name);
    }
    let mut pairs = 0;
    for names in fitting.values() {
        for name in names {
            let others: BTreeSet<&str> = twins(name).into_iter().collect();
            let is_same = |other: &&str| {
                same.iter()
                    .any(|pair| pair.contains(name) && pair.contains(other))
            };
            let expected = names
                .iter()
                .copied()
                .filter(|other| other != name && !is_same(other));
            assert_eq!(others, expected.collect(), "{name}");
            pairs += others.len();
        }
    }
    assert!(pairs > 40, "{pairs}");
    for name in same.concat() {
        find(name).unwrap();
    }
}
