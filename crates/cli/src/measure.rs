//! How long a step of a model takes.

use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Int, TensorData};
use burn_zoo::prelude::*;
use burn_zoo::train::cross_entropy;

/// One step, to take again and again.
pub type Step = Box<dyn FnMut() -> Result<()>>;

/// Waits until a device has done what it was given.
pub fn sync(device: &Device) -> Result<()> {
    let done = device.sync();
    done.map_err(|error| anyhow!("the device did not finish: {error}"))
}

/// A forward pass.
pub fn inference(model: &Classifier, images: Tensor<4>) -> Step {
    let (model, device) = (model.fuse(), images.device());
    Box::new(move || {
        model.forward(images.clone())?;
        sync(&device)
    })
}

/// Forward pass, cross-entropy, backward pass and a step of the optimiser.
pub fn training(model: Classifier, images: Tensor<4>, optimizer: Optimizer) -> Result<Step> {
    let device = images.device();
    let [batch, ..] = images.dims();
    let classes = model.num_classes() as i64;
    let labels: Vec<i64> = (0..batch as i64).map(|i| i % classes).collect();
    let labels = TensorData::new(labels, [batch]);
    let labels = Tensor::<1, Int>::from_data(labels, &device);
    let recipe = Recipe::full().with_optimizer(optimizer).learning_rate(0.01);
    let mut optimizer = recipe.optimizer(&model)?;
    let mut model = Some(model);
    Ok(Box::new(move || {
        let Some(current) = model.take() else {
            bail!("a step before this one failed");
        };
        let scores = current.forward(images.clone())?.cast(FloatDType::F32);
        let loss = cross_entropy(scores, labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &current);
        model = Some(optimizer.step(recipe.learning_rate, current, gradients));
        sync(&device)
    }))
}

/// The seconds of a step.
pub fn seconds(step: &mut Step) -> Result<f64> {
    let started = Instant::now();
    step()?;
    Ok(started.elapsed().as_secs_f64())
}

/// The middle one of some times.
pub fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    match seconds.len() % 2 {
        0 => (seconds[middle - 1] + seconds[middle]) / 2.0,
        _ => seconds[middle],
    }
}
