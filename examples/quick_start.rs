//! Fine-tunes ResNet-18, from the weights that come with the crate, on the bundled sample of FashionMNIST.
//! The best epoch is chosen by 600 of its training images, and judged by its 1,000 test images.
//!
//! `cargo run --release --example quick_start [TRAINING_IMAGES] [EPOCHS]`

mod arguments;

use std::sync::Arc;

use arguments::Arguments;
use burn_zoo::prelude::*;

fn main() -> burn_zoo::Result<()> {
    let arguments = Arguments::read(&["TRAINING_IMAGES", "EPOCHS"])?;
    let images = arguments.number(0, 5400)?;
    let epochs = arguments.number(1, 3)?;
    let device = Device::default().autodiff();

    // A spec is data: nothing is read or allocated yet. One input channel, ten classes.
    let spec = Zoo::resnet18().weights(Weights::Bundled).adapt(1, 10);
    let model = spec.build(&device)?;

    let data = FashionMnist::bundled()?;
    let (train, valid) = data.train().split(0.1, 42)?;
    let run = Recipe::full().epochs(epochs).learning_rate(1e-3).fit(
        model,
        train.take_first(images),
        valid,
        "runs/quick-start",
    )?;
    println!("{}", run.best());
    println!("{}", run.test(Arc::new(data.test()), false)?);

    run.model().export("quick-start-model")?;
    println!("timm opens quick-start-model");
    Ok(())
}
