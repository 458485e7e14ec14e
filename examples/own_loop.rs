//! A training loop of one's own, from the parts that the recipes are made of.
//!
//! `cargo run --release --example own_loop [TRAINING_IMAGES]`

mod arguments;

use std::sync::Arc;

use arguments::Arguments;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn_zoo::data::{ImageSet, Loader, LoaderConfig};
use burn_zoo::prelude::*;
use burn_zoo::train::{Clip, Ema, EmaConfig, clip_gradients, cross_entropy, gradient_norm};

fn main() -> burn_zoo::Result<()> {
    let images = Arguments::read(&["TRAINING_IMAGES"])?.number(0, 5400)?;
    let device = Device::default().autodiff();
    let mut model = Zoo::resnet10t()
        .weights(Weights::Random(42))
        .adapt(1, 10)
        .build(&device)?;

    let data = FashionMnist::bundled()?;
    let preprocess = Preprocess::new(Some(28.into()), model.info().normalization.clone());
    let shuffled = LoaderConfig {
        shuffle: Some(42),
        ..LoaderConfig::default()
    };
    let (train, valid) = data.train().split(0.1, 42)?;
    let train = Arc::new(train.take_first(images));
    let train = Loader::new(train, preprocess.clone(), shuffled, &device)?;
    let judged = |images: ImageSet| {
        let config = LoaderConfig::default();
        Loader::new(Arc::new(images), preprocess.clone(), config, &device)
    };
    let (valid, test) = (judged(valid)?, judged(data.test())?);

    let recipe = Recipe::full()
        .with_optimizer(Optimizer::sgd())
        .learning_rate(0.02)
        .epochs(2);
    // What trains at which step and at which rates, worked out for this model.
    let plan = recipe.plan(&model, train.num_batches())?;
    let mut optimizer = recipe.optimizer(&model)?;
    let mut average = Ema::new(EmaConfig::new(0.99), &model);
    let mut steps = 0;
    for epoch in 0..recipe.epochs {
        // Everything can change from epoch to epoch: first the head alone, then all of it.
        let freeze = if epoch == 0 {
            Freeze::Backbone
        } else {
            Freeze::Nothing
        };
        model = model.freeze(&freeze)?;
        for batch in train.epoch(epoch as u64) {
            let batch = batch?;
            let labels = batch.labels()?;
            let loss = cross_entropy(model.forward(batch.images)?, labels);
            let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
            let norm = gradient_norm(&model, &gradients)?;
            clip_gradients(&model, &mut gradients, Clip::Norm { max: 5.0 }, norm);
            let rates = plan.learning_rate(&plan.at(steps));
            model = optimizer.step(rates, model, gradients);
            steps += 1;
            average.update(&model, steps);
        }
        let result = average.model().evaluate(&valid)?;
        println!(
            "epoch {}: validation accuracy {:.3}, frozen: {freeze}",
            epoch + 1,
            result.accuracy
        );
    }
    // For inference, without the means to train.
    let model = average.model().valid();
    let result = model.evaluate(&test)?;
    println!("test accuracy {:.3}", result.accuracy);
    println!("{} parameters", model.num_parameters());
    Ok(())
}
