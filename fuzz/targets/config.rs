//! A model's `config.json` in a folder.
#![no_main]

use burn_zoo::prelude::*;
use burn_zoo_fuzz::{accepted, file, scratch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Unknown arguments are compared with those of a model that is built: the large ones take
    // seconds.
    if text.contains("model_args") && !text.contains("test_") {
        return;
    }
    file("config/config.json", text.as_bytes());
    if let Some(spec) = accepted(Spec::of_folder(scratch().join("config"))) {
        assert!(Zoo::get(spec.architecture()).is_ok());
    }
});
