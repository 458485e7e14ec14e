//! Trains adapters of low rank on a frozen backbone, writes them by themselves, and puts them on again.
//!
//! `cargo run --release --example lora [bundled|random] [TRAINING_IMAGES]`

mod arguments;

use std::sync::Arc;

use arguments::Arguments;
use burn_zoo::prelude::*;
use burn_zoo::weights::Adapter;

fn main() -> burn_zoo::Result<()> {
    let arguments = Arguments::read(&["WEIGHTS", "TRAINING_IMAGES"])?;
    let spec = arguments.bundled_or_random(0)?;
    let images = arguments.number(1, 1000)?;
    let base = spec.adapt(1, 10).build(&Device::default().autodiff())?;

    let data = FashionMnist::bundled()?;
    let (train, valid) = data.train().split(0.1, 42)?;
    let run = Recipe::full()
        .adapt("lora:rank=4,alpha=8".parse()?)
        .epochs(2)
        .learning_rate(5e-3)
        .fit(base.clone(), train.take_first(images), valid, "runs/lora")?;
    for epoch in run.epochs() {
        println!("{epoch}");
    }
    println!("{}", run.test(Arc::new(data.test()), false)?);

    // Beside the tuned model lies what was trained of it.
    let adapter = Adapter::open("runs/lora/best")?;
    println!(
        "{}: {} of {} numbers",
        adapter.adapt,
        adapter.num_parameters(),
        base.num_parameters()
    );
    // Each has the base's tensors, and few of its own.
    let tuned = base.clone().with_adapter(&adapter)?;
    let fresh = base.with_lora(burn_zoo::Lora::new(2), None, 1)?;
    println!(
        "{} and {} parameters train",
        trainable(&tuned),
        trainable(&fresh)
    );
    tuned.merge_adapters().export("lora-model")?;
    println!("timm opens lora-model");
    Ok(())
}

fn trainable(model: &Classifier) -> usize {
    model.trainable_parameters().len()
}
