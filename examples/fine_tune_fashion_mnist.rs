//! Fine-tunes a model on the whole of FashionMNIST, with a schedule and weight decay.
//!
//! `cargo run --release --example fine_tune_fashion_mnist [MODEL] [EPOCHS] [DATA_FOLDER|mini] [IMAGES]`

use burn_zoo::prelude::*;

fn main() -> burn_zoo::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let epochs = argument(1).and_then(|n| n.parse().ok()).unwrap_or(9);
    let images = argument(3).and_then(|n| n.parse().ok()).unwrap_or(60_000);

    let data = match argument(2) {
        // Debian's package, the cache, or the official mirror, verified.
        None => FashionMnist::open_default()?,
        Some("mini") => FashionMnist::bundled()?,
        Some(folder) => FashionMnist::open(folder)?,
    };
    println!("images from {}", data.source());

    let spec = Zoo::get(argument(0).unwrap_or("resnet18"))?
        .weights(Weights::Random(42))
        .adapt(1, 10)
        .drop_path_rate(0.05);
    let model = spec.build(&Device::default().autodiff())?;

    let recipe = Recipe::full()
        .epochs(epochs)
        .batch_size(32)
        .with_optimizer(Optimizer::adamw())
        .learning_rate(9.3e-4)
        .weight_decay(0.01)
        .schedule(Schedule::cosine())
        .warmup(0.5);
    let run = recipe.fit(
        model,
        data.train().take_first(images),
        data.test().take_first(images),
        "runs/fine-tune-fashion-mnist",
    )?;
    println!("best: {}", run.best());
    println!("model: {}", run.dir().join("best").display());
    Ok(())
}
