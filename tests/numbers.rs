//! `zoo/numbers.csv`: one row for each architecture, and what the models themselves say.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use burn_zoo::prelude::*;
use burn_zoo::zoo::{self, Architecture};
use burn_zoo::{InputSize, zoo::Numbers};
use common::fixture;

/// The numbers of a model, all but the multiply-accumulates, for which it would have to run.
fn built(architecture: &Architecture, macs: usize) -> (Classifier, Numbers) {
    let device = burn_zoo::device("cpu").unwrap();
    let spec = Zoo::get(architecture.name).unwrap();
    let model = spec.build_zeros(&device).unwrap();
    let sizes = model.backbone.describe().input_size;
    let numbers = Numbers {
        parameters: model.num_parameters(),
        features: model.num_features(),
        macs,
        least_size: match sizes {
            InputSize::AtLeast(least) | InputSize::MultipleOf(least) => Some(least),
            InputSize::Exactly(_) => None,
        },
        size_step: match sizes {
            InputSize::MultipleOf(step) => step,
            InputSize::AtLeast(_) | InputSize::Exactly(_) => 1,
        },
    };
    (model, numbers)
}

/// timm's numbers.
fn timm() -> serde_json::Value {
    let text = std::fs::read_to_string(fixture("architectures.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The multiply-accumulates are compared with timm's, with which `parity.rs` compares those of a run.
#[test]
fn the_table_is_that_of_the_models() {
    let timm = timm();
    for architecture in zoo::architectures() {
        let name = architecture.name;
        let numbers = architecture.numbers().unwrap();
        assert_eq!(numbers, built(architecture, numbers.macs).1, "{name}");
        assert_eq!(numbers.macs, timm["models"][name]["macs"], "{name}");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo/numbers.csv");
    let rows = std::fs::read_to_string(file).unwrap().lines().count() - 1;
    assert_eq!(
        rows,
        zoo::architectures().count(),
        "rows of no architecture"
    );
}

/// Writes the table. A model runs if the table lacks it, or has other numbers for it.
#[test]
#[ignore = "writes zoo/numbers.csv"]
fn write_the_table() {
    let mut text = "name,parameters,features,macs,least_size,size_step\n".to_owned();
    let (timm, mut ran) = (timm(), BTreeMap::new());
    for architecture in zoo::architectures() {
        let name = architecture.name;
        let (model, mut numbers) = built(architecture, 0);
        let known = architecture.numbers().ok();
        // Where timm has counted otherwise, the model runs again and shows who is right.
        let counted = |known: &Numbers| timm["models"][name]["macs"] == known.macs;
        let known = known.filter(|known| known.parameters == numbers.parameters && counted(known));
        numbers.macs = known.map_or_else(
            || {
                let macs = model.summary(None).unwrap().macs;
                *ran.entry(name).or_insert(macs)
            },
            |known| known.macs,
        );
        let least = numbers.least_size.map_or(String::new(), |n| n.to_string());
        let Numbers {
            parameters,
            features,
            macs,
            size_step,
            ..
        } = numbers;
        writeln!(
            text,
            "{name},{parameters},{features},{macs},{least},{size_step}"
        )
        .unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo/numbers.csv");
    std::fs::write(file, text).unwrap();
    println!("ran: {ran:#?}");
}
