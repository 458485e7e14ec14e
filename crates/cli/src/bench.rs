//! `bench`.

use anyhow::{Result, bail};
use burn::tensor::Distribution;
use burn_zoo::prelude::*;
use burn_zoo::train::Precision;
use burn_zoo::{ImageSize, InputSize, Memory};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::flags::{Choice, count};
use crate::measure::{self, Step};
use crate::model::{ModelArgs, WeightsArgs, trained_size};
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
        let size = self.image_size(&model)?;
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
            let taken = measure::seconds(&mut step)?;
            if index >= warm_up {
                seconds.push(taken);
            }
            bar.inc(1);
        }
        bar.finish_and_clear();

        let median = measure::median(seconds);
        let rate = self.batch_size() as f64 / median;
        let memory = Memory::peak_resident();
        let rate_name = match self.mode {
            Mode::Train | Mode::Infer => "images_per_second",
            Mode::Load => "loads_per_second",
        };
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
                rate_name: rate,
                "peak_memory_bytes": memory,
                "device": burn_zoo::device_name(&device),
                "threads": rayon::current_num_threads(),
            }));
        }
        print(format!("{rate_name} {rate:.1}"))?;
        let memory = memory.map_or("unknown on this system".to_owned(), |b| b.to_string());
        print(format!("peak_memory_bytes {memory}"))
    }

    /// What was asked for, else what the model takes or its architecture was trained at.
    fn image_size(&self, model: &Classifier) -> Result<ImageSize> {
        let fixed = match model.backbone.describe().input_size {
            InputSize::Exactly(size) => Some(size.into()),
            _ => None,
        };
        let asked = self.options.image_size.or(fixed);
        asked.map_or_else(|| trained_size(model), Ok)
    }

    /// What is measured.
    fn step(&self, model: Classifier, images: Tensor<4>, device: &Device) -> Result<Step> {
        match self.mode {
            Mode::Infer => Ok(measure::inference(&model, images)),
            Mode::Train => {
                let optimizer = self.optimizer.unwrap_or_else(Optimizer::sgd);
                measure::training(model, images, optimizer)
            }
            Mode::Load => {
                let weights = self.weights.as_deref();
                let spec = self.options.spec(&self.model, weights, 0)?;
                let (spec, device) = (self.choice.choose(spec), device.clone());
                Ok(Box::new(move || {
                    spec.clone().build(&device)?;
                    measure::sync(&device)
                }))
            }
        }
    }
}
