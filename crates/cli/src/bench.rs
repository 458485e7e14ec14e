//! `bench`.

use std::time::Instant;

use anyhow::{Result, bail};
use burn::optim::GradientsParams;
use burn::tensor::{Distribution, Int, TensorData};
use burn_zoo::prelude::*;
use burn_zoo::train::{Precision, cross_entropy};
use burn_zoo::{ImageSize, InputSize, Memory};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::flags::{Choice, count};
use crate::model::{ModelArgs, WeightsArgs};
use crate::output::{print, print_json};
use crate::progress;

#[derive(Args)]
pub struct BenchArgs {
    /// An architecture
    model: String,
    /// Forward only; forward, cross-entropy, backward and a step of the optimiser; or building the
    /// model from a file
    #[arg(long, value_enum, default_value = "infer")]
    mode: Mode,
    #[command(flatten)]
    options: ModelArgs,
    /// The optimiser, in training [default: sgd]
    #[arg(long, value_name = "NAME", value_parser = Choice::<Optimizer>::of(&Optimizer::names()))]
    optimizer: Option<Optimizer>,
    /// Numbers that the network computes in [default: f32]
    #[arg(long, value_name = "TYPE", value_parser = Choice::<Precision>::of(Precision::names()))]
    precision: Option<Precision>,
    /// The file that is loaded again and again, in mode load
    #[arg(long, value_name = "FILE", required_if_eq("mode", "load"))]
    weights: Option<String>,
    #[command(flatten)]
    choice: WeightsArgs,
    /// Images in a batch [default: 1]
    #[arg(long, value_name = "N", value_parser = count::<65_536>)]
    batch_size: Option<usize>,
    /// Steps that are measured, after a warm-up of a fifth as many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = count::<1_000_000>)]
    steps: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    Train,
    Infer,
    Load,
}

impl BenchArgs {
    /// What has no effect in a mode is refused there.
    fn check(&self) -> Result<()> {
        let only = |flag: &str, given: bool, modes: &[Mode], named: &str| {
            if given && !modes.contains(&self.mode) {
                bail!("{flag}: only with --mode {named}");
            }
            Ok(())
        };
        let computing = [Mode::Train, Mode::Infer];
        let given = self.optimizer.is_some();
        only("--optimizer", given, &[Mode::Train], "train")?;
        let given = self.precision.is_some();
        only("--precision", given, &computing, "train or infer")?;
        let given = self.batch_size.is_some();
        only("--batch-size", given, &computing, "train or infer")?;
        if (self.weights.is_some() || !self.choice.is_empty()) && self.mode != Mode::Load {
            bail!("--weights: only with --mode load; speed does not depend on values");
        }
        Ok(())
    }

    fn batch_size(&self) -> usize {
        self.batch_size.unwrap_or(1)
    }

    pub fn run(self, device: Device) -> Result<()> {
        self.check()?;
        let precision = self.precision.unwrap_or_default();
        let train = self.mode == Mode::Train;
        let device = if train { device.autodiff() } else { device };
        let spec = self.options.spec(&self.model, Some("random"), 0)?;
        let model = spec.build(&device)?;
        if train && model.num_classes() == 0 {
            bail!("--num-classes: expected at least 1 to train, found 0");
        }
        let size = self.image_size(&model);
        let shape = [
            self.batch_size(),
            model.in_channels(),
            size.height,
            size.width,
        ];
        precision.check(&device)?;
        let images = Tensor::<4>::random(shape, Distribution::Default, &device);
        let images = images.cast(precision.dtype());

        let warm_up = (self.steps / 5).max(2);
        let bar = progress::bar(warm_up + self.steps, "bench");
        let mut seconds = Vec::with_capacity(self.steps);
        let mut step = self.step(model, images, &device)?;
        for index in 0..warm_up + self.steps {
            let started = Instant::now();
            step()?;
            if index >= warm_up {
                seconds.push(started.elapsed().as_secs_f64());
            }
            bar.inc(1);
        }
        bar.finish_and_clear();

        seconds.sort_by(f64::total_cmp);
        let middle = seconds.len() / 2;
        let median = match seconds.len() % 2 {
            0 => (seconds[middle - 1] + seconds[middle]) / 2.0,
            _ => seconds[middle],
        };
        let rate = self.batch_size() as f64 / median;
        let memory = Memory::peak_resident();
        if self.json {
            return print_json(&json!({
                "model": self.model,
                "mode": match self.mode {
                    Mode::Train => "train",
                    Mode::Infer => "infer",
                    Mode::Load => "load",
                },
                "precision": precision.to_string(),
                "seconds": median,
                "image_size": size,
                "batch_size": self.batch_size(),
                "steps": self.steps,
                "images_per_second": rate,
                "peak_memory_bytes": memory,
                "device": burn_zoo::device_name(&device),
                "threads": rayon::current_num_threads(),
            }));
        }
        print(format!("images_per_second {rate:.1}"))?;
        let memory = memory.map_or("unknown on this system".to_owned(), |b| b.to_string());
        print(format!("peak_memory_bytes {memory}"))
    }

    /// What was asked for, else what the model takes or its architecture was trained at.
    fn image_size(&self, model: &Classifier) -> ImageSize {
        let upstream = || {
            Zoo::list(&model.info().architecture)
                .first()
                .map(|a| a.image_size.into())
        };
        let fixed = match model.backbone.describe().input_size {
            InputSize::Exactly(size) => Some(size.into()),
            _ => None,
        };
        let asked = self.options.image_size.or(fixed);
        let known = asked.or(model.info().image_size).or_else(upstream);
        known.unwrap_or(224.into())
    }

    /// One step, as a function to call again and again.
    fn step(
        &self,
        model: Classifier,
        images: Tensor<4>,
        device: &Device,
    ) -> Result<Box<dyn FnMut() -> Result<()>>> {
        let wait = device.clone();
        let sync = move || {
            wait.sync()
                .map_err(|error| anyhow::anyhow!("the device did not finish: {error}"))
        };
        let weights = self.weights.as_deref();
        if self.mode == Mode::Load {
            let spec = self.options.spec(&self.model, weights, 0)?;
            let (spec, device) = (self.choice.choose(spec), device.clone());
            return Ok(Box::new(move || {
                spec.clone().build(&device)?;
                sync()
            }));
        }
        if self.mode == Mode::Infer {
            let model = model.fuse();
            return Ok(Box::new(move || {
                model.forward(images.clone())?;
                sync()
            }));
        }
        let classes = model.num_classes() as i64;
        let labels: Vec<i64> = (0..self.batch_size() as i64).map(|i| i % classes).collect();
        let labels = TensorData::new(labels, [self.batch_size()]);
        let labels = Tensor::<1, Int>::from_data(labels, device);
        let recipe = Recipe::full()
            .with_optimizer(self.optimizer.unwrap_or_else(Optimizer::sgd))
            .learning_rate(0.01);
        let mut optimizer = recipe.optimizer(&model)?;
        let mut model = Some(model);
        Ok(Box::new(move || {
            let Some(current) = model.take() else {
                bail!("a step before this one failed");
            };
            let loss = cross_entropy(
                current
                    .forward(images.clone())?
                    .cast(burn::tensor::FloatDType::F32),
                labels.clone(),
            );
            let gradients = GradientsParams::from_grads(loss.backward(), &current);
            model = Some(optimizer.step(recipe.learning_rate, current, gradients));
            sync()
        }))
    }
}
