//! Parses, calls the library, prints.

mod bench;
mod finetune;
mod inspect;
mod judge;
mod logits;
mod progress;
mod source;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use burn_zoo::prelude::*;
use clap::{Args, Parser, Subcommand};

/// A transfer-learning model zoo: fine-tune, evaluate and export image classifiers.
#[derive(Parser)]
#[command(name = "burn-zoo", version, max_term_width = 100)]
struct Cli {
    /// Device to compute on: auto, cpu, cuda, cuda:N, wgpu or ndarray
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    device: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the architectures
    List(inspect::ListArgs),
    /// Show a model's layers, output shapes, parameters and MACs
    Info(inspect::InfoArgs),
    /// Fine-tune a model on labelled images
    Finetune(Box<finetune::FinetuneArgs>),
    /// Evaluate a run or an exported folder
    Eval(judge::EvalArgs),
    /// Classify images with a run or an exported folder
    Predict(judge::PredictArgs),
    /// Write a run's best model as a folder that timm opens
    Export(judge::ExportArgs),
    /// Compute logits and the output of every group for a tensor from a file
    Logits(logits::LogitsArgs),
    /// Measure images per second and peak memory
    Bench(bench::BenchArgs),
}

/// How a model is built from an architecture's name.
#[derive(Args)]
struct ModelArgs {
    /// Channels of the images [default: those of the weights]
    #[arg(long, value_name = "N")]
    in_channels: Option<usize>,
    /// Classes; 0 for no head [default: those of the weights]
    #[arg(long, value_name = "N")]
    num_classes: Option<usize>,
    /// Side of the images in pixels
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
    /// Global pooling: avg, max, avgmax, catavgmax, token or none
    #[arg(long, value_parser = Pool::from_timm_name)]
    pool: Option<Pool>,
    /// How the first convolution is brought to other channels: fold, sum, repeat, or an
    /// initialisation such as xavier_uniform
    #[arg(long, value_name = "RULE", default_value_t)]
    stem: StemRule,
    /// How a new head starts: pytorch, course, xavier_uniform, kaiming_normal, ..
    #[arg(long, value_name = "INIT", default_value = "pytorch")]
    head_init: Init,
    /// Mean of the images that the weights were trained on, one number a channel
    #[arg(long, value_delimiter = ',', requires = "std", value_name = "M,..")]
    mean: Option<Vec<f64>>,
    /// Standard deviation of the images that the weights were trained on
    #[arg(long, value_delimiter = ',', requires = "mean", value_name = "S,..")]
    std: Option<Vec<f64>>,
}

impl ModelArgs {
    fn spec(&self, architecture: &str, weights: Weights) -> Result<Spec> {
        let mut spec = Zoo::get(architecture)?
            .weights(weights)
            .stem_rule(self.stem.clone())
            .head_init(self.head_init.clone());
        if let Some(channels) = self.in_channels {
            spec = spec.in_channels(channels);
        }
        if let Some(classes) = self.num_classes {
            spec = spec.num_classes(classes);
        }
        if let Some(size) = self.image_size {
            spec = spec.image_size(size);
        }
        if let Some(pool) = self.pool {
            spec = spec.pool(pool);
        }
        if let (Some(mean), Some(std)) = (&self.mean, &self.std) {
            spec = spec.normalization(Normalization::new(mean.clone(), std.clone())?);
        }
        Ok(spec)
    }
}

/// `--weights`: `random` or a file.
fn weights(text: &str, seed: u64) -> Weights {
    match text {
        "random" => Weights::Random(seed),
        path => Weights::File(path.into()),
    }
}

/// The folder of a trained model: a run's best checkpoint, or an exported folder itself.
fn model_folder(dir: &Path) -> PathBuf {
    let best = dir.join("best");
    if best.is_dir() { best } else { dir.to_path_buf() }
}

/// Opens a run or an exported folder.
fn open(dir: &Path, device: &Device) -> Result<Classifier> {
    let folder = model_folder(dir);
    Classifier::open(&folder, device)
        .with_context(|| format!("{} is no run and no exported model", dir.display()))
}

/// Prints a JSON document, the only thing on standard output.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let device = || burn_zoo::device(&cli.device);
    let result = match cli.command {
        Command::List(args) => args.run(),
        Command::Info(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Finetune(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
        Command::Eval(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Predict(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Export(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Logits(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Bench(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            match error.downcast_ref() {
                // The shell's convention for a program ended by Ctrl-C.
                Some(burn_zoo::Error::Interrupted { .. }) => ExitCode::from(130),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
