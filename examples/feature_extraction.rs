//! Trains a new head on a frozen backbone.
//!
//! `cargo run --release --example feature_extraction [WEIGHTS_FILE|random] [TRAINING_IMAGES]`

mod arguments;

use std::sync::Arc;

use arguments::Arguments;
use burn_zoo::prelude::*;

fn main() -> burn_zoo::Result<()> {
    let arguments = Arguments::read(&["WEIGHTS_FILE", "TRAINING_IMAGES"])?;
    let weights = match arguments.text(0) {
        None | Some("random") => Weights::Random(42),
        Some(path) => Weights::File(path.into()),
    };
    let images = arguments.number(1, 5400)?;

    // The first convolution is folded to one channel; the head starts by the course's recipe.
    let model = Zoo::resnet18()
        .weights(weights)
        .adapt(1, 10)
        .head_init(Init::Course)
        .build(&Device::default().autodiff())?;

    let model = model.freeze(&Freeze::Backbone)?;
    println!("what trains: {}", model.trainable_parameters().join(", "));

    let data = FashionMnist::bundled()?;
    let (train, valid) = data.train().split(0.1, 42)?;
    let run = Recipe::feature_extraction()
        .epochs(3)
        .learning_rate(3e-3)
        .fit(
            model,
            train.take_first(images),
            valid,
            "runs/feature-extraction",
        )?;
    for epoch in run.epochs() {
        println!("{epoch}");
    }
    println!("{}", run.test(Arc::new(data.test()), false)?);
    Ok(())
}
