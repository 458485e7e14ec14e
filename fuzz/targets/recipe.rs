//! A recipe in TOML: written and read again it is the same, and it plans a run.
#![no_main]

use std::sync::OnceLock;

use burn_zoo::prelude::*;
use burn_zoo_fuzz::{accepted, model};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    static MODEL: OnceLock<Classifier> = OnceLock::new();
    let Some(recipe) = accepted(Recipe::from_toml(text)) else {
        return;
    };
    let written = recipe.to_toml().expect("what was read can be written");
    let again = Recipe::from_toml(&written).expect("what was written can be read");
    assert_eq!(written, again.to_toml().expect("the same"));
    let Some(plan) = accepted(recipe.plan(MODEL.get_or_init(model), 7)) else {
        return;
    };
    for step in [0, 1, 6, 7, 70, 1000] {
        let rates = plan.at(step);
        assert_eq!(rates.rates.len(), plan.groups().count());
        plan.freeze_at(step);
    }
});
