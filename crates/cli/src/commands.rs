//! The commands and their flags, and how an error becomes an exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::flags::{count, device_name};
use crate::output::Stopped;
use crate::{
    bench, eval, export, finetune, fractals, hub, inspect, logits, lr_find, notice, predict, report,
};

/// A transfer-learning model zoo: fine-tune, evaluate and export image classifiers.
#[derive(Parser)]
#[command(name = "burn-zoo", version, max_term_width = 100)]
struct Cli {
    /// Device to compute on: auto, cpu, cuda, cuda:N, wgpu or ndarray
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE",
        value_parser = device_name)]
    device: String,
    /// Threads to compute with on a CPU [default: as many as the machine gives]
    #[arg(long, global = true, value_name = "N", value_parser = count::<1024>)]
    threads: Option<usize>,
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
    /// Try learning rates from very small to very large, and suggest one
    LrFind(Box<lr_find::LrFindArgs>),
    /// Write a run's report: one HTML page, and pictures
    Report(report::ReportArgs),
    /// Evaluate a run or an exported folder on every image that is given
    Eval(eval::EvalArgs),
    /// Classify images, or folders of them, with a run or an exported folder
    Predict(predict::PredictArgs),
    /// Write a run's best model as a folder that timm opens
    Export(export::ExportArgs),
    /// Draw images made of formulas, which the bundled weights are trained on
    Fractals(fractals::FractalsArgs),
    /// Compute logits and the output of every group for a tensor from a file
    Logits(logits::LogitsArgs),
    /// Measure images per second and peak memory
    Bench(bench::BenchArgs),
    /// Fetch weights into the cache, verified
    Fetch(hub::FetchArgs),
    /// Read every cached file again and compare its checksum
    Verify(hub::VerifyArgs),
    /// Show what is cached, or remove it
    #[command(subcommand)]
    Cache(hub::CacheCommand),
}

pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if let Some(threads) = cli.threads
        && let Err(error) = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
    {
        notice::say(format_args!("error: --threads {threads}: {error}"));
        return ExitCode::FAILURE;
    }
    let device = || burn_zoo::device_with(&cli.device, &mut |text| notice::tell(text));
    let result = match cli.command {
        Command::List(args) => args.run(),
        Command::Info(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Finetune(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
        Command::LrFind(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
        Command::Report(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Eval(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Predict(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Export(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Logits(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Bench(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
        Command::Fractals(args) => fractals::run(&args),
        Command::Fetch(args) => args.run(),
        Command::Verify(args) => args.run(),
        Command::Cache(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            notice::say(format_args!("error: {}", in_words(&error)));
            let interrupted = matches!(
                error.downcast_ref(),
                Some(burn_zoo::Error::Interrupted { .. })
            );
            if interrupted || error.is::<Stopped>() {
                // The shell's convention for a program ended by Ctrl-C.
                ExitCode::from(130)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// An error with its causes as one sentence. Some messages have their cause in them already: it is
/// said once.
fn in_words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::in_words;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("no such file").context("cannot read a: no such file");
        assert_eq!(in_words(&error), "cannot read a: no such file");
        let error = anyhow!("no such file").context("cannot read a");
        let error = error.context("--data");
        assert_eq!(in_words(&error), "--data: cannot read a: no such file");
    }
}
