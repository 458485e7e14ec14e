//! Nine epochs on the whole of FashionMNIST from random weights, with everything that helps in so
//! short a time: a one-cycle schedule, shifted and mirrored images, label smoothing, averaged weights.
//!
//! `cargo run --release --example fine_tune_fashion_mnist [MODEL] [EPOCHS] [DATA_FOLDER|mini] [IMAGES] [SIDE]`
//!
//! The best epoch is chosen by a tenth of the training images, and judged by the test images at the end.
//! The figures below were measured before that: all 60,000 images were trained on, and the test images
//! were the validation images, which is a little optimistic.
//!
//! | model | side of the images | validation accuracy, on the test images | time |
//! |---|---:|---:|---:|
//! | `resnet18` | 28 | 91.7 % | 8 min |
//! | `resnet18` | 56 | 92.5 % | 28 min |
//!
//! (Two cores of an AMD EPYC with AVX-512.)

mod arguments;

use std::sync::Arc;

use arguments::Arguments;
use burn_zoo::prelude::*;
use burn_zoo::train::{EmaConfig, FitOptions};

fn main() -> burn_zoo::Result<()> {
    let arguments = Arguments::read(&["MODEL", "EPOCHS", "DATA_FOLDER", "IMAGES", "SIDE"])?;
    let epochs = arguments.number(1, 9)?;
    let images = arguments.number(3, 54_000)?;
    let side: usize = arguments.number(4, 28)?;

    let data = match arguments.text(2) {
        // Debian's package, the cache, or the official mirror, verified.
        None => FashionMnist::open_default()?,
        Some("mini") => FashionMnist::bundled()?,
        Some(folder) => FashionMnist::open(folder)?,
    };
    println!("images from {}", data.source());

    let spec = Zoo::get(arguments.text(0).unwrap_or("resnet18"))?
        .weights(Weights::Random(42))
        .adapt(1, 10);
    let model = spec.build(&Device::default().autodiff())?;

    let recipe = Recipe::full()
        .epochs(epochs)
        .image_size(side)
        .batch_size(64)
        .with_optimizer(Optimizer::adamw())
        .learning_rate(2e-3)
        .weight_decay(0.05)
        .schedule(Schedule::one_cycle())
        .label_smoothing(0.1)
        .augment("random-crop:padding=2,horizontal-flip".parse()?)
        .ema(EmaConfig::new(0.998));
    let (train, valid) = data.train().split(0.1, 42)?;
    let run = recipe.fit_with(
        model,
        Arc::new(train.take_first(images)),
        Arc::new(valid.take_first(images)),
        "runs/fine-tune-fashion-mnist",
        FitOptions::default(),
        &mut std::io::stderr(),
    )?;
    println!("best: {}", run.best());
    println!("{}", run.test(Arc::new(data.test()), false)?);
    println!("model: {}", run.dir().join("best").display());
    Ok(())
}
