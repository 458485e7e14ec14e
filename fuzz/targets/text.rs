//! What a command line takes as text. What is accepted can be written, and is then the same.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use burn_zoo::Error;
use burn_zoo::adapt::StemRule;
use burn_zoo::data::Sampler;
use burn_zoo::prelude::*;
use burn_zoo::preprocess::augment::Views;
use burn_zoo::train::{ClassWeights, Clip, FeatureCache, Metric, Precision, RateScaling};
use burn_zoo_fractals::FractalOptions;
use burn_zoo_fuzz::{accepted, take};
use libfuzzer_sys::fuzz_target;

fn read<T: FromStr<Err = Error>>(text: &str) -> Option<T> {
    accepted(text.parse())
}

fn both_ways<T: FromStr<Err = Error> + Display + PartialEq>(text: &str) -> Option<T> {
    let value: T = read(text)?;
    let written = value.to_string();
    let again: T = written
        .parse()
        .unwrap_or_else(|e| panic!("`{written}`: {e}"));
    // Not a number is not equal to itself; as text it is.
    assert_eq!(written, again.to_string());
    Some(value)
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let [what] = take(&mut data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match what % 18 {
        0 => drop(both_ways::<Schedule>(text)),
        1 => drop(both_ways::<Augment>(text)),
        2 => {
            if let Some(init) = both_ways::<Init>(text) {
                let mut rng = burn_zoo::init::Rng::new(1, "fuzz");
                accepted(init.weight(&[4, 2, 3, 3], &mut rng));
                accepted(init.bias(&[4, 2, 3, 3], 4, &mut rng));
            }
        }
        3 => drop(both_ways::<Freeze>(text)),
        4 => drop(both_ways::<StemRule>(text)),
        5 => drop(both_ways::<Rates>(text)),
        6 => drop(both_ways::<RateScaling>(text)),
        7 => drop(both_ways::<Optimizer>(text)),
        8 => drop(both_ways::<Unfreeze>(text)),
        9 => drop(both_ways::<Clip>(text)),
        10 => drop(both_ways::<Metric>(text)),
        11 => drop(both_ways::<FeatureCache>(text)),
        12 => drop(read::<ClassWeights>(text)),
        13 => drop(both_ways::<Precision>(text)),
        14 => drop(read::<Sampler>(text)),
        15 => drop(both_ways::<Views>(text)),
        16 => drop(read::<FractalOptions>(text)),
        _ => {
            // Names that would ask the network or a folder are not for here, and those with a tag
            // read the manifest each time.
            if !text.contains([':', '.']) {
                accepted(Zoo::get(text));
            }
            if text.len() < 40 {
                Zoo::list(text);
            }
        }
    }
});
