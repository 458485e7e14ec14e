//! A ResNet-50 in two halves on two devices, as PyTorch's tutorial on model parallelism has it: activations go
//! from the first to the second, gradients come back.
//!
//! `cargo run --release --example model_parallel [FIRST_DEVICE] [SECOND_DEVICE] [TRAINING_IMAGES]`
//!
//! Without devices both halves are on the default one; `cuda:0 cuda:1` are two GPUs.

mod arguments;

use std::sync::Arc;

use arguments::Arguments;
use burn_zoo::prelude::*;
use burn_zoo::train::{FitOptions, Place};

fn main() -> burn_zoo::Result<()> {
    let arguments = Arguments::read(&["FIRST_DEVICE", "SECOND_DEVICE", "TRAINING_IMAGES"])?;
    let device = |place| burn_zoo::device(arguments.text(place).unwrap_or("auto"));
    let (first, second) = (device(0)?, device(1)?);
    let images = arguments.number(2, 512)?;

    let spec = Zoo::resnet50().weights(Weights::Random(42)).adapt(1, 10);
    let model = spec.build(&first.clone().autodiff())?;
    println!("groups: {}", model.groups().join(", "));

    let data = FashionMnist::bundled()?;
    let (train, valid) = data.train().split(0.1, 42)?;
    let options = FitOptions {
        overwrite: true,
        place: Place {
            parts: vec![
                ("stem..stage2".to_owned(), first),
                ("stage3..head".to_owned(), second),
            ],
            // Four parts of each batch, so that the second half begins before the first is done with all.
            micro_batches: 4,
        },
        ..FitOptions::default()
    };
    Recipe::full().epochs(2).batch_size(64).fit_with(
        model,
        Arc::new(train.take_first(images)),
        Arc::new(valid),
        "runs/model-parallel",
        options,
        &mut std::io::stderr(),
    )?;
    Ok(())
}
