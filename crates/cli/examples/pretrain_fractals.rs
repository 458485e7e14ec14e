//! The training of the weights that come with the crate: ResNet-18 learns to tell apart images made of
//! formulas.
//!
//! `cargo run --release --example pretrain_fractals`
//!
//! It may be interrupted at any time; the same command goes on from the last checkpoint, at most a few
//! hundred steps back. At the end the folder `bundled` in the run folder holds the weights with 16-bit
//! kernels. See docs/bundled-weights.md.

// The command's: memory stays with the program from step to step, which is a fifth faster.
#[allow(dead_code)]
#[path = "../src/allocator.rs"]
mod allocator;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use burn_zoo::prelude::*;
use burn_zoo::train::{Control, EpochEnd, FitOptions, Monitor, StepRecord, Warmup, resume};
use burn_zoo_fractals::{FractalOptions, Fractals, Jitter};
use clap::Parser;

/// What ships is made with the defaults; the flags are for trying.
#[derive(Parser)]
struct Arguments {
    /// The run folder
    #[arg(long, default_value = "runs/pretrain-fractals")]
    out: PathBuf,
    /// The architecture
    #[arg(long, default_value = "resnet18")]
    model: String,
    /// Categories to tell apart
    #[arg(long, default_value_t = 1000)]
    categories: usize,
    /// Images of each in an epoch
    #[arg(long, default_value_t = 300)]
    per_category: usize,
    /// Side of an image in pixels
    #[arg(long, default_value_t = 28)]
    size: usize,
    /// Passes over the images
    #[arg(long, default_value_t = 9)]
    epochs: usize,
}

/// Images of each category to validate on, which are not trained on.
const VALIDATED: usize = 5;

impl Arguments {
    /// What is drawn: large shapes, mostly on black. Everything follows from the seed.
    fn images(&self) -> FractalOptions {
        let default = FractalOptions::default();
        FractalOptions {
            categories: self.categories,
            per_category: self.per_category,
            size: self.size,
            seed: 1,
            black: 0.7,
            instance: Jitter {
                scale: (0.7, 1.0),
                ..default.instance
            },
            ..default
        }
    }

    fn recipe(&self) -> Recipe {
        let mut recipe = Recipe::full()
            .epochs(self.epochs)
            .batch_size(64)
            .with_optimizer(Optimizer::adamw())
            .learning_rate(2e-3)
            .weight_decay(0.02)
            .schedule(Schedule::cosine())
            .warmup(Warmup::new(0.1))
            .seed(1);
        recipe.checkpoints.every_steps = Some(1000);
        recipe
    }
}

fn main() -> burn_zoo::Result<()> {
    allocator::keep_blocks();
    let arguments = Arguments::parse();
    let train = arguments.images();
    let valid = FractalOptions {
        first: train.per_category as u64,
        per_category: VALIDATED,
        ..train.clone()
    };
    let (train, valid) = (
        Arc::new(Fractals::new(train)?),
        Arc::new(Fractals::new(valid)?),
    );
    println!(
        "{} categories, {} images an epoch",
        arguments.categories,
        train.len()
    );

    let device = Device::default().autodiff();
    let folder = &arguments.out;
    let options = FitOptions {
        data: format!("{:?}", train.options()),
        ..FitOptions::default()
    };
    let mut lines = Lines::default();
    let run = if folder.join("checkpoints").exists() {
        resume(folder, &device, train, valid, options, &mut lines)?
    } else {
        let spec = Zoo::get(&arguments.model)?.weights(Weights::Random(1));
        let model = spec.num_classes(arguments.categories).build(&device)?;
        let recipe = arguments.recipe();
        recipe.fit_with(model, train, valid, folder, options, &mut lines)?
    };
    println!("best: {}", run.best());
    let bundled = folder.join("bundled");
    tidied(run.model())?.export_half(&bundled)?;
    println!("weights: {}", bundled.join("model.safetensors").display());
    Ok(())
}

/// The same function of images of this size, with kernels that are better to go on from.
///
/// - They are smaller. Training makes kernels grow, up to six times here. The batch normalisation after
///   a convolution takes any factor out again, but the larger the weights, the less a step of an
///   optimiser turns them (van Laarhoven, "L2 Regularization versus Batch and Weight Normalization", 2017):
///   the network would keep what it should let go. So each kernel gets back about the standard deviation
///   of a new one (Kaiming's rule). Factors are powers of two, which leave a number's digits alone.
/// - What no image has reached is zero. The last stage sees one place, and pads it: eight of nine
///   positions of its kernels are what is left of random numbers. Zeros compress.
fn tidied(model: &Classifier) -> burn_zoo::Result<Classifier> {
    let mut tensors = model.state_dict()?;
    let names: Vec<String> = tensors.keys().cloned().collect();
    for name in names {
        let norm = norm_after(&name);
        let Some(tensor) = tensors.get_mut(&name) else {
            continue;
        };
        let [out, _, height, width] = tensor.shape[..] else {
            continue;
        };
        clear_unreached(&mut tensor.data, height * width);
        let new = (2.0 / (out * height * width) as f64).sqrt();
        let found = root_mean_square(&tensor.data);
        let factor = (new / found).log2().round().exp2() as f32;
        // Other architectures than ResNet-18 have other names as well; those kernels keep their size.
        let statistics = ["running_mean", "running_var"].map(|part| format!("{norm}.{part}"));
        if !statistics.iter().all(|name| tensors.contains_key(name)) {
            continue;
        }
        let scaled = [
            (name, factor),
            (statistics[0].clone(), factor),
            (statistics[1].clone(), factor * factor),
        ];
        for (name, factor) in scaled {
            if let Some(tensor) = tensors.get_mut(&name) {
                tensor.data.iter_mut().for_each(|x| *x *= factor);
            }
        }
    }
    model
        .clone()
        .map_state_dict(|name, _| tensors.remove(name).map(|tensor| tensor.data))
}

/// The batch normalisation behind a convolution of ResNet-18.
fn norm_after(weight: &str) -> String {
    let convolution = weight.trim_end_matches(".weight");
    match convolution.strip_suffix("downsample.0") {
        Some(block) => format!("{block}downsample.1"),
        None => convolution.replace("conv", "bn"),
    }
}

/// Zeros at the positions of a kernel whose values are far smaller than at the others: weight decay alone
/// has moved them.
fn clear_unreached(kernel: &mut [f32], positions: usize) {
    let sizes: Vec<f64> = (0..positions)
        .map(|at| root_mean_square(kernel.iter().skip(at).step_by(positions)))
        .collect();
    let largest = sizes.iter().copied().fold(0.0, f64::max);
    for (at, size) in sizes.iter().enumerate() {
        if *size < largest / 4.0 {
            kernel
                .iter_mut()
                .skip(at)
                .step_by(positions)
                .for_each(|x| *x = 0.0);
        }
    }
}

fn root_mean_square<'a>(values: impl IntoIterator<Item = &'a f32>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += f64::from(*value).powi(2);
        count += 1.0;
    }
    (sum / count).sqrt()
}

/// Says now and then how far it is.
struct Lines {
    last: Instant,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            last: Instant::now(),
        }
    }
}

impl Monitor for Lines {
    fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
        if self.last.elapsed().as_secs() >= 60 {
            println!(
                "epoch {}, step {}: loss {:.3}",
                step.epoch, step.step, step.loss
            );
            self.last = Instant::now();
        }
        Ok(())
    }

    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, _: &mut Control) -> burn_zoo::Result<()> {
        println!("{}, {:.0} s", epoch.record, epoch.record.seconds);
        Ok(())
    }
}
