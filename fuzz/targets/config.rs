//! A model's `config.json`, alone and in a folder.
#![no_main]

use burn_zoo::manifest::HubModel;
use burn_zoo::prelude::*;
use burn_zoo_fuzz::{accepted, file, scratch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(model) = accepted(HubModel::from_config(text, "config.json")) else {
        return;
    };
    assert!(model.label_names.is_empty() || model.label_names.len() == model.num_classes);
    // Unknown arguments are compared with those of a model that is built: the large ones take
    // seconds.
    if model.other_args.is_empty() || model.architecture.starts_with("test_") {
        file("config/config.json", text.as_bytes());
        if let Some(spec) = accepted(Spec::of_folder(scratch().join("config"))) {
            assert_eq!(spec.architecture(), model.architecture);
        }
    }
});
