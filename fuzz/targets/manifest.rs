//! A manifest of weights.
#![no_main]

use burn_zoo::manifest::Manifest;
use burn_zoo_fuzz::accepted;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut manifest = Manifest::default();
    if accepted(manifest.add_str(text, "folder/manifest.toml")).is_none() {
        assert_eq!(manifest.entries().count(), 0);
        return;
    }
    for entry in manifest.entries() {
        assert!(
            manifest
                .get(&entry.name)
                .is_ok_and(|found| found.name == entry.name)
        );
        accepted(manifest.get(entry.architecture()));
    }
});
